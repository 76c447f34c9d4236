"""Searches the LAN for a server, in all ways at once: what was named, broadcast, IPv6 multicast, mDNS.

Every way may fail for itself: the search goes on, and :attr:`Finder.notes` says what does not work and why.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import psutil

from p2pclient.common import tls_errors
from p2pclient.common.discovery_messages import (
    DISCOVERY_GROUP,
    DISCOVERY_PORT,
    FACTS_PATH,
    ServerFacts,
    decode_answer,
    encode_query,
    facts_of,
)
from p2pclient.common.errors import ConfigurationError, RemoteProtocolError
from p2pclient.common.lobby_messages import LOBBY_PROTOCOL
from p2pclient.common.network_interfaces import Interface, choose_interfaces, interfaces_of, source_of
from p2pclient.discovery.findings import Choice, Findings, Wanted
from p2pclient.discovery.mdns import Browser

_log = logging.getLogger("tandem.discovery")

ASK_S = 1.0
"""Between two questions to everyone."""
_TRY_S = 1.5
"""For one answer over HTTP."""
_LOOK_S = 0.1
_MAX_FACTS_BYTES = 4096


class Finder:
    """One search. Use it as ``async with Finder(wanted) as finder`` and look at :meth:`choose` again and again.

    Args:
        port: UDP port on which servers answer.
        trust: checks servers' certificates; None: as the system does.
    """

    def __init__(
        self, wanted: Wanted, *, port: int = DISCOVERY_PORT, mdns: bool = True, trust: ssl.SSLContext | None = None
    ) -> None:
        self.findings = Findings(wanted, LOBBY_PROTOCOL)
        self.notes: dict[str, str] = {}
        """Way -> why it does not work here, as a sentence."""
        self.interfaces: tuple[Interface, ...] = ()
        self._wanted = wanted
        self._port = port
        self._mdns = mdns
        self._trust = trust
        self._nonce = os.urandom(8)
        self._asking: dict[tuple[int, str], tuple[asyncio.DatagramTransport, socket.socket]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._trying: set[asyncio.Task[None]] = set()
        self._session: Any = None

    async def __aenter__(self) -> Finder:
        if self._wanted.on_lan:
            self._look_at_interfaces()
        # Not through a proxy that the environment names: what is searched for is on this LAN.
        connector = aiohttp.TCPConnector(ssl=True if self._trust is None else self._trust)
        timeout = aiohttp.ClientTimeout(total=_TRY_S)
        self._session = aiohttp.ClientSession(connector=connector, trust_env=False, timeout=timeout)
        works = [self._try_named(), self._try_seen()]
        if self._wanted.on_lan:
            works += [self._ask(), *([self._browse()] if self._mdns else [])]
        self._tasks = [asyncio.create_task(each) for each in works]
        return self

    async def __aexit__(self, *error: object) -> None:
        tasks = [*self._tasks, *self._trying]
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for transport, _ in self._asking.values():
            transport.close()
        self._asking.clear()
        await self._session.close()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    def choose(self) -> Choice:
        """Return what is to be made of what was found until now."""
        return self.findings.choose(now=self.now())

    def check(self) -> None:
        """Raise what ended one of the ways, if anything did: a bug here."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    def now(self) -> float:
        """The time by which findings are dated."""
        return asyncio.get_running_loop().time()

    # -- over HTTP ----------------------------------------------------------------------------------------------------

    async def _try_named(self) -> None:
        while self._wanted.urls:
            for url in self._wanted.urls:
                facts = await self._facts_at(url)
                if facts is not None:
                    self.findings.named_answers(url, facts, now=self.now())
            await asyncio.sleep(ASK_S)

    async def _try_seen(self) -> None:
        while True:
            for server_id, urls in self.findings.due(now=self.now()):
                task = asyncio.create_task(self._try(server_id, urls))
                self._trying.add(task)
                task.add_done_callback(self._trying.discard)
            await asyncio.sleep(_LOOK_S)

    async def _try(self, server_id: str, urls: Sequence[str]) -> None:
        for url in urls:
            facts = await self._facts_at(url)
            if facts is not None and facts.server_id == server_id:
                self.findings.tried(server_id, url, now=self.now())
                return
        self.findings.tried(server_id, None, now=self.now())

    async def _facts_at(self, url: str) -> ServerFacts | None:
        """Return what the server at a URL says of itself; None if there is none."""
        try:
            async with self._session.get(url + FACTS_PATH, allow_redirects=False) as answer:
                if answer.status != 200:
                    return None
                return facts_of(json.loads(await answer.content.read(_MAX_FACTS_BYTES)))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError, RemoteProtocolError) as error:
            _log.debug("no server at %s: %r", url, error)
            inner = getattr(error, "certificate_error", None)
            if isinstance(inner, ssl.SSLCertVerificationError):
                self.notes["certificate"] = tls_errors.sentence(tls_errors.code_of(inner.verify_code), url)
            return None

    # -- questions to everyone ----------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        query = encode_query(self._nonce)
        while True:
            self._look_at_interfaces()
            await self._open_sockets()
            sent = 0
            for (_, own), (_, asking) in self._asking.items():
                sent += _send(asking, own, query, self._port)
            if sent:
                self.notes.pop("broadcast", None)
            else:
                self.notes["broadcast"] = "Nothing can be sent to this network: is a cable plugged in, or Wi-Fi on?"
            await asyncio.sleep(ASK_S)

    def _look_at_interfaces(self) -> None:
        every = interfaces_of(psutil.net_if_addrs(), psutil.net_if_stats())
        try:
            self.interfaces = choose_interfaces(every, self._wanted.interface)
            self.notes.pop("interface", None)
        except ConfigurationError as error:
            self.interfaces = ()
            self.notes["interface"] = str(error)  # a cable may yet be plugged in

    async def _open_sockets(self) -> None:
        """Have one socket on each network: a question must leave on each, not only where the default route leads."""
        wanted: dict[tuple[int, str], tuple[Any, ...]] = {}
        indices = {name: index for index, name in _nameindex()}
        for each in self.interfaces:
            for own, broadcast in each.broadcasts():
                wanted[socket.AF_INET, f"{own}>{broadcast}"] = (own, 0)
            if each.ipv6 and each.name in indices:
                wanted[socket.AF_INET6, str(indices[each.name])] = ("::", 0)
        closing = {key for key, (transport, _) in self._asking.items() if transport.is_closing()}
        for gone in closing | (set(self._asking) - set(wanted)):
            self._asking.pop(gone)[0].close()
        for key, local in wanted.items():
            if key in self._asking:
                continue
            asking = socket.socket(key[0], socket.SOCK_DGRAM)
            try:
                asking.setblocking(False)
                if key[0] == socket.AF_INET:
                    asking.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                else:
                    asking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    asking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, int(key[1]))
                asking.bind(local)
            except OSError as error:
                asking.close()
                _log.debug("no questions from %s: %s", local, error)
                continue
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Answers(self._receive), sock=asking
            )
            self._asking[key] = transport, asking

    def _receive(self, datagram: bytes, address: Sequence[Any]) -> None:
        try:
            answer = decode_answer(datagram)
        except RemoteProtocolError as error:
            _log.debug("what %s says is not understood: %s", address[0], error)
            if error.reason == "version":
                self.notes["version"] = f"A server of another version of this program answers at {address[0]}."
            return
        if answer.nonce == self._nonce:
            way = "multicast" if len(address) == 4 else "broadcast"
            self.findings.see(answer.facts, way, (source_of(address, socket.if_indextoname),), now=self.now())

    # -- mDNS ---------------------------------------------------------------------------------------------------------

    async def _browse(self) -> None:
        def on_note(text: str) -> None:
            self.notes.pop("mdns", None)
            if text:
                self.notes["mdns"] = text

        browser = Browser(
            lambda: self.interfaces,
            on_seen=lambda facts: self.findings.see(facts, "mdns", (), now=self.now()),
            on_gone=lambda server_id: self.findings.gone(server_id, "mdns"),
            on_note=on_note,
        )
        await browser.run()


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, receive: Callable[[bytes, Sequence[Any]], None]) -> None:
        self._receive = receive

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._receive(data, addr)

    def error_received(self, exc: Exception) -> None:
        _log.debug("a question did not leave: %s", exc)
        if isinstance(exc, ConnectionResetError):
            # On Windows; asyncio does not read on after that. Opened anew with the next question.
            self._transport.close()


def _nameindex() -> list[tuple[int, str]]:
    try:
        return socket.if_nameindex()
    except OSError:
        return []


def _send(asking: socket.socket, own: str, query: bytes, port: int) -> int:
    """Send a question; return how many datagrams the system took."""
    if asking.family == socket.AF_INET6:
        targets: list[tuple[Any, ...]] = [(DISCOVERY_GROUP, port, 0, int(own))]
    else:
        # The network's own broadcast address works without a default route; the general one where a mask is wrong.
        targets = [(own.split(">")[1], port), ("255.255.255.255", port)]
        if own.startswith("127."):
            targets = [("127.0.0.1", port), *targets[:1]]
    taken = 0
    for target in targets:
        try:
            asking.sendto(query, target)  # not the transport's, which says failures to nobody
            taken += 1
        except OSError as error:
            _log.debug("no question to %s: %s", target[0], error)
    return taken
