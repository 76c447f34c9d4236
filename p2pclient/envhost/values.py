"""The codec of the pipe and of the logs: plain values <-> bytes, type and value kept.

MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md) with four extension types. It is written in Python
because the host's interpreter may have nothing but NumPy, and because general packers fold what must stay apart:
tuples into lists, NumPy scalars into floats, integers beyond 64 bits into errors.

=====================  =====================================================================================
``1`` tuple            an array
``2`` large integer    two's complement, big-endian
``3`` NumPy scalar     length and ASCII of the dtype, then the bytes of the value
``4`` NumPy array      length and ASCII of the dtype, number of axes, each extent as ``uint64``, C-order bytes
=====================  =====================================================================================

Rules:

- None, bool, int, float (every bit of NaN), str, bytes, list, tuple, dict with hashable keys, NumPy scalars and arrays
  cross. Subclasses do not: their type would be lost. What cannot cross is named by its path.
- Decoding never executes, imports or allocates what the bytes ask for beyond their own length; everything that
  :func:`encode` cannot have written raises :class:`MalformedValueError` and nothing else.
- NumPy is imported when the first array or NumPy scalar is met, not before.

The shape of the code is for speed: one call per value, dispatched by type or by first byte through a table, and
values of a single byte (small integers, None, bools) read without a call. Measured: 0.1 us per such value.
"""

from __future__ import annotations

from struct import error as StructError
from typing import Any, List, Optional, Tuple

from p2pclient.envhost.values_form import MAX_DEPTH, CannotSendError, MalformedValueError
from p2pclient.envhost.values_read import READERS
from p2pclient.envhost.values_write import WRITERS, Put, list_head

__all__ = ["CannotSendError", "MalformedValueError", "decode", "encode", "encode_onto", "find_unsendable", "list_head"]


def encode(value: Any, name: str = "value") -> bytes:
    """Return ``value`` as bytes.

    Args:
        name: what the path in an error starts with.

    Raises:
        CannotSendError: part of ``value`` has no form here.
    """
    parts: List[Any] = []
    encode_onto(value, parts.append, name)
    return b"".join(parts)


def encode_onto(value: Any, put: Put, name: str = "value") -> None:
    """Hand the bytes of ``value`` to ``put`` in pieces that are good until the value is changed; join them at once."""
    try:
        WRITERS[type(value)](value, put, 0)
    except CannotSendError as error:
        path = find_unsendable(value, name)
        raise CannotSendError(f"{path or name}: {error}") from None


def decode(data: bytes) -> Any:
    """Return the value whose bytes ``data`` is. Arrays are fresh and may be written to.

    Raises:
        MalformedValueError: :func:`encode` cannot have written ``data``.
    """
    try:
        value, end = READERS[data[0]](data, 0, 0)
    except MalformedValueError:
        raise
    except (IndexError, StructError) as error:
        raise MalformedValueError("the bytes end too early") from error
    except (ValueError, TypeError, OverflowError) as error:
        raise MalformedValueError(str(error)) from error
    if end != len(data):
        raise MalformedValueError(f"{len(data) - end} bytes too many")
    return value


def find_unsendable(value: Any, name: str) -> Optional[str]:
    """Return the path to the first part of ``value`` that cannot be sent, or None. Slow: for messages only."""
    todo: List[Tuple[str, Any, int]] = [(name, value, 0)]
    while todo:
        path, part, depth = todo.pop()
        kind = type(part)
        if depth > MAX_DEPTH:
            return path
        if kind is list or kind is tuple:
            todo.extend((f"{path}[{i}]", part[i], depth + 1) for i in reversed(range(len(part))))
        elif kind is dict:
            for key, item in reversed(list(part.items())):
                todo.append((f"{path}[{key!r:.60}]", item, depth + 1))
                todo.append((f"key {key!r:.60} of {path}", key, depth + 1))
        else:
            try:
                WRITERS[kind](part, _ignore, depth)
            except CannotSendError:
                return path
    return None


def _ignore(piece: Any) -> None:
    """Drop a piece of output."""
