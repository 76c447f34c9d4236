"""A study's own function behind every step, live and simulated again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from envs.counter import CounterEnvironment
from envs.simulation import Simulation
from envs.step_hook import StepHook, StepSeen, load_hook
from p2pclient.common.errors import ConfigurationError, EnvHostError
from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.process import HostSpec

STILL, RIGHT = b"\x00", b"\x02"


def simulation_with(function: Any) -> Simulation:
    made = Simulation(CounterEnvironment({}), StepHook("study:hook", function))
    made.reset(3)
    return made


def double(step: StepSeen) -> dict[Any, dict[str, Any]]:
    """What a study might want to know: by agent, the frame twice, and what was done."""
    return {agent: {"double": 2 * step.frame, "did": step.actions[agent]} for agent in step.agents}


def test_what_the_hook_returns_stands_in_the_infos_of_its_step() -> None:
    simulation = simulation_with(double)
    simulation.step(0, [STILL, RIGHT])
    infos = simulation.step(1, [STILL, RIGHT])[4]
    assert [info["double"] for info in infos] == [2, 2]
    assert [info["did"] for info in infos] == [0, 2]
    assert all("collected" in info for info in infos)


def test_the_hook_runs_again_when_a_frame_is_simulated_again_and_sees_the_corrected_inputs() -> None:
    frames: list[tuple[int, int]] = []

    def note(step: StepSeen) -> None:
        frames.append((step.frame, step.actions[step.agents[1]]))

    simulation = simulation_with(note)
    simulation.save(0)
    simulation.step(0, [STILL, STILL])
    simulation.load(0)
    simulation.step(0, [STILL, RIGHT])
    assert frames == [(0, 0), (0, 2)]


def test_the_hook_changes_no_checksum() -> None:
    with_hook, without = simulation_with(double), Simulation(CounterEnvironment({}))
    without.reset(3)
    lines = [[RIGHT, STILL], [STILL, RIGHT], [RIGHT, RIGHT]]
    ours = [with_hook.step(frame, line)[0] for frame, line in enumerate(lines)]
    assert ours == [without.step(frame, line)[0] for frame, line in enumerate(lines)]
    assert len(set(ours)) > 1


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [
        ("text", "must return None or"),
        ({"nobody": {"x": 1}}, "returned values for 'nobody'"),
        ({"agent_0": {"collected": 1}}, "which the environment's infos have"),
        ({"agent_0": 5}, "must return None or"),
        ({"agent_0": {5: 5}}, "must return None or"),
    ],
)
def test_what_a_hook_may_not_return_is_named(returned: Any, complaint: str) -> None:
    simulation = simulation_with(lambda step: returned)
    first = CounterEnvironment({}).agents[0]
    if isinstance(returned, dict) and "agent_0" in returned:
        returned[first] = returned.pop("agent_0")
    with pytest.raises(EnvHostError, match=complaint):
        simulation.step(0, [STILL, STILL])


@pytest.mark.parametrize("name", ["", "json", "json:nothing", "no_such_module_x:f", "json:__doc__", 5])
def test_a_hook_that_is_not_there_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="step hook"):
        load_hook(name)


def test_a_host_finds_the_hook_where_the_person_stands_and_peers_can_tell_it_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    digests = []
    for factor in (2, 3):
        text = f"def hook(step):\n    return {{a: {{'n': {factor} * step.frame}} for a in step.agents}}\n"
        (tmp_path / "my_study.py").write_text(text)
        with BlockingEnvHost(HostSpec("test:counter_v0", step_hook="my_study:hook")) as host:
            host.run([["reset", 1], ["step", 0, [STILL, STILL]]])
            infos = host.run([["step", 1, [STILL, STILL]]]).results[0][4]
            assert [info["n"] for info in infos] == [factor, factor]
            assert host.ready["step_hook"] == "my_study:hook"
            digests.append(host.ready["digest"])
    with BlockingEnvHost(HostSpec("test:counter_v0")) as host:
        assert host.ready["step_hook"] is None
        digests.append(host.ready["digest"])
    assert len(set(digests)) == 3
