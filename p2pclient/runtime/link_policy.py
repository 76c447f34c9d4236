"""When a connection to a peer is made anew, and which of several is used. Pure: times are arguments, seconds.

A *path* is one transport to the peer; its key orders all paths of a link in the same way on both sides. The rules:

1. Which rung of the ladder is tried when is decided in :mod:`~p2pclient.transport.ladder`: after a second of silence,
   all; while a lower one works, the higher ones now and then. Both sides try. The leader is a little earlier, so that
   their offers seldom cross; when they do, the leader's counts.
2. Each side sends over the best path over which it has heard the other lately; so what one side can only send and not
   hear over is given up by both. With none, over the one that was heard last: it may come back by itself. A path on a
   higher rung than the one that works is on trial first: what may be lost goes over both.
3. A path that is not used is kept for a while, and then closed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from p2pclient.transport.ladder import HEARD_WITHIN, NEVER, Ladder, Rung

LINGER = 3.0
"""Seconds for which a path is kept that is neither used nor heard."""
MOST_PATHS = 4
"""Paths that are kept at the same time."""
LEAST_BETWEEN_OFFERS = 0.2
"""Seconds between two offers of the peer, of one kind, that are taken. An honest one makes fewer."""

Key = tuple[int, int, int]
"""Rung, number of the attempt, and 1 if the leader made the offer. The largest is the best."""


@dataclass(slots=True)
class Attempt:
    """A path that is being made."""

    number: int
    is_ours: bool
    """Did we make the offer."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done now."""

    give_up: tuple[Rung, ...] = ()
    """End the attempts under way on these rungs."""
    begin: tuple[tuple[Rung, int], ...] = ()
    """Try these rungs, with these numbers."""
    close: tuple[Key, ...] = ()
    """Paths that are of no more use."""


