"""Who measures the network to whom, and what came of it. Pure.

Candidates probe each other over a DataChannel like the one of a match, before they are matched or when a researcher
asks for it. The coordinator starts probes, passes their descriptions, checks what both ends tell, and keeps it for a
while.

1. A participant is in at most one probe at a time, and at most ``at_once`` probes run in all. Others wait in a queue.
2. Every probe ends: each of its states has a time-out. Whoever was asked and has not answered is told that it is over.
3. Descriptions of a probe pass between its two members: one offer, then one answer.
4. A measurement needs both ends. What they tell must be possible, and must agree; the worse of the two counts.
5. Nothing is kept of who is gone.

Methods return what is to be done, in order; the client of a :class:`~signaling.effects.Send` is a participant's id.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import combinations

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.lobby_messages import refusal
from p2pclient.common.probe_messages import ProbeCancel, ProbeResult, ProbeSignal, ProbeStart
from signaling.effects import Effect, Noted, Send
from signaling.probe_records import (
    MOVES,
    Failed,
    Matrix,
    Measured,
    Outcome,
    Pair,
    Probe,
    ProbeRules,
    ProbeState,
    Reason,
    agreed,
    matrix,
    pair_of,
    probe_row,
)
from signaling.rows import ProbeRow

MOST_ROWS = 400
"""Pairs that the console is shown: all of 28 participants."""

_REASONS: Mapping[str, Reason] = {"no-path": "no-path", "timeout": "timeout", "left": "left", "busy": "refused"}
"""By what a client says."""


class Probes:
    """See the module's docstring for the rules. All members are named by ids that are never used again."""

    def __init__(self, rules: ProbeRules | None = None) -> None:
        self._rules = rules or ProbeRules()
        self._queue: dict[Pair, None] = {}
        """In order of arrival."""
        self._running: dict[str, Probe] = {}
        self._in: dict[str, Probe] = {}
        """By member."""
        self._outcomes: dict[Pair, Outcome] = {}
        """The oldest first."""
        self._made = 0

    # -- what can be asked --------------------------------------------------------------------------------------------

    @property
    def members(self) -> set[str]:
        """Everybody who is in a probe or waits for one."""
        return {*self._in, *(member for pair in self._queue for member in pair)}

    @property
    def known(self) -> set[str]:
        """Everybody of whom anything is kept."""
        return {*self.members, *(member for pair in self._outcomes for member in pair)}

    @property
    def running(self) -> tuple[Probe, ...]:
        """The probes that are not over, the oldest first."""
        return tuple(self._running.values())

    @property
    def waiting(self) -> int:
        """Pairs in the queue."""
        return len(self._queue)

    def outcome_of(self, a: str, b: str) -> Outcome | None:
        """Return what came of the last probe of two, however long ago; None if there was none, or it is forgotten."""
        return self._outcomes.get(pair_of(a, b))

    def rtt_of(self, a: str, b: str, *, now: float) -> float | None:
        """Return the round trip between two, None unless it was measured within the last ``good_for_s``."""
        found = self._outcomes.get(pair_of(a, b))
        return found.rtt_ms if isinstance(found, Measured) and self._is_fresh(found, now) else None

    def rtts(self, ids: Collection[str], *, now: float) -> dict[frozenset[str], float]:
        """Return the round trips between these, by pair, as :meth:`rtt_of` would."""
        wanted = set(ids)
        return {
            frozenset(pair): found.rtt_ms
            for pair, found in self._outcomes.items()
            if isinstance(found, Measured) and self._is_fresh(found, now) and wanted.issuperset(pair)
        }

    def failures(self, ids: Collection[str], *, now: float) -> dict[frozenset[str], Reason]:
        """Return which pairs of these could not be measured lately, and why; after a while they may be tried again."""
        wanted = set(ids)
        return {
            frozenset(pair): found.reason
            for pair, found in self._outcomes.items()
            if isinstance(found, Failed) and self._is_fresh(found, now) and wanted.issuperset(pair)
        }

    def matrix(self, ids: Iterable[str], *, now: float) -> Matrix:
        """Return how far it is with every pair of these, and what came of it."""
        return matrix(tuple(ids), self._running.values(), self._queue, self._outcomes, now=now)

    def rows(self, *, now: float, epoch: float, most: int = MOST_ROWS) -> tuple[ProbeRow, ...]:
        """Return what the console shows: what is under way first, then the newest; ``epoch`` is ``now`` since 1970."""
        states: dict[Pair, ProbeState] = {probe.pair: probe.state for probe in self._running.values()}
        states |= dict.fromkeys(self._queue, ProbeState.QUEUED)
        pairs = [*states, *(pair for pair in reversed(self._outcomes) if pair not in states)]
        return tuple(probe_row(pair, states.get(pair), self._outcomes.get(pair), epoch - now) for pair in pairs[:most])

    def next_timer(self) -> float | None:
        """Return when :meth:`tick` has something to do at the latest, None for not at all."""
        return min((probe.deadline for probe in self._running.values()), default=None)

    # -- what is wanted -----------------------------------------------------------------------------------------------

    def want(self, pairs: Iterable[tuple[str, str]], *, now: float) -> list[Effect]:
        """Measure these pairs, the first ones first; those that run, wait or have a fresh outcome stay as they are.

        Beyond ``queued`` pairs, they are not taken on; want them again later.
        """
        for a, b in pairs:
            pair = pair_of(a, b)
            found = self._outcomes.get(pair)
            if found is None or not self._is_fresh(found, now):
                self._enqueue(pair)
        return self._start(now)

    def want_all(self, ids: Iterable[str], *, now: float) -> list[Effect]:
        """Measure every pair of these anew; :meth:`matrix` shows how far it is."""
        for a, b in combinations(dict.fromkeys(ids), 2):
            pair = pair_of(a, b)
            self._outcomes.pop(pair, None)
            self._enqueue(pair)
        return self._start(now)

    def _enqueue(self, pair: Pair) -> None:
        is_running = any(probe.pair == pair for probe in self._running.values())
        if not is_running and len(self._queue) < self._rules.queued:
            self._queue.setdefault(pair)

    def _start(self, now: float) -> list[Effect]:
        """Start as many of those that wait as may run, in their order."""
        effects: list[Effect] = []
        for pair in list(self._queue):
            if len(self._running) >= self._rules.at_once:
                break
            if self._in.keys().isdisjoint(pair):
                del self._queue[pair]
                effects += self._begin(pair, now)
        return effects

    def _begin(self, pair: Pair, now: float) -> list[Effect]:
        self._made += 1
        rules = self._rules
        probe = Probe(id=f"probe-{self._made}", pair=pair, started=now, deadline=now + rules.asked_s)
        self._running[probe.id] = probe
        effects: list[Effect] = []
        for member in pair:
            self._in[member] = probe
            start = ProbeStart(
                probe_id=probe.id,
                peer=probe.other(member),
                make_offer=member == probe.offerer,
                samples=rules.samples,
                interval_ms=rules.interval_ms,
            )
            effects.append(Send(member, start))
        return effects

    # -- what the members say -----------------------------------------------------------------------------------------

    def signal(self, member: str, message: ProbeSignal, *, now: float) -> list[Effect]:
        """Pass a description to the other side of a probe.

        Raises:
            SignalingError: ``no-probe`` or ``probe-out-of-turn``.
        """
        probe = self._probe_of(member, message.probe_id)
        turn = {
            (ProbeState.ASKED, "offer"): (probe.offerer, ProbeState.CONNECTING, self._rules.connecting_s),
            (ProbeState.CONNECTING, "answer"): (probe.answerer, ProbeState.MEASURING, self._rules.measuring_s),
        }.get((probe.state, message.description.type))
        if turn is None or turn[0] != member or probe.reports:
            raise refusal("probe-out-of-turn")
        self._enter(probe, turn[1])
        probe.deadline, probe.entered = now + turn[2], now
        return [Send(probe.other(member), message)]

    def result(self, member: str, message: ProbeResult, *, now: float) -> list[Effect]:
        """Take in what one side measured, or why it did not. Only its first word counts.

        Raises:
            SignalingError: ``no-probe``; or ``probe-out-of-turn`` for what cannot have been measured by now.
        """
        probe = self._probe_of(member, message.probe_id)
        if member in probe.reports:
            return []
        if message.failure is not None:
            probe.reports[member] = message
            return [*self._end(probe, Failed(_REASONS[message.failure], now)), *self._start(now)]
        if probe.state is not ProbeState.MEASURING or now - probe.entered < self._rules.shortest_s:
            raise refusal("probe-out-of-turn")
        probe.reports[member] = message
        if len(probe.reports) < 2:
            return []
        return [*self._end(probe, agreed(*probe.reports.values(), now=now)), *self._start(now)]

    def _probe_of(self, member: str, probe_id: str) -> Probe:
        """One answer for what is over, what never was, and what is somebody else's: nobody learns which."""
        probe = self._in.get(member)
        if probe is None or probe.id != probe_id:
            raise refusal("no-probe")
        return probe

    # -- how probes end -----------------------------------------------------------------------------------------------

    def interrupt(self, member: str, *, now: float) -> list[Effect]:
        """A member is here, but cannot be probed now: it plays, or has lost its connection. Harmless twice."""
        self._queue = {pair: None for pair in self._queue if member not in pair}
        probe = self._in.get(member)
        ended = self._end(probe, Failed("left", now)) if probe is not None else []
        return [*ended, *self._start(now)]

    def forget(self, member: str, *, now: float) -> list[Effect]:
        """A member is gone, and everything that was measured with it. Harmless twice."""
        probe = self._in.get(member)
        ended = self._end(probe, Failed("left", now)) if probe is not None else []
        # Nobody is behind its connection any more who could be told.
        effects = [each for each in ended if not (isinstance(each, Send) and each.client == member)]
        self._queue = {pair: None for pair in self._queue if member not in pair}
        self._outcomes = {pair: found for pair, found in self._outcomes.items() if member not in pair}
        return [*effects, *self._start(now)]

    def tick(self, now: float) -> list[Effect]:
        """Let time-outs run out, and forget what is old. To be called about once a second."""
        effects: list[Effect] = []
        for probe in [each for each in self._running.values() if now >= each.deadline]:
            effects += self._end(probe, Failed("timeout", now))
        for pair in [pair for pair, found in self._outcomes.items() if now - found.at >= self._rules.kept_s]:
            del self._outcomes[pair]
        return [*effects, *self._start(now)]

    def _end(self, probe: Probe, outcome: Outcome) -> list[Effect]:
        """End a probe, and keep what came of it. Whoever has not answered is told."""
        self._enter(probe, ProbeState.DONE if isinstance(outcome, Measured) else ProbeState.FAILED)
        del self._running[probe.id]
        for member in probe.pair:
            del self._in[member]
        self._outcomes.pop(probe.pair, None)  # so that the order is that of time
        self._outcomes[probe.pair] = outcome
        while len(self._outcomes) > self._rules.kept:
            del self._outcomes[next(iter(self._outcomes))]
        unanswered = [member for member in probe.pair if member not in probe.reports]
        cancels: list[Effect] = [Send(member, ProbeCancel(probe_id=probe.id)) for member in unanswered]
        told = {member: _figures(report) for member, report in probe.reports.items()}
        facts = {"probe": probe.id, "pair": list(probe.pair), **outcome.facts(), "told": told}
        return [*cancels, Noted("probed", facts)]

    def _enter(self, probe: Probe, state: ProbeState) -> None:
        if state not in MOVES[probe.state]:
            raise LocalMisuseError(f"a probe: {state.value} never follows {probe.state.value}")
        probe.state = state

    def _is_fresh(self, outcome: Outcome, now: float) -> bool:
        good_for = self._rules.good_for_s if isinstance(outcome, Measured) else self._rules.failed_for_s
        return now - outcome.at < good_for


def _figures(report: ProbeResult) -> dict[str, object]:
    if report.failure is not None:
        return {"failure": report.failure}
    return {"rtt_ms": report.rtt_ms, "jitter_ms": report.jitter_ms, "loss": report.loss, "path": report.path}
