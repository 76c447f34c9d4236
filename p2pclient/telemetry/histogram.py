"""How one figure was distributed over a whole match, in bounded memory.

Buckets are linear within each power of two, as in HdrHistogram, but centred on their value: 32 to an octave, so that a
quantile is off by at most 1/64 (1.6 %), and whole numbers up to 64, such as frames, come back exactly.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import accumulate
from math import frexp, ldexp

import msgspec

_OCTAVE = 32
_LOWEST = -20
PENDING = 256
"""Samples after which they are sorted in."""
SMALLEST = 2.0**_LOWEST
"""Magnitudes below it count as 0."""
LARGEST = 2.0**40
"""Magnitudes above it count as this in quantiles."""


class Summary(msgspec.Struct, frozen=True):
    """What is reported of a histogram. All but ``count`` are None if nothing was counted."""

    count: int
    mean: float | None = None
    least: float | None = None
    median: float | None = None
    p95: float | None = None
    p99: float | None = None
    most: float | None = None


class Histogram:
    """Counts of one figure, negative values too. Count, mean, least and most are of the samples themselves."""

    __slots__ = ("_buckets", "_count", "_least", "_most", "_total", "pending")

    def __init__(self) -> None:
        self._buckets: defaultdict[int, int] = defaultdict(int)
        self._count = 0
        self._total = 0.0
        self._least = float("inf")
        self._most = float("-inf")
        self.pending: list[float] = []
        """Samples that are not in buckets yet. Who has one in every tick may append it here, and call :meth:`sort_in`
        now and then."""

    def add(self, value: float) -> None:
        """Take one sample in; any number but NaN."""
        self.pending.append(value)
        if len(self.pending) >= PENDING:
            self.sort_in()

    def include(self, others: Iterable[Histogram]) -> Histogram:
        """Take in all samples of others, and return this one."""
        for other in others:
            other.sort_in()
            for bucket, count in other._buckets.items():
                self._buckets[bucket] += count
            self._count += other._count
            self._total += other._total
            self._least = min(self._least, other._least)
            self._most = max(self._most, other._most)
        return self

    def sort_in(self) -> None:
        """Put all samples into buckets."""
        # Many at a time: most figures repeat, and counting equal ones first costs a quarter.
        pending, self.pending = self.pending, []
        buckets = self._buckets
        for value, count in Counter(pending).items():
            buckets[_bucket_of(value)] += count
        self._count += len(pending)
        self._total += sum(pending)
        self._least = min(self._least, min(pending, default=self._least))
        self._most = max(self._most, max(pending, default=self._most))

    @property
    def count(self) -> int:
        """Samples taken in."""
        return self._count + len(self.pending)

    @property
    def mean(self) -> float | None:
        """Mean of all samples, or None without any."""
        self.sort_in()
        return self._total / self._count if self._count else None

    def quantile(self, share: float) -> float | None:
        """Return the nearest-rank quantile, or None without samples.

        Args:
            share: 0 for the least, 0.5 for the median, 1 for the most.
        """
        self.sort_in()
        rank = int(share * self._count)
        if rank >= self._count - 1:
            return self._most if self._count else None
        buckets = sorted(self._buckets)
        up_to = list(accumulate(self._buckets[bucket] for bucket in buckets))
        return min(self._most, max(self._least, _value_of(buckets[bisect_right(up_to, rank)])))

    def summary(self) -> Summary:
        """Return the figures for a report, rounded to what is known of them."""
        mean = self.mean
        if mean is None:
            return Summary(0)
        figures = (mean, self._least, *map(self.quantile, (0.5, 0.95, 0.99)), self._most)
        return Summary(self._count, *(None if figure is None else round(float(figure), 4) for figure in figures))


def _bucket_of(value: float) -> int:
    if -SMALLEST < value < SMALLEST:
        return 0
    if value < 0:
        return -_bucket_of(-value)
    mantissa, exponent = frexp(value if value < LARGEST else LARGEST)
    return (exponent - _LOWEST) * _OCTAVE + int(mantissa * (2 * _OCTAVE) + 0.5)


def _value_of(bucket: int) -> float:
    if bucket == 0:
        return 0.0
    octave, step = divmod(abs(bucket) - _OCTAVE, _OCTAVE)
    magnitude = ldexp((_OCTAVE + step) / (2 * _OCTAVE), octave + _LOWEST)
    return magnitude if bucket > 0 else -magnitude
