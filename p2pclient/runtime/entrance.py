"""Between joining and waiting: this client measures what the server asks for, and answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from p2pclient.common.screening_messages import Screen, Screened
from p2pclient.runtime.person import Person
from p2pclient.runtime.presenter import WindowLink
from p2pclient.runtime.screening import Examination
from p2pclient.runtime.signaling_client import SignalingClient

log = logging.getLogger("tandem.screening")


class Entrance:
    """What one client was asked to measure, and whether the server has let it in since.

    Args:
        headless: there is no window.
    """

    def __init__(self, signaling: SignalingClient, window: WindowLink, person: Person, *, headless: bool) -> None:
        self._signaling = signaling
        self._window = window
        self._person = person
        self._headless = headless
        self._asked: Screen | None = None
        self._loaded: tuple[Mapping[str, Any], float] | None = None
        self._again: asyncio.Task[None] | None = None

    @property
    def is_closed(self) -> bool:
        """Has the server asked, and said nothing since."""
        return self._asked is not None

    def take(self, asked: Screen) -> None:
        """The server asks. It is answered once the environment is loaded."""
        self._asked = asked
        if self._loaded is not None and (self._again is None or self._again.done()):
            self._again = asyncio.create_task(self._examine(*self._loaded))  # a new connection, or a new server

    def admit(self) -> bool:
        """The server lets this client in; returns whether it had asked before."""
        asked, self._asked = self._asked, None
        return asked is not None

    async def examine(self, ready: Mapping[str, Any], rate_hz: float) -> None:
        """The environment is loaded: measure what was asked for, if anything was, and answer."""
        await self._examine(ready, rate_hz)
        self._loaded = (ready, rate_hz)

    async def fail(self, problem: str) -> None:
        """The environment cannot be loaded: tell the server why, if it wants to know."""
        if self._asked is not None and "environment" in self._asked.checks:
            facts = await self._examination(1.0).examine((), ready=None, problem=problem)
            await self._signaling.tell(Screened(screening_id=self._asked.screening_id, facts=facts))

    async def close(self) -> None:
        """Measure nothing any more: the waiting is over. Harmless twice."""
        again, self._again = self._again, None
        self._asked = self._loaded = None
        if again is not None:
            again.cancel()
            await asyncio.wait({again})

    def _examination(self, rate_hz: float) -> Examination:
        return Examination(
            self._window, self._person, echo=self._signaling.echo, rate_hz=rate_hz, headless=self._headless
        )

    async def _examine(self, ready: Mapping[str, Any], rate_hz: float) -> None:
        answered = None
        while self._asked is not None and self._asked is not answered:
            answered = self._asked
            facts = await self._examination(rate_hz).examine(answered.checks, ready=ready)
            log.info("measured: %s", facts)
            await self._signaling.tell(Screened(screening_id=answered.screening_id, facts=facts))
