"""What the coordinator of probes knows, as records; and how two ends of a probe become one measurement."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import combinations
from typing import Literal

from p2pclient.common.probe_messages import ProbePath, ProbeResult
from signaling.rows import ProbeRow

Pair = tuple[str, str]
"""Ids in alphabetical order."""

Reason = Literal["no-path", "timeout", "left", "refused", "implausible"]
"""Why a pair was not measured. ``refused``: one of the clients plays, or is in another probe. ``implausible``: both
ends told what cannot be of one network."""

SENTENCES: Mapping[Reason, str] = {
    "no-path": "Their computers cannot reach each other. Check that both are in the same network, and the firewall "
    "(UDP).",
    "timeout": "The measurement between them took too long.",
    "left": "One of them was no longer there for the measurement.",
    "refused": "One of them was busy.",
    "implausible": "What their two sides measured does not fit together.",
}

TOLERANCE_MS = 25.0
"""By how much the round trips of two ends may differ in any case: a busy machine answers late."""
TOLERANCE_SHARE = 0.5
"""Beyond it, by which share of the larger one."""


class ProbeState(Enum):
    """Where a probe is, as far as the server sees it."""

    QUEUED = "queued"
    ASKED = "asked"
    """Both were told; the offer is awaited."""
    CONNECTING = "connecting"
    """The offer was passed on; the answer is awaited."""
    MEASURING = "measuring"
    """The answer was passed on: they connect and measure."""
    DONE = "done"
    FAILED = "failed"


_OVER = frozenset({ProbeState.FAILED})
MOVES: Mapping[ProbeState, frozenset[ProbeState]] = {
    ProbeState.QUEUED: frozenset({ProbeState.ASKED}),
    ProbeState.ASKED: _OVER | {ProbeState.CONNECTING},
    ProbeState.CONNECTING: _OVER | {ProbeState.MEASURING},
    ProbeState.MEASURING: _OVER | {ProbeState.DONE},
    ProbeState.DONE: frozenset(),
    ProbeState.FAILED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class ProbeRules:
    """Bounds of probing; times in seconds."""

    at_once: int = 8
    """Probes that run at one time. Each is 200 small datagrams a second for 0.6 s: a few do not disturb each other."""
    queued: int = 2000
    """Pairs that may wait: every pair of 60 participants."""
    asked_s: float = 5.0
    connecting_s: float = 5.0
    measuring_s: float = 9.0
    """More than the 5 s and 3 s that a client allows itself to connect and to measure."""
    good_for_s: float = 120.0
    """How long a measurement counts."""
    failed_for_s: float = 20.0
    """How long a pair that could not be measured is left alone."""
    kept_s: float = 900.0
    """How long an outcome is shown."""
    kept: int = 5000
    """Outcomes."""
    samples: int = 30
    interval_ms: int = 20

    @property
    def shortest_s(self) -> float:
        """No honest client has measured earlier than this after the answer. Half of what it takes, for clocks' sake."""
        return 0.5 * (self.samples - 1) * self.interval_ms / 1000


@dataclass(slots=True, eq=False)
class Probe:
    """One probe that is not over."""

    id: str
    pair: Pair
    started: float
    deadline: float
    """When its state times out."""
    state: ProbeState = ProbeState.ASKED
    entered: float = 0.0
    """When its state began."""
    reports: dict[str, ProbeResult] = field(default_factory=dict)
    """What the members have told."""

    @property
    def offerer(self) -> str:
        """Who makes the offer."""
        return self.pair[0]

    @property
    def answerer(self) -> str:
        """Who answers it."""
        return self.pair[1]

    def other(self, member: str) -> str:
        """Return the member that is not this one."""
        return self.pair[1] if member == self.pair[0] else self.pair[0]


