"""A match goes on without a peer: all survivors agree on its last frame, and have one history."""

from __future__ import annotations

import random

import pytest
from virtual import Link, Side, VirtualMatch, straight_run, toy_env

from p2pclient.match.plan import Phase
from p2pclient.recorder.records import EventRecorded, FramesVerified

LINK = Link(delay=0.05, jitter=0.03, loss=0.05)
NEUTRAL = b"\x00\x00"


def play_until(match: VirtualMatch, frame: int) -> None:
    for step in range(20_000):
        match.run(step / 100)
        side = match.sides[0].match
        if side.phase is Phase.PLAYING and side.episode and side.episode.session.current_frame >= frame:
            return
    raise AssertionError(f"frame {frame} was never played")


def events(side: Side, name: str) -> list[dict[str, object]]:
    return [r.details for r in side.records if isinstance(r, EventRecorded) and r.name == name]


def verified(side: Side, episode: int = 0) -> int:
    return max((r.frame for r in side.records if isinstance(r, FramesVerified) and r.episode == episode), default=-1)


def assert_one_history(match: VirtualMatch, survivors: list[int], *, frames: int, episode: int = 0) -> None:
    sides = [match.sides[own] for own in survivors]
    for side in sides:
        assert side.ended is not None
        assert side.ended.reason == "finished"
        assert len(side.frames(episode)) == frames
        assert verified(side, episode) == frames - 1
        assert [f.inputs for f in side.frames(episode)] == [f.inputs for f in sides[0].frames(episode)]
    inputs = [f.inputs for f in sides[0].frames(episode)]
    payloads = [[row[seat][1:] for row in inputs] for seat in range(len(match.sides))]
    truth = straight_run(payloads, sides[0].match.plan.episode_seed(episode), frames=frames)
    assert all([f.checksum for f in side.frames(episode)] == truth for side in sides)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("players", [3, 4, 5])
def test_survivors_go_on_from_one_last_frame_of_a_crashed_peer(players: int, seed: int) -> None:
    match = VirtualMatch(
        seed=seed, players=players, link=LINK, env=toy_env(players), on_drop="go-on", drop_after=3.0, rate_hz=30.0
    )
    play_until(match, 40 + seed)
    match.sides[1].dead_from = match.now
    dead = match.sides[1]
    match.run(60)
    survivors = [own for own in range(players) if own != 1]
    assert_one_history(match, survivors, frames=200)
    cuts = [events(match.sides[own], "dropped") for own in survivors]
    assert all(cut == cuts[0] for cut in cuts)
    last = int(str(cuts[0][0]["last_frame"]))
    pressed = [b"\x00" + key for key in dead.source.pressed]
    inputs = [f.inputs[1] for f in match.sides[0].frames()]
    assert 30 < last < len(pressed)
    assert inputs[: last + 1] == pressed[: last + 1]
    assert set(inputs[last + 1 :]) == {NEUTRAL}
    assert verified(dead) <= last
    assert any(side.match.counters.rollbacks for side in match.sides)


def test_who_leaves_politely_is_cut_at_once() -> None:
    match = VirtualMatch(seed=3, players=5, link=Link(delay=0.04, loss=0.1), env=toy_env(5), on_drop="go-on")
    play_until(match, 60)
    left_at = match.now
    match._carry_out(2, match.sides[2].match.leave(now=match.now))
    match.run(left_at + 2.0)
    assert all(events(match.sides[own], "dropped") for own in (0, 1, 3, 4))
    match.run(60)
    assert_one_history(match, [0, 1, 3, 4], frames=200)
    for own in (0, 1, 3, 4):
        assert match.sides[own].match.counters.max_depth <= 8


@pytest.mark.parametrize("apart", [0.05, 0.6, 2.8, 3.2, 7.0])
def test_two_losses_one_after_the_other(apart: float) -> None:
    match = VirtualMatch(
        seed=4, players=5, link=LINK, env=toy_env(5, max_steps=600), on_drop="go-on", drop_after=3.0, rate_hz=30.0
    )
    play_until(match, 50)
    match.sides[1].dead_from = match.now
    match.sides[3].dead_from = match.now + apart
    match.run(120)
    assert_one_history(match, [0, 2, 4], frames=600)
    assert sorted(str(e["peer"]) for e in events(match.sides[0], "dropped")) == ["1", "3"]


def test_halves_that_do_not_hear_each_other_fail_closed() -> None:
    match = VirtualMatch(seed=5, players=4, link=Link(delay=0.04), env=toy_env(4), on_drop="go-on", drop_after=3.0)
    play_until(match, 50)
    cut = Link(delay=0.04, outages=((match.now, 1e9),))
    for a, b in match.links:
        if (a < 2) != (b < 2):
            match.links[a, b] = cut
    match.run(60)
    for side in match.sides:
        assert side.ended is not None
        assert side.ended.reason == "partition"
        assert side.ended.unverified >= 0
    newest = [verified(side) for side in match.sides]
    histories = [[f.checksum for f in side.frames()[: min(newest) + 1]] for side in match.sides]
    assert all(history == histories[0] for history in histories)


