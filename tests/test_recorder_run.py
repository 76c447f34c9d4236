"""A run folder: never overwritten, told when the disk fails, readable after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import namedtuple
from datetime import datetime
from pathlib import Path

import pytest
from recorder_runs import make_frame, make_header, match_records, write_run

from p2pclient.common.errors import RecordingError
from p2pclient.recorder import writing
from p2pclient.recorder.crash import write_crash_report
from p2pclient.recorder.manifest import LOG_NAME, ClockAnchor, read_manifest
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.records import EpisodeStarted, FrameRecorded, FramesVerified, Record
from p2pclient.recorder.run import RunWriter, check_folder, create_run_folder

ROOT = Path(__file__).parents[1]


def test_folders_of_the_same_second_differ(tmp_path: Path) -> None:
    at = datetime(2026, 11, 21, 14, 3, 22)
    names = [create_run_folder(tmp_path / "runs", "k3v9", 0, at=at).name for _ in range(3)]
    assert names == ["2026-11-21_14-03-22_k3v9_0", "2026-11-21_14-03-22_k3v9_0-2", "2026-11-21_14-03-22_k3v9_0-3"]


def test_a_hostile_match_name_stays_in_the_folder(tmp_path: Path) -> None:
    folder = create_run_folder(tmp_path, "../../etc/passwd\0:*?" + "x" * 500, 1)
    assert folder.parent == tmp_path
    assert folder.is_dir()


def test_a_finished_run_reads_back_as_written(tmp_path: Path) -> None:
    records = list(match_records(episodes=3, frames=10, unverified=4))
    run = RunReader(write_run(tmp_path / "run", iter(records)))
    assert list(run.records()) == records
    assert run.was_finished
    assert (run.recorded, run.verified) == (30, 26)
    assert [episode.seed for episode in run.episodes] == [1000, 1001, 1002]
    assert [frame.frame for frame in run.frames(verified=False)] == [6, 7, 8, 9]


def test_the_manifest_says_what_the_run_was(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", match_records(episodes=2, frames=10, unverified=4))
    manifest = read_manifest(folder)
    assert manifest["status"] == "finished"
    assert manifest["counts"] == {
        "recorded": 20,
        "verified": 16,
        "unverified": 4,
        "withdrawn": 0,
        "episodes_started": 2,
        "episodes_ended": 2,
        "desyncs": 0,
    }
    assert manifest["env"]["agents"] == [0, 1]
    assert manifest["versions"].keys() >= {"tandem", "python", "numpy", "aiortc", "system"}
    assert [episode["seed"] for episode in manifest["episodes"]] == [1000, 1001]
    assert manifest["outcome"] == {"reason": "completed", "seat": 0}
    assert manifest["desync_reports"] == []
    assert manifest["log_bytes"] == (folder / LOG_NAME).stat().st_size
    assert manifest["started_utc"] < manifest["ended_utc"]
    assert sorted(path.name for path in folder.iterdir()) == [LOG_NAME, "manifest.json"]


def test_the_manifest_keeps_the_telemetry_of_the_outcome(tmp_path: Path) -> None:
    telemetry = {"peers": {1: {"rtt_ms": {"median": 61.5, "p99": float("nan")}, "drops": {"old": 3}}}, "stalls": 2}
    writer = RunWriter(tmp_path, make_header())
    writer.finish({"reason": "finished", "telemetry": telemetry})
    outcome = read_manifest(tmp_path)["outcome"]
    peer = {"rtt_ms": {"median": 61.5, "p99": "NaN"}, "drops": {"old": 3}}
    assert outcome["telemetry"] == {"peers": {"[1]": peer}, "stalls": 2}


def test_a_manifest_with_nan_is_strict_json(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    RunWriter(folder, make_header(settings={"x": float("nan"), "y": b"\x01", 3: (1, 2)})).finish({})
    text = (folder / "manifest.json").read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(text, parse_constant=refuse)["settings"] == {"x": "NaN", "y": "01", "[3]": [1, 2]}


def test_the_anchor_maps_between_the_clocks() -> None:
    anchor = ClockAnchor(perf_counter=100.0, utc=1_000_000.0)
    assert anchor.to_utc(101.5) == 1_000_001.5


def test_a_second_run_in_a_folder_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", match_records())
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(RecordingError, match="never overwritten"):
        RunWriter(folder, make_header())
    assert (folder / "manifest.json").read_bytes() == before


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="the folder is gone"):
        RunWriter(tmp_path / "nowhere", make_header())


def test_a_file_in_the_way_is_told_before_a_match(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="file"):
        check_folder(tmp_path / "file" / "runs")


def test_a_read_only_disk_is_told_before_a_match(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("a read-only disk needs root on Linux")
    try:
        for attempt in (check_folder, lambda parent: create_run_folder(parent, "m", 0)):
            with pytest.raises(RecordingError, match="the disk is read-only: choose another folder"):
                attempt(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_little_space_is_told_before_a_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_folder(tmp_path / "runs") == []
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda folder: usage(10**12, 0, 50 << 20))
    (warning,) = check_folder(tmp_path / "runs")
    assert warning.startswith("only 50 MB are free")
    assert list((tmp_path / "runs").iterdir()) == []


RECORD_UNTIL_KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from recorder_runs import make_header, match_records
from p2pclient.recorder.records import FrameRecorded
from p2pclient.recorder.run import RunWriter
writer = RunWriter(Path(sys.argv[1]), make_header())
for record in match_records(episodes=10_000, frames=50):
    writer.record(record)
    if isinstance(record, FrameRecorded):
        print(record.episode, record.frame, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 49, 50, 51, 333])
def test_a_killed_run_reads_back_up_to_its_last_reported_frame(tmp_path: Path, lines: int) -> None:
    arguments = [sys.executable, "-c", RECORD_UNTIL_KILLED, str(tmp_path), str(Path(__file__).parent)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    seen += [line for line in process.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
    process.wait()
    process.stdout.close()
    run = RunReader(tmp_path)
    frames = [(frame.episode, frame.frame) for frame in run.frames()]
    reported = [tuple(map(int, line.split())) for line in seen]
    assert len(reported) >= lines
    assert frames[: len(reported)] == reported
    assert not run.was_finished
    assert run.verified <= run.recorded
    assert run.verified > 0 or lines == 1


def test_a_run_that_goes_on_is_read_as_long_as_it_was(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, make_header())
    writer.record(EpisodeStarted(0, 5, bytes(8)))
    writer.record(make_frame(0, 0))
    run = RunReader(tmp_path)
    writer.record(make_frame(0, 1))
    assert [frame.frame for frame in run.frames()] == [0]
    writer.close()
    assert RunReader(tmp_path).recorded == 2


START = EpisodeStarted(0, 5, bytes(8))


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([make_frame(0, 0)], "not in the current episode"),
        ([START, make_frame(0, 1)], "frame 1 of episode 0 follows frame -1"),
        ([START, make_frame(0, 0), make_frame(0, 0)], "frame 0 of episode 0 follows frame 0"),
        ([START, START], "starts again"),
        ([FramesVerified(0, 0)], "before it started"),
        ([START, make_frame(0, 0, focus=(True,))], "not of 2 seats"),
        ([START, make_frame(0, 0, observations=())], "not of 2 seats"),
    ],
)
def test_a_log_that_contradicts_itself_is_refused(tmp_path: Path, records: list[Record], problem: str) -> None:
    folder = write_run(tmp_path / "run", iter(records))
    with pytest.raises(RecordingError, match=problem):
        RunReader(folder)


def test_what_stands_before_damage_can_be_salvaged(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", match_records(episodes=1, frames=20))
    data = bytearray((folder / LOG_NAME).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / LOG_NAME).write_bytes(data)
    with pytest.raises(RecordingError, match="damaged at byte"):
        RunReader(folder)
    run = RunReader(folder, salvage=True)
    assert run.damage is not None
    assert 5 < run.recorded < 15
    assert len([record for record in run.records() if isinstance(record, FrameRecorded)]) == run.recorded


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "{}", '{"format": 1}', '{"format": 1, "env": {"agents": []}}', "[" * 100_000]
)
def test_a_broken_manifest_is_refused(tmp_path: Path, text: str) -> None:
    folder = write_run(tmp_path / "run", match_records())
    (folder / "manifest.json").write_text(text)
    with pytest.raises(RecordingError, match="manifest"):
        RunReader(folder)


def test_a_crash_leaves_a_report_without_secrets(tmp_path: Path) -> None:
    try:
        raise ZeroDivisionError("what happened")
    except ZeroDivisionError as error:
        settings = {"rate_hz": 15, "server": {"url": "http://x", "password": "hunter2"}, "turn_token": "abc"}
        paths = [write_crash_report(tmp_path, error, ["line 1\n", "line 2"], {"tandem": "1"}, settings) for _ in "12"]
    text = paths[0].read_text()
    assert len(set(paths)) == 2
    assert all(part in text for part in ("ZeroDivisionError: what happened", "line 2", "tandem = 1", "rate_hz = 15"))
    assert "hunter2" not in text
    assert "abc" not in text
