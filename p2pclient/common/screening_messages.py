"""What a client is asked to measure before it may wait for partners, and what it answers.

Part of the conversation in :mod:`p2pclient.common.lobby_messages`, and of its version. What a client says of itself is
a claim: it helps people to find out that a computer is not fit, and does not keep out who wants to deceive.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from p2pclient.common.room_messages import Count, Figure, Name, Sentence, Short

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Check = Literal["display", "pacing", "ping", "environment"]
"""What takes a window, time or an environment to find out. Everything else is told in any case."""
CHECKS: tuple[Check, ...] = ("display", "pacing", "ping", "environment")


class Screen(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="screen"):
    """Measure this computer and answer with :class:`Screened`; only then there is a place in the waiting room."""

    screening_id: Name
    checks: Annotated[tuple[Check, ...], msgspec.Meta(max_length=len(CHECKS))] = ()
    within_s: Figure = 60.0


class Echo(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="echo"):
    """Nothing but a request, whose acknowledgement the client times."""


class Display(msgspec.Struct, frozen=True, kw_only=True):
    """The display on which the window is."""

    width: Count
    """Pixels of the whole display."""
    height: Count
    scale: Figure | None = None
    """Pixels per unit in which the system lays out its own windows: 1.5 for 150 %. None where it does not say."""
    refresh_hz: Figure | None = None
    displays: Count = 1


class Pacing(msgspec.Struct, frozen=True, kw_only=True):
    """How evenly pictures came to the display while they were wanted at ``rate_hz``."""

    rate_hz: Figure
    pictures: Count
    """Intervals measured."""
    median_ms: Figure
    p99_ms: Figure
    missed: Share
    """Share of the pictures wanted that were not shown in time: later than one and a half intervals, or never."""


class Ping(msgspec.Struct, frozen=True, kw_only=True):
    """Round trips to the server, through the program at both ends."""

    samples: Count
    median_ms: Figure
    worst_ms: Figure


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What will be played, as it is on this computer."""

    digest: Short = ""
    """Over its sources; equal where it is the same code. Empty if it could not be loaded."""
    python: Short = ""
    numpy: Short = ""
    problem: Sentence = ""
    """Why it could not be loaded; empty if it was."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a client found out about its computer. None: not measured; ``unknown`` may say why."""

    system: Short = ""
    """``Windows``, ``Linux``, ``macOS``, or what else the system calls itself."""
    system_version: Short = ""
    machine: Short = ""
    program: Short = ""
    """Version of this program."""
    python: Short = ""
    headless: bool = False
    """There is no window."""
    cores: Count | None = None
    memory_mb: Count | None = None
    memory_free_mb: Count | None = None
    plugged_in: bool | None = None
    battery: Share | None = None
    """How full it is; None where there is none."""
    display: Display | None = None
    pacing: Pacing | None = None
    ping: Ping | None = None
    environment: Environment | None = None
    unknown: Annotated[dict[Short, Sentence], msgspec.Meta(max_length=16)] = {}
    """Why something was not measured, by check."""


class Screened(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="screened"):
    """The answer to :class:`Screen`. Harmless for a screening that is over, and twice."""

    screening_id: Name
    facts: Facts
