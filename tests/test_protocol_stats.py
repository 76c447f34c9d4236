"""What an endpoint knows of its connection: loss, order, round trips and their scatter, and what went each way."""

from __future__ import annotations

import random
from statistics import mean

import msgspec
import pytest

from p2pclient.protocol.control import Leave
from p2pclient.protocol.datagram import decode_datagram, encode_datagram
from p2pclient.protocol.endpoint import Endpoint, EndpointConfig
from p2pclient.protocol.stats import RECENT, EndpointStats

FRAME = 1 / 60


def make_endpoint(*, connection: int = 1) -> Endpoint:
    return Endpoint(EndpointConfig(connection, 1, (1,), lambda seat, value: True), now=0.0)


def converse(
    count: int, *, carry: list[tuple[float, int]] | None = None, delay: float = 0.02, idle: bool = False
) -> tuple[Endpoint, Endpoint]:
    """Let one send ``count`` datagrams, one a frame; ``carry`` says when which of them arrive."""
    one, other = make_endpoint(), make_endpoint()
    sent = []
    for number in range(count):
        sent += one.datagrams_to_send(now=number * FRAME, idle=idle)
    for when, number in carry if carry is not None else [(n * FRAME + delay, n) for n in range(count)]:
        other.receive_datagram(sent[number], now=when)
    return one, other


def figures(endpoint: Endpoint) -> tuple[int, int, int]:
    return endpoint.stats.lost, endpoint.stats.duplicates, endpoint.stats.reordered


# -- loss, duplicates, order -------------------------------------------------------------------------------------


def test_before_anything_arrived_nothing_is_known() -> None:
    stats = EndpointStats()
    assert (stats.loss, stats.lost, stats.rtt, stats.srtt, stats.jitter) == (0.0, 0, None, None, None)


def test_all_in_order_is_no_loss_however_often_the_number_wraps() -> None:
    _, other = converse(1000)
    assert other.stats.datagrams_received == 1000
    assert figures(other) == (0, 0, 0)
    assert other.stats.loss == 0.0


def test_every_fourth_missing_is_a_loss_of_a_quarter() -> None:
    _, other = converse(801, carry=[(n * FRAME, n) for n in range(801) if n % 4 != 3])
    assert figures(other) == (200, 0, 0)
    assert other.stats.loss == 0.25


def test_few_datagrams_are_a_whole() -> None:
    _, other = converse(4, carry=[(0.0, 0), (0.1, 3)])
    assert other.stats.loss == 0.5
    assert other.stats.lost == 2


def test_late_ones_are_reordered_and_not_lost() -> None:
    _, other = converse(5, carry=[(0.2, n) for n in (0, 3, 4, 1, 2)])
    assert figures(other) == (0, 0, 2)
    assert other.stats.loss == 0.0


def test_doubled_ones_are_counted_once_whether_at_once_or_late() -> None:
    _, other = converse(6, carry=[(0.2, n) for n in (0, 0, 1, 3, 1, 5, 3, 3)])
    assert figures(other) == (2, 4, 0)
    assert other.stats.loss == pytest.approx(2 / 6)


def test_one_from_before_the_first_that_was_heard_is_late_and_was_not_missed() -> None:
    _, other = converse(6, carry=[(0.2, n) for n in (4, 1, 5)])
    assert figures(other) == (0, 0, 1)
    assert other.stats.loss == 0.0


def test_one_that_is_older_than_the_recent_ones_changes_no_loss() -> None:
    _, other = converse(200, carry=[(5.0, n) for n in (*range(1, 200), 0)])
    assert figures(other) == (0, 0, 1)
    _, other = converse(200, carry=[(5.0, n) for n in (0, *range(2, 200), 1)])
    assert figures(other) == (1, 0, 1)  # too late to be told from a copy
    assert other.stats.loss == 0.0


def test_old_losses_leave_the_recent_share() -> None:
    carried = [(n * FRAME, n) for n in range(400) if not 50 <= n < 100]
    _, other = converse(400, carry=carried)
    assert other.stats.lost == 50
    assert other.stats.loss == 0.0
    _, other = converse(100 + RECENT - 1, carry=carried[: 49 + RECENT])
    assert other.stats.loss == pytest.approx(1 / RECENT)


