"""Which share of an environment's state its checksum covers: single values are changed, and the checksum has to tell.

Values are changed where they live, one at a time, and put back. What a checksum does not notice is what two machines
could disagree about without anybody hearing of it. The values are found by a search of their own, not by the walk
that makes the checksum, so that the one can find what the other forgot.
"""

from __future__ import annotations

import math
import random
import re
from collections import deque
from enum import Enum
from typing import Any, Callable, Collection, Deque, Dict, Iterator, List, Optional, Tuple

import numpy as np

from envs.walk_forms import slot_readers, type_name
from envs.walk_kinds import NOT_STATE, not_state_attributes
from envs.walk_physics import ADDRESSES, PYMUNK_OWN

MOST_OF_ONE = 4
"""Items of one array or list of numbers that are tried: a picture is not worth more than all the rest."""

MOST_MISSED = 40
"""Paths that are named."""

_COUNTS = re.compile(
    r"(^|_)(steps?|t|time|timer?s?|ticks?|frames?|elapsed|clock|cycles?|moves|turns?|count|counter)(_|$)"
)
_Put = Callable[[Any], None]


HELD_IN_C: Dict[str, Tuple[str, ...]] = {
    "Box2D.Box2D.b2Body": ("linearVelocity", "angularVelocity"),
    "pymunk.body.Body": ("position", "velocity", "angle", "angular_velocity", "force", "torque"),
    "mujoco._structs.MjData": ("qpos", "qvel", "act", "ctrl", "qacc_warmstart", "qfrc_applied", "xfrc_applied"),
    "pygame.rect.Rect": ("x", "y", "w", "h"),
    "pygame.rect.FRect": ("x", "y", "w", "h"),
    "pygame.math.Vector2": ("x", "y"),
}
"""What can be read and written of types that keep their content to themselves, and comes back as it was."""


class StuckError(Exception):
    """A checksum did not come back after a value was put back: it depends on more than the state. Says on which."""


class Coverage:
    """What :func:`coverage` found."""

    def __init__(self) -> None:
        self.tried = 0
        """Values changed, without those that count steps or time."""
        self.noticed = 0
        """Those of them that changed the digest."""
        self.missed: List[str] = []
        """Paths of some that did not, at most :data:`MOST_MISSED`."""
        self.counters: List[str] = []
        """Paths of values that by their names count steps or time, noticed or not."""

    @property
    def share(self) -> float:
        """Noticed of tried; 1.0 if there was nothing to try."""
        return self.noticed / self.tried if self.tried else 1.0


class Site:
    """One value that can be changed where it lives."""

    __slots__ = ("change", "path", "restore")

    def __init__(self, path: str, change: Callable[[], None], restore: Callable[[], None]) -> None:
        self.path = path
        self.change = change
        self.restore = restore


def coverage(
    root: Any, digest: Callable[[], bytes], *, most: int = 400, seed: int = 0, skip: Collection[str] = ()
) -> Coverage:
    """Change up to ``most`` values of what ``root`` leads to, chosen by ``seed``, and ask ``digest`` after each.

    A digest that raises has noticed. Everything is put back, but hidden parts of an engine may not be: what was tried
    here should not be played with.

    Args:
        root: the environment.
        digest: returns the checksum of its state as it is now.
        most: values to try.
        seed: chooses which, if there are more.
        skip: names of attributes that are left out, as for ``state_tree``.

    Raises:
        StuckError: the digest differs although a value was put back.
    """
    chooser = random.Random(seed)
    sites = list(find_sites(root, chooser, frozenset(skip)))
    if len(sites) > most:
        sites = [sites[index] for index in sorted(chooser.sample(range(len(sites)), most))]
    found, before = Coverage(), digest()
    for site in sites:
        noticed = _is_noticed(site, digest, before)
        if digest() != before:
            raise StuckError(f"the checksum did not come back after {site.path} was changed and put back")
        if counts_time(site.path):
            found.counters.append(site.path)
            continue
        found.tried += 1
        found.noticed += noticed
        if not noticed and len(found.missed) < MOST_MISSED:
            found.missed.append(site.path)
    return found


