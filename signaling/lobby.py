"""The waiting room and the matches, as one pure object: the only place that knows who is where.

Rules:

1. A client is in exactly one of four states: ``IDLE`` (connected, wants nothing), ``WAITING`` (in the queue once),
   ``MATCHED`` (a present member of exactly one match), ``WATCHING`` (a spectator of exactly one match). Whoever has
   departed is in none.
2. Whoever comes first is seated first: a match takes the first N of the queue as soon as N wait and a match is free.
3. A match lives while it has present members. ``finish``, ``leave`` and ``depart`` all end in ``_quit_match``, which
   may be called for a client in any state, any number of times.
4. Descriptions pass between present members of one match, and between them and its spectators; nowhere else.
5. Spectators keep no match alive, and nobody is told that one is there but the players.
6. Who went from a match without finishing it, and joins again naming it, is sent to watch it while it goes on. It
   proves nothing thereby, and gets nothing that anybody could not ask for.

Methods change the state and return what is to be done, in order; refusals raise :class:`SignalingError` and change
nothing. Time, randomness and client ids come from outside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from msgspec.structs import replace

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import (
    Admitted,
    Closing,
    Finished,
    GoneReason,
    Join,
    LastMatch,
    Leave,
    Matched,
    MatchSettings,
    Peer,
    PeerGone,
    Signal,
    SpectatorCame,
    Waiting,
    Watch,
    Welcome,
    check_protocol,
    refusal,
)
from signaling.effects import Disconnect, Effect, Noted, Send

_LEAST_TO_GO_ON = 3
"""Seats of a match that can go on when a player is lost: of two, one alone is no majority."""

FIRST_SPECTATOR = 100
"""Ids of spectators in a match begin here: seats have lower ones."""


class Entropy(Protocol):
    """Where match ids and seeds come from: ``random.Random(seed)``, or ``random.SystemRandom()``."""

    def getrandbits(self, k: int, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one server takes on."""

    clients: int = 2000
    matches: int = 500
    spectators: int = 8
    """Of one match at a time."""


class State(Enum):
    """Where a present client is."""

    IDLE = "idle"
    WAITING = "waiting"
    MATCHED = "matched"
    WATCHING = "watching"


@dataclass(slots=True)
class _Client:
    state: State = State.IDLE
    label: str = ""
    match_id: str = ""
    waiting_since: float = 0.0
    told: Waiting | None = None
    """The last :class:`Waiting` sent, so that only changes are."""


@dataclass(slots=True)
class _Match:
    present: dict[str, int]
    """Seat by client, of those who neither finished, left nor departed."""
    seed: int
    results: list[str] = field(default_factory=list)
    spectators: dict[str, int] = field(default_factory=dict)
    """Id in the match by client."""
    let_in: int = 0
    """Spectators so far."""
    gone: set[str] = field(default_factory=set)
    """Players who went without finishing it."""


