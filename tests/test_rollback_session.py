"""The session: which frames it loads, steps and saves, and that what comes out equals a straight run."""

from __future__ import annotations

import pytest

from p2pclient.common.errors import ConfigurationError, LocalMisuseError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.rollback.prediction import repeat_last
from p2pclient.rollback.session import Drop, RollbackSession, SeatConfig, Step
from tests.rollback_rig import BLANK, World, make_session, play, shape, steps, straight_run, value


def test_each_frame_is_stepped_and_then_saved() -> None:
    session = make_session(seats="L")
    for frame in range(20):
        advance = play(session, frame)
        assert shape(advance.commands) == f"S{frame} V{frame + 1}"
        assert (advance.advanced, advance.stalled, advance.depth, advance.cause) == (1, False, 0, ())
        assert advance.settled == frame
        assert session.current_frame == frame + 1


def test_inputs_that_are_here_in_time_need_no_rollback() -> None:
    session = make_session()
    for frame in range(50):
        assert session.add_remote_input(1, frame, value(frame))
        advance = play(session, frame + 100)
        step = advance.commands[0]
        assert isinstance(step, Step)
        assert step.inputs == (value(frame + 100), value(frame))
        assert step.predicted == (False, False)
        assert not step.again
        assert (advance.depth, advance.settled) == (0, frame)


def test_a_wrong_prediction_loads_its_frame_and_simulates_up_to_now_in_the_same_batch() -> None:
    session = make_session()
    for number in range(4):
        play(session, number)
    session.add_remote_input(1, 0, BLANK)  # as assumed
    session.add_remote_input(1, 1, value(9))  # not as assumed
    advance = play(session, 4)
    assert shape(advance.commands) == "L1 S1 V2 S2 V3 S3 V4 S4 V5"
    assert (advance.depth, advance.cause, advance.settled, advance.advanced) == (3, (1,), 1, 1)
    simulated = steps(advance.commands)
    assert [s.again for s in simulated] == [True, True, True, False]
    assert [s.inputs for s in simulated] == [(value(n), value(9)) for n in (1, 2, 3, 4)]
    assert [s.predicted for s in simulated] == [(False, False)] + [(False, True)] * 3
    assert advance.commands[-1] == Drop(2)


def test_a_right_prediction_loads_nothing() -> None:
    session = make_session()
    for number in range(4):
        play(session, number)
    for frame in range(3):
        session.add_remote_input(1, frame, BLANK)
    advance = play(session, 4)
    assert shape(advance.commands) == "S4 V5"
    assert (advance.depth, advance.settled) == (0, 2)


def test_the_same_correction_is_made_once() -> None:
    session = make_session()
    for number in range(3):
        play(session, number)
    session.add_remote_input(1, 0, value(5))
    assert play(session).depth == 3
    assert play(session).depth == 0


def test_every_frame_rolls_back_when_every_input_comes_one_frame_late_and_changes() -> None:
    session = make_session()
    play(session)
    for frame in range(1, 200):
        session.add_remote_input(1, frame - 1, value(frame))
        assert shape(play(session).commands) == f"L{frame - 1} S{frame - 1} V{frame} S{frame} V{frame + 1}"


def test_the_seats_that_were_wrong_first_are_the_cause() -> None:
    session = make_session(seats="LRRR")
    for _ in range(3):
        play(session)
    session.add_remote_input(1, 0, value(1))
    session.add_remote_input(2, 0, BLANK)
    session.add_remote_input(2, 1, value(1))
    session.add_remote_input(3, 0, value(1))
    advance = play(session)
    assert (advance.cause, advance.depth) == ((1, 3), 3)


def test_a_full_window_stalls_and_recovers_again_and_again() -> None:
    session = make_session(window=3)
    frame = 0
    for _ in range(10):
        for _ in range(3):
            assert play(session).advanced == 1
        for _ in range(200):
            advance = play(session)
            assert (advance.commands, advance.advanced, advance.stalled) == ((), 0, True)
        assert session.current_frame == frame + 3
        for _ in range(3):
            session.add_remote_input(1, frame, BLANK)
            frame += 1
    assert session.current_frame == 30


