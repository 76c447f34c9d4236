"""One direction of a simulated path: what happens to each message, from one seed.

Each kind of trouble draws from a generator of its own, so that a change of one figure leaves what the others do to the
n-th datagram as it was. Times are seconds on the world's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from random import Random

from p2pclient.common.errors import ConfigurationError

MAX_DELAY_MS = 10_000.0
_OVERHEAD_BYTES = 90
"""DTLS, SCTP and UDP around each message; counts where a rate is limited."""
_LATE_SECONDS = (0.02, 0.10)
"""Additional delay of a reordered datagram: longer than a frame at 60 Hz, so that it is overtaken."""
_RETRY_SECONDS = 0.2
"""Least time after which the ordered lane sends a lost message again; doubled each time, as SCTP does."""
_MOST_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """The figures of one direction. All shares are of datagrams, 0 to 1."""

    delay_ms: float = 0.0
    """Mean one-way delay."""
    jitter_ms: float = 0.0
    """Each datagram is this much earlier or later at most, uniform and independent, so that some overtake others."""
    loss: float = 0.0
    """Share of datagrams lost."""
    burst: float = 1.0
    """Mean number of datagrams lost in a row (Gilbert-Elliott, everything is lost in the bad state); 1: independent."""
    duplicate: float = 0.0
    """Share that arrives twice, the second copy with its own delay."""
    reorder: float = 0.0
    """Share that is held back by another 20 to 100 ms."""
    bytes_per_s: float = 0.0
    """Rate of the path, the overhead of 90 bytes per message counted; 0 without a limit."""
    queue_ms: float = 200.0
    """Longest wait for a rate that is used up; what would wait longer is lost."""

    def __post_init__(self) -> None:
        bounds = {
            "delay_ms": (0.0, MAX_DELAY_MS),
            "jitter_ms": (0.0, MAX_DELAY_MS),
            "loss": (0.0, 1.0),
            "burst": (1.0, 1000.0),
            "duplicate": (0.0, 1.0),
            "reorder": (0.0, 1.0),
            "bytes_per_s": (0.0, 1e12),
            "queue_ms": (0.0, MAX_DELAY_MS),
        }
        for setting, (low, high) in bounds.items():
            value = getattr(self, setting)
            if not isfinite(value) or not low <= value <= high:
                raise ConfigurationError(setting, value, f"a number from {low:g} to {high:g}")
        if self.burst > 1 and self.loss > 0.9:
            raise ConfigurationError("loss", self.loss, "at most 0.9 where losses come in bursts")


@dataclass(frozen=True, slots=True)
class Spell:
    """A time in which a path is worse than usual."""

    kind: str
    """``outage``: datagrams are lost, control waits. ``hold``: all waits and comes out at once. ``loss``: ``amount`` is
    lost on top. ``delay``: everything takes ``amount`` ms longer. ``dead-inputs``: datagrams are lost, and control goes
    through; ``dead-control``: control waits, and datagrams go through."""
    start: float
    end: float
    amount: float = 0.0


class Link:
    """Decides when each message of one direction arrives.

    Args:
        seed: fixes everything that is drawn.
        spells: times in which the path is worse.
    """

    def __init__(self, spec: LinkSpec, *, seed: str, spells: tuple[Spell, ...] = ()) -> None:
        self._low = max(0.0, spec.delay_ms - spec.jitter_ms) / 1000
        self._spread = (spec.delay_ms + spec.jitter_ms) / 1000 - self._low
        self._spec = spec
        self._loss = spec.loss
        # Stationary share of the bad state = enter / (enter + leave), mean stay = 1 / leave.
        self._leave_bad = 1.0 / spec.burst
        self._enter_bad = spec.loss * self._leave_bad / (1.0 - spec.loss) if spec.burst > 1 else 0.0
        self._is_bad = False
        self._rare = spec.duplicate > 0 or spec.reorder > 0
        self._spells = spells
        self._free_at = 0.0
        self._control_at = 0.0
        self._draw_delay = Random(f"delay/{seed}").random
        self._draw_loss = Random(f"loss/{seed}").random
        self._draw_rare = Random(f"rare/{seed}").random
        self._draw_control = Random(f"control/{seed}").random

    def plan(self, now: float, size: int) -> tuple[float, ...]:
        """Return when the copies of a datagram of ``size`` bytes arrive: none if it is lost, two if duplicated."""
        at = now + self._low + self._spread * self._draw_delay()
        if self._loss and self._is_lost():
            return ()
        if self._spec.bytes_per_s:
            wait = self._queue(now, size)
            if wait is None:
                return ()
            at += wait
        times: tuple[float, ...] = (at,)
        if self._rare:
            times = self._double_or_delay(now, at)
        if self._spells:
            times = self._in_spells(now, times)
        return times

    def _is_lost(self) -> bool:
        draw = self._draw_loss()
        if not self._enter_bad:
            return draw < self._loss
        self._is_bad = draw >= self._leave_bad if self._is_bad else draw < self._enter_bad
        return self._is_bad

    def _queue(self, now: float, size: int) -> float | None:
        start = max(now, self._free_at)
        if start - now > self._spec.queue_ms / 1000:
            return None
        self._free_at = start + (size + _OVERHEAD_BYTES) / self._spec.bytes_per_s
        return self._free_at - now

    def _double_or_delay(self, now: float, at: float) -> tuple[float, ...]:
        doubled, late, extra, second = (self._draw_rare() for _ in range(4))
        if late < self._spec.reorder:
            at += _LATE_SECONDS[0] + (_LATE_SECONDS[1] - _LATE_SECONDS[0]) * extra
        if doubled < self._spec.duplicate:
            return at, now + self._low + self._spread * second
        return (at,)

    def _in_spells(self, now: float, times: tuple[float, ...]) -> tuple[float, ...]:
        for spell in self._spells:
            if not spell.start <= now < spell.end:
                continue
            if spell.kind in ("outage", "dead-inputs") or (spell.kind == "loss" and self._draw_rare() < spell.amount):
                return ()
            if spell.kind == "hold":
                times = tuple(max(at, spell.end) for at in times)
            elif spell.kind == "delay":
                times = tuple(at + spell.amount / 1000 for at in times)
        return times

    def plan_control(self, now: float) -> float:
        """Return when a message of the reliable, ordered lane arrives: repeated until it is not lost."""
        sent, retry = now, max(_RETRY_SECONDS, 2 * self._low)
        while self._is_control_lost(sent):
            sent += retry
            retry = min(2 * retry, _MOST_RETRY_SECONDS)
        at = sent + self._low + self._spread * self._draw_control()
        for spell in self._spells:
            if spell.start <= sent < spell.end and spell.kind in ("hold", "delay", "dead-control"):
                at = at + spell.amount / 1000 if spell.kind == "delay" else max(at, spell.end)
        self._control_at = max(self._control_at, at)
        return self._control_at

    def replace(self) -> None:
        """Another connection carries from now on: nothing waits for what was sent over the old one."""
        self._control_at = 0.0

    def _is_control_lost(self, sent: float) -> bool:
        lost = bool(self._loss) and self._draw_control() < self._loss
        for spell in self._spells:
            if spell.start <= sent < spell.end:
                lost = lost or spell.kind == "outage" or (spell.kind == "loss" and self._draw_control() < spell.amount)
        return lost
