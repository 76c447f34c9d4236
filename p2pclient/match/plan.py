"""What a match is played by, and what it hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b
from typing import Any

import msgspec

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.frames import pack_seat_input
from p2pclient.common.if_lost import LossPolicy
from p2pclient.common.seeds import derive_seed
from p2pclient.recorder.records import Record
from p2pclient.rollback.prediction import Predictor, neutral, repeat_last

MOST_RESIMULATED = 300
"""Steps of the longest episode that is simulated again from its beginning for each rollback."""
ENDED_EARLY = "ended-by-researcher"
"""Why an episode and its match ended, if an end was asked for."""
PREDICTIONS = ("auto", "repeat", "neutral")
"""Names of predictions that do not look at the state."""


@dataclass(frozen=True, slots=True)
class MatchPlan:
    """Everything that is fixed before a match begins.

    Raises:
        ConfigurationError: not every seat has exactly one side, or a bot plays a seat that is not ours.
    """

    match_id: str
    seed: int
    """From the server; the seeds of all episodes derive from it."""
    env: Mapping[str, Any]
    """What the environment's host said when it was ready."""
    local_seats: tuple[int, ...]
    peers: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Seats held by each peer, by the peer's id."""
    own_id: int = 0
    """Our own id among the peers."""
    rate_hz: float = 15.0
    window: int = 8
    """Unconfirmed frames that may be simulated, as agreed by all; see :attr:`own_window`."""
    input_delay: int = 0
    episodes: int = 1
    """Episodes to play; 0 plays on until ``frames`` are reached."""
    frames: int = 0
    """Nominal frames of the whole match; 0 without a limit."""
    drop_after: float = 15.0
    """Seconds of silence after which a peer counts as gone for good, where :attr:`on_drop` has no other for it."""
    render: bool = True
    """Ask the host for a view of every frame that is shown."""
    observe: bool = False
    """Record observations; every settled frame then costs one more step of the environment's observations."""
    allow_mixed_hosts: bool = False
    prediction: tuple[str, ...] = ("auto",)
    """How missing inputs are assumed: one name for all seats, or one for each. ``auto``: nothing pressed where a press
    acts once, else the last one repeated; ``repeat``; ``neutral``; or a predictor of the environment, in the host."""
    delay_range: tuple[int, int] | None = None
    """Bounds within which the input delay follows the network; None keeps it where it is set."""
    on_desync: str = "end"
    """``end``, or ``resimulate``: go back to the last verified frame, and play on if all agree then."""
    on_drop: str = "end"
    """What follows when a peer is gone, as text; read it by :attr:`losses` (see ``match/drops.py``)."""
    has_arbiter: bool = False
    """Is there a server that can let a part of the players go on which has no majority."""
    bot_seats: tuple[int, ...] = ()
    """Seats of all sides in which a bot sits from the beginning, as far as known."""
    may_return: bool = False
    """Is a peer whose program is gone waited for like a silent one, because it may be started again."""
    on_away: str = "go-on"
    """What it means that a player's window is not in front: ``go-on``, or ``pause`` (see ``match/absences.py``)."""
    away_limit: float = 60.0
    """Seconds that such a pause lasts at most."""
    tell_away: bool = False
    """Are the others told that somebody's window is not in front."""
    check_tries: int = 3
    """How often the links are tried before an episode, until one that does not stand it counts as lost."""
    most_rtt: float | None = None
    """Longest round trip, seconds, with which an episode may begin; None without a bound."""
    most_loss: float | None = None
    """The same for the share of datagrams that are lost, 0 to 1."""
    bots: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    """Local seats decided in the host by a scripted bot: name and seed."""
    version: str = ""
    """Version of this program, compared in the handshake."""

    def __post_init__(self) -> None:
        held = [*self.local_seats, *(seat for seats in self.peers.values() for seat in seats)]
        # Of players that are gone, a spectator is not told.
        missing = set(range(self.seats)) - set(held) if self.local_seats else ()
        stray = set(held) - set(range(self.seats))
        if missing or stray or len(set(held)) < len(held) or self.own_id in self.peers:
            sides = {self.own_id: self.local_seats, **self.peers}
            raise ConfigurationError("seats of the sides", sides, f"each of the seats 0 to {self.seats - 1} once")
        if not set(self.bots) <= set(self.local_seats):
            raise ConfigurationError("seats of the bots", sorted(self.bots), f"of {list(self.local_seats)}")
        LossPolicy.parse(self.on_drop, seats=self.seats)

    @property
    def losses(self) -> LossPolicy:
        """What follows when a peer is gone."""
        return LossPolicy.parse(self.on_drop)

    def wait_for(self, peer: int) -> float:
        """Return the seconds of silence after which a peer counts as gone for good."""
        wait_s = self.losses.of_all(self.peers[peer]).wait_s
        return self.drop_after if wait_s is None else wait_s

    def substitute_seed(self, seat: int) -> int:
        """Seed of the bot that takes a lost player's seat, the same on all sides."""
        return derive_seed(self.seed, "substitute", seat)

    @property
    def seats(self) -> int:
        """Seats of the match."""
        return int(self.env["seats"])

    @property
    def is_portable(self) -> bool:
        """Can another machine go on from a state of the environment."""
        return bool(self.env.get("portable", True))

    @property
    def goes_back(self) -> bool:
        """Can the environment go back to an earlier state here; if not, nothing may be assumed on this side."""
        chosen = self.env.get("snapshots", {"chosen": "own"})["chosen"]
        if chosen == "resimulate":
            return bool((self.env["max_steps"] or MOST_RESIMULATED + 1) <= MOST_RESIMULATED)
        return bool(chosen != "none")

    @property
    def own_window(self) -> int:
        """Unconfirmed frames that this side may simulate: the window, or 0 where nothing brings the environment back.

        Machines may find out different things about one environment: one has no ``fork``, or took too long over the
        trials. Who cannot go back waits for every input; the others play on within their window.
        """
        return self.window if self.goes_back else 0

    @property
    def first_spacing(self) -> int:
        """Frames between snapshots until play has shown what they cost: as many as a save costs steps, as graded."""
        snapshots = self.env.get("snapshots", {"chosen": "own", "graded": []})
        for grade in snapshots["graded"]:
            if grade["name"] == snapshots["chosen"] and grade["exact"]:
                return 1 + int(grade["save_us"]) // max(1, int(self.env["step_us"]))
        return 1

    def episode_seed(self, episode: int) -> int:
        """Seed of an episode's reset."""
        return derive_seed(self.seed, "episode", episode)

    def neutral_payload(self, seat: int) -> bytes:
        """The environment's input of a seat when nothing is pressed."""
        return bytes(self.env["controls"]["neutral"][seat])

    def neutral_input(self, seat: int) -> bytes:
        """The same with the seat flags, as the session knows it."""
        return pack_seat_input(self.neutral_payload(seat), focused=True)

    def predictor(self, seat: int) -> Predictor | None:
        """How a seat's missing input is assumed; None: by the environment's host, see :meth:`host_predictor`."""
        name = self.prediction[seat % len(self.prediction)]
        if name == "neutral" or (name == "auto" and self.presses_act_once):
            return neutral(self.neutral_payload(seat))
        return repeat_last if name in PREDICTIONS else None

    def host_predictor(self, seat: int) -> str | None:
        """Name of what predicts a seat of another peer in the host; None if that is not done there."""
        if seat in self.local_seats or self.predictor(seat) is not None:
            return None
        return self.prediction[seat % len(self.prediction)]

    def fill(self, seat: int) -> Predictor:
        """What stands in the frames that a raised input delay opens: where a press acts once, it must not act again."""
        return neutral(self.neutral_payload(seat)) if self.presses_act_once else repeat_last

    @property
    def presses_act_once(self) -> bool:
        """Does a key act in one frame only, and not for as long as it is down."""
        return bool(self.env["controls"]["mode"] == "press")

    def connection_id(self, peer: int) -> int:
        """The 16-bit id that both sides of one pair put on their datagrams."""
        pair = "/".join([self.match_id, *(str(i) for i in sorted((self.own_id, peer)))])
        return int.from_bytes(blake2b(pair.encode(), digest_size=2).digest(), "little")

    def facts(self) -> dict[str, Any]:
        """What the handshake compares, field by field. Plain data that crosses the wire unchanged."""
        machine = self.env["machine"]
        return {
            "version": self.version,
            "match": self.match_id,
            "seed": self.seed,
            "environment": self.env["env"],
            "environment arguments": dict(self.env["args"]),
            "environment source": self.env["digest"],
            "seats": self.seats,
            "rate": float(self.rate_hz),
            "window": self.window,
            "episodes": self.episodes,
            "frames": self.frames,
            "input delay": list(self.delay_range) if self.delay_range is not None else "fixed",
            "on a desync": self.on_desync,
            "if a player is lost": str(self.losses),
            "waiting for a lost player": float(self.drop_after),
            "a player may return": self.may_return,
            "on an absence": [self.on_away, float(self.away_limit), self.tell_away],
            "check of the links": [self.check_tries, self.most_rtt, self.most_loss],
            "actions": blake2b(repr(self.env["action_spaces"]).encode(), digest_size=8).hexdigest(),
            "neutral inputs": [bytes(n).hex() for n in self.env["controls"]["neutral"]],
            "numeric probe": self.env["numeric_probe"],
            "host python": machine["python"],
            "host numpy": machine["numpy"],
            "host system": machine["system"],
            "host machine": machine["machine"],
        }


