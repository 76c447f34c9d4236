"""The ASGI application around the Socket.IO server: WebSockets behind a :class:`FrameGate`, ``/healthz``, one page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter, time
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from p2pclient.common.discovery_messages import FACTS_PATH, ServerFacts
from p2pclient.common.path_messages import Relay
from signaling.frames import RELAY_HEAD, FrameGate
from signaling.per_address import AddressLimits
from signaling.relay_edge import RelayOutlet

_log = logging.getLogger("tandem.signaling")

T = TypeVar("T")

SOCKET_PATH = "/socket.io/"

LINK_KEY = "tandem.link"
"""Where the ASGI scope of a WebSocket carries its :class:`Link`."""

SEND_TIMEOUT_S = 10.0
"""A client that takes nothing for this long while the buffers are full is given up."""

_DISCONNECT: Message = {"type": "websocket.disconnect", "code": 1008}


class Link:
    """One WebSocket, as the library sees it: frames pass the gate, and it can be closed from this side.

    The library's own ``disconnect`` asks the client to close; a client that does not stays connected. Closing the link
    looks to the library as if the client had gone.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self.opened_at = perf_counter()
        self.in_room = False
        self.ended = False
        """True if the client's side ended it or made us end it; False if the client is only silent."""
        self._receive = receive
        self._send = send
        self._gate = FrameGate(now=self.opened_at)
        self._receiving: asyncio.Future[Message] | None = None
        self._sending: asyncio.Future[None] | None = None
        self._closed = False
        self._aborted = False
        self._pinged_at: float | None = None
        self.on_rtt: Callable[[float], None] = lambda rtt_ms: None
        """Told of the round trip of each ping, in milliseconds."""
        self.on_relay: Callable[[Relay], bool] = lambda relay: False
        """Told what is to be relayed, which the library does not see; False if that was no business of the client's."""
        self.relays = RelayOutlet(send)

    def close(self) -> None:
        """Close it once what is queued for the client has been sent; harmless twice."""
        self._closed = True
        if self._receiving is not None:
            self._receiving.cancel()

    def abort(self) -> None:
        """Close it at once, for a client that takes nothing; harmless twice."""
        self._aborted = True
        self.close()
        if self._sending is not None:
            self._sending.cancel()

    def is_closed(self) -> bool:
        return self._closed

    async def receive(self) -> Message:
        """Return the next message that the library may see."""
        while True:
            message = await self._receive_next()
            if not self._took_relay(message):
                return message

    async def _receive_next(self) -> Message:
        if self.is_closed():
            return _DISCONNECT
        self._receiving = asyncio.ensure_future(_call(self._receive))
        try:
            message = await self._receiving
        except asyncio.CancelledError:
            if self.is_closed():
                return _DISCONNECT
            raise
        finally:
            self._receiving = None
        if message["type"] == "websocket.receive" and not _is_relay(message):
            return self._admit(message)
        self.ended = self.ended or message["type"] == "websocket.disconnect"
        return message

    def _took_relay(self, message: Message) -> bool:
        if message["type"] != "websocket.receive" or not _is_relay(message):
            return False
        now = perf_counter()
        relay = self._gate.admit_relay(message["text"], now=now)
        if isinstance(relay, Relay):
            relay = self.on_relay(relay) or self._gate.forgives(now=now)
        if not relay:
            self.ended = True
            self.close()
        return True

    def _admit(self, message: Message) -> Message:
        frame = message.get("text")
        if frame == "3" and self._pinged_at is not None:
            self.on_rtt(1000 * (perf_counter() - self._pinged_at))
            self._pinged_at = None
        passed = self._gate.admit(message.get("bytes") or b"" if frame is None else frame, now=perf_counter())
        if passed is None:
            self.ended = True
            self.close()
            return _DISCONNECT
        return {"type": "websocket.receive", "text": passed}

    async def send(self, message: Message) -> None:
        """Send to the client; raises :class:`OSError` if it takes nothing, after which the link is of no use."""
        if self._aborted:
            raise ConnectionAbortedError
        if message.get("text") == "2":  # Engine.IO's ping
            self._pinged_at = perf_counter()
        self._sending = asyncio.ensure_future(_call(self._send, message))
        try:
            await asyncio.wait_for(self._sending, SEND_TIMEOUT_S)
        except asyncio.CancelledError:
            if self.is_aborted():
                raise ConnectionAbortedError from None
            raise
        finally:
            self._sending = None

    def is_aborted(self) -> bool:
        return self._aborted


