"""Inputs of players who press anything, for trying environments out."""

from __future__ import annotations

import random
from collections.abc import Sequence

from p2pclient.common.spaces import Space, draw_action, encode_action

_HOLD_CHANCE = 0.6
"""Chance that a seat keeps its input for another frame: inputs drawn anew in every frame hardly leave the start."""


class RandomInputs:
    """Inputs of all seats, drawn from their action spaces and held for a while."""

    def __init__(self, spaces: Sequence[Space], generator: random.Random) -> None:
        self._spaces = spaces
        self._random = generator
        self._held = [self._draw(space) for space in spaces]

    def next_line(self) -> list[bytes]:
        """Return one payload per seat."""
        for seat, space in enumerate(self._spaces):
            if self._random.random() >= _HOLD_CHANCE:
                self._held[seat] = self._draw(space)
        return list(self._held)

    def _draw(self, space: Space) -> bytes:
        return encode_action(space, draw_action(space, self._random))
