"""A kitchen's state as plain Python values, with the ways through it: what scripted cooks look at."""

from __future__ import annotations

from collections import deque
from typing import Any, Dict, FrozenSet, List, NamedTuple, Optional, Tuple

Cell = Tuple[int, int]
"""Row and column."""

STEPS: Tuple[Cell, ...] = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""What the actions 0 to 3 (up, down, left, right) do."""
FACING = (3, 1, 2, 0)
"""CoGrid's direction after the actions 0 to 3."""


class Pot(NamedTuple):
    """A pot: where it is, what is in it, and how long it still cooks once it is full."""

    cell: Cell
    items: int
    capacity: int
    timer: int

    @property
    def full(self) -> bool:
        return self.items == self.capacity

    @property
    def ready(self) -> bool:
        return self.full and self.timer == 0


class Cook(NamedTuple):
    """A cook: place, direction (right, down, left, up) and what is held."""

    cell: Cell
    direction: int
    held: Optional[str]


class Kitchen:
    """One state of a CoGrid kitchen. Built anew for every decision."""

    def __init__(self, state: Any, type_ids: Dict[str, int], scope: str) -> None:
        names = {index: name for name, index in type_ids.items()}
        names[0] = "free_space"
        self.time = int(state.time)
        self.kinds: Dict[Cell, str] = {}
        self.on_counter: Dict[Cell, str] = {}
        items = state.object_state_map.tolist()
        for row, line in enumerate(state.object_type_map.tolist()):
            for column, kind in enumerate(line):
                self.kinds[row, column] = names[kind]
                if names[kind] == "counter" and items[row][column] > 0:
                    self.on_counter[row, column] = names[items[row][column]]
        self.floor: FrozenSet[Cell] = frozenset(c for c, kind in self.kinds.items() if kind == "free_space")
        self.cooks: List[Cook] = []
        for cell, direction, (held,) in zip(
            state.agent_pos.tolist(), state.agent_dir.tolist(), state.agent_inv.tolist()
        ):
            self.cooks.append(Cook((cell[0], cell[1]), direction, names[held] if held > 0 else None))
        extra = state.extra_state
        rows = (extra[f"{scope}.pot_{part}"].tolist() for part in ("positions", "contents", "timer"))
        self.pots = [
            Pot((cell[0], cell[1]), sum(1 for item in items if item != -1), len(items), timer)
            for cell, items, timer in zip(*rows)
        ]

    def cells_of(self, kind: str) -> List[Cell]:
        """Return where ``kind`` stands, in reading order."""
        return [cell for cell, name in self.kinds.items() if name == kind]

    def beside(self, cell: Cell) -> List[Cell]:
        """Return the floor next to ``cell``."""
        return [n for n in ((cell[0] + r, cell[1] + c) for r, c in STEPS) if n in self.floor]

    def distances(self, start: Cell, blocked: FrozenSet[Cell] = frozenset()) -> Dict[Cell, int]:
        """Return the steps from ``start`` to every floor cell that can be reached around ``blocked``."""
        found = {start: 0}
        queue = deque([start])
        while queue:
            cell = queue.popleft()
            for near in self.beside(cell):
                if near not in found and near not in blocked:
                    found[near] = found[cell] + 1
                    queue.append(near)
        return found

    def first_action(self, start: Cell, goals: FrozenSet[Cell], blocked: FrozenSet[Cell]) -> Optional[int]:
        """Return the action that begins a shortest way from ``start`` to one of ``goals``; None if there is no way."""
        best: Optional[int] = None
        least = None
        for action, (down, right) in enumerate(STEPS):
            near = (start[0] + down, start[1] + right)
            if near not in self.floor or near in blocked:
                continue
            ways = self.distances(near, blocked | {start})
            length = min((ways[goal] for goal in goals if goal in ways), default=None)
            if length is not None and (least is None or length < least):
                best, least = action, length
        return best
