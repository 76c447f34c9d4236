"""How values that are neither containers nor objects of attributes look in a tree of state; see ``envs/walk.py``.

Types of libraries are known by their names, so that none is imported here. A walker takes a value, the walk and the
value's place, and returns a form. Where ``once`` wraps it, a second meeting gives a reference instead.
"""

from __future__ import annotations

import array
import functools
import itertools
import os
import types
import weakref
from collections import deque
from enum import Enum
from typing import Any, Callable, Dict, FrozenSet, Tuple

import numpy as np

from envs.canonical import canonical_bytes
from envs.walk_arrays import ARRAYS, scalar
from envs.walk_forms import ATOMS, Place, Walker, once, type_name

NOT_STATE = frozenset(
    (
        *("pygame.surface.Surface", "pygame.surface.SurfaceType", "pygame.time.Clock", "pygame.font.Font"),
        *("pygame.freetype.Font", "pygame.mixer.Sound", "pygame.mixer.Channel", "pygame.joystick.Joystick"),
        *("pygame.window.Window", "pygame._sdl2.video.Window", "pygame._sdl2.video.Renderer"),
        *("pygame._sdl2.video.Texture", "pyglet.window.BaseWindow", "pyglet.gl.base.Config"),
        *("gymnasium.envs.mujoco.mujoco_rendering.MujocoRenderer", "mujoco.renderer.Renderer"),
        *("mujoco._render.MjrContext", "mujoco._structs.MjvScene", "mujoco._structs.MjvCamera"),
        *("gymnasium.envs.registration.EnvSpec", "gym.envs.registration.EnvSpec"),
        *("logging.Logger", "logging.LoggerAdapter", "logging.Handler"),
        *("_thread.lock", "_thread.RLock", "threading._RLock", "threading.Thread"),
        *("_ctypes.CFuncPtr", "_ctypes._Pointer", "ctypes.c_void_p", "ctypes.CDLL"),
    )
)
"""Types that show, log, describe or synchronize an environment. They and their subclasses are left out."""

_DRAWN_BY_WALKERS = ("cloud_poly", "terrain_poly", "drawlist", "lidar_render")

NOT_STATE_ATTRIBUTES: Dict[str, Tuple[str, ...]] = {
    # A space describes; of one that is sampled, the generator is state. Two of these are filled by repr.
    "gymnasium.spaces.box.Box": ("low", "high", "low_repr", "high_repr", "bounded_below", "bounded_above"),
    # Set by the first look at a property, or by the first call of render.
    "gymnasium.core.Wrapper": ("_cached_spec", "_metadata", "_action_space", "_observation_space"),
    # What it has looked at in the first steps of the process, and not only of the episode.
    "gymnasium.wrappers.common.PassiveEnvChecker": (
        *("checked_reset", "checked_step", "checked_render", "checked_data_reuse", "_previous_data", "close_called"),
    ),
    # Where each sprite was drawn last. The walker of groups lists the sprites.
    "pygame.sprite.AbstractGroup": ("spritedict", "lostsprites"),
    # Thousands of numbers that only render looks at; where the ground is, its bodies say.
    "gymnasium.envs.box2d.bipedal_walker.BipedalWalker": _DRAWN_BY_WALKERS,
    "pettingzoo.sisl.multiwalker.multiwalker_base.MultiWalkerEnv": _DRAWN_BY_WALKERS,
    # Still lists the bodies of one that has fallen, which are gone: to read them is to read anything.
    "pettingzoo.sisl.multiwalker.multiwalker_base.BipedalWalker": _DRAWN_BY_WALKERS,
}
"""Attributes of types and their subclasses that are left out: what they hold is a description or was looked up."""


def not_state_attributes(kind: type) -> FrozenSet[str]:
    """Return the names of those attributes of a type's instances that are left out."""
    return frozenset(name for base in kind.__mro__ for name in NOT_STATE_ATTRIBUTES.get(type_name(base), ()))


def plain_form(value: Any, walkers: Any) -> Any:
    """Return the form of a key, or of an item of a set, as plain data with a hash; None if it is known by identity."""
    kind = type(value)
    if kind in ATOMS:
        return value
    if issubclass(kind, (tuple, frozenset)):
        parts = [item if item is None else plain_form(item, walkers) for item in value]
        if any(form is None and item is not None for form, item in zip(parts, value)):
            return None
        if kind is tuple:
            return tuple(parts)
        return (f"<{type_name(kind)}>", *(parts if issubclass(kind, tuple) else sorted(parts, key=canonical_bytes)))
    walker = walkers[kind]
    if walker in NAMED:
        return walker(value, None, (None, "", 0))
    base = next((base for base in (str, int, float, bytes) if issubclass(kind, base)), None)
    return None if base is None else (f"<{type_name(kind)}>", PLAIN_COPIES[base](value))


def left_out(value: Any, walk: Any, place: Place) -> Any:
    return None


def opaque(value: Any, walk: Any, place: Place) -> Any:
    return walk.name_opaque(value, place)


