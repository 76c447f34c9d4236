"""The transport by way of the server, over a wire that loses what it is told to. Time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relay_rig import Wire, make_wired
from virtual_loop import VirtualLoop

from p2pclient.runtime.relay_door import RelayDoor
from p2pclient.transport import relay
from p2pclient.transport.base import CONTROL, INPUTS, MAX_CONTROL_BYTES, Closed, Failed, Opened
from p2pclient.transport.conformance import Listener, close_pair
from p2pclient.transport.relay import (
    ACK,
    BYE,
    HEAD,
    HELLO,
    INPUT,
    LAST_PART,
    MAX_INPUTS_UNDER_WAY,
    PART,
    RelayTransport,
)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(test())


async def opened(first: int = 100) -> tuple[Listener, Listener, Wire, Wire]:
    a, b, there, back = make_wired(first=first)
    pair = Listener(a), Listener(b)
    for each in pair:
        await each.until_open()
    return *pair, there, back


def kinds(wire: Wire) -> list[int]:
    return [frame[0] for frame in wire.carried]


def test_lost_control_is_sent_again_and_arrives_once_and_in_order() -> None:
    async def test() -> None:
        a, b, there, back = await opened()
        seen = 0

        def every_third(frame: bytes) -> bool:
            nonlocal seen
            seen += 1
            return seen % 3 == 0

        there.loses = back.loses = every_third
        messages = [bytes([number]) * (1 + 397 * number) for number in range(60)]
        for message in messages:
            a.transport.send_control(message)
        while len(b.on(CONTROL)) < len(messages):
            await asyncio.sleep(1)
            b.received += b.transport.take_received()
        assert b.on(CONTROL) == messages
        assert there.lost > 20
        there.loses = back.loses = lambda frame: False
        await asyncio.sleep(10)
        assert a.transport.stats().buffered_bytes == 0
        await close_pair(a, b)

    run(test)


def test_inputs_stop_while_none_arrive_and_go_on_afterwards() -> None:
    async def test() -> None:
        a, b, there, _ = await opened()
        there.loses = lambda frame: True
        for number in range(200):
            a.transport.send_datagram(bytes([number]))
        assert there.lost == MAX_INPUTS_UNDER_WAY
        assert a.transport.stats().dropped_by_reason == {"congested": 200 - MAX_INPUTS_UNDER_WAY}
        assert a.transport.stats().sent[INPUTS].messages == 200
        there.loses = lambda frame: False
        # What was lost is never acknowledged: the way opens again with the first message that gets through.
        for _ in range(40):
            a.transport.send_datagram(b"fresh")
            await asyncio.sleep(0.1)
        await b.until(lambda: b"fresh" in b.on(INPUTS))
        before = len(b.on(INPUTS))
        a.transport.send_datagram(b"and on")
        await b.until(lambda: len(b.on(INPUTS)) > before)
        await close_pair(a, b)

    run(test)


def test_both_find_each_other_although_the_first_hellos_are_lost() -> None:
    async def test() -> None:
        a, b, there, back = make_wired()
        there.loses = back.loses = lambda frame: True
        pair = Listener(a), Listener(b)
        await asyncio.sleep(2.2)
        assert there.lost > 3
        there.loses = back.loses = lambda frame: False
        for each in pair:
            await each.until_open()
            assert each.events == [Opened()]
        assert a.number == b.number != 0
        await close_pair(*pair)

    run(test)


def test_a_peer_that_never_answers_is_a_failure_with_a_sentence() -> None:
    async def test() -> None:
        transport = RelayTransport(Wire(), open_within=5.0)
        listener = Listener(transport)
        await asyncio.sleep(6)
        await listener.until(lambda: bool(listener.events))
        assert listener.events == [Failed(relay.NO_RELAY)]
        await transport.close()

    run(test)


def test_a_peer_that_falls_silent_is_lost_and_one_that_says_nothing_is_not() -> None:
    async def test() -> None:
        a, b, _, back = await opened()
        await asyncio.sleep(120)
        await a.until(lambda: True)
        assert a.events == [Opened()]
        back.loses = lambda frame: True
        await asyncio.sleep(relay.LOST_AFTER_S + 2)
        await a.until(lambda: len(a.events) > 1)
        assert a.events[1:] == [Failed(relay.LOST)]
        await close_pair(a, b)

    run(test)


def test_what_is_meant_for_an_earlier_transport_is_dropped() -> None:
    async def test() -> None:
        a, b, there, _ = await opened()
        a.transport.send_datagram(b"old")
        await b.until(lambda: bool(b.received))
        old = there.carried[-1]
        await close_pair(a, b)
        c, d, *_ = await opened(5000)
        assert isinstance(d.transport, RelayTransport)
        for number in range(256):
            d.transport.receive(HEAD.pack(INPUT, number, 1, 0, 0) + b"guessed")
        d.transport.receive(old)
        await asyncio.sleep(1)
        await d.until(lambda: True)
        assert not d.received
        assert d.transport.stats().dropped_by_reason["foreign-channel"] > 200
        await close_pair(c, d)

    run(test)


def test_hellos_find_their_transport_and_a_new_one_is_told_apart() -> None:
    async def test() -> None:
        a, b, there, _ = await opened()
        assert isinstance(b.transport, RelayTransport)
        door = RelayDoor()
        door.add(b.transport)
        ours = next(frame for frame in there.carried if frame[0] == HELLO)
        assert door.addressee(ours) is b.transport
        new = HEAD.pack(HELLO, 0, 9999, relay.VERSION, 0) + bytes(8)
        assert door.addressee(new) is None
        assert door.is_call(new)
        assert not door.is_call(there.carried[-1][:5])
        calling = RelayTransport(Wire())
        door.add(calling)
        assert door.addressee(new) is calling
        b.transport.receive(new)
        a.transport.send_control(b"still")
        await b.until(lambda: (CONTROL, b"still") in b.received)
        assert door.addressee(there.carried[-1]) is b.transport
        door.remove(b.transport)
        assert door.addressee(there.carried[-1]) is None
        await calling.close()
        await close_pair(a, b)

    run(test)


@pytest.mark.parametrize("size", [MAX_CONTROL_BYTES, relay.MAX_PART_BYTES, relay.MAX_PART_BYTES + 1])
def test_long_messages_go_in_parts(size: int) -> None:
    async def test() -> None:
        a, b, there, _ = await opened()
        message = bytes(range(251)) * (size // 251 + 1)
        a.transport.send_control(message[:size])
        await b.until(lambda: b.on(CONTROL) == [message[:size]])
        parts = -(-size // relay.MAX_PART_BYTES)
        assert [kind for kind in kinds(there) if kind in (PART, LAST_PART)] == [PART] * (parts - 1) + [LAST_PART]
        await close_pair(a, b)

    run(test)


@settings(max_examples=50, deadline=None)
@given(
    frames=st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.builds(
                lambda kind, to, number, inputs, control, content: (
                    HEAD.pack(kind, to, number, inputs, control) + content
                ),
                st.sampled_from([HELLO, INPUT, PART, LAST_PART, ACK, BYE, 77]),
                st.sampled_from([0, 107, 114, 4242]),
                st.integers(0, 2**32 - 1) | st.integers(0, 5),
                st.integers(0, 2**32 - 1) | st.integers(0, 2),
                st.integers(0, 2**32 - 1) | st.integers(0, 5),
                st.binary(max_size=20) | st.just(bytes(70_000)),
            ),
        ),
        max_size=60,
    )
)
def test_nothing_that_a_peer_sends_raises_or_grows(frames: list[bytes]) -> None:
    async def test() -> None:
        a, b, *_ = await opened()
        assert isinstance(b.transport, RelayTransport)
        for _ in range(3):
            for frame in frames:
                b.transport.receive(frame)
        assert sum(map(len, b.transport._partial)) <= MAX_CONTROL_BYTES + 70_000
        assert len(b.transport._partial) <= relay.MAX_PARTS + 1
        await asyncio.sleep(3)
        await b.until(lambda: True)
        assert set(map(type, b.events)) <= {Opened, Closed, Failed}
        await close_pair(a, b)

    run(test)


def test_endless_parts_keep_nothing() -> None:
    async def test() -> None:
        a, b, *_ = await opened()
        assert isinstance(b.transport, RelayTransport)
        for number in range(1, 500):
            b.transport.receive(HEAD.pack(PART, b.transport._own, number, 0, 0) + bytes(relay.MAX_PART_BYTES))
            assert sum(map(len, b.transport._partial)) <= MAX_CONTROL_BYTES
        assert b.transport.stats().dropped_by_reason["too-large"] > 100
        await close_pair(a, b)

    run(test)