class Phase(Enum):
    """Where a match stands."""

    HANDSHAKING = "handshaking"
    REJOINING = "rejoining"
    RESETTING = "resetting"
    BARRIER = "barrier"
    PLAYING = "playing"
    EPISODE_OVER = "episode over"
    DIVERGED = "diverged"
    FINISHING = "finishing"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class PhaseChanged:
    """The match went on to another phase."""

    phase: Phase
    episode: int


@dataclass(frozen=True, slots=True)
class PeerSilence:
    """A peer has not been heard for a while, or is heard again: ``heard``, ``notice`` or ``lost``."""

    peer: int
    level: str


@dataclass(frozen=True, slots=True)
class Desync:
    """Both sides' states differ from this confirmed frame on."""

    peer: int
    episode: int
    frame: int
    """First differing frame; -1 if the first states of the episode differ."""
    ours: bytes
    theirs: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The match is over. ``reason`` is stable; ``text`` is for people."""

    reason: str
    """``finished``, ``ended-by-researcher``, ``left``, ``partner-left``, ``partner-gone``, ``poor-connection``,
    ``partition``, ``desync``, ``refused``, ``environment`` or ``error``. Where the server says more, a client
    records ``excluded`` or ``removed`` in place of ``left``, and ``partner-excluded`` in place of ``partner-left``
    and ``partner-gone``."""
    text: str
    unverified: int
    """Recorded frames that not every peer has verified."""

    @property
    def is_complete(self) -> bool:
        """Did all sides play to a last frame that all had agreed on, planned or asked for."""
        return self.reason in ("finished", ENDED_EARLY)


@dataclass(frozen=True, slots=True)
class MatchChanged:
    """All agreed on a pause, its end, the match's end or a longer match, and it is in effect."""

    kind: str
    """``pause``, ``resume``, ``end`` or ``extend``."""
    episode: int
    frame: int
    reason: str
    """A sentence of who asked for it, or empty."""


