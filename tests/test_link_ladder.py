"""Links that go down the ladder when a kind of path fails, and up again: whole matches on virtual time."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest
from link_rig import Net
from runner_rig import RATE, Client, on_virtual_time
from test_peer_link import changes, play

from p2pclient.runtime.link_policy import MOST_PATHS
from p2pclient.transport.ladder import LONGEST_PROBE_PAUSE, Rung
from p2pclient.transport.relay import HEAD, HELLO, VERSION

ALL = (Rung.DIRECT, Rung.TURN, Rung.RELAY)
LONG = 60 * RATE
"""Frames of a minute of play."""


def test_a_match_goes_down_the_ladder_and_up_again_and_nothing_is_lost() -> None:
    async def during(net: Net, a: Client, b: Client) -> None:
        await asyncio.sleep(3.0)
        net.block(Rung.DIRECT)
        await asyncio.sleep(4.0)
        assert changes(a) == [("turn", "silence")]
        net.block(Rung.DIRECT, Rung.TURN)
        before = len(a.frames)
        await asyncio.sleep(3.0)
        assert changes(a)[1:] == [("relay", "silence")], changes(a)
        assert len(a.frames) > before + 15
        b.runner.request_pause("Said by way of the server")
        await asyncio.sleep(1.5)
        assert a.match.changes.pause_reason == "Said by way of the server"
        b.runner.request_resume()
        net.block()
        await asyncio.sleep(LONGEST_PROBE_PAUSE)
        assert changes(a)[-1] == ("loopback", "better")
        relayed = net.relayed
        await asyncio.sleep(5.0)
        assert net.relayed == relayed

    a, b = play(during, rungs=ALL, frames=LONG)
    assert [kind for kind, _ in changes(b)] == [kind for kind, _ in changes(a)]
    paths = a.runner.paths.as_data()
    assert [each["connection"] for each in paths] == ["loopback", *(kind for kind, _ in changes(a))]
    assert all(one["to"] == other["from"] for one, other in pairwise(paths))


@pytest.mark.parametrize("seed", range(6))
def test_whatever_fails_and_comes_back_the_recordings_are_the_same(seed: int) -> None:
    async def during(net: Net, a: Client, b: Client) -> None:
        draw = random.Random(seed)
        for _ in range(14):
            await asyncio.sleep(draw.uniform(0.3, 4.0))
            net.block(*(rung for rung in ALL if draw.random() < 0.5))
            net.server_is_away = draw.random() < 0.2
            if draw.random() < 0.2:
                net.kill_paths()
        net.server_is_away = False
        net.block()

    a, b = play(during, rungs=ALL, seed=seed, frames=LONG)
    assert len({kind for kind, _ in changes(a)}) > 1
    assert len({kind for kind, _ in changes(b)}) > 1


def test_where_the_study_forbids_the_relay_it_is_not_used() -> None:
    async def during(net: Net, a: Client, b: Client) -> None:
        await asyncio.sleep(2.0)
        net.block(Rung.DIRECT, Rung.TURN)
        await asyncio.sleep(6.0)
        assert net.relayed == 0
        net.links[True].take_relayed(HEAD.pack(HELLO, 0, 5, VERSION, 0) + bytes(8))
        net.block()

    play(during, rungs=ALL[:2])


def test_who_calls_by_way_of_the_server_makes_no_more_transports_than_few() -> None:
    async def scenario() -> None:
        net = Net(rungs=ALL)
        link = net.links[False]
        link.start()
        draw = random.Random(5)
        for _ in range(2000):
            number = draw.choice([1, 2, draw.getrandbits(32)])
            link.take_relayed(HEAD.pack(draw.randrange(8), 0, number, VERSION, 0) + bytes(draw.choice([8, 8, 0, 3])))
            assert len(link._relayed._transports) <= MOST_PATHS + 1
            await asyncio.sleep(0.002)
        assert link.attempts < 30
        assert link.is_open
        await net.close()
        assert not link._relayed._transports

    on_virtual_time(scenario)
