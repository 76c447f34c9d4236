"""Calls somebody else's function in a thread of its own, so that the server goes on whatever it does.

A thread cannot be ended from outside: a call that does not come back is left behind, counted, and when there are as
many as may run, nothing is called any more. They do not keep the program from ending.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_log = logging.getLogger("tandem.signaling")

T = TypeVar("T")


class NoAnswerError(Exception):
    """The function has not answered; says why."""


class Aside(Generic[T]):
    """Calls of one function, with a time limit.

    Args:
        name: ``module:function``, for the log.
        most: calls that may run at one time.
    """

    def __init__(self, name: str, *, timeout_s: float, most: int) -> None:
        self._name = name
        self._timeout_s = timeout_s
        self._free = asyncio.Semaphore(most)
        self.running = 0
        """Calls that have not come back, those that were given up too."""

    async def call(self, function: Callable[[], T]) -> T:
        """Return what ``function`` does, which never raises. Takes at most twice the time limit.

        Raises:
            NoAnswerError: it has not come back in time, or none was called because earlier ones have not.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._free.acquire()
        except TimeoutError:
            raise NoAnswerError(f"{self.running} earlier calls have not come back") from None
        try:
            async with asyncio.timeout(self._timeout_s):
                # Shielded: the thread frees its place when it comes back, whether anybody waits for it or not.
                return await asyncio.shield(self._start(function))
        except TimeoutError:
            raise NoAnswerError(f"it took longer than {self._timeout_s:g} s") from None

    def _start(self, function: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def come_back(found: T) -> None:
            self.running -= 1
            self._free.release()
            if not answer.done():
                answer.set_result(found)

        def call() -> None:
            found = function()
            try:
                loop.call_soon_threadsafe(come_back, found)
            except RuntimeError:
                _log.debug("%s came back after the server had ended", self._name)

        self.running += 1
        threading.Thread(target=call, name=f"aside {self._name}", daemon=True).start()
        return answer
