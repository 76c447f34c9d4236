"""The same seed and inputs give the same checksums, whatever else a process has played and drawn before."""

from __future__ import annotations

import random
from typing import Any

import pytest

from envs import registry
from envs.conformance import random_inputs
from envs.simulation import Simulation

_FRAMES = 12
_SEEDS = (5, 6)


def make(name: str, **args: Any) -> Simulation:
    return Simulation(registry.create(name, args, local=True, trusted_args=True))


def checksums(simulation: Simulation, *, draws: bool, goes_back: bool) -> list[bytes]:
    """Play two episodes and return every checksum of what came of them in the end."""
    chance = random.Random(0)
    found = []
    for seed in _SEEDS:
        found.append(simulation.reset(seed))
        for frame, line in enumerate(random_inputs(simulation, _FRAMES, seed)):
            if goes_back and chance.random() < 0.2:
                simulation.save(frame)
                for ahead, wrong in enumerate(random_inputs(simulation, 3, seed + frame)):
                    simulation.step(frame + ahead, wrong)
                    if draws:
                        simulation.render()
                simulation.load(frame)
                assert simulation.compute_hash() == found[-1]
                simulation.drop(frame)
            found.append(simulation.step(frame, line)[0])
            if draws:
                simulation.render()
    return found


@pytest.mark.parametrize(
    "name",
    [
        "foreign_rig:Walk",
        "foreign_rig:OwnState",
        "foreign_rig:Blinking",
        "foreign_rig:Grudge",
        "gymnasium:CartPole-v1",
        pytest.param("gymnasium:FrozenLake-v1", id="FrozenLake, which loads its pictures into lists"),
        pytest.param("mpe2:simple_tag_v3", id="tag, which keeps the last actions"),
    ],
)
def test_neither_pictures_nor_going_back_nor_earlier_episodes_show(name: str) -> None:
    args = {"render_mode": "rgb_array"} if name.startswith("foreign_rig") else {}
    fresh = checksums(make(name, **args), draws=False, goes_back=False)
    used = make(name, **args)
    used.reset(77)
    for frame, line in enumerate(random_inputs(used, 12, 3)):
        used.step(frame, line)
        used.render()
    assert checksums(used, draws=True, goes_back=True) == fresh
    assert len(set(fresh)) > _FRAMES // 3
