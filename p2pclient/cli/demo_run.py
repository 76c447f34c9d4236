"""Starts the demo's processes, watches them, and ends every one of them."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from p2pclient.common.errors import TandemError
from p2pclient.settings.flags import InputDelay

_URL = re.compile(r"tandem join (http://\S+)")
_START_SECONDS = 20.0
_END_SECONDS = 15.0


class DemoFailed(TandemError):
    """The demo could not be carried out; the message says which process failed and how."""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What to run."""

    env: str
    env_args: Mapping[str, Any]
    out: Path
    rate: float
    window: int
    input_delay: InputDelay
    on_desync: str
    prediction: str
    episodes: int
    frames: int
    matches: int
    seed: int | None
    bot: str
    humans: int
    """Windows with people: 0 to 2; bots play the rest."""
    impairment: Mapping[str, float]
    fault: str | None
    """For tests: makes the second client's environment wrong."""
    log_level: str
    quiet: bool
    host_options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the ``HostSpec`` of a straight run, as the clients' flags say it for theirs."""
    client_flags: tuple[str, ...] = ()
    """Further flags of both clients."""


def has_display() -> bool:
    """Can a window be opened here, as far as the surroundings tell."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


MatchReports = tuple[dict[str, Any], dict[str, Any]]
"""What the two clients reported of one match."""


@dataclass(slots=True)
class _Child:
    name: str
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)


class Orchestra:
    """A server and two clients, played from start to end."""

    def __init__(self, plan: DemoPlan) -> None:
        self._plan = plan
        self._events: queue.Queue[tuple[str, str | None]] = queue.Queue()
        self._children: list[_Child] = []

    def run(self) -> list[MatchReports]:
        """Return what both clients reported of each match, in the order of the matches.

        Raises:
            DemoFailed: a process could not do its part.
        """
        self._plan.out.mkdir(parents=True, exist_ok=True)
        try:
            url = self._start_server()
            self._start_client(1, url)
            self._wait_for_welcome()  # so that client 1 always sits in the first seat
            self._start_client(2, url)
            return self._watch()
        finally:
            self._end_all()

    # -- processes ----------------------------------------------------------------------------------------------

    def _start(self, name: str, *arguments: str) -> _Child:
        command = [sys.executable, "-P", "-u", "-m", "p2pclient.cli", *arguments, "--child"]
        log = (self._plan.out / f"{name}.log").open("w", encoding="utf-8")
        with log:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        child = _Child(name, process)
        self._children.append(child)
        assert process.stdout is not None
        threading.Thread(target=self._read, args=(child, process.stdout), daemon=True).start()
        return child

    def _read(self, child: _Child, stdout: IO[str]) -> None:
        for line in stdout:
            child.lines.append(line)
            self._events.put((child.name, line))
        self._events.put((child.name, None))

    def _start_server(self) -> str:
        plan = self._plan
        arguments = [
            "serve",
            plan.env,
            "--if-lost",
            "end",
            "--hidden",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--rate",
            str(plan.rate),
        ]
        arguments += ["--window", str(plan.window), "--input-delay", str(plan.input_delay)]
        arguments += ["--on-desync", plan.on_desync, "--prediction", plan.prediction]
        arguments += ["--episodes", str(plan.episodes), "--log-level", plan.log_level]
        arguments += ["--data", str(plan.out / "server-data")]
        arguments += [] if plan.seed is None else ["--seed", str(plan.seed)]
        if plan.frames:
            arguments += ["--seconds", repr(plan.frames / plan.rate)]
        for name, value in plan.env_args.items():
            arguments += ["--env-arg", f"{name}={json.dumps(value)}"]
        self._start("server", *arguments)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            _, line = self._next_event(deadline, "the server did not start")
            if line is None:
                raise DemoFailed(f"the server ended: {self._last_words('server')}")
            found = _URL.search(line)
            if found:
                return found.group(1)

    def _start_client(self, number: int, url: str) -> None:
        plan = self._plan
        is_human = number <= plan.humans
        arguments = ["join", url, "--json", "--out", str(plan.out / f"client-{number}"), "--label", f"client {number}"]
        arguments += ["--matches", str(plan.matches), "--log-level", plan.log_level, *plan.client_flags]
        seed = 0 if plan.seed is None else plan.seed
        arguments += ["--seed", str(seed * 2 + number)]
        arguments += [] if is_human else ["--bot", plan.bot, "--headless"]
        shares_keyboard = plan.humans == 2
        if shares_keyboard:
            arguments += ["--sibling", "--keys", ("first", "second")[number - 1]]
            arguments += ["--side", ("left", "right")[number - 1]]
        flags = {"delay_ms": "--latency-ms", "jitter_ms": "--jitter-ms"}
        for name, value in plan.impairment.items():
            arguments += [flags.get(name, f"--{name}"), repr(value)]
        if plan.fault is not None and number == 2:
            arguments += ["--fault", plan.fault]
        self._start(f"client-{number}", *arguments)

    def _wait_for_welcome(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            name, line = self._next_event(deadline, "client 1 did not reach the server")
            if line is None:
                raise DemoFailed(f"{name} ended: {self._last_words(name)}")
            if name == "client-1" and line.startswith("{") and json.loads(line)["event"] == "welcome":
                return

    def _end_all(self) -> None:
        """End whatever still runs: politely first, the server last."""
        for child in reversed(self._children):
            if child.process.poll() is None:
                child.process.terminate()
            try:
                child.process.wait(5.0)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()

    # -- watching -----------------------------------------------------------------------------------------------

    def _next_event(self, deadline: float | None, what: str) -> tuple[str, str | None]:
        timeout = None if deadline is None else max(0.01, deadline - time.monotonic())
        try:
            return self._events.get(timeout=timeout)
        except queue.Empty:
            raise DemoFailed(f"{what} in time; see {self._plan.out}") from None

    def _pass_on(self, name: str, line: str) -> None:
        """Two windows at one keyboard: give the other client what one's window saw."""
        for child in self._children:
            if child.process.stdin is not None and child.name != name:
                try:
                    child.process.stdin.write(line)
                    child.process.stdin.flush()
                except OSError:
                    pass  # it has ended; the loop that watches it says so

    def _last_words(self, name: str) -> str:
        path = self._plan.out / f"{name}.log"
        text = path.read_text(encoding="utf-8").strip() if path.exists() else ""
        return text.splitlines()[-1] if text else f"it said nothing; see {self._plan.out}"

    def _watch(self) -> list[MatchReports]:
        """Follow the clients until both have ended."""
        played: dict[str, list[dict[str, Any]]] = {"client-1": [], "client-2": []}
        running = set(played)
        deadline = float("inf")
        seconds = self._plan.frames / self._plan.rate if self._plan.frames else None
        console = Console(stderr=True, quiet=self._plan.quiet)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("starting two clients", total=None)
            while running:
                try:
                    name, line = self._events.get(timeout=0.2)
                except queue.Empty:
                    progress.advance(task, 0.2)
                    if time.monotonic() > deadline:
                        raise DemoFailed(f"{running} did not end with the other; see {self._plan.out}") from None
                    continue
                if line is None:
                    running.discard(name)
                    if not self._plan.humans:  # a person may look at the results for as long as they like
                        deadline = time.monotonic() + _END_SECONDS
                elif line.startswith("{"):
                    report = json.loads(line)
                    if report["event"] in ("key", "focus"):
                        self._pass_on(name, line)
                    elif report["event"] == "matched" and name == "client-1":
                        number = len(played[name]) + 1
                        progress.reset(task, description=f"match {number} of {self._plan.matches}", total=seconds)
                    elif report["event"] == "played":
                        played[name].append(report)
                    elif report["event"] == "failed":
                        raise DemoFailed(report["text"])
        for name, reports in played.items():
            if not reports:
                raise DemoFailed(f"{name} did not play: {self._last_words(name)}")
        return list(zip(played["client-1"], played["client-2"], strict=False))
