"""Large tables are known again, and whatever happens to them, the tree is that of a walk without any memory."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.canonical import Settled, canonical_bytes, checksum
from envs.plain import copy_plain
from envs.walk import state_tree
from envs.walk_memory import WalkMemory


class World:
    def __init__(self, rows: int = 60) -> None:
        self.aliases: Any = None
        self.table: Any = {row: {move: [(1.0, row + move, -1, False)] for move in range(6)} for row in range(rows)}
        self.turn = 0
        self.zone: Any = None


class Watched:
    """A world that is walked with and without a memory."""

    def __init__(self, rows: int = 60) -> None:
        self.world = World(rows)
        self.memory = WalkMemory()
        for _ in range(3):
            self.look()

    def look(self) -> Any:
        """Return the table's form with the memory, after making sure that both walks agree."""
        remembered, plain = state_tree(self.world, memory=self.memory).data, state_tree(self.world).data
        assert canonical_bytes(remembered) == canonical_bytes(plain)
        assert canonical_bytes(copy_plain(remembered)) == canonical_bytes(plain)
        return remembered.get("table")


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_table_that_stays_as_it_is_is_walked_once(watched: Watched) -> None:
    first = watched.look()
    assert type(first) is Settled
    watched.world.turn += 1
    assert watched.look() is first
    assert first.form is watched.look().form


def test_what_is_handed_out_is_the_data_and_belongs_to_the_taker(watched: Watched) -> None:
    data = copy_plain(state_tree(watched.world, memory=watched.memory).data)
    assert type(data["table"]) is dict
    data["table"][3][2].append("mine")
    assert watched.look().data[3][2] == [(1.0, 5, -1, False)]


CHANGES = {
    "an item deep inside": lambda world: world.table[3][2].append((0.5, 1, 1, True)),
    "a tuple for another": lambda world: world.table[3].update({2: [(1.0, 5, -1, True)]}),
    "another type of equal value": lambda world: world.table[4][0].__setitem__(0, (1, 4, -1, False)),
    "another sign of zero": lambda world: world.table[4].update({0: [(-0.0,)], 1: [(0.0,)]}),
    "a key for another": lambda world: world.table[5].update({"7": world.table[5].pop(5)}),
    "an item from one list to the next": lambda world: world.table[6][1].append(world.table[6][0].pop()),
    "an equal list for the old one": lambda world: world.table[7].update({0: list(world.table[7][0])}),
    "one list in two places": lambda world: world.table[8].update({0: world.table[8][1]}),
    "an object": lambda world: world.table[9].update({0: World()}),
    "a reference from before": lambda world: setattr(world, "aliases", [world.table[1]]),
    "a reference from behind": lambda world: setattr(world, "zone", [world.table[1], world.table[2][3]]),
    "the table elsewhere": lambda world: world.__dict__.update(zone=world.table, table=None),
    "the table in two places": lambda world: setattr(world, "aliases", world.table),
    "a copy of the table": lambda world: setattr(world, "table", copy_plain(world.table)),
    "an array": lambda world: world.table[9].update({0: np.zeros(3)}),
    "nothing left of it": lambda world: world.table.clear(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_shows_as_without_a_memory(name: str, watched: Watched) -> None:
    before = checksum(state_tree(watched.world, memory=watched.memory).data)
    same = name in ("an equal list for the old one", "a copy of the table")
    CHANGES[name](watched.world)
    watched.look()
    assert (checksum(state_tree(watched.world, memory=watched.memory).data) == before) is same
    for _ in range(3):
        watched.look()


def test_an_object_in_a_table_is_looked_at_in_every_walk(watched: Watched) -> None:
    watched.world.table[9][0] = inner = World()
    watched.look()
    before = checksum(state_tree(watched.world, memory=watched.memory).data)
    inner.turn += 1
    watched.look()
    assert checksum(state_tree(watched.world, memory=watched.memory).data) != before


def test_what_changes_all_the_time_is_not_remembered_any_more(watched: Watched) -> None:
    for turn in range(9):
        watched.world.table[0][0] = [(float(turn), 0, 0, False)]
        assert type(watched.look()) is dict
    assert [type(watched.look()) for _ in range(3)] == [dict] * 3


def test_what_changes_now_and_then_is_remembered_in_between(watched: Watched) -> None:
    for turn in range(9):
        watched.world.table[0][0] = [(float(turn), 0, 0, False)]
        assert [type(watched.look()) for _ in range(3)] == [dict, Settled, Settled]


def test_tables_that_are_made_anew_all_the_time_are_not_piled_up() -> None:
    world, memory = World(), WalkMemory()
    for _ in range(1500):
        world.zone = [[index] for index in range(120)]
        state_tree(world, memory=memory)
    assert len(memory._tables) <= 257


def test_scalars_of_numpy_may_be_in_a_table() -> None:
    watched = Watched()
    watched.world.table = {row: [(np.float64(row), np.bool_(True))] * 4 for row in range(90)}
    forms = [watched.look() for _ in range(4)]
    assert type(forms[-1]) is Settled
    watched.world.table[5][1] = (np.float32(5), np.bool_(True))
    assert type(watched.look()) is dict


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_any_history_of_changes_gives_the_tree_of_a_walk_without_memory(seed: int, changes: int) -> None:
    watched, dice = Watched(rows=16), random.Random(seed)
    for _ in range(changes):
        row = watched.world.table.setdefault(dice.randrange(16), {0: [], 1: []})
        kind = dice.randrange(5)
        if kind == 0:
            row[dice.randrange(6)] = [(dice.random(), 1, dice.choice([1, True, 1.0]), False)]
        elif kind == 1:
            watched.world.zone = dice.choice([None, row, watched.world.table, list(row.values())])
        elif kind == 2:
            row[dice.randrange(6)] = dice.choice(list(row.values()))
        elif kind == 3:
            watched.world.turn += 1
        else:
            watched.world.table[dice.randrange(16)] = dict(reversed(list(row.items())))
        for _ in range(dice.randrange(1, 4)):
            watched.look()
