"""Scripted cooks for CoGrid kitchens.

``greedy`` cooks onion soups with whoever is in the other seat: it does what the kitchen lacks next. ``slow`` is the
same with one action every few frames. ``random`` presses any key.

What a cook decides may reach the kitchen frames later. It therefore acts once, waits until it sees its own action
happen, learns how long that takes, and takes what has not happened by then for blocked.
"""

from __future__ import annotations

import random
from typing import Callable, FrozenSet, List, NamedTuple, Optional, Tuple

from envs.contract import Bot
from envs.kitchen import FACING, STEPS, Cell, Cook, Kitchen
from envs.recipes_overcooked import Errand, next_errand, waiting_cells
from p2pclient.common.errors import LocalMisuseError

BOTS = ("greedy", "random", "slow")

PICK_UP_OR_DROP = 4
DO_NOTHING = 6

_LONGEST_LAG = 6
"""Frames to wait for the effect of the first action, before it is known how long that takes."""
_SLOW_PERIOD = 4
_PATIENCE = 25
"""Frames without any progress after which a cook no longer counts on what its partner carries."""
_DISTRUST = 40
_SIDESTEP_CHANCE = 0.5
_RESTLESS_CHANCE = 0.05
"""Of a sidestep of a cook without a memory, which cannot know that it is blocked."""
_TRUST_PERIOD, _TRUST_FRAMES = 100, 75
"""Of so many frames a cook without a memory counts in so many on what its partner carries."""

Look = Callable[[], Kitchen]


def make_bot(name: str, look: Look, seat: int, seed: int) -> Bot:
    """Return the cook ``name`` for ``seat``; ``look()`` gives the current state of the kitchen."""
    if name == "random":
        return RandomCook(random.Random(seed))
    if name == "greedy":
        return GreedyCook(look, seat, random.Random(seed))
    if name == "slow":
        return GreedyCook(look, seat, random.Random(seed), period=_SLOW_PERIOD)
    raise LocalMisuseError(f"no bot {name!r}; there are {BOTS}")


def decide_anew(name: str, kitchen: Kitchen, seat: int, seed: int) -> int:
    """Return what the cook ``name`` does at ``seat``, by the kitchen and ``seed`` alone.

    What it does takes effect at once, so that there is nothing to wait for: it needs no memory.
    """
    generator = random.Random(seed)
    if name not in BOTS:
        raise LocalMisuseError(f"no bot {name!r}; there are {BOTS}")
    if name == "slow" and kitchen.time % _SLOW_PERIOD:
        return DO_NOTHING
    if name in ("greedy", "slow"):
        is_trusting = kitchen.time % _TRUST_PERIOD < _TRUST_FRAMES
        return GreedyCook(lambda: kitchen, seat, generator).decide_without_memory(is_trusting=is_trusting)
    return RandomCook(generator).decide()


class RandomCook(Bot):
    """Moves, turns, picks up and drops at random."""

    def __init__(self, generator: random.Random) -> None:
        self._random = generator

    def decide(self) -> int:
        return self._random.choice((0, 1, 2, 3, PICK_UP_OR_DROP, DO_NOTHING))


class _Sent(NamedTuple):
    """An action of which the effect is awaited."""

    time: int
    cook: Cook


