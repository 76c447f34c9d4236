"""Watching matches of real processes over real sockets."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from play_rig import LONG, Tandem, all_gone, assert_whole, frames_recorded, in_play, join, pair, settings, tandem
from signaling_rig import running_server


@contextlib.asynccontextmanager
async def watch(url: str, out: Path, *flags: str) -> AsyncIterator[Tandem]:
    """Run a spectator without a window."""
    arguments = ["watch", url, "--headless", "--json", "--out", str(out)]
    async with tandem(*arguments, *flags, out=out) as client:
        yield client


@pytest.mark.parametrize("delay", ["0", "1"])
async def test_spectator_watches_a_match_to_its_end_and_gets_the_players_totals(tmp_path: Path, delay: str) -> None:
    three = settings(episodes=3, env_args={"max_steps": 160})
    async with running_server(three) as url, pair(url, tmp_path) as (a, b):
        await in_play(a, b)
        await frames_recorded(a, 20)
        async with watch(url, tmp_path / "c", "--delay", delay) as c:
            assert await c.end() == 0
            assert [await a.end(), await b.end()] == [0, 0]
    (played,), (watched,) = a.of("played"), c.of("watched")
    assert watched["reason"] == "finished"
    assert watched["totals"] == played["outcome"]["totals"][-len(watched["totals"]) :]
    assert len(watched["totals"]) >= 1
    assert watched["frames"] >= 60
    assert played["reason"] == "finished"
    assert played["outcome"]["counters"]["verified_frames"] == 480
    for client in (a, b):
        assert_whole(client.run_folders()[0], least=480)


async def test_spectator_leaves_and_the_match_goes_on(tmp_path: Path) -> None:
    async with running_server(LONG) as url, pair(url, tmp_path) as (a, b):
        await in_play(a, b)
        async with watch(url, tmp_path / "c") as c:
            await c.until("watching")
            c.process.terminate()
            await c.end()
            assert c.of("watched")[0]["reason"] == "left"
        async with watch(url, tmp_path / "d") as d:
            await d.until("watching")
            hosts = d.host_pids()
            d.kill()
            await d.end()
            await all_gone(hosts)
        recorded = len(a.of("silence"))
        await frames_recorded(a, 200)
        assert not a.of("silence")
        assert recorded == 0
        assert a.process.returncode is None


async def test_when_a_player_is_killed_the_spectator_goes_on_with_the_others(tmp_path: Path) -> None:
    three = settings(seats=3, env_args={"max_steps": 450, "seats": 3}, on_drop="go-on", drop_after_s=2.0)
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(running_server(three))
        players = []
        for name in "abc":
            player = await stack.enter_async_context(join(url, tmp_path / name))
            await player.until("welcome")
            players.append(player)
        await in_play(*players)
        watcher = await stack.enter_async_context(watch(url, tmp_path / "w"))
        await watcher.until("watching")
        players[2].kill()
        assert [await players[0].end(), await players[1].end()] == [0, 0]
        await watcher.end()
    (watched,), (played,) = watcher.of("watched"), players[0].of("played")
    assert watched["reason"] == "finished"
    assert watched["totals"] == played["outcome"]["totals"]


async def test_server_without_spectators_refuses_to_let_one_in(tmp_path: Path) -> None:
    quick = settings(spectators=False, env_args={"max_steps": 300})
    async with running_server(quick) as url, pair(url, tmp_path) as (a, b):
        await in_play(a, b)
        async with watch(url, tmp_path / "c") as c:
            assert await c.end() == 1
            assert "lets nobody watch" in c.errors


async def test_without_a_match_there_is_nothing_to_watch(tmp_path: Path) -> None:
    async with running_server() as url, watch(url, tmp_path) as client:
        assert await client.end() == 1
        assert "no such match" in client.errors
