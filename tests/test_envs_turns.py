"""Environments whose agents take turns: one moves in a frame, if they want to, and nobody loses by a wrong key."""

from __future__ import annotations

import random
from typing import Any

import pytest

from envs import registry
from envs.conformance import check_determinism, check_inputs_matter, check_snapshots
from envs.foreign_turns import TurnEnvironment
from envs.simulation import Simulation
from p2pclient.common.errors import ConfigurationError
from p2pclient.common.presentation import KeyChange
from p2pclient.common.spaces import decode_action, encode_action
from p2pclient.match.sources import KeyboardSource


def make(name: str, **args: Any) -> TurnEnvironment:
    environment = registry.create(name if ":" in name else f"zoo_rig:{name}", args, local=True, trusted_args=True)
    assert isinstance(environment, TurnEnvironment)
    return environment


def begun(name: str, **args: Any) -> TurnEnvironment:
    environment = make(name, **args)
    environment.reset(1)
    return environment


NOTHING = 4
"""Nim's actions are 1 to 3."""


def heap(environment: TurnEnvironment) -> int:
    return int(environment.env.heap)


@pytest.mark.parametrize("mask", ["observation", "info"])
def test_nothing_happens_until_who_is_to_move_moves(mask: str) -> None:
    environment = begun("Nim", mask=mask)
    before = heap(environment)
    for _ in range(5):
        outcome = environment.step([NOTHING, 2])  # the other one's press does nothing
        assert (outcome.rewards, outcome.infos, outcome.present) == ([0.0, 0.0], [{}, {}], [True, True])
        assert (environment.to_move(), heap(environment)) == (0, before)
    outcome = environment.step([2, 3])
    assert (environment.to_move(), heap(environment)) == (1, before - 2)
    assert outcome.rewards == [0.0, 0.1]
    assert [info["tandem_moved"] if info and "tandem_moved" in info else None for info in outcome.infos] == [True, None]


@pytest.mark.parametrize("mask", ["observation", "info"])
def test_an_illegal_action_passes_the_frame_and_the_turn_stays(mask: str) -> None:
    environment = begun("Nim", mask=mask)
    while heap(environment) > 2:
        environment.step([1, 1])
    seat = environment.to_move()
    assert seat is not None
    assert environment.legal_actions(seat) == [1, 2]
    steps = environment.env.steps
    environment.step([3, 3])
    assert (environment.to_move(), heap(environment), environment.env.steps) == (seat, 2, steps)
    outcome = environment.step([2, 2])
    assert outcome.rewards[seat] == -1.0
    assert outcome.terminations == [True, True]


def test_the_values_beyond_nothing_are_the_legal_actions_in_turn() -> None:
    environment = begun("Nim")
    assert environment.action_spaces[0] == {"kind": "discrete", "n": 7, "start": 1}
    taken = []
    for value in (5, 6, 7):
        before = heap(environment)
        environment.step([value, value])
        taken.append(before - heap(environment))
    assert taken == [1, 2, 3]
    while heap(environment) > 1:
        environment.step([1, 1])
    environment.step([7, 7])
    assert heap(environment) == 0  # one legal action is left: every number means it


def test_where_nothing_is_said_of_legal_there_is_only_nothing_besides() -> None:
    assert begun("Duel").action_spaces[0] == {"kind": "discrete", "n": 4, "start": 1}


def test_who_dies_is_taken_off_and_the_others_go_on() -> None:
    environment = begun("Duel")
    outcome = environment.step([3, 1, 1])  # the first throws the second out
    assert (outcome.rewards, outcome.terminations) == ([0.0, -1.0, 0.0], [False, True, False])
    assert outcome.present == [True, False, True]
    assert (environment.to_move(), environment.env.agents) == (2, ["p0", "p2"])
    outcome = environment.step([1, 1, 1])
    assert outcome.rewards == [0.0, None, 0.0]
    assert environment.observe()[1] is None
    assert environment.to_move() == 0
    outcome = environment.step([2, 1, 1])  # the first gives up: the third has won
    assert (outcome.rewards, outcome.terminations) == ([-1.0, None, 5.0], [True, None, True])
    assert (outcome.present, environment.env.agents, environment.to_move()) == ([False] * 3, [], None)


def test_who_is_taken_off_without_a_word_has_ended() -> None:
    environment = begun("Deserters")
    outcome = environment.step([3, NOTHING, NOTHING])
    assert (outcome.terminations, outcome.truncations) == ([True, False, False], [False, False, False])
    assert outcome.present == [False, True, True]
    assert environment.step([3, 1, NOTHING]).terminations == [None, False, False]


def test_each_frame_pays_what_was_earned_in_it() -> None:
    environment = begun("Nim", players=3)
    assert environment.step([1, 1, 1]).rewards == [0.0, 0.1, 0.1]
    assert environment.step([1, 1, 1]).rewards == [0.1, 0.0, 0.1]  # the third has 0.2 so far
    assert environment.step([NOTHING] * 3).rewards == [0.0, 0.0, 0.0]


