"""Tells whether a value could be the state of a given CoGrid kitchen. It may come from another machine."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np

from envs.plain import different_structure
from p2pclient.common.errors import EnvHostError


def check_kitchen_state(state: Any, origin: Dict[str, Any], env: Any) -> None:
    """Raise unless ``state`` could follow ``origin``, a first state of the same kitchen.

    Raises:
        EnvHostError: fields, types or shapes differ, or something is where it cannot be. Such a state could end the
            host by an index error long after it was taken.
    """
    place = different_structure(origin, state)
    if place is not None:
        raise EnvHostError(f"this is not a state of this kitchen: {place} is of another kind")
    fault = _wrong_field(state, origin, env)
    if fault is not None:
        raise EnvHostError(f"this is not a state of this kitchen: {fault} cannot be so")


def _wrong_field(state: Dict[str, Any], origin: Dict[str, Any], env: Any) -> Any:
    """Return the name of the first field with an impossible value, or None."""
    scope = env.scope
    items = np.flatnonzero(env._lookup_tables["CAN_PICKUP"])
    first, kinds = origin["object_type_map"], state["object_type_map"]
    changing = {f"{scope}.pot_contents", f"{scope}.pot_timer"}
    contents, timer = (state["extra"][f"{scope}.pot_{part}"] for part in ("contents", "timer"))
    longest = int(origin["extra"][f"{scope}.pot_timer"].max())
    counters = state["object_state_map"][kinds == env._type_ids["counter"]]
    rules = {
        "wall_map": np.array_equal(state["wall_map"], origin["wall_map"]),
        # Only what was floor at first changes: somebody may have dropped something there.
        "object_type_map": np.array_equal(kinds[first > 0], first[first > 0])
        and np.isin(kinds[first == 0], [0, *items]).all(),
        "object_state_map": np.isin(counters, [0, *items]).all(),
        "agent_pos": _stand_on_floor(state["agent_pos"], kinds),
        "agent_dir": np.isin(state["agent_dir"], range(4)).all(),
        "agent_inv": np.isin(state["agent_inv"], [-1, *items]).all(),
        "extra": all(np.array_equal(v, state["extra"][k]) for k, v in origin["extra"].items() if k not in changing),
        "pot_contents": np.isin(contents, [-1, *items]).all(),
        "pot_timer": timer.min() >= 0 and timer.max() <= longest,
        "time": 0 <= state["time"] <= env.max_steps,
        "rng_key": 0 <= state["rng_key"] < 2**63,
        "generator": _is_generator(state["generator"], origin["generator"]),
    }
    return next((name for name, good in rules.items() if not good), None)


def _stand_on_floor(places: Any, kinds: Any) -> bool:
    rows, columns = places[:, 0], places[:, 1]
    if places.min() < 0 or rows.max() >= kinds.shape[0] or columns.max() >= kinds.shape[1]:
        return False
    return not kinds[rows, columns].any() and len({tuple(place) for place in places.tolist()}) == len(places)


def _is_generator(state: Dict[str, Any], known: Dict[str, Any]) -> bool:
    if state["bit_generator"] != known["bit_generator"]:
        return False
    generator: Any = np.random.PCG64(0)
    try:
        generator.state = state
    except (KeyError, TypeError, ValueError, OverflowError):
        return False
    return True
