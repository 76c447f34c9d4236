"""Matchers: who is proposed to whom, and why the others are not."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from room_rig import come, confirm, decisions, finish, make_room, match_of, only

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.lobby_messages import Join, Matched
from signaling.effects import Noted
from signaling.hooks import load_function
from signaling.matching.balanced import Balanced
from signaling.matching.base import Candidate, Context, Matcher, Proposal, Round, check_round
from signaling.matching.choice import choose_matcher
from signaling.matching.history import NewPartners, Reunion, RoundRobin
from signaling.matching.hook import Hook
from signaling.matching.rtt import RttAware
from signaling.matching.simple import FirstCome, FixedGroups


def people(*ids: str, **fields: Any) -> list[Candidate]:
    return [Candidate(each, **fields) for each in ids]


def groups(matcher: Matcher, candidates: Sequence[Candidate], seats: int = 2, **context: Any) -> list[str]:
    """Return the groups proposed, each as the ids of its members in one word."""
    found = matcher.propose(candidates, Context(seats=seats, **context), 0.0)
    assert check_round(found, candidates, seats) == ""
    matched = {member for proposal in found.proposals for member in proposal.members}
    explained = {member for rejection in found.rejections for member in rejection.members}
    assert explained.isdisjoint(matched)
    assert matched | explained == {each.id for each in candidates}, "somebody is left without a reason"
    assert all(each.why for each in (*found.proposals, *found.rejections))
    return ["".join(proposal.members) for proposal in found.proposals]


def test_first_come_are_first_served() -> None:
    assert groups(FirstCome(), people(*"abcde")) == ["ab", "cd"]
    assert groups(FirstCome(), people(*"abcde"), 3) == ["abc"]
    assert groups(FirstCome(), people(*"abcdefgh"), 8) == ["abcdefgh"]
    assert groups(FirstCome(), people(*"ab"), 1) == ["a", "b"]
    assert groups(FirstCome(), people("a")) == []


def test_fixed_groups_play_among_themselves() -> None:
    candidates = [
        *people("a", "b", attributes={"group": "1"}),
        *people("x", attributes={"group": "2"}),
        *people("n"),
        *people("c", attributes={"group": "1"}),
        *people("y", attributes={"group": "2"}),
    ]
    assert groups(FixedGroups(), candidates) == ["ab", "xy"]
    assert groups(FixedGroups(), candidates, 3) == ["abc"]
    assert groups(FixedGroups("pair"), candidates) == []


def met(name: str, *partners: str, **fields: Any) -> Candidate:
    return Candidate(name, partners=partners, **fields)


def test_reunion_brings_the_same_together_again_and_newcomers_together() -> None:
    candidates = [met("a", "x", "b"), met("n"), met("x", "a"), met("b", "a"), met("m")]
    assert groups(Reunion(), candidates) == ["ab", "nm"]
    assert groups(Reunion(), [met("a", "b", "c"), met("b", "a", "c"), met("c", "a", "b")], 3) == ["abc"]


def test_nobody_gets_the_same_partner_twice() -> None:
    candidates = [met("a", "b", "c"), met("b", "a"), met("c", "a"), met("d")]
    assert groups(NewPartners(), candidates) == ["ad", "bc"]
    assert groups(NewPartners(), [met("a", "b"), met("b", "a")]) == []


def test_partners_are_known_again_by_their_names() -> None:
    assert groups(NewPartners(), [met("c7", "Bob", label="Ann"), met("c9", label="Bob")]) == []


@pytest.mark.parametrize("count", [4, 5, 6, 8])
def test_in_a_round_robin_each_meets_each_before_anybody_meets_again(count: int) -> None:
    names = [chr(ord("a") + index) for index in range(count)]
    partners: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
    met_times = dict.fromkeys(combinations(names, 2), 0)
    chance = random.Random(count)
    waiting, playing = list(names), []
    for _ in range(400):
        known = {name: Candidate(name, partners=partners[name]) for name in names}
        others = tuple(known[name] for name in names if name not in waiting)
        found = RoundRobin().propose([known[name] for name in waiting], Context(seats=2, others=others), 0.0)
        for proposal in found.proposals:
            a, b = sorted(proposal.members)
            met_times[a, b] += 1
            partners[a] += (b,)
            partners[b] += (a,)
            waiting = [name for name in waiting if name not in (a, b)]
            playing.append((a, b))
        if playing:
            waiting += playing.pop(chance.randrange(len(playing)))
        if min(met_times.values()) >= 2:
            break
    assert min(met_times.values()) >= 2, "somebody never met somebody"
    assert max(met_times.values()) <= 3


def test_round_robin_of_larger_groups_takes_who_has_met_least() -> None:
    candidates = [met("a", "b", "c"), met("b", "a", "c"), met("c", "a", "b"), met("d"), met("e")]
    assert groups(RoundRobin(), candidates, 3) == ["ade"]


def test_conditions_are_balanced_up_to_their_caps() -> None:
    matcher = Balanced({"A": 2, "B": None})
    candidates = people(*"abcdefghij")
    found = matcher.propose(candidates, Context(seats=2, conditions={"B": 1}), 0.0)
    assert [each.condition for each in found.proposals] == ["A", "A", "B", "B", "B"]
    full = Balanced({"A": 1}).propose(candidates, Context(seats=2, conditions={"A": 1}), 0.0)
    assert full.proposals == ()
    assert {each.why for each in full.rejections} == {"Every condition is full."}


def test_network_decides_and_the_limit_is_relaxed_as_people_wait() -> None:
    matcher = RttAware(limit_ms=100, relax_ms_per_s=5, most_ms=200)
    near, far = people("a", "b", rtt_ms=20.0), people("x", "y", rtt_ms=90.0)
    assert groups(matcher, [far[0], near[0], far[1], near[1]]) == ["ab"]
    assert groups(matcher, [*near, *far]) == ["ab"]
    assert groups(matcher, people("x", "y", rtt_ms=90.0, waited_s=15.0)) == []
    assert groups(matcher, people("x", "y", rtt_ms=90.0, waited_s=16.0)) == ["xy"]
    assert groups(matcher, people("x", "y", rtt_ms=101.0, waited_s=999.0)) == []


def test_measured_pair_counts_more_than_the_way_by_the_server() -> None:
    matcher = RttAware(limit_ms=100, relax_ms_per_s=0)
    far = people("x", "y", rtt_ms=90.0)
    assert groups(matcher, far, pair_rtt_ms={frozenset("xy"): 30.0}) == ["xy"]
    assert groups(matcher, people("a", "b", rtt_ms=5.0), pair_rtt_ms={frozenset("ab"): 130.0}) == []


def test_who_is_not_measured_yet_is_left_out_for_a_while() -> None:
    matcher = RttAware()
    assert groups(matcher, people("a", "b")) == []
    assert groups(matcher, people("a", "b", waited_s=10.0)) == ["ab"]


@given(
    st.lists(st.tuples(st.floats(0, 400), st.floats(0, 60)), max_size=12, unique=True),
    st.integers(1, 5),
)
def test_no_pair_of_a_group_is_beyond_its_limit(found: list[tuple[float, float]], seats: int) -> None:
    candidates = [Candidate(f"c{n}", rtt_ms=rtt, waited_s=waited) for n, (rtt, waited) in enumerate(found)]
    by_id = {each.id: each for each in candidates}
    matcher = RttAware(limit_ms=150, relax_ms_per_s=3)
    answer = matcher.propose(candidates, Context(seats=seats), 0.0)
    assert check_round(answer, candidates, seats) == ""
    for proposal in answer.proposals:
        for a, b in combinations([by_id[each] for each in proposal.members], 2):
            assert a.rtt_ms is not None
            assert b.rtt_ms is not None
            assert a.rtt_ms + b.rtt_ms <= 150 + 3 * max(a.waited_s, b.waited_s)


def test_search_for_large_groups_among_many_gives_up_in_time() -> None:
    """No group of eight exists among these, and trying all would take for ever."""
    names = [f"c{number}" for number in range(300)]
    many = [Candidate(names[n], partners=tuple(names[(n + 1) % 3 :: 3])) for n in range(len(names))]
    answer = NewPartners().propose(many, Context(seats=8), 0.0)
    assert check_round(answer, many, 8) == ""
    assert answer.rejections


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("fifo", FirstCome),
        ("groups", FixedGroups),
        ("groups:team", FixedGroups),
        ("reunion", Reunion),
        ("new-partners", NewPartners),
        ("round-robin", RoundRobin),
        ("balanced:A=10,B", Balanced),
        ("rtt", RttAware),
        ("rtt:limit=80,relax=2,most=300", RttAware),
        ("hook:json:dumps", Hook),
    ],
)
def test_matchers_are_chosen_by_name(text: str, kind: type[object]) -> None:
    assert isinstance(choose_matcher(text, load_function), kind)


@pytest.mark.parametrize(
    "text",
    [
        *("", "lifo", "fifo:x", "balanced", "balanced:A=0", "balanced:A=x", "balanced:A=1,A=2"),
        *("rtt:limit=fast", "rtt:x=1", "rtt:limit=nan"),
        *("hook:", "hook:no_such_module_here:f", "hook:json:nothing", "hook:json"),
    ],
)
def test_other_names_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--matching"):
        choose_matcher(text, load_function)


# -- in the room ------------------------------------------------------------------------------------------------------


def test_every_decision_says_who_waited_who_was_chosen_and_why() -> None:
    room = make_room(matcher=FixedGroups())
    effects = come(room, "a", label="Ann", attributes={"group": "1"})
    room.measured("a", 12.0)
    effects = come(room, "b", now=5.0, attributes={"group": "2"})
    (line,) = decisions(effects, "round")
    assert [(each["id"], each["label"], each["waited_s"], each["rtt_ms"]) for each in line["waiting"]] == [
        ("a", "Ann", 5.0, 12.0),
        ("b", "", 0.0, None),
    ]
    assert line["chosen"] == []
    assert {tuple(each["members"]): each["why"] for each in line["rejected"]} == {
        ("a",): "Waits for 1 more of 1.",
        ("b",): "Waits for 1 more of 2.",
    }
    assert decisions(room.tick(6.0), "round") == [], "what is the same is not said again"
    reasons = {each.id: each.reason for each in room.row(now=6.0, epoch=6.0).participants}
    assert reasons == {"a": "Waits for 1 more of 1.", "b": "Waits for 1 more of 2."}
    effects = come(room, "c", now=7.0, attributes={"group": "1"})
    (line,) = decisions(effects, "round")
    assert [(each["members"], each["why"]) for each in line["chosen"]] == [(["a", "c"], "They are of the group 1.")]


def test_limit_is_relaxed_by_the_clock_alone() -> None:
    room = make_room(matcher=RttAware(limit_ms=100, relax_ms_per_s=10, probe=False))
    come(room, "a", "b")
    for client in "ab":
        room.measured(client, 90.0)
    room.tick(7.0)
    assert room.proposed == {}
    room.tick(8.0)
    assert list(room.proposed.values()) == [("a", "b")]


def _raises(candidates: object, context: object, now: float) -> object:
    raise ZeroDivisionError("in a hook")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (_raises, "ZeroDivisionError: in a hook"),
        (lambda candidates, context, now: None, "TypeError"),
        (lambda candidates, context, now: [["a", "nobody"]], "no candidate"),
        (lambda candidates, context, now: [["a", "a"]], "twice"),
        (lambda candidates, context, now: [["a", "b"], ["b", "a"]], "twice"),
        (lambda candidates, context, now: [["a"]], "1 for a match of 2"),
        (lambda candidates, context, now: [[[], {}]], "TypeError"),
        (lambda candidates, context, now: Round(error="not today"), "not today"),
        (lambda candidates, context, now: Round((Proposal((1, 2), ""),)), "else than an id"),  # type: ignore[arg-type]
    ],
)
def test_hook_that_fails_matches_nobody_and_the_room_goes_on(function: Any, said: str) -> None:
    room = make_room(matcher=Hook("study:rule", function))
    effects = come(room, "a", "b")
    lines = decisions(effects, "round")
    assert said in lines[-1]["error"]
    assert room.proposed == {}
    assert [each for each in effects if isinstance(each, Noted) and each.what == "matcher failed"]
    assert room.waiting == ("a", "b")


def test_hook_sees_attributes_and_chooses() -> None:
    def opposites(candidates: Sequence[Candidate], context: Context, now: float) -> list[list[Candidate]]:
        left = [each for each in candidates if each.attributes.get("hand") == "left"]
        right = [each for each in candidates if each.attributes.get("hand") == "right"]
        return [list(pair) for pair in zip(left, right, strict=False)]

    room = make_room(matcher=Hook("study:opposites", opposites))
    come(room, "a", "b", attributes={"hand": "left"})
    effects = come(room, "c", attributes={"hand": "right"})
    assert list(room.proposed.values()) == [("a", "c")]
    assert decisions(effects, "round")[0]["chosen"][0]["why"] == "study:opposites chose them."


def test_function_of_a_study_is_found_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_study_rule.py").write_text("def pairs(candidates, context, now):\n    return []\n")
    monkeypatch.chdir(tmp_path)
    assert load_function("my_study_rule:pairs")([], None, 0.0) == []


def test_earlier_partners_are_remembered_and_conditions_counted() -> None:
    room = make_room(matcher=Balanced({"A": None, "B": None}))
    conditions = []
    for turn in range(4):
        now = 10.0 * turn
        if turn == 0:
            come(room, "a", "b", ready=False)
        effects = [*room.join("a", Join(), now=now), *room.join("b", Join(), now=now)]
        began = confirm(room, effects, "a", "b", now=now)
        conditions.append(only(began, "a", Matched).condition)
        for client in "ab":
            finish(room, client, match_of(began, client), now=now)
    assert conditions == ["A", "B", "A", "B"]


def test_who_was_withdrawn_does_not_count_for_its_condition() -> None:
    room = make_room(matcher=Balanced({"A": 1}))
    effects = come(room, "a", "b")
    assert len(room.proposed) == 1
    effects = room.tick(30.0)
    assert room.proposed == {}
    effects = [*room.join("a", Join(), now=31.0), *room.join("b", Join(), now=31.0)]
    assert only(confirm(room, effects, "a", "b", now=31.0), "a", Matched).condition == "A"
