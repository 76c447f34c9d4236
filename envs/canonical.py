"""Checksums of plain data that are equal on every machine.

Plain data is None, bool, int, float, str, bytes, list, tuple, dict, NumPy scalars and NumPy arrays of these kinds.
Everything else has no form here and is named by its path. The rules:

- Types are told apart: ``1``, ``1.0``, ``True``, ``numpy.int32(1)`` and ``numpy.int64(1)`` all differ, a list differs
  from a tuple, an array from a list, and ``(2, 3)`` from ``(3, 2)`` in shape. Arrays also differ by dtype.
- Integers may have any size. Byte order is not part of a value: arrays count as little-endian.
- ``-0.0`` differs from ``0.0``, because an environment can tell them apart. Every NaN is the same NaN, because its sign
  and payload depend on the processor.
- The order of a dict does not count; the types of its keys do.

The form is prefix-free: every value starts with a tag and says its own length before its content, so that no two
values share their bytes and none is the beginning of another.
"""

from __future__ import annotations

import sys
from hashlib import blake2b
from struct import Struct
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from p2pclient.common.errors import EnvHostError

CHECKSUM_BYTES = 8
"""Length of a checksum."""

Put = Callable[[bytes], None]

_LENGTH = Struct("<Q").pack
_FLOAT = Struct("<d").pack
_NAN = b"f" + _FLOAT(float("nan"))
_NATIVE_IS_BIG = sys.byteorder == "big"
_ARRAY_KINDS = frozenset("biufcSU")
_SMALL_INTS = {n: b"i" + _LENGTH(2) + n.to_bytes(2, "little", signed=True) for n in range(-256, 1024)}


class UnsupportedValueError(EnvHostError):
    """An environment's state holds what is not plain data. The message names the path and the type."""


class Settled:
    """Plain data that will not change any more, so that its form is made only once. It stands for the data itself."""

    __slots__ = ("_form", "data")

    def __init__(self, data: Any) -> None:
        self.data = data
        self._form = b""

    @property
    def form(self) -> bytes:
        """The canonical bytes of :attr:`data`."""
        if not self._form:
            self._form = canonical_bytes(self.data)
        return self._form


class _NoForm(Exception):
    """Raised inside; the caller finds the path."""


def checksum(value: Any) -> bytes:
    """Return the 8-byte blake2b digest of :func:`canonical_bytes` of ``value``.

    Raises:
        UnsupportedValueError: part of ``value`` is not plain data.
    """
    return blake2b(canonical_bytes(value), digest_size=CHECKSUM_BYTES).digest()


def canonical_bytes(value: Any) -> bytes:
    """Return the one sequence of bytes that stands for ``value``.

    Raises:
        UnsupportedValueError: part of ``value`` is not plain data.
    """
    parts: List[bytes] = []
    try:
        _WRITERS.get(type(value), _write_other)(value, parts.append)
    except _NoForm:
        path, part = _find_unsupported(value, "state")
        raise UnsupportedValueError(f"{path} is a {_type_name(part)}, which is not plain data") from None
    return b"".join(parts)


def _write_none(value: None, put: Put) -> None:
    put(b"N")


def _write_bool(value: bool, put: Put) -> None:
    put(b"T" if value else b"F")


