"""Bots that the server starts, and what follows when somebody has waited for too long."""

from __future__ import annotations

from p2pclient.common.lobby_messages import refusal
from p2pclient.common.room_messages import Removed
from p2pclient.common.stages import Stage
from signaling.attendance import Attendance
from signaling.effects import Decided, Disconnect, Effect, Noted, Send, StartBot
from signaling.pairing import Pairing
from signaling.room_state import Participant, RoomState

BOT_WITHIN_S = 90.0
"""How long a bot may take to come: it loads the environment first."""


class Hiring:
    """Starts bots by name, and lets them go when nobody needs them."""

    def __init__(self, state: RoomState, pairing: Pairing, attendance: Attendance) -> None:
        self._state = state
        self._pairing = pairing
        self._attendance = attendance

    def hire(self, bot: str, partner: Participant | None, *, now: float, action: str = "") -> list[Effect]:
        """Start a bot: for ``partner`` if there is one, with others who wait if it takes more; else it waits as anyone.

        Raises:
            SignalingError: ``no-bots`` or ``too-many-bots``.
        """
        state = self._state
        if not state.rules.starts_bots:
            raise refusal("no-bots")
        if sum(each.is_ours for each in state.participants.values()) >= state.limits.bots:
            raise refusal("too-many-bots")
        state.bots_made += 1
        identity = f"b{state.bots_made}-{state.secrets.getrandbits(32):08x}"
        hired = self._attendance.add(None, now=now, identity=identity)
        hired.is_ours = hired.bot = True
        self._attendance.rename(hired, f"bot {identity}")
        hired.lease_until = now + BOT_WITHIN_S
        if partner is not None:
            others = [each.id for each in self._pairing.free() if each is not partner]
            members = (partner.id, *others[: state.settings.seats - 2], hired.id)
            if len(members) == state.settings.seats:
                hired.is_for_somebody = True
                self._pairing.book(members, f"{bot} was called in.", now + BOT_WITHIN_S, action=action)
        noted = Noted("bot", {"bot": bot, "client": hired.id, "partner": partner.id if partner is not None else ""})
        state.note("bot", f"The bot {bot} is being started.", now, participant=hired.id)
        return [noted, StartBot(bot=bot, participant=hired.id, label=hired.label, token=hired.token)]

    def failed(self, participant: str, why: str, *, now: float) -> list[Effect]:
        """A bot that was to be started does not come."""
        known = self._state.participants.get(participant)
        if known is not None and (not known.is_ours or known.connection is not None):
            return []
        ask = next((each for each in self._state.asks if each.bot == participant), None)
        if ask is not None and ask.state in ("sent", "failed"):
            ask.state, ask.detail = "failed", why
        elif known is None:
            return []  # it has played, or was not needed any more
        self._state.note("bot", f"A bot could not be started: {why}", now, severity="problem")
        return self._attendance.forget(known, "left", now=now) if known is not None else []

    def dismiss(self, *, now: float) -> list[Effect]:
        """Let go of bots that were called in for somebody who has gone meanwhile, or have played."""
        effects: list[Effect] = []
        if not self._state.bots_made:
            return effects
        for each in list(self._state.participants.values()):
            called_in = each.is_ours and each.is_for_somebody and not each.booking
            if called_in and each.stage in (Stage.IDLE, Stage.WAITING, Stage.FINISHED):
                connection = each.connection
                effects += self._attendance.forget(each, "left", now=now)
                if connection is not None:
                    self._state.connections.pop(connection, None)
                    over = Removed(message="This bot is not needed any more.")
                    effects += [Send(connection, over), Disconnect(connection)]
        return effects

    def end_waits(self, *, now: float) -> list[Effect]:
        """Do what is to be done for whoever has waited for too long."""
        state, rules = self._state, self._state.rules
        if rules.wait_limit_s is None or state.is_held:
            return []
        effects: list[Effect] = []
        for each in self._pairing.free():
            waited = each.waited(now=now)
            if each.is_ours or each.wait_is_over or waited < rules.wait_limit_s or not each.is_free or each.booking:
                continue
            then = rules.after_wait
            line = {"decision": "wait over", "id": each.id, "label": each.label, "waited_s": waited}
            effects.append(Decided({**line, "then": then}))
            each.wait_is_over = True
            if then == "alone":
                effects += self._pairing.force((each.id,), "It waited for too long, and plays alone.", now=now)
            elif then == "bot" and self._may_hire():
                effects += self.hire(rules.wait_bot, each, now=now)
            else:
                effects += self._send_away(each, now)
        return [*effects, *self._give_up_on_bots(now)]

    def _may_hire(self) -> bool:
        ours = sum(each.is_ours for each in self._state.participants.values())
        return self._state.rules.starts_bots and ours < self._state.limits.bots

    def _give_up_on_bots(self, now: float) -> list[Effect]:
        """Whoever a bot was called in for, and it never came, is not kept waiting either."""
        rules = self._state.rules
        if rules.after_wait != "bot" or rules.wait_limit_s is None:
            return []
        late = rules.wait_limit_s + 2 * BOT_WITHIN_S
        return [
            effect
            for each in self._pairing.free()
            if each.wait_is_over and not each.is_ours and each.waited(now=now) >= late
            for effect in self._send_away(each, now)
        ]

    def _send_away(self, each: Participant, now: float) -> list[Effect]:
        message = self._state.rules.wait_message
        effects = self._pairing.remove(each, "waited for too long", now=now, stage=Stage.FINISHED)
        each.reason = "It waited for too long."
        self._state.note("wait", f"{each.key} waited for too long.", now, participant=each.id, severity="warning")
        return [*effects, *self._state.send(each.id, Removed(message=message))]
