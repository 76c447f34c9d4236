"""Whole matches in virtual time against a straight run of what was pressed."""

from __future__ import annotations

import pytest
from virtual import Link, VirtualMatch, finished, straight_run, toy_env

from p2pclient.match.plan import Desync, Phase
from p2pclient.recorder.records import EpisodeEnded, FramesVerified


def assert_true_to_what_was_pressed(match: VirtualMatch, *, delay: int = 0, ends_when: int | None = None) -> None:
    """Both recordings equal a straight run of the keys that the two sources pressed, not only each other."""
    plan = match.sides[0].match.plan
    starts = [0, 0]
    for episode in range(match.sides[0].match.number):
        rows = [side.frames(episode) for side in match.sides]
        assert rows[0] == rows[1]
        count = len(rows[0])
        pressed = []
        for seat, side in enumerate(match.sides):
            taken = side.source.pressed[starts[seat] :]
            pressed.append([b"\x00"] * delay + taken)
        truth = straight_run(pressed, plan.episode_seed(episode), frames=count, ends_when=ends_when)
        assert [row.checksum for row in rows[0]] == truth
        assert [row.frame for row in rows[0]] == list(range(count))
        for seat, side in enumerate(match.sides):
            simulated = side.simulated[episode]
            starts[seat] += simulated
    assert match.sides[0].frames()


NETWORKS = {
    "perfect": Link(),
    "60 ms": Link(delay=0.06, jitter=0.02, loss=0.02),
    "150 ms 10 %": Link(delay=0.15, jitter=0.03, loss=0.10),
    "jitter reorders": Link(delay=0.02, jitter=0.25, loss=0.05, duplicate=0.2),
    "300 ms": Link(delay=0.3),
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("delay", [0, 2])
def test_both_sides_equal_a_straight_run_of_what_was_pressed(network: str, delay: int) -> None:
    match = VirtualMatch(seed=3, link=NETWORKS[network], input_delay=delay)
    match.run()
    assert finished(match)
    assert_true_to_what_was_pressed(match, delay=delay)
    for side in match.sides:
        assert len(side.frames()) == 200
        assert len({row.checksum for row in side.frames()}) > 190
        assert side.match.counters.verified_frames == 200
        assert side.match.counters.desyncs == 0
        if network not in ("perfect",) and delay == 0:
            assert side.match.counters.rollbacks > 10
            assert side.match.counters.max_depth <= 8


def test_three_episodes_end_at_frames_that_both_name() -> None:
    match = VirtualMatch(seed=4, link=NETWORKS["150 ms 10 %"], episodes=3, env=toy_env(max_steps=60))
    match.run()
    assert finished(match)
    for side in match.sides:
        assert [r.last_frame for r in side.records if isinstance(r, EpisodeEnded)] == [59, 59, 59]
        assert len(side.frames()) == 180
    seeds = {match.sides[0].match.plan.episode_seed(e) for e in range(3)}
    assert len(seeds) == 3
    assert_true_to_what_was_pressed(match)


@pytest.mark.parametrize("seed", range(20))
def test_an_end_by_event_under_prediction_is_the_right_one(seed: int) -> None:
    match = VirtualMatch(
        seed=seed, link=Link(delay=0.12, jitter=0.05, loss=0.05), ends_when=9, env=toy_env(max_steps=None)
    )
    match.run()
    assert finished(match)
    assert_true_to_what_was_pressed(match, ends_when=9)


def test_frames_limit_ends_the_match_in_mid_episode() -> None:
    match = VirtualMatch(seed=5, link=NETWORKS["60 ms"], episodes=0, frames=130, env=toy_env(max_steps=100))
    match.run()
    assert finished(match)
    assert [r.last_frame for r in match.sides[1].records if isinstance(r, EpisodeEnded)] == [99, 29]


@pytest.mark.parametrize("outage", [0.3, 0.5, 2.0, 5.0])
def test_an_outage_loses_nothing_and_play_goes_on_within_a_second(outage: float) -> None:
    link = Link(delay=0.04, outages=((4.0, 4.0 + outage),))
    match = VirtualMatch(seed=6, link=link)
    match.run()
    assert finished(match)
    assert_true_to_what_was_pressed(match)
    marks = [m for m in match.sides[0].records if isinstance(m, FramesVerified)]
    assert marks[-1].frame == 199
    assert match.now < 200 / 15 + outage + 2.0
    if outage >= 2.0:
        assert match.sides[0].match.counters.stalls > 0


def test_a_paused_side_catches_up_in_one_batch() -> None:
    match = VirtualMatch(seed=7, link=Link(delay=0.02))
    match.sides[0].paused = (3.0, 3.4)
    match.run()
    assert finished(match)
    assert_true_to_what_was_pressed(match)
    assert match.sides[0].match.counters.fast_forwarded > 0


def test_clocks_that_run_apart_are_paced() -> None:
    match = VirtualMatch(seed=8, link=Link(delay=0.04), clock_rates=(1.0, 1.001), env=toy_env(max_steps=900))
    match.run()
    assert finished(match)
    counters = [s.match.counters for s in match.sides]
    assert abs(counters[0].resimulated - counters[1].resimulated) < 0.15 * 900
    assert all(c.stalls == 0 for c in counters)


def test_a_corrupted_state_is_reported_by_both_with_its_frame() -> None:
    match = VirtualMatch(seed=9, link=NETWORKS["60 ms"])
    match.sides[1].host.corrupt_at = 77
    match.run()
    for side in match.sides:
        assert side.ended is not None
        assert side.ended.reason == "desync"
        found = [e for e in side.events if isinstance(e, Desync)]
        assert [(e.frame, e.episode) for e in found] == [(77, 0)]
    ours, theirs = (next(e for e in s.events if isinstance(e, Desync)) for s in match.sides)
    assert (ours.ours, ours.theirs) == (theirs.theirs, theirs.ours)
    assert ours.ours != ours.theirs


def test_different_facts_are_named_before_frame_0() -> None:
    match = VirtualMatch(seed=10)
    other = toy_env()
    other["digest"] = "another"
    match.sides[1].match.plan.env["digest"]
    object.__setattr__(match.sides[1].match.plan, "env", other)
    match.sides[1].match.__init__(match.sides[1].match.plan, {1: match.sides[1].source}, now=0.0)  # type: ignore[misc]
    match.run(5)
    for side in match.sides:
        assert side.ended is not None
        assert side.ended.reason == "refused"
        assert "environment source" in side.ended.text
        assert not side.frames()


def test_a_leave_is_told_and_a_silent_peer_is_dropped_after_its_time() -> None:
    match = VirtualMatch(seed=11, drop_after=6.0)
    match.run(4.0)
    match._carry_out(0, match.sides[0].match.leave(now=4.0))
    match.run(8.0)
    assert match.sides[1].ended is not None
    assert match.sides[1].ended.reason == "partner-left"

    match = VirtualMatch(seed=11, drop_after=6.0)
    match.sides[0].dead_from = 5.0
    match.run(10.9)
    assert match.sides[1].ended is None
    assert match.sides[1].match.phase is Phase.PLAYING
    match.run(11.3)
    assert match.sides[1].ended is not None
    assert match.sides[1].ended.reason == "partner-gone"


def test_the_server_confirming_a_death_ends_the_wait() -> None:
    match = VirtualMatch(seed=12)
    match.sides[0].dead_from = 5.0
    match.run(5.2)
    match.sides[1].match.peer_gone(0)
    match.run(5.8)
    assert match.sides[1].ended is not None
    assert match.sides[1].ended.reason == "partner-gone"
