"""What the lobby asks its edge to do, in order."""

from __future__ import annotations

from dataclasses import dataclass

from p2pclient.common.lobby_messages import ServerMessage


@dataclass(frozen=True, slots=True)
class Send:
    """Send ``message`` to ``client``."""

    client: str
    message: ServerMessage


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection of ``client``, which has departed already."""

    client: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something worth a line in the log."""

    what: str
    facts: dict[str, object]


Effect = Send | Disconnect | Noted
