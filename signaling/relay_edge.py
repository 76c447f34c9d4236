"""Passes on what players relay to each other: from WebSocket to WebSocket, past the library and the store. Edge."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any, Protocol

import msgspec

from p2pclient.common.errors import SignalingError
from p2pclient.common.path_messages import Relay, Relayed, RelayRefused
from signaling.frames import TokenBucket
from signaling.relaying import RelayQueue
from signaling.room import Room

_log = logging.getLogger("tandem.signaling")

REFUSALS_PER_SECOND = 1.0

_HONEST = frozenset({"peer-away", "rate-limited"})
"""Refusals of what a client may go on sending for a while: it passes."""


class RelayOutlet:
    """The way out to one client: what waits, and who sends it.

    ``send`` sends one message to the WebSocket, and waits while the client takes nothing.
    """

    def __init__(self, send: Callable[[Any], Awaitable[None]]) -> None:
        self._send = send
        self._queue = RelayQueue()
        self._sending: asyncio.Task[None] | None = None
        self._refusals = TokenBucket(1, REFUSALS_PER_SECOND, now=0.0)

    @property
    def dropped(self) -> int:
        """Frames that the client was too slow for."""
        return self._queue.dropped

    def push(self, sender: str, lane: str, frame: str) -> None:
        """Send a frame when the client takes it; drops some if it takes too few."""
        self._queue.push(sender, lane, frame)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())

    def refuse(self, code: str, *, now: float) -> None:
        """Tell the client that what it sends goes nowhere; not for each message."""
        if self._refusals.take(now=now):
            self.push("", "inputs", _frame(RelayRefused(code=code)))

    def close(self) -> None:
        """Send nothing more."""
        if self._sending is not None:
            self._sending.cancel()

    async def _send_all(self) -> None:
        try:
            while (frame := self._queue.pop()) is not None:
                await self._send({"type": "websocket.send", "text": frame})
        except (OSError, RuntimeError) as error:
            # The connection has ended; uvicorn has several ways to say so, and its reader notices it too.
            _log.debug("relaying to a client failed: %r", error)
            return  # and never begin again
        self._sending = None


class RelaySide(Protocol):
    """What a WebSocket has to do with relaying."""

    relays: RelayOutlet


class RelayEdge:
    """Carries out what the room decides on each message."""

    def __init__(self, room: Room, links: Mapping[str, RelaySide]) -> None:
        self._room = room
        self._links = links
        self._dropped = 0

    def take(self, client: str, relay: Relay) -> bool:
        """A client wants something to be relayed. Never fails; False for what no honest client goes on sending."""
        now = perf_counter()
        try:
            to = self._room.relay(client, relay, now=now)
        except SignalingError as error:
            if client in self._links:
                self._links[client].relays.refuse(error.code, now=now)
            return error.code in _HONEST
        sender = self._room.participant_of(client) or ""
        frame = _frame(Relayed(match_id=relay.match_id, peer=sender, data=relay.data))
        if to in self._links:
            self._links[to].relays.push(sender, relay.lane, frame)
        return True

    def forget(self, side: RelaySide) -> None:
        """A connection has ended."""
        side.relays.close()
        self._dropped += side.relays.dropped

    def counts(self) -> dict[str, int]:
        """Return what was relayed since the start, what was refused by its code, and what slow receivers missed."""
        dropped = self._dropped + sum(each.relays.dropped for each in self._links.values())
        return {**self._room.relayed, "dropped": dropped}


def _frame(message: Relayed | RelayRefused) -> str:
    """Return an event as Socket.IO's frame: the tag of the struct is the event's name."""
    name = "relayed" if isinstance(message, Relayed) else "relay-refused"
    return f"42{msgspec.json.encode([name, message]).decode()}"
