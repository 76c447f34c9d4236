"""Whole demos with real processes over real data channels: both recordings, both screens and a straight run agree."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from play_rig import BOT, ENV, RunReader, tandem

COGRID = "cogrid:Overcooked-CrampedRoom-V0"


async def demo(out: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run ``tandem demo`` with bots and return its exit code and its result."""
    async with tandem("demo", *arguments, "--headless", "--json", "--out", str(out), out=out) as process:
        code = await process.end(within=60)
        assert process.lines, process.errors
        return code, json.loads("\n".join(process.lines))


def assert_nothing_was_lost(code: int, result: dict[str, Any], frames: int) -> None:
    assert result["parity"] is True, result["parity_details"]
    assert (result["confirmed_frames"], result["verified_frames"]) == (frames, frames)
    assert result["desyncs"] == 0
    assert (code, result["ok"]) == (0, True)
    for client in result["per_client"]:
        assert client["reason"] == "finished"
        run = RunReader(Path(client["folder"]))
        assert (run.recorded, run.verified) == (frames, frames)
        assert len({frame.checksum for frame in run.frames()}) > 0.95 * frames


@pytest.mark.parametrize("seed", range(0, 4, 2))
async def test_both_sides_agree_over_a_bad_network_again_and_again(seed: int, tmp_path: Path) -> None:
    network = ["--latency-ms", "40", "--jitter-ms", "10", "--loss", "0.05"]
    arguments = [ENV, "--bot", BOT, "--rate", "60", "--seconds", "1.2", *network]
    seeds = [str(seed), str(seed + 1)]  # two at a time: most of a demo is waiting
    for code, result in await asyncio.gather(*(demo(tmp_path / s, *arguments, "--seed", s) for s in seeds)):
        assert_nothing_was_lost(code, result, frames=72)
        assert result["frames"] == 72
        assert result["rollbacks"] > 3
        assert result["max_depth"] <= 8
        assert min(client["rollbacks"] for client in result["per_client"]) > 0
        assert result["rtt_ms"]["median"] > 50
        assert result["scores"] == result["parity_details"][0]["straight_totals"][0]


async def test_kitchens_agree_over_a_bad_network(tmp_path: Path) -> None:
    network = ["--latency-ms", "60", "--jitter-ms", "10", "--loss", "0.02"]
    code, result = await demo(tmp_path, COGRID, "--seconds", "4", "--seed", "7", *network)
    assert_nothing_was_lost(code, result, frames=60)
    assert result["rollbacks"] > 5
    assert (tmp_path / "demo.png").stat().st_size > 1000


async def test_episodes_have_all_their_rows_and_totals_over_a_very_bad_network(tmp_path: Path) -> None:
    network = ["--latency-ms", "150", "--loss", "0.1"]
    arguments = [ENV, "--bot", BOT, "--rate", "30", "--episodes", "3", "--max-steps", "25", "--seed", "2"]
    code, result = await demo(tmp_path, *arguments, *network)
    assert_nothing_was_lost(code, result, frames=75)
    truth = result["parity_details"][0]
    assert len(truth["straight_totals"]) == 3
    assert truth["shown_totals"] == [truth["straight_totals"][-1]] * 2
    for client in result["per_client"]:
        run = RunReader(Path(client["folder"]))
        assert [episode.recorded for episode in run.episodes] == [25, 25, 25]
        assert len({episode.seed for episode in run.episodes}) == 3
        assert len({episode.first_checksum for episode in run.episodes}) == 3


async def test_an_environment_gone_wrong_is_reported_by_both_sides_with_the_frame(tmp_path: Path) -> None:
    fault = json.dumps({"kind": "corrupt", "frame": 77})
    arguments = [ENV, "--bot", BOT, "--rate", "60", "--seconds", "5", "--seed", "3", "--latency-ms", "20"]
    code, result = await demo(tmp_path, *arguments, "--fault", fault)
    assert code != 0
    assert (result["ok"], result["parity"]) == (False, False)
    for client in result["per_client"]:
        assert (client["reason"], client["desyncs"]) == ("desync", 1)
        assert "frame 77 " in client["text"]
        run = RunReader(Path(client["folder"]))
        assert 77 <= run.recorded < 300
        assert run.verified <= 77
