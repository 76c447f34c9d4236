"""Matches of environments that know nothing of this program: real clients, a bad network, recordings that agree."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from play_rig import all_gone, in_play, join, pair, settings
from signaling_rig import running_server

from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.replay import replay_run
from p2pclient.recorder.verify import SAME, verify_folders

PONG = "pettingzoo:butterfly/cooperative_pong_v6"
BAD = ("--latency-ms", "40", "--jitter-ms", "10", "--loss", "0.02", "--bot", "random")


async def test_a_pettingzoo_environment_is_played_with_rollbacks_and_all_record_the_same(tmp_path: Path) -> None:
    match = settings(env=PONG, rate_hz=15.0, frames=120, episodes=0)
    async with running_server(match) as url, pair(url, tmp_path, *BAD) as (a, b):
        played = [await client.until("played", within=60) for client in (a, b)]
        assert [await a.end(), await b.end()] == [0, 0]
    folders = [Path(each["folder"]) for each in played]
    assert [each["reason"] for each in played] == ["finished", "finished"]
    assert sum(each["outcome"]["counters"]["rollbacks"] for each in played) > 5
    assert all(each["outcome"]["counters"]["verified_frames"] == 120 for each in played)
    assert verify_folders(*folders).code == SAME
    frames = list(RunReader(folders[0]).frames())
    assert len({frame.checksum for frame in frames}) > 100
    assert replay_run(folders[0]).is_same


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="snapshots by forking are for Linux so far")
async def test_what_only_a_fork_can_take_back_is_played_with_rollbacks_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    name = "foreign_rig:trapped_pair"
    match = settings(env=name, env_args={"length": 30}, rate_hz=10.0, episodes=2)
    async with (
        running_server(match) as url,
        pair(url, tmp_path, *BAD, "--latency-ms", "150", "--allow-env", name) as (a, b),
    ):
        await in_play(a, b)
        processes: set[int] = set()
        async with asyncio.timeout(30):
            while len(processes) < 6:  # hosts and their workers; of those that come and go, a look may miss some
                processes |= {*a.host_pids(), *b.host_pids()}
                await asyncio.sleep(0.05)
        played = [await client.until("played", within=60) for client in (a, b)]
        assert [await a.end(), await b.end()] == [0, 0]
    await all_gone(sorted(processes))
    folders = [Path(each["folder"]) for each in played]
    counters = [each["outcome"]["counters"] for each in played]
    assert sum(each["rollbacks"] for each in counters) > 5
    assert all(each["verified_frames"] == 60 for each in counters)
    assert verify_folders(*folders).code == SAME
    for folder in folders:
        assert RunReader(folder).manifest["env"]["snapshots"]["chosen"] == "fork"
    assert replay_run(folders[0], host_options={"local": True}).is_same


async def test_a_game_of_turns_is_played_by_two_and_all_record_the_same(tmp_path: Path) -> None:
    match = settings(env="pettingzoo:classic/tictactoe_v3", rate_hz=15.0, frames=90, episodes=0)
    async with running_server(match) as url, pair(url, tmp_path, *BAD) as (a, b):
        played = [await client.until("played", within=60) for client in (a, b)]
        assert [await a.end(), await b.end()] == [0, 0]
    folders = [Path(each["folder"]) for each in played]
    assert all(each["outcome"]["counters"]["verified_frames"] == 90 for each in played)
    assert sum(each["outcome"]["counters"]["rollbacks"] for each in played) > 0
    assert verify_folders(*folders).code == SAME
    frames = list(RunReader(folders[0]).frames())
    moved = [seat for frame in frames for seat, info in enumerate(frame.infos) if info and info.get("tandem_moved")]
    assert len(moved) > 4
    assert set(moved) == {0, 1}
    assert replay_run(folders[0]).is_same


@pytest.mark.parametrize(
    ("env", "args", "part"),
    [
        ("foreign_rig:Walk", {}, "only where the person at this machine has allowed it"),
        ("gymnasium:CartPole-v1", {"xml_file": "/etc/passwd"}, "numbers and single words"),
        ("gymnasium:NoSuchGame-v1", {}, "gymnasium:NoSuchGame-v1"),
    ],
)
async def test_a_server_can_ask_for_nothing_that_is_not_allowed_here(
    env: str, args: dict[str, str], part: str, tmp_path: Path
) -> None:
    async with (
        running_server(settings(env=env, env_args=args)) as url,
        join(url, tmp_path, "--bot", "random") as client,
    ):
        assert await client.end() == 1
    assert part in client.errors
    assert "Traceback" not in client.errors
