"""The runtime's event loop: one clock for everything, and timers that are fine enough on every system."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import time
from collections.abc import Iterator


def make_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop whose ``time()`` is ``time.perf_counter()``.

    On Windows the default clock of a loop moves in steps of 15.6 ms, as long as a frame; this one does not. Everything
    that is recorded or sent is on this one clock.
    """
    base: type[asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop
    if os.name == "nt":
        base = getattr(asyncio, "ProactorEventLoop")  # noqa: B009 - asyncio's own choice there

    class PerfCounterLoop(base):  # type: ignore[valid-type, misc]
        def time(self) -> float:
            return time.perf_counter()

    loop: asyncio.AbstractEventLoop = PerfCounterLoop()
    return loop


@contextlib.contextmanager
def fine_timers() -> Iterator[None]:
    """Raise the resolution of the system's timer to 1 ms while this lasts, where it is coarse (Windows)."""
    if os.name != "nt":
        yield
        return
    winmm = getattr(ctypes, "WinDLL")("winmm")  # noqa: B009 - exists on Windows only
    raised = winmm.timeBeginPeriod(1) == 0
    try:
        yield
    finally:
        if raised:
            winmm.timeEndPeriod(1)
