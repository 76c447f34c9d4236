"""The input delay while a match runs: set by hand, or chosen from the network and agreed by all.

A delay changes when inputs are read, never what is simulated, so that no frame depends on when a change arrives. All
sides have the same delay all the same, because a shorter one is an advantage: each side tells what it wishes, and the
peer that holds the lowest seat names the largest wish, and a frame far enough ahead for all.
"""

from __future__ import annotations

from p2pclient.match.core import MatchCore
from p2pclient.match.peers import Peer
from p2pclient.protocol.control import DelayChange, DelayWish
from p2pclient.rollback.delay import DelayChooser

_LOOK_EVERY = 0.25
"""Seconds between two looks at the network."""
_MOST_DUE = 2
"""Changes that may be named and not yet in effect: who names them may be ahead of us."""
_LEAD_TIME = 0.5
"""Seconds ahead at which a change is to take effect, at least; the longest round trip is added."""


class DelayCourse:
    """Input delays of the local seats, and their agreement with the others."""

    def __init__(self, core: MatchCore) -> None:
        self._core = core
        plan = core.plan
        self.by_seat = dict.fromkeys(plan.local_seats, plan.input_delay)
        """Input delay of each local seat, frames."""
        self.longest = plan.input_delay if plan.local_seats else 0
        """Longest input delay of the local seats, frames."""
        self._chooser = None
        if plan.delay_range is not None:
            lowest, highest = plan.delay_range
            self._chooser = DelayChooser(lowest, highest, frame=1 / plan.rate_hz, window=plan.own_window)
        self._wishes: dict[int, int] = {}
        self._agreed = plan.input_delay
        """What was named last, and takes effect with the last of :attr:`_due` if it has not yet."""
        self._due: list[DelayChange] = []
        self._named: DelayChange | None = None
        """The newest one that was named, in effect or not."""
        self._looked_at = float("-inf")
        self._step_seconds = 0.0

    def learn_step(self, seconds: float) -> None:
        """Take in what a step of the environment costs."""
        self._step_seconds = seconds

    def set(self, seat: int, frames: int) -> None:
        """Change the delay of one local seat from the current frame on."""
        before = self.by_seat[seat]
        self.by_seat[seat] = frames
        self.longest = max(self.by_seat.values())
        episode = self._core.episode
        if frames == before:
            return
        filled = episode.session.set_delay(seat, frames) if episode is not None else 0
        details = {"seat": seat, "from": before, "to": frames, "repeated": max(0, filled), "left_out": max(0, -filled)}
        self._core.note("input-delay", details)

    def tick(self, now: float) -> None:
        """Apply what is due, and look at the network from time to time. Call it in every tick of play."""
        core = self._core
        assert core.episode is not None
        due = self._due
        if due and (due[0].episode, due[0].frame) <= (core.number, core.episode.session.current_frame):
            change = due.pop(0)
            for seat in self.by_seat:
                self.set(seat, change.delay)
        if self._chooser is not None and now - self._looked_at >= _LOOK_EVERY:
            self._looked_at = now
            session = core.episode.session
            self._wish(self._chooser, session.window, now)
            self._name(session.current_frame)

    def _wish(self, chooser: DelayChooser, window: int, now: float) -> None:
        core = self._core
        stats = [peer.endpoint.stats for peer in core.peers if peer.endpoint.stats.srtt is not None]
        if not stats:
            return
        wish = chooser.wish(
            rtt=max(s.srtt for s in stats if s.srtt is not None),
            jitter=max(s.jitter or 0.0 for s in stats),
            loss=max(s.loss for s in stats),
            step_seconds=self._step_seconds,
            window=window,
            now=now,
        )
        if self._wishes.get(core.plan.own_id) != wish:
            self._wishes[core.plan.own_id] = wish
            core.peers.tell(DelayWish(wish))

    @property
    def agreed(self) -> int:
        """What was named last."""
        return self._agreed

    def resume(self, delay: int) -> None:
        """We were started again: take over what was named meanwhile. Without bounds, each side has its own."""
        if self._core.plan.delay_range is not None:
            lowest, highest = self._core.plan.delay_range
            self._agreed = self.longest = max(lowest, min(delay, highest))
            self.by_seat = dict.fromkeys(self.by_seat, self._agreed)

    def tell_again(self, peer: Peer) -> None:
        """A peer was started again: it has not heard what we wish."""
        self._wishes.pop(peer.id, None)
        wish = self._wishes.get(self._core.plan.own_id)
        if wish is not None:
            peer.endpoint.queue_control(DelayWish(wish))

    def receive_wish(self, peer: int, message: DelayWish) -> None:
        """A peer tells what it wishes."""
        self._wishes[peer] = message.delay

    def _name(self, frame: int) -> None:
        """If it is for us to name: name the largest wish, for a frame that lies ahead of all."""
        core, allowed = self._core, self._core.plan.delay_range
        if allowed is None or core.plan.own_id != core.leader or self._due:
            return
        # Whoever is gone needs no delay any more.
        wishes = [wish for side, wish in self._wishes.items() if side == core.plan.own_id or side in core.peers]
        if not wishes:
            return
        delay = min(max([*wishes, allowed[0]]), allowed[1])
        if delay != self._agreed:
            ahead = _LEAD_TIME + (core.peers.rtt or 0.0)
            change = DelayChange(core.number, frame + round(ahead * core.plan.rate_hz), delay)
            self._take(change)
            core.peers.tell(change)

    def receive_change(self, peer: int, message: DelayChange) -> None:
        """A peer names a delay; only the one whom it falls to is heard, and only within what the study allows."""
        allowed = self._core.plan.delay_range
        if allowed is None or peer != self._core.leader or not allowed[0] <= message.delay <= allowed[1]:
            return
        # Who does as we do names the next one only when the last has taken effect there, for a frame far enough ahead.
        newest, apart = self._named, round(_LEAD_TIME * self._core.plan.rate_hz)
        is_next = newest is None or (message.episode, message.frame) >= (newest.episode, newest.frame + apart)
        if is_next and len(self._due) < _MOST_DUE and message.delay != self._agreed:
            self._take(message)

    def _take(self, change: DelayChange) -> None:
        self._due.append(change)
        self._named = change
        self._agreed = change.delay
        self._core.note("input-delay-agreed", {"frame": change.frame, "delay": change.delay})