def test_a_simulation_ends_when_all_have_ended_and_not_before() -> None:
    simulation = Simulation(make("Duel"))
    simulation.reset(1)
    wire = [encode_action(space, 3) for space in simulation.action_spaces]
    assert simulation.step(0, wire)[5] is False
    assert simulation.step(1, wire)[5] is True
    assert simulation.totals == [-1.0, -1.0, 5.0]
    assert "to_move" not in simulation.render()


def test_bots_play_whole_games_by_the_rules_and_get_what_the_game_pays() -> None:
    simulation = Simulation(make("Nim"))
    lengths = set()
    for seed in range(4):
        simulation.reset(seed)
        for seat in (0, 1):
            simulation.add_bot(seat, "random", seed)
        moves = 0
        while not simulation.ended and simulation.frame < 600:
            turn = simulation.render()["to_move"]
            result = simulation.step(simulation.frame, [simulation.decide(0), simulation.decide(1)])
            moved = [seat for seat, info in enumerate(result[4]) if info and info.get("tandem_moved")]
            assert moved in ([], [turn])
            moves += len(moved)
        assert simulation.ended
        assert sum(simulation.totals) == pytest.approx(0.1 * (moves - 1))
        lengths.add(simulation.frame)
    assert len(lengths) > 1


@pytest.mark.parametrize("name", ["Nim", "Duel", "Steering", "pettingzoo:classic/tictactoe_v3"])
def test_games_of_turns_go_back_exactly(name: str) -> None:
    environment = make(name)
    assert environment.snapshots is not None
    assert environment.snapshots["chosen"] in ("own", "pickle", "copy")
    for warmup in (0, 2, 9):
        check_snapshots(lambda: make(name), warmup, 3)
    check_determinism(lambda: make(name), 3)
    check_inputs_matter(lambda: make(name), 3)


def test_random_inputs_move_often_enough_to_try_the_game_out() -> None:
    environment = begun("Nim")
    generator = random.Random(3)
    space = environment.action_spaces[0]
    moved = 0
    for number in range(300):
        if environment.to_move() is None:
            environment.reset(number)
        outcome = environment.step([generator.randrange(space["n"]) + 1 for _ in range(2)])
        moved += sum(1 for info in outcome.infos if info and info.get("tandem_moved"))
    assert moved > 150


def test_max_steps_counts_frames_and_is_rolled_back_with_them() -> None:
    simulation = Simulation(make("pettingzoo:classic/tictactoe_v3", max_steps=5))
    simulation.reset(1)
    idle = [encode_action(space, 9) for space in simulation.action_spaces]
    simulation.step(0, idle)
    simulation.save(1)
    results = [simulation.step(frame, idle) for frame in range(1, 5)]
    assert [result[5] for result in results] == [False, False, False, True]
    assert results[-1][3] == [True, True]
    simulation.load(1)
    assert [simulation.step(frame, idle) for frame in range(1, 5)] == results


def test_an_action_that_is_no_number_of_a_list_has_a_word_for_nothing_too() -> None:
    environment = begun("Steering")
    space = environment.action_spaces[0]
    assert space["kind"] == "tuple"
    before = heap(environment)
    environment.step([decode_action(space, environment.controls["neutral"][0])] * 2)
    assert (heap(environment), environment.to_move()) == (before, 0)
    arrow = environment.controls["bindings"][1]["input"]
    environment.step([decode_action(space, arrow)] * 2)
    assert (environment.env.heap, environment.to_move()) == (before + 1.0, 1)


def test_a_press_moves_once_and_holding_the_key_does_nothing_more() -> None:
    environment = begun("pettingzoo:classic/tictactoe_v3")
    keyboard = KeyboardSource(environment.controls, 0)
    space = environment.action_spaces[0]
    keyboard.receive(KeyChange("KeyS", True, 0.0))
    inputs = [decode_action(space, keyboard.sample().payload) for _ in range(3)]
    assert inputs == [4, 9, 9]
    for value in inputs:
        environment.step([value, 9])
    assert environment.to_move() == 1
    assert list(environment.env.unwrapped.board.squares) == [0, 0, 0, 0, 1, 0, 0, 0, 0]


def test_rounds_of_a_classic_game_wait_for_both_unless_it_is_said_otherwise() -> None:
    environment = begun("pettingzoo:classic/rps_v2")
    assert environment.controls["help"] == [("1", "rock"), ("2", "paper"), ("3", "scissors")]
    for _ in range(4):
        environment.step([3, 3])
    environment.step([0, 3])
    assert environment.step([3, 1]).rewards == [-1.0, 1.0]
    at_once = registry.create("pettingzoo:classic/rps_v2", {"tandem_turns": False})
    at_once.reset(1)
    assert at_once.step([0, 1]).rewards == [-1.0, 1.0]
    with pytest.raises(ConfigurationError, match="true or false"):
        registry.create("pettingzoo:classic/rps_v2", {"tandem_turns": 3})
