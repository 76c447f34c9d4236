"""What the clocks say about the machine: that this program did not run, that the machine slept, that its date was set.

Pure: readings in, findings out. Three clocks are compared from one reading to the next. ``now`` is the one that
everything is timed by; ``wall`` is the date, which people and NTP may set; ``elapsed`` goes on while the machine
sleeps, where the system has such a clock beside ``now``.
"""

from __future__ import annotations

from typing import Literal

import msgspec

STOOD = 1.0
"""Seconds without a reading after which this program counts as having stood still. One comes with every frame."""
SLEPT = 0.5
"""Seconds by which ``elapsed`` has to run ahead of ``now`` to count as sleep."""
JUMPED = 0.5
"""Seconds by which the date has to move against ``elapsed`` to count as set: slewing by NTP stays far below."""


class Suspended(msgspec.Struct, frozen=True):
    """Nothing ran here for so long."""

    seconds: float
    why: Literal["stopped", "asleep"]
    """This program alone, or busy elsewhere; or the whole machine."""


class ClockJumped(msgspec.Struct, frozen=True):
    """The date was set by so many seconds, negative for back."""

    seconds: float


class ClockWatch:
    """Compares each reading with the one before."""

    def __init__(self) -> None:
        self._last: tuple[float, float, float] | None = None

    def look(self, *, now: float, wall: float, elapsed: float | None = None) -> list[Suspended | ClockJumped]:
        """Take a reading of all clocks at one moment; return what happened since the last one.

        Args:
            elapsed: None where the system has no such clock: then a sleep that stops ``now`` looks like a date that
                was set forward.
        """
        reading = now, wall, now if elapsed is None else elapsed
        last, self._last = self._last, reading
        if last is None:
            return []
        ran, dated, passed = (new - old for new, old in zip(reading, last, strict=True))
        found: list[Suspended | ClockJumped] = []
        if passed - ran > SLEPT:
            found.append(Suspended(passed, "asleep"))
        elif ran > STOOD:
            found.append(Suspended(ran, "stopped"))
        if abs(dated - passed) > JUMPED:
            found.append(ClockJumped(dated - passed))
        return found
