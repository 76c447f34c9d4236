"""``tandem play`` without a server, in this process: what the window is given where the game cannot be drawn."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from p2pclient.cli.main import main
from p2pclient.common.presentation import Continue, Intent, Presentation, Screen
from p2pclient.runtime.solo import SoloClient, SoloSettings


class OpenWindow:
    """Keeps what it is to show; the person does what the test says."""

    def __init__(self) -> None:
        self.shown: list[Presentation] = []
        self.intents: list[Intent] = []
        self.results = asyncio.Event()

    def publish(self, presentation: Presentation) -> None:
        self.shown.append(presentation)
        if presentation.screen is Screen.RESULTS:
            self.results.set()

    def take_intents(self) -> list[Intent]:
        taken, self.intents = self.intents, []
        return taken


async def played(env: str, out: Path, **settings: Any) -> tuple[OpenWindow, asyncio.Task[None]]:
    """Play until the results are shown."""
    window = OpenWindow()
    client = SoloClient(SoloSettings(env, out, seed=1, **settings), window, report=lambda event: None)
    task = asyncio.create_task(client.run())
    await asyncio.wait_for(window.results.wait(), 60)
    return window, task


async def test_a_game_that_cannot_be_drawn_says_why_until_the_person_has_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    window, task = await played("foreign_rig:Blind", tmp_path)
    assert "there is no graphics card" in window.shown[-1].message
    assert window.shown[-1].can_continue
    done, _ = await asyncio.wait({task}, timeout=0.3)
    assert not done
    window.intents.append(Continue(0.0))
    await asyncio.wait_for(task, 30)


async def test_a_game_without_a_picture_is_shown_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    window, task = await played("foreign_rig:Walk", tmp_path, seconds=5 / 60, rate_hz=60.0, linger=False)
    await asyncio.wait_for(task, 30)
    views = [each.view for each in window.shown if each.screen is Screen.PLAYING and each.view is not None]
    assert {view.frame for view in views} == set(range(6))
    assert {(view.pixels, view.text) for view in views} == {(None, "")}


def test_where_an_environment_raised_stands_in_its_log_and_not_on_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    source = RAISING
    (tmp_path / "raising.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    arguments = ["play", "raising:Raising", "--headless", "--bot", "random", "--rate", "60", "--seconds", "2"]
    assert main([*arguments, "--out", "runs"]) == 1
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert f"ValueError: nothing left (raising.py, line {source.splitlines().index(RAISED) + 1}, in step)" in said
    assert "more is in runs/environment.log" in said.replace("\\", "/")
    written = (tmp_path / "runs" / "environment.log").read_text()
    assert "Traceback" in written
    assert "ValueError: nothing left" in written


RAISED = '            raise ValueError("nothing left")'
RAISING = f"""
import gymnasium


class Raising(gymnasium.Env):
    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Discrete(1000)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.frame = 0
        return 0, {{}}

    def step(self, action):
        self.frame += 1
        if self.frame > 60:
{RAISED}
        return self.frame, 0.0, False, False, {{}}
"""
