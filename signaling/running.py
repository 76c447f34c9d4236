"""Matches from the moment in which all have confirmed: descriptions, spectators, reports, and every way out."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from p2pclient.common.errors import SignalingError
from p2pclient.common.if_lost import LossPolicy
from p2pclient.common.lobby_messages import (
    Admitted,
    Finished,
    GoneReason,
    LastMatch,
    Matched,
    Peer,
    PeerBack,
    PeerGone,
    ServerMessage,
    Signal,
    SpectatorCame,
    Watch,
    refusal,
)
from p2pclient.common.room_messages import GoOn, Health, Report
from p2pclient.common.sides import Sides
from p2pclient.common.stages import Stage
from signaling.effects import Decided, Effect, Noted
from signaling.lifecycle import MATCH_STEPS, PARTICIPANT_STEPS, MatchState, Presence, step
from signaling.room_state import Participant, PendingMatch, RoomState, RunningMatch, Spectator

_LEAST_TO_GO_ON = 3
"""Seats of a match that is shown to a player who returns to it: of two, the other one may have been lost as well."""

FIRST_SPECTATOR = 100
"""Ids of spectators in a match begin here: seats have lower ones."""

UNKNOWN_AFTER_RESTART = "unknown after a restart"
"""Why a match ended of which nobody came back to a server that was started again."""

_PHASES = {"paused": MatchState.PAUSED, "connecting": None, "ended": None}
"""What a report's phase says of the match; the others mean that it is played."""


