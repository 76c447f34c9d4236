"""First come, first served, each match in the condition that has fewest so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from p2pclient.common.errors import ConfigurationError
from signaling.matching.base import Candidate, Context, Proposal, Rejection, Round, ids, left_over, too_few


class Balanced:
    """Gives each match a condition of the study.

    Args:
        caps: how many matches each condition gets at most, None for no limit, in the order in which equals are taken.

    Raises:
        ConfigurationError: there is none.
    """

    name = "balanced"
    looks_at_others = False

    def __init__(self, caps: Mapping[str, int | None]) -> None:
        if not caps:
            raise ConfigurationError("--matching", "balanced", "balanced:NAME=CAP,NAME=CAP, such as balanced:A=10,B=10")
        self._caps = dict(caps)

    def propose(self, candidates: Sequence[Candidate], context: Context, now: float) -> Round:
        """See :class:`~signaling.matching.base.Matcher`."""
        seats = context.seats
        counts = {name: context.conditions.get(name, 0) for name in self._caps}
        proposals = []
        for at in range(0, len(candidates) - seats + 1, seats):
            open_ones = [name for name, cap in self._caps.items() if cap is None or counts[name] < cap]
            if not open_ones:
                break
            condition = min(open_ones, key=lambda name: counts[name])
            why = f"They waited first; {condition} has {counts[condition]} matches, the fewest."
            proposals.append(Proposal(ids(candidates[at : at + seats]), why, condition))
            counts[condition] += 1
        left = left_over(candidates, proposals)
        if all(cap is not None and counts[name] >= cap for name, cap in self._caps.items()):
            return Round(tuple(proposals), tuple(Rejection((each.id,), "Every condition is full.") for each in left))
        return Round(tuple(proposals), too_few(left, seats))
