"""What the tests of whole clients with real windows share."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pygame
from app_window_rig import ROOT

from benchmarks._desk import Desk
from envs import registry
from envs.simulation import Simulation
from p2pclient.app.picture import Pictures
from p2pclient.app.screens import Local, compose
from p2pclient.common.presentation import Hud, Presentation, Screen, View
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.records import FrameRecorded, FrameTimed

PATIENCE_S = 30.0
Fact = dict[str, Any]


class Tandem:
    """A process of ours at a desk.

    Args:
        watched: note the window's passes and the runtime's beat, see ``window_client``.
    """

    def __init__(self, desk: Desk, *arguments: str, folder: Path, name: str = "client", watched: bool = True) -> None:
        self.desk = desk
        self.started = time.perf_counter()
        self._facts = folder / f"{name}.facts"
        self._facts.touch()
        self.log = folder / f"{name}.log"
        module = ["tests.window_client", str(self._facts)] if watched else ["p2pclient.cli"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-m", *module, *arguments],
                cwd=ROOT,
                env=desk.environment(PYTHONPATH=str(ROOT)),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.said.extend(iter(self.process.stdout.readline, ""))

    def facts(self, kind: str) -> list[Fact]:
        """What was noted so far of this kind."""
        lines = self._facts.read_text().splitlines(keepends=True)
        found = [json.loads(line) for line in lines if line.endswith("\n")]
        return [fact for fact in found if fact["kind"] == kind]

    def screen(self, screen: str, *, after: float = 0.0) -> Fact:
        """Wait until the window shows this screen; returns when it first did, after a given time."""

        def found() -> list[Fact]:
            return [f for f in self.facts("screen") if f["screen"] == screen and f["at"] > after]

        wait_for(lambda: bool(found()), f"the screen {screen!r}", self)
        return found()[0]

    def reports(self, event: str) -> list[Fact]:
        """What it has reported on its output so far, with ``--json``."""
        found = [json.loads(line) for line in list(self.said) if line.startswith("{")]
        return [report for report in found if report.get("event") == event]

    def line(self, part: str) -> str:
        """Wait for a line of output that has this in it."""
        wait_for(lambda: any(part in line for line in list(self.said)), f"the output {part!r}", self)
        return next(line for line in list(self.said) if part in line)

    @property
    def window(self) -> int:
        return self.desk.window_of(self.process.pid)

    def ended(self) -> int:
        """Wait for its end; returns the exit code."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join()
        return code

    def close(self) -> None:
        """End it, whatever it does, and free what it holds."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


def wait_for(condition: Callable[[], bool], what: str, client: Tandem | None = None) -> None:
    """Wait until something is so. Fails with what the client logged if that takes too long, or the client ends."""
    deadline = time.perf_counter() + PATIENCE_S
    pause = threading.Event()
    while not condition():
        dead = client is not None and client.process.poll() is not None and not condition()
        if dead or time.perf_counter() > deadline:
            words = client.log.read_text() + "".join(client.said) if client is not None else ""
            raise AssertionError(f"{what} did not come{'; the client has ended' if dead else ''}. {words}")
        pause.wait(0.02)


# -- recordings -------------------------------------------------------------------------------------------------------


def run_of(out: Path, number: int = 0) -> Path:
    """Wait for the run folder of the client that writes to ``out``."""

    def found() -> list[Path]:
        return sorted(path.parent for path in out.glob("*/manifest.json"))  # made after the log

    wait_for(lambda: len(found()) > number, f"run {number} in {out}")
    return found()[number]


def frames(run: Path) -> list[FrameRecorded]:
    """The frames recorded so far."""
    return list(RunReader(run).frames())


def times(run: Path) -> list[FrameTimed]:
    return [record for record in RunReader(run).records() if isinstance(record, FrameTimed)]


def wait_for_frames(run: Path, count: int, *, more: bool = True) -> list[FrameRecorded]:
    """Wait until ``count`` frames (more than now, or in all) are recorded."""
    target = (len(frames(run)) if more else 0) + count
    wait_for(lambda: len(frames(run)) >= target, f"{count} frames in {run}")
    return frames(run)


def presses(run: Path, seat: int) -> list[int]:
    """The actions of a seat that are not its neutral one, in order."""
    neutral = bytes.fromhex(RunReader(run).manifest["env"]["controls"]["neutral"][seat])
    return [f.actions[seat] for f in frames(run) if f.inputs[seat][1:] != neutral]


# -- pictures ---------------------------------------------------------------------------------------------------------


def straight_picture(run: Path) -> tuple[Any, list[float]]:
    """Play the recorded inputs again here, without network or prediction; returns the picture and totals at the end."""
    env = RunReader(run).manifest["env"]
    simulation = Simulation(registry.create(env["env"], dict(env["args"])))
    seeds = {episode.episode: episode.seed for episode in RunReader(run).episodes}
    for frame in frames(run):
        if frame.frame == 0:
            simulation.reset(seeds[frame.episode])
        simulation.step(frame.frame, [value[1:] for value in frame.inputs])
    view = simulation.render()
    return view["pixels"], view["totals"]


def picture_area(shown: Any, pixels: Any, keys: tuple[tuple[str, str], ...]) -> tuple[Any, Any]:
    """The picture in a screenshot of a window, and what should be there given the environment's pixels."""
    height, width = shown.shape[:2]
    view = View(0, 0, pixels)
    playing = Presentation(Screen.PLAYING, view=view, hud=Hud((0.0, 0.0), 0, seconds_left=1.0), keys=keys)
    pictures = Pictures()
    parts = compose(playing, (width, height), Local(), pictures)
    rect = next(part.rect for part in parts if isinstance(part.key, tuple) and part.key[0] == "picture")
    scaled = pictures.scaled(view, rect.size, dimmed=False)
    expected = pygame.surfarray.array3d(scaled).swapaxes(0, 1)
    return shown[rect.top : rect.bottom, rect.left : rect.right], np.ascontiguousarray(expected)


def desk_or_skip() -> Iterator[Desk]:
    """For a fixture: a desk, or a skip that says what is missing."""
    import pytest

    from benchmarks._desk import missing

    if missing():
        pytest.skip(missing())
    desk = Desk()
    yield desk
    desk.close()
