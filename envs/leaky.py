"""``test:leaky_v0``: the counter environment with one fault on purpose, so that checks can show that they catch it.

It takes the counter's arguments and two more:

- ``leak``: which fault; ``random`` if left out.

  - ``random``: where the next treasure appears is drawn from a generator outside of the state.
  - ``restore``: going back to a state leaves the first walker's trace as it is.
  - ``info``: infos count the steps ever made, which no state tells.
  - ``process``: each process draws a number of its own at its start, and walkers' traces depend on it.
  - ``inputs``: the state does not depend on what the walkers do.
  - ``crash``: a frame that was simulated once raises the next time.
- ``from_frame``: the fault is not there before this frame; 0 if left out.
"""

from __future__ import annotations

import os
import random
from typing import Any, Dict, List, Set

from envs.contract import Outcome, Progress, no_progress
from envs.counter import CounterEnvironment
from p2pclient.common.errors import ConfigurationError

LEAKS = ("random", "restore", "info", "process", "inputs", "crash")

_PLACES = 16


class LeakyEnvironment(CounterEnvironment):
    """See the module.

    Raises:
        ConfigurationError: an argument is unknown or out of range.
    """

    def __init__(self, args: Dict[str, Any], progress: Progress = no_progress) -> None:
        own = dict(args)
        self._leak = own.pop("leak", LEAKS[0])
        self._from_frame = own.pop("from_frame", 0)
        if self._leak not in LEAKS:
            raise ConfigurationError("environment argument leak", self._leak, ", ".join(LEAKS))
        if type(self._from_frame) is not int or self._from_frame < 0:
            raise ConfigurationError("environment argument from_frame", self._from_frame, "a number from 0 on")
        self._outside = random.Random(1)
        self._of_process = int.from_bytes(os.urandom(4), "little")
        self._steps_ever = 0
        self._frames_seen: Set[int] = set()
        super().__init__(own, progress)

    def reset(self, seed: int) -> None:
        self._frames_seen.clear()
        super().reset(seed)

    def step(self, actions: List[Any]) -> Outcome:
        frame = self._time
        if frame < self._from_frame:
            return super().step(actions)
        self._steps_ever += 1
        if self._leak == "crash" and frame in self._frames_seen:
            raise RuntimeError(f"frame {frame} cannot be simulated twice")
        self._frames_seen.add(frame)
        outcome = super().step([0 for _ in actions] if self._leak == "inputs" else actions)
        if self._leak == "random":
            self._treasure = self._outside.randrange(_PLACES)
        elif self._leak == "process":
            self._traces[0] ^= self._of_process
        elif self._leak == "info":
            infos = [None if info is None else {**info, "steps_ever": self._steps_ever} for info in outcome.infos]
            return outcome._replace(infos=infos)
        return outcome

    def set_state(self, state: Any) -> None:
        trace = self._traces[0]
        super().set_state(state)
        if self._leak == "restore" and self._time >= self._from_frame:
            self._traces[0] = trace


def make(name: str, args: Dict[str, Any], progress: Progress) -> LeakyEnvironment:
    """Make ``test:leaky_v0``; called by the registry."""
    return LeakyEnvironment(args, progress)
