"""How long a frame lasts, so that no side runs ahead and carries the other's rollbacks.

The error is half the difference of the two sides' leads (frames by which each is ahead of the newest frame heard from
the other): equal delays cancel, and both sides see the same error with opposite signs, so that each does half of the
work and the pair keeps the nominal rate. Frames are stretched or shortened, never skipped. Gains from a model of two
peers at 60 Hz, 40 ms apart: proportional 0.004 per frame, integral 2e-6 per frame and frame.
"""

from __future__ import annotations

from collections import deque
from statistics import median

_SAMPLES = 30
_PROPORTIONAL = 0.004
_INTEGRAL = 2e-6
_CLAMP = 0.01
_FAST_CLAMP = 0.05
_FAST_BEYOND = 2.0


class Pacer:
    """Stretch of the frame's duration from the leads of both sides."""

    def __init__(self) -> None:
        self._errors: deque[float] = deque(maxlen=_SAMPLES)
        self._sum = 0.0

    @property
    def frames_ahead(self) -> float:
        """Smoothed estimate; positive means that we should slow down."""
        return median(self._errors) if self._errors else 0.0

    def stretch(self, own_lead: float | None, peer_lead: float | None) -> float:
        """Return the factor for the next frame's duration: 1.0 is nominal, 1.01 one percent longer.

        Args:
            own_lead: our frame minus the newest frame heard from the peer; None if not known.
            peer_lead: the same, as the peer last said it.
        """
        if own_lead is None or peer_lead is None:
            return 1.0
        self._errors.append((own_lead - peer_lead) / 2)
        error = self.frames_ahead
        self._sum += error
        if abs(error) > _FAST_BEYOND:
            clamp, gain = _FAST_CLAMP, _FAST_CLAMP / _FAST_BEYOND
        else:
            clamp, gain = _CLAMP, _PROPORTIONAL
        raw = gain * error + _INTEGRAL * self._sum
        limited = max(-clamp, min(clamp, raw))
        if limited != raw:
            self._sum -= error  # no wind-up while the output is at its bound
        return 1.0 + limited
