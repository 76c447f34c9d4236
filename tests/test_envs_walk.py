"""Any object becomes plain data that depends on what it holds, and on nothing else."""

from __future__ import annotations

import collections
import enum
import functools
import itertools
import logging
import os
import random
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest

from envs.canonical import checksum
from envs.plain import first_difference
from envs.walk import state_tree

ROOT = Path(__file__).resolve().parent.parent


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Point(NamedTuple):
    x: Any
    y: Any


class Thing:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def act(self) -> None: ...


class Slotted:
    __slots__ = ("__hidden", "a", "unset")

    def __init__(self, a: Any, hidden: Any) -> None:
        self.a = a
        self.__hidden = hidden


class SlottedChild(Slotted):
    __slots__ = ("a", "b")  # the first hides that of the base, which is still there

    def __init__(self, a: Any, hidden: Any, b: Any) -> None:
        super().__init__(a, hidden)
        self.b = b
        Slotted.__dict__["a"].__set__(self, hidden)


@dataclass(frozen=True)
class Card:
    suit: str
    marks: list[int] = field(default_factory=list, compare=False)


class Pile(list[Any]):
    owner = "nobody"


class Odd(gymnasium.utils.EzPickle, Exception):
    """Keeps a part in C, and pickles the arguments that it was made with."""


