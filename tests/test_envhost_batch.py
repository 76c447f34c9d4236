"""Batches inside the host, with an environment that gives awkward values; and the deadlines of the client."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from envs.contract import Environment, Outcome
from envs.simulation import Simulation
from p2pclient.envhost.exchange import Deadlines
from p2pclient.envhost.host_batch import BatchRunner
from p2pclient.envhost.values import decode


class Awkward(Environment):
    """Rewards and infos that are not what they look like; step 3 gives a callback, step 4 ends the program."""

    agents = (0, 1)
    action_spaces = [{"kind": "discrete", "n": 2}] * 2
    controls = {"mode": "press", "bindings": [], "neutral": [b"\0", b"\0"], "help": []}  # noqa: RUF012
    max_steps = None
    nominal_rate_hz = 15

    def __init__(self) -> None:
        self.steps = 0

    def reset(self, seed: int) -> None:
        self.steps = seed

    def step(self, actions: list[Any]) -> Outcome:
        self.steps += 1
        if self.steps == 4:
            raise SystemExit(2)
        extra: Any = print if self.steps == 3 else np.arange(3, dtype=np.uint8)
        infos = [{0: math.nan, "nested": {1: (np.float32(0.5), math.inf)}}, {"callback": extra}]
        return Outcome([np.float64(1.5), -0.0], [False, False], [False, False], infos)

    def observe(self) -> list[Any]:
        return [np.full((2, 2), self.steps), None]

    def get_state(self) -> Any:
        return self.steps

    def set_state(self, state: Any) -> None:
        self.steps = state

    def check_state(self, state: Any) -> None:
        assert isinstance(state, int)

    def seed_rng(self, seed: int) -> None:
        """There is none."""

    def render(self) -> Any:
        return np.zeros((4, 6, 3), np.uint8)

    def close(self) -> None:
        """There is nothing to close."""


IDLE = [b"\0", b"\0"]


def run(runner: BatchRunner, *commands: list[Any]) -> list[Any]:
    reply: list[Any] = decode(runner.run(5, list(commands)))
    assert reply[0] == 5
    return reply


def test_values_keep_their_types_across_the_pipe() -> None:
    runner = BatchRunner(Simulation(Awkward()))
    reply = run(runner, ["reset", 0], ["save", 0], ["step", 0, IDLE, True], ["render"], ["get_state"])
    _, rewards, _, _, infos, ended, observations = reply[2][2]
    assert [type(reward) for reward in rewards] == [np.float64, float]
    assert math.copysign(1, rewards[1]) == -1
    assert math.isnan(infos[0][0])
    assert infos[0]["nested"] == {1: (np.float32(0.5), math.inf)}
    assert type(infos[0]["nested"][1][0]) is np.float32
    assert infos[1]["callback"].dtype == np.uint8
    assert (ended, observations[0].tolist(), observations[1]) == (False, [[1, 1], [1, 1]], None)
    view, state = reply[2][3:]
    assert view["pixels"].shape == (4, 6, 3)
    assert view["totals"] == [1.5, 0.0]
    assert state["frame"] == 1
    assert len(reply[3]) == 5


def test_result_that_cannot_be_sent_is_named_and_leaves_the_state_unknown() -> None:
    runner = BatchRunner(Simulation(Awkward()))
    reply = run(runner, ["reset", 2], ["save", 0], ["step", 0, IDLE])
    assert reply[1] == "error"
    assert reply[2]["message"] == "infos[1]['callback']: builtin_function_or_method cannot be sent"
    assert (reply[2]["index"], reply[2]["command"], reply[2]["cause"]) == (2, "step", "unsendable")
    assert "unknown" in run(runner, ["get_state"])[2]["message"]
    assert run(runner, ["load", 0], ["get_state"])[2][1]["frame"] == 0


def test_environment_that_ends_the_program_is_an_error_of_its_command() -> None:
    runner = BatchRunner(Simulation(Awkward()))
    reply = run(runner, ["reset", 3], ["step", 0, IDLE], ["compute_hash"])
    assert (reply[1], reply[2]["type"], reply[2]["index"]) == ("error", "SystemExit", 1)
    assert "in step" in reply[2]["traceback"]


def test_malformed_commands_are_errors() -> None:
    runner = BatchRunner(Simulation(Awkward()))
    for command in (["fly"], [], ["reset"], [["step"]], ["_check", 0]):
        reply = run(runner, command)
        assert (reply[1], reply[2]["index"]) == ("error", 0)


def test_deadline_is_20_times_what_is_expected_and_at_least_a_second() -> None:
    deadlines = Deadlines(reset_timeout=60.0)
    for _ in range(100):
        deadlines.learn(["step", "save"], [100_000, 100])
    assert math.isclose(deadlines.of(["step"] * 8 + ["save"] * 8), 20 * 8 * 0.1001, rel_tol=0.01)
    assert deadlines.of(["save"]) == 1.0
    assert deadlines.of(["reset", "save"]) == 61.0
    for _ in range(100):
        deadlines.learn(["step"], [1000])
    assert deadlines.of(["step"]) == 1.0
