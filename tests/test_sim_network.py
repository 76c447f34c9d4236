"""Simulated paths: every figure does what it says, from one seed."""

from __future__ import annotations

from itertools import groupby, pairwise
from statistics import mean
from typing import Any

import pytest

from p2pclient.common.errors import ConfigurationError
from p2pclient.sim.network import Link, LinkSpec, Spell
from p2pclient.sim.profiles import DESCRIPTIONS, PROFILES, profile

FRAME = 1 / 60


def send_many(link: Link, *, count: int = 20_000, every: float = FRAME) -> list[tuple[float, ...]]:
    """Return for each datagram how long after its sending its copies arrive."""
    return [tuple(at - n * every for at in link.plan(n * every, 30)) for n in range(count)]


def make(spells: tuple[Spell, ...] = (), seed: str = "7", **figures: Any) -> Link:
    return Link(LinkSpec(**figures), seed=seed, spells=spells)


def test_delay_and_jitter_bound_every_arrival_and_spread_over_the_whole_range() -> None:
    delays = [copies[0] for copies in send_many(make(delay_ms=50, jitter_ms=20))]
    assert 0.030 <= min(delays) < 0.031
    assert 0.069 < max(delays) <= 0.0700001
    assert mean(delays) == pytest.approx(0.05, abs=0.001)


def test_jitter_makes_datagrams_overtake_each_other() -> None:
    arrivals = [n * FRAME + copies[0] for n, copies in enumerate(send_many(make(delay_ms=50, jitter_ms=20)))]
    assert sum(b < a for a, b in pairwise(arrivals)) > 1000


def test_share_of_lost_doubled_and_late_datagrams() -> None:
    sent = send_many(make(delay_ms=10, loss=0.1, duplicate=0.05, reorder=0.2))
    got = [copies for copies in sent if copies]
    assert 1 - len(got) / len(sent) == pytest.approx(0.1, abs=0.01)
    assert sum(len(copies) == 2 for copies in got) / len(got) == pytest.approx(0.05, abs=0.01)
    late = [copies[0] for copies in got if copies[0] > 0.011]
    assert len(late) / len(got) == pytest.approx(0.2, abs=0.015)
    assert 0.03 <= min(late) < max(late) <= 0.11


@pytest.mark.parametrize("burst", [1.0, 4.0, 20.0])
def test_losses_come_in_bursts_of_the_mean_length_with_the_same_share(burst: float) -> None:
    lost = [not copies for copies in send_many(make(loss=0.05, burst=burst), count=200_000)]
    runs = [len(list(run)) for is_lost, run in groupby(lost) if is_lost]
    assert mean(lost) == pytest.approx(0.05, rel=0.15)
    assert mean(runs) == pytest.approx(max(burst, 1 / 0.95), rel=0.15)


def test_a_limited_rate_queues_and_then_loses() -> None:
    link = make(bytes_per_s=12_000, queue_ms=100)
    # 120 bytes with the overhead: 10 ms each. One every 5 ms is twice what fits.
    sent = send_many(link, count=200, every=0.005)
    waits = [copies[0] for copies in sent if copies]
    assert waits[0] == pytest.approx(0.01)
    assert waits == sorted(waits[:20]) + waits[20:]
    assert 0.1 < max(waits) <= 0.111
    assert 0.4 < len(waits) / len(sent) < 0.6
    assert link.plan(10.0, 30) == (pytest.approx(10.01),)


def test_an_outage_loses_datagrams_and_delays_control() -> None:
    link = make((Spell("outage", 1.0, 2.0),), delay_ms=40)
    assert link.plan(0.99, 30) == (pytest.approx(1.03),)
    assert link.plan(1.0, 30) == link.plan(1.99, 30) == ()
    assert link.plan(2.0, 30) == (pytest.approx(2.04),)
    assert 2.04 <= link.plan_control(1.1) < 3.1


def test_what_is_held_comes_out_at_once_and_in_order() -> None:
    link = make((Spell("hold", 1.0, 2.0),), delay_ms=40)
    assert [link.plan(at, 30)[0] for at in (1.0, 1.3, 1.9)] == [2.0, 2.0, 2.0]
    assert link.plan(1.99, 30) == (pytest.approx(2.03),)
    assert link.plan_control(1.5) == 2.0


def test_spells_of_loss_and_of_delay_come_on_top() -> None:
    link = make((Spell("loss", 0, 100, 0.5), Spell("delay", 50, 100, 300)), delay_ms=40)
    sent = send_many(link, count=6000)
    assert mean(not copies for copies in sent) == pytest.approx(0.5, abs=0.03)
    assert {round(copies[0], 3) for copies in sent[:2900] if copies} == {0.04}
    assert {round(copies[0], 3) for copies in sent[3001:] if copies} == {0.34}
    assert link.plan_control(50.0) > 50.3


def test_control_keeps_its_order_and_arrives_whatever_is_lost() -> None:
    link = make(delay_ms=40, jitter_ms=40, loss=0.5)
    arrivals = [link.plan_control(n * 0.01) for n in range(500)]
    assert arrivals == sorted(arrivals)
    assert max(at - n * 0.01 for n, at in enumerate(arrivals)) > 1.0


def test_one_figure_leaves_what_the_others_do_to_the_nth_datagram() -> None:
    plain = send_many(make(delay_ms=50, jitter_ms=20), count=500)
    lossy = send_many(make(delay_ms=50, jitter_ms=20, loss=0.3), count=500)
    assert all(b in ((), a) for a, b in zip(plain, lossy, strict=True))
    assert 0 < sum(b == () for b in lossy) < 500


def test_the_seed_decides() -> None:
    assert send_many(make(loss=0.2, jitter_ms=9)) == send_many(make(loss=0.2, jitter_ms=9))
    assert send_many(make(loss=0.2, jitter_ms=9)) != send_many(make(seed="8", loss=0.2, jitter_ms=9))


@pytest.mark.parametrize(
    ("figure", "value"),
    [("delay_ms", -1), ("jitter_ms", float("nan")), ("loss", 1.1), ("burst", 0.5), ("queue_ms", 1e9)],
)
def test_figures_out_of_range_are_named(figure: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=figure):
        LinkSpec(**{figure: value})


def test_bursts_of_nearly_everything_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="loss"):
        LinkSpec(loss=0.95, burst=3)


def test_profiles_are_named_and_described() -> None:
    assert set(PROFILES) == set(DESCRIPTIONS) == {"lan", "wifi", "mobile", "intercontinental", "terrible"}
    assert profile("wifi") == LinkSpec(delay_ms=50, jitter_ms=20, loss=0.01)
    with pytest.raises(ConfigurationError, match="terrible"):
        profile("pigeons")
