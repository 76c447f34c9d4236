"""How far a peer's clock is from ours, and how wrong that can be at most.

Every datagram that answers another is one exchange of four times, as in NTP (RFC 5905, section 8): our stamp left, it
was heard there, their stamp left, it was heard here. Whatever the two ways took, nothing arrives before it is sent:
their clock minus ours is at most *heard there minus sent here*, and at least *sent there minus heard here*. So each
exchange gives an interval that holds the truth also if the ways differ; its half is half of the round trip. All
intervals together hold it as well (Marzullo and Owicki, 1983), once the older ones are widened by what the clocks may
have run apart since: the quickest way there and the quickest way back need not belong to the same exchange.

The stamps of datagrams wrap every :data:`CLOCK_RANGE` seconds, so that the difference is known modulo that; whoever
compares both sides' recordings knows the rest (:mod:`p2pclient.recorder.clocks`).
"""

from __future__ import annotations

from typing import NamedTuple

from p2pclient.protocol.datagram import TIME_UNIT

CLOCK_RANGE = 0x10000 * TIME_UNIT
"""Differences are told modulo this, seconds."""
DRIFT = 0.001
"""Seconds per second by which two clocks may run apart. NTP turns a clock by 500 ppm at most (RFC 5905, section 11.3),
and quartzes are ten times better than that."""

_ROUNDING = 1e-6
_MOST = CLOCK_RANGE / 4
"""A wider interval cannot be told from its neighbours, which are one range away, once it is moved to meet another."""
_GAP = 4.0
"""After a silence this long, stamps may have wrapped on their way."""
_SETTLE = 1.0
"""So long after it nothing is believed: what was held up on its way arrives in one go."""


class ClockOffset(NamedTuple):
    """Their clock minus ours, seconds."""

    offset: float
    """Modulo :data:`CLOCK_RANGE`; from minus half to half of it."""
    bound: float
    """The truth is at most this far away, as long as no clock has jumped meanwhile (see :class:`PeerClock`)."""


class PeerClock:
    """Their clock minus ours, from the exchanges so far. Of constant size, and O(1) per exchange.

    A clock that jumps by more than the interval is wide contradicts it: all before is forgotten with the next
    exchange. Of a smaller jump by ``d`` seconds nothing is seen, and the bound may not hold for ``d /``
    :data:`DRIFT` seconds at most. What a peer says falsely spoils what is known of its own clock, and nothing else.
    """

    __slots__ = ("_heard_at", "_high", "_low", "_trusted_from", "jumps")

    def __init__(self) -> None:
        self.jumps = 0
        """How often an exchange contradicted those before it."""
        # The interval at time t is from ``_low - DRIFT * t`` to ``_high + DRIFT * t``: all of them widen alike, so that
        # the best one stays the best, and the others can be forgotten.
        self._low: float | None = None
        self._high = 0.0
        self._heard_at: float | None = None
        self._trusted_from = float("-inf")

    def take(self, *, sent: int, echo: int, held: int, now: float) -> None:
        """Take in one exchange, as a datagram tells it.

        Args:
            sent: their stamp in units of ``TIME_UNIT``, modulo 2^16; rounded down, as all of these.
            echo: our stamp that they heard last.
            held: units between hearing it and sending this.
            now: when it arrived.
        """
        gap = 0.0 if self._heard_at is None else now - self._heard_at
        self._heard_at = now
        if gap > _GAP or held * TIME_UNIT > _GAP:
            self._trusted_from = now + _SETTLE
        if now < self._trusted_from:
            return
        since = (now / TIME_UNIT - echo) % 0x10000 * TIME_UNIT
        width = since - (held - 1) * TIME_UNIT
        if not 0 <= width <= _MOST:
            return
        low = sent * TIME_UNIT - now
        known = self.estimate(now=now)
        low += CLOCK_RANGE * round(((known.offset if known else 0.0) - low) / CLOCK_RANGE)
        # Above, the truth is bounded as of when our stamp left; below, as of now.
        self._intersect(low + DRIFT * now, low + width - DRIFT * (now - since), is_known=known is not None, now=now)

    def _intersect(self, low: float, high: float, *, is_known: bool, now: float) -> None:
        if is_known and self._low is not None:
            # The offset that is known was moved into the range; what is kept goes with it.
            middle = (self._low + self._high) / 2
            turns = CLOCK_RANGE * round(middle / CLOCK_RANGE)
            both = max(low, self._low - turns), min(high, self._high - turns)
            if both[0] - DRIFT * now <= both[1] + DRIFT * now:
                self._low, self._high = both
                return
            self.jumps += 1
        self._low, self._high = low, high

    def estimate(self, *, now: float) -> ClockOffset | None:
        """Return the difference as it is known at ``now``; None before any exchange, or long after the last one."""
        if self._low is None:
            return None
        low, high = self._low - DRIFT * now, self._high + DRIFT * now
        if high - low > _MOST:
            return None
        middle = (low + high) / 2
        offset = middle - CLOCK_RANGE * round(middle / CLOCK_RANGE)
        return ClockOffset(offset, (high - low) / 2 + _ROUNDING)