class Forgetful:
    """Pickles what it was made with, whatever it is now."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __getstate__(self) -> dict[str, Any]:
        return {"n": 0}


def closure(content: Any) -> Callable[[], Any]:
    return lambda: content


def digest(value: Any) -> bytes:
    return checksum(state_tree(value).data)


def drawn(generator: Any) -> Any:
    generator.random()
    return generator


def linked(count: int, last: Any) -> Thing:
    head = Thing(next=None, value=last)
    for value in range(count):
        head = Thing(next=head, value=value)
    return head


def spawned(seed: int) -> np.random.Generator:
    generator = np.random.default_rng(seed)
    generator.spawn(1)
    return generator


STRUCTURED = np.dtype([("a", "i4"), ("b", "f8")])

DIFFERENT: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "number": (lambda: Thing(a=1), lambda: Thing(a=2)),
    "type of a number": (lambda: Thing(a=1), lambda: Thing(a=1.0)),
    "complex": (lambda: [1 + 2j], lambda: [1 + 3j]),
    "NumPy scalar": (lambda: Thing(a=np.float32(1)), lambda: Thing(a=np.float32(2))),
    "array": (lambda: Thing(a=np.zeros(3)), lambda: Thing(a=np.array([0.0, 0.0, 1.0]))),
    "array of objects": (lambda: np.array([Thing(a=1), None]), lambda: np.array([Thing(a=2), None])),
    "structured array": (lambda: np.zeros(2, STRUCTURED), lambda: np.ones(2, STRUCTURED)),
    "long double": (lambda: np.longdouble(1) / 3, lambda: np.longdouble(1) / 3 + np.finfo(np.longdouble).eps),
    "date": (lambda: np.array(["2020-01-01"], "M8[D]"), lambda: np.array(["2020-01-02"], "M8[D]")),
    "type of an object": (lambda: Thing(), lambda: types.SimpleNamespace()),
    "nested object": (lambda: Thing(a=[Thing(b=1)]), lambda: Thing(a=[Thing(b=2)])),
    "slot": (lambda: SlottedChild(1, 2, 3), lambda: SlottedChild(1, 2, 4)),
    "hidden slot of a base": (lambda: SlottedChild(1, 2, 3), lambda: SlottedChild(1, 5, 3)),
    "private slot": (lambda: Slotted(1, 2), lambda: Slotted(1, 5)),
    "dataclass": (lambda: Card("a", [1]), lambda: Card("a", [2])),
    "named tuple": (lambda: Point(1, [2]), lambda: Point(1, [3])),
    "enum": (lambda: Color.RED, lambda: Color.BLUE),
    "subclass of list": (lambda: Pile([1]), lambda: Pile([2])),
    "attribute of a subclass of list": (lambda: Pile([1]), lambda: _owned(Pile([1]))),
    "deque": (lambda: collections.deque([1, 2]), lambda: collections.deque([2, 1])),
    "length of a deque": (lambda: collections.deque([1], 2), lambda: collections.deque([1], 3)),
    "defaultdict": (lambda: collections.defaultdict(int), lambda: collections.defaultdict(list)),
    "key of a dict": (lambda: {Color.RED: 1}, lambda: {Color.BLUE: 1}),
    "key with identity": (lambda: {Thing(a=1): 1}, lambda: {Thing(a=2): 1}),
    "set": (lambda: {1, "a"}, lambda: {1, "b"}),
    "set of objects": (lambda: {Thing(a=1), Thing(a=2)}, lambda: {Thing(a=1), Thing(a=3)}),
    "bytearray": (lambda: bytearray(b"a"), lambda: bytearray(b"b")),
    "Python's generator": (lambda: random.Random(1), lambda: drawn(random.Random(1))),
    "NumPy's generator": (lambda: np.random.default_rng(1), lambda: drawn(np.random.default_rng(1))),
    "MT19937": (lambda: Thing(g=np.random.RandomState(1)), lambda: Thing(g=drawn(np.random.RandomState(1)))),
    "Philox": (lambda: np.random.Philox(1), lambda: np.random.Philox(2)),
    "spawned generators": (lambda: np.random.default_rng(1), lambda: spawned(1)),
    "generator of a space": (lambda: _space(1), lambda: _space(2)),
    "count": (lambda: itertools.count(1), lambda: itertools.count(2)),
    "function": (lambda: len, lambda: max),
    "class": (lambda: Thing, lambda: Card),
    "closure": (lambda: closure([1]), lambda: closure([2])),
    "partial": (lambda: functools.partial(max, [1]), lambda: functools.partial(max, [2])),
    "bound method": (lambda: Thing(a=1).act, lambda: Thing(a=2).act),
    "range": (lambda: range(2), lambda: range(3)),
    "slice": (lambda: slice(2), lambda: slice(3)),
    "exception": (lambda: ValueError("a"), lambda: ValueError("b")),
    "what hides it from pickle": (lambda: Forgetful(1), lambda: Forgetful(2)),
    "end of a long list": (lambda: linked(50_000, 1), lambda: linked(50_000, 2)),
}  # fmt: skip


def _owned(pile: Pile) -> Pile:
    pile.owner = "me"
    return pile


def _space(seed: int) -> gymnasium.Space[Any]:
    return gymnasium.spaces.Tuple((gymnasium.spaces.Discrete(3), gymnasium.spaces.Box(0, 1, (2,), seed=seed)))


@pytest.mark.parametrize("name", DIFFERENT)
def test_equal_content_gives_equal_data_and_other_content_other_data(name: str) -> None:
    one, other = DIFFERENT[name]
    assert digest(one()) == digest(one())
    assert digest(one()) != digest(other())
    assert state_tree(one()).opaque == []


def test_slots_that_a_class_hides_count_too() -> None:
    data = state_tree(SlottedChild(1, 2, 3)).data
    assert (data["a"], data["b"], data[f"{__name__}.Slotted.a"], data["_Slotted__hidden"]) == (1, 3, 2, 2)
    assert "unset" not in data


def test_data_shares_nothing_with_what_was_walked() -> None:
    thing = Thing(a=[1, [2]], b=np.zeros(2), c={"d": {1}})
    before = state_tree(thing)
    kept = checksum(before.data)
    thing.a[1][0], thing.b[0] = 5, 5.0
    thing.c["d"].add(7)
    assert checksum(before.data) == kept != digest(thing)


def test_difference_between_two_trees_is_named_readably() -> None:
    one, other = (Thing(env=Thing(agents=[Thing(pos=np.zeros(2)), Thing(pos=np.full(2, x))])) for x in (1.0, 2.0))
    found = first_difference(state_tree(one).data, state_tree(other).data)
    assert found == ("state.env.agents[1].pos[0]", 1.0, 2.0)


def test_cycles_end_and_shared_is_told_from_equal() -> None:
    loop = Thing(name="loop")
    loop.self = loop
    assert state_tree(loop).data["self"] == "<same as state>"
    shared, first, second = [1], [1], [1]
    assert digest([shared, shared]) != digest([first, second])
    assert state_tree({"a": shared, "b": [shared]}).data["b"] == ["<same as state.a>"]


def test_order_of_dicts_and_sets_and_of_attributes_does_not_count() -> None:
    shared = [1]
    assert digest({"a": shared, "b": shared}) == digest({"b": shared, "a": shared})
    assert digest({Color.RED: 1, (1, 2): shared}) == digest({(1, 2): shared, Color.RED: 1})
    one, other = Thing(a=shared, b=shared), Thing(b=shared, a=shared)
    assert digest(one) == digest(other)
    things = [Thing(a=number) for number in range(50)]
    # Sets of objects lie in the order of addresses, which other objects in between do change.
    assert digest(set(things)) == digest({Thing(a=number) for number in reversed(range(50))})
    assert state_tree([things, set(things)]).data[1]["<items>"][0] == "<same as state[0][0]>"


def test_objects_in_sets_that_know_each_other_are_told_apart_by_what_they_hold() -> None:
    def ring(first: int) -> Thing:
        nodes = [Thing(number=first + index, near=set()) for index in range(6)]
        for node, neighbour in zip(nodes, nodes[1:] + nodes[:1], strict=True):
            node.near |= {neighbour}
            neighbour.near |= {node}
        return nodes[0]

    assert digest(ring(0)) == digest(ring(0)) != digest(ring(1))

    def tribes(order: range) -> set[Thing]:
        return {Thing(members={Thing(number=number)}) for number in order}

    one = state_tree(tribes(range(30))).data["<items>"]
    other = state_tree(tribes(range(29, -1, -1))).data["<items>"]
    numbers = [item["members"]["<items>"][0]["number"] for item in one]
    assert sorted(numbers) == list(range(30))
    assert numbers == [item["members"]["<items>"][0]["number"] for item in other]


def test_more_types_than_are_remembered_are_still_walked() -> None:
    kinds = [type(f"Kind{number}", (Thing,), {}) for number in range(4200)]
    data = state_tree([kind(a=1) for kind in kinds]).data
    assert [item["<type>"].split(".")[-1] for item in data] == [kind.__name__ for kind in kinds]


def test_what_only_shows_logs_or_synchronizes_is_as_if_it_were_not_there() -> None:
    bare = Thing(a=1, screen=None)
    busy = Thing(a=1, screen=logging.getLogger("x"), lock=threading.Lock(), thread=threading.Thread())
    assert digest(bare) == digest(busy) == digest(Thing(a=1))
    assert state_tree(busy).opaque == []


def test_what_drawing_leaves_behind_is_not_state() -> None:
    pygame = pytest.importorskip("pygame", reason="pygame is not installed")
    thing = Thing(rect=pygame.Rect(1, 2, 3, 4), way=pygame.Vector2(1, 2))
    before = digest(thing)
    thing.screen, thing.clock = pygame.Surface((4, 4)), pygame.time.Clock()
    assert digest(thing) == before
    thing.rect.x += 1
    assert digest(thing) != before
    thing.rect.x -= 1
    thing.way.y = 3
    assert digest(thing) != before


def test_containers_of_nothing_but_pictures_are_as_if_they_were_not_there() -> None:
    pygame = pytest.importorskip("pygame", reason="pygame is not installed")
    surface = pygame.Surface((2, 2))
    pictures = [[surface, surface], (surface,), {"left": surface}]
    for loaded in ([surface], (surface, surface), {"left": surface, "right": surface}, pictures):
        # Loaded by the first drawing: who has not drawn has none. Held twice, it is still nothing.
        assert digest(Thing(a=1, b=loaded, c=loaded)) == digest(Thing(a=1, b=None))
    for state in ([surface, None], [surface, 1], {(0, 1): surface}, {3: surface}, [], {}):
        assert digest(Thing(a=1, b=state)) != digest(Thing(a=1, b=None))


def test_groups_of_sprites_count_by_their_sprites_and_not_by_where_these_were_drawn() -> None:
    pygame = pytest.importorskip("pygame", reason="pygame is not installed")
    sprite, screen = pygame.sprite.Sprite(), pygame.Surface((9, 9))
    sprite.image, sprite.rect, sprite.health = pygame.Surface((1, 1)), pygame.Rect(1, 1, 1, 1), 3
    group = pygame.sprite.Group(sprite)
    before = digest(group)
    group.draw(screen)
    assert digest(group) == before
    sprite.health = 2
    assert digest(group) != before
    group.empty()
    assert digest(group) != digest(pygame.sprite.Group(pygame.sprite.Sprite()))


def test_masks_count_bit_by_bit() -> None:
    pygame = pytest.importorskip("pygame", reason="pygame is not installed")
    mask = pygame.Mask((70, 3))
    mask.set_at((65, 1))
    bits = state_tree(mask).data["bits"]
    assert bits.shape == (3, 70)
    assert [tuple(place) for place in np.argwhere(bits)] == [(1, 65)]


def test_spaces_count_by_their_generators_and_not_by_what_repr_leaves_behind() -> None:
    space = gymnasium.spaces.Box(np.zeros(9, np.float32), np.arange(1, 10, dtype=np.float32), seed=3)
    before = digest(space)
    repr(space)
    assert digest(space) == before
    space.sample()
    assert digest(space) != before


def test_what_cannot_be_looked_into_is_named_by_path_and_type(tmp_path: Path) -> None:
    def numbers() -> Iterator[int]:
        yield 1

    with (tmp_path / "log").open("w") as log:
        tree = state_tree(Thing(a=[numbers()], b=Thing(log=log), c=itertools.cycle([1])))
    assert tree.opaque == ["state.a[0]: generator", "state.b.log: _io.TextIOWrapper", "state.c: itertools.cycle"]
    assert tree.data["a"] == ["<opaque generator>"]
    assert state_tree([Odd(1)]).opaque == [f"state[0]: {Odd.__module__}.Odd"]


def test_weak_references_lead_to_what_is_alive() -> None:
    target = Thing(a=1)
    held = [weakref.ref(target), weakref.proxy(target), weakref.WeakValueDictionary({"x": target})]
    before = digest(held)
    assert state_tree(held).data[1] == "<same as state[0]>"
    target.a = 2
    assert digest(held) != before
    del target
    assert state_tree(held[:2]).data == [None, None]


def test_names_to_skip_are_left_out_everywhere_but_keys_are_not() -> None:
    thing = Thing(cache=1, inner=Thing(cache=2, real=3), table={"cache": 4})
    data = state_tree(thing, skip=("cache",)).data
    assert "cache" not in data
    assert set(data["inner"]) == {"<type>", "real"}
    assert data["table"] == {"cache": 4}
    assert "cache" in state_tree(thing).data


def test_leaves_are_the_single_values() -> None:
    assert state_tree(Thing(a=1, b=[2, "x"], c=np.zeros((2, 3)))).leaves == 9


def test_long_chains_of_objects_do_not_exhaust_the_stack() -> None:
    head = linked(50_000, "end")
    node = head
    while node.next is not None:
        node.next.previous = node
        node = node.next
    tree = state_tree(head)
    assert tree.opaque == []
    assert len(tree.data["<further>"]) > 500
    assert len(checksum(tree.data)) == 8


SCRIPT = """
import enum, random, sys
import gymnasium, numpy as np
from envs.canonical import checksum
from envs.walk import state_tree
from pettingzoo.classic import tictactoe_v3

