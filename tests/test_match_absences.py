"""Who looks away: the same for all sides, waited for where the study says so; a pause of ours counts against nobody."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from virtual import Link, RandomSource, Side, VirtualMatch, finished, toy_env

from p2pclient.common.frames import pack_seat_input
from p2pclient.match.absences import AWAY, BACK, GONE, WAITED, AbsenceCourse, why_away
from p2pclient.match.plan import PeerSilence
from p2pclient.match.sources import Sample
from p2pclient.recorder.records import EventRecorded
from p2pclient.runtime.health import HealthMeter

BAD = Link(delay=0.1, jitter=0.05, loss=0.1, duplicate=0.1)
Away = Literal["", "focus", "minimised"]
Spell = tuple[int, float, float, Away]
"""Whose window, from when to when, and why."""


class LookingAway(RandomSource):
    """A person with a window."""

    away: Away = ""

    def sample(self) -> Sample:
        pressed = super().sample().payload
        if not self.away:
            return Sample(pressed, True, None)
        self.pressed[-1] = b"\x00"
        return Sample(b"\x00", False, None, self.away == "minimised")


class WatchedMatch(VirtualMatch):
    """A match whose people look away: ``spells``, on each side's own clock."""

    def __init__(self, *spells: Spell, **settings: Any) -> None:
        self.spells = spells
        settings.setdefault("env", toy_env(settings.get("players", 2), max_steps=settings.pop("max_steps", 150)))
        super().__init__(**{"seed": 3, "link": BAD, **settings})
        self.told: list[tuple[float, int, tuple[int, ...]]] = []
        for own, side in enumerate(self.sides):
            source = LookingAway(30 + own)
            source.match, side.source = side.match, source
            side.match._sources = {own: source}

    def _tick(self, own: int, side: Side) -> None:
        source = side.source
        assert isinstance(source, LookingAway)
        source.away = next((why for who, a, b, why in self.spells if who == own and a <= self.now < b), "")
        side.match.absences.note_person(source.away, self.now)
        self.told.append((self.now, own, side.match.absences.away_seats(self.now)))
        super()._tick(own, side)


def notes(side: Side, *names: str) -> list[tuple[str, int, int, dict[str, Any]]]:
    found = [r for r in side.records if isinstance(r, EventRecorded) and r.name in names]
    return [(r.name, r.episode, r.frame, r.details) for r in found]


def kinds(side: Side) -> list[tuple[str, str]]:
    return [(name, details["reason"]) for name, _, _, details in notes(side, "pause", "resume")]


# -- intervals --------------------------------------------------------------------------------------------------------


def test_flags_say_why_somebody_is_away() -> None:
    assert why_away(pack_seat_input(b"", focused=True, minimised=True)[0]) == ""
    assert why_away(pack_seat_input(b"", focused=False)[0]) == "focus"
    assert why_away(pack_seat_input(b"", focused=False, minimised=True)[0]) == "minimised"


@pytest.mark.parametrize("players", [2, 3])
def test_every_side_records_the_same_absences_and_they_are_those_of_the_inputs(players: int) -> None:
    spells: list[Spell] = [(0, 2.0, 3.0, "focus"), (1, 2.5, 4.0, "minimised"), (0, 3.0, 3.4, "minimised")]
    match = WatchedMatch(*spells, (1, 9.0, 99.0, "focus"), players=players)
    match.run()
    assert finished(match)
    first = match.sides[0]
    done = first.match.absences.done
    assert [(each["seat"], each["why"]) for each in done] == [
        (0, "focus"), (0, "minimised"), (1, "minimised"), (1, "focus"),
    ]  # fmt: skip
    assert done[-1]["to"] == 149  # it lasts to the end
    for side in match.sides:
        assert side.match.absences.done == done
        assert notes(side, "away") == notes(first, "away")
    frames = first.frames()
    for seat in range(2):
        inside = {f for each in done if each["seat"] == seat for f in range(each["from"], each["to"] + 1)}
        assert inside == {frame.frame for frame in frames if not frame.focus[seat]}
        minimised = [each for each in done if each["seat"] == seat and each["why"] == "minimised"]
        flagged = {frame.frame for frame in frames if frame.inputs[seat][0] & 2}
        assert {f for each in minimised for f in range(each["from"], each["to"] + 1)} == flagged
    assert kinds(first) == []  # nobody is waited for unless the study says so


def test_an_absence_over_two_episodes_is_one_in_each() -> None:
    match = WatchedMatch((1, 3.0, 7.0, "focus"), max_steps=50, episodes=2)
    match.run()
    assert finished(match)
    for side in match.sides:
        first, second = side.match.absences.done
        assert (first["episode"], first["to"], second["episode"], second["from"]) == (0, 49, 1, 0)
        assert side.match.absences.done == match.sides[0].match.absences.done


