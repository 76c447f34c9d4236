"""Pause, resume, end and extend: all sides make a change at the same frame, whatever the network does meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from virtual import HostFailure, Link, Side, VirtualMatch, finished, straight_run, toy_env

from p2pclient.common.errors import LocalMisuseError
from p2pclient.match.changes import one_line
from p2pclient.match.plan import ENDED_EARLY, Phase
from p2pclient.protocol.control import ChangeWish, MatchChange
from p2pclient.recorder.records import EpisodeEnded, EventRecorded

KINDS = ("pause", "resume", "end", "extend")
BAD = Link(delay=0.1, jitter=0.05, loss=0.1, duplicate=0.1)


class AskedMatch(VirtualMatch):
    """A match in which sides ask for changes: ``asks`` are ``(when, side, kind, more)``."""

    asks: list[tuple[float, int, Any, dict[str, Any]]]

    def __init__(self, *asks: tuple[Any, ...], **settings: Any) -> None:
        settings.setdefault("env", toy_env(settings.get("players", 2), max_steps=settings.pop("max_steps", 150)))
        super().__init__(**settings)
        self.asks = [(ask[0], ask[1], ask[2], ask[3] if len(ask) > 3 else {}) for ask in asks]
        self.stood: list[dict[int, int]] = []
        """Where each side stood at every tick of a side that is paused."""

    def _tick(self, own: int, side: Side) -> None:
        for ask in [each for each in self.asks if each[0] <= self.now and each[1] == own]:
            self.asks.remove(ask)
            side.match.changes.wish(ask[2], **ask[3])
        if side.match.changes.is_paused and side.match.episode is not None:
            self.stood.append({own: side.match.episode.session.current_frame})
        super()._tick(own, side)

    def silence(self, a: int, b: int, *, after: float, until: float) -> None:
        """What ``a`` says to ``b`` from then on arrives late, as if sent again and again; its inputs arrive."""
        self.run(seconds=after)
        self._control_free[a, b] = until


def events(side: Side) -> list[tuple[str, int, int, dict[str, Any]]]:
    found = [r for r in side.records if isinstance(r, EventRecorded) and r.name in KINDS]
    return [(r.name, r.episode, r.frame, r.details) for r in found]


def ends(side: Side) -> list[tuple[int, str]]:
    return [(r.last_frame, r.reason) for r in side.records if isinstance(r, EpisodeEnded)]


def assert_one_history(match: VirtualMatch, *, gone: tuple[int, ...] = ()) -> None:
    """All sides have the same frames, events and changes, all verified, and a straight run of the inputs agrees."""
    sides = [side for own, side in enumerate(match.sides) if own not in gone]
    first = sides[0]
    assert first.frames()
    for side in sides:
        assert side.frames() == first.frames()
        assert events(side) == events(first)
        assert ends(side) == ends(first)
        assert side.match.changes.done == first.match.changes.done
        assert side.match.counters.verified_frames == len(side.frames())
    for episode in range(first.match.number):
        rows = first.frames(episode)
        pressed = [[row.inputs[seat][1:] for row in rows] for seat in range(first.match.plan.seats)]
        truth = straight_run(pressed, first.match.plan.episode_seed(episode), frames=len(rows))
        assert [row.checksum for row in rows] == truth


def assert_silent_in_pauses(side: Side) -> None:
    """When a pause begins or ends, all before its frame is recorded, and nothing from there on."""
    newest = (0, -1)
    for record in side.records:
        if hasattr(record, "inputs"):
            newest = record.episode, record.frame
        elif isinstance(record, EpisodeEnded):
            newest = record.episode + 1, -1
        elif isinstance(record, EventRecorded) and record.name in ("pause", "resume"):
            assert (record.episode, record.frame - 1) == newest


@pytest.mark.parametrize("players", [2, 3, 5])
@pytest.mark.parametrize("delay", [0, 3])
@pytest.mark.parametrize("window", [0, 8])
def test_all_sides_stop_at_one_frame_and_go_on_from_there(players: int, delay: int, window: int) -> None:
    asks = [(3.6, players - 1, "pause", {"reason": "a  break"}), (9.0, 0, "resume", {"reason": "go"})]
    match = AskedMatch(*asks, seed=2, link=BAD, players=players, input_delay=delay, window=window)
    match.run()
    assert finished(match)
    assert_one_history(match)
    (pause, resume) = events(match.sides[0])
    assert pause[0] == "pause"
    assert pause[3] == {"reason": "a break", "seat": players - 1}
    assert resume == ("resume", 0, pause[2], {"reason": "go", "seat": 0})
    assert 20 < pause[2] < 70
    assert len(match.stood) > 60
    assert {frame for each in match.stood for frame in each.values()} == {pause[2]}
    for side in match.sides:
        assert_silent_in_pauses(side)
        assert len(side.frames()) == 150
        assert side.match.counters.pauses == 1
        assert 1.0 < side.match.counters.paused_seconds < 6.0


def test_a_pause_longer_than_all_patience_loses_nobody() -> None:
    match = AskedMatch((3.0, 1, "pause"), (203.0, 1, "resume"), seed=3, link=BAD, drop_after=5.0)
    match.run(seconds=300.0)
    assert finished(match)
    assert_one_history(match)
    assert match.now > 210
    for side in match.sides:
        assert side.match.counters.stalled_seconds < 2
        assert side.match.counters.fast_forwarded < 10  # the time of the pause is not made up for


def test_who_hears_of_a_pause_late_goes_back_to_its_frame() -> None:
    match = AskedMatch((2.0, 0, "pause"), (9.0, 0, "resume"), seed=4, link=Link(delay=0.03), render=True)
    match.silence(0, 1, after=1.5, until=6.0)
    match.run()
    assert finished(match)
    assert_one_history(match)
    (pause, _) = events(match.sides[1])
    batches = [batch for batch in match.sides[1].batches if any(command[0] == "load" for command in batch)]
    back = [batch for batch in batches if batch[-1] == ["render"] and batch[-2][1] in (pause[2] - 1, pause[2])]
    assert back  # a batch that ends with the frame before the pause, and shows it
    assert {frame for each in match.stood for frame in each.values()} == {pause[2]}
    for side in match.sides:
        assert_silent_in_pauses(side)
        assert len(side.source.pressed) == 150  # what was pressed beyond the frame counts later, and once


def test_a_pause_behind_the_end_of_an_episode_stands_before_the_next_one() -> None:
    match = AskedMatch((3.8, 1, "pause"), (9.0, 1, "resume"), seed=5, link=BAD, max_steps=60, episodes=3)
    match.run()
    assert finished(match)
    assert_one_history(match)
    assert [each[:3] for each in events(match.sides[0])] == [("pause", 1, 0), ("resume", 1, 0)]
    for side in match.sides:
        assert_silent_in_pauses(side)
        assert ends(side) == [(59, "limit")] * 3


def test_a_pause_that_no_frame_follows_is_none() -> None:
    match = AskedMatch((3.8, 1, "pause"), seed=5, link=BAD, max_steps=60)
    match.run()
    assert finished(match)
    assert [events(side) for side in match.sides] == [[], []]


def test_asking_twice_or_for_what_is_not_there_changes_nothing() -> None:
    asks = [(1.0, 0, "resume"), (3.0, 1, "pause"), (3.0, 1, "pause"), (3.0, 0, "pause"), (5.0, 0, "pause")]
    asks += [(7.0, 0, "resume"), (7.0, 1, "resume"), (8.0, 1, "resume")]
    match = AskedMatch(*asks, seed=6, link=BAD)
    match.run()
    assert finished(match)
    assert_one_history(match)
    assert [each[0] for each in events(match.sides[0])] == ["pause", "resume"]


def test_a_pause_and_its_end_asked_for_at_once_follow_each_other() -> None:
    asks = [(3.0, 1, kind) for kind in ("pause", "resume", "pause", "resume")]
    match = AskedMatch(*asks, seed=6, link=BAD)
    match.run()
    assert finished(match)
    assert_one_history(match)
    assert [each[0] for each in events(match.sides[0])] == ["pause", "resume"] * 2


@pytest.mark.parametrize("asks", [[], [(2.0, 0, "pause")]])
@pytest.mark.parametrize("delay", [0, 4])
def test_an_end_is_the_last_frame_of_all_and_is_verified(asks: list[Any], delay: int) -> None:
    match = AskedMatch(*asks, (5.0, 1, "end", {"reason": "fire"}), seed=7, link=BAD, input_delay=delay, episodes=3)
    match.run()
    assert_one_history(match)
    end = events(match.sides[0])[-1]
    assert end == ("end", 0, end[2], {"reason": "fire", "seat": 1})
    assert end[2] < 120
    for side in match.sides:
        assert side.ended is not None
        assert (side.ended.reason, side.ended.unverified) == (ENDED_EARLY, 0)
        assert ends(side) == [(end[2] - 1, ENDED_EARLY)]
        assert side.match.phase is Phase.ENDED


def test_who_hears_of_an_end_late_shows_its_last_frame() -> None:
    match = AskedMatch((2.0, 0, "end"), seed=8, link=Link(delay=0.03), render=True)
    match.silence(0, 1, after=1.5, until=6.0)
    match.run()
    assert_one_history(match)
    last = ends(match.sides[0])[0][0]
    assert match.sides[1].host.frame == last + 1
    assert match.sides[1].batches[-1][-1] == ["render"]


def test_an_end_in_a_pause_before_an_episode_plays_one_frame_of_it() -> None:
    match = AskedMatch((0.0, 0, "pause"), (4.0, 1, "end"), seed=9, link=BAD)
    match.run()
    assert_one_history(match)
    assert [each[:3] for each in events(match.sides[1])] == [("pause", 0, 0), ("end", 0, 1)]
    assert ends(match.sides[1]) == [(0, ENDED_EARLY)]


@pytest.mark.parametrize("players", [2, 4])
@pytest.mark.parametrize("when", [1.0, 9.0])
def test_an_extended_match_is_longer_for_all(players: int, when: float) -> None:
    asks = [(when, players - 1, "extend", {"frames": 30}), (when, 0, "extend", {"frames": 25})]
    match = AskedMatch(*asks, seed=10, link=BAD, players=players, episodes=0, frames=145, max_steps=100)
    match.run()
    assert finished(match)
    assert_one_history(match)
    assert sorted(each[3]["frames"] for each in events(match.sides[0])) == [25, 30]
    assert ends(match.sides[0]) == [(99, "limit"), (99, "limit")]


def test_extending_is_refused_where_it_makes_no_sense() -> None:
    match = AskedMatch(seed=11)
    changes = match.sides[0].match.changes
    with pytest.raises(LocalMisuseError, match="no length in frames"):
        changes.wish("extend", frames=10)
    match = AskedMatch((2.0, 1, "end"), seed=11, episodes=0, frames=100)
    changes = match.sides[0].match.changes
    for frames in (0, -1, 1 << 30):
        with pytest.raises(LocalMisuseError, match="can be extended by"):
            changes.wish("extend", frames=frames)
    match.run()
    for kind in KINDS:
        with pytest.raises(LocalMisuseError, match="already ended"):
            changes.wish(kind, frames=1)  # type: ignore[arg-type]
    assert len(match.sides[0].frames()) < 60


def test_extending_too_late_leaves_the_match_as_it_is() -> None:
    match = AskedMatch((10.0, 1, "extend", {"frames": 30}), seed=12, link=BAD, episodes=0, frames=145, input_delay=4)
    match.run()
    assert finished(match)
    assert_one_history(match)
    assert len(match.sides[0].frames()) == 145


def test_who_hears_of_a_longer_match_late_does_not_end_it_before() -> None:
    match = AskedMatch((8.2, 0, "extend", {"frames": 40}), seed=12, link=Link(delay=0.03), episodes=0, frames=140)
    match.silence(0, 1, after=8.0, until=14.0)
    match.run()
    assert finished(match)
    assert_one_history(match)
    assert len(match.sides[1].frames()) == 180


def test_an_environment_may_fail_in_a_pause() -> None:
    match = AskedMatch((2.4, 1, "pause"), (9.0, 0, "resume"), seed=13, link=BAD)
    match.sides[0].failures.append(HostFailure(frame=35))
    match.sides[0].restart = 3.0
    match.run()
    assert finished(match)
    assert_one_history(match)
    assert match.sides[0].match.counters.recoveries == 1
    assert 35 < events(match.sides[1])[0][2] < 50


def test_a_peer_that_is_lost_in_a_pause_ends_it_by_the_usual_rules() -> None:
    match = AskedMatch((2.0, 1, "pause"), seed=14, link=BAD, drop_after=4.0)
    match.sides[0].dead_from = 6.0
    match.run(seconds=11.0)
    assert match.sides[1].ended is not None
    assert (match.sides[1].ended.reason, match.sides[1].ended.unverified) == ("partner-gone", 0)


def test_the_next_in_line_names_what_is_asked_for_when_the_first_is_lost_in_a_pause() -> None:
    match = AskedMatch(
        (2.0, 2, "pause"), (12.0, 2, "resume"), seed=15, link=BAD, players=3, drop_after=4.0, on_drop="go-on"
    )
    match.sides[0].dead_from = 6.0
    match.run()
    assert_one_history(match, gone=(0,))
    assert [each[0] for each in events(match.sides[2])] == ["pause", "resume"]
    assert len(match.sides[2].frames()) == 150


@pytest.mark.parametrize("heard_at", [3.2, 60.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_change_that_only_one_survivor_heard_of_is_made_by_all(heard_at: float, seed: int) -> None:
    match = AskedMatch(
        *[(2.0, 0, "pause"), (11.0, 1, "resume")],
        **{"seed": seed, "link": Link(delay=0.04), "players": 3, "drop_after": 3.0, "on_drop": "go-on"},
    )
    match.silence(0, 1, after=1.5, until=heard_at)
    match.sides[0].dead_from = 2.5  # named, and gone before its frame
    match.run(seconds=200.0)
    assert_one_history(match, gone=(0,))
    assert [each[0] for each in events(match.sides[1])] == ["pause", "resume"]
    assert len(match.sides[1].frames()) == 150


@pytest.mark.parametrize("asks", [[], [(3.0, 1, "pause"), (8.0, 1, "end")]])
def test_who_has_finished_is_not_waited_for_by_those_who_lost_another_one_at_the_end(asks: list[Any]) -> None:
    settings: dict[str, Any] = {"players": 3, "drop_after": 3.0, "on_drop": "go-on", "max_steps": 120}
    match = AskedMatch(*asks, seed=19, link=Link(delay=0.04), **settings)
    match.run(seconds=7.0)
    match._control_free[2, 0] = 300.0  # how the episode ended for it is heard by one side only
    for step in range(701, 1000):
        match.run(seconds=step / 100)
        if 2 in match.sides[1].match.peers and match.sides[1].match.phase is Phase.FINISHING:
            break
    match.sides[2].dead_from = match.now
    match.run(seconds=match.now + 12.0)
    assert [side.ended is not None and side.ended.is_complete for side in match.sides[:2]] == [True, True]
    assert_one_history(match, gone=(2,))
    assert match.sides[0].ended is not None
    assert match.sides[0].ended.unverified == 0
    assert [r.name for r in match.sides[0].records if isinstance(r, EventRecorded)].count("dropped") == 1


def test_nobody_names_a_change_before_all_know_what_the_lost_one_named() -> None:
    asks = [(2.0, 0, "pause", {"reason": "first"}), (4.0, 1, "pause", {"reason": "second"}), (14.0, 1, "resume")]
    settings: dict[str, Any] = {"players": 3, "drop_after": 3.0, "on_drop": "go-on"}
    match = AskedMatch(*asks, seed=20, link=Link(delay=0.04), **settings)
    match.silence(0, 1, after=1.5, until=300.0)
    match._control_free[2, 1] = 8.0  # it took the change, and says so late
    match.sides[0].dead_from = 2.5
    match.run(seconds=60.0)
    assert_one_history(match, gone=(0,))
    assert [each[3]["reason"] for each in events(match.sides[1])] == ["first", ""]


def test_what_was_asked_of_a_lost_peer_is_asked_of_the_next() -> None:
    settings: dict[str, Any] = {"players": 3, "drop_after": 3.0, "on_drop": "go-on"}
    match = AskedMatch((2.5, 1, "end"), seed=16, link=Link(delay=0.04), **settings)
    match.silence(1, 0, after=1.5, until=60.0)
    match.sides[0].dead_from = 3.0
    match.run()
    assert_one_history(match, gone=(0,))
    assert [each[0] for each in events(match.sides[2])] == ["end"]
    assert match.sides[2].ended is not None
    assert match.sides[2].ended.reason == ENDED_EARLY


@pytest.mark.parametrize(
    "change",
    [
        MatchChange(1, "pause", 0, 5, 0, "", 0, 1),  # a frame that is recorded
        MatchChange(2, "pause", 0, 99, 0, "", 0, 1),  # one is missing
        MatchChange(1, "pause", 7, 0, 0, "", 0, 1),  # an episode far ahead
        MatchChange(1, "resume", 0, 99, 0, "", 0, 1),  # of no pause
        MatchChange(1, "extend", 0, 99, 10, "", 0, 1),  # of a match without a length
        MatchChange(1, "pause", 0, 99, 0, "two\nlines", 0, 1),
        MatchChange(1, "pause", 0, 99, 0, "", 5, 1),  # for nobody
        MatchChange(1, "end", 0, 0, 0, "", 0, 1),
        ChangeWish(1, "pause"),  # it is not for this side to name
    ],
)
def test_what_no_honest_peer_says_is_counted_and_changes_nothing(change: MatchChange | ChangeWish) -> None:
    match = AskedMatch(seed=17)
    match.run(seconds=2.0)
    match.sides[0].match.peers[1].endpoint.queue_control(change)
    match.run()
    assert finished(match)
    assert events(match.sides[1]) == []
    drops = match.sides[1].match.peers[0].endpoint.drops
    assert drops["bad-change"] + drops["bad-wish"] == 1


def test_a_flood_of_wishes_is_bounded_on_both_sides() -> None:
    match = AskedMatch(seed=18, episodes=0, frames=200, max_steps=None, link=Link(delay=0.04))
    match.run(seconds=2.0)
    changes = match.sides[1].match.changes
    for _ in range(16):
        changes.wish("extend", frames=1)
    with pytest.raises(LocalMisuseError, match="Too many"):
        changes.wish("extend", frames=1)
    for number in range(100, 150):
        match.sides[1].match.peers[0].endpoint.queue_control(ChangeWish(number, "extend", 1))
    match.run()
    assert finished(match)
    assert_one_history(match)
    extended = sum(each[3]["frames"] for each in events(match.sides[0]))
    assert len(match.sides[0].frames()) == 200 + extended
    assert 16 <= extended <= 40
    assert match.sides[0].match.peers[1].endpoint.drops["bad-wish"] > 0


def test_one_wish_counts_once_however_often_it_is_said() -> None:
    match = AskedMatch(seed=18, episodes=0, frames=120, max_steps=None)
    match.run(seconds=2.0)
    for _ in range(3):
        match.sides[1].match.peers[0].endpoint.queue_control(ChangeWish(1, "extend", 10))
    match.run()
    assert finished(match)
    assert len(match.sides[0].frames()) == 130
    assert match.sides[0].match.peers[1].endpoint.drops["bad-wish"] == 2


def test_reasons_become_one_line_that_can_be_stored() -> None:
    assert one_line("  the\tlab \n is\x00 closing\ud800 ") == "the lab is closing"
    assert len(one_line("x" * 999)) == 200
