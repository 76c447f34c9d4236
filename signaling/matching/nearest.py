"""Which pairs of the waiting room are to be measured next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from signaling.matching.base import Candidate

MOST_PAIRS = 16
"""Of one round."""
REACH = 20
"""How far behind each of them somebody to be measured with is looked for."""


def nearest_pairs(
    candidates: Sequence[Candidate], is_wanted: Callable[[Candidate, Candidate], bool], *, most: int = MOST_PAIRS
) -> tuple[tuple[str, str], ...]:
    """Return pairs for which ``is_wanted`` holds, nearest in the queue first; nobody is in two of them.

    Asked again after each measurement, every pair of those who wait has its turn, the next ones of the queue first.
    """
    pairs: list[tuple[str, str]] = []
    taken: set[str] = set()
    for index, first in enumerate(candidates):
        if len(pairs) >= most:
            break
        if first.id in taken:
            continue
        for second in candidates[index + 1 : index + 1 + REACH]:
            if second.id not in taken and is_wanted(first, second):
                pairs.append((first.id, second.id))
                taken.update(pairs[-1])
                break
    return tuple(pairs)
