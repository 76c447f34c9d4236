"""Watches the processes of a soak: what they hold, whether it grows, what of them is left, how late this machine is."""

from __future__ import annotations

import asyncio
import os
import sys
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from p2pclient.cli.soak_process import ProcessId, hosts_of

MEMORY_SHARE, MEMORY_SLACK_MB = 0.05, 4.0
"""Growth that is none: allocators give back late, and a table that doubles once is no leak."""
HANDLE_SLACK = 2.0
WARM_UP, LEAST_SAMPLES = 3, 9
"""Samples (one per match) that are left out, and that are needed after them for a judgement."""

_SHARED_MEMORY = Path("/dev/shm")
_BEAT_SECONDS = 0.02
_MOST_BEATS = 400_000
_COURSE_POINTS = 30


@dataclass(frozen=True, slots=True)
class Holding:
    """What one process held at one moment."""

    memory_mb: float
    """Resident set."""
    handles: int
    """Open files, sockets and pipes; on Windows all handles."""
    threads: int


def take_holding(process: psutil.Process) -> Holding:
    """Measure a process. Raises psutil.Error if it is gone."""
    with process.oneshot():
        handles = process.num_handles() if sys.platform == "win32" else process.num_fds()
        return Holding(process.memory_info().rss / 2**20, handles, process.num_threads())


@dataclass(frozen=True, slots=True)
class Growth:
    """How what a process held early compares with what it held late; medians of the first and the last third."""

    name: str
    what: str
    early: float
    late: float
    samples: int
    course: tuple[float, ...] = ()
    """The values over time, thinned."""

    @property
    def is_flat(self) -> bool:
        if self.what == "memory_mb":
            return self.late <= self.early * (1 + MEMORY_SHARE) + MEMORY_SLACK_MB
        return self.late <= self.early + HANDLE_SLACK

    def sentence(self) -> str:
        """Say it for a person."""
        return f"{self.name}: {self.what} went from {self.early:.1f} to {self.late:.1f} over {self.samples} matches"


def judge_growth(name: str, holdings: Sequence[Holding]) -> list[Growth]:
    """Compare early with late; nothing if there are too few samples to tell."""
    settled = holdings[WARM_UP:]
    if len(settled) < LEAST_SAMPLES:
        return []
    third = len(settled) // 3
    found = []
    for what in ("memory_mb", "handles", "threads"):
        values = [float(getattr(holding, what)) for holding in settled]
        course = tuple(round(value, 1) for value in values[:: max(1, len(values) // _COURSE_POINTS)])
        found.append(Growth(name, what, median(values[:third]), median(values[-third:]), len(settled), course))
    return found


class Watch:
    """Everything that the processes of a soak hold and leave.

    A process is told apart from others by its number and its start, so that one which happens to get the number of
    another one is not taken for it.
    """

    def __init__(self) -> None:
        self.holdings: dict[str, list[Holding]] = defaultdict(list)
        """One sample per match and process, by a name such as ``client 1 (pid 4711)``."""
        self._beats: list[tuple[float, float]] = []
        self._was_busy = False
        """We looked at processes since the last beat, so that being late was our own doing."""
        self._owners: dict[ProcessId, ProcessId] = {}
        """What a client started, with the client."""
        self._shared: set[str] = set()

    def note_children(self, owners: Iterable[ProcessId]) -> None:
        """Remember what each client has started by now, and which shared memory it uses."""
        self._was_busy = True
        for owner in owners:
            for child in hosts_of(owner[0]):
                self._owners.setdefault(ProcessId.of(child.pid), owner)
                self._note_shared_memory(child.pid)
            self._note_shared_memory(owner[0])

    def sample(self, name: str, pid: int) -> None:
        """Measure a client or a server, and the hosts of it."""
        self._was_busy = True
        try:
            self.holdings[f"{name} (pid {pid})"].append(take_holding(psutil.Process(pid)))
            for host in hosts_of(pid):
                self.holdings[f"host of {name} (pid {host.pid})"].append(take_holding(host))
        except psutil.Error:
            pass  # it was killed meanwhile, which is told elsewhere

    def growths(self) -> list[Growth]:
        """Return how the holdings of all processes that lived long enough went."""
        return [growth for name, holdings in self.holdings.items() for growth in judge_growth(name, holdings)]

    def processes_left(self, owner: ProcessId | None = None) -> list[int]:
        """Return what still runs of what ``owner``, or anyone, had started."""
        mine = [child for child, whose in self._owners.items() if owner in (None, whose)]
        return [child[0] for child in mine if child.is_running()]

    def shared_memory_left(self) -> list[str]:
        """Return the shared memory that a process of ours used and that is there still. Linux only."""
        return sorted(name for name in self._shared if (_SHARED_MEMORY / name).exists())

    def end_left_over(self) -> None:
        """Kill what was left, so that it is not in the way of anyone."""
        for pid in self.processes_left():
            try:
                psutil.Process(pid).kill()
            except psutil.NoSuchProcess:
                pass  # gone by itself

    def _note_shared_memory(self, pid: int) -> None:
        if not sys.platform.startswith("linux"):
            return
        try:
            maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return  # gone
        for line in maps.splitlines():
            _, found, name = line.partition(f"{_SHARED_MEMORY}{os.sep}")
            if found and not name.endswith(" (deleted)"):
                self._shared.add(name)

    def lateness_between(self, start: float = 0.0, end: float = inf) -> list[float]:
        """Return by how much this machine woke us too late between two times, seconds: no client can do better."""
        first, last = bisect_left(self._beats, (start,)), bisect_left(self._beats, (end,))
        return [late for _, late in self._beats[first:last]]

    async def beat(self) -> None:
        """Wake up again and again, for ever, and note how late that was."""
        loop = asyncio.get_running_loop()
        while True:
            due, self._was_busy = loop.time() + _BEAT_SECONDS, False
            await asyncio.sleep(_BEAT_SECONDS)
            if not self._was_busy:
                self._beats.append((due, loop.time() - due))
            if len(self._beats) > _MOST_BEATS:
                del self._beats[: _MOST_BEATS // 2 : 2]  # of the older half, every other one


def quantiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """Return median, 99th percentile and maximum in milliseconds; zeros if there are none."""
    if not seconds:
        return {"median": 0.0, "p99": 0.0, "max": 0.0, "samples": 0}
    ordered = sorted(seconds)
    count = len(ordered)
    picked = {"median": ordered[count // 2], "p99": ordered[min(count - 1, int(0.99 * count))], "max": ordered[-1]}
    return {"samples": count, **{name: round(1000 * value, 3) for name, value in picked.items()}}


def growth_data(growths: Iterable[Growth]) -> list[Mapping[str, Any]]:
    """Return growths as plain data, the largest relative one first."""
    ordered = sorted(growths, key=lambda growth: -growth.late / max(1.0, growth.early))
    return [{**asdict(growth), "flat": growth.is_flat} for growth in ordered]
