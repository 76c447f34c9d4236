"""What aioice 0.13 does otherwise than this program needs, changed on one connection at a time.

Everything here replaces methods on a ``Connection`` object, never in its module: other users of the library in the
same process see no difference.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aioice import TransportPolicy, stun

from p2pclient.common.errors import ConfigurationError
from p2pclient.transport.base import Connection as Kind

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"

MAX_WAITING_DATAGRAMS = 512
"""Datagrams from the network that may wait for the DTLS layer; they are not authenticated yet."""

GATHER_WITHIN_S = 2
"""For the answers of STUN and TURN servers; what comes later is not offered. aioice waits 5 s."""

CONSENT_INTERVAL_S = 5.0
CONSENT_FAILURES = 6
"""Checks in a row without an answer, and without a message, after which the path is lost (RFC 7675: 30 s)."""

_SCHEMES = ("stun:", "turn:", "turns:")


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server. The library uses the first of each kind; an unreachable one costs 2 s.

    Raises:
        ConfigurationError: ``url`` is of another kind.
    """

    url: str
    """``stun:host[:port]``, ``turn:host[:port][?transport=udp|tcp]`` or ``turns:host[:port][?transport=tcp]``."""
    username: str | None = None
    credential: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.url.startswith(_SCHEMES) or not self.url.partition(":")[2]:
            raise ConfigurationError("ice_servers", self.url, "stun:host:port, turn:host:port or turns:host:port")


