"""Which snapshots the session takes, keeps and loads: in every frame, sparsely, and for simulating again on demand."""

from __future__ import annotations

import pytest

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.rollback.session import Drop, Load, RollbackSession, Save
from tests.rollback_rig import World, make_session, play, shape, steps, straight_run, value


def make_sparse(spacing: int, *, window: int = 8, seats: str = "LR") -> RollbackSession:
    session = make_session(seats=seats, window=window)
    session.spacing = spacing
    return session


def saves(session: RollbackSession, frames: int) -> list[int]:
    """Frames saved while this many frames are played with every input in time."""
    found = []
    for frame in range(session.current_frame, session.current_frame + frames):
        session.add_remote_input(1, frame, value(frame))
        found += [c.frame for c in play(session, frame).commands if isinstance(c, Save)]
    return found


# -- spacing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spacing", "window", "expected"),
    [(1, 8, [1, 2, 3, 4, 5, 6]), (2, 8, [2, 4, 6]), (5, 8, [5]), (6, 3, [3, 6]), (4, 1, [1, 2, 3, 4, 5, 6])],
)
def test_snapshots_lie_as_far_apart_as_asked_but_never_wider_than_the_window(
    spacing: int, window: int, expected: list[int]
) -> None:
    assert saves(make_sparse(spacing, window=window), 6) == expected


def test_spacing_can_change_at_any_time() -> None:
    session = make_sparse(4)
    assert saves(session, 9) == [4, 8]
    session.spacing = 1
    assert saves(session, 3) == [10, 11, 12]
    session.spacing = 3
    assert saves(session, 6) == [15, 18]


def test_the_newest_snapshot_before_the_first_wrong_frame_is_loaded() -> None:
    session, world = make_sparse(4), World()
    for frame in range(8):
        if frame < 5:
            session.add_remote_input(1, frame, value(0))
        world.run(play(session, frame).commands)
    session.add_remote_input(1, 5, value(0))  # as assumed
    session.add_remote_input(1, 6, value(9))
    advance = play(session, 8)
    assert shape(advance.commands) == "L4 S4 S5 S6 V7 S7 S8"
    assert (advance.depth, advance.resimulated, advance.settled) == (2, 4, 6)
    assert [s.again for s in steps(advance.commands)] == [True] * 4 + [False]
    world.run(advance.commands)
    assert world.resimulated == 4
    assert world.result[6] == straight_run([session.confirmed_inputs(f) for f in range(7)])[6]


def test_a_correction_saves_the_first_frame_that_is_not_settled() -> None:
    session = make_sparse(8)
    for frame in range(6):
        play(session, frame)
    for frame in range(3):
        session.add_remote_input(1, frame, value(1))
    assert shape(play(session, 6).commands) == "L0 S0 S1 S2 V3 S3 S4 S5 S6"
    session.add_remote_input(1, 3, value(2))
    advance = play(session, 7)  # nothing before that snapshot is simulated again
    assert shape(advance.commands) == "L3 S3 V4 S4 S5 S6 S7"
    assert advance.resimulated == advance.depth == 4


def test_a_rollback_from_the_newest_snapshot_costs_no_more_than_its_depth() -> None:
    session = make_session()
    for frame in range(6):
        play(session, frame)
    session.add_remote_input(1, 0, value(1))
    advance = play(session, 6)
    assert advance.depth == advance.resimulated == 6


