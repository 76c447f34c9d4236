"""Stepping the wall clock changes nothing in play: durations come from clocks that only go forward."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from transport_pairs import opened

from p2pclient.protocol.endpoint import Endpoint, EndpointConfig
from p2pclient.transport.base import INPUTS
from p2pclient.transport.conformance import Listener

ROOT = Path(__file__).resolve().parent.parent
ON_THE_WALL = frozenset({"time", "time_ns", "now", "utcnow", "today", "localtime", "gmtime", "ctime"})
MAY_LOOK = {
    "p2pclient/recorder/manifest.py": "ties the clock of the records to the date, once",
    "p2pclient/recorder/run.py": "names the folder of a run",
    "p2pclient/recorder/crash.py": "says when it was",
    "p2pclient/envhost/folder.py": "asks how old a file is",
    "p2pclient/runtime/clocks.py": "notices that the date was set",
    "p2pclient/cli/account.py": "dates an account",
    "signaling/certificate.py": "says whether the certificate is good today",
    "p2pclient/cli/link.py": "dates the end of a link",
    "p2pclient/cli/doctor_machine.py": "says whether this machine's date is possible",
    "p2pclient/cli/doctor_peer.py": "compares the dates of two machines",
    "p2pclient/cli/doctor_turn.py": "says until when a credential for a TURN server is good",
    "p2pclient/cli/doctor_server.py": "compares this machine's date with the server's",
    "signaling/web.py": "tells the server's date for that",
    "signaling/decisions.py": "dates a line",
    "signaling/server.py": "dates the first account",
    "signaling/durable.py": "dates a line",
    "signaling/sockets.py": "ties the clock of the room to the date, once",
    "p2pclient/cli/soak_console.py": "dates a session",
    "signaling/console/console.py": "dates sessions and lines of the audit",
}
HOUR = 3600.0


def looks_at_the_wall_clock(source: str) -> list[int]:
    """Return the lines that ask ``time`` or ``datetime`` for the date, by whatever name they are imported."""
    tree = ast.parse(source)
    modules = {"time", "datetime", "date"}
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("time", "datetime"):
            names |= {a.asname or a.name for a in node.names if a.name in ON_THE_WALL}
            modules |= {a.asname or a.name for a in node.names if a.name in ("datetime", "date")}
        elif isinstance(node, ast.Import):
            modules |= {a.asname for a in node.names if a.asname and a.name in ("time", "datetime")}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ON_THE_WALL:
            if ast.unparse(node.value).rpartition(".")[2] in modules:
                found.append(node.lineno)
        elif isinstance(node, ast.Name) and node.id in names:
            found.append(node.lineno)
    return sorted(found)


def sources() -> Iterator[Path]:
    for top in ("p2pclient", "signaling", "envs"):
        yield from (ROOT / top).rglob("*.py")


def test_only_what_writes_dates_asks_for_them() -> None:
    found = {
        path.relative_to(ROOT).as_posix() for path in sources() if looks_at_the_wall_clock(path.read_text("utf-8"))
    }
    assert found == MAY_LOOK.keys()


def test_a_look_at_the_wall_clock_is_found_by_any_name() -> None:
    assert looks_at_the_wall_clock("import time\ntime.time()\ntime.perf_counter()\ntime.monotonic()") == [2]
    assert looks_at_the_wall_clock("from time import time as t, sleep\nlater = t\nsleep(1)") == [2]
    assert looks_at_the_wall_clock("from datetime import datetime as d\nd.now()\nself.now(3)\nself.time()") == [2]
    assert looks_at_the_wall_clock("import datetime\ndatetime.datetime.now()") == [2]


class Wall:
    """The wall clock, as somebody sets it."""

    def __init__(self) -> None:
        self.offset = 0.0
        self.asked = 0
        self._real = time.time

    def __call__(self) -> float:
        self.asked += 1
        return self._real() + self.offset


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    made = Wall()
    monkeypatch.setattr(time, "time", made)
    return made


class Talker:
    """An endpoint and the real connection under it, with the clock that the runtime has."""

    def __init__(self, listener: Listener) -> None:
        config = EndpointConfig(connection=1, local_width=2, remote_widths=(2,), is_valid=lambda seat, value: True)
        self.listener = listener
        self.endpoint = Endpoint(config, now=time.perf_counter())
        self.frame = 0

    def send(self) -> None:
        self.endpoint.queue_input(self.frame, b"\x00\x01")
        self.frame += 1
        for data in self.endpoint.datagrams_to_send(now=time.perf_counter()):
            self.listener.transport.send_datagram(data)

    async def receive(self) -> None:
        await self.listener.until(lambda: bool(self.listener.on(INPUTS)))
        for data in self.listener.on(INPUTS):
            self.endpoint.receive_datagram(data, now=time.perf_counter())
        self.listener.received.clear()


async def test_round_trips_are_the_same_while_the_wall_clock_is_set_by_hours(wall: Wall) -> None:
    async with opened() as ends:
        talkers = [Talker(end) for end in ends]
        for number in range(120):
            wall.offset = (0.0, HOUR, -HOUR, 24 * HOUR)[number // 30]
            for sender, receiver in (talkers, reversed(talkers)):
                sender.send()
                await receiver.receive()
            if number:
                for talker in talkers:
                    assert talker.endpoint.rtt is not None
                    assert 0 <= talker.endpoint.rtt < 10  # a step would show as an hour
        assert wall.asked > 0  # by what lies beneath: SCTP does
        for talker in talkers:
            talker.endpoint.handle_timer(now=time.perf_counter())
            assert talker.endpoint.silence == "heard"
            assert talker.endpoint.newest_heard == 119
            assert not talker.endpoint.drops
