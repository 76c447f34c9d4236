"""What may be made by name, what is told of it, and the environment that ships for tests and benchmarks."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from envs import registry
from envs.counter import CounterEnvironment
from envs.machine import numeric_probe, source_digest
from envs.simulation import Simulation
from p2pclient.common.errors import ConfigurationError, EnvHostError
from p2pclient.envhost import values

COUNTER = "test:counter_v0"
KITCHEN = "cogrid:Overcooked-CrampedRoom-V0"


def test_unknown_names_are_refused_with_what_is_known() -> None:
    for bad in ("cogrid:SearchRescue-Test-V0", "os:system", "", None, ["x"]):
        with pytest.raises(ConfigurationError, match=KITCHEN):
            registry.create(bad)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="arguments"):
        registry.create(COUNTER, ["seats"])  # type: ignore[arg-type]


def test_every_kitchen_of_the_adapter_has_a_name() -> None:
    from envs.cogrid_overcooked import KITCHENS

    tests = {COUNTER, "test:leaky_v0"}
    assert {f"cogrid:{kitchen}" for kitchen in KITCHENS} | tests == set(registry.known_names())


def test_importing_the_registry_imports_no_environment() -> None:
    code = "import sys, envs.registry; print([m for m in ('cogrid', 'gymnasium', 'envs.counter') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_root())
    assert out.stdout.strip() == "[]"


def _root() -> str:
    from pathlib import Path

    return str(Path(registry.__file__).resolve().parent.parent)


@pytest.mark.parametrize("name", [COUNTER, KITCHEN])
def test_the_description_is_complete_and_crosses_the_pipe(name: str) -> None:
    environment = registry.create(name, {"max_steps": 50})
    data = registry.describe(environment, name, {"max_steps": 50})
    assert values.encode(values.decode(values.encode(data))) == values.encode(data)
    assert set(data) == {
        "env", "args", "title", "seat_colours", "agents", "seats", "action_spaces", "observation_spaces", "controls",
        "max_steps",
        "nominal_rate_hz", "bots", "predictors", "digest", "machine", "numeric_probe", "step_us", "portable",
        "snapshots",
    }  # fmt: skip
    assert (data["env"], data["args"], data["max_steps"], data["seats"]) == (name, {"max_steps": 50}, 50, 2)
    assert set(data["machine"]) == {"python", "numpy", "system", "machine"}
    assert len(data["digest"]) == 32
    assert data["step_us"] > 0
    Simulation(environment).reset(0)


def test_agents_of_cogrid_stay_integers() -> None:
    environment = registry.create(KITCHEN)
    data = registry.describe(environment, KITCHEN)
    assert data["agents"] == [0, 1]
    assert data["observation_spaces"] == [{"kind": "array", "shape": [892], "dtype": "<f4"}] * 2


def test_digest_and_probe_are_stable_and_tell_packages_apart() -> None:
    assert source_digest("cogrid") == source_digest("cogrid") != source_digest(None)
    assert numeric_probe() == numeric_probe()
    assert len(numeric_probe()) == 16


def test_a_missing_package_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cogrid" or name.startswith("envs.cogrid")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cogrid", None)
    with pytest.raises(EnvHostError, match="pip install cogrid"):
        registry.create(KITCHEN)


@pytest.mark.parametrize(
    "args",
    [
        {"seats": 1},
        {"seats": 9},
        {"mode": "x"},
        {"step_cost_us": -1},
        {"max_steps": True},
        {"nope": 1},
        {"seats": None},
    ],
)
def test_arguments_of_the_counter_are_checked(args: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(args))):
        registry.create(COUNTER, args)


@pytest.mark.parametrize("args", [{"leak": "nothing"}, {"from_frame": -1}, {"from_frame": True}, {"seats": 1}])
def test_arguments_of_the_leaky_environment_are_checked(args: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(args))):
        registry.create("test:leaky_v0", args)


def test_a_step_can_be_made_to_cost_time() -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 1e-6
        return now[0]

    environment = CounterEnvironment({"step_cost_us": 50}, clock=clock)
    environment.step([0, 0])
    assert 50e-6 <= now[0] < 60e-6


def test_blocking_and_hanging_happen_where_they_are_asked_for() -> None:
    slept: list[float] = []
    told: list[str] = []
    environment = CounterEnvironment(
        {"import_block_s": 10, "init_block_s": 2.5, "hang_at_frame": 1},
        lambda _, text: told.append(text),
        sleep=slept.append,
    )
    assert (slept, told) == ([10.0, 2.5], ["Importing", "Starting"])
    environment.step([0, 0])
    assert len(slept) == 2
    environment.step([0, 0])
    assert len(slept) == 3


def test_an_environment_that_fails_or_hangs_at_its_first_frame_can_still_be_described() -> None:
    for args in ({"fail_at_frame": 0}, {"hang_at_frame": 0}):
        environment = registry.create(COUNTER, args)
        assert registry.describe(environment, COUNTER, args)["step_us"] > 0


@pytest.mark.parametrize("seats", [2, 8])
def test_the_counter_has_a_picture_and_a_bot_that_collects(seats: int) -> None:
    simulation = Simulation(registry.create(COUNTER, {"seats": seats, "mode": "press"}))
    simulation.reset(0)
    for seat in range(seats):
        simulation.add_bot(seat, "seeker", 0)
    for frame in range(50):
        simulation.step(frame, [simulation.decide(seat) for seat in range(seats)])
    pixels = simulation.render()["pixels"]
    assert (pixels.dtype, pixels.shape) == (np.uint8, (seats * 16, 256, 3))
    assert sum(simulation.totals) > 3
