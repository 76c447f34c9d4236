"""Which input delay a match is to have, from what the network and the host are like.

Without delay, an input arrives as many frames late as it travels, and that many frames are simulated again. Each frame
of delay takes one off, and is felt by whoever presses the key. So the delay is the smallest that leaves a rollback
which

* stays a frame short of the prediction window: a full window stalls, and that is felt more than any delay;
* costs at most half of the frame when it is simulated again: it may happen in every frame.

That is the depth aimed for: ``min(window - 1, half a frame / step - 1)``; in lockstep there is none, and the delay has
a frame of reserve instead. How late inputs come is taken at about the 99th percentile: half the round trip, twice its
mean deviation (RFC 6298 takes four of them for the whole trip), and the frames that datagrams lost in a row cost, since
each datagram carries all that are not acknowledged.
"""

from __future__ import annotations

from math import ceil, log

from p2pclient.common.errors import ConfigurationError

_UP_AFTER = 1.0
_DOWN_AFTER = 10.0
"""Seconds for which the delay has to have been too short, or too long, without a break."""
_COST_SHARE = 0.5
_DEVIATIONS = 2.0
_RARE = 0.01
_MOST_LOSS = 0.5
"""A worse network cannot be helped by delay."""


class DelayChooser:
    """The delay that one side wishes for; the larger wish of both sides is what suits both.

    It moves only when the network asks for at least a whole frame more or less than there is.

    Args:
        lowest: smallest delay allowed, in frames. The first wish.
        highest: largest delay allowed, in frames.
        frame: seconds of one frame.
        window: prediction window, as configured.
    """

    def __init__(self, lowest: int, highest: int, *, frame: float, window: int) -> None:
        if not 0 <= lowest <= highest:
            raise ConfigurationError("input delay", (lowest, highest), "0 or more, the smallest first")
        self._lowest, self._highest = lowest, highest
        self._frame = frame
        self._window = window
        self._delay = lowest
        self._short_since: float | None = None
        self._least = 0.0
        """Smallest delay that was needed since then."""
        self._long_since: float | None = None
        self._most = 0.0
        """Largest delay that was needed since then."""

    def wish(
        self, *, rtt: float | None, jitter: float, loss: float, step_seconds: float, window: int, now: float
    ) -> int:
        """Return the delay wished for, in frames. Call it about as often as there is something new.

        Args:
            rtt: smoothed round trip in seconds; None if not known yet, and nothing changes.
            jitter: mean deviation of the round trip, in seconds.
            loss: share of the peer's datagrams that did not arrive, 0 to 1.
            step_seconds: what one step costs in the host; 0 if not known.
            window: prediction window at present, which may be narrower than configured.
            now: seconds, on any clock that only goes forward.
        """
        if rtt is not None:
            late = (rtt / 2 + _DEVIATIONS * jitter) / self._frame + _frames_lost_in_a_row(loss)
            needed = late - self._depth_aimed_for(step_seconds, min(window, self._window))
            self._weigh(max(float(self._lowest), min(needed, float(self._highest))), now)
        return self._delay

    def _depth_aimed_for(self, step_seconds: float, window: int) -> int:
        if window > 0 and step_seconds > 0:
            return min(window - 1, max(0, int(self._frame * _COST_SHARE / step_seconds) - 1))
        return window - 1

    def _weigh(self, needed: float, now: float) -> None:
        """Go up or down when the evidence for it has lasted."""
        if needed < self._delay + 1:
            self._short_since = None
        elif self._short_since is None:
            self._short_since, self._least = now, needed
        else:
            self._least = min(self._least, needed)
            if now - self._short_since >= _UP_AFTER:
                self._move(ceil(self._least))
                return
        if needed > self._delay - 1:
            self._long_since = None
        elif self._long_since is None:
            self._long_since, self._most = now, needed
        else:
            self._most = max(self._most, needed)
            if now - self._long_since >= _DOWN_AFTER:
                self._move(ceil(self._most))

    def _move(self, delay: int) -> None:
        self._delay = delay
        self._short_since = self._long_since = None


def _frames_lost_in_a_row(loss: float) -> float:
    """Frames by which losses delay an input, exceeded only rarely; whole ones between the values for whole runs."""
    if loss <= _RARE:
        return 0.0
    return log(_RARE) / log(min(loss, _MOST_LOSS)) - 1
