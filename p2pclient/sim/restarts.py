"""Programs that are killed in mid-match and started again: what the simulated world does about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random

from p2pclient.match.plan import PeerRejoined, Phase
from p2pclient.sim.peer import FOREVER, SimulatedPeer
from p2pclient.sim.scenario import Fault, Scenario

_NOTICED_AFTER = 0.05
"""Seconds after which the server tells the others that a program is gone."""
_CONNECTING = (0.02, 0.4)
"""Seconds that a connection between two programs takes."""
_OVER = (Phase.FINISHING, Phase.ENDED)


class Restarts:
    """Carries out the kills of one world.

    Args:
        call: does something at a time of the world.
        tell_gone: tells all others that a peer is gone.
        order: by which events are numbered.
        start: has a peer tick from a time on.
    """

    def __init__(
        self,
        scenario: Scenario,
        peers: Sequence[SimulatedPeer],
        *,
        call: Callable[[float, Callable[[], None]], None],
        tell_gone: Callable[[SimulatedPeer], None],
        order: Iterator[int],
        start: Callable[[SimulatedPeer, float], None],
    ) -> None:
        self._peers = peers
        self._call, self._tell_gone, self._order, self._start = call, tell_gone, order, start
        self.cuts: dict[tuple[int, int], int] = {}
        """By pair: what was sent before this event is lost; with itself, what was due in an earlier life."""
        self._draw = Random(f"restarts/{scenario.seed}")

    def plan(self, fault: Fault) -> None:
        """Kill a peer's program when the fault says so."""
        self._call(fault.at, lambda: self._kill(self._peers[fault.peer], fault))

    def _kill(self, peer: SimulatedPeer, fault: Fault) -> None:
        ended = peer.match.ended
        if peer.is_down or (peer.is_done and (ended is None or ended.reason != "refused")):
            return
        peer.done_at = FOREVER  # one that was refused may be started again, as what it should be
        peer.is_down = True
        peer.kills += 1
        if all(each.is_down or each.is_done or each.match.phase is Phase.REJOINING for each in self._peers):
            for each in self._peers:
                each.came_too_late = True  # nobody is left who knows how the match stands
        self._call(fault.at + min(_NOTICED_AFTER, fault.seconds / 2), lambda: self._notice(peer))
        self._call(fault.at + fault.seconds, lambda: self._return(peer, fault))

    def _notice(self, peer: SimulatedPeer) -> None:
        if peer.is_down:
            self._tell_gone(peer)

    def _return(self, peer: SimulatedPeer, fault: Fault) -> None:
        now = fault.at + fault.seconds
        others = [each for each in self._peers if each is not peer and not each.is_done and not each.has_crashed]
        peer.came_too_late = peer.came_too_late or any(
            each is not peer and (each.match.phase in _OVER or peer.own not in each.match.peers) for each in self._peers
        )
        if not [each for each in others if each.match.ended is None]:
            peer.has_crashed, peer.done_at = True, now
            return
        life = peer.kills
        connections = [(now + self._draw.uniform(*_CONNECTING), other) for other in others]
        for at, other in connections:
            self._call(at, partial(self._connect, peer, life, other, at))
        peer.starts_at = max(at for at, _ in connections)
        peer.start_again(now=now, keeps_recording=not fault.amount)
        self._call(peer.starts_at, lambda: self._begin(peer, life))

    def is_lost(self, order: int, a: int, b: int) -> bool:
        """Was something between two peers meant for a program that is gone, or sent by one."""
        return order < self.cuts.get((a, b), 0)

    def _cut(self, a: int, b: int) -> None:
        self.cuts[a, b] = self.cuts[b, a] = next(self._order)

    def _begin(self, peer: SimulatedPeer, life: int) -> None:
        if peer.kills == life and not (peer.is_down or peer.is_done):
            self._cut(peer.own, peer.own)
            self._start(peer, peer.starts_at)

    def _connect(self, peer: SimulatedPeer, life: int, other: SimulatedPeer, now: float) -> None:
        if peer.kills != life:
            return  # killed once more
        self._cut(peer.own, other.own)
        if other.is_down or other.done_at < FOREVER:
            return
        other.match.readmit(peer.own, now=other.local_time(now))

    def rejoined(self, peer: SimulatedPeer, event: PeerRejoined) -> None:
        """A peer is back in its match: from here on it presses its keys anew."""
        peer.rejoins += 1
        for seat, player in peer.players.items():
            delay = peer.match.delays.by_seat[seat]
            player.start_again(event.episode, known=event.known, frame=event.frame, delay=delay)
