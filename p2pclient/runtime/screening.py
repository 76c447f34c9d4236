"""Measures this computer when the server asks for it, and says so on the screen."""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

import psutil

from p2pclient import __version__
from p2pclient.common.errors import SignalingError
from p2pclient.common.presentation import BeatShown, DisplayMeasured, Presentation, Screen
from p2pclient.common.screening_messages import Check, Display, Environment, Facts, Pacing, Ping
from p2pclient.runtime.person import Person
from p2pclient.runtime.presenter import WindowLink
from p2pclient.runtime.ticker import Ticker

log = logging.getLogger("tandem.screening")

PACING_S = 2.0
WARM_UP_S = 0.4
"""Before the pacing is measured: the window turns from its quiet loop to the one of a match."""
LAST_PICTURE_S = 0.5
"""Time for the last pictures to be shown."""
PINGS = 8
_MAX_TEXT = 64

CHECKING_TITLE = "Checking this computer"
CHECKING_MESSAGE = "This takes a few seconds. Please keep this window in view. Nothing to do until then."


def checking_screen(progress: float | None, beat: int | None = None) -> Presentation:
    """Return the screen of who is being checked."""
    return Presentation(
        Screen.CHECKING, title=CHECKING_TITLE, message=CHECKING_MESSAGE, progress=progress, needs_focus=False, beat=beat
    )


def excluded_screen(message: str, *, has_played: bool, lines: tuple[tuple[str, str], ...] = ()) -> Presentation:
    """Return the screen of who takes no further part."""
    title = "Thank you for taking part" if has_played else "Thank you for coming"
    return Presentation(Screen.EXCLUDED, title=title, message=message, lines=lines, can_continue=True)


class Examination:
    """Finds out what the server asked for, once.

    Args:
        echo: a request to the server that does nothing; how long it takes is the ping.
        rate_hz: at which the match will be played.
        headless: there is no window, and nobody to look at it.
    """

    def __init__(
        self,
        window: WindowLink,
        person: Person,
        *,
        echo: Callable[[], Awaitable[None]],
        rate_hz: float,
        headless: bool,
    ) -> None:
        self._window = window
        self._person = person
        self._echo = echo
        self._rate_hz = rate_hz
        self._headless = headless
        self._display: DisplayMeasured | None = None
        self._shown: dict[int, float] = {}

    async def examine(self, checks: Collection[Check], *, ready: Mapping[str, Any] | None, problem: str = "") -> Facts:
        """Measure. What cannot be measured is left out, and said why.

        Args:
            ready: what the environment says of itself, loaded by now.
            problem: why it could not be loaded.
        """
        self._window.publish(checking_screen(None))
        unknown: dict[str, str] = {}
        ping = await self._ping(unknown) if "ping" in checks else None
        pacing = await self._pacing(unknown) if {"pacing", "display"} & set(checks) else None
        shown = self._display
        return Facts(
            **system_facts(),
            headless=self._headless,
            ping=ping,
            pacing=pacing,
            display=None
            if shown is None
            else Display(
                width=shown.width,
                height=shown.height,
                scale=shown.scale,
                refresh_hz=shown.refresh_hz,
                displays=shown.displays,
            ),
            environment=_environment(ready, problem),
            unknown=unknown,
        )

    async def _ping(self, unknown: dict[str, str]) -> Ping | None:
        loop = asyncio.get_running_loop()
        times = []
        try:
            for _ in range(PINGS):
                asked = loop.time()
                await self._echo()
                times.append(1000 * (loop.time() - asked))
        except SignalingError as error:
            unknown["ping"] = str(error)[:1000]
            return None
        return Ping(samples=len(times), median_ms=median(times), worst_ms=max(times))

    async def _pacing(self, unknown: dict[str, str]) -> Pacing | None:
        """Show pictures at the rate of the match, by the same path as in a match."""
        if self._headless:
            unknown["display"] = unknown["pacing"] = "There is no window."
            return None
        loop = asyncio.get_running_loop()
        first = round(WARM_UP_S * self._rate_hz)
        last = first + max(2, round(PACING_S * self._rate_hz))
        self._person.on_measured = self._take
        try:
            ticker = Ticker(loop)
            for beat in range(last + 1):
                await ticker.next(lambda: 1 / self._rate_hz)
                self._window.publish(checking_screen(beat / last, beat))
                self._person.take()
            late = loop.time() + LAST_PICTURE_S
            while last not in self._shown and loop.time() < late:
                await asyncio.sleep(0.02)
                self._person.take()
        finally:
            self._person.on_measured = None
        self._window.publish(checking_screen(1.0))
        times = [self._shown[beat] for beat in range(first, last + 1) if beat in self._shown]
        pacing = pacing_of(times, wanted=last - first, rate_hz=self._rate_hz)
        if pacing is None:
            unknown["display"] = unknown["pacing"] = "The window was not in view."
        return pacing

    def _take(self, measured: BeatShown | DisplayMeasured) -> None:
        if isinstance(measured, DisplayMeasured):
            self._display = measured
        else:
            self._shown[measured.beat] = measured.at


