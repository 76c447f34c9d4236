"""Before the waiting room: whoever wants a place is measured, and let in or sent away kindly.

Who was let in once is not measured again while it is here. Who was sent away may come again over a new connection: it
may have plugged in its power cable meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from p2pclient.common.room_messages import Removed
from p2pclient.common.screening_messages import Facts, Screen, Screened
from p2pclient.common.stages import Stage
from signaling.effects import AskHook, Effect, Noted
from signaling.pairing import Pairing
from signaling.room_state import Participant, RoomState
from signaling.screening import checks_for, judge
from signaling.screening_rules import Entry

NO_ANSWER = "no-answer"
HOOK = "custom"
_HOOK_SPARE_S = 5.0
"""Beyond the time limits of the edge, which always answers."""


@dataclass(slots=True)
class _Case:
    """One participant who is being screened."""

    id: str
    until: float
    is_asked: bool = False
    """The researcher's function has the facts."""


class Admission:
    """See the module's docstring."""

    def __init__(self, state: RoomState, pairing: Pairing) -> None:
        self._state = state
        self._pairing = pairing
        self._cases: dict[str, _Case] = {}
        self._facts: dict[str, Facts] = {}
        """Of who was let in or is being screened."""
        self._cases_made = 0

    @property
    def _entry(self) -> Entry | None:
        return self._state.rules.screening.entry

    def facts_of(self, participant: str) -> Facts | None:
        """Return what somebody's computer was found to be."""
        return self._facts.get(participant)

    def screen(self, known: Participant, *, now: float) -> list[Effect] | None:
        """Have somebody measured who wants a place; None if it may have one at once."""
        entry = self._entry
        if entry is None or known.was_let_in or known.is_ours or (known.bot and not entry.bots):
            return None
        if known.stage is not Stage.SCREENING:
            known.enter(Stage.SCREENING, now=now)
        self._cases_made += 1
        case = self._cases[known.id] = _Case(f"s{self._cases_made}", now + entry.within_s)
        return self._state.send(
            known.id, Screen(screening_id=case.id, checks=checks_for(entry), within_s=entry.within_s)
        )

    def screened(self, known: Participant | None, screened: Screened, *, now: float) -> list[Effect]:
        """A client has measured. Does nothing for a screening that is over."""
        case = self._case_of(known)
        entry = self._entry
        if known is None or case is None or case.is_asked or case.id != screened.screening_id or entry is None:
            return []
        self._facts[known.id] = screened.facts
        verdict = judge(entry, screened.facts)
        if not verdict.is_admitted:
            return self._exclude(known, verdict.rule, verdict.message, verdict.reason, now)
        if entry.custom is None:
            return self._admit(known, now)
        case.is_asked = True
        case.until = now + 2 * entry.custom.timeout_s + _HOOK_SPARE_S
        return [AskHook(case.id, "entry", self._told(known))]

    def hook_answered(self, request: str, message: str | None, error: str, *, now: float) -> list[Effect]:
        """The researcher's function has answered. Does nothing for who has gone meanwhile."""
        participant = next((each for each, case in self._cases.items() if case.id == request), "")
        known = self._state.participants.get(participant)
        entry = self._entry
        if known is None or self._case_of(known) is None or entry is None or entry.custom is None:
            return []
        if error:
            self._state.note("screening", error, now, participant=known.id, severity="problem")
            if entry.custom.on_error == "exclude":
                return self._exclude(known, HOOK, entry.custom.message, error, now)
        if message is not None:
            return self._exclude(known, HOOK, message, f"{entry.custom.hook}: {message}", now)
        return self._admit(known, now)

    def leave(self, known: Participant, *, now: float) -> None:
        """Somebody does not want a place any more. Does nothing for who is not being screened."""
        self._cases.pop(known.id, None)
        if known.stage is Stage.SCREENING:
            known.enter(Stage.IDLE, now=now)

    def expire(self, *, now: float) -> list[Effect]:
        """Send away who has not answered in time, and forget who has gone."""
        here, entry = self._state.participants, self._entry
        if entry is None:
            return []
        effects: list[Effect] = []
        for participant in list(self._cases):
            known = here.get(participant)
            case = self._case_of(known)
            if known is None or case is None:
                del self._cases[participant]
            elif now >= case.until:
                effects += self._exclude(known, NO_ANSWER, entry.no_answer, "It was not measured in time.", now)
        self._facts = {each: facts for each, facts in self._facts.items() if each in here}
        return effects

    def _case_of(self, known: Participant | None) -> _Case | None:
        return self._cases.get(known.id) if known is not None and known.stage is Stage.SCREENING else None

    def _told(self, known: Participant) -> dict[str, Any]:
        """Return what the researcher's function is told."""
        return {
            "participant": known.id,
            "label": known.label,
            "station": known.station,
            "bot": known.bot,
            "attributes": dict(known.attributes),
            "server_rtt_ms": known.rtt_ms,
            **msgspec.to_builtins(self._facts[known.id]),
        }

    def _admit(self, known: Participant, now: float) -> list[Effect]:
        del self._cases[known.id]
        known.was_let_in = True
        self._pairing.enter(known, now=now)
        self._state.note("screening", f"{known.key} was let in.", now, participant=known.id)
        return self._decided(known, "admitted", "", "", now)

    def _exclude(self, known: Participant, rule: str, message: str, reason: str, now: float) -> list[Effect]:
        del self._cases[known.id]
        known.enter(Stage.EXCLUDED, now=now)
        known.reason = reason
        text = f"{known.key} was not let in: {reason}"
        self._state.note("screening", text, now, participant=known.id, severity="warning")
        facts = {"client": known.id, "rule": rule, "reason": reason}
        return [
            Noted("not let in", {**facts}),
            *self._decided(known, "not admitted", rule, reason, now),
            *self._state.send(known.id, Removed(message=message, rule=rule)),
        ]

    def _decided(self, known: Participant, what: str, rule: str, reason: str, now: float) -> list[Effect]:
        facts = self._facts.get(known.id)
        measured = None if facts is None else msgspec.to_builtins(facts)
        line: dict[str, object] = {"decision": what, "id": known.id, "label": known.label, "rule": rule}
        line.update(reason=reason, facts=measured)
        return self._state.decide(line, causes=[(known.id, known.address)], now=now)
