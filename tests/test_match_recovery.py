"""A match outlives its environment's host: whatever happens to it, play goes on and the recordings are the truth."""

from __future__ import annotations

from typing import Any

import pytest
from virtual import HostFailure, Link, Side, VirtualMatch, finished, straight_run, toy_env

from p2pclient.common.seeds import derive_seed
from p2pclient.match.plan import Phase
from p2pclient.match.recovery import MOST
from p2pclient.protocol.control import Recovering
from p2pclient.recorder.records import EventRecorded, FramesWithdrawn

NOT_PORTABLE = {"portable": False}
DIES = {"is_gone": True}
HANGS = {"is_gone": True, "seconds": 1.0}
RAISES = {"is_gone": False}


def notes(side: Side, name: str) -> list[dict[str, Any]]:
    return [r.details for r in side.records if isinstance(r, EventRecorded) and r.name == name]


def assert_true(match: VirtualMatch, *, seed: int, episodes: int = 1, frames: int = 200) -> None:
    """Everything that was recorded is what a straight run of the recorded inputs gives, on all sides alike."""
    assert finished(match)
    for episode in range(episodes):
        first = match.sides[0].frames(episode)
        assert [frame.frame for frame in first] == list(range(frames))
        pressed = [[frame.inputs[seat][1:] for frame in first] for seat in range(len(match.sides))]
        truth = straight_run(pressed, derive_seed(seed, "episode", episode), frames=frames)
        assert len(set(truth)) == frames
        for side in match.sides:
            assert [frame.checksum for frame in side.frames(episode)] == truth
            assert [frame.inputs for frame in side.frames(episode)] == [frame.inputs for frame in first]
    for side in match.sides:
        assert side.ended is not None
        assert side.ended.unverified == 0
        assert not [r for r in side.records if isinstance(r, FramesWithdrawn)]


@pytest.mark.parametrize("players", [2, 3])
@pytest.mark.parametrize("window", [8, 0])
@pytest.mark.parametrize("portable", [True, False])
@pytest.mark.parametrize("how", [DIES, HANGS, RAISES])
def test_play_goes_on_after_a_host_fails(how: dict[str, Any], portable: bool, window: int, players: int) -> None:
    env = {**toy_env(players), "portable": portable}
    match = VirtualMatch(seed=5, link=Link(delay=0.06, loss=0.05), players=players, window=window, env=env)
    side = match.sides[1]
    side.failures.append(HostFailure(120, **how))
    match.run(60)
    assert_true(match, seed=5)
    counters = side.match.counters
    assert counters.recoveries == 1
    assert [other.match.counters.recoveries for other in match.sides if other is not side] == [0] * (players - 1)
    (note,) = notes(side, "environment-recovered")
    assert note["from"] == ("snapshot" if how is RAISES else "state" if portable else "seed")
    assert note["resimulated"] >= (0 if portable or how is RAISES else 100)
    assert note["resimulated"] <= (200 if not portable else 40)
    assert side.hosts == (1 if how is RAISES else 2)
    assert counters.recovering_seconds == pytest.approx(note["seconds"])


@pytest.mark.parametrize("frame", [0, 1, 8, 199])
def test_play_goes_on_from_the_first_frame_and_at_the_last(frame: int) -> None:
    match = VirtualMatch(seed=6, link=Link(delay=0.05))
    match.sides[0].failures.append(HostFailure(frame))
    match.run(60)
    assert_true(match, seed=6)
    assert match.sides[0].match.counters.recoveries == 1


def test_both_sides_fail_at_the_same_time() -> None:
    match = VirtualMatch(seed=7, link=Link(delay=0.05))
    for side, how in zip(match.sides, (DIES, RAISES), strict=True):
        side.failures.append(HostFailure(90, **how))
    match.run(60)
    assert_true(match, seed=7)
    assert [side.match.counters.recoveries for side in match.sides] == [1, 1]


@pytest.mark.parametrize("episode", [0, 1])
@pytest.mark.parametrize("is_gone", [True, False])
def test_a_reset_that_fails_is_repeated(is_gone: bool, episode: int) -> None:
    match = VirtualMatch(seed=8, link=Link(delay=0.05), env=toy_env(max_steps=60), episodes=2)
    seed = derive_seed(8, "episode", episode)
    match.sides[1].failures.append(HostFailure(seed, "reset", is_gone=is_gone))
    match.run(60)
    assert_true(match, seed=8, episodes=2, frames=60)
    assert match.sides[1].hosts == 2
    assert match.sides[1].match.counters.recoveries == 1


