"""CoGrid's Overcooked kitchens for two cooks (the ``cogrid`` package).

The environment is made without a render mode, else it would draw inside every step; pictures are drawn when asked
for. Steps make no observations (see :mod:`envs.cogrid_step`). CoGrid's arrays are never changed in place, so a
snapshot shares them, made read-only.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, Dict, List, Optional

import numpy as np

from envs.bots_overcooked import BOTS, decide_anew, make_bot
from envs.cogrid_state import check_kitchen_state
from envs.cogrid_step import build_lean_step
from envs.cogrid_tiles import KitchenPainter, expected_tiles
from envs.contract import Bot, Controls, Environment, Outcome, Progress, no_progress
from envs.kitchen import Kitchen
from p2pclient.common.errors import ConfigurationError, EnvHostError
from p2pclient.common.spaces import encode_action

_TITLES = {
    "Overcooked-CrampedRoom-V0": "Overcooked: cramped room",
    "Overcooked-AsymmetricAdvantages-V0": "Overcooked: asymmetric advantages",
    "Overcooked-CoordinationRing-V0": "Overcooked: coordination ring",
    "Overcooked-ForcedCoordination-V0": "Overcooked: forced coordination",
    "Overcooked-CounterCircuit-V0": "Overcooked: counter circuit",
}

KITCHENS = tuple(_TITLES)
"""Names in CoGrid's registry that this adapter runs."""

_SEATS = 2
_ARRAYS = ("agent_pos", "agent_dir", "agent_inv", "wall_map", "object_type_map", "object_state_map", "done")
"""Fields of CoGrid's ``EnvState`` that change or could change; the others are sizes."""
_LAST_SEED = 2**63


class OvercookedEnvironment(Environment):
    """One kitchen. Seats are agents 0 and 1; infos hold ``soups_delivered``, by that seat in that step.

    Args:
        kitchen: one of :data:`KITCHENS`.
        args: ``max_steps`` (positive int; CoGrid's own, 1,000, if left out).
        progress: told what is going on while the pictures are prepared.
        warm: prepare the pictures now (half a second) rather than tile by tile when first shown.

    Raises:
        ConfigurationError: an argument is unknown or out of range.
        EnvHostError: the installed version of ``cogrid`` differs from what this adapter knows.
    """

    nominal_rate_hz = 15
    bots = BOTS

    def __init__(self, kitchen: str, args: Dict[str, Any], progress: Progress = no_progress, warm: bool = True) -> None:
        progress(0.0, "Starting the kitchen")
        self._env = _make_cogrid(kitchen, args)
        self.max_steps: Optional[int] = int(self._env.max_steps)
        self.agents = tuple(self._env.possible_agents)
        if self.agents != tuple(range(_SEATS)):
            raise EnvHostError(f"{kitchen} of the installed cogrid has the agents {self.agents}, not 0 and 1")
        self.title = _TITLES[kitchen]
        count = len(self._env.action_set)
        self.action_spaces = [{"kind": "discrete", "n": count, "start": 0} for _ in self.agents]
        self.controls = _controls(self._env)
        self._env.reset(seed=0)
        colours = [[int(part) for part in self._env.grid.grid_agents[agent].color] for agent in self.agents]
        self.seat_colours = tuple((red, green, blue) for red, green, blue in colours)
        self._lean_step = build_lean_step(self._env)
        self._origin = self.get_state()
        self._pick_up = self._env._action_pickup_drop_idx
        self._soups = frozenset(i for name, i in self._env._type_ids.items() if name.endswith("_soup"))
        self._delivery = self._env._type_ids["delivery_zone"]
        self._painter = KitchenPainter(self._env)
        if warm:
            self._painter.warm(self._expected_tiles(), progress)

    def reset(self, seed: int) -> None:
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < _LAST_SEED:
            raise ConfigurationError("seed", seed, f"an int from 0 to {_LAST_SEED - 1}")
        self._env.reset(seed=seed)
        self._env._step_fn = self._lean_step

    def step(self, actions: List[Any]) -> Outcome:
        before = self._env._env_state
        _, rewards, terminations, truncations, _ = self._env.step(dict(zip(self.agents, actions)))
        return Outcome(
            [rewards[agent] for agent in self.agents],
            [terminations[agent] for agent in self.agents],
            [truncations[agent] for agent in self.agents],
            [{"soups_delivered": count} for count in self._deliveries(before, actions)],
        )

    def observe(self) -> List[Any]:
        from cogrid.core.pipeline.step import envstate_to_dict

        view = envstate_to_dict(self._env._env_state)
        return [np.array(self._env._feature_fn(view, seat)) for seat in range(_SEATS)]

    def get_state(self) -> Dict[str, Any]:
        state = self._env._env_state
        return {
            **{name: _frozen(getattr(state, name)) for name in _ARRAYS},
            "extra": {name: _frozen(value) for name, value in state.extra_state.items()},
            "rng_key": state.rng_key,
            "time": int(state.time),
            "score": float(self._env.cumulative_score),
            "generator": self._env.np_random.bit_generator.state,
        }

    def set_state(self, state: Any) -> None:
        env = self._env
        env.np_random.bit_generator.state = state["generator"]
        env._env_state = dataclasses.replace(
            env._env_state,
            **{name: _frozen(state[name]) for name in _ARRAYS},
            extra_state={name: _frozen(value) for name, value in state["extra"].items()},
            rng_key=state["rng_key"],
            time=np.int32(state["time"]),
        )
        env.cumulative_score = state["score"]
        env.t = state["time"]
        # CoGrid empties this list at the end of an episode, and its own set_state does not bring it back.
        env.agents = [] if state["done"].any() else list(env.possible_agents)
        env._step_fn = self._lean_step

    def check_state(self, state: Any) -> None:
        check_kitchen_state(state, self._origin, self._env)

    def seed_rng(self, seed: int) -> None:
        self._env._np_random, _ = self._env._set_np_random(seed=seed)

    def render(self) -> Any:
        return self._painter.draw(self._env._env_state)

    def close(self) -> None:
        self._env.close()

    def make_bot(self, name: str, seat: int, seed: int) -> Bot:
        return make_bot(name, self.kitchen, seat, seed)

    def substitute(self, name: str, seat: int, seed: int) -> int:
        return decide_anew(name, self.kitchen(), seat, seed)

    def kitchen(self) -> Kitchen:
        """Return the current state as plain Python values, for bots."""
        return Kitchen(self._env._env_state, self._env._type_ids, self._env.scope)

    def _deliveries(self, before: Any, actions: List[Any]) -> List[int]:
        """Return how many soups each cook handed in by ``actions``, from the states around the step."""
        if self._pick_up not in actions:
            return [0] * _SEATS
        after = self._env._env_state
        counts = []
        for seat, action in enumerate(actions):
            held, now = int(before.agent_inv[seat, 0]), int(after.agent_inv[seat, 0])
            gave = action == self._pick_up and held in self._soups and now == -1
            counts.append(1 if gave and self._faced(before, seat) == self._delivery else 0)
        return counts

    def _faced(self, state: Any, seat: int) -> int:
        row, column = state.agent_pos[seat].tolist()
        down, right = ((0, 1), (1, 0), (0, -1), (-1, 0))[int(state.agent_dir[seat])]
        return int(state.object_type_map[row + down, column + right])

    def _expected_tiles(self) -> List[Any]:
        names = {index: name for name, index in self._env._type_ids.items()}
        present = sorted({names[kind] for kind in self._env._env_state.object_type_map.ravel().tolist() if kind > 0})
        items = [name for name in ("onion", "plate", "onion_soup") if name in self._env._type_ids]
        cook_time = int(self._env._env_state.extra_state[f"{self._env.scope}.pot_timer"][0])
        return expected_tiles(present, items, _SEATS, cook_time)


