"""The room with rules: who wants a place is measured first; who breaks a rule while playing is warned, then out."""

from __future__ import annotations

from typing import Any

import pytest
from room_rig import come, decisions, finish, match_of, only, sent
from room_rig import make_room as make_plain_room

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import Finished, Join, Leave, Matched, MatchResult, PeerGone, Waiting, Welcome
from p2pclient.common.room_messages import Command, Done, Health, PeerHealth, Removed, Report
from p2pclient.common.screening_messages import Facts, Ping, Screen, Screened
from p2pclient.common.stages import Stage
from signaling.actions import Remove, Tell
from signaling.effects import AskHook, Effect
from signaling.room import Room
from signaling.screening_file import parse_rules

FAST = Facts(system="Linux", ping=Ping(samples=8, median_ms=10.0, worst_ms=20.0))
SLOW = Facts(system="Linux", ping=Ping(samples=8, median_ms=900.0, worst_ms=950.0))
PING = {"ping": {"at_most_ms": 100}}
HOOK = {"custom": {"hook": "rules:admit"}}


def make_room(*, seats: int = 2, entry: dict[str, Any] | None = None, playing: dict[str, Any] | None = None) -> Room:
    table = {name: each for name, each in (("entry", entry), ("playing", playing)) if each is not None}
    return make_plain_room(seats, confirms=True, screening=parse_rules(table))


def answer(room: Room, effects: list[Effect], client: str, facts: Facts, *, now: float = 1.0) -> list[Effect]:
    """Let a client answer what it was asked to measure."""
    asked = only(effects, client, Screen)
    return room.screened(client, Screened(screening_id=asked.screening_id, facts=facts), now=now)


def reason_of(room: Room, participant: str) -> str:
    row = room.row(now=50.0, epoch=1e9)
    return next(each.reason for each in row.participants if each.id == participant)


# -- on entry ---------------------------------------------------------------------------------------------------------


def test_without_rules_nobody_is_asked_anything() -> None:
    room = make_room(playing={"focus": {}})
    effects = come(room, "c1")
    assert [type(each) for each in sent(effects, "c1")] == [Welcome, Waiting]


def test_who_meets_the_rules_waits_and_is_not_asked_again() -> None:
    room = make_room(entry=PING)
    effects = come(room, "c1")
    assert [type(each) for each in sent(effects, "c1")] == [Welcome, Screen]
    assert only(effects, "c1", Screen).checks == ("ping",)
    assert (room.stage_of("c1"), room.waiting) == (Stage.SCREENING, ())
    effects = answer(room, effects, "c1", FAST)
    assert [type(each) for each in sent(effects, "c1")] == [Waiting]
    assert decisions(effects, "admitted")[0]["facts"]["ping"]["median_ms"] == 10.0
    room.leave("c1", Leave(), now=2.0)
    again = room.join("c1", Join(), now=3.0)
    assert [type(each) for each in sent(again, "c1")] == [Welcome, Waiting]


def test_who_does_not_meet_them_is_told_why_and_never_matched() -> None:
    room = make_room(entry=PING)
    effects = answer(room, come(room, "c1"), "c1", SLOW)
    removed = only(effects, "c1", Removed)
    assert removed.rule == "ping"
    assert "900 ms" in removed.message
    assert decisions(effects, "not admitted")[0]["rule"] == "ping"
    assert room.stage_of("c1") is Stage.EXCLUDED
    assert reason_of(room, "c1") == "ping: 900 ms (required: 100 ms)"
    answer(room, come(room, "c2"), "c2", FAST)
    assert room.waiting == ("c2",)
    with pytest.raises(SignalingError, match="takes no further part"):
        room.join("c1", Join(), now=4.0)


def test_who_was_sent_away_may_come_again_with_a_better_computer() -> None:
    room = make_room(entry=PING)
    answer(room, come(room, "c1", label="P1"), "c1", SLOW)
    room.depart("c1", "disconnected", now=2.0)
    effects = come(room, "c2", label="P1", now=3.0)
    answer(room, effects, "c2", FAST, now=4.0)
    assert room.waiting == ("c2",)