def test_an_outage_of_exactly_one_round_of_numbers_is_seen() -> None:
    _, other = converse(400, carry=[(n * FRAME, n) for n in (*range(10), *range(9 + 256, 400))])
    assert other.stats.lost == 255
    assert other.stats.loss == 0.0


def test_after_a_long_outage_what_comes_is_the_newest_though_its_number_looks_old() -> None:
    outage = range(10, 10 + 200)
    _, other = converse(400, carry=[(n * FRAME, n) for n in range(400) if n not in outage])
    assert other.stats.reordered == 0
    assert other.stats.lost == 200
    assert other.peer_lead is None


def test_datagrams_sent_in_one_moment_are_ordered_by_their_numbers() -> None:
    one, other = make_endpoint(), make_endpoint()
    sent = []
    for lead in range(4):
        one.lead = float(lead)
        sent += one.datagrams_to_send(now=1.0)
    for number in (0, 2, 1, 3, 2):
        other.receive_datagram(sent[number], now=1.1)
    assert figures(other) == (0, 1, 1)
    assert other.peer_lead == 3.0


@pytest.mark.parametrize("chance", [0.01, 0.05, 0.15])
def test_random_loss_is_measured(chance: float) -> None:
    noise = random.Random(3)
    one, other = make_endpoint(), make_endpoint()
    arrived, shares = 0, []
    for number in range(6000):
        (data,) = one.datagrams_to_send(now=number * FRAME)
        if noise.random() >= chance:
            other.receive_datagram(data, now=number * FRAME + 0.03)
            arrived = number + 1
            shares.append(other.stats.loss)
    assert other.stats.lost == arrived - other.stats.datagrams_received
    assert mean(shares) == pytest.approx(chance, rel=0.25)


def test_what_another_match_or_a_stranger_sends_is_no_datagram_of_the_peer() -> None:
    one, other = converse(3)
    stranger = make_endpoint(connection=2)
    for _ in range(100):
        other.receive_datagram(stranger.datagrams_to_send(now=0.1)[0], now=0.1)
        other.receive_datagram(b"\x20garbage", now=0.1)
    other.receive_datagram(one.datagrams_to_send(now=0.2)[0], now=0.2)
    assert figures(other) == (0, 0, 0)
    assert other.stats.datagrams_received == 204


def test_a_new_episode_does_not_begin_the_numbers_anew() -> None:
    one, other = make_endpoint(), make_endpoint()
    for number in range(60):
        if number == 20:
            one.begin_episode(1)
        if number == 40:
            other.begin_episode(1)
        (data,) = one.datagrams_to_send(now=number * FRAME)
        if number % 10 != 5:
            other.receive_datagram(data, now=number * FRAME)
    assert other.drops == {"other-episode": 18}
    assert figures(other) == (6, 0, 0)


# -- times -------------------------------------------------------------------------------------------------------


def play(ways: list[tuple[float, float]], *, copies: int = 1) -> Endpoint:
    """Let two exchange a datagram a frame, with these delays there and back; return the one who measures."""
    one, other = make_endpoint(), make_endpoint()
    under_way: list[tuple[float, Endpoint, bytes]] = []
    for number, (there, back) in enumerate(ways):
        now = number * FRAME
        for when, receiver, data in sorted((u for u in under_way if u[0] <= now), key=lambda u: u[0]):
            receiver.receive_datagram(data, now=when)
        under_way = [u for u in under_way if u[0] > now]
        for sender, receiver, delay in ((one, other, there), (other, one, back)):
            (data,) = sender.datagrams_to_send(now=now)
            under_way += [(now + delay + 0.4 * c, receiver, data) for c in range(copies)]
    return one


def test_steady_round_trips_are_smooth() -> None:
    stats = play([(0.030, 0.050)] * 300).stats
    assert stats.rtt == pytest.approx(0.080, abs=0.001)
    assert stats.srtt == pytest.approx(0.080, abs=0.001)
    assert stats.jitter == pytest.approx(0.0, abs=0.001)


def test_the_first_round_trip_counts_whole() -> None:
    stats = EndpointStats()
    stats.take_rtt(0.08)
    assert (stats.rtt, stats.srtt, stats.jitter) == (0.08, 0.08, 0.04)


