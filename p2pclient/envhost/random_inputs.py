"""Inputs of players who press anything, for trying environments out."""

from __future__ import annotations

import random
from collections.abc import Sequence

from p2pclient.common.spaces import Space, encode_action

_HOLD_CHANCE = 0.6
"""Chance that a seat keeps its input for another frame: inputs drawn anew in every frame hardly leave the start."""


class RandomInputs:
    """Inputs of all seats, drawn evenly from their action spaces and held for a while."""

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
        draw = self._random.randrange
        if space["kind"] == "discrete":
            return encode_action(space, draw(space["n"]) + space.get("start", 0))
        if space["kind"] == "multi_discrete":
            return encode_action(space, [draw(n) for n in space["nvec"]])
        return encode_action(space, [draw(2) for _ in range(space["n"])])
