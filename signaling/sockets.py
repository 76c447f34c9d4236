"""The Socket.IO edge of the signaling server: checks what comes in, asks the room, carries out what it decides."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter, time
from typing import Any

import msgspec
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
from p2pclient.common.match_settings import DEFAULT_STUDY
from p2pclient.common.path_messages import AskIceServers, Relay
from p2pclient.common.probe_messages import ProbeResult, ProbeSignal
from p2pclient.common.room_messages import Confirm, Decline, Done, GoOn, Ready, Report
from p2pclient.common.screening_messages import Echo, Screened
from signaling.bots import BotStarter
from signaling.decisions import DecisionLog
from signaling.delivery import Delivery
from signaling.durable import DurableEffects, read_room
from signaling.effects import AskHook, AskMatcher, Decided, Disconnect, Effect, Kept, Noted, Send, StartBot
from signaling.frames import REFUSAL_MARK
from signaling.identity import Entropy
from signaling.matching.hook import Hook
from signaling.matching_hook import MatchingHook
from signaling.per_address import AddressLimits
from signaling.relay_edge import RelayEdge
from signaling.room import Room
from signaling.room_state import Limits, Rules
from signaling.screening_hooks import HookAnswer, ScreeningHook
from signaling.store.interface import Store
from signaling.strangers import calm_socketio
from signaling.web import LINK_KEY, Link, WebApp

_log = logging.getLogger("tandem.signaling")

SWEEP_S = 0.5
"""The library's own sweep takes up to a whole ping time-out longer."""

CONNECT_TIMEOUT_S = 10.0
"""A WebSocket that has not become a client by then is closed."""

MAX_BACKLOG = 200
"""Packets queued for one client. Who reads nothing but keeps asking is disconnected."""


_EVENT = "2"
"""Socket.IO's packet of an event in the default namespace, without an acknowledgement."""

