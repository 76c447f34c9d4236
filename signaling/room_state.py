"""What the room knows, as records that its parts share. Nothing here decides anything."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

from p2pclient.common.lobby_messages import MatchSettings, ServerMessage, Waiting
from p2pclient.common.room_messages import Health
from p2pclient.common.sides import Sides
from p2pclient.common.stages import Stage
from signaling.effects import Decided, Effect, Send
from signaling.identity import Entropy, JoinPolicy
from signaling.lifecycle import MATCH_STEPS, PARTICIPANT_STEPS, PRESENCE_STEPS, MatchState, Presence, step
from signaling.line_budget import LineBudget
from signaling.matching.base import Matcher
from signaling.matching.simple import FirstCome
from signaling.probes import Probes
from signaling.rows import EventRow
from signaling.screening_rules import ScreeningRules
from signaling.store import interface as store
from signaling.turn import IceRules

KEPT_EVENTS = 300
KEPT_MATCHES = 50
"""Matches that are shown after their end."""
KEPT_ACTIONS = 50
KEPT_PARTNERS = 100
"""Of one participant."""
KEPT_HISTORIES = 5000
"""Participants whose earlier partners are remembered."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one server takes on."""

    clients: int = 2000
    per_address: int = 200
    """Clients from one address at a time; see :mod:`signaling.per_address`."""
    matches: int = 500
    spectators: int = 8
    """Of one match at a time."""
    bots: int = 8
    """Started by the server, at one time."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the person who starts the server decides."""

    matcher: Matcher = field(default_factory=FirstCome)
    matcher_is_aside: bool = False
    """The edge asks it (:class:`~signaling.effects.AskMatcher`), because it may take its time; it answers later."""
    grace_s: float = 15.0
    """How long a participant whose connection is lost keeps its place."""
    restart_grace_s: float = 60.0
    """The same for everybody after a start of the server on what an earlier one kept."""
    confirm_within_s: float = 30.0
    wait_limit_s: float | None = None
    """How long somebody who is ready waits at most; None: for as long as it likes."""
    after_wait: Literal["message", "bot", "alone"] = "message"
    wait_message: str = "No partner came in time. Thank you for waiting."
    wait_bot: str = ""
    starts_held: bool = False
    """Is nobody matched before a researcher releases it, or pairs by hand."""
    screening: ScreeningRules = field(default_factory=ScreeningRules)
    ice: IceRules = field(default_factory=IceRules)
    """What helps clients to find paths to each other."""
    title: str = ""
    """How people call the study; empty for a server without one."""
    starts_bots: bool = False
    """Can the edge start bots."""
    join: JoinPolicy = field(default_factory=JoinPolicy)


@dataclass(slots=True, eq=False)
class Participant:
    """Somebody who takes part, whether its client is connected at the moment or not."""

    id: str
    token: str = field(repr=False)
    """Empty after a restart of the server, until its client shows it."""
    token_hash: str
    connection: str | None
    """None while it is away."""
    since: float
    """When it entered its stage."""
    stage: Stage = Stage.IDLE
    presence: Presence = Presence.PRESENT
    label: str = ""
    station: str = ""
    bot: bool = False
    is_ours: bool = False
    """Started by this server."""
    is_for_somebody: bool = False
    """Started as a partner for somebody: of no use to others."""
    address: str = ""
    app_version: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    ready: bool = True
    ready_since: float | None = None
    """Since when it waits and is ready; kept while a proposal stands."""
    lease_until: float = 0.0
    """When it is gone, while it is away."""
    is_expected: bool = False
    """It was here before the server was started again, and has not come back so far."""
    rtt_ms: float | None = None
    match_id: str = ""
    proposal_id: str = ""
    booking: int = 0
    """The group for which it is reserved, 0 for none."""
    wait_is_over: bool = False
    """What follows the wait limit was set off."""
    told: Waiting | None = None
    """The last :class:`Waiting` sent, so that only changes are."""
    reason: str = ""
    note: str = ""
    place: int = 0
    """In the queue; lower is sooner. Only kept, the order itself is :attr:`RoomState.queue`."""
    came: float = 0.0
    """When it was first here."""
    finished: bool = False
    """It has played a match to its end."""
    was_let_in: bool = False
    """Its computer was found fit: it is not measured again."""
    locked: bool = False
    """It was excluded or removed."""
    barred: str = ""
    """It was excluded from a match and may not come back; what it was told."""
    is_signed: bool = False
    """It came with a personal link: label and attributes are the link's."""
    link_id: str = ""
    """Of the link for one use that it has used."""
    kept_label: str = ""
    """How it was called, once it is gone and the name is free."""
    kept: store.Participant | None = field(default=None, repr=False)
    """What was kept of it last."""
    touched: dict[str, Participant] = field(default_factory=dict, repr=False)
    """Where it says that it has changed: the room's."""

    @property
    def key(self) -> str:
        """By what it is known again: the label, or the id of this visit."""
        return self.label or self.id

    @property
    def is_free(self) -> bool:
        """May it be proposed: waits, is there, has loaded its environment."""
        return self.stage is Stage.WAITING and self.presence is Presence.PRESENT and self.ready

    def waited(self, *, now: float) -> float:
        """Return for how many seconds it has waited and been ready."""
        return 0.0 if self.ready_since is None else round(max(0.0, now - self.ready_since), 3)

    def enter(self, stage: Stage, *, now: float) -> None:
        """Go on to another stage; one that may not follow raises."""
        self.stage = step(PARTICIPANT_STEPS, self.stage, stage)
        self.since = now
        self.locked = self.locked or stage is Stage.EXCLUDED
        self.touch()

    def touch(self) -> None:
        """Something of it has changed that may have to be kept."""
        self.touched[self.id] = self

    def become(self, presence: Presence) -> None:
        """Be there, be away or be gone; what may not follow raises."""
        self.presence = step(PRESENCE_STEPS, self.presence, presence)


