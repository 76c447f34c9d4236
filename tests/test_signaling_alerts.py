"""Alerts: which rows raise them, and that they do not flicker."""

from __future__ import annotations

import pytest
from console_rig import health, match, seat
from msgspec.structs import replace

from p2pclient.common.room_messages import Health, PeerHealth
from signaling.alerts import Alert, Alerts, with_alerts
from signaling.rows import ActionRow, MatchRow, ParticipantRow, RoomRow


def room(*matches: MatchRow, at: float = 0.0, **others: object) -> RoomRow:
    settings = {"rate_hz": 15.0}
    return RoomRow(at=1e9 + at, settings=settings, matches=matches, **others)  # type: ignore[arg-type]


def pair(one: Health | None, other: Health | None, **others: object) -> MatchRow:
    return match(seat(0, one), seat(1, other), **others)


def link(**facts: object) -> Health:
    """A seat's report on a link that is as said."""
    return health(peers=(PeerHealth(seats=(1,), **facts),))  # type: ignore[arg-type]


def watch(row: RoomRow, *, for_s: int = 8, alerts: Alerts | None = None, begin: float = 0.0) -> tuple[Alert, ...]:
    """Show the same row once a second and return the alerts of the last time."""
    alerts, found = alerts or Alerts(), ()
    for second in range(for_s + 1):
        found = alerts.update(replace(row, at=row.at + begin + second), now=begin + second)
    return found


def test_a_good_match_raises_nothing() -> None:
    assert watch(room(pair(health(60), health(60, seat=1))), for_s=30) == ()


@pytest.mark.parametrize(
    ("row", "kind", "severity", "words"),
    [
        (room(pair(link(rtt_ms=214.0), health())), "rtt", "warning", "LAB01 and LAB02: round trip 214 ms"),
        (room(pair(link(loss=0.12), health())), "loss", "warning", "12% of datagrams"),
        (room(pair(link(jitter_ms=60.0), health())), "jitter", "warning", "jitter 60 ms"),
        (room(pair(link(silent_s=1.4), health())), "silent", "problem", "heard nothing of LAB02 for 1.4 s"),
        (room(pair(health(desyncs=1), health())), "desync", "problem", "1 desync."),
        (room(pair(health(rate_hz=12.0), health())), "rate", "warning", "12.0 frames per second instead of 15"),
        (room(match(seat(0, health(), ago_s=9.0))), "unheard", "warning", "LAB01 has not reported for 9 s"),
        (
            room(participants=(ParticipantRow(id="p", label="P-1", state="away", state_for_s=3.0),)),
            "away",
            "problem",
            "P-1 is away",
        ),
        (
            room(participants=(ParticipantRow(id="p", state="waiting", state_for_s=150.0, reason="One is missing."),)),
            "waiting",
            "warning",
            "waited for 2:30 min. One is missing.",
        ),
        (
            room(actions=(ActionRow(id="a", kind="pause", by="x", target="m", state="unanswered", at=1e9),)),
            "action",
            "warning",
            "“pause” for m was not answered",
        ),
        (
            room(actions=(ActionRow(id="a", kind="tell", by="x", target="", state="failed", detail="Gone.", at=1e9),)),
            "action",
            "warning",
            "failed. Gone.",
        ),
    ],
)
def test_what_is_wrong_is_said(row: RoomRow, kind: str, severity: str, words: str) -> None:
    (alert,) = watch(row)
    assert alert.id.split()[0] == kind
    assert alert.severity == severity
    assert words in alert.text


def test_what_failed_for_a_match_names_who_plays_and_is_shown_with_it() -> None:
    asked = ActionRow(id="a", kind="pause", by="x", target="m7", state="unanswered", at=1e9)
    row = room(pair(health(), health(), id="m6"), pair(health(), health(), id="m7"), actions=(asked,))
    (alert,) = watch(row)
    assert (alert.text, alert.match_id) == ("“pause” for LAB01 and LAB02 was not answered.", "m7")
    assert [bool(each.alerts) for each in with_alerts(row, [alert]).matches] == [False, True]


def test_a_spike_raises_nothing() -> None:
    alerts, bad = Alerts(), room(pair(link(rtt_ms=400.0), health()))
    assert alerts.update(bad, now=0.0) == ()
    assert alerts.update(room(pair(link(rtt_ms=4.0), health())), now=1.0) == ()
    assert alerts.update(bad, now=2.0) == ()
    assert alerts.update(bad, now=3.0) == ()
    assert len(alerts.update(bad, now=4.0)) == 1


def test_a_value_that_wavers_around_its_limit_makes_one_alert_that_stays() -> None:
    alerts, seen = Alerts(), []
    for second in range(60):
        rtt = 165.0 if second < 5 or second % 2 else 135.0
        seen.append(tuple(each.id for each in alerts.update(room(pair(link(rtt_ms=rtt), health())), now=second)))
    assert seen[2:] == [("rtt 0001-00c0ffee 0-1",)] * 58


