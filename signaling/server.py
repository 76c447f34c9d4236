"""Runs the signaling server: listening, signals, and an end that tells everyone."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn

from p2pclient.common.lobby_messages import MatchSettings
from signaling.addresses import listen, server_urls
from signaling.lobby import Limits
from signaling.sockets import Keepalive, SignalingServer
from signaling.web import WebApp

MAX_FRAME_BYTES = 2 << 20
"""Frames up to here get a typed refusal when they are too large; beyond, the connection ends with code 1009."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a server can be reached."""

    port: int
    urls: tuple[str, ...]
    """For people on other machines, the most useful first."""


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


async def serve(
    host: str,
    port: int,
    settings: MatchSettings,
    *,
    seed: int | None = None,
    limits: Limits | None = None,
    keepalive: Keepalive | None = None,
    server_version: str = "",
    on_listening: Callable[[Listening], None] | None = None,
    stop: asyncio.Event | None = None,
    handle_signals: bool = False,
) -> None:
    """Serve until ``stop`` is set, the task is cancelled or, with ``handle_signals``, Ctrl-C or SIGTERM comes.

    Args:
        host: address to listen on; ``0.0.0.0`` for all IPv4 addresses of this machine, ``::`` for IPv6 as well.
        port: 0 takes a free one; ``on_listening`` says which.
        seed: fixes match ids and seeds, which are unpredictable otherwise.

    Raises:
        ConfigurationError: ``host`` or ``port`` cannot be used; says what to do.
    """
    stop = stop or asyncio.Event()
    bound = listen(host, port)
    listening = Listening(bound.getsockname()[1], tuple(server_urls(host, bound.getsockname()[1])))
    entropy = random.SystemRandom() if seed is None else random.Random(seed)
    server = SignalingServer(
        settings, entropy=entropy, limits=limits, keepalive=keepalive, server_version=server_version
    )
    web = _Web(_config(server.app), lambda: on_listening(listening) if on_listening else None)
    with _stopped_by_signals(stop) if handle_signals else contextlib.nullcontext():
        tasks = [asyncio.create_task(each) for each in (web.serve(sockets=[bound]), server.sweep(), stop.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await server.close()
            web.should_exit = True
            for task in tasks[1:]:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, Exception):
            raise outcome


def run(host: str, port: int, settings: MatchSettings, **options: Any) -> None:
    """Run :func:`serve` as a process of its own, until Ctrl-C or SIGTERM."""
    asyncio.run(serve(host, port, settings, handle_signals=True, **options))


def _config(app: WebApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",
        ws="websockets-sansio",
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
