"""Messages of the ``control`` channel: what must arrive, in order.

Each is numbered and acknowledged by the endpoint, so that a new connection can carry on where an old one broke. The
encoding is MessagePack of tagged structs; the version stands in :class:`Envelope`.

The envelope's version is not the protocol's. Two programs whose protocols differ must still be able to read each
other's :class:`Hello` and :class:`Refuse`, or neither could say what to upgrade; so it changes only if that breaks.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from p2pclient.common.errors import LocalMisuseError, RemoteProtocolError
from p2pclient.common.frames import MAX_JOINED_BYTES, NULL_FRAME

CONTROL_VERSION = 1
MAX_CONTROL_BYTES = 64 * 1024
MAX_CHECKSUMS = 4096
"""Checksums in one message; 10 bytes each on the wire."""
MAX_DELAY = 60
"""Frames of input delay."""
MAX_REASON = 200
"""Characters of why somebody asks for a change."""
MAX_EXTENSION = 50_000_000
"""Frames by which a match is extended at once: a day at 500 Hz."""
MAX_STATE_PARTS = 512
MAX_PART_BYTES = 32 * 1024
"""Bytes of a state in one message: leaves room in a message and lets others pass between two parts."""
MAX_LOST_PEERS = 8
MAX_LOST_FRAMES = 600
"""Frames of a lost peer's inputs in one message: more than a peer can be behind with what is verified."""

MAX_DONE = 16
"""Changes of a match that a peer which rejoins is told, at most."""

Digest = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 30)]
Frame = Annotated[int, msgspec.Meta(ge=NULL_FRAME, le=1 << 30)]
"""Of an episode, or none yet."""
Sentence = Annotated[str, msgspec.Meta(max_length=600)]
Delay = Annotated[int, msgspec.Meta(ge=0, le=MAX_DELAY)]
Reason = Annotated[str, msgspec.Meta(max_length=MAX_REASON)]
Extension = Annotated[int, msgspec.Meta(ge=0, le=MAX_EXTENSION)]
ChangeKind = Literal["pause", "resume", "end", "extend"]
JoinedInput = Annotated[bytes, msgspec.Meta(max_length=MAX_JOINED_BYTES)]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all control messages."""


class Hello(Message, frozen=True, tag="hello"):
    """First message of both sides: everything on which they must agree, by name."""

    facts: dict[str, Any]
    """Compared field by field, see :mod:`p2pclient.protocol.handshake`."""


class Refuse(Message, frozen=True, tag="refuse"):
    """The facts differ; the match does not begin."""

    differences: Annotated[list[Sentence], msgspec.Meta(max_length=32)]


class EpisodeReady(Message, frozen=True, tag="ready"):
    """The sender stands at the barrier before ``episode``; its snapshot 0 has this checksum."""

    episode: Number
    checksum: Digest


class LinkCheck(Message, frozen=True, tag="link-check"):
    """At the barrier before ``episode``: nothing but its acknowledgement is asked for."""

    episode: Number


class LinkSound(Message, frozen=True, tag="link-sound"):
    """Both lanes of every link of the sender answer, and keep the bounds: for its part, ``episode`` may begin."""

    episode: Number


class EpisodeOver(Message, frozen=True, tag="over"):
    """The sender has settled the episode up to its last frame; ``chain`` covers all of it."""

    episode: Number
    last_frame: Number
    chain: Digest


class Checksums(Message, frozen=True, tag="checksums"):
    """After a mismatch: the sender's checksums from ``first_frame`` on, to find where states part."""

    episode: Number
    first_frame: Number
    checksums: Annotated[list[Digest], msgspec.Meta(max_length=MAX_CHECKSUMS)]
    round: Number = 0
    """Which one of this match: every desync has an even one as it was played, and an odd one simulated again."""


class DelayWish(Message, frozen=True, tag="delay-wish"):
    """The input delay that would suit the sender's side of the connection."""

    delay: Delay


class DelayChange(Message, frozen=True, tag="delay-change"):
    """From ``frame`` on, inputs of both sides are delayed by ``delay`` frames."""

    episode: Number
    frame: Number
    delay: Delay


class ChangeWish(Message, frozen=True, tag="change-wish"):
    """To the peer with the lowest seat: a change of the match that the sender's side asks for."""

    number: Annotated[int, msgspec.Meta(ge=1, le=1 << 30)]
    """Of this side's wishes, counted up."""
    kind: ChangeKind
    frames: Extension = 0
    """How much longer the match is to last, with ``extend``."""
    reason: Reason = ""


class MatchChange(Message, frozen=True, tag="match-change"):
    """The match is paused, goes on, ends or becomes longer, at a frame; and who sends this has taken it so."""

    number: Annotated[int, msgspec.Meta(ge=1, le=1 << 30)]
    """Of the match's changes, counted up."""
    kind: ChangeKind
    episode: Number
    frame: Number
    frames: Extension
    reason: Reason
    peer: Number
    """Who asked for it; likewise the next."""
    wish: Annotated[int, msgspec.Meta(ge=1, le=1 << 30)]


