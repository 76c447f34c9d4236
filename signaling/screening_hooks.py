"""Asks a researcher's own function about a participant, and survives whatever it does.

It is called in a thread of its own, so that the server goes on meanwhile; see :mod:`signaling.asides`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from signaling.asides import Aside, NoAnswerError

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
        self._aside: Aside[HookAnswer] = Aside(name, timeout_s=timeout_s, most=MAX_RUNNING)

    @property
    def running(self) -> int:
        """Calls that have not come back, those that were given up too."""
        return self._aside.running

    async def ask(self, facts: Mapping[str, Any]) -> HookAnswer:
        """Call the function; never raises, and takes at most twice the time limit."""
        own = dict(facts)
        try:
            return await self._aside.call(lambda: self._call(own))
        except NoAnswerError as error:
            return self._failed(str(error))

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
