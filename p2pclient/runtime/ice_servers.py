"""The STUN and TURN servers of the current match, with credentials that are renewed before they expire."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.path_messages import AskIceServers, IceServers, check_ice_url
from p2pclient.transport.ice import IceServer

log = logging.getLogger("tandem.connecting")

RENEW_BEFORE_S = 60.0
"""Seconds before the credentials expire at which new ones are asked for."""
ASK_AGAIN_S = 5.0


class IceBook:
    """What the server said of STUN and TURN servers. Nothing that it said can raise.

    Args:
        ask: asks the server for fresh credentials; False if it was not heard. The answer goes to :meth:`take`.
    """

    def __init__(self, match_id: str, ask: Callable[[AskIceServers], Awaitable[bool]]) -> None:
        self._match_id = match_id
        self._ask = ask
        self._stun: list[IceServer] = []
        self._turn: list[IceServer] = []
        self._turns_taken = 0
        self._renewing: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def has_turn(self) -> bool:
        """Is there any TURN server."""
        return bool(self._turn)

    def stun(self) -> list[IceServer]:
        """Return the STUN server to use; the library takes one."""
        return self._stun[:1]

    def next_turn(self) -> list[IceServer]:
        """Return the TURN server to try now: the library takes one, so that each attempt tries the next."""
        if not self._turn:
            return []
        self._turns_taken += 1
        return [self._turn[(self._turns_taken - 1) % len(self._turn)]]

    def take(self, offer: IceServers | None) -> None:
        """The server offers these. May be called before there is a loop only without credentials."""
        if offer is None or offer.match_id != self._match_id or self._is_closed:
            return
        found = []
        for each in offer.servers:
            try:
                check_ice_url("ICE server", each.url)
            except ConfigurationError as error:
                log.warning("the server names a helper that cannot be used: %s", error)
                continue
            found.append(IceServer(each.url, each.username or None, each.credential or None))
        self._stun = [each for each in found if each.url.startswith("stun:")]
        self._turn = [each for each in found if not each.url.startswith("stun:")]
        self._stop_renewing()
        if self._turn and offer.valid_s > 0:
            self._renewing = asyncio.create_task(self._renew(max(offer.valid_s - RENEW_BEFORE_S, offer.valid_s / 2)))

    def close(self) -> None:
        """Ask for nothing more. An answer that comes later is not taken."""
        self._is_closed = True
        self._stop_renewing()

    def _stop_renewing(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None

    async def _renew(self, after: float) -> None:
        is_heard = False
        while not is_heard:
            await asyncio.sleep(after)
            is_heard, after = await self._ask(AskIceServers(match_id=self._match_id)), ASK_AGAIN_S
