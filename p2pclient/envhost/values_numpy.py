"""NumPy scalars and arrays for the codec: dtype, shape and every byte are kept. Imported only when one is met."""

from __future__ import annotations

import re
from struct import Struct
from typing import Any, Dict, List, Optional

import numpy as np

from p2pclient.envhost.values_form import ARRAY, SCALAR, CannotSendError, MalformedValueError
from p2pclient.envhost.values_write import Put, Writer, extension_head

_DTYPE = re.compile(r"[<>|][biufcSU][0-9]{1,9}|[<>][mM]8(\[[0-9]{0,9}[A-Za-z]{1,7}\])?")
"""Dtypes whose values are their bytes: no objects, no records, nothing that NumPy would look up."""

_MAX_AXES = 32
"""NumPy's limit before 2.0, so that every host can take what another sends."""

_dtypes: Dict[bytes, Any] = {}


def writer_of(kind: type) -> Optional[Writer]:
    """Return the writer for a NumPy type, or None if it cannot be sent."""
    if kind is np.ndarray:
        return _write_array
    if kind is np.str_:
        return _write_numpy_str
    if issubclass(kind, np.generic) and kind not in (np.object_, np.void):
        return _write_scalar
    return None


def _write_scalar(value: Any, put: Put, depth: int) -> None:
    name = value.dtype.str.encode()
    body = bytes(value) if type(value) is np.bytes_ else value.tobytes()
    put(extension_head(SCALAR, 1 + len(name) + len(body)))
    put(bytes((len(name),)) + name + body)


def _write_numpy_str(value: Any, put: Put, depth: int) -> None:
    # As UTF-8 and not as NumPy's fixed width: that cuts trailing zeros off.
    body = value.encode("utf-8", "surrogatepass")  # not str(value): that cuts too
    put(extension_head(SCALAR, 2 + len(body)))
    put(b"\x01U" + body)


def _write_array(value: Any, put: Put, depth: int) -> None:
    name = value.dtype.str.encode()
    if not _DTYPE.fullmatch(name.decode()) or value.dtype.names:
        raise CannotSendError(f"array of dtype {value.dtype} cannot be sent")
    if value.ndim > _MAX_AXES:
        raise CannotSendError(f"array with {value.ndim} axes cannot be sent")
    head = bytes((len(name),)) + name + Struct(f">B{value.ndim}Q").pack(value.ndim, *value.shape)
    put(extension_head(ARRAY, len(head) + value.nbytes))
    put(head)
    # Large pictures are joined straight from their memory; tobytes() would copy them once more.
    direct = value.nbytes > 4096 and value.flags.c_contiguous and value.dtype.kind not in "mM"
    put(value.data if direct else value.tobytes())


def _dtype(name: bytes) -> Any:
    known = _dtypes.get(name)
    if known is None:
        text = name.decode("ascii")
        if not _DTYPE.fullmatch(text):
            raise MalformedValueError(f"dtype {text[:40]!r} is not allowed")
        known = np.dtype(text)
        if len(_dtypes) < 256:  # names come from bytes that may be hostile
            _dtypes[name] = known
    return known


def _check_items(array: Any) -> Any:
    """Refuse bit patterns that NumPy itself never makes: they compare and hash in undefined ways."""
    kind = array.dtype.kind
    if kind == "b" and array.size and array.view(np.uint8).max() > 1:
        raise MalformedValueError("a bool is neither 0 nor 1")
    if kind == "U" and array.size and array.dtype.itemsize:
        points = array.reshape(-1).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        if points.max() > 0x10FFFF:
            raise MalformedValueError("a character is beyond Unicode")
    return array


def read_scalar(body: memoryview) -> Any:
    """Return the NumPy scalar in ``body``.

    Raises:
        MalformedValueError, IndexError, ValueError, TypeError: the body is malformed.
    """
    end = 1 + body[0]
    name, raw = bytes(body[1:end]), bytes(body[end:])
    if name == b"U":
        return np.str_(str(raw, "utf-8", "surrogatepass"))
    dtype = _dtype(name)
    if dtype.kind == "S" and dtype.itemsize == len(raw):
        return np.bytes_(raw)
    if dtype.kind in "SU" or len(raw) != dtype.itemsize:
        raise MalformedValueError("a scalar has the wrong size")
    return _check_items(np.frombuffer(raw, dtype))[0]


def read_array(body: memoryview) -> Any:
    """Return the array in ``body``, as its own memory that may be written to.

    Raises:
        MalformedValueError, IndexError, ValueError, TypeError: the body is malformed.
    """
    at = 1 + body[0]
    dtype = _dtype(bytes(body[1:at]))
    axes = body[at]
    if axes > _MAX_AXES:
        raise MalformedValueError(f"an array has {axes} axes")
    form = Struct(f">{axes}Q")
    shape: List[int] = list(form.unpack_from(body, at + 1))
    at += 1 + form.size
    size = dtype.itemsize
    for extent in shape:
        size *= extent
    if size != len(body) - at:
        raise MalformedValueError("an array's bytes do not fill its shape")
    if not size:
        return _empty(shape, dtype)
    return _check_items(np.ndarray(shape, dtype, bytearray(body[at:])))


def _empty(shape: List[int], dtype: Any) -> Any:
    if dtype.itemsize == 0 and 0 not in shape:
        # Strings of width 0: NumPy widens them to 1 when it makes an array, so no real array has them.
        raise MalformedValueError("an array of items without bytes")
    return np.empty(shape, dtype)
