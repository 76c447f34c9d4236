"""Where the time goes between a key and the pictures that show it, here and on the other players' screens.

From the table ``timing`` of one side, or of several sides of one match. An input counts for the frame in which it acts:
it is **pressed**, **sent** by the tick that reads it, **applied** when that frame begins, **simulated** when the
environment's host has answered, **shown** with the first picture of that frame or of a later one. On another machine it
is **received**, and applied in the first tick from then on that begins this frame or a later one: where the frame had
begun without it, that tick rolls back. (Behind an episode's last frame none begins, and this is not known.) What
happens there is told on the sender's clock, with a bound.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from p2pclient.common.errors import RecordingError
from p2pclient.common.frames import MAX_SEATS
from p2pclient.recorder.clocks import ClockTrack, at_seat, compare_clocks
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.records import FrameTimed


class Stage(NamedTuple):
    """From one moment of an input to a later one."""

    begins: str
    ends: str
    title: str


STAGES = (
    Stage("pressed", "sent", "pressed -> read by a tick, and sent"),
    Stage("sent", "applied", "sent -> applied here (input delay, stalls)"),
    Stage("applied", "simulated", "applied -> simulated here"),
    Stage("simulated", "shown", "simulated -> shown here"),
    Stage("sent", "received", "sent -> received there"),
    Stage("received", "applied_there", "received -> applied there"),
    Stage("applied_there", "simulated_there", "applied -> simulated there"),
    Stage("simulated_there", "shown_there", "simulated -> shown there"),
)
TOTALS = (
    Stage("pressed", "shown", "press to shown here"),
    Stage("pressed", "shown_there", "press to shown there"),
)
_NO_TIME = 1e12
"""Seconds that no clock shows."""
_THERE = frozenset({"received", "applied_there", "simulated_there", "shown_there"})


@dataclass(slots=True)
class Moments:
    """When what happened to one input, seconds on the clock of who pressed it; None if it is not known."""

    episode: int
    frame: int
    """In which it acts."""
    pressed: float | None = None
    sent: float | None = None
    applied: float | None = None
    simulated: float | None = None
    shown: float | None = None
    received: float | None = None
    applied_there: float | None = None
    simulated_there: float | None = None
    shown_there: float | None = None
    bound: float = 0.0
    """The moments there may be wrong by at most this against those here."""

    def lasted(self, stage: Stage) -> float | None:
        """Return how long a stage took, seconds; None if either end is not known."""
        begins, ends = getattr(self, stage.begins), getattr(self, stage.ends)
        return None if begins is None or ends is None else ends - begins


@dataclass(frozen=True, slots=True)
class Figures:
    """How long one stage took over all inputs, seconds; nearest-rank percentiles."""

    stage: Stage
    count: int
    median: float
    p99: float
    bound: float
    """Both may be wrong by at most this: 0 for what one clock measured."""


@dataclass(frozen=True, slots=True)
class Way:
    """The inputs of one side, on their way to its own screen or to another side's."""

    sender: str
    receiver: str
    """Empty for what one recording knows by itself."""
    inputs: int
    of_presses: bool
    """False if no key was pressed, or all inputs were asked for."""
    bounds: tuple[float, float]
    """By how much the clocks may be compared wrongly, seconds: the median over the inputs, and the most."""
    stages: tuple[Figures, ...]
    totals: tuple[Figures, ...]


