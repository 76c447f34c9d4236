"""Environments of other packages, unmodified: made by name, graded, stepped, and taken back where that is exact."""

from __future__ import annotations

import random
import time
from typing import Any

import gymnasium
import numpy as np
import pytest
from foreign_rig import Walk
from gymnasium.spaces import Discrete

from envs import registry
from envs.canonical import checksum
from envs.conformance import check_determinism, check_end, check_inputs_matter, check_snapshots, random_inputs
from envs.contract import Environment
from envs.foreign_controls import controls_of
from envs.foreign_factory import adapt
from envs.foreign_gym import GymnasiumEnvironment
from envs.grading import grade
from envs.keeping import Keeper, NoKeeper
from envs.simulation import Simulation
from p2pclient.common.errors import ConfigurationError, EnvHostError
from p2pclient.common.spaces import decode_action


def make(name: str, **args: Any) -> Environment:
    return registry.create(name, args, local=True, trusted_args=True)


def make_walk(keeper: type[Keeper]) -> Environment:
    return GymnasiumEnvironment(Walk(), "walk", keeper)


def own(name: str, **args: Any) -> Environment:
    return make(f"foreign_rig:{name}", **args)


def chosen(environment: Environment) -> str:
    assert environment.snapshots is not None
    return str(environment.snapshots["chosen"])


def reason(environment: Environment, way: str) -> str:
    assert environment.snapshots is not None
    return next(str(each["reason"]) for each in environment.snapshots["graded"] if each["name"] == way)


# -- by name --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("gymnasium:CartPole-v1", "pickle"),
        ("gymnasium:MountainCar-v0", "pickle"),
        ("gymnasium:Acrobot-v1", "pickle"),
        ("gymnasium:FrozenLake-v1", "pickle"),
    ],
)
def test_gymnasium_s_own_environments_go_back(name: str, way: str) -> None:
    environment = make(name)
    assert chosen(environment) == way
    for warmup in (0, 7):
        check_snapshots(lambda: make(name), warmup, 3)
    check_inputs_matter(lambda: make(name), 3)


def test_what_is_told_of_one_is_plain_and_whole() -> None:
    told = registry.describe(make("gymnasium:CartPole-v1"), "gymnasium:CartPole-v1")
    assert (told["seats"], told["agents"], told["portable"]) == (1, ["player"], False)
    assert told["action_spaces"] == [{"kind": "discrete", "n": 2, "start": 0}]
    assert told["max_steps"] == 500
    assert told["nominal_rate_hz"] == 50
    assert told["bots"] == ["random"]
    assert [binding["keys"][0] for binding in told["controls"]["bindings"]] == ["ArrowLeft", "ArrowRight"]
    assert len(told["digest"]) == 32


@pytest.mark.parametrize(
    "name",
    [
        "gymnasium:NoSuch-v0",
        "gymnasium:os:system-v0",
        "gymnasium:../x-v1",
        "pettingzoo:os",
        "pettingzoo:../../x_v1",
        "pettingzoo:butterfly/no_such_v9",
        "nosuchmodule:factory",
        "foreign_rig:missing",
        "foreign_rig:no_environment",
        "foreign_rig:Walk()",
    ],
)
def test_a_name_that_is_none_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(ConfigurationError, match="environment is"):
        make(name)


def test_a_factory_is_imported_only_where_the_person_has_said_so() -> None:
    with pytest.raises(ConfigurationError, match="only where the person at this machine has allowed it"):
        registry.create("foreign_rig:Walk")
    assert chosen(registry.create("foreign_rig:Walk", local=True)) == "pickle"


@pytest.mark.parametrize("value", ["/etc/passwd", "..", "a b", ["x/y"], {"path": "C:\\x"}, b"bytes"])
def test_arguments_from_outside_are_numbers_and_words(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="numbers and single words"):
        registry.create("gymnasium:CartPole-v1", {"some": value})


def test_an_argument_that_it_does_not_take_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no_such_argument"):
        make("gymnasium:CartPole-v1", no_such_argument=1)


def test_max_steps_is_the_length_of_an_episode() -> None:
    environment = make("gymnasium:MountainCar-v0", max_steps=30)
    assert environment.max_steps == 30
    check_end(lambda: make("gymnasium:MountainCar-v0", max_steps=30), 4)


# -- how its state is kept ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("Walk", "pickle"),
        ("OwnState", "own"),
        ("ForgetfulState", "pickle"),
        ("Reborn", "copy"),
        ("Unpicklable", "resimulate"),
        ("GlobalDice", "pickle"),
        ("ModuleCounter", "none"),
        ("WallClock", "none"),
    ],
)
def test_the_first_way_that_is_exact_is_taken(name: str, way: str) -> None:
    environment = own(name)
    assert chosen(environment) == way
    if way != "none":
        for warmup in (0, 30, 57):
            check_snapshots(lambda: own(name), warmup, 3)


@pytest.mark.parametrize(
    ("name", "way", "part"),
    [
        ("ForgetfulState", "own", "not restored whole"),
        ("Walk", "own", "no get_state"),
        ("Reborn", "pickle", "snapshot"),
        ("Unpicklable", "pickle", "generator"),
        ("ModuleCounter", "resimulate", "differently"),
    ],
)
def test_a_way_that_is_not_exact_says_why(name: str, way: str, part: str) -> None:
    assert part in reason(own(name), way)


def test_a_state_that_is_good_for_one_process_alone_is_taken_from_nobody() -> None:
    for name in ("Walk", "OwnState"):
        environment = own(name)
        simulation = Simulation(environment)
        simulation.reset(1)
        state = simulation.get_state()
        assert not environment.portable
        with pytest.raises(EnvHostError, match="cannot take over"):
            simulation.set_state(state)


