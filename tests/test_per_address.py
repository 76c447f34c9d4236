"""What one address may ask for: enough for a lab behind it, not enough to be all that the server does."""

from __future__ import annotations

from typing import Any

import pytest
from signaling_rig import callers, listening_server
from uvicorn.protocols.http.h11_impl import H11Protocol

from p2pclient.common.errors import SignalingError
from p2pclient.runtime.signaling_client import SignalingClient
from signaling.connections import MOST_REQUESTS, Doorkeeper
from signaling.per_address import MOST_KEPT, SAID_AGAIN_AFTER_S, AddressLimits, is_own, network_of
from signaling.room_state import Limits
from signaling.web import WebApp

LAB = "203.0.113.7"


def test_fifty_stations_behind_one_address_start_and_come_back_twice_at_once() -> None:
    limits = AddressLimits(Limits().per_address)
    for _ in range(3):  # the start, and two restarts of the server within a second
        assert all(limits.open(LAB, now=0.5) and limits.join(LAB, now=0.5) for _ in range(50))
        for _ in range(50):
            limits.close(LAB)


def test_one_address_has_so_many_clients_at_a_time_and_others_are_unaffected() -> None:
    limits = AddressLimits(10)
    assert [limits.open(LAB, now=0.0) for _ in range(11)] == [True] * 10 + [False]
    assert limits.open("203.0.113.8", now=0.0)
    limits.close(LAB)
    assert limits.open(LAB, now=0.0)
    assert not limits.open(LAB, now=1000.0), "time alone makes no room"


@pytest.mark.parametrize("what", ["open", "join"])
def test_one_address_may_do_a_tenth_in_every_second_in_the_long_run(what: str) -> None:
    limits = AddressLimits(10)

    def once(now: float) -> bool:
        if what == "join":
            return limits.join(LAB, now=now)
        opened = limits.open(LAB, now=now)
        if opened:
            limits.close(LAB)
        return opened

    assert sum(once(0.0) for _ in range(100)) == 20
    assert sum(once(5.0) for _ in range(100)) == 5
    assert sum(once(now) for now in range(6, 106) for _ in range(3)) == 100
    assert sum(once(10_000.0) for _ in range(100)) == 20


def test_what_is_turned_away_uses_nothing_up_for_good() -> None:
    limits = AddressLimits(1)
    for _ in range(1000):
        limits.open(LAB, now=0.0)
    limits.close(LAB)
    assert limits.open(LAB, now=10.0)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("x" * 100, "x" * 64),
    ],
)
def test_addresses_of_one_subscriber_are_one(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", ""])
def test_this_computer_is_not_counted(address: str) -> None:
    limits = AddressLimits(1)
    assert is_own(address)
    assert all(limits.open(address, now=0.0) and limits.join(address, now=0.0) for _ in range(100))
    assert not is_own("2001:db8::1")
    assert not is_own("lab")


def test_a_host_of_addresses_takes_no_more_memory_than_is_bounded() -> None:
    limits = AddressLimits(5)
    for number in range(MOST_KEPT + 500):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        assert limits.open(address, now=0.0)
        limits.close(address)
        limits.close(address)  # harmless
    assert len(limits._budgets) == MOST_KEPT
    assert not limits._open


def test_refused_address_is_worth_a_line_a_minute() -> None:
    limits = AddressLimits(1)
    times = [0.0, 1.0, SAID_AGAIN_AFTER_S - 0.1, SAID_AGAIN_AFTER_S, SAID_AGAIN_AFTER_S + 1]
    assert [limits.is_to_be_said(LAB, now=now) for now in times] == [True, False, False, True, False]


# -- at the edge ------------------------------------------------------------------------------------------------------


async def ask(app: WebApp, address: str) -> list[dict[str, Any]]:
    """Open a WebSocket from an address; returns what was answered."""
    answers: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        answers.append(dict(message))

    scope = {"type": "websocket", "path": "/socket.io/", "client": (address, 1), "extensions": {}}
    scope["extensions"] = {"websocket.http.response": {}}
    await app(scope, receive, send)
    return answers


async def test_connections_beyond_the_bound_are_turned_away_before_the_handshake(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers: list[list[int]] = []

    async def sockets(scope: Any, receive: Any, send: Any) -> None:
        if len(answers) < 2:  # while this one is open, the next one comes
            answers.append([])
            answers.append([each["status"] for each in await ask(app, LAB) if "status" in each])

    app = WebApp(sockets, health=dict, max_links=100, addresses=AddressLimits(1))
    assert await ask(app, LAB) == []
    assert answers == [[], [429]]
    assert await ask(app, LAB) == [], "the first one is closed again"
    assert caplog.text.count("too many connections from 203.0.113.7") == 1
    full = WebApp(sockets, health=dict, max_links=0)
    assert (await ask(full, LAB))[0]["status"] == 503


@pytest.mark.parametrize(("status", "code"), [(429, "rate-limited"), (503, "full")])
async def test_client_that_is_turned_away_is_told_why(status: int, code: str) -> None:
    import asyncio

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d Away\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    client = SignalingClient()
    try:
        with pytest.raises(SignalingError) as caught:
            await client.connect(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        await client.close()
        server.close()
    assert caught.value.code == code


async def test_server_that_turns_away_logs_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with listening_server() as listening:
        listening.server.app._max_links = 0
        client = SignalingClient()
        with pytest.raises(SignalingError, match="is full") as caught:
            await client.connect(listening.urls[0])
        await client.close()
        listening.server.app._max_links = 1
        async with callers(listening.urls[0], 1) as (other,):
            assert other.client.connected
    assert caught.value.code == "full"
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []


class Connection(H11Protocol):
    """A connection from an address that asks for nothing."""

    def __init__(self, address: str) -> None:
        self.cycle = None
        self.address = address
        self.aborted = False
        self.transport = self  # type: ignore[assignment]

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        self.aborted = True

    def get_extra_info(self, name: str) -> tuple[str, int]:
        assert name == "peername"
        return (self.address, 1)


def test_where_there_are_too_many_requests_those_of_the_crowd_go() -> None:
    doorkeeper, people = Doorkeeper(), [Connection(f"198.51.100.{number}") for number in range(5)]
    doorkeeper.sweep(people, now=0.0)
    crowd = [Connection(LAB) for _ in range(MOST_REQUESTS + 5)]
    doorkeeper.sweep([*people, *crowd], now=1.0)
    assert sum(each.aborted for each in crowd) == 10
    assert not any(each.aborted for each in people), "although theirs are older"