@dataclass(frozen=True, slots=True)
class Measured:
    """The network between two, the worse of what both ends saw."""

    rtt_ms: float
    jitter_ms: float
    loss: float
    path: ProbePath
    at: float

    def facts(self) -> dict[str, object]:
        """Return it for a log."""
        return {"rtt_ms": self.rtt_ms, "jitter_ms": self.jitter_ms, "loss": self.loss, "path": self.path}


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing was measured between two."""

    reason: Reason
    at: float

    def facts(self) -> dict[str, object]:
        """Return it for a log."""
        return {"failed": self.reason}


Outcome = Measured | Failed


@dataclass(frozen=True, slots=True)
class Cell:
    """One pair of a :class:`Matrix`."""

    pair: Pair
    state: ProbeState | None
    """None if nothing is known, and nothing was asked for."""
    outcome: Outcome | None = None
    """Of the last probe; while another one waits or runs, still of the one before."""
    ago_s: float | None = None
    """Since the outcome."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every pair of some participants."""

    ids: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def total(self) -> int:
        """Pairs."""
        return len(self.cells)

    @property
    def done(self) -> int:
        """Pairs with an outcome for which no other is awaited."""
        return sum(each.state in (ProbeState.DONE, ProbeState.FAILED) for each in self.cells)


def pair_of(a: str, b: str) -> Pair:
    """Return two ids as one key.

    Raises:
        ValueError: both are the same.
    """
    if a == b:
        raise ValueError(f"{a} cannot be probed with itself")
    return (a, b) if a < b else (b, a)


def agreed(one: ProbeResult, other: ProbeResult, *, now: float) -> Outcome:
    """Return what two ends measured of one network; a failure if it cannot have been one."""
    if one.rtt_ms is None or other.rtt_ms is None:
        raise ValueError("both must have measured")
    low, high = sorted((one.rtt_ms, other.rtt_ms))
    # The jitter of a busy machine shows in its round trips, too.
    jitter = max(one.jitter_ms or 0.0, other.jitter_ms or 0.0)
    if high - low > max(TOLERANCE_MS, TOLERANCE_SHARE * high, jitter):
        return Failed("implausible", now)
    paths: tuple[ProbePath, ...] = ("relay", "turn", "direct", "loopback", "")
    path = next(each for each in paths if each in (one.path, other.path))
    return Measured(
        rtt_ms=round(high, 2),
        jitter_ms=round(jitter, 2),
        loss=round(max(one.loss or 0.0, other.loss or 0.0), 4),
        path=path,
        at=now,
    )


def probe_row(pair: Pair, state: ProbeState | None, outcome: Outcome | None, since_1970: float) -> ProbeRow:
    """Return one pair as the console shows it; ``since_1970`` is added to times."""
    a, b = pair
    if outcome is None:
        return ProbeRow(a=a, b=b, state=(state or ProbeState.QUEUED).value)
    at = round(outcome.at + since_1970)
    if isinstance(outcome, Failed):
        state = state or ProbeState.FAILED
        return ProbeRow(a=a, b=b, state=state.value, reason=SENTENCES[outcome.reason], at=at)
    return ProbeRow(
        a=a,
        b=b,
        state=(state or ProbeState.DONE).value,
        rtt_ms=outcome.rtt_ms,
        jitter_ms=outcome.jitter_ms,
        loss=outcome.loss,
        path=outcome.path,
        at=at,
    )


def matrix(
    ids: tuple[str, ...],
    running: Iterable[Probe],
    queued: Collection[Pair],
    outcomes: Mapping[Pair, Outcome],
    *,
    now: float,
) -> Matrix:
    """Return how far it is with every pair of ``ids``."""
    states = {probe.pair: probe.state for probe in running}
    cells = []
    for a, b in combinations(dict.fromkeys(ids), 2):
        pair = pair_of(a, b)
        outcome = outcomes.get(pair)
        state = states.get(pair)
        if state is None and pair in queued:
            state = ProbeState.QUEUED
        if state is None and outcome is not None:
            state = ProbeState.DONE if isinstance(outcome, Measured) else ProbeState.FAILED
        cells.append(Cell(pair, state, outcome, None if outcome is None else round(max(0.0, now - outcome.at), 1)))
    return Matrix(tuple(dict.fromkeys(ids)), tuple(cells))