def test_an_answer_counts_once_and_only_for_its_own_question() -> None:
    room = make_room(entry=PING)
    effects = come(room, "c1", "c2")
    theirs = only(effects, "c2", Screen).screening_id
    assert room.screened("c1", Screened(screening_id=theirs, facts=FAST), now=1.0) == []
    assert room.screened("nobody", Screened(screening_id=theirs, facts=FAST), now=1.0) == []
    answer(room, effects, "c1", FAST)
    assert answer(room, effects, "c1", SLOW) == []
    assert room.waiting == ("c1",)


def test_who_does_not_answer_in_time_is_sent_away() -> None:
    room = make_room(entry={**PING, "within_s": 20, "no_answer": "Too slow, sorry."})
    effects = come(room, "c1")
    assert sent(room.tick(19.9), "c1") == []
    assert only(room.tick(20.0), "c1", Removed) == Removed(message="Too slow, sorry.", rule="no-answer")
    assert answer(room, effects, "c1", FAST, now=21.0) == []
    assert room.stage_of("c1") is Stage.EXCLUDED


def test_bots_are_asked_only_if_they_are_to_be() -> None:
    for bots, kinds in ((False, [Welcome, Waiting]), (True, [Welcome, Screen])):
        room = make_room(entry={**PING, "bots": bots})
        assert [type(each) for each in sent(come(room, "c1", bot=True), "c1")] == kinds


def test_who_leaves_or_vanishes_while_it_is_measured_is_forgotten() -> None:
    room = make_room(entry=PING)
    effects = come(room, "c1", "c2")
    room.leave("c1", Leave(), now=1.0)
    assert room.stage_of("c1") is Stage.IDLE
    room.depart("c2", "disconnected", now=1.0)
    assert room.stage_of("c2") is None
    for client in ("c1", "c2"):
        assert answer(room, effects, client, FAST) == []
    assert sent(room.tick(1000.0), "c1") == []
    assert room.waiting == ()


def test_a_researcher_may_remove_who_is_being_measured() -> None:
    room = make_room(entry=PING)
    effects = come(room, "c1")
    room.act(Remove(participant="c1"), by="ana", now=1.0)
    assert answer(room, effects, "c1", FAST) == []
    assert room.stage_of("c1") is Stage.EXCLUDED
    room.tick(1000.0)
    assert room.stage_of("c1") is Stage.EXCLUDED


def test_joining_again_while_being_measured_asks_anew() -> None:
    room = make_room(entry=PING)
    first = come(room, "c1")
    second = room.join("c1", Join(), now=1.0)
    assert answer(room, first, "c1", FAST) == [], "an answer to the question before"
    answer(room, second, "c1", FAST)
    assert room.waiting == ("c1",)


# -- a researcher's own function --------------------------------------------------------------------------------------


def asked(effects: list[Effect]) -> AskHook:
    (found,) = [each for each in effects if isinstance(each, AskHook)]
    return found


def test_a_function_is_told_everything_and_asked_last() -> None:
    room = make_room(entry={**PING, **HOOK})
    effects = answer(room, come(room, "c1", label="P1", attributes={"group": "A"}), "c1", FAST)
    question = asked(effects)
    assert (question.which, room.stage_of("c1")) == ("entry", Stage.SCREENING)
    assert question.facts["label"] == "P1"
    assert question.facts["attributes"] == {"group": "A"}
    assert question.facts["ping"]["median_ms"] == 10.0
    slow = answer(room, come(room, "c2"), "c2", SLOW)
    assert not [each for each in slow if isinstance(each, AskHook)], "a rule keeps it out already"


@pytest.mark.parametrize(
    ("on_error", "message", "error", "stage"),
    [
        ("admit", None, "", Stage.WAITING),
        ("admit", "Not you.", "", Stage.EXCLUDED),
        ("admit", None, "rules:admit: KeyError", Stage.WAITING),
        ("exclude", None, "rules:admit: KeyError", Stage.EXCLUDED),
    ],
)
def test_a_function_lets_in_or_not_and_its_errors_as_the_setting_says(
    on_error: str, message: str | None, error: str, stage: Stage
) -> None:
    room = make_room(entry={"custom": {"hook": "rules:admit", "on_error": on_error, "message": "Please ask."}})
    question = asked(answer(room, come(room, "c1"), "c1", FAST))
    effects = room.hook_answered(question.request, message, error, now=2.0)
    assert room.stage_of("c1") is stage
    if stage is Stage.EXCLUDED:
        assert only(effects, "c1", Removed).message == (message or "Please ask.")
    problems = [each.text for each in room.row(now=3.0, epoch=1e9).events if each.severity == "problem"]
    assert problems == ([error] if error else []), "the researcher sees it"
    assert room.hook_answered(question.request, "Not you.", "", now=3.0) == [], "once only"


