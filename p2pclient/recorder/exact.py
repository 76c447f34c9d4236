"""Portable states as JSON that reads back exactly, type and value.

JSON has fewer types than a state. What it lacks is an object with one key that starts with ``$``:

=================  =====================================================================
``$bytes``         Base64
``$tuple``         an array
``$int``           an integer beyond 64 bits, in hex with ``0x``
``$float``         ``nan``, ``inf`` or ``-inf``
``$array``         the dtype; beside it ``shape``, and ``data``: the items in C order, Base64
``$scalar``        the dtype of a NumPy scalar; beside it ``text`` for people, and ``data``, Base64
``$text``          a NumPy string
``$dict``          pairs, for a dict with a key that is no string or starts with ``$``
=================  =====================================================================

Every NaN of Python is the same NaN here, as it is to checksums.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from typing import Any

from p2pclient.common.errors import RecordingError

_MAX_DEPTH = 100
"""As in the codec of the pipe, through which every state comes."""

_LARGE = 1 << 64
_DTYPE = re.compile(r"[<>|][biufcSU][0-9]{1,9}|[<>][mM]8(\[[0-9]{0,9}[A-Za-z]{1,7}\])?")
"""Dtypes whose items are their bytes."""


def to_exact(value: Any, depth: int = 0) -> Any:
    """Return ``value`` in the form of this module, made of what ``json`` writes.

    Raises:
        RecordingError: part of it is no plain data, or is nested deeper than 100 levels.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if -_LARGE < value < _LARGE else {"$int": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if kind is bytes:
        return {"$bytes": _to_text(value)}
    if depth > _MAX_DEPTH:
        raise RecordingError(f"a state is nested deeper than {_MAX_DEPTH} levels")
    if kind is list:
        return [to_exact(item, depth + 1) for item in value]
    if kind is tuple:
        return {"$tuple": [to_exact(item, depth + 1) for item in value]}
    if kind is dict:
        if all(type(key) is str and not key.startswith("$") for key in value):
            return {key: to_exact(item, depth + 1) for key, item in value.items()}
        return {"$dict": [[to_exact(part, depth + 1) for part in pair] for pair in value.items()]}
    if kind.__module__ == "numpy":
        return _numpy_to_exact(value)
    raise RecordingError(f"a state holds a {kind.__module__}.{kind.__qualname__}, which is not plain data")


def _numpy_to_exact(value: Any) -> dict[str, Any]:
    name = value.dtype.str
    if type(value).__name__ == "str_":
        return {"$text": str.__str__(value)}
    if not _DTYPE.fullmatch(name) or value.dtype.names:
        raise RecordingError(f"a state holds a NumPy value of dtype {value.dtype}, which is not plain data")
    if type(value).__name__ == "ndarray":
        return {"$array": name, "shape": list(value.shape), "data": _to_text(value.tobytes())}
    # NumPy bytes end in what they end in; their tobytes() fills up to the dtype's width.
    data = bytes(value) if value.dtype.kind == "S" else value.tobytes()
    return {"$scalar": name, "text": str(value), "data": _to_text(data)}


def from_exact(form: Any) -> Any:
    """Return the value whose form :func:`to_exact` made.

    Raises:
        RecordingError: it made no such form.
    """
    try:
        return _read(form, 0)
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError, binascii.Error) as error:
        raise RecordingError(f"a state in a report is malformed: {error}") from error


def _read(form: Any, depth: int) -> Any:
    # A tuple takes two levels, and a report puts states into lists.
    if depth > 2 * _MAX_DEPTH + 10:
        raise ValueError("nested too deeply")
    if type(form) is list:
        return [_read(item, depth + 1) for item in form]
    if type(form) is not dict:
        return form
    name = next(iter(form), "")
    if not name.startswith("$"):
        return {key: _read(item, depth + 1) for key, item in form.items()}
    content = form[name]
    if name == "$tuple":
        return tuple(_read(content, depth + 1))
    if name == "$dict":
        return {_read(key, depth + 1): _read(item, depth + 1) for key, item in content}
    return _read_marked(name, content, form)


def _read_marked(name: str, content: Any, form: dict[str, Any]) -> Any:
    if name == "$bytes":
        return _to_bytes(content)
    if name == "$int":
        return int(content, 16)
    if name == "$float":
        return float(content)
    if name in ("$array", "$scalar", "$text"):
        return _read_numpy(name, content, form)
    raise ValueError(f"{name[:40]!r} is unknown")


def _read_numpy(name: str, content: Any, form: dict[str, Any]) -> Any:
    import numpy as np

    if name == "$text":
        return np.str_(content)
    if not _DTYPE.fullmatch(content):
        raise ValueError(f"dtype {content[:40]!r} is not allowed")
    dtype, data = np.dtype(content), _to_bytes(form["data"])
    if name == "$scalar":
        return np.bytes_(data) if dtype.kind == "S" else np.frombuffer(data, dtype, count=1)[0]
    shape = [int(extent) for extent in form["shape"]]
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError("the bytes of an array do not fill its shape")
    return np.ndarray(shape, dtype, bytearray(data))


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _to_bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
