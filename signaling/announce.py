"""Makes the server known on the LAN: mDNS, and answers to broadcast and multicast questions.

Each way works without the others; one that cannot be used (no zeroconf installed, the port taken, no multicast) is a
sentence in the log. What the machine's interfaces are is looked at again and again, so that a cable that is plugged in
later is enough.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import secrets
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from p2pclient.common.discovery_messages import (
    DEFAULT_ROOM,
    DISCOVERY_GROUP,
    DISCOVERY_PORT,
    MAX_ADDRESSES,
    SERVICE_TYPE,
    ServerFacts,
    check_room,
    facts_to_txt,
)
from p2pclient.common.lobby_messages import LOBBY_PROTOCOL
from p2pclient.common.network_interfaces import (
    Interface,
    choose_interfaces,
    multicast_choices,
    shares_network,
    source_of,
    usable_addresses,
)
from signaling.addresses import machine_interfaces
from signaling.answering import Responder

_log = logging.getLogger("tandem.announce")

LOOK_S = 3.0
"""Between two looks at the machine's interfaces."""
_GOODBYE_S = 3.0


@dataclass(frozen=True, slots=True)
class Announcement:
    """How a server is to be found."""

    room: str = DEFAULT_ROOM
    interface: str | None = None
    """Name or address of the only one on which it is announced; None for all."""
    port: int = DISCOVERY_PORT
    """UDP port on which questions are answered."""
    mdns: bool = True
    on_lan: bool = True
    """False: only codes and URLs lead to it."""


def make_facts(
    announcement: Announcement, port: int, *, version: str, study: str = "", secure: bool = False
) -> ServerFacts:
    """Return what a server that listens on ``port`` says of itself, without addresses yet.

    Raises:
        ConfigurationError: the room's name cannot be one.
    """
    computer = "".join(each for each in platform.node() if each.isprintable())[:64]
    return ServerFacts(
        server_id=secrets.token_hex(8),
        room=check_room(announcement.room),
        computer=computer,
        port=port,
        secure=secure,
        protocol=LOBBY_PROTOCOL,
        version=version[:64],
        study=study[:64] or UNSET,
    )


