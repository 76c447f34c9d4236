"""Clients that are killed in a match that goes on without them, and started again with the same command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from play_rig import BOT, Tandem, all_gone, assert_whole, in_play, join, settings
from signaling_rig import running_server

from p2pclient.common.lobby_messages import MatchSettings
from p2pclient.common.presentation import Intent, Presentation, Screen
from p2pclient.recorder.verify import verify_folders
from p2pclient.runtime.onlooker import GOES_ON
from p2pclient.runtime.participant import Participant
from p2pclient.runtime.participant_settings import ParticipantSettings

FRAMES = 900


def go_on(**changes: Any) -> MatchSettings:
    """Three players, one episode of 15 seconds, played on without whoever is lost."""
    env_args = {"max_steps": FRAMES, "seats": 3}
    return settings(**{"seats": 3, "env_args": env_args, "on_drop": "go-on", "drop_after_s": 2.0, **changes})


class Recorder:
    """A window that keeps what it was given to show, and in which nobody does anything."""

    def __init__(self) -> None:
        self.shown: list[Presentation] = []
        self._news = asyncio.Event()

    def publish(self, presentation: Presentation) -> None:
        self.shown.append(presentation)
        self._news.set()

    def take_intents(self) -> list[Intent]:
        return []

    async def until(self, condition: Callable[[Presentation], bool]) -> None:
        """Wait until something is shown for which the condition holds."""
        while not (self.shown and condition(self.shown[-1])):
            self._news.clear()
            await self._news.wait()


@contextlib.asynccontextmanager
async def three(url: str, out: Path, *flags: str) -> AsyncIterator[list[Tandem]]:
    """Run three clients, each with a folder of its own, seated in their order."""
    async with contextlib.AsyncExitStack() as stack:
        players = []
        for name in "abc":
            player = await stack.enter_async_context(join(url, out / name, "--label", name, *flags))
            await player.until("welcome")
            players.append(player)
        await in_play(*players)
        yield players


def notes_in(folder: Path) -> list[Path]:
    """Return the notes of clients that are in a match."""
    return list(folder.glob(".in-match-*"))


async def killed(player: Tandem) -> None:
    """Kill a client and wait until nothing of it is left."""
    hosts = player.host_pids()
    player.kill()
    await player.end()
    await all_gone(hosts)


async def test_killed_player_started_again_watches_its_match_to_the_end_and_plays_the_next_one(tmp_path: Path) -> None:
    async with running_server(go_on()) as url, three(url, tmp_path, "--matches", "2") as (a, b, c):
        match_id = c.of("matched")[0]["match"]
        await killed(c)
        async with join(url, tmp_path / "c", "--label", "c", "--matches", "1") as again:
            watching = await again.until("watching")
            assert watching["match"] == match_id
            assert not again.of("waiting")
            watched = await again.until("watched", within=40.0)
            ends = [await player.until("played", within=40.0) for player in (a, b)]
            assert [end["reason"] for end in ends] == ["finished", "finished"]
            # The others wait already: with it, they are three again.
            assert [await player.end(within=40.0) for player in (a, b, again)] == [0, 0, 0]
    assert (watched["reason"], watched["match"]) == ("finished", match_id)
    assert watched["frames"] > 0
    assert watched["totals"] == ends[0]["outcome"]["totals"]
    assert len(again.of("played")) == len(again.of("watched")) == 1
    (second,) = again.of("matched")
    assert second["match"] != match_id
    assert [player.of("matched")[1]["match"] for player in (a, b)] == [second["match"]] * 2
    folders = [Path(end["folder"]) for end in ends]
    for folder in folders:
        assert_whole(folder, least=FRAMES)
    assert verify_folders(*folders).is_same
    assert not any(notes_in(tmp_path / name) for name in "abc")


async def test_killed_while_it_watches_it_comes_back_once_more_and_after_leaving_it_waits(tmp_path: Path) -> None:
    shared = tmp_path / "shared"  # by all, under the same label: the notes of those who play are left alone
    everything = go_on(env_args={"max_steps": 36_000, "seats": 3})
    async with running_server(everything) as url, contextlib.AsyncExitStack() as stack:
        players = [await stack.enter_async_context(join(url, shared)) for _ in range(3)]
        await in_play(*players)
        match_id = players[0].of("matched")[0]["match"]
        assert len(notes_in(shared)) == 3
        await killed(players[1])
        async with join(url, shared) as again:
            assert (await again.until("watching"))["match"] == match_id
            assert len(notes_in(shared)) == 3
            await killed(again)
        async with join(url, shared) as once_more:
            assert (await once_more.until("watching"))["match"] == match_id
            once_more.process.terminate()
            assert await once_more.end() == 0
            assert once_more.of("watched")[0]["reason"] == "left"
            assert not once_more.of("waiting")
            assert once_more.errors == ""
        async with join(url, shared) as at_last:
            await at_last.until("waiting")
            assert not at_last.of("watching")
        assert not players[0].of("played")
        assert len(notes_in(shared)) == 2


async def test_killed_player_whose_match_lets_nobody_watch_waits_and_the_log_says_why(tmp_path: Path) -> None:
    closed = go_on(spectators=False, env_args={"max_steps": 36_000, "seats": 3})
    async with running_server(closed) as url, three(url, tmp_path) as players:
        match_id = players[2].of("matched")[0]["match"]
        await killed(players[2])
        async with join(url, tmp_path / "c", "--label", "c") as again:
            await again.until("welcome")
            await again.until("waiting")
            again.process.terminate()
            assert await again.end() == 0
        assert f"match {match_id}, in which this client was, is not watched: This server lets nobody watch" in (
            again.errors
        )
        assert not again.of("watching")
        assert not players[0].of("played")


async def test_killed_player_who_comes_back_with_a_window_sees_its_game(tmp_path: Path) -> None:
    """What the window is given, in order, from the first screen to the game."""
    window = Recorder()
    long = go_on(env_args={"max_steps": 36_000, "seats": 3})
    async with running_server(long) as url, three(url, tmp_path) as players:
        await killed(players[2])
        reports: list[dict[str, Any]] = []
        settings = ParticipantSettings(url=url, out=tmp_path / "c", label="c", bot=BOT)
        client = Participant(settings, window, report=reports.append)
        running = asyncio.create_task(client.run())
        async with asyncio.timeout(20):
            await window.until(lambda shown: shown.screen is Screen.PLAYING and shown.view is not None)
        client.close()
        await running
    assert [each["event"] for each in reports] == ["welcome", "admitted", "watching", "watched"]
    before = [shown for shown in window.shown if shown.screen is Screen.CONNECTING]
    assert {(shown.title, shown.message) for shown in before} == {(GOES_ON.title, GOES_ON.message)}
    seen = window.shown[-1]
    assert seen.hud.notice == "Your game goes on. You are watching it."
    assert not seen.needs_focus
    assert not client.played


async def test_player_who_cannot_watch_to_the_end_waits_while_its_match_still_goes_on(tmp_path: Path) -> None:
    long = go_on(env_args={"max_steps": 36_000, "seats": 3})
    async with running_server(long) as url, three(url, tmp_path) as players:
        await killed(players[2])
        async with join(url, tmp_path / "c", "--label", "c") as again:
            await again.until("watching")
            killed_hosts: set[int] = set()
            while not again.of("watched"):  # another host takes over at first
                for host in set(again.host_pids()) - killed_hosts:
                    os.kill(host, signal.SIGKILL)
                    killed_hosts.add(host)
                await asyncio.sleep(0.01)  # a process of another process: nothing says when it is there
            assert again.of("watched")[0]["reason"] == "environment"
            assert len(killed_hosts) > 1
            await again.until("waiting")
            assert not notes_in(tmp_path / "c")
        assert not players[0].of("played")
