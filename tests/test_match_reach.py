"""Machines that found out different things about one environment play together: some go back, some cannot."""

from __future__ import annotations

from typing import Any

import pytest
from virtual import Link, VirtualMatch, toy_env

from p2pclient.match.plan import MOST_RESIMULATED

BAD = Link(delay=0.06, jitter=0.01, loss=0.05)


def env(players: int, chosen: str, *, max_steps: int | None = 200) -> dict[str, Any]:
    return {**toy_env(players, max_steps=max_steps), "snapshots": {"chosen": chosen, "graded": []}}


def loads(match: VirtualMatch, side: int) -> int:
    return sum(command[0] == "load" for batch in match.sides[side].batches for command in batch)


@pytest.mark.parametrize("ways", [("pickle", "none"), ("none", "fork"), ("own", "none", "copy")])
def test_who_cannot_go_back_waits_for_each_input_and_the_others_roll_back(ways: tuple[str, ...]) -> None:
    players = len(ways)
    match = VirtualMatch(
        seed=4, link=BAD, players=players, envs=[env(players, way) for way in ways], frames=400, episodes=0
    )
    match.run()
    reasons = [side.ended.reason if side.ended else None for side in match.sides]
    assert reasons == ["finished"] * players
    first, *rest = [side.frames() for side in match.sides]
    assert len(first) == 400
    assert all(frames == first for frames in rest)
    assert len({frame.checksum for frame in first}) == 400
    for side, way in enumerate(ways):
        assert (loads(match, side) > 10) is (way != "none")


@pytest.mark.parametrize("wrong", [0, 1])
def test_a_desync_ends_the_match_where_one_side_cannot_simulate_again(wrong: int) -> None:
    match = VirtualMatch(
        seed=4, link=BAD, envs=[env(2, "pickle"), env(2, "none")], frames=400, episodes=0, on_desync="resimulate"
    )
    match.sides[wrong].host.corrupt_at = 50
    match.run()
    assert [side.ended.reason if side.ended else None for side in match.sides] == ["desync", "desync"]
    assert all(len(side.frames()) >= 50 for side in match.sides)


@pytest.mark.parametrize(
    ("chosen", "max_steps", "window"),
    [
        ("own", None, 8),
        ("fork", None, 8),
        ("none", 20, 0),
        ("resimulate", MOST_RESIMULATED, 8),
        ("resimulate", MOST_RESIMULATED + 1, 0),
        ("resimulate", None, 0),
    ],
)
def test_how_far_a_side_may_run_ahead_follows_from_how_it_goes_back(
    chosen: str, max_steps: int | None, window: int
) -> None:
    match = VirtualMatch(envs=[env(2, chosen, max_steps=max_steps)] * 2)
    plan = match.sides[0].match.plan
    assert (plan.window, plan.own_window) == (8, window)
    assert plan.facts()["window"] == 8
