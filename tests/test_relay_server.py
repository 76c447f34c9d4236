"""What the server relays between players, for whom, how much, and what it refuses."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from relay_rig import RelayedClients, relayed_clients
from room_rig import come, confirm, finish, make_room, match_of
from signaling_rig import SETTINGS

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import Leave, Matched
from p2pclient.common.path_messages import MAX_RELAYED_BYTES, Relay
from p2pclient.transport.base import CONTROL
from p2pclient.transport.conformance import CHECKS, Listener, close_pair
from signaling.effects import Effect, Noted
from signaling.frames import FLOOD, RELAY_CAPACITY, RELAY_HEAD, FrameGate
from signaling.relaying import (
    BYTES_AT_ONCE,
    BYTES_PER_SECOND,
    MAX_WAITING_CONTROL_CHARS,
    MAX_WAITING_INPUTS,
    RelayQueue,
)
from signaling.room import Room


async def test_a_relayed_transport_does_what_every_transport_does() -> None:
    async with relayed_clients() as clients:
        for check in CHECKS:
            await check(clients.make_pair)
        counts = clients.server._relay.counts()
        assert counts["messages"] > 500
        assert counts["dropped"] == 0
        assert not clients.refused


# -- who may -----------------------------------------------------------------------------------------------------------


def two_matches(**rules: Any) -> tuple[Room, str, str]:
    room = make_room(2, **rules)
    ids = []
    for pair in (("a", "b"), ("c", "d")):
        effects = come(room, *pair)
        ids.append(match_of(confirm(room, effects, *pair), pair[0]))
    return room, *ids


def relayed(room: Room, client: str, match: str, peer: str, *, size: int = 10, now: float = 0.0) -> str:
    """Return where it goes, or why it goes nowhere."""
    try:
        return room.relay(client, Relay(match_id=match, peer=peer, lane="inputs", data=bytes(size)), now=now)
    except SignalingError as error:
        return f"!{error.code}"


def test_only_present_players_of_one_running_match_are_relayed_for() -> None:
    room, one, two = two_matches()
    a, b, c = (room.participant_of(each) or "" for each in "abc")
    assert relayed(room, "a", one, b) == "b"
    assert relayed(room, "b", one, a) == "a"
    assert relayed(room, "a", one, a) == "!not-your-partner"
    assert relayed(room, "a", one, c) == "!not-your-partner"
    assert relayed(room, "a", two, c) == "!not-matched"
    assert relayed(room, "a", two, b) == "!not-matched"
    assert relayed(room, "a", "0009-ffffffff", b) == "!not-matched"
    assert relayed(room, "a", one, "nobody") == "!not-your-partner"
    assert relayed(room, "z", one, b) == "!not-matched"
    room.depart("b", "silent", now=0.0)
    assert relayed(room, "a", one, b) == "!peer-away"
    assert relayed(room, "b", one, a) == "!not-matched"
    room.leave("a", Leave(), now=0.0)
    assert relayed(room, "a", one, b) == "!not-matched"
    assert relayed(room, "c", two, room.participant_of("d") or "") == "d"
    finish(room, "d", two)
    assert relayed(room, "c", two, room.participant_of("d") or "") == "!not-your-partner"
    assert room.relayed == {
        "messages": 3, "bytes": 30, "not-your-partner": 4, "not-matched": 6, "peer-away": 1
    }  # fmt: skip


def test_what_a_study_forbids_is_not_relayed() -> None:
    room, one, _ = two_matches()
    match = room._state.matches[one]
    match.settings = msgspec.structs.replace(match.settings, relay="never")
    assert relayed(room, "a", one, room.participant_of("b") or "") == "!no-relay"


def test_each_player_has_a_rate_and_nobody_pays_for_another() -> None:
    room, one, _ = two_matches()
    a, b = (room.participant_of(each) or "" for each in "ab")
    size, passed = MAX_RELAYED_BYTES, 0
    while relayed(room, "a", one, b, size=size) == "b":
        passed += 1
        assert passed < 1000
    assert passed == BYTES_AT_ONCE // size
    assert relayed(room, "a", one, b, size=size) == "!rate-limited"
    assert relayed(room, "b", one, a, size=size) == "a"
    assert relayed(room, "a", one, b, size=size, now=size / BYTES_PER_SECOND + 0.01) == "b"


# -- how much waits ----------------------------------------------------------------------------------------------------


def test_of_a_slow_receiver_only_the_newest_inputs_wait_and_senders_take_turns() -> None:
    queue = RelayQueue()
    for number in range(MAX_WAITING_INPUTS + 5):
        queue.push("flood", "inputs", str(number))
    queue.push("calm", "inputs", "calm")
    queue.push("calm", "control", "control")
    assert queue.dropped == 5
    taken = [queue.pop() for _ in range(4)]
    assert taken == ["5", "calm", "6", "control"]
    rest = []
    while (frame := queue.pop()) is not None:
        rest.append(frame)
    assert rest == [str(number) for number in range(7, MAX_WAITING_INPUTS + 5)]
    assert not queue


def test_control_that_exceeds_the_bound_is_dropped_and_room_comes_back() -> None:
    queue, frame = RelayQueue(), "x" * 1000
    for _ in range(1000):
        queue.push("a", "control", frame)
    kept = MAX_WAITING_CONTROL_CHARS // 1000
    assert queue.dropped == 1000 - kept
    assert queue.pop() == frame
    queue.push("a", "control", frame)
    assert queue.dropped == 1000 - kept
    queue.push("a", "control", frame)
    assert queue.dropped == 1001 - kept


def test_no_more_senders_wait_than_a_match_has() -> None:
    queue = RelayQueue()
    for number in range(100):
        queue.push(f"c{number}", "inputs", "x")
    assert queue.dropped == 93


# -- at the door -------------------------------------------------------------------------------------------------------


def frame_of(**fields: Any) -> str:
    data = base64.b64encode(fields.pop("data", b"x")).decode()
    payload = {"match_id": "m", "peer": "p", "lane": "inputs", "data": data, **fields}
    return f"42{json.dumps(['relay', payload], separators=(',', ':'))}"


def connected_gate() -> FrameGate:
    gate = FrameGate(now=0.0)
    assert gate.admit("40", now=0.0) == "40"
    return gate


def test_what_is_relayed_is_read_at_the_door() -> None:
    gate = connected_gate()
    frame = frame_of(data=b"\x00\xff")
    assert frame.startswith(RELAY_HEAD)
    assert gate.admit_relay(frame, now=0.0) == Relay(match_id="m", peer="p", lane="inputs", data=b"\x00\xff")


@pytest.mark.parametrize(
    "frame",
    [
        frame_of(lane="other"),
        frame_of(data=b""),
        frame_of(data=bytes(MAX_RELAYED_BYTES + 1)),
        frame_of(data=bytes(60_000)),
        frame_of(peer="../../etc"),
        frame_of(match_id=""),
        frame_of(peer=7),
        '42["relay",{"data":"%%%"}]',
        '42["relay",' + "[" * 5000,
        '42["relay",{}',
        '42["relay",{}]',
        '42["relay",null,null]',
    ],
)
def test_what_is_malformed_is_dropped_and_costs_patience(frame: str) -> None:
    gate = connected_gate()
    assert [gate.admit_relay(frame, now=0.0) for _ in range(FLOOD)] == [True] * FLOOD
    assert gate.admit_relay(frame, now=0.0) is False


def test_a_flood_closes_its_own_connection() -> None:
    gate, frame = connected_gate(), frame_of()
    passed = [gate.admit_relay(frame, now=0.0) for _ in range(RELAY_CAPACITY + FLOOD + 1)]
    assert sum(isinstance(each, Relay) for each in passed) == RELAY_CAPACITY
    assert passed[-1] is False
    assert passed[-2] is True


def test_before_the_connection_is_made_nothing_is_relayed() -> None:
    assert FrameGate(now=0.0).admit_relay(frame_of(), now=0.0) is False


# -- over real sockets -------------------------------------------------------------------------------------------------


async def test_a_refusal_is_told_once_a_second_and_partners_hear_nothing() -> None:
    async with relayed_clients() as clients:
        for _ in range(30):
            clients.pair[0].client.relay("nobody", "inputs", b"x")
        await until(lambda: clients.server._relay.counts().get("not-your-partner", 0) == 30)
        await proves_to_work(clients)
        assert clients.refused == ["not-your-partner"] * len(clients.refused)
        assert 1 <= len(clients.refused) < 10


async def test_nothing_relayed_waits_for_what_is_carried_out_slowly() -> None:
    async with relayed_clients() as clients:
        goes_on = asyncio.Event()

        async def hang(effect: Effect) -> None:
            await goes_on.wait()

        delivery = clients.server._delivery
        carry_out, delivery._carry_out = delivery._carry_out, hang
        delivery.put([Noted("something that takes its time", {})])
        await proves_to_work(clients)
        assert not delivery.is_idle
        delivery._carry_out = carry_out
        goes_on.set()


async def test_what_the_study_forbids_is_refused_with_its_code() -> None:
    async with relayed_clients(msgspec.structs.replace(SETTINGS, relay="never")) as clients:
        await clients.make_pair()
        await until(lambda: bool(clients.refused))
        assert clients.refused[0] == "no-relay"
        for each in clients._ends:
            await each.close()


async def test_who_writes_the_event_otherwise_is_relayed_as_well() -> None:
    async with relayed_clients() as clients:
        heard: list[bytes] = []
        clients.pair[1].client.on_path_message = lambda message: heard.append(getattr(message, "data", b""))
        matched: Matched = clients.matched[0]
        relay = Relay(
            match_id=matched.match_id, peer=matched.peers[0].client_id, lane="control", data=b"by the library"
        )
        assert await clients.pair[0].client.tell(relay)
        await until(lambda: bool(heard))
        assert heard == [b"by the library"]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what wakes nobody."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def proves_to_work(clients: RelayedClients) -> None:
    a, b = map(Listener, await clients.make_pair())
    await a.until_open()
    await b.until_open()
    a.transport.send_control(b"through")
    await b.until(lambda: (CONTROL, b"through") in b.received)
    await close_pair(a, b)
