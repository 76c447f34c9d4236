"""The recordings of two sides on one clock.

Each side recorded how far the other's clock was, modulo ``CLOCK_RANGE`` seconds, with a bound (see
:mod:`p2pclient.protocol.clock`). The rest is known from the inputs: none arrived before it left, so that the times of
one frame on both sides hold the difference between them, to within the round trip.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from p2pclient.protocol.clock import CLOCK_RANGE, DRIFT
from p2pclient.recorder.records import FrameTimed

_MOST = CLOCK_RANGE / 4
"""A frame whose inputs took longer both ways together than this, seconds, tells nothing of whole ranges."""


class ClockSample(NamedTuple):
    """Their clock minus ours, whole, seconds."""

    theirs: float
    """Time on their clock as of which this holds."""
    offset: float
    bound: float
    """``offset`` is wrong by at most this."""


class ClockTrack:
    """Their clock against ours over a match."""

    def __init__(self, samples: Iterable[ClockSample]) -> None:
        self._samples = _hindsight(sorted(samples))
        self._times = [sample.theirs for sample in self._samples]

    def __len__(self) -> int:
        return len(self._samples)

    def to_ours(self, theirs: float) -> tuple[float, float]:
        """Return a time of their clock on ours, and by how much it may be wrong, seconds.

        Raises:
            ValueError: nothing is known of their clock.
        """
        if not self._samples:
            raise ValueError("nothing is known of the other clock")
        at = bisect_left(self._times, theirs)
        near = [(s.bound + DRIFT * abs(theirs - s.theirs), s.offset) for s in self._samples[max(0, at - 1) : at + 1]]
        bound, offset = min(near)
        return theirs - offset, bound


def _hindsight(samples: list[ClockSample]) -> list[ClockSample]:
    """Let each sample gain from the later ones, which knew more; not over a jump of a clock, where they contradict."""
    for index in range(len(samples) - 2, -1, -1):
        sample, later = samples[index], samples[index + 1]
        bound = later.bound + DRIFT * (later.theirs - sample.theirs)
        if bound < sample.bound and abs(later.offset - sample.offset) <= bound + sample.bound:
            samples[index] = ClockSample(sample.theirs, later.offset, bound)
    return samples


def compare_clocks(pairs: Iterable[tuple[FrameTimed, FrameTimed]], *, ours: int, theirs: int) -> ClockTrack:
    """Return what one side recorded of the other's clock.

    Args:
        pairs: our timing and theirs of the same frames.
        ours: a seat of ours.
        theirs: a seat of theirs.
    """
    samples = (_sample(a, b, ours, theirs) for a, b in pairs)
    return ClockTrack(sample for sample in samples if sample is not None)


def _sample(a: FrameTimed, b: FrameTimed, ours: int, theirs: int) -> ClockSample | None:
    offset, bound = at_seat(a.clock_offset, theirs), at_seat(a.clock_bound, theirs)
    heard_here, heard_there = at_seat(a.received_at, theirs), at_seat(b.received_at, ours)
    if offset is None or bound is None or a.sent_at is None or b.sent_at is None:
        return None
    if heard_here is None or heard_there is None or bound < 0:
        return None
    low, high = b.sent_at - heard_here, heard_there - a.sent_at
    if not 0 <= high - low <= _MOST:
        return None  # inputs that were held up for seconds, or a clock that jumped, or a log that is not to be believed
    offset += CLOCK_RANGE * round(((low + high) / 2 - offset) / CLOCK_RANGE)
    if offset + bound + DRIFT * _MOST < low or offset - bound - DRIFT * _MOST > high:
        return None
    return ClockSample(a.recorded_at + offset, offset, bound)


def at_seat(by_seat: tuple[float | None, ...], seat: int) -> float | None:
    """Return what is recorded for a seat; None where there is nothing."""
    return by_seat[seat] if seat < len(by_seat) else None
