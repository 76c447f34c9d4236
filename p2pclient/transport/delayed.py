"""What is held back until its time comes: by the loop's timers, or by whoever keeps virtual time."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import Protocol

Action = Callable[[], None]


class Release(Protocol):
    """Runs actions at their times, in order of time; equal times in order of :meth:`push`."""

    def push(self, due: float, action: Action) -> None:
        """Run ``action`` at ``due``, seconds on this object's clock."""

    def flush(self) -> None:
        """Run everything now, in order."""

    def clear(self) -> None:
        """Forget everything."""


class VirtualRelease:
    """Pure: the clock is the argument of :meth:`release_due`."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Action]] = []
        self._order = count()

    def push(self, due: float, action: Action) -> None:
        """See :class:`Release`."""
        heapq.heappush(self._heap, (due, next(self._order), action))

    def release_due(self, now: float) -> None:
        """Run what is due at ``now``."""
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()

    def next_due(self) -> float | None:
        """Return the earliest time at which something is due, or None."""
        return self._heap[0][0] if self._heap else None

    def flush(self) -> None:
        """See :class:`Release`."""
        while self._heap:
            heapq.heappop(self._heap)[2]()

    def clear(self) -> None:
        """See :class:`Release`."""
        self._heap.clear()


class LoopRelease:
    """Releases by one timer of an asyncio loop; times are ``loop.time()``."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue = VirtualRelease()
        self._timer: asyncio.TimerHandle | None = None

    def push(self, due: float, action: Action) -> None:
        """See :class:`Release`."""
        self._queue.push(due, action)
        if self._timer is None or due < self._timer.when():
            self._arm()

    def flush(self) -> None:
        """See :class:`Release`."""
        self._disarm()
        self._queue.flush()

    def clear(self) -> None:
        """See :class:`Release`."""
        self._disarm()
        self._queue.clear()

    def _arm(self) -> None:
        self._disarm()
        due = self._queue.next_due()
        if due is not None:
            self._timer = self._loop.call_at(due, self._fire, due)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self, due: float) -> None:
        self._timer = None
        try:
            # The loop fires up to one clock tick early; without `due` such a call would release nothing and spin.
            self._queue.release_due(max(due, self._loop.time()))
        finally:
            self._arm()
