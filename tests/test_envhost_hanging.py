"""What does not return is named from outside, by what the host has noted of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import psutil
import pytest
from foreign_rig import Walk

from envs import account as host_side
from envs.account import ACCOUNT, Account
from envs.canonical import checksum
from envs.contract import Environment
from envs.foreign_gym import GymnasiumEnvironment
from envs.keeping import PickleKeeper, ResimulatingKeeper
from p2pclient.cli.main import main
from p2pclient.envhost import hanging
from p2pclient.envhost.hanging import ACCOUNT_BYTES, OTHERS, Hang, HangWatch
from p2pclient.envhost.host_account import note_commands

LIMITS = {"make": 100.0, "reset": 50.0, OTHERS: 10.0}


def opened() -> tuple[Account, HangWatch]:
    memory = bytearray(ACCOUNT_BYTES)
    account = Account()
    account.open(memory)
    return account, HangWatch(memory, LIMITS)


def test_both_sides_mean_the_same_memory() -> None:
    assert (host_side.ACCOUNT_BYTES, host_side.HALF_BYTES) == (hanging.ACCOUNT_BYTES, hanging.HALF_BYTES)


def test_a_call_that_runs_too_long_is_named_with_its_frame_and_its_limit() -> None:
    account, watch = opened()
    with account.of("step", 30):
        assert watch.look(0.0) is None
        assert watch.look(10.0) is None
        hang = watch.look(10.1)
        assert hang == Hang("step", 30, 10.0)
        assert str(hang) == "its step of frame 30 did not return within 10 s"
    assert watch.look(10.2) is None
    assert watch.look(1000.0) is None


def test_every_call_has_its_own_time_and_its_own_limit() -> None:
    account, watch = opened()
    for now in range(0, 100, 6):
        with account.of("step", 7):  # the same one again and again
            assert watch.look(float(now)) is None
    with account.of("reset"):
        assert watch.look(200.0) is None
        assert watch.look(250.0) is None
        assert watch.look(250.1) == Hang("reset", None, 50.0)


def test_a_call_within_another_takes_its_place_until_it_returns() -> None:
    account, watch = opened()
    with account.of("examine"):
        assert watch.look(0.0) is None
        with account.of("render"):
            assert watch.current() == ("render", None)
            watch.look(1.0)
            assert watch.look(12.0) == Hang("render", None, 10.0)
        # What is made of many calls has no limit of its own.
        assert watch.look(13.0) is None
        assert watch.look(900.0) is None


def test_what_raises_is_no_longer_running() -> None:
    account, watch = opened()
    with pytest.raises(RuntimeError), account.of("step", 3):
        raise RuntimeError
    assert watch.current() == ("", None)


def test_a_forked_process_notes_beside_the_one_that_waits_for_it() -> None:
    memory = bytearray(ACCOUNT_BYTES)
    account, worker, watch = Account(), Account(), HangWatch(memory, LIMITS)
    account.open(memory)
    with account.of("make"):
        worker.open(memory)
        worker.enter_fork()
        render = worker.of("render")
        render.__enter__()
        watch.look(0.0)
        with account.of("step", 1):
            watch.look(9.0)
            assert watch.look(11.0) == Hang("render", None, 10.0)
        account.forget_forks()  # it was ended in the midst of it
        watch.look(12.0)
        assert watch.look(50.0) is None
        assert watch.look(112.1) == Hang("make", None, 100.0)


def test_without_a_reader_commands_stay_as_they_are() -> None:
    acts: dict[str, Any] = {"step": len, "reset": len}
    note_commands(acts, Account())
    assert acts == {"step": len, "reset": len}
    account, watch = opened()
    seen: list[tuple[str, int | None]] = []
    acts = {
        "step": lambda frame, inputs: seen.append(watch.current()),
        "reset": lambda seed: seen.append(watch.current()),
    }
    note_commands(acts, account)
    acts["reset"](5)
    acts["step"](41, [])
    assert seen == [("reset", None), ("step", 41)]


_SEEN: list[tuple[str, int | None]] = []
_WATCH: list[HangWatch] = []
"""Not attributes: what is reached from an environment is its state."""


class Telltale(Walk):
    """Looks up what was noted of the call that it is in."""

    def __init__(self, watch: HangWatch) -> None:
        super().__init__("rgb_array")
        _WATCH[:] = [watch]

    def reset(self, **given: Any) -> Any:
        _SEEN.append(_WATCH[0].current())
        return super().reset(**given)

    def step(self, action: Any) -> Any:
        _SEEN.append(_WATCH[0].current())
        return super().step(action)

    def render(self) -> Any:
        _SEEN.append(_WATCH[0].current())
        return super().render()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> HangWatch:
    memory = bytearray(ACCOUNT_BYTES)
    monkeypatch.setattr(ACCOUNT, "_memory", None)
    ACCOUNT.open(memory)
    return HangWatch(memory, LIMITS)


def test_every_call_into_an_environment_is_noted_with_the_frame_it_is_for(watch: HangWatch) -> None:
    environment: Environment = GymnasiumEnvironment(Telltale(watch), "telltale", ResimulatingKeeper)
    _SEEN.clear()
    environment.reset(3)
    for _ in range(3):
        environment.step([1])
    kept = environment.keep()
    environment.step([1])
    environment.restore(kept)
    environment.render()
    environment.step([1])
    steps = [("step", frame) for frame in range(3)]
    calls = [("reset", None), *steps, ("step", 3), ("reset", None), *steps, ("render", 3), ("step", 3)]
    assert calls == _SEEN
    assert watch.current() == ("", None)


class Slow(Walk):
    def __init__(self, watch: HangWatch) -> None:
        super().__init__()
        _SEEN.clear()
        _WATCH[:] = [watch]

    def __getstate__(self) -> dict[str, Any]:
        _SEEN.append(_WATCH[0].current())
        return self.__dict__.copy()


def test_keeping_the_state_is_noted_too(watch: HangWatch) -> None:
    environment = GymnasiumEnvironment(Slow(watch), "slow", PickleKeeper)
    environment.reset(0)
    environment.step([1])
    environment.keep()
    assert ("save", 0) in _SEEN
    assert _SEEN[-1] == ("save", 1)


class Smearing(Walk):
    """Drawing changes its state."""

    def render(self) -> Any:
        self.place += 1.0
        return np.zeros((4, 4, 3), np.uint8)


def test_where_the_episode_is_simulated_again_that_undoes_what_drawing_changes() -> None:
    drawn, undrawn = (GymnasiumEnvironment(Smearing("rgb_array"), "smearing", ResimulatingKeeper) for _ in range(2))
    for environment in (drawn, undrawn):
        environment.reset(3)
        for _ in range(5):
            environment.step([1])
    for _ in range(4):
        assert drawn.render() is not None
        assert checksum(drawn.fingerprint()) == checksum(undrawn.fingerprint())
        drawn.step([2])
        undrawn.step([2])
    assert checksum(drawn.fingerprint()) == checksum(undrawn.fingerprint())


def test_check_names_what_hangs_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    words = ["check", "test:counter_v0", "--env-arg", "hang_at_frame=9", "--step-timeout", "3", "--json"]
    assert main(words) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["verdict"]) == (False, "hung")
    assert found["hung"] == {"call": "step", "frame": 9, "seconds": 3.0}
    assert found["reason"] == "in episode 1 with seed 0, its step of frame 9 did not return within 3 s"
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
