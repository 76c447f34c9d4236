"""What a checksum does not notice is found by changing single values; everything is put back."""

from __future__ import annotations

import itertools
import random
from typing import Any

import gymnasium
import numpy as np
import pytest
from pettingzoo.classic.rps import rps

from envs.canonical import checksum
from envs.walk import state_tree
from envs.walk_coverage import StuckError, counts_time, coverage


class World:
    def __init__(self) -> None:
        self.speed = 1.5
        self.lives = 3
        self.alive = True
        self.places = [(1, 2.0), (3, 4.0)]
        self.table = {"a": np.float32(1), "b": [5, 6]}
        self.grid = np.zeros((3, 4), np.uint8)
        self.generator = np.random.default_rng(1)
        self.old_generator = np.random.RandomState(1)
        self.dice = random.Random(1)
        self.step_count = 7
        self.itself = self


def whole(world: Any) -> bytes:
    return checksum(state_tree(world).data)


def test_checksum_of_the_whole_state_notices_everything_and_all_is_put_back() -> None:
    world = World()
    before = whole(world)
    found = coverage(world, lambda: whole(world))
    assert found.missed == []
    assert found.noticed == found.tried == 3 + 4 + 3 + 4 + 3
    assert found.share == 1.0
    assert found.counters == ["state.step_count"]
    assert whole(world) == before


def test_forgotten_parts_are_named_and_lower_the_share() -> None:
    world = World()

    def forgetful() -> bytes:
        return checksum([world.speed, world.alive, world.places, world.table, world.grid, world.dice.getstate()[1][-1]])

    found = coverage(world, forgetful)
    assert set(found.missed) == {"state.lives", "state.generator", "state.old_generator"}
    assert found.tried - found.noticed == 3
    assert found.share == pytest.approx(14 / 17)


def test_at_most_as_many_as_wanted_are_tried_and_the_seed_chooses() -> None:
    world = {"cells": [{"value": index} for index in range(50)]}

    def blind() -> bytes:
        return b""

    first, again, other = (coverage(world, blind, most=10, seed=seed) for seed in (1, 1, 2))
    assert (first.tried, first.noticed, first.share) == (10, 0, 0.0)
    assert first.missed == again.missed != other.missed


def test_large_arrays_do_not_crowd_out_the_rest() -> None:
    world = {"picture": np.zeros((100, 100)), "numbers": list(range(1000)), "lives": 3}
    found = coverage(world, lambda: b"")
    assert found.tried == 4 + 4 + 1


def test_digest_that_does_not_come_back_is_an_error() -> None:
    calls = itertools.count()
    with pytest.raises(StuckError, match=r"state\.lives"):
        coverage({"lives": 3}, lambda: bytes(next(calls)))


def test_digest_that_raises_has_noticed() -> None:
    world = {"index": 0}
    found = coverage(world, lambda: checksum([5][world["index"]]))
    assert (found.tried, found.noticed, world["index"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("state.env._elapsed_steps", True),
        ("state.t", True),
        ("state.num_frames", True),
        ("state.time", True),
        ("state.table['step'][3]", True),
        ("state.timid", False),
        ("state.steps.value", False),
        ("state.speed", False),
    ],
)
def test_counters_are_known_by_the_last_name(path: str, counts: bool) -> None:
    assert counts_time(path) is counts


def test_environments_as_they_are_have_their_whole_state_covered() -> None:
    cart = gymnasium.make("CartPole-v1")
    cart.reset(seed=1)
    game = rps.env()
    game.reset(seed=1)
    game.step(0)
    for env, least in ((cart, 20), (game, 10)):
        found = coverage(env, lambda env=env: whole(env))  # type: ignore[misc]
        assert found.tried >= least
        assert found.share >= 0.95, found.missed
    assert any("_elapsed_steps" in path for path in coverage(cart, lambda: whole(cart)).counters)


def test_observations_alone_are_found_wanting() -> None:
    cart: Any = gymnasium.make("CartPole-v1").unwrapped
    cart.reset(seed=1)
    found = coverage(cart, lambda: checksum(cart.state))
    assert found.share < 0.5
    assert "state._np_random" in found.missed
