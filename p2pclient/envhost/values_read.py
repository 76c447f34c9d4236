"""Readers of the codec: one function per first byte. They raise MalformedValueError or what decode() translates."""

from __future__ import annotations

from struct import Struct
from typing import Any, Callable, Dict, List, Tuple

from p2pclient.envhost.values_form import ARRAY, LARGE_INT, MAX_DEPTH, SCALAR, TUPLE, MalformedValueError

Reader = Callable[[bytes, int, int], Tuple[Any, int]]
"""``(data, position of the first byte, depth) -> (value, position after it)``"""

_MORE: Any = object()
"""Stands in :data:`_LEAF` for a first byte that more bytes follow."""

_LEAF: List[Any] = [_MORE] * 256
"""Values of a single byte, by that byte."""
_LEAF[:128] = range(128)
_LEAF[0xE0:] = range(-32, 0)
_LEAF[0xC0], _LEAF[0xC2], _LEAF[0xC3] = None, False, True


def _read_leaf(data: bytes, at: int, depth: int) -> Tuple[Any, int]:
    return _LEAF[data[at]], at + 1


def _read_unknown(data: bytes, at: int, depth: int) -> Tuple[Any, int]:
    raise MalformedValueError(f"type 0x{data[at]:02x} is unknown")


def _number_reader(code: str) -> Reader:
    form = Struct(">" + code)
    unpack, size = form.unpack_from, form.size + 1

    def read(data: bytes, at: int, depth: int) -> Tuple[Any, int]:
        return unpack(data, at + 1)[0], at + size

    return read


def _slice(data: bytes, at: int, size: int) -> bytes:
    end = at + size
    if end > len(data):
        raise MalformedValueError("the bytes end too early")
    return data[at:end]


def _str_body(data: bytes, at: int, size: int, depth: int) -> Tuple[Any, int]:
    body = _slice(data, at, size)
    try:
        return body.decode(), at + size
    except UnicodeDecodeError:  # lone surrogates, or not text at all
        return body.decode("utf-8", "surrogatepass"), at + size


def _bytes_body(data: bytes, at: int, size: int, depth: int) -> Tuple[Any, int]:
    return _slice(data, at, size), at + size


def _list_body(data: bytes, at: int, size: int, depth: int) -> Tuple[Any, int]:
    # A count that the bytes cannot hold is refused before anything is made for it.
    if depth >= MAX_DEPTH or size > len(data) - at:
        raise MalformedValueError("nested too deep, or the bytes end too early")
    depth += 1
    items: List[Any] = []
    add = items.append
    for _ in range(size):
        first = data[at]
        leaf = _LEAF[first]
        if leaf is _MORE:
            leaf, at = READERS[first](data, at, depth)
        else:
            at += 1
        add(leaf)
    return items, at


def _dict_body(data: bytes, at: int, size: int, depth: int) -> Tuple[Any, int]:
    if depth >= MAX_DEPTH or 2 * size > len(data) - at:
        raise MalformedValueError("nested too deep, or the bytes end too early")
    depth += 1
    items: Dict[Any, Any] = {}
    for _ in range(size):
        key, at = READERS[data[at]](data, at, depth)
        items[key], at = READERS[data[at]](data, at, depth)
    if len(items) != size:
        raise MalformedValueError("a dict has a key twice")
    return items, at


def _read_fix_str(data: bytes, at: int, depth: int) -> Tuple[Any, int]:
    return _str_body(data, at + 1, data[at] & 0x1F, depth)


def _read_fix_list(data: bytes, at: int, depth: int) -> Tuple[Any, int]:
    return _list_body(data, at + 1, data[at] & 0x0F, depth)


def _read_fix_dict(data: bytes, at: int, depth: int) -> Tuple[Any, int]:
    return _dict_body(data, at + 1, data[at] & 0x0F, depth)


def _extension_body(data: bytes, at: int, size: int, depth: int) -> Tuple[Any, int]:
    kind, at = data[at], at + 1
    end = at + size
    if kind == TUPLE:
        first = data[at]
        # Looked at before reading: tuples around tuples without a list would recurse past MAX_DEPTH.
        if first & 0xF0 != 0x90 and first & 0xFE != 0xDC:
            raise MalformedValueError("a tuple is not a list")
        value, stop = READERS[first](data, at, depth)
        if stop != end:
            raise MalformedValueError("a tuple is not one list")
        return tuple(value), end
    if end > len(data):
        raise MalformedValueError("the bytes end too early")
    return read_body(kind, memoryview(data)[at:end]), end  # pictures are large: copied once, where they stay


def read_body(kind: int, body: memoryview) -> Any:
    """Return what the bytes of an extension other than a tuple stand for."""
    if kind == LARGE_INT and body:
        return int.from_bytes(body, "big", signed=True)
    if kind in (SCALAR, ARRAY):
        from p2pclient.envhost import values_numpy

        return (values_numpy.read_array if kind == ARRAY else values_numpy.read_scalar)(body)
    raise MalformedValueError(f"extension {kind} is unknown")


def _sized_reader(code: str, body: Callable[[bytes, int, int, int], Tuple[Any, int]]) -> Reader:
    form = Struct(">" + code)
    unpack, head = form.unpack_from, form.size + 1

    def read(data: bytes, at: int, depth: int) -> Tuple[Any, int]:
        return body(data, at + head, unpack(data, at + 1)[0], depth)

    return read


def _readers() -> List[Reader]:
    table: List[Reader] = [_read_unknown] * 256
    for first in range(256):
        if _LEAF[first] is not _MORE:
            table[first] = _read_leaf
    table[0x80:0x90] = [_read_fix_dict] * 16
    table[0x90:0xA0] = [_read_fix_list] * 16
    table[0xA0:0xC0] = [_read_fix_str] * 32
    table[0xC4:0xC7] = [_sized_reader(c, _bytes_body) for c in "BHI"]
    table[0xC7:0xCA] = [_sized_reader(c, _extension_body) for c in "BHI"]
    table[0xCB:0xD4] = [_number_reader(c) for c in "dBHIQbhiq"]
    table[0xD9:0xDC] = [_sized_reader(c, _str_body) for c in "BHI"]
    table[0xDC:0xDE] = [_sized_reader(c, _list_body) for c in "HI"]
    table[0xDE:0xE0] = [_sized_reader(c, _dict_body) for c in "HI"]
    return table


READERS: List[Reader] = _readers()