def test_an_answer_for_who_has_gone_meanwhile_does_nothing() -> None:
    room = make_room(entry=HOOK)
    question = asked(answer(room, come(room, "c1"), "c1", FAST))
    room.depart("c1", "disconnected", now=2.0)
    assert room.hook_answered(question.request, "Not you.", "", now=3.0) == []


# -- while playing ----------------------------------------------------------------------------------------------------

FOCUS = {"grace_s": 0, "focus": {"warn_after_s": 2, "exclude_after_s": 8, "warning": "Come back!", "message": "Out."}}


def play(room: Room, *clients: str, **join: Any) -> str:
    """Let clients join and begin a match."""
    effects: list[Effect] = []
    for client in clients:
        effects += come(room, client, label=f"label-{client}", **join)
    return match_of(effects, clients[0])


def tell(room: Room, client: str, match: str, now: float, **health: Any) -> list[Effect]:
    """Let a client report."""
    told = Health(**{"phase": "playing", "rate_hz": 30.0, **health})
    return room.report(client, Report(match_id=match, health=told), now=now)


def test_who_looks_away_is_warned_then_excluded_and_the_partner_is_told_kindly() -> None:
    room = make_room(playing={**FOCUS, "partner_message": "It was not you."})
    match = play(room, "c1", "c2")
    heard: list[tuple[float, str, Any]] = []
    for second in range(1, 12):
        effects = tell(room, "c1", match, float(second), focused=False)
        effects += tell(room, "c2", match, float(second))
        heard += [(second, client, each) for client in ("c1", "c2") for each in sent(effects, client)]
    assert [(at, client, type(each)) for at, client, each in heard] == [
        (3, "c1", Command),
        (9, "c1", Removed),
        (9, "c2", PeerGone),
    ]
    warning, removed, gone = (each for _, _, each in heard)
    assert (warning.kind, warning.text) == ("say", "Come back!")
    assert (removed.message, removed.rule) == ("Out.", "focus")
    assert (gone.client_id, gone.message) == ("c1", "It was not you.")
    assert room.stage_of("c1") is Stage.EXCLUDED
    assert reason_of(room, "c1") == "focus: away for 8 s, 8 s in all"
    finished = Finished(match_id=match, result=MatchResult(reason="partner-excluded"))
    room.finish("c2", finished, now=12.0)
    assert room.matches == {}
    (ended,) = [each for each in room.row(now=13.0, epoch=1e9).matches if each.id == match]
    assert (ended.state, ended.reason) == ("ended", "excluded")
    assert room.done("c1", Done(action_id=warning.action_id, ok=True)) == []


def test_a_warning_is_taken_back_and_leaves_what_the_researcher_said() -> None:
    room = make_room(playing=FOCUS)
    match = play(room, "c1", "c2")
    room.act(Tell(participant="c1", text="Ten minutes left."), by="ana", now=0.5)
    for second in (1.0, 2.0, 3.0):
        tell(room, "c1", match, second, focused=False)
    assert only(tell(room, "c1", match, 4.0), "c1", Command).text == "Ten minutes left."


def test_a_warning_ends_with_its_match() -> None:
    room = make_room(playing=FOCUS)
    match = play(room, "c1", "c2")
    for second in (1.0, 2.0, 3.0):
        tell(room, "c1", match, second, focused=False)
    finish(room, "c1", match, now=4.0)
    finish(room, "c2", match, now=4.0)
    assert only(room.tick(5.0), "c1", Command).text == ""
    assert sent(room.tick(6.0), "c1") == []