def test_what_fails_under_a_wrong_guess_is_survived_once() -> None:
    """The host raises whenever a certain frame is simulated with other inputs than the real ones."""

    class Picky(HostFailure):
        def strikes(self, batch: list[list[Any]]) -> bool:
            real = match.sides[0].match.episode
            if real is None or real.session.confirmed_frame >= 100:
                return False
            return any(command[0] == "step" and command[1] == 100 for command in batch)

    match = VirtualMatch(seed=9, link=Link(delay=0.15))
    match.sides[0].failures.append(Picky(100, is_gone=False, times=1000))
    for hundredth in range(2_000):
        match.run(hundredth / 100)
        episode = match.sides[0].match.episode
        if episode is not None and episode.session.current_frame == 97:
            break
    # What the other one does comes late, so that the frame would be guessed once more.
    match.links[1, 0] = Link(delay=0.15, outages=((match.now, match.now + 1.5),))
    match.run(60)
    assert_true(match, seed=9)
    assert match.sides[0].match.counters.recoveries == 1


def test_a_kept_state_that_is_not_taken_gives_way_to_the_seed() -> None:
    match = VirtualMatch(seed=10, link=Link(delay=0.05))
    side = match.sides[1]
    side.failures += [HostFailure(120), HostFailure(-1, "set_state")]
    match.run(60)
    assert_true(match, seed=10)
    assert [note["from"] for note in notes(side, "environment-recovered")] == ["seed"]
    assert side.hosts == 3


def test_a_host_that_comes_to_another_state_is_not_played_on_with() -> None:
    match = VirtualMatch(seed=11, link=Link(delay=0.05))
    side = match.sides[1]
    side.failures.append(HostFailure(120))
    match.run(8.0)
    steps = ToyHostWithOtherSteps.wrap(match)
    match.run(60)
    assert steps
    assert side.ended is not None
    assert side.ended.reason == "environment"
    assert "another state" in side.ended.text
    assert len(notes(side, "recovery-differs")) == 2  # from the state, then from the seed
    assert match.sides[0].ended is not None
    assert match.sides[0].ended.reason == "partner-left"


class ToyHostWithOtherSteps:
    """Makes every host that comes from now on to the second side wrong."""

    @staticmethod
    def wrap(match: VirtualMatch) -> list[int]:
        seen: list[int] = []
        before = match._run

        def run(own: int, side: Side, batch: list[list[Any]]) -> None:
            if own == 1 and side.hosts > 1:
                seen.append(side.hosts)
                side.host.corrupt_at = side.match.episode.recorded if side.match.episode else None
            before(own, side, batch)

        match._run = run  # type: ignore[method-assign]
        return seen


@pytest.mark.parametrize("is_gone", [True, False])
def test_what_fails_again_and_again_ends_the_match_as_it_would_have_at_first(is_gone: bool) -> None:
    match = VirtualMatch(seed=12, link=Link(delay=0.05))
    match.sides[0].failures.append(HostFailure(100, is_gone=is_gone, times=1000))
    match.run(60)
    ended = match.sides[0].ended
    assert ended is not None
    assert (ended.reason, ended.text) == ("environment", "The environment failed: it broke")
    assert len(notes(match.sides[0], "environment-lost")) == MOST
    # Only who has raised for the first time is asked once more in the same process.
    assert match.sides[0].hosts == 1 + (MOST if is_gone else MOST - 1)
    assert match.sides[1].ended is not None
    assert match.sides[1].ended.reason == "partner-left"
    # What all had verified stays.
    assert match.sides[0].match.counters.verified_frames > 80


def test_a_host_that_does_not_come_ends_the_match_in_time() -> None:
    match = VirtualMatch(seed=13, link=Link(delay=0.05))
    side = match.sides[0]
    side.failures.append(HostFailure(100))
    side.restart = float("inf")
    match.run(60)
    assert side.ended is None
    assert side.match.is_recovering
    assert match.sides[1].match.phase is Phase.PLAYING
    match.run(80)
    assert side.ended is not None
    assert side.ended.reason == "environment"
    assert match.sides[1].ended is not None
    assert match.sides[1].ended.reason == "partner-left"


