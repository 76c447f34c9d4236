"""What the console shows, as plain data: one row for each participant, match and seat.

Made from the room by the room itself, so that no page reaches into it. Times are seconds of the server's clock unless
a name says ``_ago`` or ``_for``. Everything that people typed is text to be shown, never markup.
"""

from __future__ import annotations

from typing import Any

import msgspec

from p2pclient.common.room_messages import Health

PARTICIPANT_STATES = (
    "idle", "screening", "waiting", "matched", "connecting", "playing", "away", "watching", "finished", "excluded",
)  # fmt: skip
"""``matched``: proposed, not all have confirmed. ``away``: its connection is lost, its place is kept for a while."""

MATCH_STATES = ("matched", "validating", "playing", "paused", "ended")


class ParticipantRow(msgspec.Struct, frozen=True, kw_only=True):
    """One participant, or one station without a participant."""

    id: str
    label: str = ""
    station: str = ""
    bot: bool = False
    state: str = "idle"
    state_for_s: float = 0.0
    connected: bool = True
    address: str = ""
    app_version: str = ""
    rtt_ms: float | None = None
    """Of the connection to the server."""
    match_id: str = ""
    seat: int | None = None
    position: int | None = None
    """Place in the queue while it waits; 1 is the next to be matched."""
    reason: str = ""
    """Why it still waits, or why it was excluded, as a sentence."""
    note: str = ""
    """The message that the researcher sent and that is on its screen."""


class SeatRow(msgspec.Struct, frozen=True, kw_only=True):
    """One seat of a match, with what its client told last."""

    seat: int
    participant_id: str
    label: str = ""
    station: str = ""
    bot: bool = False
    present: bool = True
    """False once it finished, left or departed."""
    health: Health | None = None
    health_ago_s: float | None = None


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, for a timeline or a log."""

    at: float
    """Seconds since the epoch, by the server's clock."""
    kind: str
    text: str
    match_id: str = ""
    participant_id: str = ""
    severity: str = "info"
    """``info``, ``warning`` or ``problem``."""


class MatchRow(msgspec.Struct, frozen=True, kw_only=True):
    """One match; ended ones are kept for a while."""

    id: str
    state: str
    reason: str = ""
    """Why it ended: ``complete``, or a stable word for anything else."""
    env: str = ""
    seats: tuple[SeatRow, ...] = ()
    started_at: float = 0.0
    """Seconds since the epoch."""
    running_for_s: float = 0.0
    length_s: float = 0.0
    """Nominal; 0 for no limit."""
    spectators: int = 0
    alerts: tuple[str, ...] = ()
    """What is wrong now, as sentences."""


class ActionRow(msgspec.Struct, frozen=True, kw_only=True):
    """An action of a researcher, and what became of it."""

    id: str
    kind: str
    by: str
    target: str
    state: str
    """``sent``, ``done``, ``failed``, ``unanswered`` when no client acknowledged it in time, or ``unknown`` when the
    server was started again since."""
    detail: str = ""
    at: float = 0.0


class ProbeRow(msgspec.Struct, frozen=True, kw_only=True):
    """The network between two participants, as their clients measured it over a data channel."""

    a: str
    b: str
    state: str
    """``queued``, ``asked``, ``connecting``, ``measuring``, ``done`` or ``failed``."""
    rtt_ms: float | None = None
    """Of the last measurement, also while another one is under way."""
    jitter_ms: float | None = None
    loss: float | None = None
    """Share of datagrams without an echo."""
    path: str = ""
    reason: str = ""
    """Why the last attempt measured nothing, as a sentence; empty if it did."""
    at: float | None = None
    """When that was, seconds since the epoch."""


class RoomRow(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at once, small enough to be sent every second."""

    server_version: str = ""
    at: float = 0.0
    """Seconds since the epoch."""
    title: str = ""
    """The study's, for people; empty for a server without one."""
    settings: dict[str, Any] = {}
    counts: dict[str, int] = {}
    """Participants by state; and ``problems``, ``matches``, ``matches_made``."""
    median_wait_s: float | None = None
    """Of those matched so far."""
    participants: tuple[ParticipantRow, ...] = ()
    matches: tuple[MatchRow, ...] = ()
    events: tuple[EventRow, ...] = ()
    """The newest last; a few hundred at most."""
    actions: tuple[ActionRow, ...] = ()
    """The newest last; a few dozen at most."""
    probes: tuple[ProbeRow, ...] = ()
    """Every pair of which anything is known, or that is being measured or waits for it; a few hundred at most."""
    matching_problem: str = ""
    """Why the matcher matches nobody at the moment, as a sentence; empty if it is well."""
    paused: bool = False
    """Nobody is matched until the researcher lets it go on."""
