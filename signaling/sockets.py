"""The Socket.IO edge of the signaling server: checks what comes in, asks the lobby, carries out what it decides."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import socketio

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import (
    LOBBY_PROTOCOL,
    MAX_EVENT_BYTES,
    ClientMessage,
    Finished,
    GoneReason,
    Join,
    Leave,
    MatchSettings,
    Refused,
    ServerMessage,
    Signal,
    Watch,
    decode_client_event,
    encode_event,
    refusal,
)
from signaling.effects import Disconnect, Effect, Noted, Send
from signaling.frames import REFUSAL_MARK
from signaling.lobby import Entropy, Limits, Lobby
from signaling.web import LINK_KEY, Link, WebApp

_log = logging.getLogger("tandem.signaling")

SWEEP_S = 0.5
"""The library's own sweep takes up to a whole ping time-out longer."""

CONNECT_TIMEOUT_S = 10.0
"""A WebSocket that has not become a client by then is closed."""

MAX_BACKLOG = 200
"""Packets queued for one client. Who reads nothing but keeps asking is disconnected."""


@dataclass(frozen=True, slots=True)
class Keepalive:
    """When a client that says nothing is given up.

    With the defaults, one that vanished without a word is noticed within 9.5 s: interval, time-out and one sweep. The
    datagrams between peers notice it after 2.5 s, so that this is only about ghosts in the waiting room.
    """

    interval_s: int = 3
    """Seconds from an answer to the next ping. Whole: the library tells clients this number rounded down."""
    timeout_s: int = 6
    """Seconds for the answer. A client may be blocked for this long (swapped out, a debugger, a busy interpreter)
    without being dropped."""


