"""The client's side of the conversation with the signaling server: an asyncio wrapper of python-socketio.

A connection that ends is made again, for as long as the client is open, with a growing pause. The token that the server
gave is shown then, so that the client has its place in the waiting room or its seat in the match again. A match in
progress never depends on it. A result that the server could not be told is kept, and told when it is back. What the
server sends is checked like anything else from outside.

Codes of :class:`SignalingError` beyond the server's refusals: ``unreachable``, ``not-a-server``, ``not-connected``,
``connection-lost``, ``timeout`` and ``bad-server``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import random
import ssl
from collections.abc import Callable, Collection
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from p2pclient.common.errors import ConfigurationError, LocalMisuseError, SignalingError
from p2pclient.common.lobby_messages import (
    DEFAULT_PORT,
    Admitted,
    ClientMessage,
    Description,
    Finished,
    Join,
    Leave,
    Matched,
    MatchResult,
    PeerBack,
    PeerGone,
    Refused,
    ServerMessage,
    Signal,
    SpectatorCame,
    Watch,
    Welcome,
    decode_server_event,
)
from p2pclient.common.path_messages import IceServers, Lane, PathMessage, Relay, Relayed, RelayRefused
from p2pclient.common.probe_messages import ProbeResult, ProbeSignal
from p2pclient.common.room_messages import Confirm, GoOn, Proposed, Ready, Removed, Withdrawn
from p2pclient.common.screening_messages import Echo
from p2pclient.runtime.signaling_link import SignalingLink, signaling_error

_log = logging.getLogger("tandem.signaling_client")

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
MAX_MESSAGES = 1000
"""Messages that wait to be taken. A server that sends more than anyone reads is not believed."""

OWED_WITHIN_S = 5.0
"""How long a client that ends waits for the server, to tell it a result."""

_PASSING_REFUSALS = frozenset({"full", "rate-limited", "server-error"})
_UNHEARD = _PASSING_REFUSALS | {"not-connected", "connection-lost", "timeout", "unreachable", "bad-server"}
"""Why something was not told that can be told later."""


def parse_server_url(text: str) -> str:
    """Return ``scheme://host:port`` for what a person typed.

    Accepted are ``http://host:port``, ``host:port`` and ``host``; an IPv6 address stands in brackets. Without a port,
    8765 is meant, and 443 with ``https``. A personal link is no part of it.

    Raises:
        ConfigurationError: it is none of these.
    """
    allowed = "an address such as 192.168.1.20, lab-server:8765, http://192.168.1.20:8765 or http://[fd00::1]:8765"
    typed = text.strip()
    try:
        parts = urlsplit(typed if "://" in typed else f"http://{typed}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigurationError("server URL", text, allowed) from None
    rest = parts.path.rstrip("/") + parts.query + parts.fragment
    scheme = {"http": "http", "ws": "http", "https": "https", "wss": "https"}.get(parts.scheme)
    bad_host = not host or any(each.isspace() or each in "\\<>\"'^`{|}" for each in host)
    if scheme is None or bad_host or rest or parts.username is not None or port == 0:
        raise ConfigurationError("server URL", text, allowed)
    if port is None:
        port = 443 if scheme == "https" else DEFAULT_PORT
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class Place(Enum):
    """Where this client stands with the server, as far as it knows."""

    IDLE = "idle"
    WAITING = "waiting"
    MATCHED = "matched"


class SignalingClient:
    """One client of one server. All methods belong to the loop in which :meth:`connect` ran.

    ``wakeup`` is called in the loop when there is something to take, and when :attr:`connected` changes. ``trust``
    checks the server's certificate; None: as the system does.
    """

    def __init__(self, *, wakeup: Callable[[], None] | None = None, trust: ssl.SSLContext | None = None) -> None:
        self.wakeup = wakeup
        self._trust = trust
        self.url = ""
        self.place = Place.IDLE
        self._link: SignalingLink | None = None
        self._stale: list[SignalingLink] = []
        """Connections that do not answer any more; closed when there is another one."""
        self._keeper: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._hurry = asyncio.Event()
        self._messages: list[ServerMessage] = []
        self._join: Join | None = None
        self._is_ready = False
        self._welcomes: list[Welcome] = []
        self._admitted: list[Admitted] = []
        self._match_id = ""
        self._is_watching = False
        self._answers: set[asyncio.Task[None]] = set()
        self._owed: list[tuple[Join, Finished]] = []
        """Results that the server was not told, with what gives the seat back to tell it from."""
        self._paying = asyncio.Lock()
        self.on_path_message: Callable[[PathMessage], None] = lambda message: None
        """Told of what the server passes on from a peer of the current match, or does not, and of ICE servers."""
        self.token: str | None = None
        """By which the server knows this participant again. May be set before the first :meth:`join`."""

    @property
    def connected(self) -> bool:
        """True while requests can reach the server."""
        return self._link is not None and self._link.is_open

    # -- what the runtime asks for ------------------------------------------------------------------------------------

    async def connect(self, url: str) -> None:
        """Connect for the first time; from then on, the connection is kept.

        Raises:
            ConfigurationError: ``url`` is no address of a server.
            SignalingError: it cannot be reached, is none, or refuses; the message says what to check.
        """
        if self._keeper is not None:
            raise LocalMisuseError("connect() was called twice")
        self.url = parse_server_url(url)
        self._link = await self._open()
        self._keeper = asyncio.create_task(self._keep_connected(), name="signaling connection")
        self._wake()

    async def join(self, join: Join) -> Welcome:
        """Enter the waiting room; :class:`Waiting` and :class:`Matched` follow among the messages.

        If the answer names a match to watch, the client is not in the waiting room.

        Raises:
            SignalingError: refused, or the connection failed meanwhile.
        """
        await self._pay()
        self._welcomes.clear()
        self._is_ready = join.ready
        await self._request(replace(join, token=self.token))
        if not self._welcomes:
            raise signaling_error("bad-server", self.url)
        welcome = self._welcomes.pop()
        if welcome.watch is not None:
            if join.last_match is None or welcome.watch != join.last_match.match_id:
                raise signaling_error("bad-server", self.url)
            return welcome
        # Not said again when the connection is made anew: who has begun to wait goes on waiting.
        self._join = replace(join, last_match=None, match_id=None)
        if self.place is Place.IDLE and join.match_id is None:
            self.place = Place.WAITING
        return welcome

    async def ready(self) -> None:
        """Say that the environment is loaded: from now on, what is proposed is confirmed. Never fails."""
        self._is_ready = True
        if self._join is not None:
            self._join = replace(self._join, ready=True)
        if self.place is Place.WAITING:
            await self.tell(Ready())

    async def echo(self) -> None:
        """Ask the server for nothing; how long that takes is the ping.

        Raises:
            SignalingError: the connection failed meanwhile.
        """
        await self._request(Echo())

    async def tell(self, message: ClientMessage) -> bool:
        """Say something that the client goes on without; False if it was not heard."""
        try:
            await self._request(message)
        except SignalingError as error:
            _log.debug("the server was not told %s: %s", type(message).__name__, error)
            return False
        return True

    async def watch(self, watch: Watch) -> Admitted:
        """Ask to watch a match.

        Raises:
            SignalingError: refused, or the connection failed meanwhile.
        """
        self._admitted.clear()
        await self._request(watch)
        if not self._admitted:
            raise signaling_error("bad-server", self.url)
        return self._admitted.pop()

    async def signal(
        self, peer: str, description: Description, *, path: str = "direct", attempt: int = 0, incarnation: int = 0
    ) -> None:
        """Send a description to a peer of the current match. For the numbers, see :class:`Signal`.

        Raises:
            SignalingError: refused, or the connection failed meanwhile.
        """
        await self._request(
            Signal(
                match_id=self._match_id,
                peer=peer,
                description=description,
                path="turn" if path == "turn" else "direct",
                attempt=attempt,
                incarnation=incarnation,
            )
        )

    async def ask_to_go_on(self, seats: tuple[int, ...]) -> None:
        """Ask whether the players at these seats may go on with the match without the others; returns if they may.

        Raises:
            SignalingError: ``other-side``: they may not; else it was not heard, or not understood.
        """
        await self._request(GoOn(match_id=self._match_id, seats=seats))

    async def probe(self, message: ProbeSignal | ProbeResult) -> None:
        """Say something about a probe that the server asked for.

        Raises:
            SignalingError: refused, as when it is over; or the connection failed meanwhile.
        """
        await self._request(message)

    def relay(self, peer: str, lane: Lane, data: bytes) -> bool:
        """Let the server pass bytes on to a peer of the current match; False if they are not taken."""
        link, match_id = self._link, self._match_id
        return bool(link and match_id and link.relay(Relay(match_id=match_id, peer=peer, lane=lane, data=data)))

    def renew(self) -> None:
        """Connect anew: the connection in use does not answer, and may never say that it is gone. Harmless twice.

        The server is not told that the old one ends before it knows the new one, so that nobody is told we are gone.
        """
        if self._link is not None and self._link.is_open and self._keeper is not None:
            self._link.silence()
            self._stale.append(self._link)
            self._link = None
            self._link_lost()

    def addresses_are(self, addresses: Collection[str]) -> None:
        """This computer has other addresses than before: what hangs at one that is gone is made anew, and at once."""
        self._hurry.set()
        local = self._link.local_address if self._link is not None else ""
        if local and local not in addresses and not ipaddress.ip_address(local).is_loopback:
            self.renew()

    async def finished(self, result: MatchResult) -> None:
        """Say that the current match is over for us. Never fails: a server that is away is told when it is back."""
        join, finished = self._join, Finished(match_id=self._match_id, result=result) if self._match_id else None
        if not await self._end(finished) and join is not None and finished is not None:
            self._owed.append((join, finished))

    async def leave(self) -> None:
        """Leave the waiting room or the match. Never fails."""
        await self._end(Leave() if self.place is not Place.IDLE else None)

    async def close(self) -> None:
        """Tell what is owed, leave, and close the connection. Harmless twice."""
        if self._keeper is not None and self._owed:
            try:
                async with asyncio.timeout(OWED_WITHIN_S):
                    await self._all_paid()
            except TimeoutError:
                _log.warning("the server was not told the result of a match: it does not answer")
        keeper, self._keeper = self._keeper, None
        for answer in self._answers:
            answer.cancel()
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        if self.connected:
            await self.leave()
        link, self._link = self._link, None
        if link is not None:
            await link.close()
        await self._close_stale()

    def take_messages(self) -> list[ServerMessage]:
        """Return what the server said since the last call, in order."""
        taken, self._messages = self._messages, []
        return taken

    # -- requests -----------------------------------------------------------------------------------------------------

    async def _request(self, message: ClientMessage) -> None:
        if self._link is None:
            raise signaling_error("not-connected", self.url)
        await self._link.request(message)

    async def _end(self, message: ClientMessage | None) -> bool:
        """Be idle from now on, so that no reconnection takes the place again; False if the server did not hear it."""
        self.place, self._match_id, self._join, self._is_watching = Place.IDLE, "", None, False
        self._is_ready = False
        if message is None:
            return True
        try:
            await self._request(message)
        except SignalingError as error:
            _log.info("the server was not told %s: %s", type(message).__name__, error)
            return error.code not in _UNHEARD
        return True

    async def _pay(self) -> None:
        """Tell the server what it was not told while it was away.

        Raises:
            SignalingError: it does not hear it now either.
        """
        async with self._paying:
            while self._owed:
                join, finished = self._owed[0]
                try:
                    await self._request(replace(join, token=self.token, match_id=finished.match_id, ready=False))
                    await self._request(finished)
                    _log.info("the server was told the result of match %s", finished.match_id)
                except SignalingError as error:
                    if error.code in _UNHEARD:
                        raise
                    _log.warning("the server does not take the result of match %s: %s", finished.match_id, error)
                self._owed.pop(0)

    async def _all_paid(self) -> None:
        while self._owed:
            if self.connected:
                try:
                    await self._pay()
                except SignalingError as error:
                    _log.debug("not told yet: %s", error)
            await asyncio.sleep(FIRST_PAUSE_S)

    # -- messages -----------------------------------------------------------------------------------------------------

    def _receive(self, event: str, payload: Any) -> None:
        try:
            message = decode_server_event(event, payload)
        except SignalingError as error:
            message = Refused(code=error.code, message=str(error)[:1000])
        match message:
            case Relayed() | RelayRefused() | IceServers():
                if isinstance(message, RelayRefused) or message.match_id == self._match_id:
                    self.on_path_message(message)
                return
            case Welcome():
                self._welcomes = [message]
                self.token = message.token or self.token
            case Proposed():
                self._confirm(message)
            case Matched():
                self.place, self._match_id = Place.MATCHED, message.match_id
            case Admitted():
                self._admitted = [message]
                self.place, self._match_id, self._is_watching = Place.MATCHED, message.match_id, True
            case Withdrawn() if not message.waiting:
                self.place, self._join = Place.IDLE, None
            case Removed():
                self.place, self._join, self.token = Place.IDLE, None, None
            case PeerGone() | PeerBack() | Signal() | SpectatorCame() if message.match_id != self._match_id:
                return  # of an earlier match
        if len(self._messages) >= MAX_MESSAGES:
            _log.warning("the server sends more than is read; the connection is closed")
            self._link_lost()
            return
        self._messages.append(message)
        self._wake()

    def _confirm(self, proposed: Proposed) -> None:
        """Answer for who is ready; the server gives others time, and lets them go in the end."""
        # A proposal may come before the answer to the join has been taken in.
        if self.place is Place.MATCHED or not self._is_ready:
            return
        answer = asyncio.create_task(self._tell_confirmed(proposed), name="confirmation")
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    async def _tell_confirmed(self, proposed: Proposed) -> None:
        await self.tell(Confirm(proposal_id=proposed.proposal_id))

    def _wake(self) -> None:
        if self.wakeup is not None:
            self.wakeup()

    # -- staying connected --------------------------------------------------------------------------------------------

    async def _open(self) -> SignalingLink:
        return await SignalingLink.open(self.url, on_event=self._receive, on_lost=self._link_lost, trust=self._trust)

    def _link_lost(self) -> None:
        self._lost.set()
        self._wake()

    async def _keep_connected(self) -> None:
        while True:
            await self._lost.wait()
            self._lost.clear()
            if self._link is not None:
                await self._link.close()
                self._link = None
            _log.info("the connection to %s is lost; trying again", self.url)
            await self._reconnect()
            await self._close_stale()
            self._wake()

    async def _close_stale(self) -> None:
        stale, self._stale = self._stale, []
        for link in stale:
            await link.close()

    async def _reconnect(self) -> None:
        pause = FIRST_PAUSE_S
        while self._link is None:
            # Half of it at random: clients of a server that restarts do not all come at once.
            await self._rest(pause * (0.5 + random.random() / 2))
            pause = min(LONGEST_PAUSE_S, pause * 1.5)
            try:
                self._link = await self._open()
                await self._come_back()
            except SignalingError as error:
                await self._give_back(error)

    async def _rest(self, seconds: float) -> None:
        """Wait, or until there is a reason to try earlier."""
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), seconds)

    async def _come_back(self) -> None:
        """Be known again by the server, over a new connection."""
        await self._pay()
        if self._join is None or self._is_watching:
            return
        if self.place is Place.WAITING:
            await self.join(self._join)
        elif self.place is Place.MATCHED:
            # A match goes on without the server, whatever it says: one that knows nothing of it leaves it alone.
            try:
                await self._request(replace(self._join, token=self.token, match_id=self._match_id))
            except SignalingError as error:
                if error.code in _UNHEARD:
                    raise
                _log.warning("the server does not know this client's match: %s", error)

    async def _give_back(self, error: SignalingError) -> None:
        """An attempt failed: close what is open. A refusal that will not pass is told, and ends the waiting."""
        _log.debug("no connection yet: %s", error)
        link, self._link = self._link, None
        if link is None:
            return
        if link.is_open and error.code not in {*_PASSING_REFUSALS, "timeout", "bad-server"}:
            self._link, self.place, self._join = link, Place.IDLE, None
            self._messages.append(Refused(code=error.code[:64], message=str(error)[:1000]))
            self._wake()
            return
        await link.close()
        self._lost.clear()
