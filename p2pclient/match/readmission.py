"""The side of those who played on, or wait: a peer whose program was started again gets its seat back.

Its old conversation is closed, so that no input of its earlier life comes in any more, and a new one begins. It is told
where we stand and what we have of its inputs; it is told the episode, if it asks us; and it says what it wants from us.
From then on its inputs come as ever. It counts as returned when it has said the chain's value where it plays on, and
that is ours. See :mod:`p2pclient.match.rejoining` for its side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from p2pclient.common.frames import NULL_FRAME
from p2pclient.envhost.values import encode
from p2pclient.match.changes import ChangeCourse
from p2pclient.match.core import MatchCore
from p2pclient.match.delays import DelayCourse
from p2pclient.match.drops import DropCourse
from p2pclient.match.episode import EpisodePlay
from p2pclient.match.evidence import split_state
from p2pclient.match.peers import MOST_WAITING, Peer
from p2pclient.match.plan import PeerRejoined, Phase
from p2pclient.protocol.control import (
    MAX_LOST_FRAMES,
    MAX_PART_BYTES,
    AnyMessage,
    EpisodeOver,
    EpisodeReady,
    HistoryRows,
    HistoryStart,
    HistoryWish,
    LostInputs,
    Resumed,
    Standing,
    StatePart,
    TakeUp,
)
from p2pclient.protocol.endpoint import MAX_AHEAD
from p2pclient.rollback.chain import start_chain

_OPEN_PARTS = 24
"""Pieces of what a peer is told that may wait for their acknowledgement: 0.75 MB."""
_MOST_WISHES = 16
"""How often one program may ask for the episode: each costs us a moment."""
_PIECE_BYTES = 24 * 1024
"""Of inputs in one message."""
_STAGES: dict[Phase, Literal["barrier", "playing", "finishing"]] = {
    Phase.RESETTING: "barrier",
    Phase.BARRIER: "barrier",
    Phase.PLAYING: "playing",
    Phase.EPISODE_OVER: "playing",
    Phase.FINISHING: "finishing",
}
"""Phases in which somebody can be told where we stand."""


@dataclass(slots=True)
class _Case:
    """One return, as far as we see it."""

    heard_until: tuple[int, int]
    """Episode, and newest frame of which the earlier program's input came."""
    away_since: float
    told: object = None
    """What of our standing it was told last."""
    is_answered: bool = False
    """Has it said from where on it wants our inputs, since then."""
    wishes: int = 0
    take_ups: int = 0
    pieces: Iterator[AnyMessage] = field(default_factory=lambda: iter(()))
    """What is to be sent of the episode."""


