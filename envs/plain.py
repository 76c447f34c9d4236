"""What is done with plain data besides checksums: isolated copies, and the place where two states differ."""

from __future__ import annotations

from typing import Any, Iterator, Optional, Tuple

import numpy as np

from envs.canonical import Settled, canonical_bytes, sorted_keys

_ABSENT = "<absent>"
_IMMUTABLE = frozenset((type(None), bool, int, float, str, bytes))


def copy_plain(value: Any) -> Any:
    """Return a copy of plain data that shares nothing that could change with ``value``.

    Arrays that are read-only and own their memory are shared: environments that freeze what they hand out are copied
    at the price of their containers. What is :class:`~envs.canonical.Settled` becomes the data that it stands for.
    """
    kind = type(value)
    if kind is dict:
        return {key: item if type(item) in _IMMUTABLE else copy_plain(item) for key, item in value.items()}
    if kind is list:
        return [item if type(item) in _IMMUTABLE else copy_plain(item) for item in value]
    if kind is tuple:
        return tuple([copy_plain(item) for item in value])
    if kind is np.ndarray:
        return value if not value.flags.writeable and value.base is None else np.array(value)
    if kind is Settled:
        return copy_plain(value.data)
    return value


def different_structure(known: Any, found: Any, path: str = "state") -> Optional[str]:
    """Return the path of the first place where two values differ in type, keys, length, dtype or shape, or None."""
    if type(known) is not type(found):
        return path
    if type(known) is dict:
        if set(known) != set(found):
            return path
        parts = ((known[key], found[key], f"{path}[{key!r}]") for key in known)
    elif type(known) in (list, tuple):
        if len(known) != len(found):
            return path
        parts = ((known[i], found[i], f"{path}[{i}]") for i in range(len(known)))
    elif type(known) is np.ndarray:
        return None if known.dtype == found.dtype and known.shape == found.shape else path
    else:
        return None
    return next((place for place in (different_structure(*part) for part in parts) if place is not None), None)


def first_difference(a: Any, b: Any, path: str = "state") -> Optional[Tuple[str, Any, Any]]:
    """Return ``(path, value in a, value in b)`` of the first place where two states differ, or None."""
    return next(differences(a, b, path), None)


def differences(a: Any, b: Any, path: str = "state") -> Iterator[Tuple[str, Any, Any]]:
    """Yield ``(path, value in a, value in b)`` of the places where two states differ, of an array the first item.

    Places are visited in canonical order, so that peers which compare the same two states name the same place. What is
    on one side only is given as the text ``<absent>`` on the other.
    """
    if type(a) is type(b):
        if type(a) is dict:
            yield from _in_dicts(a, b, path)
            return
        if type(a) in (list, tuple):
            yield from _in_sequences(a, b, path)
            return
        if type(a) is np.ndarray and a.shape == b.shape and a.dtype == b.dtype:
            yield from _in_arrays(a, b, path)
            return
    if canonical_bytes(a) != canonical_bytes(b):
        yield path, a, b


def _in_dicts(a: Any, b: Any, path: str) -> Iterator[Tuple[str, Any, Any]]:
    ours, theirs = dict(sorted_keys(a)), dict(sorted_keys(b))
    for encoded in sorted(set(ours) | set(theirs)):
        key = ours[encoded] if encoded in ours else theirs[encoded]
        place = f"{path}.{key}" if type(key) is str and key.isidentifier() else f"{path}[{key!r}]"
        if encoded not in theirs:
            yield place, a[key], _ABSENT
        elif encoded not in ours:
            yield place, _ABSENT, b[key]
        else:
            yield from differences(a[key], b[key], place)


def _in_sequences(a: Any, b: Any, path: str) -> Iterator[Tuple[str, Any, Any]]:
    for index in range(max(len(a), len(b))):
        if index >= len(b):
            yield f"{path}[{index}]", a[index], _ABSENT
        elif index >= len(a):
            yield f"{path}[{index}]", _ABSENT, b[index]
        else:
            yield from differences(a[index], b[index], f"{path}[{index}]")


def _in_arrays(a: Any, b: Any, path: str) -> Iterator[Tuple[str, Any, Any]]:
    if canonical_bytes(a) == canonical_bytes(b):
        return
    for index in np.ndindex(*a.shape):
        if canonical_bytes(a[index]) != canonical_bytes(b[index]):
            yield f"{path}[{', '.join(map(str, index))}]", a[index].item(), b[index].item()
            return
    yield path, a, b
