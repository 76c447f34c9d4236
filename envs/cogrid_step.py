"""CoGrid's step with what cannot change the result left out.

CoGrid 0.3 spends 2.2 ms on a step of two cooks: two thirds on observations, the rest on arrays of a few numbers. Here
observations are left to who asks for them, interactions and rewards run when somebody picks up or drops, and movement,
a pure function of few values, is remembered. Order and arithmetic are those of ``cogrid.core.pipeline.step.step``; the
tests compare every state and every reward with the original.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
from cogrid.backend import get_backend
from cogrid.core.agent import get_dir_vec_table
from cogrid.core.pipeline.interactions import _run_interactions
from cogrid.core.pipeline.movement import move_agents
from cogrid.core.pipeline.step import envstate_to_dict
from cogrid.envs.overcooked import rewards as known_rewards

from p2pclient.common.errors import EnvHostError

StepFunction = Callable[[int, Any, Dict[int, int]], Tuple[Any, ...]]

_MOVES = 4
"""In the cardinal action set, the actions below this one move or turn."""
_REMEMBERED_MOVES = 20_000
_NO_OBSERVATION: Tuple[()] = ()
_PARTS = ("scope", "tick_handler", "autowire_interactions", "autowire_extras_fn", "action_id")


def build_lean_step(env: Any) -> StepFunction:
    """Return a replacement for ``env._step_fn`` of a reset CoGrid Overcooked environment with cardinal actions.

    ``step_fn(key, state, actions)`` gives ``(observations, state, rewards, terminations, truncations, infos)`` as the
    original does, by agent, but the observations are empty.

    Raises:
        EnvHostError: the environment has parts of which it is not known that they may be left out.
    """
    _check_supported(env)
    agent_ids = env._agent_id_order
    pickup = env._action_pickup_drop_idx
    rewards_of = env._reward_config["compute_fn"]
    movement = _Movement(env._lookup_tables["CAN_OVERLAP"])
    empty = dict.fromkeys(agent_ids, _NO_OBSERVATION)

    def step_fn(key: int, state: Any, actions: Dict[int, int]) -> Tuple[Any, ...]:
        before = dataclasses.replace(state, rng_key=key)
        chosen = [int(actions[agent]) for agent in agent_ids]
        array = np.array(chosen)
        state = env._scope_config["tick_handler"](before, env._scope_config)
        state = movement.apply(state, chosen, array)
        interacts = pickup in chosen
        if interacts:
            state = _interact(env, state, [seat for seat, action in enumerate(chosen) if action == pickup], array)
        time = state.time + 1
        if interacts:
            state = dataclasses.replace(state, time=time)
            rewards = rewards_of(envstate_to_dict(before), envstate_to_dict(state), array, env._reward_config)
        else:
            rewards = np.zeros(len(agent_ids), dtype=np.float32)
        truncated = bool(time >= env.max_steps)
        done = before.done | truncated
        state = dataclasses.replace(state, time=time, done=done)
        rewards = np.where(before.done, np.float32(0), rewards)
        ended = dict.fromkeys(agent_ids, truncated)
        none = dict.fromkeys(agent_ids, False)
        return empty, state, dict(zip(agent_ids, rewards)), none, ended, {}

    return step_fn


def _interact(env: Any, state: Any, seats: List[int], actions: Any) -> Any:
    """Do what ``process_interactions`` does, for those who pick up or drop; for the others it changes nothing."""
    config = env._scope_config
    rows, columns = state.object_type_map.shape
    ahead = state.agent_pos + get_dir_vec_table()[state.agent_dir]
    row, column = np.clip(ahead[:, 0], 0, rows - 1), np.clip(ahead[:, 1], 0, columns - 1)
    places = [(int(r), int(c)) for r, c in state.agent_pos]
    for seat in seats:
        faced = (int(row[seat]), int(column[seat]))
        free = np.bool_(all(place != faced for other, place in enumerate(places) if other != seat))
        state = _run_interactions(
            state,
            seat,
            row[seat],
            column[seat],
            free,
            config,
            config["autowire_interactions"],
            config["autowire_extras_fn"],
            config["scope"],
            action=actions[seat],
            action_id=config["action_id"],
        )
    return state


class _Movement:
    """Applies CoGrid's movement and the random draw for its priority, remembering the outcomes."""

    def __init__(self, can_overlap: Any) -> None:
        self._can_overlap = can_overlap
        self._known: Dict[Tuple[Any, ...], Tuple[Any, Any]] = {}

    def apply(self, state: Any, chosen: List[int], actions: Any) -> Any:
        """Return ``state`` after the moves in ``actions`` (``chosen`` as an array), with its key advanced."""
        generator = np.random.default_rng(int(state.rng_key))
        key = int(generator.integers(0, 2**63 - 1))
        if min(chosen) >= _MOVES:
            return dataclasses.replace(state, rng_key=key)
        # The generator is thrown away: the permutation is drawn only where it decides something.
        priority = generator.permutation(state.n_agents).astype(np.int32)
        where = (
            tuple(chosen),
            priority.tobytes(),
            state.agent_pos.tobytes(),
            state.agent_dir.tobytes(),
            state.object_type_map.tobytes(),
            state.wall_map.tobytes(),
        )
        moved = self._known.get(where)
        if moved is None:
            if len(self._known) >= _REMEMBERED_MOVES:
                self._known.clear()
            moved = self._known[where] = self._move(state, actions, priority)
        return dataclasses.replace(state, agent_pos=moved[0], agent_dir=moved[1], rng_key=key)

    def _move(self, state: Any, actions: Any, priority: Any) -> Tuple[Any, Any]:
        maps = (state.wall_map, state.object_type_map, self._can_overlap)
        places, directions = move_agents(state.agent_pos, state.agent_dir, actions, *maps, priority, state.action_set)
        places.flags.writeable = directions.flags.writeable = False
        return places, directions


def _check_supported(env: Any) -> None:
    """Refuse environments whose steps are not fully determined by the parts that :func:`build_lean_step` runs."""
    quiet = (known_rewards.DeliveryReward, known_rewards.OnionInPotReward, known_rewards.SoupInDishReward)
    reasons = []
    if get_backend() != "numpy":
        reasons.append(f"the backend is {get_backend()}")
    if env._terminated_fn is not None:
        reasons.append("it has a rule of termination")
    if env.config.get("interactions") or not all(env._scope_config.get(part) for part in _PARTS):
        reasons.append("it has interactions or a tick of its own")
    if env.action_set.index("pick_up_or_drop") != _MOVES:
        reasons.append("its actions are not the cardinal ones")
    # These three pay for picking up and dropping only, which is why steps without either need no rewards.
    if any(type(reward) not in quiet for reward in env.config["rewards"]):
        reasons.append("it has rewards of unknown kinds")
    if reasons:
        raise EnvHostError(f"this version of cogrid is not supported here: {'; '.join(reasons)}")
