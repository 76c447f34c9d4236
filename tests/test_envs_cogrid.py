"""The kitchens against an unmodified CoGrid: same states, rewards, flags, observations and pixels."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from cogrid.core.grid import Grid
from cogrid.envs import registry as cogrid_registry

from envs import cogrid_tiles, registry
from envs.canonical import canonical_bytes, checksum
from envs.cogrid_overcooked import KITCHENS, OvercookedEnvironment
from envs.cogrid_tiles import KitchenPainter
from envs.simulation import Simulation
from p2pclient.common.errors import ConfigurationError, EnvHostError
from p2pclient.common.spaces import decode_action

NOTHING = b"\x06"


def original(kitchen: str, **changes: Any) -> Any:
    """Return an unmodified CoGrid environment."""
    config = copy.deepcopy(cogrid_registry.ENVIRONMENT_REGISTRY[kitchen].keywords["config"])
    return cogrid_registry.make(kitchen, config={**config, **changes})


def busy_actions(generator: random.Random) -> list[int]:
    """Actions with many pick-ups, so that all kinds of interactions happen."""
    return [generator.choice((0, 1, 2, 3, 4, 4, 5, 6)) for _ in range(2)]


def assert_same_state(ours: OvercookedEnvironment, theirs: Any) -> None:
    mine, his = ours._env.get_state(), theirs.get_state()
    assert mine == his
    for name in ("agent_pos", "agent_dir", "agent_inv", "object_type_map", "object_state_map", "done"):
        a, b = getattr(ours._env._env_state, name), getattr(theirs._env_state, name)
        assert a.dtype == b.dtype, name
    assert type(ours._env._env_state.rng_key) is type(theirs._env_state.rng_key)
    assert ours._env.agents == theirs.agents


@pytest.mark.parametrize("kitchen", KITCHENS)
def test_every_step_equals_the_unmodified_environment(kitchen: str) -> None:
    # The other kitchens go on long after their end, where CoGrid pays nothing any more.
    last = 320 if kitchen == KITCHENS[0] else 60
    ours, theirs = OvercookedEnvironment(kitchen, {"max_steps": last}, warm=False), original(kitchen, max_steps=last)
    generator = random.Random(kitchen)
    ours.reset(0)
    seen, _ = theirs.reset(seed=0)
    cooks = [ours.make_bot("greedy", seat, seat) for seat in range(2)]
    frames = 325 if kitchen == KITCHENS[0] else 120
    paid = 0.0
    for frame in range(frames):
        assert_same_state(ours, theirs)
        if frame % 10 == 0:
            for mine, his in zip(ours.observe(), (seen[0], seen[1]), strict=True):
                assert mine.dtype == his.dtype
                assert np.array_equal(mine, his)
        # Cooks get soups made; the random presses in between reach every other kind of interaction.
        actions = busy_actions(generator) if frame % 3 == 0 else [cook.decide() for cook in cooks]
        outcome = ours.step(actions)
        seen, rewards, terminations, truncations, _ = theirs.step(dict(enumerate(actions)))
        assert outcome.rewards == [rewards[0], rewards[1]]
        assert [type(reward) for reward in outcome.rewards] == [float, float]
        assert outcome.terminations == [terminations[0], terminations[1]]
        assert outcome.truncations == [truncations[0], truncations[1]]
        paid += outcome.rewards[0]
    assert paid > 0
    assert ours._env.agents == []


def test_remembered_moves_mind_what_lies_on_the_floor() -> None:
    kitchen, fresh = (OvercookedEnvironment(KITCHENS[0], {}, warm=False) for _ in range(2))
    kitchen.reset(0)
    start = kitchen.get_state()
    floor = start["object_type_map"].copy()
    floor[2, 1:4] = np.where(floor[2, 1:4] == 0, kitchen._env._type_ids["onion"], floor[2, 1:4])
    places = np.array([[1, 1], [1, 3]], dtype=np.int32)
    free, littered = (
        {**start, "agent_pos": places, "object_type_map": kinds} for kinds in (start["object_type_map"], floor)
    )
    ends = []
    for state in (free, littered):
        kitchen.set_state(state)
        kitchen.step([1, 1])
        ends.append(kitchen.get_state())
    fresh.reset(0)
    fresh.set_state(littered)
    fresh.step([1, 1])
    assert canonical_bytes(fresh.get_state()) == canonical_bytes(ends[1])
    assert ends[0]["agent_pos"].tolist() == [[2, 1], [2, 3]]
    assert ends[1]["agent_pos"].tolist() == places.tolist()


@contextmanager
def slowly() -> Iterator[None]:
    """Take the place of the fast primitives: CoGrid draws by itself."""
    Grid.tile_cache.clear()
    yield


@pytest.mark.parametrize(("size", "every"), [(16, 1), (64, 13)])
def test_every_tile_equals_cogrids_own_drawing(size: int, every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kitchen = OvercookedEnvironment(KITCHENS[0], {}, warm=False)
    keys = sorted(kitchen._expected_tiles(), key=repr)[::every]
    fast = KitchenPainter(kitchen._env, size)
    quick = [fast._draw_tile(key) for key in keys]
    monkeypatch.setattr(cogrid_tiles, "primitives_for_arrays", slowly)
    assert len(keys) > 5
    for key, tile in zip(keys, quick, strict=True):
        assert np.array_equal(fast._draw_tile(key), tile), key


@pytest.mark.parametrize("kitchen", KITCHENS)
def test_whole_pictures_equal_cogrids_own_and_need_no_tile_that_is_not_warm(kitchen: str) -> None:
    ours, theirs = OvercookedEnvironment(kitchen, {}, warm=False), original(kitchen)
    painter = KitchenPainter(theirs, 12)
    theirs.reset(seed=2)
    ours.reset(2)
    warm = set(ours._expected_tiles())
    cooks = [ours.make_bot("greedy", seat, seat) for seat in range(2)]
    generator = random.Random(9)
    Grid.tile_cache.clear()
    for frame in range(150):
        assert warm.issuperset(key for line in painter.tile_keys(ours._env._env_state) for key in line)
        if frame % 6 == 0:
            theirs._sync_objects_from_state()
            assert np.array_equal(painter.draw(ours._env._env_state), theirs.get_full_render(12))
        actions = busy_actions(generator) if frame % 5 == 0 else [cook.decide() for cook in cooks]
        ours.step(actions)
        theirs.step(dict(enumerate(actions)))


def test_a_picture_has_large_tiles() -> None:
    for kitchen in KITCHENS:
        environment = OvercookedEnvironment(kitchen, {}, warm=False)
        rows, columns = environment.get_state()["wall_map"].shape
        picture = environment.render()
        assert picture.dtype == np.uint8
        assert picture.shape == (rows * picture.shape[1] // columns, picture.shape[1], 3)
        assert picture.shape[1] // columns >= 64


def test_drawing_changes_no_state_and_leaves_cogrids_drawing_as_it_was() -> None:
    import cogrid.core.grid.grid as module

    before = module.fill_coords
    kitchen = OvercookedEnvironment(KITCHENS[0], {}, warm=False)
    kitchen.reset(1)
    state = checksum(kitchen.get_state())
    kitchen.render()
    kitchen.observe()
    assert checksum(kitchen.get_state()) == state
    assert module.fill_coords is before


def test_set_state_brings_the_living_agents_back_after_an_end() -> None:
    kitchen = OvercookedEnvironment(KITCHENS[0], {"max_steps": 5}, warm=False)
    kitchen.reset(0)
    start = kitchen.get_state()
    for _ in range(5):
        kitchen.step([6, 6])
    end = kitchen.get_state()
    assert kitchen._env.agents == []
    kitchen.set_state(start)
    assert kitchen._env.agents == [0, 1]
    kitchen.set_state(end)
    assert kitchen._env.agents == []


def test_a_state_that_was_handed_out_can_be_changed_by_nobody() -> None:
    kitchen = OvercookedEnvironment(KITCHENS[0], {}, warm=False)
    kitchen.reset(0)
    state = kitchen.get_state()
    with pytest.raises(ValueError, match="read-only"):
        state["agent_pos"][0, 0] = 3
    before = canonical_bytes(state)
    for _ in range(40):
        kitchen.step([4, 0])
    assert canonical_bytes(state) == before


def test_states_that_cannot_be_of_this_kitchen_are_refused() -> None:
    kitchen = OvercookedEnvironment(KITCHENS[0], {}, warm=False)
    kitchen.reset(0)
    good = kitchen.get_state()

    def changed(name: str, where: Any, value: Any) -> dict[str, Any]:
        array = good[name].copy()
        array[where] = value
        return {**good, name: array}

    in_the_pot, twice = (0, 2), good["agent_pos"][1]
    pots = {**good["extra"], "overcooked.pot_positions": np.array([[1, 1]], np.int32)}
    bad: list[Any] = [None, {}, OvercookedEnvironment(KITCHENS[1], {}, warm=False).get_state()]
    bad += [changed("agent_pos", 0, place) for place in ((9, 9), (-1, 0), in_the_pot, twice)]
    bad += [changed("agent_dir", 0, 4), changed("agent_inv", 0, 99), changed("agent_inv", 0, 2)]
    bad += [changed("object_type_map", (0, 0), 14), changed("object_type_map", (2, 2), 2)]
    bad += [changed("object_state_map", (0, 0), 1), changed("wall_map", (0, 0), 1), {**good, "time": 1.0}]
    bad += [{**good, "done": [False, False]}, {**good, "agent_dir": good["agent_dir"].astype(float)}]
    bad += [{**good, "extra": {}}, {**good, "extra": pots}, {**good, "generator": {}}, {**good, "time": -1}]
    bad += [{**good, "generator": {**good["generator"], "has_uint32": "x"}}]
    for state in bad:
        with pytest.raises(EnvHostError, match="not a state of this kitchen"):
            kitchen.check_state(state)
    kitchen.check_state(good)


def test_every_state_of_a_match_passes_the_check() -> None:
    kitchen = OvercookedEnvironment(KITCHENS[3], {"max_steps": 200}, warm=False)
    kitchen.reset(1)
    cooks = [kitchen.make_bot("greedy", seat, seat) for seat in range(2)]
    generator = random.Random(1)
    for frame in range(200):
        kitchen.step(busy_actions(generator) if frame % 4 == 0 else [cook.decide() for cook in cooks])
        kitchen.check_state(kitchen.get_state())


def test_soups_delivered_are_counted_for_the_cook_who_hands_them_in() -> None:
    simulation = Simulation(OvercookedEnvironment(KITCHENS[0], {}, warm=False))
    simulation.reset(0)
    for seat in range(2):
        simulation.add_bot(seat, "greedy", seat)
    counted = 0
    for frame in range(200):
        result = simulation.step(frame, [simulation.decide(0), simulation.decide(1)])
        soups = sum(info["soups_delivered"] for info in result[4])
        counted += soups
        # Rewards of a step: 20 for a soup handed in, 3 for an onion in the pot, 5 for a soup on a plate.
        assert (result[1][0] >= 20) == (soups == 1)
    assert counted >= 3


def test_a_match_of_bots_leaves_the_shared_configuration_alone() -> None:
    config = cogrid_registry.ENVIRONMENT_REGISTRY[KITCHENS[0]].keywords["config"]
    before = repr({name: value for name, value in config.items() if name != "rewards"})
    short = OvercookedEnvironment(KITCHENS[0], {"max_steps": 7}, warm=False)
    default = OvercookedEnvironment(KITCHENS[0], {}, warm=False)
    assert (short.max_steps, default.max_steps) == (7, 1000)
    assert repr({name: value for name, value in config.items() if name != "rewards"}) == before


@pytest.mark.parametrize("args", [{"max_steps": value} for value in (0, -1, True, 2.0, "9", None)] + [{"tile": 1}])
def test_arguments_are_checked(args: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(args))):
        registry.create(f"cogrid:{KITCHENS[0]}", args)


def test_controls_name_keys_by_position_and_inputs_by_their_bytes() -> None:
    kitchen = OvercookedEnvironment(KITCHENS[0], {}, warm=False)
    controls = kitchen.controls
    by_key = {key: binding for binding in controls["bindings"] for key in binding["keys"]}
    names = [kitchen._env.action_set[decode_action(kitchen.action_spaces[0], b["input"])] for b in by_key.values()]
    assert dict(zip(by_key, names, strict=True)) == {
        "KeyW": "move_up", "ArrowUp": "move_up", "KeyS": "move_down", "ArrowDown": "move_down",
        "KeyA": "move_left", "ArrowLeft": "move_left", "KeyD": "move_right", "ArrowRight": "move_right",
        "Space": "pick_up_or_drop", "KeyE": "pick_up_or_drop", "Enter": "pick_up_or_drop",
        "NumpadEnter": "pick_up_or_drop",
    }  # fmt: skip
    assert controls["mode"] == "press"
    assert controls["neutral"] == [NOTHING, NOTHING]
    assert kitchen._env.action_set[6] == "no-op"


def test_warming_up_reports_its_progress() -> None:
    told: list[tuple[float | None, str]] = []
    registry.create(f"cogrid:{KITCHENS[0]}", None, lambda share, text: told.append((share, text)))
    shares = [share for share, _ in told if share is not None]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(told) > 20