@dataclass(slots=True, eq=False)
class PendingMatch:
    """A match that was proposed, until all have confirmed."""

    id: str
    members: tuple[str, ...]
    why: str
    condition: str
    deadline: float
    since: float
    confirmed: set[str] = field(default_factory=set)
    is_forced: bool = False
    """A researcher or the server itself wanted it."""
    state: MatchState = MatchState.MATCHED


@dataclass(slots=True)
class Spectator:
    """Somebody who watches a match."""

    participant: str
    number: int
    """Its id in the match, apart from all seats."""


@dataclass(slots=True, eq=False)
class RunningMatch:
    """A match from its beginning on; kept for a while after its end."""

    id: str
    seed: int
    seats: dict[str, tuple[int, ...]]
    """By participant: everybody who began it."""
    labels: dict[str, tuple[str, str, bool]]
    """Label, station and whether it is a bot, by participant: they may be gone when it is shown."""
    began: float
    state: MatchState
    settings: MatchSettings
    open: set[str]
    """Who has neither finished nor left nor gone."""
    sides: Sides
    """Parts of its players that were let go on without the others."""
    condition: str = ""
    results: list[str] = field(default_factory=list)
    spectators: dict[str, Spectator] = field(default_factory=dict)
    """By the id under which the players know them."""
    let_in: int = 0
    """Spectators so far."""
    gone: set[str] = field(default_factory=set)
    """Players who went without finishing it."""
    through: set[str] = field(default_factory=set)
    """Players who finished it or said that they leave: none of them plays on."""
    health: dict[str, tuple[Health, float]] = field(default_factory=dict)
    """What each told last, and when."""
    extended: int = 0
    """Frames by which the researcher made it longer."""
    ended: float = 0.0
    reason: str = ""
    told: list[dict[str, Any]] = field(default_factory=list)
    """The results whole, as they were told."""
    waited: tuple[float, ...] = ()
    """Seconds that its players had waited."""
    is_restored: bool = False
    """It ran when the server was started again, and nobody of it has come back so far."""
    kept: store.Match | None = field(default=None, repr=False)
    """What was kept of it last."""
    touched: dict[str, RunningMatch] = field(default_factory=dict, repr=False)
    """Where it says that it has changed: the room's."""

    def enter(self, state: MatchState) -> None:
        """Go on to another state; one that may not follow raises."""
        self.state = step(MATCH_STEPS, self.state, state)
        self.touch()

    def touch(self) -> None:
        """Something of it has changed that may have to be kept."""
        self.touched[self.id] = self


@dataclass(slots=True)
class Booking:
    """Participants who are to play together as soon as all are free."""

    members: tuple[str, ...]
    why: str
    until: float
    """When it is given up."""
    action: str = ""
    """The researcher's action that asked for it."""


@dataclass(slots=True)
class Ask:
    """An action of a researcher, and what became of it."""

    id: str
    kind: str
    by: str
    target: str
    at: float
    state: str = "sent"
    detail: str = ""
    awaited: set[str] = field(default_factory=set)
    """Participants who have not answered."""
    deadline: float = 0.0
    frames: int = 0
    """By which a match is to be longer."""
    bot: str = ""
    """The bot that was started for it, as a participant."""


