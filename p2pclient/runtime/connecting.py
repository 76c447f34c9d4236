"""From a seat in a match to open connections with everyone in it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Collection, Sequence
from typing import Any

from p2pclient.common.errors import ConfigurationError, SignalingError, TransportError
from p2pclient.common.lobby_messages import REFUSALS, Admitted, Description, Matched, Peer, Signal
from p2pclient.common.path_messages import IceServers, PathMessage, RelayRefused
from p2pclient.runtime.addresses import AddressWatch
from p2pclient.runtime.ice_servers import IceBook
from p2pclient.runtime.link_paths import Way
from p2pclient.runtime.peer_link import PeerLink
from p2pclient.runtime.relay_carrier import ServerCarrier
from p2pclient.runtime.signaling_client import SignalingClient
from p2pclient.runtime.signaling_link import signaling_error
from p2pclient.transport.base import Closed, Failed, Opened, PeerTransport
from p2pclient.transport.impairment import Impairment, ImpairmentSpec
from p2pclient.transport.ladder import Rung
from p2pclient.transport.relay import RelayTransport
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


_NO_PATH = (
    f"No connection to the other player within {OPEN_TIMEOUT:g} s. "
    "Check that both computers are in the same network and that no firewall blocks UDP between them."
)

_USABLE_IF = {
    "direct": "another kind, or none, as the server is started with --relay always",
    "turn": "this kind only if the server names a TURN server (tandem serve --turn) and does not relay always",
    "relay": "another kind, or none, as the server is started with --relay never",
}


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
        path: the only kind of path to be used, for trying it out; None for the best that works.
    """

    def __init__(
        self,
        matched: Matched | Admitted,
        signaling: SignalingClient,
        *,
        impairment: ImpairmentSpec | None,
        seed: int,
        path: str | None = None,
    ) -> None:
        self._matched = matched
        self._signaling = signaling
        self._impairment = impairment
        self._seed = seed
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
        self._ice = IceBook(matched.match_id, signaling.tell)
        self._unusable = ""
        """The kind of path that is wanted and cannot be had."""
        self._firsts: set[asyncio.Task[None]] = set()
        """First attempts, some of which go on while another path is used already."""
        if isinstance(matched, Matched):
            self._ice.take(matched.ice)
            rungs = usable_rungs(matched.settings.relay, has_turn=self._ice.has_turn, path=path)
            self._unusable = "" if rungs else path or ""
            for peer in matched.peers:
                link = PeerLink(leads=peer.make_offer, way=self._way_to(peer, rungs) if rungs else None)
                self.links[peer.seats[0]] = self._links_by_client[peer.client_id] = link
            signaling.on_path_message = self._take_path_message

    def _way_to(self, peer: Peer, rungs: Sequence[Rung]) -> Way:
        async def say(description: Description, rung: Rung, attempt: int) -> None:
            numbers = {"attempt": attempt, "incarnation": self._incarnation}
            try:
                async with asyncio.timeout(_SAID_WITHIN):
                    await self._signaling.signal(peer.client_id, description, path=rung.word, **numbers)
            except TimeoutError:
                self._signaling.renew()
                raise signaling_error("timeout", self._signaling.url) from None

        return Way(
            make=lambda rung, offerer: self._make_transport(peer, rung, offerer=offerer),
            say=say,
            make_relayed=lambda: self._make_relayed(peer),
            rungs=tuple(rungs),
        )

    def _impair(self, peer: Peer) -> Impairment | None:
        if self._impairment is None or self._impairment.is_none:
            return None
        # The first one to each peer has the seed that it always had.
        seed = self._seed * 8 + peer.seats[0] if peer.seats[0] not in self.transports else self._draw_seed()
        return Impairment(self._impairment, seed)

    def _make_transport(self, peer: Peer, rung: Rung, *, offerer: bool) -> RtcTransport:
        return RtcTransport(
            offerer=offerer,
            ice_servers=self._ice.next_turn() if rung is Rung.TURN else self._ice.stun(),
            only_turn=rung is Rung.TURN,
            impairment=self._impair(peer),
            keep_s=self._matched.settings.longest_wait_s + _SPARE_S,
        )

    def _make_relayed(self, peer: Peer) -> RelayTransport:
        carrier = ServerCarrier(self._signaling, peer.client_id)
        return RelayTransport(carrier, incarnation=self._incarnation, impairment=self._impair(peer))

    def _draw_seed(self) -> int:
        self._made += 1
        return (self._seed * 8 + 7) * 1_000_003 + self._made

    def take_signal(self, message: Signal) -> None:
        """A description from a partner came in."""
        link = self._links_by_client.get(message.peer)
        if message.attempt:
            if link is not None:
                rung = Rung[message.path.upper()]
                link.take(message.description, number=message.attempt, incarnation=message.incarnation, rung=rung)
            return
        if link is not None and not link.incarnation:
            link.incarnation = message.incarnation
        future = self._expected(message.peer)
        if not future.done():
            future.set_result(message.description)

    def _take_path_message(self, message: PathMessage) -> None:
        if isinstance(message, IceServers):
            self._ice.take(message)
        elif isinstance(message, RelayRefused):
            log.info("the server does not relay: %s", REFUSALS.get(message.code, message.code))
        elif message.peer in self._links_by_client:
            self._links_by_client[message.peer].take_relayed(message.data)

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
            ConfigurationError: the only kind of path that is to be used cannot be had.
        """
        if self._unusable:
            raise ConfigurationError("--path", self._unusable, _USABLE_IF[self._unusable])
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
            ConfigurationError: the only kind of path that is to be used cannot be had.
        """
        if self._unusable:
            raise ConfigurationError("--path", self._unusable, _USABLE_IF[self._unusable])
        self._addresses = AddressWatch(self._addresses_are)
        something = asyncio.Event()
        for link in self.links.values():
            link.wakeup = something.set
            link.start()
            if not link.is_open:  # the other side may have been quicker
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
        for each in (*self._saying, *self._firsts):
            each.cancel()
        self._ice.close()
        await asyncio.gather(*self._firsts, return_exceptions=True)
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
        link = self.links.get(peer_id)
        if link is None:
            await self._make_first(peer)
        else:
            await self._connect_link(peer, link)
        log.info("connected to peer %d: %s", peer_id, (link or self.transports[peer_id]).stats())

    async def _connect_link(self, peer: Peer, link: PeerLink) -> None:
        """Open a link: directly if that works, and else over whichever kind of path is the first to open."""
        opened = asyncio.Event()
        link.wakeup = opened.set
        first: asyncio.Task[None] | None = None
        if Rung.DIRECT in link.rungs:
            link.expect(Rung.DIRECT, OPEN_TIMEOUT)
            first = asyncio.create_task(self._make_first(peer, link))
            self._firsts.add(first)
        link.connect()
        waiting = [asyncio.create_task(each.wait()) for each in (opened, self._server_lost)]
        try:
            if first is not None:
                await asyncio.wait({first, *waiting}, return_when=asyncio.FIRST_COMPLETED)
                self._raise_if_hopeless(link, first)
            if not link.is_open:
                # What is tried by now, or comes next, has as long as the first one had.
                await asyncio.wait(waiting, timeout=OPEN_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            if not link.is_open and self._server_lost.is_set():
                raise signaling_error("connection-lost", self._signaling.url)
            if not link.is_open:
                raise TransportError(_NO_PATH)
            link.take_events()
        finally:
            link.wakeup = None
            for each in waiting:
                each.cancel()

    @staticmethod
    def _raise_if_hopeless(link: PeerLink, first: asyncio.Task[None]) -> None:
        """Raise what the first attempt failed by, if there is no other kind of path, or none can be made."""
        error = first.exception() if first.done() and not link.is_open else None
        if error is not None and (len(link.rungs) == 1 or not isinstance(error, TransportError)):
            raise error

    async def _make_first(self, peer: Peer, link: PeerLink | None = None) -> None:
        """Connect directly. With a link, that has the transport then, or knows that there is none."""
        try:
            transport = await self._open_first(peer)
        except (TransportError, SignalingError) as error:
            if link is None:
                raise
            log.info("no direct connection to %s: %s", peer.client_id, error)
            link.is_missing(Rung.DIRECT)
            raise
        if link is not None and not link.is_closed:
            link.adopt(transport)

    async def _open_first(self, peer: Peer) -> RtcTransport:
        transport = self._make_transport(peer, Rung.DIRECT, offerer=peer.make_offer)
        self.transports[peer.seats[0]] = transport
        if peer.make_offer:
            offer = await transport.make_offer()
            await self._say(peer.client_id, Description(type="offer", sdp=offer["sdp"]))
            answer = await self._description_of(peer)
            await transport.accept_answer({"type": answer.type, "sdp": answer.sdp})
        else:
            offered = await self._description_of(peer)
            own = await transport.accept_offer({"type": offered.type, "sdp": offered.sdp})
            await self._say(peer.client_id, Description(type="answer", sdp=own["sdp"]))
        await wait_until_open(transport)
        self._said.pop(peer.client_id, None)
        return transport


def usable_rungs(relay: str, *, has_turn: bool, path: str | None) -> list[Rung]:
    """Return the kinds of path that may be used in a match, the best first; none if what is wanted cannot be had.

    Args:
        relay: what the study says of relaying by our server, see ``MatchSettings.relay``.
        has_turn: are there TURN servers.
        path: the only kind that the person at this machine wants.
    """
    usable = {Rung.DIRECT, Rung.RELAY} | ({Rung.TURN} if has_turn else set())
    if relay == "always":
        usable = {Rung.RELAY}
    elif relay == "never":
        usable.discard(Rung.RELAY)
    if path is not None:
        usable &= {Rung[path.upper()]}
    return sorted(usable, reverse=True)


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
        raise TransportError(_NO_PATH) from None
    finally:
        transport.wakeup = None