@pytest.mark.parametrize("spacing", [1, 2, 3, 5, 8, 100])
@pytest.mark.parametrize("window", [1, 4, 8])
def test_whatever_the_spacing_every_load_finds_its_snapshot_and_settled_frames_are_right(
    spacing: int, window: int
) -> None:
    session, world, late = make_sparse(spacing, window=window), World(), 0
    inputs: list[tuple[bytes, ...]] = []
    pressed = [value(frame * frame // 7) for frame in range(300)]
    loads = 0
    for tick in range(400):
        late = (late * 5 + 3) % (window + 2)
        for frame in range(session.last_input_frame(1) + 1, min(tick - late, 300)):
            session.add_remote_input(1, frame, pressed[frame])
        advance = play(session, tick)
        assert advance.depth <= window
        assert advance.depth <= advance.resimulated <= window + min(spacing, window)
        loads += any(isinstance(c, Load) for c in advance.commands)
        world.run(advance.commands)
        assert len(world.saved) <= window + 2
        inputs += [session.confirmed_inputs(frame) for frame in range(len(inputs), advance.settled + 1)]
        session.discard_before(advance.settled)
    assert loads > 50
    assert len(inputs) > 200
    assert [each[1] for each in inputs] == pressed[: len(inputs)]
    assert [world.result[frame] for frame in range(len(inputs))] == straight_run(inputs)


def test_memory_is_flat_with_sparse_snapshots() -> None:
    session, world = make_sparse(100), World()
    for frame in range(3_000):
        if frame >= 3:
            session.add_remote_input(1, frame - 3, value(frame // 11))
        advance = play(session, frame // 5)
        world.run(advance.commands)
        world.result.pop(advance.settled - 20, None)
        session.discard_before(advance.settled)
        assert len(world.saved) <= 4
        assert len(session._saved) <= 4
        assert all(len(queue._values) <= 30 for queue in session._queues)
    assert world.resimulated > 100


# -- keeping older snapshots, and simulating again --------------------------------------------------------------------


def test_snapshots_that_simulating_again_needs_are_kept() -> None:
    session, world = make_session(), World()
    for frame in range(20):
        session.add_remote_input(1, frame, value(frame))
        world.run(play(session, frame, keep_from=7).commands)
        session.discard_before(frame)
    assert sorted(world.saved) == list(range(7, 21))
    world.run(play(session, 20, keep_from=15).commands)
    assert min(world.saved) == 15


def test_a_sparse_snapshot_before_the_frame_to_keep_is_kept_too() -> None:
    session, world = make_sparse(4), World()
    for frame in range(20):
        session.add_remote_input(1, frame, value(frame))
        world.run(play(session, frame, keep_from=11).commands)
    assert sorted(world.saved) == [8, 12, 16, 20]
    assert session.snapshots == (8, 12, 16, 20)


def test_keeping_from_a_frame_that_is_still_to_come_keeps_what_corrections_need() -> None:
    session, world = make_session(), World()
    for frame in range(5):
        world.run(play(session, frame, keep_from=100).commands)
    assert min(world.saved) == 0
    session.add_remote_input(1, 0, value(9))
    world.run(play(session, keep_from=100).commands)
    assert min(world.saved) == 1


def test_rewinding_simulates_again_with_confirmed_inputs_and_predictions_up_to_now() -> None:
    session, world = make_session(), World()
    for frame in range(12):
        if frame < 9:
            session.add_remote_input(1, frame, value(frame))
        world.run(play(session, frame, keep_from=4).commands)
        session.discard_before(frame - 1)
    before = dict(world.result)
    commands = session.rewind(5)
    assert shape(commands).startswith("L5 S5 V6 S6 ")
    assert [s.frame for s in steps(commands)] == list(range(5, 12))
    assert [s.predicted[1] for s in steps(commands)] == [False] * 4 + [True] * 3
    world.resimulated = 0
    world.run(commands)
    assert world.resimulated == 7
    assert world.result == before
    assert session.current_frame == 12
    session.add_remote_input(1, 9, value(8))  # as assumed, again
    assert play(session, 12).depth == 0
    session.add_remote_input(1, 10, value(77))
    assert play(session, 13).depth == 3


def test_rewinding_with_sparse_snapshots_starts_at_the_one_before() -> None:
    session, world = make_sparse(4), World()
    for frame in range(12):
        session.add_remote_input(1, frame, value(frame))
        advance = play(session, frame, keep_from=5)
        world.run(advance.commands)
        session.discard_before(advance.settled)
    assert shape(session.rewind(6)) == "L4 S4 S5 S6 S7 V8 S8 S9 S10 S11 V12"
    assert shape(session.rewind(11)) == "L8 S8 S9 S10 S11 V12"


def test_rewinding_makes_the_correction_that_was_due() -> None:
    session, world = make_session(), World()
    for frame in range(6):
        world.run(play(session, frame, keep_from=0).commands)
    session.add_remote_input(1, 0, value(0))
    session.add_remote_input(1, 1, value(5))
    commands = session.rewind(4)
    assert [s.frame for s in steps(commands)] == [1, 2, 3, 4, 5]  # the inputs of frame 0 were as assumed
    world.run(commands)
    advance = play(session, 6, keep_from=0)
    assert advance.depth == 0
    world.run(advance.commands)
    assert world.result[1] == straight_run([session.confirmed_inputs(f) for f in (0, 1)])[1]


def test_rewinding_to_where_nothing_is_kept_or_was_simulated_is_an_error() -> None:
    session = make_session()
    for frame in range(8):
        session.add_remote_input(1, frame, value(frame))
        play(session, frame)
    for frame in (8, 9, NULL_FRAME):
        with pytest.raises(LocalMisuseError, match="before the current frame"):
            session.rewind(frame)
    with pytest.raises(LocalMisuseError, match="no snapshot for frame 7"):
        session.rewind(7)


def test_lockstep_keeps_snapshots_only_when_asked_and_can_then_rewind() -> None:
    session, world = make_session(window=0), World()
    for frame in range(6):
        session.add_remote_input(1, frame, value(frame))
        world.run(play(session, frame, keep_from=3).commands)
    assert sorted(world.saved) == [3, 4, 5, 6]
    commands = session.rewind(3)
    assert shape(commands) == "L3 S3 V4 S4 V5 S5 V6"
    world.run(commands)
    session.add_remote_input(1, 6, value(6))
    advance = play(session, 6)
    assert advance.commands[-1] == Drop(7)
    with pytest.raises(LocalMisuseError, match="no snapshot"):
        session.rewind(5)


@pytest.mark.parametrize("spacing", [1, 4])
def test_revisiting_brings_the_host_to_a_confirmed_state_and_rewinding_brings_it_back(spacing: int) -> None:
    session, world = make_sparse(spacing), World()
    for frame in range(12):
        session.add_remote_input(1, frame, value(frame))
        world.run(play(session, frame, keep_from=5).commands)
    commands = session.revisit(6)
    assert shape(commands) == ("L6" if spacing == 1 else "L4 S4 S5")
    host = World()
    host.saved, host.frame, host.result = dict(world.saved), world.frame, dict(world.result)
    host.run(commands)
    assert host.state == straight_run([session.confirmed_inputs(frame) for frame in range(6)])[5]
    world.run(session.rewind(6))
    advance = play(session, 12, keep_from=5)
    world.run(advance.commands)
    assert world.frame == 13


def test_revisiting_where_nothing_is_kept_or_an_input_is_missing_is_an_error() -> None:
    session = make_session()
    for frame in range(6):
        if frame < 4:
            session.add_remote_input(1, frame, value(frame))
        play(session, frame)
    with pytest.raises(LocalMisuseError, match="no snapshot for frame 3"):
        session.revisit(3)
    session.spacing = 100
    play(session, 6)
    with pytest.raises(LocalMisuseError, match="no confirmed input for frame 6"):
        session.revisit(7)


# -- another host ----------------------------------------------------------------------------------------------------


def test_after_another_host_took_over_play_goes_on_from_where_it_stands() -> None:
    session = make_session()
    for frame in range(6):
        if frame < 4:
            session.add_remote_input(1, frame, value(frame))
        play(session, frame, keep_from=2)
    session.restart((2, 4))
    assert session.current_frame == 4
    assert session.snapshots == (2, 4)
    assert session.seats_to_read() == ()  # what was read for frames 4 and 5 stays
    session.add_remote_input(1, 4, value(9))
    advance = session.advance(keep_from=2)
    assert shape(advance.commands) == "S4 V5"
    assert [step.inputs for step in steps(advance.commands)] == [(value(4), value(9))]
    assert (advance.depth, advance.settled) == (0, 4)
    assert shape(session.rewind(3)) == "L2 S2 V3 S3 V4 S4 V5"


def test_inputs_that_were_held_back_for_a_lost_host_are_not() -> None:
    session = make_session(seats="Lr")
    for frame in range(3):
        play(session, frame)
    for frame in range(3):
        session.add_remote_input(1, frame, value(7))
    assert session.confirmed_frame == -1  # the host has not said what it assumed
    session.restart((0,))
    assert session.confirmed_frame == 2
    assert shape(session.advance().commands) == "S0 V1"


@pytest.mark.parametrize("at", [4, 3])
def test_a_host_cannot_stand_where_nobody_can_have_been(at: int) -> None:
    session = make_session()
    for frame in range(3):
        play(session, frame)
    session.add_remote_input(1, 0, value(0))
    with pytest.raises(LocalMisuseError, match="is beyond"):
        session.restart((0, at))
    assert session.current_frame == 3
