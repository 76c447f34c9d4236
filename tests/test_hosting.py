"""When a client's environment host is kept for the next match, and when it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from p2pclient.common.errors import EnvHostError
from p2pclient.runtime.hosting import HostKeeper
from p2pclient.runtime.presenter import NoWindow


async def hosts_of_two_matches(env: str, args: dict[str, Any], tmp_path: Path, **options: Any) -> tuple[int, int]:
    keeper = HostKeeper(NoWindow(), {}, log_folder=tmp_path, **options)
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
