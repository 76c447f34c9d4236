"""New code of an environment that is being written, without a new process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from p2pclient.common.errors import EnvHostError
from p2pclient.envhost.client import EnvHost
from p2pclient.envhost.process import HostSpec

SOURCE = """
import gymnasium

import speeds


class Runner(gymnasium.Env):
    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Discrete(1000)
    metadata = {"render_modes": []}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        EXTRA
        return 0, {}

    def step(self, action):
        self.place += speeds.SPEED * (1 + int(action))
        return self.place, float(self.place), False, False, {}
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write the environment into the folder in which the person stands."""
    monkeypatch.chdir(tmp_path)

    def put(speed: int, extra: str = "pass", source: str = SOURCE) -> None:
        (tmp_path / "speeds.py").write_text(f"SPEED = {speed}\n")
        (tmp_path / "runner.py").write_text(source.replace("EXTRA", extra))

    put(1)
    return put


@pytest.fixture
async def host(write: Callable[..., None], tmp_path: Path) -> AsyncIterator[EnvHost]:
    made = EnvHost(HostSpec("runner:Runner", local=True, log_path=tmp_path / "host.log"))
    await made.start()
    await made.ready()
    yield made
    await made.close()


async def results(host: EnvHost, *commands: list[Any]) -> list[Any]:
    return (await host.submit(list(commands))).results


STEP = ["step", 0, [b"\x01"]]


async def test_changed_code_is_used_from_the_state_that_was_reached(host: EnvHost, write: Callable[..., None]) -> None:
    pid = host.pid
    await results(host, ["reset", 3], ["step", 0, [b"\x01"]])
    before = (await results(host, ["compute_hash"]))[0]
    write(10)
    ready = await host.reload()
    assert ready["reloaded"] == "kept"
    assert (await results(host, ["compute_hash"]))[0] == before
    assert (await results(host, ["step", 1, [b"\x01"]]))[0][1] == [22.0]  # 2 with the old speed, 20 with the new one
    assert host.pid == pid
    assert host.state == "ready"


async def test_code_that_has_not_changed_is_left_alone(host: EnvHost) -> None:
    await results(host, ["reset", 3], ["step", 0, [b"\x01"]], ["save", 1])
    ready = await host.reload()
    assert ready["reloaded"] == "unchanged"
    assert ready["digest"] == (await host.ready())["digest"]
    assert (await results(host, ["load", 1], ["step", 1, [b"\x00"]]))[1][1] == [3.0]


async def test_a_state_that_does_not_fit_the_new_code_is_told_and_a_reset_goes_on(
    host: EnvHost, write: Callable[..., None]
) -> None:
    await results(host, ["reset", 3], ["step", 0, [b"\x01"]])
    write(10, extra="self.fuel = 7")
    ready = await host.reload()
    assert "other attributes" in ready["reloaded"]
    with pytest.raises(EnvHostError, match="the state is unknown"):
        await results(host, ["step", 1, [b"\x01"]])
    assert (await results(host, ["reset", 3], STEP))[1][1] == [20.0]


async def test_new_code_that_cannot_be_loaded_leaves_the_old_one_in_use(
    host: EnvHost, write: Callable[..., None]
) -> None:
    await results(host, ["reset", 3], ["step", 0, [b"\x01"]])
    write(10, source="import gymnasium\nthis is no Python")
    with pytest.raises(EnvHostError, match=r"the new code of runner:Runner could not be loaded: .*invalid syntax"):
        await host.reload()
    assert (await results(host, ["step", 1, [b"\x01"]]))[0][1] == [4.0]
    write(10)
    assert (await host.reload())["reloaded"] == "kept"
    assert (await results(host, ["step", 2, [b"\x00"]]))[0][1] == [14.0]


async def test_peers_with_old_and_with_new_code_can_be_told_apart(host: EnvHost, write: Callable[..., None]) -> None:
    before = (await host.ready())["digest"]
    write(1, extra="self.place = 0")
    assert (await host.reload())["digest"] != before


DRAWING = """
import gymnasium
import numpy as np
import pygame


class Runner(gymnasium.Env):
    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Discrete(1000)
    metadata = {"render_modes": ["rgb_array"]}
    render_mode = "rgb_array"

    def __init__(self):
        pygame.init()
        self.screen, self.font = pygame.display.set_mode((64, 48)), pygame.font.Font(None, 20)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        EXTRA
        return 0, {}

    def step(self, action):
        return 0, 0.0, False, False, {}

    def render(self):
        self.screen.blit(self.font.render("here", True, "white"), (0, 0))
        return pygame.surfarray.array3d(self.screen).swapaxes(0, 1)

    def close(self):
        pygame.quit()
"""


async def test_the_old_environment_does_not_take_the_window_from_the_new_one(
    write: Callable[..., None], tmp_path: Path
) -> None:
    pytest.importorskip("pygame", reason="pygame is not installed")
    write(1, source=DRAWING)
    host = EnvHost(HostSpec("runner:Runner", local=True, log_path=tmp_path / "host.log"))
    await host.start()
    try:
        await host.ready()
        first = (await results(host, ["reset", 3], ["render"]))[1]["pixels"]
        assert first.shape == (48, 64, 3)
        assert first.any()
        write(1, extra="self.fuel = 7", source=DRAWING)
        assert "cannot be handed to new code" in (await host.reload())["reloaded"]
        again = (await results(host, ["reset", 3], ["render"]))[1]["pixels"]
        assert (again == first).all()
    finally:
        await host.close()
