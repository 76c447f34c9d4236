"""How long the others are waited for, in every phase: whoever lets the match stand for longer counts as gone."""

from __future__ import annotations

from p2pclient.match.core import MatchCore
from p2pclient.match.drops import DropCourse
from p2pclient.match.peers import Peer
from p2pclient.match.plan import Phase
from p2pclient.match.readiness import Readiness

STANDSTILL = 90.0
"""Seconds that a side which keeps alive may leave the others waiting: at a handshake or barrier, or for its inputs.
Above the time that a host is given for a reset, and above what a recovery may take (``match/recovery.py``)."""
MOST_UNVERIFIED = 512
"""Recorded frames that a peer may leave unverified: honest ones lag by two windows and a round trip. Each such frame
keeps its inputs, and may keep a snapshot, because all may have to go back behind it."""
_WAITING = (Phase.HANDSHAKING, Phase.BARRIER, Phase.EPISODE_OVER)
"""Phases in which nothing goes on before the others have said something."""
_LEAVES = {"desync": "desync", "poor-connection": "connection"}
"""How the others are told of an end, by its reason; else just that we leave."""
_NO_PROGRESS = "partner-gone", "The other player's program does not go on."


class Patience:
    """Watches over the other sides of one match."""

    def __init__(self, core: MatchCore, drops: DropCourse, readiness: Readiness, *, now: float) -> None:
        self._core = core
        self._readiness = readiness
        self._drops = drops
        self._waiting_since = now
        self._inputs_since: dict[int, float] = {}
        """By peer: since when play has waited for its inputs, while it is heard."""

    def look(self, *, is_stalled: bool, now: float) -> bool:
        """Give up who is lost, or end the match; True if it goes on without somebody.

        Args:
            is_stalled: play stands still because inputs are missing, and for no reason of ours.
        """
        if self._core.phase is Phase.REJOINING:
            return False  # who is still here is not known yet; see ``match/rejoining.py``
        core, goes_on = self._core, self._drops.take_answer()
        for peer in core.peers.all:
            # Whoever has named the last frame of the last episode owes nothing any more.
            if core.ended is not None or core.phase is Phase.FINISHING or peer.left == "finished":
                continue
            lost = peer.why_lost(now=now, drop_after=core.plan.wait_for(peer.id), may_return=core.plan.may_return)
            if lost is None and self._drops.is_accused(peer, now=now):
                lost = "partner-gone", "The connection to the other player was lost."
            if lost is None and self._leaves_unverified(peer):
                lost = "partner-gone", "The other player's program does not confirm what was played."
            if lost is None:
                lost = self._readiness.why_lost(peer)
            if lost is None and self._gives_no_inputs(peer, is_stalled=is_stalled, now=now):
                lost = _NO_PROGRESS
            if lost is None:
                continue
            if lost[0] != "desync" and self._drops.can_survive(peer):
                self._drops.lose(peer, lost[0], now=now)
                goes_on = True
            else:
                core.end(*lost, leave=_LEAVES.get(lost[0], "left"), now=now)
        if core.phase not in _WAITING:
            self._waiting_since = now
        elif now - self._waiting_since > STANDSTILL:
            core.end(*_NO_PROGRESS, leave="left", now=now)
        return goes_on

    def forgive(self, seconds: float) -> None:
        """Our own program stood still for so long: nobody else is to blame for what is not here yet."""
        self._inputs_since.clear()
        self._waiting_since += seconds
        self._drops.forgive(seconds)
        self._readiness.forgive(seconds)
        for peer in self._core.peers.all:
            peer.endpoint.forgive(seconds)

    def _leaves_unverified(self, peer: Peer) -> bool:
        episode = self._core.episode
        if episode is None or episode.recorded - episode.verified <= MOST_UNVERIFIED:
            return False
        return episode.recorded - episode.chain.agreed_with(peer.id) > MOST_UNVERIFIED

    def _gives_no_inputs(self, peer: Peer, *, is_stalled: bool, now: float) -> bool:
        """Has play waited for this peer for too long, although it is heard: for silence there are other bounds."""
        newest = peer.endpoint.newest_heard
        is_last = all(newest <= other.endpoint.newest_heard for other in self._core.peers.all)
        if not (is_stalled and is_last) or peer.endpoint.silence != "heard":
            self._inputs_since.pop(peer.id, None)
            return False
        return now - self._inputs_since.setdefault(peer.id, now) > STANDSTILL
