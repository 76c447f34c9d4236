"""The state of any object as plain data, so that an environment which offers no state of its own has a checksum.

:func:`state_tree` follows every reference from an object and writes down what it finds in the forms of
``envs/canonical.py``. The same history gives the same tree in every process: nothing in it depends on addresses, on the
hash seed, or on the order of dicts and sets. How the parts look:

- An object is a dict of its attributes, with its type under ``<type>``. A list is a list, a dict a dict.
- What has a name rather than content (functions, classes, modules, members of enums) is ``<its name>``.
- What was met before is ``<same as state.path>``: cycles end, and shared is told from equal. Attributes and keys are
  visited in the order in which differences are looked for, so that the first difference between two trees is a cause.
- What lies very deep, as the end of a long linked list does, is ``<further n>`` and stands in the list ``<further>``.
- What is not state, such as a window, is None, and an attribute that is None is as if it were not there. So is a list
  or a dict by names of nothing but that.
- What could not be looked into is ``<opaque type>``, and :attr:`Tree.opaque` names it.

What is not state, and how types of libraries look, says ``envs/walk_kinds.py``; physics has ``envs/walk_physics.py``.
Out of reach are class attributes and the globals of modules: only what the object itself leads to is walked.
"""

from __future__ import annotations

import gc
from collections import defaultdict, deque
from typing import Any, Collection, Deque, Dict, FrozenSet, List, Optional, Tuple

import numpy as np

from envs.canonical import canonical_bytes, checksum, sorted_keys
from envs.walk_forms import ATOMS, Place, Walker, has_hidden_content, once, path_text, slot_readers, type_name
from envs.walk_kinds import (
    BY_IDENTITY,
    BY_NAME,
    BY_VALUE,
    FAMILIES,
    NOT_STATE,
    PLAIN_COPIES,
    left_out,
    not_state_attributes,
    opaque,
    plain_form,
    reduced,
)
from envs.walk_memory import SMALLEST, WalkMemory
from envs.walk_physics import physics_walker

_MOST_KNOWN = 4096
"""Entries of a cache after which it starts afresh."""

_STR = {str}
_INT = {int}
_Order = Tuple[Any, ...]
_KEY_ORDERS: Dict[_Order, _Order] = {}
_NAME_ORDERS: Dict[FrozenSet[str], Dict[_Order, _Order]] = {}


class Tree:
    """What :func:`state_tree` found."""

    __slots__ = ("data", "opaque")

    def __init__(self, data: Any, opaque: List[str]) -> None:
        self.data = data
        """Plain data. It shares nothing that could change with what was walked."""
        self.opaque = opaque
        """``path: type`` of what could not be looked into, sorted."""

    @property
    def leaves(self) -> int:
        """How many single values the data holds; an item of an array is one, and so is a text."""
        count, rest = 0, [self.data]
        while rest:
            part = rest.pop()
            if type(part) is dict:
                rest.extend(item for key, item in part.items() if key != "<type>")
            elif type(part) in (list, tuple):
                rest.extend(part)
            else:
                count += part.size if isinstance(part, np.ndarray) else 1
        return count


def state_tree(root: Any, *, skip: Collection[str] = (), memory: Optional[WalkMemory] = None) -> Tree:
    """Return the state of ``root`` and of all that it leads to.

    Args:
        root: anything.
        skip: names of attributes that are left out wherever they are found.
        memory: of earlier walks from the same root. With it, some parts of the data are
            :class:`~envs.canonical.Settled`, and large tables that stay as they are cost little.
    """
    walk = Walk(frozenset(skip), memory)
    # All that is made here lives until the end: a collection in between would find nothing and take as long as a walk.
    collects = gc.isenabled()
    gc.disable()
    try:
        data = walk.run(root, (None, "state", 0))
    finally:
        if collects:
            gc.enable()
    return Tree(data, sorted(walk.opaque))


