"""How long a frame lasts, so that no side runs ahead and carries the other's rollbacks.

The error is half the difference of the two sides' leads (frames by which each is ahead of the newest frame heard from
the other): equal delays cancel, and both sides see the same error with opposite signs, so that each does half of the
work and the pair keeps the nominal rate. Routes that take longer one way than the other do not matter: equal leads mean
equal rollbacks, whatever the clock on the wall says. Frames are stretched or shortened, never skipped.

Leads are whole frames. While the true error lies between two of them, the samples change back and forth, and how often
they do so tells the parts of a frame: so the estimate is the mean of the middle half of the newest samples, which
outliers do not move. Against their median it brings pairs that start apart closer together (0.1 to 0.2 frames left
instead of 0.25, after 5 s). Without jitter the samples may not change at all, and then neither estimate sees anything:
a pair may stay 0.4 frames apart. Its leads, and so its rollbacks, are equal all the same.

Gains, per frame: both sides correct, so that a proportional gain of 0.004 halves an error in 1.5 s. The integral learns
by how much the clocks differ; it is half of what would be critical damping (``proportional ** 2 / 2``).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

_SAMPLES = 30
_PROPORTIONAL = 0.004
_INTEGRAL = 4e-6
_CLAMP = 0.01
_FAST_CLAMP = 0.05
_FAST_BEYOND = 2.0


class Pacer:
    """Stretch of the frame's duration from the leads of both sides."""

    def __init__(self) -> None:
        self._errors: deque[float] = deque()
        self._by_size: list[float] = []  # the same
        self._sum = 0.0
        self.frames_ahead = 0.0
        """Smoothed estimate; positive means that we should slow down."""

    def stretch(self, own_lead: float | None, peer_lead: float | None) -> float:
        """Return the factor for the next frame's duration: 1.0 is nominal, 1.01 one percent longer.

        Args:
            own_lead: our frame minus the newest frame heard from the peer; None if not known.
            peer_lead: the same, as the peer last said it.
        """
        if own_lead is None or peer_lead is None:
            return 1.0
        self.frames_ahead = error = self._smooth((own_lead - peer_lead) / 2)
        self._sum += error
        if abs(error) > _FAST_BEYOND:
            clamp, gain = _FAST_CLAMP, _FAST_CLAMP / _FAST_BEYOND
        else:
            clamp, gain = _CLAMP, _PROPORTIONAL
        raw = gain * error + _INTEGRAL * self._sum
        if -clamp <= raw <= clamp:
            return 1.0 + raw
        self._sum -= error  # no wind-up while the output is at its bound
        return 1.0 + (clamp if raw > 0 else -clamp)

    def _smooth(self, error: float) -> float:
        """Take one error in; return the mean of the newest ones between their quartiles."""
        errors, by_size = self._errors, self._by_size
        if len(errors) == _SAMPLES:
            del by_size[bisect_left(by_size, errors.popleft())]
        errors.append(error)
        insort(by_size, error)
        quarter = len(errors) // 4
        middle = by_size[quarter : len(errors) - quarter]
        return sum(middle) / len(middle)