@dataclass(slots=True)
class _Episode:
    """The timings of one episode, by frame."""

    rows: list[FrameTimed]
    frames: list[int] = field(init=False)
    applied: list[float] = field(init=False)
    shown: list[float | None] = field(init=False)
    """By row: when its picture or the next one that there was, was shown."""

    def __post_init__(self) -> None:
        self.rows.sort(key=lambda row: row.frame)
        self.frames = [row.frame for row in self.rows]
        self.applied = [row.applied_at for row in self.rows]
        self.shown = [row.shown_at for row in self.rows]
        for index in range(len(self.rows) - 2, -1, -1):
            if self.shown[index] is None:
                self.shown[index] = self.shown[index + 1]

    def index(self, frame: int) -> int | None:
        index = bisect_left(self.frames, frame)
        return index if index < len(self.frames) and self.frames[index] == frame else None

    def use_of(self, frame: int, received: float) -> int | None:
        """Return the row of the tick that first used an input; None if there is none."""
        index = max(bisect_left(self.frames, frame), bisect_left(self.applied, received))
        return index if index < len(self.rows) else None


@dataclass(frozen=True, slots=True)
class Side:
    """What the recording of one side says of times."""

    name: str
    match_id: Any
    seats: tuple[int, ...]
    """Its own."""
    episodes: Mapping[int, _Episode]
    left_out: int
    """Timings with times that are none."""

    def pairs(self, other: Side) -> Iterator[tuple[FrameTimed, FrameTimed]]:
        """Yield the timings of this side and of another one, of the same frames."""
        for number, episode in self.episodes.items():
            theirs = other.episodes.get(number)
            if theirs is None:
                continue
            by_frame = {row.frame: row for row in theirs.rows}
            for row in episode.rows:
                if row.frame in by_frame:
                    yield row, by_frame[row.frame]


def read_side(run: RunReader) -> Side:
    """Read the timings of a run: all of them at once, about half a kilobyte a frame.

    Raises:
        RecordingError: it is the recording of somebody who held no seat, or is damaged.
    """
    seats = run.manifest.get("own_seats")
    if not isinstance(seats, list) or not all(type(seat) is int and 0 <= seat < MAX_SEATS for seat in seats):
        raise RecordingError(f"{run.folder}: its manifest does not say which seats were played there")
    if not seats:
        raise RecordingError(f"{run.folder} is of somebody who held no seat; there are no inputs to follow")
    rows: dict[int, list[FrameTimed]] = {}
    left_out = 0
    for offset, record in run.records_at():
        if not isinstance(record, FrameTimed) or not run.stands(offset, record):
            continue
        if _is_sound(record):
            rows.setdefault(record.episode, []).append(record)
        else:
            left_out += 1
    name = "seat " + ", ".join(str(seat) for seat in seats)
    episodes = {number: _Episode(timings) for number, timings in rows.items()}
    return Side(name, run.manifest.get("match_id"), tuple(seats), episodes, left_out)


def _is_sound(row: FrameTimed) -> bool:
    times = [row.pressed_at, row.applied_at, row.simulated_at, row.shown_at, row.recorded_at, row.sent_at]
    times += [*row.received_at, *row.clock_offset, *row.clock_bound]
    return all(time is None or abs(time) < _NO_TIME for time in times)  # not a number is not below it either


def measure(sides: Sequence[Side], *, every: bool = False) -> list[Way]:
    """Return how long inputs took: of each side to each other one; of a single side, what it knows by itself.

    Args:
        every: all inputs, not only those of a key that went down or up.

    Raises:
        RecordingError: the recordings are not of one match, or two are of the same side.
    """
    if len({repr(side.match_id) for side in sides}) > 1:
        raise RecordingError("the recordings are of different matches; give those of one")
    if len({seat for side in sides for seat in side.seats}) < sum(len(side.seats) for side in sides):
        raise RecordingError("two of the recordings are of the same seat; give one of each side")
    if len(sides) == 1:
        side = sides[0]
        ways = [_way(side.name, "", follow(side), every=every)]
        others = {seat for e in side.episodes.values() for r in e.rows for seat in _heard(r)} - set(side.seats)
        ways += [_way(f"seat {seat}", side.name, _arrivals(side, seat), every=True) for seat in sorted(others)]
    else:
        ways = [_way(a.name, b.name, follow(a, b), every=every) for a in sides for b in sides if a is not b]
    return [way for way in ways if way.inputs]


