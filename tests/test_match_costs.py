"""What the budget learns from a batch: what its commands took in the host, by kind."""

from __future__ import annotations

from typing import Any

import pytest

from p2pclient.match.costs import learn_costs
from p2pclient.match.episode import PlayBatch
from p2pclient.rollback.budget import Budget
from p2pclient.rollback.session import Step


class KeepingBudget(Budget):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(frame=1 / 60, window=8)
        self.learned: list[dict[str, Any]] = []

    def learn(self, **batch: Any) -> None:
        super().learn(**batch)
        self.learned.append(batch)


def batch(*commands: str, **fields: Any) -> PlayBatch:
    steps = {index: Step(index, (), (), False) for index, name in enumerate(commands) if name == "step"}
    return PlayBatch(commands=[[name, 0] for name in commands], steps=steps, **fields)


def test_costs_go_to_the_kind_of_their_command() -> None:
    budget = KeepingBudget()
    played = batch("load", "step", "save", "step", "step", "save", "drop", "render", resimulated=2, depth=1)
    step = learn_costs(budget, played, [50, 1_000, 200, 3_000, 2_000, 400, 7, 60])
    assert step == pytest.approx(0.002)
    (learned,) = budget.learned
    assert learned == {
        "steps": 3,
        "step_seconds": pytest.approx(0.006),
        "saves": 2,
        "save_seconds": pytest.approx(0.0006),
        "load_seconds": pytest.approx(0.00005),
        "other_seconds": pytest.approx(0.000067),
        "rolled_back": True,
    }


def test_what_a_spectator_asked_for_is_no_cost_of_play() -> None:
    budget = KeepingBudget()
    learn_costs(budget, batch("step", "get_snapshot", "drop"), [1_000, 90_000, 10])
    assert budget.learned[0]["other_seconds"] == pytest.approx(0.00001)


def test_without_a_rollback_nothing_was_loaded() -> None:
    budget = KeepingBudget()
    learn_costs(budget, batch("step", "save"), [1_000, 100])
    assert (budget.learned[0]["load_seconds"], budget.learned[0]["rolled_back"]) == (None, False)


def test_a_batch_without_a_step_has_no_cost_of_one() -> None:
    budget = KeepingBudget()
    assert learn_costs(budget, batch("drop", "render"), [10, 20]) is None
    assert budget.learned[0]["steps"] == 0


@pytest.mark.parametrize("costs", [(), (1,), (1, 2, 3)])
def test_costs_of_something_else_teach_nothing(costs: tuple[int, ...]) -> None:
    budget = KeepingBudget()
    assert learn_costs(budget, batch("step", "save"), costs) is None
    assert budget.learned == []