class Lobby:
    """See the module's docstring for the rules.

    ``server_version`` is told to clients; ``entropy`` gives match ids and seeds.
    """

    def __init__(
        self, settings: MatchSettings, *, entropy: Entropy, limits: Limits | None = None, server_version: str = ""
    ) -> None:
        self.settings = settings
        self._entropy = entropy
        self._limits = limits or Limits()
        self._server_version = server_version
        self._clients: dict[str, _Client] = {}
        self._queue: list[str] = []
        self._matches: dict[str, _Match] = {}
        self._matches_made = 0

    # -- what can be asked --------------------------------------------------------------------------------------------

    @property
    def clients(self) -> int:
        """Clients connected."""
        return len(self._clients)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Clients in the waiting room, in the order in which they will be seated."""
        return tuple(self._queue)

    @property
    def matches(self) -> dict[str, tuple[str, ...]]:
        """Present members by running match, in the order of their seats."""
        return {match_id: tuple(match.present) for match_id, match in self._matches.items()}

    @property
    def matches_made(self) -> int:
        """Matches begun since the start."""
        return self._matches_made

    def state_of(self, client: str) -> State | None:
        """Return the state of a client; None if it is not here."""
        known = self._clients.get(client)
        return known.state if known else None

    # -- what happens -------------------------------------------------------------------------------------------------

    def arrive(self, client: str, *, now: float) -> list[Effect]:
        """A client has connected, under an id that nobody had before.

        Raises:
            SignalingError: ``full``.
        """
        if len(self._clients) >= self._limits.clients:
            raise refusal("full")
        self._clients[client] = _Client(waiting_since=now)
        return []

    def join(self, client: str, join: Join, *, now: float) -> list[Effect]:
        """A client wants to play. While waiting it keeps its place.

        If its last match goes on without it, it is told to watch that, and stays idle.

        Raises:
            SignalingError: ``protocol-version`` or ``already-matched``.
        """
        check_protocol(join.protocol)
        known = self._clients[client]
        if known.state in (State.MATCHED, State.WATCHING):
            raise refusal("already-matched")
        known.label = join.label
        known.told = None
        welcome = Welcome(client_id=client, settings=self.settings, server_version=self._server_version)
        effects: list[Effect] = []
        if known.state is State.IDLE and join.last_match is not None:
            last = join.last_match
            why_not = self._why_not_watched(last)
            facts = {"match": last.match_id, "was": last.client_id, "client": client, "why_not": why_not}
            effects.append(Noted("returned", {**facts}))
            if not why_not:
                return [*effects, Send(client, replace(welcome, watch=last.match_id))]
            welcome = replace(welcome, not_watched=why_not)
        if known.state is State.IDLE:
            known.state = State.WAITING
            known.waiting_since = now
            self._queue.append(client)
        return [*effects, Send(client, welcome), *self._seat(now), *self._tell_waiting()]

    def watch(self, client: str, watch: Watch) -> list[Effect]:
        """A client wants to watch a match that runs: tell it who plays, and the players that it comes.

        Raises:
            SignalingError: ``protocol-version``, ``already-matched``, ``no-spectators``, ``no-match`` or
                ``too-many-spectators``.
        """
        check_protocol(watch.protocol)
        known = self._clients[client]
        if known.state is not State.IDLE:
            raise refusal("already-matched")
        match_id = watch.match_id or next(reversed(self._matches), "")
        match = self._open_to_spectators(match_id)
        own = FIRST_SPECTATOR + match.let_in
        match.let_in += 1
        match.spectators[client] = own
        known.state, known.match_id = State.WATCHING, match_id
        peers = tuple(Peer(client_id=other, seats=(seat,), make_offer=True) for other, seat in match.present.items())
        admitted = Admitted(
            client_id=client, match_id=match_id, seed=match.seed, spectator=own, peers=peers, settings=self.settings
        )
        came = SpectatorCame(match_id=match_id, client_id=client, spectator=own)
        noted = Noted("watching", {"match": match_id, "client": client, "spectator": own})
        return [noted, *[Send(other, came) for other in match.present], Send(client, admitted)]

    def _open_to_spectators(self, match_id: str) -> _Match:
        """Return a match that one more may watch, or raise :class:`SignalingError`."""
        if not self.settings.spectators:
            raise refusal("no-spectators")
        match = self._matches.get(match_id)
        if match is None:
            raise refusal("no-match")
        if len(match.spectators) >= self._limits.spectators:
            raise refusal("too-many-spectators")
        return match

    def _why_not_watched(self, last: LastMatch) -> str:
        """Return the code of what is against sending a client that returns to its last match; empty for nothing."""
        if self.settings.on_drop != "go-on" or self.settings.seats < _LEAST_TO_GO_ON:
            return "match-ends"
        try:
            match = self._open_to_spectators(last.match_id)
        except SignalingError as error:
            return error.code
        return "" if last.client_id in match.gone else "not-gone"

    def signal(self, client: str, signal: Signal) -> list[Effect]:
        """Relay a description to a partner in the same match, or between a player and a spectator.

        Raises:
            SignalingError: ``not-matched`` or ``not-your-partner``.
        """
        match = self._matches.get(signal.match_id)
        if match is None or client not in {*match.present, *match.spectators}:
            raise refusal("not-matched")
        partners = {*match.present, *match.spectators} if client in match.present else {*match.present}
        if signal.peer not in partners - {client}:
            raise refusal("not-your-partner")
        relayed = Signal(match_id=signal.match_id, peer=client, description=signal.description)
        return [Send(signal.peer, relayed)]

    def finish(self, client: str, finished: Finished, *, now: float) -> list[Effect]:
        """A client is done with its match; it may join again. Does nothing for a match that it is not in."""
        match = self._matches.get(finished.match_id)
        if match is None or client not in match.present:
            return []
        match.results.append(finished.result.reason)
        noted = Noted("finished", {"match": finished.match_id, "client": client, "result": finished.result})
        return [noted, *self._quit_match(client, None), *self._seat(now), *self._tell_waiting()]

    def leave(self, client: str, leave: Leave, *, now: float) -> list[Effect]:
        """A client leaves the waiting room or its match, but stays connected. Does nothing while idle."""
        return [*self._quit(client, "left"), *self._seat(now), *self._tell_waiting()]

    def depart(self, client: str, why: GoneReason, *, now: float) -> list[Effect]:
        """The connection of a client has ended. Does nothing for a client that is not here."""
        effects = self._quit(client, why)
        self._clients.pop(client, None)
        return [*effects, *self._seat(now), *self._tell_waiting()]

    def close(self) -> list[Effect]:
        """The server shuts down: tell everyone, then forget everyone."""
        message = Closing(message="The server is shutting down. A match that runs goes on without it.")
        effects: list[Effect] = [Send(client, message) for client in self._clients]
        effects += [Disconnect(client) for client in self._clients]
        self._clients.clear()
        self._queue.clear()
        self._matches.clear()
        return effects

    # -- seats --------------------------------------------------------------------------------------------------------

    def _seat(self, now: float) -> list[Effect]:
        """Begin every match for which the clients are there."""
        effects: list[Effect] = []
        seats = self.settings.seats
        while len(self._queue) >= seats and len(self._matches) < self._limits.matches:
            members, self._queue = self._queue[:seats], self._queue[seats:]
            effects += self._begin(members, now)
        return effects

    def _begin(self, members: list[str], now: float) -> list[Effect]:
        self._matches_made += 1
        match_id = f"{self._matches_made:04d}-{self._entropy.getrandbits(32):08x}"
        # 53 bits: a JSON number that every reader, a browser too, keeps exactly.
        seed = self._entropy.getrandbits(53)
        self._matches[match_id] = _Match({client: seat for seat, client in enumerate(members)}, seed)
        waited = {}
        effects: list[Effect] = []
        for seat, client in enumerate(members):
            known = self._clients[client]
            known.state, known.match_id = State.MATCHED, match_id
            waited[client] = round(now - known.waiting_since, 3)
            peers = _peers(members, seat)
            matched = Matched(match_id=match_id, seed=seed, own_seats=(seat,), peers=peers, settings=self.settings)
            effects.append(Send(client, matched))
        return [Noted("matched", {"match": match_id, "seed": seed, "waited_s": waited}), *effects]

    def _tell_waiting(self) -> list[Effect]:
        """Tell those whose place has changed. The queue is short: it is longer than N only when matches run out."""
        effects: list[Effect] = []
        seats, waiting = self.settings.seats, len(self._queue)
        for index, client in enumerate(self._queue):
            needed = max(0, (index // seats + 1) * seats - waiting)
            place = Waiting(position=index + 1, waiting=waiting, needed=needed)
            known = self._clients[client]
            if known.told != place:
                known.told = place
                effects.append(Send(client, place))
        return effects

    # -- leaving ------------------------------------------------------------------------------------------------------

    def _quit(self, client: str, why: GoneReason) -> list[Effect]:
        """Take a client out of the waiting room and its match, whatever it is in."""
        known = self._clients.get(client)
        if known is None:
            return []
        if known.state is State.WAITING:
            self._queue.remove(client)
            known.state = State.IDLE
        return self._quit_match(client, why)

    def _quit_match(self, client: str, why: GoneReason | None) -> list[Effect]:
        """Take a client out of its match. The others are told unless it had finished (``why`` is None).

        That a spectator goes, only the players are told.
        """
        known = self._clients[client]
        match = self._matches.get(known.match_id)
        match_id, known.match_id, known.state = known.match_id, "", State.IDLE
        if match is None:
            return []
        was_spectator = match.spectators.pop(client, None) is not None
        if not was_spectator and match.present.pop(client, None) is None:
            return []
        effects: list[Effect] = []
        if why is not None:
            if not was_spectator:
                match.gone.add(client)
            effects.append(Noted("gone", {"match": match_id, "client": client, "why": why}))
            gone = PeerGone(match_id=match_id, client_id=client, why=why)
            effects += [Send(other, gone) for other in match.present]
            effects += [Send(other, gone) for other in match.spectators if not was_spectator]
        if not match.present:
            del self._matches[match_id]
            for spectator in match.spectators:
                self._clients[spectator].state, self._clients[spectator].match_id = State.IDLE, ""
            effects.append(Noted("ended", {"match": match_id, "results": tuple(match.results)}))
        return effects


def _peers(members: list[str], own_seat: int) -> tuple[Peer, ...]:
    """Return the other members as the holder of ``own_seat`` sees them; the lower seat makes the offer."""
    return tuple(
        Peer(client_id=client, seats=(seat,), make_offer=own_seat < seat)
        for seat, client in enumerate(members)
        if seat != own_seat
    )
