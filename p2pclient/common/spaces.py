"""Action spaces as data, and their values as compact bytes.

A space crosses the pipe and the wire as a plain dict (``kind`` plus parameters), so that no client process needs
Gymnasium. Supported: ``discrete`` (``n``, ``start``), ``multi_discrete`` (``nvec``) and ``multi_binary`` (``n``).
Integers are little-endian, in the smallest of 1, 2, 4 bytes that holds the largest index.
"""

from __future__ import annotations

from operator import index as whole_number
from typing import Any, Dict, List

from p2pclient.common.errors import ConfigurationError, RemoteProtocolError
from p2pclient.common.frames import MAX_INPUT_BYTES

Space = Dict[str, Any]


def _width(count: int) -> int:
    """Bytes needed for an index below ``count``."""
    return 1 if count <= 1 << 8 else 2 if count <= 1 << 16 else 4


def check_space(space: Any, *, setting: str = "action space") -> Space:
    """Return ``space`` if its values can be sent as inputs.

    Raises:
        ConfigurationError: the kind is unknown, a parameter is wrong, or a value needs more than 63 bytes.
    """
    allowed = "discrete, multi_discrete or multi_binary with at most 63 bytes per value"
    if not isinstance(space, dict):
        raise ConfigurationError(setting, space, allowed)
    kind = space.get("kind")
    if kind == "discrete":
        good = _is_count(space.get("n")) and isinstance(space.get("start", 0), int)
    elif kind == "multi_discrete":
        nvec = space.get("nvec")
        good = isinstance(nvec, list) and len(nvec) > 0 and all(_is_count(n) for n in nvec)
    elif kind == "multi_binary":
        good = _is_count(space.get("n"))
    else:
        good = False
    if not good or input_width(space) > MAX_INPUT_BYTES - 1:
        raise ConfigurationError(setting, space, allowed)
    return space


def _is_count(n: Any) -> bool:
    return isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= 1 << 32


def input_width(space: Space) -> int:
    """Bytes that one value of ``space`` takes."""
    if space["kind"] == "discrete":
        return _width(space["n"])
    if space["kind"] == "multi_discrete":
        return sum(_width(n) for n in space["nvec"])
    return int((space["n"] + 7) // 8)


def encode_action(space: Space, value: Any) -> bytes:
    """Turn a value of ``space`` (int, or sequence of ints) into its bytes.

    Raises:
        ConfigurationError: the value is not in the space.
    """
    kind = space["kind"]
    if kind == "discrete":
        index = _whole(value) - int(space.get("start", 0))
        if not 0 <= index < space["n"]:
            raise ConfigurationError("action", value, f"a value of {space}")
        return index.to_bytes(_width(space["n"]), "little")
    values = [_whole(v) for v in value]
    if kind == "multi_discrete":
        nvec = space["nvec"]
        if len(values) != len(nvec) or any(not 0 <= v < n for v, n in zip(values, nvec)):
            raise ConfigurationError("action", value, f"a value of {space}")
        return b"".join(v.to_bytes(_width(n), "little") for v, n in zip(values, nvec))
    if len(values) != space["n"] or any(v not in (0, 1) for v in values):
        raise ConfigurationError("action", value, f"a value of {space}")
    return sum(v << i for i, v in enumerate(values)).to_bytes(input_width(space), "little")


def _whole(value: Any) -> int:
    """Return a whole number of any integer type; a float is never rounded into another action."""
    try:
        return whole_number(value)
    except TypeError:
        raise ConfigurationError("action", value, "a whole number") from None


def decode_action(space: Space, data: bytes) -> Any:
    """Turn bytes into the value: ``int`` for discrete, ``list[int]`` for the others.

    Raises:
        RemoteProtocolError: wrong length or out of range (reason ``bad-input``). Bytes come from peers.
    """
    if len(data) != input_width(space):
        raise RemoteProtocolError("bad-input", f"{len(data)} bytes for {space}")
    kind = space["kind"]
    if kind == "discrete":
        index = int.from_bytes(data, "little")
        if index >= space["n"]:
            raise RemoteProtocolError("bad-input", f"{index} for {space}")
        return index + int(space.get("start", 0))
    if kind == "multi_discrete":
        values: List[int] = []
        at = 0
        for n in space["nvec"]:
            width = _width(n)
            values.append(int.from_bytes(data[at : at + width], "little"))
            at += width
            if values[-1] >= n:
                raise RemoteProtocolError("bad-input", f"{values[-1]} for {space}")
        return values
    bits = int.from_bytes(data, "little")
    if bits >> space["n"]:
        raise RemoteProtocolError("bad-input", f"bits beyond {space['n']}")
    return [bits >> i & 1 for i in range(space["n"])]
