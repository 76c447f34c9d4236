"""The session in lockstep, and with an input delay that changes in play."""

from __future__ import annotations

import pytest

from p2pclient.common.errors import ConfigurationError, LocalMisuseError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.rollback.prediction import neutral
from p2pclient.rollback.session import RollbackSession, SeatConfig
from tests.rollback_rig import BLANK, World, make_session, play, shape, steps, straight_run, value

# -- lockstep ---------------------------------------------------------------------------------------------------------


def test_lockstep_without_the_others_input_never_moves_and_goes_on_when_it_comes() -> None:
    session = make_session(window=0)
    assert session.seats_to_read() == (0,)
    assert session.add_local_input(0, value(5)) == 0
    for _ in range(200):
        advance = session.advance()
        assert (advance.commands, advance.advanced, advance.stalled) == ((), 0, True)
        assert session.seats_to_read() == ()
    assert session.current_frame == 0
    assert session.last_input_frame(0) == 0  # there to be sent: the others wait for it
    session.add_remote_input(1, 0, value(6))
    advance = session.advance()
    assert (advance.advanced, advance.settled, session.current_frame) == (1, 0, 1)
    assert steps(advance.commands)[0].inputs == (value(5), value(6))


def test_lockstep_predicts_nothing_rolls_nothing_back_and_takes_no_snapshot() -> None:
    session, world = make_session(window=0, seats="LRR"), World()
    for frame in range(50):
        for seat in (1, 2):
            session.add_remote_input(seat, frame, value(frame * seat))
        advance = play(session, frame)
        world.run(advance.commands)
        assert shape(advance.commands) == f"S{frame}"
        assert steps(advance.commands)[0].predicted == (False,) * 3
        session.discard_before(advance.settled)
    assert world.saved == {}
    assert world.result[49] == straight_run([(value(f), value(f), value(2 * f)) for f in range(50)])[49]


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_lockstep_with_a_delay_runs_that_many_frames_ahead_and_no_more(delay: int) -> None:
    session = make_session(window=0, delay=delay)
    for frame in range(delay):  # the other's delay is the same: nothing read yet, but these inputs are agreed
        session.add_remote_input(1, frame, BLANK)
    for _ in range(20):
        play(session)
    assert session.current_frame == delay
    session.add_remote_input(1, delay, value(1))
    play(session)
    play(session)
    assert session.current_frame == delay + 1


def test_two_sides_in_lockstep_see_the_same() -> None:
    sides = [make_session(window=0, delay=2, seats=seats) for seats in ("LR", "RL")]
    worlds, sent = [World(), World()], [0, 0]
    for tick in range(60):
        for own, session in enumerate(sides):
            worlds[own].run(play(session, tick * (own + 1)).commands)
            for frame in range(sent[own], session.last_input_frame(own) + 1):
                assert sides[1 - own].add_remote_input(own, frame, session.confirmed_input(own, frame))
            sent[own] = session.last_input_frame(own) + 1
    assert min(session.current_frame for session in sides) > 50
    assert len(set(worlds[0].result.values())) > 50
    assert all(worlds[0].result[f] == worlds[1].result[f] for f in range(50))


def test_lockstep_stops_at_the_limit_without_reading_or_stalling() -> None:
    session = make_session(window=0, seats="L")
    session.frame_limit = 2
    assert [play(session).advanced for _ in range(2)] == [1, 1]
    assert session.seats_to_read() == ()
    assert not session.advance().stalled


def test_lockstep_can_be_entered_and_left_in_the_middle() -> None:
    session, world, pressed = make_session(window=4), World(), []
    for number in range(4):
        world.run(play(session, number).commands)
    session.window = 0
    for frame in range(8):
        session.add_remote_input(1, frame, value(90 + frame))
        world.run(play(session, min(frame, 4) + frame).commands)
    assert session.confirmed_frame == 7
    assert world.saved == {}
    session.window = 4
    advance = play(session, 20)
    assert shape(advance.commands) == "V8 S8 V9"
    world.run(advance.commands)
    session.add_remote_input(1, 8, value(33))
    advance = play(session, 21)
    assert shape(advance.commands) == "L8 S8 V9 S9 V10"
    world.run(advance.commands)
    pressed = [session.confirmed_inputs(frame) for frame in range(9)]
    assert [p[1] for p in pressed] == [value(90 + f) for f in range(8)] + [value(33)]
    assert world.result[8] == straight_run(pressed)[8]


# -- input delay in play ----------------------------------------------------------------------------------------------


def play_delays(changes: dict[int, int], *, frames: int, seats: str = "LR") -> tuple[list[bytes], RollbackSession]:
    """Play with the delay of seat 0 set before some frames; sample n at frame n. Return what was simulated."""
    session, seen = make_session(seats=seats), []
    for frame in range(frames):
        if frame in changes:
            session.set_delay(0, changes[frame])
        for seat in [n for n, kind in enumerate(seats) if kind == "R"]:
            session.add_remote_input(seat, frame, BLANK)
        seen += [step.inputs[0] for step in steps(play(session, frame).commands) if not step.again]
        assert session.current_frame == frame + 1  # never frozen
    return seen, session


