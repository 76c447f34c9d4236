"""Who comes and goes all the time does not fill the file of decisions; who behaves is always in it."""

from __future__ import annotations

import pytest
from room_rig import come, confirm, decisions, make_room, only

from p2pclient.common.lobby_messages import Join, Leave
from p2pclient.common.room_messages import Decline, Proposed
from signaling.line_budget import BY_ADDRESS, BY_ONE, MOST_KNOWN, LineBudget
from signaling.matching.base import Candidate, Context, Round
from signaling.matching.hook import Hook
from signaling.matching.simple import FixedGroups

LOOPS = 500


def test_joining_and_leaving_all_the_time_is_bounded_and_counted() -> None:
    room = make_room(seats=3)
    come(room, "honest")
    room.arrive("h", now=0.0)
    lines = []
    for number in range(LOOPS):
        now = number / 20
        lines += decisions(room.join("h", Join(), now=now), "round")
        lines += decisions(room.leave("h", Leave(), now=now), "round")
        lines += decisions(room.tick(now), "round")
    assert len(lines) <= BY_ONE[0] + LOOPS / 20 * BY_ONE[1] + 1
    effects = come(room, "new", now=LOOPS / 20)
    (line,) = decisions(effects, "round")
    assert [each["id"] for each in line["waiting"]] == ["honest", "new"]
    assert sum(each.get("unwritten", 0) for each in [*lines, line]) + len(lines) == 2 * LOOPS
    assert "unwritten" not in decisions(come(room, "newer", now=LOOPS / 20), "round")[-1]


def test_coming_anew_over_and_over_from_one_address_is_bounded() -> None:
    room = make_room(seats=3)
    written = 0
    for number in range(int(1.1 * BY_ADDRESS[0])):
        name = f"h{number}"
        room.arrive(name, now=1.0, address="10.0.0.9")
        effects = [*room.join(name, Join(), now=1.0), *room.depart(name, "left", now=1.0)]
        written += len(decisions(effects, "round"))
    assert written == BY_ADDRESS[0]
    room.arrive("neighbour", now=1.0, address="10.0.0.8")
    assert len(decisions(room.join("neighbour", Join(), now=1.0), "round")) == 1


def test_declining_all_the_time_is_bounded_and_a_match_is_always_in_it() -> None:
    room = make_room()
    room.arrive("a", now=0.0)
    room.arrive("b", now=0.0)
    room.join("a", Join(), now=0.0)
    effects = room.join("b", Join(), now=0.0)
    lines = 0
    for _ in range(LOOPS):
        proposal = only(effects, "b", Proposed).proposal_id
        effects = room.decline("b", Decline(proposal_id=proposal), now=0.0)
        lines += len(decisions(effects, "withdrawn"))
        effects = room.join("b", Join(), now=0.0)
        lines += len(decisions(effects, "round"))
    assert 0 < lines <= 2 * BY_ONE[0]
    assert len(decisions(confirm(room, effects, "a", "b"), "begun")) == 1


def test_a_thousand_who_come_within_a_minute_are_all_in_it() -> None:
    room = make_room(matcher=FixedGroups())
    for number in range(1000):
        name, now = f"c{number}", number * 0.06
        room.arrive(name, now=now, address="10.0.0.9")
        lines = decisions(room.join(name, Join(attributes={"group": str(number // 2)}), now=now), "round")
        assert len(lines) == 1
        assert bool(lines[0]["chosen"]) is (number % 2 == 1)


def test_matcher_that_fails_differently_each_time_is_bounded() -> None:
    calls: list[int] = []

    def fails(candidates: list[Candidate], context: Context, now: float) -> Round:
        calls.append(1)
        return Round(error=f"failure {len(calls)}")

    room = make_room(matcher=Hook("study:fails", fails))
    come(room, "a")
    lines = [line for number in range(LOOPS) for line in decisions(room.tick(0.001 * number), "round")]
    assert len(calls) > LOOPS
    assert len(lines) <= BY_ONE[0]
    notes = [each for each in room.row(now=1.0, epoch=1.0).events if each.kind == "matcher"]
    assert 0 < len(notes) <= BY_ONE[0] + 1


@pytest.mark.parametrize("one_calm", [False, True])
def test_one_who_is_calm_is_enough(one_calm: bool) -> None:
    budget = LineBudget()
    for _ in range(int(BY_ONE[0])):
        assert budget.take([("h", "")], now=0.0)
    causes = [("h", ""), *([("calm", "")] if one_calm else [])]
    assert budget.take(causes, now=0.0) is one_calm
    assert budget.unwritten == (not one_calm)
    assert budget.take([("h", "")], now=1 / BY_ONE[1])


def test_what_is_remembered_is_bounded() -> None:
    budget = LineBudget()
    for number in range(2 * MOST_KNOWN):
        budget.take([(f"c{number}", "")], now=0.0)
    assert len(budget._left) == MOST_KNOWN
