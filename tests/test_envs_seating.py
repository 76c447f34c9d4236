"""Who sits where: several agents to a seat, and agents that leave, come late and come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zoo_rig import Swarm

from envs import registry
from envs.conformance import check_determinism, check_snapshots
from envs.contract import Environment
from envs.foreign_zoo import ParallelEnvironment
from envs.seating import SharedSeats, blocks
from envs.simulation import Simulation
from p2pclient.common.errors import ConfigurationError, EnvHostError
from p2pclient.common.presentation import KeyChange
from p2pclient.common.spaces import decode_action
from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.process import HostSpec
from p2pclient.match.sources import KeyboardSource


def make(name: str, seats: int | None = None, **args: Any) -> Environment:
    return registry.create(f"zoo_rig:{name}", args, local=True, trusted_args=True, seats=seats)


# -- several agents to a seat ---------------------------------------------------------------------------------------


def test_agents_are_dealt_out_in_blocks() -> None:
    assert [list(block) for block in blocks(7, 3)] == [[0, 1, 2], [3, 4], [5, 6]]
    assert [len(block) for block in blocks(20, 3)] == [7, 7, 6]
    assert [len(block) for block in blocks(3, 3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("count", "match", "args", "seats"),
    [
        (20, None, {}, 2),
        (20, 4, {}, 4),
        (20, 4, {"tandem_seats": 5}, 5),
        (8, None, {}, 8),
        (8, 2, {}, 8),
        (8, None, {"tandem_seats": 2}, 2),
        (1, None, {"tandem_seats": 1}, 1),
    ],
)
def test_many_agents_share_the_seats_of_the_match(
    count: int, match: int | None, args: dict[str, Any], seats: int
) -> None:
    assert len(make("Pistons", match, count=count, **args).agents) == seats


@pytest.mark.parametrize("asked", [0, 9, 21, 2.0, True, "two"])
def test_a_number_of_seats_that_cannot_be_is_refused(asked: Any) -> None:
    with pytest.raises(ConfigurationError, match="tandem_seats"):
        make("Pistons", tandem_seats=asked)


def test_what_is_told_of_it_makes_the_same_again() -> None:
    told = registry.describe(make("Pistons", 3), "zoo_rig:Pistons", {"length": 40})
    assert told["args"] == {"length": 40, "tandem_seats": 3}
    assert told["agents"] == ["piston_0 to piston_6", "piston_7 to piston_13", "piston_14 to piston_19"]
    again = make("Pistons", **told["args"])
    assert again.action_spaces == told["action_spaces"]


def test_a_key_goes_to_all_agents_of_a_seat_and_to_nobody_else() -> None:
    environment = make("Pistons", 3)
    environment.reset(1)
    actions = []
    for seat in range(3):
        keyboard = KeyboardSource(environment.controls, seat)
        if seat != 1:
            keyboard.receive(KeyChange("Digit4" if seat else "Digit3", True, 0.0))
        actions.append(decode_action(environment.action_spaces[seat], keyboard.sample().payload))
    assert actions == [[2] * 7, [0] * 7, [3] * 6]
    outcome = environment.step(actions)
    assert outcome.rewards == [14.0, 0.0, 18.0]
    assert outcome.infos[2] == {f"piston_{n}": {"at": 1} for n in range(14, 20)}
    assert environment.observe()[0] == {f"piston_{n}": 2 for n in range(7)}


def test_every_agent_has_a_bot_of_its_own() -> None:
    simulation = Simulation(make("Pistons", 2))
    simulation.reset(1)
    for seat in (0, 1):
        simulation.add_bot(seat, "random", 5)
    lines = set()
    for frame in range(12):
        inputs = [simulation.decide(seat) for seat in (0, 1)]
        lines.update(inputs)
        simulation.step(frame, inputs)
    assert len(lines) > 4
    assert all(len(set(line)) > 1 for line in lines)


def test_shared_seats_go_back_exactly() -> None:
    for warmup in (0, 9, 27):
        check_snapshots(lambda: make("Pistons", 3), warmup, 3)
    check_determinism(lambda: make("Pistons", 3), 3)
    environment = make("Pistons", 3)
    assert environment.snapshots is not None
    assert environment.snapshots["chosen"] == "pickle"


def test_a_seat_has_ended_when_its_last_agent_has() -> None:
    times = {"a": [(0, 2)], "b": [(0, 4)], "c": [(0, 5)], "d": [(0, 5)]}
    environment = make("Visitors", times=times, tandem_seats=2)
    environment.reset(1)
    ends, present, rewards = [], [], []
    for _ in range(5):
        outcome = environment.step([[1, 1], [1, 1]])
        ends.append(outcome.terminations)
        present.append(outcome.present)
        rewards.append(outcome.rewards)
    assert ends == [[False, False], [False, False], [False, False], [True, False], [None, True]]
    assert present == [[True, True]] * 3 + [[False, True], [False, False]]
    assert rewards == [[2.0, 2.0], [2.0, 2.0], [1.0, 2.0], [1.0, 2.0], [None, 2.0]]


def test_turns_are_those_of_the_seat() -> None:
    environment = make("Nim", players=9)
    environment.reset(1)
    assert len(environment.agents) == 2
    turns = []
    for _ in range(6):
        turns.append(environment.to_move())
        environment.step([[1] * 5, [1] * 4])
    assert turns == [0, 0, 0, 0, 0, 1]


def test_a_host_is_told_how_many_play(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)  # where the host looks for the module
    spec = HostSpec("zoo_rig:Pistons", local=True, seats=3)
    with BlockingEnvHost(spec) as host:
        assert (host.ready["seats"], host.ready["args"]) == (3, {"tandem_seats": 3})
        inputs = [bytes(7), bytes(7), b"\x03" * 6]
        result = host.run([["reset", 1], ["step", 0, inputs]]).results[1]
        assert result[1] == [0.0, 0.0, 18.0]


# -- who leaves, comes late and comes back --------------------------------------------------------------------------


def visit(times: dict[str, Any], frames: int, **more: Any) -> tuple[list[Any], Simulation]:
    simulation = Simulation(make("Visitors", times=times, **more))
    simulation.reset(1)
    return [simulation.step(frame, [b"\x01"] * len(times), True) for frame in range(frames)], simulation


def test_a_seat_waits_for_who_comes_late_and_for_who_comes_back() -> None:
    times = {"early": [(0, 3)], "late": [(2, 9)], "twice": [(0, 4), (6, 9)]}
    results, simulation = visit(times, 9)
    assert [[reward is not None for reward in result[1]] for result in results] == [
        [frame < 3, frame >= 2, frame < 4 or frame >= 6] for frame in range(9)
    ]
    assert [result[5] for result in results] == [False] * 8 + [True]
    assert simulation.totals == [3.0, 7.0, 7.0]
    assert [seen is not None for seen in results[1][6]] == [True, True, True]  # it comes by the next frame
    assert [result[2][0] for result in results[:4]] == [False, False, True, None]


@pytest.mark.parametrize("silent", [False, True])
def test_who_never_came_holds_up_nobody(silent: bool) -> None:
    results, simulation = visit({"a": [(0, 4)], "b": [(0, 3)], "never": []}, 4, silent=silent)
    assert [result[5] for result in results] == [False, False, False, True]
    assert [result[2] for result in results[2:]] == [[False, True, None], [True, None, None]]
    assert simulation.totals == [4.0, 3.0, 0.0]


def test_who_has_ended_and_is_still_listed_holds_up_nobody() -> None:
    simulation = Simulation(make("Lingering"))
    simulation.reset(1)
    assert [simulation.step(frame, [b"\0", b"\0"])[5] for frame in range(5)] == [False] * 4 + [True]


def test_coming_and_going_is_taken_back_exactly() -> None:
    times = {"a": [(0, 30)], "b": [(3, 8), (10, 30)], "c": [(0, 5)]}
    for warmup in (0, 2, 6, 9, 28):
        check_snapshots(lambda: make("Visitors", times=times), warmup, 3)


def test_an_agent_that_nobody_was_told_of_is_named() -> None:
    # Trying it out as it is loaded steps it already.
    environment = ParallelEnvironment(Swarm(), "swarm")
    environment.reset(0)
    with pytest.raises(EnvHostError, match="agent 'b', which is none of its possible_agents"):
        environment.step([1])


def test_an_environment_that_resets_itself_stays_at_its_end() -> None:
    environment = make("autoreset")
    simulation = Simulation(environment)
    simulation.reset(1)
    results = []
    for frame in range(25):
        if frame == 15:
            simulation.save(15)
        results.append(simulation.step(frame, [b"\x02"], True))
    assert [result[5] for result in results] == [False] * 19 + [True] * 6
    assert len({result[0] for result in results[19:]}) == 1
    assert all(result[1] == [None] for result in results[20:])
    simulation.load(15)
    again = [simulation.step(frame, [b"\x02"], True) for frame in range(15, 25)]
    assert [each[:6] for each in again] == [each[:6] for each in results[15:]]
    assert np.array_equal(again[-1][6][0], results[-1][6][0])
    for warmup in (0, 17):
        check_snapshots(lambda: make("autoreset"), warmup, 3)
    assert environment.max_steps is None


def test_whatever_an_environment_can_do_is_asked_of_the_one_inside() -> None:
    def methods(kind: type) -> set[str]:
        return {name for name, value in vars(kind).items() if callable(value) and not name.startswith("_")}

    made_of_others = {"measure_step_us", "predict"}
    assert methods(Environment) - methods(SharedSeats) == made_of_others
