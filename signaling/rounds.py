"""One round of matching: what the matcher is asked, what it may answer, and what is written down of it. Pure.

A matcher that may take its time is asked aside, by the edge: one question at a time. Those who come or go meanwhile are
in the next one, which is asked as soon as the answer is there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from signaling.effects import AskMatcher, Effect, Noted
from signaling.matching.base import Candidate, Context, Proposal, Rejection, Round, check_round
from signaling.probing import Probing
from signaling.room_state import Participant, RoomState

MAX_MEASURED = 200
"""Measured pairs in the line of a decision."""

ASK_AGAIN_S = 0.4
"""After which a matcher that is asked aside is asked the same again: its limits may be relaxed as people wait."""

_MATCHER = "matcher"
"""Who causes a round that differs from the one before in nothing but what the matcher says of itself."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a round came to, without what changes by itself: the same is not written down again."""

    waiting: Mapping[str, str] = field(default_factory=dict)
    """Addresses of those who could be proposed."""
    rejected: tuple[tuple[tuple[str, ...], str], ...] = ()
    error: str = ""

    def causes(self, before: _Outcome, chosen: set[str]) -> list[tuple[str, str]]:
        """Return due to whom it is worth a line: who was chosen, came or went, or of whom it says something else."""
        changed = chosen or self.waiting.keys() ^ before.waiting.keys()
        if not changed:
            others = {*self.rejected} ^ {*before.rejected}
            changed = {member for members, _ in others for member in members} or {_MATCHER}
        return [(each, self.waiting.get(each) or before.waiting.get(each, "")) for each in sorted(changed)]


@dataclass(frozen=True, slots=True)
class _Question:
    """What a matcher was asked aside."""

    id: int = 0
    candidates: tuple[Candidate, ...] = ()
    is_open: bool = False
    answered_at: float = 0.0


class Rounds:
    """See the module's docstring."""

    def __init__(self, state: RoomState, probing: Probing) -> None:
        self._state = state
        self._probing = probing
        self._last = _Outcome()
        self._question = _Question()

    def candidate(self, each: Participant, now: float) -> Candidate:
        """Return a participant as a matcher sees it."""
        return Candidate(
            id=each.id,
            label=each.label,
            bot=each.bot,
            attributes=dict(each.attributes),
            waited_s=each.waited(now=now),
            rtt_ms=each.rtt_ms,
            partners=self._state.partners.get(each.key, ()),
        )

    def ask(self, candidates: Sequence[Candidate], *, now: float) -> Round:
        """Ask the matcher here and now. Whatever it does, the room goes on."""
        try:
            found = self._state.rules.matcher.propose(candidates, self._context(candidates, now), now)
        except Exception as error:  # noqa: BLE001 - a matcher may be anybody's; its error is told, nobody is matched
            return Round(error=f"{type(error).__name__}: {error}"[:300])
        return self.checked(found, candidates)

    def checked(self, found: Round, candidates: Sequence[Candidate]) -> Round:
        """Return a round that can be carried out: this one, or one with what is wrong with it."""
        try:
            problem = found.error or check_round(found, candidates, self._state.settings.seats)
        except Exception as error:  # noqa: BLE001 - the same: it may hold anything
            problem = f"It gave what is no answer ({type(error).__name__}: {error})"[:300]
        return Round(error=problem) if problem else found

    def ask_aside(self, candidates: tuple[Candidate, ...], *, now: float) -> list[Effect]:
        """Let the edge ask, unless an answer is awaited, or was just given about the same candidates."""
        last = self._question
        same = [each.id for each in candidates] == [each.id for each in last.candidates]
        if last.is_open or (same and now < last.answered_at + ASK_AGAIN_S):
            return []
        self._question = _Question(last.id + 1, candidates, is_open=True)
        return [AskMatcher(self._question.id, candidates, self._context(candidates, now), now)]

    def asked(self, request: int) -> tuple[Candidate, ...]:
        """Return whom a question is about that is answered now; nobody if no answer to it is awaited."""
        question = self._question
        return question.candidates if question.is_open and request == question.id else ()

    def close(self, *, is_final: bool, now: float) -> None:
        """The question is answered; ``is_final``: the same is not to be asked again at once."""
        last = self._question
        self._question = _Question(last.id, last.candidates if is_final else (), answered_at=now)

    def _context(self, candidates: Sequence[Candidate], now: float) -> Context:
        state = self._state
        conditions = dict(state.conditions)
        for pending in state.pending.values():
            if pending.condition:
                conditions[pending.condition] = conditions.get(pending.condition, 0) + 1
        here = {each.id for each in candidates}
        wanted = state.rules.matcher.looks_at_others
        other_ones = (each for each in state.participants.values() if wanted and each.id not in here)
        return Context(
            seats=state.settings.seats,
            pair_rtt_ms=self._probing.rtts(here, now=now),
            can_measure=True,
            unmeasurable=self._probing.failures(here, now=now),
            conditions=conditions,
            others=tuple(self.candidate(each, now) for each in other_ones),
        )

    # -- what is written down -----------------------------------------------------------------------------------------

    def written(
        self, candidates: Sequence[Candidate], found: Round, chosen: Mapping[str, Proposal], *, now: float
    ) -> list[Effect]:
        """Return what keeps a round, if it is worth a line; ``chosen``: what was proposed, by the proposal's id."""
        state = self._state
        state.matching_problem = found.error
        known = (state.participants.get(each.id) for each in candidates)
        waiting = {each.id: each.address for each in known if each is not None}
        outcome = _Outcome(waiting, tuple((each.members, each.kind) for each in found.rejections), found.error)
        if not chosen and outcome == self._last:
            return []
        members = {member for proposal in chosen.values() for member in proposal.members}
        causes, self._last = outcome.causes(self._last, members), outcome
        effects = state.decide(self._line(candidates, found, chosen, now), causes=causes, now=now)
        if found.error and effects:
            effects.append(Noted("matcher failed", {"matcher": state.rules.matcher.name, "error": found.error}))
            state.note("matcher", found.error, now, severity="problem")
        return effects

    def _line(
        self, candidates: Sequence[Candidate], found: Round, chosen: Mapping[str, Proposal], now: float
    ) -> dict[str, object]:
        waited = [
            {
                "id": each.id,
                "label": each.label,
                "waited_s": each.waited_s,
                "rtt_ms": each.rtt_ms,
                "attributes": dict(each.attributes),
            }
            for each in candidates
        ]
        measured = self._probing.rtts([each.id for each in candidates], now=now)
        pairs = [{"members": sorted(pair), "rtt_ms": rtt_ms} for pair, rtt_ms in measured.items()]
        return {
            "decision": "round",
            "matcher": self._state.rules.matcher.name,
            "waiting": waited,
            "chosen": [{"proposal": proposal, **members_line(each)} for proposal, each in chosen.items()],
            "rejected": [{"members": list(each.members), "why": each.why} for each in found.rejections],
            "measured": pairs[:MAX_MEASURED],
            "error": found.error,
        }


def without(found: Round, free: Collection[str]) -> Round:
    """Return a round without proposals of which a member cannot be proposed any more."""
    late = [each for each in found.proposals if not set(each.members) <= set(free)]
    proposals = tuple(each for each in found.proposals if each not in late)
    why = "Not all of them were still there when the matcher had answered."
    return replace(
        found, proposals=proposals, rejections=(*found.rejections, *(Rejection(each.members, why) for each in late))
    )


def members_line(proposal: Proposal) -> dict[str, object]:
    """Return a proposal as a decision names it."""
    return {"members": list(proposal.members), "why": proposal.why, "condition": proposal.condition}