class SignalingServer:
    """One server's state and handlers; ``app`` is the ASGI application.

    ``entropy`` gives match ids and seeds; ``server_version`` is told to clients and by ``/healthz``.
    """

    def __init__(
        self,
        settings: MatchSettings,
        *,
        entropy: Entropy,
        limits: Limits | None = None,
        keepalive: Keepalive | None = None,
        server_version: str = "",
    ) -> None:
        limits = limits or Limits()
        self._lobby = Lobby(settings, entropy=entropy, limits=limits, server_version=server_version)
        self._version = server_version
        self._sids: dict[str, str] = {}
        self._clients: dict[str, str] = {}
        self._links: dict[str, Link] = {}
        self._arrivals = 0
        # Effects are carried out in the order of the decisions, although sending yields to the loop.
        self._outbox: deque[Effect] = deque()
        self._sending = asyncio.Lock()
        self._sio = _make_socketio(keepalive or Keepalive())
        self._sio.on("connect", self._on_connect)
        self._sio.on("disconnect", self._on_disconnect)
        self._sio.on("*", self._on_event)
        self.app = WebApp(self._sio.handle_request, health=self._health, max_links=limits.clients + 100)

    # -- what comes in ------------------------------------------------------------------------------------------------

    async def _on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        link: Link = environ["asgi.scope"][LINK_KEY]
        self._arrivals += 1
        client = f"c{self._arrivals}"
        try:
            effects = self._lobby.arrive(client, now=perf_counter())
        except SignalingError as error:
            link.close()
            raise socketio.exceptions.ConnectionRefusedError(str(error), error.code) from None
        link.in_lobby = True
        self._sids[client], self._clients[sid], self._links[client] = sid, client, link
        await self._carry_out(effects)

    async def _on_disconnect(self, sid: str, reason: str) -> None:
        client = self._clients.pop(sid, None)
        if client is None:
            return
        del self._sids[client]
        link = self._links.pop(client)
        link.abort()
        # Not the library's reason: it calls a client that has said nothing for too long closed, too.
        why: GoneReason = "disconnected" if link.ended else "silent"
        _log.debug("client %s is gone: %s", client, reason)
        self._outbox += self._lobby.depart(client, why, now=perf_counter())
        # The library finds out that a client is silent while it sends to it, too, and calls this from there: whoever is
        # sending carries these effects out as well, and must not be waited for.
        if not self._sending.locked():
            await self._carry_out([])

    async def _on_event(self, event: str, sid: str, payload: Any, acknowledged: bool) -> dict[str, Any] | None:
        client = self._clients.get(sid)
        if client is None:
            return None
        try:
            await self._carry_out(self._take(client, event, payload))
            self._check_backlog(client)
            return {"ok": True}
        except SignalingError as error:
            refused = Refused(code=error.code, message=str(error)[:1000])
        except Exception:  # noqa: BLE001 - a bug here must not reach the client as anything but a refusal
            _log.exception("event %.40r failed", event)
            refused = Refused(code="server-error", message=str(refusal("server-error")))
        _log.debug("refused %.40r of %s: %s", event, client, refused.code)
        self._check_backlog(client)
        if not acknowledged:
            await self._carry_out([Send(client, refused)])
        return {"refused": {"code": refused.code, "message": refused.message}}

    def _take(self, client: str, event: str, payload: Any) -> list[Effect]:
        if event.startswith(REFUSAL_MARK):
            raise refusal(event.removeprefix(REFUSAL_MARK))
        message: ClientMessage = decode_client_event(event, payload)
        now = perf_counter()
        match message:
            case Join():
                return self._lobby.join(client, message, now=now)
            case Watch():
                return self._lobby.watch(client, message)
            case Signal():
                return self._lobby.signal(client, message)
            case Leave():
                return self._lobby.leave(client, message, now=now)
            case Finished():
                return self._lobby.finish(client, message, now=now)

    # -- what goes out ------------------------------------------------------------------------------------------------

    async def _carry_out(self, effects: Sequence[Effect]) -> None:
        """Carry these and all earlier effects out."""
        self._outbox += effects
        async with self._sending:
            while self._outbox:
                match self._outbox.popleft():
                    case Send(client, message):
                        await self._send(client, message)
                    case Disconnect(client):
                        if client in self._links:
                            self._links[client].close()
                    case Noted(what, facts):
                        _log.info("%s %s", what, facts)

    async def _send(self, client: str, message: ServerMessage) -> None:
        sid = self._sids.get(client)
        if sid is not None:
            event, payload = encode_event(message)
            await self._sio.emit(event, payload, to=sid)
            self._check_backlog(client)

    def _check_backlog(self, client: str) -> None:
        sid, link = self._sids.get(client), self._links.get(client)
        if sid is None or link is None or link.is_closed():
            return
        connection = self._sio.eio.sockets.get(self._sio.manager.eio_sid_from_sid(sid, "/"))
        if connection is not None and connection.queue.qsize() > MAX_BACKLOG:
            _log.warning("client %s reads nothing and is disconnected", client)
            link.abort()

    # -- upkeep -------------------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Notice clients that do not answer, and WebSockets that never became one. Runs until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            for each in list(self._sio.eio.sockets.values()):
                if not each.closed and not each.closing:
                    await each.check_ping_timeout()
            late = perf_counter() - CONNECT_TIMEOUT_S
            for link in list(self.app.links):
                if not link.in_lobby and link.opened_at < late:
                    link.close()

    async def close(self) -> None:
        """Tell every client that the server goes, and close the connections."""
        await self._carry_out(self._lobby.close())
        for link in list(self.app.links):
            link.close()

    def _health(self) -> dict[str, Any]:
        lobby = self._lobby
        return {
            "ok": True,
            "version": self._version,
            "protocol": LOBBY_PROTOCOL,
            "clients": lobby.clients,
            "waiting": len(lobby.waiting),
            "matches": len(lobby.matches),
            "matches_made": lobby.matches_made,
        }


def _make_socketio(keepalive: Keepalive) -> Any:
    library_log = logging.getLogger("tandem.signaling.socketio")
    library_log.setLevel(logging.ERROR)
    return socketio.AsyncServer(
        async_mode="asgi",
        transports=["websocket"],
        # One event of a client after the other, and the next is read when this one is done.
        async_handlers=False,
        monitor_clients=False,
        ping_interval=keepalive.interval_s,
        ping_timeout=keepalive.timeout_s,
        max_http_buffer_size=MAX_EVENT_BYTES + 1024,
        logger=library_log,
        engineio_logger=library_log,
    )
