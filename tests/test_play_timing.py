"""How promptly a client does things: its loop never waits, it idles cheaply, it is soon in play."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
import pytest
from play_rig import BOT, ENV, in_play, join, pair, settings, tandem
from signaling_rig import running_server

from p2pclient.common.presentation import Intent, Presentation, Screen
from p2pclient.runtime.participant import Participant
from p2pclient.runtime.participant_settings import ParticipantSettings


class Looking:
    """A window that keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[Presentation] = []
        self.changed = asyncio.Event()

    def publish(self, presentation: Presentation) -> None:
        self.shown.append(presentation)
        self.changed.set()

    def take_intents(self) -> list[Intent]:
        return []

    async def until(self, screen: Screen) -> None:
        while not any(each.screen is screen for each in self.shown):
            await self.changed.wait()
            self.changed.clear()


@contextlib.asynccontextmanager
async def beating(seconds: float = 0.1) -> AsyncIterator[list[float]]:
    """Beat in this loop; gives how late each beat was, in seconds."""
    late: list[float] = []
    loop = asyncio.get_running_loop()

    async def beat() -> None:
        due = loop.time()
        while True:
            due += seconds
            await asyncio.sleep(due - loop.time())
            late.append(loop.time() - due)

    task = asyncio.create_task(beat())
    try:
        yield late
    finally:
        task.cancel()


@contextlib.asynccontextmanager
async def server_process(tmp_path: Path, *flags: str) -> AsyncIterator[str]:
    """Run ``tandem serve`` on a free port; gives its URL."""
    async with tandem(
        "serve", ENV, "--if-lost", "end", "--host", "127.0.0.1", "--port", "0", *flags, out=tmp_path
    ) as server:
        yield (await server.until_line("tandem join")).split()[-1]


def clients_of(url: str) -> int:
    with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
        return int(json.load(answer)["clients"])


@pytest.mark.alone
@pytest.mark.parametrize("at", ["import", "init"])
async def test_loop_beats_and_server_stays_connected_while_an_environment_blocks_its_host(
    at: str, tmp_path: Path
) -> None:
    faults = [{"at": at, "seconds": 3.0, "hold_lock": True}]
    options = {"allow_faults": True, "load_faults": faults}
    reports: list[dict[str, Any]] = []
    async with server_process(tmp_path, "--rate", "60", "--seconds", "0.5") as url:
        window = Looking()
        told = ParticipantSettings(
            url=url, out=tmp_path / "here", bot=BOT, linger=False, headless=True, host_options=options
        )
        client = Participant(told, window, report=reports.append)
        await asyncio.to_thread(__import__, "socketio")  # imports hold the loop up once in a process
        running = asyncio.create_task(client.run())
        began = perf_counter()
        async with beating() as late:
            await window.until(Screen.WAITING)
        assert 3.0 < perf_counter() - began < 6.0
        assert len(late) > 25
        assert max(late) < 0.05
        assert await asyncio.to_thread(clients_of, url) == 1
        assert len({p.message for p in window.shown if p.screen is Screen.LOADING}) > 1
        async with join(url, tmp_path / "there") as other:
            await running
            assert await other.end() == 0
    events = [r["event"] for r in reports]
    assert events[0] == "waiting"
    assert [each for each in events if each != "waiting"] == ["welcome", "proposed", "matched", "playing", "played"]
    assert reports[-1]["reason"] == "finished"


@pytest.mark.alone
async def test_client_is_soon_welcome_idles_cheaply_and_is_soon_in_play(tmp_path: Path) -> None:
    async with server_process(tmp_path, "--rate", "60", "--seconds", "0.5") as url, join(url, tmp_path / "a") as a:
        welcome = await a.until("welcome")
        assert welcome["at"] - a.reports[0]["at"] < 2.0
        await asyncio.sleep(1.0)  # the environment is loaded meanwhile; it is idling that is measured
        processes = [psutil.Process(pid) for pid in (a.pid, *a.host_pids())]
        assert len(processes) == 2
        before = sum(sum(p.cpu_times()[:2]) for p in processes)
        await asyncio.sleep(4.0)
        used = sum(sum(p.cpu_times()[:2]) for p in processes) - before
        assert used / 4.0 < 0.03
        async with join(url, tmp_path / "b") as b:
            await in_play(a, b)
            for client in (a, b):
                (matched,), (playing,) = client.of("matched"), client.of("playing")
                assert playing["at"] - matched["at"] < 2.0
            assert [await a.end(), await b.end()] == [0, 0]


@pytest.mark.alone
async def test_three_pairs_start_on_one_server_half_a_second_apart(tmp_path: Path) -> None:
    async with running_server(settings(frames=60)) as url, contextlib.AsyncExitStack() as stack:
        clients = []
        for number in range(3):
            for side in "ab":
                clients.append(await stack.enter_async_context(join(url, tmp_path / f"{number}{side}")))
            await asyncio.sleep(0.5)
        assert [await client.end() for client in clients] == [0] * 6
        reports = [client.of("played")[0] for client in clients]
        assert [r["reason"] for r in reports] == ["finished"] * 6
        assert [r["outcome"]["counters"]["verified_frames"] for r in reports] == [60] * 6
        assert [len(client.of("welcome")) for client in clients] == [1] * 6
        assert len({client.of("matched")[0]["match"] for client in clients}) == 3
        assert not any(client.of("silence") for client in clients)


async def test_match_after_match_keeps_no_files_threads_or_memory(tmp_path: Path) -> None:
    # One match more than is looked at: after its last one a client is soon gone.
    async with running_server(settings(frames=10)) as url, pair(url, tmp_path, "--matches", "11") as clients:
        files: dict[int, list[int]] = {client.pid: [] for client in clients}
        threads: dict[int, list[int]] = {client.pid: [] for client in clients}
        for count in range(1, 11):
            for client in clients:
                await client.until("playing", count=count)
                process = psutil.Process(client.pid)
                files[client.pid].append(process.num_fds())
                threads[client.pid].append(process.num_threads())
        assert [await client.end() for client in clients] == [0, 0]
        for client in clients:
            assert files[client.pid][9] <= files[client.pid][2]
            assert threads[client.pid][9] <= threads[client.pid][2]
            memory = [r["outcome"]["memory_mb"] for r in client.of("played")]
            assert len(memory) == 11
            assert memory[9] <= 1.05 * memory[2]
