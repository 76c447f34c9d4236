"""The room again, from what an earlier server kept of it. Pure.

1. Everybody who was there is away, with a grace of its own: all clients come back at about the same time.
2. Who waited, or was proposed, has its place in the queue. Who played has its seat, and its match is shown again.
3. A match to which nobody comes back until the grace is over has ended, with a reason that says so.
4. Bots that the server had started ended with it.
5. Who was reserved for each other by a researcher still is, for at least as long as all may take to come back.
6. What researchers asked for is shown again; what became of it is not known, unless nobody had to answer.
7. No number or id is given twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from p2pclient.common.lobby_messages import MatchSettings
from p2pclient.common.sides import Sides
from p2pclient.common.stages import Stage
from signaling.actions import (
    DONE_AT_ONCE,
    Action,
    AddBot,
    EndMatch,
    ExtendMatch,
    Move,
    Pair,
    PauseMatch,
    Remove,
    ResumeMatch,
    Tell,
)
from signaling.attendance import Attendance
from signaling.keeping import KeptRoom, MatchFacts, ParticipantFacts, Reserved
from signaling.lifecycle import MatchState, Presence
from signaling.room_state import KEPT_ACTIONS, Ask, Booking, Participant, RoomState, RunningMatch
from signaling.running import UNKNOWN_AFTER_RESTART
from signaling.store import interface as store

NUMBERS_OF_A_START = 1_000_000
"""Proposals, actions and bots of one start: of these only the numbers must not come again."""

_UNKNOWN = "The server was started again; what became of it is not known."

_IN_MATCH = (Stage.CONNECTING, Stage.PLAYING)
_AS_THEY_WERE = (Stage.WAITING, Stage.FINISHED, Stage.EXCLUDED)


class Restoring:
    """Puts what was kept into a room that is still empty.

    Args:
        epoch: seconds since 1970 at second 0 of the room's clock.
    """

    def __init__(self, state: RoomState, attendance: Attendance, epoch: float) -> None:
        self._state = state
        self._attendance = attendance
        self._epoch = epoch

    def restore(self, kept: KeptRoom, *, now: float) -> None:
        """See the module's docstring. What cannot be read, because somebody changed it, is noted and left out."""
        state = self._state
        state.proposals_made = state.asks_made = state.bots_made = kept.starts * NUMBERS_OF_A_START
        state.matches_made = len(kept.matches)
        state.is_held = kept.is_held or state.rules.starts_held  # who asks for a hold at a start means this start
        for each in kept.matches:
            try:
                self._match(each)
            except ValueError as error:  # msgspec's own are ValueErrors
                state.note("store", f"What is kept of match {each.id} cannot be read: {error}", now, severity="problem")
        waiting = []
        for one in kept.participants:
            try:
                facts = msgspec.convert(one.room, ParticipantFacts)
                stage = Stage(one.state)
            except ValueError as error:
                text = f"What is kept of participant {one.id} cannot be read: {error}"
                state.note("store", text, now, severity="problem")
                continue
            if facts.here:
                known = self._participant(one, facts, stage, now)
                if known is not None and known.stage is Stage.WAITING:
                    waiting.append(known)
        for known in sorted(waiting, key=lambda each: each.place):
            state.queue.append(known.id)
            state.places_made = known.place
        self._reserve(kept, now)
        self._ask(kept.asked)
        self._close_empty(now)
        if state.participants or state.matches:
            text = f"The server was started again: {len(state.participants)} are expected to come back. "
            text += "What happened before is not shown here any more."
            state.note("start", text, now)

    def _participant(
        self, one: store.Participant, facts: ParticipantFacts, stage: Stage, now: float
    ) -> Participant | None:
        """Bring one back, away; None for a bot that ended with the server."""
        state = self._state
        known = Participant(id=one.id, token="", token_hash=one.token_hash, connection=None, since=now)
        known.touched, known.came, known.kept = state.touched, one.created_at - self._epoch, one
        known.kept_label, known.station, known.bot, known.is_ours = one.label, one.station, one.bot, facts.ours
        known.attributes = {name: str(value) for name, value in one.attributes.items()}
        known.finished, known.locked, known.reason, known.ready = one.finished, one.locked, one.reason, facts.ready
        known.was_let_in = facts.let_in
        known.barred, known.is_signed, known.link_id = facts.barred, facts.signed, facts.link
        if facts.ours or not one.token_hash:
            known.stage = Stage.GONE
            known.touch()
            return None
        match = state.matches.get(facts.match_id)
        if stage in _IN_MATCH and match is not None and one.id in match.open:
            known.stage, known.match_id = stage, match.id
        else:
            known.stage = stage if stage in _AS_THEY_WERE else Stage.IDLE
        known.since = (one.changed_at if known.stage is stage else 0.0) - self._epoch
        if known.stage is Stage.WAITING:
            known.place = facts.place
            known.ready_since = None if facts.waiting_since is None else facts.waiting_since - self._epoch
        known.presence, known.is_expected = Presence.AWAY, True
        known.lease_until = now + state.rules.restart_grace_s
        state.participants[known.id] = state.tokens[known.token_hash] = known
        self._attendance.rename(known, one.label)
        known.kept_label = ""
        known.touch()
        return known

    def _match(self, each: store.Match) -> None:
        state = self._state
        facts = msgspec.convert(each.room, MatchFacts)
        match = RunningMatch(
            id=each.id,
            seed=each.seed,
            seats=dict(facts.seats),
            labels=dict(facts.labels),
            began=each.created_at - self._epoch,
            state=MatchState(each.state),
            settings=msgspec.convert(each.settings, MatchSettings),
            open=set(facts.open),
            touched=state.touched_matches,
            condition=facts.condition,
            results=[str(told.get("reason", "")) for told in each.results],
            told=[dict(told) for told in each.results],
            let_in=facts.spectators,
            gone=set(facts.gone),
            through=set(facts.through),
            sides=Sides(
                {who: len(seats) for who, seats in facts.seats.items()},
                granted=tuple(frozenset(side) for side in facts.granted),
            ),
            waited=facts.waited,
            reason=each.reason,
            kept=each,
        )
        if facts.condition:
            state.conditions[facts.condition] = state.conditions.get(facts.condition, 0) + 1
        state.waits.extend(facts.waited)
        state.remember(_keys(facts.labels))
        if match.state is MatchState.ENDED:
            match.ended = (each.ended_at or each.created_at) - self._epoch
            state.ended.append(match)
            return
        match.is_restored = True
        state.matches[match.id] = match

    def _reserve(self, kept: KeptRoom, now: float) -> None:
        """Reserve again who was reserved, if all are expected back: a bot that ended with the server is not."""
        state = self._state
        found: dict[Reserved, set[str]] = {}
        for one in kept.participants:
            if one.id not in state.participants:
                continue
            try:
                facts = msgspec.convert(one.room, ParticipantFacts)
            except ValueError:  # noted already
                continue
            if facts.reserved is not None:
                found.setdefault(facts.reserved, set()).add(one.id)
        for reserved, members in found.items():
            if members != set(reserved.members) or len(members) != len(reserved.members):
                continue
            until = max(reserved.until - self._epoch, now + state.rules.restart_grace_s)
            state.bookings_made += 1
            state.bookings[state.bookings_made] = Booking(reserved.members, reserved.why, until, reserved.action)
            for member in reserved.members:
                state.participants[member].booking = state.bookings_made
                state.participants[member].touch()

    def _ask(self, lines: Sequence[store.AuditLine]) -> None:
        """Show again what was asked for, with what is known of it."""
        state = self._state
        pending = {booking.action for booking in state.bookings.values()}
        for line in lines[-KEPT_ACTIONS:]:
            asked, facts = str(line.facts.get("id", "")), line.facts.get("action")
            try:
                action = msgspec.convert(facts, Action)
            except ValueError:  # of another version of this program
                continue
            ask = Ask(asked, line.action, line.by, self._target(action), line.at - self._epoch)
            if isinstance(action, DONE_AT_ONCE):
                ask.state = "done"
            elif asked not in pending:
                ask.state, ask.detail = "unknown", _UNKNOWN
            state.asks.append(ask)

    def _target(self, action: Action) -> str:
        match action:
            case Pair():
                return ", ".join(self._state.name(each) for each in action.participants)
            case PauseMatch() | ResumeMatch() | ExtendMatch() | EndMatch():
                return action.match
            case Tell():
                return action.match or self._state.name(action.participant or "")
            case AddBot():
                partner = "the room" if action.participant is None else self._state.name(action.participant)
                return f"{partner} ({action.bot})"
            case Move():
                return f"{self._state.name(action.participant)} to {action.position}"
            case Remove():
                return self._state.name(action.participant)
        return ""

    def _close_empty(self, now: float) -> None:
        """End matches of which only bots of the server, or nobody at all, would come back."""
        state = self._state
        for match in list(state.matches.values()):
            lost = {each for each in match.open if each not in state.participants}
            match.open -= lost
            match.gone |= lost
            match.touch()
            if not match.open:
                del state.matches[match.id]
                match.enter(MatchState.ENDED)
                match.ended, match.reason = now, UNKNOWN_AFTER_RESTART
                state.ended.append(match)


def _keys(labels: Mapping[str, tuple[str, str, bool]]) -> list[str]:
    return [label or each for each, (label, _, _) in labels.items()]
