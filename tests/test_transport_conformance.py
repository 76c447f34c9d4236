"""Every transport against the same checks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from relay_rig import make_wired

from p2pclient.transport.base import PeerTransport
from p2pclient.transport.conformance import CHECKS, Check
from p2pclient.transport.impairment import Impairment, ImpairmentSpec
from p2pclient.transport.memory import memory_pair
from p2pclient.transport.rtc import RtcTransport, connect_pair

Pair = tuple[PeerTransport, PeerTransport]


async def make_memory() -> Pair:
    return memory_pair(asyncio.get_running_loop())


async def make_delayed_memory() -> Pair:
    spec = ImpairmentSpec(delay_ms=2, jitter_ms=1)
    return memory_pair(asyncio.get_running_loop(), Impairment(spec, 1), Impairment(spec, 2))


async def make_rtc() -> Pair:
    a, b = RtcTransport(offerer=True), RtcTransport(offerer=False)
    await connect_pair(a, b)
    return a, b


async def make_delayed_rtc() -> Pair:
    spec = ImpairmentSpec(delay_ms=2, jitter_ms=1)
    a = RtcTransport(offerer=True, impairment=Impairment(spec, 1))
    b = RtcTransport(offerer=False, impairment=Impairment(spec, 2))
    await connect_pair(a, b)
    return a, b


async def make_relayed() -> Pair:
    a, b, *_ = make_wired()
    return a, b


async def make_delayed_relayed() -> Pair:
    spec = ImpairmentSpec(delay_ms=2, jitter_ms=1)
    a, b, *_ = make_wired((Impairment(spec, 1), Impairment(spec, 2)))
    return a, b


MAKERS = [make_memory, make_delayed_memory, make_rtc, make_delayed_rtc, make_relayed, make_delayed_relayed]


@pytest.mark.parametrize("make_pair", MAKERS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
async def test_conformance(check: Check, make_pair: Callable[[], Awaitable[Pair]]) -> None:
    await check(make_pair)
    leftover = asyncio.all_tasks() - {asyncio.current_task()}
    if leftover:
        # aiortc's fire-and-forget tasks that are ready end within a few turns of the loop; no other may be left.
        await asyncio.wait(leftover, timeout=1)
    assert asyncio.all_tasks() == {asyncio.current_task()}
