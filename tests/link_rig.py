"""Links over transports in memory that are made by descriptions, as those over a network are, and can be broken."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from p2pclient.common.description import Description
from p2pclient.common.errors import RemoteProtocolError, SignalingError, TransportError
from p2pclient.runtime.link_paths import Way
from p2pclient.runtime.peer_link import PeerLink
from p2pclient.transport import memory
from p2pclient.transport.base import Closed, Failed, TransportStats
from p2pclient.transport.delayed import LoopRelease
from p2pclient.transport.ladder import Rung
from p2pclient.transport.memory import MemoryTransport
from p2pclient.transport.relay import RelayTransport

HANDSHAKE = 0.1
"""Seconds from the answer until both ends are open."""


class Called(MemoryTransport):
    """One end that is joined to the other by an offer and its answer, if the network lets it."""

    def __init__(self, net: Net, rung: Rung = Rung.DIRECT) -> None:
        loop = asyncio.get_running_loop()
        releases = (LoopRelease(loop), LoopRelease(loop))
        super().__init__(clock=loop.time, releases=releases, call_soon=loop.call_soon)
        self._net = net
        self.rung = rung
        self._token = f"end {next(net.tokens)}"
        self.is_over = False
        self.address = ""
        """Of a real network, if one is to be pretended."""
        net.ends[self._token] = self

    async def make_offer(self) -> dict[str, str]:
        return {"type": "offer", "sdp": self._token}

    async def accept_offer(self, description: Mapping[str, Any]) -> dict[str, str]:
        self._meet(description)
        return {"type": "answer", "sdp": self._token}

    async def accept_answer(self, description: Mapping[str, Any]) -> None:
        other = self._meet(description)
        asyncio.get_running_loop().call_later(HANDSHAKE, self._net.join, self, other)

    def _meet(self, description: Mapping[str, Any]) -> Called:
        if self.is_over:
            raise TransportError("It is closed.")
        if description["sdp"] not in self._net.ends:
            raise RemoteProtocolError("bad-description", "nobody made it")
        return self._net.ends[description["sdp"]]

    def stats(self) -> TransportStats:
        found = super().stats()
        if self.rung is Rung.TURN and self._is_open:
            return replace(found, connection="turn")
        return replace(found, connection="direct", local_address=self.address) if self.address else found

    def end(self) -> None:
        self.is_over = True
        if hasattr(self, "_peer"):
            super().end()
        else:
            self._finish(Closed(by_peer=False))


class ByServer:
    """Brings frames to the other side by way of the server, in order."""

    def __init__(self, net: Net, leads: bool) -> None:
        self._net = net
        self._leads = leads

    def carry(self, lane: str, frame: bytes) -> bool:
        net = self._net
        if net.server_is_away or net.is_down or Rung.RELAY in net.blocked:
            return False
        net.relayed += 1
        net.loop.call_later(net.server_delay, lambda: net.links[not self._leads].take_relayed(frame))
        return True

    def describe(self) -> tuple[str, str]:
        return "server", "peer"


class Net:
    """Two sides, the server that relays what they say, and all that lies between them."""

    def __init__(self, *, seed: int = 1, rungs: tuple[Rung, ...] = (Rung.DIRECT,)) -> None:
        self.loop = asyncio.get_running_loop()
        self.random = random.Random(seed)
        self.tokens = itertools.count()
        self.ends: dict[str, Called] = {}
        self.is_down = False
        """Nothing gets through, but what was joined works again afterwards."""
        self.rungs = rungs
        self.blocked: set[Rung] = set()
        """Kinds of path that carry nothing at the moment."""
        self.server_is_away = False
        self.server_delay = 0.05
        self.relayed = 0
        """Frames that the server passed on."""
        self.joined: list[tuple[Called, Called]] = []
        self.dead: list[tuple[Called, Called]] = []
        """Joined ends that never work again."""
        self.said: list[tuple[bool, Description, int]] = []
        self.incarnations = {True: 1, False: 2}
        self.links = {leads: self._make_link(leads) for leads in (True, False)}
        first = Called(self), Called(self)
        self.join(*first)
        for leads, end in zip((True, False), first, strict=True):
            end.take_events()
            self.links[leads].incarnation = self.incarnations[not leads]
            self.links[leads].adopt(end)
            self.links[leads].take_events()

    def _make_link(self, leads: bool) -> PeerLink:
        def make_relayed() -> RelayTransport:
            return RelayTransport(
                ByServer(self, leads), incarnation=self.incarnations[leads], draw=lambda: self.random.getrandbits(32)
            )

        async def say(description: Description, rung: Rung, number: int) -> None:
            self.said.append((leads, description, number))
            if self.server_is_away:
                raise SignalingError("not-connected", "The server is away.")
            take = lambda: self.links[not leads].take(  # noqa: E731
                description, number=number, incarnation=self.incarnations[leads], rung=rung
            )
            self.loop.call_later(self.server_delay, take)

        way = Way(lambda rung, offerer: Called(self, rung), say, make_relayed, self.rungs)
        return PeerLink(leads=leads, way=way, draw=self.random.random)

    def join(self, a: Called, b: Called) -> None:
        if self.is_down or a.rung in self.blocked or a.is_over or b.is_over:
            return
        memory._join(a, b)
        self.joined.append((a, b))

    def set_down(self, is_down: bool) -> None:
        """Cut, or mend: what was not killed meanwhile works again."""
        self.is_down = is_down
        for pair in self.joined:
            for end in pair:
                end.set_cut(is_down or pair in self.dead or end.rung in self.blocked)

    def block(self, *rungs: Rung) -> None:
        """Let exactly these kinds of path carry nothing."""
        self.blocked = set(rungs)
        self.set_down(self.is_down)

    def kill_paths(self) -> None:
        """All that was joined until now never carries a byte again, and nobody is told."""
        self.dead += self.joined
        self.set_down(self.is_down)

    def fail_paths(self) -> None:
        """The same, and both ends notice."""
        self.kill_paths()
        for pair in self.joined:
            for end in pair:
                if not end.is_over:
                    end._finish(Failed("A test ended it."))

    @property
    def open_ends(self) -> int:
        """Transports that were made and not closed."""
        return sum(not end.is_over for end in self.ends.values())

    async def close(self) -> None:
        for link in self.links.values():
            await link.close()
