"""The simulated network decides alike for one seed, keeps to its figures, and names a wrong setting."""

from __future__ import annotations

import math
from statistics import mean, stdev
from typing import Any

import pytest

from p2pclient.common.errors import ConfigurationError
from p2pclient.transport.impairment import REORDER_EXTRA_S, Impairment, ImpairmentSpec

COUNT = 20_000


def plans(seed: int = 1, **settings: float) -> list[list[float]]:
    impairment = Impairment(ImpairmentSpec(**settings), seed)
    return [impairment.plan(float(n), 100) for n in range(COUNT)]


def delays(planned: list[list[float]]) -> list[float]:
    return [due - n for n, times in enumerate(planned) for due in times]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("delay_ms", -1),
        ("delay_ms", 10_001),
        ("delay_ms", math.nan),
        ("jitter_ms", math.inf),
        ("loss", 1.01),
        ("loss", -0.1),
        ("reorder", "0.1"),
        ("duplicate", None),
        ("loss", True),
    ],
)
def test_a_wrong_setting_is_named(setting: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ImpairmentSpec(**{setting: value})
    assert caught.value.setting == setting


def test_nothing_set_does_nothing() -> None:
    assert ImpairmentSpec().is_none
    assert not ImpairmentSpec(loss=0.1).is_none
    assert plans() == [[float(n)] for n in range(COUNT)]


def test_one_seed_gives_one_network() -> None:
    settings = {"delay_ms": 50, "jitter_ms": 10, "loss": 0.1, "reorder": 0.1, "duplicate": 0.1}
    assert plans(7, **settings) == plans(7, **settings)
    assert plans(7, **settings) != plans(8, **settings)


def test_delay_and_jitter_are_as_set() -> None:
    found = delays(plans(delay_ms=60, jitter_ms=10))
    assert mean(found) == pytest.approx(0.060, abs=0.0005)
    assert stdev(found) == pytest.approx(0.010, rel=0.05)
    assert min(found) >= 0.0299
    assert max(found) <= 0.0901


def test_jitter_never_sends_before_now() -> None:
    assert min(delays(plans(delay_ms=1, jitter_ms=50))) == 0


def test_jitter_alone_lets_datagrams_overtake() -> None:
    impairment = Impairment(ImpairmentSpec(delay_ms=100, jitter_ms=30), 1)
    due = [impairment.plan(n / 60, 100)[0] for n in range(1000)]
    assert due != sorted(due)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
def test_loss_and_duplicates_have_their_share(share: float) -> None:
    assert sum(not times for times in plans(loss=share)) / COUNT == pytest.approx(share, abs=0.01)
    assert sum(len(times) == 2 for times in plans(duplicate=share)) / COUNT == pytest.approx(share, abs=0.01)


def test_reordered_datagrams_are_held_back_further() -> None:
    found = delays(plans(delay_ms=50, reorder=0.25))
    late = [delay for delay in found if delay > 0.0501]
    assert len(late) / COUNT == pytest.approx(0.25, abs=0.01)
    assert 0.05 + REORDER_EXTRA_S[0] <= min(late) + 1e-9
    assert max(late) - 1e-9 <= 0.05 + REORDER_EXTRA_S[1]


def test_a_change_of_one_setting_leaves_the_rest_as_it_was() -> None:
    plain = plans(3, delay_ms=50, jitter_ms=10)
    lossy = plans(3, delay_ms=50, jitter_ms=10, loss=0.3)
    assert [times for times in lossy if times] == [full for full, times in zip(plain, lossy, strict=True) if times]


def test_control_is_delayed_in_order_and_never_lost() -> None:
    impairment = Impairment(ImpairmentSpec(delay_ms=100, jitter_ms=60, loss=1.0, reorder=1.0, duplicate=1.0), 1)
    due = [impairment.plan_control(n / 60) for n in range(2000)]
    assert due == sorted(due)
    assert all(time >= n / 60 for n, time in enumerate(due))
    assert mean(time - n / 60 for n, time in enumerate(due)) == pytest.approx(0.2, abs=0.1)


def test_control_does_not_change_the_fate_of_datagrams() -> None:
    spec = ImpairmentSpec(delay_ms=50, jitter_ms=10, loss=0.2)
    quiet, busy = Impairment(spec, 5), Impairment(spec, 5)
    for n in range(500):
        busy.plan_control(float(n))
        assert busy.plan(float(n), 10) == quiet.plan(float(n), 10)