@pytest.mark.parametrize("link", [Link(delay=0.02), BAD])
def test_others_are_told_after_a_moment_and_until_it_is_over(link: Link) -> None:
    match = WatchedMatch((1, 3.0, 6.0, "focus"), link=link)
    match.run()
    seen = [when for when, own, seats in match.told if own == 0 and seats == (1,)]
    assert 4.0 < seen[0] < 5.2
    assert 6.0 < seen[-1] < 7.0
    assert all(seats == () for _, own, seats in match.told if own == 1)


# -- a pause for somebody ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize("why", ["focus", "minimised"])
def test_the_match_pauses_for_who_is_away_and_goes_on_when_they_are_back(who: int, why: Away) -> None:
    match = WatchedMatch((who, 3.0, 20.0, why), on_away="pause")
    match.run()
    assert finished(match)
    for side in match.sides:
        assert kinds(side) == [("pause", AWAY), ("resume", BACK)]
        assert notes(side, "pause", "resume") == notes(match.sides[0], "pause", "resume")
        assert notes(side, "pause")[0][3]["seat"] == who
        assert [each["why"] for each in side.match.absences.done] == [why]
        assert 14.0 < side.match.counters.paused_seconds < 17.0
        assert [r.frame for r in side.frames()] == list(range(150))


def test_a_pause_for_somebody_has_a_limit_and_comes_once_per_absence() -> None:
    match = WatchedMatch((1, 3.0, 11.0, "focus"), (1, 13.0, 14.0, "focus"), on_away="pause", away_limit=4.0)
    match.run()
    assert finished(match)
    for side in match.sides:
        assert kinds(side) == [("pause", AWAY), ("resume", WAITED), ("pause", AWAY), ("resume", BACK)]
        assert 4.0 < side.match.counters.paused_seconds < 7.5


def test_a_window_that_flickers_stops_nobody() -> None:
    match = WatchedMatch(*[(0, at / 2, at / 2 + 0.2, "focus") for at in range(2, 16)], on_away="pause")
    match.run()
    assert finished(match)
    assert kinds(match.sides[0]) == []
    assert len(match.sides[0].match.absences.done) > 8


def test_a_break_that_somebody_else_asked_for_is_not_ended_by_who_comes_back() -> None:
    match = WatchedMatch((1, 3.0, 6.0, "focus"), on_away="pause")
    match.run(2.9)
    match.sides[0].match.changes.wish("pause", reason="A break.")
    match.run(9.0)
    assert match.sides[0].match.changes.stands
    assert kinds(match.sides[0]) == [("pause", "A break.")]
    match.sides[0].match.changes.wish("resume", reason="Go on.")
    match.run()
    assert finished(match)
    assert [kind for kind, _ in kinds(match.sides[1])] == ["pause", "resume"]


def test_a_break_that_was_named_before_our_own_wish_is_not_ended_by_who_comes_back() -> None:
    match = WatchedMatch((1, 3.0, 6.0, "focus"), on_away="pause", link=Link(delay=0.3))
    match.run(3.45)  # the wish is on its way to the side that names what is changed
    assert match.sides[1].match.changes.will_stand
    assert match.sides[0].match.changes.pause_wish is None
    match.sides[0].match.changes.wish("pause", reason="A break.")
    match.run(9.0)
    assert [kinds(side) for side in match.sides] == [[("pause", "A break.")]] * 2
    match.sides[0].match.changes.wish("resume", reason="Go on.")
    match.run()
    assert finished(match)


def test_frames_that_are_recorded_anew_count_once() -> None:
    match = WatchedMatch((1, 3.0, 4.0, "focus"))
    match.run(8.0)
    side = match.sides[0]
    assert len(side.match.absences.done) == 1
    side.match.absences.take(side.frames())
    match.run()
    assert finished(match)
    assert side.match.absences.done == match.sides[1].match.absences.done


def test_who_is_away_when_another_comes_back_is_waited_for_in_turn() -> None:
    match = WatchedMatch((0, 3.0, 6.0, "focus"), (1, 4.0, 9.0, "focus"), on_away="pause")
    match.run()
    assert finished(match)
    for side in match.sides:
        assert [kind for kind, _ in kinds(side)] == ["pause", "resume", "pause", "resume"]
        assert [details["seat"] for _, _, _, details in notes(side, "pause")] == [0, 1]
        assert side.match.absences.waited_for is None


