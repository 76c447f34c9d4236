"""What the room asks its edge to do, in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from p2pclient.common.lobby_messages import ServerMessage
from signaling.matching.base import Candidate, Context
from signaling.store.interface import Record


@dataclass(frozen=True, slots=True)
class Send:
    """Send ``message`` over the connection ``client``."""

    client: str
    message: ServerMessage


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection ``client``, which the room has forgotten already."""

    client: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something worth a line in the log."""

    what: str
    facts: dict[str, object]


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision about who plays with whom, to be kept as one line of JSON."""

    line: dict[str, object]


@dataclass(frozen=True, slots=True)
class StartBot:
    """Start a bot on this machine; it proves with ``token`` that it is ``participant``, who is expected."""

    bot: str
    participant: str
    label: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that must not be lost. It is to be durable before any effect that comes after it is carried out."""

    record: Record


@dataclass(frozen=True, slots=True)
class AskHook:
    """Ask the researcher's own function; what it says goes to ``Room.hook_answered`` with ``request``."""

    request: str
    which: Literal["entry", "playing"]
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AskMatcher:
    """Ask a matcher that may take its time; what it says goes to ``Room.matcher_answered`` with ``request``."""

    request: int
    candidates: tuple[Candidate, ...]
    context: Context
    now: float


Effect = Send | Disconnect | Noted | Decided | StartBot | AskHook | AskMatcher | Kept
