"""Large tables of plain values are walked once and then known again, as long as nothing in them has changed.

A table is a list or dict that holds nothing but lists, tuples and dicts of plain values. It has not changed if it still
consists of the very same objects: all its containers hold the same items as before, by identity, and all else in it is
of types that cannot change. That is looked at in every walk, in C, which takes a twentieth of walking it. What has
changed is walked as ever; what changes all the time is not remembered any more.
"""

from __future__ import annotations

from itertools import chain, islice
from operator import is_
from typing import Any, Dict, List, NamedTuple, Optional, Set

import numpy as np

from envs.canonical import Settled
from envs.walk_forms import ATOMS, Place, Walker

SMALLEST = 16
"""Items of a container below which it is not taken for a table."""
_FEWEST = 200
"""Items in all of a table's containers below which walking it is as fast."""
_MOST_CHANGES = 3
"""Walks in a row that may find a table changed before it is given up."""
_MOST_TABLES = 256
_PLAIN = ATOMS | frozenset(
    (np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, np.float32, np.float64)
)
"""Types of values that cannot change."""


class _Table(NamedTuple):
    """A table as it was."""

    root: Any
    """Held, so that its id is no other's."""
    containers: List[Any]
    sizes: List[int]
    items: List[Any]
    """All that the containers hold, keys too, one container after the other. Held like the root."""
    ids: Any
    """Of the containers and of what else the walk has noted, as a frozenset."""
    seen: Dict[int, Any]
    """What the walk has noted of them."""
    place: Place
    form: Settled


class WalkMemory:
    """What is known from earlier walks from one root."""

    def __init__(self) -> None:
        self._tables: Dict[int, _Table] = {}
        self._changes: Dict[int, int] = {}
        self._met: Set[int] = set()
        self._is_inside = False

    def walk(self, value: Any, walk: Any, place: Place, walker: Walker) -> Any:
        """Return the form of ``value``: what ``walker`` makes of it, or that of an earlier walk as ``Settled``."""
        if self._is_inside:
            return walker(value, walk, place)
        key = id(value)
        table = self._tables.get(key)
        if table is not None:
            if _is_unchanged(table, walk, place):
                self._changes.pop(key, None)
                walk.seen.update(table.seen)
                return table.form
            del self._tables[key]
            self._changes[key] = self._changes.get(key, 0) + 1
        if self._changes.get(key, 0) >= _MOST_CHANGES:
            return walker(value, walk, place)
        if key not in self._met:
            self._met.add(key)  # many are made anew in every step: only those that stay are worth the trouble
            return walker(value, walk, place)
        return self._learn(value, walk, place, walker)

    def _learn(self, value: Any, walk: Any, place: Place, walker: Walker) -> Any:
        containers = _containers_of(value)
        before, put_off = len(walk.seen), walk.put_off
        if containers is None or any(id(each) in walk.seen for each in islice(containers, 1, None)):
            self._give_up(id(value))
            return walker(value, walk, place)
        self._is_inside = True
        try:
            form = walker(value, walk, place)
        finally:
            self._is_inside = False
        if walk.put_off != put_off:
            return form  # part of it stands elsewhere
        noted = dict(islice(walk.seen.items(), before, None))
        items = _items_of(containers)
        ids = frozenset(noted)
        self._tables[id(value)] = _Table(
            value, containers, list(map(len, containers)), items, ids, noted, place, Settled(form)
        )
        if len(self._tables) > _MOST_TABLES:
            self._tables.clear()
        return form

    def _give_up(self, key: int) -> None:
        if len(self._changes) > 64 * _MOST_TABLES:
            self._changes.clear()  # of objects that came and went
            self._met.clear()
        self._changes[key] = _MOST_CHANGES


def _is_unchanged(table: _Table, walk: Any, place: Place) -> bool:
    # A reference from elsewhere to a part of it would be walked, and named, where it is met first.
    if place != table.place or not walk.seen.keys().isdisjoint(table.ids):
        return False
    if list(map(len, table.containers)) != table.sizes:
        return False
    return all(map(is_, _each_item(table.containers), table.items))


def _containers_of(root: Any) -> Optional[List[Any]]:
    """Return ``root`` and all containers in it; None if it is no table or a small one."""
    found, rest, size = [root], [root], 0
    kinds = (list, tuple, dict)
    met = {id(root)}
    while rest:
        each = rest.pop()
        size += len(each)
        if type(each) is dict and not ATOMS.issuperset(map(type, each)):
            return None
        for item in each.values() if type(each) is dict else each:
            kind = type(item)
            if kind in _PLAIN:
                continue
            if kind not in kinds:
                return None
            if id(item) not in met:
                met.add(id(item))
                found.append(item)
                rest.append(item)
    return found if size >= _FEWEST else None


def _items_of(containers: List[Any]) -> List[Any]:
    return list(_each_item(containers))


def _each_item(containers: List[Any]) -> Any:
    """Iterate over what the containers hold: all items of lists and tuples and all keys, then all values of dicts."""
    dicts = [each for each in containers if type(each) is dict]
    return chain(chain.from_iterable(containers), chain.from_iterable(map(dict.values, dicts)))