def test_a_stall_still_corrects() -> None:
    session = make_session(window=2)
    for _ in range(2):
        play(session)
    session.add_remote_input(1, 0, value(4))
    session.frame_limit = 2
    advance = play(session)
    assert shape(advance.commands) == "L0 S0 V1 S1 V2"
    assert (advance.advanced, advance.depth, advance.settled, advance.stalled) == (0, 2, 0, False)


def test_depth_never_exceeds_the_window() -> None:
    session = make_session(window=5)
    for _ in range(20):
        play(session)
    session.add_remote_input(1, 0, value(4))
    assert play(session).depth == 5


def test_the_limit_is_never_passed_and_is_no_stall() -> None:
    session = make_session(seats="L")
    session.frame_limit = 3
    for _ in range(3):
        assert play(session).advanced == 1
    assert not session.has_room
    advance = session.advance()
    assert (advance.commands, advance.stalled, advance.settled) == ((), False, 2)


def test_two_seats_with_delays_2_and_0() -> None:
    session = RollbackSession(
        [SeatConfig(BLANK, repeat_last, local=True, delay=2), SeatConfig(BLANK, repeat_last, local=True)], window=8
    )
    for frame in range(20):
        assert session.add_local_input(0, value(frame)) == frame + 2
        assert session.add_local_input(1, value(frame)) == frame
        step = session.advance().commands[0]
        assert isinstance(step, Step)
        assert step.inputs == (value(frame - 2) if frame >= 2 else BLANK, value(frame))
        assert session.confirmed_frame == frame
    assert (session.last_input_frame(0), session.last_input_frame(1)) == (21, 19)


def test_settled_waits_for_the_slowest_seat() -> None:
    session = make_session(seats="LRR")
    for _ in range(4):
        play(session)
    for frame in range(4):
        session.add_remote_input(1, frame, BLANK)
    assert play(session).settled == NULL_FRAME
    session.add_remote_input(2, 0, BLANK)
    assert session.confirmed_frame == 0


def test_inputs_ahead_of_us_are_counted_from_the_slowest_peer() -> None:
    session = make_session(seats="LRR")
    assert session.confirmed_ahead == 0
    for frame in range(6):
        session.add_remote_input(1, frame, BLANK)
    assert session.confirmed_ahead == 0
    for frame in range(4):
        session.add_remote_input(2, frame, BLANK)
    assert session.confirmed_ahead == 4
    play(session)
    assert session.confirmed_ahead == 3
    assert make_session(seats="L").confirmed_ahead == 0


def test_settled_is_never_ahead_of_what_was_simulated() -> None:
    session = make_session()
    for frame in range(9):
        session.add_remote_input(1, frame, value(frame))
    assert play(session).settled == 0
    assert play(session).settled == 1


def test_remote_inputs_are_taken_in_order_only() -> None:
    session = make_session()
    assert not session.add_remote_input(1, 1, value(1))
    assert session.add_remote_input(1, 0, value(0))
    assert not session.add_remote_input(1, 0, value(7))
    assert session.confirmed_input(1, 0) == value(0)


def test_a_frame_takes_one_local_input() -> None:
    session = make_session()
    assert session.add_local_input(0, value(1)) == 0
    assert session.add_local_input(0, value(2)) == NULL_FRAME


def test_confirmed_inputs_are_real_ones() -> None:
    session = make_session()
    play(session, 3)
    with pytest.raises(LocalMisuseError):
        session.confirmed_inputs(0)
    session.add_remote_input(1, 0, value(8))
    assert session.confirmed_inputs(0) == (value(3), value(8))


def test_what_was_discarded_cannot_be_read() -> None:
    session = make_session(seats="L")
    for number in range(5):
        play(session, number)
    session.discard_before(3)
    assert session.confirmed_inputs(3) == (value(3),)
    with pytest.raises(LocalMisuseError):
        session.confirmed_inputs(2)


