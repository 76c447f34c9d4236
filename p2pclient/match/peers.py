"""The other sides of a match: one endpoint each, and what each has said so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from statistics import median

from p2pclient.common.errors import RemoteProtocolError
from p2pclient.common.frames import UNFOCUSED
from p2pclient.common.spaces import decode_action
from p2pclient.match.plan import MatchPlan, Outbox
from p2pclient.protocol.control import AnyMessage, Checksums, EpisodeOver
from p2pclient.protocol.endpoint import MAX_AHEAD, MAX_OPEN_CONTROL, NOTICE_AFTER, Endpoint, EndpointConfig
from p2pclient.rollback.pacing import Pacer
from p2pclient.telemetry.counters import MatchCounters


@dataclass(slots=True)
class Peer:
    """One other side."""

    id: int
    seats: tuple[int, ...]
    endpoint: Endpoint
    pacer: Pacer = field(default_factory=Pacer)
    greeted: bool = False
    """Its facts arrived and agree with ours."""
    ready: dict[int, bytes] = field(default_factory=dict)
    """First checksum by episode, of the barriers at which it stands or stood."""
    over: dict[int, EpisodeOver] = field(default_factory=dict)
    """How it says that an episode ended."""
    checksums: Checksums | None = None
    """Its side of a divergence."""
    sent_checksums: bool = False
    gone: bool = False
    """The server confirmed that its process is gone, or its connection is closed for good."""
    left: str | None = None
    """Reason with which it said goodbye."""

    def why_lost(self, *, now: float, drop_after: float) -> tuple[str, str] | None:
        """Return ``(reason, text)`` if the match cannot go on with this peer, None while it can."""
        if self.left == "error":
            return "partner-left", "The other player's program had to stop."
        if self.left == "desync":
            return "desync", "The other side found that the two games had become different."
        if self.left is not None and self.left != "finished":
            return "partner-left", "The other player left the match."
        silent = self.endpoint.silent_for(now=now)
        deaf = self.endpoint.open_control > MAX_OPEN_CONTROL // 2
        if (self.gone and silent >= NOTICE_AFTER) or silent >= drop_after or deaf:
            return "partner-gone", "The connection to the other player was lost."
        return None


class Peers:
    """All other sides, by id."""

    def __init__(self, plan: MatchPlan, *, now: float) -> None:
        self._by_id = {i: _make_peer(plan, i, now=now) for i in plan.peers}

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, peer_id: int) -> bool:
        return peer_id in self._by_id

    def __getitem__(self, peer_id: int) -> Peer:
        return self._by_id[peer_id]

    def tell(self, message: AnyMessage) -> None:
        """Queue a control message for all."""
        for peer in self:
            peer.endpoint.queue_control(message)

    def begin_episode(self, episode: int) -> None:
        """Frames start anew at 0 with everyone; none is taken before :meth:`take_inputs`."""
        for peer in self:
            peer.endpoint.begin_episode(episode)
            peer.endpoint.limit = 0
            peer.pacer = Pacer()
            peer.ready = {n: checksum for n, checksum in peer.ready.items() if n >= episode}
            peer.over.clear()

    def take_inputs(self) -> None:
        """Inputs of the episode at hand have a place to go from here on."""
        for peer in self:
            peer.endpoint.limit = MAX_AHEAD

    def send(self, out: Outbox, counters: MatchCounters, *, now: float, idle: bool) -> None:
        """Put what is due into the outbox and count it."""
        for peer in self:
            for data in peer.endpoint.datagrams_to_send(now=now, idle=idle):
                out.datagrams.append((peer.id, data))
                counters.datagrams_sent += 1
                counters.datagram_bytes_sent += len(data)
        self.send_control(out, counters)

    def send_control(self, out: Outbox, counters: MatchCounters) -> None:
        """Put only queued control messages into the outbox."""
        for peer in self:
            for data in peer.endpoint.control_to_send():
                out.control.append((peer.id, data))
                counters.control_sent += 1

    @property
    def rtt(self) -> float | None:
        """Longest of the newest round trip times, seconds."""
        return max((p.endpoint.rtt for p in self if p.endpoint.rtt is not None), default=None)

    @property
    def owe_acknowledgement(self) -> bool:
        """True while a peer that is still here has not acknowledged every control message."""
        return any(p.endpoint.open_control for p in self if p.left is None and not p.gone)

    def stretch(self) -> float:
        """Return the factor for the next frame's duration: the median over the peers that are heard."""
        factors = [p.pacer.stretch(p.endpoint.lead, p.endpoint.peer_lead) for p in self if _is_heard(p)]
        return median(factors) if factors else 1.0


def _is_heard(peer: Peer) -> bool:
    return peer.endpoint.silence == "heard"


def _make_peer(plan: MatchPlan, peer_id: int, *, now: float) -> Peer:
    """Return the peer with its endpoint, which checks every input against the environment's action space."""
    seats = plan.peers[peer_id]
    spaces = plan.env["action_spaces"]

    def is_valid(index: int, value: bytes) -> bool:
        if value[0] & ~UNFOCUSED:
            return False
        try:
            decode_action(spaces[seats[index]], value[1:])
        except RemoteProtocolError:
            return False
        return True

    config = EndpointConfig(
        connection=plan.connection_id(peer_id),
        local_width=sum(len(plan.neutral_input(seat)) for seat in plan.local_seats),
        remote_widths=tuple(len(plan.neutral_input(seat)) for seat in seats),
        is_valid=is_valid,
    )
    return Peer(peer_id, seats, Endpoint(config, now=now))


def first_difference(ours: Iterable[tuple[int, bytes]], theirs: Checksums) -> tuple[int, bytes, bytes] | None:
    """Return ``(frame, our checksum, their checksum)`` of the first frame that both sides kept and that differs."""
    for frame, checksum in ours:
        index = frame - theirs.first_frame
        if 0 <= index < len(theirs.checksums) and theirs.checksums[index] != checksum:
            return frame, checksum, theirs.checksums[index]
    return None
