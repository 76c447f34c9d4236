"""PettingZoo environments by their module, unmodified: ``pettingzoo:butterfly/cooperative_pong_v6``."""

from __future__ import annotations

import importlib
import re
from typing import Any, Dict, List, Optional, Type

from envs.contract import Progress, no_progress
from envs.foreign import ForeignEnvironment, Step
from envs.foreign_controls import controls_of
from envs.gym_spaces import space_data, to_action
from envs.keeping import Keeper, NoKeeper
from p2pclient.common.errors import ConfigurationError, EnvHostError

_NAME = re.compile(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*_v[0-9]+")
_LENGTHS = ("max_cycles", "max_steps", "max_iter")
"""What PettingZoo's families call the length of an episode."""


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
        before = set(self.env.agents)
        given = {
            agent: to_action(space, action)
            for agent, space, action in zip(self.agents, self._spaces, actions)
            if agent in before
        }
        seen, rewards, terminations, truncations, infos = self.env.step(given)
        left = set(self.env.agents)

        def of(found: Any, default: Any) -> List[Any]:
            return [found.get(agent, default) if agent in before else None for agent in self.agents]

        flags = of(terminations, False)
        for seat, agent in enumerate(self.agents):
            # Who is taken off the list without a word is gone, too.
            if agent in before and agent not in left and not terminations.get(agent) and not truncations.get(agent):
                flags[seat] = True
        return Step(
            of(rewards, 0.0),
            flags,
            of(truncations, False),
            of(infos, {}),
            [seen.get(agent) if agent in left else None for agent in self.agents],
        )


def make(
    name: str, args: Dict[str, Any], progress: Progress = no_progress, keeper: Type[Keeper] = NoKeeper
) -> ParallelEnvironment:
    """Make ``pettingzoo:FAMILY/NAME_vN``.

    Raises:
        ConfigurationError: there is no such environment, or it does not take these arguments.
        EnvHostError: it lacks a package, or its agents take turns.
    """
    own = name.partition(":")[2]
    if not _NAME.fullmatch(own):
        raise ConfigurationError("environment", name, "pettingzoo:FAMILY/NAME_vN, such as butterfly/pistonball_v6")
    progress(None, "Starting the game")
    try:
        module = importlib.import_module("pettingzoo." + own.replace("/", "."))
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pettingzoo"):
            raise ConfigurationError("environment", name, f"one that the installed PettingZoo has ({error})") from error
        raise EnvHostError(
            f"{name} needs the package {error.name}, which this Python does not have: "
            f"install it there with pip install {error.name}"
        ) from error
    return from_module(module, own, args, keeper)


def from_module(module: Any, own: str, args: Dict[str, Any], keeper: Type[Keeper]) -> ParallelEnvironment:
    """Make the environment of a PettingZoo module, as one in which all act at once."""
    given = dict(args)
    limit = given.pop("max_steps", None)
    builder = getattr(module, "parallel_env", None) or module.env
    if limit is not None:
        given[_length_name(getattr(module, "raw_env", builder))] = limit
    try:
        env = builder(render_mode="rgb_array", **given)
    except TypeError as error:
        raise ConfigurationError(f"arguments of {own}", args, f"those that it takes ({error})") from error
    return from_env(env, own, max_steps=limit, keeper=keeper)


def from_env(
    env: Any, own: str, *, max_steps: Optional[int] = None, keeper: Type[Keeper] = NoKeeper
) -> ParallelEnvironment:
    """Wrap a PettingZoo environment, parallel or AEC.

    Raises:
        EnvHostError: its agents act in turns, one at a time.
    """
    from pettingzoo import AECEnv
    from pettingzoo.utils.conversions import aec_to_parallel

    if isinstance(env, AECEnv):
        if not (getattr(env, "metadata", None) or {}).get("is_parallelizable"):
            raise EnvHostError(
                f"the agents of {own} take turns; only environments in which all act at once can be played"
            )
        env = aec_to_parallel(env)
    return ParallelEnvironment(env, own, max_steps=max_steps, keeper=keeper)


def _length_name(builder: Any) -> str:
    """Return what the environment calls the length of its episodes."""
    import inspect

    try:
        taken = inspect.signature(builder).parameters
    except (TypeError, ValueError):
        return _LENGTHS[0]
    return next((name for name in _LENGTHS if name in taken), _LENGTHS[0])
