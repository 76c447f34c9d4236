"""The batch that begins an episode: reset, bots, snapshot 0, the bots' first decisions, the first view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from p2pclient.common.seeds import derive_seed
from p2pclient.match.plan import MatchPlan


@dataclass(slots=True)
class ResetBatch:
    """Commands of one reset, and what their results mean."""

    commands: list[list[Any]]
    checksum: int
    """Index of the ``reset``, whose result is the checksum of snapshot 0."""
    decides: dict[int, int] = field(default_factory=dict)
    """Seat of the bot behind each ``decide``, by index."""
    view: int | None = None
    """Index of the ``render``; None if none was asked for."""


def begin_episode(plan: MatchPlan, episode: int) -> list[list[Any]]:
    """Return the reset of ``episode``, and what makes the host's bots, predictors and substitutes ready."""
    commands: list[list[Any]] = [["reset", plan.episode_seed(episode)]]
    for seat, (name, seed) in plan.bots.items():
        commands.append(["add_bot", seat, name, derive_seed(seed, "bot", episode)])
    for seat in range(plan.seats):
        predictor = plan.host_predictor(seat)
        if predictor is not None:
            commands.append(["add_predictor", seat, predictor, derive_seed(plan.seed, "predictor", episode, seat)])
    losses = plan.losses
    for seat in sorted(seat for held in plan.peers.values() for seat in held):
        if losses.of(seat).then == "bot":
            commands.append(["add_substitute", seat, losses.of(seat).bot, plan.substitute_seed(seat)])
    return commands


def plan_reset(plan: MatchPlan, episode: int, before: Sequence[list[Any]] = ()) -> ResetBatch:
    """Return the batch that brings the host to snapshot 0 of ``episode``.

    Args:
        before: commands that go first, see ``Match.reset_commands``.
    """
    batch = ResetBatch([*before, *begin_episode(plan, episode), ["save", 0]], checksum=len(before))
    for seat in plan.bots:
        batch.decides[len(batch.commands)] = seat
        batch.commands.append(["decide", seat])
    if plan.render:
        batch.view = len(batch.commands)
        batch.commands.append(["render"])
    return batch
