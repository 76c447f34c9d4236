"""What a matcher is: who waits goes in, who should play with whom comes out, and why. Pure.

A matcher only proposes. The room checks what it gets, asks everybody proposed, and begins the match when all have
confirmed. It is asked again whenever somebody comes or goes, and about once a second, so that limits can be relaxed
as people wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Protocol

MAX_STEPS = 5_000
"""Partial groups that :func:`find_group` looks at. Beyond, the others wait for the next round."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody who waits, is there, and is ready to play."""

    id: str
    label: str = ""
    bot: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    waited_s: float = 0.0
    """Since it was ready."""
    rtt_ms: float | None = None
    """Round trip to the server; None until it was measured."""
    partners: tuple[str, ...] = ()
    """:attr:`key` of everybody with whom it was in a match, the newest last, once for each match."""

    @property
    def key(self) -> str:
        """By what it is known again: the label, or the id of this visit."""
        return self.label or self.id


@dataclass(frozen=True, slots=True)
class Context:
    """What a matcher may know beside the candidates."""

    seats: int
    """How many a match needs. Every proposal has so many members."""
    pair_rtt_ms: Mapping[frozenset[str], float] = field(default_factory=dict)
    """Measured between two candidates, by their ids; empty where nothing was measured."""
    can_measure: bool = False
    """Pairs named in :attr:`Round.to_measure` will be measured, and the matcher asked again."""
    unmeasurable: Mapping[frozenset[str], str] = field(default_factory=dict)
    """Why the network between two could not be measured lately, as sentences; after a while they are tried again."""
    conditions: Mapping[str, int] = field(default_factory=dict)
    """Matches begun or proposed so far, by condition."""
    others: tuple[Candidate, ...] = ()
    """Who is here and may be a candidate later: in a match, not ready, or between matches."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """These should play together, in the order of their seats."""

    members: tuple[str, ...]
    why: str
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """These are not matched for now: one of them, or a pair or group that does not go together."""

    members: tuple[str, ...]
    why: str
    kind: str = ""
    """Stays the same while only figures in the sentence change."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a matcher said when it was asked once."""

    proposals: tuple[Proposal, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    to_measure: tuple[tuple[str, str], ...] = ()
    """Pairs whose network the matcher would like to know, the most wanted first."""
    error: str = ""
    """What failed in it, for the log and the decision; then nobody is proposed."""


class Matcher(Protocol):
    """Decides who should play together. Keeps nothing between two rounds that matters."""

    name: str
    """As given on the command line."""
    looks_at_others: bool
    """Does it need :attr:`Context.others`, which is empty otherwise."""

    def propose(self, candidates: Sequence[Candidate], context: Context, now: float) -> Round:
        """Return who should play together.

        Args:
            candidates: in the order of the waiting room, the next one first.
            now: seconds, of the clock by which people wait.
        """


def check_round(found: Round, candidates: Sequence[Candidate], seats: int) -> str:
    """Return what is wrong with a round, as a sentence; empty if it can be carried out."""
    groups = [*(each.members for each in found.proposals), *(each.members for each in found.rejections)]
    if not all(isinstance(member, str) for group in (*groups, *found.to_measure) for member in group):
        return "It named somebody by something else than an id."
    known = {each.id for each in candidates}
    seen: set[str] = set()
    for proposal in found.proposals:
        members = proposal.members
        if len(members) != seats:
            return f"It proposed {len(members)} for a match of {seats}."
        if not known.issuperset(members):
            return f"It proposed somebody who is no candidate: {sorted({*members} - known)[0]}."
        if len({*members}) < len(members) or seen.intersection(members):
            return "It proposed somebody twice."
        seen.update(members)
    return ""


def take_in_turn(
    candidates: Sequence[Candidate], seats: int, suits: Callable[[Candidate, Candidate], bool]
) -> Iterator[tuple[Candidate, ...]]:
    """Yield groups all of whose pairs suit, beginning with those who wait first; nobody is in two of them."""
    left = list(candidates)
    steps = [MAX_STEPS]
    index = 0
    while index < len(left):
        group = find_group(left[index], left[index + 1 :], seats, suits, steps)
        if group is None:
            index += 1
            continue
        yield group
        left = [each for each in left if each not in group]


def find_group(
    first: Candidate,
    others: Sequence[Candidate],
    seats: int,
    suits: Callable[[Candidate, Candidate], bool],
    steps: list[int],
) -> tuple[Candidate, ...] | None:
    """Return a group with ``first`` in it all of whose pairs suit, None if there is none; earlier others are preferred.

    ``steps`` holds how much may still be tried, and is counted down: finding such groups takes exponential time.
    """

    def extend(group: tuple[Candidate, ...], rest: Sequence[Candidate]) -> tuple[Candidate, ...] | None:
        if len(group) == seats:
            return group
        for index, each in enumerate(rest):
            if steps[0] <= 0 or len(group) + len(rest) - index < seats:
                return None
            steps[0] -= 1
            if all(suits(member, each) for member in group):
                found = extend((*group, each), rest[index + 1 :])
                if found is not None:
                    return found
        return None

    return extend((first,), others)


def ids(members: Iterable[Candidate]) -> tuple[str, ...]:
    """Return the ids of candidates."""
    return tuple(each.id for each in members)


def left_over(candidates: Sequence[Candidate], proposals: Iterable[Proposal]) -> list[Candidate]:
    """Return who is in no proposal."""
    taken = {member for proposal in proposals for member in proposal.members}
    return [each for each in candidates if each.id not in taken]


def too_few(candidates: Sequence[Candidate], seats: int) -> tuple[Rejection, ...]:
    """Return for each of too few candidates that others must come."""
    missing = seats - len(candidates)
    if missing <= 0:
        return ()
    return tuple(Rejection((each.id,), f"Waits for {missing} more.") for each in candidates)


def unsuited(
    candidates: Sequence[Candidate], seats: int, why: Callable[[Candidate, Candidate], str], *, most: int = 50
) -> tuple[Rejection, ...]:
    """Return for everybody left over why nobody suits: for each pair of the first few, the reason against it."""
    found = list(too_few(candidates, seats))
    for a, b in combinations(candidates[:most], 2):
        reason = why(a, b)
        if reason and len(found) < most:
            found.append(Rejection((a.id, b.id), reason))
    return tuple(found)