def test_a_step_is_followed_within_a_second_and_one_outlier_hardly_moves_anything() -> None:
    stats = EndpointStats()
    for _ in range(200):
        stats.take_rtt(0.05)
    stats.take_rtt(0.45)
    assert stats.rtt == 0.45
    assert stats.srtt == pytest.approx(0.05, abs=0.03)
    for _ in range(60):
        stats.take_rtt(0.15)
    assert stats.srtt == pytest.approx(0.15, abs=0.005)


def test_scatter_of_the_ways_is_the_jitter() -> None:
    noise = random.Random(9)
    ways = [(0.05 + noise.uniform(-0.02, 0.02), 0.05 + noise.uniform(-0.02, 0.02)) for _ in range(600)]
    stats = play(ways).stats
    assert stats.srtt == pytest.approx(0.1, abs=0.015)
    assert stats.jitter is not None
    # Mean distance of the sum of two such ways from its mean is 13 ms.
    assert 0.006 < stats.jitter < 0.025


def test_a_late_copy_tells_no_time() -> None:
    stats = play([(0.03, 0.03)] * 200, copies=2).stats
    assert stats.duplicates > 100
    assert stats.srtt == pytest.approx(0.06, abs=0.001)


# -- what went each way ------------------------------------------------------------------------------------------


def test_what_is_sent_is_counted_by_kind() -> None:
    one, other = make_endpoint(), make_endpoint()
    sizes = []
    for frame in range(10):
        one.queue_input(frame, b"\x01")
        (data,) = one.datagrams_to_send(now=frame * FRAME)
        sizes.append(len(data))
        other.receive_datagram(data, now=frame * FRAME)
    assert one.datagrams_to_send(now=0.2, idle=True) == []
    (alive,) = one.datagrams_to_send(now=1.0, idle=True)
    other.receive_datagram(alive, now=1.0)
    one.queue_control(Leave("left"))
    (control,) = one.control_to_send()
    other.receive_control(control, now=1.0)
    (answer,) = other.control_to_send()
    one.receive_control(answer, now=1.0)
    stats = one.stats
    assert (stats.inputs_sent, stats.input_bytes_sent) == (10, sum(sizes))
    assert (stats.keep_alives_sent, stats.keep_alive_bytes_sent) == (1, len(alive))
    assert (stats.datagrams_sent, stats.bytes_sent) == (11, sum(sizes) + len(alive))
    assert (stats.control_sent, stats.control_bytes_sent) == (1, len(control))
    assert (stats.control_received, stats.control_bytes_received) == (1, len(answer))
    assert (other.stats.datagrams_received, other.stats.bytes_received) == (11, sum(sizes) + len(alive))
    assert (other.stats.control_received, other.stats.control_bytes_received) == (1, len(control))
    assert other.stats.control_sent == 1


def test_dropped_ones_are_received_too() -> None:
    one = make_endpoint()
    one.receive_datagram(b"garbage", now=0.0)
    one.receive_control(b"waste", now=0.0)
    assert (one.stats.datagrams_received, one.stats.bytes_received) == (1, 7)
    assert (one.stats.control_received, one.stats.control_bytes_received) == (1, 5)


def test_every_datagram_has_the_next_number() -> None:
    one = make_endpoint()
    numbers = [decode_datagram(one.datagrams_to_send(now=n / 10)[0], width=1).sequence for n in range(600)]
    assert numbers == [n % 256 for n in range(600)]


def test_numbers_that_make_no_sense_are_only_counted() -> None:
    """The number decides nothing: what a datagram carries is taken whatever it says."""
    noise = random.Random(4)
    one, other = make_endpoint(), make_endpoint()
    for frame in range(2000):
        one.queue_input(frame, bytes([frame % 251]))
        other.limit = frame + 2
        (data,) = one.datagrams_to_send(now=frame * FRAME)
        message = msgspec.structs.replace(decode_datagram(data, width=1), sequence=noise.randrange(256))
        other.receive_datagram(encode_datagram(message), now=frame * FRAME)
        one.receive_datagram(other.datagrams_to_send(now=frame * FRAME)[0], now=frame * FRAME)
        assert other.newest_heard == frame
        assert len(other.take_events()) == 1
    assert not other.drops
    assert 0.0 <= other.stats.loss <= 1.0
    assert other.stats.lost >= 0
