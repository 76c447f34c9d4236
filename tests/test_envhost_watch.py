"""A host that takes more memory than it may is ended and it is told why; one that prints without end fills no disk."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from p2pclient.common.errors import EnvHostGone
from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.client import EnvHost
from p2pclient.envhost.process import HostSpec
from p2pclient.envhost.watch import LOG_KEPT_BYTES, cut_log, measure_memory, open_log

REST, ACT = b"\x00", b"\x01"


@pytest.fixture
def signal(tmp_path: Path) -> Path:
    """The file that lets the environment act; made once it is loaded."""
    return tmp_path / "act"


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch, signal: Path) -> Any:
    monkeypatch.chdir(Path(__file__).parent)

    def make(name: str, amount: int, **fields: Any) -> HostSpec:
        arguments = {"amount": amount, "signal": str(signal)}
        return HostSpec(f"hungry_rig:{name}", arguments, local=True, trusted_args=True, **fields)

    return make


def eat(host: BlockingEnvHost, frames: int) -> None:
    host.run([["reset", 0]])
    for frame in range(frames):
        host.run([["step", frame, [ACT]]], deadline=60.0)
        time.sleep(0.05)  # a frame's time, in which others look


def test_a_host_that_takes_more_memory_than_it_may_is_ended_with_a_sentence(spec: Any, signal: Path) -> None:
    with BlockingEnvHost(spec("Hungry", 20, memory_mb=400)) as host:
        signal.touch()
        with pytest.raises(EnvHostGone, match=r"the environment took more than 400 MB of memory \(\d+ MB\)"):
            eat(host, 60)
        assert not psutil.pid_exists(host.pid)


def test_the_same_host_lives_where_it_may_take_as_much(spec: Any, signal: Path) -> None:
    with BlockingEnvHost(spec("Hungry", 10, memory_mb=2000)) as host:
        signal.touch()
        eat(host, 12)
        assert measure_memory(host.pid, 0) > 120 << 20


async def eat_slowly(host: EnvHost, frames: int) -> None:
    for frame in range(frames):
        await host.submit([["step", frame, [ACT]]], deadline=60.0)
        await asyncio.sleep(0.05)


async def test_the_runtimes_end_says_it_too_and_fails_what_was_asked(spec: Any, signal: Path) -> None:
    host = EnvHost(spec("Hungry", 20, memory_mb=400))
    await host.start()
    await host.ready()
    await asyncio.to_thread(signal.touch)
    await host.submit([["reset", 0]])
    with pytest.raises(EnvHostGone, match="took more than 400 MB of memory"):
        await eat_slowly(host, 60)
    assert host.state == "dead"
    with pytest.raises(EnvHostGone, match="took more than 400 MB of memory"):
        await host.submit([["reset", 0]])
    await host.close()


def look_often(host: BlockingEnvHost) -> None:
    for _ in range(200):
        time.sleep(0.05)
        host.run([["compute_hash"]])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_memory_is_bounded_while_the_environment_loads(spec: Any) -> None:
    hungry = spec("Family", 500, memory_mb=300)
    with pytest.raises(EnvHostGone, match="took more than 300 MB of memory"), BlockingEnvHost(hungry) as host:
        look_often(host)  # it may have been ready before it was looked at


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells what is shared")
def test_memory_that_forked_processes_share_counts_once(spec: Any) -> None:
    with BlockingEnvHost(spec("Family", 200, memory_mb=600)) as host:
        family = [psutil.Process(host.pid), *psutil.Process(host.pid).children()]
        assert len(family) == 4
        assert sum(process.memory_info().rss for process in family) > 600 << 20
        assert 200 << 20 < measure_memory(host.pid, 600 << 20) < 600 << 20
        assert measure_memory(host.pid, 1 << 40) > 600 << 20
        time.sleep(1.0)  # several looks
        host.run([["reset", 0], ["step", 0, [REST]]])


def test_a_process_that_is_gone_takes_nothing() -> None:
    assert measure_memory(2**22 + 1, 0) == 0


def test_an_environment_that_prints_without_end_keeps_its_beginning_and_its_last_words(
    spec: Any, signal: Path, tmp_path: Path
) -> None:
    log = tmp_path / "logs" / "environment.log"
    with BlockingEnvHost(spec("Loud", 5, log_path=log)) as host:
        signal.touch()
        host.run([["reset", 0]])
        printed = 0
        cut = False
        while printed < 400 and not cut:
            host.run([["step", printed // 5, [ACT]]], deadline=60.0)
            printed += 5
            time.sleep(0.05)
            cut = printed << 20 > log.stat().st_size + LOG_KEPT_BYTES
        host.run([["step", printed // 5, [ACT]]], deadline=60.0)
        text = log.read_text()
    assert cut, "it was never cut"
    assert len(text) < printed << 20
    assert text.startswith("x" * 100)
    assert "[the environment printed more than is kept" in text
    assert text.rstrip().splitlines()[-1].endswith("is done")
    assert "\0" not in text


def test_a_log_within_its_bounds_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "environment.log"
    log.write_bytes(b"a" * 50 + b"b" * 20)
    assert not cut_log(log, 50, kept=10)
    assert log.read_bytes() == b"a" * 50 + b"b" * 20
    assert not cut_log(tmp_path / "none", 0, kept=10)


def test_a_log_is_cut_behind_the_beginning_of_this_host_while_it_writes(tmp_path: Path) -> None:
    log = tmp_path / "environment.log"
    log.write_bytes(b"earlier ")
    descriptor, start = open_log(log)
    try:
        assert start == 8
        os.write(descriptor, b"0123456789" * 5)
        assert cut_log(log, start, kept=12)
        os.write(descriptor, b"after")
    finally:
        os.close(descriptor)
    text = log.read_bytes()
    assert text.startswith(b"earlier 012345678901\n[")
    assert text.endswith(b"left out]\nafter")


def test_a_log_that_earlier_hosts_filled_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "environment.log"
    with log.open("wb") as file:
        file.truncate(2 * LOG_KEPT_BYTES + 1)
    descriptor, start = open_log(log)
    os.close(descriptor)
    assert (start, log.stat().st_size) == (0, 0)
    assert log.with_name("environment.log.old").stat().st_size == 2 * LOG_KEPT_BYTES + 1


def test_the_log_is_named_where_an_end_is_told(spec: Any, tmp_path: Path) -> None:
    log = tmp_path / "environment.log"
    fault = replace(HostSpec("test:counter_v0"), allow_faults=True, log_path=log)
    with BlockingEnvHost(fault) as host, pytest.raises(EnvHostGone) as caught:
        host.run([["fault", {"kind": "exit", "code": 4}]])
    assert str(log) in str(caught.value)
