"""How a match goes on without a peer: the survivors agree on its last frame before anything of it counts.

The decision is :class:`~p2pclient.match.agreement.Agreement`; here it is fed with what the match knows, and carried
out. A match goes on only where the settings of the lost seats say so, and only while play is under way; in all other
cases a loss ends it.

Behind its last frame, a lost seat has the neutral input, or a substitute: a bot that every side's environment host
asks in the same states, and whose actions therefore need not travel (``envs/substitutes.py``). So nobody owns it, and
losing somebody else changes nothing for it.

A part of the players that has no majority, such as one of two, asks whoever made the match (:class:`GrantWanted`), who
lets one part go on at most (``common/sides.py``). Without an answer in time the match ends for it, as it does when the
answer is no.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from p2pclient.match.agreement import PATIENCE, Agreed, Agreement, Contradiction, Partition, Undecided
from p2pclient.match.core import MatchCore
from p2pclient.match.episode import EpisodePlay
from p2pclient.match.peers import Peer
from p2pclient.match.plan import GrantWanted, Phase
from p2pclient.match.sittings import BY_NOBODY, BY_SUBSTITUTE
from p2pclient.protocol.control import LastFrame, PeersLost
from p2pclient.protocol.endpoint import LOST_AFTER

_NOTICING = 1.3
"""Times ``drop_after``: by then every living peer has noticed that another is gone."""
GRANT_PATIENCE = 10.0
"""Seconds that a part without a majority waits for the word that it may go on."""
_OPEN_MESSAGES = 32
"""Messages that may wait for a peer's acknowledgement before a report waits, too."""
_GOING_ON = frozenset({Phase.RESETTING, Phase.BARRIER, Phase.PLAYING, Phase.EPISODE_OVER})
"""Phases in which a loss can be survived."""