def counts_time(path: str) -> bool:
    """Tell whether a value counts steps or time, by the last name in its path: ``state.env._elapsed_steps``."""
    names = re.findall(r"[A-Za-z_]\w*", path)
    return bool(names) and _COUNTS.search(names[-1].lower()) is not None


def _is_noticed(site: Site, digest: Callable[[], bytes], before: bytes) -> bool:
    try:
        site.change()
        return digest() != before
    except Exception:  # noqa: BLE001 - the environment's own code may run here, on a value that cannot be
        return True
    finally:
        site.restore()


def find_sites(root: Any, chooser: random.Random, skip: Collection[str] = ()) -> Iterator[Site]:
    """Yield what can be changed in ``root`` and in all that it leads to, nearest first."""
    seen: Dict[int, Any] = {}
    rest: Deque[Tuple[Any, str]] = deque([(root, "state")])
    while rest:
        value, path = rest.popleft()
        if id(value) in seen or _is_not_state(type(value)):
            continue
        seen[id(value)] = value  # kept, so that the id stays taken
        generator = _generator_site(value, path)
        if generator is not None:
            yield generator
        elif isinstance(value, np.ndarray):
            yield from _array_sites(value, path, chooser)
            if value.dtype == object:
                rest.extend((item, f"{path}[{index}]") for index, item in enumerate(value.ravel().tolist()))
        else:
            for item, place, put in _parts(value, path, skip, chooser):
                yield from _value_sites(item, place, put)
                if not isinstance(item, _NUMBERS):
                    rest.append((item, place))


def _is_not_state(kind: type) -> bool:
    return not NOT_STATE.isdisjoint(map(type_name, kind.__mro__))


_STILL = 0
"""The type of Box2D's bodies that cannot be given a velocity."""
_OUT_OF_REACH = frozenset(("builtins", "types", "functools", "weakref", "threading"))
"""Modules whose objects an environment has, but whose attributes are not its own."""
_GROUP = "pygame.sprite.AbstractGroup"
_EMULATORS = ADDRESSES | {"ale_py._ale_py.ALEInterface"}
_VECTORS = frozenset(("Box2D.Box2D.b2Vec2", "pymunk.vec2d.Vec2d"))
_NUMBERS = (bool, int, float, np.number, np.bool_, str, bytes, type(None))


def _parts(
    value: Any, path: str, skip: Collection[str], chooser: random.Random
) -> Iterator[Tuple[Any, str, Optional[_Put]]]:
    """Yield ``(part, its path, what puts another in its place)`` of a container or an object."""
    if isinstance(value, (list, deque)):
        for index in _chosen(value, chooser):
            yield value[index], f"{path}[{index}]", _item_put(value, index)
    elif isinstance(value, dict):
        for key in list(value):
            yield value[key], f"{path}.{key}" if _is_name(key) else f"{path}[{key!r}]", _item_put(value, key)
    elif isinstance(value, (tuple, set, frozenset)):
        yield from ((item, f"{path}[{index}]", None) for index, item in enumerate(value))
    kind = type(value)
    if isinstance(value, type) or getattr(kind, "__module__", "builtins") in _OUT_OF_REACH or isinstance(value, Enum):
        return
    for name in _held_in_c(value):
        item = getattr(value, name)
        # A vector may be a view of what is about to be changed.
        item = tuple(item) if type_name(type(item)) in _VECTORS else item
        yield item, f"{path}.{name}", _attribute_put(value, name)
    ignored, names = not_state_attributes(kind), [type_name(base) for base in kind.__mro__]
    if _GROUP in names:
        yield from ((sprite, f"{path}[{index}]", None) for index, sprite in enumerate(value.sprites()))
    if any(name.startswith("pymunk.") for name in names):
        ignored |= PYMUNK_OWN
    if not _EMULATORS.isdisjoint(names):
        memory = value.getRAM()
        for index in sorted(chooser.sample(range(len(memory)), MOST_OF_ONE)):
            yield np.uint8(memory[index]), f"{path}.ram[{index}]", _memory_put(value, index)
    if not ADDRESSES.isdisjoint(names):
        return
    if kind.__dictoffset__:
        attributes = value.__dict__
        for name in list(attributes):
            if name not in ignored and name not in skip:
                yield attributes[name], f"{path}.{name}", _item_put(attributes, name)
    for name in slot_readers(kind):
        if hasattr(value, name) and name not in skip:
            yield getattr(value, name), f"{path}.{name}", _slot_put(value, name)


