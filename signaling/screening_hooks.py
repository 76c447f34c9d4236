"""Asks a researcher's own function about a participant, and survives whatever it does.

It is called in a thread of its own, so that the server goes on meanwhile. A thread cannot be ended from outside: one
that does not come back is left behind, counted, and at ``MAX_RUNNING`` of them nobody is asked any more. They do not
keep the program from ending.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_RUNNING = 4
MAX_CHARS = 1000

_log = logging.getLogger("tandem.screening")

HookFunction = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class HookAnswer:
    """What the function said: None for nothing to object to, or the message. ``error``: it did not say anything."""

    message: str | None = None
    error: str = ""


class ScreeningHook:
    """One function, with a time limit.

    Args:
        name: ``module:function``, for the log.
        function: takes the facts, its own copy, and returns None or a message.
    """

    def __init__(self, name: str, function: HookFunction, *, timeout_s: float) -> None:
        self.name = name
        self._function = function
        self._timeout_s = timeout_s
        self._free = asyncio.Semaphore(MAX_RUNNING)
        self.running = 0
        """Calls that have not come back, those that were given up too."""

    async def ask(self, facts: Mapping[str, Any]) -> HookAnswer:
        """Call the function; never raises, and takes at most twice the time limit."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._free.acquire()
        except TimeoutError:
            return self._failed(f"{self.running} earlier calls have not come back")
        try:
            async with asyncio.timeout(self._timeout_s):
                # Shielded: the thread frees its place when it comes back, whether anybody waits for it or not.
                return await asyncio.shield(self._start(dict(facts)))
        except TimeoutError:
            return self._failed(f"it took longer than {self._timeout_s:g} s")

    def _start(self, facts: dict[str, Any]) -> asyncio.Future[HookAnswer]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[HookAnswer] = loop.create_future()

        def come_back(found: HookAnswer) -> None:
            self.running -= 1
            self._free.release()
            if not answer.done():
                answer.set_result(found)

        def call() -> None:
            found = self._call(facts)
            try:
                loop.call_soon_threadsafe(come_back, found)
            except RuntimeError:
                _log.debug("%s came back after the server had ended", self.name)

        self.running += 1
        threading.Thread(target=call, name=f"screening {self.name}", daemon=True).start()
        return answer

    def _call(self, facts: dict[str, Any]) -> HookAnswer:
        try:
            said = self._function(facts)
        except BaseException as error:  # noqa: BLE001 - somebody else's code: even SystemExit ends only this thread
            _log.warning("%s failed", self.name, exc_info=error)
            return self._failed(f"{type(error).__name__}: {error}")
        if said is None:
            return HookAnswer()
        if isinstance(said, str) and said.strip():
            return HookAnswer(message=said.strip()[:MAX_CHARS])
        return self._failed(f"it returned {type(said).__name__}; allowed: None, or a text that is not empty")

    def _failed(self, why: str) -> HookAnswer:
        _log.warning("%s gave no answer: %s", self.name, why)
        return HookAnswer(error=f"{self.name}: {why}"[:MAX_CHARS])
