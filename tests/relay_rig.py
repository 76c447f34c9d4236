"""Pairs of relayed transports: over a wire that loses what it is told to, and over a real server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from signaling_rig import SETTINGS, Caller, callers, listening_server

from p2pclient.common.lobby_messages import Join, Matched, MatchSettings
from p2pclient.common.path_messages import MAX_RELAYED_BYTES, PathMessage, Relayed, RelayRefused
from p2pclient.runtime.relay_carrier import ServerCarrier
from p2pclient.transport.impairment import Impairment
from p2pclient.transport.relay import HEAD, HELLO, RelayTransport
from signaling.sockets import SignalingServer


class Wire:
    """One direction of what a server does: brings frames in order, unless it is told to lose them."""

    def __init__(self) -> None:
        self.to: RelayTransport | None = None
        self.loses: Callable[[bytes], bool] = lambda frame: False
        self.lost = 0
        self.carried: list[bytes] = []

    def carry(self, lane: str, frame: bytes) -> bool:
        assert len(frame) <= MAX_RELAYED_BYTES
        if self.loses(frame):
            self.lost += 1
        else:
            self.carried.append(frame)
            asyncio.get_running_loop().call_soon(lambda: self.to.receive(frame) if self.to else None)
        return True

    def describe(self) -> tuple[str, str]:
        return "server", "peer"


class Numbers:
    """Gives other numbers to each transport, and the same in every run."""

    def __init__(self, first: int) -> None:
        self.last = first

    def __call__(self) -> int:
        self.last += 7
        return self.last


def make_wired(
    impairments: tuple[Impairment | None, Impairment | None] = (None, None), *, first: int = 100, **options: float
) -> tuple[RelayTransport, RelayTransport, Wire, Wire]:
    """Return two transports, and the wires that lead away from each."""
    there, back, draw = Wire(), Wire(), Numbers(first)
    a = RelayTransport(there, impairment=impairments[0], draw=draw, **options)
    b = RelayTransport(back, impairment=impairments[1], draw=draw, **options)
    there.to, back.to = b, a
    return a, b, there, back


async def matched_pair(pair: list[Caller]) -> list[Matched]:
    """Let two clients join, and wait until they are in a match."""
    for each in pair:
        await each.client.join(Join())
    return [await each.next(Matched) for each in pair]


class RelayedClients:
    """Two clients of a real server, between which transports are made by way of it."""

    def __init__(self, pair: list[Caller], matched: list[Matched], server: SignalingServer) -> None:
        self.server = server
        self.pair = pair
        self.matched = matched
        self.refused: list[str] = []
        self._ends: list[RelayTransport] = []
        for number, each in enumerate(pair):
            each.client.on_path_message = lambda message, number=number: self._take(number, message)  # type: ignore[misc]

    def _take(self, number: int, message: PathMessage) -> None:
        if isinstance(message, RelayRefused):
            self.refused.append(message.code)
        elif isinstance(message, Relayed) and self._ends:
            assert message.peer == self.matched[number].peers[0].client_id
            end = self._ends[number]
            kind, to, *_ = HEAD.unpack_from(message.data)
            if kind == HELLO or to == end._own:  # else of the pair before this one
                end.receive(message.data)

    async def make_pair(self, **options: float) -> tuple[RelayTransport, RelayTransport]:
        """Return two new transports."""
        a, b = self._ends = [
            RelayTransport(ServerCarrier(each.client, matched.peers[0].client_id), **options)
            for each, matched in zip(self.pair, self.matched, strict=True)
        ]
        return a, b


@contextlib.asynccontextmanager
async def relayed_clients(settings: MatchSettings = SETTINGS, **options: Any) -> AsyncIterator[RelayedClients]:
    """Run a server with two clients in a match."""
    async with (
        listening_server(settings, **options) as listening,
        callers(f"http://127.0.0.1:{listening.port}", 2) as pair,
    ):
        yield RelayedClients(pair, await matched_pair(pair), listening.server)