class StatePart(Message, frozen=True, tag="state-part"):
    """One piece of the sender's portable state at the beginning of ``frame``: after a mismatch, or for a spectator."""

    episode: Number
    frame: Number
    index: Number
    """Of this piece, from 0."""
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_STATE_PARTS)]
    """Pieces of the whole state."""
    data: Annotated[bytes, msgspec.Meta(max_length=MAX_PART_BYTES)]

    def __post_init__(self) -> None:
        if self.index >= self.count:
            raise ValueError("`index` is not below `count`")


class LostInputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the sender has of the inputs of a lost peer."""

    peer: Number
    first_frame: Number
    inputs: Annotated[list[JoinedInput], msgspec.Meta(max_length=MAX_LOST_FRAMES)]
    """Joined inputs of its seats, from ``first_frame`` on."""


class PeersLost(Message, frozen=True, omit_defaults=True, tag="peers-lost"):
    """The sender gave up these peers; their inputs that it has are frozen and count as written here."""

    episode: Number
    lost: Annotated[list[Number], msgspec.Meta(min_length=1, max_length=MAX_LOST_PEERS)]
    inputs: Annotated[list[LostInputs], msgspec.Meta(max_length=MAX_LOST_PEERS)]
    left: Annotated[list[Number], msgspec.Meta(max_length=MAX_LOST_PEERS)] = []
    """Those of the lost who said goodbye to somebody, as far as the sender knows."""


class Recovering(Message, frozen=True, tag="recovering"):
    """The sender's environment has failed and is started again; its datagrams go on, its frames stand still."""

    done: Number
    """Frames that are simulated again so far."""
    frames: Number
    """Frames to simulate again; 0 as long as that is not known."""


class Recovered(Message, frozen=True, tag="recovered"):
    """The sender's environment is where it was: play goes on."""


class Watch(Message, frozen=True, tag="watch"):
    """From a spectator: feed me. The answer is a :class:`FeedStart`, once there is something to start from."""

    request: Number
    """Of this spectator, counted up; the answer repeats it."""
    episode: Number | None
    """Where the spectator stands; None if it has nothing yet."""
    frame: Number
    """The next frame of the episode that it wants."""


class Unwatch(Message, frozen=True, tag="unwatch"):
    """From a spectator: another player feeds me now."""


class FeedStart(Message, frozen=True, tag="feed-start"):
    """To a spectator: from here on, datagrams carry the inputs of all seats, from ``first_frame`` of ``episode`` on."""

    request: Number
    stretch: Number
    """Number that these datagrams have in place of the episode's."""
    episode: Number
    first_frame: Number
    chain: Digest
    """Value of the chain before ``first_frame``."""
    checksum: Digest
    """Of the state at the beginning of ``first_frame``."""
    totals: Annotated[list[float], msgspec.Meta(max_length=MAX_LOST_PEERS)]
    """Sums of the rewards by seat up to there."""
    has_state: bool
    """The state follows in :class:`StatePart` messages; else the spectator has it, or resets for frame 0."""


class FeedPause(Message, frozen=True, tag="feed-pause"):
    """To a spectator that asked for the match: play stands still, or goes on. Answers to requests begin unpaused."""

    paused: bool


class FeedEnd(Message, frozen=True, tag="feed-end"):
    """To a spectator: this player feeds it no more, for a reason from :data:`FEED_END_REASONS`."""

    reason: str


FEED_END_REASONS = ("behind", "too-large", "not-allowed")


class Rejoin(Message, frozen=True, tag="rejoin"):
    """Behind the Hello of a program that was started again in mid-match: it knows nothing, and asks how it stands."""


class Standing(Message, frozen=True, tag="standing"):
    """To a peer that rejoins: where the sender stands, and what it has of its inputs. Said again when that changes.

    Inputs that are too many for one message follow in further ones, which are the same otherwise.
    """

    episode: Number
    stage: Literal["barrier", "playing", "finishing"]
    """Before the episode; in it, or at its end; behind the last one, whose number is one less."""
    recorded: Frame
    """Newest frame of the episode that the sender has recorded."""
    first_frame: Number
    inputs: Annotated[list[JoinedInput], msgspec.Meta(max_length=MAX_LOST_FRAMES)]
    """Joined inputs of the receiver's seats that the sender has, from ``first_frame`` on."""
    is_all: bool
    """No further ones follow."""
    previous: ClosedEpisode | None
    """How the episode before ended, as all agreed, the receiver too."""
    lost: Annotated[list[LastFrame], msgspec.Meta(max_length=MAX_LOST_PEERS)]
    """Peers without whom the match goes on."""


class ClosedEpisode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An episode that is over on all sides."""

    episode: Number
    last_frame: Number
    chain: Digest
    reason: Annotated[str, msgspec.Meta(max_length=40)]


class LastFrame(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last frame of the episode in which a lost peer's own inputs count."""

    peer: Number
    frame: Frame
    left: bool
    """It said goodbye, and did not just fall silent."""


