"""How a match goes on without a peer: the survivors agree on its last frame before anything of it counts.

The decision is :class:`~p2pclient.match.agreement.Agreement`; here it is fed with what the match knows, and carried
out. Only a match whose settings say so goes on, and only while play is under way; in all other cases a loss ends it.
"""

from __future__ import annotations

from collections.abc import Mapping

from p2pclient.match.agreement import PATIENCE, Agreed, Agreement, Contradiction, Partition, Undecided
from p2pclient.match.core import MatchCore
from p2pclient.match.episode import EpisodePlay
from p2pclient.match.peers import Peer
from p2pclient.match.plan import Phase
from p2pclient.protocol.control import PeersLost
from p2pclient.protocol.endpoint import LOST_AFTER

_NOTICING = 1.3
"""Times ``drop_after``: by then every living peer has noticed that another is gone."""
_OPEN_MESSAGES = 32
"""Messages that may wait for a peer's acknowledgement before a report waits, too."""
_GOING_ON = frozenset({Phase.RESETTING, Phase.BARRIER, Phase.PLAYING, Phase.EPISODE_OVER})
"""Phases in which a loss can be survived."""


class DropCourse:
    """Sees the losses of one match through."""

    def __init__(self, core: MatchCore) -> None:
        self._core = core
        plan = core.plan
        self._agreement: Agreement | None = None
        if plan.on_drop == "go-on" and len(plan.peers) > 1 and plan.local_seats:
            seats = {plan.own_id: plan.local_seats, **plan.peers}
            patience = max(PATIENCE, _NOTICING * plan.drop_after)
            self._agreement = Agreement(plan.own_id, seats, is_valid=core.peers.is_valid, patience=patience)
        self._untold: dict[int, list[PeersLost]] = {}
        """Our newest report for each living peer that has not been sent; it takes the place of all before it."""
        self._applied: set[int] = set()
        """Lost peers whose last frame is in force in the episode at hand."""

    @property
    def is_open(self) -> bool:
        """True while it is not agreed who plays on: nobody passes a barrier meanwhile."""
        return self._agreement is not None and isinstance(self._agreement.verdict, Undecided)

    def can_survive(self) -> bool:
        """May the match go on without a peer, as things stand."""
        return self._agreement is not None and self._core.phase in _GOING_ON

    def is_accused(self, peer: Peer, *, now: float) -> bool:
        """Is a peer silent here that others have given up: then a short silence is enough."""
        agreement = self._agreement
        if agreement is None or peer.id not in agreement.accused:
            return False
        return peer.endpoint.silent_for(now=now) >= LOST_AFTER

    def lose(self, peer: Peer, reason: str, *, now: float) -> None:
        """Give a peer up for good: nothing of it is taken any more."""
        core, agreement = self._core, self._agreement
        assert agreement is not None
        core.peers.remove(peer.id)
        core.telemetry.lose_peer(peer.id)
        first, inputs = 0, list[bytes]()
        if core.episode is not None:
            first, inputs = core.episode.inputs_of(peer.seats)
        core.note("lost", {"peer": peer.id, "reason": reason, "inputs_until": first + len(inputs) - 1})
        agreement.lose(peer.id, first, inputs, now=now)
        self._carry_out(now)

    @property
    def cuts(self) -> dict[int, int]:
        """Last frame in the episode at hand of each peer without whom it is agreed to go on."""
        verdict = self._agreement.verdict if self._agreement is not None else None
        return dict(verdict.cuts) if isinstance(verdict, Agreed) else {}

    def excuse(self, peer: Peer, *, is_excused: bool, now: float) -> None:
        """A peer was started again, and cannot say whom it lost before it knows how the match stands."""
        if self._agreement is not None:
            self._agreement.excuse(peer.id, is_excused=is_excused)
            self._carry_out(now)

    def resume(self, cuts: Mapping[int, int]) -> None:
        """We were started again, and take the episode up without the peers in ``cuts``."""
        peers = self._core.peers
        for peer_id in cuts:
            peers.remove(peer_id)
            self._core.telemetry.lose_peer(peer_id)
        self._applied = set(cuts)
        if self._agreement is not None:
            self._agreement.resume(self._core.number, cuts)

    def receive(self, peer: Peer, message: PeersLost, *, now: float) -> None:
        """A peer says whom it has given up."""
        if self._agreement is not None:
            self._agreement.receive(peer.id, message, now=now)
            self._carry_out(now)

    def tell(self) -> None:
        """Send what has changed since the last call. Call it once in every tick.

        However many reports come in, one goes out in a tick, and none on top of others that a peer has not read.
        """
        for peer_id, report in list(self._untold.items()):
            endpoint = self._core.peers.even_lost(peer_id).endpoint
            if peer_id not in self._core.peers:
                del self._untold[peer_id]
            elif endpoint.open_control < _OPEN_MESSAGES:
                del self._untold[peer_id]
                for message in report:
                    endpoint.queue_control(message)

    def tick(self, *, now: float) -> None:
        """Give up whom the others' reports leave no place for."""
        agreement, peers = self._agreement, self._core.peers
        if agreement is None or self._core.phase not in _GOING_ON:
            return
        for peer_id in sorted(agreement.peers_to_lose(now=now)):
            self.lose(peers[peer_id], "on another side", now=now)

    def release_finished(self, *, now: float) -> None:
        """Wait no more for what those say of a loss who are through with the match."""
        agreement = self._agreement
        finished = [peer.id for peer in self._core.peers.all if peer.left == "finished"]
        if agreement is not None and finished and self.is_open:
            for peer_id in finished:
                agreement.finish(peer_id)
            self._carry_out(now)

    def begin_episode(self, *, now: float) -> None:
        """The last episode is closed, and its number has gone up."""
        self._applied.clear()
        if self._agreement is not None:
            self._agreement.begin_episode(self._core.number, now=now)
            self._carry_out(now)

    def begin_play(self, *, now: float) -> None:
        """The episode's inputs have a place now: what is agreed takes effect."""
        self._carry_out(now)

    def _carry_out(self, now: float) -> None:
        core, agreement = self._core, self._agreement
        if agreement is None:
            return
        self._take_messages(agreement)
        verdict = agreement.verdict
        if isinstance(verdict, Partition):
            text = "The connection to the other players was lost, and too few are left here to go on."
            core.end("partition", text, leave="left", now=now)
        elif isinstance(verdict, Contradiction):
            core.note("contradiction", {"peer": verdict.lost, "frame": verdict.frame})
            text = f"The others do not agree on what a lost player did at frame {verdict.frame}."
            core.end("desync", text, leave="desync", now=now)
        elif isinstance(verdict, Agreed) and core.episode is not None:
            self._apply(verdict, core.episode)

    def _take_messages(self, agreement: Agreement) -> None:
        """Keep what is to be told to the living until :meth:`tell`; the lost hear it at once, for the last time."""
        peers, fresh = self._core.peers, dict[int, list[PeersLost]]()
        for peer_id, message in agreement.take_messages():
            if peer_id in peers:
                fresh.setdefault(peer_id, []).append(message)
            else:
                peers.even_lost(peer_id).endpoint.queue_control(message)
        self._untold.update(fresh)

    def _apply(self, verdict: Agreed, episode: EpisodePlay) -> None:
        core = self._core
        for peer_id in sorted(verdict.lost - self._applied):
            self._applied.add(peer_id)
            seats, cut = core.plan.peers[peer_id], verdict.cuts[peer_id]
            episode.disconnect(peer_id, seats, after=cut, inputs=verdict.inputs[peer_id])
            core.note("dropped", {"peer": peer_id, "seats": list(seats), "last_frame": cut})