def pacing_of(times: Sequence[float], *, wanted: int, rate_hz: float) -> Pacing | None:
    """Return how evenly pictures came that were shown at ``times``; None if hardly any did.

    A picture that comes more than half an interval late leaves a place empty; so does one that never comes.
    ``wanted`` is the number of intervals, had all been shown.
    """
    intervals = sorted(later - earlier for earlier, later in pairwise(times))
    if not intervals:
        return None
    empty = sum(max(0, round(interval * rate_hz) - 1) for interval in intervals)
    behind = max(0, wanted - len(intervals) - empty)
    return Pacing(
        rate_hz=rate_hz,
        pictures=len(intervals),
        median_ms=1000 * median(intervals),
        # The nearest rank: with 120 intervals, the second longest.
        p99_ms=1000 * intervals[min(len(intervals) - 1, max(0, -(-99 * len(intervals) // 100) - 1))],
        missed=min(1.0, (empty + behind) / max(1, wanted)),
    )


def system_facts() -> dict[str, Any]:
    """Return what this system says of itself; None for what it does not say."""
    system = {"Darwin": "macOS"}.get(platform.system(), platform.system())
    memory = psutil.virtual_memory()
    battery = _battery()
    return {
        "system": system[:_MAX_TEXT],
        "system_version": platform.release()[:_MAX_TEXT],
        "machine": platform.machine()[:_MAX_TEXT],
        "program": __version__,
        "python": platform.python_version(),
        "cores": psutil.cpu_count(),
        "memory_mb": memory.total >> 20,
        "memory_free_mb": memory.available >> 20,
        **battery,
    }


def _battery() -> dict[str, Any]:
    """Return whether there is mains, and how full a battery is. Without a battery there is mains."""
    sensors: Callable[[], Any] | None = getattr(psutil, "sensors_battery", None)
    try:
        found = sensors() if sensors is not None else None
    except (OSError, ValueError, RuntimeError) as error:  # systems in containers have half of what is read there
        log.info("the battery cannot be asked: %s", error)
        return {"plugged_in": None, "battery": None}
    if sensors is None:
        return {"plugged_in": None, "battery": None}
    if found is None:
        return {"plugged_in": True, "battery": None}
    return {"plugged_in": found.power_plugged, "battery": min(1.0, max(0.0, found.percent / 100))}


def _environment(ready: Mapping[str, Any] | None, problem: str) -> Environment | None:
    if ready is None:
        return Environment(problem=problem[:1000]) if problem else None
    machine: Mapping[str, Any] = ready.get("machine") or {}
    return Environment(
        digest=str(ready["digest"])[:_MAX_TEXT],
        python=str(machine.get("python", ""))[:_MAX_TEXT],
        numpy=str(machine.get("numpy", ""))[:_MAX_TEXT],
    )
