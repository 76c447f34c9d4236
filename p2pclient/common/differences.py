"""Where two states differ, field by field, in words and as data.

States are plain data as the environment host hands it out: None, bool, int, float, str, bytes, list, tuple, dict, and
NumPy scalars and arrays, which are known here by what they can do, so that NumPy is not needed. What counts as equal is
what gives equal checksums (``envs/canonical.py``): types are told apart, and so are ``0.0`` and ``-0.0``; every NaN is
the same; neither the order of a dict nor the byte order of an array counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DEFAULT_LIMIT = 100
"""Differences that are enough: two states of which everything differs would fill the disk with their list."""

ABSENT = "<absent>"
"""Stands for the value on the side that has none."""

_MAX_TEXT = 60
"""Characters of a value in a sentence."""
_MAX_KEPT = 200
"""Items of a text, of bytes, or digits of a number that a difference keeps whole."""
_SLICE = 1024
"""Items of an array that are compared at once, as bytes, before they are looked at one by one."""

_Pair = tuple[str, Any, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One place at which two states differ."""

    path: str
    """Such as ``environment.agents[1].pos[0]``; ``state`` if it is the whole. An array has ``[row, column]``."""
    ours: Any
    """The value. In place of what is large or has parts stands a line about it, such as ``<dict of 5>``."""
    theirs: Any

    def text(self, ours: str = "here", theirs: str = "there") -> str:
        """Return it as half a sentence: ``environment.time: 3 here, 4 there``."""
        return f"{self.path}: {value_text(self.ours)} {ours}, {value_text(self.theirs)} {theirs}"


def find_differences(ours: Any, theirs: Any, limit: int = DEFAULT_LIMIT) -> list[Difference]:
    """Return the first ``limit`` places at which two states differ, in an order that is the same on both sides.

    Differences hold small values only, and nothing of the states themselves.
    """
    found: list[Difference] = []
    for path, a, b in _walk(ours, theirs, ""):
        if len(found) >= limit:
            break
        found.append(Difference(path.lstrip(".") or "state", _keepsake(a), _keepsake(b)))
    return found


def value_text(value: Any) -> str:
    """Return a value of a difference as a few characters for a person."""
    if type(value) is str and value.startswith("<") and value.endswith(">"):
        return value
    return _shortened(f"{type(value).__name__}({value})" if hasattr(value, "dtype") else repr(value))


def _walk(a: Any, b: Any, path: str) -> Iterator[_Pair]:
    kind = type(a)
    if kind is not type(b):
        yield path, a, b
    elif kind is dict:
        yield from _walk_dicts(a, b, path)
    elif kind is list or kind is tuple:
        yield from _walk_sequences(a, b, path)
    elif _is_array(a):
        yield from _walk_arrays(a, b, path)
    elif not _is_same_leaf(a, b):
        yield path, a, b


def _walk_dicts(a: dict[Any, Any], b: dict[Any, Any], path: str) -> Iterator[_Pair]:
    # By form and not by value: 1, 1.0 and True are one key to a dict, and three to a checksum.
    ours, theirs = {_key_form(key): key for key in a}, {_key_form(key): key for key in b}
    for form in sorted(ours.keys() | theirs.keys()):
        if form not in theirs:
            yield _place(path, ours[form], form), a[ours[form]], ABSENT
        elif form not in ours:
            yield _place(path, theirs[form], form), ABSENT, b[theirs[form]]
        else:
            yield from _walk(a[ours[form]], b[theirs[form]], _place(path, ours[form], form))


def _key_form(key: Any) -> tuple[str, str]:
    """Return what tells a key from others: its type and its text."""
    kind = type(key)
    if kind is tuple:
        return "tuple", f"({', '.join(':'.join(_key_form(part)) for part in key)})"
    # Python refuses to write very large integers in decimal.
    return kind.__name__, hex(key) if kind is int and key.bit_length() > 64 else repr(key)


def _place(path: str, key: Any, form: tuple[str, str]) -> str:
    if type(key) is str and key.isidentifier() and len(key) <= _MAX_TEXT:
        return f"{path}.{key}"
    return f"{path}[{_shortened(form[1])}]"


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 3]}..."


def _walk_sequences(a: Any, b: Any, path: str) -> Iterator[_Pair]:
    for index in range(max(len(a), len(b))):
        place = f"{path}[{index}]"
        if index >= len(b):
            yield place, a[index], ABSENT
        elif index >= len(a):
            yield place, ABSENT, b[index]
        else:
            yield from _walk(a[index], b[index], place)


def _is_array(value: Any) -> bool:
    """True for NumPy arrays, false for NumPy scalars: those have no items to ask for."""
    return hasattr(value, "dtype") and hasattr(value, "__setitem__")


def _is_same_leaf(a: Any, b: Any) -> bool:
    if hasattr(a, "dtype"):
        if _dtype_name(a) != _dtype_name(b):
            return False
        a, b = a.item(), b.item()
    if isinstance(a, str | bytes | int):
        return bool(a == b)
    return repr(a) == repr(b)  # of floats: exact, with the sign of zero, and one NaN


def _dtype_name(value: Any) -> str:
    return str(value.dtype.str).lstrip("<>=|")


def _walk_arrays(a: Any, b: Any, path: str) -> Iterator[_Pair]:
    if _dtype_name(a) != _dtype_name(b) or a.shape != b.shape:
        yield path, a, b
        return
    ours, theirs = a.reshape(-1), b.reshape(-1)
    for start in range(0, len(ours), _SLICE):
        mine, other = ours[start : start + _SLICE], theirs[start : start + _SLICE]
        if mine.dtype == other.dtype and mine.tobytes() == other.tobytes():
            continue
        for offset, (one, two) in enumerate(zip(mine.tolist(), other.tolist(), strict=True)):
            if not _is_same_leaf(one, two):
                yield f"{path}{_index_text(start + offset, a.shape)}", one, two


def _index_text(flat: int, shape: tuple[int, ...]) -> str:
    """Return the place of an item in C order as ``[row, column]``; nothing for an array without axes."""
    places: list[str] = []
    for extent in reversed(shape):
        flat, place = divmod(flat, extent)
        places.append(str(place))
    return f"[{', '.join(reversed(places))}]" if places else ""


def _keepsake(value: Any) -> Any:
    """Return ``value`` if it is small and has no parts, else a line about it."""
    kind = type(value).__name__
    if isinstance(value, dict | list | tuple):
        return f"<{kind} of {len(value)}>"
    if _is_array(value):
        return f"<array of {_dtype_name(value)}, shape {list(value.shape)}>"
    if isinstance(value, str | bytes) and len(value) > _MAX_KEPT:
        return f"<{kind} of {len(value)}: {value[:20]!r}...>"
    if isinstance(value, int) and value.bit_length() > 4 * _MAX_KEPT:
        return f"<int of {value.bit_length()} bits: {hex(value)[:22]}...>"
    return value
