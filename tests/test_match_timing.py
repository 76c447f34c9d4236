"""Local times of frames, and what one side counts."""

from __future__ import annotations

import pytest

from p2pclient.match.sources import Sample
from p2pclient.match.timing import FrameClock
from p2pclient.protocol.clock import ClockOffset
from p2pclient.recorder.records import FrameTimed

PREDICTED = (False, True)


def make_clock(*, shows: bool = True) -> FrameClock:
    return FrameClock(2, shows=shows)


def play(clock: FrameClock, frame: int, at: float, *, pressed: tuple[float | None, ...] = (None,)) -> None:
    samples = [Sample(b"\x00", True, when) for when in pressed]
    clock.applied(frame, samples, PREDICTED, 8, 1, at)
    clock.simulated(frame, at + 0.01, again=False)


def test_one_record_per_frame_holds_all_its_times() -> None:
    clock = make_clock()
    play(clock, 0, 1.0, pressed=(0.9, None, 0.95))
    clock.simulated(0, 1.05, again=True)
    clock.simulated(0, 1.06, again=True)
    clock.shown(0, 1.02)
    clock.shown(0, 1.5)  # only the first time counts
    assert clock.take_complete(1.1) == []
    clock.recorded(0, 1.2, 0.05)
    assert clock.take_complete(1.2) == [
        FrameTimed(
            episode=2,
            frame=0,
            pressed_at=0.9,
            applied_at=1.0,
            simulated_at=1.01,
            shown_at=1.02,
            recorded_at=1.2,
            rtt_ms=50.0,
            input_delay=1,
            window=8,
            predicted=PREDICTED,
            resimulated=2,
        )
    ]
    assert clock.take_complete(9.0) == []


def test_a_frame_waits_a_second_for_the_display_and_holds_up_those_behind_it() -> None:
    clock = make_clock()
    for frame in range(2):
        play(clock, frame, float(frame))
        clock.recorded(frame, 2.0, None)
    clock.shown(1, 2.5)
    assert clock.take_complete(2.99) == []
    done = clock.take_complete(3.0)
    assert [(d.frame, d.shown_at, d.rtt_ms) for d in done] == [(0, None, None), (1, 2.5, None)]


def test_when_inputs_left_and_arrived_belongs_to_the_frame_in_which_they_act() -> None:
    clock = make_clock(shows=False)
    clock.sent(1, 0.5)  # under an input delay, before the frame begins
    clock.sent(1, 0.6)  # only the first time counts
    clock.received(0, (1,), 0.9)
    clock.received(1, (1,), 1.3)
    clock.received(1, (1,), 1.4)
    for frame in range(3):
        play(clock, frame, 1.0 + frame)
        clock.recorded(frame, 5.0, None)
    done = clock.take_complete(5.0)
    assert [d.sent_at for d in done] == [None, 0.5, None]
    assert [d.received_at for d in done] == [(None, 0.9), (None, 1.3), ()]


def test_the_clocks_are_those_as_of_when_the_frame_was_recorded() -> None:
    clock = make_clock(shows=False)
    for frame in range(3):
        play(clock, frame, 1.0)
    clock.recorded(0, 2.0, None)
    clock.compared((1,), ClockOffset(0.25, 0.001))
    clock.recorded(1, 3.0, None)
    clock.compared((1,), None)
    clock.recorded(2, 4.0, None)
    done = clock.take_complete(5.0)
    assert [d.clock_offset for d in done] == [(), (None, 0.25), ()]
    assert [d.clock_bound for d in done] == [(), (None, 0.001), ()]


def test_without_a_display_nothing_waits() -> None:
    clock = make_clock(shows=False)
    play(clock, 0, 1.0)
    clock.recorded(0, 1.1, None)
    assert len(clock.take_complete(1.1)) == 1


def test_at_the_end_all_recorded_frames_are_given_back_and_no_others() -> None:
    clock = make_clock()
    for frame in range(3):
        play(clock, frame, float(frame))
    clock.recorded(0, 3.0, None)
    clock.recorded(1, 3.0, None)
    assert [d.frame for d in clock.take_complete(3.0, all_of_them=True)] == [0, 1]


def test_frames_come_back_in_order_without_gaps() -> None:
    clock = make_clock(shows=False)
    for frame in range(3):
        play(clock, frame, float(frame))
    clock.recorded(1, 3.0, None)
    clock.recorded(2, 3.0, None)
    assert clock.take_complete(9.0) == []
    clock.recorded(0, 9.0, None)
    assert [d.frame for d in clock.take_complete(9.0)] == [0, 1, 2]


def test_what_is_said_of_unknown_frames_is_ignored() -> None:
    clock = make_clock()
    clock.simulated(4, 1.0, again=True)
    clock.shown(4, 1.0)
    clock.shown(-1, 1.0)
    clock.recorded(4, 1.0, None)
    assert clock.take_complete(9.0, all_of_them=True) == []


def test_a_frame_that_was_not_simulated_yet_is_not_complete() -> None:
    clock = make_clock(shows=False)
    clock.applied(0, [], PREDICTED, 8, 1, 1.0)
    clock.recorded(0, 1.0, None)
    assert clock.take_complete(1.0) == []


@pytest.mark.parametrize("shown", [True, False])
def test_memory_of_a_long_episode_is_flat(shown: bool) -> None:
    clock = make_clock()
    taken = 0
    for frame in range(5_000):
        now = frame / 60
        clock.sent(frame + 3, now)
        clock.received(frame + 2, (1,), now)
        play(clock, frame, now)
        if shown:
            clock.shown(frame, now + 0.02)
        if frame >= 6:
            clock.recorded(frame - 6, now, 0.1)
        taken += len(clock.take_complete(now))
        assert len(clock._frames) < 80
        assert len(clock._sent) < 80
        assert len(clock._arrived) < 80
    assert taken > 4_900
