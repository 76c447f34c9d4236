"""The session: which frames it loads, steps and saves, and that what comes out equals a straight run."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from p2pclient.common.errors import ConfigurationError, LocalMisuseError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.rollback.prediction import neutral, repeat_last
from p2pclient.rollback.session import Advance, Command, Drop, Load, RollbackSession, Save, SeatConfig, Step

BLANK = b"\x00\x00"


def value(number: int) -> bytes:
    return b"\x00" + bytes([number % 256])


def make_session(*, seats: str = "LR", window: int = 8, delay: int = 0, mode: str = "held") -> RollbackSession:
    """A session with local (L) and remote (R) seats."""
    predict = repeat_last if mode == "held" else neutral(b"\x00")
    return RollbackSession(
        [SeatConfig(BLANK, predict, local=s == "L", delay=delay if s == "L" else 0) for s in seats], window=window
    )


def play(session: RollbackSession, number: int = 1, seat: int = 0) -> Advance:
    """Add the local input and advance."""
    if session.has_room:
        assert session.add_local_input(seat, value(number)) != NULL_FRAME
    return session.advance()


def shape(commands: Sequence[Command]) -> str:
    """Commands in short, such as ``L3 S3 V4`` (load, step, save), without the drops."""
    names = {Load: "L", Step: "S", Save: "V"}
    return " ".join(f"{names[type(c)]}{c.frame}" for c in commands if not isinstance(c, Drop))


class World:
    """Carries out commands: the state is the list of inputs that led to it; snapshots by frame."""

    def __init__(self) -> None:
        self.state: tuple[tuple[bytes, ...], ...] = ()
        self.saved = {0: self.state}
        self.result: dict[int, tuple[tuple[bytes, ...], ...]] = {}

    def run(self, commands: Sequence[Command]) -> None:
        for command in commands:
            if isinstance(command, Load):
                self.state = self.saved[command.frame]
            elif isinstance(command, Save):
                assert command.frame == len(self.state)
                self.saved[command.frame] = self.state
            elif isinstance(command, Drop):
                self.saved = {f: s for f, s in self.saved.items() if f >= command.before}
            else:
                assert command.frame == len(self.state)
                assert command.again == (command.frame in self.result)
                self.state = (*self.state, command.inputs)
                self.result[command.frame] = self.state


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
    steps = [c for c in advance.commands if isinstance(c, Step)]
    assert [s.again for s in steps] == [True, True, True, False]
    assert [s.inputs for s in steps] == [(value(n), value(9)) for n in (1, 2, 3, 4)]
    assert [s.predicted for s in steps] == [(False, False)] + [(False, True)] * 3
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


@pytest.mark.parametrize(("seats", "window"), [("", 8), ("L" * 9, 8), ("LR", 0), ("LR", -1)])
def test_settings_out_of_range_are_refused(seats: str, window: int) -> None:
    with pytest.raises(ConfigurationError):
        make_session(seats=seats, window=window)


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


class SessionAgainstStraightRun(RuleBasedStateMachine):
    """Whatever arrives when, settled frames hold exactly what was pressed."""

    @initialize(
        window=st.integers(1, 10),
        remote=st.integers(1, 3),
        delay=st.integers(0, 3),
        mode=st.sampled_from(["held", "press"]),
        limit=st.one_of(st.none(), st.integers(1, 40)),
    )
    def begin(self, window: int, remote: int, delay: int, mode: str, limit: int | None) -> None:
        self.window = window
        self.delay = delay
        self.limit = limit
        self.session = make_session(seats="L" + "R" * remote, window=window, delay=delay, mode=mode)
        self.session.frame_limit = limit
        self.world = World()
        self.pressed: list[list[bytes]] = [[BLANK] * delay, *([] for _ in range(remote))]
        self.settled = NULL_FRAME

    @rule(number=st.integers(0, 3))
    def tick(self, number: int) -> None:
        before = self.session.current_frame
        room = self.session.has_room
        if room:
            assert self.session.add_local_input(0, value(number)) == before + self.delay
            self.pressed[0].append(value(number))
        advance = self.session.advance()
        self.world.run(advance.commands)
        assert advance.advanced == room == self.session.current_frame - before
        assert advance.depth <= self.window
        assert bool(advance.depth) == bool(advance.cause) == any(isinstance(c, Load) for c in advance.commands)
        assert advance.settled >= self.settled
        self.settled = advance.settled
        for frame in range(self.settled + 1):
            truth = tuple(tuple(seat[f] for seat in self.pressed) for f in range(frame + 1))
            assert self.world.result[frame] == truth
        self.session.discard_before(self.settled)

    @rule(seat=st.integers(0, 2), numbers=st.lists(st.integers(0, 3), min_size=1, max_size=12))
    def arrive(self, seat: int, numbers: list[int]) -> None:
        own = 1 + seat % (len(self.pressed) - 1)
        for number in numbers:
            assert self.session.add_remote_input(own, len(self.pressed[own]), value(number))
            self.pressed[own].append(value(number))

    @invariant()
    def nothing_leads_too_far(self) -> None:
        newest = min(len(seat) for seat in self.pressed[1:])
        assert self.session.current_frame <= max(newest, self.settled + 1) + self.window
        assert self.limit is None or self.session.current_frame <= self.limit
        assert self.session.confirmed_frame == min(self.session.last_input_frame(s) for s in range(len(self.pressed)))
        assert len(self.world.saved) <= self.session.current_frame - self.settled


SessionAgainstStraightRun.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestSessionAgainstStraightRun = SessionAgainstStraightRun.TestCase
