"""Rare moments of a match: losses during a reset, what others accuse, seats of nobody, large states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from virtual import Link, ToyHost, VirtualMatch, finished, toy_env

from p2pclient.match.match import Match
from p2pclient.match.plan import Phase
from p2pclient.match.sources import Sample
from p2pclient.protocol.control import Checksums
from p2pclient.protocol.endpoint import LOST_AFTER
from p2pclient.recorder.desync import report_of
from p2pclient.recorder.records import DesyncEvidence, EpisodeEnded, EventRecorded

NEAR = Link(delay=0.02)


def run_until(match: VirtualMatch, condition: Callable[[], bool]) -> None:
    start = match.now
    for step in range(12_000):
        if condition():
            return
        match.run(start + step / 100)
    raise AssertionError("it never came to that")


def play_until(match: VirtualMatch, frame: int) -> None:
    def is_there() -> bool:
        episode = match.sides[0].match.episode
        return episode is not None and episode.session.current_frame >= frame

    run_until(match, is_there)


def dropped(match: VirtualMatch, side: int) -> list[Any]:
    records = match.sides[side].records
    return [r.details["peer"] for r in records if isinstance(r, EventRecorded) and r.name == "dropped"]


def test_who_leaves_while_the_others_reset_is_gone_from_the_first_frame_on() -> None:
    match = VirtualMatch(seed=3, players=3, link=NEAR, env=toy_env(3, max_steps=40), episodes=2, on_drop="go-on")
    match.host_cost = 0.5
    run_until(match, lambda: match.sides[0].match.number == 1)
    others = [match.sides[own].match for own in (0, 2)]
    run_until(match, lambda: all(other.phase is Phase.RESETTING for other in others))
    match._carry_out(1, match.sides[1].match.leave(now=match.now))
    match.run(match.now + 0.2)
    assert all(other.phase is Phase.RESETTING and 1 not in other.peers for other in others)
    match.run(match.now + 120)
    for own in (0, 2):
        side = match.sides[own]
        assert side.ended is not None
        assert side.ended.reason == "finished"
        assert len(side.frames(0)) == len(side.frames(1)) == 40
        assert {f.inputs[1] for f in side.frames(1)} == {b"\x00\x00"}
        assert dropped(match, own) == [1]


def test_whom_others_have_given_up_is_given_up_after_a_short_silence() -> None:
    match = VirtualMatch(seed=4, players=4, link=NEAR, env=toy_env(4), on_drop="go-on", drop_after=15.0)
    play_until(match, 20)
    match.sides[3].dead_from = died = match.now
    match.run(died + 0.6)
    match.sides[0].match.peer_gone(3)  # the server tells one of them only
    run_until(match, lambda: 3 not in match.sides[0].match.peers)
    assert match.now < died + 1.0
    match.run(died + LOST_AFTER - 0.1)
    assert all(3 in match.sides[own].match.peers for own in (1, 2))
    match.run(died + LOST_AFTER + 0.5)
    assert all(dropped(match, own) == [3] for own in (0, 1, 2))


def test_who_is_heard_is_not_given_up_on_anothers_word() -> None:
    match = VirtualMatch(seed=4, players=4, link=NEAR, env=toy_env(4), on_drop="go-on", drop_after=4.0, rate_hz=30.0)
    play_until(match, 20)
    began = match.now
    for pair in ((0, 3), (3, 0)):
        match.links[pair] = Link(delay=0.02, outages=((match.now, 1e9),))
    match.run(began + 4.5)
    assert 3 not in match.sides[0].match.peers
    assert all(3 in match.sides[own].match.peers for own in (1, 2))


def test_a_silence_that_nobody_speaks_of_is_no_loss_before_its_time() -> None:
    match = VirtualMatch(seed=4, players=3, link=NEAR, env=toy_env(3), on_drop="go-on", drop_after=15.0)
    play_until(match, 20)
    match.sides[2].paused = (match.now, match.now + LOST_AFTER + 3.0)
    match.run(120)
    assert finished(match)
    assert all(dropped(match, own) == [] for own in range(3))


def test_figures_of_a_lost_peer_stay_as_they_were() -> None:
    match = VirtualMatch(seed=4, players=3, link=NEAR, env=toy_env(3), on_drop="go-on")
    play_until(match, 20)
    match._carry_out(2, match.sides[2].match.leave(now=match.now))
    match.run(match.now + 1.0)
    peers = match.sides[0].match.telemetry.peers
    assert dropped(match, 0) == [2]
    lost, here = peers[2].lead.count, peers[1].lead.count
    match.run(match.now + 2.0)
    assert peers[2].lead.count == lost
    assert peers[1].lead.count > here + 20


class LargeHost(ToyHost):
    """Has a state of 2 MB, or of ``filler`` bytes."""

    filler = 2 * 1024 * 1024

    def do_get_state(self) -> dict[str, Any]:
        state = super().do_get_state()
        state["data"]["filler"] = bytes(self.filler)
        return state


def test_a_large_state_is_sent_to_its_end_and_leaves_room_for_the_goodbye() -> None:
    match = VirtualMatch(seed=5, link=Link(delay=0.1), on_desync="end")
    match.sides[0].host, match.sides[1].host = LargeHost(2), LargeHost(2)
    match.sides[1].host.filler = 1024 * 1024  # it is here long before the other one is sent
    match.sides[1].host.corrupt_at = 30
    most = 0

    def is_over() -> bool:
        nonlocal most
        most = max(most, *(side.match.peers[1 - own].endpoint.open_control for own, side in enumerate(match.sides)))
        return all(side.ended is not None for side in match.sides)

    run_until(match, is_over)
    assert 16 <= most < 30
    found = [r for side in match.sides for r in side.records if isinstance(r, DesyncEvidence)]
    first, second = map(report_of, found)
    assert first.frame == second.frame == 30
    assert first.ours == second.theirs
    assert first.theirs == second.ours
    assert len(first.ours["filler"]) == 2 * 1024 * 1024


def test_all_name_the_same_frame_though_one_has_not_come_so_far() -> None:
    match = VirtualMatch(seed=5, players=3, link=NEAR, env=toy_env(3))
    play_until(match, 30)
    episode = match.sides[0].match.episode
    assert episode is not None
    # Inputs no longer reach the first side; messages do. The others run until they miss its inputs.
    match.links[1, 0] = match.links[2, 0] = Link(delay=0.02, loss=1.0)
    wrong = episode.session.current_frame + 4
    match.sides[1].host.corrupt_at = wrong
    match.run(match.now + 20)
    for own, side in enumerate(match.sides):
        assert side.ended is not None
        assert side.ended.reason == "desync"
        (evidence,) = [r for r in side.records if isinstance(r, DesyncEvidence)]
        report = report_of(evidence)
        assert report.frame == wrong
        assert (report.ours is None) == (own == 0)
        assert (report.theirs is None) == (own != 0 and report.peer == 0)
    assert match.sides[0].match.episode is not None
    assert match.sides[0].match.episode.recorded < wrong


def test_aborting_tells_the_others_that_they_need_not_wait() -> None:
    match = VirtualMatch(seed=6, link=NEAR)
    play_until(match, 20)
    match._carry_out(0, match.sides[0].match.abort(now=match.now))
    match.run(match.now + 1.0)
    ended = [side.ended for side in match.sides]
    assert [e.reason for e in ended if e is not None] == ["error", "partner-left"]
    assert ended[1] is not None
    assert "had to stop" in ended[1].text


def test_a_lone_players_delay_stays_where_it_began() -> None:
    match = VirtualMatch(seed=7, players=1, env=toy_env(1, max_steps=60), delay_range=(0, 8), input_delay=2)
    match.run()
    assert finished(match)
    assert match.sides[0].match.delays.by_seat == {0: 2}


class MarkedHost(ToyHost):
    """Keeps what came before each reset."""

    def __init__(self, seats: int) -> None:
        super().__init__(seats)
        self.seen: list[str] = []

    def do_mark(self, text: str) -> None:
        self.seen.append(text)

    def do_reset(self, seed: int) -> bytes:
        self.seen.append("reset")
        return super().do_reset(seed)


def test_what_is_to_be_done_before_a_reset_is_done_before_each() -> None:
    match = VirtualMatch(seed=8, link=NEAR, episodes=2, env=toy_env(max_steps=30))
    host = match.sides[0].host = MarkedHost(2)
    match.sides[0].match.reset_commands.append(["mark", "first"])
    match.run()
    assert finished(match)
    assert host.seen == ["first", "reset"] * 2


class CountingSource:
    """Presses something else in every frame."""

    def __init__(self) -> None:
        self.pressed = 0

    def sample(self) -> Sample:
        self.pressed += 1
        return Sample(self.pressed.to_bytes(2, "little"), True, None)


def test_more_different_inputs_than_are_remembered_are_recorded_as_they_were() -> None:
    env = toy_env(1, max_steps=4_300)
    env["action_spaces"] = [{"kind": "discrete", "n": 5_000, "start": 0}]
    env["controls"]["neutral"] = [b"\x00\x00"]
    match = VirtualMatch(seed=9, players=1, env=env)
    match.sides[0].match._sources = {0: CountingSource()}
    match.run(600)
    assert finished(match)
    assert [f.actions[0] for f in match.sides[0].frames()] == list(range(1, 4_301))


def test_a_machine_without_a_seat_plays_along_and_verifies() -> None:
    match = VirtualMatch(seed=10, link=NEAR, env=toy_env(2, max_steps=100))
    for own, side in enumerate(match.sides):
        seats: tuple[int, ...] = (0, 1) if own == 0 else ()
        plan = replace(side.match.plan, local_seats=seats, peers={1 - own: (0, 1) if own else ()})
        side.match = Match(plan, dict.fromkeys(seats, side.source), now=0.0)
    match.run()
    assert finished(match)
    for side in match.sides:
        assert len(side.frames()) == 100


def test_who_is_said_to_be_gone_and_is_heard_is_played_with() -> None:
    match = VirtualMatch(seed=13, link=NEAR)
    play_until(match, 20)
    match.sides[0].match.peer_gone(1)
    match.run()
    assert finished(match)


def test_the_longest_round_trip_counts() -> None:
    match = VirtualMatch(seed=14, players=3, link=NEAR, env=toy_env(3))
    match.links[0, 2] = match.links[2, 0] = Link(delay=0.15)
    play_until(match, 30)
    rtts = [side.match.peers.rtt for side in match.sides]
    assert rtts[0] == pytest.approx(0.3, abs=0.1)
    assert rtts[1] == pytest.approx(0.04, abs=0.1)
    assert rtts[2] == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize(("ends_when", "reason"), [(9, "ended"), (None, "limit")])
def test_it_is_recorded_whether_the_environment_ended_or_its_time_was_over(ends_when: int | None, reason: str) -> None:
    match = VirtualMatch(seed=12, link=NEAR, ends_when=ends_when)
    match.run()
    assert finished(match)
    for side in match.sides:
        (end,) = [r for r in side.records if isinstance(r, EpisodeEnded)]
        assert end.reason == reason
        assert (end.last_frame < 199) == (reason == "ended")


@pytest.mark.parametrize("kind", ["shorter", "longer"])
def test_a_list_for_frames_that_nobody_has_played_is_no_reason_to_wait(kind: str) -> None:
    match = VirtualMatch(seed=11, link=NEAR)
    play_until(match, 20)
    first = 10_000 if kind == "longer" else 0
    match.sides[0].match.peers[1].endpoint.queue_control(Checksums(0, first, []))
    match.run(match.now + 10)
    assert [side.ended.reason for side in match.sides if side.ended] == ["desync", "desync"]
