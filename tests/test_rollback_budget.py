"""How the window and the spacing of snapshots follow from what the host's commands cost."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt
from random import Random

import pytest

from p2pclient.rollback.budget import Budget
from tests.rollback_play import FRAME, play_match

MS = 1e-3


def feed(
    budget: Budget,
    batches: int,
    *,
    step: float,
    save: float = 0.0,
    load: float = 0.0,
    other: float = 0.0,
    rollbacks: float = 0.5,
    depth: int = 3,
    noise: Random | None = None,
) -> list[tuple[int, int]]:
    """Let so many batches run at these costs; return the windows and spacings that were decided, one per batch."""
    decided, share = [], 0.0
    for _ in range(batches):
        share += rollbacks
        again = int(share)
        share -= again
        steps = 1 + depth * again
        saves = 1 + (steps - 1) // budget.spacing
        factors = [noise.lognormvariate(0.0, 0.25) if noise is not None else 1.0 for _ in range(4)]
        budget.learn(
            steps=steps,
            step_seconds=steps * step * factors[0],
            saves=saves,
            save_seconds=saves * save * factors[1],
            load_seconds=load * factors[2] if again else None,
            other_seconds=other * factors[3],
            rolled_back=bool(again),
        )
        decided.append((budget.window, budget.spacing))
    return decided


def worst(budget: Budget, *, step: float, save: float, load: float, other: float) -> float:
    """What the deepest rollback costs that the budget allows."""
    frames = budget.window + budget.spacing
    return load + frames * step + (frames / budget.spacing + (budget.spacing > 1)) * save + other


@pytest.mark.parametrize(("told", "window", "spacing"), [(4, 8, 4), (30, 8, 8), (4, 0, 1)])
def test_a_spacing_that_was_told_holds_until_costs_are_known(told: int, window: int, spacing: int) -> None:
    budget = Budget(frame=FRAME, window=window, spacing=told)
    assert set(feed(budget, 7, step=1 * MS, save=0.1 * MS)) == {(window, spacing)}
    if window:
        assert feed(budget, 200, step=1 * MS, save=0.01 * MS)[-1] == (window, 1)


def test_before_anything_is_known_the_configured_window_and_every_frame_hold() -> None:
    budget = Budget(frame=FRAME, window=8)
    assert (budget.window, budget.spacing) == (8, 1)
    assert set(feed(budget, 7, step=50 * MS)) == {(8, 1)}


def test_a_cheap_environment_keeps_the_whole_window() -> None:
    assert set(feed(Budget(frame=FRAME, window=8), 2_000, step=0.1 * MS, save=0.01 * MS)) == {(8, 1)}


@pytest.mark.parametrize("rate", [15, 30, 60])
@pytest.mark.parametrize("step", [0.5, 1.0, 1.7, 2.5, 4.0, 7.0])
@pytest.mark.parametrize("save", [0.0, 0.1, 1.0])
def test_the_worst_rollback_fits_the_frame_with_reserve_or_the_window_is_one(
    rate: int, step: float, save: float
) -> None:
    costs = {"step": step * MS, "save": save * MS, "load": 0.5 * MS, "other": 1 * MS}
    budget = Budget(frame=1 / rate, window=8)
    feed(budget, 200, **costs)
    assert 1 <= budget.spacing <= budget.window <= 8
    assert worst(budget, **costs) <= 0.91 / rate or budget.window == 1
    if budget.window < 8:  # and it is not narrower than it has to be
        budget.window += 2
        assert worst(budget, **costs) > 0.89 / rate


@pytest.mark.parametrize("kind", ["load", "other"])
def test_what_loading_and_everything_else_cost_counts(kind: str) -> None:
    budget = Budget(frame=FRAME, window=8)
    feed(budget, 100, step=1 * MS, save=0.1 * MS, **{kind: 5 * MS})
    assert budget.window == 7  # (7 + 1) x 1.1 ms, one more snapshot, and 5 ms


def test_before_the_first_rollback_loading_is_taken_to_cost_what_saving_does() -> None:
    budget = Budget(frame=FRAME, window=8)
    feed(budget, 100, step=0.5 * MS, save=4 * MS, rollbacks=0.0)
    guessed = budget.window
    feed(budget, 60 * 60, step=0.5 * MS, save=4 * MS, load=4 * MS)
    assert budget.window == guessed < 8


def test_a_spacing_wider_than_the_window_does_not_count_as_one_that_fits() -> None:
    # Eight frames apart, a window of four would fit; but snapshots never lie further apart than the window is wide.
    budget = Budget(frame=FRAME, window=8)
    feed(budget, 200, step=0.01 * MS, save=5.7 * MS, load=0.1 * MS)
    assert (budget.window, budget.spacing) == (1, 1)


def test_too_costly_a_step_narrows_the_window_within_a_few_batches() -> None:
    budget = Budget(frame=FRAME, window=8)
    feed(budget, 100, step=1 * MS)
    assert budget.window == 8
    windows = [window for window, _ in feed(budget, 8, step=4 * MS)]
    assert windows[-1] == 2


def test_an_environment_that_fits_no_rollback_at_all_still_gets_a_window_of_one() -> None:
    assert set(feed(Budget(frame=FRAME, window=8), 200, step=30 * MS, save=30 * MS)[20:]) == {(1, 1)}


@pytest.mark.parametrize("outliers", [1, 2, 3])
def test_a_lone_hiccup_changes_nothing(outliers: int) -> None:
    budget = Budget(frame=FRAME, window=8)
    feed(budget, 50, step=1 * MS, save=0.1 * MS, load=0.1 * MS)
    before = (budget.window, budget.spacing)
    after = feed(budget, outliers, step=400 * MS, save=90 * MS, other=200 * MS)
    after += feed(budget, 50, step=1 * MS, save=0.1 * MS, load=0.1 * MS)
    assert set(after) == {before}


def test_lockstep_stays_lockstep() -> None:
    assert set(feed(Budget(frame=FRAME, window=0), 200, step=30 * MS)) == {(0, 1)}


def test_the_window_grows_again_frame_by_frame_when_the_costs_are_gone() -> None:
    budget = Budget(frame=FRAME, window=8)
    feed(budget, 100, step=7 * MS)
    assert budget.window == 1
    windows = [window for window, _ in feed(budget, 60 * 10, step=0.5 * MS)]
    changes = [n for n, (a, b) in enumerate(pairwise(windows)) if a != b]
    assert [windows[n + 1] - windows[n] for n in changes] == [1] * 7
    assert all(later - earlier >= 59 for earlier, later in pairwise(changes))
    assert windows[-1] == 8


def test_costs_between_the_two_bounds_neither_narrow_nor_widen() -> None:
    budget = Budget(frame=FRAME, window=8)
    feed(budget, 100, step=2.2 * MS)
    narrow = budget.window
    assert 1 < narrow < 8
    # One frame more would fit the frame, but without the reserve that growing asks for.
    assert (narrow + 1 + 1) * 2.0 * MS < 0.9 * FRAME
    assert (narrow + 1 + 1) * 2.0 * MS > 0.75 * FRAME
    assert {window for window, _ in feed(budget, 3_000, step=2.0 * MS)} == {narrow}


@pytest.mark.parametrize("seed", range(5))
def test_noisy_costs_do_not_make_the_window_swing(seed: int) -> None:
    budget = Budget(frame=FRAME, window=8)
    feed(budget, 600, step=2.0 * MS, save=0.2 * MS, noise=Random(seed))
    decided = feed(budget, 60 * 120, step=2.0 * MS, save=0.2 * MS, noise=Random(seed + 100))
    windows = [window for window, _ in decided]
    changes = sum(a != b for a, b in pairwise(windows))
    assert changes <= 12  # in two minutes
    assert max(windows) - min(windows) <= 2


def test_a_machine_that_is_slow_whenever_the_window_is_wide_is_tried_more_and_more_rarely() -> None:
    budget, tries = Budget(frame=FRAME, window=8), []
    feed(budget, 50, step=4 * MS)
    for batch in range(60 * 240):
        before = budget.window
        feed(budget, 1, step=4 * MS if budget.window > 4 else 0.6 * MS)
        if budget.window < before:
            tries.append(batch)
    assert 3 <= len(tries) <= 12
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert gaps == sorted(gaps)
    assert gaps[-1] > 4 * gaps[0]


def test_a_narrowing_long_ago_is_forgiven_after_a_time_at_the_full_window() -> None:
    def seconds_to_grow() -> float:
        feed(budget, 16, step=4 * MS)
        assert budget.window < 8
        before = budget.window
        windows = [window for window, _ in feed(budget, 60 * 20, step=0.5 * MS)]
        assert windows[-1] == 8
        return windows.index(before + 1) / 60

    budget = Budget(frame=FRAME, window=8)
    first = seconds_to_grow()
    second = seconds_to_grow()
    assert second > 1.5 * first
    feed(budget, 60 * 31, step=0.5 * MS)
    assert seconds_to_grow() > 1.5 * first  # the narrowing itself follows a growing, so that it counts once more
    feed(budget, 60 * 31, step=0.5 * MS)
    assert seconds_to_grow() < 1.5 * second


# -- spacing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [0.05, 0.2, 0.8, 3.0])
@pytest.mark.parametrize("rollbacks", [0.05, 0.2, 1.0])
def test_spacing_is_close_to_what_costs_least(save: float, rollbacks: float) -> None:
    step = 0.4
    budget = Budget(frame=1.0, window=12)
    feed(budget, 1_000, step=step * MS, save=save * MS, rollbacks=rollbacks)

    def cost(spacing: int) -> float:
        return save / spacing + rollbacks * step * (spacing - 1) / 2

    assert cost(budget.spacing) <= 1.15 * min(cost(spacing) for spacing in range(1, 13))
    ideal = max(1.0, min(12.0, sqrt(2 * save / (rollbacks * step))))
    assert 0.5 * ideal <= budget.spacing <= 2 * ideal


def test_cheap_snapshots_are_taken_in_every_frame() -> None:
    budget = Budget(frame=FRAME, window=8)
    feed(budget, 1_000, step=0.4 * MS, save=0.02 * MS)
    assert budget.spacing == 1


def test_dear_snapshots_are_spaced_by_the_whole_window_where_rollbacks_are_rare() -> None:
    budget = Budget(frame=1.0, window=8)
    feed(budget, 1_000, step=0.4 * MS, save=9.5 * MS, rollbacks=0.01)
    assert (budget.window, budget.spacing) == (8, 8)


def test_a_spacing_that_allows_a_wider_window_is_preferred_to_a_cheaper_one() -> None:
    costs = {"step": 0.8 * MS, "save": 1.0 * MS, "load": 0.1 * MS, "other": 0.1 * MS, "rollbacks": 0.01}
    unbounded, bounded = Budget(frame=1.0, window=8), Budget(frame=FRAME, window=8)
    for budget in (unbounded, bounded):
        feed(budget, 1_000, **costs)
    assert (unbounded.window, unbounded.spacing) == (8, 8)  # cheapest where rollbacks are rare
    assert (8 + 8) * costs["step"] + 3 * costs["save"] > 0.9 * FRAME  # but here it would not fit
    assert bounded.window == 8
    assert 2 <= bounded.spacing < 8


def test_spacing_does_not_flap_between_two_that_cost_about_the_same() -> None:
    budget = Budget(frame=1.0, window=12)
    feed(budget, 1_000, step=1 * MS, save=3 * MS, noise=Random(5))
    spacings = [spacing for _, spacing in feed(budget, 5_000, step=1 * MS, save=3 * MS, noise=Random(6))]
    assert len(set(spacings)) <= 2
    assert sum(a != b for a, b in pairwise(spacings)) <= 4


def test_batches_without_a_step_or_a_snapshot_say_nothing_about_their_cost() -> None:
    budget = Budget(frame=FRAME, window=8)
    feed(budget, 20, step=1 * MS)
    for _ in range(200):
        budget.learn(
            steps=0, step_seconds=0.0, saves=0, save_seconds=0.0, load_seconds=None, other_seconds=0.0,
            rolled_back=False,
        )  # fmt: skip
    assert budget.window == 8
    feed(budget, 16, step=5 * MS)
    assert budget.window < 8


# -- together with sessions, in simulated time ------------------------------------------------------------------------


def test_a_costly_environment_misses_no_frame_after_the_first_moments() -> None:
    costs = {"seconds": 30.0, "delay": 0.1, "step": 2.6 * MS, "save": 0.2 * MS}
    for side in play_match(**costs, budgeted=False):
        assert sum(late > 0 for late in side.late[120:]) > 100  # or the test shows nothing
    for side in play_match(**costs, budgeted=True):
        assert not any(side.late[120:])
        assert len(set(side.windows[120:])) == 1
        assert 2 <= side.windows[-1] < 8
        assert max(side.depths[120:]) == side.windows[-1]


def test_a_costly_environment_whose_inputs_come_in_time_loses_no_frame() -> None:
    for side in play_match(seconds=30.0, delay=0.03, step=2.6 * MS, save=0.2 * MS, budgeted=True):
        assert side.windows[-1] < 8
        assert not any(side.late[120:])
        assert max(side.depths[120:]) > 0
        assert side.session.current_frame > 0.99 * 30 * 60


def test_an_environment_that_is_far_too_costly_neither_hangs_nor_spirals() -> None:
    for side in play_match(seconds=30.0, delay=0.1, step=6 * MS, save=1 * MS, budgeted=True):
        assert side.windows[-1] == 1
        assert not any(side.late[120:])
        # Two frames in the time that an input is under way and waits for its tick: as fast as a window of one can be.
        assert side.session.current_frame > 30 / (0.1 + 2 * FRAME)


def test_a_window_that_may_not_narrow_below_the_lateness_of_inputs_keeps_the_rate() -> None:
    costs = {"seconds": 30.0, "delay": 0.05, "step": 3.4 * MS, "save": 0.2 * MS, "budgeted": True}
    frames = {}
    for narrowest in (1, 4):
        sides = play_match(**costs, narrowest=narrowest)
        assert all(min(side.windows) >= narrowest for side in sides)
        frames[narrowest] = min(side.session.current_frame for side in sides)
    assert frames[4] > 0.95 * 30 * 60
    assert frames[1] < 0.9 * frames[4]


def test_the_narrowest_window_may_change_and_never_exceeds_the_configured_one() -> None:
    budget = Budget(frame=FRAME, window=8)
    feed(budget, 40, step=6 * MS)
    assert budget.window == 1
    budget.narrowest = 4
    feed(budget, 8, step=6 * MS)
    assert (budget.window, budget.spacing) == (4, 1)
    budget.narrowest = 20
    feed(budget, 8, step=6 * MS)
    assert budget.window == 8
    budget.narrowest = 1
    feed(budget, 8, step=6 * MS)
    assert budget.window == 1
