"""A recording is gone on with by the next process: in the same folder, behind its last whole record."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from recorder_runs import make_frame, make_header, make_timing, match_records

from p2pclient.common.errors import RecordingError
from p2pclient.match.past import Past
from p2pclient.protocol.clock import CLOCK_RANGE
from p2pclient.recorder.manifest import LOG_NAME, ClockAnchor, read_manifest
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.records import EpisodeEnded, EpisodeStarted, FramesVerified, FramesWithdrawn, FrameTimed
from p2pclient.recorder.resuming import ResumedRun, find_run, shift_times
from p2pclient.recorder.run import RunWriter, create_run_folder
from p2pclient.recorder.verify import verify_folders

HEADER = make_header()


def killed_run(parent: Path, *, frames: int = 30, verified: int = 20) -> Path:
    """A run whose process was killed after some frames of its first episode."""
    folder = create_run_folder(parent, HEADER.match_id, HEADER.own_seats[0])
    writer = RunWriter(folder, HEADER)
    writer.record(EpisodeStarted(0, seed=1000, first_checksum=bytes(8)))
    for frame in range(frames):
        writer.record(make_frame(0, frame))
        writer.record(make_timing(0, frame))
    writer.record(FramesVerified(0, verified))
    writer.close()
    return folder


def found(parent: Path) -> ResumedRun:
    run = find_run(parent, HEADER.match_id, tuple(HEADER.own_seats))
    assert run is not None
    return run


def go_on(parent: Path, *, first: int = 25, last: int = 49, header: object = HEADER) -> Path:
    """Take back what nobody else had, and record the rest."""
    run = found(parent)
    writer = RunWriter(run.folder, header, resumed=run)  # type: ignore[arg-type]
    writer.record(FramesWithdrawn(0, first))
    for frame in range(first, last + 1):
        writer.record(make_frame(0, frame))
    writer.record(FramesVerified(0, last))
    writer.record(EpisodeEnded(0, last, (1.0, 2.0), "limit"))
    writer.finish({"reason": "finished"})
    return run.folder


def test_both_halves_are_one_run_that_is_the_same_as_one_without_a_kill(tmp_path: Path) -> None:
    folder = killed_run(tmp_path)
    assert go_on(tmp_path) == folder
    run = RunReader(folder)
    assert (run.recorded, run.verified, run.withdrawn) == (50, 50, 5)
    counts = run.manifest["counts"]
    assert (counts["recorded"], counts["verified"], counts["withdrawn"]) == (50, 50, 5)
    other = tmp_path / "other"
    writer = RunWriter(create_run_folder(other, HEADER.match_id, 1), HEADER)
    for record in match_records(episodes=1, frames=50):
        writer.record(replace_totals(record))
    writer.finish({})
    verdict = verify_folders(folder, writer.folder)
    assert verdict.message == "same: 50 frames"
    assert verdict.notes == ("A: 5 frames were withdrawn when its player came back, and recorded again",)


def replace_totals(record: object) -> object:
    return EpisodeStarted(0, 1000, bytes(8)) if isinstance(record, EpisodeStarted) else record


def test_a_half_written_record_is_cut_off(tmp_path: Path) -> None:
    folder = killed_run(tmp_path)
    log = folder / LOG_NAME
    log.write_bytes(log.read_bytes() + b"half a record")
    go_on(tmp_path)
    run = RunReader(folder)
    assert (run.torn_bytes, run.recorded) == (0, 50)


def test_the_manifest_names_all_processes_and_keeps_one_clock(tmp_path: Path) -> None:
    folder = killed_run(tmp_path)
    first = read_manifest(folder)
    later = ClockAnchor(HEADER.clock.perf_counter + 1000.0, HEADER.clock.utc + 60.0)
    run = found(tmp_path)
    writer = RunWriter(run.folder, replace(HEADER, clock=later), resumed=run)
    writer.record(make_timing(0, 30, later.perf_counter))
    assert read_manifest(folder)["status"] == "running"
    writer.finish({})
    manifest = read_manifest(folder)
    assert manifest["clock"] == first["clock"]
    assert manifest["started_utc"] == first["started_utc"]
    assert manifest["earlier_processes"] == [os.getpid()]
    timed = [record for record in RunReader(folder).records() if isinstance(record, FrameTimed)][-1]
    # A minute later on the wall clock, whatever this process's own clock shows.
    assert timed.applied_at == pytest.approx(HEADER.clock.perf_counter + 60.0 + 30 / 15)


@pytest.mark.parametrize("seconds", [2.5, -940.0, 30.0])
def test_all_times_and_the_other_clocks_are_told_by_the_clock_of_the_log(seconds: float) -> None:
    told = {"sent_at": 100.5, "received_at": (None, 101.0), "clock_offset": (None, 7.5), "clock_bound": (None, 0.01)}
    plain = make_timing(0, 30)
    before = msgspec.structs.replace(plain, **told)
    after = shift_times(before, seconds)
    assert (after.sent_at, after.received_at) == (100.5 + seconds, (None, 101.0 + seconds))
    assert after.clock_bound == before.clock_bound
    nobody, offset = after.clock_offset
    assert nobody is None
    assert offset is not None
    assert abs(offset) <= CLOCK_RANGE / 2
    # What our time is on the other's clock has not changed, but for whole ranges.
    turns = (after.recorded_at + offset - before.recorded_at - 7.5) / CLOCK_RANGE
    assert turns == pytest.approx(round(turns), abs=1e-6)
    shifted = shift_times(plain, seconds)
    assert (shifted.sent_at, shifted.received_at, shifted.clock_offset) == (None, (), ())


@pytest.mark.parametrize("change", [{"match_id": "another"}, {"own_seats": [1]}, {"status": "finished"}, {"clock": {}}])
def test_another_run_is_not_gone_on_with(tmp_path: Path, change: dict[str, object]) -> None:
    folder = killed_run(tmp_path)
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert find_run(tmp_path, HEADER.match_id, tuple(HEADER.own_seats)) is None


def test_a_damaged_log_is_not_gone_on_with(tmp_path: Path) -> None:
    log = killed_run(tmp_path) / LOG_NAME
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 0xFF
    log.write_bytes(bytes(data))
    assert find_run(tmp_path, HEADER.match_id, tuple(HEADER.own_seats)) is None


def test_a_folder_that_holds_a_run_is_not_written_to_by_mistake(tmp_path: Path) -> None:
    folder = killed_run(tmp_path)
    with pytest.raises(RecordingError, match="never overwritten"):
        RunWriter(folder, HEADER)


def test_what_was_played_is_read_off_the_recording(tmp_path: Path) -> None:
    killed_run(tmp_path)
    past = Past.of(found(tmp_path).records)
    assert (past.episode, len(past.rows), past.verified, past.is_over) == (0, 30, 20, False)
    assert past.rows[7].inputs == make_frame(0, 7).inputs
    past.take(FramesWithdrawn(0, 25))
    past.take(EpisodeEnded(0, 24, (1.0, 2.0), "limit"))
    assert (len(past.rows), past.is_over, past.totals) == (25, True, [(1.0, 2.0)])
    past.take(EpisodeStarted(1, 1001, bytes(8)))
    assert (past.episode, past.rows, past.verified) == (1, [], -1)