class Announcer:
    """Keeps a server announced from :meth:`run` until that is cancelled, which says good-bye.

    Args:
        host: where the server listens; of another address than all of them, only that one is announced.
        read_interfaces: asked again and again.
    """

    def __init__(
        self,
        announcement: Announcement,
        facts: ServerFacts,
        *,
        host: str,
        read_interfaces: Callable[[], tuple[Interface, ...]] = machine_interfaces,
    ) -> None:
        self._announcement = announcement
        self._read_interfaces = read_interfaces
        self._host = host
        self._interfaces = self._look()
        self.facts = replace(facts, addresses=self._addresses())
        self._responder = Responder(self.facts, self._interfaces, now=perf_counter())
        self._transports: dict[int, asyncio.DatagramTransport] = {}
        self._refused: set[int] = set()
        self._is_unheard = False
        self._joined: set[int] = set()
        self._zeroconf: Any = None
        self._service: Any = None
        self._mdns_failed = False

    def current(self) -> ServerFacts:
        """Return what is announced at the moment."""
        return self.facts

    def _look(self) -> tuple[Interface, ...]:
        interfaces = self._read_interfaces()
        if self._host in ("", "0.0.0.0", "::"):
            return choose_interfaces(interfaces, self._announcement.interface)
        # Not by the address alone: 127.0.0.2 is one of this machine, too, although no interface has it.
        address = _address_of(self._host)
        return tuple(each for each in interfaces if shares_network([each], address))

    def _addresses(self) -> tuple[str, ...]:
        """Where it may be reached: on a machine that has only loopback, there."""
        found = usable_addresses(self._interfaces)
        if self._host not in ("", "0.0.0.0", "::"):
            found = [_address_of(self._host)]
        elif self._host != "::":
            found = [each for each in found if ":" not in each]
        return tuple(found[:MAX_ADDRESSES]) or ("127.0.0.1",)

    async def run(self) -> None:
        """Announce, and follow changes of the interfaces, until cancelled."""
        if not self._announcement.on_lan:
            await asyncio.Event().wait()
        try:
            while True:
                await self._listen()
                self._join_groups()
                await self._start_mdns()
                await asyncio.sleep(LOOK_S)
                await self.follow()
        finally:
            for transport in self._transports.values():
                transport.close()
            await self._stop_mdns()
            _log.info("answers to questions on the LAN: %s", dict(self._responder.counts))

    async def follow(self) -> None:
        """Look at the interfaces again; if they changed, announce anew."""
        try:
            interfaces = self._look()
        except Exception as error:  # noqa: BLE001 - the wanted one is down, or the system cannot say: what was known stays
            _log.info("the network interfaces are not looked at: %s", error)
            return
        if interfaces == self._interfaces:
            return
        _log.info("the network interfaces have changed: %s", [each.name for each in interfaces])
        self._interfaces = interfaces
        self.facts = replace(self.facts, addresses=self._addresses())
        self._responder.set_facts(self.facts, interfaces)
        await self._stop_mdns()
        self._mdns_failed = False

    # -- broadcast and multicast --------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Open the sockets that are not open."""
        for family in (socket.AF_INET, socket.AF_INET6):
            if family in self._refused or (family in self._transports and not self._transports[family].is_closing()):
                continue
            try:
                bound = _answering_socket(family, self._announcement.port)
            except OSError as error:
                self._refused.add(family)
                kind = "IPv4" if family == socket.AF_INET else "IPv6"
                _log.info("questions by %s are not answered: %s", kind, error)
                continue
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Answers(self._responder), sock=bound
            )
            self._transports[family] = transport
            if family == socket.AF_INET6:
                self._joined.clear()
        if len(self._refused) == 2 and not self._is_unheard:
            self._is_unheard = True
            _log.warning(
                "UDP port %d cannot be used, so that this server is not found by broadcast; codes and URLs work",
                self._announcement.port,
            )

    def _join_groups(self) -> None:
        """Join the IPv6 group on each interface; harmless again."""
        named = {name: index for index, name in socket.if_nameindex()}
        for transport in [each for family, each in self._transports.items() if family == socket.AF_INET6]:
            bound: socket.socket = transport.get_extra_info("socket")
            wanted = {named[each.name] for each in self._interfaces if each.ipv6 and each.name in named} or {0}
            for index in wanted - self._joined:
                group = socket.inet_pton(socket.AF_INET6, DISCOVERY_GROUP) + struct.pack("@I", index)
                try:
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
                    self._joined.add(index)
                except OSError as error:
                    _log.debug("no IPv6 multicast on interface %d: %s", index, error)
            self._joined &= wanted  # one that went and comes back is joined anew

    # -- mDNS ---------------------------------------------------------------------------------------------------------

    async def _start_mdns(self) -> None:
        """Announce by mDNS where that is of use; harmless if it is announced, and if it cannot be."""
        alone = all(each.loopback for each in self._interfaces)
        if not self._announcement.mdns or alone or self._mdns_failed or self._zeroconf is not None:
            return
        try:
            from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf
        except ImportError:
            self._mdns_failed = True
            _log.warning("the server is not announced by mDNS: the package zeroconf is not installed")
            return
        try:
            self._zeroconf = _open_mdns(AsyncZeroconf, multicast_choices(self._interfaces))
            self._service = AsyncServiceInfo(
                SERVICE_TYPE,
                f"{self.facts.room} {self.facts.server_id[:8]}.{SERVICE_TYPE}",
                port=self.facts.port,
                parsed_addresses=list(self.facts.addresses),
                properties=dict(facts_to_txt(self.facts)),
                server=f"tandem-{self.facts.server_id}.local.",
            )
            # The name has a random part, so that nobody need be asked whether it is taken.
            await self._zeroconf.async_register_service(self._service, cooperating_responders=True)
        except Exception as error:  # noqa: BLE001 - whatever the library meets on this machine, the other ways go on
            self._mdns_failed = True
            _log.warning("the server is not announced by mDNS: %s", error or type(error).__name__)
            await self._stop_mdns()

    async def _stop_mdns(self) -> None:
        """Say good-bye, if there is anything to say; harmless twice."""
        zeroconf, service = self._zeroconf, self._service
        self._zeroconf = self._service = None
        if zeroconf is None:
            return
        try:
            async with asyncio.timeout(_GOODBYE_S):
                if service is not None:
                    await (await zeroconf.async_unregister_service(service))
                await zeroconf.async_close()
        except Exception as error:  # noqa: BLE001 - it ends either way; others find out when its records expire
            _log.info("no good-bye by mDNS: %r", error)


def _open_mdns(make: Any, choices: Sequence[list[str]]) -> Any:
    """Return zeroconf on the first choice of interfaces that it takes; raises what it says to the last."""
    for choice in choices[:-1]:
        try:
            return make(interfaces=choice)
        except Exception as error:  # noqa: BLE001 - the next choice asks less of the system
            _log.info("mDNS on %s: %s", choice, error)
    return make(interfaces=choices[-1] if choices else ["127.0.0.1"])


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, responder: Responder) -> None:
        self._responder = responder

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        answer = self._responder.receive(data, source_of(addr, socket.if_indextoname), now=perf_counter())
        if answer is not None:
            self._transport.sendto(answer, addr)

    def error_received(self, exc: Exception) -> None:
        _log.debug("an answer did not arrive: %s", exc)
        if isinstance(exc, ConnectionResetError):
            # On Windows, when the asker has closed its socket; asyncio does not read on after that. Opened anew soon.
            self._transport.close()


def _address_of(host: str) -> str:
    """Return the address that ``host`` names, IPv4 first, as the server listens there."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    address = min(found, key=lambda each: each[0] != socket.AF_INET)[4][0]
    return str(address).split("%")[0]


def _answering_socket(family: int, port: int) -> socket.socket:
    """Return a bound socket that other servers of this machine may share; raises OSError."""
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "darwin":  # there, one option alone does not let two sockets have a broadcast
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.setblocking(False)
        bound.bind(("", port))
    except OSError:
        bound.close()
        raise
    return bound