def _write_int(value: int, put: Put) -> None:
    small = _SMALL_INTS.get(value)
    if small is not None:
        put(small)
        return
    # At least two bytes, so that the table of small integers above holds the same form.
    length = max(2, value.bit_length() // 8 + 1)
    put(b"i" + _LENGTH(length) + value.to_bytes(length, "little", signed=True))


def _write_float(value: float, put: Put) -> None:
    put(b"f" + _FLOAT(value) if value == value else _NAN)


def _write_str(value: str, put: Put) -> None:
    put(_encode_str(value))


def _encode_str(value: str) -> bytes:
    known = _KNOWN_STRINGS.get(value)
    if known is not None:
        return known
    data = value.encode("utf-8", "surrogatepass")
    encoded = b"u" + _LENGTH(len(data)) + data
    if len(encoded) < 80 and len(_KNOWN_STRINGS) < 4096:
        _KNOWN_STRINGS[value] = encoded
    return encoded


def _write_bytes(value: bytes, put: Put) -> None:
    put(b"b" + _LENGTH(len(value)) + value)


def _write_list(value: Any, put: Put) -> None:
    put(b"[" + _LENGTH(len(value)))
    for item in value:
        _WRITERS.get(type(item), _write_other)(item, put)


def _write_tuple(value: Any, put: Put) -> None:
    put(b"(" + _LENGTH(len(value)))
    for item in value:
        _WRITERS.get(type(item), _write_other)(item, put)


def _write_dict(value: Dict[Any, Any], put: Put) -> None:
    put(b"{" + _LENGTH(len(value)))
    for encoded, key in sorted_keys(value):
        put(encoded)
        item = value[key]
        _WRITERS.get(type(item), _write_other)(item, put)


def sorted_keys(value: Dict[Any, Any]) -> List[Tuple[bytes, Any]]:
    """Return ``(form, key)`` of all keys, in the order of their forms. Not to be changed."""
    keys = tuple(value)
    known = _KNOWN_KEYS.get(keys)
    if known is not None and _STR.issuperset(map(type, keys)):  # True and 1.0 would be taken for 1
        return known
    pairs = [(_encode_str(key) if type(key) is str else _encode_key(key), key) for key in value]
    pairs.sort(key=_first)
    if _STR.issuperset(map(type, keys)):
        if len(_KNOWN_KEYS) >= 4096:
            _KNOWN_KEYS.clear()
        _KNOWN_KEYS[keys] = pairs
    return pairs


def _first(pair: Tuple[bytes, Any]) -> bytes:
    return pair[0]


def _encode_key(key: Any) -> bytes:
    parts: List[bytes] = []
    _WRITERS.get(type(key), _write_other)(key, parts.append)
    return b"".join(parts)


def _write_array(value: Any, put: Put) -> None:
    shape = value.shape
    head = _KNOWN_HEADS.get((value.dtype, shape))
    if head is None:
        head = _array_head(value.dtype, shape)
        if len(_KNOWN_HEADS) < 4096:
            _KNOWN_HEADS[value.dtype, shape] = head
    put(head)
    put(_array_bytes(value))


def _write_settled(value: Settled, put: Put) -> None:
    put(value.form)


def _write_other(value: Any, put: Put) -> None:
    """Write NumPy scalars, one type per dtype; refuse the rest."""
    if not isinstance(value, np.generic):
        raise _NoForm
    array = np.asarray(value)
    if array.dtype.type is not type(value):
        raise _NoForm
    put(b"s")
    put(_array_head(array.dtype, ()))
    put(_array_bytes(array))


def _array_head(dtype: Any, shape: Tuple[int, ...]) -> bytes:
    # Extended precision is refused: its size and its padding bytes differ between machines.
    if dtype.kind not in _ARRAY_KINDS or (dtype.kind == "f" and dtype.itemsize > 8) or dtype.itemsize > 1 << 16:
        raise _NoForm
    if dtype.kind == "c" and dtype.itemsize > 16:
        raise _NoForm
    name: bytes = dtype.newbyteorder("<").str.encode("ascii")
    return b"a" + _LENGTH(len(name)) + name + _LENGTH(len(shape)) + b"".join(_LENGTH(n) for n in shape)


def _array_bytes(array: Any) -> bytes:
    dtype = array.dtype
    if dtype.kind in "fc":
        array = _without_nan_payloads(array)
    if dtype.isnative is _NATIVE_IS_BIG and dtype.itemsize > 1:
        array = array.astype(dtype.newbyteorder("<"))
    data: bytes = array.tobytes()
    return data


def _without_nan_payloads(array: Any) -> Any:
    nan = np.isnan(array)
    if not nan.any():
        return array
    copy = np.array(array)
    if copy.dtype.kind == "f":
        copy[nan] = np.nan
    else:
        copy.real[np.isnan(copy.real)] = np.nan
        copy.imag[np.isnan(copy.imag)] = np.nan
    return copy


_KNOWN_STRINGS: Dict[str, bytes] = {}
_KNOWN_HEADS: Dict[Any, bytes] = {}
_KNOWN_KEYS: Dict[Tuple[str, ...], List[Tuple[bytes, Any]]] = {}
_STR = {str}
_WRITERS: Dict[type, Callable[[Any, Put], None]] = {
    type(None): _write_none,
    bool: _write_bool,
    int: _write_int,
    float: _write_float,
    str: _write_str,
    bytes: _write_bytes,
    list: _write_list,
    tuple: _write_tuple,
    dict: _write_dict,
    np.ndarray: _write_array,
    Settled: _write_settled,
}


def _find_unsupported(value: Any, path: str) -> Tuple[str, Any]:
    """Return ``(path, part)`` of the first part that :func:`canonical_bytes` refuses."""
    if type(value) is dict:
        for key, item in value.items():
            for part, place in ((key, f"the key {key!r} of {path}"), (item, f"{path}[{key!r}]")):
                if not _has_form(part):
                    return _find_unsupported(part, place)
    if type(value) in (list, tuple):
        for index, item in enumerate(value):
            if not _has_form(item):
                return _find_unsupported(item, f"{path}[{index}]")
    return path, value


def _has_form(value: Any) -> bool:
    try:
        _WRITERS.get(type(value), _write_other)(value, lambda _: None)
    except _NoForm:
        return False
    return True


def _type_name(value: Any) -> str:
    dtype = f" of {value.dtype}" if isinstance(value, (np.ndarray, np.generic)) else ""
    return f"{type(value).__module__}.{type(value).__qualname__}{dtype}"
