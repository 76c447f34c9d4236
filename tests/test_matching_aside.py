"""A matching function of a study's own that takes its time: nobody waits for it but those who are to be matched."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from room_rig import come, confirm, decisions, make_room, match_of, sent
from signaling_rig import callers, listening_server

from p2pclient.common.lobby_messages import Join, Leave, Matched
from p2pclient.common.room_messages import Proposed
from signaling.actions import Hold
from signaling.alerts import Alerts
from signaling.effects import AskMatcher, Effect, Noted
from signaling.matching.base import Candidate, Context, Proposal, Round
from signaling.matching.hook import Hook
from signaling.matching_hook import MatchingHook
from signaling.room import Room
from signaling.room_state import Rules

LONG_S = 30.0


def question(effects: Iterable[Effect]) -> AskMatcher:
    (found,) = [each for each in effects if isinstance(each, AskMatcher)]
    return found


def asked(effects: Iterable[Effect]) -> list[list[str]]:
    return [[one.id for one in each.candidates] for each in effects if isinstance(each, AskMatcher)]


def aside_room() -> Room:
    return make_room(matcher=Hook("study:pairs", in_turn), matcher_is_aside=True)


def in_turn(candidates: Sequence[Candidate], context: Context, now: float) -> list[Sequence[Candidate]]:
    return [candidates[at : at + 2] for at in range(0, len(candidates) - 1, 2)]


def both(*members: str) -> Round:
    return Round((Proposal(members, "It says so."),))


def test_answer_is_followed_when_it_comes() -> None:
    room = aside_room()
    assert asked(come(room, "a")) == [["a"]]
    answered = room.matcher_answered(1, Round(), now=0.1)
    assert asked(answered) == []
    effects = come(room, "b", now=0.2)
    assert asked(effects) == [["a", "b"]]
    assert room.proposed == {}
    assert question(effects).context.seats == 2
    effects = room.matcher_answered(question(effects).request, both("b", "a"), now=0.3)
    assert list(room.proposed.values()) == [("b", "a")]
    assert decisions(effects, "round")[0]["chosen"][0]["why"] == "It says so."
    assert match_of(confirm(room, effects, "a", "b"), "a")


def test_one_question_at_a_time_and_who_came_meanwhile_is_in_the_next() -> None:
    room = aside_room()
    first = question(come(room, "a"))
    assert asked(come(room, "b", now=0.1)) == []
    assert asked(room.tick(0.5)) == []
    answered = room.matcher_answered(first.request, Round(), now=0.6)
    assert asked(answered) == [["a", "b"]]


def test_matcher_that_matches_nobody_is_asked_again_with_the_clock_only() -> None:
    room = aside_room()
    first = question(come(room, "a"))
    assert asked(room.matcher_answered(first.request, Round(), now=0.1)) == []
    assert asked(room.tick(0.2)) == []
    assert asked(room.tick(0.7)) == [["a"]]


@pytest.mark.parametrize("gone", ["leaves", "is away"])
def test_who_has_gone_meanwhile_is_not_proposed_and_the_others_are(gone: str) -> None:
    room = aside_room()
    first = question(come(room, "a"))
    come(room, "b", "c", "d")
    second = question(room.matcher_answered(first.request, Round(), now=0.1))
    if gone == "leaves":
        room.leave("b", Leave(), now=0.2)
    else:
        room.depart("b", "silent", now=0.2)
    late = Round((Proposal(("a", "b"), ""), Proposal(("c", "d"), "")))
    effects = room.matcher_answered(second.request, late, now=0.3)
    assert list(room.proposed.values()) == [("c", "d")]
    assert not [each for each in sent(effects, "a") if isinstance(each, Proposed)]
    (line,) = decisions(effects, "round")
    assert line["rejected"][0]["members"] == ["a", "b"]
    assert asked(effects) == [["a"]]


def test_answer_that_nobody_waits_for_does_nothing() -> None:
    room = aside_room()
    first = question(come(room, "a"))
    come(room, "b")
    second = question(room.matcher_answered(first.request, Round(), now=0.1))
    for request in (first.request, second.request + 1):
        assert room.matcher_answered(request, both("a", "b"), now=0.2) == []
    room.act(Hold(), by="ada", now=0.3)
    assert room.matcher_answered(second.request, both("a", "b"), now=0.4) == []
    assert room.proposed == {}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Round(error="It hangs."), "It hangs."),
        (both("a", "x"), "no candidate"),
        (both("a"), "1 for a match of 2"),
        (both("a", "a"), "twice"),
    ],
)
def test_wrong_answer_matches_nobody_and_is_an_alert_until_it_is_well(found: Round, said: str) -> None:
    room = aside_room()
    first = question(come(room, "a"))
    come(room, "b")
    second = question(room.matcher_answered(first.request, Round(), now=0.1))
    effects = room.matcher_answered(second.request, found, now=0.2)
    assert said in decisions(effects, "round")[0]["error"]
    assert [each for each in effects if isinstance(each, Noted) and each.what == "matcher failed"]
    alerts = Alerts()
    (alert,) = alerts.update(room.row(now=0.2, epoch=100.0), now=0.2)
    assert (alert.severity, said in alert.text) == ("problem", True)
    third = question(room.tick(1.0))
    assert decisions(room.matcher_answered(third.request, found, now=1.1), "round") == [], "said once"
    fourth = question(room.tick(2.0))
    room.matcher_answered(fourth.request, both("a", "b"), now=2.1)
    assert alerts.update(room.row(now=2.2, epoch=102.0), now=2.2) == ()
    assert list(room.proposed.values()) == [("a", "b")]


def ask() -> AskMatcher:
    candidates = (Candidate("a"), Candidate("b"))
    return AskMatcher(1, candidates, Context(seats=2), 0.0)


async def test_function_that_hangs_is_given_up_and_not_called_again_beside_itself() -> None:
    let_go, calls = threading.Event(), list[str]()

    def hangs(candidates: Any, context: Any, now: float) -> list[list[str]]:
        calls.append(threading.current_thread().name)
        let_go.wait(LONG_S)
        return [["a", "b"]]

    hook = MatchingHook(Hook("study:hangs", hangs), timeout_s=0.05)
    try:
        assert "longer than 0.05 s" in (await hook.ask(ask())).error
        assert "have not come back" in (await hook.ask(ask())).error
        assert len(calls) == 1
        assert threading.main_thread().name not in calls
    finally:
        let_go.set()
    async with asyncio.timeout(LONG_S):
        while (found := await hook.ask(ask())).error:
            pass
    assert [each.members for each in found.proposals] == [("a", "b")]


async def test_function_that_ends_the_program_ends_only_its_own_call() -> None:
    hook = MatchingHook(Hook("study:exits", lambda candidates, context, now: sys.exit(3)), timeout_s=LONG_S)
    assert "SystemExit" in (await hook.ask(ask())).error


async def test_server_goes_on_while_the_function_of_a_study_waits() -> None:
    began, go_on = threading.Event(), threading.Event()

    def waits(candidates: Sequence[Candidate], context: Context, now: float) -> list[Sequence[Candidate]]:
        if len(candidates) == 2:
            began.set()
            go_on.wait(LONG_S)
        return in_turn(candidates, context, now)

    rules = Rules(matcher=Hook("study:waits", waits))
    async with listening_server(rules=rules) as listening, callers(listening.urls[0], 3) as (a, b, c):
        try:
            await a.client.join(Join())
            await b.client.join(Join())
            assert await asyncio.to_thread(began.wait, LONG_S)
            await c.client.echo()  # answered while the function waits
            assert not go_on.is_set()
            assert listening.server.room.proposed == {}
        finally:
            go_on.set()
        assert (await a.next(Matched)).match_id == (await b.next(Matched)).match_id


@pytest.mark.parametrize("what", ["candidates", "no list", "pair"])
def test_answer_that_is_none_is_told_and_the_next_question_is_asked(what: str) -> None:
    room = aside_room()
    found = question(come(room, "a"))
    come(room, "b", now=0.1)
    wrong: dict[str, Any] = {
        "candidates": Round((Proposal(found.candidates, "objects"),)),  # type: ignore[arg-type]
        "no list": Round((Proposal(None, "nobody"),)),  # type: ignore[arg-type]
        "pair": Round(to_measure=(("a", {}),)),  # type: ignore[arg-type]
    }
    told = room.matcher_answered(found.request, wrong[what], now=0.2)
    assert room.row(now=0.2, epoch=1e9).matching_problem
    assert asked(told) == [["a", "b"]]
