"""A study's own rule: a function of Python that says who plays with whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from signaling.matching.base import Candidate, Context, Proposal, Rejection, Round, left_over

MAX_CHARS = 300


class Hook:
    """Asks a function, and survives whatever it does.

    The function is called with the candidates, the context and the time. It returns a :class:`Round`, or an iterable of
    groups, each an iterable of candidates or of their ids in the order of the seats. An exception matches nobody in
    this round, and is in the decision. A server calls it in a thread of its own (:mod:`signaling.matching_hook`).

    Args:
        name: ``module:function``.
        function: loaded by whoever starts the server.
    """

    looks_at_others = True

    def __init__(self, name: str, function: Callable[[Sequence[Candidate], Context, float], Any]) -> None:
        self.name = name
        self._function = function

    def propose(self, candidates: Sequence[Candidate], context: Context, now: float) -> Round:
        """See :class:`~signaling.matching.base.Matcher`."""
        try:
            answer = self._function(candidates, context, now)
            if isinstance(answer, Round):
                return answer
            groups = [tuple(each.id if isinstance(each, Candidate) else each for each in group) for group in answer]
            proposals = tuple(Proposal(group, f"{self.name} chose them.") for group in groups)
            left = left_over(candidates, proposals)
            return Round(proposals, tuple(Rejection((each.id,), f"{self.name} did not choose it.") for each in left))
        except Exception as error:  # noqa: BLE001 - somebody else's code; its error is told, and nobody is matched
            return Round(error=f"{self.name}: {type(error).__name__}: {error}"[:MAX_CHARS])
