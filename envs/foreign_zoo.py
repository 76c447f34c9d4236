"""PettingZoo environments by their module, unmodified: ``pettingzoo:butterfly/cooperative_pong_v6``."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Type

from envs.contract import Progress, no_progress
from envs.foreign import ForeignEnvironment, Step, agents_now
from envs.foreign_controls import controls_of
from envs.foreign_packages import import_family, rom_folder, telling
from envs.foreign_wrappers import ZOO_STEP_PARTS, parts_of
from envs.gym_spaces import space_data, to_action
from envs.keeping import Keeper, NoKeeper
from p2pclient.common.errors import ConfigurationError

_NAMES = {
    "pettingzoo": (
        re.compile(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*_v[0-9]+"),
        "FAMILY/NAME_vN, such as butterfly/pistonball_v6",
    ),
    "mpe2": (re.compile(r"[a-z][a-z0-9_]*_v[0-9]+"), "NAME_vN, such as simple_spread_v3"),
}
"""By package: what its names look like."""
_LENGTHS = ("max_cycles", "max_steps", "max_iter")
"""What PettingZoo's families call the length of an episode."""
TURNS = "tandem_turns"
"""Argument of ours: do the agents take turns. Not given to the environment."""


class ParallelEnvironment(ForeignEnvironment):
    """An environment in which all agents act at once. Agents may leave, and come later."""

    def __init__(
        self, env: Any, name: str, *, max_steps: Optional[int] = None, keeper: Type[Keeper] = NoKeeper
    ) -> None:
        agents = tuple(env.possible_agents)
        self._spaces = [env.action_space(agent) for agent in agents]
        spaces = [space_data(space, setting=f"action space of {a}") for a, space in zip(agents, self._spaces)]
        super().__init__(
            env,
            agents,
            spaces=spaces,
            controls=controls_of(name, self._spaces, spaces, env),
            title=name,
            max_steps=max_steps,
            keeper=keeper,
        )

    def _reset(self, seed: int) -> List[Any]:
        for number, agent in enumerate(self.agents):
            self.env.action_space(agent).seed(seed + number)
        found = self.env.reset(seed=seed)
        seen = found[0] if isinstance(found, tuple) else found
        return [seen.get(agent) for agent in self.agents]

    def _step(self, actions: List[Any]) -> Step:
        before = agents_now(self.env, self.agents)
        given = {
            agent: to_action(space, action)
            for agent, space, action in zip(self.agents, self._spaces, actions)
            if agent in before
        }
        made = parts_of(self.env.step(given), "step", ZOO_STEP_PARTS)
        seen, rewards, terminations, truncations, infos = made
        left = agents_now(self.env, self.agents)

        def of(found: Any, default: Any) -> List[Any]:
            return [found.get(agent, default) if agent in before else None for agent in self.agents]

        over = {agent for agent in before if terminations.get(agent) or truncations.get(agent)}
        # Who is taken off the list without a word is gone, too.
        silent = dict.fromkeys(before - left - over, True)
        left -= over
        return Step(
            of(rewards, 0.0),
            of({**terminations, **silent}, False),
            of(truncations, False),
            of(infos, {}),
            [seen.get(agent) if agent in left else None for agent in self.agents],
            [agent in left for agent in self.agents],
        )


def make(
    name: str, args: Dict[str, Any], progress: Progress = no_progress, keeper: Type[Keeper] = NoKeeper
) -> ForeignEnvironment:
    """Make ``pettingzoo:FAMILY/NAME_vN``, or ``mpe2:NAME_vN``.

    Raises:
        ConfigurationError: there is no such environment, or it does not take these arguments.
        EnvHostError: it lacks a package.
    """
    package, _, own = name.partition(":")
    form, example = _NAMES[package]
    if not form.fullmatch(own):
        raise ConfigurationError("environment", name, f"{package}:{example}")
    if package == "pettingzoo" and own.startswith("mpe/"):
        moved = f"mpe2:{own.partition('/')[2]}; what was PettingZoo's is a package of its own now"
        raise ConfigurationError("environment", name, moved)
    progress(None, "Starting the game")
    module = import_family(name, package, own.replace("/", "."))
    given = dict(args)
    if own.startswith("atari/"):
        given.setdefault("auto_rom_install_path", rom_folder(name))
    # Turns are what the classic games are about, even where a round could be played at once.
    return from_module(module, name, given, keeper, by_turns=own.startswith("classic/"))


def from_module(
    module: Any, name: str, args: Dict[str, Any], keeper: Type[Keeper], *, by_turns: bool = False
) -> ForeignEnvironment:
    """Make the environment of a module with the functions that PettingZoo's modules have.

    Args:
        name: with the family before the colon.
        by_turns: its agents take turns unless the arguments say otherwise.
    """
    given = dict(args)
    limit = given.pop("max_steps", None)
    by_turns = _taken_turns(given, by_turns)
    builder = getattr(module, "parallel_env", None)
    if by_turns or builder is None:
        builder = module.env
    elif limit is not None:
        given[_length_name(getattr(module, "raw_env", builder))] = limit
    with telling(name, args):
        env = builder(render_mode="rgb_array", **given)
    return from_env(env, name.partition(":")[2], max_steps=limit, keeper=keeper, by_turns=by_turns)


def from_env(
    env: Any,
    own: str,
    *,
    max_steps: Optional[int] = None,
    keeper: Type[Keeper] = NoKeeper,
    by_turns: bool = False,
) -> ForeignEnvironment:
    """Wrap a PettingZoo environment, parallel or AEC.

    Args:
        by_turns: let the agents of an AEC environment take turns, though they could act at once.
    """
    from pettingzoo import AECEnv
    from pettingzoo.utils.conversions import aec_to_parallel

    if isinstance(env, AECEnv):
        if by_turns or not (getattr(env, "metadata", None) or {}).get("is_parallelizable"):
            from envs.foreign_turns import TurnEnvironment

            return TurnEnvironment(env, own, max_steps=max_steps, keeper=keeper)
        env = aec_to_parallel(env)
    return ParallelEnvironment(env, own, max_steps=max_steps, keeper=keeper)


def _taken_turns(args: Dict[str, Any], usual: bool) -> bool:
    """Take what the arguments say of turns out of them."""
    asked = args.pop(TURNS, usual)
    if not isinstance(asked, bool):
        raise ConfigurationError(f"argument {TURNS}", asked, "true or false")
    return asked


def _length_name(builder: Any) -> str:
    """Return what the environment calls the length of its episodes."""
    import inspect

    try:
        taken = inspect.signature(builder).parameters
    except (TypeError, ValueError):
        return _LENGTHS[0]
    return next((name for name in _LENGTHS if name in taken), _LENGTHS[0])
