"""Gymnasium's own wrappers: what they read beside the game does not keep it from being played together."""

from __future__ import annotations

import sys
import time
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import FrameStackObservation, RecordEpisodeStatistics, TimeLimit

from envs.canonical import checksum
from envs.examination import examine
from envs.foreign_gym import GymnasiumEnvironment


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test does to the wrapper's module is undone."""
    monkeypatch.setattr(sys.modules[RecordEpisodeStatistics.__module__], "time", time)


def wrapped() -> Any:
    return FrameStackObservation(RecordEpisodeStatistics(TimeLimit(gymnasium.make("CartPole-v1"), 30)), 4)


def history(env: GymnasiumEnvironment) -> list[Any]:
    env.reset(3)
    found: list[Any] = [checksum(env.fingerprint())]
    for frame in range(40):
        outcome = env.step([frame % 2])
        found += [checksum(env.fingerprint()), repr(outcome.infos)]
        if outcome.terminations[0] or outcome.truncations[0]:
            break
    return found


def test_two_wrapped_environments_have_the_same_history() -> None:
    one, other = (GymnasiumEnvironment(wrapped(), "wrapped") for _ in range(2))
    found = history(one)
    assert "'episode'" in found[-1], "the episode came to its end, where the time was told"
    assert len(set(found[1::2])) == len(found[1::2]) > 5
    assert found == history(other)


def test_the_clock_of_the_wrapper_stands_still_and_ours_goes_on() -> None:
    env = GymnasiumEnvironment(wrapped(), "wrapped")
    assert "'t': 0.0" in history(env)[-1]
    assert time.perf_counter() > 0.0


class Painter(gymnasium.Env[Any, Any]):
    """Draws in the way that it is told to."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Discrete(2)
    render_mode = "rgb_array"

    def __init__(self, way: str) -> None:
        self.way = way

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.wind = 0.0
        return 0, {}

    def step(self, action: Any) -> Any:
        self.wind += float(self.np_random.random())
        return 0, 0.0, False, False, {}

    def render(self) -> Any:
        if self.way == "changes":
            self.wind += 1.0
        if self.way == "raises":
            raise RuntimeError("no such font")
        return "words" if self.way == "words" else np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("way", "fails", "changes"),
    [
        ("well", "", ""),
        ("changes", "", "environment.env.wind"),
        ("raises", "RuntimeError: no such font", ""),
        ("words", "which is no picture", ""),
    ],
)
def test_drawing_is_tried(way: str, fails: str, changes: str) -> None:
    found = examine(lambda: GymnasiumEnvironment(Painter(way), "painter"))
    assert found["picture_changes"] == changes
    assert fails in found["picture_fails"]
    assert bool(found["picture_fails"]) == bool(fails)
