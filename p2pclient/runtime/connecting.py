"""From a seat in a match to open connections with everyone in it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Collection, Sequence
from typing import Any

from p2pclient.common.errors import SignalingError, TransportError
from p2pclient.common.lobby_messages import Admitted, Description, Matched, Peer, Signal
from p2pclient.runtime.addresses import AddressWatch
from p2pclient.runtime.peer_link import PeerLink, Way
from p2pclient.runtime.signaling_client import SignalingClient
from p2pclient.runtime.signaling_link import signaling_error
from p2pclient.transport.base import Closed, Failed, Opened, PeerTransport
from p2pclient.transport.ice import IceServer
from p2pclient.transport.impairment import Impairment, ImpairmentSpec
from p2pclient.transport.rtc import RtcTransport

log = logging.getLogger("tandem.connecting")

OPEN_TIMEOUT = 20.0
"""Seconds from the exchanged descriptions until both lanes must be open."""


SERVER_BACK_WITHIN_S = 30.0
"""How long a server that is being started again is waited for."""

_REACH_TIMEOUT = 30.0
"""Seconds for a player to answer a spectator; its program may still be loading the environment."""


_SPARE_S = 10.0
"""Seconds beyond the time after which a silent partner is given up, for which a path without an answer is kept."""

_SAID_WITHIN = 2.0
"""Seconds in which the server must have taken a description in mid-match; else the way to it is made anew, too."""

_UNHEARD = frozenset({"not-connected", "connection-lost", "timeout", "server-error", "not-matched", "not-your-partner"})
"""Why a description did not reach the partner that can be said again: the server, or the partner, is coming back."""


class PartnerLeft(SignalingError):
    """A partner went away before the match began."""

    def __init__(self) -> None:
        super().__init__("partner-left", "The other player left before the match began.")


class Connector:
    """Makes the connections of one match, and for a player further ones while it lasts.

    Args:
        matched: who plays, from the server, told to a player or to a spectator. Only a player's are links.
        signaling: relays descriptions.
        impairment: what to do to what leaves here, None for nothing.
        seed: of the impairment; each peer's link gets one of its own.
        ice_servers: none on a LAN.
    """

    def __init__(
        self,
        matched: Matched | Admitted,
        signaling: SignalingClient,
        *,
        impairment: ImpairmentSpec | None,
        seed: int,
        ice_servers: Sequence[IceServer] = (),
    ) -> None:
        self._matched = matched
        self._signaling = signaling
        self._impairment = impairment
        self._seed = seed
        self._ice_servers = tuple(ice_servers)
        self._descriptions: dict[str, asyncio.Future[Description]] = {}
        self._gone = asyncio.Event()
        self._server_lost = asyncio.Event()
        self._giving_up: asyncio.TimerHandle | None = None
        self._said: dict[str, Description] = {}
        """Our descriptions, by peer, for those who have not heard them."""
        self._saying: set[asyncio.Task[None]] = set()
        self._made = 0
        self._incarnation = 1 + secrets.randbits(52)
        """Of this program, as the peers know it."""
        self.transports: dict[int, RtcTransport] = {}
        """The first ones, by peer id, which is the peer's lowest seat."""
        self._addresses: AddressWatch | None = None
        self.links: dict[int, PeerLink] = {}
        self._links_by_client: dict[str, PeerLink] = {}
        if isinstance(matched, Matched):
            for peer in matched.peers:
                link = PeerLink(leads=peer.make_offer, way=self._way_to(peer))
                self.links[peer.seats[0]] = self._links_by_client[peer.client_id] = link

    def _way_to(self, peer: Peer) -> Way:
        async def say(description: Description, attempt: int) -> None:
            numbers = {"attempt": attempt, "incarnation": self._incarnation}
            try:
                async with asyncio.timeout(_SAID_WITHIN):
                    await self._signaling.signal(peer.client_id, description, **numbers)
            except TimeoutError:
                self._signaling.renew()
                raise signaling_error("timeout", self._signaling.url) from None

        return Way(make=lambda offerer: self._make_transport(peer, offerer=offerer), say=say)

    def _make_transport(self, peer: Peer, *, offerer: bool) -> RtcTransport:
        impairment = None
        if self._impairment is not None and not self._impairment.is_none:
            # The first one to each peer has the seed that it always had.
            seed = self._seed * 8 + peer.seats[0] if peer.seats[0] not in self.transports else self._draw_seed()
            impairment = Impairment(self._impairment, seed)
        keep_s = self._matched.settings.drop_after_s + _SPARE_S
        return RtcTransport(offerer=offerer, ice_servers=self._ice_servers, impairment=impairment, keep_s=keep_s)

    def _draw_seed(self) -> int:
        self._made += 1
        return (self._seed * 8 + 7) * 1_000_003 + self._made

    def take_signal(self, message: Signal) -> None:
        """A description from a partner came in."""
        link = self._links_by_client.get(message.peer)
        if message.attempt:
            if link is not None:
                link.take(message.description, number=message.attempt, incarnation=message.incarnation)
            return
        if link is not None and not link.incarnation:
            link.incarnation = message.incarnation
        future = self._expected(message.peer)
        if not future.done():
            future.set_result(message.description)

    def peer_gone(self) -> None:
        """The server says that a partner left."""
        self._gone.set()

    def server_lost(self) -> None:
        """The connection to the server ended: what was not said through it until now will not come."""
        self._server_lost.set()

    def server_away(self) -> None:
        """The connection to the server ended, and our seat is kept for a while. Harmless twice."""
        if self._giving_up is None:
            self._giving_up = asyncio.get_running_loop().call_later(SERVER_BACK_WITHIN_S, self.server_lost)

    def server_back(self, match_id: str | None) -> None:
        """The server is back, and has given us our seat in that match again; None if it knows of none."""
        if match_id != self._matched.match_id:
            self.server_lost()
            return
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        for client_id in self._said:
            self.say_again(client_id)
        for link in self.links.values():
            link.hurry()

    def say_again(self, client_id: str) -> None:
        """A partner is back, or we are: what was said in the meantime may not have reached it."""
        if client_id in self._links_by_client:
            self._links_by_client[client_id].hurry()
        if client_id in self._said:
            saying = asyncio.create_task(self._say(client_id, self._said[client_id]))
            self._saying.add(saying)
            saying.add_done_callback(self._saying.discard)

    def _addresses_are(self, addresses: Collection[str]) -> None:
        self._signaling.addresses_are(addresses)
        for link in self.links.values():
            link.addresses_are(addresses)

    async def connect(self) -> dict[int, PeerLink]:
        """Connect to all partners at once. The links are this object's to close.

        Raises:
            PartnerLeft: one went away meanwhile.
            TransportError: a connection cannot be made; says what to check.
            SignalingError: the server refused to relay.
        """
        self._addresses = AddressWatch(self._addresses_are) if self._matched.peers else None
        tasks = [asyncio.create_task(self._connect_one(peer)) for peer in self._matched.peers]
        gone = asyncio.create_task(self._gone.wait())
        open_tasks: set[asyncio.Task[Any]] = set(tasks)
        try:
            while open_tasks:
                done, _ = await asyncio.wait({*open_tasks, gone}, return_when=asyncio.FIRST_COMPLETED)
                if gone in done:
                    raise PartnerLeft
                for task in done:
                    task.result()
                open_tasks -= done
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.close()
            raise
        finally:
            gone.cancel()
        return dict(self.links)

    async def connect_again(self) -> dict[int, PeerLink]:
        """Connect to those who play on, or wait, in a match that this program was started again to come back to.

        Who is not reached by then may be reached later: its link goes on trying.

        Raises:
            TransportError: none of them can be reached.
        """
        self._addresses = AddressWatch(self._addresses_are)
        something = asyncio.Event()
        for link in self.links.values():
            link.wakeup = something.set
            link.start()
            link.begin("returned")
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                while not any(link.is_open for link in self.links.values()):
                    await something.wait()
                    something.clear()
        except TimeoutError:
            raise TransportError("None of the other players of the match can be reached any more.") from None
        finally:
            for link in self.links.values():
                link.wakeup = None
        return dict(self.links)

    async def connect_some(self) -> dict[int, RtcTransport]:
        """Connect to as many as can be reached: whoever only watches needs one, and has the others in reserve.

        Raises:
            TransportError: none can be reached.
            SignalingError: the server refused to relay.
        """
        attempts = [asyncio.wait_for(self._connect_one(peer), _REACH_TIMEOUT) for peer in self._matched.peers]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        failed = {
            peer.seats[0]: result
            for peer, result in zip(self._matched.peers, results, strict=True)
            if result is not None
        }
        for peer, error in failed.items():
            if not isinstance(error, TransportError | SignalingError | TimeoutError):
                raise error
            log.info("player %d cannot be reached: %r", peer, error)
            if peer in self.transports:
                await self.transports.pop(peer).close()
        if not self.transports:
            refusals = [error for error in failed.values() if isinstance(error, SignalingError)]
            raise refusals[0] if refusals else TransportError("None of the players can be reached.")
        return dict(self.transports)

    async def close(self) -> None:
        """Close all connections."""
        if self._giving_up is not None:
            self._giving_up.cancel()
        for saying in self._saying:
            saying.cancel()
        if self._addresses is not None:
            await self._addresses.close()
        every: list[PeerTransport] = [*self.transports.values(), *self.links.values()]
        await asyncio.gather(*(each.close() for each in every))

    def _expected(self, client_id: str) -> asyncio.Future[Description]:
        if client_id not in self._descriptions:
            self._descriptions[client_id] = asyncio.get_running_loop().create_future()
        return self._descriptions[client_id]

    async def _description_of(self, peer: Peer) -> Description:
        """Wait for it as long as it takes: the other side may still be loading its environment."""
        said, lost = self._expected(peer.client_id), asyncio.create_task(self._server_lost.wait())
        either: set[asyncio.Future[Any]] = {said, lost}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
        if not said.done():
            raise signaling_error("connection-lost", self._signaling.url)
        return said.result()

    async def _say(self, client_id: str, description: Description) -> None:
        """Send a description. If it is not heard because somebody is coming back, it is sent again then."""
        self._said[client_id] = description
        try:
            await self._signaling.signal(client_id, description, incarnation=self._incarnation)
        except SignalingError as error:
            if error.code not in _UNHEARD:
                raise
            log.info("%s did not hear our description: %s", client_id, error)

    async def _connect_one(self, peer: Peer) -> None:
        peer_id = peer.seats[0]
        transport = self._make_transport(peer, offerer=peer.make_offer)
        self.transports[peer_id] = transport
        if peer.make_offer:
            offer = await transport.make_offer()
            await self._say(peer.client_id, Description(type="offer", sdp=offer["sdp"]))
            answer = await self._description_of(peer)
            await transport.accept_answer({"type": answer.type, "sdp": answer.sdp})
        else:
            offered = await self._description_of(peer)
            own = await transport.accept_offer({"type": offered.type, "sdp": offered.sdp})
            await self._say(peer.client_id, Description(type="answer", sdp=own["sdp"]))
        link = self.links.get(peer_id)
        if link is None:
            await wait_until_open(transport)
        else:
            await _open_link(link, transport)
        self._said.pop(peer.client_id, None)
        log.info("connected to peer %d: %s", peer_id, (link or transport).stats())


