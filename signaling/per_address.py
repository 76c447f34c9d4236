"""How much one address may ask for: connections at a time, new ones, and joins. Pure.

All computers of a lab may be behind one address: what it may do at once is enough for all of them to start, and to come
back after a restart of the server, twice over. What it may do in the long run keeps one address from being all that the
server does. Of IPv6, the 64 bits that one subscriber has to itself at least count as one address.

This computer's own addresses are not counted: what is on it can do worse, and a proxy before the server is all clients.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from dataclasses import dataclass

from signaling.frames import TokenBucket

MOST_KEPT = 10_000
"""Addresses remembered; of more, the one that was heard longest ago is forgotten."""

SAID_AGAIN_AFTER_S = 60.0


@dataclass(slots=True)
class _Budget:
    connections: TokenBucket
    joins: TokenBucket
    said: float | None = None


class AddressLimits:
    """What each address has used up. Times are seconds of any clock that goes forward.

    Args:
        at_once: connections of one address at a time. Twice as many may be opened, or join, at once, and a tenth of it
            in every second.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._open: Counter[str] = Counter()
        self._budgets: OrderedDict[str, _Budget] = OrderedDict()

    def open(self, address: str, *, now: float) -> bool:
        """Somebody wants to connect; if it may, :meth:`close` is to be called in the end."""
        if is_own(address):
            return True
        network = network_of(address)
        if self._open[network] >= self._at_once or not self._budget(network, now).connections.take(now=now):
            return False
        self._open[network] += 1
        return True

    def close(self, address: str) -> None:
        """A connection that was let in is over."""
        network = network_of(address)
        if self._open[network] > 1:
            self._open[network] -= 1
        else:
            del self._open[network]

    def join(self, address: str, *, now: float) -> bool:
        """Somebody wants to join over a connection."""
        return is_own(address) or self._budget(network_of(address), now).joins.take(now=now)

    def is_to_be_said(self, address: str, *, now: float) -> bool:
        """Is it worth a line that this address was refused: not again within a minute."""
        budget = self._budget(network_of(address), now)
        if budget.said is not None and now - budget.said < SAID_AGAIN_AFTER_S:
            return False
        budget.said = now
        return True

    def _budget(self, network: str, now: float) -> _Budget:
        budget = self._budgets.pop(network, None)
        if budget is None:
            burst, rate = 2.0 * self._at_once, self._at_once / 10
            budget = _Budget(TokenBucket(burst, rate, now=now), TokenBucket(burst, rate, now=now))
        self._budgets[network] = budget
        if len(self._budgets) > MOST_KEPT:
            self._budgets.popitem(last=False)
        return budget


def network_of(address: str) -> str:
    """Return what counts as one address: of IPv6, the 64 bits that one subscriber has to itself at least."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def is_own(address: str) -> bool:
    """Is it this computer's own; also true where there is no address at all."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return not address
    plain = parsed if parsed.version == 4 else parsed.ipv4_mapped or parsed
    return plain.is_loopback