class HistoryWish(Message, frozen=True, tag="history-wish"):
    """From a peer that rejoins, to one that plays: tell me the episode up to where you stand."""

    episode: Number
    frames: Number
    """Frames of it, from the first on, which the sender has recorded: a state behind them is of no use to it."""


class HistoryStart(Message, frozen=True, tag="history"):
    """The answer: :class:`StatePart` messages follow if ``has_state``, then :class:`HistoryRows` up to ``until``."""

    episode: Number
    first_frame: Number
    """The first frame whose inputs follow; 0, or that of the state."""
    until: Number
    """The first frame that the sender has not recorded: there the receiver begins to play."""
    first_checksum: Digest
    """Of the state with which the episode began."""
    checksum: Digest
    """Of the state at the beginning of ``first_frame``."""
    chain: Digest
    """Value of the chain before ``until``."""
    verified: Frame
    """Newest frame that all sides have verified, the receiver before it was started again included."""
    has_state: bool
    finished_frames: Number
    """Frames of all episodes before."""
    delay: Delay
    """Input delay that all have agreed on."""
    course: MatchCourse
    ahead: Annotated[list[LostInputs], msgspec.Meta(max_length=MAX_LOST_PEERS)]
    """Inputs of lost peers from ``until`` on."""


class MatchCourse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all have agreed on about the match's course: pauses, a longer match, its end."""

    number: Number
    """Of the newest change; 0 without any."""
    extended: Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]
    """Frames by which the match is longer than planned."""
    newest: MatchChange | None
    pause: MatchChange | None
    """The one that is not lifted."""
    pause_at: tuple[Number, Number]
    """Episode and frame at which it stands."""
    stands: bool
    """Is it in effect."""
    end: MatchChange | None
    done: Annotated[list[DoneChange], msgspec.Meta(max_length=MAX_DONE)]
    """What took effect, the newest ones."""


class DoneChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change that took effect."""

    kind: ChangeKind
    episode: Number
    frame: Number
    reason: Reason
    seat: Number
    """Of whoever asked for it."""
    frames: Extension = 0


class HistoryRows(Message, frozen=True, tag="history-rows"):
    """Inputs of all seats by frame, one frame's after the other's."""

    episode: Number
    first_frame: Number
    rows: Annotated[bytes, msgspec.Meta(max_length=MAX_PART_BYTES)]


class TakeUp(Message, frozen=True, tag="take-up"):
    """From a peer that rejoins: from ``first_frame`` on it needs the receiver's inputs; its own come where they end."""

    episode: Number
    first_frame: Number


class Resumed(Message, frozen=True, tag="resumed"):
    """The sender has rejoined: it stands before ``frame``, and has come to this."""

    episode: Number
    frame: Number
    first_checksum: Digest
    chain: Digest
    """Value of the chain before ``frame``."""


class Leave(Message, frozen=True, tag="leave"):
    """The sender goes, for a reason from :data:`LEAVE_REASONS`."""

    reason: str


LEAVE_REASONS = ("finished", "left", "desync", "connection", "error")

AnyMessage = (
    Hello
    | Refuse
    | EpisodeReady
    | LinkCheck
    | LinkSound
    | EpisodeOver
    | Checksums
    | DelayWish
    | DelayChange
    | ChangeWish
    | MatchChange
    | StatePart
    | PeersLost
    | Recovering
    | Recovered
    | Watch
    | Unwatch
    | FeedStart
    | FeedPause
    | FeedEnd
    | Rejoin
    | Standing
    | HistoryWish
    | HistoryStart
    | HistoryRows
    | TakeUp
    | Resumed
    | Leave
)


class Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One unit on the wire."""

    version: int
    number: int
    """Of this message, from 1 up; 0 for a bare acknowledgement."""
    acknowledged: int
    """All of the other side's messages up to this number have arrived."""
    message: AnyMessage | None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)


def encode_control(envelope: Envelope) -> bytes:
    """Return the bytes of one envelope.

    Raises:
        LocalMisuseError: they are more than :data:`MAX_CONTROL_BYTES`, and no peer would read them.
    """
    data = _encoder.encode(envelope)
    if len(data) > MAX_CONTROL_BYTES:
        kind = type(envelope.message).__name__
        raise LocalMisuseError(f"a {kind} of {len(data)} bytes; a control message has at most {MAX_CONTROL_BYTES}")
    return data


def decode_control(data: bytes) -> Envelope:
    """Read one envelope.

    Raises:
        RemoteProtocolError: it is not one (reasons ``oversized``, ``bad-control``, ``unknown-version``).
    """
    if len(data) > MAX_CONTROL_BYTES:
        raise RemoteProtocolError("oversized", f"{len(data)} bytes of control")
    try:
        envelope = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError("bad-control", str(error)) from error
    if envelope.version != CONTROL_VERSION:
        raise RemoteProtocolError("unknown-version", f"control version {envelope.version}")
    return envelope
