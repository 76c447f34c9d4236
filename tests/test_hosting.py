"""When a client's environment host is kept for the next match, and when it is not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psutil
import pytest

from p2pclient.common.errors import EnvHostError
from p2pclient.runtime.hosting import HostKeeper
from p2pclient.runtime.presenter import NoWindow


async def hosts_of_two_matches(env: str, args: dict[str, Any], tmp_path: Path, **options: Any) -> tuple[int, int]:
    keeper = HostKeeper(NoWindow(), {"fork": False}, log_folder=tmp_path, **options)
    try:
        pids = []
        for _ in range(2):
            host = await keeper.start(env, args)
            await keeper.ready(host)
            pids.append(host.pid)
        return pids[0] or 0, pids[1] or 0
    finally:
        await keeper.close()


@pytest.mark.parametrize(("env", "is_kept"), [("foreign_rig:Walk", True), ("foreign_rig:ModuleCounter", False)])
async def test_an_environment_that_a_reset_does_not_clear_gets_a_fresh_process(
    env: str, is_kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    first, second = await hosts_of_two_matches(env, {}, tmp_path, allowed=(env,))
    assert first > 0
    assert (first == second) is is_kept


async def test_only_what_the_person_allowed_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    with pytest.raises(EnvHostError, match="only where the person at this machine has allowed it"):
        await hosts_of_two_matches("foreign_rig:Walk", {}, tmp_path, allowed=("foreign_rig:Other",))


async def test_a_lost_host_is_replaced_by_the_spare_which_is_replaced_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pclient.runtime.hosting.SPARE_ABOVE", 0.0)
    monkeypatch.setattr("p2pclient.runtime.hosting._SPARE_AFTER", 0.0)
    others = {child.pid for child in psutil.Process().children()}

    def hosts() -> set[int]:
        return {child.pid for child in psutil.Process().children()} - others

    keeper = HostKeeper(NoWindow(), {}, log_folder=tmp_path)
    try:
        host = await keeper.start("test:counter_v0", {})
        ready = await keeper.ready(host)
        keeper.prepare_spare(host)
        keeper.prepare_spare(host)  # one is enough
        seen = [host.pid]
        for _ in range(2):
            async with asyncio.timeout(20):
                while len(hosts()) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)  # a spare is started behind everything else
            (spare,) = hosts() - {seen[-1]}
            host.kill("for this test")
            host, again = await keeper.renew()
            assert host.pid == spare
            assert again["digest"] == ready["digest"]
            assert (await host.submit([["reset", 1]])).results[0]
            seen.append(host.pid)
        assert len(set(seen)) == 3
    finally:
        await keeper.close()
    assert not hosts()


async def test_where_starting_is_quick_a_lost_host_is_started_anew(tmp_path: Path) -> None:
    keeper = HostKeeper(NoWindow(), {}, log_folder=tmp_path)
    try:
        host = await keeper.start("test:counter_v0", {})
        await keeper.ready(host)
        keeper.prepare_spare(host)
        again, _ = await keeper.renew()  # it still runs: whoever raised may be replaced, too
        assert again.pid != host.pid
        assert (await keeper.start("test:counter_v0", {})) is again
    finally:
        await keeper.close()
    assert (host.state, again.state) == ("closed", "closed")
