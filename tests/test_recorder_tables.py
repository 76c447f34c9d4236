"""Tables: what is absent is null and shifts nothing; types follow from the values alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorder_runs import make_frame, match_records, write_run

from p2pclient.recorder.cells import agent_labels, frame_cells, group_of, resolve
from p2pclient.recorder.plain import to_json_text
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.records import EpisodeStarted, FramesVerified, Record
from p2pclient.recorder.tables import csv_line, frame_layouts


def read(folder: Path, records: Iterator[Record], **header: Any) -> RunReader:
    return RunReader(write_run(folder, records, **header))


def of_frames(*frames: Any, verified: int) -> Iterator[Record]:
    yield EpisodeStarted(0, 1, bytes(8))
    yield from frames
    yield FramesVerified(0, verified)


def rows_of(run: RunReader) -> list[dict[str, Any]]:
    layout, _ = frame_layouts(run)
    names = [column.name for column in layout.columns]
    return [dict(zip(names, layout.row(frame), strict=True)) for frame in run.frames(verified=True)]


def test_the_columns_of_frames_are_these(tmp_path: Path) -> None:
    run = read(tmp_path / "run", match_records(infos=lambda frame: ({"soups": frame}, {})))
    layout, _ = frame_layouts(run)
    assert [f"{column.name} {column.kind}" for column in layout.columns] == [
        "episode int",
        "frame int",
        "action.0 int",
        "action.1 int",
        "reward.0 float",
        "reward.1 float",
        "terminated.0 bool",
        "terminated.1 bool",
        "truncated.0 bool",
        "truncated.1 bool",
        "focus.0 bool",
        "focus.1 bool",
        "by.0 text",
        "by.1 text",
        "input.0 hex",
        "input.1 hex",
        "checksum hex",
        "info.0.soups int",
    ]


def test_sparse_infos_are_null_where_absent_and_never_shifted(tmp_path: Path) -> None:
    def infos(frame: int) -> tuple[Any, ...]:
        first = {"delivered": frame} if frame % 5 == 0 else {}
        second = None if frame == 3 else {"where": {"x": frame}} if frame % 2 else {"note": "even"}
        return first, second

    rows = rows_of(read(tmp_path / "run", match_records(episodes=1, frames=20, infos=infos)))
    assert len(rows) == 20
    for frame, row in enumerate(rows):
        assert row["frame"] == frame
        assert row["info.0.delivered"] == (frame if frame % 5 == 0 else None)
        assert row["info.1.where.x"] == (frame if frame % 2 and frame != 3 else None)
        assert row["info.1.note"] == (None if frame % 2 else "even")


def test_an_absent_agent_is_null(tmp_path: Path) -> None:
    gone = {"rewards": (1.0, None), "terminations": (True, None), "truncations": (False, None), "infos": ({}, None)}
    rows = rows_of(read(tmp_path / "run", of_frames(make_frame(0, 0), make_frame(0, 1, **gone), verified=1)))
    assert [rows[1][f"{field}.1"] for field in ("reward", "terminated", "truncated")] == [None] * 3
    assert rows[1]["terminated.0"] is True


def test_values_of_several_types_become_json_in_the_whole_column(tmp_path: Path) -> None:
    values = [1, "1", 2.5, None, [1, math.nan], {}, np.float32(0.5), np.arange(3), b"\x01", 1 << 90]
    frames = [make_frame(0, i, infos=({"v": value}, {})) for i, value in enumerate(values)]
    rows = rows_of(read(tmp_path / "run", of_frames(*frames, verified=9)))
    expected = [1, "1", 2.5, None, [1, "NaN"], {}, 0.5, [0, 1, 2], "01", hex(1 << 90)]
    assert [row["info.0.v"] if row["info.0.v"] is None else json.loads(row["info.0.v"]) for row in rows] == expected


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([np.bool_(True), False], "bool"),
        ([1, np.int8(2)], "int"),
        ([1, 2.5], "float"),
        ([(1 << 53) + 1, 2.5], "json"),
        ([(1 << 53) + 1, 2], "int"),
        ([1 << 63], "json"),
        ([np.uint64(1 << 63)], "json"),
        ([True, 1], "json"),
        (["a", np.str_("b")], "text"),
        ([b"a"], "hex"),
        ([b"a", "a"], "json"),
        ([np.longdouble(1)], "json"),
        ([np.datetime64("2026-01-01")], "json"),
        ([None, None], "json"),
    ],
)
def test_a_columns_kind_holds_all_of_its_values(tmp_path: Path, values: list[Any], kind: str) -> None:
    frames = [make_frame(0, i, infos=({"v": value}, {})) for i, value in enumerate(values)]
    run = read(tmp_path / "run", of_frames(*frames, verified=len(values)))
    assert [c.kind for c in frame_layouts(run)[0].columns if c.name == "info.0.v"] == [kind]
    assert len(rows_of(run)) == len(values)


@pytest.mark.parametrize(
    ("values", "kind", "rows"),
    [
        ([[0, 1], [2, 1 << 60]], "ints", [[0, 1], [2, 1 << 60]]),
        ([[0.5, -0.0], [0.0, 1e300]], "floats", [[0.5, -0.0], [0.0, 1e300]]),
        ([[1 << 63], [1]], "json", ["[9223372036854775808]", "[1]"]),
        ([[0.5, 1], [1.5, 2]], "json", ["[0.5,1]", "[1.5,2]"]),
        ([[[0.5], 1], [[1.5], 2]], "json", ["[[0.5],1]", "[[1.5],2]"]),
        ([{"grip": 1, "arm": [0.5]}] * 2, "json", ['{"arm":[0.5],"grip":1}'] * 2),
        (["up", ""], "text", ["up", ""]),
    ],
)
def test_actions_of_several_numbers_are_lists(tmp_path: Path, values: list[Any], kind: str, rows: list[Any]) -> None:
    frames = [make_frame(0, i, actions=(value, 0), infos=({"v": value}, {})) for i, value in enumerate(values)]
    run = read(tmp_path / "run", of_frames(*frames, verified=1))
    kinds = {column.name: column.kind for column in frame_layouts(run)[0].columns}
    assert (kinds["action.0"], kinds["action.1"]) == (kind, "int")
    assert repr([row["action.0"] for row in rows_of(run)]) == repr(rows)
    # What an environment tells of itself may have any length and stays as it was.
    assert kind not in ("ints", "floats") or kinds["info.0.v"] == "json"


def test_whole_rewards_are_floats_in_every_run() -> None:
    assert resolve(["int"], prefer_float=True) == "float"
    assert resolve([], prefer_float=True) == "float"


def test_unverified_frames_do_not_touch_the_columns_of_frames(tmp_path: Path) -> None:
    def infos(frame: int) -> tuple[Any, ...]:
        return ({"late": "text"} if frame >= 15 else {"early": frame}, {"both": "x" if frame >= 15 else 1})

    run = read(tmp_path / "run", match_records(episodes=1, frames=20, unverified=5, infos=infos))
    layout, unverified = ({c.name: c.kind for c in layout.columns} for layout in frame_layouts(run))
    assert "info.0.late" not in layout
    assert layout["info.1.both"] == "int"
    assert unverified["info.0.late"] == "text"
    assert unverified["info.1.both"] == "json"
    assert set(layout) < set(unverified)


def test_observations_have_columns_where_they_were_recorded(tmp_path: Path) -> None:
    seen = ({"map": np.zeros((2, 2), np.int8), "left": 3}, np.float32([0.5, 1]))
    rows = rows_of(read(tmp_path / "run", of_frames(make_frame(0, 0, observations=seen), verified=0)))
    assert rows[0]["observation.0.map"] == "[[0,0],[0,0]]"
    assert rows[0]["observation.0.left"] == 3
    assert rows[0]["observation.1"] == "[0.5,1.0]"


def test_keys_made_up_while_running_become_one_column(tmp_path: Path) -> None:
    frames = [make_frame(0, i, infos=({f"k{i}.{j}": j for j in range(300)}, {"k": i})) for i in range(6)]
    run = read(tmp_path / "run", of_frames(*frames, verified=3))
    for layout, expected in zip(frame_layouts(run), (["info.1.k", "info.0"], ["info.1.k", "info.0"]), strict=True):
        assert [column.name for column in layout.columns if column.name.startswith("info")] == expected
    assert json.loads(rows_of(run)[2]["info.0"]) == {f"k2.{j}": j for j in range(300)}


def test_keys_seen_before_and_after_verification_count_once(tmp_path: Path) -> None:
    frames = [make_frame(0, i, infos=({f"k{j}": j for j in range(600)}, {})) for i in range(2)]
    run = read(tmp_path / "run", of_frames(*frames, verified=0))
    for layout in frame_layouts(run):
        assert sum(column.name.startswith("info.0.k") for column in layout.columns) == 600


def test_names_of_columns_are_distinct() -> None:
    assert agent_labels([0, "0"]) == ("0#0", "0#1")
    assert agent_labels(["a.b", "a"]) == ("a\\.b", "a")
    infos = ({"x.y": 1, "x": {"y": 2, "z": {}}, "x\\": {"y": 3}, 1: 4, "1": 5, "[1]": 6}, {})
    cells = frame_cells(("a\\.b", "a"), make_frame(0, 0, infos=infos), seated=("person", "bot"))
    names = [name for name in cells if name.startswith("info")]
    assert len(names) == 7
    assert {group_of(name) for name in names} == {"info.a\\.b"}


def test_csv_keeps_null_and_empty_text_apart_and_floats_exact() -> None:
    row = [None, "", "a,b", 'say "x"', "two\nlines", 0.1 + 0.2, -0.0, math.nan, 1 << 60, True, False]
    assert csv_line(row) == (
        ',"","a,b","say ""x""","two\nlines",0.30000000000000004,-0.0,nan,1152921504606846976,true,false\n'
    )
    assert csv_line([[1, 2], [0.1 + 0.2], [-0.0]]) == '"[1,2]",[0.30000000000000004],[-0.0]\n'


def test_json_text_depends_on_the_value_alone() -> None:
    assert to_json_text({"b": 1, "a": -math.inf}) == to_json_text({"a": -math.inf, "b": 1}) == '{"a":"-Infinity","b":1}'
    assert to_json_text("\ud800") == '"\\\\ud800"'
