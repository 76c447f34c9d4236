"""Notices when this computer gets other network addresses: a cable is plugged in, the radio changes networks."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

import psutil

log = logging.getLogger("tandem.links")

LOOK_EVERY = 1.0
"""Seconds between two looks; in a thread, for some systems take milliseconds over it."""


def local_addresses() -> frozenset[str]:
    """Return the IP addresses of all interfaces that are up, without scopes."""
    stats = psutil.net_if_stats()
    return frozenset(
        each.address.partition("%")[0]
        for name, addresses in psutil.net_if_addrs().items()
        if name not in stats or stats[name].isup
        for each in addresses
        if each.family in (socket.AF_INET, socket.AF_INET6)
    )


class AddressWatch:
    """Looks once a second, in a running loop, until it is closed.

    Args:
        on_change: told of all addresses whenever they are others than before.
        look: returns the addresses; called in a thread.
    """

    def __init__(
        self,
        on_change: Callable[[frozenset[str]], None],
        *,
        look: Callable[[], frozenset[str]] = local_addresses,
    ) -> None:
        self._on_change = on_change
        self._look = look
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="addresses")

    async def _watch(self) -> None:
        known: frozenset[str] | None = None
        while True:
            try:
                now = await asyncio.to_thread(self._look)
            except OSError as error:  # an interface that vanishes while it is asked
                log.debug("the addresses cannot be read now: %s", error)
                now = known or frozenset()
            if known is not None and now != known:
                log.info("addresses: gone %s, new %s", sorted(known - now), sorted(now - known))
                self._on_change(now)
            known = now
            await asyncio.sleep(LOOK_EVERY)

    async def close(self) -> None:
        """Look no more. Harmless twice."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
