"""A client or an environment host is killed at some moment: the other side says so, ends well or plays on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from time import perf_counter

import pytest
from play_rig import (
    BOT,
    ENV,
    LONG,
    SIGNALS,
    all_gone,
    assert_whole,
    frames_recorded,
    in_play,
    join,
    pair,
    settings,
    tandem,
)
from signaling_rig import running_server

from p2pclient.recorder.records import EventRecorded

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.mark.alone
@pytest.mark.parametrize("frames", [0, 1, 100])
async def test_partner_of_a_killed_client_says_so_and_ends_with_a_whole_recording(frames: int, tmp_path: Path) -> None:
    async with running_server(LONG) as url, pair(url, tmp_path) as (a, b):
        await in_play(a, b)
        await frames_recorded(b, frames)
        hosts = a.host_pids() + b.host_pids()
        assert len(hosts) == 2
        killed_at = b.kill()
        silence = await a.until("silence")
        played = await a.until("played")
        assert silence["at"] - killed_at < 1.5
        assert played["at"] - killed_at < 3.0
        assert (played["reason"], played["text"]) == ("partner-gone", "The connection to the other player was lost.")
        assert await a.end() == 1
        await all_gone([*hosts, a.pid, b.pid])
    assert assert_whole(Path(played["folder"]), least=frames // 2).was_finished
    (killed,) = b.run_folders()
    if frames:
        assert not assert_whole(killed).was_finished
    assert a.errors == ""


@pytest.mark.alone
async def test_partner_of_a_client_killed_at_the_end_of_an_episode_ends_well(tmp_path: Path) -> None:
    short = settings(episodes=0, frames=36_000, env_args={"max_steps": 15})
    async with running_server(short) as url, pair(url, tmp_path) as (a, b):
        await b.until("playing", episode=3)
        killed_at = b.kill()
        played = await a.until("played")
        assert played["at"] - killed_at < 3.0
        assert played["reason"] == "partner-gone"
        assert await a.end() == 1
    run = assert_whole(Path(played["folder"]), least=45)
    assert [episode.recorded for episode in run.episodes[:3]] == [15, 15, 15]


@pytest.mark.alone
async def test_partner_of_a_client_killed_while_connecting_waits_for_another_one(tmp_path: Path) -> None:
    async with running_server(settings(frames=30)) as url, pair(url, tmp_path) as (a, b):
        await a.until("matched")
        killed_at = b.kill()
        failed = await a.until("failed")
        assert failed["at"] - killed_at < 3.0
        assert failed["text"] == "The other player left before the match began."
        async with join(url, tmp_path / "c") as c:
            assert (await a.until("played"))["reason"] == "finished"
            assert [await a.end(), await c.end()] == [0, 0]
    assert len(a.run_folders()) == 1


@pytest.mark.alone
async def test_partner_of_a_stopped_client_is_told_that_it_is_lost_and_goes_on(tmp_path: Path) -> None:
    async with running_server(settings(frames=120)) as url, pair(url, tmp_path) as (a, b):
        await in_play(a, b)
        b.send(signal.SIGSTOP)
        stopped_at = perf_counter()
        lost = await a.until("silence", level="lost")
        b.send(signal.SIGCONT)
        assert 2.0 < lost["at"] - stopped_at < 3.0
        await a.until("silence", level="heard")
        played = [await client.until("played") for client in (a, b)]
        assert [p["reason"] for p in played] == ["finished", "finished"]
        assert [p["outcome"]["counters"]["verified_frames"] for p in played] == [120, 120]
        stalled, suspended = (p["outcome"]["interruptions"][0] for p in played)
        assert (stalled["name"], suspended["name"], suspended["why"]) == ("stalled", "suspended", "stopped")
        assert suspended["seconds"] > 2.0
        assert [await a.end(), await b.end()] == [0, 0]


@pytest.mark.alone
@pytest.mark.parametrize("number", SIGNALS)
async def test_partner_of_a_client_that_ends_by_signal_is_told_at_once(number: int, tmp_path: Path) -> None:
    async with running_server(LONG) as url, pair(url, tmp_path) as (a, b):
        await in_play(a, b)
        await frames_recorded(a, 30)
        hosts = a.host_pids() + b.host_pids()
        b.send(number)
        sent_at = perf_counter()
        told = await a.until("played")
        left = await b.until("played")
        assert told["at"] - sent_at < 0.5
        assert (told["reason"], left["reason"]) == ("partner-left", "left")
        assert [await a.end(), await b.end()] == [1, 1]
        await all_gone(hosts)
    for played in (told, left):
        assert assert_whole(Path(played["folder"]), least=15).was_finished


@pytest.mark.parametrize("number", SIGNALS)
async def test_client_in_the_waiting_room_leaves_by_signal(number: int, tmp_path: Path) -> None:
    async with running_server() as url, join(url, tmp_path) as client:
        await client.until("waiting")
        client.send(number)
        assert await client.end(within=5) == 0
        assert client.errors == ""


@pytest.mark.alone
@pytest.mark.parametrize("how", ["killed", "stopped", "raises"])
async def test_match_goes_on_when_an_environment_fails(how: str, tmp_path: Path) -> None:
    flags = ["--fault", json.dumps({"kind": "raise", "frame": 60})] if how == "raises" else []
    async with running_server(settings(frames=180)) as url, join(url, tmp_path / "a") as a:
        await a.until("welcome")
        async with join(url, tmp_path / "b", *flags) as b:
            await in_play(a, b)
            (lost,) = b.host_pids()
            if how != "raises":
                await frames_recorded(b, 60)
                os.kill(lost, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
            played = [await client.until("played", within=40) for client in (a, b)]
            assert [await a.end(), await b.end()] == [0, 0]
            await all_gone([lost])
    assert [p["reason"] for p in played] == ["finished", "finished"]
    assert [p["outcome"]["counters"]["verified_frames"] for p in played] == [180, 180]
    assert played[0]["outcome"]["counters"]["recoveries"] == 0
    # The fault that raises is still there in the same process; the next one has it no more.
    assert played[1]["outcome"]["counters"]["recoveries"] == (2 if how == "raises" else 1)
    assert played[1]["outcome"]["counters"]["recovering_seconds"] > 0.0
    runs = [assert_whole(Path(p["folder"]), least=180) for p in played]
    same = [[(f.frame, f.inputs, f.checksum, f.rewards) for f in run.frames()] for run in runs]
    assert same[0] == same[1]
    names = [[r.name for r in run.records() if isinstance(r, EventRecorded)] for run in runs]
    assert "environment-recovered" in names[1]
    assert names[0].count("peer-recovering") == names[0].count("peer-recovered") == names[1].count("environment-lost")


@pytest.mark.alone
async def test_both_sides_say_why_when_an_environment_fails_again_and_again(tmp_path: Path) -> None:
    async with running_server(LONG) as url, pair(url, tmp_path) as (a, b):
        await in_play(a, b)
        for count in range(4):
            await frames_recorded(b, 30 + 30 * count)
            while not (hosts := b.host_pids()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # a process of another process: nothing says when it is there
            os.kill(hosts[0], signal.SIGKILL)
        there, here = await a.until("played"), await b.until("played")
        assert here["reason"] == "environment"
        assert "killed by SIGKILL" in here["text"]
        assert here["outcome"]["counters"]["recoveries"] == 3
        assert (there["reason"], there["text"]) == ("partner-left", "The other player's program had to stop.")
        assert [await a.end(), await b.end()] == [1, 1]
    for played in (there, here):
        assert_whole(Path(played["folder"]), least=100)


async def test_lone_player_plays_on_when_the_environment_host_is_killed(tmp_path: Path) -> None:
    arguments = ["play", ENV, "--bot", BOT, "--headless", "--json", "--rate", "60", "--max-steps", "120"]
    async with tandem(*arguments, "--out", str(tmp_path), out=tmp_path) as player:
        await frames_recorded(player, 30)
        (host,) = player.host_pids()
        os.kill(host, signal.SIGKILL)
        played = await player.until("played")
        assert played["reason"] == "finished"
        assert played["outcome"]["counters"]["recoveries"] == 1
        assert await player.end() == 0
    assert assert_whole(Path(played["folder"]), least=120).verified == 120


async def test_lone_players_match_is_finished_and_recorded(tmp_path: Path) -> None:
    arguments = ["play", ENV, "--bot", BOT, "--headless", "--rate", "60", "--episodes", "2", "--max-steps", "30"]
    async with tandem(*arguments, "--out", str(tmp_path), out=tmp_path) as player:
        assert await player.end() == 0
    (folder,) = player.run_folders()
    run = assert_whole(folder, least=60)
    assert [episode.verified for episode in run.episodes] == [30, 30]
