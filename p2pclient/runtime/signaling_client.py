"""The client's side of the conversation with the signaling server: an asyncio wrapper of python-socketio.

A connection that ends is made again, for as long as the client is open: with a growing pause, and with a new
:class:`Join` if the client was in the waiting room. A match in progress never depends on it. What the server sends is
checked like anything else from outside.

Codes of :class:`SignalingError` beyond the server's refusals: ``unreachable``, ``not-a-server``, ``not-connected``,
``connection-lost``, ``timeout`` and ``bad-server``.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
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
    PeerGone,
    Refused,
    ServerMessage,
    Signal,
    SpectatorCame,
    Watch,
    Welcome,
    decode_server_event,
)
from p2pclient.runtime.signaling_link import SignalingLink, signaling_error

_log = logging.getLogger("tandem.signaling_client")

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
MAX_MESSAGES = 1000
"""Messages that wait to be taken. A server that sends more than anyone reads is not believed."""

_PASSING_REFUSALS = frozenset({"full", "rate-limited", "server-error"})


def parse_server_url(text: str) -> str:
    """Return ``scheme://host:port`` for what a person typed.

    Accepted are ``http://host:port``, ``host:port`` and ``host``; an IPv6 address stands in brackets. Without a port,
    8765 is meant, and 443 with ``https``.

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

    ``wakeup`` is called in the loop when there is something to take, and when :attr:`connected` changes.
    """

    def __init__(self, *, wakeup: Callable[[], None] | None = None) -> None:
        self.wakeup = wakeup
        self.url = ""
        self.place = Place.IDLE
        self._link: SignalingLink | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._messages: list[ServerMessage] = []
        self._join: Join | None = None
        self._welcomes: list[Welcome] = []
        self._admitted: list[Admitted] = []
        self._match_id = ""

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
        self._welcomes.clear()
        await self._request(join)
        if not self._welcomes:
            raise signaling_error("bad-server", self.url)
        welcome = self._welcomes.pop()
        if welcome.watch is not None:
            if join.last_match is None or welcome.watch != join.last_match.match_id:
                raise signaling_error("bad-server", self.url)
            return welcome
        # Not said again when the connection is made anew: who has begun to wait goes on waiting.
        self._join = replace(join, last_match=None)
        if self.place is Place.IDLE:
            self.place = Place.WAITING
        return welcome

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

    async def signal(self, peer: str, description: Description) -> None:
        """Send a description to a peer of the current match.

        Raises:
            SignalingError: refused, or the connection failed meanwhile.
        """
        await self._request(Signal(match_id=self._match_id, peer=peer, description=description))

    async def finished(self, result: MatchResult) -> None:
        """Say that the current match is over for us. Never fails: a server that is away has forgotten the match."""
        await self._end(Finished(match_id=self._match_id, result=result) if self._match_id else None)

    async def leave(self) -> None:
        """Leave the waiting room or the match. Never fails."""
        await self._end(Leave() if self.place is not Place.IDLE else None)

    async def close(self) -> None:
        """Leave, and close the connection. Harmless twice."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        if self.connected:
            await self.leave()
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def take_messages(self) -> list[ServerMessage]:
        """Return what the server said since the last call, in order."""
        taken, self._messages = self._messages, []
        return taken

    # -- requests -----------------------------------------------------------------------------------------------------

    async def _request(self, message: ClientMessage) -> None:
        if self._link is None:
            raise signaling_error("not-connected", self.url)
        await self._link.request(message)

    async def _end(self, message: ClientMessage | None) -> None:
        """Be idle from now on, so that no reconnection takes the place again; tell the server if it listens."""
        self.place, self._match_id, self._join = Place.IDLE, "", None
        if message is None:
            return
        try:
            await self._request(message)
        except SignalingError as error:
            _log.info("the server was not told %s: %s", type(message).__name__, error)

    # -- messages -----------------------------------------------------------------------------------------------------

    def _receive(self, event: str, payload: Any) -> None:
        try:
            message = decode_server_event(event, payload)
        except SignalingError as error:
            message = Refused(code=error.code, message=str(error)[:1000])
        match message:
            case Welcome():
                self._welcomes = [message]
            case Matched():
                self.place, self._match_id = Place.MATCHED, message.match_id
            case Admitted():
                self._admitted = [message]
                self.place, self._match_id = Place.MATCHED, message.match_id
            case PeerGone() | Signal() | SpectatorCame() if message.match_id != self._match_id:
                return  # of an earlier match
        if len(self._messages) >= MAX_MESSAGES:
            _log.warning("the server sends more than is read; the connection is closed")
            self._link_lost()
            return
        self._messages.append(message)
        self._wake()

    def _wake(self) -> None:
        if self.wakeup is not None:
            self.wakeup()

    # -- staying connected --------------------------------------------------------------------------------------------

    async def _open(self) -> SignalingLink:
        return await SignalingLink.open(self.url, on_event=self._receive, on_lost=self._link_lost)

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
            self._wake()

    async def _reconnect(self) -> None:
        pause = FIRST_PAUSE_S
        while self._link is None:
            # Half of it at random: clients of a server that restarts do not all come at once.
            await asyncio.sleep(pause * (0.5 + random.random() / 2))
            pause = min(LONGEST_PAUSE_S, pause * 2)
            try:
                self._link = await self._open()
                if self.place is Place.WAITING and self._join is not None:
                    await self.join(self._join)
            except SignalingError as error:
                await self._give_back(error)

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