class Walk:
    """One walk: what it has met so far, and what it has put off."""

    __slots__ = (
        "_later",
        "_name_orders",
        "_postponed",
        "_rough",
        "alive",
        "keep",
        "memory",
        "opaque",
        "put_off",
        "seen",
        "skip",
    )

    def __init__(self, skip: FrozenSet[str], memory: Optional[WalkMemory] = None) -> None:
        self.skip = skip
        self.memory = memory
        self.seen: Dict[int, Any] = {}
        """By id, or by another key that no id can be: the place of what was met, or the text that refers to it."""
        self.keep: List[Any] = []
        """What was made on the way. It must live on, or what comes after could have its id."""
        self.alive: Dict[int, FrozenSet[int]] = {}
        """By the address of a world in C: the addresses of what is in it; handles may outlive it."""
        self.opaque: List[str] = []
        self._name_orders = _NAME_ORDERS.setdefault(skip, {})
        self._postponed: Deque[Tuple[Walker, Any, Place]] = deque()
        self.put_off = 0
        self._later: Deque[Tuple[Any, List[Any], Place]] = deque()
        self._rough = False

    def run(self, root: Any, place: Place) -> Any:
        """Return the whole form of ``root``."""
        data = self.instead(root, place)
        further: List[Any] = []
        while self._postponed or self._later:
            if self._postponed:
                walker, value, at = self._postponed.popleft()
                further.append(walker(value, self, at))
            else:
                self._fill_set(*self._later.popleft())
        if further:
            data = data if type(data) is dict else {"<root>": data}
            data["<further>"] = further
        return data

    def part(self, value: Any, place: Place, key: Any) -> Any:
        """Return the form of ``value``, which stands under ``key`` of what is at ``place``."""
        kind = type(value)
        return value if kind in ATOMS else _WALKERS[kind](value, self, (place, key, place[2] + 1))

    def instead(self, value: Any, place: Place) -> Any:
        """Return the form of ``value``, of which what stands at ``place`` is only a handle."""
        kind = type(value)
        return value if kind in ATOMS else _WALKERS[kind](value, self, place)

    def made(self, value: Any, place: Place, key: Any) -> Any:
        """Like :meth:`part`, of an object that was made for this walk."""
        self.keep.append(value)
        return self.part(value, place, key)

    def attributes(self, found: Dict[str, Any], place: Place) -> Dict[str, Any]:
        """Return the forms of attributes, as a new dict, without those that are None."""
        # Whether something was drawn must not count, and what draws may make a new attribute or fill one that was None.
        names = tuple(found)
        order = self._name_orders.get(names)
        if order is None:
            order = tuple([name for name in _sorted_texts(found) if name not in self.skip])
            _remember(self._name_orders, names, order)
        depth = place[2] + 1
        out = {}
        for name in order:
            item = found[name]
            kind = type(item)
            form = item if kind in ATOMS else _WALKERS[kind](item, self, (place, name, depth))
            if form is not None:
                out[name] = form
        return out

    def reference(self, key: int) -> str:
        """Return what stands for something met before, by its key in ``seen``."""
        known = self.seen[key]
        if type(known) is tuple:
            known = self.seen[key] = f"<same as {path_text(known)}>"
        return str(known)

    def postpone(self, key: int, walker: Walker, value: Any) -> str:
        """Put ``value`` off until all that is less deep has been walked. Return what stands in its place."""
        # Its path begins anew: that of what is 50,000 links away would take longer to write than all the rest.
        name = f"<further {self.put_off}>"
        self.put_off += 1
        self.seen[key] = place = (None, name, 1)
        self._postponed.append((walker, value, place))
        return name

    def put_off_set(self, items: Collection[Any], out: List[Any], place: Place) -> None:
        """Fill ``out`` with the forms of a set's items once all else has been walked and has its place."""
        if self._rough:
            out.extend(sorted(_outline(item) for item in items))
        else:
            self._later.append((items, out, place))

    def name_opaque(self, value: Any, place: Place) -> str:
        """Note that ``value`` could not be looked into. Return what stands for it."""
        name = type_name(type(value))
        self.opaque.append(f"{path_text(place)}: {name}")
        return f"<opaque {name}>"

    def _fill_set(self, items: Collection[Any], out: List[Any], place: Place) -> None:
        """Walk the items of a set: first those with a place already, by its path, then the others by what they hold.

        Items that hold the same come in the order of the set, which is none. They look the same, so it shows only if
        something that is walked later refers to one of them.
        """
        ranked = [(self._rank(item), item) for item in items]
        ranked.sort(key=_first)
        for index, (_, item) in enumerate(ranked):
            out.append(self.part(item, place, index))

    def _rank(self, item: Any) -> Tuple[int, bytes]:
        if id(item) in self.seen:
            return 0, self.reference(id(item)).encode("utf-8", "surrogatepass")
        probe = Walk(self.skip)
        probe.seen = dict(self.seen)
        probe._rough = True
        return 1, checksum(probe.run(item, (None, "<item>", 0)))


def _first(pair: Tuple[Any, Any]) -> Any:
    return pair[0]


