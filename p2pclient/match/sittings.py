"""Who sits where, when it is not the player to whom the seat was given: intervals of frames, the same on all sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from p2pclient.common.frames import NULL_FRAME

BY_SUBSTITUTE: Final = "substitute"
"""A bot in the player's place decides the inputs."""
BY_NOBODY: Final = "absent"
"""The inputs are neutral."""


@dataclass(slots=True)
class Sitting:
    """One seat in one episode."""

    seat: int
    episode: int
    first_frame: int
    by: str
    why: str
    """``left``: the player said goodbye; ``lost``: nothing was heard of it any more."""
    last_frame: int | None = None
    """None while it lasts."""

    def as_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {name: getattr(self, name) for name in self.__slots__}


class Sittings:
    """All of one match."""

    def __init__(self) -> None:
        self.all: list[Sitting] = []
        """In the order in which they began; those of one frame by their seats."""

    def begin(self, seat: int, episode: int, frame: int, *, by: str, why: str) -> None:
        """From ``frame`` on somebody else sits there, or nobody."""
        self.all.append(Sitting(seat, episode, frame, by, why))

    def end_episode(self, episode: int, last_frame: int) -> None:
        """The episode has this last frame, or ends here before its time."""
        for sitting in self.all:
            if sitting.episode == episode and sitting.last_frame is None:
                sitting.last_frame = max(last_frame, NULL_FRAME)
        self.all = [each for each in self.all if each.last_frame is None or each.last_frame >= each.first_frame]

    def as_data(self) -> list[dict[str, Any]]:
        """Return them as plain data, in order of episode, frame and seat."""
        ordered = sorted(self.all, key=lambda each: (each.episode, each.first_frame, each.seat))
        return [each.as_data() for each in ordered]
