"""Runs the signaling server: listening, signals, and an end that tells everyone."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import uvicorn

from p2pclient.common.join_code import encode_join_code
from p2pclient.common.lobby_messages import MatchSettings
from p2pclient.common.match_settings import DEFAULT_STUDY
from signaling.accounts import ScryptPasswords, first_account
from signaling.addresses import listen, server_urls
from signaling.announce import Announcement, Announcer, make_facts
from signaling.bots import BotStarter
from signaling.certificate import Certificate
from signaling.connections import CalmWebSocket, Doorkeeper, allow_descriptors
from signaling.console.console import Console
from signaling.console.desk import RoomDesk
from signaling.decisions import DecisionLog
from signaling.identity import Entropy
from signaling.keeping import STARTS
from signaling.pauses import short_pauses
from signaling.room_state import Limits, Rules
from signaling.screening_hooks import ScreeningHook
from signaling.sockets import Keepalive, SignalingServer
from signaling.store.folder import LINK_SECRET, secret_of
from signaling.store.interface import Store
from signaling.store.sqlite import SqliteStore
from signaling.strangers import calm_uvicorn
from signaling.web import WebApp

MAX_FRAME_BYTES = 2 << 20
"""Frames up to here get a typed refusal when they are too large; beyond, the connection ends with code 1009."""

DOORS_S = 0.5
"""How often connections are looked at."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a server can be reached."""

    port: int
    urls: tuple[str, ...]
    """For people on other machines, the most useful first."""
    server: SignalingServer
    """Whose room may be looked at, and acted on, in the loop in which it runs."""
    console_urls: tuple[str, ...] = ()
    """Where the researcher's console is; none if nothing is kept, accounts included."""
    first_password: str | None = None
    """Of the account ``admin``, if it has just been made. To be shown once, on the terminal."""
    codes: tuple[str, ...] = ()
    """The same addresses, as short as a person likes to type."""


