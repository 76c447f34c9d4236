"""Connections that somebody opens and does nothing with, and what uvicorn makes of them. Edge.

uvicorn (0.54) waits without end for a request that never comes and for a client that takes nothing of what is left to
be sent, and meets frames before the handshake's answer with a traceback. Every one of these costs a file descriptor, of
which there are often no more than 1,024 (macOS: 256): so they are cut off, and as many as possible are asked for.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from signaling.per_address import network_of

_log = logging.getLogger("tandem.signaling")

REQUEST_WITHIN_S = 15.0
"""For a request to come, to be answered, and for the answer to be taken. Logging in takes up to 5 s when many do."""

CLOSED_WITHIN_S = 10.0
"""For the rest to be taken, once the connection is to be closed."""

MOST_REQUESTS = 200
"""Connections at once that are no WebSockets. Beyond, the oldest go, of the addresses that have the most."""

SPARE_DESCRIPTORS = 200
"""Beyond those of clients: files, requests, bots."""


class CalmWebSocket(WebSocketsSansIOProtocol):
    """Ends a connection on which frames come before the handshake's answer, instead of raising.

    And takes a request that was answered with a status for answered: uvicorn logs an error for each of these.
    """

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True

    def handle_parser_exception(self) -> None:
        if self.conn.close_sent is None:
            self.transport.abort()
        else:
            super().handle_parser_exception()


class Doorkeeper:
    """Cuts off what is open for nothing. Call :meth:`sweep` about every second."""

    def __init__(self) -> None:
        # What each connection was busy with when it was last seen to go on, and when that was.
        self._seen: dict[Any, tuple[object, float]] = {}

    def sweep(self, connections: Iterable[Any], *, now: float) -> None:
        """Look at all of uvicorn's connections."""
        found: dict[Any, tuple[object, float]] = {}
        asking: list[Any] = []
        for each in list(connections):
            doing, since = self._seen.get(each, (None, now))
            busy_with, within = self._busy_with(each)
            if busy_with != doing:
                since = now
            found[each] = (busy_with, since)
            if within is not None and now - since > within:
                each.transport.abort()
            elif isinstance(each, H11Protocol):
                asking.append(each)
        self._seen = found
        excess = len(asking) - MOST_REQUESTS
        if excess > 0:
            _log.warning("too many connections at once that are no clients: %d are closed", excess)
            for each in _most_crowded(asking, {one: found[one][1] for one in asking})[:excess]:
                each.transport.abort()

    def _busy_with(self, connection: Any) -> tuple[object, float | None]:
        """Return what changes when a connection goes on, and for how long it may not."""
        if connection.transport.is_closing():
            return "closing", CLOSED_WITHIN_S
        if isinstance(connection, H11Protocol):
            # One of these for each request; kept, so that its successor is another object.
            return connection.cycle or "nothing", REQUEST_WITHIN_S
        return "open", None


def _most_crowded(connections: list[Any], since: Mapping[Any, float]) -> list[Any]:
    """Return them in the order in which they may go: the oldest of whoever has the most come first."""
    newer: Counter[str] = Counter()
    rank: dict[Any, int] = {}
    for each in sorted(connections, key=lambda one: since[one], reverse=True):
        network = network_of(str((each.transport.get_extra_info("peername") or ("",))[0]))
        rank[each] = newer[network]
        newer[network] += 1
    return sorted(connections, key=lambda one: (-rank[one], since[one]))


def allow_descriptors(clients: int) -> None:
    """Ask the system for as many open connections as there may be clients; say so if there are fewer."""
    wanted = clients + MOST_REQUESTS + SPARE_DESCRIPTORS
    try:
        import resource
    except ImportError:  # Windows, which has no such limit on sockets
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    except (OSError, ValueError) as error:  # macOS refuses some numbers that it names itself
        _log.debug("the limit on open files stays %d: %s", soft, error)
        allowed = soft
    if allowed < wanted:
        room = max(0, allowed - MOST_REQUESTS - SPARE_DESCRIPTORS)
        _log.warning(
            "this system lets %d files be open: enough for %d clients, not %d (ulimit -n)", allowed, room, clients
        )