def test_another_environment_is_not_played_on_with() -> None:
    match = VirtualMatch(seed=14, link=Link(delay=0.05))
    side = match.sides[0]
    side.failures.append(HostFailure(100))
    side.restart = float("inf")
    match.run(12)
    match._carry_out(0, side.match.host_ready({**toy_env(), "digest": "newer"}, now=12.0))
    assert side.ended is not None
    assert side.ended.reason == "environment"
    assert "not the same" in side.ended.text


def test_the_others_are_told_how_far_it_is_and_do_not_count_it_as_silent() -> None:
    match = VirtualMatch(seed=15, link=Link(delay=0.05), env={**toy_env(), **NOT_PORTABLE})
    match.sides[0].failures.append(HostFailure(150))
    match.sides[0].restart = 5.0
    other = match.sides[1].match.peers[0]
    told = []
    for tenth in range(400):
        match.run(tenth / 10)
        if other.recovering is not None and (not told or told[-1] != other.recovering):
            told.append(other.recovering)
    assert_true(match, seed=15)
    assert told[0] == Recovering(0, 0)
    assert other.recovering is None
    assert other.endpoint.silence == "heard"
    assert match.sides[1].match.counters.stalls > 50


def test_the_others_are_told_again_and_again_how_far_a_long_recovery_is() -> None:
    env = {**toy_env(max_steps=100), **NOT_PORTABLE}
    match = VirtualMatch(seed=20, link=Link(delay=0.05), env=env, host_cost=0.4)
    match.sides[0].failures.append(HostFailure(90))
    other = match.sides[1].match.peers[0]
    told = set()
    for tenth in range(1_000):
        match.run(tenth / 10)
        if other.recovering is not None:
            told.add((other.recovering.done, other.recovering.frames))
    assert_true(match, seed=20, frames=100)
    assert len(told) > 2
    assert max(told)[0] > 30


def test_who_plays_nothing_for_ever_is_given_up_whatever_it_claims() -> None:
    match = VirtualMatch(seed=16, link=Link(delay=0.05))
    match.sides[0].failures.append(HostFailure(100))
    match.sides[0].restart = float("inf")
    match.run(10)
    assert match.sides[0].match.is_recovering
    match.sides[0].match._recovery.tick = lambda now: None  # type: ignore[method-assign]  # it never gives up
    match.run(90)
    assert match.sides[1].ended is None
    match.run(120)
    ended = match.sides[1].ended
    assert ended is not None
    assert (ended.reason, ended.text) == ("partner-gone", "The other player's program does not go on.")


def test_survivors_go_on_without_a_player_who_goes_while_another_ones_host_is_away() -> None:
    match = VirtualMatch(seed=17, link=Link(delay=0.05), players=3, on_drop="go-on", drop_after=5.0)
    match.sides[0].failures.append(HostFailure(100))
    match.sides[0].restart = 8.0
    match.sides[2].dead_from = 7.5
    match.run(90)
    for side in match.sides[:2]:
        assert side.ended is not None
        assert side.ended.reason == "finished"
        assert len(side.frames()) == 200
    assert [f.checksum for f in match.sides[0].frames()] == [f.checksum for f in match.sides[1].frames()]
    assert match.sides[0].match.counters.recoveries == 1


def test_a_desync_that_is_seen_while_the_host_is_away_is_looked_into_when_it_is_back() -> None:
    match = VirtualMatch(seed=18, link=Link(delay=0.2))
    match.sides[1].host.corrupt_at = 98
    match.sides[0].failures.append(HostFailure(100))
    match.run(60)
    for side in match.sides:
        assert side.ended is not None
        assert side.ended.reason == "desync"


def test_a_state_is_kept_once_a_second_and_never_of_what_may_be_withdrawn() -> None:
    match = VirtualMatch(seed=19, link=Link(delay=0.05))
    match.run(10.3)
    side = match.sides[0]
    asked = [command[1] for batch in side.batches for command in batch if command[0] == "get_snapshot"]
    assert 8 <= len(asked) <= 10
    episode = side.match.episode
    assert episode is not None
    assert episode.journal.state is not None
    assert episode.journal.state["frame"] == asked[-1] <= episode.verified + 1
