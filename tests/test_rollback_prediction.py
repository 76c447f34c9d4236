"""What is assumed for a missing input: here, or by the environment's host, which says so in its reply."""

from __future__ import annotations

import pytest

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.rollback.prediction import PREDICT, neutral, repeat_last
from p2pclient.rollback.session import RollbackSession, SeatConfig
from tests.rollback_rig import BLANK, World, make_session, play, shape, steps, straight_run, value


def test_what_is_held_is_assumed_to_stay_held() -> None:
    assert repeat_last(b"\x01\x07") == b"\x01\x07"


def test_a_press_is_assumed_to_be_over_and_the_focus_to_stay() -> None:
    assert neutral(b"\x09\x09")(b"\x01\x07\x07") == b"\x01\x09\x09"


def test_prediction_is_a_choice_of_each_seat() -> None:
    config = [repeat_last, neutral(b"\x00"), None]
    session = RollbackSession(
        [SeatConfig(BLANK, repeat_last, local=True), *(SeatConfig(BLANK, p, local=False) for p in config)], window=8
    )
    for seat in (1, 2, 3):
        session.add_remote_input(seat, 0, b"\x01\x07")
    play(session)
    step = steps(play(session).commands)[0]
    assert step.inputs[1:] == (b"\x01\x07", b"\x01\x00", PREDICT)
    assert step.predicted == (False, True, True, True)


def test_it_repeats_the_newest_frame_and_not_the_newest_arrival() -> None:
    session = make_session()
    assert not session.add_remote_input(1, 1, value(9))  # overtook frame 0
    assert session.add_remote_input(1, 0, value(3))
    play(session)
    assert steps(play(session).commands)[0].inputs[1] == value(3)


def test_the_host_is_asked_also_before_any_input_is_known() -> None:
    assert steps(play(make_session(seats="Lr")).commands)[0].inputs[1] == PREDICT


def test_a_host_that_assumed_rightly_causes_no_rollback_even_if_the_focus_differs() -> None:
    session = make_session(seats="Lr")
    play(session)
    session.resolve(0, [None, b"\x05"])
    assert session.add_remote_input(1, 0, b"\x01\x05")
    advance = play(session)
    assert (advance.depth, advance.settled) == (0, 0)
    assert session.confirmed_input(1, 0) == b"\x01\x05"


def test_a_host_that_assumed_wrongly_causes_a_rollback() -> None:
    session = make_session(seats="Lr")
    play(session)
    play(session)
    session.resolve(0, [None, b"\x05"])
    session.resolve(1, [None, b"\x05"])
    session.add_remote_input(1, 0, value(6))
    advance = play(session)
    assert shape(advance.commands) == "L0 S0 V1 S1 V2 S2 V3"
    assert (advance.depth, advance.cause, advance.settled) == (2, (1,), 0)
    assert [s.inputs[1] for s in steps(advance.commands)] == [value(6), PREDICT, PREDICT]


@pytest.mark.parametrize(("used", "depth"), [(b"\x06", 0), (b"\x05", 1)])
def test_an_input_that_comes_before_the_reply_is_held_and_then_compared(used: bytes, depth: int) -> None:
    session = make_session(seats="Lr")
    play(session)
    for frame in range(3):
        assert session.add_remote_input(1, frame, value(6 + frame))
    assert not session.add_remote_input(1, 2, value(9))  # taken already, although it is held
    assert session.confirmed_frame == -1  # nobody knows yet whether frame 0 is right
    session.resolve(0, [None, used])
    assert session.last_input_frame(1) == 2
    advance = play(session)
    assert (advance.depth, advance.settled) == (depth, 1)
    assert steps(advance.commands)[-1].inputs[1] == value(7)


def test_what_is_held_waits_for_each_frame_that_is_not_resolved() -> None:
    session = make_session(seats="Lr")
    for _ in range(3):
        play(session)
    for frame in range(3):
        session.add_remote_input(1, frame, value(1))
    session.resolve(1, [None, b"\x01"])
    assert session.last_input_frame(1) == -1
    session.resolve(0, [None, b"\x01"])
    assert session.last_input_frame(1) == 1
    session.resolve(2, [None, b"\x02"])
    assert session.last_input_frame(1) == 2
    assert play(session).depth == 1


def test_a_reply_about_a_frame_that_is_not_assumed_any_more_changes_nothing() -> None:
    session = make_session(seats="Lr")
    play(session)
    session.resolve(0, [None, b"\x05"])
    session.add_remote_input(1, 0, value(5))
    session.resolve(0, [None, b"\x07"])
    session.resolve(9, [None, b"\x07"])
    for frame in range(1, 12):
        session.add_remote_input(1, frame, value(5))
        assert shape(play(session).commands) == f"S{frame} V{frame + 1}"
    assert session.confirmed_frame == 11


