"""While a match runs: whoever breaks a rule is warned, then excluded; the others are told kindly, and go on or end."""

from __future__ import annotations

import msgspec

from p2pclient.common.lobby_messages import refusal
from p2pclient.common.room_messages import Command, Removed, Report
from p2pclient.common.stages import Stage
from signaling.admission import Admission
from signaling.effects import AskHook, Decided, Effect, Noted
from signaling.exclusion import Calmed, Excluded, Outcome, Oversight, Warned
from signaling.identity import label_key
from signaling.keeping import KeptRoom, ParticipantFacts
from signaling.room_state import Participant, RoomState
from signaling.running import RunningMatches

KEPT_LABELS = 5000
"""Names of who was excluded; of more, the oldest are forgotten."""

EXCLUDED = "excluded"
"""Why a match ended."""


class Conduct:
    """See the module's docstring; the rules are applied by :class:`~signaling.exclusion.Oversight`."""

    def __init__(self, state: RoomState, running: RunningMatches, admission: Admission) -> None:
        self._state = state
        self._running = running
        self._admission = admission
        self._rules = state.rules.screening.playing
        self._oversight = None if self._rules is None else Oversight(self._rules, rate_hz=state.settings.rate_hz)
        self._said = 0
        self._asked: dict[str, tuple[str, str]] = {}
        """Match and participant by request to the researcher's function."""
        self._requests = 0
        self._last_error = ""
        self._labels: dict[str, str] = {}
        """What those were told who were excluded and may not come back."""

    def restore(self, kept: KeptRoom) -> None:
        """Go on with whom an earlier server has excluded, unless the rules now let them come back."""
        if self._rules is not None and self._rules.come_back:
            return
        for each in sorted(kept.participants, key=lambda one: one.changed_at):
            try:
                facts = msgspec.convert(each.room, ParticipantFacts)
            except ValueError:  # said by whoever restores the participants
                continue
            if facts.barred and each.label:
                self._bar(each.label, facts.barred)

    def check(self, label: str) -> None:
        """Raise :class:`SignalingError` (``removed``) for the name of somebody who was excluded from a match."""
        if label and label_key(label) in self._labels:
            raise refusal("removed", self._labels[label_key(label)])

    def report(self, known: Participant | None, report: Report, *, now: float) -> list[Effect]:
        """Take in how a match goes for somebody."""
        match = self._state.matches.get(report.match_id)
        if self._oversight is None or self._rules is None or known is None or match is None:
            return []
        if known.id not in match.open or known.is_ours or (known.bot and not self._rules.bots):
            return []
        outcomes = self._oversight.take(match.id, known.id, report.health, server_rtt_ms=known.rtt_ms, now=now)
        effects = self._follow(match.id, outcomes, now)
        if known.match_id == match.id and self._oversight.wants_hook(match.id, known.id, now=now):
            effects.append(self._ask(match.id, known, report))
        return effects

    def hook_answered(self, request: str, message: str | None, error: str, *, now: float) -> list[Effect]:
        """The researcher's function has answered. Does nothing for a request that is not known."""
        match, participant = self._asked.pop(request, ("", ""))
        if self._oversight is None or match not in self._state.matches:
            return []
        if error:
            if error != self._last_error:  # it is asked again and again: once is enough to be seen
                self._state.note("screening", error, now, match=match, participant=participant, severity="problem")
            self._last_error = error
            return []
        return self._follow(match, self._oversight.hook_answered(match, participant, message, now=now), now)

    def prune(self) -> list[Effect]:
        """Forget matches that are over, and take back the warnings that stood in them."""
        if self._oversight is None:
            return []
        effects: list[Effect] = []
        for participant in self._oversight.keep_only(self._state.matches):
            known = self._state.participants.get(participant)
            if known is not None and known.stage is not Stage.EXCLUDED:
                effects += self._tell(known, known.note)
        self._asked = {key: each for key, each in self._asked.items() if each[0] in self._state.matches}
        return effects

    def _ask(self, match: str, known: Participant, report: Report) -> AskHook:
        self._requests += 1
        request = f"p{self._requests}"
        self._asked[request] = match, known.id
        facts = self._admission.facts_of(known.id)
        told = {
            "participant": known.id,
            "label": known.label,
            "station": known.station,
            "bot": known.bot,
            "match": match,
            "server_rtt_ms": known.rtt_ms,
            "health": msgspec.to_builtins(report.health),
            "entry": None if facts is None else msgspec.to_builtins(facts),
        }
        return AskHook(request, "playing", told)

    # -- what follows -------------------------------------------------------------------------------------------------

    def _follow(self, match: str, outcomes: list[Outcome], now: float) -> list[Effect]:
        effects: list[Effect] = []
        for outcome in outcomes:
            known = self._state.participants.get(outcome.participant)
            if known is None or known.match_id != match:
                continue
            match outcome:
                case Warned():
                    text = f"{known.key} was warned ({outcome.rule}): {outcome.text}"
                    self._state.note("screening", text, now, match=match, participant=known.id, severity="warning")
                    effects += self._say(known, match)
                case Calmed():
                    effects += self._say(known, match)
                case Excluded():
                    effects += self._exclude(known, match, outcome, now)
        return effects

    def _say(self, known: Participant, match: str) -> list[Effect]:
        """Show the warning that stands; without one, what the researcher said last, or nothing."""
        assert self._oversight is not None
        return self._tell(known, self._oversight.warning_of(match, known.id) or known.note)

    def _tell(self, known: Participant, text: str) -> list[Effect]:
        self._said += 1
        command = Command(action_id=f"w{self._said}", kind="say", text=text)
        return self._state.send(known.id, command)

    def _exclude(self, known: Participant, match_id: str, outcome: Excluded, now: float) -> list[Effect]:
        assert self._rules is not None
        state, reason = self._state, f"{outcome.rule}: {outcome.measured}"
        match = state.matches[match_id]
        match.results.append(EXCLUDED)
        text = f"{known.key} was excluded: {reason}"
        state.note("screening", text, now, match=match_id, participant=known.id, severity="problem")
        line = {"decision": "excluded", "id": known.id, "label": known.label, "match": match_id, "rule": outcome.rule}
        effects: list[Effect] = [
            Noted("excluded", {"match": match_id, "client": known.id, "rule": outcome.rule, "reason": reason}),
            Decided({**line, "reason": reason}),
            *state.send(known.id, Removed(message=outcome.message, rule=outcome.rule)),
        ]
        effects += self._running.quit(known, "left", now=now, message=self._rules.partner_message)
        known.enter(Stage.EXCLUDED, now=now)
        known.reason = reason
        if known.label and not self._rules.come_back:
            known.barred = outcome.message
            known.touch()
            self._bar(known.label, outcome.message)
        return effects

    def _bar(self, label: str, message: str) -> None:
        self._labels[label_key(label)] = message
        while len(self._labels) > KEPT_LABELS:
            del self._labels[next(iter(self._labels))]
