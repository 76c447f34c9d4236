"""Gymnasium environments by their registered names, unmodified: ``gymnasium:CartPole-v1``."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Type

from envs.contract import Progress, no_progress
from envs.foreign import ForeignEnvironment, Step
from envs.foreign_controls import controls_of
from envs.foreign_packages import register_atari, telling
from envs.foreign_wrappers import STEP_PARTS, parts_of, seed_spaces, stop_clocks
from envs.gym_spaces import space_data, to_action
from envs.keeping import Keeper, NoKeeper
from p2pclient.common.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?")
"""Names in Gymnasium's registry. One with a colon would make it import any module."""
_AGENT = "player"


class GymnasiumEnvironment(ForeignEnvironment):
    """A single-agent environment: one seat."""

    def __init__(self, env: Any, name: str, keeper: Type[Keeper] = NoKeeper) -> None:
        space = space_data(env.action_space, setting=f"action space of {name}")
        self._space = env.action_space
        spec = getattr(env, "spec", None)
        stop_clocks(env)
        super().__init__(
            env,
            (_AGENT,),
            spaces=[space],
            controls=controls_of(name, [env.action_space], [space], env),
            title=name,
            max_steps=getattr(spec, "max_episode_steps", None),
            keeper=keeper,
        )

    def _reset(self, seed: int) -> List[Any]:
        seed_spaces(self.env, seed)
        seen, _ = parts_of(self.env.reset(seed=seed), "reset", ("observation", "info"))
        return [seen]

    def _step(self, actions: List[Any]) -> Step:
        made = self.env.step(to_action(self._space, actions[0]))
        seen, reward, terminated, truncated, info = parts_of(made, "step", STEP_PARTS)
        return Step([reward], [terminated], [truncated], [info], [seen])


def make(
    name: str, args: Dict[str, Any], progress: Progress = no_progress, keeper: Type[Keeper] = NoKeeper
) -> GymnasiumEnvironment:
    """Make ``gymnasium:NAME``.

    Raises:
        ConfigurationError: there is no such environment, or it does not take these arguments.
    """
    import gymnasium

    own = name.partition(":")[2]
    if own.startswith("ALE/"):
        register_atari(name)
    known = sorted(spec.id for spec in gymnasium.registry.values())
    if not _NAME.fullmatch(own) or own not in gymnasium.registry:
        raise ConfigurationError("environment", name, f"gymnasium: and one of {_near(own, known)}")
    progress(None, "Starting the game")
    given = dict(args)
    limit: Optional[int] = given.pop("max_steps", None)
    if limit is not None:
        given["max_episode_steps"] = limit
    with telling(name, args):
        env = gymnasium.make(own, render_mode=_render_mode(gymnasium.registry[own]), disable_env_checker=True, **given)
    return GymnasiumEnvironment(env, own, keeper)


def _render_mode(spec: Any) -> Optional[str]:
    """Return how it draws on demand; None if it cannot."""
    import gymnasium

    entry = (
        spec.entry_point
        if callable(spec.entry_point)
        else gymnasium.envs.registration.load_env_creator(spec.entry_point)
    )
    modes = (getattr(entry, "metadata", None) or {}).get("render_modes", ())
    return next((mode for mode in ("rgb_array", "ansi") if mode in modes), None)


def _near(own: str, known: List[str]) -> str:
    """Return the known names that begin alike, or all families if none does."""
    start = own[:4].lower()
    near = [name for name in known if name.lower().startswith(start)] or known
    return ", ".join(near[:12]) + (" ..." if len(near) > 12 else "")
