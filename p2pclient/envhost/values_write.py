"""Writers of the codec: one function per type, found by the exact type of a value."""

from __future__ import annotations

from struct import Struct
from typing import Any, Callable, Dict, List, Optional

from p2pclient.envhost.values_form import LARGE_INT, MAX_DEPTH, TUPLE, CannotSendError

Put = Callable[[Any], None]
Writer = Callable[[Any, Put, int], None]

_SMALL_INTS = [bytes((n & 0xFF,)) for n in (*range(128), *range(-32, 0))]
"""Indexable by the integer itself: 0..127 from the front, -32..-1 from the back."""
_FIX_STR = [bytes((0xA0 | n,)) for n in range(32)]
_FIX_LIST = [bytes((0x90 | n,)) for n in range(16)]
_FIX_DICT = [bytes((0x80 | n,)) for n in range(16)]

_float_bytes = Struct(">Bd").pack
_U8, _U16, _U32, _U64 = (Struct(">B" + c) for c in "BHIQ")
_I8, _I16, _I32, _I64 = (Struct(">B" + c) for c in "bhiq")


def list_head(count: int) -> bytes:
    """Return the bytes that announce a list of ``count`` values; they follow by :func:`encode_onto`."""
    return _FIX_LIST[count] if count < 16 else _head(count, None, 0xDC, 0xDD)


def _head(size: int, code8: Optional[int], code16: int, code32: int) -> bytes:
    if size < 1 << 8 and code8 is not None:
        return _U8.pack(code8, size)
    if size < 1 << 16:
        return _U16.pack(code16, size)
    if size < 1 << 32:
        return _U32.pack(code32, size)
    raise CannotSendError(f"{size} bytes or items are too many to be sent")


def extension_head(kind: int, size: int) -> bytes:
    return _head(size, 0xC7, 0xC8, 0xC9) + _SMALL_INTS[kind]


def _write_none(value: Any, put: Put, depth: int) -> None:
    put(b"\xc0")


def _write_bool(value: bool, put: Put, depth: int) -> None:
    put(b"\xc3" if value else b"\xc2")


def _write_float(value: float, put: Put, depth: int) -> None:
    put(_float_bytes(0xCB, value))


def _write_int(value: int, put: Put, depth: int) -> None:
    if -32 <= value < 128:
        put(_SMALL_INTS[value])
    elif 0 <= value < 1 << 64:
        if value < 1 << 16:
            put(_U8.pack(0xCC, value) if value < 1 << 8 else _U16.pack(0xCD, value))
        else:
            put(_U32.pack(0xCE, value) if value < 1 << 32 else _U64.pack(0xCF, value))
    elif -1 << 63 <= value < 0:
        if value >= -1 << 15:
            put(_I8.pack(0xD0, value) if value >= -1 << 7 else _I16.pack(0xD1, value))
        else:
            put(_I32.pack(0xD2, value) if value >= -1 << 31 else _I64.pack(0xD3, value))
    else:
        body = value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
        put(extension_head(LARGE_INT, len(body)))
        put(body)


def _write_str(value: str, put: Put, depth: int) -> None:
    try:
        body = value.encode()
    except UnicodeEncodeError:  # lone surrogates: file names on Linux have them
        body = value.encode("utf-8", "surrogatepass")
    size = len(body)
    put(_FIX_STR[size] if size < 32 else _head(size, 0xD9, 0xDA, 0xDB))
    put(body)


def _write_bytes(value: bytes, put: Put, depth: int) -> None:
    put(_head(len(value), 0xC4, 0xC5, 0xC6))
    put(value)


def _write_list(value: Any, put: Put, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise CannotSendError(f"containers nested deeper than {MAX_DEPTH} cannot be sent")
    put(list_head(len(value)))
    depth += 1
    for item in value:
        WRITERS[type(item)](item, put, depth)


def _write_tuple(value: Any, put: Put, depth: int) -> None:
    parts: List[Any] = []
    _write_list(value, parts.append, depth)
    body = b"".join(parts)
    put(extension_head(TUPLE, len(body)))
    put(body)


def _write_dict(value: Dict[Any, Any], put: Put, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise CannotSendError(f"containers nested deeper than {MAX_DEPTH} cannot be sent")
    size = len(value)
    put(_FIX_DICT[size] if size < 16 else _head(size, None, 0xDE, 0xDF))
    depth += 1
    for key, item in value.items():
        WRITERS[type(key)](key, put, depth)
        WRITERS[type(item)](item, put, depth)


class _Writers(Dict[type, Writer]):
    """Writers by exact type. NumPy's are added when one of its types is first met."""

    def __missing__(self, kind: type) -> Writer:
        if kind.__module__ == "numpy":
            from p2pclient.envhost import values_numpy

            writer = values_numpy.writer_of(kind)
            if writer is not None:
                self[kind] = writer
                return writer
        raise CannotSendError(f"{kind.__name__} cannot be sent")


WRITERS: Dict[type, Writer] = _Writers(
    {
        type(None): _write_none,
        bool: _write_bool,
        int: _write_int,
        float: _write_float,
        str: _write_str,
        bytes: _write_bytes,
        list: _write_list,
        tuple: _write_tuple,
        dict: _write_dict,
    }
)