def _outline(item: Any) -> str:
    """Return what can be said of an object without following it: its type and its plain attributes."""
    found = getattr(item, "__dict__", {})
    plain = {name: value for name, value in found.items() if type(value) in ATOMS}
    return f"<{type_name(type(item))} {checksum(plain).hex()}>"


def _sorted_texts(found: Dict[str, Any]) -> List[str]:
    return [name for _, name in sorted_keys(found)]


def _remember(orders: Dict[_Order, _Order], keys: _Order, order: _Order) -> None:
    if len(orders) >= _MOST_KNOWN:
        orders.clear()
    orders[keys] = order


def _walk_list(value: Any, walk: Walk, place: Place) -> Any:
    if ATOMS.issuperset(map(type, value)):
        return value[:]
    depth = place[2] + 1
    out = []
    for index, item in enumerate(value):
        kind = type(item)
        out.append(item if kind in ATOMS else _WALKERS[kind](item, walk, (place, index, depth)))
    return None if _is_left_out(value, out) else out


def _is_left_out(items: Collection[Any], forms: Collection[Any]) -> bool:
    """Tell whether a container holds nothing but what is not state: pictures, say, which the first drawing loads."""
    if any(form is not None for form in forms):
        return False
    return all(kind in _NESTING or _WALKERS[kind] is left_out for kind in map(type, items))


def _remembered(walker: Walker) -> Walker:
    """Return ``walker`` for containers that may be large tables, which are known again if there is a memory."""

    def walk_remembered(value: Any, walk: Walk, place: Place) -> Any:
        memory = walk.memory
        if memory is None or len(value) < SMALLEST:
            return walker(value, walk, place)
        return memory.walk(value, walk, place, walker)

    return walk_remembered


def _walk_tuple_of_parts(value: Any, walk: Walk, place: Place) -> Any:
    forms = _walk_list(value, walk, place)
    return None if forms is None else tuple(forms)


_walk_shared_tuple = once(_walk_tuple_of_parts)


def _walk_tuple(value: Any, walk: Walk, place: Place) -> Any:
    # Which tuples of plain values are one object is up to the interpreter.
    return value if ATOMS.issuperset(map(type, value)) else _walk_shared_tuple(value, walk, place)


def _walk_dict(value: Dict[Any, Any], walk: Walk, place: Place) -> Any:
    kinds = set(map(type, value))
    if kinds in (_STR, _INT) or not kinds:
        if ATOMS.issuperset(map(type, value.values())):
            return dict(value)
        keys = _order_of_names(value) if kinds == _STR else sorted(value)
        out = {key: walk.part(value[key], place, key) for key in keys}
        # By numbers, pieces may be told by where they stand, and the keys are state.
        return None if kinds == _STR and _is_left_out(value.values(), out.values()) else out
    forms = _plain_keys(value)
    if forms is not None:
        return {form: walk.part(value[forms[form]], place, form) for _, form in sorted_keys(forms)}
    # Keys that are told apart by identity have no order but the one in which they came.
    items = [
        (walk.part(key, place, f"key {index}"), walk.part(item, place, f"item {index}"))
        for index, (key, item) in enumerate(value.items())
    ]
    return {"<type>": "dict", "<items>": items}


def _order_of_names(value: Dict[str, Any]) -> _Order:
    keys = tuple(value)
    order = _KEY_ORDERS.get(keys)
    if order is None:
        order = tuple(_sorted_texts(value))
        _remember(_KEY_ORDERS, keys, order)
    return order


def _plain_keys(value: Dict[Any, Any]) -> Optional[Dict[Any, Any]]:
    """Return the keys by their forms, or None if not all have one of their own."""
    forms = {}
    for key in value:
        form = key if type(key) in ATOMS else plain_form(key, _WALKERS)
        if form is None and key is not None:
            return None
        forms[form] = key
    return forms if len(forms) == len(value) else None


def _walk_set(value: Any, walk: Walk, place: Place) -> Any:
    name = "frozenset" if isinstance(value, frozenset) else "set"
    kinds = set(map(type, value))
    if kinds in (_STR, _INT) or not kinds:
        return {"<type>": name, "<items>": sorted(value)}
    items = [item if type(item) in ATOMS else plain_form(item, _WALKERS) for item in value]
    if all(form is not None or item is None for form, item in zip(items, value)):
        return {"<type>": name, "<items>": sorted(items, key=canonical_bytes)}
    out: List[Any] = []
    walk.put_off_set(value, out, place)
    return {"<type>": name, "<items>": out}


