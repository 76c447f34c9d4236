"""What a match hands to the recorder: plain records, one kind per fact.

Everything here is pure data. The log stores them in the order in which they came; tables are derived from them. Only
the evidence of a desync is too large for that: it goes into a file of its own, to which an event in the log points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec import Struct

HOLDERS = ("substitute", "absent")
"""Who may hold a seat in place of the player to whom it was given."""


class EpisodeStarted(Struct, frozen=True, gc=False):
    """An episode begins: all peers passed the barrier with this checksum."""

    episode: int
    seed: int
    first_checksum: bytes
    """Checksum of snapshot 0, 8 bytes."""


class FrameRecorded(Struct, frozen=True, gc=False):
    """A frame of which the inputs of all seats are here and no correction is pending. Identical on all sides."""

    episode: int
    frame: int
    inputs: tuple[bytes, ...]
    """By seat, as on the wire: the seat flags, then the environment's input. Replaying these gives the same states."""
    actions: tuple[Any, ...]
    """By seat, as the environment's action space calls them."""
    rewards: tuple[Any, ...]
    """By seat; None where the agent was absent. Likewise the next three."""
    terminations: tuple[bool | None, ...]
    truncations: tuple[bool | None, ...]
    infos: tuple[Any, ...]
    focus: tuple[bool, ...]
    """By seat: did the player's window have the keyboard."""
    checksum: bytes
    """Checksum of the state after this frame (snapshot frame + 1), 8 bytes."""
    observations: tuple[Any, ...] | None = None
    """By seat, made after the frame; None unless the settings ask for them."""
    by: tuple[str | None, ...] | None = None
    """By seat, who had it in this frame if not the player to whom it was given: ``substitute`` or ``absent``; None for
    that player. None if all seats were held by those."""


class FramesVerified(Struct, frozen=True, gc=False):
    """Every peer has acknowledged an equal chain value at or past ``frame`` of ``episode``."""

    episode: int
    frame: int


class FrameTimed(Struct, frozen=True, gc=False):
    """Local facts about one frame; never part of the table that is identical on all sides.

    Times are seconds on this process's ``perf_counter``; the manifest maps them to wall-clock time.
    """

    episode: int
    frame: int
    pressed_at: float | None
    """When the key that changed the local input went down or up; None without a change, or for bots."""
    applied_at: float
    """When the local input of this frame was read."""
    simulated_at: float
    """When the first simulation of this frame came back from the environment's host."""
    shown_at: float | None
    """When the picture of the state after this frame was handed to the display; None if it was skipped."""
    recorded_at: float
    rtt_ms: float | None
    input_delay: int
    window: int
    predicted: tuple[bool, ...]
    """By seat: was the input assumed in the first simulation."""
    resimulated: int
    """How often this frame was simulated again."""


class EpisodeEnded(Struct, frozen=True, gc=False):
    """All peers named this frame as the episode's last."""

    episode: int
    last_frame: int
    totals: tuple[float, ...]
    reason: str


class EventRecorded(Struct, frozen=True, gc=False):
    """Anything else worth keeping: a desync, a lost partner, a change of connection."""

    name: str
    episode: int
    frame: int
    details: dict[str, Any]


class FramesWithdrawn(Struct, frozen=True, gc=False):
    """The frames of ``episode`` from ``first_frame`` on that were recorded before this count no more.

    They were not verified, and the episode has not ended: a desync was answered by simulating again, and what comes out
    is recorded behind this.
    """

    episode: int
    first_frame: int
    """At most one past the newest recorded frame, and past every verified one."""


@dataclass(frozen=True, slots=True)
class DesyncEvidence:
    """The evidence of a desync with one peer, complete: handed over once what follows is decided.

    The states are as they were sent, because reading and comparing large ones takes seconds: the recorder does that
    while the match goes on (:func:`p2pclient.recorder.desync.report_of`).
    """

    episode: int
    frame: int
    """First frame after which the states differ; ``NULL_FRAME`` if the first states of the episode do."""
    peer: int
    ours: bytes
    """Portable state after ``frame``, encoded; empty if there is none. Likewise ``theirs``, which is hostile."""
    theirs: bytes
    verdict: str
    """What followed, one of the codes in :data:`DESYNC_VERDICTS`."""


@dataclass(frozen=True, slots=True)
class DesyncReported:
    """What a report of a desync says: both states as plain data, and where they differ."""

    episode: int
    frame: int
    """First frame after which the states differ; ``NULL_FRAME`` if the first states of the episode do."""
    peer: int
    ours: Any
    """Portable state after ``frame``, as plain data; None if there is none. Likewise ``theirs``."""
    theirs: Any
    differences: tuple[tuple[str, Any, Any], ...]
    """``(path, ours, theirs)`` of each field that differs, in order, as plain data; may be cut off after some."""
    verdict: str
    """What followed, one of the codes in :data:`DESYNC_VERDICTS`."""


DESYNC_VERDICTS = {
    "ended": "the match was ended",
    "agreed": "all sides simulated again from the last frame that they had agreed to, and agreed: the match went on",
    "differed": "all sides simulated again from the last frame that they had agreed to, and differed again:"
    " the match was ended",
    "interrupted": "the match ended before all sides had simulated again",
}
"""Stable codes for what followed a desync, each with a sentence for people."""


LogRecord = (
    EpisodeStarted | FrameRecorded | FramesVerified | FrameTimed | EpisodeEnded | EventRecorded | FramesWithdrawn
)
"""What the log stores."""

Record = LogRecord | DesyncEvidence | DesyncReported
"""What the recorder takes."""
