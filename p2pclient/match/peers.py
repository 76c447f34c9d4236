"""The other sides of a match: one endpoint each, and what each has said so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from p2pclient.common.errors import RemoteProtocolError
from p2pclient.common.frames import SEAT_FLAGS
from p2pclient.common.spaces import decode_action
from p2pclient.match.plan import MatchPlan, Outbox
from p2pclient.match.timing import FrameClock
from p2pclient.protocol.control import AnyMessage, EpisodeOver, Leave, Recovered, Recovering
from p2pclient.protocol.endpoint import MAX_AHEAD, MAX_OPEN_CONTROL, NOTICE_AFTER, Endpoint, EndpointConfig
from p2pclient.rollback.pacing import Pacer
from p2pclient.telemetry.match import MatchTelemetry

_MOST_TOLD = 64
"""What a peer says of its environment is recorded so often at most: more is no honest one's."""
MOST_WAITING = 64
"""Messages a peer may not have acknowledged, and still be answered: far above what an honest one leaves open."""


@dataclass(slots=True)
class Peer:
    """One other side."""

    id: int
    seats: tuple[int, ...]
    endpoint: Endpoint
    is_valid: Callable[[int, bytes], bool]
    """``(index of its seat, input) -> may it reach the environment``."""
    pacer: Pacer = field(default_factory=Pacer)
    greeted: bool = False
    """Its facts arrived and agree with ours."""
    ready: dict[int, bytes] = field(default_factory=dict)
    """First checksum by episode, of the barriers at which it stands or stood."""
    sound: set[int] = field(default_factory=set)
    """Episodes before which it said that its links are sound."""
    over: dict[int, EpisodeOver] = field(default_factory=dict)
    """How it says that an episode ended."""
    gone: bool = False
    """The server confirmed that its process is gone, or its connection is closed for good."""
    recovering: Recovering | None = None
    """What it said last about its environment, which is started again; None if it is not."""
    wished: int = 0
    """Number of its newest wish for a change of the match."""
    changed: int = 0
    """Number of the newest change of the match that it has confirmed."""
    told_recoveries: int = 0
    """How often it began or ended to say so."""
    left: str | None = None
    """Reason with which it said goodbye."""
    is_away: bool = False
    """Its program was started again, and it is not known yet where it goes on: it is sent no inputs."""
    is_returning: bool = False
    """Likewise, until it has said that it stands where we do."""
    noted: set[str] = field(default_factory=set)
    """What was recorded of this program of its, and is not to be recorded again."""

    def offer(self, message: AnyMessage) -> None:
        """Queue an answer, unless the peer leaves too many unread: so often as it asks, nothing here overflows."""
        if self.endpoint.open_control > MOST_WAITING:
            self.endpoint.drops["unread"] += 1
        else:
            self.endpoint.queue_control(message)

    def is_news(self, name: str) -> bool:
        """Is this the first time that something is to be recorded of this program of its."""
        is_new = name not in self.noted
        self.noted.add(name)
        return is_new

    def take_recovery(self, message: Recovering | Recovered) -> bool:
        """It says how it stands with its environment; True if that is worth a record."""
        before, self.recovering = self.recovering, message if isinstance(message, Recovering) else None
        if (before is None) is (self.recovering is None):
            return False
        self.told_recoveries += 1
        return self.told_recoveries <= _MOST_TOLD

    def why_lost(self, *, now: float, drop_after: float, may_return: bool = False) -> tuple[str, str] | None:
        """Return ``(reason, text)`` if the match cannot go on with this peer, None while it can.

        Args:
            may_return: a program that is gone may be started again, and is waited for like a silent one.
        """
        if self.left == "error":
            return "partner-left", "The other player's program had to stop."
        if self.left == "desync":
            return "desync", "The other side found that the two games had become different."
        if self.left == "connection":
            return "poor-connection", "The connection to the other player was not good enough to go on."
        if self.left is not None and self.left != "finished":
            return "partner-left", "The other player left the match."
        silent = now - self.endpoint.heard_at
        deaf = self.endpoint.open_control > MAX_OPEN_CONTROL // 2
        is_gone = self.gone and not may_return and silent >= NOTICE_AFTER
        if is_gone or silent >= drop_after or deaf:
            return "partner-gone", "The connection to the other player was lost."
        return None


