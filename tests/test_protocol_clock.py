"""Two clocks that are told by the stamps of datagrams: whatever the network does, the truth is within the bound."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_rig import make_pair, raw, transfer

from p2pclient.protocol.clock import CLOCK_RANGE, DRIFT, PeerClock
from p2pclient.protocol.datagram import TIME_UNIT

SLACK = 1e-9
"""Rounding of the tests' own sums."""


@dataclass
class Clocks:
    """Our clock and theirs, of which the world's time is the truth."""

    ours: float
    theirs: float
    rate: float = 1.0
    """Of theirs against ours, which is the world's."""

    def here(self, now: float) -> float:
        return self.ours + now

    def there(self, now: float) -> float:
        return self.theirs + now * self.rate


def stamp(seconds: float) -> int:
    return int(seconds / TIME_UNIT) & 0xFFFF


def exchange(clock: PeerClock, clocks: Clocks, left: float, *, out: float, held: float, back: float) -> float:
    """One exchange that begins at ``left``, all in the world's time; returns when it is over."""
    heard, answered = left + out, left + out + held
    arrived = answered + back
    clock.take(
        sent=stamp(clocks.there(answered)),
        echo=stamp(clocks.here(left)),
        held=int((clocks.there(answered) - clocks.there(heard)) / TIME_UNIT),
        now=clocks.here(arrived),
    )
    return arrived


def error(clock: PeerClock, clocks: Clocks, now: float) -> tuple[float, float]:
    """How wrong the estimate is at ``now``, and how wrong it says it may be."""
    known = clock.estimate(now=clocks.here(now))
    assert known is not None
    wrong = known.offset - (clocks.there(now) - clocks.here(now))
    return abs(wrong - CLOCK_RANGE * round(wrong / CLOCK_RANGE)), known.bound


starts = st.floats(0, 5e6)
delays = st.floats(0, 0.4)
exchanges = st.lists(st.tuples(st.floats(0.001, 3.0), delays, st.floats(0, 0.3), delays), min_size=1, max_size=40)


@settings(max_examples=300)
@given(starts, starts, st.floats(-1000, 1000), exchanges)
def test_the_truth_is_within_the_bound_however_unequal_the_ways_are_and_the_clocks_drift(
    ours: float, theirs: float, ppm: float, times: list[tuple[float, float, float, float]]
) -> None:
    # The clock that is compared with is ours, which may itself be the slower one.
    clocks, clock, now = Clocks(ours, theirs, 1 + ppm * 0.999e-6), PeerClock(), 1.0
    for pause, out, held, back in times:
        now = exchange(clock, clocks, now + pause, out=out, held=held, back=back)
        for later in (0.0, 2.0, 60.0):
            wrong, bound = error(clock, clocks, now + later)
            assert wrong <= bound + SLACK
    assert clock.jumps == 0


@settings(max_examples=100)
@given(starts, starts, delays, delays, st.floats(0, 0.3))
def test_one_exchange_bounds_the_truth_by_half_its_round_trip(
    ours: float, theirs: float, out: float, back: float, held: float
) -> None:
    clocks, clock = Clocks(ours, theirs), PeerClock()
    now = exchange(clock, clocks, 1.0, out=out, held=held, back=back)
    _, bound = error(clock, clocks, now)
    assert (out + back) / 2 - SLACK <= bound
    # Half a unit each of the stamps and of the time that it was held; and what may have drifted since.
    assert bound <= (out + back) / 2 + TIME_UNIT * 1.5 + DRIFT * (out + back + held) + 2e-6


def test_the_quickest_way_there_and_the_quickest_way_back_need_not_belong_together() -> None:
    clocks, clock = Clocks(10.0, 4000.0), PeerClock()
    exchange(clock, clocks, 1.0, out=0.001, held=0.0, back=0.080)
    now = exchange(clock, clocks, 1.1, out=0.080, held=0.0, back=0.001)
    wrong, bound = error(clock, clocks, now)
    assert wrong <= bound < 0.002


def test_the_bound_grows_with_the_time_since_the_best_exchange_until_nothing_is_known() -> None:
    clocks, clock = Clocks(10.0, 4000.0), PeerClock()
    now = exchange(clock, clocks, 1.0, out=0.001, held=0.0, back=0.001)
    bounds = [error(clock, clocks, now + later)[1] for later in (0.0, 1.0, 100.0)]
    assert bounds[1] - bounds[0] == pytest.approx(DRIFT)
    assert bounds[2] - bounds[0] == pytest.approx(100 * DRIFT)
    assert clock.estimate(now=clocks.here(now + 3_000.0)) is None
    # A worse exchange takes the place of the old one only when it says more.
    later = exchange(clock, clocks, now + 0.1, out=0.05, held=0.0, back=0.05)
    assert error(clock, clocks, later)[1] < 0.003
    later = exchange(clock, clocks, now + 200.0, out=0.05, held=0.0, back=0.05)
    later = exchange(clock, clocks, later + 1.5, out=0.05, held=0.0, back=0.05)
    assert 0.05 < error(clock, clocks, later)[1] < 0.06


