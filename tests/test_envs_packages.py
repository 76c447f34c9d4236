"""Packages of environments: what is missing is said with the command that installs it; names that have moved."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest

from envs import registry
from envs.foreign_packages import install_hint, rom_folder, telling
from p2pclient.common.errors import ConfigurationError, EnvHostError


def made(name: str, **args: Any) -> Any:
    return registry.create(name, args, local=True, trusted_args=True)


def without(*modules: str) -> Any:
    """Skip unless these are not installed: what is then said is the point."""
    there = [module for module in modules if importlib.util.find_spec(module) is not None]
    return pytest.mark.skipif(bool(there), reason=f"{', '.join(there)} installed, so that nothing is missing")


def with_all(*modules: str) -> Any:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


@pytest.mark.parametrize(
    ("name", "module", "wanted"),
    [
        ("pettingzoo:butterfly/pistonball_v6", "pymunk", '"pettingzoo[butterfly]"'),
        ("pettingzoo:classic/chess_v6", "chess", '"pettingzoo[classic]"'),
        ("pettingzoo:sisl/pursuit_v5", "pettingzoo", '"pettingzoo[sisl]"'),
        ("mpe2:simple_spread_v3", "mpe2", "mpe2"),
        ("gymnasium:LunarLander-v3", "Box2D", '"gymnasium[box2d]"'),
        ("gymnasium:Ant-v5", "mujoco", '"gymnasium[mujoco]"'),
        ("gymnasium:ALE/Pong-v5", "ale_py", "ale-py"),
        ("gymnasium:CartPole-v1", "pygame.gfxdraw", "pygame-ce"),
        ("my.module:factory", "somewhere.deep", "somewhere"),
        ("gymnasium:Some-v0", "", "gymnasium"),
    ],
)
def test_what_is_missing_is_said_with_the_command_of_this_interpreter(name: str, module: str, wanted: str) -> None:
    hint = install_hint(name, module)
    assert hint.startswith(f"{name} needs ")
    assert hint.endswith(f"-m pip install {wanted}")
    assert sys.executable in hint or "\\" in sys.executable or " " in sys.executable


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        pytest.param("pettingzoo:butterfly/pistonball_v6", r'"pettingzoo\[butterfly\]"', marks=without("pymunk")),
        pytest.param("pettingzoo:classic/chess_v6", r'"pettingzoo\[classic\]"', marks=without("chess")),
        pytest.param("mpe2:simple_spread_v3", "mpe2", marks=without("mpe2")),
        pytest.param("gymnasium:LunarLander-v3", r'"gymnasium\[box2d\]"', marks=without("Box2D")),
        pytest.param("gymnasium:ALE/Pong-v5", "ale-py", marks=without("ale_py")),
        pytest.param("pettingzoo:atari/pong_v3", r'"pettingzoo\[atari\]"', marks=without("multi_agent_ale_py")),
        ("zoo_rig:Lacking", "no_such_package_anywhere"),
    ],
)
def test_an_environment_without_its_package_is_refused_in_one_sentence(name: str, wanted: str) -> None:
    with pytest.raises(EnvHostError, match=f"^{name} needs .* pip install {wanted}$"):
        made(name)


def test_a_package_that_raises_its_own_error_for_what_is_missing_is_understood_too() -> None:
    import gymnasium

    def lack() -> None:
        try:
            raise ModuleNotFoundError("No module named 'Box2D'", name="Box2D")
        except ModuleNotFoundError as error:
            raise gymnasium.error.DependencyNotInstalled("Box2D is not installed") from error

    wanted = r'needs the package Box2D.*"gymnasium\[box2d\]"$'
    with pytest.raises(EnvHostError, match=wanted), telling("gymnasium:X", {}):
        lack()
    with pytest.raises(EnvHostError, match="needs a package"), telling("gymnasium:X", {}):
        raise gymnasium.error.DependencyNotInstalled("something is not installed")


def test_other_errors_pass_through() -> None:
    with pytest.raises(ValueError, match="of its own"), telling("gymnasium:X", {}):
        raise ValueError("of its own")
    with pytest.raises(ConfigurationError, match=r"arguments of X is .*wind"), telling("gymnasium:X", {"wind": 1}):
        raise TypeError("unexpected keyword argument 'wind'")


def test_the_particle_environments_are_found_where_they_are_now() -> None:
    with pytest.raises(ConfigurationError, match="mpe2:simple_spread_v3"):
        made("pettingzoo:mpe/simple_spread_v3")
    with pytest.raises(ConfigurationError, match="NAME_vN"):
        made("mpe2:../x")
    assert "mpe2:" in registry.families()


@with_all("mpe2", "pygame")
def test_the_particle_environments_are_played() -> None:
    environment = made("mpe2:simple_spread_v3")
    assert len(environment.agents) == 3
    labels = [binding["label"] for binding in environment.controls["bindings"]]
    assert labels == ["left", "right", "down", "up"]


@with_all("ale_py")
def test_atari_games_are_known_without_being_registered_first() -> None:
    environment = made("gymnasium:ALE/Pong-v5", max_steps=20)
    assert {"fire", "left", "right"} <= {binding["label"] for binding in environment.controls["bindings"]}
    assert rom_folder("x").endswith("roms")
