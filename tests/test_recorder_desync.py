"""Reports of desyncs: both states as they were, an event that points to them; no match waits or ends for it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorder_runs import make_header, match_records, write_run

from p2pclient.common.errors import RecordingError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.envhost.values import encode
from p2pclient.recorder.desync import MAX_REPORTS, read_report, render_report, report_of
from p2pclient.recorder.exact import from_exact, to_exact
from p2pclient.recorder.export import main as export
from p2pclient.recorder.log import MAX_PAYLOAD_BYTES
from p2pclient.recorder.manifest import ClockAnchor, read_manifest
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.records import DESYNC_VERDICTS, DesyncEvidence, DesyncReported, EventRecorded, Record
from p2pclient.recorder.run import RunWriter
from p2pclient.recorder.verify import SAME, is_same, main, verify_folders

ROOT = Path(__file__).parents[1]
OURS = {"frame": 13, "environment": {"x": 1.5, "grid": np.arange(6, dtype="<i2").reshape(2, 3), "rng": b"\x00\xff"}}
THEIRS = {"frame": 13, "environment": {"x": -0.0, "grid": np.zeros((2, 3), "<i2"), "rng": b"\x00\xfe"}}
REPORT = DesyncReported(
    episode=0,
    frame=12,
    peer=7,
    ours=OURS,
    theirs=THEIRS,
    differences=(("environment.x", 1.5, -0.0), ("environment.grid[0][1]", np.int16(1), np.int16(0))),
    verdict="agreed",
)


def with_report(report: DesyncReported = REPORT) -> Iterator[Record]:
    for number, record in enumerate(match_records(episodes=1, frames=20)):
        yield record
        if number == 30:
            yield report


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", with_report())


def fields_of(report: DesyncReported) -> list[Any]:
    return [getattr(report, name) for name in DesyncReported.__slots__]


def test_a_report_reads_back_as_it_was(run: Path) -> None:
    assert is_same(fields_of(read_report(run / "desync-e0-f12.json")), fields_of(REPORT))
    assert not list(run.glob("*.part"))


def test_the_file_says_who_when_and_what_without_this_program(run: Path) -> None:
    found = json.loads((run / "desync-e0-f12.json").read_text("ascii"))
    manifest = read_manifest(run)
    assert manifest["started_utc"] < found["written_utc"] < manifest["ended_utc"]
    about = {name: found[name] for name in ("match_id", "env", "episode", "frame", "own_seats", "peer", "verdict")}
    assert about == {
        "match_id": "m1",
        "env": "test:Nothing-V0",
        "episode": 0,
        "frame": 12,
        "own_seats": [0],
        "peer": 7,
        "verdict": "agreed",
    }
    assert found["meaning"] == DESYNC_VERDICTS["agreed"]
    assert found["differences"][0] == ["environment.x", 1.5, -0.0]
    grid = found["ours"]["environment"]["grid"]
    values = np.frombuffer(base64.b64decode(grid["data"]), grid["$array"]).reshape(grid["shape"])
    assert values.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert base64.b64decode(found["theirs"]["environment"]["rng"]["$bytes"]) == b"\x00\xfe"


def test_the_file_has_a_line_for_each_difference_and_each_state() -> None:
    header = make_header(clock=ClockAnchor(100.0, 1_700_000_000.0))
    text = render_report(replace(REPORT, ours=None, theirs={"a": (1, 2)}), header, at=101.5).decode()
    assert text == (
        '{\n  "format": 1,\n  "match_id": "m1",\n  "env": "test:Nothing-V0",\n  "args": {},\n  "episode": 0,\n'
        '  "frame": 12,\n  "own_seats": [0],\n  "peer": 7,\n  "written_utc": "2023-11-14T22:13:21.500000+00:00",\n'
        '  "verdict": "agreed",\n  "meaning": "all sides simulated again from the last frame that they had agreed to,'
        ' and agreed: the match went on",\n  "differences": [\n    ["environment.x",1.5,-0.0],\n'
        '    ["environment.grid[0][1]",{"$scalar":"<i2","text":"1","data":"AQA="},'
        '{"$scalar":"<i2","text":"0","data":"AAA="}]\n  ],\n  "ours": null,\n  "theirs": {"a":{"$tuple":[1,2]}}\n}\n'
    )


def test_the_log_points_to_the_file_and_names_the_first_difference(run: Path) -> None:
    reader = RunReader(run)
    assert [record for record in reader.records() if record == reader.desyncs[0]] == reader.desyncs
    assert reader.desyncs == [
        EventRecorded(
            "desync-report",
            0,
            12,
            {
                "peer": 7,
                "verdict": "agreed",
                "differences": 2,
                "first_difference": ["environment.x", "1.5", "-0.0"],
                "report": "desync-e0-f12.json",
            },
        )
    ]
    assert read_manifest(run)["desync_reports"] == ["desync-e0-f12.json"]
    assert read_manifest(run)["events"]["desync-report"] == 1


def test_export_lists_and_copies_the_report(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert export([str(run), "--quiet", "--out", str(out)]) == 0
    line = (
        "desync at frame 12 of episode 0 with peer 7, first in environment.x: 1.5 here, -0.0 there; "
        f"{DESYNC_VERDICTS['agreed']}; report: desync-e0-f12.json"
    )
    assert line in capsys.readouterr().out.splitlines()
    assert (out / "desync-e0-f12.json").read_bytes() == (run / "desync-e0-f12.json").read_bytes()
    rows = [row for row in pq.read_table(out / "events.parquet").to_pylist() if row["name"] == "desync-report"]
    assert [json.loads(row["details"])["report"] for row in rows] == ["desync-e0-f12.json"]


def test_verify_mentions_the_report_of_either_side(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_run(tmp_path / "other", match_records(episodes=1, frames=20))
    verdict = verify_folders(other, run)
    assert verdict.code == SAME
    assert [note[:32] for note in verdict.notes] == ["B: desync at frame 12 of episode"]
    assert main([str(run), str(other), "--json"]) == SAME
    assert json.loads(capsys.readouterr().out)["notes"][0].startswith("A: desync at frame 12")
    (run / "desync-e0-f12.json").unlink()
    assert verify_folders(run, other).notes[0].endswith("report: desync-e0-f12.json (missing)")


def test_reports_of_one_frame_never_share_a_file(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, make_header())
    names = [writer.write_desync(replace(REPORT, peer=peer)) for peer in (7, 8)]
    names.append(writer.write_desync(replace(REPORT, frame=NULL_FRAME)))
    writer.finish({})
    assert names == ["desync-e0-f12.json", "desync-e0-f12-2.json", "desync-e0-start.json"]
    found = [read_report(tmp_path / name) for name in names if name is not None]
    assert [(report.peer, report.frame) for report in found] == [(7, 12), (8, 12), (7, NULL_FRAME)]
    assert read_manifest(tmp_path)["desync_reports"] == names


def test_many_desyncs_do_not_fill_the_disk(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, make_header())
    names = [writer.write_desync(replace(REPORT, frame=frame)) for frame in range(MAX_REPORTS + 5)]
    writer.finish({})
    assert names[MAX_REPORTS - 1 :] == [f"desync-e0-f{MAX_REPORTS - 1}.json", *[None] * 5]
    assert len(list(tmp_path.glob("desync-*"))) == MAX_REPORTS
    run = RunReader(tmp_path)
    assert len(run.desyncs) == MAX_REPORTS + 5
    assert verify_folders(tmp_path, tmp_path).notes[-1].endswith("; no report was written")


def test_a_huge_difference_does_not_spoil_the_log(tmp_path: Path) -> None:
    huge = "é" * (MAX_PAYLOAD_BYTES // 3)
    writer = RunWriter(tmp_path, make_header())
    writer.record(replace(REPORT, differences=((huge, huge, [1] * 1000),)))
    writer.finish({})
    (event,) = RunReader(tmp_path).desyncs
    assert [len(part) for part in event.details["first_difference"]] == [203, 203, 203]
    assert read_report(tmp_path / "desync-e0-f12.json").differences[0][0] == huge


def test_a_report_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    writer = RunWriter(
        tmp_path, make_header(), on_problem=lambda text: told.append((threading.current_thread().name, text))
    )
    (tmp_path / "desync-e0-f12.json").mkdir()
    for record in with_report():
        writer.record(record)
    writer.finish({"reason": "finished"})
    ((thread, problem),) = told
    assert problem.startswith("the report of a desync is missing: ")
    assert "desync-e0-f12.json" in problem
    assert thread.startswith("desync-report")  # not the match's
    manifest = read_manifest(tmp_path)
    assert manifest["problems"] == [problem]
    assert manifest["desync_reports"] == []
    assert (manifest["status"], manifest["counts"]["recorded"]) == ("finished", 20)
    assert len(RunReader(tmp_path).desyncs) == 1


@pytest.mark.parametrize("state", [{"f": object()}, {"a": np.array([object()])}, {"v": np.void(b"abc")}])
def test_a_state_that_is_no_plain_data_is_told(tmp_path: Path, state: Any) -> None:
    writer = RunWriter(tmp_path, make_header())
    writer.record(replace(REPORT, theirs=state))
    writer.finish({})
    (problem,) = writer.problems()
    assert "not plain data" in problem
    assert not list(tmp_path.glob("desync-*"))


def evidence(ours: Any, theirs: bytes | None = None) -> DesyncEvidence:
    return DesyncEvidence(0, 12, 7, encode(ours), encode(THEIRS) if theirs is None else theirs, "agreed")


def test_small_states_are_compared_at_once(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, make_header())
    writer.record(evidence(OURS))
    (event,) = [r for r in RunReader(tmp_path).records() if isinstance(r, EventRecorded)]
    assert event.details["first_difference"][0] == "environment.grid[0, 1]"
    assert event.details["differences"] > 2
    writer.finish({})
    report = read_report(tmp_path / "desync-e0-f12.json")
    assert (report.frame, report.peer, report.verdict) == (12, 7, "agreed")
    assert is_same(report.ours, OURS)
    assert is_same(report.theirs, THEIRS)
    assert len(report.differences) == event.details["differences"]


def test_large_states_are_compared_beside_the_match(tmp_path: Path) -> None:
    ours, theirs = ({"grid": bytes(40_000), "x": x} for x in (1, 2))
    writer = RunWriter(tmp_path, make_header())
    writer.record(evidence(ours, encode(theirs)))
    (event,) = RunReader(tmp_path).desyncs
    assert (event.details["differences"], event.details["first_difference"]) == (None, None)
    writer.finish({})
    report = read_report(tmp_path / "desync-e0-f12.json")
    assert report.differences == (("x", 1, 2),)
    assert is_same(report.theirs, theirs)


@pytest.mark.parametrize("size", [1 << 20, 16 << 20])
def test_a_state_far_larger_than_ours_is_not_even_read(size: int) -> None:
    nested = b"\x91" * 50 + b"\x80" * size  # small in bytes, large in memory
    report = report_of(evidence(OURS, nested))
    assert (report.theirs, report.differences) == (None, ())
    assert is_same(report.ours, OURS)


@pytest.mark.parametrize("theirs", [b"\xff no value", b"\x91" * 4000, b""])
def test_what_is_no_state_is_left_out(theirs: bytes) -> None:
    report = report_of(evidence(OURS, theirs))
    assert (report.theirs, report.differences) == (None, ())


def test_without_a_log_there_is_no_report(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, make_header())
    writer.close()
    with pytest.raises(RecordingError, match="is closed"):
        writer.record(REPORT)
    assert not list(tmp_path.glob("desync-*"))


REPORT_AND_DIE = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from recorder_runs import make_header
from p2pclient.recorder.records import DesyncReported
from p2pclient.recorder.run import RunWriter
writer = RunWriter(Path(sys.argv[1]), make_header())
big = [float(i) for i in range(300_000)]
writer.record(DesyncReported(0, 3, 1, big, big, (("[0]", 1.0, 2.0),), "ended"))
os._exit(9)
"""


