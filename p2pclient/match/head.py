"""Where a program that was started again takes an episode up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from p2pclient.match.past import Row
from p2pclient.protocol.control import HistoryStart


@dataclass(frozen=True, slots=True)
class Head:
    """All that is known of an episode by who begins to play in its midst. The host stands behind the last row."""

    rows: Sequence[Row]
    """Of all frames so far, from 0 on."""
    verified: int
    """Newest of them on which all sides have agreed."""
    has_ended: bool = False
    """Did the episode end with the last one."""
    known: Mapping[int, Sequence[bytes]] = field(default_factory=dict)
    """By seat: its inputs from the last row on (from frame 0 on without any) as far as they are known."""
    holders: Mapping[int, tuple[int, str]] = field(default_factory=dict)
    """By seat of a lost peer: its last frame, and who has it since (:mod:`p2pclient.match.sittings`)."""

    @property
    def frame(self) -> int:
        """The frame that is played next."""
        return len(self.rows)


@dataclass(slots=True)
class Takeover:
    """All that play goes on from."""

    head: Head
    start: HistoryStart
    inputs_until: int
    """The first frame of which no input of ours is known yet."""