def _heard(row: FrameTimed) -> list[int]:
    return [seat for seat, at in enumerate(row.received_at) if at is not None]


def _way(sender: str, receiver: str, moments: Sequence[Moments], *, every: bool) -> Way:
    pressed = [] if every else [each for each in moments if each.pressed is not None]
    chosen = pressed or moments
    figures = [_figures(stage, chosen) for stage in (*STAGES, *TOTALS)]
    there = sorted(each.bound for each in chosen if each.received is not None) if sender and receiver else []
    return Way(
        sender,
        receiver,
        len(chosen),
        bool(pressed),
        (there[len(there) // 2], there[-1]) if there else (0.0, 0.0),
        tuple(f for f in figures[: len(STAGES)] if f is not None),
        tuple(f for f in figures[len(STAGES) :] if f is not None),
    )


def _figures(stage: Stage, moments: Sequence[Moments]) -> Figures | None:
    lasted = [(each.lasted(stage), each.bound) for each in moments]
    known = sorted((seconds, bound) for seconds, bound in lasted if seconds is not None)
    if not known:
        return None
    crosses = (stage.begins in _THERE) is not (stage.ends in _THERE)
    bound = max(bound for _, bound in known) if crosses else 0.0
    count = len(known)
    return Figures(stage, count, known[(count - 1) // 2][0], known[-(-count * 99 // 100) - 1][0], bound)


def follow(sender: Side, receiver: Side | None = None) -> list[Moments]:
    """Return what happened to each input of one side, and, where it is known, on another side's machine."""
    track = ClockTrack([])
    if receiver is not None:
        track = compare_clocks(sender.pairs(receiver), ours=sender.seats[0], theirs=receiver.seats[0])
    found = []
    for number, episode in sender.episodes.items():
        pressed = _presses(episode)
        for index, row in enumerate(episode.rows):
            if row.sent_at is None and row.frame not in pressed:
                continue  # nothing of ours acts in it
            moments = Moments(number, row.frame, pressed.get(row.frame), row.sent_at, row.applied_at)
            moments.simulated, moments.shown = row.simulated_at, episode.shown[index]
            if receiver is not None and len(track):
                _follow_there(moments, receiver.episodes.get(number), sender.seats[0], track)
            found.append(moments)
    return found


def _presses(episode: _Episode) -> dict[int, float]:
    """When the key behind an input went down or up, by the frame in which it acts. Of several, the first."""
    pressed: dict[int, float] = {}
    for row in episode.rows:
        if row.pressed_at is not None:
            pressed.setdefault(row.frame + row.input_delay, row.pressed_at)
    return pressed


def _follow_there(moments: Moments, episode: _Episode | None, seat: int, track: ClockTrack) -> None:
    index = None if episode is None else episode.index(moments.frame)
    if episode is None or index is None:
        return
    received = at_seat(episode.rows[index].received_at, seat)
    if received is None:
        return
    moments.received, moments.bound = track.to_ours(received)
    use = episode.use_of(moments.frame, received)
    if use is None:
        return
    # What follows is measured by their clock, which runs as ours does for so short a time.
    moved = moments.received - received
    moments.applied_there = episode.applied[use] + moved
    moments.simulated_there = episode.rows[use].simulated_at + moved
    shown = episode.shown[use]
    moments.shown_there = None if shown is None else shown + moved


def _arrivals(side: Side, seat: int) -> list[Moments]:
    """Return what one recording knows of the inputs of somebody else, on its own clock."""
    found = []
    for number, episode in side.episodes.items():
        for row in episode.rows:
            received = at_seat(row.received_at, seat)
            use = None if received is None else episode.use_of(row.frame, received)
            if received is None or use is None:
                continue
            moments = Moments(number, row.frame, received=received, applied_there=episode.applied[use])
            moments.simulated_there, moments.shown_there = episode.rows[use].simulated_at, episode.shown[use]
            found.append(moments)
    return found
