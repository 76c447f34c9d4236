"""Pure: what a bad network would do to each message, from one seed.

Applied where messages leave, so it is one way: delay it by 60 ms on both sides and the round trip grows by 120 ms.
Loss, jitter and the rest are drawn independently for each datagram, and always the same number of draws is made, so
that with one seed a change of one setting leaves what the others do to the n-th datagram as it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from random import Random

from p2pclient.common.errors import ConfigurationError

MAX_DELAY_MS = 10_000.0

REORDER_EXTRA_S = (0.08, 0.16)
"""Additional delay of a reordered datagram, uniform, seconds: longer than a frame at 15 Hz, so that it is overtaken."""

_JITTER_LIMIT = 3.0


@dataclass(frozen=True, slots=True)
class ImpairmentSpec:
    """One direction of a simulated network.

    Raises:
        ConfigurationError: a value is out of range.
    """

    delay_ms: float = 0.0
    """Mean delay of every message."""
    jitter_ms: float = 0.0
    """Standard deviation of the delay: normal, cut at three of them and at no delay. Datagrams may overtake each
    other by it alone."""
    loss: float = 0.0
    """Share of datagrams that are lost, 0 to 1."""
    reorder: float = 0.0
    """Share of datagrams that are held back by another 80 to 160 ms, 0 to 1."""
    duplicate: float = 0.0
    """Share of datagrams that arrive twice, each copy with its own jitter, 0 to 1."""

    def __post_init__(self) -> None:
        for setting in ("delay_ms", "jitter_ms"):
            _check(setting, getattr(self, setting), MAX_DELAY_MS)
        for setting in ("loss", "reorder", "duplicate"):
            _check(setting, getattr(self, setting), 1.0)

    @property
    def is_none(self) -> bool:
        """True if nothing would be done to any message."""
        return not any(getattr(self, setting.name) for setting in fields(self))


def _check(setting: str, value: float, high: float) -> None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not 0 <= value <= high:
        raise ConfigurationError(setting, value, f"a number from 0 to {high:g}")


class Impairment:
    """Decides when each message leaves. One object per direction; times are seconds on the caller's clock."""

    def __init__(self, spec: ImpairmentSpec, seed: int) -> None:
        self.spec = spec
        self._random = Random(f"inputs/{seed}")
        # Control has a generator of its own, or the number of control messages would change the datagrams' fate.
        self._control_random = Random(f"control/{seed}")
        self._control_due = -math.inf

    def plan(self, now: float, size: int) -> list[float]:
        """Return when the copies of a datagram of ``size`` bytes leave: none if lost, two if duplicated.

        The times are never before ``now``; nothing orders them between calls.
        """
        spec, draw = self.spec, self._random
        is_lost = draw.random() < spec.loss
        is_doubled = draw.random() < spec.duplicate
        is_late = draw.random() < spec.reorder
        extra = draw.uniform(*REORDER_EXTRA_S)
        times = [now + self._delay(draw), now + self._delay(draw)]
        if is_lost:
            return []
        if is_late:
            times[0] += extra
        return sorted(times) if is_doubled else times[:1]

    def plan_control(self, now: float) -> float:
        """Return when a control message leaves: delay and jitter, never before one that was planned earlier."""
        self._control_due = max(self._control_due, now + self._delay(self._control_random))
        return self._control_due

    def _delay(self, draw: Random) -> float:
        # Box and Muller's transform by hand: Random.gauss keeps its second value, so its draws would not be steady.
        radius = math.sqrt(-2.0 * math.log(1.0 - draw.random()))
        deviation = radius * math.cos(math.tau * draw.random())
        deviation = max(-_JITTER_LIMIT, min(_JITTER_LIMIT, deviation))
        return max(0.0, self.spec.delay_ms + deviation * self.spec.jitter_ms) / 1000
