"""Values of any type as strict JSON: for manifests, and for table cells that have no column type of their own.

The form depends on nothing but the value: keys are sorted, floats are written so that they read back exactly.
"""

from __future__ import annotations

import json
import math
from typing import Any

_MAX_JSON_INT = 1 << 64
_MAX_DEPTH = 100


def to_plain(value: Any, depth: int = 0) -> Any:
    """Return ``value`` made of None, bool, int, float, str, list and dict with string keys only.

    What JSON does not have becomes text: bytes as hex, NaN and infinities as ``NaN``, ``Infinity``, ``-Infinity``,
    integers beyond 64 bits as hex with ``0x``; NumPy arrays and tuples become lists.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, int):
        return int(value) if -_MAX_JSON_INT < value < _MAX_JSON_INT else hex(value)
    if isinstance(value, float):
        return _plain_float(float(value))
    if isinstance(value, bytes):
        return value.hex()
    if depth >= _MAX_DEPTH:
        return "..."
    if isinstance(value, dict):
        return {key_label(key): to_plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item, depth + 1) for item in value]
    return _plain_other(value, depth)


def _plain_float(value: float) -> Any:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _plain_other(value: Any, depth: int) -> Any:
    """NumPy by its own conversion; it returns the very same type where Python has no equal, such as long doubles."""
    as_python = value.tolist() if type(value).__module__ == "numpy" else value
    return clean_text(str(value)) if type(as_python) in (type(value), complex) else to_plain(as_python, depth + 1)


def clean_text(text: str) -> str:
    """Return ``text`` with lone surrogates, which no file format takes, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def key_label(key: Any) -> str:
    """Return a dict key as text; keys of different types never get the same label."""
    if type(key) is str:
        return clean_text("\\" + key if key.startswith(("[", "\\")) else key)
    return f"[{clean_text(json.dumps(to_plain(key), sort_keys=True))}]"


def to_json_text(value: Any) -> str:
    """Return ``value`` as one line of strict JSON."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
