"""The input delay while a match runs: by hand, and agreed by all from what the network is like."""

from __future__ import annotations

import pytest
from virtual import Link, Side, VirtualMatch, finished, straight_run, toy_env

from p2pclient.common.frames import pack_seat_input
from p2pclient.match.plan import Phase
from p2pclient.protocol.control import DelayChange
from p2pclient.recorder.records import EventRecorded, FrameTimed

FAR = Link(delay=0.2, jitter=0.01)
NEAR = Link(delay=0.01)


def changes(side: Side, name: str = "input-delay") -> list[dict[str, int]]:
    return [r.details for r in side.records if isinstance(r, EventRecorded) and r.name == name]


def assert_right(match: VirtualMatch) -> None:
    """Both sides recorded the same, and a straight run of the recorded inputs gives the same states."""
    assert finished(match)
    first, *others = [side.frames() for side in match.sides]
    for frames in others:
        assert [(f.inputs, f.checksum) for f in frames] == [(f.inputs, f.checksum) for f in first]
    payloads = [[f.inputs[seat][1:] for f in first] for seat in range(len(match.sides))]
    truth = straight_run(payloads, match.sides[0].match.plan.episode_seed(0), frames=len(first))
    assert [f.checksum for f in first] == truth
    assert len(set(truth)) > 100


def play_until(match: VirtualMatch, frame: int) -> None:
    for step in range(200_000):
        match.run(step / 100)
        side = match.sides[0].match
        if side.phase is Phase.PLAYING and side.episode and side.episode.session.current_frame >= frame:
            return
    raise AssertionError(f"frame {frame} was never played")


@pytest.mark.parametrize("players", [2, 3])
def test_the_delay_goes_up_and_down_in_play_without_a_gap(players: int) -> None:
    match = VirtualMatch(seed=7, players=players, link=Link(delay=0.05, loss=0.05), env=toy_env(players))
    course = [(30, 4), (60, 1), (90, 6), (95, 0), (120, 2)]
    for frame, delay in course:
        play_until(match, frame)
        match.sides[0].match.delays.set(0, delay)
    match.run(120)
    assert_right(match)
    made = changes(match.sides[0])
    assert [(c["from"], c["to"]) for c in made] == [(0, 4), (4, 1), (1, 6), (6, 0), (0, 2)]
    session = match.sides[0].match.episode
    assert session is not None
    left_out = sum(c["left_out"] for c in made)
    assert session.session.discarded == left_out > 0
    assert sum(c["repeated"] for c in made) > 0
    delays = [r.input_delay for r in match.sides[0].records if isinstance(r, FrameTimed)]
    assert delays[20] == 0
    assert delays[-1] == 2
    assert {0, 4, 1, 6, 2} == set(delays)


def test_what_is_pressed_while_the_delay_falls_counts_in_the_next_frame() -> None:
    """Frames that take no sample do not ask the source, so that it still has the press when it is asked again."""
    match = VirtualMatch(seed=7, link=NEAR, input_delay=4)
    play_until(match, 50)
    read = len(match.sides[0].source.pressed)
    match.sides[0].match.delays.set(0, 1)
    play_until(match, 60)
    frames = match.sides[0].match.episode
    assert frames is not None
    assert len(match.sides[0].source.pressed) - read == frames.session.current_frame - 50 - 3


def test_a_bad_network_raises_the_delay_on_both_sides_and_a_good_one_lowers_it() -> None:
    match = VirtualMatch(
        seed=3, link=FAR, rate_hz=60.0, window=6, delay_range=(0, 10), env=toy_env(max_steps=60 * 50), drop_after=30.0
    )
    match.run(10)
    high = [side.match.delays.by_seat for side in match.sides]
    assert 5 <= high[0][0] <= 10
    assert high[0][0] == high[1][1]
    stalls = match.sides[0].match.counters.stalls
    match.run(25)
    assert match.sides[0].match.counters.stalls - stalls < 30  # 15 s at 60 frames; without delay nearly all stall
    for pair in match.links:
        match.links[pair] = NEAR
    match.run(80)
    assert_right(match)
    for own, side in enumerate(match.sides):
        assert side.match.delays.by_seat == {own: 0}
        steps = changes(side)
        assert steps[0]["from"] == 0
        assert steps[-1]["to"] == 0
        agreed = changes(side, "input-delay-agreed")
        assert [c["delay"] for c in agreed] == [c["to"] for c in steps]
    assert changes(match.sides[0], "input-delay-agreed") == changes(match.sides[1], "input-delay-agreed")


