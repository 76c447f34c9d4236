"""Whole matches in virtual time against a straight run of what was pressed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from virtual import Link, RandomSource, ToyHost, VirtualMatch, finished, straight_run, toy_env

from p2pclient.common.errors import LocalMisuseError
from p2pclient.match.match import Match
from p2pclient.match.plan import Desync, MatchPlan, PeerSilence, Phase, ViewReady
from p2pclient.match.sources import BotSource
from p2pclient.recorder.records import EpisodeEnded, EpisodeStarted, EventRecorded, FramesVerified, FrameTimed


def assert_true_to_what_was_pressed(match: VirtualMatch, *, delay: int = 0, ends_when: int | None = None) -> None:
    """All recordings equal a straight run of the keys that the sources pressed, not only each other."""
    plan = match.sides[0].match.plan
    starts = [0] * len(match.sides)
    for episode in range(match.sides[0].match.number):
        rows = [side.frames(episode) for side in match.sides]
        assert all(row == rows[0] for row in rows)
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
    assert [r.reason for r in match.sides[0].records if isinstance(r, EpisodeEnded)] == ["ended"]


def test_frames_limit_ends_the_match_in_mid_episode() -> None:
    match = VirtualMatch(seed=5, link=NETWORKS["60 ms"], episodes=0, frames=130, env=toy_env(max_steps=100))
    match.run()
    assert finished(match)
    ends = [r for r in match.sides[1].records if isinstance(r, EpisodeEnded)]
    assert [(r.last_frame, r.reason) for r in ends] == [(99, "limit"), (29, "limit")]


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


def assert_rollbacks_are_shared(match: VirtualMatch) -> None:
    """Both sides go back about as far, whoever is nearer or faster, and so simulate about as much again.

    The depth of a rollback is what pacing evens out, to less than a quarter of a frame. How many there are follows from
    the keys that the other side pressed, so that the sums differ by a few of 100 frames even if all is even.
    """
    counters = [side.match.counters for side in match.sides]
    depths = [each.resimulated / each.rollbacks for each in counters]
    assert abs(depths[0] - depths[1]) < 0.25
    per_100 = [100 * each.resimulated / each.frames for each in counters]
    assert abs(per_100[0] - per_100[1]) < 5


def test_clocks_that_run_apart_are_paced() -> None:
    match = VirtualMatch(seed=8, link=Link(delay=0.04), clock_rates=(1.0, 1.001), env=toy_env(max_steps=900))
    match.run()
    assert finished(match)
    # Without pacing the depths are 0.5 frames apart, and 21 of 100 frames; which keys are drawn makes 3 of 100.
    assert_rollbacks_are_shared(match)
    assert all(side.match.counters.stalls == 0 for side in match.sides)


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


# -- more than two ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("players", [3, 4])
@pytest.mark.parametrize("network", ["60 ms", "150 ms 10 %", "jitter reorders"])
def test_more_than_two_all_equal_a_straight_run(players: int, network: str) -> None:
    match = VirtualMatch(
        seed=20, link=NETWORKS[network], players=players, episodes=2, env=toy_env(players, max_steps=60)
    )
    match.links[0, 1] = Link(delay=0.2)
    match.run()
    assert finished(match)
    assert_true_to_what_was_pressed(match)
    for side in match.sides:
        assert len(side.frames()) == side.match.counters.verified_frames == 120
        assert side.match.counters.rollbacks > 10
        assert side.match.counters.max_depth <= 8


def test_four_players_end_on_an_event_while_one_of_them_lags() -> None:
    link = Link(delay=0.05, jitter=0.05, loss=0.1)
    match = VirtualMatch(seed=21, link=link, players=4, episodes=3, ends_when=20, env=toy_env(4, max_steps=80))
    for other in range(3):
        match.links[3, other] = match.links[other, 3] = Link(delay=0.3, loss=0.2)
    match.run()
    assert finished(match)
    assert_true_to_what_was_pressed(match, ends_when=20)


def test_one_of_three_leaving_in_mid_play_ends_the_match_for_the_others() -> None:
    match = VirtualMatch(seed=22, link=Link(delay=0.05), players=3)
    match.run(5.0)
    match._carry_out(1, match.sides[1].match.leave(now=5.0))
    match.run(7.0)
    assert [side.ended.reason for side in match.sides if side.ended] == ["partner-left", "left", "partner-left"]


def test_who_is_through_may_go_while_the_others_still_wait_for_each_other() -> None:
    match = VirtualMatch(seed=23, link=Link(delay=0.02), players=3, env=toy_env(3, max_steps=45))
    match.links[2, 1] = Link(delay=1.5)  # the last of the three to hear of the end, long after the first has gone
    gone: list[int] = []
    while not all(side.ended for side in match.sides):
        match.run(match.now + 0.1)
        for own, side in enumerate(match.sides):
            if side.ended is not None and own not in gone:
                gone.append(own)
                side.dead_from = match.now + 0.5
                for other in match.sides:
                    other.match.peer_gone(own)
    assert finished(match)
    assert gone[-1] == 1
    assert_true_to_what_was_pressed(match)


def test_one_corrupted_of_three_is_found_by_all() -> None:
    match = VirtualMatch(seed=24, link=NETWORKS["60 ms"], players=3)
    match.sides[2].host.corrupt_at = 50
    match.run()
    assert [side.ended.reason for side in match.sides if side.ended] == ["desync"] * 3
    frames = {e.frame for side in match.sides for e in side.events if isinstance(e, Desync)}
    assert frames == {50}


def test_two_groups_of_seats_on_two_machines() -> None:
    """Each side holds two seats; the sources of both are read once per frame."""
    match = VirtualMatch(seed=25, link=NETWORKS["60 ms"], env=toy_env(max_steps=80))
    for own, side in enumerate(match.sides):
        seats, others = (2 * own, 2 * own + 1), (2 - 2 * own, 3 - 2 * own)
        plan = MatchPlan(
            match_id="m",
            seed=25,
            env=toy_env(4, max_steps=80),
            local_seats=seats,
            peers={1 - own: others},
            own_id=own,
            render=False,
        )
        side.host = ToyHost(4)
        side.match = Match(plan, {seat: RandomSource(seat) for seat in seats}, now=0.0)
    match.run()
    assert finished(match)
    pressed = [side.match._sources[seat].pressed for side in match.sides for seat in side.match.plan.local_seats]
    truth = straight_run(pressed, match.sides[0].match.plan.episode_seed(0), frames=80)
    for side in match.sides:
        assert [row.checksum for row in side.frames()] == truth


def test_a_seat_that_has_left_the_environment_earns_nothing_more() -> None:
    class Half(ToyHost):
        def do_step(self, frame: int, inputs: Sequence[bytes], observe: bool = False) -> list[Any]:
            result = super().do_step(frame, inputs, observe)
            return [result[0], [result[1][0], None if frame >= 20 else 1.0], *result[2:]]

    match = VirtualMatch(seed=27, link=NETWORKS["60 ms"], env=toy_env(max_steps=50))
    for side in match.sides:
        side.host = Half(2)
    match.run()
    assert finished(match)
    for side in match.sides:
        ((first, second),) = side.match.totals
        assert second == 20.0
        assert first == sum(row.rewards[0] for row in side.frames())


def test_alone_everything_is_confirmed_and_verified_at_once() -> None:
    match = VirtualMatch(seed=26, players=1, episodes=2, env=toy_env(1, max_steps=50))
    match.run()
    assert finished(match)
    assert_true_to_what_was_pressed(match)
    counters = match.sides[0].match.counters
    assert (counters.verified_frames, counters.rollbacks, counters.stalls, counters.datagrams_sent) == (100, 0, 0, 0)


# -- determinism and bounds ---------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_trace_and_another_gives_another() -> None:
    traces = []
    for seed in (42, 42, 43):
        match = VirtualMatch(seed=seed, link=NETWORKS["150 ms 10 %"], tracing=True, env=toy_env(max_steps=100))
        match.run()
        assert finished(match)
        traces.append([side.trace for side in match.sides])
    assert traces[0] == traces[1]
    assert traces[0] != traces[2]


def test_the_trace_says_what_was_simulated_and_its_last_lines_agree() -> None:
    match = VirtualMatch(seed=27, link=NETWORKS["60 ms"], tracing=True, env=toy_env(max_steps=60))
    match.run()
    final: list[dict[str, list[str]]] = []
    for side in match.sides:
        steps = [line.split() for line in side.trace if not line.startswith("rollback")]
        final.append({words[2]: [word.rstrip("?") for word in words[3:]] for words in steps})
        depths = [int(line.split(" depth ")[1].split()[0]) for line in side.trace if line.startswith("rollback")]
        assert len(depths) == side.match.counters.rollbacks
        for number, line in enumerate(side.trace):
            if line.startswith("rollback"):
                first, last = line.split()[2].split("-")
                depth = int(line.split(" depth ")[1].split()[0])
                assert int(last) - int(first) + 1 == depth
                again_lines = side.trace[number + 1 : number + 1 + depth]
                assert [each.split()[2] for each in again_lines] == [f"f{int(first) + n}" for n in range(depth)]
        again = sum(words[0] == "again" for words in steps)
        assert again == sum(depths) == side.match.counters.resimulated
        assert all(words[words.index("before") + 1] for words in steps)
    assert set(final[0]) == {f"f{frame}" for frame in range(60)}
    assert final[0] == final[1]
    before = [words[words.index("before") + 1] for _, words in sorted(final[0].items(), key=lambda x: int(x[0][1:]))]
    after = [words[words.index("after") + 1] for _, words in sorted(final[0].items(), key=lambda x: int(x[0][1:]))]
    assert before[1:] == after[:-1]


def test_nothing_grows_over_a_long_match() -> None:
    frames = 6_000
    match = VirtualMatch(seed=28, link=Link(delay=0.06, jitter=0.03, loss=0.05), env=toy_env(max_steps=frames))
    largest = 0
    while not all(side.ended for side in match.sides):
        match.run(match.now + 5.0)
        for side in match.sides:
            side.records = [r for r in side.records if isinstance(r, EpisodeEnded)]
            episode, endpoint = side.match.episode, side.match.peers[1 - side.match.plan.own_id].endpoint
            if episode is None:
                continue
            kept = [episode._results, episode.clock._frames, episode.chain._values, episode.chain._checksums]
            kept += [q._assumed for q in episode.session._queues] + [q._values for q in episode.session._queues]
            kept += [endpoint._unacknowledged, endpoint._events, endpoint._sent_control, endpoint._control_queue]
            largest = max(largest, *(len(each) for each in kept))
            assert len(side.host.saved) <= 12
    assert finished(match)
    assert 0 < largest < 40


# -- ends, barriers, hitches --------------------------------------------------------------------------------------


def test_chain_values_of_the_episode_before_do_not_reach_the_next() -> None:
    """The last datagram of an episode comes in between its end and the next tick."""
    virtual = VirtualMatch(seed=1, env=toy_env(max_steps=2), episodes=3)
    sides, hosts = [side.match for side in virtual.sides], [side.host for side in virtual.sides]
    late: list[bytes] = []
    now = 0.0
    while not all(side.ended for side in sides):
        now += 1 / 15
        assert now < 60
        outs = [side.tick(now=now) for side in sides]
        for own in (0, 1):
            out = outs[own]
            while True:
                for _, data in out.control:
                    sides[1 - own].receive(own, "control", data, now=now)
                for _, data in out.datagrams:
                    if own == 1:
                        late.append(data)
                    else:
                        sides[1].receive(0, "inputs", data, now=now)
                if out.batch is None:
                    break
                if own == 0:  # what the other sent comes while the host works
                    for data in late:
                        sides[0].receive(1, "inputs", data, now=now)
                    late.clear()
                out = sides[own].batch_done(hosts[own].run(out.batch), now=now)
        for data in late:
            sides[0].receive(1, "inputs", data, now=now)
        late.clear()
    assert [side.ended.reason for side in sides if side.ended] == ["finished", "finished"]


@pytest.mark.parametrize("seed", [0, 27, 1380])
def test_many_short_episodes_raise_no_false_alarm(seed: int) -> None:
    match = VirtualMatch(
        seed=seed,
        link=Link(delay=0.01, jitter=0.3, loss=0.2, duplicate=0.2),
        host_cost=0.0005,
        episodes=30,
        players=3,
        env=toy_env(3, max_steps=5),
    )
    match.run(600)
    assert finished(match)
    assert all(side.match.counters.desyncs == 0 for side in match.sides)
    assert_true_to_what_was_pressed(match)


def test_each_episode_is_started_ended_and_timed_on_both_sides() -> None:
    match = VirtualMatch(seed=30, link=NETWORKS["60 ms"], episodes=3, env=toy_env(max_steps=30))
    match.run()
    for side in match.sides:
        started = [r for r in side.records if isinstance(r, EpisodeStarted)]
        assert [(r.episode, r.seed) for r in started] == [(e, side.match.plan.episode_seed(e)) for e in range(3)]
        timed = [(r.episode, r.frame) for r in side.records if isinstance(r, FrameTimed)]
        assert timed == [(episode, frame) for episode in range(3) for frame in range(30)]
        ends = [r for r in side.records if isinstance(r, EpisodeEnded)]
        for episode, end in enumerate(ends):
            rewards = [sum(row.rewards[seat] for row in side.frames(episode)) for seat in (0, 1)]
            assert list(end.totals) == rewards
        assert [r.totals for r in ends] == side.match.totals
        kinds = [type(r).__name__ for r in side.records]
        assert kinds.index("EpisodeStarted") < kinds.index("FrameRecorded") < kinds.index("EpisodeEnded")
    starts = [[r for r in s.records if isinstance(r, EpisodeStarted | EpisodeEnded)] for s in match.sides]
    assert starts[0] == starts[1]


def test_the_frame_limit_of_one_frame_works() -> None:
    match = VirtualMatch(seed=31, link=NETWORKS["60 ms"], episodes=5, env=toy_env(max_steps=1))
    match.run()
    assert finished(match)
    assert_true_to_what_was_pressed(match)
    assert [len(side.frames()) for side in match.sides] == [5, 5]


@pytest.mark.parametrize("window", [1, 2, 20])
@pytest.mark.parametrize("delay", [0, 4])
def test_any_window_and_delay_stay_true(window: int, delay: int) -> None:
    match = VirtualMatch(
        seed=32, link=NETWORKS["150 ms 10 %"], window=window, input_delay=delay, env=toy_env(max_steps=80)
    )
    match.run()
    assert finished(match)
    assert_true_to_what_was_pressed(match, delay=delay)
    for side in match.sides:
        assert side.match.counters.max_depth <= window


def test_a_press_that_acts_once_is_never_assumed_to_be_pressed_again() -> None:
    match = VirtualMatch(seed=33, link=NETWORKS["60 ms"], env=toy_env(max_steps=80, mode="press"), tracing=True)
    match.run()
    assert finished(match)
    assert_true_to_what_was_pressed(match)
    guesses = [word for side in match.sides for line in side.trace for word in line.split() if word.endswith("?")]
    assert set(guesses) == {"0000?"}


@pytest.mark.parametrize("cost", [0.08, 0.15])
def test_a_host_slower_than_the_rate_loses_nothing_and_is_verified_as_it_goes(cost: float) -> None:
    match = VirtualMatch(seed=34, link=Link(delay=0.03), host_cost=cost, env=toy_env(max_steps=120))
    match.run(8.0)
    for side in match.sides:
        assert side.match.counters.overruns > 10
        assert side.match.counters.confirmed_frames - side.match.counters.verified_frames < 20
        assert side.match.counters.verified_frames > 10
    match.run()
    assert finished(match)
    assert_true_to_what_was_pressed(match)


def test_one_slow_host_is_caught_up_with_what_is_known() -> None:
    match = VirtualMatch(seed=35, link=Link(delay=0.03), env=toy_env(max_steps=120))
    carry_out = match._carry_out

    def slow_on_one_side(own: int, out: object) -> None:
        match.host_cost = 0.1 if own == 1 else 0.002
        carry_out(own, out)  # type: ignore[arg-type]

    match._carry_out = slow_on_one_side  # type: ignore[method-assign,assignment]
    match.run()
    assert finished(match)
    assert_true_to_what_was_pressed(match)
    assert match.sides[1].match.counters.fast_forwarded > 20
    assert match.now < 120 / 15 * 1.5


@pytest.mark.parametrize("pause", [0.4, 2.0, 5.0])
def test_after_a_hitch_both_are_level_again_at_once(pause: float) -> None:
    match = VirtualMatch(seed=36, link=Link(delay=0.02))
    match.sides[0].paused = (3.0, 3.0 + pause)
    match.run(3.5 + pause)
    frames = [side.match.episode.session.current_frame for side in match.sides if side.match.episode]
    assert abs(frames[0] - frames[1]) <= 2
    match.run()
    assert finished(match)
    assert_true_to_what_was_pressed(match)
    assert match.sides[0].match.counters.fast_forwarded >= min(pause * 15, 8) - 3


def test_a_fast_forward_is_one_batch_and_recorded_frame_by_frame() -> None:
    match = VirtualMatch(seed=37, link=Link(delay=0.02))
    match.sides[0].paused = (3.1, 3.7)
    batches: list[list[str]] = []
    run = match.sides[0].host.run

    def watched(batch: list[list[object]]) -> list[object]:
        batches.append([str(command[0]) for command in batch])
        return run(batch)

    match.sides[0].host.run = watched  # type: ignore[method-assign]
    match.run()
    assert finished(match)
    assert match.sides[0].match.counters.fast_forwarded > 3
    assert max(b.count("step") for b in batches if "load" not in b) > 3


def test_a_difference_that_ends_the_episode_on_one_side_is_named_with_its_first_frame() -> None:
    match = VirtualMatch(seed=38, link=NETWORKS["60 ms"], env=toy_env(max_steps=60))
    host = match.sides[1].host
    step = host.do_step

    def ends_too_early(frame: int, inputs: list[bytes]) -> list[object]:
        result = step(frame, inputs)
        if frame >= 40:
            host.ended = True
            result = [host.checksum(), *result[1:5], True, None]
        return result

    host.do_step = ends_too_early  # type: ignore[method-assign,assignment]
    match.run()
    for side in match.sides:
        assert side.ended is not None
        assert side.ended.reason == "desync"
        (found,) = [e for e in side.events if isinstance(e, Desync)]
        assert found.frame == 40
        assert found.ours != found.theirs


@pytest.mark.parametrize("corrupt_at", [0, 1, 58, 59])
def test_a_difference_in_the_first_or_last_frames_is_found(corrupt_at: int) -> None:
    match = VirtualMatch(seed=39, link=NETWORKS["60 ms"], env=toy_env(max_steps=60))
    match.sides[0].host.corrupt_at = corrupt_at
    match.run()
    for side in match.sides:
        assert side.ended is not None
        assert side.ended.reason == "desync"
        assert [e.frame for e in side.events if isinstance(e, Desync)] == [corrupt_at]
        assert side.match.counters.verified_frames <= corrupt_at
        assert side.ended.unverified == len(side.frames()) - side.match.counters.verified_frames


def test_a_barrier_waits_for_the_slower_reset() -> None:
    match = VirtualMatch(seed=40, link=Link(delay=0.02), env=toy_env(max_steps=30), episodes=2)
    match.host_cost = 0.002
    carry_out = match._carry_out

    def slow_reset(own: int, out: object) -> None:
        batch = getattr(out, "batch", None)
        match.host_cost = 1.0 if own == 1 and batch and batch[0][0] == "reset" else 0.002
        carry_out(own, out)  # type: ignore[arg-type]

    match._carry_out = slow_reset  # type: ignore[method-assign,assignment]
    match.run(0.9)
    assert [side.match.phase for side in match.sides] == [Phase.BARRIER, Phase.RESETTING]
    match.run()
    assert finished(match)
    assert_true_to_what_was_pressed(match)


def test_silence_is_told_and_recorded_while_the_match_only_stalls() -> None:
    match = VirtualMatch(seed=41, link=Link(delay=0.02, outages=((4.0, 7.5),)))
    match.run()
    assert finished(match)
    assert_true_to_what_was_pressed(match)
    for side in match.sides:
        assert [e.level for e in side.events if isinstance(e, PeerSilence)] == ["notice", "lost", "heard"]
        names = [r.name for r in side.records if isinstance(r, EventRecorded)]
        assert [n for n in names if n.startswith("silence")] == ["silence-notice", "silence-lost", "silence-heard"]


def test_a_failed_batch_ends_the_match_on_both_sides() -> None:
    match = VirtualMatch(seed=42, link=Link(delay=0.02))
    match.run(4.0)
    match._carry_out(0, match.sides[0].match.batch_failed("it broke", now=4.0))
    match.run(6.0)
    assert match.sides[0].ended is not None
    assert match.sides[0].ended.reason == "environment"
    assert "it broke" in match.sides[0].ended.text
    assert match.sides[1].ended is not None
    assert match.sides[1].ended.reason == "partner-left"


def test_results_without_a_batch_are_a_bug_here() -> None:
    match = VirtualMatch(seed=43)
    with pytest.raises(LocalMisuseError):
        match.sides[0].match.batch_done([], now=0.0)


@pytest.mark.parametrize("when", [0.0, 0.05, 0.1, 3.0, 13.5])
def test_leaving_at_any_moment_is_clean(when: float) -> None:
    match = VirtualMatch(seed=44, link=Link(delay=0.02), host_cost=0.03)
    match.run(when)
    match._carry_out(0, match.sides[0].match.leave(now=when))
    match._carry_out(0, match.sides[0].match.leave(now=when))
    match.run(when + 2.0)
    assert [s.ended.reason for s in match.sides if s.ended] in (["left", "partner-left"], ["left", "finished"])
    rows = [side.frames() for side in match.sides]
    count = min(len(each) for each in rows)
    assert rows[0][:count] == rows[1][:count]


def test_steady_play_sends_one_datagram_per_frame() -> None:
    match = VirtualMatch(seed=45, link=Link(delay=0.05), rate_hz=60.0, env=toy_env(max_steps=600))
    match.run()
    assert finished(match)
    for side in match.sides:
        counters = side.match.counters
        assert counters.datagrams_sent + counters.control_sent <= 600 * 65 / 60 + 20
        assert counters.datagram_bytes_sent / counters.datagrams_sent <= 32


def test_uneven_paths_share_the_rollbacks() -> None:
    match = VirtualMatch(
        seed=46, link=Link(delay=0.01), back=Link(delay=0.1), rate_hz=60.0, env=toy_env(max_steps=1800)
    )
    match.run()
    assert finished(match)
    assert_true_to_what_was_pressed(match)
    # Without pacing: depths of 6.6 and 1.0.
    assert_rollbacks_are_shared(match)
    assert all(side.match.counters.stalls < 60 for side in match.sides)


def test_a_frame_counts_as_shown_when_the_state_behind_it_is() -> None:
    match = VirtualMatch(seed=47, link=Link(delay=0.02), env=toy_env(max_steps=30))
    match.run(1.0)
    assert match.sides[0].match.episode is not None
    now = match.sides[0].match.episode.session.current_frame
    match.sides[0].match.shown(0, now, 0.9)
    match.sides[0].match.shown(1, now - 1, 0.9)  # of another episode
    match.run()
    assert {r.frame: r.shown_at for r in match.sides[0].records if isinstance(r, FrameTimed) and r.shown_at} == {
        now - 1: 0.9
    }


def test_bots_in_the_host_act_once_per_decision_and_views_and_observations_come_back() -> None:
    match = VirtualMatch(seed=48, link=NETWORKS["60 ms"], env=toy_env(max_steps=40, mode="press"), episodes=2)
    for own, side in enumerate(match.sides):
        plan = dataclasses.replace(side.match.plan, bots={own: ("cook", 5)}, render=True, observe=True)
        side.match = Match(plan, {own: BotSource(b"\x00")}, now=0.0)
    match.run()
    assert finished(match)
    for own, side in enumerate(match.sides):
        rows = side.frames()
        assert len(rows) == 80
        acted = [row.actions[own] for row in rows if row.actions[own] != 0]
        decided = [choice[0] for choice in side.host.decided[own]]
        assert len(acted) > 70
        assert acted[:10] == decided[:10]
        assert all(row.observations is not None and len(row.observations) == 2 for row in rows)
        views = [e for e in side.events if isinstance(e, ViewReady)]
        assert {e.episode for e in views} == {0, 1}
        shown = [e.view["frame"] for e in views if e.episode == 0]
        assert shown[0] == 0
        assert shown == sorted(shown)
        assert shown[-1] == 40
        timed = [r for r in side.records if isinstance(r, FrameTimed)]
        assert len(timed) == 80
    assert match.sides[0].frames() == match.sides[1].frames()


class CountingHost(ToyHost):
    """The toy, with a note of every batch: its steps, and after how many of them each view is drawn."""

    def __init__(self, seats: int) -> None:
        super().__init__(seats)
        self.batches: list[tuple[int, list[int]]] = []

    def run(self, batch: list[list[Any]]) -> list[Any]:
        names = [command[0] for command in batch]
        drawn = [names[:place].count("step") for place, name in enumerate(names) if name == "render"]
        self.batches.append((names.count("step"), drawn))
        return super().run(batch)


def test_frames_that_are_simulated_again_are_not_drawn() -> None:
    match = VirtualMatch(seed=48, link=NETWORKS["150 ms 10 %"], env=toy_env(max_steps=150), render=True)
    for side in match.sides:
        side.host = CountingHost(side.host.seats)
    match.run()
    assert finished(match)
    for side in match.sides:
        assert isinstance(side.host, CountingHost)
        deep = [steps for steps, _ in side.host.batches if steps > 2]
        assert len(deep) > 10
        assert side.host.steps > 225
        # One picture per batch, after its last step; of nothing but the newest frame.
        assert [drawn for steps, drawn in side.host.batches if drawn not in ([], [steps])] == []
        assert sum(len(drawn) for _, drawn in side.host.batches) >= 150


def test_a_peer_that_lives_but_never_greets_is_not_waited_for_forever() -> None:
    match = VirtualMatch(seed=21)
    silent = match.sides[0]
    silent.match.peers[1].endpoint.control_to_send()  # its greeting is never sent
    match.run(80.0)
    assert match.sides[1].ended is None
    assert match.sides[1].match.phase is Phase.HANDSHAKING
    match.run(100.0)
    assert match.sides[1].ended is not None
    assert match.sides[1].ended.reason == "partner-gone"


def test_a_pause_of_our_own_beyond_drop_after_does_not_make_the_partner_gone() -> None:
    match = VirtualMatch(seed=22, link=Link(delay=0.03), drop_after=2.0)
    match.run(3.0)  # all have agreed on the settings
    # The partner waits longer: it has nothing to judge but our silence.
    object.__setattr__(match.sides[1].match.plan, "drop_after", 20.0)
    match.sides[0].paused = (4.0, 8.0)
    match.run()
    assert finished(match)
    assert_true_to_what_was_pressed(match)
