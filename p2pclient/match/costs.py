"""What a batch cost, by kind of command, for the budget of the next ones."""

from __future__ import annotations

from collections.abc import Sequence

from p2pclient.match.episode import PlayBatch
from p2pclient.rollback.budget import Budget


def learn_costs(budget: Budget, batch: PlayBatch, costs_us: Sequence[int]) -> float | None:
    """Tell the budget what the batch cost; returns the seconds of one step, or None if nothing was measured.

    Only what the commands took in the host counts. The way there and back is long when the machine is busy with other
    things, and a narrower window would not make it shorter.
    """
    if len(costs_us) != len(batch.commands):
        return None
    steps = len(batch.steps)
    stepping = saving = saves = loading = other = 0
    for index, command in enumerate(batch.commands):
        kind, cost = command[0], costs_us[index]
        if kind == "step":
            stepping += cost
        elif kind == "save":
            saving += cost
            saves += 1
        elif kind == "load":
            loading += cost
        elif kind != "get_snapshot":  # asked for once, by a spectator: no batch of play has to expect it
            other += cost
    budget.learn(
        steps=steps,
        step_seconds=stepping / 1e6,
        saves=saves,
        save_seconds=saving / 1e6,
        load_seconds=loading / 1e6 if batch.resimulated else None,
        other_seconds=other / 1e6,
        rolled_back=batch.depth > 0,
    )
    return stepping / steps / 1e6 if steps else None