class Readmission:
    """Sees the returns of all other sides through.

    Args:
        compare: called with what differs, if anything does.
    """

    def __init__(
        self,
        core: MatchCore,
        changes: ChangeCourse,
        delays: DelayCourse,
        drops: DropCourse,
        *,
        compare: Callable[[Sequence[object], float], None],
    ) -> None:
        self._core = core
        self._changes = changes
        self._delays = delays
        self._drops = drops
        self._compare = compare
        self._cases: dict[int, _Case] = {}

    @property
    def away(self) -> tuple[int, ...]:
        """Peers that come back at the moment, in order."""
        return tuple(sorted(self._cases))

    def begin(self, peer: Peer, *, now: float) -> None:
        """Another program of a peer's is connected, and nothing that its earlier one sent is to come any more."""
        core = self._core
        before = self._cases.get(peer.id)
        heard = peer.endpoint.newest_heard if not peer.is_away else NULL_FRAME
        since = before.away_since if before is not None else peer.endpoint.heard_at
        core.peers.renew(peer.id, now=now)
        core.telemetry.add_peer(peer.id, peer.endpoint)
        self.await_return(peer, heard=heard, since=since, now=now)

    def await_return(self, peer: Peer, *, heard: int, since: float, now: float) -> None:
        """A peer is to be told where we stand, over a conversation that has just begun.

        Args:
            heard: newest frame of the episode at hand of which its input came.
            since: when it was heard last, before.
        """
        core = self._core
        peer.is_away = peer.is_returning = True
        peer.endpoint.limit = 0
        core.peers.look()
        self._changes.renew(peer)
        self._drops.excuse(peer, is_excused=True, now=now)
        self._cases[peer.id] = _Case((core.number, heard), since)
        core.note("returning", {"peer": peer.id, "seats": list(peer.seats), "away_seconds": now - since})

    def lost(self, peer_id: int) -> None:
        """A peer is given up for good."""
        self._cases.pop(peer_id, None)

    # -- where we stand -----------------------------------------------------------------------------------------

    def tick(self, *, now: float) -> None:
        """Tell those who come back what they lack. Call it in every tick."""
        core = self._core
        for peer_id, case in list(self._cases.items()):
            peer = core.peers.get(peer_id)
            if peer is None:
                del self._cases[peer_id]
                continue
            if peer.greeted and self._can_tell(peer, case):
                self._tell_standing(peer, case)
            while core.phase in _STAGES and peer.endpoint.open_control < _OPEN_PARTS:
                piece = next(case.pieces, None)
                if piece is None:
                    break
                peer.endpoint.queue_control(piece)

    def _can_tell(self, peer: Peer, case: _Case) -> bool:
        core, episode = self._core, self._core.episode
        if core.phase not in _STAGES or self._drops.is_open:
            return False
        if episode is None or case.heard_until[0] != episode.number:
            return True
        # What the host has still to say about an assumed input holds back the real one.
        newest = min(episode.session.last_input_frame(seat) for seat in peer.seats)
        return newest >= case.heard_until[1]

    def _tell_standing(self, peer: Peer, case: _Case) -> None:
        core, episode = self._core, self._core.episode
        stage, cuts = _STAGES[core.phase], self._drops.cuts
        standing = core.number, stage, cuts
        if standing == case.told:
            return
        case.told, case.is_answered, case.pieces = standing, False, iter(())
        first, inputs = 0, list[bytes]()
        recorded = NULL_FRAME
        if episode is not None and stage != "finishing":
            first, inputs = episode.inputs_of(peer.seats)
            recorded = episode.recorded
        count = max(1, min(MAX_LOST_FRAMES, _PIECE_BYTES // max([1, *map(len, inputs)])))
        for at in range(0, max(1, len(inputs)), count):
            piece, is_all = inputs[at : at + count], at + count >= len(inputs)
            said = Standing(core.number, stage, recorded, first + at, piece, is_all, core.closed, cuts)
            peer.endpoint.queue_control(said)

    # -- what it says -------------------------------------------------------------------------------------------

    def receive(self, peer: Peer, message: HistoryWish | TakeUp | Resumed, now: float) -> None:
        """Take in what a peer says of its return."""
        case, core = self._cases.get(peer.id), self._core
        is_due = case is not None and case.told is not None and message.episode == core.number
        if case is None or not is_due or core.phase not in _STAGES or core.phase is Phase.FINISHING:
            peer.endpoint.drops["bad-return"] += 1
        elif isinstance(message, HistoryWish):
            self._tell_episode(peer, case, message)
        elif isinstance(message, TakeUp):
            self._take_up(peer, case, message)
        else:
            self._resume(peer, case, message, now)

    def _take_up(self, peer: Peer, case: _Case, message: TakeUp) -> None:
        core, episode, first = self._core, self._core.episode, message.first_frame
        verified, sent = (episode.verified, episode.sent_inputs) if episode is not None else (NULL_FRAME, 0)
        case.take_ups += 1
        is_too_often = case.take_ups > _MOST_WISHES or peer.endpoint.open_control > MOST_WAITING
        if is_too_often or not verified < first <= sent:
            peer.endpoint.drops["bad-return"] += 1
            return
        case.is_answered = True
        expected = 0
        if episode is not None:
            expected = min(episode.session.last_input_frame(seat) for seat in peer.seats) + 1
        peer.endpoint.begin_episode(core.number, first_frame=first, expected=expected)
        peer.endpoint.limit = 0
        peer.is_away = False
        core.peers.look()
        if episode is not None:
            self._hand_over(peer, episode, first)
        self._changes.confirm_again(peer)
        self._delays.tell_again(peer)

    def meet(self, peer: Peer, said: Standing, *, has_returned: bool) -> None:
        """A peer that was started again tells where it stands, although we play: it plays again, too.

        Of two that came back at the same time, neither asked the other.

        Args:
            has_returned: our own program was started again, and who was told where it plays on may have moved since.
        """
        core, episode = self._core, self._core.episode
        is_due = (peer.is_returning or has_returned) and (said.episode, said.stage) == (core.number, "playing")
        if not is_due or episode is None or core.phase not in (Phase.PLAYING, Phase.EPISODE_OVER):
            peer.endpoint.drops["bad-return"] += 1
            return
        needed = min(episode.session.last_input_frame(seat) for seat in peer.seats) + 1
        peer.offer(TakeUp(core.number, needed))
        frame = episode.recorded + 1
        peer.offer(Resumed(core.number, frame, episode.first_checksum, episode.chain.value))

    def _hand_over(self, peer: Peer, episode: EpisodePlay, first: int) -> None:
        """Send our inputs from ``first`` on, and what was said to all in this episode."""
        core, endpoint = self._core, peer.endpoint
        for frame in range(first, episode.sent_inputs):
            endpoint.queue_input(frame, episode.own_input(frame))
        endpoint.limit = episode.session.current_frame + MAX_AHEAD
        if episode.recorded != NULL_FRAME:
            endpoint.set_chain(episode.chain.frame, episode.chain.value)
        endpoint.queue_control(EpisodeReady(core.number, episode.first_checksum))
        if core.phase is Phase.EPISODE_OVER:
            assert episode.last_frame is not None
            endpoint.queue_control(EpisodeOver(core.number, episode.last_frame, episode.chain.value))

    def _resume(self, peer: Peer, case: _Case, message: Resumed, now: float) -> None:
        core, episode = self._core, self._core.episode
        if episode is None or not case.is_answered or message.frame > episode.recorded + MAX_AHEAD:
            peer.endpoint.drops["bad-return"] += 1
            return
        self.returned(peer, frame=message.frame, now=now)
        if core.phase is Phase.BARRIER:
            peer.ready[core.number] = message.first_checksum
            peer.sound.add(core.number)  # it plays, and waits for no check
        if message.frame == 0:
            differs = message.chain != start_chain(episode.first_checksum)
            self._compare([message] if differs and core.phase is not Phase.BARRIER else [], now)
        else:
            found = episode.chain.receive(peer.id, message.frame - 1, message.chain, in_order=True)
            self._compare(found, now)

    def returned(self, peer: Peer, *, frame: int, now: float) -> None:
        """A peer stands where it plays on. Does nothing for one that was never away."""
        case = self._cases.pop(peer.id, None)
        if case is None:
            return
        core = self._core
        peer.is_returning = False
        self._drops.excuse(peer, is_excused=False, now=now)
        details = {"peer": peer.id, "seats": list(peer.seats), "from": case.heard_until[1] + 1, "to": frame}
        core.note("returned", {**details, "seconds": now - case.away_since})
        core.out.events.append(PeerRejoined(peer.id, core.number, frame))

    # -- the episode --------------------------------------------------------------------------------------------

    def _tell_episode(self, peer: Peer, case: _Case, wish: HistoryWish) -> None:
        case.wishes += 1
        if case.wishes > _MOST_WISHES:
            peer.endpoint.drops["too-many-wishes"] += 1
            return
        case.pieces = self._pieces(self._core.episode, wish.frames)

    def _pieces(self, episode: EpisodePlay | None, frames: int) -> Iterator[AnyMessage]:
        """Yield what tells a peer the episode that has recorded its first ``frames`` itself."""
        core = self._core
        until = episode.recorded + 1 if episode is not None and _STAGES[core.phase] == "playing" else 0
        first, parts = 0, list[StatePart]()
        state = episode.journal.state if episode is not None else None
        if state is not None and 0 < state["frame"] <= min(frames, until):
            parts = split_state(core.number, state["frame"], encode(state["data"]))
            if parts[0].data:
                first = state["frame"]
            else:
                parts = []  # too large to be told
        nothing = bytes(8)
        yield HistoryStart(
            episode=core.number,
            first_frame=first,
            until=until,
            first_checksum=episode.first_checksum if episode is not None else nothing,
            checksum=episode.journal.checksum(first - 1) if episode is not None else nothing,
            chain=episode.chain.value if episode is not None else nothing,
            verified=episode.verified if until and episode is not None else NULL_FRAME,
            has_state=bool(parts),
            finished_frames=core.finished_frames,
            delay=self._delays.agreed,
            course=self._changes.course(),
            ahead=self._inputs_of_lost(episode, until) if episode is not None else [],
        )
        yield from parts
        if episode is not None:
            yield from _rows(episode, first, until)

    def _inputs_of_lost(self, episode: EpisodePlay, until: int) -> list[LostInputs]:
        plan, session = self._core.plan, episode.session
        found = []
        for each in self._drops.cuts:
            seats = plan.peers[each.peer]
            joined = [b"".join([session.confirmed_input(s, f) for s in seats]) for f in range(until, each.frame + 1)]
            found.append(LostInputs(each.peer, until, joined))
        return found


def _rows(episode: EpisodePlay, first: int, until: int) -> Iterator[HistoryRows]:
    """Yield the inputs of all seats, as many frames at once as fit."""
    at, rows = first, bytearray()
    for frame, joined in episode.journal.rows(first, until):
        if len(rows) + len(joined) > MAX_PART_BYTES:
            yield HistoryRows(episode.number, at, bytes(rows))
            at, rows = frame, bytearray()
        rows += joined
    if rows:
        yield HistoryRows(episode.number, at, bytes(rows))