def checked_addresses(addresses: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return ``addresses`` in canonical form; ``None`` stands for all of this machine's.

    Raises:
        ConfigurationError: one is not an IP address, or there is none.
    """
    if addresses is None:
        return None
    allowed = "IP addresses of this computer, at least one"
    try:
        canonical = tuple(str(ipaddress.ip_address(address)) for address in addresses)
    except ValueError:
        raise ConfigurationError("addresses", list(addresses), allowed) from None
    if not canonical:
        raise ConfigurationError("addresses", [], allowed)
    return canonical


def choose_addresses(found: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """Return the addresses to listen on.

    aioice leaves the loopback address out, so that with nothing else up there would be no candidate at all, and two
    clients on a laptop with its radio off could not meet. Beside other addresses it is of no use.
    """
    if wanted is not None:
        return list(wanted)
    return list(found) or [LOOPBACK]


class IcePath:
    """One ``Connection``, prepared before candidates are gathered.

    ``messages`` returns how many messages the peer has sent (any growth proves that it lives); ``count`` is called
    with the reason for each datagram that is dropped, and ``lost`` when the path in use is gone: aiortc itself does
    not tell that from a close by the peer. With ``keep_s``, a path without an answer is kept for at
    least so many seconds.
    """

    def __init__(
        self,
        connection: Any,
        *,
        addresses: Sequence[str] | None,
        messages: Callable[[], int],
        count: Callable[[str], None],
        lost: Callable[[], None],
        keep_s: float | None,
    ) -> None:
        self._connection = connection
        self._most_failures = max(CONSENT_FAILURES, math.ceil((keep_s or 0.0) / CONSENT_INTERVAL_S))
        self._addresses = addresses
        self._messages = messages
        self._count = count
        self._lost = lost
        self._connecting: asyncio.Task[None] | None = None
        self._gather = connection.get_component_candidates
        self._connect = connection.connect
        self._take_in = connection.data_received
        self._lose_socket = connection.protocol_lost
        connection.get_component_candidates = self._gather_chosen
        connection.connect = self._connect_known
        connection.data_received = self._receive
        connection.protocol_lost = self._note_lost_socket
        connection.query_consent = self._query_consent

    @property
    def has_candidates(self) -> bool:
        """True once this machine has at least one address to be reached at."""
        return bool(self._connection.local_candidates)

    async def settle(self) -> None:
        """Wait, after the connection was closed, until its attempt to connect has noticed: at most 20 ms."""
        if self._connecting is not None:
            await asyncio.wait([self._connecting])
        # aiortc's tasks around it need a few turns of the loop to end.
        for _ in range(5):
            await asyncio.sleep(0)

    def describe(self) -> tuple[Kind, str, str]:
        """Return the kind of path in use and its two ends as ``address:port``; empty strings while there is none."""
        pair = self._connection._nominated.get(1)
        if pair is None:
            return "", "", ""
        local, remote = pair.local_candidate, pair.remote_candidate
        kind: Kind = "direct"
        if "relay" in (local.type, remote.type):
            kind = "turn"
        elif ipaddress.ip_address(local.host).is_loopback and ipaddress.ip_address(pair.remote_addr[0]).is_loopback:
            kind = "loopback"
        return kind, _written(*pair.local_addr), _written(*pair.remote_addr)

    async def _gather_chosen(self, component: int, addresses: list[str], timeout: int = 5) -> Any:  # noqa: ASYNC109
        only_turn = self._connection._transport_policy is TransportPolicy.RELAY
        chosen = [] if only_turn else choose_addresses(addresses, self._addresses)
        candidates = await self._gather(component=component, addresses=chosen, timeout=min(timeout, GATHER_WITHIN_S))
        for protocol in self._connection._protocols:
            protocol.datagram_received = partial(self._read_datagram, protocol.datagram_received)
        return candidates

    def _read_datagram(self, read: Callable[[bytes, Any], None], data: bytes, address: Any) -> None:
        # The STUN parser meets some datagrams of strangers with exceptions that it does not expect itself.
        try:
            read(data, address)
        except Exception:
            self._count("malformed")
            logger.debug("datagram dropped", exc_info=True)

    async def _connect_known(self) -> None:
        self._connecting = asyncio.ensure_future(self._connect())
        await self._connecting

    def _receive(self, data: bytes, component: int) -> None:
        # Anyone can send here. An empty datagram raises in aiortc's DTLS layer and ends the connection; what waits
        # while there is no DTLS yet is without bound. Content types 20 to 63 are DTLS (RFC 7983 section 7).
        if not data or not 20 <= data[0] <= 63 or self._connection._queue.qsize() >= MAX_WAITING_DATAGRAMS:
            self._count("not-dtls")
        else:
            self._take_in(data, component)

    def _note_lost_socket(self, protocol: Any) -> None:
        # Also called for each socket that is closed on purpose; then no path is in use any more.
        if any(pair.protocol is protocol for pair in self._connection._nominated.values()):
            self._lost()
        self._lose_socket(protocol)

    async def _query_consent(self) -> None:
        """Check that the peer still wants to be sent to, as aioice does, but believe messages too.

        aioice asks once every 5 s and waits 0.5 s for the answer: with a longer round trip every check fails and the
        path is given up after 30 s; at 30 % loss each way that happens by chance within minutes. A message that
        passed DTLS after the last check is at least as good a proof.
        """
        connection = self._connection
        failures, heard = 0, self._messages()
        # aioice begins this task even if the connection was closed a moment before, and then it would never end.
        while failures < self._most_failures and not connection._closing:
            await asyncio.sleep(CONSENT_INTERVAL_S * random.uniform(0.8, 1.2))
            for pair in list(connection._nominated.values()):
                failures = 0 if await self._is_answered(pair) else failures + 1
            if self._messages() != heard:
                failures, heard = 0, self._messages()
        if not connection._closing:
            # Or close() would cancel this task, which awaits it.
            connection._query_consent_task = None
            self._lost()
            await connection.close()

    async def _is_answered(self, pair: Any) -> bool:
        request = self._connection.build_request(pair, nominate=False)
        key = self._connection.remote_password.encode()
        try:
            await pair.protocol.request(request, pair.remote_addr, integrity_key=key, retransmissions=0)
        except stun.TransactionError:
            return False
        return True


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
