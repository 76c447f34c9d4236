"""Clients of a match whose partner is killed and never comes back: a bot takes the seat, and the recordings tell it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from play_rig import assert_whole, in_play, pair, settings
from signaling_rig import running_server
from test_play_return import killed, three

from p2pclient.recorder.export import export_run
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.verify import verify_folders

WAIT = 1.0
FRAMES = 300


def sittings_in(folder: Path) -> list[dict[str, Any]]:
    outcome = json.loads((folder / "manifest.json").read_text())["outcome"]
    told: list[dict[str, Any]] = outcome["sittings"]
    return told


def held_by(folder: Path, out: Path, seat: int) -> list[str]:
    """Who held a seat, by frame, as the table of frames says."""
    run = RunReader(folder)
    export_run(run, out, ("parquet",))
    table = pq.read_table(out / "frames.parquet")
    names = [name for name in table.column_names if name.startswith("by.")]
    held: list[str] = table.column(names[seat]).to_pylist()
    return held


async def test_the_server_lets_one_of_two_go_on_with_a_bot_in_the_killed_ones_seat(tmp_path: Path) -> None:
    chosen = settings(on_drop="bot:seeker:disclosed", drop_after_s=WAIT, env_args={"max_steps": FRAMES})
    async with running_server(chosen) as url, pair(url, tmp_path) as (a, b):
        await in_play(a, b)
        await killed(b)
        (folder_of_b,) = b.run_folders()
        end = await a.until("played", within=60.0)
    assert end["reason"] == "finished"
    folder = Path(end["folder"])
    assert_whole(folder, least=FRAMES)
    (sitting,) = sittings_in(folder)
    first = sitting.pop("first_frame")
    seat = RunReader(folder_of_b).manifest["own_seats"][0]
    assert sitting == {"seat": seat, "episode": 0, "by": "substitute", "why": "lost", "last_frame": FRAMES - 1}
    assert held_by(folder, tmp_path / "table", seat) == ["bot"] * first + ["substitute"] * (FRAMES - first)
    assert held_by(folder, tmp_path / "other", 1 - seat) == ["bot"] * FRAMES
    verdict = verify_folders(folder, folder_of_b)
    assert verdict.message.startswith("B is the beginning of A")


async def test_two_of_three_see_the_same_bot_in_the_killed_ones_seat(tmp_path: Path) -> None:
    args = {"max_steps": FRAMES, "seats": 3}
    chosen = settings(seats=3, env_args=args, on_drop="bot:seeker:hidden", drop_after_s=WAIT)
    async with running_server(chosen) as url, three(url, tmp_path, "--matches", "1") as (a, b, c):
        await killed(c)
        ends = [await player.until("played", within=60.0) for player in (a, b)]
        assert [await player.end(within=40.0) for player in (a, b)] == [0, 0]
    assert [end["reason"] for end in ends] == ["finished", "finished"]
    folders = [Path(end["folder"]) for end in ends]
    for folder in folders:
        assert_whole(folder, least=FRAMES)
    assert verify_folders(*folders).is_same
    told = [sittings_in(folder) for folder in folders]
    assert told[0] == told[1]
    assert [(each["seat"], each["by"], each["why"]) for each in told[0]] == [(2, "substitute", "lost")]