def test_a_network_that_is_good_enough_leaves_the_delay_alone() -> None:
    match = VirtualMatch(
        seed=3,
        link=Link(delay=0.04, jitter=0.02, loss=0.02),
        rate_hz=60.0,
        delay_range=(0, 8),
        env=toy_env(max_steps=1800),
    )
    match.run(60)
    assert_right(match)
    assert changes(match.sides[0]) == changes(match.sides[1]) == []


@pytest.mark.parametrize("frames", [-1, 61, 9])
def test_only_delays_that_the_study_allows_are_taken_from_a_peer(frames: int) -> None:
    match = VirtualMatch(seed=3, link=NEAR, delay_range=(0, 8))
    play_until(match, 20)
    match.sides[1].match.delays.receive_change(0, DelayChange(0, 30, 3))
    match.sides[1].match.delays.receive_change(0, DelayChange(0, 30, frames))
    assert [c["delay"] for c in changes_now(match, 1)] == [3]


def test_only_the_one_with_the_lowest_seat_names_a_delay() -> None:
    match = VirtualMatch(seed=3, link=NEAR, delay_range=(0, 8))
    play_until(match, 20)
    match.sides[0].match.delays.receive_change(1, DelayChange(0, 30, 5))
    assert changes_now(match, 0) == []


def test_who_names_delays_without_end_is_heard_as_seldom_as_an_honest_one() -> None:
    match = VirtualMatch(seed=3, link=NEAR, delay_range=(0, 8))
    play_until(match, 60)
    delays = match.sides[1].match.delays
    for number in range(10_000):
        delays.receive_change(0, DelayChange(0, number, number % 9))
    assert len(changes_now(match, 1)) == 2
    match.run(60)
    assert finished(match)
    assert [c["to"] for c in changes(match.sides[1])][:2] == [1, 0]


def test_where_the_delay_is_fixed_nobody_changes_it_from_afar() -> None:
    match = VirtualMatch(seed=3, link=NEAR)
    play_until(match, 20)
    match.sides[1].match.delays.receive_change(0, DelayChange(0, 30, 5))
    assert changes_now(match, 1) == []


def changes_now(match: VirtualMatch, side: int) -> list[dict[str, int]]:
    match.run(match.now + 0.5)
    return changes(match.sides[side], "input-delay-agreed")


@pytest.mark.parametrize("delay", [0, 2])
@pytest.mark.parametrize("players", [2, 3])
def test_in_lockstep_nothing_is_predicted(players: int, delay: int) -> None:
    link = Link(delay=0.05, jitter=0.03, loss=0.1)
    match = VirtualMatch(seed=2, players=players, link=link, window=0, input_delay=delay, env=toy_env(players))
    match.run(240)
    assert finished(match)
    for side in match.sides:
        assert side.match.counters.rollbacks == 0
        assert side.match.counters.stalls > 0
        assert len(side.frames()) == 200
    pressed = [side.source.pressed for side in match.sides]
    inputs = [[b"\x00"] * delay + keys for keys in pressed]
    truth = straight_run(inputs, match.sides[0].match.plan.episode_seed(0), frames=200)
    assert all([f.checksum for f in side.frames()] == truth for side in match.sides)
    assert match.sides[0].frames()[delay].inputs[0] == pack_seat_input(pressed[0][0], focused=True)


def test_in_lockstep_without_the_others_inputs_the_first_frame_waits() -> None:
    match = VirtualMatch(seed=2, link=NEAR, window=0)
    match.run(0.5)
    assert match.sides[0].match.phase is Phase.PLAYING
    match.sides[1].paused = (match.now, match.now + 2.0)
    match.run(match.now + 0.2)
    episode = match.sides[0].match.episode
    assert episode is not None
    before, read = episode.session.current_frame, len(match.sides[0].source.pressed)
    match.run(match.now + 1.0)
    assert episode.session.current_frame == before
    assert len(match.sides[0].source.pressed) == read
    match.run(60)
    assert finished(match)