def test_only_the_newest_simulation_counts() -> None:
    session = make_session(seats="Lr")
    for _ in range(3):
        play(session)
    for frame in range(3):
        session.resolve(frame, [None, b"\x05"])
    session.add_remote_input(1, 0, value(1))
    assert play(session).depth == 3
    for frame in (1, 2, 3):
        session.resolve(frame, [None, b"\x02"])
    session.add_remote_input(1, 1, value(2))
    assert play(session).depth == 0


@pytest.mark.parametrize("says", ["nothing", "none"])
def test_where_the_host_never_says_what_it_assumed_the_frame_is_simulated_again(says: str) -> None:
    session, world = make_session(seats="Lr"), World()
    for frame in range(30):
        if frame >= 2:
            session.add_remote_input(1, frame - 2, value(frame))
        advance = play(session, frame)
        world.run(advance.commands)
        if says == "none":
            session.resolve(frame, [None, None])
        assert advance.depth == (2 if frame >= 2 else 0)
    assert session.confirmed_frame == 27
    seen = [session.confirmed_inputs(frame) for frame in range(28)]
    assert [world.result[frame] for frame in range(28)] == straight_run(seen)


def test_a_host_that_says_it_assumed_nothing_at_all_is_an_error() -> None:
    session = make_session(seats="Lr")
    play(session)
    with pytest.raises(LocalMisuseError, match="did not say"):
        session.resolve(0, [None, PREDICT])


def test_a_seat_that_goes_while_the_host_has_not_said_what_it_assumed_is_simulated_again() -> None:
    session = make_session(seats="Lr")
    for _ in range(3):
        play(session)
    session.add_remote_input(1, 0, value(4))
    session.disconnect(1, after=0)
    session.resolve(0, [None, b"\x04"])
    advance = play(session)
    assert advance.depth == 3
    assert [s.inputs[1] for s in steps(advance.commands)] == [value(4), BLANK, BLANK, BLANK]


def test_a_seat_that_goes_after_the_host_assumed_neutral_inputs_needs_no_rollback() -> None:
    session = make_session(seats="Lr")
    for frame in range(3):
        play(session)
        session.resolve(frame, [None, b"\x00"])
    session.disconnect(1, after=-1)
    assert play(session).depth == 0


def test_rewinding_asks_the_host_again() -> None:
    session = make_session(seats="Lr")
    for frame in range(3):
        play(session)
        session.resolve(frame, [None, b"\x05"])
    assert [s.inputs[1] for s in steps(session.rewind(1))] == [PREDICT, PREDICT]
    session.add_remote_input(1, 0, value(5))
    session.add_remote_input(1, 1, value(6))
    assert session.confirmed_frame == 0
    session.resolve(1, [None, b"\x06"])
    assert play(session).depth == 0


def test_a_match_predicted_by_the_host_is_what_was_pressed() -> None:
    session, world = make_session(seats="Lr"), World()
    inputs: list[tuple[bytes, ...]] = []
    asked = 0
    for tick in range(300):
        if tick >= 4:
            session.add_remote_input(1, tick - 4, value(tick // 9 % 3))
        advance = play(session, tick // 5)
        for frame, used in world.run(advance.commands):
            asked += 1
            session.resolve(frame, used)
        inputs += [session.confirmed_inputs(frame) for frame in range(len(inputs), advance.settled + 1)]
        session.discard_before(advance.settled)
    assert asked > 300
    assert world.resimulated > 100
    assert len(inputs) > 290
    assert [world.result[frame] for frame in range(len(inputs))] == straight_run(inputs)


def test_a_held_input_is_corrected_with_even_if_the_session_was_asked_in_between() -> None:
    seats = [
        SeatConfig(neutral=b"\x00\x00", predict=repeat_last, local=True),
        SeatConfig(neutral=b"\x00\x00", predict=None, local=False),
    ]
    session = RollbackSession(seats, window=8)
    session.add_local_input(0, b"\x00\x01")
    session.advance()
    session.add_local_input(0, b"\x00\x01")
    assert session.add_remote_input(1, 0, b"\x00\x02")  # the host has not said what it assumed
    assert session.confirmed_frame == NULL_FRAME
    step = session.advance()
    assert (step.depth, step.cause, step.settled) == (1, (1,), 0)
