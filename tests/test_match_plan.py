"""A plan in which the seats do not fit together is refused before anything begins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from virtual import toy_env

from p2pclient.common.errors import ConfigurationError
from p2pclient.match.plan import MatchPlan


def plan_of(**changes: Any) -> MatchPlan:
    values = {"own_id": 0, "local_seats": (0,), "peers": {1: (1,), 2: (2,)}, **changes}
    return MatchPlan(match_id="m", seed=1, env=toy_env(3), **values)


@pytest.mark.parametrize(
    "changes",
    [{}, {"local_seats": (2, 0), "peers": {1: (1,)}}, {"local_seats": (), "own_id": 64, "peers": {1: (1,)}}],
)
def test_every_seat_has_one_side(changes: dict[str, Any]) -> None:
    assert plan_of(**changes).seats == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"local_seats": (0, 1)},
        {"peers": {1: (1,), 2: (1,)}},
        {"peers": {1: (1,)}},
        {"local_seats": (0,), "peers": {1: (2,)}},
        {"local_seats": (0, 3)},
        {"local_seats": (-1,)},
        {"own_id": 1},
    ],
    ids=["twice", "twice among others", "missing", "ours missing", "too high", "negative", "our id"],
)
def test_seats_that_do_not_fit_together_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="seats of the sides"):
        plan_of(**changes)


def test_a_bot_plays_only_a_seat_of_ours() -> None:
    assert plan_of(bots={0: ("any", 1)}).bots
    with pytest.raises(ConfigurationError, match="seats of the bots"):
        plan_of(bots={1: ("any", 1)})


@pytest.mark.parametrize(
    ("exact", "save_us", "spacing"), [(True, 0, 1), (True, 999, 1), (True, 3_500, 4), (False, 3_500, 1)]
)
def test_snapshots_begin_as_far_apart_as_one_costs_steps(exact: bool, save_us: int, spacing: int) -> None:
    grade = {"name": "fork", "exact": exact, "save_us": save_us}
    env = {**toy_env(3), "step_us": 1_000, "snapshots": {"chosen": "fork", "graded": [grade]}}
    assert replace(plan_of(), env=env).first_spacing == spacing
    assert plan_of().first_spacing == 1