def test_misuse_is_an_error() -> None:
    session = make_session()
    with pytest.raises(LocalMisuseError, match="local input"):
        session.advance()
    with pytest.raises(LocalMisuseError, match="not local"):
        session.add_local_input(1, BLANK)
    with pytest.raises(LocalMisuseError, match="is local"):
        session.add_remote_input(0, 0, BLANK)


@pytest.mark.parametrize(("seats", "window"), [("", 8), ("L" * 9, 8), ("LR", -1)])
def test_settings_out_of_range_are_refused(seats: str, window: int) -> None:
    with pytest.raises(ConfigurationError):
        make_session(seats=seats, window=window)


def test_seats_out_of_range_are_refused() -> None:
    for seat in (
        SeatConfig(b"", repeat_last, local=True),
        SeatConfig(BLANK, repeat_last, local=True, delay=61),
        SeatConfig(BLANK, repeat_last, local=True, delay=-1),
        SeatConfig(BLANK, repeat_last, local=False, delay=1),
    ):
        with pytest.raises(ConfigurationError):
            RollbackSession([seat], window=8)


def test_a_window_or_spacing_that_cannot_be_is_refused_and_changes_nothing() -> None:
    session = make_session(window=3)
    with pytest.raises(ConfigurationError, match="window"):
        session.window = -1
    with pytest.raises(ConfigurationError, match="spacing"):
        session.spacing = 0
    assert (session.window, session.spacing) == (3, 1)


def test_eight_seats_are_allowed() -> None:
    session = make_session(seats="L" + "R" * 7, window=1)
    assert play(session).advanced == 1


def test_memory_of_a_session_is_flat() -> None:
    session = make_session()
    for frame in range(20_000):
        advance = play(session, frame // 5)
        if frame >= 4:
            session.add_remote_input(1, frame - 4, value(frame // 3))
        session.discard_before(advance.settled)
        for queue in session._queues:
            assert len(queue._values) + len(queue._assumed) < 20
    assert session.current_frame == 20_000


# -- a window that changes --------------------------------------------------------------------------------------------


def test_a_narrower_window_waits_until_what_is_out_fits_and_loses_nothing() -> None:
    session, world, pressed = make_session(window=8), World(), []
    for number in range(8):
        world.run(play(session, number).commands)
    session.window = 2
    for frame in range(5):
        assert play(session).stalled
        session.add_remote_input(1, frame, value(7))
        pressed.append((value(frame), value(7)))
        advance = session.advance()
        assert advance.depth == (8 if frame == 0 else 0)
        world.run(advance.commands)
    assert session.current_frame == 8
    assert world.result[4] == straight_run(pressed)[4]
    for frame in range(5, 7):
        session.add_remote_input(1, frame, value(7))
    assert play(session, 8).advanced == 1
    assert play(session, 9).stalled


def test_a_window_that_narrows_between_reading_and_running_reads_no_frame_twice() -> None:
    session = make_session(window=4)
    for _ in range(3):
        play(session)
    assert session.seats_to_read() == (0,)
    session.add_local_input(0, value(3))
    session.window = 2
    assert session.advance().stalled
    session.window = 4
    assert session.seats_to_read() == ()
    step = session.advance().commands[0]
    assert isinstance(step, Step)
    assert (step.frame, step.inputs[0]) == (3, value(3))


def test_a_wider_window_lets_more_frames_run() -> None:
    session = make_session(window=1)
    assert play(session).advanced == 1
    assert play(session).stalled
    session.window = 3
    assert [play(session).advanced for _ in range(3)] == [1, 1, 0]


@pytest.mark.parametrize("delays", [(0, 3), (3, 0)])
def test_local_inputs_go_out_as_far_as_all_local_seats_have_one(delays: tuple[int, int]) -> None:
    seats = [SeatConfig(neutral=b"\x00", predict=repeat_last, local=True, delay=delay) for delay in delays]
    session = RollbackSession(seats, window=8)
    for seat in (0, 1):
        session.add_local_input(seat, bytes([seat + 1]))
    expected = {(0, 3): [b"\x01\x00"], (3, 0): [b"\x00\x02"]}[delays]
    assert session.local_inputs(0) == expected
    assert session.local_inputs(1) == []
