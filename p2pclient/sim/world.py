"""The world of one simulated match: a heap of events, the paths between the peers, and what goes wrong when.

Nothing here decides anything about the match; it carries out what the state machines say, in virtual time, exactly as
the client's loop does in real time: datagrams leave at once, batches take as long as the model says, ticks come when
:class:`p2pclient.runtime.ticker.Ticker` would wake, and a program that stands still finds everything waiting.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from copy import copy
from functools import partial
from hashlib import blake2b
from itertools import count
from struct import Struct
from typing import Any

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.sides import Sides
from p2pclient.match.plan import Desync, Ended, GrantWanted, Outbox, PeerRejoined, Phase, PhaseChanged
from p2pclient.protocol.control import ChangeKind
from p2pclient.recorder.records import (
    EpisodeEnded,
    EpisodeStarted,
    EventRecorded,
    FrameRecorded,
    FramesVerified,
    FramesWithdrawn,
    FrameTimed,
)
from p2pclient.rollback.session import RollbackSession
from p2pclient.sim.audience import FIRST_SPECTATOR, SimulatedSpectator, begin_watching
from p2pclient.sim.network import Link, Spell
from p2pclient.sim.peer import FOREVER, SimulatedPeer
from p2pclient.sim.restarts import Restarts
from p2pclient.sim.scenario import ASKS, HOST_FAULTS, RECONNECT, SPELLS, TERMINAL, Fault, Scenario, SpectatorSpec
from p2pclient.telemetry.chrome import chrome_trace

GOODBYE_SECONDS = 1.0
"""After its end a side still repeats its goodbye for so long."""
STANDSTILL_SECONDS = 20.0
"""A side that moves by nothing for this long beyond ``drop_after`` hangs: no fault lasts as long."""
_SAMPLE_SECONDS = 0.1
_ANSWER_SECONDS = 0.05
"""Until the server answers whether a part of the players may go on."""
_MOST_OWED = 4096
_CALM_SECONDS = 2.0
"""A fault counts as healed if no other begins this soon after it."""
_ASK_SECONDS = 1.0
"""Between two requests to resume."""
_FLUSH = 1 << 16
_PACK_FRAME = Struct("<BII").pack
_PLAYING, _DIVERGED = Phase.PLAYING, Phase.DIVERGED  # a name is found sooner than a member of an enum
_TICK, _REPLY, _DATAGRAM, _CONTROL, _CALL, _LOST, _HOST = range(7)
_ARRIVALS = (_DATAGRAM, _CONTROL)
_HANG_SECONDS = 1.0
"""What a batch is given at least until its host counts as hung."""


class World:
    """One match in virtual time.

    Args:
        scenario: what is simulated; the same one gives the same trace.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.now = 0.0
        self.peers = [SimulatedPeer(scenario, own) for own in range(scenario.players)]
        self.spectators: list[SimulatedSpectator] = []
        self.hung = False
        self.apart: list[tuple[float, float]] = []
        """``(time, frames)``: how far the foremost peer is ahead of the last one, while all play."""
        self.healed_at: list[float] = []
        """When faults of the network or of a program were over."""
        self.recoveries: list[float] = []
        """Seconds from there until every peer had recorded a new frame."""
        self.largest_datagram = 0
        self._heap: list[tuple[float, int, int, int, Any, Any]] = []
        self._order = count()
        self._links = self._make_links()
        self._clients: dict[int, SimulatedPeer | SimulatedSpectator] = {peer.own: peer for peer in self.peers}
        self._pack_rewards = Struct(f"<{scenario.seats}d").pack
        self._trace, self._digest = bytearray(), blake2b(digest_size=16)
        self._restarts = Restarts(
            scenario, self.peers, call=self._call, tell_gone=self._tell_gone, order=self._order, start=self._start_again
        )
        self._sides = Sides({str(peer.own): scenario.seats_per_peer for peer in self.peers})
        self._waiting_for_start = scenario.start_offset_frames is not None
        for peer in self.peers:
            self._push(peer.begins_at, _TICK, peer.own)
        for fault in scenario.faults:
            self._plan_fault(fault)
        for spec in scenario.spectators:
            self._call(spec.at, partial(self._begin_spectator, spec))
        self._call(_SAMPLE_SECONDS, self._sample)

    def start_traces(self) -> None:
        """Have every peer's match make a trace of its own; before :meth:`run`."""
        for peer in self.peers:
            peer.match.telemetry.start_trace(peer.own + 1, now=peer.local_time(0.0))

    def take_traces(self) -> list[bytes]:
        """Return the traces, one Chrome trace file per peer, each on the peer's own clock."""
        files = []
        for peer in self.peers:
            trace = peer.match.telemetry.trace
            if trace is not None:
                events = trace.finish(now=peer.local_time(self.now))
                files.append(chrome_trace(events, {peer.own + 1: f"peer {peer.own}"}))
        return files

    # -- set up -------------------------------------------------------------------------------------------------

    def _make_links(self) -> dict[tuple[int, int], Link]:
        every = range(self.scenario.players)
        return {(a, b): self._make_link(a, b) for a in every for b in every if a != b}

    def _make_link(self, a: int, b: int) -> Link:
        scenario = self.scenario
        spec = scenario.link if a < b or scenario.back is None else scenario.back
        kinds = {RECONNECT: "outage"}
        spells = tuple(
            Spell(kinds.get(f.kind, f.kind), f.at, f.at + f.seconds, f.amount)
            for f in scenario.faults
            if _concerns(f, a, b)
        )
        return Link(spec, seed=f"{scenario.seed}/{a}/{b}", spells=spells)

    def _begin_spectator(self, spec: SpectatorSpec) -> None:
        own = FIRST_SPECTATOR + len(self.spectators)
        spectator = begin_watching(self.scenario, spec, own, self.peers, now=self.now, connect=self._connect)
        if spectator is not None:
            self.spectators.append(spectator)
            self._clients[own] = spectator
            self._push(self.now, _TICK, own)

    def _connect(self, a: int, b: int) -> None:
        for pair in ((a, b), (b, a)):
            self._links[pair] = self._make_link(*pair)

    def _plan_fault(self, fault: Fault) -> None:
        peer, end = self.peers[fault.peer], fault.at + fault.seconds
        if fault.kind in ("outage", "hold", "pause", RECONNECT):
            self._call(end, lambda: self._heal(end))
        if fault.kind == RECONNECT:
            self._call(end, lambda: self._reconnect(fault))
            return
        if fault.kind in SPELLS:
            return
        if fault.kind == "pause":
            peer.pauses.append((fault.at, end))
        elif fault.kind == "slow":
            self._call(fault.at, lambda: peer.charge(fault.amount))
            self._call(end, peer.charge)
        elif fault.kind == "leave":
            self._call(fault.at, lambda: self._leave(peer))
        elif fault.kind == "crash":
            self._call(fault.at, lambda: self._crash(peer))
            if fault.amount:
                self._call(fault.at + fault.amount, lambda: self._tell_gone(peer))
        elif fault.kind == "kill":
            self._restarts.plan(fault)
        elif fault.kind in ASKS:
            self._plan_change(peer, fault)
        elif fault.kind in HOST_FAULTS:
            self._call(fault.at, lambda: peer.host_faults.append(fault))
        elif fault.kind == "return":
            self._call(fault.at, lambda: self._return(peer, SpectatorSpec(fault.at, int(fault.amount))))
        else:
            peer.corrupt(fault.kind, int(fault.amount))

    def _reconnect(self, fault: Fault) -> None:
        """Another connection takes the place of the one between two players, or of all of a player's."""
        players = range(self.scenario.players)
        pairs = {frozenset((a, b)) for a in players for b in players if a != b and _concerns(fault, a, b)}
        self._heap[:] = [
            event for event in self._heap if event[2] != _CONTROL or frozenset((event[3], event[4])) not in pairs
        ]
        heapq.heapify(self._heap)
        for a, b in ((a, b) for a in players for b in players if frozenset((a, b)) in pairs):
            self._links[a, b].replace()
            other = self.peers[a].match.peers.get(b)
            if other is not None:
                other.endpoint.resend_control()

    def _plan_change(self, peer: SimulatedPeer, fault: Fault) -> None:
        if fault.kind == "ask-pause":
            self._call(fault.at, lambda: _ask(peer, "pause", reason=f"at {fault.at}"))
            self._call(fault.at + fault.seconds, self._ask_to_resume)
        elif fault.kind == "ask-end":
            self._call(fault.at, lambda: _ask(peer, "end", reason="enough"))
        else:
            self._call(fault.at, lambda: _ask(peer, "extend", frames=int(fault.amount)))

    def _ask_to_resume(self) -> None:
        """Everybody asks, and again: a pause may be agreed on late, when its end was asked for already."""
        alive = [peer for peer in self.peers if not peer.is_done]
        for peer in alive:
            _ask(peer, "resume")
        if alive:
            self._call(self.now + _ASK_SECONDS, self._ask_to_resume)

    def _leave(self, peer: SimulatedPeer) -> None:
        if peer.match.ended is None and not peer.is_done:
            self._carry_out(peer, peer.match.leave(now=peer.local_time(self.now)))

    def _crash(self, peer: SimulatedPeer) -> None:
        if not peer.is_done:
            peer.has_crashed, peer.done_at = True, self.now

    def _return(self, peer: SimulatedPeer, spec: SpectatorSpec) -> None:
        if peer.has_crashed:
            self._begin_spectator(spec)

    def _start_again(self, peer: SimulatedPeer, at: float) -> None:
        self._push(at, _TICK, peer.own)

    def _tell_gone(self, gone: SimulatedPeer) -> None:
        for client in self._clients.values():
            if client.done_at == FOREVER and client is not gone:
                client.match.peer_gone(gone.own)

    def _heal(self, at: float) -> None:
        """A fault is over. If nothing else is wrong then and soon after, play has to go on."""
        faults = self.scenario.faults
        soon = at + _CALM_SECONDS
        disturbed = any(f.at < soon and (at < f.at + f.seconds or f.kind in TERMINAL) for f in faults)
        if not disturbed and all(peer.match.phase is Phase.PLAYING for peer in self.peers):
            self.healed_at.append(at)

    # -- events -------------------------------------------------------------------------------------------------

    def _push(self, when: float, kind: int, own: int, a: Any = None, b: Any = None) -> None:
        heapq.heappush(self._heap, (when, next(self._order), kind, own, a, b))

    def _call(self, when: float, function: Callable[[], None]) -> None:
        self._push(when, _CALL, 0, function)

    def run(self) -> None:
        """Let time pass until every side is through or gone, or one hangs."""
        heap, clients, pop, restarts = self._heap, self._clients, heapq.heappop, self._restarts
        while heap and not self.hung:
            now, order, kind, own, a, b = event = pop(heap)
            self.now = now
            if kind == _CALL:
                a()
                continue
            peer = clients[own]
            if peer.done_at < FOREVER:
                if kind == _TICK and all(other.done_at < FOREVER for other in clients.values()):
                    break
                continue
            if peer.is_down or (restarts.cuts and restarts.is_lost(order, a if kind in _ARRIVALS else own, own)):
                continue
            if now < peer.starts_at and kind in _ARRIVALS:
                self._push(peer.starts_at, *event[2:])
                continue
            if peer.pauses and peer.paused_until(now):
                self._push(peer.paused_until(now), *event[2:])
                continue
            if kind == _TICK:
                if isinstance(peer, SimulatedSpectator):
                    self._tick_spectator(peer)
                else:
                    self._tick(peer)
            elif kind == _DATAGRAM:
                peer.match.receive(a, "inputs", b, now=peer.offset + now * peer.rate)
            elif kind in (_LOST, _HOST):
                self._tell_of_host(peer, kind, a)
            elif kind == _REPLY:
                self._carry_out(peer, peer.match.batch_done(a, costs_us=b, now=peer.offset + now * peer.rate))
            else:
                peer.match.receive(a, "control", b, now=peer.offset + now * peer.rate)
        self.now = min(self.now, max(p.done_at for p in self.peers)) if not self.hung else self.now
        for peer in self.peers:
            peer.meter.close_episode()

    def _tick(self, peer: SimulatedPeer) -> None:
        now = self.now
        if now < peer.held_until:
            if peer.held_until < FOREVER:
                self._push(peer.held_until, _TICK, peer.own)
                peer.due = peer.local_time(peer.held_until)
            return
        match = peer.match
        local = peer.offset + now * peer.rate
        seconds = match.frame_duration()
        owed = 1
        if local > peer.due:
            owed = min(1 + int((local - peer.due) / seconds), _MOST_OWED)
        peer.due = max(peer.due, local - seconds) + seconds if owed == 1 else local + seconds
        episode, was_out = (match.episode, match.is_batch_out) if match.phase is _PLAYING else (None, False)
        before = episode.session.current_frame if episode is not None else 0
        peer.stood_at = match.number, before
        self._carry_out(peer, match.tick(now=local, owed=owed))
        if match.phase is _PLAYING:
            if episode is not None:
                self._measure(peer, episode.session, before, was_out)
        elif match.ended is not None and not match.is_batch_out and self._is_over(peer):
            peer.done_at = now
        # On its own clock, so that what is due never drifts by rounding.
        due = (peer.due - peer.offset) / peer.rate
        self._push(due if due > now else now, _TICK, peer.own)

    def _tick_spectator(self, spectator: SimulatedSpectator) -> None:
        self._carry_out(spectator, spectator.tick(self.now))
        self._push(self.now + spectator.match.frame_duration(), _TICK, spectator.own)

    def _measure(self, peer: SimulatedPeer, session: RollbackSession, before: int, was_out: bool) -> None:
        meter = peer.meter
        frame, confirmed = session.current_frame, session.confirmed_frame
        meter.note_tick(before, frame, self.now)
        meter.lags[frame - 1 - confirmed if confirmed < frame else 0] += 1
        if frame == before and not was_out and not peer.match.stalled:
            meter.skipped += session.frame_limit is None or frame < session.frame_limit

    def _is_over(self, peer: SimulatedPeer) -> bool:
        return not peer.match.owes_acknowledgement or self.now - peer.moved_at > GOODBYE_SECONDS

    # -- what a side decided ------------------------------------------------------------------------------------

    def _carry_out(self, peer: SimulatedPeer | SimulatedSpectator, out: Outbox) -> None:
        """Carry out what a client decided. The trace tells of the players only, whoever looks on."""
        if isinstance(peer, SimulatedSpectator):
            self._send(peer.own, out)
            peer.take(out, self.now)
            if out.batch is not None:
                results, costs, seconds = peer.host.run(out.batch)
                self._push(self.now + seconds, _REPLY, peer.own, results, costs)
            return
        now, own, trace, links = self.now, peer.own, self._trace, self._links
        if self.spectators:
            out = self._send_to_spectators(own, out)
        for other, data in out.datagrams:
            size = len(data)
            if size > self.largest_datagram:
                self.largest_datagram = size
            trace += data
            for when in links[own, other].plan(now, size):
                self._push(when, _DATAGRAM, other, own, data)
        for other, data in out.control:
            trace += data
            self._push(links[own, other].plan_control(now), _CONTROL, other, own, data)
        for record in out.records:
            if type(record) is FrameRecorded:
                peer.recording.frames.append(record)
                peer.moved_at = now
                trace += _PACK_FRAME(own, record.episode, record.frame)
                trace += record.checksum
                trace += b"".join(record.inputs)
                trace += self._pack_rewards(*record.rewards)
            elif type(record) is FramesVerified:
                peer.recording.verified[record.episode] = record.frame
            elif type(record) is not FrameTimed:
                self._take_record(peer, record)
        for event in out.events:
            self._take_event(peer, event)
        if out.wants_host:
            self._push(now + peer.restart_seconds, _HOST, own)
        if out.batch is not None:
            if peer.match.phase is _DIVERGED:
                peer.heal_before(out.batch)
            if peer.host_faults:
                self._fail(peer, out.batch, peer.host_faults.pop(0))
            else:
                results, costs, seconds = peer.host.run(out.batch)
                self._push(now + seconds, _REPLY, own, results, costs)
        if len(trace) > _FLUSH:
            self._digest.update(trace)
            trace.clear()

    def _fail(self, peer: SimulatedPeer, batch: list[list[Any]], fault: Fault) -> None:
        """The peer's environment fails somewhere in a batch."""
        done = batch[: len(batch) // 2]
        seconds = _HANG_SECONDS if fault.kind == "host-hangs" else peer.host.run(done)[2]
        peer.restart_seconds = fault.seconds
        self._push(self.now + seconds, _LOST, peer.own, fault.kind)

    def _tell_of_host(self, peer: SimulatedPeer | SimulatedSpectator, kind: int, how: str) -> None:
        assert isinstance(peer, SimulatedPeer)
        now = peer.local_time(self.now)
        if kind == _LOST:
            self._carry_out(peer, peer.match.host_lost(how, is_gone=how != "host-raises", now=now))
        else:
            peer.renew_host()
            self._carry_out(peer, peer.match.host_ready(peer.match.plan.env, now=now))

    def _send_to_spectators(self, own: int, out: Outbox) -> Outbox:
        """Send what goes to spectators; return the rest."""
        mine, theirs = copy(out), Outbox()
        for name in ("datagrams", "control"):
            every = getattr(out, name)
            setattr(mine, name, [each for each in every if each[0] < FIRST_SPECTATOR])
            setattr(theirs, name, [each for each in every if each[0] >= FIRST_SPECTATOR])
        self._send(own, theirs)
        return mine

    def _send(self, own: int, out: Outbox) -> None:
        for other, data in out.datagrams:
            for when in self._links[own, other].plan(self.now, len(data)):
                self._push(when, _DATAGRAM, other, own, data)
        for other, data in out.control:
            self._push(self._links[own, other].plan_control(self.now), _CONTROL, other, own, data)

    def _take_record(self, peer: SimulatedPeer, record: Any) -> None:
        recording = peer.recording
        if isinstance(record, EpisodeStarted):
            recording.starts.append(record)
        elif isinstance(record, EpisodeEnded):
            recording.ends.append(record)
        elif isinstance(record, FramesWithdrawn):
            recording.withdraw(record.episode, record.first_frame)
        elif isinstance(record, EventRecorded) and record.name == "input-delay":
            peer.players[record.details["seat"]].delay_changed()
        elif isinstance(record, EventRecorded) and record.name in ("pause", "resume"):
            recording.note_pause(record, peer.stood_at)
            peer.moved_at = self.now

    def _take_event(self, peer: SimulatedPeer, event: Any) -> None:
        if isinstance(event, PhaseChanged):
            peer.moved_at = self.now
            self._trace += repr((peer.own, event.phase.value, event.episode, self.now)).encode()
            if self._waiting_for_start and event.phase is Phase.PLAYING:
                self._hold_start(peer)
        elif isinstance(event, PeerRejoined):
            if event.peer == peer.own:
                self._restarts.rejoined(peer, event)
        elif isinstance(event, Desync):
            peer.desyncs.append(event)
        elif isinstance(event, Ended):
            peer.moved_at = self.now
        elif isinstance(event, GrantWanted):
            self._call(self.now + _ANSWER_SECONDS, partial(self._answer_grant, peer, event.living))

    def _answer_grant(self, peer: SimulatedPeer, living: tuple[int, ...]) -> None:
        """Decide as the server does: it knows who is through, and of who has crashed nothing."""
        through = frozenset(str(each.own) for each in self.peers if each.match.ended is not None)
        is_granted = self._sides.ask(str(peer.own), frozenset(map(str, living)), through)
        if not peer.is_done:
            peer.match.drops.answer(living, is_granted=is_granted, now=peer.local_time(self.now))

    def _hold_start(self, peer: SimulatedPeer) -> None:
        """Let the others begin their share of the offset after the first one, whatever the barrier's order was."""
        if peer.own:
            peer.held_until = FOREVER
            return
        self._waiting_for_start = False
        offset = self.scenario.start_offset_frames or 0.0
        for other in self.peers[1:]:
            share = other.own / (len(self.peers) - 1)
            is_waiting = other.held_until == FOREVER
            # Who waits has run its frame 0 in the tick that found the barrier open.
            other.held_until = self.now + (offset * share + is_waiting) / self.scenario.rate_hz
            if is_waiting:
                self._push(other.held_until, _TICK, other.own)
                other.due = other.local_time(other.held_until)

    # -- looking on ---------------------------------------------------------------------------------------------

    def _sample(self) -> None:
        now, alive = self.now, [peer for peer in self.peers if not peer.is_done]
        if not alive:
            return
        positions = [peer.position(now) for peer in alive]
        is_one_episode = len({peer.match.number for peer in alive}) == 1
        if len(alive) == len(self.peers) and None not in positions and is_one_episode:
            known = [position for position in positions if position is not None]
            self.apart.append((now, max(known) - min(known)))
        if self.healed_at and all(peer.moved_at > self.healed_at[0] for peer in alive):
            self.recoveries.append(now - self.healed_at.pop(0))
        patience = STANDSTILL_SECONDS + self.scenario.drop_after
        self.hung = any(now - peer.moved_at > patience for peer in alive)
        self._call(now + _SAMPLE_SECONDS, self._sample)

    @property
    def trace_hash(self) -> str:
        """Hash over everything that was sent, recorded and decided."""
        digest = self._digest.copy()
        digest.update(self._trace)
        return digest.hexdigest()


def _ask(peer: SimulatedPeer, kind: ChangeKind, *, reason: str = "", frames: int = 0) -> None:
    """Have a peer ask for a change, if its match is not over and can have it."""
    if not peer.is_done:
        try:
            peer.match.changes.wish(kind, reason=reason, frames=frames)
        except LocalMisuseError:
            peer.refused += 1


def _concerns(fault: Fault, a: int, b: int) -> bool:
    if fault.kind not in SPELLS and fault.kind != RECONNECT:
        return False
    return (fault.peer, fault.other) == (a, b) if fault.other >= 0 else fault.peer in (a, b)
