"""Which kinds of path to a peer are tried when, and which is good enough to send over. Pure: times are arguments.

A *rung* is a kind of path: direct, by way of a TURN server, relayed by our own server. The better ones are higher.

1. At first, the highest is tried at once, and each lower one beside it a moment later; the first that opens is used.
2. While nothing is heard over any rung, all are tried, again and again with growing pauses.
3. While a lower rung works, the higher ones are tried now and then, with pauses that grow further. One that opens is
   on trial: what may be lost is sent over both. It is used when it was heard all the time for :data:`SETTLE` seconds,
   or as soon as nothing else is heard.
4. A rung that worked for less than :data:`TRUSTED_AFTER` seconds is tried again later than the last time.

Both sides decide for themselves what to send over, from what they hear. Since a side sends only over what it hears (or
has on trial), a path that works in one direction only is given up by both.

From the first path that opens until :meth:`Ladder.listen`, there may be nothing to say, and silence means nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import IntEnum

FIRST_TRY = 1.0
"""Seconds of silence after which the leader tries again."""
FIRST_WORD = 5.0
"""The same before anything was heard: a peer begins to speak when it is connected to everybody."""
YIELD = 0.6
"""Seconds by which the other side is later, where one of the two has to begin."""
HEAD_START = 0.4
"""Seconds by which the relay is later than a TURN server, which costs our own server nothing."""
HEARD_WITHIN = 0.5
"""Seconds within which a rung was heard that is good to send over. A side that lives is heard every 0.2 s."""
SETTLE = 2.0
TRUSTED_AFTER = 30.0
FIRST_PAUSE, LONGEST_PAUSE, LONGEST_PROBE_PAUSE = 0.5, 4.0, 30.0
"""Seconds between two attempts: the first time; at most, while nothing works; and at most while something does."""
GROWTH = 1.5
PROBE_GROWTH = 2.0
FIRST_PROBE = 2.0
"""Seconds after a lower rung began to be used, until a higher one is tried."""
FIRST_LIMIT, LONGEST_LIMIT = 3.0, 12.0
"""Seconds that an attempt may take. Below the longest round trip times it takes a third of one."""

NEVER = -math.inf


class Rung(IntEnum):
    """A kind of path; a higher one is better."""

    RELAY = 0
    TURN = 1
    DIRECT = 2

    @property
    def word(self) -> str:
        """How it is called in messages, records and flags."""
        return self.name.lower()


FIRST_AFTER = {Rung.DIRECT: 0.0, Rung.TURN: 0.6, Rung.RELAY: 4.0}
"""Seconds from the beginning until each is tried for the first time. On a network without obstacles the direct one
takes 0.1 s, and on a busy machine it should not be our own server that is quicker."""


@dataclass(slots=True)
class _State:
    """What is known of one rung."""

    trying_until: float | None = None
    """When the attempt under way is given up; None if there is none."""
    failed_at: float = NEVER
    rest: float = 0.0
    """Seconds to wait since then, if that is the usual pause."""
    chance: float = 1.0
    """Share of it, drawn at the failure: both sides and all pairs are not to be in step."""
    pause: float = FIRST_PAUSE
    """After the next failure."""
    limit: float = FIRST_LIMIT
    heard_at: float = NEVER
    good_since: float | None = None
    """Since when it was heard without a gap; None while it is not good."""


class Ladder:
    """Decides for one peer.

    Args:
        rungs: those that may be used; a single one forces it.
        leads: one of the two sides does, and begins where one has to.
        draw: a number from 0 to 1 by chance.
        now: the beginning.
    """

    def __init__(self, rungs: Collection[Rung], *, leads: bool, draw: Callable[[], float], now: float) -> None:
        self.rungs = tuple(sorted(rungs, reverse=True))
        self._leads = leads
        self._draw = draw
        self._states = {rung: _State() for rung in self.rungs}
        self._began = now
        self._last_heard = now
        self._has_worked = self._is_listening = self._has_heard = False
        self._is_urgent = False
        self._used_since: tuple[Rung, float] | None = None

    # -- what happens -------------------------------------------------------------------------------------------------

    def listen(self, *, now: float) -> None:
        """The other side speaks from now on, or soon: silence counts from here."""
        self._is_listening = True
        self._last_heard = max(self._last_heard, now)

    def heard(self, rung: Rung, *, now: float) -> None:
        """Something came over a rung."""
        self._has_heard = self._has_heard or rung in self._states
        self._note(rung, now)

    def _note(self, rung: Rung, now: float) -> None:
        state = self._states.get(rung)
        if state is None:
            return
        if state.good_since is None or now - state.heard_at > HEARD_WITHIN:
            state.good_since = now
        state.heard_at = self._last_heard = now
        self._has_worked, self._is_urgent = True, False
        state.limit = FIRST_LIMIT
        if rung is self.rungs[-1] or now - state.good_since >= TRUSTED_AFTER:
            state.pause = FIRST_PAUSE

    def opened(self, rung: Rung, *, now: float) -> None:
        """A new path on a rung is open: a trial begins, if one that works is used."""
        if rung in self._states:
            self._states[rung].trying_until = None
            self._states[rung].good_since = None
            self._note(rung, now)

    def reopened(self, rung: Rung, *, now: float) -> None:
        """A further path is open on a rung that works: there is nothing to prove."""
        if rung in self._states:
            self._states[rung].trying_until = None
            self._note(rung, now)

    def lost(self, rung: Rung, *, now: float) -> None:
        """There is no path on a rung any more. For one below the rung that works, that is as it should be."""
        state = self._states.get(rung)
        if state is None:
            return
        best = self.best_good(now=now)
        if best is None or best <= rung:
            self._fail(rung, state, now)
        state.heard_at, state.good_since = NEVER, None

    def doubt(self, rung: Rung) -> None:
        """A rung can hardly work any more, although it was heard lately."""
        state = self._states.get(rung)
        if state is not None:
            state.heard_at, state.good_since = NEVER, None
            if all(each.heard_at == NEVER for each in self._states.values()):
                self.hurry()
                self._is_urgent = True

    def trying(self, rung: Rung, *, now: float, limit: float | None = None) -> None:
        """An attempt begins, of ours or of the peer's. It may take ``limit`` seconds, or as long as is usual."""
        state = self._states[rung]
        state.trying_until = now + (state.limit if limit is None else limit)

    def failed(self, rung: Rung, *, now: float) -> None:
        """The attempt under way came to nothing."""
        state = self._states[rung]
        state.trying_until = None
        state.limit = min(LONGEST_LIMIT, state.limit * GROWTH)
        self._fail(rung, state, now)

    def dropped(self, rung: Rung) -> None:
        """The attempt under way is not needed any more."""
        self._states[rung].trying_until = None

    def _fail(self, rung: Rung, state: _State, now: float) -> None:
        state.failed_at, state.rest, state.chance = now, state.pause, 0.5 + self._draw() / 2
        best = self.best_good(now=now)
        works = best is not None and best < rung
        growth = PROBE_GROWTH if works else GROWTH
        state.pause = min(LONGEST_PROBE_PAUSE if works else max(LONGEST_PAUSE, state.pause), state.pause * growth)

    def hurry(self) -> None:
        """What was in the way of attempts is not any more: the server is back, or there is another address."""
        for state in self._states.values():
            state.failed_at = NEVER

    # -- what is to be done -------------------------------------------------------------------------------------------

    def tick(self, *, now: float) -> tuple[Rung, ...]:
        """Return the rungs whose attempt took too long, and count those as failed."""
        late = tuple(
            rung for rung, each in self._states.items() if each.trying_until is not None and now >= each.trying_until
        )
        for rung in late:
            self.failed(rung, now=now)
        best = self.best_good(now=now)
        if best is not None and (self._used_since is None or self._used_since[0] != best):
            self._used_since = (best, now)
        return late

    def begins(self, *, now: float) -> tuple[Rung, ...]:
        """Return the rungs to be tried now; each is counted as being tried when :meth:`trying` is called."""
        return tuple(rung for rung in self.rungs if self._is_due(rung, now))

    def _is_due(self, rung: Rung, now: float) -> bool:
        state = self._states[rung]
        if state.trying_until is not None:
            return False
        if self._has_worked and not self._is_listening:
            return False
        best = self.best_good(now=now)
        if best is not None:
            return best < rung and not self.is_good(rung, now=now) and self._is_probe_due(rung, state, now)
        if now < state.failed_at + min(state.rest, LONGEST_PAUSE) * state.chance:
            return False
        if rung is Rung.RELAY:
            # Neither side has to begin where a hello is enough. It is so quick that others get a head start.
            late = HEAD_START if Rung.TURN in self._states else 0.0
        else:
            late = 0.0 if self._leads else YIELD
        if not self._has_worked:
            return now - self._began >= self._first_after(rung) + late
        patience = FIRST_TRY if self._has_heard else FIRST_WORD
        return self._is_urgent or now - self._last_heard >= patience + late

    def _first_after(self, rung: Rung) -> float:
        return 0.0 if rung is self.rungs[0] else FIRST_AFTER[rung] - FIRST_AFTER[self.rungs[0]]

    def _is_probe_due(self, rung: Rung, state: _State, now: float) -> bool:
        since = self._used_since[1] if self._used_since is not None else now
        is_after_pause = now >= state.failed_at + max(FIRST_PROBE, state.rest) * state.chance
        # Several probes at once would tell no more than the highest, which is tried first, and disturb more.
        is_alone = all(each.trying_until is None for higher, each in self._states.items() if higher > rung)
        return self._leads and is_alone and is_after_pause and now - since >= FIRST_PROBE

    @property
    def is_listening(self) -> bool:
        """Does silence count by now."""
        return self._is_listening

    def silent_for(self, *, now: float) -> float:
        """Seconds since anything was heard over any rung, or since the beginning."""
        return now - self._last_heard

    def is_good(self, rung: Rung, *, now: float) -> bool:
        """Was a rung heard lately."""
        state = self._states.get(rung)
        return state is not None and now - state.heard_at <= HEARD_WITHIN

    def best_good(self, *, now: float) -> Rung | None:
        """Return the highest rung that is good and past its trial, or on trial with nothing else; None for none."""
        good = [rung for rung in self.rungs if self.is_good(rung, now=now)]
        settled = [rung for rung in good if not self._is_young(rung, now)]
        if settled:
            return settled[0]
        # None has been good for long: the one that was good first, so that a newcomer still has to prove itself.
        return min(good, key=lambda rung: (self._states[rung].good_since, -rung), default=None)

    def _is_young(self, rung: Rung, now: float) -> bool:
        since = self._states[rung].good_since
        return since is None or now - since < SETTLE

    def trials(self, *, now: float) -> tuple[Rung, ...]:
        """Return the rungs on trial: higher than the one that is used, and good so far."""
        best = self.best_good(now=now)
        return tuple(rung for rung in self.rungs if best is not None and rung > best and self.is_good(rung, now=now))
