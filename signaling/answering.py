"""Which questions for a server are answered, and how often: pure; the sockets are in :mod:`signaling.announce`."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable

from p2pclient.common.discovery_messages import ServerFacts, decode_query, encode_answer
from p2pclient.common.errors import RemoteProtocolError
from p2pclient.common.network_interfaces import Interface, shares_network

PER_SOURCE = (3.0, 8.0)
"""Answers a second to one address, and how many at once. A client asks once a second in several ways."""
OVERALL = (60.0, 120.0)
MAX_SOURCES = 512
"""Addresses remembered; of more, the one that was heard longest ago is forgotten."""


class _Bucket:
    """Tokens that come back at a rate, up to a number of them."""

    def __init__(self, limit: tuple[float, float], now: float) -> None:
        self._rate, self._most = limit
        self._tokens, self._at = self._most, now

    def take(self, now: float) -> bool:
        self._tokens = min(self._most, self._tokens + self._rate * max(0.0, now - self._at))
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Responder:
    """Answers questions of whoever is in a network of the interfaces."""

    def __init__(self, facts: ServerFacts, interfaces: Iterable[Interface], *, now: float) -> None:
        self.facts = facts
        self.counts: Counter[str] = Counter()
        """``answered``, or why a datagram was not."""
        self._interfaces = tuple(interfaces)
        self._overall = _Bucket(OVERALL, now)
        self._sources: OrderedDict[str, _Bucket] = OrderedDict()

    def set_facts(self, facts: ServerFacts, interfaces: Iterable[Interface]) -> None:
        """Say this from now on."""
        self.facts, self._interfaces = facts, tuple(interfaces)

    def receive(self, datagram: bytes, source: str, *, now: float) -> bytes | None:
        """Return the answer to a datagram from the address ``source``, or None. Never raises."""
        try:
            query = decode_query(datagram)
        except RemoteProtocolError as error:
            self.counts[error.reason] += 1
            return None
        if not shares_network(self._interfaces, source):
            self.counts["elsewhere"] += 1
            return None
        bucket = self._sources.pop(source, None) or _Bucket(PER_SOURCE, now)
        self._sources[source] = bucket
        if len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)
        if not bucket.take(now) or not self._overall.take(now):
            self.counts["too often"] += 1
            return None
        self.counts["answered"] += 1
        return encode_answer(query.nonce, self.facts)