class GreedyCook(Bot):
    """Does the errand that the kitchen lacks most, by the shortest way."""

    def __init__(self, look: Look, seat: int, generator: random.Random, period: int = 1) -> None:
        self._look = look
        self._seat = seat
        self._random = generator
        self._period = period
        self._sent: Optional[_Sent] = None
        self._lag: Optional[int] = None
        self._was_blocked = False
        self._trust = _Trust(generator)

    def decide(self) -> int:
        kitchen = self._look()
        me = kitchen.cooks[self._seat]
        if self._awaits_effect(kitchen.time, me):
            return DO_NOTHING
        partner = kitchen.cooks[1 - self._seat]
        trusted = self._trust.update(kitchen, me, partner)
        errand = next_errand(kitchen, me, partner._replace(held=partner.held if trusted else None))
        action = self._act(kitchen, me, partner, errand)
        if action != DO_NOTHING:
            self._sent = _Sent(kitchen.time, me)
        return action

    def decide_without_memory(self, *, is_trusting: bool) -> int:
        """Decide as one who comes in at this moment, and leaves again."""
        kitchen = self._look()
        me, partner = kitchen.cooks[self._seat], kitchen.cooks[1 - self._seat]
        if self._random.random() < _RESTLESS_CHANCE:
            return self._sidestep(kitchen, me, partner)
        errand = next_errand(kitchen, me, partner._replace(held=partner.held if is_trusting else None))
        return self._act(kitchen, me, partner, errand)

    def _awaits_effect(self, time: int, me: Cook) -> bool:
        """Take note of what became of the last action; True while that is not known."""
        sent = self._sent
        if sent is None or time < sent.time:
            self._sent = None
            return False
        waited = time - sent.time
        if me != sent.cook:
            self._lag = min(_LONGEST_LAG, max(waited, self._lag or 1))
            self._was_blocked = False
        elif waited < (self._lag or _LONGEST_LAG):
            return True
        else:
            self._was_blocked = True
        if waited < self._period:
            return True
        self._sent = None
        return False

    def _act(self, kitchen: Kitchen, me: Cook, partner: Cook, errand: Optional[Errand]) -> int:
        was_blocked, self._was_blocked = self._was_blocked, False
        if was_blocked and self._random.random() < _SIDESTEP_CHANCE:
            return self._sidestep(kitchen, me, partner)
        if errand is None:
            return self._go(kitchen, me, partner, waiting_cells(kitchen, me))
        goals = frozenset(kitchen.beside(errand.cell))
        if me.cell in goals:
            return _use(me, errand)
        return self._go(kitchen, me, partner, goals)

    def _go(self, kitchen: Kitchen, me: Cook, partner: Cook, goals: FrozenSet[Cell]) -> int:
        if not goals or me.cell in goals:
            return DO_NOTHING
        action = kitchen.first_action(me.cell, goals, frozenset((partner.cell,)))
        if action is not None:
            return action
        # The partner stands in the only way: make room at times, so that two who face each other come apart.
        return self._sidestep(kitchen, me, partner) if self._random.random() < _SIDESTEP_CHANCE else DO_NOTHING

    def _sidestep(self, kitchen: Kitchen, me: Cook, partner: Cook) -> int:
        free = [a for a, (r, c) in enumerate(STEPS) if _is_free(kitchen, partner, (me.cell[0] + r, me.cell[1] + c))]
        return self._random.choice(free) if free else DO_NOTHING


def _is_free(kitchen: Kitchen, partner: Cook, cell: Cell) -> bool:
    return cell in kitchen.floor and cell != partner.cell


def _use(me: Cook, errand: Errand) -> int:
    """Turn to the errand's place; once there, act on it, or wait for it."""
    direction = (errand.cell[0] - me.cell[0], errand.cell[1] - me.cell[1])
    action = STEPS.index(direction)
    if me.direction != FACING[action]:
        return action
    return PICK_UP_OR_DROP if errand.now else DO_NOTHING


class _Trust:
    """Tells whether the partner is to be counted on: not for a while after nothing has moved on for long."""

    def __init__(self, generator: random.Random) -> None:
        self._random = generator
        self._seen: Optional[Tuple[object, ...]] = None
        self._since = 0
        self._back_at = 0

    def update(self, kitchen: Kitchen, me: Cook, partner: Cook) -> bool:
        pots: List[Tuple[int, bool]] = [(pot.items, pot.ready) for pot in kitchen.pots]
        seen = (tuple(pots), me.held, partner.held)
        cooking = any(pot.full and not pot.ready for pot in kitchen.pots)
        if seen != self._seen or cooking or kitchen.time < self._since:
            self._seen, self._since = seen, kitchen.time
        if kitchen.time - self._since > _PATIENCE + self._random.randrange(10):
            self._since, self._back_at = kitchen.time, kitchen.time + _DISTRUST
        return not kitchen.time < self._back_at <= kitchen.time + _DISTRUST