def test_a_desync_is_known_of_after_a_kill(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", REPORT_AND_DIE, str(tmp_path), str(Path(__file__).parent)]
    assert subprocess.run(arguments, cwd=ROOT, check=False).returncode == 9
    (event,) = RunReader(tmp_path).desyncs
    assert event.details["first_difference"] == ["[0]", "1.0", "2.0"]
    report = tmp_path / "desync-e0-f3.json"
    assert not report.exists() or read_report(report).verdict == "ended"  # whole, or not there


@pytest.mark.parametrize("name", ["../secret.json", "/etc/passwd", "manifest.json", "desync-e0-f1.json/../x", 5, None])
def test_a_log_leads_nowhere_out_of_its_folder(tmp_path: Path, name: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secret.json").write_text("{}")
    details = {"report": name, "first_difference": [1], "verdict": ["x"]}
    folder = write_run(tmp_path / "run", iter([EventRecorded("desync-report", 0, 1, details)]))
    out = tmp_path / "out"
    assert export([str(folder), "--quiet", "--format", "csv", "--out", str(out)]) == 0
    assert capsys.readouterr().out.endswith('with peer null; ["x"]; no report was written\n')
    assert {path.suffix for path in out.iterdir()} == {".csv", ".json"}
    assert [path.name for path in out.glob("*.json")] == ["manifest.json"]
    assert not (tmp_path / "passwd").exists()


plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(1 << 80), 1 << 80),
        st.floats(),
        st.text(st.characters(), max_size=6),
        st.binary(max_size=6),
        st.floats().map(np.float64),
        st.integers(-9, 9).map(np.int8),
        st.booleans().map(np.bool_),
        st.binary(max_size=4).map(np.bytes_),
        st.text(max_size=4).map(np.str_),
        st.lists(st.floats(width=32), max_size=4).map(lambda items: np.array(items, ">f4")),
        st.sampled_from([np.zeros((0, 3)), np.array(5), np.array(["a", "bc"]), np.array([1, 2], "<M8[s]")]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=4), st.integers(), st.just("$bytes")), inner, max_size=3),
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(plain)
def test_any_plain_state_keeps_its_types_and_values(state: Any) -> None:
    text = json.dumps(to_exact(state), allow_nan=False)
    assert is_same(from_exact(json.loads(text)), state)


