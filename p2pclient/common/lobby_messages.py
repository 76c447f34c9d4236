"""What clients and the signaling server say to each other: one struct per event, checked on both sides.

Every event carries one JSON object. A client's event is acknowledged with ``{"ok": true}`` or with
``{"refused": {"code": ..., "message": ...}}``; what the server says on its own are events of the same shape.
Client ids are short names that the server gives out; they are no secrets and prove nothing. The token in
:class:`Welcome` is a secret: whoever sends it with :class:`Join` is the participant to whom it was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from p2pclient.common.description import Description as Description  # part of what is said
from p2pclient.common.errors import ConfigurationError, SignalingError
from p2pclient.common.frames import MAX_SEATS
from p2pclient.common.join_link import MAX_LINK_CHARS
from p2pclient.common.match_settings import MatchSettings as MatchSettings  # part of what is said
from p2pclient.common.path_messages import AskIceServers, IceServers, Relay, Relayed, RelayRefused
from p2pclient.common.probe_messages import ProbeCancel, ProbeResult, ProbeSignal, ProbeStart
from p2pclient.common.room_messages import (
    Command,
    Confirm,
    Count,
    Decline,
    Done,
    GoOn,
    Name,
    Proposed,
    Ready,
    Removed,
    Report,
    Seat,
    Sentence,
    Short,
    Token,
    Withdrawn,
)
from p2pclient.common.screening_messages import Echo, Screen, Screened

LOBBY_PROTOCOL = 3
"""Version of everything in this module and in :mod:`p2pclient.common.room_messages`. Both sides must be equal."""

DEFAULT_PORT = 8765

MAX_EVENT_BYTES = 64 * 1024
"""Largest event as sent, JSON and all. A description of a peer with 30 addresses takes 6 KB."""

Seats = Annotated[tuple[Seat, ...], msgspec.Meta(min_length=1, max_length=MAX_SEATS)]

# ---------------------------------------------------------------------------------------------------------------------
# From a client to the server


class LastMatch(msgspec.Struct, frozen=True, kw_only=True):
    """The match in which a client was when its program ended without a word, and the name that it had there."""

    match_id: Name
    client_id: Name


class Join(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="join"):
    """Ask for a place in the waiting room. Answered by :class:`Welcome`, then :class:`Waiting` or :class:`Matched`.

    May be sent again after each match over the same connection. Sending it while waiting keeps the place. With
    ``last_match``, the answer may be a match to watch instead of a place.
    """

    protocol: int = LOBBY_PROTOCOL
    app_version: Short = ""
    label: Short = ""
    """How the participant or bot is known; shown to people, never trusted."""
    bot: bool = False
    last_match: LastMatch | None = None
    token: Token | None = None
    """From an earlier :class:`Welcome`: gives back the place in the waiting room, or with ``match_id`` the seat."""
    match_id: Name | None = None
    """The match that goes on in this client meanwhile: it wants to be known in it again, and no place."""
    returns: bool = False
    """With a token: this program was started again, and takes its seat, if it has one in a match that it may come back
    to; the answer is followed by :class:`Matched`."""
    ready: bool = True
    """False while the environment is being loaded: it keeps its place, and is proposed after :class:`Ready`."""
    station: Short = ""
    """The machine's name in the lab."""
    attributes: Annotated[dict[Short, Short], msgspec.Meta(max_length=16)] = {}
    """What a matcher may look at, such as ``group``; never trusted, and of no account beside a link's."""
    link: Annotated[str, msgspec.Meta(max_length=MAX_LINK_CHARS)] | None = None
    """A personal link, signed by the server: label and attributes are what it says. Never shown, never logged."""


class Watch(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="watch"):
    """Ask to watch a match that runs. Answered by :class:`Admitted`. Only for who neither waits nor plays."""

    protocol: int = LOBBY_PROTOCOL
    app_version: Short = ""
    match_id: Name | None = None
    """Which one; None: the one that began last."""


class Signal(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="signal"):
    """A description on its way: ``peer`` is the receiver when a client sends it, the sender when it arrives."""

    match_id: Name
    peer: Name
    description: Description
    path: Literal["direct", "turn"] = "direct"
    """Which kind of path it is for."""
    attempt: Count = 0
    """Which connection between the two it is for: 0 for the first; an answer has the number of its offer."""
    incarnation: Count = 0
    """Number of the sender's program, drawn when it was seated: another one means that it was started again."""


class Leave(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="leave"):
    """Leave the waiting room or the match; the partners are told. Harmless anywhere else, and twice."""


class MatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a match went, as one client saw it."""

    reason: Short
    """Why it ended: ``complete``, or a stable word for anything else."""
    episodes: Count = 0
    frames: Count = 0
    verified_frames: Count = 0
    desyncs: Count = 0


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="finished"):
    """This client is done with the match. Harmless for a match that the server no longer knows, and twice."""

    match_id: Name
    result: MatchResult


# ---------------------------------------------------------------------------------------------------------------------
# From the server to a client


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="welcome"):
    """The answer to :class:`Join`: what will be played, so that the environment can be loaded while waiting."""

    client_id: Name
    settings: MatchSettings
    protocol: int = LOBBY_PROTOCOL
    server_version: Short = ""
    watch: Name | None = None
    """The client's last match, which goes on without it: to be asked for with :class:`Watch`. The client is not in the
    waiting room then, and may join again, without ``last_match``, whenever it likes."""
    token: Token | None = None
    """To be kept, and sent with the next :class:`Join`: proves who this is. Never shown, never logged."""
    match: Name | None = None
    """The match in which the client has its seat again, as asked for with ``match_id``."""
    label: Short = ""
    """How the server knows this participant: what its personal link says, or what it called itself."""
    not_watched: Short = ""
    """Why its last match is not to be watched, one of ``REFUSALS``; empty if there is none, or if it is."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="waiting"):
    """Where this client stands in the waiting room; sent again whenever that changes."""

    position: Count
    """1 for who is next."""
    waiting: Count
    """Clients in the room, this one included."""
    needed: Count
    """How many must still come before this client is seated. 0 if only a free match is awaited."""


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Another client of the match."""

    client_id: Name
    seats: Seats
    make_offer: bool
    """True if the receiver of this message makes the offer to this peer; the lower seat does."""
    bot: bool = False
    """Is it a bot's client. For the recording only: people are not told."""


class Matched(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="matched"):
    """A match begins. Descriptions may be exchanged with ``peers`` from now on."""

    match_id: Name
    """Differs for every match of every server, unless the servers' seeds are fixed."""
    seed: Count
    """The match's seed, from which each episode's seed is derived. Below 2**53, so that JSON keeps it anywhere."""
    own_seats: Seats
    peers: Annotated[tuple[Peer, ...], msgspec.Meta(max_length=MAX_SEATS - 1)]
    settings: MatchSettings
    condition: Short = ""
    """Of the study, if the matches are balanced over conditions."""
    returns: bool = False
    """The match goes on, and the receiver comes back to it."""
    ice: IceServers | None = None
    """What helps to find paths to the others; None: nothing does."""


class Admitted(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="admitted"):
    """The answer to :class:`Watch`: offers may be made to ``peers``, the players, from now on."""

    client_id: Name
    match_id: Name
    seed: Count
    spectator: Count
    """The id of this spectator in the match, apart from all seats."""
    peers: Annotated[tuple[Peer, ...], msgspec.Meta(max_length=MAX_SEATS)]
    settings: MatchSettings


class SpectatorCame(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="spectator"):
    """Tells a player that somebody watches the match, and will make an offer."""

    match_id: Name
    client_id: Name
    spectator: Count


GoneReason = Literal["left", "disconnected", "silent"]


class PeerGone(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="peer-gone"):
    """A partner or a spectator is no longer there, as far as the server knows.

    ``left``: said so. ``disconnected``: its connection to the server was closed, as when its process ends.
    ``silent``: it stopped answering the server. The last two are not proof: while its datagrams arrive, it lives.
    """

    match_id: Name
    client_id: Name
    why: GoneReason
    message: Sentence = ""
    """What the partner's person is told, if there is more to say."""


class PeerBack(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="peer-back"):
    """A partner that was gone for the server is connected to it again."""

    match_id: Name
    client_id: Name


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="refused"):
    """A request was refused. ``code`` is stable (see ``REFUSALS``); ``message`` is for people."""

    code: Short
    message: Sentence


class Closing(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="closing"):
    """The server shuts down. Running matches go on; clients may try again later."""

    message: Sentence


ClientMessage = (
    Join
    | Watch
    | Signal
    | Leave
    | Finished
    | Ready
    | Confirm
    | Decline
    | Report
    | GoOn
    | Done
    | Screened
    | Echo
    | ProbeSignal
    | ProbeResult
    | AskIceServers
    | Relay
)
ServerMessage = (
    Welcome
    | Screen
    | Waiting
    | Proposed
    | Withdrawn
    | Matched
    | Admitted
    | SpectatorCame
    | Signal
    | PeerGone
    | PeerBack
    | ProbeStart
    | ProbeCancel
    | ProbeSignal
    | Command
    | Removed
    | IceServers
    | Relayed
    | RelayRefused
    | Refused
    | Closing
)

