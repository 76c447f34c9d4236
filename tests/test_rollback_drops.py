"""A remote seat that is gone: from which frame on, what stands in for its input, and what is corrected."""

from __future__ import annotations

import pytest

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.rollback.prediction import repeat_last
from p2pclient.rollback.session import RollbackSession, SeatConfig
from tests.rollback_rig import BLANK, World, make_session, play, shape, steps, straight_run, value


def test_a_caught_up_drop_loads_nothing_and_is_neutral_from_the_next_frame() -> None:
    session = make_session()
    for frame in range(5):
        session.add_remote_input(1, frame, value(7))
        play(session, frame)
    session.disconnect(1, after=4)
    advance = play(session, 5)
    assert shape(advance.commands) == "S5 V6"
    assert steps(advance.commands)[0].inputs == (value(5), BLANK)
    assert steps(advance.commands)[0].predicted == (False, False)
    assert [session.is_disconnected(1, frame) for frame in (3, 4, 5, 6)] == [False, False, True, True]
    assert not session.is_disconnected(0, 6)
    assert (advance.settled, session.last_input_frame(1)) == (5, 4)
    assert session.confirmed_inputs(5) == (value(5), BLANK)


def test_inputs_that_do_not_count_and_were_never_simulated_just_vanish() -> None:
    session = make_session()
    for frame in range(9):
        session.add_remote_input(1, frame, value(7))
    for frame in range(5):
        play(session, frame)
    session.disconnect(1, after=4)
    advance = play(session, 5)
    assert shape(advance.commands) == "S5 V6"
    assert steps(advance.commands)[0].inputs == (value(5), BLANK)


def test_nobody_is_waited_for_after_the_last_one_is_gone() -> None:
    session = make_session(window=3)
    for frame in range(3):
        play(session, frame)
    assert play(session).stalled
    session.disconnect(1, after=NULL_FRAME)
    for frame in range(3, 40):
        advance = play(session, frame)
        assert (advance.advanced, advance.depth, advance.settled) == (1, 0, frame)
        assert session.confirmed_ahead == 0


def test_a_wrong_prediction_behind_the_last_frame_is_corrected_to_neutral() -> None:
    session, world = make_session(), World()
    session.add_remote_input(1, 0, value(9))
    for frame in range(5):
        world.run(play(session, frame).commands)
    session.disconnect(1, after=0)
    advance = play(session, 5)
    assert shape(advance.commands) == "L1 S1 V2 S2 V3 S3 V4 S4 V5 S5 V6"
    assert (advance.depth, advance.cause) == (4, (1,))
    world.run(advance.commands)
    truth = [(value(0), value(9)), *((value(f), BLANK) for f in range(1, 6))]
    assert [world.result[f] for f in range(6)] == straight_run(truth)


def test_inputs_that_were_taken_but_do_not_count_are_replaced() -> None:
    session, world = make_session(seats="LRR"), World()
    for frame in range(4):
        session.add_remote_input(1, frame, value(frame + 1))
        world.run(play(session, frame).commands)
    session.add_remote_input(1, 4, value(5))  # not simulated yet
    session.disconnect(1, after=1)
    assert session.last_input_frame(1) == 1
    advance = play(session, 4)
    assert (advance.depth, advance.cause) == (2, (1,))
    world.run(advance.commands)
    for frame in range(5):
        session.add_remote_input(2, frame, BLANK)
    advance = play(session, 5)
    world.run(advance.commands)
    seen = [session.confirmed_inputs(frame) for frame in range(5)]
    assert [each[1] for each in seen] == [value(1), value(2), BLANK, BLANK, BLANK]
    assert [world.result[f] for f in range(5)] == straight_run(seen)
    assert advance.settled == 4


def test_replacing_an_input_by_the_same_one_corrects_nothing() -> None:
    session = make_session(seats="LRR")
    for frame in range(4):
        session.add_remote_input(1, frame, BLANK)
        play(session, frame)
    session.disconnect(1, after=0)
    assert play(session, 4).depth == 0


def test_a_correction_that_was_due_is_still_made_after_a_drop() -> None:
    session = make_session()
    for frame in range(4):
        play(session, frame)
    session.add_remote_input(1, 0, value(3))
    session.disconnect(1, after=0)
    advance = play(session, 4)
    assert (advance.depth, advance.cause) == (4, (1,))
    assert [s.inputs[1] for s in steps(advance.commands)] == [value(3)] + [BLANK] * 4


def test_an_input_that_is_replaced_before_the_frame_that_was_to_be_corrected_is_corrected_first() -> None:
    session = make_session(seats="LRR")
    session.add_remote_input(1, 0, value(7))
    for frame in range(5):
        play(session, frame)
    session.add_remote_input(1, 1, value(7))  # as assumed, but it will not count
    session.add_remote_input(1, 2, value(9))
    session.disconnect(1, after=0)
    advance = play(session, 5)
    assert advance.depth == 4
    assert [s.inputs[1] for s in steps(advance.commands)] == [BLANK] * 5


