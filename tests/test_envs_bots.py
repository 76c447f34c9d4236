"""The scripted cooks really cook, with any partner, in either seat, and when their actions come late."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from envs.cogrid_overcooked import KITCHENS, OvercookedEnvironment
from envs.simulation import Simulation

NOTHING = b"\x06"


@pytest.fixture(scope="module")
def kitchens() -> dict[str, OvercookedEnvironment]:
    return {name: OvercookedEnvironment(name, {}, warm=False) for name in KITCHENS}


def soups(kitchen: OvercookedEnvironment, names: list[str | None], seed: int, late: int, frames: int = 450) -> int:
    """Return how many soups are delivered; None stands for a player who does nothing."""
    simulation = Simulation(kitchen)
    simulation.reset(seed)
    for seat, name in enumerate(names):
        if name is not None:
            simulation.add_bot(seat, name, seed * 10 + seat)
    waiting = [[NOTHING, NOTHING]] * late
    delivered = 0
    for frame in range(frames):
        waiting = [*waiting, [NOTHING if name is None else simulation.decide(seat) for seat, name in enumerate(names)]]
        result = simulation.step(frame, waiting.pop(0))
        count = sum(info["soups_delivered"] for info in result[4])
        assert (result[1][0] >= 20) == (count > 0)
        delivered += count
    return delivered


@pytest.mark.parametrize("late", [0, 1])
@pytest.mark.parametrize("seed", range(5))
def test_two_greedy_cooks_deliver(kitchens: dict[str, OvercookedEnvironment], seed: int, late: int) -> None:
    assert soups(kitchens[KITCHENS[0]], ["greedy", "greedy"], seed, late) >= 5


@pytest.mark.parametrize("kitchen", KITCHENS[1:])
def test_they_deliver_in_every_kitchen(kitchens: dict[str, OvercookedEnvironment], kitchen: str) -> None:
    assert soups(kitchens[kitchen], ["greedy", "greedy"], seed=1, late=1, frames=300) >= 2


def test_they_bear_actions_that_are_several_frames_late(kitchens: dict[str, OvercookedEnvironment]) -> None:
    assert soups(kitchens[KITCHENS[0]], ["greedy", "greedy"], seed=3, late=4) >= 2


@pytest.mark.parametrize("dropped", ["onion_soup", "onion", "plate"])
def test_what_was_dropped_in_front_of_the_hatch_is_taken_away(
    kitchens: dict[str, OvercookedEnvironment], dropped: str
) -> None:
    kitchen = kitchens[KITCHENS[0]]
    simulation = Simulation(kitchen)
    simulation.reset(1)
    state = simulation.get_state()
    cells = state["data"]["environment"]["object_type_map"].copy()
    ids = kitchen._env._type_ids
    (row, column), *others = [tuple(cell) for cell in np.argwhere(cells == ids["delivery_zone"]).tolist()]
    assert not others
    cells[row - 1, column] = ids[dropped]  # the only place from which soups can be handed in
    state["data"]["environment"]["object_type_map"] = cells
    simulation.set_state(state)
    for seat in range(2):
        simulation.add_bot(seat, "greedy", seat)
    results = [simulation.step(frame, [simulation.decide(0), simulation.decide(1)]) for frame in range(200)]
    assert sum(info["soups_delivered"] for result in results for info in result[4]) >= 2


@pytest.mark.parametrize(
    "names", [["greedy", "random"], ["random", "greedy"], ["greedy", None], ["slow", "slow"], ["slow", "greedy"]]
)
def test_they_deliver_with_any_partner(kitchens: dict[str, OvercookedEnvironment], names: list[str | None]) -> None:
    assert soups(kitchens[KITCHENS[0]], names, seed=3, late=1) >= 2


def test_the_slow_cook_acts_every_few_frames_only(kitchens: dict[str, OvercookedEnvironment]) -> None:
    simulation = Simulation(kitchens[KITCHENS[0]])
    simulation.reset(1)
    simulation.add_bot(0, "slow", 1)
    acted = []
    for frame in range(120):
        choice = simulation.decide(0)
        if choice != NOTHING:
            acted.append(frame)
        simulation.step(frame, [choice, NOTHING])
    assert len(acted) > 10
    assert min(b - a for a, b in itertools.pairwise(acted)) >= 4


def test_deciding_changes_no_state(kitchens: dict[str, OvercookedEnvironment]) -> None:
    simulation = Simulation(kitchens[KITCHENS[0]])
    before = simulation.reset(1)
    for name in ("greedy", "slow", "random"):
        simulation.add_bot(1, name, 3)
        simulation.decide(1)
    assert simulation.compute_hash() == before


def test_cooks_go_on_after_a_rollback(kitchens: dict[str, OvercookedEnvironment]) -> None:
    simulation = Simulation(kitchens[KITCHENS[0]])
    simulation.reset(2)
    for seat in range(2):
        simulation.add_bot(seat, "greedy", seat)
    delivered, frame = 0, 0
    while frame < 300:
        simulation.save(frame)
        inputs = []
        for later in range(frame, frame + 6):
            inputs.append([simulation.decide(0), simulation.decide(1)])
            simulation.step(later, inputs[-1])
        simulation.load(frame)
        for later, line in enumerate(inputs[:4], frame):
            delivered += sum(info["soups_delivered"] for info in simulation.step(later, line)[4])
        frame += 4
    assert delivered >= 3
