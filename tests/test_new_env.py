"""``tandem new env``: what it writes works as it is, in another name, by all the ways a researcher would try it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
import pytest

from envs.conformance import ConformanceError, check_environment
from p2pclient.cli.main import main

NAME = "snow_walk"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "env", NAME]) == 0
    return tmp_path


@pytest.fixture
def module(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module(NAME)
    sys.modules.pop(NAME, None)


def test_it_passes_the_check_with_its_own_state(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    arguments = ["--frames", "60", "--seeds", "1", "--max-steps", "40", "--json"]
    assert main(["check", f"{NAME}:make", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["chosen"], found["sync_mode"]) == ("fine", "own", "rollback")


def test_its_own_tests_pass(module: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = importlib.import_module(f"test_{NAME}")
    try:
        found = [getattr(tests, name) for name in dir(tests) if name.startswith("test_")]
        assert len(found) == 2
        for test in found:
            test()
    finally:
        sys.modules.pop(f"test_{NAME}")


def test_what_is_forgotten_in_its_state_is_found_by_its_own_test(module: Any) -> None:
    class Forgetful(module.SnowWalk):  # type: ignore[misc]
        def get_state(self) -> Any:
            state = super().get_state()
            del state["places"]
            return state

        def set_state(self, state: Any) -> None:
            super().set_state({**state, "places": self._places})

    with pytest.raises(ConformanceError, match="cannot go back by own: own: after 0 steps"):
        check_environment(lambda: Forgetful(render_mode="rgb_array"), way="own")


def test_its_picture_shows_both_players_and_the_lantern(module: Any) -> None:
    env = module.make()
    env.reset(seed=1)
    picture = env.render()
    assert (picture.dtype, picture.shape) == (np.uint8, (6 * 48, 9 * 48, 3))
    colours = {tuple(int(part) for part in colour) for colour in picture.reshape(-1, 3)}
    assert {*module.COLOURS.values(), (255, 236, 140)} <= colours


@pytest.mark.parametrize("name", ["Snow", "3d", "a-b", "class", "envs", "", "../x"])
def test_names_that_are_no_module_are_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "env", name, "--folder", str(tmp_path)]) == 1
    assert "small letters" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / f"{NAME}.py").write_text("mine")
    (folder / f"test_{NAME}.py").unlink()
    assert main(["new", "env", NAME]) == 1
    assert (folder / f"{NAME}.py").read_text() == "mine"
    assert not (folder / f"test_{NAME}.py").exists()
    assert "is not there yet" in capsys.readouterr().err


def test_a_folder_is_made_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "env", NAME, "--folder", str(tmp_path / "deep" / "er")]) == 0
    assert (tmp_path / "deep" / "er" / f"{NAME}.py").exists()
    assert "cd " in capsys.readouterr().out


# -- the conformance checks on environments of other packages -------------------------------------------------------


def test_other_peoples_environments_can_be_checked_in_their_tests() -> None:
    check_environment(lambda: gymnasium.make("CartPole-v1"), warmups=(0, 25))


def test_an_environment_with_a_generator_outside_of_its_state_is_found() -> None:
    generator = np.random.default_rng()

    class Unseeded(gymnasium.Env[Any, Any]):
        action_space = gymnasium.spaces.Discrete(2)
        observation_space = gymnasium.spaces.Box(0.0, 1.0, (), np.float64)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            self.wind = 0.0
            return np.array(0.0), {}

        def step(self, action: Any) -> Any:
            self.wind = float(generator.random())
            return np.array(self.wind), 0.0, False, False, {}

    with pytest.raises(ConformanceError, match=r"Unseeded cannot go back: own: .*; pickle: "):
        check_environment(Unseeded, warmups=(0, 25))


def test_a_way_that_is_not_exact_is_refused_with_its_reason() -> None:
    with pytest.raises(ConformanceError, match="cannot go back by own: own: the environment has no get_state"):
        check_environment(lambda: gymnasium.make("CartPole-v1"), warmups=(0,), way="own")
