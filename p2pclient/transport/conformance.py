"""What every transport must do, as functions: any implementation of ``PeerTransport`` is run against all of them.

``make_pair`` returns two transports that are connected, or will be without further help. A check closes both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from p2pclient.common.errors import LocalMisuseError, TransportError
from p2pclient.common.frames import MAX_DATAGRAM_BYTES
from p2pclient.transport.base import (
    CONTROL,
    INPUTS,
    MAX_CONTROL_BYTES,
    Closed,
    LaneCounts,
    Opened,
    PeerTransport,
    TransportEvent,
)

MakePair = Callable[[], Awaitable[tuple[PeerTransport, PeerTransport]]]
Check = Callable[[MakePair], Awaitable[None]]

DEADLINE_S = 10.0


class Listener:
    """Collects what one transport hands out, waiting by its wakeup alone: one that forgets to call it is found."""

    def __init__(self, transport: PeerTransport) -> None:
        self.transport = transport
        self.received: list[tuple[str, bytes]] = []
        self.events: list[TransportEvent] = []
        self._changed = asyncio.Event()
        transport.wakeup = self._changed.set
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds.

        Raises:
            TimeoutError: it does not within ten seconds.
        """
        async with asyncio.timeout(DEADLINE_S):
            while True:
                self._changed.clear()
                self.received += self.transport.take_received()
                self.events += self.transport.take_events()
                if condition():
                    return
                await self._changed.wait()

    async def until_open(self) -> None:
        """Wait for :class:`Opened`."""
        await self.until(lambda: Opened() in self.events)

    def on(self, lane: str) -> list[bytes]:
        """Return what was collected from one lane."""
        return [data for each, data in self.received if each == lane]


async def open_pair(make_pair: MakePair) -> tuple[Listener, Listener]:
    """Return listeners on both ends of a new pair, both open."""
    a, b = map(Listener, await make_pair())
    await a.until_open()
    await b.until_open()
    return a, b


async def close_pair(*listeners: Listener) -> None:
    """Close both ends."""
    for listener in listeners:
        await listener.transport.close()


async def check_both_lanes_carry_both_ways(make_pair: MakePair) -> None:
    """Bytes arrive unchanged on the lane on which they were sent, with all values and sizes that are allowed."""
    a, b = await open_pair(make_pair)
    datagrams = [b"\x00", bytes(range(256)), b"\xff" * MAX_DATAGRAM_BYTES]
    messages = [b"\x00", bytes(range(256)) * 4, b"\xfe" * MAX_CONTROL_BYTES]
    for sender, receiver in ((a, b), (b, a)):
        for data in datagrams:
            sender.transport.send_datagram(data)
        for data in messages:
            sender.transport.send_control(data)
        await receiver.until(lambda receiver=receiver: len(receiver.received) == 6)  # type: ignore[misc]
        assert sorted(receiver.on(INPUTS)) == sorted(datagrams)
        assert receiver.on(CONTROL) == messages
    await close_pair(a, b)


async def check_control_keeps_order(make_pair: MakePair) -> None:
    """Many control messages, mixed with datagrams, arrive complete and in order."""
    a, b = await open_pair(make_pair)
    messages = [number.to_bytes(4, "big") * (1 + number % 50) for number in range(500)]
    for data in messages:
        a.transport.send_control(data)
        a.transport.send_datagram(b"between")
    await b.until(lambda: len(b.on(CONTROL)) == len(messages))
    assert b.on(CONTROL) == messages
    await close_pair(a, b)


async def check_sizes_are_refused(make_pair: MakePair) -> None:
    """What is empty, too long or not bytes is a bug of the caller, and nothing of it is sent."""
    a, b = await open_pair(make_pair)
    for send, limit in ((a.transport.send_datagram, MAX_DATAGRAM_BYTES), (a.transport.send_control, MAX_CONTROL_BYTES)):
        for data in (b"", bytes(limit + 1), "text", None):
            try:
                send(data)  # type: ignore[arg-type]
            except LocalMisuseError:
                continue
            raise AssertionError(f"took {data!r:.40}")
    a.transport.send_control(b"last")
    await b.until(lambda: bool(b.received))
    assert b.received == [(CONTROL, b"last")]
    await close_pair(a, b)