@settings(max_examples=200)
@given(st.floats(-100, 100), exchanges, exchanges)
def test_after_a_jump_the_truth_is_within_the_bound_again(
    jump: float,
    before: list[tuple[float, float, float, float]],
    after: list[tuple[float, float, float, float]],
) -> None:
    clocks, clock, now = Clocks(77.0, 1234.5), PeerClock(), 1.0
    for pause, out, held, back in before:
        now = exchange(clock, clocks, now + pause, out=out, held=held, back=back)
    _, width = error(clock, clocks, now)
    clocks.theirs += jump
    jumped = now
    for pause, out, held, back in after:
        now = exchange(clock, clocks, now + pause, out=out, held=held, back=back)
        wrong, bound = error(clock, clocks, now)
        # One that fits into what was known before cannot be seen; it is over when the bound has grown by as much.
        size = abs(jump - CLOCK_RANGE * round(jump / CLOCK_RANGE))
        if size > 2 * width + out + back + 0.01 + 2 * DRIFT * (now - jumped):
            assert clock.jumps >= 1
            assert wrong <= bound + SLACK
        elif now - jumped > size / DRIFT:
            assert wrong <= bound + SLACK


def test_a_jump_that_is_seen_is_forgotten_nothing_of() -> None:
    clocks, clock = Clocks(10.0, 4000.0), PeerClock()
    now = exchange(clock, clocks, 1.0, out=0.01, held=0.0, back=0.01)
    clocks.theirs += 3.0
    now = exchange(clock, clocks, now + 0.1, out=0.01, held=0.0, back=0.01)
    wrong, bound = error(clock, clocks, now)
    assert (clock.jumps, wrong <= bound) == (1, True)
    assert bound < 0.012


def test_what_was_held_up_longer_than_stamps_last_is_not_believed() -> None:
    clocks, clock = Clocks(10.0, 4000.0), PeerClock()
    now = 1.0
    for _ in range(60):
        now = exchange(clock, clocks, now + 0.01, out=0.02, held=0.01, back=0.02)
    # All their datagrams of 20 s arrive in one go.
    end = now + 20.0
    arrivals = [now + 0.016 * number for number in range(1, 1240)]
    for left in arrivals:
        exchange(clock, clocks, left, out=0.02, held=0.001, back=end - left - 0.021)
        wrong, bound = error(clock, clocks, end)
        assert wrong <= bound + SLACK
    now = exchange(clock, clocks, end + 1.5, out=0.02, held=0.0, back=0.02)
    wrong, bound = error(clock, clocks, now)
    assert wrong <= bound + SLACK
    assert clock.jumps == 0


words = st.integers(0, 0xFFFF)


@settings(max_examples=200)
@given(st.lists(st.tuples(words, words, words, st.floats(0, 30)), max_size=60))
def test_whatever_a_peer_claims_what_comes_out_is_a_difference_within_the_range(
    claims: list[tuple[int, int, int, float]],
) -> None:
    clock, now = PeerClock(), 0.0
    for sent, echo, held, pause in claims:
        now += pause
        clock.take(sent=sent, echo=echo, held=held, now=now)
        known = clock.estimate(now=now)
        if known is not None:
            assert abs(known.offset) <= CLOCK_RANGE / 2
            assert 0 < known.bound <= CLOCK_RANGE / 8 + 1e-3
    # It is forgotten as soon as the peer tells the truth again, after the time in which nothing is believed.
    clocks = Clocks(0.0, 3.25)
    for number in range(8):
        end = exchange(clock, clocks, now + 5 + number * 0.7, out=0.01, held=0.0, back=0.01)
    wrong, bound = error(clock, clocks, end)
    assert wrong <= bound + SLACK


def test_endpoints_tell_each_others_clocks_by_their_datagrams() -> None:
    ours, theirs = make_pair()
    ahead = 5.5
    now = 100.0
    for _ in range(20):
        ours_sent = ours.datagrams_to_send(now=now)
        for data in ours_sent:
            theirs.receive_datagram(data, now=now + 0.003 + ahead)
        for data in theirs.datagrams_to_send(now=now + 0.010 + ahead):
            ours.receive_datagram(data, now=now + 0.014)
        now += 1 / 60
    here, there = ours.clock.estimate(now=now), theirs.clock.estimate(now=now + ahead)
    assert here is not None
    assert there is not None
    assert abs(here.offset - ahead) <= here.bound < 0.005
    assert abs(there.offset + ahead) <= there.bound < 0.005


def test_a_datagram_without_an_echo_or_held_for_too_long_to_tell_says_nothing_of_the_clock() -> None:
    ours, theirs = make_pair()
    transfer(theirs, ours, now=100.0)
    ours.receive_datagram(raw(sent=5, echo=3, held=0xFFFF, sequence=9), now=101.0)
    assert ours.clock.estimate(now=101.0) is None


def test_when_inputs_arrived_is_kept_for_this_episode_only_and_never_grows_without_bound() -> None:
    ours, theirs = make_pair()
    for frame in range(600):
        theirs.queue_input(frame, b"\x00\x01")
        ours.limit = frame + 10
        transfer(theirs, ours, now=frame / 60)
        transfer(ours, theirs, now=frame / 60)
    assert list(ours.arrivals) == [(frame, frame / 60) for frame in range(600 - 256, 600)]
    ours.begin_episode(1)
    assert not ours.arrivals