def test_text_of_numpy_keeps_its_last_zeros() -> None:
    state = [np.str_("a\0"), np.bytes_(b"a\0")]
    assert to_exact(state)[0] == {"$text": "a\0"}
    assert is_same(from_exact(to_exact(state)), state)


def nested(depth: int, wrap: Any) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {"a": v}, lambda v: {1: v}])
def test_the_deepest_state_is_kept_and_a_deeper_one_refused(tmp_path: Path, wrap: Any) -> None:
    report = replace(REPORT, ours=nested(100, wrap), differences=(("", nested(100, wrap), 1),))
    path = tmp_path / "report.json"
    path.write_bytes(render_report(report, make_header(), at=0.0))
    assert is_same(fields_of(read_report(path)), fields_of(report))
    with pytest.raises(RecordingError, match="deeper than 100"):
        render_report(replace(REPORT, ours=nested(103, wrap)), make_header(), at=0.0)


@pytest.mark.parametrize(
    "form",
    [
        {"$unknown": 1},
        {"$bytes": "!"},
        {"$int": "zz"},
        {"$float": "x"},
        {"$dict": [[1]]},
        {"$dict": [[[1], 2]]},
        {"$array": "|O", "shape": [1], "data": "AAAAAAAAAAA="},
        {"$array": "<i2", "shape": [3], "data": "AAA="},
        {"$array": "<i2", "shape": [-1, -1], "data": "AAA="},
        {"$array": "<i2", "data": "AAA="},
        {"$scalar": "<i4", "data": "AAA="},
        {"$scalar": 5, "data": "AAA="},
        nested(250, lambda v: [v]),
    ],
)
def test_a_malformed_state_is_refused(run: Path, form: Any) -> None:
    path = run / "desync-e0-f12.json"
    found = json.loads(path.read_bytes())
    found["theirs"] = form
    path.write_text(json.dumps(found))
    with pytest.raises(RecordingError, match="is damaged"):
        read_report(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1}', "[" * 100_000])
def test_what_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "desync-e0-f1.json"
    path.write_text(text)
    with pytest.raises(RecordingError, match=r"damaged|not a report"):
        read_report(path)
    with pytest.raises(RecordingError, match="cannot be read"):
        read_report(tmp_path / "missing.json")
