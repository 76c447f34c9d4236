"""Environments of Gymnasium, PettingZoo and MPE2 that people play: what is exact for them, and what is not.

The whole check of each, with two hosts and all ways, takes minutes: its results are in ``docs/checking.md``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from envs.conformance import ConformanceError, check_determinism, check_inputs_matter, check_snapshots
from envs.contract import Environment, no_progress
from envs.examination import examine
from envs.keeping import CopyKeeper, Keeper, NoKeeper, PickleKeeper, ResimulatingKeeper

pytestmark = pytest.mark.filterwarnings("ignore:The old environment creation API:DeprecationWarning")

BOX2D = pytest.mark.skipif(find_spec("Box2D") is None, reason="Box2D has no wheels for this Python or system")

LISTED = [
    pytest.param("gymnasium:LunarLander-v3", {}, ResimulatingKeeper, [PickleKeeper], id="LunarLander", marks=BOX2D),
    pytest.param("mpe2.simple_spread_v3:parallel_env", {}, CopyKeeper, [PickleKeeper], id="simple_spread"),
    pytest.param("mpe2.simple_tag_v3:parallel_env", {}, CopyKeeper, [PickleKeeper], id="simple_tag"),
    pytest.param("pettingzoo:butterfly/cooperative_pong_v6", {}, CopyKeeper, [PickleKeeper], id="cooperative_pong"),
    pytest.param("pettingzoo:butterfly/knights_archers_zombies_v11", {}, CopyKeeper, [PickleKeeper], id="archers"),
    pytest.param(
        *("pettingzoo:butterfly/pistonball_v6", {"n_pistons": 4}, ResimulatingKeeper, [PickleKeeper, CopyKeeper]),
        id="pistonball",
    ),
    pytest.param(
        *("pettingzoo:sisl/multiwalker_v9", {"n_walkers": 2}, ResimulatingKeeper, [PickleKeeper]),
        id="multiwalker",
        marks=BOX2D,
    ),
]


def make(name: str, args: dict[str, Any], keeper: type[Keeper] = NoKeeper) -> Environment:
    kinds = {"gymnasium": "envs.foreign_gym", "pettingzoo": "envs.foreign_zoo"}
    module = import_module(kinds.get(name.partition(":")[0], "envs.foreign_factory"))
    made: Environment = module.make(name, dict(args), no_progress, keeper)
    return made


@pytest.mark.parametrize(("name", "args", "exact", "inexact"), LISTED)
def test_ways_that_are_exact_and_ways_that_are_not(
    name: str, args: dict[str, Any], exact: type[Keeper], inexact: list[type[Keeper]]
) -> None:
    check_snapshots(lambda: make(name, args, exact), 3, 5)
    for keeper in inexact:
        # Whatever an engine in C raises when it is pickled is a refusal as good as a difference.
        with pytest.raises((ConformanceError, TypeError, AttributeError)):
            check_snapshots(lambda keeper=keeper: make(name, args, keeper), 3, 5)  # type: ignore[misc]


@pytest.mark.parametrize(("name", "args"), [pytest.param(*p.values[:2], id=p.id, marks=p.marks) for p in LISTED])
def test_seed_and_inputs_decide_and_the_checksum_covers_the_state(name: str, args: dict[str, Any]) -> None:
    def factory() -> Environment:
        return make(name, args)

    check_determinism(factory, 5)
    check_inputs_matter(factory, 5)
    found = examine(factory)
    assert found["tried"] >= 40
    assert found["noticed"] >= 0.95 * found["tried"], found["missed"]
    assert (found["opaque"], found["stuck"]) == ([], None)
    assert len(found["remade"]) == 1


@BOX2D
def test_bodies_that_only_a_picture_still_lists_are_not_read() -> None:
    # Those of a walker that has fallen are gone from the engine: to read them is to read anything.
    walkers = make("pettingzoo:sisl/multiwalker_v9", {"n_walkers": 2})
    assert "'walkers'" in repr(walkers.fingerprint())
    assert "drawlist" not in repr(walkers.fingerprint())
