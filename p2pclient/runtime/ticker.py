"""Wakes once per frame, at the due times that the match's pacing asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_MOST_OWED = 4096


class Ticker:
    """Due times of frames on the loop's clock.

    A tick that comes late does not shift the ones behind it; ticks that were missed altogether are reported as owed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due = loop.time()
        self._waiter: asyncio.Future[None] | None = None

    def hurry(self) -> None:
        """End the wait at hand now, for what cannot wait a frame (a person closed the window)."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self, duration: Callable[[], float]) -> int:
        """Wait for the next due time.

        Args:
            duration: gives the seconds that the frame behind it lasts.

        Returns:
            Frames that have become due, at least 1.
        """
        loop = self._loop
        self._waiter = loop.create_future()
        timer = loop.call_at(self._due, self.hurry)
        try:
            await self._waiter
        finally:
            timer.cancel()
        now, seconds = loop.time(), duration()
        owed = 1 + int((now - self._due) / seconds) if now > self._due else 1
        self._due = max(self._due, now - seconds) + seconds if owed == 1 else now + seconds
        return min(owed, _MOST_OWED)
