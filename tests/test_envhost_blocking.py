"""The blocking client against real hosts."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from envhost_processes import ENV, batch_of, holdings, now

from p2pclient.common.errors import EnvHostError, EnvHostGone
from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.process import HostSpec


def test_runs_batches_and_closes() -> None:
    texts: list[str] = []
    with BlockingEnvHost(HostSpec(ENV), lambda share, text: texts.append(text)) as host:
        host.run([["reset", 0], ["save", 0]])
        first, second = host.run(batch_of(8)), host.run(batch_of(8))
        assert first.results == second.results
        assert host.ready["seats"] == 2
        pid = host.pid
    assert not psutil.pid_exists(pid)
    assert texts
    host.close()
    with pytest.raises(EnvHostGone, match="closed"):
        host.run([["reset", 0]])


def test_failed_batch_is_told_and_the_host_goes_on() -> None:
    with BlockingEnvHost(HostSpec(ENV)) as host:
        with pytest.raises(EnvHostError) as caught:
            host.run([["reset", 0], ["load", 5]])
        assert (caught.value.index, caught.value.command) == (1, "load")
        assert len(host.run([["reset", 0]]).results) == 1


@pytest.mark.alone
def test_hung_host_is_killed() -> None:
    with BlockingEnvHost(HostSpec(ENV, allow_faults=True)) as host:
        begin = now()
        with pytest.raises(EnvHostGone, match=r"no answer within 0\.3 s"):
            host.run([["fault", {"kind": "hang", "seconds": 60}]], deadline=0.3)
        assert now() - begin < 1.5
        assert not psutil.pid_exists(host.pid)


def test_environment_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    before = holdings()
    with pytest.raises(EnvHostGone, match=ENV) as caught:
        BlockingEnvHost(HostSpec("no:such-environment"))
    assert "Traceback" in caught.value.traceback
    with pytest.raises(EnvHostGone, match="no-python"):
        BlockingEnvHost(HostSpec(ENV, python=str(tmp_path / "no-python")))
    assert holdings() - before == set()


def test_died_host_is_told_with_its_end(tmp_path: Path) -> None:
    with (
        BlockingEnvHost(HostSpec(ENV, allow_faults=True, log_path=tmp_path / "log" / "host.log")) as host,
        pytest.raises(EnvHostGone, match=r"exit code 4; last output: ending on purpose"),
    ):
        host.run([["fault", {"kind": "exit", "code": 4}]])