def test_late_inputs_of_a_seat_that_is_gone_change_nothing() -> None:
    session = make_session()
    session.add_remote_input(1, 0, BLANK)
    for frame in range(3):
        play(session, frame)
    session.disconnect(1, after=0)
    for frame in range(5):
        assert not session.add_remote_input(1, frame, value(42))
    assert play(session, 3).depth == 0
    assert session.confirmed_inputs(2) == (value(2), BLANK)


def test_the_neutral_input_of_the_seat_stands_in_whatever_is_predicted() -> None:
    session = RollbackSession(
        [SeatConfig(BLANK, repeat_last, local=True), SeatConfig(b"\x00\x2a", repeat_last, local=False)], window=8
    )
    session.add_remote_input(1, 0, value(1))
    session.disconnect(1, after=0)
    seen = [steps(play(session, frame).commands)[0].inputs[1] for frame in range(4)]
    assert seen == [value(1), b"\x00\x2a", b"\x00\x2a", b"\x00\x2a"]


def test_others_are_still_waited_for_and_two_can_go_one_after_the_other() -> None:
    session, world = make_session(seats="LRRR", window=4), World()
    for frame in range(4):
        for seat in (1, 2, 3):
            if frame < seat:
                session.add_remote_input(seat, frame, value(seat))
        world.run(play(session, frame).commands)
    session.disconnect(1, after=0)
    assert (session.confirmed_frame, session.confirmed_ahead) == (1, 0)
    world.run(play(session, 4).commands)
    assert session.current_frame == 5
    session.disconnect(2, after=1)
    world.run(play(session, 5).commands)
    for frame in range(3, 7):
        session.add_remote_input(3, frame, value(3))
    world.run(play(session, 6).commands)
    seen = [session.confirmed_inputs(frame) for frame in range(6)]
    assert [each[1] for each in seen] == [value(1)] + [BLANK] * 5
    assert [each[2] for each in seen] == [value(2)] * 2 + [BLANK] * 4
    assert [world.result[f] for f in range(6)] == straight_run(seen)


def test_a_drop_in_lockstep_goes_on_at_once() -> None:
    session = make_session(window=0)
    session.add_remote_input(1, 0, value(1))
    play(session, 0)
    assert play(session, 1).stalled
    session.disconnect(1, after=0)
    advance = session.advance()
    assert (advance.advanced, advance.depth) == (1, 0)
    assert steps(advance.commands)[0].inputs == (value(1), BLANK)


def test_where_everybody_is_remote_and_gone_every_frame_is_confirmed() -> None:
    session = make_session(seats="RR", window=0)
    assert (session.advance().advanced, session.confirmed_frame) == (0, NULL_FRAME)
    session.disconnect(0, after=NULL_FRAME)
    session.disconnect(1, after=NULL_FRAME)
    for frame in range(5):
        assert session.confirmed_frame == frame
        assert session.advance().settled == frame


def test_memory_is_flat_after_a_drop() -> None:
    session = make_session(seats="LRR")
    for frame in range(3):
        play(session, frame)
    session.disconnect(1, after=NULL_FRAME)
    for frame in range(3, 2_000):
        session.add_remote_input(2, frame - 3, value(frame // 4))
        session.discard_before(play(session, frame).settled)
    assert not session._queues[1]._assumed
    assert all(len(queue._values) + len(queue._assumed) < 12 for queue in session._queues)


@pytest.mark.parametrize(
    ("seat", "after", "why"),
    [
        (2, 3, "not remote"),
        (-1, 3, "not remote"),
        (0, 3, "not remote"),
        (1, 4, "cannot be the last"),
        (1, 1, "is settled"),
        (1, -2, "is settled"),
    ],
)
def test_a_drop_that_cannot_be_is_refused_and_changes_nothing(seat: int, after: int, why: str) -> None:
    session = make_session()
    for frame in range(4):
        session.add_remote_input(1, frame, value(frame))
        if frame < 3:
            play(session, frame)
    with pytest.raises(LocalMisuseError, match=why):
        session.disconnect(seat, after=after)
    assert session.last_input_frame(1) == 3
    assert session.add_remote_input(1, 4, value(4))
    assert play(session, 3).depth == 0
    assert steps(play(session, 4).commands)[0].inputs == (value(4), value(4))


def test_a_seat_goes_only_once() -> None:
    session = make_session()
    session.disconnect(1, after=NULL_FRAME)
    with pytest.raises(LocalMisuseError, match="already gone"):
        session.disconnect(1, after=NULL_FRAME)