def _walk_default_dict(value: Any, walk: Walk, place: Place) -> Any:
    out = {"<type>": "collections.defaultdict", "<factory>": walk.part(value.default_factory, place, "default_factory")}
    return {**out, "<value>": _walk_dict(value, walk, place)}


def _walk_named_tuple(value: Any, walk: Walk, place: Place) -> Any:
    content = tuple.__getitem__(value, slice(None))
    out = walk.attributes(dict(zip(value._fields, content)), place)
    out["<type>"] = type_name(type(value))
    return out


def _object_walker(kind: type) -> Walker:
    """Return a walker for objects whose content is all in attributes and slots."""
    name, readers, has_dict = type_name(kind), slot_readers(kind), kind.__dictoffset__ != 0
    ignored = not_state_attributes(kind)

    def walk_object(value: Any, walk: Walk, place: Place) -> Any:
        out = walk.attributes(value.__dict__, place)
        out["<type>"] = name
        return out

    def walk_some(value: Any, walk: Walk, place: Place) -> Any:
        found = _read(value, readers, has_dict)
        out = walk.attributes({attr: found[attr] for attr in found if attr not in ignored}, place)
        out["<type>"] = name
        return out

    return walk_object if has_dict and not readers and not ignored else walk_some


def _derived_walker(kind: type, walk_base: Walker, plain: Any) -> Walker:
    """Return a walker for a class that may add attributes to a type with content of its own."""
    name, readers, has_dict = type_name(kind), slot_readers(kind), kind.__dictoffset__ != 0

    ignored = not_state_attributes(kind)

    def walk_derived(value: Any, walk: Walk, place: Place) -> Any:
        found = _read(value, readers, has_dict)
        out = walk.attributes({attr: found[attr] for attr in found if attr not in ignored}, place)
        out["<type>"] = name
        out["<value>"] = walk_base(value if plain is None else plain(value), walk, place)
        return out

    return walk_derived


def _read(value: Any, readers: Dict[str, Any], has_dict: bool) -> Dict[str, Any]:
    found = dict(value.__dict__) if has_dict else {}
    for name, read in readers.items():
        try:
            found[name] = read(value)
        except AttributeError:
            pass  # a slot that nothing was put into
    return found


_CONTAINERS: Dict[type, Walker] = {
    list: _remembered(_walk_list),
    tuple: _walk_tuple,
    dict: _remembered(_walk_dict),
    set: _walk_set,
    frozenset: _walk_set,
    defaultdict: _walk_default_dict,
}
_PLAIN_BASES = (int, float, str, bytes)
_NESTING = frozenset((list, tuple, dict))


def _find_walker(kind: type) -> Walker:
    """Return the walker for instances of exactly this type."""
    if kind in (tuple, frozenset):
        return _CONTAINERS[kind]
    if kind in BY_VALUE:
        return BY_VALUE[kind]
    names = [type_name(base) for base in kind.__mro__]
    if not NOT_STATE.isdisjoint(names):
        return left_out
    family = next((walker for base, walker in FAMILIES if issubclass(kind, base)), None)
    if family is not None:
        return family
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return once(_walk_named_tuple)
    if names[0].startswith("itertools."):
        return opaque  # newer versions of Python cannot tell what is in them
    physics = next((walker for walker in map(physics_walker, names) if walker is not None), None)
    if physics is not None:
        return physics
    for base, name in zip(kind.__mro__, names):
        walker = _walker_of_base(base, name)
        if walker is not None:
            adds = base is not kind and (kind.__dictoffset__ or slot_readers(kind) or base in PLAIN_COPIES)
            return once(_derived_walker(kind, walker, PLAIN_COPIES.get(base)) if adds else walker)
    return once(reduced if has_hidden_content(kind) else _object_walker(kind))


def _walker_of_base(base: type, name: str) -> Optional[Walker]:
    if base in _PLAIN_BASES:
        return _walk_plain
    return _CONTAINERS.get(base) or BY_IDENTITY.get(base) or BY_NAME.get(name)


def _walk_plain(value: Any, walk: Walk, place: Place) -> Any:
    return value


class _Walkers(Dict[type, Walker]):
    """The walkers of all types met so far in this process."""

    def __missing__(self, kind: type) -> Walker:
        if len(self) >= _MOST_KNOWN:
            self.clear()  # modules that are loaded again and again bring new classes each time
        walker = self[kind] = _find_walker(kind)
        return walker


_WALKERS = _Walkers()
