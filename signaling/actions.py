"""What a researcher can ask of the room: one struct for each action, checked before it gets there."""

from __future__ import annotations

from typing import Annotated

import msgspec

from p2pclient.common.frames import MAX_SEATS
from p2pclient.common.room_messages import Count, Name, Sentence, Short


class _Action(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True):
    """The wire form carries the kind under ``kind``."""


class Pair(_Action, frozen=True, tag="pair"):
    """Begin a match of these participants, in the order of their seats. All must wait or be idle."""

    participants: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=MAX_SEATS)]


class StartAll(_Action, frozen=True, tag="start-all"):
    """Match everyone who waits, at once, whatever the matcher would still wait for."""


class Hold(_Action, frozen=True, tag="hold"):
    """Match nobody until :class:`Release`."""


class Release(_Action, frozen=True, tag="release"):
    """Let the matcher go on."""


class Move(_Action, frozen=True, tag="move"):
    """Give somebody who waits another place in the queue; 1 is the next to be matched."""

    participant: Name
    position: Count


class PauseMatch(_Action, frozen=True, tag="pause"):
    """Pause a match at a frame that its clients agree on."""

    match: Name


class ResumeMatch(_Action, frozen=True, tag="resume"):
    """Let a paused match go on."""

    match: Name


class ExtendMatch(_Action, frozen=True, tag="extend"):
    """Let a match last longer."""

    match: Name
    seconds: Annotated[float, msgspec.Meta(gt=0, le=24 * 3600)]


class EndMatch(_Action, frozen=True, tag="end"):
    """End a match at a frame that its clients agree on; everybody keeps what was recorded."""

    match: Name


class Tell(_Action, frozen=True, tag="tell"):
    """Show a message to one participant, to those of a match, or (neither given) to everyone; empty takes it back."""

    text: Sentence
    participant: Name | None = None
    match: Name | None = None


class Remove(_Action, frozen=True, tag="remove"):
    """Send a participant away with a message; its partners are told."""

    participant: Name
    text: Sentence = ""


class AddBot(_Action, frozen=True, tag="add-bot"):
    """Start a bot on the server's machine: a partner for ``participant``, else one who waits like everyone."""

    bot: Short
    participant: Name | None = None


class ProbeRoom(_Action, frozen=True, tag="probe-room"):
    """Measure the network between every two who are here and do not play, anew."""


Action = (
    Pair
    | StartAll
    | Hold
    | Release
    | Move
    | PauseMatch
    | ResumeMatch
    | ExtendMatch
    | EndMatch
    | Tell
    | Remove
    | AddBot
    | ProbeRoom
)

DONE_AT_ONCE = (StartAll, Hold, Release, Move, ProbeRoom)
"""What the room does by itself, as soon as it is asked for: nobody has to answer."""
