"""Looks for servers by mDNS (RFC 6762, RFC 6763), where the package zeroconf is installed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from p2pclient.common.discovery_messages import SERVICE_TYPE, ServerFacts, facts_from_txt
from p2pclient.common.errors import RemoteProtocolError
from p2pclient.common.network_interfaces import Interface, multicast_choices

_log = logging.getLogger("tandem.discovery")

_LOOK_S = 0.1
_AGAIN_S = 5.0
_RESOLVE_MS = 1500
_MAX_NAMES = 64
"""Services looked after at once; more are no lab."""


class Browser:
    """Sees servers come and go until :meth:`run` is cancelled.

    Args:
        interfaces: asked again and again; when they change, the search begins anew on those that there are.
        on_seen: told of each server.
        on_gone: told of the id of each that said good-bye.
        on_note: told why mDNS does not work, and an empty text once it does.
    """

    def __init__(
        self,
        interfaces: Callable[[], tuple[Interface, ...]],
        *,
        on_seen: Callable[[ServerFacts], None],
        on_gone: Callable[[str], None],
        on_note: Callable[[str], None],
    ) -> None:
        self._interfaces = interfaces
        self._on_seen, self._on_gone, self._on_note = on_seen, on_gone, on_note
        self._pending: set[str] = set()
        self._names: dict[str, str] = {}
        """Service name -> id of the server."""

    async def run(self) -> None:
        """Search. Ends at once, with a note, if zeroconf is not installed."""
        try:
            from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf
        except ImportError:
            self._on_note("mDNS is not tried: the package zeroconf is not installed (pip install zeroconf).")
            return
        while True:
            interfaces = self._interfaces()
            zeroconf = self._start(AsyncZeroconf, interfaces)
            if zeroconf is None:
                await asyncio.sleep(_AGAIN_S)  # there may be a network by then
                continue
            browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE_TYPE, handlers=[self._on_change])
            try:
                while self._interfaces() == interfaces:
                    await self._resolve_pending(zeroconf.zeroconf)
                    await asyncio.sleep(_LOOK_S)
            finally:
                await browser.async_cancel()
                await zeroconf.async_close()

    def _start(self, make: Any, interfaces: tuple[Interface, ...]) -> Any:
        """Return zeroconf on all interfaces, on those with IPv4 only if need be, or None with a note."""
        failure: Exception | None = None
        for choice in multicast_choices(interfaces):
            try:
                started = make(interfaces=choice)
            except Exception as error:  # noqa: BLE001 - whatever the library meets on this machine; noted below
                failure = error
            else:
                self._on_note("")
                return started
        self._on_note(f"mDNS cannot be used here: {failure or 'there is no network interface'}.")
        return None

    def _on_change(self, zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
        if state_change.name == "Removed":
            self._pending.discard(name)
            self._on_gone(self._names.pop(name, ""))
        elif len(self._pending) + len(self._names) < _MAX_NAMES:
            self._pending.add(name)

    async def _resolve_pending(self, zeroconf: Any) -> None:
        from zeroconf import BadTypeInNameException
        from zeroconf.asyncio import AsyncServiceInfo

        for name in list(self._pending):
            try:
                info = AsyncServiceInfo(SERVICE_TYPE, name)
            except BadTypeInNameException:
                self._pending.discard(name)
                continue
            if await info.async_request(zeroconf, _RESOLVE_MS):
                self._pending.discard(name)
                self._resolved(info, name)

    def _resolved(self, info: Any, name: str) -> None:
        try:
            facts = facts_from_txt(info.properties, info.port or 0, tuple(info.parsed_addresses()))
        except RemoteProtocolError as error:
            _log.debug("what mDNS says of %r is not understood: %s", name, error)
            return
        self._names[name] = facts.server_id
        self._on_seen(facts)