class LinkPolicy:
    """Decides for one peer.

    Args:
        leads: does our offer count when both make one.
        draw: a number from 0 to 1 by chance.
        now: the link begins, and counts as heard.
        rungs: the kinds of path that may be used.
    """

    def __init__(
        self, *, leads: bool, draw: Callable[[], float], now: float, rungs: Collection[Rung] = (Rung.DIRECT,)
    ) -> None:
        self.leads = leads
        self.ladder = Ladder(rungs, leads=leads, draw=draw, now=now)
        self._heard: dict[Key, float] = {}
        self._newest = 0
        """Largest number of an attempt that either side has begun."""
        self._offered: dict[Rung, tuple[int, float]] = {}
        """Largest number of an offer of the peer's that was looked at, and when one was taken."""
        self.attempts: dict[Rung, Attempt] = {}
        """Under way."""
        self.used: Key | None = None
        """The path to send over; None if there is none at all."""
        self.trials: tuple[Key, ...] = ()
        """Paths to send what may be lost over as well."""

    def silent_for(self, *, now: float) -> float:
        """Seconds since anything was heard over any path."""
        return self.ladder.silent_for(now=now)

    # -- what happens -------------------------------------------------------------------------------------------------

    def key(self, number: int, *, is_ours: bool, rung: Rung = Rung.DIRECT) -> Key:
        """Return the key of the path that an attempt makes."""
        return int(rung), number, int(is_ours == self.leads)

    def opened(self, key: Key, *, now: float) -> None:
        """A path is open: its handshake is as good as a word."""
        rung = Rung(key[0])
        self.attempts.pop(rung, None)
        if rung is not Rung.RELAY:
            self._newest = max(self._newest, key[1])
        is_new_rung = not any(each[0] == rung and now - at <= HEARD_WITHIN for each, at in self._heard.items())
        self._heard[key] = now
        if is_new_rung:
            self.ladder.opened(rung, now=now)
        else:
            self.ladder.reopened(rung, now=now)
        self._choose(now)

    def heard(self, key: Key, *, now: float) -> None:
        """Something came over a path."""
        self._heard[key] = now
        self.ladder.heard(Rung(key[0]), now=now)

    def listen(self, *, now: float) -> None:
        """The other side is listened to from now on: silence counts from here."""
        self.ladder.listen(now=now)

    def ended(self, key: Key, *, now: float) -> None:
        """A path is closed, by whomever."""
        self._heard.pop(key, None)
        if not any(each[0] == key[0] for each in self._heard):
            self.ladder.lost(Rung(key[0]), now=now)
        self._choose(now)

    def doubt(self, key: Key) -> None:
        """A path can hardly work any more, because our address is gone: try another at once."""
        if key in self._heard:
            self._heard[key] = NEVER
            if all(at == NEVER for each, at in self._heard.items() if each[0] == key[0]):
                self.ladder.doubt(Rung(key[0]))

    def hurry(self) -> None:
        """What was in the way of an attempt is not any more: the server is back, or there is another address."""
        self.ladder.hurry()

    def failed(self, rung: Rung, *, now: float) -> None:
        """The attempt under way on a rung came to nothing."""
        self.attempts.pop(rung, None)
        self.ladder.failed(rung, now=now)

    def drop(self, rung: Rung) -> None:
        """The attempt under way on a rung is not needed any more."""
        self.attempts.pop(rung, None)
        self.ladder.dropped(rung)

    def forget_numbers(self) -> None:
        """The peer's program is another one: its offers are counted from the beginning."""
        self._offered = {rung: (0, taken_at) for rung, (_, taken_at) in self._offered.items()}

    def takes_offer(self, number: int, *, now: float, rung: Rung = Rung.DIRECT) -> bool:
        """Is an offer of the peer's to be answered. If so, an attempt of ours on that rung is given up for it."""
        offered, taken_at = self._offered.get(rung, (0, NEVER))
        if rung not in self.ladder.rungs or number <= offered or now - taken_at < LEAST_BETWEEN_OFFERS:
            return False
        attempt = self.attempts.get(rung)
        if attempt is not None and attempt.is_ours and self.leads:
            return False  # the peer answers ours instead
        self._offered[rung] = number, now
        self._newest = max(self._newest, number)
        self._try(rung, Attempt(number, is_ours=False), now)
        return True

    def takes_call(self, *, now: float) -> bool:
        """Is a peer to be answered that says hello by way of the server. If so, an attempt begins."""
        _, taken_at = self._offered.get(Rung.RELAY, (0, NEVER))
        if Rung.RELAY not in self.ladder.rungs or now - taken_at < LEAST_BETWEEN_OFFERS:
            return False
        self._offered[Rung.RELAY] = 0, now
        self._try(Rung.RELAY, Attempt(0, is_ours=False), now)
        return True

    def _try(self, rung: Rung, attempt: Attempt, now: float) -> None:
        self.attempts[rung] = attempt
        self.ladder.trying(rung, now=now)

    # -- what is to be done -------------------------------------------------------------------------------------------

    def tick(self, *, now: float) -> Decision:
        """Look at the clock. Call it every tenth of a second, and when something has happened."""
        late = self.ladder.tick(now=now)
        for rung in late:
            self.attempts.pop(rung, None)
        self._choose(now)
        begin = tuple((rung, self.begin(now=now, rung=rung)) for rung in self.ladder.begins(now=now))
        return Decision(give_up=late, begin=begin, close=self._superfluous(now))

    def begin(self, *, now: float, rung: Rung = Rung.DIRECT) -> int:
        """Begin an attempt of ours, whatever speaks against it; returns its number."""
        self._newest += 1
        self._try(rung, Attempt(self._newest, is_ours=True), now)
        return self._newest

    def _choose(self, now: float) -> None:
        best = self.ladder.best_good(now=now)
        good = [key for key, at in self._heard.items() if now - at <= HEARD_WITHIN and (best is None or key[0] == best)]
        if not good and not self.ladder.is_listening:
            good = list(self._heard)  # nothing was said so far: the best on both sides
        self.used = max(good) if good else max(self._heard, key=lambda key: (self._heard[key], key), default=None)
        trials = self.ladder.trials(now=now)
        self.trials = tuple(key for key in self._heard if key[0] in trials and key != self.used)

    def _superfluous(self, now: float) -> tuple[Key, ...]:
        if self.used is None or now - self._heard[self.used] > HEARD_WITHIN:
            idle: list[Key] = []
        else:
            idle = [key for key, at in self._heard.items() if key != self.used and now - at > LINGER]
        kept = sorted((key for key in self._heard if key not in idle and key != self.used), reverse=True)
        return (*idle, *kept[MOST_PATHS - 1 :])
