"""Lets spectators in: connects each one that the server announces to the match that is played here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from p2pclient.common.errors import SignalingError, TransportError
from p2pclient.common.lobby_messages import Description, Signal, SpectatorCame
from p2pclient.runtime.connecting import wait_until_open
from p2pclient.runtime.match_runner import MatchRunner
from p2pclient.runtime.signaling_client import SignalingClient
from p2pclient.transport.base import PeerTransport
from p2pclient.transport.ice import IceServer
from p2pclient.transport.rtc import RtcTransport

log = logging.getLogger("tandem.spectators")

_OFFER_TIMEOUT = 60.0
"""Seconds for a spectator to load the environment and make its offer."""


class SpectatorDoor:
    """The spectators of one match, as a player's client sees them. Whatever fails here concerns only the spectator.

    Args:
        signaling: relays descriptions.
        ice_servers: none on a LAN.
    """

    def __init__(self, signaling: SignalingClient, *, ice_servers: Sequence[IceServer] = ()) -> None:
        self._signaling = signaling
        self._ice_servers = tuple(ice_servers)
        self._runner: asyncio.Future[MatchRunner] = asyncio.get_running_loop().create_future()
        self._offers: dict[str, asyncio.Future[Description]] = {}
        self._ids: dict[str, int] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._transports: dict[int, PeerTransport] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def announce(self, message: SpectatorCame) -> None:
        """The server says that somebody wants to watch."""
        if message.client_id in self._ids or message.spectator in self._tasks:
            return
        self._ids[message.client_id] = message.spectator
        self._offers[message.client_id] = asyncio.get_running_loop().create_future()
        let_in = self._let_in(message.client_id, message.spectator)
        self._tasks[message.spectator] = asyncio.create_task(let_in, name=f"spectator {message.spectator}")

    def take_signal(self, message: Signal) -> bool:
        """Take a description; False if it is not a spectator's."""
        offer = self._offers.get(message.peer)
        if offer is not None and not offer.done():
            offer.set_result(message.description)
        return offer is not None

    def runner_starts(self, runner: MatchRunner) -> None:
        """The match begins: who is connected by now is let in, and whoever follows."""
        if not self._runner.done():
            self._runner.set_result(runner)

    def gone(self, client_id: str) -> None:
        """The server says that a client is gone."""
        spectator = self._ids.get(client_id)
        if spectator is not None:
            self.dismiss(spectator)

    def dismiss(self, spectator: int) -> None:
        """A spectator is not fed any more: close the connection."""
        task = self._tasks.get(spectator)
        if task is not None:
            task.cancel()
        if self._runner.done():
            self._runner.result().remove_spectator(spectator)
        transport = self._transports.pop(spectator, None)
        if transport is not None:
            closing = asyncio.create_task(transport.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all connections."""
        for spectator in list(self._tasks):
            self.dismiss(spectator)
        await asyncio.gather(*self._tasks.values(), *self._closing, return_exceptions=True)
        self._runner.cancel()

    async def _let_in(self, client_id: str, spectator: int) -> None:
        transport = RtcTransport(offerer=False, ice_servers=self._ice_servers)
        self._transports[spectator] = transport
        try:
            async with asyncio.timeout(_OFFER_TIMEOUT):
                offer = await self._offers[client_id]
            own = await transport.accept_offer({"type": offer.type, "sdp": offer.sdp})
            await self._signaling.signal(client_id, Description(type="answer", sdp=own["sdp"]))
            await wait_until_open(transport)
            runner = await asyncio.shield(self._runner)
            runner.add_spectator(spectator, transport)
            log.info("spectator %d is connected: %s", spectator, transport.stats())
        except (TimeoutError, TransportError, SignalingError) as error:
            log.info("spectator %d did not come in: %r", spectator, error)
            self._transports.pop(spectator, None)
            await transport.close()
