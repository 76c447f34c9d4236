"""Pairs whose network is good enough, the bound relaxed as they wait."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from p2pclient.common.errors import ConfigurationError
from signaling.matching.base import (
    Candidate,
    Context,
    Proposal,
    Rejection,
    Round,
    ids,
    left_over,
    take_in_turn,
    too_few,
)
from signaling.matching.nearest import nearest_pairs

MEASURE_WITHIN_S = 10.0
"""How long somebody whose round trip is not known yet is left out. Afterwards it is taken as it comes."""

MOST_REJECTIONS = 50
_LOOKED_AT = 50
"""Of those left over, for reasons."""


class RttAware:
    """Players are matched if the round trip between every two of them is within a limit.

    Pairs are measured first: the two clients connect to each other and try it. Where nothing can be measured, or with
    ``probe=False``, the sum of both round trips to the server counts, which by way of the server is what a packet
    between them would take.

    Args:
        limit_ms: of a pair that has just come.
        relax_ms_per_s: by how much the limit grows with each second that the one of a pair has waited who waits longer.
        most_ms: never more than this; None for no bound.
        probe: may pairs be measured.

    Raises:
        ConfigurationError: a value is out of range.
    """

    name = "rtt"
    looks_at_others = False

    def __init__(
        self,
        limit_ms: float = 150.0,
        relax_ms_per_s: float = 5.0,
        most_ms: float | None = None,
        *,
        probe: bool = True,
    ) -> None:
        for setting, value in (("limit", limit_ms), ("relax", relax_ms_per_s), ("most", most_ms or 0.0)):
            if not 0 <= value <= 1e6:
                raise ConfigurationError(f"--matching rtt:{setting}", value, "0 or more")
        self._limit = limit_ms
        self._relax = relax_ms_per_s
        self._most = most_ms
        self._probe = probe

    def propose(self, candidates: Sequence[Candidate], context: Context, now: float) -> Round:
        """See :class:`~signaling.matching.base.Matcher`."""
        unknown = [] if context.seats == 1 or self._probes(context) else [each for each in candidates if _is_new(each)]
        known = [each for each in candidates if each not in unknown]
        groups = list(take_in_turn(known, context.seats, lambda a, b: self._against(a, b, context) is None))
        proposals = tuple(Proposal(ids(group), self._reason(group, context)) for group in groups)
        left = left_over(known, proposals)
        rejections = [*too_few(left, context.seats), *map(_unmeasured, unknown)]
        for a, b in combinations(left[:_LOOKED_AT], 2):
            against = self._against(a, b, context)
            if against is not None and len(rejections) < MOST_REJECTIONS:
                rejections.append(against)
        to_measure: tuple[tuple[str, str], ...] = ()
        if self._probes(context) and len(left) >= context.seats > 1:
            to_measure = nearest_pairs(left, lambda a, b: self._is_open(a, b, context))
        return Round(proposals, tuple(rejections), to_measure)

    def _probes(self, context: Context) -> bool:
        return self._probe and context.can_measure

    def _is_open(self, a: Candidate, b: Candidate, context: Context) -> bool:
        """Was a pair neither measured lately, nor tried in vain."""
        pair = frozenset({a.id, b.id})
        return pair not in context.pair_rtt_ms and pair not in context.unmeasurable

    def _against(self, a: Candidate, b: Candidate, context: Context) -> Rejection | None:
        """Return why two do not go together now; None if they do."""
        pair = (a.id, b.id)
        if self._probes(context):
            if self._is_open(a, b, context):
                return Rejection(pair, "The network between them is being measured.", "unmeasured")
            if frozenset(pair) not in context.pair_rtt_ms:
                return Rejection(pair, context.unmeasurable[frozenset(pair)], "unmeasurable")
        between, limit = self._between(a, b, context), self._limit_for(a, b)
        if between is None or between <= limit:
            return None
        return Rejection(pair, f"{between:.0f} ms between them; at the moment {limit:.0f} ms are allowed.", "too far")

    def _between(self, a: Candidate, b: Candidate, context: Context) -> float | None:
        measured = context.pair_rtt_ms.get(frozenset({a.id, b.id}))
        if measured is not None:
            return measured
        return None if a.rtt_ms is None or b.rtt_ms is None else a.rtt_ms + b.rtt_ms

    def _limit_for(self, a: Candidate, b: Candidate) -> float:
        limit = self._limit + self._relax * max(a.waited_s, b.waited_s)
        return limit if self._most is None else min(limit, max(self._limit, self._most))

    def _reason(self, group: Sequence[Candidate], context: Context) -> str:
        found = [self._between(a, b, context) for a, b in combinations(group, 2)]
        known = [each for each in found if each is not None]
        worst = f"At most {max(known):.0f} ms between them" if known else "Nothing was measured between them"
        return f"{worst}; {self._limit_for(group[0], group[-1]):.0f} ms are allowed."


def _is_new(candidate: Candidate) -> bool:
    return candidate.rtt_ms is None and candidate.waited_s < MEASURE_WITHIN_S


def _unmeasured(candidate: Candidate) -> Rejection:
    return Rejection((candidate.id,), "Its round trip is still being measured.", "unmeasured")
