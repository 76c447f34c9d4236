"""The telemetry of one match: everything that is counted, and the trace while one is made.

The match calls one method where something happens; what endpoints count themselves is read from them. Nothing here
decides anything. Where the match is called from outside it tells the time, with :meth:`MatchTelemetry.tick`,
:meth:`~MatchTelemetry.received`, :meth:`~MatchTelemetry.batch_back` or :attr:`MatchTelemetry.now`; whatever is reported
until the next such call happened then.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from p2pclient.telemetry.counters import MatchCounters, PeerCounters
from p2pclient.telemetry.histogram import PENDING, Histogram
from p2pclient.telemetry.observed import Conversation, Decision
from p2pclient.telemetry.report import MatchReport, report_peer
from p2pclient.telemetry.trace import EVENTS_KEPT, PLAY, MatchTrace, Track


class MatchTelemetry:
    """Counters, histograms and, while one is wanted, a trace.

    Args:
        conversations: with the peers, by id.
        phase: in which the match begins.
        now: seconds.
    """

    def __init__(self, conversations: Mapping[int, Conversation], *, phase: str, now: float) -> None:
        self.counters = MatchCounters()
        self.peers: dict[int, PeerCounters] = {}
        """By id, those who are lost included."""
        self._sampled: dict[int, PeerCounters] = {}
        for peer, conversation in conversations.items():
            self.add_peer(peer, conversation)
        self.depth = Histogram()
        self.lag = Histogram()
        """Frames simulated and not confirmed, at every tick of play."""
        self.tick_ms = Histogram()
        self.batch_ms = Histogram()
        self.host_ms = Histogram()
        self.command_us: defaultdict[str, Histogram] = defaultdict(Histogram)
        """By command, such as ``step``: what each one took in the host."""
        self.now = now
        """The newest time that was told, seconds."""
        self.trace: MatchTrace | None = None
        """Set by :meth:`start_trace`; None again to stop."""
        self._began = now
        self._phase = phase
        self._episode = 0
        self._phase_since = now
        self._phase_seconds: dict[str, float] = {}
        self._ticked_at: float | None = None
        self._stalled = False
        self._stall_began = now
        self._batch_since: float | None = None
        self._batch: Sequence[Sequence[Any]] = ()
        self._batch_of_play = False

    def start_trace(self, process: int, *, now: float, limit: int = EVENTS_KEPT) -> MatchTrace:
        """Trace from now on.

        Args:
            process: number of this side, from 1: its own id among the peers plus 1.
            limit: events kept.
        """
        self.now = now
        self.trace = MatchTrace(process, limit=limit)
        self._trace_phase()
        return self.trace

    # -- time ---------------------------------------------------------------------------------------------------

    def tick(self, *, now: float, owed: int = 1) -> None:
        """A tick begins; before anything else in it."""
        self.now = now
        if owed > 1:
            self.counters.late_ticks += 1
        if self._phase == PLAY:
            if self._ticked_at is not None:
                self.tick_ms.pending.append((now - self._ticked_at) * 1000)
            self._ticked_at = now
        if self.trace is not None:
            self.trace.begin(Track.TICKS, "tick", now=now, owed=owed)

    def phase(self, name: str, episode: int) -> None:
        """The match goes on to another phase."""
        self._phase_seconds = self._phases(self.now)
        self._phase, self._episode, self._phase_since = name, episode, self.now
        self._ticked_at = None
        self._end_stall()
        self._trace_phase()

    def _phases(self, now: float) -> dict[str, float]:
        """Seconds by phase, the one at hand included."""
        spent = dict(self._phase_seconds)
        spent[self._phase] = spent.get(self._phase, 0.0) + now - self._phase_since
        return spent

    def _trace_phase(self) -> None:
        if self.trace is not None:
            self.trace.begin(Track.PHASES, self._phase, now=self.now, episode=self._episode)

    # -- play ---------------------------------------------------------------------------------------------------

    def played(self, decision: Decision, *, frame: int, confirmed: int, window: int, delay: int) -> None:
        """The session has decided a tick, and every endpoint's lead is set. Before the batch leaves.

        Args:
            frame: the session's current frame after it.
            confirmed: newest confirmed frame.
            window: prediction window that holds.
            delay: input delay that holds here, frames.
        """
        counters = self.counters
        counters.count_decision(decision)
        counters.windows[window] += 1
        counters.delays[delay] += 1
        # Under an input delay, frames are confirmed before they are simulated.
        lag = frame - 1 - confirmed if frame > confirmed else 0
        self.lag.pending.append(lag)
        if len(self.lag.pending) >= PENDING:
            self._sort_in()
        if decision.depth:
            self.depth.add(decision.depth)
        if decision.stalled:
            self._begin_stall()
        elif self._stalled:
            self._end_stall()
        trace, now = self.trace, self.now
        for number, peer in self._sampled.items():
            is_due = peer.sample()
            if trace is not None:
                _show_peer(trace, number, peer.conversation, is_due, now)
        if trace is not None:
            first = frame - decision.advanced
            trace.add_details(Track.TICKS, frame=first, advanced=decision.advanced)
            _trace_rollback(trace, decision, first - decision.depth, now)
            trace.show("confirmation lag", lag, now=now)
            trace.show("window", window, now=now)
            trace.show("input delay", delay, now=now)

    def _sort_in(self) -> None:
        """Keep small what is sampled in every tick of play, or less often."""
        for histogram in (self.lag, self.tick_ms, self.batch_ms, self.host_ms, *self.command_us.values()):
            histogram.sort_in()
        for peer in self._sampled.values():
            peer.sort_in()

    def _begin_stall(self) -> None:
        if not self._stalled:
            self._stalled, self._stall_began = True, self.now
            self.counters.stall_spells += 1
            if self.trace is not None:
                self.trace.begin(Track.STALLS, "stall", now=self.now)

    def _end_stall(self) -> None:
        if self._stalled:
            self._stalled = False
            lasted = self.now - self._stall_began
            self.counters.stalled_seconds += lasted
            self.counters.longest_stall = max(self.counters.longest_stall, lasted)
            if self.trace is not None:
                self.trace.end(Track.STALLS, now=self.now)

    def overrun(self) -> None:
        """The host is still busy at a tick of play."""
        self.counters.overruns += 1
        if self.trace is not None:
            self.trace.mark(Track.TICKS, "overrun", {}, now=self.now)

    # -- the environment's host ---------------------------------------------------------------------------------

    def batch_out(self, commands: Sequence[Sequence[Any]]) -> None:
        """A batch leaves for the host."""
        self._batch_since, self._batch_of_play = self.now, self._phase == PLAY
        self._batch = commands
        if self.trace is not None:
            counts = Counter(str(command[0]) for command in commands)
            self.trace.begin(Track.BATCHES, "batch", now=self.now, commands=dict(counts))

    def batch_back(self, *, now: float, costs_us: Sequence[int] = ()) -> None:
        """Its reply is here, or it failed; before what follows from it.

        Args:
            costs_us: what each command took in the host, as far as it is known.
        """
        self.now = now
        if self._batch_since is not None and self._batch_of_play:
            self.batch_ms.pending.append((now - self._batch_since) * 1000)
            if costs_us:
                self.host_ms.pending.append(sum(costs_us) / 1000)
                command_us = self.command_us
                for command, cost in zip(self._batch, costs_us, strict=False):
                    command_us[command[0]].pending.append(cost)
        self._batch_since = None
        if self.trace is not None:
            self.trace.end(Track.BATCHES, now=now, host_us=sum(costs_us))
            self.trace.end(Track.ROLLBACKS, now=now)

    # -- peers --------------------------------------------------------------------------------------------------

    def add_peer(self, peer: int, conversation: Conversation) -> None:
        """Somebody comes later; whoever comes back with a new conversation begins anew."""
        self.peers[peer] = self._sampled[peer] = PeerCounters(conversation)

    def lose_peer(self, peer: int) -> None:
        """The match goes on without this peer: its figures stay, and no more are sampled."""
        self._sampled.pop(peer, None)

    def sent(self, peer: int, data: bytes) -> None:
        """A datagram leaves."""
        self.counters.datagrams_sent += 1
        self.counters.datagram_bytes_sent += len(data)
        if self.trace is not None:
            self.trace.mark(Track.SENT + peer, "datagram", {"bytes": len(data)}, now=self.now)

    def sent_control(self, peer: int, data: bytes) -> None:
        """A control message leaves."""
        self.counters.control_sent += 1
        self.counters.control_bytes_sent += len(data)
        if self.trace is not None:
            self.trace.mark(Track.SENT + peer, "control", {"bytes": len(data)}, now=self.now)

    def received(self, peer: int, channel: str, data: bytes, *, now: float) -> None:
        """Bytes arrived; the conversation counts them."""
        self.now = now
        if self.trace is not None:
            name = "datagram" if channel == "inputs" else "control"
            self.trace.mark(Track.RECEIVED + peer, name, {"bytes": len(data)}, now=now)

    def silence(self, peer: int, level: str) -> None:
        """A peer has not been heard for a while, or is heard again: ``heard``, ``notice`` or ``lost``."""
        if level != "heard":
            self.peers[peer].silences[level] += 1

    def mark(self, name: str, details: Mapping[str, Any]) -> None:
        """Something that a person who looks at the trace wants to see: a desync, a change of delay, a lost peer."""
        if self.trace is not None:
            self.trace.mark(Track.PHASES, name, details, now=self.now)

    # -- what comes of it ---------------------------------------------------------------------------------------

    @property
    def rtt_ms(self) -> Histogram:
        """Round trip times to all peers."""
        return Histogram().include(peer.rtt_ms for peer in self.peers.values())

    def report(self, *, now: float) -> MatchReport:
        """Return everything up to now."""
        counters = self.counters
        phases = self._phases(now)
        stalled = now - self._stall_began if self._stalled else 0.0
        data = counters.as_data()
        data["stalled_seconds"] += stalled
        data["longest_stall"] = max(counters.longest_stall, stalled)
        seconds, played = now - self._began, phases.get(PLAY, 0.0) - counters.paused_seconds
        return MatchReport(
            seconds=seconds,
            phase_seconds=phases,
            counters=data,
            frames_per_s=_rate(counters.frames, played),
            resimulated_per_100=_rate(100 * counters.resimulated, counters.frames),
            rollbacks_per_100=_rate(100 * counters.rollbacks, counters.frames),
            stalls_per_minute=_rate(60 * counters.stall_spells, played),
            messages_per_s=_rate(counters.datagrams_sent + counters.control_sent, seconds),
            bytes_per_s=_rate(counters.datagram_bytes_sent + counters.control_bytes_sent, seconds),
            depth=self.depth.summary(),
            lag=self.lag.summary(),
            tick_ms=self.tick_ms.summary(),
            batch_ms=self.batch_ms.summary(),
            host_ms=self.host_ms.summary(),
            command_us={name: each.summary() for name, each in sorted(self.command_us.items())},
            peers={str(number): report_peer(peer) for number, peer in self.peers.items()},
        )


def _trace_rollback(trace: MatchTrace, decision: Decision, first_frame: int, now: float) -> None:
    if decision.depth:
        trace.begin(
            Track.ROLLBACKS,
            f"rollback {decision.depth}",
            now=now,
            seats=list(decision.cause),
            first_frame=first_frame,
            depth=decision.depth,
            resimulated=decision.resimulated,
        )


def _show_peer(trace: MatchTrace, number: int, conversation: Conversation, is_due: bool, now: float) -> None:
    if conversation.lead is not None:
        trace.show(f"lead over {number}", conversation.lead, now=now)
    rtt = conversation.stats.rtt
    if is_due and rtt is not None:
        trace.show(f"round trip to {number}, ms", round(rtt * 1000, 2), now=now)


def _rate(count: float, of: float) -> float:
    return round(count / of, 4) if of else 0.0
