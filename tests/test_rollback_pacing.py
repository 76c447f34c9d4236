"""The pacer: both sides stretch their frames until neither is ahead."""

from __future__ import annotations

import pytest

from p2pclient.rollback.pacing import Pacer


def test_without_leads_the_frame_is_nominal() -> None:
    pacer = Pacer()
    assert pacer.stretch(None, 1.0) == 1.0
    assert pacer.stretch(1.0, None) == 1.0
    assert pacer.frames_ahead == 0.0


def test_the_side_ahead_slows_down_and_the_other_speeds_up_by_the_same() -> None:
    one, other = Pacer(), Pacer()
    for own, theirs in [(3.0, 1.0), (4.0, 2.5), (1.0, 1.0), (9.0, 0.0)] * 10:
        assert one.stretch(own, theirs) - 1.0 == pytest.approx(1.0 - other.stretch(theirs, own))
    assert one.frames_ahead > 0 > other.frames_ahead


def test_equal_leads_mean_nominal_whatever_the_delay() -> None:
    pacer = Pacer()
    assert {pacer.stretch(5.0, 5.0) for _ in range(100)} == {1.0}


def test_error_is_half_the_difference_of_the_leads() -> None:
    pacer = Pacer()
    pacer.stretch(3.0, 1.0)
    assert pacer.frames_ahead == 1.0


def test_proportional_part_within_two_frames() -> None:
    assert Pacer().stretch(2.0, 0.0) == pytest.approx(1.004, abs=1e-5)


def test_stretch_is_at_most_one_percent_or_five_to_recover() -> None:
    slow, fast = Pacer(), Pacer()
    for _ in range(20_000):
        assert 1.0 < slow.stretch(4.0, 0.0) <= 1.01
        assert fast.stretch(30.0, 0.0) == 1.05


def test_a_long_hitch_does_not_wind_up_the_integral() -> None:
    pacer = Pacer()
    for _ in range(10_000):
        pacer.stretch(30.0, 0.0)
    for _ in range(60):
        pacer.stretch(0.0, 0.0)
    assert pacer.stretch(0.0, 0.0) == pytest.approx(1.0, abs=1e-3)


def test_one_outlier_among_thirty_samples_changes_nothing() -> None:
    pacer = Pacer()
    for _ in range(30):
        pacer.stretch(1.0, 1.0)
    assert pacer.stretch(25.0, 0.0) == 1.0


def test_leads_that_change_back_and_forth_tell_parts_of_a_frame() -> None:
    pacer = Pacer()
    for number in range(60):
        pacer.stretch(2.0 if number % 3 else 0.0, 0.0)
    # Of 30 samples 10 are 0 and 20 are 1; the middle 16 hold 3 and 13 of them. The median would say 1.
    assert pacer.frames_ahead == pytest.approx(13 / 16)


def test_two_clocks_that_differ_settle_near_each_other() -> None:
    """A model without a network: leads are the difference of the frame counts, one clock 0.2 % fast."""
    pacers = [Pacer(), Pacer()]
    frames = [4.0, 0.0]
    for _ in range(60 * 120):
        lead = frames[0] - frames[1]
        steps = [1.0 / pacers[0].stretch(lead, -lead), 1.002 / pacers[1].stretch(-lead, lead)]
        frames = [at + step for at, step in zip(frames, steps, strict=True)]
    assert abs(frames[0] - frames[1]) < 0.5


def test_who_is_far_behind_hurries_as_much_as_who_is_far_ahead_waits() -> None:
    ahead, behind = Pacer(), Pacer()
    for _ in range(10):
        slower, faster = ahead.stretch(6.0, 0.0), behind.stretch(0.0, 6.0)
    assert slower == 1.05
    assert faster == 0.95
