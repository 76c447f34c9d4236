"""When states differ: the frame is named, both states are shown, and play goes on only if all agree again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from virtual import Link, ToyHost, VirtualMatch, finished, straight_run, toy_env

from p2pclient.match.plan import Desync, Phase, PhaseChanged
from p2pclient.recorder.desync import report_of
from p2pclient.recorder.records import DesyncEvidence, DesyncReported, FrameRecorded, FramesVerified, FramesWithdrawn

LINK = Link(delay=0.06, jitter=0.03, loss=0.05)


class SlippingHost(ToyHost):
    """Goes wrong once at one frame, as memory does; the same frame is right when it is simulated again."""

    def __init__(self, seats: int, *, at: int, times: int = 1, ends_when: int | None = None) -> None:
        super().__init__(seats, ends_when=ends_when)
        self.at = at
        self.left = times
        self.final: Sequence[bytes] = ()

    def do_step(self, frame: int, inputs: Sequence[bytes], observe: bool = False) -> list[Any]:
        result = super().do_step(frame, inputs, observe)
        if frame == self.at and self.left:
            self.left -= 1
            self.state = b"slipped"
            result[0] = self.checksum()
        return result


def slip(match: VirtualMatch, side: int, *, at: int, times: int) -> SlippingHost:
    host = SlippingHost(match.sides[side].host.seats, at=at, times=times)
    match.sides[side].host = host
    return host


def recorded(match: VirtualMatch, side: int) -> list[FrameRecorded]:
    """The frames that stand: what was withdrawn is not among them."""
    frames: list[FrameRecorded] = []
    for record in match.sides[side].records:
        if isinstance(record, FramesWithdrawn):
            frames = [f for f in frames if f.frame < record.first_frame or f.episode != record.episode]
        elif isinstance(record, FrameRecorded):
            frames.append(record)
    return frames


def reports(match: VirtualMatch, side: int) -> list[DesyncReported]:
    return [report_of(r) for r in match.sides[side].records if isinstance(r, DesyncEvidence)]


@pytest.mark.parametrize("players", [2, 3, 4])
def test_all_sides_name_the_same_first_frame_and_show_both_states(players: int) -> None:
    match = VirtualMatch(seed=5, players=players, link=LINK, env=toy_env(players))
    match.sides[1].host.corrupt_at = 50
    match.run(60)
    for own, side in enumerate(match.sides):
        assert side.ended is not None
        assert side.ended.reason == "desync"
        (event,) = [e for e in side.events if isinstance(e, Desync)]
        (report,) = reports(match, own)
        assert (event.frame, report.frame, report.verdict) == (50, 50, "ended")
        assert report.ours is not None
        assert report.theirs is not None
        assert report.ours["state"] != report.theirs["state"]
        assert [path for path, _, _ in report.differences]
    wrong, right = reports(match, 1)[0], reports(match, 0)[0]
    assert wrong.ours["state"] == right.theirs["state"] == b"corrupted"
    truth = straight_run([s.source.pressed for s in match.sides], match.sides[0].match.plan.episode_seed(0), frames=50)
    assert [f.checksum for f in recorded(match, 0)[:50]] == truth


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("players", [2, 3])
def test_a_state_that_slipped_once_is_simulated_again_and_play_goes_on(players: int, seed: int) -> None:
    match = VirtualMatch(seed=seed, players=players, link=LINK, env=toy_env(players), on_desync="resimulate")
    # Every simulation of the frame before it is confirmed slips, so that the wrong state is recorded.
    host = slip(match, 1, at=40 + seed, times=1_000)
    healed = False

    def heal() -> None:
        nonlocal healed
        if any(isinstance(e, PhaseChanged) and e.phase is Phase.DIVERGED for e in match.sides[1].events):
            healed = True
            host.left = 0

    for second in range(1, 600):
        match.run(second / 10)
        heal()
    assert healed
    assert finished(match)
    truth = straight_run([s.source.pressed for s in match.sides], match.sides[0].match.plan.episode_seed(0), frames=200)
    for own, side in enumerate(match.sides):
        frames = recorded(match, own)
        assert [f.frame for f in frames] == list(range(200))
        assert [f.checksum for f in frames] == truth
        assert [r.verdict for r in reports(match, own)] == ["agreed"]
        assert side.match.counters.desyncs == 1
        verified = [r.frame for r in side.records if isinstance(r, FramesVerified)]
        assert verified == sorted(verified)
        assert verified[-1] == 199
        totals = tuple(sum(f.rewards[seat] for f in frames) for seat in range(players))
        assert side.match.totals == [totals]
    assert any(isinstance(r, FramesWithdrawn) for r in match.sides[1].records)
    assert reports(match, 1)[0].ours["state"] == b"slipped"


def test_what_is_wrong_again_ends_the_match() -> None:
    match = VirtualMatch(seed=4, link=LINK, on_desync="resimulate")
    match.sides[0].host.corrupt_at = 70
    match.run(60)
    for own, side in enumerate(match.sides):
        assert side.ended is not None
        assert side.ended.reason == "desync"
        (report,) = reports(match, own)
        assert (report.frame, report.verdict) == (70, "differed")
        assert all(r.frame < 70 for r in side.records if isinstance(r, FramesVerified))


def test_a_match_that_slips_all_the_time_is_given_up() -> None:
    match = VirtualMatch(seed=3, link=LINK, on_desync="resimulate", env=toy_env(max_steps=2_000))
    for at in (50, 150, 250, 350):
        host = slip_next(match, at)
        for tenth in range(int(match.now * 10) + 1, 2_000):
            match.run(tenth / 10)
            if match.sides[1].match.phase is Phase.DIVERGED:
                host.left = 0
            if any(isinstance(r, DesyncEvidence) and r.frame == at for r in match.sides[1].records):
                break
    match.run(200)
    verdicts = [r.verdict for r in reports(match, 0)]
    assert verdicts == ["agreed", "agreed", "agreed", "ended"]
    assert match.sides[0].ended is not None
    assert match.sides[0].ended.reason == "desync"


def slip_next(match: VirtualMatch, at: int) -> SlippingHost:
    """Let the second side's host slip at a later frame, from where it stands."""
    before = match.sides[1].host
    host = SlippingHost(2, at=at, times=1_000)
    host.state, host.frame, host.ended, host.saved = before.state, before.frame, before.ended, before.saved
    match.sides[1].host = host
    return host


