"""One side of a probe, in virtual time: what it measures, and what it makes of hostile answers."""

from __future__ import annotations

import random
from itertools import pairwise
from statistics import median

import pytest

from p2pclient.common.errors import LocalMisuseError
from p2pclient.protocol.probe import NONCE_BYTES, Network, ProbeSide
from p2pclient.transport.base import CONTROL, INPUTS
from p2pclient.transport.impairment import Impairment, ImpairmentSpec
from p2pclient.transport.memory import MemoryTransport, VirtualLink

SAMPLES = 30
NONCES = bytes(range(240))


def make(nonces: bytes = NONCES, *, samples: int = SAMPLES, now: float = 0.0) -> ProbeSide:
    return ProbeSide(samples=samples, interval_s=0.02, nonces=nonces[: samples * NONCE_BYTES], now=now)


def carry(side: ProbeSide, end: MemoryTransport, now: float) -> None:
    for lane, data in end.take_received():
        if lane == INPUTS:
            side.receive_datagram(data, now=now)
        elif lane == CONTROL:
            side.receive_control(data)
    for data in side.datagrams_to_send(now=now):
        end.send_datagram(data)
    for data in side.control_to_send():
        end.send_control(data)


def play(spec_a: ImpairmentSpec, spec_b: ImpairmentSpec, *, seed: int = 1) -> tuple[ProbeSide, ProbeSide, float]:
    """Let two sides probe each other over a simulated network; gives both and the seconds it took."""
    link = VirtualLink(impairment_a=Impairment(spec_a, seed), impairment_b=Impairment(spec_b, seed + 1))
    a, b = make(), make(NONCES[::-1])
    now = 0.0
    for _ in range(2000):
        link.deliver(now)
        carry(a, link.a, now)
        carry(b, link.b, now)
        if a.may_close and b.may_close:
            return a, b, now
        due = [each for each in (a.next_timer(), b.next_timer(), link.next_due()) if each is not None]
        now = max(now, min(due, default=now))
    raise AssertionError("the probe does not end")


def measured(side: ProbeSide) -> Network:
    network = side.network()
    assert network is not None
    return network


def test_both_sides_measure_what_both_ways_take() -> None:
    a, b, took = play(ImpairmentSpec(delay_ms=20), ImpairmentSpec(delay_ms=45))
    for side in (a, b):
        network = measured(side)
        assert network.rtt_ms == pytest.approx(65.0)
        assert network.jitter_ms == pytest.approx(0.0, abs=1e-6)
        assert (network.loss, network.echoes) == (0.0, SAMPLES)
        assert not side.dropped
    assert took == pytest.approx(29 * 0.02 + 0.065 + 0.045, abs=0.02)


def test_jitter_is_that_of_the_rfc() -> None:
    a, _, _ = play(ImpairmentSpec(delay_ms=30, jitter_ms=5), ImpairmentSpec(delay_ms=30))
    trips, expected = list(a._round_trips.values()), 0.0
    for before, after in pairwise(trips):
        expected += (abs(after - before) - expected) / 16
    assert measured(a).jitter_ms == pytest.approx(expected * 1000)
    assert measured(a).rtt_ms == pytest.approx(median(trips) * 1000)
    assert measured(a).jitter_ms > 1.0


def test_loss_counts_both_ways() -> None:
    found = [play(ImpairmentSpec(loss=0.1), ImpairmentSpec(loss=0.1), seed=seed) for seed in range(40)]
    losses = [measured(side).loss for a, b, _ in found for side in (a, b)]
    assert sum(losses) / len(losses) == pytest.approx(1 - 0.9**2, abs=0.03)


def test_reordered_and_doubled_datagrams_are_no_loss() -> None:
    spec = ImpairmentSpec(delay_ms=10, reorder=0.3, duplicate=0.5)
    a, b, _ = play(spec, spec)
    assert measured(a).loss == measured(b).loss == 0.0
    assert a.dropped["repeated"] > 0
    assert set(a.dropped) == {"repeated"}


def test_a_probe_of_a_dead_path_ends_without_a_measurement() -> None:
    link = VirtualLink()
    link.b.set_cut(True)
    side, now = make(), 0.0
    for _ in range(200):
        link.deliver(now)
        carry(side, link.a, now)
        timer = side.next_timer()
        if timer is None:
            break
        now = timer
    assert side.is_over
    assert side.network() is None
    assert not side.may_close
    assert now == pytest.approx(29 * 0.02 + 1.5)


