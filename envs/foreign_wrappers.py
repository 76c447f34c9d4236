"""What wrappers do beside the game: clocks that they read, generators that nobody seeds, interfaces of old."""

from __future__ import annotations

import sys
import time
from typing import Any, Tuple

from envs.keeping import layers_of
from p2pclient.common.errors import EnvHostError

STEP_PARTS = ("observation", "reward", "terminated", "truncated", "info")
ZOO_STEP_PARTS = ("observations", "rewards", "terminations", "truncations", "infos")
_TIMED = "RecordEpisodeStatistics"
"""It measures how long an episode took, and says so in the info of its last step."""


class _StoppedClock:
    """The module ``time`` with a clock that always shows 0."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def perf_counter(self) -> float:
        return 0.0

    def time(self) -> float:
        return 0.0


def stop_clocks(env: Any) -> None:
    """Let the wrapper of Gymnasium that measures time measure none: no two machines would agree on it."""
    for layer in layers_of(env):
        for kind in type(layer).__mro__:
            module: Any = sys.modules.get(kind.__module__)
            is_timed = kind.__name__ == _TIMED and kind.__module__.startswith("gymnasium.")
            if is_timed and getattr(module, "time", None) is time:
                module.time = _StoppedClock()


def seed_spaces(env: Any, seed: int) -> None:
    """Seed the action and observation spaces of an environment and of all its wrappers.

    Some wrappers make a space whose generator the operating system has seeded; it is part of the state all the same.
    """
    spaces = [env.action_space, env.observation_space]
    for layer in layers_of(env):
        spaces += [vars(layer).get(f"{own}{kind}_space") for kind in ("action", "observation") for own in ("", "_")]
    for space in {id(space): space for space in spaces if hasattr(space, "seed")}.values():
        space.seed(seed)


def parts_of(made: Any, method: str, names: Tuple[str, ...]) -> Any:
    """Return what ``reset`` or ``step`` gave, if it has the parts that it should have.

    Raises:
        EnvHostError: it has not, as in the interface of the old Gym.
    """
    if isinstance(made, tuple) and len(made) == len(names):
        return made
    got = f"{len(made)} values" if isinstance(made, tuple) else f"a {type(made).__name__}"
    raise EnvHostError(
        f"{method}() of the environment returned {got}, but must return {', '.join(names)}; "
        "what was written for the old Gym returned fewer"
    )
