"""Two machines that play a session against each other in simulated time, with what their batches cost."""

from __future__ import annotations

from p2pclient.rollback.budget import Budget
from p2pclient.rollback.delay import DelayChooser
from p2pclient.rollback.session import Load, Save, Step
from tests.rollback_rig import make_session, value

FRAME = 1 / 60
LOOK_EVERY = 15
"""Ticks between two looks at the network."""


class Side:
    """A machine that plays: its batches take what their commands cost, and until they are done nothing goes on."""

    def __init__(self, own: int, *, budget: Budget | None, chooser: DelayChooser | None) -> None:
        self.own = own
        self.session = make_session(seats="LR" if own == 0 else "RL", window=8)
        self.budget = budget
        self.chooser = chooser
        self.late: list[float] = []
        """By tick: seconds by which its batch missed the frame."""
        self.windows: list[int] = []
        self.delays: list[int] = []
        self.depths: list[int] = []
        self.sent = 0

    def tick(self, now: float, *, delay: float, step: float, save: float) -> float:
        """Run one batch; return the seconds that it takes."""
        session = self.session
        if self.chooser is not None and len(self.late) % LOOK_EVERY == 0:
            wish = self.chooser.wish(
                rtt=2 * delay, jitter=0.0, loss=0.0, step_seconds=step, window=session.window, now=now
            )
            session.set_delay(self.own, wish)
        for seat in session.seats_to_read():
            session.add_local_input(seat, value(int(now * 20) + self.own))
        advance = session.advance()
        session.discard_before(advance.settled)
        steps = sum(isinstance(c, Step) for c in advance.commands)
        saves = sum(isinstance(c, Save) for c in advance.commands)
        loads = sum(isinstance(c, Load) for c in advance.commands)
        seconds = steps * step + saves * save + loads * save
        if self.budget is not None and advance.commands:
            self.budget.learn(
                steps=steps,
                step_seconds=steps * step,
                saves=saves,
                save_seconds=saves * save,
                load_seconds=save if loads else None,
                other_seconds=0.0,
                rolled_back=advance.depth > 0,
            )
            session.window, session.spacing = self.budget.window, self.budget.spacing
        self.late.append(max(0.0, seconds - FRAME))
        self.windows.append(session.window)
        self.delays.append(session.delay(self.own))
        self.depths.append(advance.depth)
        return seconds


def play_match(
    *, seconds: float, delay: float, step: float, save: float, budgeted: bool, narrowest: int = 1, highest: int = 0
) -> list[Side]:
    """Let two such machines play, their inputs ``delay`` seconds under way.

    Args:
        budgeted: may the window narrow.
        narrowest: how far.
        highest: largest input delay, chosen automatically.
    """
    sides = []
    for own in (0, 1):
        budget = Budget(frame=FRAME, window=8) if budgeted else None
        if budget is not None:
            budget.narrowest = narrowest
        chooser = DelayChooser(0, highest, frame=FRAME, window=8) if highest else None
        sides.append(Side(own, budget=budget, chooser=chooser))
    due = [0.0, FRAME / 2]
    under_way: list[list[tuple[float, int, bytes]]] = [[], []]
    while min(due) < seconds:
        own = due.index(min(due))
        side, now = sides[own], due[own]
        while under_way[own] and under_way[own][0][0] <= now:
            _, frame, pressed = under_way[own].pop(0)
            assert side.session.add_remote_input(1 - own, frame, pressed)
        busy = side.tick(now, delay=delay, step=step, save=save)
        for frame in range(side.sent, side.session.last_input_frame(own) + 1):
            under_way[1 - own].append((now + delay, frame, side.session.confirmed_input(own, frame)))
            side.sent = frame + 1
        due[own] = now + max(FRAME, busy)
    return sides
