"""Matches whose environments run under another NumPy than the clients; and none between sides that are unlike."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from old_numpy import NAME, old_numpy, old_numpy_data
from play_rig import join, pair, settings
from signaling_rig import running_server

from p2pclient.common.errors import EnvHostGone
from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.interpreter import use_interpreter
from p2pclient.envhost.process import HostSpec
from p2pclient.recorder.manifest import read_manifest
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.replay import replay_run
from p2pclient.recorder.verify import SAME, verify_folders

__all__ = ["old_numpy", "old_numpy_data"]  # fixtures

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the folder of the user's data is set by XDG_DATA_HOME")

WALKERS = "hungry_rig:Walkers"
BAD = ("--latency-ms", "30", "--jitter-ms", "8", "--loss", "0.02", "--bot", "random")


async def test_a_match_is_played_under_another_major_version_of_numpy(old_numpy: str, tmp_path: Path) -> None:
    match = settings(env=WALKERS, rate_hz=30.0, frames=150, episodes=0)
    flags = (*BAD, "--allow-env", WALKERS, "--env-python", old_numpy, "--env-memory", "1000")
    async with running_server(match) as url, pair(url, tmp_path, *flags) as (a, b):
        played = [await client.until("played", within=60) for client in (a, b)]
        assert [await a.end(), await b.end()] == [0, 0]
    folders = [Path(each["folder"]) for each in played]
    assert [each["reason"] for each in played] == ["finished", "finished"]
    assert sum(each["outcome"]["counters"]["rollbacks"] for each in played) > 5
    assert all(each["outcome"]["counters"]["verified_frames"] == 150 for each in played)
    assert verify_folders(*folders).code == SAME

    frames = list(RunReader(folders[0]).frames())
    assert len({frame.checksum for frame in frames}) == 150
    ran_under = {info["numpy"] for frame in frames for info in frame.infos if info is not None}
    assert len(ran_under) == 1
    assert next(iter(ran_under)).partition(".")[0] == "1"
    assert np.__version__.partition(".")[0] != "1"
    manifest = read_manifest(folders[0])
    assert manifest["env"]["machine"]["numpy"] in ran_under
    assert manifest["versions"]["numpy"] == np.__version__

    here: dict[str, Any] = {"local": True}
    there = {**here, "python": use_interpreter(old_numpy).path}
    assert replay_run(folders[1], host_options=there).is_same
    unlike = replay_run(folders[1], host_options=here)  # its infos name the NumPy
    assert not unlike.is_same
    assert f"recorded under Python {manifest['env']['machine']['python']} with NumPy 1." in unlike.message
    assert f"with NumPy {np.__version__}: replay it under what it was recorded with" in unlike.message


async def test_two_whose_hosts_have_unlike_numpys_are_told_and_do_not_play(old_numpy: str, tmp_path: Path) -> None:
    async with (
        running_server(settings(frames=60, episodes=0)) as url,
        join(url, tmp_path / "a", "--env-python", old_numpy) as a,
        join(url, tmp_path / "b") as b,
    ):
        assert [await a.end(within=60), await b.end(within=60)] == [1, 1]
    texts = " ".join(str(report.get("text", "")) for client in (a, b) for report in client.reports)
    assert "host numpy" in texts + a.errors + b.errors


async def test_what_no_host_can_run_under_is_told_before_the_server_is_asked(old_numpy: str, tmp_path: Path) -> None:
    async with join("http://127.0.0.1:9", tmp_path, "--env-python", "never-installed") as client:
        assert await client.end() == 1
    assert "never-installed" in client.errors
    assert "no such thing" in client.errors
    assert "127.0.0.1" not in client.errors


def test_hosts_under_two_major_versions_of_numpy_work_side_by_side(old_numpy: str) -> None:
    spec = HostSpec(WALKERS, local=True)
    python = use_interpreter(old_numpy).path
    with BlockingEnvHost(spec) as ours, BlockingEnvHost(HostSpec(WALKERS, local=True, python=python)) as theirs:
        majors = [host.ready["machine"]["numpy"].partition(".")[0] for host in (ours, theirs)]
        assert majors == [np.__version__.partition(".")[0], "1"]
        neutral = ours.ready["controls"]["neutral"]
        for host in (ours, theirs, ours):
            assert (
                host.run([["reset", 1], ["step", 0, neutral]])
                .results[1][4][0]["numpy"]
                .startswith(host.ready["machine"]["numpy"])
            )
        assert ours.ready["numeric_probe"] != "" != theirs.ready["numeric_probe"]


def test_what_the_environments_python_lacks_is_told_with_the_name_of_the_recordings(old_numpy: str) -> None:
    python = use_interpreter(old_numpy).path
    with pytest.raises(EnvHostGone, match="needs the package cogrid, which the environment"):
        BlockingEnvHost(HostSpec("cogrid:Overcooked-CrampedRoom-V0", python=python))
    assert NAME in python