@pytest.mark.parametrize("who", [0, 2])
def test_who_is_lost_in_a_pause_of_its_own_is_waited_for_no_longer(who: int) -> None:
    match = WatchedMatch((who, 3.0, 99.0, "focus"), players=3, on_away="pause", on_drop="go-on", drop_after=3.0)
    match.run(6.0)
    assert all(side.match.absences.waited_for == who for side in match.sides)
    match.sides[who].dead_from = match.now
    match.run()
    for own, side in enumerate(match.sides):
        if own != who:
            assert kinds(side) == [("pause", AWAY), ("resume", GONE)]
            assert [r.frame for r in side.frames()] == list(range(150))


@pytest.mark.parametrize(("until", "why"), [(9.0, BACK), (99.0, WAITED)])
def test_a_program_that_was_started_again_ends_the_pause_that_it_asked_for(until: float, why: str) -> None:
    match = WatchedMatch((1, 3.0, until, "focus"), on_away="pause", away_limit=8.0)
    match.run(6.0)
    side = match.sides[1]
    assert side.match.changes.stands
    side.match.absences = AbsenceCourse(side.match._core, side.match.changes)  # it remembers nothing of it
    match.run()
    assert finished(match)
    assert [kinds(each) for each in match.sides] == [[("pause", AWAY), ("resume", why)]] * 2


def test_all_sides_know_whom_they_wait_for_and_for_how_long() -> None:
    match = WatchedMatch((1, 3.0, 20.0, "focus"), on_away="pause", away_limit=30.0)
    match.run(10.0)
    for side in match.sides:
        assert side.match.absences.waited_for == 1
        assert 22.0 < side.match.absences.wait_left(match.now) < 25.5
    assert match.sides[1].match.absences.person == "focus"
    assert match.sides[0].match.absences.person == ""


def test_the_server_is_told_who_is_away_and_whom_the_match_waits_for() -> None:
    match = WatchedMatch((1, 3.0, 20.0, "minimised"), on_away="pause", away_limit=30.0)
    match.run(10.0)
    reports = [HealthMeter(side.match).report(match.now, {}) for side in match.sides]
    assert [(each.phase, each.away, each.is_waited_for) for each in reports] == [
        ("paused", "", False), ("paused", "minimised", True),
    ]  # fmt: skip
    match.run(24.0)
    assert not any(HealthMeter(side.match).report(match.now, {}).is_waited_for for side in match.sides)


# -- our own program stands still -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1.0, 5.0, 30.0])
@pytest.mark.parametrize("players", [2, 3])
@pytest.mark.parametrize("on_drop", ["end", "go-on"])
def test_who_stood_still_comes_back_and_has_lost_nobody(seconds: float, players: int, on_drop: str) -> None:
    match = WatchedMatch(players=players, link=Link(delay=0.03), drop_after=40.0, on_drop=on_drop)
    match.sides[0].paused = (4.0, 4.0 + seconds)
    match.run(4.0 + seconds + 1.0)
    assert all(len(side.frames()) > 62 for side in match.sides)  # play goes on within a second
    match.run()
    assert finished(match)
    stopped, other = match.sides[:2]
    levels = [event.level for event in stopped.events if isinstance(event, PeerSilence)]
    assert levels == []
    for side in match.sides:
        assert [frame.checksum for frame in side.frames()] == [frame.checksum for frame in stopped.frames()]
    if seconds > 4:
        ((_, _, frame, stalled),) = notes(other, "stalled")
        assert stalled["seats"] == [0]
        assert seconds - 0.5 < stalled["seconds"] < seconds + 0.5
        assert 45 < frame < 70


def test_what_came_late_after_a_pause_of_ours_was_no_silence() -> None:
    """The system hands over what came meanwhile a while after this program runs again."""
    match = WatchedMatch(link=Link(delay=0.03), drop_after=5.0)
    match.run(4.0)
    side = match.sides[0]
    side.paused = (match.now, match.now + 12.0)
    match.links[1, 0] = Link(delay=0.03, outages=((4.0, 16.4),))
    match.run(16.3)
    assert side.ended is None
    match.run()
    assert side.ended is not None
    assert not any(isinstance(event, PeerSilence) and event.level == "lost" for event in side.events)


def test_what_only_one_side_knows_is_recorded_there() -> None:
    match = WatchedMatch()
    match.run(5.0)
    absences = match.sides[0].match.absences
    absences.stood_still(12.5, "asleep")
    absences.clock_jumped(-3600.0)
    match.run()
    asleep, jumped = notes(match.sides[0], "suspended", "clock-jump")
    assert asleep[3] == {"seats": [0], "why": "asleep", "seconds": 12.5}
    assert jumped[3] == {"seconds": -3600.0}
    assert 20 < asleep[2] < 75
    assert absences.suspended_seconds == 12.5
    assert [each["name"] for each in absences.interruptions] == ["suspended", "clock-jump"]
    assert notes(match.sides[1], "suspended", "clock-jump") == []