def test_setting_the_delay_that_there_is_changes_nothing_and_is_no_event() -> None:
    match = VirtualMatch(seed=3, link=NEAR, input_delay=2)
    play_until(match, 20)
    match.sides[0].match.delays.set(0, 2)
    assert changes(match.sides[0]) == []
    match.sides[0].match.delays.set(0, 3)
    assert changes(match.sides[0]) == []  # not before the next tick hands it out
    match.run(match.now + 0.2)
    assert changes(match.sides[0]) == [{"seat": 0, "from": 2, "to": 3, "repeated": 1, "left_out": 0}]


def test_a_change_for_a_frame_that_never_comes_takes_effect_as_the_next_episode_begins() -> None:
    match = VirtualMatch(seed=3, link=NEAR, delay_range=(0, 8), episodes=2, env=toy_env(max_steps=60))
    play_until(match, 40)
    for side in match.sides:
        side.match.delays.receive_change(0, DelayChange(0, 500, 2))
    match.run(120)
    assert finished(match)
    for side in match.sides:
        made = [r for r in side.records if isinstance(r, EventRecorded) and r.name == "input-delay"]
        assert (made[0].episode, made[0].frame, made[0].details["to"]) == (1, 0, 2)
        delays = [(r.episode, r.input_delay) for r in side.records if isinstance(r, FrameTimed)]
        assert delays[:60] == [(0, 0)] * 60
        assert delays[60] == (1, 2)


def test_a_change_lies_far_enough_ahead_to_be_made_by_all_at_the_same_frame() -> None:
    match = VirtualMatch(
        seed=3, link=FAR, rate_hz=60.0, window=6, delay_range=(2, 10), input_delay=2, env=toy_env(max_steps=600)
    )
    match.run(120)
    assert finished(match)
    made = [
        [(r.frame, r.details["to"]) for r in side.records if isinstance(r, EventRecorded) and r.name == "input-delay"]
        for side in match.sides
    ]
    assert made[0] == made[1]
    assert made[0]
    for side in match.sides:
        agreed = changes(side, "input-delay-agreed")
        assert [(c["frame"], c["delay"]) for c in agreed] == made[0]


def test_the_largest_wish_holds_for_all() -> None:
    match = VirtualMatch(
        seed=3, players=3, link=NEAR, rate_hz=60.0, window=6, delay_range=(0, 10), env=toy_env(3, max_steps=1200)
    )
    match.links[1, 2] = match.links[2, 1] = Link(delay=0.2)
    match.run(8)
    assert [side.match.delays.longest for side in match.sides] == [match.sides[2].match.delays.longest] * 3
    assert match.sides[0].match.delays.longest >= 5


def test_the_wish_of_who_is_gone_holds_for_nobody() -> None:
    far = Link(delay=0.2)
    match = VirtualMatch(
        seed=3,
        players=3,
        link=NEAR,
        rate_hz=60.0,
        window=6,
        delay_range=(0, 10),
        env=toy_env(3, max_steps=3600),
        on_drop="go-on",
        drop_after=3.0,
    )
    for pair in ((0, 2), (2, 0), (1, 2), (2, 1)):
        match.links[pair] = far
    match.run(8)
    assert match.sides[0].match.delays.longest >= 5
    match.sides[2].dead_from = match.now
    match.run(40)
    assert 2 not in match.sides[0].match.peers
    assert [side.match.delays.longest for side in match.sides[:2]] == [0, 0]


def test_a_delay_below_what_the_study_allows_is_not_taken() -> None:
    match = VirtualMatch(seed=3, link=NEAR, delay_range=(2, 8), input_delay=2)
    play_until(match, 20)
    match.sides[1].match.delays.receive_change(0, DelayChange(0, 30, 1))
    assert changes_now(match, 1) == []


def test_a_wish_is_told_once_and_not_in_every_look() -> None:
    match = VirtualMatch(seed=3, link=Link(delay=0.04), rate_hz=60.0, delay_range=(0, 8), env=toy_env(max_steps=1200))
    match.run(15)
    told = match.sides[0].match.counters.control_sent
    match.run(19)
    assert match.sides[0].match.counters.control_sent == told
    match.run(60)
    assert_right(match)
