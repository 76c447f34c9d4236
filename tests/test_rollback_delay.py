"""Which input delay is wished for, and how slowly that changes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random

import pytest

from p2pclient.common.errors import ConfigurationError
from p2pclient.rollback.delay import DelayChooser
from tests.rollback_play import play_match

FRAME = 1 / 60
MS = 1e-3


@dataclass
class Network:
    """What is measured of it, and the host."""

    rtt: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    step: float = 0.0
    window: int = 8


def make_chooser(lowest: int = 0, highest: int = 20, *, frame: float = FRAME, window: int = 8) -> DelayChooser:
    return DelayChooser(lowest, highest, frame=frame, window=window)


def look(chooser: DelayChooser, network: Network, *, start: float, seconds: float) -> list[int]:
    """Look at the network four times a second; return the wishes."""
    return [
        chooser.wish(
            rtt=network.rtt,
            jitter=network.jitter,
            loss=network.loss,
            step_seconds=network.step,
            window=network.window,
            now=start + look / 4,
        )
        for look in range(int(seconds * 4) + 1)
    ]


def settle(network: Network, *, frame: float = FRAME, window: int = 8, highest: int = 20) -> int:
    return look(make_chooser(frame=frame, window=window, highest=highest), network, start=0.0, seconds=60.0)[-1]


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (Network(rtt=2 * MS), 0),  # a cable: nothing to do
        (Network(rtt=80 * MS), 0),  # 2.4 frames late: the window takes them
        (Network(rtt=230 * MS), 0),  # 6.9 frames: the window of 8 still does, with its frame of reserve
        (Network(rtt=300 * MS), 2),  # 9 frames
        (Network(rtt=500 * MS), 8),  # 15 frames
        (Network(rtt=300 * MS, jitter=25 * MS), 5),  # 3 frames more at the 99th percentile
        (Network(rtt=300 * MS, loss=0.1), 3),  # one lost datagram more
        (Network(rtt=300 * MS, loss=0.01), 2),  # losses so rare do not count
        (Network(rtt=269 * MS, loss=0.001), 2),  # and do not make it better either
        (Network(rtt=300 * MS, loss=1.0), 8),  # as if half were lost
        (Network(rtt=300 * MS, window=4), 6),  # the budget narrowed the window
        (Network(rtt=300 * MS, window=20), 2),  # never more than what was configured
    ],
)
def test_the_smallest_delay_is_chosen_that_leaves_rollbacks_a_frame_short_of_the_window(
    network: Network, expected: int
) -> None:
    assert settle(network) == expected


@pytest.mark.parametrize(("step", "expected"), [(0.5, 0), (1.0, 0), (1.5, 0), (2.5, 3), (4.0, 4), (9.0, 5), (20.0, 5)])
def test_simulating_again_costs_at_most_half_of_the_frame(step: float, expected: int) -> None:
    delay = settle(Network(rtt=160 * MS, step=step * MS))  # 4.8 frames late
    assert delay == expected
    left = max(0.0, 4.8 - delay)
    assert (left + 1) * step * MS <= 0.5 * FRAME + step * MS or delay == 5


def test_at_a_slower_rate_the_same_network_needs_fewer_frames() -> None:
    assert settle(Network(rtt=500 * MS), frame=1 / 15) == 0
    assert settle(Network(rtt=500 * MS), frame=1 / 30) == 0
    assert settle(Network(rtt=500 * MS), frame=1 / 60) == 8


def test_in_lockstep_the_delay_covers_all_that_is_under_way_and_a_frame_of_reserve() -> None:
    assert settle(Network(rtt=80 * MS, window=0, step=9 * MS), window=0) == 4  # 2.4 frames
    assert settle(Network(window=0), window=0) == 1


def test_the_wish_stays_within_what_is_allowed() -> None:
    assert settle(Network(rtt=2.0), highest=6) == 6
    chooser = make_chooser(3, 6)
    assert set(look(chooser, Network(rtt=2 * MS), start=0.0, seconds=60.0)) == {3}
    assert set(look(make_chooser(4, 4), Network(rtt=2.0), start=0.0, seconds=60.0)) == {4}


@pytest.mark.parametrize(("lowest", "highest"), [(-1, 3), (4, 3)])
def test_a_range_that_cannot_be_is_refused(lowest: int, highest: int) -> None:
    with pytest.raises(ConfigurationError, match="input delay"):
        make_chooser(lowest, highest)


def test_nothing_is_decided_before_the_round_trip_is_known() -> None:
    chooser = make_chooser(2, 9)
    for now in range(100):
        assert chooser.wish(rtt=None, jitter=0.0, loss=0.9, step_seconds=1.0, window=1, now=now) == 2


def test_it_goes_up_after_a_second_and_down_after_ten() -> None:
    chooser = make_chooser()
    slow, fast = Network(rtt=500 * MS), Network(rtt=20 * MS)
    assert look(chooser, slow, start=0.0, seconds=2.0) == [0] * 4 + [8] * 5
    assert look(chooser, fast, start=10.0, seconds=12.0) == [8] * 40 + [0] * 9


def test_a_short_disturbance_changes_nothing() -> None:
    chooser = make_chooser()
    look(chooser, Network(rtt=400 * MS), start=0.0, seconds=30.0)
    for start in range(100, 200, 10):
        assert set(look(chooser, Network(rtt=1.5), start=start, seconds=0.75)) == {5}
        assert set(look(chooser, Network(rtt=400 * MS), start=start + 1, seconds=8.0)) == {5}
    for start in range(200, 400, 12):
        assert set(look(chooser, Network(rtt=20 * MS), start=start, seconds=9.0)) == {5}
        assert set(look(chooser, Network(rtt=400 * MS), start=start + 10, seconds=1.0)) == {5}


def test_it_goes_as_far_as_all_of_the_evidence_says_and_no_further() -> None:
    chooser = make_chooser()
    rtts = [600, 500, 700, 550, 900]
    wishes = [look(chooser, Network(rtt=rtt * MS), start=n / 4, seconds=0.0)[0] for n, rtt in enumerate(rtts)]
    assert wishes == [0, 0, 0, 0, 8]  # 500 ms all the time
    for n in range(41):
        rtt = 300 if n == 17 else 100
        wish = look(chooser, Network(rtt=rtt * MS), start=10 + n / 4, seconds=0.0)[0]
    assert wish == 2  # what 300 ms need


def test_every_move_needs_evidence_of_its_own() -> None:
    chooser = make_chooser()
    wishes = [
        look(chooser, Network(rtt=rtt * MS), start=n / 4, seconds=0.0)[0] for n, rtt in enumerate([500, *[900] * 9])
    ]
    assert wishes == [0] * 4 + [8] * 5 + [20]


def test_time_in_which_the_delay_was_just_right_is_no_evidence_for_less() -> None:
    chooser = make_chooser()
    look(chooser, Network(rtt=400 * MS), start=0.0, seconds=30.0)  # 12 frames late: 5
    assert set(look(chooser, Network(rtt=390 * MS), start=40.0, seconds=5.0)) == {5}
    assert look(chooser, Network(rtt=100 * MS), start=45.25, seconds=10.0) == [5] * 40 + [0]


def test_less_than_a_whole_frame_changes_nothing() -> None:
    chooser = make_chooser()
    look(chooser, Network(rtt=400 * MS), start=0.0, seconds=30.0)  # 12 frames late: 5
    for frames in (11.1, 12.9):
        assert set(look(chooser, Network(rtt=2 * frames * FRAME), start=100.0, seconds=60.0)) == {5}
    assert look(chooser, Network(rtt=2 * 13.01 * FRAME), start=200.0, seconds=60.0)[-1] == 7


@pytest.mark.parametrize("seed", range(6))
def test_a_network_that_wavers_does_not_make_the_delay_swing(seed: int) -> None:
    draw, chooser, wishes = Random(seed), make_chooser(), []
    rtt = 330 * MS + seed * 6 * MS
    for look_number in range(4 * 600):
        now = look_number / 4
        wishes.append(
            chooser.wish(
                rtt=rtt + draw.gauss(0, 4 * MS),
                jitter=8 * MS + draw.gauss(0, 1 * MS),
                loss=draw.choice([0.0, 0.01, 0.02, 0.03]),
                step_seconds=0.3 * MS,
                window=8,
                now=now,
            )
        )
    changes = sum(a != b for a, b in pairwise(wishes))
    assert wishes[-1] > 0
    assert changes <= 3  # in ten minutes


def test_it_follows_a_network_that_really_changes() -> None:
    chooser, start, seen = make_chooser(), 0.0, []
    for rtt in (100, 400, 200, 600, 100):
        seen.append(look(chooser, Network(rtt=rtt * MS), start=start, seconds=30.0)[-1])
        start += 31.0
    assert seen == [0, 5, 0, 11, 0]


# -- in play, together with the budget --------------------------------------------------------------------------------


@pytest.mark.parametrize(("delay", "step"), [(0.1, 2.6), (0.05, 3.4), (0.1, 6.0), (0.15, 1.5)])
def test_where_the_budget_alone_would_slow_play_down_the_delay_keeps_the_rate(delay: float, step: float) -> None:
    costs = {"seconds": 30.0, "delay": delay, "step": step * MS, "save": 0.2 * MS, "budgeted": True}
    nominal = 30 * 60
    assert all(side.session.current_frame < 0.9 * nominal for side in play_match(**costs))
    for side in play_match(**costs, highest=15):
        assert side.session.current_frame > 0.93 * nominal  # the first second or two are slow
        assert not any(side.late[180:])
        changes = sum(a != b for a, b in pairwise(side.delays))
        assert 1 <= changes <= 4
        assert side.session.discarded == sum(max(0, a - b) for a, b in pairwise(side.delays))


def test_a_delay_that_the_network_does_not_need_is_not_added_in_play() -> None:
    for side in play_match(seconds=30.0, delay=0.03, step=0.5 * MS, save=0.1 * MS, budgeted=True, highest=15):
        assert set(side.delays) == {0}
        assert max(side.depths) > 0


@pytest.mark.parametrize("step_seconds", [0.0, 0.0001])
def test_a_rollback_stays_a_frame_short_of_the_window_whether_steps_are_known_or_not(step_seconds: float) -> None:
    chooser = DelayChooser(0, 10, frame=1 / 60, window=4)
    wish = 0
    for tick in range(120):
        wish = chooser.wish(rtt=8.0 / 60, jitter=0.0, loss=0.0, step_seconds=step_seconds, window=4, now=tick / 60)
    assert wish == 1
