"""What one side of a match counts."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class MatchCounters:
    """Counts over all episodes of a match."""

    frames: int = 0
    """Frames simulated for the first time."""
    resimulated: int = 0
    """Frames simulated again."""
    rollbacks: int = 0
    max_depth: int = 0
    stalls: int = 0
    """Ticks that could not advance because the prediction window was full."""
    overruns: int = 0
    """Ticks at which the environment's host was still busy with the frame before."""
    fast_forwarded: int = 0
    """Frames run in addition to the tick's own, to make up for a hitch."""
    confirmed_frames: int = 0
    verified_frames: int = 0
    desyncs: int = 0
    datagrams_sent: int = 0
    datagram_bytes_sent: int = 0
    control_sent: int = 0
    rollback_causes: Counter[int] = field(default_factory=Counter)
    """Rollbacks by the seat whose input was assumed wrongly."""
    depths: Counter[int] = field(default_factory=Counter)
    """Rollbacks by depth."""

    def as_data(self) -> dict[str, Any]:
        """Plain data with string keys, for the manifest and JSON."""
        # Not asdict: before Python 3.12 it makes a counter of the pairs of a counter.
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: {str(k): v for k, v in sorted(value.items())} if isinstance(value, Counter) else value
            for name, value in values.items()
        }


class RecentQuantiles:
    """Median and 99th percentile over the newest samples of one figure.

    Args:
        size: samples kept.
    """

    def __init__(self, size: int = 4096) -> None:
        self._samples: deque[float] = deque(maxlen=size)

    def add(self, value: float) -> None:
        """Take one sample in."""
        self._samples.append(value)

    def quantile(self, share: float) -> float | None:
        """Return the nearest-rank quantile, or None without samples."""
        if not self._samples:
            return None
        ordered = sorted(self._samples)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
