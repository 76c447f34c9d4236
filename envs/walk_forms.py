"""What all walkers of state share: places, names, references to what was met before; see ``envs/walk.py``."""

from __future__ import annotations

import struct
import types
from typing import Any, Callable, Dict, Tuple

Place = Tuple[Any, Any, int]
"""The place of what holds it, or None; the name, key or index there; how deep that is."""

Walker = Callable[[Any, Any, Place], Any]

ATOMS = frozenset((type(None), bool, int, float, str, bytes))
"""Types whose values stand for themselves."""

DEEPEST = 48
"""Levels of nesting below which content goes to the list of what is further: what reads trees recurses."""


def type_name(kind: type) -> str:
    """Return a type's name with its module, or without it if it is built in."""
    module = getattr(kind, "__module__", None)  # a few types of C extensions have none, or a descriptor
    return kind.__qualname__ if module == "builtins" or type(module) is not str else f"{module}.{kind.__qualname__}"


def path_text(place: Place) -> str:
    """Return a place as a person reads it: ``state.agents[0].pos``."""
    keys = []
    holder, key, _ = place
    while holder is not None:
        keys.append(f".{key}" if type(key) is str and key.isidentifier() else f"[{key!r}]")
        holder, key, _ = holder
    return str(key) + "".join(reversed(keys))


def once(walker: Walker) -> Walker:
    """Return ``walker`` for values that are told apart by identity, and whose content may lie deep."""

    def walk_once(value: Any, walk: Any, place: Place) -> Any:
        key = id(value)
        if key in walk.seen:
            return walk.reference(key)
        if place[2] > DEEPEST:
            return walk.postpone(key, walker, value)
        walk.seen[key] = place
        form = walker(value, walk, place)
        if form is None:
            del walk.seen[key]  # it is not state, and so is nothing that refers to it
        return form

    return walk_once


def slot_readers(kind: type) -> Dict[str, Callable[[Any], Any]]:
    """Return what reads each slot, by its name; a slot that a class hides has the name of its class before its own."""
    found: Dict[str, Callable[[Any], Any]] = {}
    for cls in kind.__mro__:
        for name, member in vars(cls).items() if "__slots__" in vars(cls) else ():
            if isinstance(member, types.MemberDescriptorType):
                found[name if name not in found else f"{type_name(cls)}.{name}"] = member.__get__
    return found


def has_hidden_content(kind: type) -> bool:
    """Tell whether instances hold more than their ``__dict__`` and slots say: the size gives it away."""
    words = len(slot_readers(kind)) + (kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0)
    return kind.__itemsize__ != 0 or kind.__basicsize__ > object.__basicsize__ + words * struct.calcsize("P")
