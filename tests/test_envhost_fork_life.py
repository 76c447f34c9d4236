"""Hosts that keep states by forking themselves, as processes: what chooses that way, and what is left of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
import pytest
from envhost_processes import wait_gone

from p2pclient.common.errors import EnvHostGone
from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.client import EnvHost
from p2pclient.envhost.process import HostSpec

CAN_FORK = sys.platform.startswith("linux")
only_where_it_forks = pytest.mark.skipif(not CAN_FORK, reason="snapshots by forking are for Linux so far")
PLAY: list[list[Any]] = [["reset", 1], ["save", 0], ["step", 0, [b"\x02"]], ["save", 1], ["load", 0]]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The person stands in the folder of the module that the name leads to."""
    monkeypatch.chdir(Path(__file__).parent)


def spec(name: str, **options: Any) -> HostSpec:
    return HostSpec(f"foreign_rig:{name}", local=True, trusted_args=True, **options)


def graded(host: BlockingEnvHost, way: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in host.ready["snapshots"]["graded"] if each["name"] == way)
    return found


def workers_of(pid: int, least: int = 0) -> list[int]:
    """Return the descendants of a host, once there are as many: while one ends, its own may be found under nobody."""
    until = perf_counter() + 30.0
    while True:
        found = [each.pid for each in psutil.Process(pid).children(recursive=True)]
        if len(found) >= least:
            return found
        assert perf_counter() < until, f"only {found} of {least}"
        time.sleep(0.01)


@only_where_it_forks
def test_forks_are_taken_where_no_copy_is_exact_and_nothing_is_left_of_them() -> None:
    with BlockingEnvHost(spec("Trapped")) as host:
        assert host.ready["snapshots"]["chosen"] == "fork"
        grade = graded(host, "fork")
        assert grade["exact"]
        assert min(grade["save_us"], grade["load_us"], grade["size"]) > 0
        assert [each["name"] for each in host.ready["snapshots"]["graded"]] == ["own", "pickle", "copy", "fork"]
        host.run(PLAY)
        # Two snapshots, the one that every episode begins from, and the one that runs; the one before may still end.
        workers = workers_of(host.pid, least=4)
    assert all(wait_gone(pid, 10.0) for pid in workers)


@only_where_it_forks
def test_forks_are_not_taken_where_pickling_is_exact() -> None:
    with BlockingEnvHost(spec("Walk")) as host:
        assert host.ready["snapshots"]["chosen"] == "pickle"
        assert workers_of(host.pid) == []


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("Unpicklable", {"fork": False}, "switched off"),
        pytest.param("Threaded", {}, "threads of its own (", marks=only_where_it_forks),
        pytest.param("Unpicklable", {}, "", marks=pytest.mark.skipif(CAN_FORK, reason="this system can fork")),
    ],
)
def test_where_the_process_cannot_be_forked_the_next_way_is_taken_and_the_reason_said(
    name: str, options: dict[str, Any], reason: str
) -> None:
    with BlockingEnvHost(spec(name, **options)) as host:
        grade = graded(host, "fork")
        assert not grade["exact"]
        assert reason in grade["reason"]
        assert grade["reason"]
        assert host.ready["snapshots"]["chosen"] == ("none" if name == "Threaded" else "resimulate")


@only_where_it_forks
async def test_the_death_of_the_worker_is_the_host_s_and_noticed_at_once() -> None:
    host = EnvHost(spec("Trapped"))
    await host.start()
    await host.ready()
    await host.submit(PLAY)
    assert host.pid is not None
    for pid in workers_of(host.pid, least=4):
        with contextlib.suppress(ProcessLookupError):  # the one before has just ended
            os.kill(pid, signal.SIGKILL)
    begin = perf_counter()
    with pytest.raises(EnvHostGone, match="exit code 1"):
        await host.submit([["step", 0, [b"\x02"]]], deadline=600.0)
    assert perf_counter() - begin < 60.0
    await host.close()


@only_where_it_forks
async def test_a_host_that_is_killed_takes_a_worker_with_it_that_holds_the_interpreter(tmp_path: Path) -> None:
    log = tmp_path / "host.log"
    host = EnvHost(spec("Abyss", log_path=log))
    await host.start()
    await host.ready()
    await host.submit([*PLAY, ["step", 0, [b"\x01"]]])
    assert host.pid is not None
    workers = workers_of(host.pid, least=4)
    stuck = host.submit([["step", 1, [b"\x00"]]], deadline=600.0)
    async with asyncio.timeout(60.0):
        while "falling" not in log.read_text():  # noqa: ASYNC110 - the file of another process
            await asyncio.sleep(0.02)
    os.kill(host.pid, signal.SIGKILL)
    assert all(wait_gone(pid, 10.0) for pid in workers)
    with pytest.raises(EnvHostGone, match="SIGKILL"):
        await stuck
    await host.close()
