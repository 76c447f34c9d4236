"""What the tests of whole clients share: ``tandem`` processes whose reports can be awaited, and what they leave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
from envhost_processes import wait_gone

from p2pclient.common.lobby_messages import MatchSettings
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.replay import replay_run

ENV = "test:counter_v0"
"""A registered environment that is ready at once."""
BOT = "seeker"
ROOT = Path(__file__).resolve().parent.parent


def settings(**changes: Any) -> MatchSettings:
    """Return the settings of a match of the quick environment."""
    return MatchSettings(**{"env": ENV, "rate_hz": 60.0, "episodes": 1, **changes})


LONG = settings(env_args={"max_steps": 36_000})
"""Ten minutes: a match that ends by what a test does to it."""


class Tandem:
    """One ``tandem`` process. Lines of JSON on its output are reports; each gets the time ``at`` which it came."""

    def __init__(self, process: asyncio.subprocess.Process, out: Path) -> None:
        self.process = process
        self.out = out
        self.reports: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.errors = ""
        self._news = asyncio.Condition()
        self._readers = [asyncio.create_task(self._read_out()), asyncio.create_task(self._read_err())]
        self.reports.append({"event": "started", "at": perf_counter()})

    @property
    def pid(self) -> int:
        return self.process.pid

    def of(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """Return the reports so far of this kind."""
        return [r for r in self.reports if r["event"] == event and fields.items() <= r.items()]

    async def until(self, event: str, *, count: int = 1, within: float = 20.0, **fields: Any) -> dict[str, Any]:
        """Wait for the ``count``-th report of this kind. Fails at once if the process ends without it."""
        await self._wait_for(lambda: len(self.of(event, **fields)) >= count, f"{event} {fields}", within)
        return self.of(event, **fields)[count - 1]

    async def until_line(self, part: str, within: float = 20.0) -> str:
        """Wait for a line of the output with ``part`` in it."""
        await self._wait_for(lambda: any(part in line for line in self.lines), part, within)
        return next(line for line in self.lines if part in line)

    async def _wait_for(self, condition: Callable[[], bool], what: str, within: float) -> None:
        async with asyncio.timeout(within), self._news:
            await self._news.wait_for(lambda: condition() or self._readers[0].done())
        assert condition(), f"it ended without {what}: {self.lines} {self.errors}"

    async def end(self, within: float = 20.0) -> int:
        """Wait for the end of the process; returns the exit code."""
        async with asyncio.timeout(within):
            await asyncio.wait(self._readers)
            return await self.process.wait()

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> float:
        """End the process as a power cut would; returns when."""
        self.process.kill()
        return perf_counter()

    def host_pids(self) -> list[int]:
        """Return the environment hosts of this client that run."""
        return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]

    def run_folders(self) -> list[Path]:
        """Return the folders of its runs, oldest first."""
        return sorted(path.parent for path in self.out.glob("*/manifest.json"))

    async def _read_out(self) -> None:
        assert self.process.stdout is not None
        async for raw in self.process.stdout:
            line = raw.decode().rstrip()
            async with self._news:
                self.lines.append(line)
                if line.startswith('{"event"'):
                    self.reports.append({**json.loads(line), "at": perf_counter()})
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    async def _read_err(self) -> None:
        assert self.process.stderr is not None
        async for raw in self.process.stderr:
            self.errors += raw.decode()


@contextlib.asynccontextmanager
async def tandem(*arguments: str, out: Path, prefix: tuple[str, ...] = ()) -> AsyncIterator[Tandem]:
    """Run a ``tandem`` command; whatever it left running is gone afterwards, and its output read.

    Args:
        prefix: a command that starts the command, such as ``ip netns exec NAME``.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *prefix,
        *(sys.executable, "-P", "-u", "-m", "p2pclient.cli"),
        *arguments,
        stdout=pipe,
        stderr=pipe,
        limit=2**22,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    running = Tandem(process, out)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.terminate()  # a demo ends its own processes first
        try:
            await running.end(within=10)
        except TimeoutError:
            process.kill()
            await running.end()


@contextlib.asynccontextmanager
async def join(url: str, out: Path, *flags: str, prefix: tuple[str, ...] = ()) -> AsyncIterator[Tandem]:
    """Run a client with a bot and without a window that records in ``out``."""
    arguments = ["join", url, "--bot", BOT, "--headless", "--json", "--out", str(out)]
    async with tandem(*arguments, *flags, out=out, prefix=prefix) as client:
        yield client


@contextlib.asynccontextmanager
async def pair(url: str, out: Path, *flags: str) -> AsyncIterator[tuple[Tandem, Tandem]]:
    """Run two clients; the first one waits already when the second one starts, and so has seat 0."""
    async with join(url, out / "a", *flags) as a:
        await a.until("welcome")
        async with join(url, out / "b", *flags) as b:
            yield a, b


async def in_play(*clients: Tandem) -> None:
    """Wait until all clients play."""
    for client in clients:
        await client.until("playing")


async def frames_recorded(client: Tandem, count: int, within: float = 20.0) -> None:
    """Wait until ``count`` frames of the client's newest run are in its log. Waits for a run to begin, too."""
    async with asyncio.timeout(within):
        while not (folders := client.run_folders()) or RunReader(folders[-1]).recorded < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # the file of another process: nothing says when it grows


async def all_gone(pids: list[int], within: float = 5.0) -> None:
    """Wait until none of the processes runs any more."""
    waits = [asyncio.to_thread(wait_gone, pid, within) for pid in pids]
    assert all(await asyncio.gather(*waits)), f"of {pids}, some still run"


def assert_whole(folder: Path, *, least: int = 1) -> RunReader:
    """The run can be read up to its last frame, without a gap, and a straight run of its inputs gives the same."""
    run = RunReader(folder)
    assert run.damage is None
    frames = list(run.frames())
    assert len(frames) >= least
    assert len(frames) == run.recorded
    for episode in run.episodes:
        assert [f.frame for f in frames if f.episode == episode.episode] == list(range(episode.recorded))
    assert replay_run(folder).is_same
    return run


SIGNALS = [signal.SIGINT, signal.SIGTERM]
