"""What a match hands to the recorder: plain records, one kind per fact.

Everything here is pure data. The log stores them in the order in which they came; tables are derived from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class EpisodeStarted:
    """An episode begins: all peers passed the barrier with this checksum."""

    episode: int
    seed: int
    first_checksum: bytes
    """Checksum of snapshot 0, 8 bytes."""


@dataclass(frozen=True, slots=True)
class FrameRecorded:
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


@dataclass(frozen=True, slots=True)
class FramesVerified:
    """Every peer has acknowledged an equal chain value at or past ``frame`` of ``episode``."""

    episode: int
    frame: int


@dataclass(frozen=True, slots=True)
class FrameTimed:
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


@dataclass(frozen=True, slots=True)
class EpisodeEnded:
    """All peers named this frame as the episode's last."""

    episode: int
    last_frame: int
    totals: tuple[float, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class EventRecorded:
    """Anything else worth keeping: a desync, a lost partner, a change of connection."""

    name: str
    episode: int
    frame: int
    details: dict[str, Any]


Record = EpisodeStarted | FrameRecorded | FramesVerified | FrameTimed | EpisodeEnded | EventRecorded
