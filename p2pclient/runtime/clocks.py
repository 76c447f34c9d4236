"""Reads this machine's clocks, and says in the log what is found."""

from __future__ import annotations

import logging
import time

from p2pclient.telemetry.clocks import ClockJumped, ClockWatch, Suspended

log = logging.getLogger("tandem.clocks")

_TOGETHER = 0.005
"""Seconds within which all clocks have to be read: else the program stood still between two of them."""
_ATTEMPTS = 5


class Clocks:
    """Looked at in every tick."""

    def __init__(self) -> None:
        self._watch = ClockWatch()

    def look(self) -> list[Suspended | ClockJumped]:
        """Return what happened to this machine since the last call."""
        for _ in range(_ATTEMPTS):
            before, wall, elapsed, now = time.perf_counter(), time.time(), _elapsed(), time.perf_counter()
            if now - before < _TOGETHER:
                found = self._watch.look(now=now, wall=wall, elapsed=elapsed)
                for each in found:
                    log.warning("%s", _words(each))
                return found
        return []  # looked at again in the next tick


def _elapsed() -> float | None:
    """Seconds of a clock that goes on while the machine sleeps; None where ``perf_counter`` does, or there is none."""
    number = getattr(time, "CLOCK_BOOTTIME", None)  # Linux
    if number is None and hasattr(time, "CLOCK_UPTIME_RAW"):  # macOS, where perf_counter stands still in sleep
        number = getattr(time, "CLOCK_MONOTONIC", None)
    return None if number is None else time.clock_gettime(number)


def _words(found: Suspended | ClockJumped) -> str:
    if isinstance(found, ClockJumped):
        way = "forward" if found.seconds > 0 else "back"
        return f"the date of this machine was set {way} by {abs(found.seconds):.1f} s; nothing in play follows it"
    if found.why == "asleep":
        return f"this machine slept for {found.seconds:.1f} s"
    return f"this program stood still for {found.seconds:.1f} s"