class RoomState:
    """Everything the room knows. Its parts change it, each its own."""

    def __init__(
        self, settings: MatchSettings, rules: Rules, limits: Limits, entropy: Entropy, secrets: Entropy, version: str
    ) -> None:
        self.settings = settings
        self.rules = rules
        self.limits = limits
        self.entropy = entropy
        self.secrets = secrets
        """For tokens: never from a fixed seed."""
        self.version = version
        self.connections: dict[str, Participant | None] = {}
        """Who is behind each open connection; None before it joined."""
        self.addresses: dict[str, str] = {}
        self.participants: dict[str, Participant] = {}
        self.tokens: dict[str, Participant] = {}
        """By the hash of the token: a server that was started again knows no more."""
        self.touched: dict[str, Participant] = {}
        """Who may have changed since it was last kept, by id; those too who are gone meanwhile."""
        self.touched_matches: dict[str, RunningMatch] = {}
        self.queue: list[str] = []
        """Who waits or is proposed, the next one first."""
        self.places_made = 0
        self.pending: dict[str, PendingMatch] = {}
        self.matches: dict[str, RunningMatch] = {}
        self.ended: deque[RunningMatch] = deque(maxlen=KEPT_MATCHES)
        self.matches_made = 0
        self.proposals_made = 0
        self.bots_made = 0
        self.bookings: dict[int, Booking] = {}
        self.bookings_made = 0
        self.conditions: dict[str, int] = {}
        """Matches begun by condition."""
        self.partners: dict[str, tuple[str, ...]] = {}
        """Earlier partners by :attr:`Participant.key`."""
        self.waits: deque[float] = deque(maxlen=1000)
        """Seconds that those matched last had waited."""
        self.asks: deque[Ask] = deque(maxlen=KEPT_ACTIONS)
        self.asks_made = 0
        self.departed: Counter[str] = Counter()
        """Participants who are not here any more, by the stage in which they went."""
        self.events: deque[EventRow] = deque(maxlen=KEPT_EVENTS)
        """Times are those of the room's clock until they are shown."""
        self.is_held = rules.starts_held
        self.epoch = 0.0
        """Seconds since 1970 at second 0 of the room's clock."""
        self.probes = Probes()
        self.lines = LineBudget()
        self.matching_problem = ""
        """What was wrong with the matcher when it was asked last."""

    def send(self, participant: str, message: ServerMessage) -> list[Effect]:
        """Return what tells a participant something; nothing while it is away."""
        known = self.participants.get(participant)
        return [Send(known.connection, message)] if known is not None and known.connection is not None else []

    def decide(self, line: dict[str, object], *, causes: Iterable[tuple[str, str]], now: float) -> list[Effect]:
        """Return what keeps a decision; nothing if those who caused it (participant and address) cause too many."""
        if not self.lines.take(causes, now=now):
            return []
        left_out, self.lines.unwritten = self.lines.unwritten, 0
        return [Decided({**line, "unwritten": left_out} if left_out else line)]

    def present(self, match: RunningMatch) -> list[str]:
        """Return who plays in a match and is connected, in the order of the seats."""
        return [each for each in match.seats if each in match.open and self.is_present(each)]

    def give_place(self, participant: Participant) -> None:
        """Note that a participant is the last one in the queue."""
        self.places_made += 1
        participant.place = self.places_made
        participant.touch()

    def is_present(self, participant: str) -> bool:
        """Is its client connected."""
        known = self.participants.get(participant)
        return known is not None and known.presence is Presence.PRESENT

    def note(
        self, kind: str, text: str, now: float, *, match: str = "", participant: str = "", severity: str = "info"
    ) -> None:
        """Keep a line for the console's log."""
        self.events.append(
            EventRow(at=now, kind=kind, text=text, match_id=match, participant_id=participant, severity=severity)
        )

    def name(self, participant: str) -> str:
        """Return how people call a participant."""
        known = self.participants.get(participant)
        return known.key if known is not None else participant

    def remember(self, keys: Iterable[str]) -> None:
        """Keep that these are in a match together."""
        group = tuple(keys)
        for key in group:
            met = (*self.partners.pop(key, ()), *(other for other in group if other != key))
            self.partners[key] = met[-KEPT_PARTNERS:]
        while len(self.partners) > KEPT_HISTORIES:
            del self.partners[next(iter(self.partners))]

    def median_wait(self) -> float | None:
        """Return how long those matched so far had waited."""
        return median(self.waits) if self.waits else None
