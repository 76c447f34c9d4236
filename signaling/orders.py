"""What a researcher asks for, and what became of it: every action is acknowledged, or shown as not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from p2pclient.common.lobby_messages import refusal
from p2pclient.common.room_messages import Command, Done
from p2pclient.common.stages import Stage
from signaling.actions import (
    Action,
    AddBot,
    EndMatch,
    ExtendMatch,
    Hold,
    Move,
    Pair,
    PauseMatch,
    ProbeRoom,
    Release,
    Remove,
    ResumeMatch,
    StartAll,
    Tell,
)
from signaling.effects import Effect, Noted, StartBot
from signaling.hiring import Hiring
from signaling.pairing import Pairing
from signaling.probing import Probing
from signaling.room_state import Ask, Participant, RoomState, RunningMatch
from signaling.running import RunningMatches

ANSWER_WITHIN_S = 5.0
PAIR_WITHIN_S = 300.0
"""How long two who were paired may take until both wait and have loaded the environment."""

_MAY_BE_PAIRED = (Stage.IDLE, Stage.WAITING, Stage.FINISHED)
_OF_A_MATCH = {PauseMatch: "pause", ResumeMatch: "resume", EndMatch: "end", ExtendMatch: "extend"}

_Outcome = tuple[Ask, list[Effect]]


class Orders:
    """Carries out actions, and follows what clients answer."""

    def __init__(
        self, state: RoomState, pairing: Pairing, running: RunningMatches, hiring: Hiring, probing: Probing
    ) -> None:
        self._state = state
        self._pairing = pairing
        self._running = running
        self._hiring = hiring
        self._probing = probing

    def act(self, action: Action, *, by: str, now: float) -> tuple[str, list[Effect]]:
        """Carry out an action; returns its id.

        Raises:
            SignalingError: refused; nothing was changed.
        """
        ask = Ask(id=f"a{self._state.asks_made + 1}", kind=_kind(action), by=by, target="", at=now)
        effects = self._carry_out(action, ask, now)
        self._state.asks_made += 1
        self._state.asks.append(ask)
        match = ask.target if ask.target in self._state.matches else ""
        text = f"{by}: {ask.kind} {'' if match else ask.target}".rstrip()
        self._state.note("action", text, now, match=match)
        return ask.id, [Noted("action", {"id": ask.id, "kind": ask.kind, "by": by, "target": ask.target}), *effects]

    def _carry_out(self, action: Action, ask: Ask, now: float) -> list[Effect]:
        match action:
            case Pair():
                return self._pair(action, ask, now)
            case StartAll():
                return self._start_all(ask, now)
            case Hold() | Release():
                self._state.is_held = isinstance(action, Hold)
                ask.state = "done"
                return []
            case Move():
                return self._move(action, ask)
            case PauseMatch() | ResumeMatch() | EndMatch() | ExtendMatch():
                return self._control(action, ask, now)
            case Tell():
                return self._say(action, ask, now)
            case Remove():
                return self._remove(action, ask, now)
            case ProbeRoom():
                pairs, effects = self._probing.survey(now=now)
                ask.target, ask.state, ask.detail = "everyone who does not play", "done", f"{pairs} pairs."
                return effects
            case AddBot():
                partner = None if action.participant is None else self._waiting(action.participant)
                effects = self._hiring.hire(action.bot, partner, now=now, action=ask.id)
                ask.bot = next(each.participant for each in effects if isinstance(each, StartBot))
                ask.target = f"{'the room' if partner is None else partner.key} ({action.bot})"
                return effects

    # -- who plays with whom ------------------------------------------------------------------------------------------

    def _pair(self, action: Pair, ask: Ask, now: float) -> list[Effect]:
        members = [self._known(each) for each in action.participants]
        seats = self._state.settings.seats
        if len(members) != seats or len({each.id for each in members}) != seats:
            raise refusal("wrong-number", f"It takes {seats}.")
        for each in members:
            if each.stage not in _MAY_BE_PAIRED:
                raise refusal("wrong-state", f"{each.key} is {each.stage.value}.")
        ask.target = ", ".join(each.key for each in members)
        until = now + PAIR_WITHIN_S
        self._pairing.book([each.id for each in members], f"{ask.by} paired them.", until, action=ask.id)
        return []  # the room settles, and proposes them as soon as all are free

    def _start_all(self, ask: Ask, now: float) -> list[Effect]:
        free, seats = self._pairing.free(), self._state.settings.seats
        room = self._state.limits.matches - len(self._state.matches) - len(self._state.pending)
        groups = [free[at : at + seats] for at in range(0, len(free) - seats + 1, seats)][: max(0, room)]
        effects: list[Effect] = []
        for group in groups:
            effects += self._pairing.force([each.id for each in group], f"{ask.by} started all.", now=now)
        ask.state = "done"
        ask.detail = f"{len(groups)} matches; {len(free) - len(groups) * seats} still wait."
        return effects

    def _move(self, action: Move, ask: Ask) -> list[Effect]:
        moved = self._waiting(action.participant)
        queue = self._state.queue
        queue.remove(moved.id)
        waiting = [each for each in queue if self._state.participants[each].stage is Stage.WAITING]
        place = max(0, action.position - 1)
        queue.insert(queue.index(waiting[place]) if place < len(waiting) else len(queue), moved.id)
        for each in queue:
            self._state.give_place(self._state.participants[each])
        ask.target, ask.state = f"{moved.key} to {action.position}", "done"
        return []

    # -- what clients are asked for -----------------------------------------------------------------------------------

    def _control(self, action: PauseMatch | ResumeMatch | EndMatch | ExtendMatch, ask: Ask, now: float) -> list[Effect]:
        match = self._running_match(action.match)
        players = self._state.present(match)
        if not players:
            raise refusal("wrong-state", "Nobody of that match is connected.")
        frames = round(action.seconds * self._state.settings.rate_hz) if isinstance(action, ExtendMatch) else 0
        ask.target, ask.frames = match.id, frames
        command = Command(action_id=ask.id, kind=_OF_A_MATCH[type(action)], match_id=match.id, frames=frames)  # type: ignore[arg-type]
        return self._command(command, players[:1], ask, now)

    def _say(self, action: Tell, ask: Ask, now: float) -> list[Effect]:
        if action.participant is not None:
            told: Sequence[str] = [self._known(action.participant).id]
            ask.target = self._state.name(told[0])
        elif action.match is not None:
            told = self._state.present(self._running_match(action.match))
            ask.target = action.match
        else:
            told, ask.target = list(self._state.participants), "everyone"
        told = [each for each in told if self._state.is_present(each)]
        for each in told:
            self._state.participants[each].note = action.text
        command = Command(action_id=ask.id, kind="say", match_id=action.match, text=action.text)
        return self._command(command, told, ask, now)

    def _remove(self, action: Remove, ask: Ask, now: float) -> list[Effect]:
        removed = self._known(action.participant)
        if removed.stage is Stage.EXCLUDED:
            raise refusal("removed")
        ask.target = removed.key
        effects = self._pairing.remove(removed, f"removed by {ask.by}", now=now)
        effects += self._running.quit(removed, "left", now=now)
        if removed.stage is Stage.SCREENING:
            removed.enter(Stage.IDLE, now=now)
        removed.enter(Stage.EXCLUDED, now=now)
        removed.reason = f"Removed by {ask.by}."
        if not self._state.is_present(removed.id):
            ask.state, ask.detail = "done", "Its client is not connected; its place is free."
            return effects
        command = Command(action_id=ask.id, kind="leave", text=action.text)
        return [*effects, *self._command(command, [removed.id], ask, now)]

    def _command(self, command: Command, told: Iterable[str], ask: Ask, now: float) -> list[Effect]:
        ask.awaited = set(told)
        ask.deadline = now + ANSWER_WITHIN_S
        if not ask.awaited:
            ask.state, ask.detail = "failed", "Nobody is connected."
        return [effect for each in sorted(ask.awaited) for effect in self._state.send(each, command)]

    # -- what becomes of it -------------------------------------------------------------------------------------------

    def done(self, participant: Participant | None, done: Done) -> list[Effect]:
        """A client answers. Does nothing for an action that it was not asked for."""
        for ask in self._state.asks:
            if ask.id == done.action_id and participant is not None and participant.id in ask.awaited:
                ask.awaited.discard(participant.id)
                if not done.ok:
                    ask.state, ask.detail = "failed", f"{participant.key}: {done.message}"
                elif not ask.awaited and ask.state != "failed":
                    ask.state, ask.detail = "done", done.message
                    if ask.target in self._state.matches:
                        self._state.matches[ask.target].extended += ask.frames
                return [Noted("done", {"id": ask.id, "client": participant.id, "ok": done.ok})]
        return []

    def expire(self, *, now: float) -> None:
        """Show as unanswered what was not acknowledged in time, and as done what waited for a bot that is there."""
        for ask in self._state.asks:
            if ask.state == "sent" and ask.bot:
                self._follow_bot(ask)
            if ask.state == "sent" and ask.awaited and now >= ask.deadline:
                names = ", ".join(sorted(self._state.name(each) for each in ask.awaited))
                ask.state, ask.detail = "unanswered", f"No answer from {names}."
                self._state.note("action", f"{ask.kind} {ask.target}: {ask.detail}", now, severity="problem")

    def _follow_bot(self, ask: Ask) -> None:
        """A bot that waits for anybody has come when it is ready; one for somebody, when they are asked to play."""
        bot = self._state.participants.get(ask.bot)
        if bot is None:
            ask.state, ask.detail = "failed", "It did not come."
        elif not bot.booking and bot.stage is not Stage.IDLE and bot.ready:
            ask.state = "done"

    # -- whom it concerns ---------------------------------------------------------------------------------------------

    def _known(self, participant: str) -> Participant:
        known = self._state.participants.get(participant)
        if known is None:
            raise refusal("no-participant")
        return known

    def _waiting(self, participant: str) -> Participant:
        known = self._known(participant)
        if known.stage is not Stage.WAITING:
            raise refusal("not-waiting")
        return known

    def _running_match(self, match_id: str) -> RunningMatch:
        match = self._state.matches.get(match_id)
        if match is None:
            raise refusal("not-running")
        return match


def _kind(action: Action) -> str:
    return str(action.__struct_config__.tag)
