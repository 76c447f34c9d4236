"""A run of frames that a spectator was told: what it begins with, its inputs, and how far they may be shown."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from p2pclient.match.evidence import StateParts
from p2pclient.protocol.control import EpisodeOver, FeedStart


@dataclass(slots=True)
class Stretch:
    """Frames of one episode, without a gap."""

    episode: int
    first: int
    """The frame at whose beginning the state is known."""
    checksum: bytes
    """Of that state."""
    chain: bytes
    """Value of the chain before :attr:`first`."""
    totals: tuple[float, ...]
    """Sums of the rewards by seat before :attr:`first`."""
    parts: StateParts | None
    """Pieces of the state; None if a reset gives it."""
    heard: int
    """Newest frame whose inputs are here."""
    inputs: deque[tuple[bytes, ...]] = field(default_factory=deque)
    """Of the frames up to :attr:`heard` that are not simulated yet, by seat."""
    expected: dict[int, bytes] = field(default_factory=dict)
    """Values of the chain that players told, by frame: of those that are not simulated yet."""
    over: EpisodeOver | None = None
    """How the episode ended, once that is known."""
    closed_at: float | None = None
    """Since when nothing more comes: the episode is over, or nobody goes on feeding it."""

    @classmethod
    def begin(cls, start: FeedStart) -> Stretch:
        """Return the stretch that a player announces."""
        return cls(
            episode=start.episode,
            first=start.first_frame,
            checksum=start.checksum,
            chain=start.chain,
            totals=tuple(start.totals),
            parts=StateParts() if start.has_state else None,
            heard=start.first_frame - 1,
        )

    @property
    def is_ready(self) -> bool:
        """Is all here that is needed to begin."""
        return self.parts is None or self.parts.is_complete

    @property
    def is_whole(self) -> bool:
        """Are all inputs up to the episode's end here."""
        return self.over is not None and self.heard >= self.over.last_frame

    def released(self, *, delay: int, rate_hz: float, now: float) -> int:
        """Return the newest frame that may be simulated: ``delay`` frames behind the newest that was heard.

        Behind the end nothing more is heard: time alone goes on.
        """
        if self.closed_at is None:
            return self.heard - delay
        return min(self.heard, self.heard - delay + int((now - self.closed_at) * rate_hz))
