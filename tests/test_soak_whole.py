"""Whole soaks with real processes: each ends with the right verdict, and leaves what it should and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from play_rig import BOT, ENV, Tandem, tandem

from p2pclient.cli.soak_plan import KILL_HOST, KILL_SERVER, PAUSE
from p2pclient.recorder.reading import RunReader

QUICK = ("--env", ENV, "--bot", BOT, "--rate", "60", "--seconds", "1.5", "--json")


def runs_in(out: Path) -> list[Path]:
    return list(out.glob("clients/*/*/manifest.json"))


async def runs_begun(out: Path, count: int, within: float = 30.0) -> None:
    """Wait until so many recordings have been begun by the clients of a soak."""
    async with asyncio.timeout(within):
        while len(runs_in(out)) < count:  # noqa: ASYNC110 - the files of another process: nothing says when
            await asyncio.sleep(0.05)


async def verdict(process: Tandem, *, within: float = 60.0) -> tuple[int, dict[str, Any]]:
    code = await process.end(within=within)
    assert process.lines, process.errors
    return code, json.loads("\n".join(process.lines))


async def test_quiet_soak_is_good_and_leaves_only_logs(tmp_path: Path) -> None:
    arguments = ("--pairs", "1", "--matches", "3", "--profile", "lan", "--seed", "1", "--no-kills", "--replays", "1")
    async with tandem("soak", *QUICK, *arguments, "--out", str(tmp_path), out=tmp_path) as process:
        code, result = await verdict(process)
    assert (code, result["ok"], result["problems"]) == (0, True, [])
    # Who was just matched when the soak ended is sent away: that one match is cut short, and counted as such.
    whole, cut_short = result["whole"], result["cut_short"]
    assert (result["matches"], cut_short <= 1) == (whole + cut_short, True)
    assert whole >= 3
    assert result["seconds"] < 60  # it ended because all were played: it had ten minutes
    assert result["replayed"] >= 1
    assert 90 * whole <= result["frames_verified"] <= 90 * result["matches"]
    assert result["rollbacks"] > 0
    assert result["reasons"]["finished"] == 2 * whole
    assert sum(result["reasons"].values()) <= 2 * (whole + cut_short)
    assert runs_in(tmp_path) == []
    assert not (tmp_path / "failed").exists()
    assert json.loads((tmp_path / "soak.json").read_text()) == result


async def test_soak_with_faults_of_every_kind_finds_nothing_wrong(tmp_path: Path) -> None:
    # With this seed, each of these faults is planned for the first 0.7 s of one of the first eight matches.
    arguments = ("--pairs", "2", "--matches", "10", "--profile", "wifi", "--seed", "52941", "--max-lag-ms", "250")
    async with tandem("soak", *QUICK, *arguments, "--out", str(tmp_path), out=tmp_path) as process:
        code, result = await verdict(process, within=120)
    assert (code, result["problems"]) == (0, [])
    assert result["faults"].keys() >= {KILL_HOST, PAUSE, KILL_SERVER}, result["faults"]
    assert result["whole"] >= 3
    assert result["processes_left"] == result["shared_memory_left"] == []


@pytest.mark.alone
async def test_soak_with_a_wrong_environment_fails_and_keeps_the_evidence(tmp_path: Path) -> None:
    wrong = json.dumps({"kind": "corrupt", "frame": 20})
    arguments = ("--minutes", "30", "--profile", "lan", "--seed", "2", "--no-kills", "--most-failures", "2")
    async with tandem("soak", *QUICK, *arguments, "--fault", wrong, "--out", str(tmp_path), out=tmp_path) as process:
        code, result = await verdict(process)
    assert (code, result["ok"]) == (1, False)
    assert result["failed"] >= 2
    assert result["seconds"] < 40  # it ended early: enough had failed
    folders = sorted((tmp_path / "failed").iterdir())
    assert len(folders) == result["failed"]
    facts = json.loads((folders[0] / "match.json").read_text())
    assert any("desync" in text for text in facts["problems"])
    assert {client["network"] for client in facts["clients"]} == {"lan"}
    assert facts["repeat"] == f"tandem soak --repeat {folders[0] / 'match.json'} --minutes 10"
    for seat in (0, 1):
        assert RunReader(folders[0] / f"seat-{seat}").recorded > 0
        assert (folders[0] / f"seat-{seat}" / "frames-debug.log").stat().st_size > 0
    assert (folders[0] / "server.log").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
async def test_interrupted_soak_gives_its_verdict_and_leaves_no_process(tmp_path: Path) -> None:
    arguments = ("--minutes", "30", "--profile", "lan", "--seed", "3", "--no-kills", "--keep")
    async with tandem("soak", *QUICK, *arguments, "--out", str(tmp_path), out=tmp_path) as process:
        await runs_begun(tmp_path, 3)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 5  # the server, two clients, two hosts
        assert os.getpgid(process.pid) not in {os.getpgid(child.pid) for child in children}  # Ctrl-C reaches only us
        process.send(signal.SIGINT)
        code, result = await verdict(process, within=20)
    assert (code, result["problems"]) == (0, [])
    assert result["whole"] >= 1
    assert psutil.wait_procs(children, timeout=5)[1] == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
async def test_processes_of_a_soak_that_is_killed_end_with_it(tmp_path: Path) -> None:
    arguments = ("--minutes", "30", "--profile", "lan", "--seed", "3", "--no-kills")
    async with tandem("soak", *QUICK, *arguments, "--out", str(tmp_path), out=tmp_path) as process:
        await runs_begun(tmp_path, 2)
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        assert len(children) >= 5
        assert psutil.wait_procs(children, timeout=10)[1] == []


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (("--pairs", "0"), "--pairs"),
        (("--episodes", "2"), "--seconds"),
        (("--env", "no-such"), "no-such"),
        (("--window", "500"), "window is 500"),
    ],
)
async def test_soak_that_cannot_begin_says_why(flags: tuple[str, ...], part: str, tmp_path: Path) -> None:
    arguments = ("soak", "--env", ENV, "--bot", BOT, "--out", str(tmp_path), *flags)
    async with tandem(*arguments, out=tmp_path) as process:
        assert await process.end() == 1
    assert part in process.errors
