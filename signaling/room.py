"""The room: who is here, who waits, who plays with whom. The only place that knows the truth, and pure.

Its parts, each with its own rules: connections, tokens and leases (:mod:`~signaling.attendance`), the queue and the two
phases of a start (:mod:`~signaling.pairing`), running matches (:mod:`~signaling.running`), bots and the wait limit
(:mod:`~signaling.hiring`), bytes that players relay (:mod:`~signaling.relaying`), and what a researcher asks for
(:mod:`~signaling.orders`). What may follow what is in :mod:`~signaling.lifecycle`.

1. A participant is in one stage, and in at most one of queue and match. What leads out of a match may be called for a
   participant in any stage, any number of times.
2. No match begins unless all of its players have confirmed and are connected in that moment.
3. Descriptions pass between present players of one match, and between them and its spectators; nowhere else.
4. Spectators keep no match alive, and nobody is told that one is there but the players.
5. Who went from a match without finishing it, and joins again naming it, is sent to watch it while it goes on. It
   proves nothing thereby, and gets nothing that anybody could not ask for.

Methods change the state and return what is to be done, in order; refusals raise :class:`SignalingError` and change
nothing. Time, randomness and the names of connections come from outside.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Concatenate, ParamSpec

from msgspec.structs import replace

from p2pclient.common.lobby_messages import (
    Closing,
    Finished,
    GoneReason,
    Join,
    Leave,
    MatchSettings,
    Signal,
    Watch,
    Welcome,
    check_protocol,
    refusal,
)
from p2pclient.common.path_messages import AskIceServers, Relay
from p2pclient.common.probe_messages import ProbeResult, ProbeSignal
from p2pclient.common.room_messages import Confirm, Decline, Done, GoOn, Ready, Report
from p2pclient.common.screening_messages import Screened
from p2pclient.common.stages import Stage
from signaling.actions import Action
from signaling.admission import Admission
from signaling.attendance import Attendance
from signaling.conduct import Conduct
from signaling.effects import Disconnect, Effect, Noted, Send
from signaling.hiring import Hiring
from signaling.identity import Entropy
from signaling.keeping import Keeping, KeptRoom
from signaling.matching.base import Round
from signaling.membership import Membership
from signaling.orders import Orders
from signaling.pairing import Pairing
from signaling.probing import Probing
from signaling.relaying import Relaying
from signaling.restoring import Restoring
from signaling.room_rows import room_row
from signaling.room_state import Limits, Participant, RoomState, Rules
from signaling.rows import RoomRow
from signaling.running import RunningMatches

_BUSY = (Stage.CONNECTING, Stage.PLAYING, Stage.WATCHING)


_P = ParamSpec("_P")


def _keeps(method: Callable[Concatenate[Room, _P], list[Effect]]) -> Callable[Concatenate[Room, _P], list[Effect]]:
    """Let what a method changed be kept before anything that it decided is carried out."""

    @functools.wraps(method)
    def keeping(self: Room, /, *args: _P.args, **named: _P.kwargs) -> list[Effect]:
        effects = method(self, *args, **named)
        return [*self._changes(), *effects]

    return keeping


class Room:
    """See the module's docstring for the rules.

    Args:
        entropy: of match ids and seeds.
        secrets: of tokens; never from a fixed seed, unless in a test.
        server_version: told to clients.
        study: under which what changes is to be kept, as :class:`~signaling.effects.Kept`; None keeps nothing.
        epoch: seconds since 1970 at second 0 of the clock by which this room is told the time.
        link_secret: signs personal links; None: every link is refused.
    """

    def __init__(
        self,
        settings: MatchSettings,
        *,
        entropy: Entropy,
        secrets: Entropy | None = None,
        rules: Rules | None = None,
        limits: Limits | None = None,
        server_version: str = "",
        study: str | None = None,
        epoch: float = 0.0,
        link_secret: bytes | None = None,
    ) -> None:
        self.settings = settings
        self._state = RoomState(
            settings, rules or Rules(), limits or Limits(), entropy, secrets or entropy, server_version
        )
        self._state.epoch = epoch
        self._running = RunningMatches(self._state)
        self._relaying = Relaying(self._state)
        self._probing = Probing(self._state)
        self._pairing = Pairing(self._state, self._running, self._probing)
        self._attendance = Attendance(self._state, self._pairing, self._running, self._probing)
        self._hiring = Hiring(self._state, self._pairing, self._attendance)
        self._admission = Admission(self._state, self._pairing)
        self._conduct = Conduct(self._state, self._running, self._admission)
        self._orders = Orders(self._state, self._pairing, self._running, self._hiring, self._probing)
        self._keeping = Keeping(self._state, study, epoch)
        self._membership = Membership(self._state, self._keeping, link_secret)

    # -- what can be asked --------------------------------------------------------------------------------------------

    @property
    def clients(self) -> int:
        """Connections open."""
        return len(self._state.connections)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Participants in the waiting room, in the order in which they will be seated; not those who are proposed."""
        known = self._state.participants
        return tuple(each for each in self._state.queue if known[each].stage is Stage.WAITING)

    @property
    def proposed(self) -> dict[str, tuple[str, ...]]:
        """Members by proposal."""
        return {pending.id: pending.members for pending in self._state.pending.values()}

    @property
    def matches(self) -> dict[str, tuple[str, ...]]:
        """Connected players by running match, in the order of their seats."""
        return {match.id: tuple(self._state.present(match)) for match in self._state.matches.values()}

    @property
    def matches_made(self) -> int:
        """Matches begun since the start."""
        return self._state.matches_made

    @property
    def relayed(self) -> Mapping[str, int]:
        """What was relayed between players, and what was refused, by its code."""
        return self._relaying.counts

    def participant_of(self, connection: str) -> str | None:
        """Return who is behind a connection; None before it has joined."""
        known = self._state.connections.get(connection)
        return known.id if known is not None else None

    def stage_of(self, participant: str) -> Stage | None:
        """Return the stage of a participant, or of a connection that has not joined; None if it is not here."""
        known = self._state.participants.get(participant)
        if known is not None:
            return known.stage
        return Stage.IDLE if participant in self._state.connections else None

    def row(self, *, now: float, epoch: float) -> RoomRow:
        """Return what the console shows; ``epoch`` is ``now`` in seconds since 1970."""
        return room_row(self._state, now=now, epoch=epoch)

    # -- what outlives the server --------------------------------------------------------------------------------------

    def restore(self, kept: KeptRoom, *, now: float) -> list[Effect]:
        """Begin with what an earlier server kept; to be called before anything else, also if there is nothing.

        Everybody is away for a while, in the queue or in its match as it was; see :mod:`signaling.restoring`.
        """
        effects = self._keeping.start_records(kept, self.settings, now)
        self._keeping.was_held = kept.is_held
        self._membership.restore(kept)
        self._conduct.restore(kept)
        Restoring(self._state, self._attendance, self._keeping.epoch).restore(kept, now=now)
        return [*effects, *self._keeping.changes()]

    def trouble(self, text: str, *, now: float) -> None:
        """Show the researcher that something is wrong with the server itself."""
        self._state.note("store", text, now, severity="problem")

    # -- coming and going ---------------------------------------------------------------------------------------------

    def arrive(self, connection: str, *, now: float, address: str = "") -> list[Effect]:
        """A connection is open, under a name that none had before.

        Raises:
            SignalingError: ``full``.
        """
        self._attendance.arrive(connection, address)
        return []

    @_keeps
    def join(self, connection: str, join: Join, *, now: float) -> list[Effect]:
        """Somebody wants to play, or to be known again. While waiting it keeps its place.

        If its last match goes on without it, it is told to watch that, and stays idle.

        Raises:
            SignalingError: ``protocol-version``, ``already-matched``, ``label-in-use``, ``removed``, ``full``, or what
                :mod:`~signaling.membership` says.
        """
        check_protocol(join.protocol)
        self._check_open(connection)
        entry = self._membership.admit(connection, join, now=now)
        join = replace(join, label=entry.label, attributes=dict(entry.attributes), link=None)
        self._conduct.check(join.label)
        current = self._state.connections[connection]
        is_elsewhere = current is not None and (current.stage is Stage.WATCHING or join.match_id != current.match_id)
        if current is not None and current.stage in _BUSY and is_elsewhere:
            raise refusal("already-matched")
        known, effects = self._attendance.recognise(connection, join, now=now, is_signed=entry.claims is not None)
        effects = [*self._membership.enter(known, entry, now=now), *effects]
        if known.stage in _BUSY:
            regained = self._regain(known, join) if join.match_id is not None else None
            if regained is None and join.returns:
                seated = self._running.seat_again(known, now=now)
                greeting = self._state.send(known.id, replace(self._greeting(known), match=known.match_id))
                regained = [*greeting, *seated] if seated is not None else None
            if regained is not None:
                return [*effects, *regained, *self._pairing.settle(now=now)]
            effects += self._running.quit(known, "disconnected", now=now)
        effects += self._welcome(known, join, now)
        return [*effects, *self._settle(now)]

    def _regain(self, known: Participant, join: Join) -> list[Effect] | None:
        """Give somebody its seat back; None if it has none in the match that it names."""
        told = self._running.regain(known, join.match_id or "")
        if told is None:
            return None
        return [*self._state.send(known.id, replace(self._greeting(known), match=join.match_id)), *told]

    def _greeting(self, known: Participant) -> Welcome:
        state = self._state
        return Welcome(
            client_id=known.id,
            settings=state.settings,
            server_version=state.version,
            token=known.token,
            label=known.label,
        )

    def _welcome(self, known: Participant, join: Join, now: float) -> list[Effect]:
        welcome, known.told = self._greeting(known), None
        effects: list[Effect] = []
        if known.stage is Stage.MATCHED:
            return self._state.send(known.id, welcome)
        is_out = known.stage is not Stage.WAITING
        if join.match_id is not None:
            # It plays in a match that nobody here knows, as after a restart of this server: it is left alone.
            effects += self._pairing.remove(known, "plays elsewhere", now=now)
            known.reason = "It plays in a match that this server does not know."
            return [*effects, *self._state.send(known.id, welcome)]
        if is_out and join.last_match is not None:
            last = join.last_match
            why_not = self._running.why_not_watched(last)
            facts = {"match": last.match_id, "was": last.client_id, "client": known.id, "why_not": why_not}
            effects.append(Noted("returned", {**facts}))
            if not why_not:
                return [*effects, *self._state.send(known.id, replace(welcome, watch=last.match_id))]
            welcome = replace(welcome, not_watched=why_not)
        self._pairing.set_ready(known, join.ready, now=now)
        effects += self._state.send(known.id, welcome)
        screening = self._admission.screen(known, now=now) if is_out else None
        if is_out and screening is None:
            self._pairing.enter(known, now=now)
        return [*effects, *(screening or ())]

    @_keeps
    def leave(self, connection: str, leave: Leave, *, now: float) -> list[Effect]:
        """Somebody leaves the waiting room or its match, but stays connected. Does nothing while idle."""
        known = self._known(connection)
        if known is None:
            return []
        self._admission.leave(known, now=now)
        effects = self._pairing.remove(known, "left", now=now)
        return [*effects, *self._running.quit(known, "left", now=now), *self._settle(now)]

    @_keeps
    def depart(self, connection: str, why: GoneReason, *, now: float) -> list[Effect]:
        """A connection has ended. Does nothing for one that is not here."""
        return [*self._attendance.depart(connection, why, now=now), *self._settle(now)]

    # -- to a match and through it ------------------------------------------------------------------------------------

    @_keeps
    def screened(self, connection: str, screened: Screened, *, now: float) -> list[Effect]:
        """A client has measured its computer."""
        return [*self._admission.screened(self._known(connection), screened, now=now), *self._settle(now)]

    @_keeps
    def hook_answered(self, request: str, message: str | None, error: str, *, now: float) -> list[Effect]:
        """What came of :class:`AskHook`: a message, or None; or why there is no answer."""
        effects = self._admission.hook_answered(request, message, error, now=now)
        return [*effects, *self._conduct.hook_answered(request, message, error, now=now), *self._settle(now)]

    @_keeps
    def matcher_answered(self, request: int, found: Round, *, now: float) -> list[Effect]:
        """What came of :class:`AskMatcher`. Those who cannot be matched any more are left out."""
        return [*self._pairing.answered(request, found, now=now), *self._settle(now)]

    @_keeps
    def ready(self, connection: str, ready: Ready, *, now: float) -> list[Effect]:
        """The environment of a client is loaded."""
        known = self._known(connection)
        if known is None:
            return []
        self._pairing.set_ready(known, True, now=now)
        return self._settle(now)

    @_keeps
    def confirm(self, connection: str, confirm: Confirm, *, now: float) -> list[Effect]:
        """A client is ready for a match that was proposed."""
        return [*self._pairing.confirm(self._known(connection), confirm, now=now), *self._settle(now)]

    @_keeps
    def decline(self, connection: str, decline: Decline, *, now: float) -> list[Effect]:
        """A client does not want a match that was proposed."""
        return [*self._pairing.decline(self._known(connection), decline, now=now), *self._settle(now)]

    @_keeps
    def watch(self, connection: str, watch: Watch, *, now: float) -> list[Effect]:
        """Somebody wants to watch a match that runs: tell it who plays, and the players that it comes.

        Raises:
            SignalingError: ``protocol-version``, ``already-matched``, ``no-spectators``, ``no-match`` or
                ``too-many-spectators``.
        """
        check_protocol(watch.protocol)
        self._check_open(connection)
        known = self._known(connection)
        if known is None:
            self._running.open_to_spectators(watch.match_id or next(reversed(self._state.matches), ""))
            known = self._attendance.add(connection, now=now)
            known.app_version = watch.app_version
        return self._running.watch(known, watch, now=now)

    def signal(self, connection: str, signal: Signal) -> list[Effect]:
        """Relay a description to a partner in the same match, or between a player and a spectator.

        Raises:
            SignalingError: ``not-matched`` or ``not-your-partner``.
        """
        return self._running.signal(self._known(connection), signal)

    def relay(self, connection: str, relay: Relay, *, now: float) -> str:
        """Return the connection to which bytes go that a player wants to be relayed.

        Raises:
            SignalingError: ``no-relay``, ``not-matched``, ``not-your-partner``, ``peer-away`` or ``rate-limited``.
        """
        return self._relaying.relay(self._known(connection), relay, now=now)

    def ice_servers(self, connection: str, asked: AskIceServers, *, now: float) -> list[Effect]:
        """Tell a player anew what helps to find paths in its match.

        Raises:
            SignalingError: ``not-matched``.
        """
        return [Send(connection, self._relaying.ice_servers(self._known(connection), asked.match_id, now=now))]

    @_keeps
    def report(self, connection: str, report: Report, *, now: float) -> list[Effect]:
        """Take in how a match goes."""
        known = self._known(connection)
        effects = self._running.report(known, report, now=now)
        conduct = self._conduct.report(known, report, now=now)
        return [*effects, *conduct, *self._settle(now)] if conduct else effects

    @_keeps
    def go_on(self, connection: str, wish: GoOn) -> list[Effect]:
        """A part of a match's players asks whether it may go on without the others.

        Raises:
            SignalingError: ``not-matched`` or ``other-side``.
        """
        return self._running.go_on(self._known(connection), wish)

    @_keeps
    def probe_signal(self, connection: str, signal: ProbeSignal, *, now: float) -> list[Effect]:
        """Relay a description to the other side of a probe.

        Raises:
            SignalingError: ``no-probe`` or ``probe-out-of-turn``.
        """
        return self._probing.signal(self._known(connection), signal, now=now)

    @_keeps
    def probe_result(self, connection: str, result: ProbeResult, *, now: float) -> list[Effect]:
        """Take in what a client measured in a probe; those who waited for it may be matched now.

        Raises:
            SignalingError: ``no-probe`` or ``probe-out-of-turn``.
        """
        return [*self._probing.result(self._known(connection), result, now=now), *self._settle(now)]

    @_keeps
    def finish(self, connection: str, finished: Finished, *, now: float) -> list[Effect]:
        """A client is done with its match; it may join again. Does nothing for a match that it is not in."""
        return [*self._running.finish(self._known(connection), finished, now=now), *self._settle(now)]

    # -- what is asked of it ------------------------------------------------------------------------------------------

    def act(self, action: Action, *, by: str, now: float) -> tuple[str, list[Effect]]:
        """Carry out what a researcher asks for; returns the action's id, under which :meth:`row` shows it.

        Raises:
            SignalingError: refused; says why.
        """
        action_id, effects = self._orders.act(action, by=by, now=now)
        effects += self._settle(now)
        return action_id, [*self._changes(), *effects]

    def done(self, connection: str, done: Done) -> list[Effect]:
        """A client acknowledges what it was asked for."""
        return self._orders.done(self._known(connection), done)

    def measured(self, connection: str, rtt_ms: float) -> None:
        """The round trip to a client was measured."""
        known = self._known(connection)
        if known is not None:
            # Smoothed as in RFC 6298: one slow answer is no slow connection.
            known.rtt_ms = round(rtt_ms if known.rtt_ms is None else 0.875 * known.rtt_ms + 0.125 * rtt_ms, 2)

    @_keeps
    def bot_failed(self, participant: str, why: str, *, now: float) -> list[Effect]:
        """A bot that was to be started has ended before it came."""
        return [*self._hiring.failed(participant, why, now=now), *self._settle(now)]

    @_keeps
    def tick(self, now: float) -> list[Effect]:
        """Let leases, proposals, waits and questions run out, and match again. To be called about once a second."""
        effects = [*self._attendance.expire(now=now), *self._pairing.expire(now=now)]
        effects += self._admission.expire(now=now)
        effects += self._conduct.prune()
        effects += self._hiring.end_waits(now=now)
        effects += self._probing.tick(now)
        self._orders.expire(now=now)
        return [*effects, *self._settle(now), *self._pairing.settle(now=now, tell_all=True)]

    def close(self) -> list[Effect]:
        """The server shuts down: tell everyone, then forget everyone. What was kept of them stays."""
        message = Closing(message="The server is shutting down. A match that runs goes on without it.")
        state = self._state
        effects: list[Effect] = [Send(connection, message) for connection in state.connections]
        effects += [Disconnect(connection) for connection in state.connections]
        for everything in (state.connections, state.participants, state.tokens, state.pending, state.matches):
            everything.clear()
        state.queue.clear()
        state.bookings.clear()
        return effects

    def _changes(self) -> list[Effect]:
        self._membership.note_finished(self._state.touched.values())
        return self._keeping.changes()

    def _known(self, connection: str) -> Participant | None:
        return self._state.connections.get(connection)

    def _check_open(self, connection: str) -> None:
        """Refuse what was on its way when somebody went on over another connection, and this one was given up."""
        if connection not in self._state.connections:
            raise refusal("removed")

    def _settle(self, now: float) -> list[Effect]:
        effects = self._pairing.settle(now=now)
        dismissed = self._hiring.dismiss(now=now)
        again = self._pairing.settle(now=now) if dismissed else ()
        return [*effects, *dismissed, *again, *self._probing.follow(now=now)]
