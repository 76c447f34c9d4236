"""What a client and the server say to each other beyond the way into a match: who confirms, how it goes, what is asked.

Part of the conversation in :mod:`p2pclient.common.lobby_messages`, and of its version.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from p2pclient.common.frames import MAX_SEATS

Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9-]{1,64}\Z")]
"""An id from the server. It may end up in a file name, so nothing else is taken."""
Token = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{20,64}\Z")]
"""A secret from the server, by which a client that comes back proves who it is."""
Short = Annotated[str, msgspec.Meta(max_length=64)]
Sentence = Annotated[str, msgspec.Meta(max_length=1000)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Seat = Annotated[int, msgspec.Meta(ge=0, lt=MAX_SEATS)]
Figure = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
"""A measurement; never negative, never infinite."""
Lead = Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]

# ---------------------------------------------------------------------------------------------------------------------
# From the server: before a match


class Proposed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="proposed"):
    """Partners were found. The match begins when all of them have sent :class:`Confirm`."""

    proposal_id: Name
    seats: Annotated[int, msgspec.Meta(ge=1, le=MAX_SEATS)]
    confirm_within_s: Figure


class Withdrawn(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="withdrawn"):
    """A proposal came to nothing. Who had confirmed it, or still had time to, keeps its place in the waiting room."""

    proposal_id: Name
    message: Sentence
    waiting: bool = True
    """False for who did not confirm in time: it is no longer in the waiting room, and may join again."""


# ---------------------------------------------------------------------------------------------------------------------
# From a client


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="ready"):
    """The environment is loaded: this client may be proposed from now on. Harmless anywhere else, and twice."""


class Confirm(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="confirm"):
    """This client is there, and its environment is loaded. Harmless for a proposal that is gone, and twice."""

    proposal_id: Name


class Decline(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="decline"):
    """This client does not take the place. It leaves the waiting room."""

    proposal_id: Name


class PeerHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One peer as a client sees it over the last second or so."""

    seats: Annotated[tuple[Seat, ...], msgspec.Meta(min_length=1, max_length=MAX_SEATS)]
    rtt_ms: Figure | None = None
    jitter_ms: Figure | None = None
    loss: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    """Share of its datagrams that did not arrive."""
    frames_ahead: Lead | None = None
    """Our frame minus its own, estimated."""
    silent_s: Figure = 0.0
    path: Short = ""
    """How it is reached: ``direct``, or another kind of path; empty while unknown."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How a match goes, as one client sees it. Counts are of the whole match so far."""

    phase: Literal["connecting", "playing", "paused", "stalled", "between", "ended"] = "connecting"
    episode: Count = 0
    frame: Count = 0
    verified_frames: Count = 0
    rate_hz: Figure = 0.0
    """Frames per second of the last second."""
    rollbacks: Count = 0
    rollback_depth: Count = 0
    """Deepest of the last second or so, frames."""
    stalls: Count = 0
    desyncs: Count = 0
    step_ms: Figure | None = None
    """What a step of the environment costs here, mean."""
    focused: bool = True
    away: Literal["", "focus", "minimised"] = ""
    """Why the person does not look at the window; empty if it does, or if none plays there."""
    is_waited_for: bool = False
    """The match is paused because this person is away."""
    suspended_s: Figure = 0.0
    """Seconds in which the program did not run, or its machine slept."""
    scores: Annotated[tuple[float, ...], msgspec.Meta(max_length=MAX_SEATS)] = ()
    peers: Annotated[tuple[PeerHealth, ...], msgspec.Meta(max_length=MAX_SEATS - 1)] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="report"):
    """How the match goes, about once a second, while the server is there."""

    match_id: Name
    health: Health


class GoOn(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="go-on"):
    """May a part of the players go on without the others, although it has no majority: acknowledged if it may.

    Every client of that part asks for itself; ``other-side`` means no, for good.
    """

    match_id: Name
    seats: Annotated[tuple[Seat, ...], msgspec.Meta(min_length=1, max_length=MAX_SEATS)]
    """Of all players of that part, the sender's included."""


class Done(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="done"):
    """A :class:`Command` was carried out, or could not be: ``message`` says why."""

    action_id: Name
    ok: bool
    message: Sentence = ""


# ---------------------------------------------------------------------------------------------------------------------
# From the server: what the researcher asks for


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="command"):
    """Something that a researcher wants of this client, answered by :class:`Done`. Carried out once per id.

    ``pause``, ``resume``, ``end`` and ``extend`` concern the match ``match_id``, and go to one of its clients, which
    agrees on a frame with the others. ``say`` shows ``text`` until it is taken back by an empty one. ``leave`` ends
    what the client does, and shows ``text``.
    """

    action_id: Name
    kind: Literal["pause", "resume", "end", "extend", "say", "leave"]
    match_id: Name | None = None
    text: Sentence = ""
    frames: Count = 0
    """How much longer, with ``extend``."""


class Removed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="removed"):
    """This participant takes no further part: excluded by a rule, or removed by the researcher. The client shows it."""

    message: Sentence
    rule: Short = ""
    """By which it was excluded; empty if it was not by a rule."""