def test_a_side_that_does_not_answer_ends_the_match_with_what_is_known() -> None:
    match = VirtualMatch(seed=4, link=Link(delay=0.05), on_desync="resimulate")
    match.sides[1].host.corrupt_at = 30
    for hundredth in range(6_000):
        match.run(hundredth / 100)
        if match.sides[0].match.phase is Phase.DIVERGED:
            break
    match.sides[1].dead_from = match.now
    match.run(match.now + 10)
    ended = match.sides[0].ended
    assert ended is not None
    assert ended.reason == "desync"
    (report,) = reports(match, 0)
    assert report.verdict == "interrupted"
    assert report.theirs is None


def test_an_episode_that_was_over_is_closed_after_the_resimulation() -> None:
    match = VirtualMatch(seed=9, link=Link(delay=0.1), on_desync="resimulate", env=toy_env(max_steps=60), episodes=2)
    host = slip(match, 1, at=58, times=1_000)
    for tick in range(1_200):
        match.run(tick / 20)
        if match.sides[1].match.phase is Phase.DIVERGED:
            host.left = 0
    assert finished(match)
    for own in range(2):
        frames = recorded(match, own)
        assert [f.frame for f in frames] == [*range(60), *range(60)]
        assert [r.verdict for r in reports(match, own)] == ["agreed"]
