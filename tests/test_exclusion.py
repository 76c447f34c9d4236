"""Who may go on playing: windows, spells, warnings before exclusions, and who is to blame for a slow link."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pclient.common.room_messages import Health, PeerHealth
from signaling.exclusion import (
    LONGEST_GAP_S,
    SAMPLE_S,
    Calmed,
    Excluded,
    Outcome,
    Oversight,
    ViolationWindow,
    Warned,
)
from signaling.screening_file import parse_rules
from signaling.screening_rules import Playing

MATCH = "0001-abc"


def playing(**tables: Any) -> Playing:
    rules = parse_rules({"playing": {"grace_s": 0, **tables}}).playing
    assert rules is not None
    return rules


class Play:
    """A match whose players report once a second; what comes of it is kept as ``(second, outcome)``."""

    def __init__(self, **tables: Any) -> None:
        self.oversight = Oversight(playing(**tables), rate_hz=60.0)
        self.now = 0.0
        self.seen: list[tuple[float, Outcome]] = []

    def report(self, seconds: float = 1, who: str = "p1", rtt: float | None = None, **health: Any) -> None:
        for _ in range(round(seconds)):
            self.now += 1.0
            self.once(who, rtt, **health)

    def once(self, who: str = "p1", rtt: float | None = None, **health: Any) -> None:
        told = Health(**{"phase": "playing", "rate_hz": 60.0, **health})
        outcomes = self.oversight.take(MATCH, who, told, server_rtt_ms=rtt, now=self.now)
        self.seen += [(self.now, each) for each in outcomes]

    @property
    def kinds(self) -> list[tuple[float, str]]:
        return [(at, type(each).__name__) for at, each in self.seen]


# -- against brute force ----------------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.lists(st.booleans(), max_size=60))
def test_a_window_counts_what_is_bad_among_the_last_samples(size: int, samples: list[bool]) -> None:
    window = ViolationWindow(size)
    for number, is_bad in enumerate(samples, start=1):
        window.add(is_bad)
        assert window.violations == sum(samples[max(0, number - size) : number])


REPORTS = st.lists(
    st.tuples(
        st.sampled_from([0.1, 0.4, 0.5, 1.0, 1.0, 1.0, 2.5, 9.0]),
        st.sampled_from(["playing", "playing", "playing", "stalled", "paused", "between"]),
        st.sampled_from([10.0, 300.0, 300.0, None]),
    ),
    max_size=80,
)


def brute_force(
    reports: list[tuple[float, str, float | None]], size: int, most: int, warn_at: int, patience: float, grace: float
) -> list[tuple[float, str]]:
    """What should come of reports, from the whole history anew at each of them."""
    found: list[tuple[float, str]] = []
    times = [sum(gap for gap, _, _ in reports[: number + 1]) for number in range(len(reports))]
    taken: list[int] = []
    for number, (_, phase, _) in enumerate(reports):
        if phase not in ("playing", "stalled"):
            taken.append(-1)  # a pause: the next report need not be apart from the last sample
        elif not taken or taken[-1] == -1 or times[number] - times[taken[-1]] >= SAMPLE_S:
            taken.append(number)
    began = next((times[number] for number in taken if number >= 0), 0.0)
    counted = [n for n in taken if n >= 0 and times[n] - began >= grace and reports[n][2] is not None]
    levels = []
    for number in range(len(counted)):
        last = counted[max(0, number + 1 - size) : number + 1]
        bad = sum((reports[each][2] or 0.0) > 100.0 for each in last)
        levels.append((times[counted[number]], bad))
    for at, bad in levels:
        warned = [when for when, what in found if what == "Warned"]
        calmed = [when for when, what in found if what == "Calmed"]
        stands = bool(warned) and (not calmed or calmed[-1] < warned[-1])
        if any(what == "Excluded" for _, what in found):
            break
        if bad >= warn_at and not stands:
            found.append((at, "Warned"))
        elif bad >= most and stands and at - warned[-1] >= patience:
            found.append((at, "Excluded"))
        elif bad < warn_at and stands:
            since = at
            for when, count in reversed([each for each in levels if each[0] <= at]):
                if count >= warn_at:
                    break
                since = when
            if at - since >= 3.0:
                found.append((at, "Calmed"))
    return found


@given(REPORTS, st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.sampled_from([0.0, 2.0, 5.0]))
def test_a_rolling_window_warns_calms_and_excludes_as_brute_force_says(
    reports: list[tuple[float, str, float | None]], size: int, most: int, warn_at: int, patience: float
) -> None:
    most = min(most, size)
    warn_at = min(warn_at, most)
    rule = {"at_most_ms": 100, "window": size, "violations": most, "warn_violations": warn_at, "patience_s": patience}
    play = Play(ping=rule, grace_s=2.0)
    times = [sum(gap for gap, _, _ in reports[: number + 1]) for number in range(len(reports))]
    for at, (_, phase, rtt) in zip(times, reports, strict=True):
        play.now = at
        play.once(rtt=rtt, phase=phase)
    assert play.kinds == brute_force(reports, size, most, warn_at, patience, 2.0)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5)), max_size=40), st.sampled_from([None, 12]))
def test_focus_spells_are_those_of_the_whole_history(spells: list[tuple[bool, int]], total: int | None) -> None:
    rule = {"warn_after_s": 3, "exclude_after_s": 8, "patience_s": 2, **({} if total is None else {"total_s": total})}
    play = Play(focus=rule)
    seconds = [focused for focused, length in spells for _ in range(length)]
    for focused in seconds:
        play.report(focused=focused)
    excluded = next((at for at, what in play.kinds if what == "Excluded"), None)
    away = [not focused for focused in seconds]
    away[:1] = [False] * len(away[:1])  # the first report says nothing of the second before it
    for number, at in enumerate(range(1, len(seconds) + 1)):
        lasting = 0
        while lasting <= number and away[number - lasting]:
            lasting += 1
        in_all = sum(away[: number + 1])
        if excluded == at:
            assert lasting >= 8 or (total is not None and in_all >= total)
            return
        assert lasting <= 8, "it would have been excluded by then"
        if total is not None and away[number]:
            assert in_all < total + 3, "a warning and patience, then it ends"
    assert excluded is None


# -- warnings first ---------------------------------------------------------------------------------------------------


def test_focus_away_is_warned_of_then_excluded() -> None:
    play = Play(focus={"warn_after_s": 3, "exclude_after_s": 10, "warning": "Come back!", "message": "Too long."})
    play.report(5)
    play.report(20, focused=False)
    (warned_at, warned), (excluded_at, excluded) = play.seen
    assert (warned_at, warned) == (8.0, Warned("p1", "focus", "Come back!"))
    assert excluded_at == 15.0
    assert isinstance(excluded, Excluded)
    assert (excluded.message, excluded.measured) == ("Too long.", "away for 10 s, 10 s in all")


def test_who_comes_back_is_told_nothing_more_and_begins_anew() -> None:
    play = Play(focus={"warn_after_s": 3, "exclude_after_s": 10})
    play.report(1)
    play.report(5, focused=False)
    assert play.oversight.warning_of(MATCH, "p1") == play.seen[0][1].text  # type: ignore[union-attr]
    play.report(1)
    assert play.kinds == [(4.0, "Warned"), (7.0, "Calmed")]
    assert play.oversight.warning_of(MATCH, "p1") == ""
    play.report(9, focused=False)
    assert play.kinds[2:] == [(10.0, "Warned")]


def test_a_warning_stands_until_all_was_well_for_a_while_on_end() -> None:
    play = Play(ping={"at_most_ms": 100, "window": 1, "violations": 1, "action": "warn"})
    for rtt in (300.0, 10.0, 300.0, 10.0, 10.0, 10.0, 10.0, 10.0):
        play.report(1, rtt=rtt)
    assert play.kinds == [(1.0, "Warned"), (7.0, "Calmed")]


def test_many_short_absences_use_up_the_time_of_a_match() -> None:
    play = Play(focus={"warn_after_s": 2, "exclude_after_s": 9, "total_s": 10, "patience_s": 2})
    for _ in range(10):
        play.report(1)
        play.report(4, focused=False)
    # Away for 4 s of every 5: the tenth second is the second one of the third absence, and it was warned before.
    assert play.kinds[:4] == [(3.0, "Warned"), (6.0, "Calmed"), (8.0, "Warned"), (11.0, "Calmed")]
    assert play.kinds[4:] == [(13.0, "Excluded")]


def test_absences_too_short_for_a_warning_are_warned_of_when_the_time_is_used_up() -> None:
    play = Play(focus={"warn_after_s": 2, "exclude_after_s": 9, "total_s": 3, "patience_s": 2})
    for _ in range(10):
        play.report(1)
        play.report(1, focused=False)
    assert play.kinds == [(6.0, "Warned"), (7.0, "Calmed"), (8.0, "Excluded")]


def test_a_rule_may_only_warn() -> None:
    play = Play(focus={"warn_after_s": 1, "exclude_after_s": 2, "action": "warn"})
    play.report(60, focused=False)
    assert play.kinds == [(2.0, "Warned")]


def test_nobody_is_excluded_in_the_report_that_brings_the_warning() -> None:
    play = Play(ping={"at_most_ms": 100, "window": 1, "violations": 1, "patience_s": 0})
    play.report(2, rtt=300.0)
    assert play.kinds == [(1.0, "Warned"), (2.0, "Excluded")]
    assert play.seen[-1][1].measured == "1 of the last 1 above 100 ms, the newest 300 ms"  # type: ignore[union-attr]


def test_who_is_excluded_is_not_judged_again() -> None:
    play = Play(ping={"at_most_ms": 100, "window": 1, "violations": 1, "patience_s": 0}, focus={"exclude_after_s": 4})
    play.report(30, rtt=300.0, focused=False)
    assert [what for _, what in play.kinds].count("Excluded") == 1


# -- what counts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["connecting", "paused", "between", "ended"])
def test_nothing_counts_while_nothing_is_played(phase: str) -> None:
    play = Play(focus={"warn_after_s": 1, "exclude_after_s": 2}, ping={"at_most_ms": 1, "window": 1, "violations": 1})
    play.report(60, phase=phase, focused=False, rtt=500.0)
    assert play.seen == []


def test_time_in_a_pause_is_not_time_away() -> None:
    play = Play(focus={"warn_after_s": 3, "exclude_after_s": 10})
    play.report(3, focused=False)
    play.report(60, phase="paused", focused=False)
    play.report(1, focused=False)
    assert play.seen == []
    play.report(1, focused=False)
    assert play.kinds == [(65.0, "Warned")]


def test_time_in_a_pause_for_whoever_is_away_counts_for_it_and_for_no_other_rule() -> None:
    rules = {
        "focus": {"warn_after_s": 3, "exclude_after_s": 10},
        "frame_rate": {"at_least": 0.9, "warn_after_s": 1, "exclude_after_s": 3},
    }
    play = Play(**rules)
    play.report(3)
    play.report(20, phase="paused", focused=True, away="focus", is_waited_for=True, rate_hz=0.0)
    assert [kind for _, kind in play.kinds] == ["Warned", "Excluded"]
    assert {what.rule for _, what in play.seen} == {"focus"}  # type: ignore[union-attr]


def test_nothing_counts_right_after_the_beginning() -> None:
    play = Play(grace_s=10, focus={"warn_after_s": 0, "exclude_after_s": 60})
    play.report(10, focused=False)
    assert play.seen == []
    play.report(1, focused=False)
    assert play.kinds == [(11.0, "Warned")]


def test_a_flood_of_reports_weighs_no_more_than_one() -> None:
    play = Play(ping={"at_most_ms": 100, "window": 4, "violations": 2, "warn_violations": 2})
    play.report(1, rtt=300.0)
    for _ in range(100):
        play.once(rtt=1.0)
    assert play.seen == []
    play.report(1, rtt=300.0)
    assert play.kinds == [(2.0, "Warned")]


def test_a_silence_counts_for_a_few_seconds_only() -> None:
    play = Play(focus={"warn_after_s": LONGEST_GAP_S + 1, "exclude_after_s": 60})
    play.report(1, focused=False)
    play.now += 3600
    play.once(focused=False)
    assert play.seen == []
    play.report(1, focused=False)
    assert [what for _, what in play.kinds] == ["Warned"]


def test_a_slow_frame_rate_is_not_held_against_who_waits_for_others() -> None:
    rule = {"at_least": 0.8, "warn_after_s": 2, "exclude_after_s": 4}
    waiting = Play(frame_rate=rule)
    for number in range(60):
        waiting.report(rate_hz=20.0, stalls=number)
    stalled = Play(frame_rate=rule)
    stalled.report(60, rate_hz=0.0, phase="stalled")
    slow = Play(frame_rate=rule)
    slow.report(60, rate_hz=47.0, stalls=3)
    enough = Play(frame_rate=rule)
    enough.report(60, rate_hz=48.0)
    assert (waiting.seen, stalled.seen, enough.seen) == ([], [], [])
    assert [what for _, what in slow.kinds] == ["Warned", "Excluded"]


# -- links between players --------------------------------------------------------------------------------------------

LINK = {"at_most_ms": 200, "of": "peers", "window": 4, "violations": 3, "warn_violations": 2, "patience_s": 0}


def link(rtt_ms: float | None = None, loss: float | None = None) -> dict[str, Any]:
    return {"peers": (PeerHealth(seats=(1,), rtt_ms=rtt_ms, loss=loss),)}


@pytest.mark.parametrize(
    ("rtts", "out"),
    [
        ((10.0, 10.0), {"p1", "p2"}),
        ((10.0, 180.0), {"p2"}),
        ((180.0, 10.0), {"p1"}),
        ((3.0, 12.0), {"p1", "p2"}),  # hardly any difference in milliseconds
        ((100.0, 130.0), {"p1", "p2"}),  # hardly any in proportion
        ((None, None), {"p1", "p2"}),
    ],
)
def test_a_slow_link_is_held_against_the_one_with_the_worse_connection_or_against_both(
    rtts: tuple[float | None, float | None], out: set[str]
) -> None:
    play = Play(ping=LINK)
    for _ in range(4):
        play.now += 1.0
        for who, rtt in zip(("p1", "p2"), rtts, strict=True):
            play.once(who, rtt, **link(450.0))
    assert {each.participant for _, each in play.seen if isinstance(each, Excluded)} == out
    at = [at for at, each in play.seen if isinstance(each, Excluded)]
    assert len(set(at)) == 1, "both at once, so that none is told of the other"


def test_of_four_only_the_one_whose_every_link_is_slow_is_excluded() -> None:
    play = Play(ping=LINK)
    four = {
        "p1": (450.0, 440.0, 430.0),
        "p2": (450.0, 20.0, 25.0),
        "p3": (440.0, 20.0, 30.0),
        "p4": (430.0, 25.0, 30.0),
    }
    for _ in range(6):
        play.now += 1.0
        for who, own in four.items():
            play.once(who, 10.0, peers=tuple(PeerHealth(seats=(1,), rtt_ms=each) for each in own))
    assert {each.participant for _, each in play.seen} == {"p1"}


def test_lost_datagrams_count_as_a_share() -> None:
    rule = {"at_most": 0.1, "window": 2, "violations": 2, "warn_violations": 1, "patience_s": 0}
    fine, bad = Play(loss=rule), Play(loss=rule)
    fine.report(10, **link(loss=0.1))
    bad.report(10, **link(loss=0.11))
    unknown = Play(loss=rule)
    unknown.report(10, **link(loss=None))
    assert (fine.seen, unknown.seen) == ([], [])
    assert [what for _, what in bad.kinds] == ["Warned", "Excluded"]


# -- a researcher's own function --------------------------------------------------------------------------------------


def test_a_function_is_asked_now_and_then_and_its_words_are_the_warning() -> None:
    play = Play(custom={"hook": "rules:watch", "every_s": 5, "exclude_after_s": 10})
    asked = []
    for _ in range(31):
        play.report(1)
        if play.oversight.wants_hook(MATCH, "p1", now=play.now):
            asked.append(play.now)
            answers = play.oversight.hook_answered(MATCH, "p1", "Please play.", now=play.now)
            play.seen += [(play.now, each) for each in answers]
    assert all(later - earlier == 5 for earlier, later in pairwise(asked))
    assert play.kinds == [(1.0, "Warned"), (11.0, "Excluded")]
    assert [getattr(each, "text", "") or getattr(each, "message", "") for _, each in play.seen] == ["Please play."] * 2


def test_a_function_that_is_content_again_takes_its_warning_back() -> None:
    play = Play(custom={"hook": "rules:watch", "exclude_after_s": 10})
    play.report(1)
    for at, text in ((1.0, "Please play."), (2.0, None), (6.0, None)):
        play.seen += [(at, each) for each in play.oversight.hook_answered(MATCH, "p1", text, now=at)]
    assert play.kinds == [(1.0, "Warned"), (6.0, "Calmed")]


def test_an_answer_for_who_has_gone_does_nothing() -> None:
    play = Play(custom={"hook": "rules:watch"})
    assert play.oversight.hook_answered(MATCH, "p1", "Please play.", now=1.0) == []
    play.report(1)
    assert play.oversight.keep_only({MATCH}) == []
    assert play.oversight.hook_answered(MATCH, "p1", "Please play.", now=1.0) != []
    assert play.oversight.keep_only(set()) == ["p1"]
    assert play.oversight.keep_only(set()) == []
    assert play.oversight.hook_answered(MATCH, "p1", "Please play.", now=1.0) == []
    assert play.oversight.wants_hook(MATCH, "p1", now=1.0) is False


def test_several_warnings_stand_until_each_is_taken_back() -> None:
    play = Play(focus={"warn_after_s": 1, "exclude_after_s": 90}, ping={"at_most_ms": 9, "violations": 2})
    play.report(2, focused=False)
    play.report(3, focused=False, rtt=50.0)
    ping = next(each for _, each in play.seen if isinstance(each, Warned) and each.rule == "ping")
    assert play.oversight.warning_of(MATCH, "p1") == ping.text
    play.report(1, rtt=50.0)
    assert [each for _, each in play.seen if isinstance(each, Calmed)] == [Calmed("p1", "focus")]
    assert play.oversight.warning_of(MATCH, "p1") == ping.text
