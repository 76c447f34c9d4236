"""Local times of frames: when inputs were read, left and arrived, when a frame was simulated, shown and recorded.

Feeds the table ``timing``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from p2pclient.match.sources import Sample
from p2pclient.protocol.clock import ClockOffset
from p2pclient.recorder.records import FrameTimed

_WAIT_FOR_DISPLAY = 1.0
"""Seconds after which a frame that was not shown counts as skipped by the display."""


class _Times(msgspec.Struct):
    applied_at: float
    pressed_at: float | None
    predicted: tuple[bool, ...]
    window: int
    input_delay: int
    simulated_at: float | None = None
    shown_at: float | None = None
    recorded_at: float | None = None
    rtt: float | None = None
    resimulated: int = 0
    clocks: tuple[ClockOffset | None, ...] = ()


class FrameClock:
    """Collects what happens to each frame of an episode and gives it back as one record per frame, in order."""

    def __init__(self, episode: int, *, shows: bool) -> None:
        self._episode = episode
        self._shows = shows
        self._frames: dict[int, _Times] = {}
        self._sent: dict[int, float] = {}
        self._arrived: dict[int, dict[int, float]] = {}
        self._offsets: dict[int, ClockOffset | None] = {}

    def applied(
        self, frame: int, samples: list[Sample], predicted: tuple[bool, ...], window: int, input_delay: int, now: float
    ) -> None:
        """The inputs of a new frame were read, under these settings as they stand.

        A frame that begins once more, after its first simulation was lost with its host, keeps the times that it has.
        """
        if frame in self._frames:
            return
        pressed: float | None = None
        for sample in samples:
            at = sample.pressed_at
            if at is not None and (pressed is None or at < pressed):
                pressed = at
        self._frames[frame] = _Times(now, pressed, predicted, window, input_delay)

    def sent(self, frame: int, now: float) -> None:
        """The local input that acts in ``frame`` leaves for the first time."""
        self._sent.setdefault(frame, now)

    def received(self, frame: int, seats: Sequence[int], at: float) -> None:
        """A peer's input that acts in ``frame`` arrived, which may not have begun here yet."""
        arrived = self._arrived.setdefault(frame, {})
        for seat in seats:
            arrived.setdefault(seat, at)

    def compared(self, seats: Sequence[int], offset: ClockOffset | None) -> None:
        """How far the clock of these seats' peer is from ours by now; holds for what is recorded from here on."""
        for seat in seats:
            self._offsets[seat] = offset

    def simulated(self, frame: int, now: float, *, again: bool) -> None:
        """A simulation of the frame came back."""
        times = self._frames.get(frame)
        if times is None:
            return
        if again:
            times.resimulated += 1
        if times.simulated_at is None:
            times.simulated_at = now

    def shown(self, frame: int, at: float) -> None:
        """The picture of the state after ``frame`` was handed to the display."""
        times = self._frames.get(frame)
        if times is not None and times.shown_at is None:
            times.shown_at = at

    def recorded(self, frame: int, now: float, rtt: float | None) -> None:
        """The frame was settled and recorded."""
        times = self._frames.get(frame)
        if times is not None:
            times.recorded_at, times.rtt = now, rtt
            times.clocks = tuple([self._offsets.get(seat) for seat in range(len(times.predicted))])

    def take_complete(self, now: float, *, all_of_them: bool = False) -> list[FrameTimed]:
        """Return the records of frames about which nothing more is to come; in order, once each."""
        done: list[FrameTimed] = []
        for frame, times in self._frames.items():  # frames begin in order
            if times.recorded_at is None or times.simulated_at is None:
                break
            waits = self._shows and times.shown_at is None and now - times.recorded_at < _WAIT_FOR_DISPLAY
            if waits and not all_of_them:
                break
            done.append(self._record(frame, times))
        for record in done:
            del self._frames[record.frame]
            self._sent.pop(record.frame, None)
            self._arrived.pop(record.frame, None)
        return done

    def _record(self, frame: int, times: _Times) -> FrameTimed:
        assert times.simulated_at is not None
        assert times.recorded_at is not None
        return FrameTimed(
            episode=self._episode,
            frame=frame,
            pressed_at=times.pressed_at,
            applied_at=times.applied_at,
            simulated_at=times.simulated_at,
            shown_at=times.shown_at,
            recorded_at=times.recorded_at,
            rtt_ms=None if times.rtt is None else times.rtt * 1000,
            input_delay=times.input_delay,
            window=times.window,
            predicted=times.predicted,
            resimulated=times.resimulated,
            sent_at=self._sent.get(frame),
            received_at=_by_seat(self._arrived.get(frame), len(times.predicted)),
            clock_offset=_each(times.clocks, 0),
            clock_bound=_each(times.clocks, 1),
        )


def _by_seat(arrived: dict[int, float] | None, seats: int) -> tuple[float | None, ...]:
    return tuple([arrived.get(seat) for seat in range(seats)]) if arrived else ()


def _each(clocks: tuple[ClockOffset | None, ...], part: int) -> tuple[float | None, ...]:
    """Return one part of what is known of each seat's clock; empty if nothing is known of any."""
    if not any(clocks):
        return ()
    return tuple([None if clock is None else clock[part] for clock in clocks])