def test_the_larger_part_goes_on_and_the_smaller_one_ends() -> None:
    match = VirtualMatch(
        seed=6, players=5, link=LINK, env=toy_env(5, max_steps=400), on_drop="go-on", drop_after=3.0, rate_hz=30.0
    )
    play_until(match, 50)
    cut = Link(delay=0.04, outages=((match.now, 1e9),))
    for a, b in match.links:
        if (a < 2) != (b < 2):
            match.links[a, b] = cut
    match.run(90)
    assert_one_history(match, [2, 3, 4], frames=400)
    for own in (0, 1):
        ended = match.sides[own].ended
        assert ended is not None
        assert ended.reason == "partition"
        upto = verified(match.sides[own])
        ours = [f.checksum for f in match.sides[own].frames()[: upto + 1]]
        assert ours == [f.checksum for f in match.sides[2].frames()[: upto + 1]]


def test_one_broken_link_leaves_one_history() -> None:
    match = VirtualMatch(
        seed=7, players=4, link=LINK, env=toy_env(4, max_steps=500), on_drop="go-on", drop_after=3.0, rate_hz=30.0
    )
    play_until(match, 50)
    for pair in ((0, 3), (3, 0)):
        match.links[pair] = Link(delay=0.04, outages=((match.now, 1e9),))
    match.run(120)
    finished = [own for own in range(4) if match.sides[own].ended and match.sides[own].ended.reason == "finished"]  # type: ignore[union-attr]
    assert len(finished) == 3
    assert_one_history(match, finished, frames=500)


def test_the_next_episodes_go_on_without_the_lost_peer() -> None:
    match = VirtualMatch(
        seed=8,
        players=3,
        link=LINK,
        env=toy_env(3, max_steps=90),
        episodes=3,
        on_drop="go-on",
        drop_after=2.0,
        rate_hz=30.0,
    )
    play_until(match, 40)
    match.sides[2].dead_from = match.now
    match.run(60)
    for episode in range(3):
        assert_one_history(match, [0, 1], frames=90, episode=episode)
    for episode in (1, 2):
        assert {f.inputs[2] for f in match.sides[0].frames(episode)} == {NEUTRAL}


@pytest.mark.parametrize("moment", [0.0, 0.1, 0.2, 0.3, 0.5])
def test_a_loss_around_a_barrier_ends_nobody_elses_match(moment: float) -> None:
    match = VirtualMatch(
        seed=9,
        players=3,
        link=LINK,
        env=toy_env(3, max_steps=60),
        episodes=3,
        on_drop="go-on",
        drop_after=2.0,
        rate_hz=30.0,
    )
    play_until(match, 55)
    match.sides[1].dead_from = match.now + moment
    match.run(90)
    for episode in range(3):
        assert_one_history(match, [0, 2], frames=60, episode=episode)


@pytest.mark.parametrize("seed", range(24))
def test_a_loss_that_some_notice_before_and_others_after_the_barrier(seed: int) -> None:
    """The last words of a peer at an episode's end reach some of the others, and then it is gone."""
    dice = random.Random(seed)
    players = dice.choice((3, 4))
    match = VirtualMatch(
        seed=seed,
        players=players,
        link=Link(delay=0.03, jitter=dice.choice((0.0, 0.05))),
        env=toy_env(players, max_steps=60),
        episodes=2,
        on_drop="go-on",
        drop_after=2.0,
        rate_hz=30.0,
    )
    play_until(match, 52)
    quiet = match.now + dice.uniform(0.2, 0.4)
    for other in range(players):
        if other != 1 and dice.random() < 0.5:
            match.links[1, other] = Link(delay=0.03, outages=((quiet, 1e9),))
    match.sides[1].dead_from = quiet + dice.choice((0.05, 0.12, 0.3))
    match.run(60)
    survivors = [own for own in range(players) if own != 1]
    for episode in range(2):
        assert_one_history(match, survivors, frames=60, episode=episode)


def test_two_alone_have_no_majority() -> None:
    match = VirtualMatch(seed=2, link=LINK, on_drop="go-on", drop_after=2.0)
    play_until(match, 40)
    match.sides[1].dead_from = match.now
    match.run(20)
    ended = match.sides[0].ended
    assert ended is not None
    assert ended.reason == "partner-gone"


def test_where_the_settings_say_so_a_loss_ends_the_match() -> None:
    match = VirtualMatch(seed=2, players=3, link=LINK, drop_after=2.0, env=toy_env(3))
    play_until(match, 40)
    match.sides[1].dead_from = match.now
    match.run(20)
    assert {s.ended.reason for own, s in enumerate(match.sides) if own != 1 and s.ended} <= {
        "partner-gone",
        "partner-left",
    }
    assert all(match.sides[own].ended for own in (0, 2))
