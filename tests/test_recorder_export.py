"""Exported files: equal on both sides byte by byte, complete or not there, read back with their types."""

from __future__ import annotations

import csv
import json
import math
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from recorder_runs import make_frame, match_records, write_run

from p2pclient.common.frames import pack_seat_input
from p2pclient.common.spaces import decode_action, draw_action, encode_action
from p2pclient.recorder.export import main
from p2pclient.recorder.manifest import LOG_NAME
from p2pclient.recorder.records import EpisodeStarted, FramesVerified, Record

ROOT = Path(__file__).parents[1]


def infos(frame: int) -> tuple[Any, ...]:
    return ({"soups": frame} if frame % 4 == 0 else {}, {"note": 'é, "x"', "deep": {"list": [1, 2.5]}})


def test_both_sides_export_the_same_bytes(tmp_path: Path) -> None:
    for seat in (0, 1):
        # The other side saw other times, and has one more frame that was never agreed to.
        records = match_records(episodes=1, frames=60 + seat, unverified=5 + seat, infos=infos, local=seat * 10.0)
        folder = write_run(tmp_path / f"run{seat}", records, seat=seat, seats=({"player": f"seen by {seat}"},) * 2)
        assert main([str(folder), "--quiet", "--out", str(tmp_path / f"out{seat}")]) == 0
    for name in ("frames.parquet", "frames.csv"):
        assert (tmp_path / "out0" / name).read_bytes() == (tmp_path / "out1" / name).read_bytes()
    assert (tmp_path / "out0/timing.csv").read_bytes() != (tmp_path / "out1/timing.csv").read_bytes()
    assert len((tmp_path / "out0/frames.csv").read_bytes().splitlines()) > 50


