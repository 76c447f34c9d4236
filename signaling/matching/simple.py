"""First come, first served; and the same within fixed groups."""

from __future__ import annotations

from collections.abc import Sequence

from signaling.matching.base import (
    Candidate,
    Context,
    Proposal,
    Rejection,
    Round,
    ids,
    left_over,
    too_few,
)


class FirstCome:
    """Whoever waits first is matched first."""

    name = "fifo"
    looks_at_others = False

    def propose(self, candidates: Sequence[Candidate], context: Context, now: float) -> Round:
        """See :class:`~signaling.matching.base.Matcher`."""
        seats = context.seats
        groups = [candidates[at : at + seats] for at in range(0, len(candidates) - seats + 1, seats)]
        proposals = tuple(Proposal(ids(group), "They waited first.") for group in groups)
        return Round(proposals, too_few(left_over(candidates, proposals), seats))


class FixedGroups:
    """Only those of the same group play together, whoever waits first of each first.

    Args:
        attribute: of the participants, that names their group.
    """

    name = "groups"
    looks_at_others = False

    def __init__(self, attribute: str = "group") -> None:
        self._attribute = attribute

    def propose(self, candidates: Sequence[Candidate], context: Context, now: float) -> Round:
        """See :class:`~signaling.matching.base.Matcher`."""
        groups: dict[str, list[Candidate]] = {}
        rejections: list[Rejection] = []
        proposals: list[Proposal] = []
        for each in candidates:
            group = each.attributes.get(self._attribute, "")
            if not group:
                rejections.append(Rejection((each.id,), f"It has no {self._attribute}."))
                continue
            members = groups.setdefault(group, [])
            members.append(each)
            if len(members) == context.seats:
                proposals.append(Proposal(ids(members), f"They are of the {self._attribute} {group}."))
                members.clear()
        for group, members in groups.items():
            missing = context.seats - len(members)
            rejections += [Rejection((each.id,), f"Waits for {missing} more of {group}.") for each in members]
        return Round(tuple(proposals), tuple(rejections))
