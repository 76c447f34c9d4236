"""What both directions of the codec share: its limits, its extension types and its errors."""

from __future__ import annotations

from p2pclient.common.errors import LocalMisuseError, RemoteProtocolError

MAX_DEPTH = 100
"""Containers inside containers. Bounds the recursion of both directions, far below the interpreter's own limit."""

TUPLE, LARGE_INT, SCALAR, ARRAY = 1, 2, 3, 4
"""Codes of the extension types; :mod:`p2pclient.envhost.values` has the table."""


class CannotSendError(LocalMisuseError):
    """A value has no form in the codec. The message names the path to it, such as ``infos[1]['callback']``."""


class MalformedValueError(RemoteProtocolError):
    """Bytes are not what the codec writes: cut short, too deep, trailing bytes, unknown types."""

    def __init__(self, detail: str) -> None:
        super().__init__("malformed-value", detail)