def test_tables_read_back_with_types_and_values(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", match_records(episodes=2, frames=20, unverified=3, infos=infos))
    assert main([str(folder), "--quiet"]) == 0
    frames = pq.read_table(folder / "frames.parquet").to_pylist()
    assert [(row["episode"], row["frame"]) for row in frames] == [
        (e, f) for e in (0, 1) for f in range(17 + 3 * (not e))
    ]
    for row in frames:
        expected = make_frame(row["episode"], row["frame"])
        assert row["reward.0"] == expected.rewards[0]
        assert math.copysign(1, row["reward.1"]) == -1
        assert row["checksum"] == expected.checksum.hex()
        assert row["input.1"] == expected.inputs[1].hex()
        assert row["focus.1"] is expected.focus[1]
        assert row["info.0.soups"] == (row["frame"] if row["frame"] % 4 == 0 else None)
        assert row["info.1.deep.list"] == "[1,2.5]"
    unverified = pq.read_table(folder / "unverified.parquet").to_pylist()
    assert [row["frame"] for row in unverified] == [17, 18, 19]
    assert unverified[0].keys() == frames[0].keys()
    timing = pq.read_table(folder / "timing.parquet").to_pylist()
    assert len(timing) == 40
    assert timing[1]["pressed_at"] is None
    assert timing[1]["predicted.1"] is True
    assert pq.read_table(folder / "events.parquet").to_pylist()[0]["details"] == '{"kind":"direct","rtt_ms":0.0}'


def test_csv_says_the_same_as_parquet(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", match_records(frames=20, infos=infos))
    assert main([str(folder), "--quiet"]) == 0
    with (folder / "frames.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    table = pq.read_table(folder / "frames.parquet").to_pylist()
    assert len(rows) == len(table) == 40
    for row, other in zip(rows, table, strict=True):
        assert row.keys() == other.keys()
        assert float(row["reward.0"]) == other["reward.0"]
        assert (row["info.0.soups"] or None) == (None if other["info.0.soups"] is None else str(other["info.0.soups"]))
        assert row["info.1.note"] == other["info.1.note"] == 'é, "x"'


def test_actions_of_several_numbers_read_back_as_lists(tmp_path: Path) -> None:
    stick: dict[str, Any] = {"kind": "box", "dtype": "<f4", "shape": [2], "low": [-1.0, None], "high": [1.0, None]}
    parts = {"grip": {"kind": "discrete", "n": 3}, "keys": {"kind": "multi_binary", "n": 3}}
    hand = {"kind": "dict", "spaces": parts}
    generator = random.Random(5)
    drawn = [tuple(draw_action(space, generator) for space in (stick, hand)) for _ in range(20)]

    def records() -> Iterator[Record]:
        yield EpisodeStarted(0, 1, bytes(8))
        for frame, actions in enumerate(drawn):
            inputs = [encode_action(space, action) for space, action in zip((stick, hand), actions, strict=True)]
            yield make_frame(0, frame, actions=actions, inputs=tuple(pack_seat_input(i, focused=True) for i in inputs))
        yield FramesVerified(0, 19)

    folder = write_run(tmp_path / "run", records())
    assert main([str(folder), "--quiet"]) == 0
    table = pq.read_table(folder / "frames.parquet")
    assert str(table.schema.field("action.0").type) == "list<element: double>"
    assert repr(table["action.0"].to_pylist()) == repr([stick for stick, _ in drawn])
    assert [json.loads(text) for text in table["action.1"].to_pylist()] == [hand for _, hand in drawn]
    with (folder / "frames.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert repr([json.loads(row["action.0"]) for row in rows]) == repr([stick for stick, _ in drawn])
    assert [decode_action(stick, bytes.fromhex(row["input.0"])[1:]) for row in rows] == [first for first, _ in drawn]


def test_nothing_but_the_tables_is_left_in_the_folder(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", match_records())
    assert main([str(folder), "--quiet", "--format", "csv"]) == 0
    assert main([str(folder), "--quiet", "--format", "csv"]) == 0
    names = {"events.csv", "frames.csv", "timing.csv", "unverified.csv", LOG_NAME, "manifest.json"}
    assert {path.name for path in folder.iterdir()} == names


def test_batches_make_no_difference_to_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path / "run", match_records(frames=20, infos=infos))
    monkeypatch.setattr("p2pclient.recorder.export._BATCH_ROWS", 7)
    assert main([str(folder), "--quiet", "--out", str(tmp_path / "small")]) == 0
    monkeypatch.undo()
    assert main([str(folder), "--quiet", "--out", str(tmp_path / "large")]) == 0
    small, large = (pq.read_table(tmp_path / name / "frames.parquet") for name in ("small", "large"))
    assert small.equals(large)
    assert (tmp_path / "small/frames.csv").read_bytes() == (tmp_path / "large/frames.csv").read_bytes()


def test_an_empty_run_has_empty_tables(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", iter(()))
    assert main([str(folder), "--quiet"]) == 0
    assert pq.read_table(folder / "frames.parquet").num_rows == 0
    assert (folder / "frames.csv").read_text().startswith("episode,frame,action.0,")


def test_a_killed_run_is_exported_up_to_its_torn_tail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path / "run", match_records(episodes=1, frames=20))
    log = folder / LOG_NAME
    log.write_bytes(log.read_bytes()[:-7])
    assert main([str(folder), "--quiet"]) == 0
    assert "cut off" in capsys.readouterr().err
    assert pq.read_table(folder / "frames.parquet").num_rows == 20


def test_a_damaged_run_is_refused_unless_salvaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path / "run", match_records(episodes=1, frames=20))
    data = bytearray((folder / LOG_NAME).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / LOG_NAME).write_bytes(data)
    assert main([str(folder), "--quiet"]) == 3
    assert not (folder / "frames.csv").exists()
    assert main([str(folder), "--quiet", "--salvage"]) == 0
    assert "damaged at byte" in capsys.readouterr().err
    assert 0 < pq.read_table(folder / "frames.parquet").num_rows < 20


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path / "run", match_records())
    (tmp_path / "file").write_text("")
    assert main([str(folder), "--quiet", "--out", str(tmp_path / "file" / "out")]) == 3
    assert "cannot be written" in capsys.readouterr().err


def test_text_that_no_file_format_takes_is_escaped(tmp_path: Path) -> None:
    def records() -> Iterator[Record]:
        yield EpisodeStarted(0, 1, bytes(8))
        yield make_frame(0, 0, infos=({"file\udcff": "name\udcff", "n": 1 << 20_000}, {}))
        yield FramesVerified(0, 0)

    folder = write_run(tmp_path / "run", records())
    assert main([str(folder), "--quiet"]) == 0
    row = pq.read_table(folder / "frames.parquet").to_pylist()[0]
    assert row["info.0.file\\\\udcff"] == "name\\udcff"


def test_export_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", match_records())
    command = [sys.executable, "-m", "p2pclient.recorder.export", str(folder), "--format", "csv"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0
    assert "frames 40 rows" in result.stdout
    assert "100%" in result.stderr


def test_nothing_else_imports_pyarrow() -> None:
    folder = ROOT / "p2pclient" / "recorder"
    modules = [f"p2pclient.recorder.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"]
    assert len(modules) > 10
    # Not even the module that exports, as long as it is only imported.
    code = f"import sys, {', '.join(modules)}; sys.exit('pyarrow' in sys.modules or 'pygame' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
    assert [path.name for path in folder.glob("*.py") if "import pyarrow" in path.read_text()] == ["export.py"]
