"""Before every episode the links are checked: nobody begins over a broken one, and a healthy one costs little."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from virtual import Link, Side, VirtualMatch, finished, toy_env

from p2pclient.match.plan import Outbox, Phase, PhaseChanged
from p2pclient.match.readiness import CHECK_SECONDS, WAIT_SECONDS
from p2pclient.recorder.records import EpisodeEnded, EpisodeStarted, EventRecorded

Cut = Callable[[float, int, int, str], bool]
"""``(when, from, to, channel) -> is it lost``; what is lost of the control channel never arrives."""
TRY = CHECK_SECONDS + WAIT_SECONDS


class CutMatch(VirtualMatch):
    """A match over links of which single lanes can be dead."""

    def __init__(self, cut: Cut, **settings: Any) -> None:
        settings.setdefault("link", Link(delay=0.02))
        settings.setdefault("env", toy_env(settings.get("players", 2), max_steps=30))
        super().__init__(**{"episodes": 2, "rate_hz": 60.0, "drop_after": 60.0, **settings})
        self.cut = cut
        self.lost = 0

    def _send(self, own: int, peer: int, channel: str, data: bytes) -> None:
        if self.cut(self.now, own, peer, channel):
            self.lost += 1
        else:
            super()._send(own, peer, channel, data)


def starts(side: Side) -> list[int]:
    return [r.episode for r in side.records if isinstance(r, EpisodeStarted)]


def notes(side: Side, name: str) -> list[dict[str, Any]]:
    return [r.details for r in side.records if isinstance(r, EventRecorded) and r.name == name]


def never(when: float, own: int, peer: int, channel: str) -> bool:
    return False


class BetweenEpisodes:
    """Cuts one lane, in one direction or both, as soon as somebody has ended the first episode."""

    def __init__(self, channel: str, senders: tuple[int, ...], *, seconds: float = float("inf")) -> None:
        self.match: CutMatch | None = None
        self.channel, self.senders, self.seconds = channel, senders, seconds
        self.since: float | None = None

    def __call__(self, when: float, own: int, peer: int, channel: str) -> bool:
        assert self.match is not None
        if self.since is None and any(side.match.number == 1 for side in self.match.sides):
            self.since = when
        is_now = self.since is not None and when - self.since < self.seconds
        return is_now and own in self.senders and channel in self.channel.split()


def cut_between(channel: str, senders: tuple[int, ...], *, seconds: float = float("inf"), **plan: Any) -> CutMatch:
    cut = BetweenEpisodes(channel, senders, seconds=seconds)
    cut.match = CutMatch(cut, **plan)
    return cut.match


@pytest.mark.parametrize("players", [2, 3])
@pytest.mark.parametrize("delay", [0.0, 0.02, 0.15])
def test_a_healthy_link_costs_a_round_trip_and_three_frames(players: int, delay: float) -> None:
    match = CutMatch(never, episodes=4, link=Link(delay=delay), players=players)
    match.run()
    assert finished(match)
    for side in match.sides:
        checked = notes(side, "link-checked")
        assert [each["tries"] for each in checked] == [1, 1, 1, 1]
        assert all(each["seconds"] <= 2 * delay + 3.5 / 60 for each in checked)
        assert all(set(each["links"]) == {str(p) for p in side.match.plan.peers} for each in checked)
        assert notes(side, "link-check-failed") == []


@pytest.mark.parametrize("senders", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("channel", ["inputs", "control"])
def test_no_episode_begins_while_a_lane_is_dead(channel: str, senders: tuple[int, ...]) -> None:
    match = cut_between(channel, senders)
    match.run(120.0)
    assert match.lost > 5
    for side in match.sides:
        assert starts(side) == [0]
        assert side.ended is not None
        assert side.ended.reason in ("poor-connection", "partner-gone")
        assert side.match.counters.verified_frames == 30
    ends = {side.ended.reason for side in match.sides if side.ended is not None}
    # Where datagrams go neither way, hardly anything is heard: that is silence, which has bounds of its own.
    assert ("poor-connection" in ends) is not (channel == "inputs" and len(senders) == 2)


@pytest.mark.parametrize("senders", [(0,), (1,), (0, 1)])
def test_a_lane_that_comes_back_is_found_sound_at_once(senders: tuple[int, ...]) -> None:
    match = cut_between("inputs", senders, seconds=CHECK_SECONDS + 2.0)
    match.run(120.0)
    assert finished(match)
    for side in match.sides:
        first, second = notes(side, "link-checked")
        assert first["seconds"] < 0.2
        assert CHECK_SECONDS + 1.5 < second["seconds"] < CHECK_SECONDS + 2.5
    failed = [each for side in match.sides for each in notes(side, "link-check-failed")]
    assert bool(failed) is (len(senders) == 1)
    assert all("datagrams are not answered" in str(each) for each in failed)
    assert all(starts(side) == [0, 1] for side in match.sides)


@pytest.mark.parametrize("seconds", [0.5, 2.0, 20.0])
def test_an_outage_around_the_end_of_an_episode_uses_up_no_try(seconds: float) -> None:
    for tenth in range(10):
        at = 0.4 + tenth / 15
        match = CutMatch(never, link=Link(delay=0.02, outages=((at, at + seconds),)))
        match.run(60.0)
        assert finished(match)
        assert match.now < 2 * 30 / 60 + seconds + 1.5 + 0.6
        assert all(notes(side, "link-check-failed") == [] for side in match.sides)


def test_all_begin_an_episode_or_none_does() -> None:
    """Whenever a link dies around a barrier, nobody plays a frame on and on that the other never begins."""
    begun: set[tuple[bool, ...]] = set()
    for tenth in range(40):
        at = 0.4 + tenth / 50
        match = CutMatch(lambda when, own, peer, channel, at=at: when > at, drop_after=5.0)  # type: ignore[misc]
        match.run(60.0)
        begun.add(tuple(1 in starts(side) for side in match.sides))
        for side in match.sides:
            assert side.ended is not None
            started, ended = starts(side), [r.episode for r in side.records if isinstance(r, EpisodeEnded)]
            assert len(started) - len(ended) <= 1
    assert {(False, False), (True, True)} <= begun


def test_bounds_keep_an_episode_from_beginning_and_say_so() -> None:
    match = CutMatch(never, link=Link(delay=0.1), most_rtt=0.15)
    match.run(120.0)
    for side in match.sides:
        assert starts(side) == []
        assert side.ended is not None
        assert side.ended.reason == "poor-connection"
        assert len(notes(side, "link-check-failed")) >= 2
    assert any("a round trip takes" in side.ended.text for side in match.sides if side.ended is not None)
    assert 2 * TRY + CHECK_SECONDS - 1 < match.now < 3 * TRY


@pytest.mark.parametrize(("loss", "goes"), [(0.02, True), (0.4, False)])
def test_loss_is_bounded_by_what_was_lost_of_late(loss: float, goes: bool) -> None:
    match = CutMatch(never, seed=5, link=Link(delay=0.02, loss=loss), most_loss=0.1)
    match.run(120.0)
    assert finished(match) is goes
    if not goes:
        assert all(starts(side) == [] for side in match.sides)
        assert any("% is lost" in side.ended.text for side in match.sides if side.ended is not None)


def test_what_only_one_side_finds_wanting_keeps_both_from_beginning() -> None:
    match = CutMatch(never, seed=5, link=Link(delay=0.02, loss=0.4), back=Link(delay=0.02), most_loss=0.1)
    match.run(120.0)
    assert [starts(side) for side in match.sides] == [[], []]
    assert [len(notes(side, "link-check-failed")) for side in match.sides] == [0, 3]
    assert [side.ended.reason for side in match.sides if side.ended is not None] == ["poor-connection"] * 2


def test_one_bad_link_of_three_costs_one_player_where_the_match_may_go_on() -> None:
    def cut(when: float, own: int, peer: int, channel: str) -> bool:
        return {own, peer} == {1, 2} and channel == "inputs" and match.sides[0].match.number == 1

    match = CutMatch(cut, players=3, on_drop="go-on", drop_after=5.0)
    match.run(120.0)
    ends = [side.ended.reason for side in match.sides if side.ended is not None]
    assert sorted(ends).count("finished") == 2
    assert match.sides[0].ended is not None
    assert match.sides[0].ended.reason == "finished"
    assert starts(match.sides[0]) == [0, 1]


def test_the_check_is_told_while_it_lasts() -> None:
    match = cut_between("inputs", (0,))
    seen: list[tuple[int, bool]] = []

    def look(own: int, out: Outbox) -> None:
        standing = match.sides[own].match.link_check(match.now)
        if standing is not None and standing.seconds > 0.5:
            assert match.sides[own].match.phase in (Phase.BARRIER, Phase.ENDED)
            assert standing.attempts == 3
            seen.append((standing.attempt, standing.retry_in is not None))
        carry_out(own, out)

    carry_out = match._carry_out
    match._carry_out = look  # type: ignore[method-assign]
    match.run(120.0)
    assert {(1, False), (1, True), (2, False), (2, True), (3, False)} <= set(seen)
    assert any(isinstance(e, PhaseChanged) and e.phase is Phase.ENDED for e in match.sides[0].events)


def test_our_own_pause_at_the_barrier_counts_against_nobody() -> None:
    match = CutMatch(never, drop_after=15.0)
    match.sides[0].paused = (0.72, 8.0)
    match.run(60.0)
    assert finished(match)