class _Web(uvicorn.Server):
    """uvicorn that leaves signals alone, so that it can run inside any loop, and says when it listens."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def keep_doors(self) -> None:
        """Cut off connections that are open for nothing, until cancelled."""
        doorkeeper = Doorkeeper()
        while True:
            await asyncio.sleep(DOORS_S)
            doorkeeper.sweep(self.server_state.connections, now=time.perf_counter())


async def serve(
    host: str,
    port: int,
    settings: MatchSettings,
    *,
    seed: int | None = None,
    rules: Rules | None = None,
    limits: Limits | None = None,
    keepalive: Keepalive | None = None,
    server_version: str = "",
    data: Path | None = None,
    bot_command: Callable[[str, str], Sequence[str]] | None = None,
    announcement: Announcement | None = None,
    hooks: Mapping[str, ScreeningHook] | None = None,
    certificate: Certificate | None = None,
    on_listening: Callable[[Listening], None] | None = None,
    stop: asyncio.Event | None = None,
    handle_signals: bool = False,
) -> None:
    """Serve until ``stop`` is set, the task is cancelled or, with ``handle_signals``, Ctrl-C or SIGTERM comes.

    Args:
        host: address to listen on; ``0.0.0.0`` for all IPv4 addresses of this machine, ``::`` for IPv6 as well.
        port: 0 takes a free one; ``on_listening`` says which.
        seed: fixes match ids and seeds, which are unpredictable otherwise.
        data: folder of what the server keeps; None keeps nothing.
        bot_command: gives the command that starts a bot of that name, as a client of the server at that URL.
        announcement: how it is found on the LAN; None: not at all, but for its URL.
        hooks: functions of the researcher's own that screen, on ``entry`` and while ``playing``.
        certificate: with which it speaks HTTPS; None: plain HTTP.

    Raises:
        ConfigurationError: ``host`` or ``port`` cannot be used; says what to do.
    """
    stop = stop or asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        bound = stack.enter_context(contextlib.closing(listen(host, port)))
        port = bound.getsockname()[1]
        allow_descriptors((limits or Limits()).clients)
        secure, names = certificate is not None, certificate.names if certificate else ()
        announcer = _announcer(announcement, host, port, server_version, rules.title if rules else "", secure)
        interface = announcement.interface if announcement else None
        urls = tuple(server_urls(host, port, interface, secure=secure, names=names))
        bots = None
        if bot_command is not None:
            bots = BotStarter(functools.partial(bot_command, server_urls(host, port, interface, secure=secure)[-1]))
            rules = replace(rules or Rules(), starts_bots=True)
        store = None if data is None else await _open_store(data, stack)
        decisions = None if data is None else stack.enter_context(contextlib.closing(DecisionLog(data, settings.study)))
        server = SignalingServer(
            settings,
            entropy=await _entropy(seed, settings.study or DEFAULT_STUDY, store),
            rules=rules,
            limits=limits,
            keepalive=keepalive,
            server_version=server_version,
            decisions=decisions,
            bots=bots,
            store=store,
            hooks=hooks,
            link_secret=None if data is None else await asyncio.to_thread(secret_of, data, LINK_SECRET),
        )
        await server.restore()
        works = [server.sweep(), stop.wait(), *([announcer.run()] if announcer else [])]
        listening = Listening(port, urls, server, codes=_codes(announcer, port, names if secure else None))
        if store is not None:
            password, console = await _console(server, store, settings.study or DEFAULT_STUDY)
            works.append(console.run())
            listening = replace(listening, console_urls=_pages_of(urls), first_password=password)
        if announcer is not None:
            server.app.facts, server.app.join_codes = announcer.current, listening.codes
        calm_uvicorn()
        web = _Web(_config(server.app, certificate), lambda: on_listening(listening) if on_listening else None)
        stack.enter_context(_stopped_by_signals(stop) if handle_signals else contextlib.nullcontext())
        await _run_until_one_ends(server, bots, web, bound, works)


async def _run_until_one_ends(
    server: SignalingServer,
    bots: BotStarter | None,
    web: _Web,
    bound: socket.socket,
    works: Sequence[Coroutine[Any, Any, Any]],
) -> None:
    """Serve beside ``works`` until any of it ends; then tell everyone, end all of it, and raise what failed."""
    tasks = [asyncio.create_task(each) for each in (web.serve(sockets=[bound]), web.keep_doors(), *works)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await server.close()
        if bots is not None:
            await bots.close()
        web.should_exit = True
        for task in tasks[1:]:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, Exception):
            raise outcome


async def _open_store(data: Path, stack: contextlib.AsyncExitStack) -> SqliteStore:
    store = SqliteStore(data, serve=True, program="tandem serve")
    stack.push_async_callback(store.close)
    return store


async def _entropy(seed: int | None, study: str, store: SqliteStore | None) -> Entropy:
    """Return where match ids and seeds come from: after a restart with the same seed, from somewhere else."""
    if seed is None:
        return random.SystemRandom()
    starts = 0 if store is None else (await store.counters(study)).get(STARTS, 0)
    # No two studies of one folder: an id belongs to one match.
    own: int | str = seed if study == DEFAULT_STUDY else f"{study}/{seed}"
    return random.Random(own if starts == 0 else f"{own}/{starts}")


async def _console(server: SignalingServer, store: Store, study: str) -> tuple[str | None, Console]:
    """Make the console; with the first account's password, if it is new."""
    password = await first_account(store, now=time.time())
    console = Console(RoomDesk(server.room, server.carry_out), store=store, passwords=ScryptPasswords(), study=study)
    server.app.add_routes(console.routes())
    server.on_change = console.changed
    return password, console


def _pages_of(urls: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{url}/console" for url in urls)


def _announcer(
    announcement: Announcement | None, host: str, port: int, version: str, study: str, secure: bool
) -> Announcer | None:
    if announcement is None:
        return None
    facts = make_facts(announcement, port, version=version, study=study, secure=secure)
    return Announcer(announcement, facts, host=host)


def _codes(announcer: Announcer | None, port: int, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the join codes; ``names`` are those of a certificate, None without one."""
    if announcer is None:
        return ()
    if names is None:
        return tuple(encode_join_code(each, port) for each in announcer.facts.addresses)
    good = [each for each in announcer.facts.addresses if ":" not in each and each in names]
    return tuple(encode_join_code(each, port, secure=True) for each in good)


def run(host: str, port: int, settings: MatchSettings, **options: Any) -> None:
    """Run :func:`serve` as a process of its own, until Ctrl-C or SIGTERM."""
    with short_pauses():
        asyncio.run(serve(host, port, settings, handle_signals=True, **options))


def _config(app: WebApp, certificate: Certificate | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        ssl_context_factory=None if certificate is None else lambda config, default: certificate.context,
        http="h11",
        ws=CalmWebSocket,
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws_max_size=MAX_FRAME_BYTES,
        # The messages are small, and a compressed frame can hide a large one.
        ws_per_message_deflate=False,
        # Engine.IO has its own pings; two keepalives would give two opinions on who is alive.
        ws_ping_interval=None,
        ws_ping_timeout=None,
        timeout_graceful_shutdown=1,
    )


@contextlib.contextmanager
def _stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    """Set ``stop`` on the first signal; the second one acts as if there were no handler."""
    loop = asyncio.get_running_loop()
    names = [name for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in names}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def on_signal(number: int, frame: Any) -> None:
        restore()
        loop.call_soon_threadsafe(stop.set)

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        restore()
