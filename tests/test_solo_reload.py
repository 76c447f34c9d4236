"""Writing an environment: play it, change it, play it again, without starting anything anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2pclient.common.presentation import CloseRequest, Continue, Intent, Presentation, Screen
from p2pclient.recorder.reading import RunReader
from p2pclient.runtime.solo import SoloClient, SoloSettings

SOURCE = """
import gymnasium


class Runner(gymnasium.Env):
    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Discrete(1000)
    metadata = {"render_modes": []}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return 0, {}

    def step(self, action):
        self.place += SPEED
        return self.place, float(SPEED), False, False, {}
"""


class Author:
    """Goes on from every screen that offers it, after having done what is next on the list."""

    def __init__(self, tasks: list[Callable[[], None]]) -> None:
        self._tasks = tasks
        self._intents: list[Intent] = []
        self.screens: list[Presentation] = []

    def publish(self, presentation: Presentation) -> None:
        if not presentation.can_continue:
            return
        self.screens.append(presentation)
        if self._tasks:
            self._tasks.pop(0)()
            self._intents.append(Continue(at=0.0))
        else:
            self._intents.append(CloseRequest(at=0.0))

    def take_intents(self) -> list[Intent]:
        taken, self._intents = self._intents, []
        return taken


async def test_the_next_match_is_played_with_changed_code_and_broken_code_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def write(speed: str) -> None:
        (tmp_path / "runner.py").write_text(SOURCE.replace("SPEED", speed))

    write("1")
    author = Author([lambda: write("no Python"), lambda: write("20")])
    reports: list[dict[str, Any]] = []
    settings = SoloSettings(
        env="runner:Runner",
        out=tmp_path / "runs",
        bot="random",
        all_bots=True,
        rate_hz=60.0,
        seconds=20 / 60,
        episodes=0,
    )
    client = SoloClient(settings, author, report=reports.append)
    await client.run()
    assert [screen.screen for screen in author.screens] == [Screen.RESULTS, Screen.ERROR, Screen.RESULTS]
    assert "could not be loaded" in author.screens[1].message
    assert [report["event"] for report in reports] == ["played", "reloaded", "played"]
    rewards = [[row.rewards for row in RunReader(played.folder).frames()] for played in client.played]
    assert rewards == [[(1.0,)] * 20, [(20.0,)] * 20]