def reduced(value: Any, walk: Any, place: Place) -> Any:
    """Walk what pickle would write, without writing it: of a type with hidden content, that is all there is."""
    if any(cls.__name__ == "EzPickle" for cls in type(value).__mro__):
        return walk.name_opaque(value, place)  # it pickles the arguments that it was made with, whatever it is now
    try:
        parts = value.__reduce_ex__(4)
    except Exception:  # noqa: BLE001 - any code may run here; why it cannot be pickled does not matter
        return walk.name_opaque(value, place)
    if type(parts) is str:
        return f"<{type_name(type(value))} {parts}>"
    walk.keep.append(parts)
    parts = [part if index < 3 or part is None else list(part) for index, part in enumerate(parts[:5])]
    return {"<type>": type_name(type(value)), "<reduced>": [walk.made(p, place, i) for i, p in enumerate(parts)]}


def _enum(value: Any, walk: Any, place: Place) -> Any:
    # A combination of flags has no name of its own before Python 3.11, and a composed one since.
    name = value._name_ if value._name_ is not None and "|" not in value._name_ else repr(value._value_)
    return f"<{type_name(type(value))}.{name}>"


def _class(value: Any, walk: Any, place: Place) -> Any:
    return f"<class {type_name(value)}>"


def _module(value: Any, walk: Any, place: Place) -> Any:
    return f"<module {value.__name__}>"


def _named(value: Any, walk: Any, place: Place) -> Any:
    owner = getattr(value, "__objclass__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", "")
    return f"<{type_name(type(value))} {owner.__module__ + '.' if owner else ''}{name}>"


def _shown(value: Any, walk: Any, place: Place) -> Any:
    return f"<{value!r}>"


def _text(value: Any, walk: Any, place: Place) -> Any:
    return f"<{type_name(type(value))} {value}>"


def _complex(value: Any, walk: Any, place: Place) -> Any:
    return np.complex128(value)


def _dtype(value: Any, walk: Any, place: Place) -> Any:
    return f"<dtype {value.newbyteorder('<').str if value.names is None else value.descr}>"


def _slice(value: Any, walk: Any, place: Place) -> Any:
    parts = ("start", "stop", "step")
    return ("<slice>", *(walk.part(getattr(value, part), place, part) for part in parts))


def _function(value: Any, walk: Any, place: Place) -> Any:
    name = f"<function {value.__module__}.{value.__qualname__}>"
    if value.__name__ == "<lambda>":
        name = f"{name[:-1]} in line {value.__code__.co_firstlineno}>"  # several may share the name
    if value.__closure__ is None and not value.__dict__ and ATOMS.issuperset(map(type, value.__defaults__ or ())):
        return name
    return _function_with_content(value, walk, place, name)


def _function_with_content(value: Any, walk: Any, place: Place, name: str) -> Any:
    def walk_content(function: Any, walk: Any, place: Place) -> Any:
        out = {"<type>": name, "defaults": walk.part(function.__defaults__, place, "defaults")}
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
            try:
                out[variable] = walk.part(cell.cell_contents, place, variable)
            except ValueError:
                out[variable] = "<empty cell>"
        if function.__dict__:
            out["<attributes>"] = walk.part(function.__dict__, place, "__dict__")
        return out

    return once(walk_content)(value, walk, place)


def _cell(value: Any, walk: Any, place: Place) -> Any:
    try:
        return {"<type>": "cell", "content": walk.part(value.cell_contents, place, "cell_contents")}
    except ValueError:
        return "<empty cell>"


def _method(value: Any, walk: Any, place: Place) -> Any:
    function = value.__func__
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type_name(type(function)))}"
    return {"<type>": f"<method {name}>", "self": walk.part(value.__self__, place, "__self__")}


def _built_in(value: Any, walk: Any, place: Place) -> Any:
    owner = value.__self__
    if owner is None or isinstance(owner, (types.ModuleType, type)):
        return f"<function {value.__module__ or getattr(owner, '__module__', '')}.{value.__qualname__}>"
    return {"<type>": f"<method {value.__qualname__}>", "self": walk.part(owner, place, "__self__")}


def _partial(value: Any, walk: Any, place: Place) -> Any:
    names = ("func", "args", "keywords")
    return {"<type>": "functools.partial", **{n: walk.part(getattr(value, n), place, n) for n in names}}


def _ref(value: Any, walk: Any, place: Place) -> Any:
    return walk.instead(value(), place)


def _proxy(value: Any, walk: Any, place: Place) -> Any:
    try:
        target = value.__repr__.__self__  # a bound method holds the object, not the proxy
    except ReferenceError:
        return None
    return walk.instead(target, place)


def _weak_mapping(value: Any, walk: Any, place: Place) -> Any:
    return {"<type>": type_name(type(value)), "<value>": walk.made(dict(value.items()), place, "data")}


def _weak_set(value: Any, walk: Any, place: Place) -> Any:
    return {"<type>": type_name(type(value)), "<value>": walk.made(set(value), place, "data")}


def _view(value: Any, walk: Any, place: Place) -> Any:
    return {"<type>": type_name(type(value)), "<value>": walk.made(list(value), place, "items")}


