"""Virtual links and delayed release: order, time and what is lost."""

from __future__ import annotations

import asyncio
import time

from p2pclient.transport.base import (
    CONTROL,
    INPUTS,
    MAX_RECEIVED_MESSAGES,
    Closed,
    Failed,
    LaneCounts,
    Opened,
    PeerTransport,
)
from p2pclient.transport.conformance import Listener
from p2pclient.transport.delayed import LoopRelease, VirtualRelease
from p2pclient.transport.impairment import Impairment, ImpairmentSpec
from p2pclient.transport.memory import VirtualLink, memory_pair


def test_ends_are_transports_and_open() -> None:
    link = VirtualLink()
    for end in (link.a, link.b):
        assert isinstance(end, PeerTransport)
        assert end.take_events() == [Opened()]


def test_a_delayed_datagram_arrives_at_its_time() -> None:
    link = VirtualLink(now=5.0, impairment_a=Impairment(ImpairmentSpec(delay_ms=100), 1))
    link.a.send_datagram(b"one")
    link.deliver(5.05)
    link.a.send_control(b"two")
    assert link.next_due() == 5.1
    link.deliver(5.099)
    assert link.b.take_received() == []
    link.deliver(5.1)
    assert link.b.take_received() == [(INPUTS, b"one")]
    link.deliver(6.0)
    assert link.b.take_received() == [(CONTROL, b"two")]
    assert link.next_due() is None


def test_an_answer_from_a_wakeup_starts_at_the_time_of_arrival() -> None:
    spec = ImpairmentSpec(delay_ms=100)
    link = VirtualLink(impairment_a=Impairment(spec, 1), impairment_b=Impairment(spec, 2))

    def echo() -> None:
        for _, data in link.b.take_received():
            link.b.send_datagram(data)

    link.b.wakeup = echo
    link.a.send_datagram(b"there and back")
    link.deliver(0.19)
    assert link.a.take_received() == []
    link.deliver(0.2)
    assert link.a.take_received() == [(INPUTS, b"there and back")]


def test_one_seed_gives_one_history() -> None:
    def run(seed: int) -> list[list[tuple[str, bytes]]]:
        spec = ImpairmentSpec(delay_ms=50, jitter_ms=20, loss=0.2, reorder=0.1, duplicate=0.1)
        link = VirtualLink(impairment_a=Impairment(spec, seed))
        history = []
        for frame in range(300):
            link.deliver(frame / 15)
            link.a.send_datagram(frame.to_bytes(2, "big"))
            history.append(link.b.take_received())
        return history

    assert run(1) == run(1) != run(2)
    arrived = [data for tick in run(1) for _, data in tick]
    assert arrived != sorted(arrived)
    assert len(arrived) != len(set(arrived))
    assert 0 < len(set(arrived)) < 300


def test_simulated_loss_is_counted_and_control_spared() -> None:
    link = VirtualLink(impairment_a=Impairment(ImpairmentSpec(loss=1.0), 1))
    for _ in range(10):
        link.a.send_datagram(b"x")
    link.a.send_control(b"y")
    link.deliver(1.0)
    assert link.b.take_received() == [(CONTROL, b"y")]
    assert link.a.stats().dropped_by_reason == {"simulated-loss": 10}
    assert link.a.stats().sent[INPUTS] == LaneCounts(10, 10)


def test_a_cut_cable_loses_datagrams_and_holds_control() -> None:
    link = VirtualLink()
    link.a.set_cut(True)
    link.a.send_datagram(b"gone")
    link.a.send_control(b"held")
    assert link.a.stats().buffered_bytes == 4
    link.deliver(60.0)
    assert link.b.take_received() == []
    link.a.set_cut(False)
    assert link.b.take_received() == [(CONTROL, b"held")]


def test_close_sends_held_control_and_forgets_held_datagrams() -> None:
    link = VirtualLink(impairment_a=Impairment(ImpairmentSpec(delay_ms=500), 1))
    link.a.send_datagram(b"input")
    link.a.send_control(b"first")
    link.a.send_control(b"leave")
    link.a.end()
    link.deliver(10.0)
    assert link.b.take_received() == [(CONTROL, b"first"), (CONTROL, b"leave")]
    assert link.b.take_events() == [Opened(), Closed(by_peer=True)]


def test_a_failure_is_told_on_its_side_only() -> None:
    link = VirtualLink()
    link.a.fail("The cable was pulled.")
    assert link.a.take_events() == [Opened(), Failed("The cable was pulled.")]
    assert link.b.take_events() == [Opened()]


def test_what_a_peer_can_make_us_keep_is_bounded() -> None:
    link = VirtualLink()
    for _ in range(MAX_RECEIVED_MESSAGES + 100):
        link.a.send_datagram(b"flood")
    assert link.b.stats().dropped_by_reason == {"queue-full": 100}
    assert len(link.b.take_received()) == MAX_RECEIVED_MESSAGES
    link.a.send_datagram(b"again")
    assert link.b.take_received() == [(INPUTS, b"again")]


def test_a_flood_of_control_fails_rather_than_losing_some() -> None:
    link = VirtualLink()
    for _ in range(100):
        link.a.send_control(bytes(60_000))
    *_, last = link.b.take_events()
    assert isinstance(last, Failed)
    assert sum(len(data) for _, data in link.b.take_received()) < 2_200_000


def test_equal_times_are_released_in_order_of_pushing() -> None:
    release, done = VirtualRelease(), list[int]()
    for number, due in enumerate((2.0, 1.0, 2.0, 1.0)):
        release.push(due, lambda number=number: done.append(number))  # type: ignore[misc]
    release.release_due(1.5)
    assert done == [1, 3]
    release.release_due(2.0)
    assert done == [1, 3, 0, 2]


async def test_the_loop_releases_in_order_of_time_and_not_early() -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    release, log = LoopRelease(loop), list[tuple[int, float]]()
    start = loop.time()
    for number, delay in enumerate((0.03, 0.01, 0.02, 0.01)):
        release.push(start + delay, lambda number=number: log.append((number, loop.time() - start)))  # type: ignore[misc]
    release.push(start + 0.03, done.set)
    await done.wait()
    assert [number for number, _ in log] == [1, 3, 2, 0]
    assert all(at >= due - 0.001 for (_, at), due in zip(log, (0.01, 0.01, 0.02, 0.03), strict=True))


async def test_cleared_releases_leave_no_timer() -> None:
    loop = asyncio.get_running_loop()
    release, log = LoopRelease(loop), list[int]()
    release.push(loop.time() + 0.001, lambda: log.append(1))
    release.clear()
    release.push(loop.time() + 0.005, lambda: log.append(2))
    done = asyncio.Event()
    loop.call_later(0.01, done.set)
    await done.wait()
    assert log == [2]


async def test_a_delay_in_a_loop_is_kept() -> None:
    loop = asyncio.get_running_loop()
    a, b = memory_pair(loop, Impairment(ImpairmentSpec(delay_ms=30), 1))
    listener, start = Listener(b), loop.time()
    a.send_datagram(b"slow")
    await listener.until(lambda: bool(listener.received))
    assert 0.029 <= loop.time() - start < 1.0
    await a.close()
    await b.close()


async def test_a_wakeup_comes_once_for_all_that_came_together() -> None:
    a, b = memory_pair(asyncio.get_running_loop())
    calls: list[float] = []
    await asyncio.sleep(0)
    b.wakeup = lambda: calls.append(time.perf_counter())
    for _ in range(50):
        a.send_datagram(b"x")
    assert not calls
    await asyncio.sleep(0)
    assert len(calls) == 1
    assert len(b.take_received()) == 50
