"""What telemetry reads of the objects that it watches; they know nothing of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class ConversationStats(Protocol):
    """What an endpoint counts and measures itself, over all episodes."""

    inputs_sent: int
    input_bytes_sent: int
    keep_alives_sent: int
    keep_alive_bytes_sent: int
    control_sent: int
    control_bytes_sent: int
    datagrams_received: int
    bytes_received: int
    control_received: int
    control_bytes_received: int
    duplicates: int
    reordered: int
    lost: int
    rtt: float | None
    """Newest round trip time, seconds."""
    jitter: float | None
    """Seconds."""

    @property
    def loss(self) -> float:
        """Share of the recent datagrams that did not arrive, 0 to 1."""


class Conversation(Protocol):
    """An endpoint: the conversation with one peer."""

    lead: float | None
    """Our frame minus the newest frame heard from the peer."""
    peer_lead: float | None
    """The same as the peer has said it of us."""

    @property
    def stats(self) -> ConversationStats:
        """Counts and times since it began."""

    @property
    def drops(self) -> Mapping[str, int]:
        """What was not taken, by reason."""


class Decision(Protocol):
    """What the session decided in one tick."""

    @property
    def advanced(self) -> int:
        """New frames simulated."""

    @property
    def stalled(self) -> bool:
        """The prediction window was full."""

    @property
    def depth(self) -> int:
        """Depth of the rollback; 0 without one."""

    @property
    def resimulated(self) -> int:
        """Frames simulated again; at least the depth, more where snapshots are sparse."""

    @property
    def cause(self) -> tuple[int, ...]:
        """Seats whose input was assumed wrongly."""
