"""Matchers that look at who has played with whom: the same again, never the same twice, each with each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from signaling.matching.base import (
    Candidate,
    Context,
    Proposal,
    Rejection,
    Round,
    ids,
    left_over,
    take_in_turn,
    unsuited,
)


def meetings(a: Candidate, b: Candidate) -> int:
    """Return how often two were in a match together, as either remembers it."""
    return max(a.partners.count(b.key), b.partners.count(a.key))


class Reunion:
    """Those who have played play with the same again; newcomers play with newcomers."""

    name = "reunion"
    looks_at_others = False

    def propose(self, candidates: Sequence[Candidate], context: Context, now: float) -> Round:
        """See :class:`~signaling.matching.base.Matcher`."""
        last = context.seats - 1  # so many partners had each in its last match

        def suits(a: Candidate, b: Candidate) -> bool:
            if not a.partners and not b.partners:
                return True
            return b.key in a.partners[-last:] and a.key in b.partners[-last:]

        def why(a: Candidate, b: Candidate) -> str:
            return "" if suits(a, b) else "They were not in a match together the last time."

        groups = list(take_in_turn(candidates, context.seats, suits)) if last else [(each,) for each in candidates]
        proposals = tuple(
            Proposal(ids(group), "They played together before." if group[0].partners else "All are new.")
            for group in groups
        )
        return Round(proposals, unsuited(left_over(candidates, proposals), context.seats, why))


class NewPartners:
    """Nobody plays with the same partner twice."""

    name = "new-partners"
    looks_at_others = False

    def propose(self, candidates: Sequence[Candidate], context: Context, now: float) -> Round:
        """See :class:`~signaling.matching.base.Matcher`."""

        def why(a: Candidate, b: Candidate) -> str:
            return "They have played together already." if meetings(a, b) else ""

        groups = take_in_turn(candidates, context.seats, lambda a, b: not meetings(a, b))
        proposals = tuple(Proposal(ids(group), "They have never played together.") for group in groups)
        return Round(proposals, unsuited(left_over(candidates, proposals), context.seats, why))


class RoundRobin:
    """Each plays with each, and with nobody for the second time before that.

    Whom somebody has met least is looked for among all who are here, those in a match too: rather than play again with
    the same, they wait. In groups of more than two, the group is taken whose members have met least.
    """

    name = "round-robin"
    looks_at_others = True

    def propose(self, candidates: Sequence[Candidate], context: Context, now: float) -> Round:
        """See :class:`~signaling.matching.base.Matcher`."""
        if context.seats != 2:
            return _least_met(candidates, context.seats)
        here = [*candidates, *context.others]
        least = {
            each.id: min((meetings(each, other) for other in here if other is not each), default=0) for each in here
        }

        def suits(a: Candidate, b: Candidate) -> bool:
            return meetings(a, b) <= min(least[a.id], least[b.id])

        def why(a: Candidate, b: Candidate) -> str:
            if suits(a, b):
                return ""
            return f"They have met {meetings(a, b)} times, and somebody here is next for one of them."

        groups = take_in_turn(candidates, 2, suits)
        proposals = tuple(Proposal(ids(pair), f"They have met {meetings(*pair)} times.") for pair in groups)
        return Round(proposals, unsuited(left_over(candidates, proposals), 2, why))


def _least_met(candidates: Sequence[Candidate], seats: int) -> Round:
    left, proposals = list(candidates), []
    while len(left) >= seats:
        group = [left.pop(0)]
        while len(group) < seats:
            # The first of those who have met the group least: `min` keeps the order of the waiting room.
            nearest = min(left, key=lambda each: sum(meetings(each, member) for member in group))
            left.remove(nearest)
            group.append(nearest)
        met = sum(meetings(a, b) for a, b in combinations(group, 2))
        proposals.append(Proposal(ids(group), f"Their pairs have met {met} times."))
    missing = seats - len(left)
    return Round(tuple(proposals), tuple(Rejection((each.id,), f"Waits for {missing} more.") for each in left))
