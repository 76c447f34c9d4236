"""How NumPy's values and everybody's random number generators look in a tree of state; see ``envs/walk.py``."""

from __future__ import annotations

import random
from typing import Any, Callable, Dict

import numpy as np

from envs.walk_forms import Place, type_name

_PLAIN_DTYPES = frozenset("?bBhHiIlLqQefdFDScU")


def _array(value: Any, walk: Any, place: Place) -> Any:
    dtype = value.dtype
    if dtype.char in _PLAIN_DTYPES:
        return value.copy()
    if dtype.names is not None:
        content = {name: _array(value[name], walk, place) for name in dtype.names}
    elif dtype.kind == "O":
        items = value.ravel().tolist()
        content = {"shape": value.shape, "<items>": walk.made(items, place, "items")}
    elif dtype.kind in "fc":
        # Extended precision has another size and another padding elsewhere. Two doubles hold one of its numbers.
        high = value.astype("c16" if dtype.kind == "c" else "f8")
        with np.errstate(invalid="ignore"):
            content = {"high": high, "low": (value - high).astype(high.dtype)}
    elif dtype.kind in "mM":
        content = {"<value>": value.astype("i8")}
    elif dtype.kind == "V":
        content = {"<value>": value.tobytes()}
    else:
        content = {"shape": value.shape, "<items>": value.ravel().tolist()}
    return {"<type>": f"array of {dtype.str}", **content}


def scalar(value: Any, walk: Any, place: Place) -> Any:
    return value if value.dtype.char in _PLAIN_DTYPES else _array(np.asarray(value), walk, place)


def _python_random(value: Any, walk: Any, place: Place) -> Any:
    version, words, gauss = value.getstate()
    return {"<type>": "random.Random", "version": version, "words": np.array(words, np.uint32), "gauss": gauss}


_PCG = frozenset(("PCG64", "PCG64DXSM"))


def _bit_generator(value: Any, walk: Any, place: Place) -> Any:
    state = value.state
    name = state["bit_generator"]
    if name in _PCG:
        words = f"{state['state']['state']:x} {state['state']['inc']:x} {state['has_uint32']} {state['uinteger']:x}"
        out = {"<type>": f"numpy.random.{name}", "state": words}
    else:
        out = {"<type>": f"numpy.random.{name}", **walk.part(state, place, "state")}
    seed = getattr(value, "seed_seq", None) or getattr(value, "_seed_seq", None)
    if getattr(seed, "n_children_spawned", 0):
        # Until something is drawn from it, where a seed came from is history. Restoring a state does not bring it back.
        out["seed"] = walk.part(seed, place, "seed_seq")
    return out


def _generator(value: Any, walk: Any, place: Place) -> Any:
    return {"<type>": type_name(type(value)), "bits": walk.part(value.bit_generator, place, "bit_generator")}


def _random_state(value: Any, walk: Any, place: Place) -> Any:
    state = value.get_state(legacy=False)
    bits = walk.part(value._bit_generator, place, "_bit_generator")
    return {"<type>": type_name(type(value)), "bits": bits, "has_gauss": state["has_gauss"], "gauss": state["gauss"]}


def _seed_sequence(value: Any, walk: Any, place: Place) -> Any:
    return {"<type>": type_name(type(value)), **{k: walk.part(v, place, k) for k, v in value.state.items()}}


ARRAYS: Dict[type, Callable[[Any, Any, Any], Any]] = {
    np.ndarray: _array,
    np.random.Generator: _generator,
    np.random.BitGenerator: _bit_generator,
    np.random.RandomState: _random_state,
    np.random.SeedSequence: _seed_sequence,
    random.Random: _python_random,
}
"""Walkers of the content of these types, for those that derive from them, too."""
