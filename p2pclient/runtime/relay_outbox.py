"""What waits to be relayed by the server: little, and of inputs only the newest."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from p2pclient.common.path_messages import Relay

_log = logging.getLogger("tandem.signaling_client")

MAX_WAITING_INPUTS = 32
"""For one peer; then the oldest goes. Half a second at 60 Hz."""
MAX_WAITING_CONTROL = 512
"""Frames for one peer: twice what a transport sends without an acknowledgement. What is not taken, it sends again."""


class RelayOutbox:
    """Sends one message after the other.

    Args:
        send: sends one, and waits while the connection takes nothing. Must not raise for weather.
    """

    def __init__(self, send: Callable[[Relay], Awaitable[None]]) -> None:
        self._send = send
        self._inputs: dict[str, deque[Relay]] = {}
        self._control: dict[str, deque[Relay]] = {}
        self._sending: asyncio.Task[None] | None = None
        self.dropped = 0

    def push(self, relay: Relay) -> bool:
        """Send this when it is its turn; False if it is not taken."""
        if relay.lane == "inputs":
            waiting = self._inputs.setdefault(relay.peer, deque())
            if len(waiting) >= MAX_WAITING_INPUTS:
                waiting.popleft()
                self.dropped += 1
        else:
            waiting = self._control.setdefault(relay.peer, deque())
            if len(waiting) >= MAX_WAITING_CONTROL:
                self.dropped += 1
                return False
        waiting.append(relay)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())
        return True

    def clear(self) -> None:
        """Forget what waits."""
        self._inputs.clear()
        self._control.clear()

    async def close(self) -> None:
        """Forget what waits, and send nothing more."""
        self.clear()
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    async def _send_all(self) -> None:
        try:
            while (relay := self._pop()) is not None:
                await self._send(relay)
        finally:
            self._sending = None

    def _pop(self) -> Relay | None:
        """Take the next one: inputs of all peers in turn, then control."""
        for lane in (self._inputs, self._control):
            if lane:
                peer = next(iter(lane))
                waiting = lane.pop(peer)
                relay = waiting.popleft()
                if waiting:
                    lane[peer] = waiting
                return relay
        return None
