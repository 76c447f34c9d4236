"""Histograms: quantiles against sorting everything, exact figures, bounded memory."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pclient.telemetry.histogram import LARGEST, SMALLEST, Histogram, Summary

SHARES = (0.0, 0.01, 0.5, 0.95, 0.99, 1.0)
MAGNITUDES = st.floats(min_value=SMALLEST, max_value=LARGEST)
SAMPLES = st.lists(st.one_of(MAGNITUDES, MAGNITUDES.map(lambda m: -m), st.just(0.0)), min_size=1, max_size=600)


def filled(samples: list[float]) -> Histogram:
    histogram = Histogram()
    for sample in samples:
        histogram.add(sample)
    return histogram


def exact(samples: list[float], share: float) -> float:
    return sorted(samples)[min(len(samples) - 1, int(share * len(samples)))]


def rounding(samples: list[float]) -> float:
    """What adding in another order may change where large samples cancel each other."""
    return max(map(abs, samples)) * 1e-12


@given(SAMPLES)
def test_quantiles_are_within_a_64th_of_the_sorted_samples(samples: list[float]) -> None:
    histogram = filled(samples)
    for share in SHARES:
        truth = exact(samples, share)
        found = histogram.quantile(share)
        assert found is not None
        assert abs(found - truth) <= abs(truth) / 64
        assert min(samples) <= found <= max(samples)


@given(SAMPLES)
def test_count_mean_least_and_most_are_exact(samples: list[float]) -> None:
    histogram = filled(samples)
    assert histogram.count == len(samples)
    assert histogram.mean == pytest.approx(sum(samples) / len(samples), abs=rounding(samples))
    assert (histogram.quantile(0.0), histogram.quantile(1.0)) == (
        pytest.approx(min(samples), rel=1 / 64),
        max(samples),
    )
    assert histogram.summary().least == round(min(samples), 4)
    assert histogram.summary().most == round(max(samples), 4)


@given(st.lists(st.integers(-64, 64), min_size=1, max_size=600))
def test_whole_numbers_up_to_64_come_back_exactly(samples: list[int]) -> None:
    whole = [float(sample) for sample in samples]
    histogram = filled(whole)
    assert [histogram.quantile(share) for share in SHARES] == [exact(whole, share) for share in SHARES]


@given(SAMPLES, SAMPLES)
def test_two_that_are_put_together_equal_one_that_had_all(first: list[float], second: list[float]) -> None:
    both, all_of_them = Histogram().include([filled(first), filled(second)]), filled(first + second)
    assert both.count == all_of_them.count
    assert both.mean == pytest.approx(all_of_them.mean, abs=rounding(first + second))
    assert [both.quantile(s) for s in SHARES] == [all_of_them.quantile(s) for s in SHARES]


def test_one_without_samples_has_no_figures() -> None:
    histogram = Histogram()
    assert (histogram.count, histogram.mean, histogram.quantile(0.5), histogram.quantile(0.0)) == (0, None, None, None)
    assert histogram.summary() == Summary(0)
    assert Histogram().include([histogram, filled([2.0])]).summary() == filled([2.0]).summary()


def test_summary_holds_what_a_report_needs() -> None:
    assert filled([float(n % 50) for n in range(1000)]).summary() == Summary(
        count=1000, mean=24.5, least=0.0, median=25.0, p95=47.0, p99=49.0, most=49.0
    )


def test_magnitudes_beyond_the_buckets_count_as_the_nearest() -> None:
    histogram = filled([0.0, SMALLEST / 2, -SMALLEST / 2, LARGEST * 8, float("inf"), float("inf")])
    assert histogram.quantile(0.4) == 0.0
    assert histogram.quantile(0.6) == LARGEST
    assert histogram.quantile(1.0) == float("inf")


def test_memory_is_bounded_whatever_comes() -> None:
    generator, histogram = random.Random(5), Histogram()
    for _ in range(60_000):
        histogram.add(generator.choice((-1, 1)) * 2.0 ** generator.uniform(-30, 60))
        assert len(histogram.pending) < 256
    assert histogram.count == 60_000
    assert len(histogram._buckets) <= 2 * 60 * 32 + 1 + 2
    assert len(histogram._buckets) > 3000
