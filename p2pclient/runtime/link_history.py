"""What is known of the paths of a link: which were used, when, why, and what they carried together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from p2pclient.transport.base import LANES, LaneCounts, TransportStats

Why = Literal["first", "silence", "address", "peer", "returned", "better", "older"]
"""Why a path is used: it is the first; we or the peer heard nothing; an address is gone; the peer's program is another
one; a better kind of path was found; one that was there before is heard again."""


@dataclass(slots=True)
class PathUsed:
    """One stay on one path."""

    number: int
    """Of the attempt; 0 for the first connection."""
    connection: str
    local_address: str
    remote_address: str
    why: str
    since: float
    """When it began to be used, by the loop's clock."""
    until: float | None = None
    """When it was used no more; None for the last."""


def sum_stats(each: Sequence[TransportStats]) -> TransportStats:
    """Return the counts of several transports together, without an address."""
    dropped: Counter[str] = Counter()
    for stats in each:
        dropped.update(stats.dropped_by_reason)
    return TransportStats(
        sent={lane: _sum_lanes([stats.sent.get(lane, LaneCounts()) for stats in each]) for lane in LANES},
        received={lane: _sum_lanes([stats.received.get(lane, LaneCounts()) for stats in each]) for lane in LANES},
        dropped_by_reason=dict(dropped),
        buffered_bytes=sum(stats.buffered_bytes for stats in each),
    )


def _sum_lanes(each: Sequence[LaneCounts]) -> LaneCounts:
    return LaneCounts(sum(one.messages for one in each), sum(one.payload_bytes for one in each))
