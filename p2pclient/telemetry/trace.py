"""A trace of one side of a match: when ticks, batches, rollbacks, stalls and datagrams were, for a trace viewer.

Events have the form of Chrome's trace event format, which Perfetto opens; :mod:`p2pclient.telemetry.chrome` makes the
file. On one track only one slice is open at a time, so that slices never overlap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import msgspec

from p2pclient.common.errors import ConfigurationError

EVENTS_KEPT = 200_000
"""Newest events that a trace keeps: some eight minutes of a match of two at 60 Hz, about 80 MB."""
PLAY = "playing"
"""Name of the phase of play. It begins behind a barrier, which all sides pass within one way of each other."""
TRACKS = 10_000
"""Tracks that a process may have. A track's id is its process times this plus its number, unique over a whole file."""


class Track(IntEnum):
    """The rows of a process in the viewer, from above."""

    PHASES = 1
    TICKS = 2
    STALLS = 3
    BATCHES = 4
    ROLLBACKS = 5
    SENT = 1000
    """Plus the peer's id."""
    RECEIVED = 2000
    """Plus the peer's id."""


class TraceEvent(msgspec.Struct, omit_defaults=True):
    """One event. Names are those of the format; times are whole microseconds."""

    name: str
    ph: str
    """``X`` a slice, ``i`` an instant, ``C`` the value of a counter, ``M`` a name for the viewer."""
    pid: int
    """The side, 1 and up."""
    ts: int
    tid: int = 0
    dur: int | None = None
    cat: str = ""
    s: str = ""
    """Scope of an instant: ``t``, its track."""
    args: dict[str, Any] = {}


class MatchTrace:
    """Collects events; :meth:`take_events` hands them over.

    Args:
        process: number of this side, from 1; viewers take 0 for the idle task.
        limit: events kept; when there are more, the oldest are forgotten.
    """

    def __init__(self, process: int, *, limit: int = EVENTS_KEPT) -> None:
        if process < 1:
            raise ConfigurationError("process", process, "1 or more")
        if limit < 1:
            raise ConfigurationError("limit", limit, "1 or more")
        self.process = process
        self.forgotten = 0
        """Events that were let go of because there were too many."""
        self._events: deque[TraceEvent] = deque(maxlen=limit)
        self._open: dict[int, tuple[str, int, dict[str, Any]]] = {}
        self._shown: dict[str, float] = {}

    def begin(self, track: int, name: str, /, *, now: float, **details: Any) -> None:
        """Open a slice; the one that was open on this track ends."""
        self.end(track, now=now)
        self._open[track] = (name, _microseconds(now), details)

    def end(self, track: int, /, *, now: float, **details: Any) -> None:
        """Close the slice that is open on this track, if one is, with further details."""
        found = self._open.pop(track, None)
        if found is not None:
            name, began, args = found
            args.update(details)
            self._keep(
                TraceEvent(
                    name,
                    "X",
                    self.process,
                    began,
                    self._tid(track),
                    max(0, _microseconds(now) - began),
                    _category(track),
                    args=args,
                )
            )

    def add_details(self, track: int, /, **details: Any) -> None:
        """Say more of the slice that is open on this track, if one is."""
        if track in self._open:
            self._open[track][2].update(details)

    def mark(self, track: int, name: str, details: Mapping[str, Any], *, now: float) -> None:
        """Something happened at this moment."""
        self._keep(
            TraceEvent(
                name,
                "i",
                self.process,
                _microseconds(now),
                self._tid(track),
                cat=_category(track),
                s="t",
                args=dict(details),
            )
        )

    def show(self, figure: str, value: float, *, now: float) -> None:
        """A figure has this value from now on; nothing is kept if it had it before."""
        if self._shown.get(figure) != value:
            self._shown[figure] = value
            self._keep(TraceEvent(figure, "C", self.process, _microseconds(now), args={"value": value}))

    def take_events(self) -> list[TraceEvent]:
        """Return what was collected since the last call, and forget it. Open slices come when they end."""
        events = list(self._events)
        self._events.clear()
        return events

    def finish(self, *, now: float) -> list[TraceEvent]:
        """End every slice that is open, and return what :meth:`take_events` does."""
        for track in list(self._open):
            self.end(track, now=now)
        return self.take_events()

    def _keep(self, event: TraceEvent) -> None:
        if len(self._events) == self._events.maxlen:
            self.forgotten += 1
        self._events.append(event)

    def _tid(self, track: int) -> int:
        return self.process * TRACKS + track


def track_name(track: int) -> str:
    """Return what the viewer calls a track."""
    if track >= Track.RECEIVED:
        return f"received from {track - Track.RECEIVED}"
    if track >= Track.SENT:
        return f"sent to {track - Track.SENT}"
    return Track(track).name.lower()


def _category(track: int) -> str:
    return "datagrams" if track >= Track.SENT else Track(track).name.lower()


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