def _mapping_proxy(value: Any, walk: Any, place: Place) -> Any:
    return {"<type>": "mappingproxy", "<value>": walk.made(dict(value), place, "items")}


def _deque(value: Any, walk: Any, place: Place) -> Any:
    items = [walk.part(item, place, index) for index, item in enumerate(value)]
    return {"<type>": "collections.deque", "<items>": items, "maxlen": value.maxlen}


def _buffer(value: Any, walk: Any, place: Place) -> Any:
    return {"<type>": type_name(type(value)), "<value>": bytes(value)}


def _typed_buffer(value: Any, walk: Any, place: Place) -> Any:
    return {"<type>": "array.array", "code": value.typecode, "<items>": value.tolist()}


def _rect(value: Any, walk: Any, place: Place) -> Any:
    return {"<type>": type_name(type(value)), "x": value.x, "y": value.y, "w": value.w, "h": value.h}


def _vector(value: Any, walk: Any, place: Place) -> Any:
    return {"<type>": type_name(type(value)), "<items>": list(value)}


def _sprites(value: Any, walk: Any, place: Place) -> Any:
    return [walk.part(sprite, place, index) for index, sprite in enumerate(value.sprites())]


def _mask(value: Any, walk: Any, place: Place) -> Any:
    # Its words are as wide as a C long is, so they are turned into bits.
    size = value.get_size()
    words = np.asarray(memoryview(value))
    octets = words.astype(words.dtype.newbyteorder("<")).view(np.uint8).reshape(-1, size[1], words.itemsize)
    rows = np.unpackbits(octets, axis=2, bitorder="little").transpose(1, 0, 2).reshape(size[1], -1)[:, : size[0]]
    return {"<type>": type_name(type(value)), "bits": np.ascontiguousarray(rows, bool)}


def _ctypes_fields(value: Any, walk: Any, place: Place) -> Any:
    return {field[0]: walk.made(getattr(value, field[0]), place, field[0]) for field in value._fields_}


def _ctypes_items(value: Any, walk: Any, place: Place) -> Any:
    return [walk.made(item, place, index) for index, item in enumerate(value)]


def _ctypes_value(value: Any, walk: Any, place: Place) -> Any:
    return walk.part(value.value, place, "value")


PLAIN_COPIES: Dict[type, Callable[[Any], Any]] = {
    int: lambda value: int.__add__(value, 0),
    float: float.__pos__,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    list: lambda value: list.__getitem__(value, slice(None)),
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
    dict: lambda value: dict(dict.items(value)),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
}
"""How the content of a subclass is had, whatever methods the subclass overrides."""

NAMED: FrozenSet[Walker] = frozenset((_enum, _class, _module, _named, _shown, _text, _complex, _dtype, scalar))
"""Walkers of what never changes: forms with a hash, for which neither the walk nor the place is needed."""

BY_VALUE: Dict[type, Walker] = {
    **dict.fromkeys((type(len), type([].append)), _built_in),
    **dict.fromkeys((property, staticmethod, classmethod, types.CodeType), _named),
    **dict.fromkeys((type(str.join), type(object.__init__), type(int.real), types.MemberDescriptorType), _named),
    **dict.fromkeys((range, type(Ellipsis), type(NotImplemented), itertools.count), _shown),
    **dict.fromkeys((type({}.keys()), type({}.values()), type({}.items())), _view),
    **dict.fromkeys((weakref.ProxyType, weakref.CallableProxyType), _proxy),
    complex: _complex,
    slice: _slice,
    types.ModuleType: _module,
    types.FunctionType: _function,
    types.MethodType: _method,
}
"""Walkers of exactly these types, which are not told apart by identity."""

FAMILIES: Tuple[Tuple[type, Walker], ...] = (
    (Enum, _enum),
    (type, _class),
    (np.generic, scalar),
    (np.dtype, _dtype),
    (weakref.ref, _ref),
    (os.PathLike, _text),
)
"""Walkers of these types and all that derive from them, not told apart by identity."""

BY_IDENTITY: Dict[type, Walker] = {
    types.CellType: _cell,
    types.MappingProxyType: _mapping_proxy,
    functools.partial: _partial,
    weakref.WeakKeyDictionary: _weak_mapping,
    weakref.WeakValueDictionary: _weak_mapping,
    weakref.WeakSet: _weak_set,
    deque: _deque,
    bytearray: _buffer,
    memoryview: _buffer,
    array.array: _typed_buffer,
    **ARRAYS,
}
"""Walkers of the content of these types, for those that derive from them, too."""

BY_NAME: Dict[str, Walker] = {
    **dict.fromkeys(("pygame.rect.Rect", "pygame.rect.FRect"), _rect),
    **dict.fromkeys(("pygame.math.Vector2", "pygame.math.Vector3", "pygame.color.Color"), _vector),
    **dict.fromkeys(("_ctypes.Structure", "_ctypes.Union"), _ctypes_fields),
    "pygame.mask.Mask": _mask,
    "pygame.sprite.AbstractGroup": _sprites,
    "_ctypes.Array": _ctypes_items,
    "_ctypes._SimpleCData": _ctypes_value,
}
"""The same by the names of types."""
