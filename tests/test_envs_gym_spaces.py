"""Gymnasium's spaces: as data, values there and back, and which ones cannot be sent."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from envs import registry
from envs.gym_spaces import neutral_value, plain_value, space_data, to_action
from p2pclient.common.errors import ConfigurationError
from p2pclient.common.spaces import check_space, decode_action, draw_action, encode_action, input_width

FLOATS = (np.float16, np.float32, np.float64)
WHOLE = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64)


@st.composite
def boxes(draw: st.DrawFn) -> spaces.Box:
    dtype = draw(st.sampled_from([*FLOATS, *WHOLE, np.bool_]))
    shape = draw(st.sampled_from([(), (1,), (3,), (2, 2), (1, 2, 1)]))
    if dtype is np.bool_:
        return spaces.Box(0, 1, shape, dtype)
    count, least = math.prod(shape), 0 if np.dtype(dtype).kind == "u" else -100
    numbers = draw(st.lists(st.integers(least, 20), min_size=count, max_size=count))
    low: Any = np.array(numbers).reshape(shape).astype(dtype)
    high = low + np.array(draw(st.integers(0, 100)), dtype)
    if np.dtype(dtype).kind == "f":
        low = np.where(draw(st.booleans()), low, dtype(-np.inf)).astype(dtype)
        high = np.where(draw(st.booleans()), high, dtype(np.inf)).astype(dtype)
    return spaces.Box(low, high, dtype=dtype)


counts = st.lists(st.integers(1, 1000), min_size=4, max_size=4)
leaves = st.one_of(
    st.builds(lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 70_000), st.integers(-9, 9)),
    st.builds(spaces.MultiDiscrete, counts),
    st.builds(
        lambda nvec, start: spaces.MultiDiscrete(np.reshape(nvec, (2, 2)), start=np.reshape(start, (2, 2))),
        counts,
        st.lists(st.integers(-5, 5), min_size=4, max_size=4),
    ),
    st.builds(spaces.MultiBinary, st.sampled_from([1, 9, [3, 4]])),
    st.builds(
        lambda shortest, charset: spaces.Text(5, min_length=shortest, charset=charset),
        st.integers(0, 5),
        # NumPy cuts off the character zero, with which Gymnasium samples texts that are too short.
        st.sets(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=9).map(frozenset),
    ),
    boxes(),
)
any_space = st.recursive(
    leaves,
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(spaces.Tuple),
        st.dictionaries(st.text("abyz", min_size=1, max_size=2), parts, min_size=1, max_size=3).map(spaces.Dict),
    ),
    max_leaves=3,
)


def floats(low: list[float], high: list[float]) -> spaces.Box:
    return spaces.Box(np.array(low, np.float32), np.array(high, np.float32))


def is_same(a: Any, b: Any) -> bool:
    """Are two actions of one space equal, types and shapes too?"""
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(is_same(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(is_same, a, b))
    if isinstance(b, np.ndarray):
        a = np.asarray(a)  # a Box of no axes samples scalars, of some dtypes, but takes arrays
        return bool((a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()))
    return bool(a == b) and isinstance(b, str if isinstance(a, str) else int)


def sendable(space: Any) -> dict[str, Any] | None:
    """The data of the space; None if it is too wide, and refused for that."""
    try:
        return check_space(space_data(space, setting="action space"))
    except ConfigurationError as error:
        if "at most 255 bytes" not in str(error):
            raise
        return None


@given(any_space, st.integers(0, 1 << 31))
def test_what_gymnasium_samples_comes_back_as_it_was(space: Any, seed: int) -> None:
    space.seed(seed)
    data = sendable(space)
    if data is None:
        return
    for _ in range(5):
        action = space.sample()
        sent = encode_action(data, plain_value(space, action))
        assert len(sent) == input_width(data)
        assert is_same(action, to_action(space, decode_action(data, sent)))


@given(any_space, st.integers())
def test_what_is_drawn_here_is_an_action_there(space: Any, seed: int) -> None:
    data = sendable(space)
    if data is None:
        return
    value = draw_action(data, random.Random(seed))
    action = to_action(space, value)
    assert space.contains(action)
    assert plain_value(space, action) == value


@given(any_space)
def test_nothing_pressed_is_an_action_too(space: Any) -> None:
    data = sendable(space)
    if data is None:
        return
    neutral = neutral_value(space)
    assert space.contains(to_action(space, neutral))
    assert decode_action(data, encode_action(data, neutral)) == neutral


@pytest.mark.parametrize(
    ("space", "data"),
    [
        (spaces.Discrete(3), {"kind": "discrete", "n": 3, "start": 0}),
        (spaces.Discrete(3, start=-1), {"kind": "discrete", "n": 3, "start": -1}),
        (spaces.MultiDiscrete([[3, 2], [4, 5]]), {"kind": "multi_discrete", "nvec": [3, 2, 4, 5]}),
        (
            spaces.MultiDiscrete([3, 2], start=[0, 7]),
            {"kind": "multi_discrete", "nvec": [3, 2], "start": [0, 7]},
        ),
        (spaces.MultiBinary([2, 3]), {"kind": "multi_binary", "n": 6}),
        (
            floats([-1, -np.inf], [0.1, np.inf]),
            {
                "kind": "box",
                "dtype": "<f4",
                "shape": [2],
                "low": [-1.0, None],
                "high": [float(np.float32(0.1)), None],
            },
        ),
        (
            spaces.Box(0, 9, (1, 2), np.dtype(">i2")),
            {"kind": "box", "dtype": "<i2", "shape": [1, 2], "low": [0, 0], "high": [9, 9]},
        ),
        (spaces.Text(4, charset="ba"), {"kind": "text", "min": 1, "max": 4, "charset": "ab"}),
        (
            spaces.Dict([("b", spaces.Discrete(2)), ("a", spaces.Tuple([spaces.MultiBinary(3)]))]),
            {
                "kind": "dict",
                "spaces": {
                    "a": {"kind": "tuple", "spaces": [{"kind": "multi_binary", "n": 3}]},
                    "b": {"kind": "discrete", "n": 2, "start": 0},
                },
            },
        ),
    ],
)
def test_spaces_are_this_data(space: Any, data: dict[str, Any]) -> None:
    assert repr(space_data(space, setting="action space")) == repr(data)


@pytest.mark.parametrize(
    ("space", "hint"),
    [
        (
            spaces.Box(-1, 1, (64,)),
            r"at most 255 bytes per action; this one takes 256: have a wrapper .* fewer numbers",
        ),
        (spaces.Box(0, 255, (64, 64, 3), np.uint8), "has 12288 numbers"),
        (spaces.Box(0, 1, (0,)), "has 0 numbers"),
        (spaces.Box(0, 1, (32,), np.float64), r"takes 256: .* smaller dtype"),
        pytest.param(
            spaces.Box(0, 1, (2,), np.longdouble),
            "float16, float32, float64, int8",
            marks=pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long doubles are doubles here"),
        ),
        (spaces.MultiBinary([32, 64]), "takes 256"),
        (spaces.MultiDiscrete([2] * 256), "takes 256"),
        (spaces.Discrete((1 << 32) + 1), "4294967296 choices"),
        (spaces.MultiDiscrete([2, 1 << 40]), "4294967296 choices"),
        (spaces.Text(255, charset="ab"), "at most 254 characters"),
        (spaces.Text(0, min_length=0), "one or more characters"),
        (spaces.Sequence(spaces.Discrete(2)), "Discrete, MultiDiscrete, MultiBinary, Box, Text, and Dict and Tuple"),
        (spaces.Graph(spaces.Discrete(2), None), "have a wrapper"),
        (spaces.OneOf([spaces.Discrete(2)]), "have a wrapper"),
        (spaces.Dict({}), "a Dict with keys"),
        (spaces.Dict({1: spaces.Discrete(2)}), "all of them str"),
        (spaces.Tuple([]), "have a wrapper"),
        (spaces.Tuple([spaces.Box(-1, 1, (32,)), spaces.Box(-1, 1, (32,))]), "takes 256"),
        (None, "have a wrapper"),
        ("Discrete(2)", "have a wrapper"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_what_to_do(space: Any, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=f"(?s)^action space of agent 'a' is .*{hint}"):
        space_data(space, setting="action space of agent 'a'")


def test_the_part_that_cannot_be_sent_is_named() -> None:
    space = spaces.Dict({"hands": spaces.Tuple([spaces.Discrete(2), spaces.Sequence(spaces.Discrete(2))])})
    with pytest.raises(ConfigurationError, match=r"^action space at 'hands' at 1 is Sequence"):
        space_data(space, setting="action space")


def test_an_action_may_be_written_to_and_keeps_the_environments_order() -> None:
    space = spaces.Dict([("z", spaces.Box(-1, 1, (2, 1))), ("a", spaces.Discrete(4))])
    data = space_data(space, setting="action space")
    value = decode_action(data, encode_action(data, {"z": [0.5, -0.5], "a": 3}))
    first, second = to_action(space, value), to_action(space, value)
    first["z"] += 1
    assert list(first) == list(space.spaces)
    assert second["z"].tolist() == [[0.5], [-0.5]]
    assert (second["z"].dtype, type(second["a"])) == (np.float32, int)


@pytest.mark.parametrize(
    ("space", "action"),
    [
        (spaces.Box(-1, 1, (2, 2)), np.zeros(4)),
        (spaces.MultiBinary([2, 3]), np.zeros((3, 2), np.int8)),
        (spaces.MultiDiscrete([2, 2]), 1),
        (spaces.Tuple([spaces.Discrete(2)]), (1, 1)),
        (spaces.Tuple([spaces.Discrete(2)]), {"0": 1}),
        (spaces.Dict({"a": spaces.Discrete(2)}), {"b": 1}),
        (spaces.Dict({"a": spaces.Discrete(2)}), [1]),
    ],
)
def test_actions_of_another_form_are_no_plain_values(space: Any, action: Any) -> None:
    with pytest.raises(ConfigurationError, match="action is"):
        plain_value(space, action)


def test_an_action_outside_of_its_bounds_is_not_encoded() -> None:
    space = spaces.Box(0, 9, (2,), np.int32)
    data = space_data(space, setting="action space")
    for action in (np.array([0, 10]), np.array([0.0, 1.5])):
        with pytest.raises(ConfigurationError, match="action is"):
            encode_action(data, plain_value(space, action))


@pytest.mark.parametrize(
    ("space", "meanings", "neutral"),
    [
        (spaces.Discrete(4), None, 0),
        (spaces.Discrete(4, start=2), None, 2),
        (spaces.Discrete(4, start=-9), None, -6),
        (spaces.Discrete(4, start=-2), None, 0),
        (spaces.Discrete(3), ["FIRE", "NOOP", "UP"], 1),
        (spaces.Discrete(3), ["up", "down", "no-op"], 2),
        (spaces.Discrete(3, start=5), ["up", "no_action", "None"], 6),
        (spaces.Discrete(3), ["up", "down", "left"], 0),
        (spaces.Discrete(2), ["up", "down", "noop"], 0),
        (spaces.Discrete(3), [None, 1, ""], 0),
        (spaces.MultiDiscrete([3, 3, 3], start=[0, 2, -9]), None, [0, 2, -7]),
        (spaces.MultiBinary([2, 2]), None, [0, 0, 0, 0]),
        (floats([-1, 0.5, -np.inf, -2], [1, 1, np.inf, -1]), None, [0.0, 0.5, 0.0, -1.0]),
        (spaces.Box(3, 9, (1,), np.uint8), None, [3]),
        (spaces.Text(3, charset="ba"), None, "a"),
        (spaces.Text(3, min_length=2, charset="a !"), None, "  "),
        (spaces.Text(3, min_length=0), None, ""),
        (
            spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Tuple([spaces.Discrete(2, start=1)])}),
            None,
            {"a": [1], "b": 0},
        ),
    ],
)
def test_nothing_pressed_is_this_value(space: Any, meanings: Any, neutral: Any) -> None:
    value = neutral_value(space, meanings)
    assert repr(value) == repr(neutral)
    assert space.contains(to_action(space, value))


def test_a_charset_has_the_same_order_in_every_process() -> None:
    code = "from gymnasium import spaces; from envs.gym_spaces import space_data"
    code += "; print(space_data(spaces.Text(5), setting=''))"
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1
    assert "'charset': '0123456789ABC" in answers.pop()


@pytest.mark.parametrize(
    "name", ["CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0", "Acrobot-v1", "FrozenLake-v1"]
)
def test_environments_take_what_comes_from_bytes_as_their_own_actions(name: str) -> None:
    ours, theirs = gymnasium.make(name), gymnasium.make(name)
    space = theirs.action_space
    data = space_data(space, setting="action space")
    space.seed(7)
    ours.reset(seed=3), theirs.reset(seed=3)
    for _ in range(20):
        action = space.sample()
        sent = encode_action(data, plain_value(space, action))
        seen, reward, ended, *_ = ours.step(to_action(space, decode_action(data, sent)))
        expected, expected_reward, *_ = theirs.step(action)
        assert np.array_equal(seen, expected)
        assert reward == expected_reward
        if ended:
            break
    ours.close(), theirs.close()


def test_seats_whose_actions_do_not_fit_one_frame_together_are_refused() -> None:
    for name, fits in (("Wide2", True), ("Wide3", False)):
        if fits:
            assert len(registry.create(f"zoo_rig:{name}", local=True).agents) == 2
        else:
            with pytest.raises(ConfigurationError, match="bytes of all seats' actions is 600; allowed: at most 509"):
                registry.create(f"zoo_rig:{name}", local=True)
