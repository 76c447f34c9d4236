"""What a cook should do next in a CoGrid kitchen, as a pure function of what it sees."""

from __future__ import annotations

from typing import Dict, FrozenSet, List, NamedTuple, Optional

from envs.kitchen import Cell, Cook, Kitchen

_SOUP = "onion_soup"


class Errand(NamedTuple):
    """A place to act on. ``now`` is False where the cook is to be there and wait."""

    cell: Cell
    now: bool = True


class _Sight:
    """The kitchen from one cook's place: what can be reached and how far it is."""

    def __init__(self, kitchen: Kitchen, me: Cook, partner: Cook) -> None:
        self.kitchen = kitchen
        self.me = me
        self.partner = partner
        self._ways = kitchen.distances(me.cell)
        self._ways_around = kitchen.distances(me.cell, frozenset((partner.cell,)))
        self._partner_ways = kitchen.distances(partner.cell)
        self.pots = [pot for pot in kitchen.pots if self.reaches(pot.cell)]

    def reaches(self, cell: Cell) -> bool:
        return any(place in self._ways for place in self.kitchen.beside(cell))

    def partner_reaches(self, cell: Cell) -> bool:
        return any(place in self._partner_ways for place in self.kitchen.beside(cell))

    def nearest(self, cells: List[Cell]) -> Optional[Cell]:
        """Return the cell that is reached first; ways that the partner stands in count as long."""
        costs: Dict[Cell, int] = {}
        for cell in cells:
            around = [self._ways_around[p] for p in self.kitchen.beside(cell) if p in self._ways_around]
            through = [self._ways[p] + 10 for p in self.kitchen.beside(cell) if p in self._ways]
            if through:
                costs[cell] = min(around + through)
        return min(costs, key=lambda cell: (costs[cell], cell)) if costs else None

    def sources(self, item: str) -> List[Cell]:
        """Return where ``item`` can be picked up: counters on which it lies, and stacks of it."""
        lying = [cell for cell, name in self.kitchen.on_counter.items() if name == item]
        on_floor = self.kitchen.cells_of(item)
        return lying + on_floor + self.kitchen.cells_of(f"{item}_stack")

    def on_floor(self) -> List[Cell]:
        """Return where something was dropped on the floor: nobody can walk there, perhaps not to the hatch either."""
        return [cell for name in ("onion", "plate", _SOUP) for cell in self.kitchen.cells_of(name)]

    def empty_counters(self) -> List[Cell]:
        return [cell for cell in self.kitchen.cells_of("counter") if cell not in self.kitchen.on_counter]

    def hand_over(self) -> List[Cell]:
        """Return the counters that both cooks reach."""
        return [c for c in self.kitchen.cells_of("counter") if self.reaches(c) and self.partner_reaches(c)]

    def lying_for_partner(self, item: str) -> int:
        return sum(1 for cell in self.hand_over() if self.kitchen.on_counter.get(cell) == item)


def next_errand(kitchen: Kitchen, me: Cook, partner: Cook) -> Optional[Errand]:
    """Return what ``me`` should do next; None if there is nothing to do but wait.

    Args:
        partner: the other cook; with ``held=None`` if it is not to be counted on.
    """
    sight = _Sight(kitchen, me, partner)
    if me.held is None:
        return _fetch(sight)
    if me.held == "onion":
        return _bring_onion(sight)
    if me.held == "plate":
        return _bring_plate(sight)
    if me.held == _SOUP:
        return _errand(sight, kitchen.cells_of("delivery_zone")) or _pass_on(sight)
    return _put_down(sight)


def waiting_cells(kitchen: Kitchen, me: Cook) -> FrozenSet[Cell]:
    """Return where a cook with nothing to do is not in the way: not at pots, stacks and hatches."""
    busy = {"pot", "delivery_zone", "plate_stack", "onion_stack"}
    used = {place for cell, kind in kitchen.kinds.items() if kind in busy for place in kitchen.beside(cell)}
    return frozenset(cell for cell in kitchen.distances(me.cell) if cell not in used)


def _errand(sight: _Sight, cells: List[Cell], now: bool = True) -> Optional[Errand]:
    cell = sight.nearest(cells)
    return None if cell is None else Errand(cell, now)


def _fetch(sight: _Sight) -> Optional[Errand]:
    kitchen, partner = sight.kitchen, sight.partner
    in_the_way = _errand(sight, sight.on_floor())
    if in_the_way is not None:
        return in_the_way
    hatch = [cell for cell in kitchen.cells_of("delivery_zone") if sight.reaches(cell)]
    soups = _errand(sight, sight.sources(_SOUP)) if hatch else None
    if soups is not None:
        return soups
    supplies = not sight.pots
    plates = sum(1 for pot in kitchen.pots if pot.full) - (1 if partner.held == "plate" else 0)
    onions = sum(pot.capacity - pot.items for pot in kitchen.pots) - (1 if partner.held == "onion" else 0)
    if partner.held == "plate" and any(pot.full for pot in kitchen.pots):
        onions += 1  # a pot is about to be empty again
    if supplies:
        # Only the partner reaches the pots: what lies ready for it counts as done, and one plate may lie there early.
        plates = max(plates, 1) - sight.lying_for_partner("plate")
        onions -= sight.lying_for_partner("onion")
    if plates > 0:
        errand = _errand(sight, sight.sources("plate"))
        if errand is not None:
            return errand
    return _errand(sight, sight.sources("onion")) if onions > 0 else None


def _bring_onion(sight: _Sight) -> Optional[Errand]:
    if not sight.pots:
        return _pass_on(sight)
    errand = _errand(sight, [pot.cell for pot in sight.pots if not pot.full])
    if errand is not None:
        return errand
    return None if sight.partner.held == "plate" else _put_down(sight)


def _bring_plate(sight: _Sight) -> Optional[Errand]:
    if not sight.pots:
        return _pass_on(sight)
    ready = _errand(sight, [pot.cell for pot in sight.pots if pot.ready])
    if ready is not None:
        return ready
    cooking = sorted((pot.timer, pot.cell) for pot in sight.pots if pot.full)
    return Errand(cooking[0][1], now=False) if cooking else _put_down(sight)


def _pass_on(sight: _Sight) -> Optional[Errand]:
    """Put what is held where the partner can take it."""
    free = set(sight.empty_counters())
    return _errand(sight, [cell for cell in sight.hand_over() if cell in free])


def _put_down(sight: _Sight) -> Optional[Errand]:
    return _errand(sight, sight.empty_counters())
