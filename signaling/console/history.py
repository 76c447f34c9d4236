"""The last few minutes of every match, for the charts of a console that is opened later. Pure and bounded."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from typing import Any

from p2pclient.common.room_messages import Health
from signaling.rows import MatchRow, RoomRow, SeatRow

KEPT = 300
"""Samples of each seat, about one a second."""

STALE_S = 3.0
"""A report older than this is a gap in the chart, not a flat line."""

_GAP = float("nan")


def _worst(name: str) -> Callable[[Health], float]:
    def read(health: Health) -> float:
        worst = _GAP
        for peer in health.peers:
            value = getattr(peer, name)
            if value is not None and not value <= worst:  # nothing is at most a gap
                worst = value
        return worst

    return read


SERIES: dict[str, Callable[[Health], float]] = {
    "rtt_ms": _worst("rtt_ms"),
    "jitter_ms": _worst("jitter_ms"),
    "loss": _worst("loss"),
    "rollback_depth": lambda health: health.rollback_depth,
    "frames_ahead": _worst("frames_ahead"),
    "rate_hz": lambda health: health.rate_hz,
    "stalls": lambda health: health.stalls,
}
"""What is kept of each seat; of several peers, the worst. ``console/static/history.js`` does the same."""


class _Ring:
    """The newest ``KEPT`` samples, in 4 bytes a value: a match of two costs 17 KB."""

    def __init__(self, width: int) -> None:
        self._values = array("f", [_GAP] * (width * KEPT))
        self._width = width
        self._count = 0

    def add(self, sample: list[float]) -> None:
        begin = self._count % KEPT * self._width
        self._values[begin : begin + self._width] = array("f", sample)
        self._count += 1

    def column(self, index: int) -> list[float | None]:
        """Return one value of each sample, the oldest first; None for gaps."""
        first = max(0, self._count - KEPT)
        found = (self._values[at % KEPT * self._width + index] for at in range(first, self._count))
        return [None if math.isnan(value) else round(value, 3) for value in found]


class History:
    """Samples of all matches that are shown. What the room shows no more is forgotten."""

    def __init__(self) -> None:
        self._matches: dict[str, tuple[_Ring, tuple[int, ...]]] = {}
        self._origin: float | None = None

    def add(self, row: RoomRow) -> None:
        """Take one sample of every match that runs. Called about once a second."""
        if self._origin is None:
            self._origin = row.at
        for gone in self._matches.keys() - {match.id for match in row.matches}:
            del self._matches[gone]
        for match in row.matches:
            if match.state != "ended":
                self._sample(match, row.at - self._origin)

    def _sample(self, match: MatchRow, at: float) -> None:
        numbers = tuple(seat.seat for seat in match.seats)
        ring, seats = self._matches.get(match.id, (None, ()))
        if ring is None or seats != numbers:
            ring = _Ring(1 + len(SERIES) * len(numbers))
            self._matches[match.id] = (ring, numbers)
        ring.add([at, *(value for seat in match.seats for value in _values(seat))])

    def of_match(self, match_id: str) -> dict[str, Any]:
        """Return the samples of one match as plain data: times, and the series of each seat. Empty if there is none."""
        ring, seats = self._matches.get(match_id, (None, ()))
        if ring is None or self._origin is None:
            return {"at": [], "seats": {}}
        width = len(SERIES)
        columns = {
            str(seat): {name: ring.column(1 + place * width + index) for index, name in enumerate(SERIES)}
            for place, seat in enumerate(seats)
        }
        return {"at": [self._origin + (at or 0.0) for at in ring.column(0)], "seats": columns}


def _values(seat: SeatRow) -> list[float]:
    stale = seat.health_ago_s is not None and seat.health_ago_s > STALE_S
    if seat.health is None or stale or not seat.present:
        return [_GAP] * len(SERIES)
    return [read(seat.health) for read in SERIES.values()]