class Peers:
    """All other sides, by id."""

    def __init__(self, plan: MatchPlan, *, now: float) -> None:
        self._by_id = {i: _make_peer(plan, i, now=now) for i in plan.peers}
        self.all = tuple(self._by_id.values())
        """Those who are still here."""
        self.playing = self.all
        """Those of them to whom inputs are sent: not who is away."""
        self._lost: dict[int, Peer] = {}
        self._plan = plan

    def __iter__(self) -> Iterator[Peer]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, peer_id: int) -> bool:
        return peer_id in self._by_id

    def __getitem__(self, peer_id: int) -> Peer:
        return self._by_id[peer_id]

    def get(self, peer_id: int) -> Peer | None:
        """Return a peer that is still here."""
        return self._by_id.get(peer_id)

    def remove(self, peer_id: int) -> None:
        """Take a peer out for good; what is said to it last still leaves."""
        self._lost[peer_id] = self._by_id.pop(peer_id)
        self.all = tuple(self._by_id.values())
        self.look()

    def look(self) -> None:
        """Somebody is away, or no longer."""
        self.playing = tuple([peer for peer in self.all if not peer.is_away])

    def renew(self, peer_id: int, *, now: float) -> Peer:
        """Another program of a peer's takes the place of the one that was here: a conversation from the beginning."""
        peer = self._by_id[peer_id]
        fresh = _make_peer(self._plan, peer_id, now=now)
        peer.endpoint, peer.pacer = fresh.endpoint, fresh.pacer
        peer.greeted = peer.gone = False
        peer.recovering = peer.left = None
        peer.wished = 0
        peer.ready.clear()
        peer.sound.clear()
        peer.over.clear()
        peer.noted.clear()
        peer.is_away = peer.is_returning = True
        self.look()
        return peer

    def even_lost(self, peer_id: int) -> Peer:
        """Return a peer, lost or not."""
        return self._lost[peer_id] if peer_id in self._lost else self._by_id[peer_id]

    def is_valid(self, peer_id: int, joined: bytes) -> bool:
        """May ``joined`` be what a peer's seats did in one frame."""
        at = 0
        check = self.even_lost(peer_id).is_valid
        for index, seat in enumerate(self._plan.peers[peer_id]):
            width = len(self._plan.neutral_input(seat))
            if not check(index, joined[at : at + width]):
                return False
            at += width
        return at == len(joined)

    def tell(self, message: AnyMessage) -> None:
        """Queue a control message for all; a goodbye only for those who still have room for it."""
        for peer in self:
            if not isinstance(message, Leave) or peer.endpoint.open_control < MAX_OPEN_CONTROL:
                peer.endpoint.queue_control(message)

    def begin_episode(self, episode: int) -> None:
        """Frames start anew at 0 with everyone; none is taken before :meth:`take_inputs`."""
        for peer in self:
            peer.endpoint.begin_episode(episode)
            peer.endpoint.limit = 0
            peer.pacer = Pacer()
            peer.ready = {n: checksum for n, checksum in peer.ready.items() if n >= episode}
            peer.sound = {n for n in peer.sound if n >= episode}
            peer.over.clear()

    def pace_anew(self) -> None:
        """What was learnt about who is ahead counts no more."""
        for peer in self:
            peer.pacer = Pacer()

    def take_inputs(self) -> None:
        """Inputs of the episode at hand have a place to go from here on."""
        for peer in self:
            peer.endpoint.limit = MAX_AHEAD

    def set_chain(self, frame: int, value: bytes) -> None:
        """Tell all who play the newest chain value of ours, from the next datagram on."""
        for peer in self.playing:
            peer.endpoint.set_chain(frame, value)

    def time_frames(self, clock: FrameClock, *, now: float) -> None:
        """Tell the clock of the frames what arrived when, and how far the others' clocks are from ours."""
        for peer in self.all:
            arrivals = peer.endpoint.arrivals
            while arrivals:
                frame, at = arrivals.popleft()
                clock.received(frame, peer.seats, at)
            clock.compared(peer.seats, peer.endpoint.clock.estimate(now=now))

    def send(self, out: Outbox, telemetry: MatchTelemetry, *, now: float, idle: bool) -> None:
        """Put what is due into the outbox and count it."""
        for peer in self.all:
            for data in peer.endpoint.datagrams_to_send(now=now, idle=idle):
                out.datagrams.append((peer.id, data))
                telemetry.sent(peer.id, data)
        self.send_control(out, telemetry)

    def send_control(self, out: Outbox, telemetry: MatchTelemetry) -> None:
        """Put only queued control messages into the outbox."""
        for peer in (*self.all, *self._lost.values()) if self._lost else self.all:
            for data in peer.endpoint.control_to_send():
                out.control.append((peer.id, data))
                telemetry.sent_control(peer.id, data)

    @property
    def rtt(self) -> float | None:
        """Longest of the newest round trip times, seconds."""
        longest: float | None = None
        for peer in self.all:
            rtt = peer.endpoint.stats.rtt
            if rtt is not None and (longest is None or rtt > longest):
                longest = rtt
        return longest

    @property
    def owe_acknowledgement(self) -> bool:
        """True while a peer that is still here has not acknowledged every control message."""
        return any(p.endpoint.open_control for p in self if p.left is None and not p.gone)

    def stretch(self) -> float:
        """Return the factor for the next frame's duration: the median over the peers that are heard."""
        factors = []
        for peer in self.playing:
            endpoint = peer.endpoint
            if endpoint.silence == "heard":
                factors.append(peer.pacer.stretch(endpoint.lead, endpoint.peer_lead))
        if len(factors) == 1:
            return factors[0]
        return median(factors) if factors else 1.0


def input_check(plan: MatchPlan, seats: Sequence[int]) -> Callable[[int, bytes], bool]:
    """Return ``(index among the seats, input) -> may it reach the environment``: is it a value of its action space."""
    spaces = plan.env["action_spaces"]

    def is_valid(index: int, value: bytes) -> bool:
        if not value or value[0] not in SEAT_FLAGS:
            return False
        try:
            decode_action(spaces[seats[index]], value[1:])
        except RemoteProtocolError:
            return False
        return True

    return is_valid


def _make_peer(plan: MatchPlan, peer_id: int, *, now: float) -> Peer:
    """Return the peer with its endpoint, which checks every input that comes."""
    seats = plan.peers[peer_id]
    is_valid = input_check(plan, seats)
    config = EndpointConfig(
        connection=plan.connection_id(peer_id),
        local_width=sum(len(plan.neutral_input(seat)) for seat in plan.local_seats),
        remote_widths=tuple(len(plan.neutral_input(seat)) for seat in seats),
        is_valid=is_valid,
    )
    return Peer(peer_id, seats, Endpoint(config, now=now), is_valid)
