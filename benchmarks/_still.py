"""An environment whose picture costs nothing to make, for the costs of bringing one over. Runs in the host.

It is copied to a folder of its own as ``tandem_still.py`` and loaded like a person's own: ``tandem_still:make``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.counter import CounterEnvironment


class Still(CounterEnvironment):
    """``test:counter_v0`` with another picture: noise, ready before play, by the frame's parity."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__({})
        self._pictures = [still(width, height, frame) for frame in range(2)]

    def render(self) -> Any:
        return self._pictures[self._time % 2]


def still(width: int, height: int, frame: int) -> Any:
    """Return the picture of ``frame``."""
    return np.random.default_rng(frame % 2).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make(width: int, height: int) -> Still:
    """Make the environment with pictures of this size."""
    return Still(width, height)