_NEEDS_NO_RECORD = (Signal, Report, Done, Echo, ProbeSignal, ProbeResult, AskIceServers, Relay)
"""What clients say that goes on while the store cannot write: matches that run are not to notice."""


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

    ``entropy`` gives match ids and seeds; ``server_version`` is told to clients and by ``/healthz``. With a ``store``,
    what changes is in it before anybody is told, and :meth:`restore` is to be called first of all. ``hooks`` are the
    functions of a researcher's own that screen: on ``entry`` and while ``playing``. ``link_secret`` signs the links.
    """

    def __init__(
        self,
        settings: MatchSettings,
        *,
        entropy: Entropy,
        rules: Rules | None = None,
        limits: Limits | None = None,
        keepalive: Keepalive | None = None,
        server_version: str = "",
        decisions: DecisionLog | None = None,
        bots: BotStarter | None = None,
        store: Store | None = None,
        hooks: Mapping[str, ScreeningHook] | None = None,
        link_secret: bytes | None = None,
    ) -> None:
        limits, rules = limits or Limits(), rules or Rules()
        self._matching = MatchingHook(rules.matcher) if isinstance(rules.matcher, Hook) else None
        rules = replace(rules, matcher_is_aside=self._matching is not None)
        study = self._study = settings.study or DEFAULT_STUDY
        # Not from ``entropy``, which may have a fixed seed: who can guess a token is somebody else.
        secrets = random.SystemRandom()
        self.room = Room(
            settings,
            entropy=entropy,
            secrets=secrets,
            rules=rules,
            limits=limits,
            server_version=server_version,
            study=None if store is None else study,
            epoch=time() - perf_counter(),
            link_secret=link_secret,
        )
        """The one place that knows the truth. What it decides is carried out by :meth:`carry_out`."""
        self.on_change: Callable[[], None] = lambda: None
        """Called after decisions were carried out: what is shown of the room may have changed."""
        self._store = store
        self._durable = None if store is None else DurableEffects(store, study, on_trouble=self._note_trouble)
        self._bots = bots
        self._hooks = hooks or {}
        self._asking: set[asyncio.Task[None]] = set()
        # Ids outlive this process in clients that go on: those of the next one must differ.
        self._mark = f"{secrets.getrandbits(24):06x}"
        self._version = server_version
        self._sids: dict[str, str] = {}
        self._clients: dict[str, str] = {}
        self._links: dict[str, Link] = {}
        self._relay = RelayEdge(self.room, self._links)
        self._arrivals = 0
        self._is_closing = False
        """Who comes now would be in a room that the next server knows nothing of."""
        self._delivery = Delivery(self._carry_out, durable=self._durable, log=decisions)
        self._sio = _make_socketio(keepalive or Keepalive())
        self._sio.on("connect", self._on_connect)
        self._sio.on("disconnect", self._on_disconnect)
        self._sio.on("*", self._on_event)
        self._limits = AddressLimits(limits.per_address)
        self._addresses: dict[str, str] = {}
        self.app = WebApp(
            self._sio.handle_request, health=self._health, max_links=limits.clients + 100, addresses=self._limits
        )

    async def restore(self) -> None:
        """Go on with what an earlier server kept.

        Raises:
            StoreError: it cannot be read, or written.
        """
        if self._store is None:
            return
        kept = await read_room(self._store, self._study)
        effects = self.room.restore(kept, now=perf_counter())
        await self._store.write([each.record for each in effects if isinstance(each, Kept)])

    def _note_trouble(self, text: str) -> None:
        _log.error("%s", text)
        self.room.trouble(text, now=perf_counter())

    # -- what comes in ------------------------------------------------------------------------------------------------

    async def _on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        link: Link = environ["asgi.scope"][LINK_KEY]
        self._arrivals += 1
        client = f"c{self._arrivals}-{self._mark}"
        address = str((environ["asgi.scope"].get("client") or ("",))[0])
        try:
            if self._is_closing:
                raise refusal("server-error")
            effects = self.room.arrive(client, now=perf_counter(), address=address)
        except SignalingError as error:
            link.close()
            raise socketio.exceptions.ConnectionRefusedError(str(error), error.code) from None
        link.in_room = True
        self._sids[client], self._clients[sid], self._links[client] = sid, client, link
        self._addresses[client] = address
        link.on_rtt = lambda rtt_ms: self.room.measured(client, rtt_ms)
        link.on_relay = lambda relay: self._relay.take(client, relay)
        await self.carry_out(effects)

    async def _on_disconnect(self, sid: str, reason: str) -> None:
        client = self._clients.pop(sid, None)
        if client is None:
            return
        del self._sids[client]
        link = self._links.pop(client)
        self._relay.forget(link)
        del self._addresses[client]
        link.abort()
        # Not the library's reason: it calls a client that has said nothing for too long closed, too.
        why: GoneReason = "disconnected" if link.ended else "silent"
        _log.debug("client %s is gone: %s", client, reason)
        # The library finds out that a client is silent while it sends to it, too, and calls this from there: that this
        # is carried out must not be waited for.
        self._delivery.put(self.room.depart(client, why, now=perf_counter()))
        self.on_change()

    async def _on_event(self, event: str, sid: str, payload: Any, acknowledged: bool) -> dict[str, Any] | None:
        client = self._clients.get(sid)
        if client is None:
            return None
        try:
            effects, rests_on_records = self._take(client, event, payload)
            await self.carry_out(effects, rests_on_records=rests_on_records)
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
            await self.carry_out([Send(client, refused)], rests_on_records=False)
        return {"refused": {"code": refused.code, "message": refused.message}}

    def _take(self, client: str, event: str, payload: Any) -> tuple[list[Effect], bool]:
        """Return what the room decides, and whether it may rest on what is not durable yet."""
        if event.startswith(REFUSAL_MARK):
            raise refusal(event.removeprefix(REFUSAL_MARK))
        message: ClientMessage = decode_client_event(event, payload)
        rests_on_records = not isinstance(message, _NEEDS_NO_RECORD)
        if rests_on_records and (self._is_closing or (self._durable is not None and self._durable.problem)):
            raise refusal("server-error")
        return self._decide(client, message, now=perf_counter()), rests_on_records

    def _decide(self, client: str, message: ClientMessage, *, now: float) -> list[Effect]:
        room = self.room
        match message:
            case Join():
                if not self._limits.join(self._addresses[client], now=now):
                    raise refusal("rate-limited")
                return room.join(client, message, now=now)
            case Watch():
                return room.watch(client, message, now=now)
            case Signal():
                return room.signal(client, message)
            case Leave():
                return room.leave(client, message, now=now)
            case Finished():
                return room.finish(client, message, now=now)
            case Ready():
                return room.ready(client, message, now=now)
            case Confirm():
                return room.confirm(client, message, now=now)
            case Decline():
                return room.decline(client, message, now=now)
            case Report():
                return room.report(client, message, now=now)
            case GoOn():
                return room.go_on(client, message)
            case ProbeSignal():
                return room.probe_signal(client, message, now=now)
            case ProbeResult():
                return room.probe_result(client, message, now=now)
            case Done():
                return room.done(client, message)
            case Screened():
                return room.screened(client, message, now=now)
            case AskIceServers():
                return room.ice_servers(client, message, now=now)
            case Relay():
                self._relay.take(client, message)
                return []
            case Echo():
                return []

    # -- what goes out ------------------------------------------------------------------------------------------------

    async def carry_out(self, effects: Sequence[Effect], *, rests_on_records: bool = True) -> None:
        """Return when these are carried out, which is when what they rest on is durable; see :mod:`signaling.delivery`.

        Raises:
            SignalingError: ``server-error``: some of it cannot be kept at the moment, and is not told to anybody.
        """
        if effects:
            parcel = self._delivery.put(effects, rests_on_records=rests_on_records)
            was_carried_out = await parcel.done
            if not was_carried_out and parcel.has_records:
                self.on_change()
                raise refusal("server-error")
        elif self._delivery.is_due:
            self._delivery.go_on()
        self.on_change()

    async def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(client, message):
                await self._send(client, message)
            case Disconnect(client):
                if client in self._links:
                    self._links[client].close()
            case Noted(what, facts):
                _log.info("%s %s", what, facts, extra={"fields": facts})
            case StartBot() as bot:
                await self._start_bot(bot)
            case AskHook() as question:
                self._ask_aside(self._ask(question))
            case AskMatcher() as question:
                self._ask_aside(self._ask_matcher(question))
            case Kept() | Decided():
                pass  # it is durable already

    def _ask_aside(self, asking: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(asking)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask_matcher(self, question: AskMatcher) -> None:
        assert self._matching is not None
        found = await self._matching.ask(question)
        await self._follow(self.room.matcher_answered(question.request, found, now=perf_counter()))

    async def _ask(self, question: AskHook) -> None:
        hook = self._hooks.get(question.which)
        answer = HookAnswer(error="There is no such function.") if hook is None else await hook.ask(question.facts)
        await self._follow(self.room.hook_answered(question.request, answer.message, answer.error, now=perf_counter()))

    async def _follow(self, effects: Sequence[Effect]) -> None:
        """Carry out what came of an answer."""
        try:
            await self.carry_out(effects)
        except SignalingError as error:
            _log.debug("after an answer of a hook: %s", error)  # what is wrong was logged when it began

    async def _start_bot(self, bot: StartBot) -> None:
        if self._bots is None:
            self._delivery.put(self.room.bot_failed(bot.participant, "this server starts none", now=perf_counter()))
            return

        def ended(why: str) -> None:
            # Only of interest if it has not come.
            self._delivery.put(self.room.bot_failed(bot.participant, why, now=perf_counter()))

        await self._bots.start(bot, ended)

    async def _send(self, client: str, message: ServerMessage) -> None:
        sid = self._sids.get(client)
        connection = None if sid is None else self._sio.manager.eio_sid_from_sid(sid, "/")
        if connection is not None:
            # Not the library's ``emit``: it makes a task and waits for it, so that what is told to many, one after the
            # other, takes as many rounds of the loop, each with everything else that is due.
            event, payload = encode_event(message)
            await self._sio.eio.send(connection, _EVENT + msgspec.json.encode([event, payload]).decode())
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
            await self._tick()
            for each in list(self._sio.eio.sockets.values()):
                if not each.closed and not each.closing:
                    await each.check_ping_timeout()
            late = perf_counter() - CONNECT_TIMEOUT_S
            for link in list(self.app.links):
                if not link.in_room and link.opened_at < late:
                    link.close()

    async def _tick(self) -> None:
        try:
            await self.carry_out(self.room.tick(perf_counter()))
        except SignalingError as error:
            _log.debug("the room's tick: %s", error)  # what is wrong was logged when it began
        except Exception:  # noqa: BLE001 - one participant's trouble must not end the server for all
            _log.exception("the room's tick failed")

    async def close(self) -> None:
        """Tell every client that the server goes, and close the connections."""
        self._is_closing = True
        for asking in self._asking:
            asking.cancel()
        await self.carry_out(self.room.close())
        for link in list(self.app.links):
            link.close()

    def _health(self) -> dict[str, Any]:
        room = self.room
        problem = "" if self._durable is None else self._durable.problem
        return {
            "ok": not problem,
            **({"store": problem} if problem else {}),
            "version": self._version,
            "protocol": LOBBY_PROTOCOL,
            "clients": room.clients,
            "waiting": len(room.waiting),
            "matches": len(room.matches),
            "matches_made": room.matches_made,
            "relay": self._relay.counts(),
        }


def _make_socketio(keepalive: Keepalive) -> Any:
    library_log = logging.getLogger("tandem.signaling.socketio")
    calm_socketio(library_log)
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
