"""Asks the server whether a part of the players without a majority may go on, and tells the match the answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from p2pclient.common.errors import SignalingError
from p2pclient.match.drops import GRANT_PATIENCE
from p2pclient.match.plan import GrantWanted
from p2pclient.runtime.match_runner import MatchRunner

_log = logging.getLogger("tandem.client")
_AGAIN_AFTER = 0.5
"""Seconds between two attempts to ask a server that does not answer."""
_NO = "other-side"


class GrantAsker:
    """Asks for the match that is played at the time.

    Args:
        ask: tells the server who is left, and raises SignalingError if that was refused or not heard.
    """

    def __init__(self, ask: Callable[[tuple[int, ...]], Awaitable[None]]) -> None:
        self._ask = ask
        self._asking: set[asyncio.Task[None]] = set()

    def take(self, event: GrantWanted, runner: MatchRunner) -> None:
        """Begin to ask."""
        task = asyncio.create_task(self._find_out(event.living, runner), name="grant")
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    def stop(self) -> None:
        """The match is over: nobody waits for an answer any more."""
        for task in self._asking:
            task.cancel()

    async def _find_out(self, living: tuple[int, ...], runner: MatchRunner) -> None:
        for _ in range(round(GRANT_PATIENCE / _AGAIN_AFTER)):
            try:
                await self._ask(living)
            except SignalingError as error:
                _log.info("whether the match may go on: %s", error)
                if error.code == _NO:
                    runner.answer_grant(living, is_granted=False)
                    return
                await asyncio.sleep(_AGAIN_AFTER)
            else:
                runner.answer_grant(living, is_granted=True)
                return
