"""How a link makes connections to its peer, and what it knows of those that it has or is making."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from p2pclient.common.description import Description
from p2pclient.transport.base import PeerTransport
from p2pclient.transport.ladder import Rung
from p2pclient.transport.relay import RelayTransport


@runtime_checkable
class NegotiatedTransport(PeerTransport, Protocol):
    """A transport that is made by two descriptions, see :class:`~p2pclient.transport.rtc.RtcTransport`."""

    async def make_offer(self) -> dict[str, str]:
        """Return our offer."""

    async def accept_offer(self, description: Mapping[str, Any]) -> dict[str, str]:
        """Take the other side's offer; return our answer."""

    async def accept_answer(self, description: Mapping[str, Any]) -> None:
        """Take the other side's answer."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a link makes connections.

    Args:
        make: a new transport on a rung; the second argument says whether it makes the offer.
        say: brings a description to the peer, with the rung and number of the attempt. Raises SignalingError.
        make_relayed: a new transport by way of the server.
        rungs: the kinds of path that may be used.
    """

    make: Callable[[Rung, bool], NegotiatedTransport]
    say: Callable[[Description, Rung, int], Awaitable[None]]
    make_relayed: Callable[[], RelayTransport] | None = None
    rungs: tuple[Rung, ...] = (Rung.DIRECT,)


@dataclass(slots=True)
class Path:
    transport: PeerTransport
    number: int
    why: str
    was_used: bool = False
    is_doubted: bool = False
    """Our end of it is no address of this computer any more."""


@dataclass(slots=True)
class Making:
    """An attempt under way."""

    rung: Rung
    number: int
    transport: PeerTransport
    is_ours: bool
    why: str
    incarnation: int
    """Of the peer, as far as it is known."""
    said: Description | None = None
    is_answered: bool = False