async def _open_link(link: PeerLink, transport: RtcTransport) -> None:
    """Wait for the first connection of a link. For the other side it may have been open, and lost again by now."""
    something = asyncio.Event()
    link.wakeup = something.set
    tasks: list[asyncio.Task[Any]] = [
        asyncio.create_task(wait_until_open(transport)),
        asyncio.create_task(something.wait()),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not link.is_open:
            await tasks[0]
            link.adopt(transport)
        link.take_events()
    finally:
        link.wakeup = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def wait_until_open(transport: PeerTransport) -> None:
    """Wait until both lanes of a transport are open.

    Raises:
        TransportError: that failed, or took too long; says what to check.
    """
    something = asyncio.Event()
    transport.wakeup = something.set
    try:
        async with asyncio.timeout(OPEN_TIMEOUT):
            while True:
                for event in transport.take_events():
                    if isinstance(event, Opened):
                        return
                    if isinstance(event, Failed):
                        raise TransportError(event.reason)
                    if isinstance(event, Closed):
                        raise TransportError("The other player's program closed the connection.")
                something.clear()
                await something.wait()
    except TimeoutError:
        raise TransportError(
            f"No connection to the other player within {OPEN_TIMEOUT:g} s. "
            "Check that both computers are in the same network and that no firewall blocks UDP between them."
        ) from None
    finally:
        transport.wakeup = None
