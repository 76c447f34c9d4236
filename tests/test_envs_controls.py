"""Keys for people: offered by the environment, known of it, or from what its actions mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from envs import registry
from envs.contract import Environment
from envs.foreign_controls import controls_of
from envs.gym_spaces import space_data
from p2pclient.common.errors import ConfigurationError
from p2pclient.common.spaces import decode_action


def made(controls: Any) -> Environment:
    return registry.create("zoo_rig:OwnKeys", {"controls": controls}, local=True, trusted_args=True)


def shown(space: Any, name: str = "something", *, many: bool = False) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return what each key does, and the help."""
    data = space_data(space, setting="space")
    controls = controls_of(name, [space], [data], None, many=many)
    actions = {key: decode_action(data, b["input"]) for b in controls["bindings"] for key in b["keys"]}
    return actions, controls["help"]


def test_an_environment_s_own_keys_are_taken_as_it_says() -> None:
    controls = made({"left or A": 2, "E": 0, "space": {"action": 2, "label": "go"}, "nothing": 1}).controls
    assert controls["bindings"] == [
        {"keys": ["ArrowLeft", "KeyA", "Space"], "input": b"\x02", "label": "action 2"},
        {"keys": ["KeyE"], "input": b"\x00", "label": "action 0"},
    ]
    assert controls["neutral"] == [b"\x01"]
    assert controls["help"] == [("← or A or Space", "action 2"), ("E", "action 0")]


@pytest.mark.parametrize(
    ("controls", "part"),
    [
        ({"left": 7}, "actions of the environment"),
        ({"left": "x"}, "actions of the environment"),
        ({"hyperspace": 1}, "a letter, a digit, left, right"),
        ({3: 1}, "a letter, a digit"),
        ({}, "a dict of keys and actions"),
        ([1, 2], "a dict of keys and actions"),
    ],
)
def test_keys_that_make_no_sense_are_refused_with_what_would(controls: Any, part: str) -> None:
    with pytest.raises(ConfigurationError, match=f"tandem_controls of .*{part}"):
        made(controls)


def test_known_environments_have_keys_that_fit_the_actions_they_were_made_with() -> None:
    piston = spaces.Box(-1.0, 1.0, (1,), np.float32)
    actions, text = shown(piston, "butterfly/pistonball_v6")
    assert actions == {"ArrowUp": [1.0], "KeyW": [1.0], "ArrowDown": [-1.0], "KeyS": [-1.0]}
    assert text == [("↑ or W", "up"), ("↓ or S", "down")]
    discrete, _ = shown(spaces.Discrete(3), "butterfly/pistonball_v6")
    assert discrete == {"ArrowDown": 0, "KeyS": 0, "ArrowUp": 2, "KeyW": 2}
    lander, _ = shown(spaces.Discrete(4), "LunarLander-v3")
    assert lander["ArrowUp"] == 2
    continuous, _ = shown(spaces.Box(-1.0, 1.0, (2,), np.float32), "LunarLander-v3")
    assert continuous["ArrowUp"] == [1.0, 0.0]
    knights, text = shown(spaces.Discrete(6), "butterfly/knights_archers_zombies_v11")
    assert (knights["ArrowUp"], knights["ArrowLeft"], knights["Space"]) == (0, 2, 4)
    assert text[-1] == ("Space or Enter", "attack")


def test_a_box_of_four_numbers_has_keys_for_all_of_them() -> None:
    actions, text = shown(spaces.Box(-1.0, 1.0, (4,), np.float32))
    assert actions == {
        "ArrowLeft": [-1, 0, 0, 0],
        "ArrowRight": [1, 0, 0, 0],
        "ArrowDown": [0, -1, 0, 0],
        "ArrowUp": [0, 1, 0, 0],
        "KeyQ": [0, 0, -1, 0],
        "KeyE": [0, 0, 1, 0],
        "KeyZ": [0, 0, 0, -1],
        "KeyC": [0, 0, 0, 1],
    }
    assert ("Q", "less of 3") in text


def test_where_there_is_time_letters_follow_the_digits() -> None:
    few, _ = shown(spaces.Discrete(26))
    assert len(few) == 10
    many, text = shown(spaces.Discrete(26), many=True)
    assert (len(many), many["Digit1"], many["Digit0"], many["KeyQ"], many["KeyF"]) == (26, 0, 9, 10, 23)
    assert text == [("1 ... H", "action 0 to 25")]


def test_alike_keys_have_one_line_of_help() -> None:
    _, text = shown(spaces.Discrete(7), "classic/connect_four_v3")
    assert text == [("1 2 3 4 5 6 7", "column 1 to 7")]
    _, text = shown(spaces.Discrete(9), "classic/tictactoe_v3")
    assert text == [("Q W E A S D Z X C", "squares, as they lie")]
    assert shown(spaces.Discrete(2))[1] == [("1", "action 0"), ("2", "action 1")]
