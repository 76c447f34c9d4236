"""An error names the line of the person's own code that it came from, and a crash the calls that led to it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from p2pclient.common.errors import EnvHostError, EnvHostGone
from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.host_blame import place_of
from p2pclient.envhost.process import HostSpec

FAILING = """
import random

import gymnasium
import numpy as np


class Failing(gymnasium.Env):
    action_space = gymnasium.spaces.Discrete(3)
    observation_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return 0, {}

    def step(self, action):
        self.time += 1
        if self.time == 400:
            random.sample([], 1)  # raises within the standard library
        if self.time == 500:
            import ctypes

            ctypes.string_at(0)
        return 0, 0.0, False, False, {}


def make():
    return Failing()


def needs(size, colour="red"):
    return Failing()


def breaks():
    raise FileNotFoundError("model.onnx")


def gives_class():
    return Failing


class OldGym(Failing):
    def step(self, action):
        return 0, 0.0, False, {}
"""


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(FAILING.splitlines(), 1) if text in line)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "failing.py").write_text(FAILING)
    (tmp_path / "unfinished.py").write_text("def make(:\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def played(frames: int, log: Path | None = None) -> None:
    spec = HostSpec("failing:make", local=True, log_path=log)
    with BlockingEnvHost(spec) as host:
        neutral = host.ready["controls"]["neutral"]
        host.run([["reset", 1], *(["step", frame, neutral] for frame in range(frames))], 60)


def test_an_error_in_a_step_ends_with_its_line(folder: Path) -> None:
    line = line_of("random.sample")
    with pytest.raises(EnvHostError, match=rf"ValueError: .* \(failing\.py, line {line}, in step\)$"):
        played(450)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("failing:breaks", f"FileNotFoundError: model.onnx (failing.py, line {line_of('model.onnx')}, in breaks)"),
        ("failing:needs", "missing a required argument: 'size'. It is needs(size, colour='red'); given: none. Give"),
        ("failing:gives_class", "not of the class Failing"),
        ("failing:OldGym", "step() of the environment returned 4 values, but must return observation, reward,"),
        ("unfinished:make", "(unfinished.py, line 1)"),
        ("nowhere:make", "No module named 'nowhere'; looked in {folder}, where you are,"),
        ("failing.py:make", "leave out .py: failing:make"),
        ("failing.py", "or MODULE:FACTORY for one of your own, such as failing:make"),
        ("./failing:make", "or MODULE:FACTORY for one of your own: failing:make"),
        ("failing", "such as failing:make"),
    ],
)
def test_what_cannot_be_loaded_says_what_to_do(folder: Path, name: str, said: str) -> None:
    with pytest.raises(EnvHostGone) as caught:
        BlockingEnvHost(HostSpec(name, local=True))
    assert said.format(folder=folder) in str(caught.value)


def test_a_missing_package_ends_with_what_installs_it(folder: Path) -> None:
    (folder / "lacking.py").write_text("import no_such_package_here\n")
    with pytest.raises(EnvHostGone, match=r"-m pip install no_such_package_here$"):
        BlockingEnvHost(HostSpec("lacking:make", local=True))


def test_a_sentence_of_ours_has_no_class_before_it(folder: Path) -> None:
    (folder / "hooks.py").write_text("def wrong(step):\n    return [1]\n")
    spec = HostSpec("failing:make", local=True, step_hook="hooks:wrong")
    with (
        BlockingEnvHost(spec) as host,
        pytest.raises(EnvHostError, match=r"failed: step hook hooks:wrong must return None or"),
    ):
        host.run([["reset", 1], ["step", 0, host.ready["controls"]["neutral"]]])


def test_what_is_not_allowed_names_the_flag() -> None:
    with pytest.raises(EnvHostGone, match="with --allow-env failing:make"):
        BlockingEnvHost(HostSpec("failing:make"))


def test_a_crash_in_c_code_names_the_calls_of_its_own_thread(folder: Path) -> None:
    source = (folder / "failing.py").read_text().replace("random.sample([], 1)", "pass")
    (folder / "failing.py").write_text(source)
    with pytest.raises(EnvHostGone) as caught:
        played(520, folder / "log")
    said = str(caught.value)
    if "Fatal Python error" in said:  # Windows tells of an access violation in other words
        assert f'failing.py", line {line_of("ctypes.string_at")} in step' in said
    assert "was not ready" not in said


def test_our_own_errors_have_the_place_of_their_cause_alone() -> None:
    assert place_of(EnvHostError("no")) == ""
    with pytest.raises(ValueError, match="Sample") as caught:
        random.sample([], 1)
    wrapped = EnvHostError("no")
    wrapped.__cause__ = caught.value
    assert place_of(wrapped) == place_of(caught.value)
    assert "test_envhost_blame.py, line" in place_of(caught.value)
