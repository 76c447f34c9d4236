"""What environments of other people draw, in whichever form, becomes a picture, a text or a sentence."""

from __future__ import annotations

import io
from typing import Any

import gymnasium
import numpy as np
import pytest
from foreign_rig import Walk

from envs import registry
from envs.foreign_gym import GymnasiumEnvironment
from envs.foreign_gym import make as make_gym
from envs.pictures import to_picture
from envs.simulation import Simulation
from p2pclient.common.errors import EnvHostError

RAMP = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def test_a_picture_is_taken_as_it_is_without_a_copy() -> None:
    assert np.shares_memory(to_picture(RAMP, "x"), RAMP)
    turned = RAMP.transpose(1, 0, 2)
    assert np.shares_memory(to_picture(turned, "x"), RAMP)


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (RAMP.astype(np.int64), RAMP),
        (RAMP.astype(np.float32), RAMP),
        (RAMP / 255.0, RAMP),
        (np.dstack([RAMP, np.full((4, 6), 9, np.uint8)]), RAMP),
        (RAMP[:, :, 0], np.dstack([RAMP[:, :, 0]] * 3)),
        (RAMP[:, :, :1], np.dstack([RAMP[:, :, 0]] * 3)),
        (RAMP[:, :, 0] > 30, np.dstack([np.where(RAMP[:, :, 0] > 30, 255, 0)] * 3)),
        (RAMP.tolist(), RAMP),
        (np.array([[[-5.0, 300.0, 7.0]]]), np.array([[[0, 255, 7]]])),
    ],
)
def test_other_forms_of_a_picture_become_that_one(drawn: Any, expected: Any) -> None:
    picture = to_picture(drawn, "x")
    assert picture.dtype == np.uint8
    assert picture.shape == expected.shape
    assert np.abs(picture.astype(int) - expected).max() <= 1  # floats are cut to whole numbers


@pytest.mark.parametrize(
    "drawn", [np.zeros(5), np.zeros((4, 4, 2)), np.zeros((0, 4, 3)), "text", [], np.full((2, 2, 3), np.nan), object()]
)
def test_what_is_no_picture_is_told_with_its_form(drawn: Any) -> None:
    with pytest.raises(EnvHostError, match=r"odd draws .*\[.*\], which is no picture"):
        to_picture(drawn, "odd")


class Terminal(Walk):  # type: ignore[misc]
    """Draws with characters."""

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, *, buffered: bool = False) -> None:
        super().__init__(render_mode)
        self._buffered = buffered

    def render(self) -> Any:
        return io.StringIO("|x  |") if self._buffered else "|x  |"


def view_of(env: Any) -> dict[str, Any]:
    simulation = Simulation(GymnasiumEnvironment(env, "walk"))
    simulation.reset(0)
    return simulation.render()


@pytest.mark.parametrize("buffered", [False, True])
def test_a_picture_in_characters_is_text(buffered: bool) -> None:
    view = view_of(Terminal("ansi", buffered=buffered))
    assert (view["pixels"], view["text"]) == (None, "|x  |")


def test_an_environment_that_was_made_without_a_way_to_draw_has_an_empty_text() -> None:
    view = view_of(gymnasium.make("FrozenLake-v1"))
    assert (view["pixels"], view["text"]) == (None, "")


def test_pixels_leave_no_text() -> None:
    view = view_of(gymnasium.make("FrozenLake-v1", render_mode="rgb_array"))
    assert view["pixels"].std() > 0
    assert "text" not in view


def test_observations_that_are_drawn_are_neither_blank_nor_those_of_another_frame() -> None:
    environment = registry.create("foreign_rig:seen_lake", {}, local=True)
    assert environment.snapshots is not None
    assert environment.snapshots["chosen"] != "none"
    simulation = Simulation(environment)
    simulation.reset(0)
    pictures = []
    for frame in range(4):
        simulation.save(frame)
        pictures.append(simulation.render()["pixels"].copy())
        seen = simulation.step(frame, [bytes([1 + frame % 2])], True)[6][0]
        assert seen.std() > 10
        assert np.array_equal(seen, simulation.render()["pixels"])
    assert not np.array_equal(pictures[0], pictures[1])
    simulation.load(1)
    assert np.array_equal(environment.observe()[0], pictures[1])
    assert np.array_equal(simulation.step(1, [b"\2"], True)[6][0], pictures[2])


def test_observations_that_cannot_be_drawn_are_told_when_it_is_loaded() -> None:
    with pytest.raises((EnvHostError, AssertionError), match="render_mode"):
        registry.create("foreign_rig:seen_lake", {"render_mode": None}, local=True, trusted_args=True)


def test_an_environment_of_characters_alone_is_asked_for_them_by_its_name() -> None:
    gymnasium.register("TandemTerminal-v0", entry_point=Terminal)
    try:
        assert make_gym("gymnasium:TandemTerminal-v0", {"buffered": True}).render_text() == "|x  |"
    finally:
        del gymnasium.registry["TandemTerminal-v0"]
