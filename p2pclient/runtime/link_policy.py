"""When a connection to a peer is made anew, and which of several is used. Pure: times are arguments, seconds.

A *path* is one transport to the peer; its key orders all paths of a link in the same way on both sides. The rules:

1. After :data:`FIRST_TRY` seconds without a word over any path, another one is tried, and again, with growing pauses
   that chance shortens. Both sides try. The leader is a little earlier, so that their offers seldom cross; when they
   do, the leader's counts.
2. Each side sends over the best path over which it has heard the other lately; so what one side can only send and not
   hear over is given up by both. With none, over the one that was heard last: it may come back by itself.
3. A path that is not used is kept for a while, and then closed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

FIRST_TRY = 1.0
"""Seconds of silence after which the leader tries another path."""
FIRST_WORD = 5.0
"""The same before the first word: the other side may still be connecting to others."""
YIELD = 0.6
"""Seconds by which the other side is later."""
HEARD_WITHIN = 0.5
"""Seconds within which a path was heard that is good to send over. A side that lives is heard every 0.2 s."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 4.0
"""Seconds between two attempts, the first time and at most."""
FIRST_LIMIT, LONGEST_LIMIT = 3.0, 12.0
"""Seconds that an attempt may take. Below the longest round trip times it takes a third of one."""
_GROWTH = 1.5
LINGER = 3.0
"""Seconds for which a path is kept that is neither used nor heard."""
MOST_PATHS = 4
"""Paths that are kept at the same time."""
LEAST_BETWEEN_OFFERS = 0.2
"""Seconds between two offers of the peer that are taken. An honest one makes fewer."""

Key = tuple[int, int, int]
"""Rank of the kind of path, number of the attempt, and 1 if the leader made the offer. The largest is the best."""

NEVER = -math.inf


