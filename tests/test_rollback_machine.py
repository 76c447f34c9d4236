"""The session against a straight run: whatever arrives when, and whatever is changed in play."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.rollback.session import Load
from tests.rollback_rig import BLANK, START, World, make_session, mix, value

REMOTE = st.integers(0, 7)
"""Picks one of the remote seats, modulo their number."""


class SessionAgainstStraightRun(RuleBasedStateMachine):
    """Settled frames hold exactly what was pressed, every load finds its snapshot, and the window holds.

    What counts for which frame is worked out here from the rules alone, in ``pressed``.
    """

    @initialize(
        window=st.integers(0, 8),
        local=st.integers(1, 2),
        remote=st.text("Rr", min_size=1, max_size=3),
        delay=st.integers(0, 3),
        mode=st.sampled_from(["held", "press"]),
        limit=st.one_of(st.none(), st.integers(1, 60)),
    )
    def begin(self, window: int, local: int, remote: str, delay: int, mode: str, limit: int | None) -> None:
        seats = "L" * local + remote
        self.session = make_session(seats=seats, window=window, delay=delay, mode=mode)
        self.session.frame_limit = limit
        self.world = World()
        self.local = range(local)
        self.remote = range(local, len(seats))
        self.pressed = [[BLANK] * (delay if seat in self.local else 0) for seat in range(len(seats))]
        self.delays = [delay] * local
        self.is_read = [False] * local
        self.left_out = 0
        self.gone: dict[int, int] = {}
        self.keep_from: int | None = None
        self.pending: list[tuple[int, list[bytes | None]]] = []
        self.settled = NULL_FRAME
        self.truth = [START]
        """State before each frame up to the settled one."""
        self.widest = window
        self.farthest = 1

    # -- what the others do ---------------------------------------------------------------------------------------

    @rule(seat=REMOTE, numbers=st.lists(st.integers(0, 3), min_size=1, max_size=12))
    def arrive(self, seat: int, numbers: list[int]) -> None:
        own = self.remote[seat % len(self.remote)]
        for number in numbers:
            frame = len(self.pressed[own])
            assert self.session.add_remote_input(own, frame, value(number)) == (own not in self.gone)
            if own not in self.gone:
                self.pressed[own].append(value(number))

    @rule(seat=REMOTE, off=st.sampled_from([-3, -1, 1, 5]))
    def arrive_out_of_turn(self, seat: int, off: int) -> None:
        own = self.remote[seat % len(self.remote)]
        assert not self.session.add_remote_input(own, len(self.pressed[own]) + off, value(99))

    @rule(seat=REMOTE, back=st.integers(0, 6))
    def disconnect(self, seat: int, back: int) -> None:
        own = self.remote[seat % len(self.remote)]
        after = max(self.settled, len(self.pressed[own]) - 1 - back)
        if own in self.gone:
            with pytest.raises(LocalMisuseError):
                self.session.disconnect(own, after=after)
            return
        self.session.disconnect(own, after=after)
        self.gone[own] = after
        del self.pressed[own][after + 1 :]

    # -- what happens here ------------------------------------------------------------------------------------------

    @rule(number=st.integers(0, 3))
    def read(self, number: int) -> None:
        frame = self.session.current_frame
        limited = self.session.frame_limit is not None and frame >= self.session.frame_limit
        waits = not self.session.has_room and (limited or self.session.window > 0)
        due = [s for s in self.local if not self.is_read[s] and len(self.pressed[s]) <= frame + self.delays[s]]
        assert self.session.seats_to_read() == (() if waits else tuple(due))
        for seat in self.session.seats_to_read():
            target = len(self.pressed[seat])
            assert target == frame + self.delays[seat]
            assert self.session.add_local_input(seat, value(number + seat)) == target
            assert self.session.add_local_input(seat, value(9)) == NULL_FRAME
            self.pressed[seat].append(value(number + seat))
            self.is_read[seat] = True

    @rule(number=st.integers(0, 3), discards=st.booleans())
    def tick(self, number: int, discards: bool) -> None:
        self.reply()
        self.read(number)
        session, before = self.session, self.session.current_frame
        alive = [len(self.pressed[seat]) for seat in self.remote if seat not in self.gone]
        room = before - min(alive, default=before + 1) < session.window
        limited = session.frame_limit is not None and before >= session.frame_limit
        advance = session.advance(keep_from=self.keep_from)
        self.pending = self.world.run(advance.commands)
        assert advance.advanced == (room and not limited) == session.current_frame - before
        assert advance.stalled == (not room and not limited)
        assert advance.depth <= self.widest
        assert advance.depth <= advance.resimulated < advance.depth + max(1, min(self.farthest, self.widest))
        assert bool(advance.depth) == bool(advance.cause) == any(isinstance(c, Load) for c in advance.commands)
        assert advance.settled >= self.settled
        if advance.advanced:
            self.left_out += self.is_read.count(False)
            self.is_read = [False] * len(self.local)
        self.settle(advance.settled)
        if discards:
            session.discard_before(self.settled)

    def reply(self) -> None:
        for frame, used in self.pending:
            self.session.resolve(frame, used)
        self.pending = []

    def settle(self, settled: int) -> None:
        for frame in range(self.settled + 1, settled + 1):
            inputs = tuple(seat[frame] if frame < len(seat) else BLANK for seat in self.pressed)
            assert all(frame < len(seat) or n in self.gone for n, seat in enumerate(self.pressed))
            assert self.session.confirmed_inputs(frame) == inputs
            self.truth.append(mix(self.truth[-1], [each[1:] for each in inputs]))
        self.settled = settled
        for frame in range(settled + 1):
            assert self.world.result[frame] == self.truth[frame + 1]

    # -- what is changed in play ------------------------------------------------------------------------------------

    @rule(window=st.integers(0, 10), spacing=st.sampled_from([1, 1, 2, 3, 7, 100]))
    def change_costs(self, window: int, spacing: int) -> None:
        self.session.window, self.session.spacing = window, spacing
        self.widest = max(self.widest, window)
        self.farthest = max(self.farthest, spacing)

    @rule(seat=st.integers(0, 1), delay=st.integers(0, 6))
    def change_delay(self, seat: int, delay: int) -> None:
        own = seat % len(self.local)
        pressed, before = self.pressed[own], self.delays[own]
        self.delays[own] = delay
        next_read = self.session.current_frame + self.is_read[own]
        missing = max(0, next_read + delay - len(pressed)) if delay >= before else delay - before
        assert self.session.set_delay(own, delay) == missing
        assert self.session.delay(own) == delay
        pressed.extend([pressed[-1] if pressed else BLANK] * missing)

    @rule(back=st.one_of(st.none(), st.integers(0, 12)))
    def keep_older_snapshots(self, back: int | None) -> None:
        self.keep_from = None if back is None else max(0, self.session.current_frame - back)

    @precondition(lambda self: self.session.current_frame > 0)
    @rule(back=st.integers(1, 12))
    def simulate_again(self, back: int) -> None:
        self.reply()
        frame = max(0, self.session.current_frame - back)
        if min(self.world.saved, default=1 << 30) > frame:
            with pytest.raises(LocalMisuseError):
                self.session.rewind(frame)
            return
        self.pending = self.world.run(self.session.rewind(frame))
        assert self.world.frame == self.session.current_frame
        self.settle(self.settled)

    @invariant()
    def the_truth_about_inputs_holds(self) -> None:
        session = self.session
        assert session.frame_limit is None or session.current_frame <= session.frame_limit
        assert session.discarded == self.left_out
        assert session.snapshots == tuple(sorted(self.world.saved))
        for seat in self.local:
            assert session.last_input_frame(seat) == len(self.pressed[seat]) - 1
        if not self.pending:
            alive = [len(seat) - 1 for n, seat in enumerate(self.pressed) if n not in self.gone]
            assert session.confirmed_frame == min(alive)


SessionAgainstStraightRun.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestSessionAgainstStraightRun = SessionAgainstStraightRun.TestCase