async def check_counts(make_pair: MakePair) -> None:
    """Both sides count messages and payload bytes alike, and the path in use is known."""
    a, b = await open_pair(make_pair)
    for size in (1, 10, 100):
        a.transport.send_datagram(bytes(size))
    a.transport.send_control(bytes(1000))
    await b.until(lambda: len(b.received) == 4)
    sent, received = a.transport.stats(), b.transport.stats()
    expected = {INPUTS: LaneCounts(3, 111), CONTROL: LaneCounts(1, 1000)}
    assert sent.sent == received.received == expected
    assert received.sent == sent.received == {INPUTS: LaneCounts(), CONTROL: LaneCounts()}
    for stats in (sent, received):
        assert stats.connection in ("direct", "turn", "relay", "loopback")
        assert stats.local_address
        assert stats.remote_address
        assert not stats.dropped_by_reason
    await close_pair(a, b)


async def check_polite_close(make_pair: MakePair) -> None:
    """The peer learns of a close at once, gets what was sent before it, and nothing follows on either side."""
    a, b = await open_pair(make_pair)
    a.transport.send_control(b"goodbye")
    started = asyncio.get_running_loop().time()
    await asyncio.gather(a.transport.close(), a.transport.close())
    await a.transport.close()
    await b.until(lambda: Closed(by_peer=True) in b.events)
    assert asyncio.get_running_loop().time() - started < 2.0
    assert b.on(CONTROL) == [b"goodbye"]
    await b.transport.close()
    await a.until(lambda: Closed(by_peer=False) in a.events)
    assert a.events == [Opened(), Closed(by_peer=False)]
    assert b.events == [Opened(), Closed(by_peer=True)]
    assert b.transport.take_events() == []


async def check_sending_after_the_end(make_pair: MakePair) -> None:
    """After the end datagrams are dropped and counted; control is refused with a sentence."""
    a, b = await open_pair(make_pair)
    await a.transport.close()
    await b.until(lambda: Closed(by_peer=True) in b.events)
    for end in (a, b):
        end.transport.send_datagram(b"late")
        assert end.transport.stats().dropped_by_reason["not-open"] == 1
        sentence = ""
        try:
            end.transport.send_control(b"late")
        except TransportError as error:
            sentence = str(error)
        assert sentence.endswith(".")
    await b.transport.close()


async def check_sending_within_a_wakeup(make_pair: MakePair) -> None:
    """A wakeup may use its transport, and may raise without harm to it; the loop's handler is told."""
    a, b = await open_pair(make_pair)
    loop, told = asyncio.get_running_loop(), []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: told.append(context))

    def echo_and_raise() -> None:
        for lane, data in b.transport.take_received():
            assert lane == INPUTS
            b.transport.send_datagram(data)
        raise RuntimeError("a bug in the owner")

    b.transport.wakeup = echo_and_raise
    for number in range(5):
        a.transport.send_datagram(bytes([number]))
        await a.until(lambda number=number: len(a.received) == number + 1)  # type: ignore[misc]
    assert a.on(INPUTS) == [bytes([number]) for number in range(5)]
    assert [str(context["exception"]) for context in told] == ["a bug in the owner"] * 5
    b.transport.wakeup = None
    await close_pair(a, b)
    loop.set_exception_handler(before)


CHECKS: tuple[Check, ...] = (
    check_both_lanes_carry_both_ways,
    check_control_keeps_order,
    check_sizes_are_refused,
    check_counts,
    check_polite_close,
    check_sending_after_the_end,
    check_sending_within_a_wakeup,
)