class DropCourse:
    """Sees the losses of one match through."""

    def __init__(self, core: MatchCore) -> None:
        self._core = core
        plan = core.plan
        self._losses = plan.losses
        self._agreement: Agreement | None = None
        if self._losses.can_go_on and plan.peers and plan.local_seats:
            seats = {plan.own_id: plan.local_seats, **plan.peers}
            patience = max(PATIENCE, _NOTICING * self._losses.longest_wait(plan.drop_after))
            self._agreement = Agreement(plan.own_id, seats, is_valid=core.peers.is_valid, patience=patience)
        self._asked: tuple[frozenset[int], float] | None = None
        """For which side we asked whether it may go on, and until when we wait for the answer."""
        self._is_answered = False
        """Were we let go on since that was looked at last."""
        self._told_side = frozenset(core.plan.peers) | {core.plan.own_id}
        """Who goes on, as it was told to whoever made the match."""
        self._untold: dict[int, list[PeersLost]] = {}
        """Our newest report for each living peer that has not been sent; it takes the place of all before it."""
        self._applied: set[int] = set()
        """Lost peers whose last frame is in force in the episode at hand."""

    @property
    def is_open(self) -> bool:
        """True while it is not agreed who plays on: nobody passes a barrier meanwhile."""
        return self._agreement is not None and isinstance(self._agreement.verdict, Undecided | Partition)

    def can_survive(self, peer: Peer) -> bool:
        """May the match go on without a peer, as things stand."""
        plan = self._core.plan
        if self._agreement is None or self._core.phase not in _GOING_ON:
            return False
        # Of two, the one that is left has no majority of its own; nobody else can be on the other side if it left.
        is_decidable = len(plan.peers) > 1 or plan.has_arbiter or peer.left is not None
        return is_decidable and self._losses.of_all(peer.seats).then != "end"

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
        agreement.lose(peer.id, first, inputs, now=now, has_left=peer.left is not None)
        self._carry_out(now)

    @property
    def cuts(self) -> list[LastFrame]:
        """Last frame in the episode at hand of each peer without whom it is agreed to go on, in order."""
        verdict = self._agreement.verdict if self._agreement is not None else None
        if not isinstance(verdict, Agreed):
            return []
        return [LastFrame(peer, cut, peer in verdict.left) for peer, cut in sorted(verdict.cuts.items())]

    def holders(self, lost: Iterable[LastFrame]) -> dict[int, tuple[int, str]]:
        """Return by seat of each lost peer its last frame, and who has it since."""
        plan = self._core.plan
        return {seat: (each.frame, self._holder(seat)) for each in lost for seat in plan.peers[each.peer]}

    def _holder(self, seat: int) -> str:
        return BY_SUBSTITUTE if self._losses.of(seat).then == "bot" else BY_NOBODY

    def excuse(self, peer: Peer, *, is_excused: bool, now: float) -> None:
        """A peer was started again, and cannot say whom it lost before it knows how the match stands."""
        if self._agreement is not None:
            self._agreement.excuse(peer.id, is_excused=is_excused)
            self._carry_out(now)

    def resume(self, lost: Sequence[LastFrame], *, is_applied: bool) -> None:
        """We were started again, and take the episode up without these peers.

        Args:
            is_applied: the episode that is taken up knows of it.
        """
        core = self._core
        for each in lost:
            core.peers.remove(each.peer)
            core.telemetry.lose_peer(each.peer)
            for seat in core.plan.peers[each.peer] if is_applied else ():
                why = "left" if each.left else "lost"
                core.sittings.begin(seat, core.number, each.frame + 1, by=self._holder(seat), why=why)
        self._applied = {each.peer for each in lost} if is_applied else set()
        if self._agreement is not None:
            cuts = {each.peer: each.frame for each in lost}
            self._agreement.resume(core.number, cuts, [each.peer for each in lost if each.left])
            self._told_side = self._agreement.living
            self._take_messages(self._agreement)

    def forgive(self, seconds: float) -> None:
        """Our own program stood still for so long: the others had no chance to be heard."""
        if self._agreement is not None:
            self._agreement.forgive(seconds)

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
        """Give up whom the others' reports leave no place for, and wait no longer than that for a grant."""
        agreement, peers = self._agreement, self._core.peers
        if agreement is None or self._core.phase not in _GOING_ON:
            return
        if self._asked is not None and now >= self._asked[1]:
            self._end_as_partition(now)
            return
        for peer_id in sorted(agreement.peers_to_lose(now=now)):
            self.lose(peers[peer_id], "on another side", now=now)

    def take_answer(self) -> bool:
        """Return whether we were let go on since the last call: then nobody at a barrier is waited for any more."""
        is_answered, self._is_answered = self._is_answered, False
        return is_answered

    def answer(self, peers: Iterable[int], *, is_granted: bool, now: float) -> None:
        """Whoever made the match says whether a side with these peers, ours included, may go on.

        It answers :class:`~p2pclient.match.plan.GrantWanted`; what follows leaves with the next tick.
        """
        agreement, side = self._agreement, frozenset(peers)
        if agreement is None or self._core.phase not in _GOING_ON:
            return
        if is_granted and self._asked is not None:
            self._is_answered = True
            self._core.note("granted", {"peers": sorted(side)})
            agreement.grant(side)
            self._carry_out(now)
        elif self._asked is not None and self._asked[0] == side:
            self._end_as_partition(now)

    def _end_as_partition(self, now: float) -> None:
        text = "The connection to the other players was lost, and too few are left here to go on."
        self._core.end("partition", text, leave="left", now=now)

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
            self._ask(verdict.living, now)
            return
        self._asked = None
        if isinstance(verdict, Agreed) and core.plan.has_arbiter:
            self._tell_side(agreement.living)
        if isinstance(verdict, Contradiction):
            core.note("contradiction", {"peer": verdict.lost, "frame": verdict.frame})
            text = f"The others do not agree on what a lost player did at frame {verdict.frame}."
            core.end("desync", text, leave="desync", now=now)
        elif isinstance(verdict, Agreed) and core.episode is not None:
            self._apply(verdict, core.episode)

    def _tell_side(self, living: frozenset[int]) -> None:
        """Say who goes on, also where nobody need be asked: so that a part of these may be let go on later."""
        if living != self._told_side:
            self._told_side = living
            self._core.out.events.append(GrantWanted(tuple(sorted(living))))

    def _ask(self, living: frozenset[int], now: float) -> None:
        """Ask whether this side may go on, once, if there is somebody to be asked."""
        core = self._core
        if not core.plan.has_arbiter:
            self._end_as_partition(now)
        elif self._asked is None or self._asked[0] != living:
            self._asked = living, now + GRANT_PATIENCE
            self._tell_side(living)

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
            holders = {seat: self._holder(seat) for seat in seats}
            episode.disconnect(peer_id, holders, after=cut, inputs=verdict.inputs[peer_id])
            core.note("dropped", {"peer": peer_id, "seats": list(seats), "last_frame": cut})
            why = "left" if peer_id in verdict.left else "lost"
            for seat, by in holders.items():
                core.sittings.begin(seat, episode.number, cut + 1, by=by, why=why)