def _held_in_c(value: Any) -> Tuple[str, ...]:
    names = [name for base in type(value).__mro__ for name in HELD_IN_C.get(type_name(base), ())]
    return () if "linearVelocity" in names and value.type == _STILL else tuple(names)


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and key.isidentifier()


def _chosen(value: Any, chooser: random.Random) -> List[int]:
    """Return the places that are looked at: all, or some of a long list of numbers."""
    if len(value) > MOST_OF_ONE and all(isinstance(item, _NUMBERS) for item in value):
        return sorted(chooser.sample(range(len(value)), MOST_OF_ONE))
    return list(range(len(value)))


def _item_put(holder: Any, key: Any) -> _Put:
    def put(value: Any) -> None:
        holder[key] = value

    return put


def _attribute_put(holder: Any, name: str) -> _Put:
    def put(value: Any) -> None:
        setattr(holder, name, value)

    return put


def _memory_put(holder: Any, index: int) -> _Put:
    def put(value: Any) -> None:
        holder.setRAM(index, int(value))

    return put


def _slot_put(holder: Any, name: str) -> _Put:
    def put(value: Any) -> None:
        object.__setattr__(holder, name, value)  # a frozen class refuses the plain way

    return put


def _value_sites(value: Any, path: str, put: Optional[_Put]) -> Iterator[Site]:
    """Yield the sites of a number, or of the numbers in a tuple: a tuple is changed by putting another in its place."""
    if put is None:
        return
    if type(value) is tuple:
        for index, item in enumerate(value):
            yield from _value_sites(item, f"{path}[{index}]", _tuple_put(put, value, index))
    else:
        other = _other(value)
        if other is not None:
            yield Site(path, lambda: put(other), lambda: put(value))


def _tuple_put(put: _Put, value: Tuple[Any, ...], index: int) -> _Put:
    def put_item(item: Any) -> None:
        # Putting the old item back puts the old tuple back: others may hold the same one.
        put(value if item is value[index] else (*value[:index], item, *value[index + 1 :]))

    return put_item


def _other(value: Any) -> Any:
    """Return a number of the same type that is not ``value``; None if it is no number."""
    if isinstance(value, (bool, np.bool_)):
        return type(value)(not value)
    if type(value) is int:
        return value + 1
    if isinstance(value, np.integer):
        limits = np.iinfo(value.dtype)
        return type(value)(int(value) - 1 if value == limits.max else int(value) + 1)
    if type(value) is float or isinstance(value, np.floating):
        # By so much that it shows in half precision and in a checksum that rounds a little.
        return type(value)(value + max(0.01, abs(float(value)) * 0.01) if math.isfinite(value) else 0.5)
    return None


def _array_sites(value: Any, path: str, chooser: random.Random) -> Iterator[Site]:
    if not value.flags.writeable or value.dtype.kind not in "biuf":
        return
    for flat in sorted(chooser.sample(range(value.size), min(value.size, MOST_OF_ONE))):
        index = np.unravel_index(flat, value.shape)
        place = ", ".join(str(int(part)) for part in index)
        yield from _value_sites(value[index], f"{path}[{place}]", _item_put(value, index))


def _generator_site(value: Any, path: str) -> Optional[Site]:
    """Return the site of a random number generator: one draw more."""
    if isinstance(value, np.random.Generator):
        value = value.bit_generator
    if isinstance(value, np.random.BitGenerator):
        old = value.state
        return Site(path, lambda: _drop(value.random_raw()), lambda: setattr(value, "state", old))
    if isinstance(value, np.random.RandomState):
        kept = value.get_state(legacy=False)
        return Site(path, lambda: _drop(value.random_sample()), lambda: value.set_state(kept))
    if isinstance(value, random.Random):
        words = value.getstate()
        return Site(path, lambda: _drop(value.random()), lambda: value.setstate(words))
    return None


def _drop(value: Any) -> None:
    return None