@dataclass(slots=True)
class Attempt:
    """A path that is being made."""

    number: int
    is_ours: bool
    """Did we make the offer."""
    until: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done now."""

    give_up: bool = False
    """End the attempt that is under way."""
    begin: int | None = None
    """Make an offer with this number."""
    close: tuple[Key, ...] = ()
    """Paths that are of no more use."""


class LinkPolicy:
    """Decides for one peer.

    Args:
        leads: does our offer count when both make one.
        draw: a number from 0 to 1 by chance.
        now: the link begins, and counts as heard.
    """

    def __init__(self, *, leads: bool, draw: Callable[[], float], now: float) -> None:
        self.leads = leads
        self._draw = draw
        self._heard: dict[Key, float] = {}
        self._last_heard = now
        self._has_heard = False
        self._next_try = NEVER
        self._pause, self._limit = FIRST_PAUSE, FIRST_LIMIT
        self._is_urgent = False
        self._newest = 0
        """Largest number of an attempt that either side has begun."""
        self._offered: int = 0
        """Largest number of an offer of the peer's that was looked at."""
        self._offer_taken_at = NEVER
        self.attempt: Attempt | None = None
        self.used: Key | None = None
        """The path to send over; None if there is none at all."""

    def silent_for(self, *, now: float) -> float:
        """Seconds since anything was heard over any path."""
        return now - self._last_heard

    # -- what happens -------------------------------------------------------------------------------------------------

    def key(self, number: int, *, is_ours: bool, rank: int = 0) -> Key:
        """Return the key of the path that an attempt makes."""
        return rank, number, int(is_ours == self.leads)

    def opened(self, key: Key, *, now: float) -> None:
        """A path is open: its handshake is as good as a word."""
        attempt = self.attempt
        if attempt is not None and key[1:] == self.key(attempt.number, is_ours=attempt.is_ours)[1:]:
            self.attempt = None
        self._newest = max(self._newest, key[1])
        self._heard[key] = self._last_heard = now
        self._is_urgent = False
        self._rest(now)  # should nothing come over it
        self._choose(now)

    def heard(self, key: Key, *, now: float) -> None:
        """Something came over a path."""
        self._heard[key] = self._last_heard = now
        self._has_heard = True
        self._pause, self._limit, self._next_try = FIRST_PAUSE, FIRST_LIMIT, NEVER
        self._is_urgent = False

    def restart(self, *, now: float) -> None:
        """The other side is listened to from now on: silence counts from here."""
        self._last_heard = max(self._last_heard, now)

    def ended(self, key: Key, *, now: float) -> None:
        """A path is closed, by whomever."""
        self._heard.pop(key, None)
        self._choose(now)

    def doubt(self, key: Key) -> None:
        """A path can hardly work any more, because our address is gone: try another at once."""
        if key in self._heard:
            self._heard[key] = NEVER
            if all(at == NEVER for at in self._heard.values()):
                self.hurry()
                self._is_urgent = True

    def hurry(self) -> None:
        """What was in the way of an attempt is not any more: the server is back, or there is another address."""
        self._next_try = NEVER
        self._pause = FIRST_PAUSE

    def drop(self) -> None:
        """The attempt under way is not needed any more."""
        self.attempt = None

    def failed(self, *, now: float) -> None:
        """The attempt under way came to nothing."""
        self.attempt = None
        self._limit = min(LONGEST_LIMIT, self._limit * _GROWTH)
        self._rest(now)

    def _rest(self, now: float) -> None:
        self._next_try = now + self._pause * (0.5 + self._draw() / 2)
        self._pause = min(LONGEST_PAUSE, self._pause * _GROWTH)

    def forget_numbers(self) -> None:
        """The peer's program is another one: its offers are counted from the beginning."""
        self._offered = 0

    def takes_offer(self, number: int, *, now: float) -> bool:
        """Is an offer of the peer's to be answered. If so, it takes the place of the attempt under way."""
        if number <= self._offered or now - self._offer_taken_at < LEAST_BETWEEN_OFFERS:
            return False
        if self.attempt is not None and self.attempt.is_ours and self.leads:
            return False  # the peer answers ours instead
        self._offered, self._offer_taken_at = number, now
        self._newest = max(self._newest, number)
        self.attempt = Attempt(number, is_ours=False, until=now + self._limit)
        return True

    # -- what is to be done -------------------------------------------------------------------------------------------

    def tick(self, *, now: float) -> Decision:
        """Look at the clock. Call it every tenth of a second, and when something has happened."""
        give_up = self.attempt is not None and now >= self.attempt.until
        if give_up:
            self.failed(now=now)
        self._choose(now)
        return Decision(give_up=give_up, begin=self._begin(now), close=self._superfluous(now))

    def _begin(self, now: float) -> int | None:
        patience = FIRST_TRY if self._has_heard else FIRST_WORD
        if not self.leads:
            patience += YIELD
        if self._is_urgent:
            patience = 0.0
        if self.attempt is not None or now < self._next_try or self.silent_for(now=now) < patience:
            return None
        return self.begin(now=now)

    def begin(self, *, now: float) -> int:
        """Begin an attempt of ours, whatever speaks against it; returns its number."""
        self._newest += 1
        self.attempt = Attempt(self._newest, is_ours=True, until=now + self._limit)
        return self._newest

    def _choose(self, now: float) -> None:
        good = [key for key, at in self._heard.items() if now - at <= HEARD_WITHIN]
        self.used = max(good) if good else max(self._heard, key=lambda key: (self._heard[key], key), default=None)

    def _superfluous(self, now: float) -> tuple[Key, ...]:
        if self.used is None or now - self._heard[self.used] > HEARD_WITHIN:
            idle: list[Key] = []
        else:
            idle = [key for key, at in self._heard.items() if key != self.used and now - at > LINGER]
        kept = sorted((key for key in self._heard if key not in idle and key != self.used), reverse=True)
        return (*idle, *kept[MOST_PATHS - 1 :])