def _is_relay(message: Message) -> bool:
    text = message.get("text")
    return text is not None and text.startswith(RELAY_HEAD)


async def _call(function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    # Called in here: of a task that is cancelled before it begins, no awaitable would be left that nobody awaits.
    return await function(*arguments)


class WebApp:
    """Routes: WebSockets under ``/socket.io/`` to ``sockets``, everything else to plain pages.

    Args:
        sockets: handles a WebSocket scope (python-socketio's ``handle_request``).
        health: gives the content of ``/healthz``.
        max_links: WebSockets open at once; further ones are turned away before the handshake.
        addresses: bounds them for each address; None: not at all.
    """

    def __init__(
        self,
        sockets: Callable[..., Awaitable[Any]],
        *,
        health: Callable[[], dict[str, Any]],
        max_links: int,
        addresses: AddressLimits | None = None,
    ) -> None:
        self.links: set[Link] = set()
        self._sockets = sockets
        self._max_links = max_links
        self._addresses = addresses
        self.facts: Callable[[], ServerFacts] | None = None
        """What clients that look for a server are told; None: it is found by its URL only."""
        self.join_codes: tuple[str, ...] = ()
        self._pages = _pages(health, self)

    def add_routes(self, routes: Iterable[BaseRoute]) -> None:
        """Serve these as well: the console's. Before the server listens."""
        self._pages.router.routes.extend(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] in ("http", "websocket") and f"{scope['path']}/".startswith(SOCKET_PATH)
        if not ours:
            await self._pages(scope, receive, send)
        elif scope["type"] == "http":
            # Long polling is off, and the library answers some of these requests with nothing, which becomes a 500.
            answer = JSONResponse({"refused": {"code": "websocket-only", "message": "Connect by WebSocket."}}, 400)
            await answer(scope, receive, send)
        elif len(self.links) >= self._max_links:
            await _turn_away(scope, send, 503)
        else:
            await self._open(scope, receive, send)

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        address, limits = str((scope.get("client") or ("",))[0]), self._addresses
        if limits is not None and not limits.open(address, now=perf_counter()):
            if limits.is_to_be_said(address, now=perf_counter()):
                _log.warning("too many connections from %s: some are turned away", address)
            await _turn_away(scope, send, 429)
            return
        # The first message ("websocket.connect") is the library's; the gate only looks at what comes after it.
        link = Link(receive, send)
        self.links.add(link)
        try:
            await self._sockets({**scope, LINK_KEY: link}, link.receive, link.send)
        finally:
            self.links.discard(link)
            if limits is not None:
                limits.close(address)


async def _turn_away(scope: Scope, send: Send, status: int) -> None:
    """Answer a WebSocket's request with a status, where the server can; else with 403."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1013})
        return
    await send({"type": "websocket.http.response.start", "status": status, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b""})


def _pages(health: Callable[[], dict[str, Any]], app: WebApp) -> Starlette:
    async def healthz(request: Request) -> Response:
        return JSONResponse(health())

    async def root(request: Request) -> Response:
        text = f"This is a Tandem signaling server. On each computer that takes part, run:\n\n    {_command(request)}\n"
        if app.join_codes:
            text += "\nor, with its join code,\n\n" + "".join(f"    tandem join {each}\n" for each in app.join_codes)
        return PlainTextResponse(text)

    async def discovery(request: Request) -> Response:
        if app.facts is None:
            return JSONResponse({}, 404)
        return JSONResponse({**msgspec.to_builtins(app.facts()), "time": time()})

    return Starlette(routes=[Route("/healthz", healthz), Route(FACTS_PATH, discovery), Route("/", root)])


def _command(request: Request) -> str:
    return f"tandem join {request.url.scheme}://{request.url.netloc}"
