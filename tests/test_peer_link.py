"""Links to a peer: what a match lives through when the connection beneath is lost, replaced, or comes back.

Whole matches on virtual time: two runners over links, in memory. What is asked each time: both recordings are the same
and complete, whatever happened to the connection.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from link_rig import Net
from runner_rig import Client, on_virtual_time

from p2pclient.common.description import Description
from p2pclient.common.errors import LocalMisuseError, TransportError
from p2pclient.match.plan import ConnectionChanged, PeerSilence
from p2pclient.recorder.records import EventRecorded
from p2pclient.runtime.link_policy import MOST_PATHS
from p2pclient.transport.base import Opened, PathChanged, Returned
from p2pclient.transport.ladder import Rung

Scenario = Callable[[Net, Client, Client], Awaitable[None]]


def play(
    during: Scenario, *, seed: int = 1, frames: int = 200, rungs: tuple[Rung, ...] = (Rung.DIRECT,), **settings: Any
) -> tuple[Client, Client]:
    """Play a match over two links while ``during`` happens to them: it ends complete, and the same on both sides."""
    sides: list[Client] = []

    async def scenario() -> None:
        net = Net(seed=seed, rungs=rungs)
        plan = {"drop_after": 60.0, "frames": frames}
        a, b = Client(0, net.links[True], **plan, **settings), Client(1, net.links[False], **plan)
        sides.extend((a, b))
        await during(net, a, b)
        ended = [await a.task, await b.task]
        assert [(each.reason, each.unverified) for each in ended] == [("finished", 0)] * 2
        await net.close()
        assert net.open_ends == 0

    on_virtual_time(scenario)
    a, b = sides
    assert len(a.frames) == frames
    assert a.frames == b.frames
    return a, b


def changes(client: Client) -> list[tuple[str, str]]:
    return [(each.connection, each.why) for each in client.events if isinstance(each, ConnectionChanged)]


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_connection_that_is_lost_for_good_is_replaced_and_nothing_is_lost() -> None:
    async def during(net: Net, a: Client, b: Client) -> None:
        await asyncio.sleep(2.0)
        net.kill_paths()
        b.runner.request_pause("Said while nothing arrives")
        await asyncio.sleep(2.0)
        assert a.match.changes.pause_reason == "Said while nothing arrives"
        b.runner.request_resume()

    a, b = play(during)
    assert changes(a) == [("loopback", "silence")]
    assert changes(b) == [("loopback", "peer")]
    assert [kind for kind, _, _ in a.changes] == ["pause", "resume"]
    (recorded,) = [each for each in a.records if isinstance(each, EventRecorded) and each.name == "connection"]
    assert recorded.details == {"peer": 1, "connection": "loopback", "why": "silence"}
    assert 0 < recorded.frame < 120
    first, second = a.runner.paths.as_data()
    assert (first["why"], first["attempt"], first["from"]) == ("first", 0, [0, 0])
    assert (second["why"], second["attempt"], second["to"]) == ("silence", 1, None)
    assert first["to"] == second["from"] == [recorded.episode, recorded.frame]
    assert first["to_s"] == second["from_s"]
    assert 3.0 < first["to_s"] < 4.0


def test_the_old_connection_is_kept_if_it_is_back_before_another_is_there() -> None:
    async def during(net: Net, a: Client, b: Client) -> None:
        net.server_delay = 1.0
        await asyncio.sleep(2.0)
        net.set_down(True)
        await asyncio.sleep(1.5)
        net.set_down(False)

    a, b = play(during)
    assert changes(a) == changes(b) == []
    assert a.runner._transports[1].attempts == 1  # type: ignore[attr-defined]


def test_an_outage_that_outlasts_many_attempts_ends_with_the_network() -> None:
    async def during(net: Net, a: Client, b: Client) -> None:
        await asyncio.sleep(2.0)
        net.set_down(True)
        await asyncio.sleep(20.0)
        stood = len(a.frames)
        assert stood < 60
        net.set_down(False)
        await asyncio.sleep(1.0)
        assert len(a.frames) > stood + 10

    a, _ = play(during)
    levels = [each.level for each in a.events if isinstance(each, PeerSilence)]
    assert levels == ["notice", "lost", "heard"]


def test_another_connection_waits_for_the_server_and_no_longer() -> None:
    async def during(net: Net, a: Client, b: Client) -> None:
        await asyncio.sleep(2.0)
        net.server_is_away = True
        net.kill_paths()
        await asyncio.sleep(15.0)
        assert changes(a) == []
        assert len(net.said) > 3
        net.server_is_away = False
        for link in net.links.values():
            link.hurry()
        await asyncio.sleep(0.6)
        assert len(changes(a)) == len(changes(b)) == 1

    play(during)


def test_a_connection_that_fails_is_replaced() -> None:
    async def during(net: Net, a: Client, b: Client) -> None:
        await asyncio.sleep(2.0)
        net.fail_paths()
        await asyncio.sleep(0.3)
        with pytest.raises(TransportError, match="no connection"):
            net.links[True].send_control(b"x")
        net.links[True].send_datagram(b"x")

    a, b = play(during)
    assert len(changes(a)) == len(changes(b)) == 1
    assert a.runner.transport_stats()[1].dropped_by_reason["not-open"] > 5


def test_an_address_that_is_gone_is_no_reason_to_wait() -> None:
    async def during(net: Net, a: Client, b: Client) -> None:
        await asyncio.sleep(2.0)
        for pair in net.joined:
            for end in pair:
                end.address = "10.0.0.1:5"
        net.kill_paths()
        net.links[False].addresses_are({"10.0.0.2"})
        await asyncio.sleep(0.5)
        assert changes(b) == [("loopback", "address")]
        net.links[False].addresses_are({"10.0.0.2", "10.0.0.3"})
        await asyncio.sleep(1.0)
        assert len(changes(b)) == 1

    play(during)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_to_the_connection_both_recordings_are_the_same(seed: int) -> None:
    happened: list[str] = []

    async def during(net: Net, a: Client, b: Client) -> None:
        draw = random.Random(seed)
        for _ in range(12):
            await asyncio.sleep(draw.uniform(0.1, 2.5))
            what = draw.choice(["down", "down", "kill", "fail", "server"])
            happened.append(what)
            if what == "server":
                net.server_is_away = not net.server_is_away
            elif what == "kill":
                net.kill_paths()
            elif what == "fail":
                net.fail_paths()
            else:
                net.set_down(True)
                await asyncio.sleep(draw.uniform(0.1, 6.0))
                net.set_down(False)
            assert net.open_ends <= 2 * (MOST_PATHS + 1)
        net.server_is_away = False

    play(during, seed=seed)
    assert "down" in happened


def test_a_program_that_was_started_again_is_told_from_the_old_one() -> None:
    async def scenario() -> None:
        net = Net()
        ours, theirs = net.links[True], net.links[False]
        ours.start()
        old = net.incarnations[False]
        await theirs.close()
        net.incarnations[False] = 77
        net.links[False] = again = net._make_link(False)
        again.begin("first")
        await asyncio.sleep(0.5)
        assert ours.incarnation == 77
        assert [type(each) for each in ours.take_events()] == [Returned, PathChanged]
        assert [type(each) for each in again.take_events()] == [Opened]
        again.send_control(b"hello")
        assert ours.take_received() == [("control", b"hello")]
        # What the old one said before, and comes only now, is not heard.
        attempts = ours.attempts
        ours.take(Description(type="offer", sdp="end 0"), number=50, incarnation=old)
        assert ours.attempts == attempts
        await net.close()

    on_virtual_time(scenario)


def test_what_a_peer_says_makes_no_more_connections_than_few() -> None:
    async def scenario() -> None:
        net = Net()
        link = net.links[False]
        link.start()
        draw = random.Random(3)
        for number in range(1, 2000):
            kind = "offer" if draw.random() < 0.7 else "answer"
            sdp = draw.choice(["", "nonsense", "end 0"])
            description = Description(type=kind, sdp=sdp)
            link.take(description, number=draw.choice([number, 1, 1 << 53]), incarnation=draw.randrange(3))
            assert net.open_ends <= 2 + MOST_PATHS + 1
            await asyncio.sleep(0.002)
        assert link.attempts < 30
        assert link.is_open
        await net.close()

    on_virtual_time(scenario)


def test_counts_go_on_over_all_connections() -> None:
    async def scenario() -> None:
        net = Net()
        a, b = net.links[True], net.links[False]
        for link in (a, b):
            link.start()
        a.send_datagram(b"one")
        assert b.take_received() == [("inputs", b"one")]
        a.begin("better")
        await asyncio.sleep(0.5)
        assert [path.number for path in a.history] == [0, 1]
        a.send_datagram(b"two")
        a.send_control(b"three")
        assert b.take_received() == [("inputs", b"two"), ("control", b"three")]
        await a.close()
        await a.close()
        await b.close()
        sent, received = a.stats().sent, b.stats().received
        assert (sent["inputs"].messages, sent["inputs"].payload_bytes, sent["control"].messages) == (2, 6, 1)
        assert (received["inputs"].messages, received["control"].messages) == (2, 1)
        assert a.stats().local_address == "memory"
        with pytest.raises(LocalMisuseError, match="closed"):
            a.adopt(net.joined[0][0])

    on_virtual_time(scenario)
