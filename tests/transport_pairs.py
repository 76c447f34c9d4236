"""Pairs of WebRTC transports for tests, connected within the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from p2pclient.transport.base import CONTROL
from p2pclient.transport.conformance import Listener, close_pair, open_pair
from p2pclient.transport.rtc import RtcTransport, connect_pair


async def make_pair(**options: Any) -> tuple[RtcTransport, RtcTransport]:
    a, b = RtcTransport(offerer=True, **options), RtcTransport(offerer=False, **options)
    await connect_pair(a, b)
    return a, b


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[tuple[Listener, Listener]]:
    a, b = await open_pair(lambda: make_pair(**options))
    try:
        yield a, b
    finally:
        await close_pair(a, b)


def transport_of(listener: Listener) -> RtcTransport:
    assert isinstance(listener.transport, RtcTransport)
    return listener.transport


async def dropped(listener: Listener, reason: str, count: int) -> None:
    """Wait until ``count`` drops were counted; drops wake nobody."""
    async with asyncio.timeout(10):
        while listener.transport.stats().dropped_by_reason.get(reason, 0) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def still_works(a: Listener, b: Listener) -> None:
    for sender, receiver in ((a, b), (b, a)):
        receiver.received.clear()
        sender.transport.send_control(b"still here")
        await receiver.until(lambda receiver=receiver: (CONTROL, b"still here") in receiver.received)  # type: ignore[misc]