class Kind(enum.Enum):
    A = 1
    B = 2
    C = 3

class Being:
    def __init__(self, name):
        self.name, self.friends = name, set()

class World:
    def __init__(self, shift):
        padding = [object() for _ in range(shift)]  # other addresses
        self.beings = {Being(f"being {index}") for index in range(9)}
        listed = sorted(self.beings, key=lambda being: being.name)
        for index, being in enumerate(listed):
            being.friends.update(listed[: index % 4])
        self.kinds = {Kind.A, Kind.C, Kind.B}
        self.table = {name: set(name) for name in {"alpha", "beta", "gamma"}}
        self.favourite = listed[4]

world = World(int(sys.argv[1]))
print(checksum(state_tree(world).data).hex())
moves = random.Random(sys.argv[2])
cart = gymnasium.make("CartPole-v1")
cart.reset(seed=3)
board = tictactoe_v3.env()
board.reset(seed=3)
for _ in range(9):
    cart.step(moves.randrange(2))
    print(checksum(state_tree(cart).data).hex())
    if board.agents:
        free = np.flatnonzero(board.observe(board.agent_selection)["action_mask"])
        ended = board.terminations[board.agent_selection]
        board.step(None if ended else int(moves.choice(list(free))))
    print(checksum(state_tree(board).data).hex())
"""


def run_script(hash_seed: int, shift: int, inputs: str) -> list[str]:
    # What runs beside may warn; only what is computed matters here.
    environ = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", SCRIPT, str(shift), inputs]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


def test_two_processes_with_other_hash_seeds_and_addresses_agree_at_every_step() -> None:
    one, other, changed = run_script(1, 0, "x"), run_script(77, 1234, "x"), run_script(1, 0, "y")
    assert one == other
    assert len(one) == 19
    assert len(set(one)) >= 18
    assert one[0] == changed[0]
    assert sum(a != b for a, b in zip(one, changed, strict=True)) >= 15


@pytest.mark.alone
def test_walking_a_small_environment_takes_a_fraction_of_a_millisecond() -> None:
    env = gymnasium.make("CartPole-v1").unwrapped
    env.reset(seed=1)
    durations = []
    for _ in range(300):
        start = process_time()
        state_tree(env)
        durations.append(process_time() - start)
    assert sorted(durations)[100] < 150e-6