def test_what_its_own_state_leaves_out_shows_though_it_matters_only_later() -> None:
    environment = own("LateDebt")
    assert chosen(environment) == "pickle"
    assert "debt" in reason(environment, "own")


def test_the_processs_own_generators_belong_to_the_state() -> None:
    check_determinism(lambda: own("GlobalDice"), 5)
    simulation = Simulation(own("GlobalDice"))
    simulation.reset(3)
    simulation.step(0, [b"\x01"])
    before = simulation.compute_hash()
    random.random()
    assert Simulation.compute_hash(simulation) == before  # kept since the step
    simulation.save(1)
    simulation.load(1)
    assert simulation.compute_hash() != before  # what somebody else drew meanwhile shows
    np.random.seed(0)
    simulation.load(1)
    follow = simulation.step(1, [b"\x02"])[0]
    random.random()
    simulation.load(1)
    assert simulation.step(1, [b"\x02"])[0] == follow


def test_wall_clocks_and_counters_are_not_deterministic() -> None:
    for name in ("ModuleCounter", "WallClock"):
        with pytest.raises(AssertionError, match="differ"):
            check_determinism(lambda name=name: own(name), 5)  # type: ignore[misc]


def test_looking_changes_nothing_and_gives_a_picture() -> None:
    environment = own("Glitter", render_mode="rgb_array")
    environment.reset(1)
    before = checksum(environment.fingerprint())
    picture = environment.render()
    assert (picture.shape, picture.dtype) == ((20, 40, 3), np.uint8)
    assert picture.max() == 255
    assert checksum(environment.fingerprint()) == before
    follow = [environment.step([1]).rewards for _ in range(5)]
    environment.reset(1)
    assert [environment.step([1]).rewards for _ in range(5)] == follow


def test_observations_are_not_written_over_by_later_steps() -> None:
    simulation = Simulation(own("OneBuffer"))
    environment = simulation._environment
    simulation.reset(1)
    simulation.save(0)
    before = environment.observe()
    simulation.step(0, [b"\x02"])
    assert not np.array_equal(environment.observe()[0], before[0])
    simulation.load(0)
    assert np.array_equal(environment.observe()[0], before[0])


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0, 255, np.uint8), (-5, 5, np.int64), (0, 1, np.bool_), (2.0, np.inf, np.float32), (-np.inf, -2.0, np.float64)],
)
def test_arrows_hold_numbers_of_every_box(low: float, high: float, dtype: Any) -> None:
    environment = own("AnyBox", low=low, high=high, dtype=dtype)
    (space,) = environment.action_spaces
    bindings = environment.controls["bindings"]
    assert 2 <= len(bindings) <= 4
    actions = [decode_action(space, binding["input"]) for binding in bindings]
    neutral = decode_action(space, environment.controls["neutral"][0])
    assert all(action != neutral for action in actions)
    environment.reset(1)
    for action in actions:
        environment.step([action])


def test_a_key_never_means_what_a_seat_cannot_do() -> None:
    environment = own("uneven_seats")
    for binding in environment.controls["bindings"]:
        for space in environment.action_spaces:
            decode_action(space, binding["input"])
    assert len(environment.controls["bindings"]) == 3


def test_a_huge_action_space_is_described_at_once() -> None:
    begin = time.perf_counter()
    bindings = controls_of("huge", [Discrete(2**32)], [{"kind": "discrete", "n": 2**32, "start": 0}], None)["bindings"]
    assert len(bindings) == 10
    assert time.perf_counter() - begin < 1.0


def test_an_environment_that_is_too_slow_to_be_tried_is_played_in_lockstep() -> None:
    clock = iter(float(n) for n in range(10**9))
    verdict = grade(lambda keeper: make_walk(keeper), budget=3.0, clock=lambda: next(clock))
    assert verdict.chosen is NoKeeper
    assert {found.reason for found in verdict.grades[1:]} == {"trying it took too long"}


def test_what_an_info_holds_that_is_no_plain_data_is_left_out() -> None:
    environment = own("Walk")
    environment.reset(1)
    outcome = environment.step([2])
    assert set(outcome.infos[0] or {}) == {"place"}
    assert (outcome.terminations, outcome.truncations) == ([False], [False])


@pytest.mark.parametrize("name", ["Walk", "OtherGenerator"])
def test_its_generators_can_be_seeded_anew(name: str) -> None:
    simulations = [Simulation(own(name)) for _ in range(2)]
    for number, simulation in enumerate(simulations):
        simulation.reset(number)
        simulation.seed_rng(9)
    winds = [simulation._environment.env.unwrapped.wind() for simulation in simulations]  # type: ignore[attr-defined]
    assert winds[0] == winds[1]


def test_what_gymnasium_looks_at_in_the_first_steps_of_a_process_is_no_state() -> None:
    env = gymnasium.make("CartPole-v1")
    assert "PassiveEnvChecker" in repr(env)
    simulation = Simulation(adapt(env, "CartPole"))
    inputs = random_inputs(simulation, 8, 1)

    def checksums_of_an_episode() -> list[bytes]:
        return [simulation.reset(4), *(simulation.step(frame, line)[0] for frame, line in enumerate(inputs))]

    first = checksums_of_an_episode()
    assert checksums_of_an_episode() == first
    assert len(set(first)) == len(first)


def test_no_environment_is_seeded_with_0_which_some_take_for_no_seed() -> None:
    walk = make_walk(NoKeeper)
    seeds = []
    for seed in (0, 1, 2**31, 2**31 - 1, 2**40 + 7):
        walk.reset(seed)
        seeds.append(walk.env.np_random_seed)  # type: ignore[attr-defined]
    assert seeds == [2**31 - 1, 1, 2**31 - 1, 2**31 - 1, 7]
