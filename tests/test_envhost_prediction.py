"""Prediction from the state across the pipe: a batch with inputs to predict, and what was used, back in the reply."""

from __future__ import annotations

from typing import Any

import pytest

from p2pclient.common.errors import EnvHostError
from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.process import HostSpec

ENV = "test:counter_v0"
RIGHT, PREDICT = b"\x02", b""


def test_a_rollback_with_predicted_inputs_is_one_batch_and_says_what_was_used() -> None:
    with BlockingEnvHost(HostSpec(ENV)) as host:
        assert host.ready["predictors"] == ["own", "seeker"]
        host.run([["reset", 3], ["add_predictor", 1, "own", 0], ["save", 0]])

        def play(first: bytes) -> list[Any]:
            commands: list[list[Any]] = [["load", 0], ["step", 0, [RIGHT, first]]]
            for frame in range(1, 8):
                commands += [["save", frame], ["step", frame, [RIGHT, PREDICT], False, [RIGHT, first]]]
            return [result for result in host.run(commands).results if result is not None]

        for first in (b"\x01", RIGHT):
            given, *predicted = play(first)
            assert len(given) == 7
            assert [len(result) for result in predicted] == [8] * 7
            assert all(result[7][0] is None for result in predicted)
            used = [result[7][1] for result in predicted]
            straight = host.run(
                [["load", 0], ["step", 0, [RIGHT, first]]]
                + [["step", frame, [RIGHT, guess]] for frame, guess in enumerate(used, start=1)]
            ).results[1:]
            assert [result[:7] for result in [given, *predicted]] == straight
        assert len({result[0] for result in straight}) == 8


def test_predicting_without_a_predictor_is_an_error_of_its_step() -> None:
    with BlockingEnvHost(HostSpec(ENV)) as host:
        host.run([["reset", 3], ["save", 0]])
        with pytest.raises(EnvHostError, match="nothing predicts it") as caught:
            host.run([["step", 0, [RIGHT, RIGHT]], ["step", 1, [RIGHT, PREDICT]]])
        assert (caught.value.index, caught.value.command) == (1, "step")
        host.run([["load", 0], ["step", 0, [RIGHT, RIGHT]]])


def test_a_state_is_sent_only_if_it_is_not_the_one_expected() -> None:
    with BlockingEnvHost(HostSpec(ENV)) as host:
        start, state = host.run([["reset", 3], ["get_state"]]).results
        assert host.run([["get_state_unless", start]]).results == [None]
        stepped, other = host.run([["step", 0, [RIGHT, RIGHT]], ["get_state_unless", start]]).results
        assert other["frame"] == 1
        assert other["data"] != state["data"]
        assert host.run([["get_state_unless", stepped[0]]]).results == [None]