def test_whoever_has_measured_still_echoes() -> None:
    a, b = make(), make(NONCES[::-1])
    now = 0.0
    while not a.is_over:
        for data in a.datagrams_to_send(now=now):
            b.receive_datagram(data, now=now)
        for data in b.datagrams_to_send(now=now):
            if data[1] == 2:  # nothing but echoes gets through
                a.receive_datagram(data, now=now)
        now += 0.01
    assert measured(a).loss == 0.0
    ping = make(NONCES[::-1]).datagrams_to_send(now=0.0)[0]
    a.receive_datagram(ping, now=now)
    assert [data[1] for data in a.datagrams_to_send(now=now)] == [2]


def test_late_pings_are_not_made_up_for() -> None:
    side = make()
    assert len(side.datagrams_to_send(now=5.0)) == 1
    assert side.datagrams_to_send(now=5.01) == []
    assert len(side.datagrams_to_send(now=9.0)) == 1


def test_bytes_are_frozen() -> None:
    side = make(now=0.0)
    ping = side.datagrams_to_send(now=0.0)[0]
    assert ping.hex() == "01010000" + "0001020304050607"
    other = make(NONCES[::-1], now=1.0)
    other.receive_datagram(ping, now=0.5)
    assert [data.hex() for data in other.datagrams_to_send(now=0.5)] == ["01020000" + "0001020304050607"]
    side.receive_control(bytes.fromhex("0103"))
    assert side._peer_is_over


def echo(ping: bytes) -> bytes:
    return ping[:1] + b"\x02" + ping[2:]


def test_echoes_of_what_was_not_asked_are_dropped() -> None:
    side = make()
    ping = side.datagrams_to_send(now=0.0)[0]
    for wrong in (
        echo(ping)[:-1] + b"\xff",  # another nonce
        b"\x01\x02\x00\x01" + NONCES[8:16],  # the right nonce, before it was asked
        b"\x01\x02\x00\x1d" + ping[4:],
    ):
        side.receive_datagram(wrong, now=0.001)
    assert side.dropped == {"unknown": 3}
    side.receive_datagram(echo(ping), now=0.05)
    assert list(side._round_trips.values()) == [0.05]


def test_an_echo_counts_once_however_often_it_comes() -> None:
    side = make()
    ping = side.datagrams_to_send(now=0.0)[0]
    for later in (0.05, 0.06, 0.9):
        side.receive_datagram(echo(ping), now=later)
    assert list(side._round_trips.values()) == [0.05]
    assert side.dropped == {"repeated": 2}


def test_a_flood_of_pings_is_echoed_once_each() -> None:
    side = make(now=100.0)
    for _ in range(50):
        for number in range(SAMPLES):
            side.receive_datagram(b"\x01\x01" + number.to_bytes(2, "big") + bytes(8), now=0.0)
    assert len(side.datagrams_to_send(now=0.0)) == SAMPLES
    assert side.dropped == {"repeated": 49 * SAMPLES}


def test_nothing_from_outside_raises_or_is_kept() -> None:
    side, draw = make(), random.Random(3)
    side.datagrams_to_send(now=0.0)
    for _ in range(2000):
        data = draw.randbytes(draw.choice([0, 1, 2, 11, 12, 12, 12, 13, 1200]))
        if draw.random() < 0.5:
            data = bytes((1, draw.randrange(4), 0, draw.randrange(40))) + data[4:]
        side.receive_datagram(data, now=0.0)
        side.receive_control(data)
    assert side.network() is None
    assert len(side._echoes) <= SAMPLES
    assert set(side.dropped) <= {"malformed", "unknown", "repeated"}
    assert side.dropped["malformed"] > 0
    assert side.dropped["unknown"] > 0


@pytest.mark.parametrize(("samples", "nonces"), [(30, 239), (4, 32), (30, 0)])
def test_nonces_must_fit(samples: int, nonces: int) -> None:
    with pytest.raises(LocalMisuseError):
        ProbeSide(samples=samples, interval_s=0.02, nonces=bytes(nonces), now=0.0)
