"""What a search has found, and what to make of it: pure.

A *sighting* is a server seen in one way. Each server is tried at its addresses, one after the other, and counts once it
has answered there over HTTP; the sightings say where to look, and nothing else is believed of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from p2pclient.common.discovery_messages import ServerFacts, same_room

GATHER_S = 0.8
"""From the first server that answers to the choice: the slower ways have this long to find others."""
TRY_AGAIN_S = 2.0
"""Between two tries to reach a server at its addresses."""
FORGET_S = 8.0
"""A server that is no longer seen and does not answer any more is forgotten after this long."""
MAX_SERVERS = 64
"""Whoever claims to be more than that is not a lab."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is searched for, and where."""

    urls: tuple[str, ...] = ()
    """Servers that the person or a file named, as ``scheme://host:port``; the first that answers is taken."""
    room: str | None = None
    interface: str | None = None
    on_lan: bool = True
    """False: only :attr:`urls`, because the person named the server."""


@dataclass(slots=True)
class _Server:
    facts: ServerFacts
    urls: list[str]
    """To be tried, the most useful first."""
    ways: dict[str, None]
    seen_at: float
    tried_at: float | None = None
    answered_at: float | None = None
    url: str | None = None
    """Where it answered."""
    is_silent: bool = False
    """It was tried everywhere, in vain."""


@dataclass(frozen=True, slots=True)
class Found:
    """A server that answers."""

    url: str
    room: str
    computer: str
    ways: tuple[str, ...] = ()
    """How it was found: ``named``, ``broadcast``, ``multicast`` or ``mdns``."""
    study: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be done now: join :attr:`found`, or tell the person the rest and go on searching."""

    found: Found | None = None
    several: tuple[Found, ...] = ()
    """More than one could be meant."""
    others: tuple[Found, ...] = ()
    """They answer, but are not of the room that is wanted."""
    old: tuple[Found, ...] = ()
    """They answer, but speak another version."""
    silent: tuple[Found, ...] = ()
    """They are seen but cannot be reached at any address: a firewall, mostly."""


@dataclass(slots=True)
class Findings:
    """Everything seen in one search. ``protocol`` is the version that this program speaks."""

    wanted: Wanted
    protocol: int
    _servers: dict[str, _Server] = field(default_factory=dict)
    _first_at: float | None = None

    def see(self, facts: ServerFacts, way: str, sources: Iterable[str], *, now: float) -> None:
        """Take in a server that was seen in one way; ``sources`` are the addresses from which it spoke."""
        known = self._servers.get(facts.server_id)
        if known is None:
            if len(self._servers) >= MAX_SERVERS:
                return
            known = self._servers[facts.server_id] = _Server(facts, [], {}, now)
        known.facts, known.seen_at = facts, now
        known.ways[way] = None
        heard = [server_url(each, facts.port, facts.secure) for each in sources]
        said = [server_url(each, facts.port, facts.secure) for each in facts.addresses]
        # Where it spoke from is on a path that works. What it says of itself comes next, a link-local address of IPv6
        # last: it is good for the first word, but not everything takes one.
        plain = [each for each in heard if "%" not in each]
        every = dict.fromkeys([*plain, *said, *heard, *known.urls])
        known.urls = [each for each in every if each not in (server_url("127.0.0.1", facts.port, facts.secure),)]
        if not known.urls or any(each.startswith(("127.", "::1")) for each in sources):
            known.urls.append(server_url("127.0.0.1", facts.port, facts.secure))  # it is on this machine
        del known.urls[12:]

    def gone(self, server_id: str, way: str) -> None:
        """It said good-bye in one way."""
        known = self._servers.get(server_id)
        if known is not None:
            known.ways.pop(way, None)
            if not known.ways:
                del self._servers[server_id]

    def due(self, *, now: float) -> list[tuple[str, tuple[str, ...]]]:
        """Return ``(server, URLs to try in turn)`` for each server whose turn it is; :meth:`tried` is to follow."""
        found = []
        for server_id, each in list(self._servers.items()):
            heard_at = max(each.seen_at, each.answered_at or each.seen_at)
            # mDNS tells of a server once, and again only when it goes.
            if now - heard_at > FORGET_S and "mdns" not in each.ways:
                del self._servers[server_id]
            elif each.tried_at is None or now - each.tried_at >= TRY_AGAIN_S:
                each.tried_at = now
                found.append((server_id, tuple(dict.fromkeys([*([each.url] if each.url else []), *each.urls]))))
        return found

    def tried(self, server_id: str, url: str | None, *, now: float) -> None:
        """A server was tried; ``url`` is where it answered, None if nowhere."""
        known = self._servers.get(server_id)
        if known is None:
            return
        known.url, known.is_silent = url, url is None
        if url is not None:
            known.answered_at = now
            self._first_at = now if self._first_at is None else self._first_at

    def named_answers(self, url: str, facts: ServerFacts, *, now: float) -> None:
        """The server at a URL that the person or a file named answers."""
        self.see(facts, "named", (), now=now)
        known = self._servers.get(facts.server_id)
        if known is not None:
            known.urls = list(dict.fromkeys([url, *known.urls]))
            known.tried_at = now
            self.tried(facts.server_id, url, now=now)

    def choose(self, *, now: float) -> Choice:
        """Return what to do now."""
        answering = [each for each in self._servers.values() if each.url is not None]
        silent = tuple(_found(each) for each in self._servers.values() if each.is_silent)
        old = tuple(_found(each) for each in answering if each.facts.protocol != self.protocol)
        fit = [each for each in answering if each.facts.protocol == self.protocol]
        room = self.wanted.room
        ours = [each for each in fit if room is None or same_room(each.facts.room, room)]
        others = tuple(_found(each) for each in fit if each not in ours)
        choice = Choice(others=others, old=old, silent=silent)
        named = [each for each in ours if "named" in each.ways]
        if named:
            return Choice(found=_found(min(named, key=self._rank)), others=others, old=old, silent=silent)
        if not ours or self._first_at is None or now - self._first_at < GATHER_S:
            return choice
        if len(ours) == 1:
            return Choice(found=_found(ours[0]), others=others, old=old, silent=silent)
        ranked = sorted(ours, key=lambda each: (each.facts.room.casefold(), each.facts.computer, each.facts.server_id))
        return Choice(several=tuple(_found(each) for each in ranked), others=others, old=old, silent=silent)

    def _rank(self, server: _Server) -> int:
        """Servers that were named, in the order in which they were."""
        urls = self.wanted.urls
        return min((urls.index(each) for each in server.urls if each in urls), default=len(urls))


def _found(server: _Server) -> Found:
    url = server.url or (server.urls[0] if server.urls else "")
    return Found(url, server.facts.room, server.facts.computer, tuple(server.ways), server.facts.study or "")


def server_url(address: str, port: int, secure: bool = False) -> str:
    """Return the URL of a server at an address."""
    host = f"[{address}]" if ":" in address else address
    return f"{'https' if secure else 'http'}://{host}:{port}"


def describe(found: Iterable[Found]) -> list[str]:
    """Return one line for each server: its room, its computer, its URL, and its study if it has one."""
    return [
        f"{each.room!r} on {each.computer or 'a computer'} ({each.url})" + (f": {each.study}" if each.study else "")
        for each in found
    ]