def make(name: str, args: Dict[str, Any], progress: Progress) -> OvercookedEnvironment:
    """Make ``cogrid:NAME``; called by the registry."""
    return OvercookedEnvironment(name.partition(":")[2], args, progress)


def _make_cogrid(kitchen: str, args: Dict[str, Any]) -> Any:
    from cogrid.envs import registry

    for name in args:
        if name != "max_steps":
            raise ConfigurationError(f"environment argument {name}", args[name], "only max_steps")
    if kitchen not in KITCHENS or kitchen not in registry.ENVIRONMENT_REGISTRY:
        raise ConfigurationError("kitchen", kitchen, ", ".join(KITCHENS))
    # The registry hands the same dict to every instance.
    config = copy.deepcopy(registry.ENVIRONMENT_REGISTRY[kitchen].keywords["config"])
    steps = args.get("max_steps", config["max_steps"])
    if not isinstance(steps, int) or isinstance(steps, bool) or not 1 <= steps <= 1_000_000:
        raise ConfigurationError("environment argument max_steps", steps, "an int from 1 to 1000000")
    config["max_steps"] = steps
    return registry.make(kitchen, config=config)


def _controls(env: Any) -> Controls:
    space = {"kind": "discrete", "n": len(env.action_set), "start": 0}
    by_name = {name: encode_action(space, index) for index, name in enumerate(env.action_set)}
    # CoGrid's "toggle" does nothing in these kitchens and has no key.
    keys = (
        ("move_up", "up", ["KeyW", "ArrowUp"]),
        ("move_down", "down", ["KeyS", "ArrowDown"]),
        ("move_left", "left", ["KeyA", "ArrowLeft"]),
        ("move_right", "right", ["KeyD", "ArrowRight"]),
        ("pick_up_or_drop", "pick up or put down", ["Space", "Enter", "NumpadEnter", "KeyE"]),
    )
    return {
        "mode": "press",
        "bindings": [{"keys": codes, "input": by_name[name], "label": label} for name, label, codes in keys],
        "neutral": [by_name["no-op"]] * _SEATS,
        "help": [("W A S D or ↑ ← ↓ →", "turn and move"), ("Space or Enter", "pick up or put down")],
    }


def _frozen(value: Any) -> Any:
    """Return ``value``, an array as one that nobody can change: the same if possible."""
    if isinstance(value, np.ndarray):
        if value.base is not None:
            value = np.array(value)
        value.flags.writeable = False
    return value
