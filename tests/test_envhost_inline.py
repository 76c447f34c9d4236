"""A host in this process, for a debugger."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from p2pclient.cli.main import main
from p2pclient.common.errors import EnvHostError, EnvHostGone
from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.client import EnvHost
from p2pclient.envhost.process import HostSpec

SPEC = HostSpec("test:counter_v0", inline=True, allow_faults=True)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("envhost-inline")]


async def test_it_answers_like_a_process_and_ends_without_a_trace() -> None:
    commands: list[list[Any]] = [["reset", 7], ["save", 0], ["step", 0, [b"\x02", b"\x01"]], ["get_state"]]
    with BlockingEnvHost(HostSpec("test:counter_v0")) as process:
        expected = process.run(commands).results
    host = EnvHost(SPEC)
    await host.start()
    await host.ready()
    assert host.pid == os.getpid()
    assert (await host.submit(commands)).results == expected
    assert threads()
    await host.close()
    assert not threads()


async def test_an_environment_that_raises_does_not_end_it() -> None:
    host = EnvHost(SPEC)
    await host.start()
    with pytest.raises(EnvHostError, match="a fault on purpose"):
        await host.submit([["reset", 7], ["fault", {"kind": "raise"}]])
    assert (await host.submit([["reset", 7], ["step", 0, [b"\x02", b"\x01"]]])).results[1][0]
    await host.close()


async def test_it_has_no_deadline_because_a_debugger_may_stop_it() -> None:
    host = EnvHost(SPEC)
    await host.start()
    await host.ready()
    reply = await host.submit([["fault", {"kind": "hang", "seconds": 0.3}], ["reset", 7]], deadline=0.05)
    assert len(reply.results) == 2
    await host.close()
    with pytest.raises(EnvHostGone):
        await host.submit([["reset", 7]])


def test_play_runs_with_it(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["play", "test:counter_v0", "--env-inline", "--headless", "--bot", "seeker", "--seconds", "1"]
    assert main([*arguments, "--rate", "60", "--out", str(tmp_path), "--json"]) == 0
    assert '"reason": "finished"' in capsys.readouterr().out
