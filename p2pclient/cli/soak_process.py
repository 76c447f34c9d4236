"""One process of a soak, as its parent sees it: what it reports, how it is made to stop, what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

LINE_LIMIT = 1 << 22
"""Longest line that is read from a process, in bytes."""

APART: Mapping[str, Any] = {"start_new_session": True}
"""How processes are started so that Ctrl-C reaches us only, who end them in order."""
if sys.platform == "win32":
    APART = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}


class Child:
    """A ``tandem`` command that runs, made by :meth:`start`. It ends when this process does."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log_path: Path, seen: ProcessId) -> None:
        self.name = name
        self.log_path = log_path
        self.id = seen
        self.lines: list[str] = []
        """What it printed that is no report."""
        self.is_stopping = False
        """We killed it, or told it to go: its end is no surprise."""
        self._process = process
        self._log_read = 0

    @classmethod
    async def start(cls, name: str, arguments: Sequence[str], *, log_path: Path, env: Mapping[str, str]) -> Child:
        """Start ``tandem`` with ``arguments``; what it logs is appended to ``log_path``."""
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-u", "-m", "p2pclient.cli", *arguments, "--child"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                limit=LINE_LIMIT,
                env={**os.environ, **env},
                **APART,
            )
        return cls(name, process, log_path, ProcessId.of(process.pid))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.returncode

    async def reports(self) -> AsyncIterator[dict[str, Any]]:
        """Yield its reports, the lines of JSON, as they come, until its output ends. Others go to ``lines``."""
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            line = raw.decode("utf-8", "replace").rstrip()
            if line.startswith('{"event"'):
                yield json.loads(line)
            else:
                self.lines.append(line)

    async def line_with(self, part: str) -> str:
        """Wait for a line of its output with ``part`` in it; empty if it ends without."""
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            if part in raw.decode("utf-8", "replace"):
                return raw.decode("utf-8", "replace").strip()
        return ""

    async def drain(self) -> None:
        """Throw the rest of its output away, so that it never waits for us."""
        assert self._process.stdout is not None
        while await self._process.stdout.read(1 << 16):
            pass

    def kill(self) -> None:
        """End it as a power cut would."""
        self.is_stopping = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def leave(self) -> None:
        """Tell it to leave, as a closed window or Ctrl-C would."""
        self.is_stopping = True
        if self._process.stdin is not None:
            self._process.stdin.close()

    def pause(self) -> None:
        """Stop it without a word, as a system that sleeps would, until :meth:`resume`."""
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(self.pid).suspend()

    def resume(self) -> None:
        """Let it go on."""
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(self.pid).resume()

    def dump_stacks(self) -> None:
        """End it; where the system can, with the stacks of all its threads in its log."""
        self.is_stopping = True
        with contextlib.suppress(ProcessLookupError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                import signal

                self._process.send_signal(signal.SIGABRT)

    async def wait(self, within: float | None = None) -> bool:
        """Wait for its end; False if it did not come in time."""
        try:
            await asyncio.wait_for(self._process.wait(), within)
        except TimeoutError:
            return False
        return True

    async def end(self, within: float) -> bool:
        """Tell it to leave, and kill it if it does not go; True if it went by itself."""
        if self.code is None:
            self.resume()
            self.leave()
        went = await self.wait(within)
        if not went:
            self.kill()
            await self.wait()
        return went

    def new_log_text(self) -> str:
        """Return what it logged since this was last asked for."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(self._log_read)
                data = log.read()
        except OSError:
            return ""
        self._log_read += len(data)
        return data.decode("utf-8", "replace")


class ProcessId(tuple[int, float]):
    """A process for all times: its number, which the system uses again, and when it was made."""

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """Return the id of a process that runs."""
        try:
            return cls((pid, psutil.Process(pid).create_time()))
        except psutil.NoSuchProcess:
            return cls((pid, 0.0))

    def is_running(self) -> bool:
        """Does it still run? What waits for being reaped does not."""
        try:
            process = psutil.Process(self[0])
            return bool(process.create_time() == self[1] and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


def hosts_of(pid: int) -> list[psutil.Process]:
    """Return the environment hosts of a client, and what they started."""
    try:
        found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found
