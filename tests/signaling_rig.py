"""What the signaling tests share: a real server on a free port, and clients that talk to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import socketio

from p2pclient.common.lobby_messages import MatchSettings, ServerMessage
from p2pclient.runtime.signaling_client import SignalingClient
from signaling.announce import Announcement
from signaling.room_state import Limits
from signaling.server import Listening, serve
from signaling.sockets import Keepalive

M = TypeVar("M")

SETTINGS = MatchSettings(env="cogrid:Test", env_args={"size": 3}, rate_hz=15.0)


@contextlib.asynccontextmanager
async def running_server(
    settings: MatchSettings = SETTINGS,
    *,
    port: int = 0,
    seed: int | None = 7,
    limits: Limits | None = None,
    keepalive: Keepalive | None = None,
    announced: bool = False,
    **more: Any,
) -> AsyncIterator[str]:
    """Run a server in this loop; gives its URL. If ``announced``, it says what it is to who asks over HTTP."""
    more["announcement"] = Announcement("Test", on_lan=False) if announced else None
    async with listening_server(
        settings, port=port, seed=seed, limits=limits, keepalive=keepalive, **more
    ) as listening:
        yield f"http://127.0.0.1:{listening.port}"


@contextlib.asynccontextmanager
async def listening_server(
    settings: MatchSettings = SETTINGS, *, port: int = 0, **options: Any
) -> AsyncIterator[Listening]:
    """Run a server in this loop; gives it."""
    listening: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    serving = serve("127.0.0.1", port, settings, stop=stop, on_listening=listening.set_result, **options)
    task = asyncio.create_task(serving)
    await asyncio.wait([task, listening], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield listening.result()
    finally:
        stop.set()
        await task


class Caller:
    """A :class:`SignalingClient` whose messages can be awaited."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.client = SignalingClient(wakeup=self._changed.set)
        self.messages: list[ServerMessage] = []

    async def until(self, condition: Callable[[], Any], within: float = 10.0) -> None:
        """Wait until the condition holds; it is looked at whenever the client calls ``wakeup``."""
        async with asyncio.timeout(within):
            while True:
                self.messages += self.client.take_messages()
                if condition():
                    return
                await self._changed.wait()
                self._changed.clear()

    async def next(self, kind: type[M], within: float = 10.0) -> M:
        """Return the next message of a kind; earlier ones of other kinds are dropped."""
        await self.until(lambda: any(isinstance(each, kind) for each in self.messages), within)
        while True:
            message = self.messages.pop(0)
            if isinstance(message, kind):
                return message


@contextlib.asynccontextmanager
async def callers(url: str, count: int) -> AsyncIterator[list[Caller]]:
    """Connect some clients, and close them in the end."""
    made = [Caller() for _ in range(count)]
    try:
        for each in made:
            await each.client.connect(url)
        yield made
    finally:
        for each in made:
            await each.client.close()


@contextlib.asynccontextmanager
async def plain_socketio(url: str) -> AsyncIterator[Any]:
    """A bare python-socketio client, which sends whatever it is told to."""
    sio = socketio.AsyncClient(reconnection=False, handle_sigint=False)
    await sio.connect(url, transports=["websocket"])
    try:
        yield sio
    finally:
        await sio.disconnect()
