"""Environments around an emulator or a simulator: it keeps its state itself, and what is around it is copied."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import gymnasium
import pytest

from envs.conformance import check_snapshots
from envs.foreign_gym import GymnasiumEnvironment
from envs.foreign_zoo import from_env
from envs.grading import grade
from envs.keeping import CopyKeeper, Keeper, NoKeeper, PickleKeeper
from envs.keeping_engines import EngineKeeper, NoEngineError
from p2pclient.common.errors import EnvHostError

needs_ale = pytest.mark.skipif(find_spec("ale_py") is None, reason="ale-py has no wheels for this system")
needs_two_player_ale = pytest.mark.skipif(
    find_spec("ale_py") is None or find_spec("multi_agent_ale_py") is None,
    reason="multi-agent-ale-py has no wheels for this system",
)
needs_mujoco = pytest.mark.skipif(find_spec("mujoco") is None, reason="MuJoCo is not installed: it takes 100 MB")


def make_pong(keeper: type[Keeper] = EngineKeeper, **args: Any) -> GymnasiumEnvironment:
    import ale_py

    gymnasium.register_envs(ale_py)
    given = {"repeat_action_probability": 0.0, "obs_type": "ram", **args}
    env = gymnasium.make("ALE/Pong-v5", disable_env_checker=True, **given)
    return GymnasiumEnvironment(env, "ALE/Pong-v5", keeper)


def make_pong_for_two(keeper: type[Keeper] = EngineKeeper) -> Any:
    import ale_py
    from pettingzoo.atari.pong.pong import parallel_env

    roms = os.path.join(os.path.dirname(ale_py.__file__), "roms")  # the other package has none
    return from_env(parallel_env(auto_rom_install_path=roms, obs_type="ram"), "pong", keeper=keeper)


def make_ant(keeper: type[Keeper] = EngineKeeper) -> GymnasiumEnvironment:
    return GymnasiumEnvironment(gymnasium.make("Ant-v5"), "Ant-v5", keeper)


@needs_ale
@pytest.mark.parametrize("warmup", [0, 40])
def test_an_atari_game_goes_back_with_its_chance_and_its_wrappers(warmup: int) -> None:
    # A frame skip of 2 to 4 is chance in Python around the emulator.
    check_snapshots(lambda: make_pong(frameskip=(2, 5)), warmup, 3)


@needs_ale
def test_an_atari_game_that_repeats_actions_by_chance_is_refused() -> None:
    # The action that sticks is not in the emulator's state: some moments come back right, others do not.
    with pytest.raises(EnvHostError, match="does not tell which action it repeats by chance; set repeat_action_prob"):
        make_pong(repeat_action_probability=0.25)


@needs_ale
def test_the_engine_is_preferred_to_pickling() -> None:
    found = grade(make_pong, (0,))
    assert found.chosen is EngineKeeper
    assert [each.name for each in found.grades] == ["own", "engine"]
    assert (found.grades[1].size or 0) > 1000


@needs_two_player_ale
@pytest.mark.parametrize("warmup", [0, 40])
def test_an_atari_game_for_two_goes_back(warmup: int) -> None:
    check_snapshots(make_pong_for_two, warmup, 3)


@needs_two_player_ale
@pytest.mark.parametrize("keeper", [PickleKeeper, CopyKeeper])
def test_an_engine_that_is_an_address_is_never_copied(keeper: type[Keeper]) -> None:
    from multi_agent_ale_py import ALEInterface

    environment = make_pong_for_two(keeper)
    environment.env = ALEInterface()
    with pytest.raises(EnvHostError, match="ALEInterface is an address in C"):
        environment.keep()


@needs_mujoco
@pytest.mark.parametrize("warmup", [0, 40])
def test_a_simulation_of_mujoco_goes_back(warmup: int) -> None:
    check_snapshots(make_ant, warmup, 3)


def test_where_there_is_no_engine_there_is_nothing_to_try() -> None:
    def make(keeper: type[Keeper]) -> GymnasiumEnvironment:
        return GymnasiumEnvironment(gymnasium.make("CartPole-v1"), "CartPole-v1", keeper)

    with pytest.raises(NoEngineError, match="no ALE and no MuJoCo"):
        make(EngineKeeper)
    found = grade(make, (0,), all_of_them=True)
    assert [each.name for each in found.grades] == ["own", "pickle", "copy", "resimulate"]
    assert found.chosen is not NoKeeper