@dataclass(frozen=True, slots=True)
class ViewReady:
    """The newest view: ``frame``, ``pixels``, ``totals``, ``ended`` as the host made it."""

    episode: int
    view: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PeerRejoined:
    """A peer whose program was started again stands where we do, and plays on; or we ourselves do."""

    peer: int
    episode: int
    frame: int
    """The first one that it plays now."""
    is_own: bool = False
    """Is it our side that came back."""
    known: int = 0
    """If so: the first frame of which nobody has our input yet."""


@dataclass(frozen=True, slots=True)
class SpectatorGone:
    """A spectator is fed no more, and its connection may be closed. ``reason`` is a short stable word."""

    spectator: int
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectionChanged:
    """Another path leads to a peer. ``connection`` is its kind; ``why`` a short stable word."""

    peer: int
    connection: str
    why: str


@dataclass(frozen=True, slots=True)
class GrantWanted:
    """This part of the players has given up all others, and asks whoever made the match whether it may go on.

    The answer goes to ``Match.drops.answer``. A part with a majority does not wait for it.
    """

    living: tuple[int, ...]
    """Ids of the peers of this side, our own included, in order."""


MatchEvent = (
    GrantWanted
    | PhaseChanged
    | PeerSilence
    | Desync
    | Ended
    | ViewReady
    | SpectatorGone
    | MatchChanged
    | PeerRejoined
    | ConnectionChanged
)


class Outbox(msgspec.Struct):
    """What one call decided. Carry it out in this order; datagrams first, they must not wait."""

    datagrams: list[tuple[int, bytes]] = msgspec.field(default_factory=list)
    """``(peer, bytes)`` for the ``inputs`` channel."""
    control: list[tuple[int, bytes]] = msgspec.field(default_factory=list)
    """``(peer, bytes)`` for the ``control`` channel."""
    batch: list[list[Any]] | None = None
    """Commands for the environment's host; its reply goes to ``batch_done`` or ``host_lost``."""
    wants_host: bool = False
    """The environment's host is lost: another one is to be started; then :meth:`Match.host_ready` or ``host_lost``."""
    records: list[Record] = msgspec.field(default_factory=list)
    events: list[MatchEvent] = msgspec.field(default_factory=list)
    trace: list[str] = msgspec.field(default_factory=list)
    """Lines for the debug log; empty unless tracing is on."""
