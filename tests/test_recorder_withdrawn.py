"""Withdrawn frames: they stay in the log and count nowhere; never two rows of one frame, wherever the log ends."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from recorder_runs import make_frame, make_header, make_timing, match_records, write_run

from p2pclient.common.errors import RecordingError
from p2pclient.recorder.encoding import decode_record, encode_record
from p2pclient.recorder.export import main as export
from p2pclient.recorder.log import LogReader
from p2pclient.recorder.manifest import LOG_NAME, read_manifest
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.records import (
    EpisodeEnded,
    EpisodeStarted,
    FrameRecorded,
    FramesVerified,
    FramesWithdrawn,
    FrameTimed,
    LogRecord,
    Record,
)
from p2pclient.recorder.run import RunWriter
from p2pclient.recorder.standing import Standing
from p2pclient.recorder.verify import BEGINNING, DIFFERENT, SAME, main, verify_folders

WRONG = b"\xff" * 8


def wrong_frame(frame: int) -> FrameRecorded:
    return make_frame(0, frame, checksum=WRONG, rewards=(99.0, 99.0), infos=({"wrong": "x"}, {}))


def played_again(*, first: int = 12, wrong: int = 8, frames: int = 30) -> Iterator[Record]:
    """Two episodes; in the first, ``wrong`` frames from ``first`` on are withdrawn, and recorded as they should be."""
    right = list(match_records(episodes=2, frames=frames))
    at = next(i for i, r in enumerate(right) if isinstance(r, FrameRecorded) and r.frame == first)
    # Frame 11 is not yet verified when frame 12 is recorded.
    yield from right[:at]
    yield FramesVerified(0, first - 1)
    for frame in range(first, first + wrong):
        yield wrong_frame(frame)
        yield make_timing(0, frame, started=50.0)
    yield FramesWithdrawn(0, first)
    yield from right[at:]


@pytest.fixture
def again(tmp_path: Path) -> Path:
    return write_run(tmp_path / "again", played_again())


@pytest.fixture
def straight(tmp_path: Path) -> Path:
    return write_run(tmp_path / "straight", match_records(episodes=2, frames=30))


def test_frames_recorded_anew_are_the_ones_that_count(again: Path, straight: Path) -> None:
    run, other = RunReader(again), RunReader(straight)
    assert sum(isinstance(r, FrameRecorded) and r.checksum == WRONG for r in run.records()) == 8
    assert list(run.frames()) == list(other.frames())
    assert list(run.frames(verified=True)) == list(other.frames(verified=True))
    assert (run.recorded, run.verified, run.withdrawn) == (60, 60, 8)
    assert [episode.withdrawn for episode in run.episodes] == [8, 0]
    assert other.withdrawn == 0


def test_the_manifest_counts_withdrawn_frames_apart(again: Path) -> None:
    manifest = read_manifest(again)
    assert manifest["counts"] == {
        "recorded": 60,
        "verified": 60,
        "unverified": 0,
        "withdrawn": 8,
        "episodes_started": 2,
        "episodes_ended": 2,
        "desyncs": 0,
    }
    assert [(e["recorded"], e["withdrawn"]) for e in manifest["episodes"]] == [(30, 8), (30, 0)]


def test_exports_are_those_of_a_run_without_a_withdrawal(
    again: Path, straight: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export([str(straight), "--quiet"]) == 0
    assert "withdrawn" not in capsys.readouterr().out
    assert export([str(again), "--quiet"]) == 0
    assert "8 frames were withdrawn after a desync" in capsys.readouterr().out
    for name in ("frames.csv", "frames.parquet", "unverified.csv", "unverified.parquet"):
        assert (again / name).read_bytes() == (straight / name).read_bytes()
    events = pq.read_table(again / "events.parquet").to_pylist()
    expected = {"episode": 0, "frame": 12, "name": "frames-withdrawn", "details": "{}"}
    assert [event for event in events if event["name"] != "connection"] == [expected]


def test_the_newest_timing_of_a_frame_is_its_row(again: Path) -> None:
    assert export([str(again), "--quiet"]) == 0
    rows = pq.read_table(again / "timing.parquet").to_pylist()
    assert [(row["episode"], row["frame"]) for row in rows] == [(e, f) for e in (0, 1) for f in range(30)]
    assert max(row["applied_at"] for row in rows) < 50


def test_a_timing_that_was_not_measured_anew_stays(tmp_path: Path) -> None:
    once = [r for r in played_again() if not (isinstance(r, FrameTimed) and r.applied_at < 50 and 15 <= r.frame < 18)]
    folder = write_run(tmp_path / "run", iter(once))
    assert export([str(folder), "--quiet"]) == 0
    rows = [row for row in pq.read_table(folder / "timing.parquet").to_pylist() if row["episode"] == 0]
    assert sorted(row["frame"] for row in rows) == list(range(30))
    assert sorted(row["frame"] for row in rows if row["applied_at"] > 50) == [15, 16, 17]


def test_verify_compares_what_stands_and_mentions_the_rest(
    again: Path, straight: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = verify_folders(straight, again)
    assert (verdict.code, verdict.frames) == (SAME, 60)
    assert verdict.notes == ("B: 8 frames were withdrawn after a desync",)
    assert main([str(straight), str(again)]) == SAME
    assert capsys.readouterr().out == "same: 60 frames\nB: 8 frames were withdrawn after a desync\n"


def test_a_difference_in_frames_recorded_anew_is_found(tmp_path: Path, straight: Path) -> None:
    records = list(played_again())
    (at,) = (i for i, r in enumerate(records) if r == make_frame(0, 14))
    records[at] = replace(make_frame(0, 14), checksum=WRONG)
    verdict = verify_folders(straight, write_run(tmp_path / "other", iter(records)))
    assert (verdict.code, verdict.episode, verdict.frame, verdict.field) == (DIFFERENT, 0, 14, "checksum")


class Model:
    """The same rules without offsets: a list that is cut, and a dict of timings."""

    def __init__(self, records: Sequence[LogRecord]) -> None:
        self.frames: dict[int, list[FrameRecorded]] = {}
        self.timings: dict[tuple[int, int], FrameTimed] = {}
        self.verified: dict[int, int] = {}
        for record in records:
            if isinstance(record, EpisodeStarted):
                self.frames[record.episode] = []
            elif isinstance(record, FrameRecorded):
                self.frames[record.episode].append(record)
            elif isinstance(record, FramesWithdrawn):
                del self.frames[record.episode][record.first_frame :]
            elif isinstance(record, FrameTimed):
                self.timings[record.episode, record.frame] = record
            elif isinstance(record, FramesVerified):
                self.verified[record.episode] = record.frame

    def check(self, run: RunReader) -> None:
        assert list(run.frames()) == [frame for frames in self.frames.values() for frame in frames]
        assert run.recorded == sum(map(len, self.frames.values()))
        assert run.verified == sum(min(len(f), self.verified.get(e, -1) + 1) for e, f in self.frames.items())
        timings = [r for offset, r in run.records_at() if isinstance(r, FrameTimed) and run.stands(offset, r)]
        assert len(timings) == len(self.timings)
        assert {(r.episode, r.frame): r for r in timings} == self.timings


def random_records(chance: random.Random, steps: int) -> Iterator[LogRecord]:
    """Episodes with withdrawals wherever they are allowed, several of them reaching over each other."""
    episode, recorded, verified = -1, 0, -1
    for step in range(steps):
        kind = chance.random()
        if episode < 0 or kind < 0.02:
            episode, recorded, verified = episode + 1, 0, -1
            yield EpisodeStarted(episode, episode, bytes(8))
        elif kind < 0.7:
            yield make_frame(episode, recorded, checksum=step.to_bytes(8, "little"))
            recorded += 1
        elif kind < 0.8:
            recorded = chance.randint(verified + 1, recorded)
            yield FramesWithdrawn(episode, recorded)
        elif kind < 0.85 and recorded > verified + 1:
            verified = chance.randint(verified + 1, recorded - 1)
            yield FramesVerified(episode, verified)
        elif recorded:
            yield make_timing(episode, chance.randrange(recorded), started=float(step))


def test_wherever_a_log_ends_it_holds_what_stood_then(tmp_path: Path) -> None:
    records = list(played_again(first=4, wrong=3, frames=9))
    folder = write_run(tmp_path / "run", iter(records))
    log = folder / LOG_NAME
    data = log.read_bytes()
    offsets = [offset for offset, _ in LogReader(log).payloads()]
    assert len(offsets) == len(records) > 40
    for count, offset in enumerate(offsets):
        for end in (offset, offset + 7):
            log.write_bytes(data[:end])
            run = RunReader(folder)
            assert run.torn_bytes == end - offset
            Model(records[:count]).check(run)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(12))
def test_any_order_of_withdrawals_leaves_what_a_simple_model_says(tmp_path: Path, seed: int) -> None:
    records = list(random_records(random.Random(seed), 400))
    assert sum(isinstance(record, FramesWithdrawn) for record in records) > 10
    run = RunReader(write_run(tmp_path / "run", iter(records)))
    Model(records).check(run)
    assert run.withdrawn == sum(isinstance(record, FrameRecorded) for record in records) - run.recorded > 0


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 120))
def test_what_stands_is_what_no_later_withdrawal_reaches(seed: int, steps: int) -> None:
    records = list(enumerate(random_records(random.Random(seed), steps)))
    standing = Standing()
    for offset, record in records:
        standing.take(offset, record)
    for offset, record in records:
        if isinstance(record, FrameRecorded):
            later = [w for at, w in records if at > offset and isinstance(w, FramesWithdrawn)]
            reached = any(w.episode == record.episode and w.first_frame <= record.frame for w in later)
            assert standing.stands(offset, record) is not reached


def test_a_log_that_grows_is_read_as_it_was(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, make_header())
    for record in (EpisodeStarted(0, 5, bytes(8)), make_frame(0, 0), make_frame(0, 1)):
        writer.record(record)
    before = RunReader(tmp_path)
    writer.record(FramesWithdrawn(0, 0))
    assert writer.counts()["withdrawn"] == 2
    writer.close()
    assert len(list(before.frames())) == 2
    after = RunReader(tmp_path)
    assert (list(after.frames()), after.recorded, after.withdrawn) == ([], 0, 2)


def test_a_run_killed_after_a_withdrawal_is_the_beginning_of_the_other(tmp_path: Path, straight: Path) -> None:
    records = list(played_again())
    at = next(i for i, r in enumerate(records) if isinstance(r, FramesWithdrawn))
    killed = write_run(tmp_path / "killed", iter(records[: at + 1]))
    verdict = verify_folders(straight, killed)
    assert (verdict.code, verdict.frames) == (BEGINNING, 12)


def test_damage_behind_a_withdrawal_leaves_what_stood_before(again: Path) -> None:
    log = again / LOG_NAME
    data = bytearray(log.read_bytes())
    positions = [(offset, decode_record(payload)) for offset, payload in LogReader(log).payloads()]
    (damaged,) = (at for at, r in positions if isinstance(r, FrameRecorded) and (r.episode, r.frame) == (1, 3))
    data[damaged + 20] ^= 1
    log.write_bytes(data)
    run = RunReader(again, salvage=True)
    assert run.damage is not None
    assert (run.recorded, run.withdrawn) == (33, 8)
    assert WRONG not in {frame.checksum for frame in run.frames()}


START = EpisodeStarted(0, 5, bytes(8))
END = EpisodeEnded(0, 0, (0.0, 0.0), "limit")


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([FramesWithdrawn(0, 0)], "while it was not played"),
        ([START, FramesWithdrawn(1, 0)], "while it was not played"),
        ([START, EpisodeStarted(1, 5, bytes(8)), FramesWithdrawn(0, 0)], "while it was not played"),
        ([START, make_frame(0, 0), END, FramesWithdrawn(0, 0)], "while it was not played"),
        ([START, make_frame(0, 0), FramesWithdrawn(0, 2)], "frame 1 was not recorded"),
        ([START, make_frame(0, 0), FramesVerified(0, 0), FramesWithdrawn(0, 0)], "all had agreed up to frame 0"),
        ([START, make_frame(0, 0), FramesWithdrawn(0, 0), make_frame(0, 1)], "frame 1 of episode 0 follows frame -1"),
    ],
)
def test_a_withdrawal_that_cannot_be_is_refused(tmp_path: Path, records: list[Record], problem: str) -> None:
    with pytest.raises(RecordingError, match=problem):
        RunReader(write_run(tmp_path / "run", iter(records)))


def test_the_payload_of_a_withdrawal_is_frozen() -> None:
    assert encode_record(FramesWithdrawn(3, 500)).hex() == "07" + "92" + "03" + "cd01f4"
    assert decode_record(bytes.fromhex("079203cd01f4")) == FramesWithdrawn(3, 500)


@pytest.mark.parametrize("fields", ["9203ff", "9203c0", "9103", "92ff03"])
def test_an_impossible_withdrawal_is_refused(fields: str) -> None:
    with pytest.raises(RecordingError, match="FramesWithdrawn"):
        decode_record(bytes.fromhex("07" + fields))