CLIENT_EVENTS: dict[str, type[ClientMessage]] = {
    "join": Join,
    "watch": Watch,
    "signal": Signal,
    "leave": Leave,
    "finished": Finished,
    "ready": Ready,
    "confirm": Confirm,
    "decline": Decline,
    "report": Report,
    "go-on": GoOn,
    "done": Done,
    "screened": Screened,
    "echo": Echo,
    "probe-signal": ProbeSignal,
    "probe-result": ProbeResult,
    "ask-ice-servers": AskIceServers,
    "relay": Relay,
}
SERVER_EVENTS: dict[str, type[ServerMessage]] = {
    "welcome": Welcome,
    "screen": Screen,
    "waiting": Waiting,
    "proposed": Proposed,
    "withdrawn": Withdrawn,
    "matched": Matched,
    "admitted": Admitted,
    "spectator": SpectatorCame,
    "signal": Signal,
    "peer-gone": PeerGone,
    "peer-back": PeerBack,
    "probe-start": ProbeStart,
    "probe-cancel": ProbeCancel,
    "probe-signal": ProbeSignal,
    "command": Command,
    "removed": Removed,
    "ice-servers": IceServers,
    "relayed": Relayed,
    "relay-refused": RelayRefused,
    "refused": Refused,
    "closing": Closing,
}

REFUSALS: Mapping[str, str] = {
    "unknown-event": "The server knows no such event. Is this program newer than the server?",
    "malformed": "The server could not read this message.",
    "oversized": f"The message is too large; at most {MAX_EVENT_BYTES} bytes are taken.",
    "rate-limited": "Too many messages in a short time. Wait a moment.",
    "protocol-version": "Server and program are of different versions.",
    "already-matched": "This client is in a match. Finish or leave it before joining again.",
    "no-match": "There is no such match to watch at the moment.",
    "no-spectators": "This server lets nobody watch.",
    "too-many-spectators": "As many as may already watch this match.",
    "match-ends": "A match of this server ends when one of its players is lost.",
    "not-gone": "No client of that name has gone from that match unfinished.",
    "not-matched": "This client is not in that match.",
    "other-side": "Others of this match may go on, so that this part of it cannot.",
    "not-your-partner": "Descriptions go to partners in the same match only.",
    "no-relay": "This server relays nothing in this match.",
    "peer-away": "The partner is not connected to the server at the moment.",
    "full": "The server is full. Try again later.",
    "no-probe": "This client is in no such probe.",
    "probe-out-of-turn": "That does not come next in this probe.",
    "label-in-use": "Somebody takes part under this name at the moment. If that was you, on this or another computer, "
    "close the other window, or wait ten seconds, and try again; else choose another name.",
    "removed": "This participant takes no further part.",
    "no-participant": "There is no such participant at the moment.",
    "not-waiting": "That is only for participants in the waiting room.",
    "wrong-number": "A match needs another number of participants.",
    "not-running": "That match is not running.",
    "wrong-state": "That is not possible as it is.",
    "too-many-bots": "As many bots as this server may start are running.",
    "no-bots": "This server starts no bots.",
    "server-error": "Something failed in the server; its log says what. Try again.",
}
"""Every code with which the server refuses, and what it says unless it can say more."""


def refusal(code: str, detail: str = "") -> SignalingError:
    """Return the error for a stable ``code``, its sentence followed by ``detail``."""
    return SignalingError(code, f"{REFUSALS[code]} {detail}".rstrip())


def check_protocol(theirs: int) -> None:
    """Raise :class:`SignalingError` with what to upgrade unless the client's version is ours (the server's)."""
    if theirs == LOBBY_PROTOCOL:
        return
    what = "the server (tandem serve)" if theirs > LOBBY_PROTOCOL else "this program on this computer"
    detail = f"The server speaks version {LOBBY_PROTOCOL}, this program version {theirs}. Upgrade {what}."
    raise refusal("protocol-version", detail)


class _Versioned(msgspec.Struct):
    protocol: int


def decode_client_event(event: str, payload: Any) -> ClientMessage:
    """Check one event from a client; ``payload`` is what JSON gave.

    Raises:
        SignalingError: ``unknown-event``, ``malformed`` or ``protocol-version``.
    """
    if event not in CLIENT_EVENTS:
        raise refusal("unknown-event")
    try:
        if event in ("join", "watch"):
            # Before anything else: another version may have other fields, and must be told so, not "malformed".
            check_protocol(msgspec.convert(payload, _Versioned).protocol)
        message: ClientMessage = msgspec.convert(payload, CLIENT_EVENTS[event])
    except (msgspec.ValidationError, RecursionError) as error:
        raise refusal("malformed", f"({error})") from None
    return message


def decode_server_event(event: str, payload: Any) -> ServerMessage:
    """Check one event from the server.

    Raises:
        SignalingError: ``bad-server``; the message names the event.
    """
    try:
        message: ServerMessage = msgspec.convert(payload, SERVER_EVENTS[event])
    except (KeyError, msgspec.ValidationError, ConfigurationError, RecursionError) as error:
        sentence = f"The server sent a {event[:40]!r} that this program cannot read ({error}). Upgrade the older one."
        raise SignalingError("bad-server", sentence) from None
    return message


def encode_event(message: ClientMessage | ServerMessage) -> tuple[str, dict[str, Any]]:
    """Return ``(event, payload)`` for a message, ready for JSON."""
    payload: dict[str, Any] = msgspec.to_builtins(message)
    return payload.pop("event"), payload
