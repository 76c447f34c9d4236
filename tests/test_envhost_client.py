"""The asynchronous client against real hosts."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from envhost_processes import ENV, batch_of, holdings, now, wait_gone

from envs.registry import create
from envs.simulation import Simulation
from p2pclient.common.errors import EnvHostError, EnvHostGone
from p2pclient.envhost.client import EnvHost
from p2pclient.envhost.process import HostSpec
from p2pclient.envhost.values import CannotSendError

HANG: list[Any] = ["fault", {"kind": "hang", "seconds": 60}]


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[EnvHost]:
    """A started host in which faults are allowed, reset and with snapshot 0."""
    made = EnvHost(HostSpec(ENV, allow_faults=True, log_path=tmp_path / "host.log"))
    await made.start()
    await made.submit([["reset", 0], ["save", 0]])
    yield made
    await made.close()


async def test_one_batch_equals_the_same_commands_in_process(host: EnvHost) -> None:
    simulation = Simulation(create(ENV, {}))
    simulation.reset(0)
    simulation.save(0)
    expected = [getattr(simulation, command[0])(*command[1:]) for command in batch_of(8)]
    reply = await host.submit(batch_of(8))
    assert reply.results == expected
    assert len({result[0] for result in reply.results[1:-1:2]}) > 1
    assert len(reply.costs_us) == len(expected)
    assert reply.total_us >= sum(reply.costs_us)


async def test_commands_wait_until_the_environment_is_ready() -> None:
    spec = HostSpec(ENV, allow_faults=True, load_faults=({"at": "init", "seconds": 0.5},))
    host = EnvHost(spec)
    early = host.submit([["reset", 3]])
    answered: list[str] = []
    early.add_done_callback(lambda _: answered.append(host.state))
    await host.start()
    later = host.submit([["compute_hash"]])
    assert host.state == "starting"
    assert not early.done()
    ready = await host.ready()
    assert host.state == "ready"
    assert ready["seats"] == len(ready["agents"])
    assert (await early).results == (await later).results
    assert answered == ["ready"]
    await host.close()


async def test_agents_that_are_integers_and_a_picture_cross() -> None:
    host = EnvHost(HostSpec("cogrid:Overcooked-CrampedRoom-V0"))
    await host.start()
    ready = await host.ready()
    assert [type(agent) for agent in ready["agents"]] == [int, int]
    neutral = ready["controls"]["neutral"]
    reply = await host.submit([["reset", 0], ["step", 0, neutral, True], ["render"]])
    assert all(isinstance(info, dict) for info in reply.results[1][4])
    assert len(reply.results[1][6]) == 2
    assert reply.results[2]["pixels"].dtype.name == "uint8"
    assert reply.results[2]["pixels"].std() > 0
    await host.close()


async def test_seeds_make_different_episodes_and_0_is_a_seed(host: EnvHost) -> None:
    first, again, other = [(await host.submit([["reset", seed]])).results[0] for seed in (0, 0, 1)]
    assert first == again
    assert first != other


async def test_failed_batch_names_index_and_command_and_stops_there(host: EnvHost) -> None:
    with pytest.raises(EnvHostError) as caught:
        await host.submit([["step", 0, [b"\0", b"\0"]], ["step", 7, [b"\0", b"\0"]], ["save", 1]])
    assert (caught.value.index, caught.value.command) == (1, "step")
    assert not isinstance(caught.value, EnvHostGone)
    assert "Traceback" in caught.value.traceback
    with pytest.raises(EnvHostError, match="unknown since step failed"):
        await host.submit([["save", 1]])
    with pytest.raises(EnvHostError, match="no snapshot"):
        await host.submit([["load", 1]])
    assert len((await host.submit(batch_of(2))).results) == 6
    assert host.state == "ready"


async def test_traceback_of_the_environment_comes_home(host: EnvHost) -> None:
    with pytest.raises(EnvHostError, match="on purpose") as caught:
        await host.submit([["compute_hash"], ["fault", {"kind": "raise"}]])
    assert "host_faults.py" in caught.value.traceback
    assert (caught.value.index, caught.value.command) == (1, "fault")


async def test_faults_need_the_hook() -> None:
    host = EnvHost(HostSpec(ENV))
    await host.start()
    with pytest.raises(EnvHostError, match="no command 'fault'"):
        await host.submit([["reset", 0], ["fault", {"kind": "exit"}]])
    await host.close()


async def test_corruption_changes_the_state_each_time_its_frame_is_simulated(host: EnvHost) -> None:
    sound = (await host.submit(batch_of(4))).results
    await host.submit([["fault", {"kind": "corrupt", "seed": 5, "frame": 2}]])
    for _ in range(2):
        corrupted = (await host.submit(batch_of(4))).results
        assert [a == b for a, b in zip(sound[1::2], corrupted[1::2], strict=True)] == [True, True, False, False, False]


@pytest.mark.alone
async def test_hung_host_is_killed_and_everything_pending_fails_with_the_cause(host: EnvHost) -> None:
    pid = host.pid
    assert pid is not None
    futures = [host.submit([HANG], deadline=0.3), host.submit([["reset", 1]]), host.ping()]
    begin = now()
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert 0.25 < now() - begin < 2.0
    assert [type(outcome) for outcome in outcomes] == [EnvHostGone] * 3
    assert "no answer within 0.3 s to: fault" in str(outcomes[2])
    assert wait_gone(pid, 2.0)
    assert host.state == "dead"
    with pytest.raises(EnvHostGone, match="no answer"):
        await host.submit([["reset", 0]])


@pytest.mark.alone
async def test_deadline_comes_from_measured_costs(host: EnvHost) -> None:
    await host.submit([["load", 0], ["fault", {"kind": "hang", "seconds": 0}]])
    begin = now()
    with pytest.raises(EnvHostGone, match=r"no answer within 1 s to: load, fault"):
        await host.submit([["load", 0], ["fault", {"kind": "hang", "seconds": 60, "hold_lock": True}]])
    assert 0.9 < now() - begin < 4.0


@pytest.mark.skipif(sys.platform == "win32", reason="uses signals")
async def test_killed_host_fails_everything_pending_with_the_signal(host: EnvHost) -> None:
    assert host.pid is not None
    futures = [host.submit([HANG]), host.submit([["reset", 1]])]
    os.kill(host.pid, signal.SIGKILL)
    outcomes = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), 2.0)
    assert all(isinstance(outcome, EnvHostGone) and "killed by SIGKILL" in str(outcome) for outcome in outcomes)


async def test_exit_code_and_last_output_are_in_the_cause(host: EnvHost) -> None:
    with pytest.raises(EnvHostGone, match=r"exit code 7.*last output: ending on purpose"):
        await host.submit([["fault", {"kind": "exit", "code": 7}]])
    assert host.cause is not None
    assert "exit code 7" in host.cause


async def test_environment_that_cannot_be_loaded_is_told_with_its_traceback() -> None:
    host = EnvHost(HostSpec("no:such-environment"))
    await host.start()
    early = host.submit([["reset", 0]])
    with pytest.raises(EnvHostGone, match=ENV) as caught:
        await host.ready()
    assert "Traceback" in caught.value.traceback
    with pytest.raises(EnvHostGone):
        await early
    await host.close()


async def test_interpreter_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    host = EnvHost(HostSpec(ENV, python=str(tmp_path / "no-python")))
    with pytest.raises(EnvHostGone, match="no-python"):
        await host.start()
    with pytest.raises(EnvHostGone, match="no-python"):
        await host.ready()
    await host.close()


async def test_environment_that_never_gets_ready_is_killed() -> None:
    faults = ({"at": "import", "seconds": 60, "hold_lock": True},)
    host = EnvHost(HostSpec(ENV, init_timeout=0.5, allow_faults=True, load_faults=faults))
    await host.start()
    with pytest.raises(EnvHostGone, match=r"not ready within 0\.5 s"):
        await host.ready()
    await host.close()


@pytest.mark.alone
async def test_loop_keeps_its_beat_while_the_environment_blocks_at_import_and_at_init() -> None:
    faults = (
        {"at": "import", "seconds": 1.2, "hold_lock": True},
        {"at": "init", "seconds": 1.2, "hold_lock": False},
    )
    late = 0.0

    async def beat() -> None:
        nonlocal late
        while True:
            begin = now()
            await asyncio.sleep(0.02)
            late = max(late, now() - begin - 0.02)

    beating = asyncio.create_task(beat())
    texts: list[str] = []
    host = EnvHost(HostSpec(ENV, allow_faults=True, load_faults=faults))
    host.on_progress = lambda share, text: texts.append(text)
    begin = now()
    await host.start()
    await host.ready()
    assert now() - begin > 2.4
    beating.cancel()
    await host.close()
    assert late < 0.05
    assert sum(text == "Opening the game" for text in texts) >= 3


async def test_two_hosts_live_side_by_side() -> None:
    hosts = [EnvHost(HostSpec(ENV, allow_faults=True)) for _ in range(2)]
    await asyncio.gather(*(host.start() for host in hosts))
    seeds = [(await host.submit([["reset", seed]])).results[0] for seed, host in enumerate(hosts)]
    assert seeds[0] != seeds[1]
    hosts[0].kill("the test is done with it")
    with pytest.raises(EnvHostGone, match="the test is done with it"):
        await hosts[0].submit([["compute_hash"]])
    assert (await hosts[1].submit([["compute_hash"]])).results == [seeds[1]]
    await asyncio.gather(*(host.close() for host in hosts))


async def test_command_that_cannot_be_sent_is_named_and_not_queued(host: EnvHost) -> None:
    with pytest.raises(CannotSendError, match=r"commands\[1\]\[1\]\['x'\]: object cannot be sent"):
        host.submit([["reset", 0], ["set_state", {"x": object()}]])
    assert len((await host.submit([["compute_hash"]])).results) == 1


@pytest.mark.alone
async def test_large_requests_cross_without_holding_up_the_loop(host: EnvHost) -> None:
    fault = {"kind": "corrupt", "padding": bytes(20_000_000)}
    before = (await host.submit([["compute_hash"]])).results
    reply = await host.submit([["fault", fault], ["compute_hash"]], deadline=10.0)
    assert reply.results[1:] != before
    assert await host.ping() < 1.0


async def test_cancelled_request_does_not_shift_the_replies(host: EnvHost) -> None:
    hang = host.submit([["fault", {"kind": "hang", "seconds": 0.2}]])
    waiting = host.submit([["reset", 99]])
    expected = (await host.submit([["compute_hash"]])).results if hang.done() else None
    hang.cancel()
    waiting.cancel()
    result = (await host.submit([["reset", 0]])).results
    assert expected is None
    assert len(result[0]) == 8
    assert (await host.submit([["compute_hash"]])).results == result


@pytest.mark.alone
async def test_closing_leaves_nothing_behind(tmp_path: Path) -> None:
    for _ in range(2):  # the first round makes what stays by design: the thread that starts processes
        before, threads = holdings(), set(threading.enumerate())
        host = EnvHost(HostSpec(ENV, log_path=tmp_path / "host.log"))
        await host.start()
        await host.submit([["reset", 0]])
        pid = host.pid
        pending = host.submit([["reset", seed] for seed in range(200)])  # far from done when it is closed
        begin = now()
        await asyncio.gather(host.close(), host.close())
        await host.close()
        assert now() - begin < 1.5
        assert host.state == "closed"
        with pytest.raises(EnvHostGone, match="closed"):
            await pending
    assert pid is not None
    assert not psutil.pid_exists(pid)
    assert holdings() - before == set()
    while set(threading.enumerate()) - threads and now() - begin < 5.0:  # noqa: ASYNC110 - the end of a thread is no event
        await asyncio.sleep(0.01)  # a thread that has done its work still takes a moment to end
    assert set(threading.enumerate()) - threads == set()


@pytest.mark.alone
@pytest.mark.parametrize("lock", [False, True])
async def test_host_that_is_loading_is_closed_at_once(lock: bool) -> None:
    faults = ({"at": "import", "seconds": 60, "hold_lock": lock},)
    host = EnvHost(HostSpec(ENV, allow_faults=True, load_faults=faults))
    starting = asyncio.ensure_future(host.start())
    await asyncio.sleep(0)
    begin = now()
    await host.close()
    assert now() - begin < 1.5
    await starting
    assert host.pid is None or not psutil.pid_exists(host.pid)


async def test_hung_host_is_closed_by_force(host: EnvHost) -> None:
    future = host.submit([HANG], deadline=50.0)
    await host.close()
    with pytest.raises(EnvHostGone, match="closed"):
        await future
    assert host.pid is not None
    assert not psutil.pid_exists(host.pid)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell script as interpreter")
async def test_host_that_finds_a_second_package_of_our_name_refuses_with_both_paths(tmp_path: Path) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").touch()
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}" exec "{sys.executable}" "$@"\n')
    wrapper.chmod(0o755)
    host = EnvHost(HostSpec(ENV, python=str(wrapper)))
    await host.start()
    with pytest.raises(EnvHostGone, match="package 'envs'") as caught:
        await host.ready()
    assert str(tmp_path / "envs") in str(caught.value)
    assert "only /" in str(caught.value)
    await host.close()


def test_a_host_that_was_forgotten_ends_with_its_loop() -> None:
    async def forget() -> int:
        host = EnvHost(HostSpec(ENV))
        await host.start()
        await host.ready()
        assert host.pid is not None
        return host.pid

    pid = asyncio.run(forget())
    gc.collect()
    assert wait_gone(pid, 10)
