"""Who is there: connections, tokens, names, and leases of those whose connection is lost.

1. A participant outlives its connection. Who waits or plays when it is lost is *away*, and gone when the lease is over;
   anybody else is gone at once. Who says goodbye is gone at once, too.
2. Whoever shows the token of a participant is that participant. An older connection is told so and closed.
3. One client at a time per name: a second one is refused while the first one is connected, or away from a match.
"""

from __future__ import annotations

from p2pclient.common.lobby_messages import GoneReason, Join, refusal
from p2pclient.common.room_messages import Removed
from p2pclient.common.stages import Stage
from signaling.effects import Disconnect, Effect, Noted, Send
from signaling.identity import hash_token, label_key, make_token
from signaling.lifecycle import KEEPS_ITS_PLACE, Presence
from signaling.pairing import Pairing
from signaling.probing import Probing
from signaling.room_state import Participant, RoomState
from signaling.running import RunningMatches

_ELSEWHERE = "You go on in another window or on another computer. This one can be closed."
_IN_MATCH = (Stage.CONNECTING, Stage.PLAYING)


class Attendance:
    """See the module's docstring for the rules."""

    def __init__(self, state: RoomState, pairing: Pairing, running: RunningMatches, probing: Probing) -> None:
        self._state = state
        self._pairing = pairing
        self._probing = probing
        self._running = running
        self._labels: dict[str, Participant] = {}
        """By what is equal for labels that mean the same person."""

    # -- coming -------------------------------------------------------------------------------------------------------

    def arrive(self, connection: str, address: str) -> None:
        """A connection is open, under a name that none had before.

        Raises:
            SignalingError: ``full``.
        """
        if len(self._state.connections) >= self._state.limits.clients:
            raise refusal("full")
        self._state.connections[connection] = None
        self._state.addresses[connection] = address

    def recognise(
        self, connection: str, join: Join, *, now: float, is_signed: bool = False
    ) -> tuple[Participant, list[Effect]]:
        """Return who joins: whoever is behind the connection already, or has that token, or somebody new.

        Raises:
            SignalingError: ``label-in-use``, ``removed`` or ``full``.
        """
        known = self._state.connections[connection]
        if known is None and join.token is not None:
            known = self._state.tokens.get(hash_token(join.token))
        label = known.label if known is not None and known.is_ours else join.label
        holder = self._labels.get(label_key(label)) if label else None
        if holder is known:
            holder = None
        if holder is not None and (holder.presence is Presence.PRESENT or holder.stage in _IN_MATCH or holder.is_ours):
            raise refusal("label-in-use")
        if holder is not None and holder.is_signed and not is_signed:
            raise refusal("label-in-use")  # who has no link does not take the name of somebody who has one
        if known is not None and known.stage is Stage.EXCLUDED:
            raise refusal("removed")
        if known is None:
            self._check_space()
        effects: list[Effect] = []
        if holder is not None:
            effects += self.forget(holder, "disconnected", now=now)
        is_new = known is None
        if known is None:
            known = self.add(connection, now=now)
        elif known.connection != connection:
            effects += self._attach(known, connection, now=now)
        known.token = known.token or join.token or ""  # what was kept of it has the hash only
        self.rename(known, label)
        known.bot = known.is_ours or join.bot
        known.station, known.app_version = join.station, join.app_version
        known.attributes = dict(join.attributes)
        known.touch()
        if is_new:
            self._state.note("came", f"{known.key} is here.", now, participant=known.id)
        return known, effects

    def add(self, connection: str | None, *, now: float, identity: str = "") -> Participant:
        """Make a new participant; one without a connection is expected to come."""
        state = self._state
        token = make_token(state.secrets)
        made = Participant(
            id=identity or connection or "",
            token=token,
            token_hash=hash_token(token),
            connection=connection,
            since=now,
            came=now,
            touched=state.touched,
        )
        made.touch()
        state.participants[made.id] = state.tokens[made.token_hash] = made
        if connection is not None:
            state.connections[connection] = made
            made.address = state.addresses.get(connection, "")
        else:
            made.become(Presence.AWAY)
        return made

    def _check_space(self) -> None:
        """Bound those who are away: while they are as many as there may be clients, nobody new is let in."""
        away = sum(each.presence is Presence.AWAY for each in self._state.participants.values())
        if away >= self._state.limits.clients:
            raise refusal("full")

    def rename(self, known: Participant, label: str) -> None:
        """Call a participant by another name, which nobody else has."""
        if label and known.label and label_key(known.label) != label_key(label):
            known.finished = False  # that was under the other name
        if known.label and self._labels.get(label_key(known.label)) is known:
            del self._labels[label_key(known.label)]
        known.label = label
        if label:
            self._labels[label_key(label)] = known

    def _attach(self, known: Participant, connection: str, *, now: float) -> list[Effect]:
        """Let a participant go on over another connection."""
        state = self._state
        effects: list[Effect] = []
        if known.stage is Stage.MATCHED:
            # The proposal was made to the other connection: whoever is behind this one knows nothing of it.
            pending = state.pending[known.proposal_id]
            effects += self._pairing.withdraw(pending, "came back over another connection", now=now)
        old, known.connection = known.connection, connection
        if old is not None:
            effects += [Send(old, Removed(message=_ELSEWHERE)), Disconnect(old)]
            state.connections.pop(old, None)
            state.addresses.pop(old, None)
        state.connections[connection] = known
        known.address = state.addresses.get(connection, "")
        known.told, known.is_expected = None, False
        if known.presence is Presence.AWAY:
            known.become(Presence.PRESENT)
        is_new = known.is_ours and not known.app_version
        kind, words = ("came", "is here") if is_new else ("back", "is back")
        state.note(kind, f"{known.key} {words}.", now, participant=known.id)
        return effects

    # -- going --------------------------------------------------------------------------------------------------------

    def depart(self, connection: str, why: GoneReason, *, now: float) -> list[Effect]:
        """A connection has ended. Does nothing for one that is not known, or no longer anybody's."""
        known = self._state.connections.pop(connection, None)
        self._state.addresses.pop(connection, None)
        if known is None:
            return []
        known.connection = None
        if why == "left":
            return self.forget(known, why, now=now)
        effects: list[Effect] = []
        if known.stage is Stage.MATCHED:
            pending = self._state.pending[known.proposal_id]
            effects += self._pairing.withdraw(pending, "connection lost", now=now)
        if known.stage not in KEEPS_ITS_PLACE:
            return [*effects, *self.forget(known, why, now=now)]
        known.become(Presence.AWAY)
        known.lease_until = now + self._grace(known)
        self._state.note("away", f"{known.key} has lost its connection.", now, participant=known.id, severity="warning")
        return [*effects, *self._running.lose(known, why)]

    def _grace(self, known: Participant) -> float:
        """How long somebody is waited for. As long as the others in a match may wait, the place in it is kept, too."""
        grace = self._state.rules.grace_s
        match = self._state.matches.get(known.match_id) if known.stage in _IN_MATCH else None
        return grace if match is None else max(grace, match.settings.longest_wait_s)

    def expire(self, *, now: float) -> list[Effect]:
        """Forget those whose lease is over."""
        late = [
            each
            for each in self._state.participants.values()
            if each.presence is Presence.AWAY and now >= each.lease_until
        ]
        effects: list[Effect] = []
        for each in late:
            # Who does not come back to a server that was started again may play on: that it is gone is no more proved
            # than of one that is silent.
            effects += self.forget(each, "silent" if each.is_expected else "disconnected", now=now)
        return effects

    def forget(self, known: Participant, why: GoneReason, *, now: float) -> list[Effect]:
        """Take somebody out of everything, for good. Harmless twice."""
        if known.presence is Presence.GONE:
            return []
        state, name = self._state, known.key
        effects = self._pairing.remove(known, why, now=now)
        effects += self._running.quit(known, why, now=now)
        if known.stage in (Stage.FINISHED, Stage.EXCLUDED) and not known.is_ours:
            state.departed[known.stage.value] += 1
        effects += self._probing.forget(known.id, now=now)
        known.enter(Stage.GONE, now=now)
        known.become(Presence.GONE)
        if known.connection is not None:
            state.connections[known.connection] = None
            known.connection = None
        known.kept_label = known.label
        self.rename(known, "")
        del state.participants[known.id]
        del state.tokens[known.token_hash]
        state.note("gone", f"{name} is gone.", now, participant=known.id)
        return [*effects, Noted("forgotten", {"client": known.id, "why": why})]
