"""Probes among those in the room: who may be probed, and how the coordinator's effects reach its members.

A participant may be probed while it is connected and does not play, watch, or prepare to. Whoever begins to is taken
out of its probe at once, and whoever is gone out of everything that was measured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from p2pclient.common.lobby_messages import refusal
from p2pclient.common.probe_messages import ProbeResult, ProbeSignal
from p2pclient.common.stages import Stage
from signaling.effects import Effect, Send
from signaling.lifecycle import Presence
from signaling.probe_records import SENTENCES
from signaling.room_state import Participant, RoomState

_MAY_BE_PROBED = (Stage.IDLE, Stage.SCREENING, Stage.WAITING, Stage.FINISHED)

MOST_SURVEYED = 28
"""Participants of one survey: 378 pairs, which take about a minute, and are as many as the console is shown."""


class Probing:
    """See the module's docstring for the rules."""

    def __init__(self, state: RoomState) -> None:
        self._state = state
        self._probes = state.probes

    def want(self, pairs: Iterable[tuple[str, str]], *, now: float) -> list[Effect]:
        """Measure these pairs, as far as both may be probed."""
        wanted = [pair for pair in pairs if all(map(self._may_be_probed, pair))]
        return self._relayed(self._probes.want(wanted, now=now))

    def survey(self, *, now: float) -> tuple[int, list[Effect]]:
        """Measure every pair of those who may be probed; returns how many pairs these are.

        Raises:
            SignalingError: ``wrong-state`` if there are no two, or too many.
        """
        ids = [each for each in self._state.participants if self._may_be_probed(each)]
        if not 2 <= len(ids) <= MOST_SURVEYED:
            why = f"{len(ids)} are here and do not play; a survey takes 2 to {MOST_SURVEYED}."
            raise refusal("wrong-state", why)
        effects = self._relayed(self._probes.want_all(ids, now=now))
        return self._probes.matrix(ids, now=now).total, effects

    def rtts(self, ids: Collection[str], *, now: float) -> dict[frozenset[str], float]:
        """Return the round trips between these that were measured lately, by pair."""
        return self._probes.rtts(ids, now=now)

    def failures(self, ids: Collection[str], *, now: float) -> dict[frozenset[str], str]:
        """Return why pairs of these could not be measured lately, as sentences."""
        return {pair: SENTENCES[reason] for pair, reason in self._probes.failures(ids, now=now).items()}

    def signal(self, participant: Participant | None, message: ProbeSignal, *, now: float) -> list[Effect]:
        """Pass a description on.

        Raises:
            SignalingError: ``no-probe`` or ``probe-out-of-turn``.
        """
        if participant is None:
            raise refusal("no-probe")
        return self._relayed(self._probes.signal(participant.id, message, now=now))

    def result(self, participant: Participant | None, message: ProbeResult, *, now: float) -> list[Effect]:
        """Take in what a client measured.

        Raises:
            SignalingError: ``no-probe`` or ``probe-out-of-turn``.
        """
        if participant is None:
            raise refusal("no-probe")
        return self._relayed(self._probes.result(participant.id, message, now=now))

    def follow(self, *, now: float) -> list[Effect]:
        """Take out of their probes who may not be probed any more."""
        members = [each for each in self._probes.members if not self._may_be_probed(each)]
        return self._relayed(effect for each in sorted(members) for effect in self._probes.interrupt(each, now=now))

    def forget(self, participant: str, *, now: float) -> list[Effect]:
        """Somebody is gone."""
        return self._relayed(self._probes.forget(participant, now=now))

    def tick(self, now: float) -> list[Effect]:
        """Let time-outs run out."""
        return self._relayed(self._probes.tick(now))

    def _may_be_probed(self, participant: str) -> bool:
        known = self._state.participants.get(participant)
        return known is not None and known.presence is Presence.PRESENT and known.stage in _MAY_BE_PROBED

    def _relayed(self, effects: Iterable[Effect]) -> list[Effect]:
        """Return them with the connections of participants in place of their ids; who is away is told nothing."""
        relayed: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Send):
                relayed += self._state.send(effect.client, effect.message)
            else:
                relayed.append(effect)
        return relayed