def test_a_raised_delay_fills_with_the_last_input_and_goes_on() -> None:
    seen, session = play_delays({5: 2}, frames=10)
    assert seen == [value(n) for n in (0, 1, 2, 3, 4, 4, 4, 5, 6, 7)]
    assert (session.delay(0), session.discarded, session.last_input_frame(0)) == (2, 0, 11)


def test_a_lowered_delay_leaves_out_exactly_as_many_samples() -> None:
    seen, session = play_delays({0: 3, 6: 1}, frames=12)
    assert seen == [BLANK] * 3 + [value(n) for n in (0, 1, 2, 3, 4, 5, 8, 9, 10)]
    assert (session.delay(0), session.discarded) == (1, 2)


def test_a_delay_raised_and_lowered_in_play_leaves_no_gap() -> None:
    seen, session = play_delays({4: 4, 12: 1}, frames=24)
    assert seen == [value(n) for n in (0, 1, 2, 3, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11, *range(15, 23))]
    assert session.discarded == 3


def test_a_seat_is_not_read_while_its_lowered_delay_catches_up() -> None:
    session = make_session(seats="LL", delay=3)
    play(session)
    assert session.set_delay(1, 1) == -2
    for _ in range(2):
        assert session.seats_to_read() == (0,)
        assert session.add_local_input(1, value(9)) == NULL_FRAME
        play(session)
    assert session.seats_to_read() == (0, 1)
    assert (session.delay(0), session.delay(1), session.discarded) == (3, 1, 2)


def test_the_delay_of_one_of_two_local_seats_among_three_changes_only_that_one() -> None:
    session, world, pressed = make_session(seats="LRL"), World(), []
    for frame in range(30):
        if frame in (5, 15):
            session.set_delay(2, {5: 3, 15: 1}[frame])
        if frame >= 2:
            session.add_remote_input(1, frame - 2, value(frame // 3))
        world.run(play(session, frame).commands)
        assert session.current_frame == frame + 1
    pressed = [session.confirmed_inputs(frame) for frame in range(28)]
    assert [p[0] for p in pressed] == [value(n) for n in range(28)]
    assert [p[2] for p in pressed] == [value(n) for n in (0, 1, 2, 3, 4, 4, 4, 4, *range(5, 15), *range(17, 27))]
    assert world.result[27] == straight_run(pressed)[27]
    assert world.resimulated > 0


def test_both_sides_agree_while_delays_go_up_and_down() -> None:
    sides = [make_session(seats=seats) for seats in ("LR", "RL")]
    worlds, sent = [World(), World()], [0, 0]
    for tick in range(80):
        if tick in (10, 30):
            sides[0].set_delay(0, {10: 4, 30: 1}[tick])
        for own, session in enumerate(sides):
            worlds[own].run(play(session, tick // 2 + own).commands)
        if tick % 3 == 0:  # inputs come in bunches, so that some are late
            for own, session in enumerate(sides):
                for frame in range(sent[own], session.last_input_frame(own) + 1):
                    assert sides[1 - own].add_remote_input(own, frame, session.confirmed_input(own, frame))
                sent[own] = session.last_input_frame(own) + 1
    settled = min(session.confirmed_frame for session in sides)
    assert settled > 70
    for world, session in zip(worlds, sides, strict=True):
        world.run(play(session).commands)
    assert all(worlds[0].result[f] == worlds[1].result[f] for f in range(settled))
    assert all(world.resimulated > 0 for world in worlds)


def test_a_press_that_acts_once_is_not_repeated_by_a_raised_delay() -> None:
    seat = SeatConfig(BLANK, neutral(b"\x00"), local=True, fill=neutral(b"\x00"))
    session = RollbackSession([seat], window=8)
    session.add_local_input(0, b"\x01\x07")
    session.advance()
    assert session.set_delay(0, 2) == 2
    assert [session.confirmed_input(0, f) for f in (0, 1, 2)] == [b"\x01\x07", b"\x01\x00", b"\x01\x00"]


def test_a_delay_out_of_range_or_of_a_seat_that_is_not_ours_is_refused() -> None:
    session = make_session(delay=2)
    for frames in (-1, 61):
        with pytest.raises(ConfigurationError):
            session.set_delay(0, frames)
    for seat in (1, 2, -1):
        with pytest.raises(LocalMisuseError):
            session.set_delay(seat, 1)
    assert session.delay(0) == 2


def test_a_frame_whose_input_was_forgotten_under_a_delay_is_an_error_at_once() -> None:
    session = make_session(seats="L", delay=2)
    with pytest.raises(LocalMisuseError, match="frame 0 has no local input"):
        session.advance()