def test_who_was_excluded_does_not_come_back_under_its_name_unless_it_may() -> None:
    for come_back in (False, True):
        room = make_room(playing={**FOCUS, "come_back": come_back})
        match = play(room, "c1", "c2")
        for second in range(1, 11):
            tell(room, "c1", match, float(second), focused=False)
        room.depart("c1", "disconnected", now=12.0)
        room.arrive("c3", now=13.0)
        if come_back:
            assert sent(room.join("c3", Join(label="label-c1"), now=13.0), "c3")
        else:
            with pytest.raises(SignalingError, match="Out\\.") as caught:
                room.join("c3", Join(label="label-c1"), now=13.0)
            assert caught.value.code == "removed"
        assert sent(room.join("c3", Join(label="somebody else"), now=14.0), "c3")


def test_nobody_can_report_for_others_or_for_a_match_it_is_not_in() -> None:
    room = make_room(playing=FOCUS)
    match = play(room, "c1", "c2")
    come(room, "c3")
    for second in range(1, 30):
        assert tell(room, "c3", match, float(second), focused=False) == []
        assert tell(room, "c1", "0009-beef", float(second), focused=False) == []
    assert room.stage_of("c1") is not Stage.EXCLUDED


def test_bots_are_not_watched_unless_they_are_to_be() -> None:
    for bots in (False, True):
        room = make_room(playing={**FOCUS, "bots": bots})
        match = play(room, "c1", "c2", bot=True)
        for second in range(1, 12):
            tell(room, "c1", match, float(second), focused=False)
        assert (room.stage_of("c1") is Stage.EXCLUDED) is bots


def test_of_three_the_others_go_on() -> None:
    room = make_room(seats=3, playing=FOCUS)
    match = play(room, "c1", "c2", "c3")
    effects: list[Effect] = []
    for second in range(1, 12):
        effects += tell(room, "c1", match, float(second), focused=False)
    assert only(effects, "c2", PeerGone).message
    assert only(effects, "c3", PeerGone).message
    assert room.matches == {match: ("c2", "c3")}


def test_a_slow_link_excludes_both_if_nobody_is_clearly_to_blame() -> None:
    rule = {"at_most": 0.1, "window": 2, "violations": 2, "warn_violations": 1, "patience_s": 0}
    room = make_room(playing={"grace_s": 0, "loss": rule})
    match = play(room, "c1", "c2")
    effects: list[Effect] = []
    for second in (1.0, 2.0, 3.0):
        for client in ("c1", "c2"):
            effects += tell(room, client, match, second, peers=(PeerHealth(seats=(0,), loss=0.5),))
    assert {room.stage_of("c1"), room.stage_of("c2")} == {Stage.EXCLUDED}
    assert only(effects, "c2", Removed).rule == only(effects, "c1", Removed).rule == "loss"
    assert room.matches == {}


def test_a_function_is_asked_while_playing_and_its_error_excludes_nobody() -> None:
    custom = {"hook": "rules:watch", "every_s": 2, "exclude_after_s": 3, "patience_s": 3}
    room = make_room(playing={"grace_s": 0, "custom": custom})
    match = play(room, "c1", "c2")
    for client in ("c1", "c2"):
        question = asked(tell(room, client, match, 1.0, frame=30))
        assert (question.which, question.facts["health"]["frame"]) == ("playing", 30)
        assert room.hook_answered(question.request, None, "rules:watch: KeyError", now=1.5) == []
    problems = [each.text for each in room.row(now=3.0, epoch=1e9).events if each.severity == "problem"]
    assert problems == ["rules:watch: KeyError"]
    said: list[Any] = []
    for second in (3.0, 5.0, 7.0):
        question = asked(tell(room, "c1", match, second))
        said += sent(room.hook_answered(question.request, "Please play.", "", now=second + 0.1), "c1")
    assert [type(each) for each in said] == [Command, Removed]
    assert said[-1].message == "Please play."


def test_matched_again_after_an_exclusion_the_partner_begins_with_a_clean_sheet() -> None:
    room = make_room(playing=FOCUS)
    match = play(room, "c1", "c2")
    for second in range(1, 11):
        tell(room, "c1", match, float(second), focused=False)
        tell(room, "c2", match, float(second), focused=second < 8)
    finish(room, "c2", match, now=11.0)
    room.tick(11.5)
    effects = [*room.join("c2", Join(label="label-c2"), now=12.0), *come(room, "c4", now=12.0)]
    again = only(effects, "c2", Matched).match_id
    assert sent(tell(room, "c2", again, 13.0, focused=False), "c2") == []