def test_a_rate_that_is_only_for_a_moment_right_again_clears_nothing() -> None:
    alerts = Alerts()
    assert watch(room(pair(health(rate_hz=12.0), health())), alerts=alerts)
    assert len(alerts.update(room(pair(health(rate_hz=15.2), health())), now=9.0)) == 1
    assert len(alerts.update(room(pair(health(rate_hz=12.0), health())), now=10.0)) == 1


def test_an_alert_stays_while_its_value_is_only_a_little_better() -> None:
    alerts = Alerts()
    assert watch(room(pair(link(rtt_ms=160.0), health())), alerts=alerts)
    (alert,) = watch(room(pair(link(rtt_ms=130.0), health())), alerts=alerts, begin=9.0, for_s=60)
    assert "160 ms" in alert.text


def test_an_alert_is_cleared_when_all_has_been_well_for_a_while_and_keeps_its_beginning() -> None:
    alerts = Alerts()
    bad, good = room(pair(link(rtt_ms=200.0), health())), room(pair(link(rtt_ms=20.0), health()))
    (raised,) = watch(bad, alerts=alerts)
    assert raised.since == 1e9 + 2
    (still,) = alerts.update(replace(good, at=1e9 + 9), now=9.0)
    assert still.since == raised.since
    assert "200 ms" in still.text
    assert len(alerts.update(good, now=12.9)) == 1
    assert alerts.update(good, now=13.0) == ()


def test_both_ends_of_a_link_make_one_alert_with_the_worse_figure() -> None:
    other = health(peers=(PeerHealth(seats=(0,), rtt_ms=240.0),))
    (alert,) = watch(room(pair(link(rtt_ms=200.0), other)))
    assert "LAB01 and LAB02: round trip 240 ms" in alert.text


def test_stalls_count_by_how_many_are_new() -> None:
    alerts = Alerts()
    assert watch(room(pair(health(stalls=500), health())), alerts=alerts) == ()
    assert alerts.update(room(pair(health(stalls=502), health())), now=9.0) == ()
    for second in range(10, 13):
        found = alerts.update(room(pair(health(stalls=504), health())), now=second)
    assert [each.id for each in found] == ["stalls 0001-00c0ffee 0"]
    for second in range(13, 40):
        found = alerts.update(room(pair(health(stalls=504), health())), now=second)
    assert found == ()


@pytest.mark.parametrize(("after", "raised"), [([0, 1, 1, 1, 1], 0), ([0, 2, 3, 4, 5], 1)])
def test_of_a_client_that_came_back_and_counts_anew_the_new_stalls_count(after: list[int], raised: int) -> None:
    alerts = Alerts()
    for second, stalls in enumerate([300, 300, *after]):
        found = alerts.update(room(pair(health(stalls=stalls), health())), now=second)
    assert len(found) == raised


@pytest.mark.parametrize(
    "row",
    [
        room(pair(link(rtt_ms=300.0, silent_s=9.0), health(desyncs=2), state="ended")),
        room(match(seat(0, link(rtt_ms=300.0)), seat(1, None, present=False))),
        room(match(seat(0, link(rtt_ms=300.0), ago_s=5.1), seat(1, health())), at=-1.0),
        room(pair(health(phase="paused", rate_hz=0.0), health(), state="paused")),
        room(pair(None, None, state="validating")),
        room(pair(link(silent_s=9.0), health(), state="validating")),
        room(actions=(ActionRow(id="a", kind="pause", by="x", target="m", state="unanswered", at=1e9 - 100),)),
        room(participants=(ParticipantRow(id="p", bot=True, state="waiting", state_for_s=500.0),)),
    ],
    ids=[
        "ended match",
        "partner gone",
        "old report",
        "paused",
        "no report yet",
        "not begun",
        "old action",
        "bot waits",
    ],
)
def test_what_is_over_or_meant_raises_nothing_of_it(row: RoomRow) -> None:
    assert {each.id.split()[0] for each in watch(row)} <= {"unheard"}


def test_what_is_forgotten_by_the_room_is_forgotten_here() -> None:
    alerts = Alerts()
    assert watch(room(pair(link(rtt_ms=300.0), health(stalls=9))), alerts=alerts)
    assert alerts.update(room(), now=9.0) == ()
    assert not alerts._held
    assert not alerts._stalls


def test_problems_come_first_and_are_counted_and_shown_with_their_match() -> None:
    row = room(pair(link(rtt_ms=300.0, silent_s=2.0), health()), counts={"waiting": 3})
    alerts = watch(row)
    assert [each.severity for each in alerts] == ["problem", "warning"]
    shown = with_alerts(row, alerts)
    assert shown.counts == {"waiting": 3, "problems": 2}
    assert shown.matches[0].alerts == tuple(each.text for each in alerts)