class RunningMatches:
    """The one path by which matches begin and end.

    A match lives while somebody has a seat in it who is there, or whose lost connection is still waited for.
    """

    def __init__(self, state: RoomState) -> None:
        self._state = state

    # -- the beginning ------------------------------------------------------------------------------------------------

    def begin(self, pending: PendingMatch, *, now: float) -> list[Effect]:
        """Begin a match for which all have confirmed and are present."""
        state = self._state
        state.matches_made += 1
        match_id = f"{state.matches_made:04d}-{state.entropy.getrandbits(32):08x}"
        # 53 bits: a JSON number that every reader, a browser too, keeps exactly.
        seed = state.entropy.getrandbits(53)
        members = [state.participants[each] for each in pending.members]
        seats = _share_seats(pending.members, state.settings.seats)
        waited = {each.id: each.waited(now=now) for each in members}
        match = RunningMatch(
            id=match_id,
            seed=seed,
            seats=seats,
            labels={each.id: (each.label, each.station, each.bot) for each in members},
            began=now,
            state=step(MATCH_STEPS, pending.state, MatchState.VALIDATING),
            settings=state.settings,
            open=set(pending.members),
            sides=Sides({each: len(held) for each, held in seats.items()}),
            condition=pending.condition,
            waited=tuple(waited.values()),
            touched=state.touched_matches,
        )
        match.touch()
        state.matches[match_id] = match
        if pending.condition:
            state.conditions[pending.condition] = state.conditions.get(pending.condition, 0) + 1
        ice = state.rules.ice.offer(match_id, epoch=now + state.epoch)
        effects: list[Effect] = [Noted("matched", {"match": match_id, "seed": seed, "waited_s": waited})]
        for each in members:
            each.enter(Stage.CONNECTING, now=now)
            each.match_id, each.proposal_id, each.ready_since, each.reason = match_id, "", None, ""
            state.waits.append(waited[each.id])
            others = [other for other in members if other is not each]
            peers = tuple(_peer(other, seats, each.id) for other in others)
            matched = Matched(
                match_id=match_id,
                seed=seed,
                own_seats=seats[each.id],
                peers=peers,
                settings=state.settings,
                condition=pending.condition,
                ice=ice if ice.servers else None,
            )
            effects += state.send(each.id, matched)
        state.remember(each.key for each in members)
        line = {"decision": "begun", "match": match_id, "proposal": pending.id, "members": list(pending.members)}
        effects.append(Decided({**line, "condition": pending.condition, "waited_s": waited}))
        state.note("match", f"{', '.join(each.key for each in members)} begin.", now, match=match_id)
        return effects

    # -- while it runs ------------------------------------------------------------------------------------------------

    def signal(self, sender: Participant | None, signal: Signal) -> list[Effect]:
        """Relay a description to a partner in the same match, or between a player and a spectator.

        Raises:
            SignalingError: ``not-matched`` or ``not-your-partner``.
        """
        match = self._state.matches.get(signal.match_id)
        if match is None or sender is None:
            raise refusal("not-matched")
        players = set(self._state.present(match))
        own = next((address for address, each in match.spectators.items() if each.participant == sender.id), None)
        if own is not None:
            partners: set[str] = players
        elif sender.id in players:
            own, partners = sender.id, {*players, *match.spectators} - {sender.id}
        else:
            raise refusal("not-matched")
        if signal.peer not in partners:
            raise refusal("not-your-partner")
        to = signal.peer if signal.peer in players else match.spectators[signal.peer].participant
        return self._state.send(to, msgspec.structs.replace(signal, peer=own))

    def report(self, sender: Participant | None, report: Report, *, now: float) -> list[Effect]:
        """Take in how a match goes. Does nothing for a match that the sender is not in."""
        match = self._state.matches.get(report.match_id)
        if match is None or sender is None or sender.id not in match.open:
            return []
        health = report.health
        before, _ = match.health.get(sender.id, (None, now))
        match.health[sender.id] = (health, now)
        # Of the players of a match one is the first to be in a new phase: the others do not take it back until then.
        if before is None or _state_of(before) is not _state_of(health):
            self._follow(match, sender, health, now)
        return []

    def _follow(self, match: RunningMatch, sender: Participant, health: Health, now: float) -> None:
        """Let the states of the match and of its player follow what the player tells."""
        told = _state_of(health)
        if told is None:
            return
        if sender.stage is Stage.CONNECTING:
            sender.enter(Stage.PLAYING, now=now)
        if match.state is not told:
            match.enter(told)
            self._state.note("match", f"The match is {told.value}.", now, match=match.id)

    def go_on(self, sender: Participant | None, wish: GoOn) -> list[Effect]:
        """Let a part of a match's players go on without the others, or refuse it.

        Raises:
            SignalingError: ``not-matched`` or ``other-side``.
        """
        match = self._state.matches.get(wish.match_id)
        if match is None or sender is None or sender.id not in match.open:
            raise refusal("not-matched")
        holders = {seat: each for each, seats in match.seats.items() for seat in seats}
        side = frozenset(holders.get(seat, "") for seat in wish.seats)
        if not match.sides.ask(sender.id, side, frozenset(match.through)):
            raise refusal("other-side")
        match.touch()
        return [Noted("granted", {"match": match.id, "side": sorted(side)})]

    # -- spectators ---------------------------------------------------------------------------------------------------

    def watch(self, watcher: Participant, watch: Watch, *, now: float) -> list[Effect]:
        """Let somebody watch a match that runs: tell it who plays, and the players that it comes.

        Raises:
            SignalingError: ``already-matched``, ``no-spectators``, ``no-match`` or ``too-many-spectators``.
        """
        if Stage.WATCHING not in PARTICIPANT_STEPS[watcher.stage]:
            raise refusal("already-matched")
        match = self.open_to_spectators(watch.match_id or next(reversed(self._state.matches), ""))
        number = FIRST_SPECTATOR + match.let_in
        match.let_in += 1
        match.touch()
        # Who played in it is known to the others under its id, as a player: it gets another one.
        address = f"{watcher.id}-s{number}" if watcher.id in match.seats else watcher.id
        match.spectators[address] = Spectator(watcher.id, number)
        watcher.enter(Stage.WATCHING, now=now)
        watcher.match_id = match.id
        players = self._state.present(match)
        peers = tuple(Peer(client_id=each, seats=match.seats[each], make_offer=True) for each in players)
        admitted = Admitted(
            client_id=address,
            match_id=match.id,
            seed=match.seed,
            spectator=number,
            peers=peers,
            settings=self._state.settings,
        )
        came = SpectatorCame(match_id=match.id, client_id=address, spectator=number)
        effects: list[Effect] = [Noted("watching", {"match": match.id, "client": watcher.id, "spectator": number})]
        return [*effects, *self._tell(players, came), *self._state.send(watcher.id, admitted)]

    def open_to_spectators(self, match_id: str) -> RunningMatch:
        """Return a match that one more may watch, or raise :class:`SignalingError`."""
        if not self._state.settings.spectators:
            raise refusal("no-spectators")
        match = self._state.matches.get(match_id)
        if match is None or not self._state.present(match):
            raise refusal("no-match")  # there is nobody to be connected to
        if len(match.spectators) >= self._state.limits.spectators:
            raise refusal("too-many-spectators")
        return match

    def why_not_watched(self, last: LastMatch) -> str:
        """Return the code of what is against sending a client that returns to its last match; empty for nothing."""
        settings = self._state.settings
        if not LossPolicy.parse(settings.on_drop).can_go_on or settings.seats < _LEAST_TO_GO_ON:
            return "match-ends"
        try:
            match = self.open_to_spectators(last.match_id)
        except SignalingError as error:
            return error.code
        is_away = last.client_id in match.open and not self._state.is_present(last.client_id)
        return "" if last.client_id in match.gone or is_away else "not-gone"

    # -- connections that are lost and come back ----------------------------------------------------------------------

    def lose(self, player: Participant, why: GoneReason) -> list[Effect]:
        """A player's connection is lost; its seat is kept for a while. Tell the others what the server knows."""
        match = self._state.matches.get(player.match_id)
        if match is None:
            return []
        gone = PeerGone(match_id=match.id, client_id=player.id, why=why)
        return [
            Noted("gone", {"match": match.id, "client": player.id, "why": why}),
            *self._tell(self._everybody(match), gone),
        ]

    def regain(self, player: Participant, match_id: str) -> list[Effect] | None:
        """A player is connected again. Returns what tells the others; None if it has no seat in that match."""
        match = self._state.matches.get(match_id)
        if match is None or player.id not in match.open:
            return None
        match.is_restored = False
        back = PeerBack(match_id=match.id, client_id=player.id)
        noted = Noted("back", {"match": match.id, "client": player.id})
        return [noted, *self._tell((each for each in self._everybody(match) if each != player.id), back)]

    def seat_again(self, player: Participant, *, now: float) -> list[Effect] | None:
        """A player's program was started again. Gives it its seat; None if it has none to come back to."""
        match = self._state.matches.get(player.match_id)
        if match is None or player.id not in match.open or not match.settings.may_return:
            return None
        if not any(each != player.id for each in match.open):
            return None  # the others are through
        if any(player.id not in side for side in match.sides.granted):
            return None  # they go on without it
        told = self.regain(player, match.id)
        own, ice = match.seats[player.id], self._state.rules.ice.offer(match.id, epoch=now + self._state.epoch)
        peers = [
            Peer(client_id=each, seats=seats, make_offer=own < seats, bot=match.labels[each][2])
            for each, seats in match.seats.items()
            if each != player.id
        ]
        matched = Matched(
            match_id=match.id,
            seed=match.seed,
            own_seats=own,
            peers=tuple(peers),
            settings=match.settings,
            condition=match.condition,
            returns=True,
            ice=ice if ice.servers else None,
        )
        noted = Noted("returned", {"match": match.id, "client": player.id})
        return [noted, *(told or ()), *self._state.send(player.id, matched)]

    def _everybody(self, match: RunningMatch) -> list[str]:
        return [*self._state.present(match), *(each.participant for each in match.spectators.values())]

    def _tell(self, participants: Iterable[str], message: ServerMessage) -> list[Effect]:
        return [effect for each in participants for effect in self._state.send(each, message)]

    # -- every way out ------------------------------------------------------------------------------------------------

    def finish(self, player: Participant | None, finished: Finished, *, now: float) -> list[Effect]:
        """A player is done with its match; it may join again. Does nothing for a match that it is not in."""
        match = self._state.matches.get(finished.match_id)
        if match is None or player is None or player.id not in match.open:
            return []
        reason = finished.result.reason
        match.results.append(reason)
        match.told.append({"participant": player.id, **msgspec.to_builtins(finished.result)})
        player.finished = player.finished or reason == "complete"
        noted = Noted("finished", {"match": match.id, "client": player.id, "result": finished.result})
        player.reason = reason
        return [noted, *self.quit(player, None, now=now)]

    def quit(self, player: Participant, why: GoneReason | None, *, now: float, message: str = "") -> list[Effect]:
        """Take somebody out of what it plays or watches. The others are told unless it finished (``why`` is None).

        ``message`` is for their people, if there is more to say than that it is gone.
        That a spectator goes, only the players are told. Does nothing for who is in no match.
        """
        if player.stage not in (Stage.CONNECTING, Stage.PLAYING, Stage.WATCHING):
            return []
        state = self._state
        match = state.matches[player.match_id]
        player.match_id = ""
        match.touch()
        if why in (None, "left"):
            match.through.add(player.id)
        player.enter(Stage.FINISHED if why is None else Stage.IDLE, now=now)
        effects: list[Effect] = []
        address = next((key for key, each in match.spectators.items() if each.participant == player.id), None)
        if address is not None:
            del match.spectators[address]
        else:
            match.open.discard(player.id)
        if why is not None:
            if address is None:
                match.gone.add(player.id)
            # Then they were told when its connection was lost.
            was_away = player.presence is not Presence.PRESENT and not player.is_expected
            gone = PeerGone(match_id=match.id, client_id=address or player.id, why=why, message=message)
            told = state.present(match) if address is not None else self._everybody(match)
            if not was_away:
                effects.append(Noted("gone", {"match": match.id, "client": player.id, "why": why}))
                effects += self._tell(told, gone)
            state.note("gone", f"{player.key} left the match.", now, match=match.id, participant=player.id)
        return effects if match.open else [*effects, *self._end(match, now)]

    def _end(self, match: RunningMatch, now: float) -> list[Effect]:
        state = self._state
        del state.matches[match.id]
        match.enter(MatchState.ENDED)
        match.ended = now
        odd = [reason for reason in match.results if reason != "complete"]
        match.reason = odd[0] if odd else ("left" if match.gone else "complete")
        if match.is_restored and not match.results:
            match.reason = UNKNOWN_AFTER_RESTART
        for spectator in list(match.spectators.values()):
            watcher = state.participants[spectator.participant]
            watcher.enter(Stage.IDLE, now=now)
            watcher.match_id = ""
        match.spectators.clear()
        state.ended.append(match)
        state.note("match", f"The match has ended: {match.reason}.", now, match=match.id)
        return [Noted("ended", {"match": match.id, "results": tuple(match.results)})]

    def closing(self) -> None:
        """Forget all matches: the server shuts down, and they go on without it."""
        self._state.matches.clear()


def _state_of(health: Health) -> MatchState | None:
    """Return what a report says of the state of its match; None for nothing."""
    return _PHASES.get(health.phase, MatchState.PLAYING)


def _share_seats(members: tuple[str, ...], seats: int) -> dict[str, tuple[int, ...]]:
    """Return the seats of each member: one each, in their order; all of them for who plays alone."""
    if len(members) == 1:
        return {members[0]: tuple(range(seats))}
    return {member: (seat,) for seat, member in enumerate(members)}


def _peer(other: Participant, seats: dict[str, tuple[int, ...]], own: str) -> Peer:
    """Return a member as another one sees it; the lower seat makes the offer."""
    theirs = seats[other.id]
    return Peer(client_id=other.id, seats=theirs, make_offer=seats[own] < theirs, bot=other.bot)
