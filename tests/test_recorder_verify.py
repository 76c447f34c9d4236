"""Verify: same, different, beginning, unreadable; the first difference is named."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from recorder_runs import match_records, write_run

from p2pclient.recorder.manifest import LOG_NAME
from p2pclient.recorder.records import EpisodeEnded, EpisodeStarted, FrameRecorded, Record
from p2pclient.recorder.verify import BEGINNING, DIFFERENT, SAME, UNREADABLE, Verdict, main, verify_folders

Change = Callable[[Record], Record]


def infos(frame: int) -> tuple[Any, ...]:
    return ({"soups": frame} if frame % 4 == 0 else {}, {"x": math.nan, "a": np.float32([frame, math.nan])})


def write(folder: Path, change: Change = lambda record: record, **match: Any) -> Path:
    return write_run(folder, map(change, match_records(infos=infos, **match)))


def change_frame(episode: int, frame: int, **fields: Any) -> Change:
    def change(record: Record) -> Record:
        if isinstance(record, FrameRecorded) and (record.episode, record.frame) == (episode, frame):
            return replace(record, **fields)
        return record

    return change


def verify_with(tmp_path: Path, change: Change, **match: Any) -> Verdict:
    return verify_folders(write(tmp_path / "a", **match), write(tmp_path / "b", change, **match))


def test_two_sides_of_a_match_are_the_same(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", match_records(infos=infos, local=0.0), seat=0)
    b = write_run(tmp_path / "b", match_records(infos=infos, local=5.0), seat=1)
    verdict = verify_folders(a, b)
    assert (verdict.code, verdict.frames) == (SAME, 40)
    assert main([str(a), str(b)]) == SAME


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"actions": (0, 1)}, "action.0"),
        ({"actions": (5, np.int64(2))}, "action.1"),
        ({"rewards": (1.2000000000000002, -0.0)}, None),
        ({"rewards": (1.2000000000000004, -0.0)}, "reward.0"),
        ({"rewards": (1.2000000000000002, 0.0)}, "reward.1"),
        ({"terminations": (False, None)}, "terminated.1"),
        ({"truncations": (True, False)}, "truncated.0"),
        ({"focus": (False, True)}, "focus.0"),
        ({"inputs": (b"\0\5", b"\0\3")}, "input.1"),
        ({"checksum": bytes(8)}, "checksum"),
        ({"infos": ({}, infos(12)[1])}, "info.0.soups"),
        ({"infos": ({"soups": 12, "more": None}, infos(12)[1])}, "info.0.more"),
        ({"infos": ({"soups": 12.0}, infos(12)[1])}, "info.0.soups"),
        ({"infos": ({"soups": 12}, {"x": math.nan, "a": np.float64([12, math.nan])})}, "info.1.a"),
        ({"observations": (1, 2)}, "observation.0"),
    ],
)
def test_a_difference_in_any_column_is_named(tmp_path: Path, fields: dict[str, Any], name: str | None) -> None:
    verdict = verify_with(tmp_path, change_frame(1, 12, **fields))
    if name is None:
        assert verdict.code == SAME
    else:
        assert (verdict.code, verdict.episode, verdict.frame, verdict.field) == (DIFFERENT, 1, 12, name)
        assert verdict.frames == 32
        assert verdict.value_a != verdict.value_b


@pytest.mark.parametrize(
    ("kind", "fields", "name"),
    [
        (EpisodeStarted, {"seed": 9}, "seed"),
        (EpisodeStarted, {"first_checksum": b"12345678"}, "first_checksum"),
        (EpisodeEnded, {"totals": (1.0, 3.0)}, "totals"),
    ],
)
def test_a_difference_between_episodes_is_named(
    tmp_path: Path, kind: type[Any], fields: dict[str, Any], name: str
) -> None:
    def change(record: Record) -> Record:
        return replace(record, **fields) if isinstance(record, kind) and record.episode == 1 else record

    verdict = verify_with(tmp_path, change)
    assert (verdict.code, verdict.episode, verdict.frame, verdict.field) == (DIFFERENT, 1, None, name)


def test_runs_of_other_seeds_or_agents_differ(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", match_records())
    b = write_run(tmp_path / "b", match_records(), seed=8)
    c = write_run(tmp_path / "c", match_records(), env={"agents": ["0", "1"]})
    assert verify_folders(a, b).field == "seed"
    assert verify_folders(a, c).field == "agents"


def without_end(records: Iterator[Record], episode: int) -> Iterator[Record]:
    return (record for record in records if not (isinstance(record, EpisodeEnded) and record.episode == episode))


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("shape", [{"unverified": 3}, {"episodes": 1}, {"episodes": 1, "unverified": 20}])
def test_one_may_be_the_beginning_of_the_other(tmp_path: Path, shape: dict[str, int], ended: bool) -> None:
    long = write(tmp_path / "long")
    records = match_records(infos=infos, **shape)
    short = write_run(tmp_path / "short", records if ended else without_end(records, shape.get("episodes", 2) - 1))
    verdict = verify_folders(long, short)
    assert verdict.code == main([str(short), str(long)]) == BEGINNING
    assert verdict.message.startswith("B is the beginning of A")
    assert verdict.frames == 20 * shape.get("episodes", 2) - shape.get("unverified", 0)


def test_a_missing_word_about_an_end_is_no_difference_between_frames(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a"), write_run(tmp_path / "b", without_end(match_records(infos=infos), 1))
    assert verify_folders(a, b) == verify_folders(b, a) == Verdict(SAME, "same: 40 frames", 40)


def test_frames_missing_before_others_are_a_difference(tmp_path: Path) -> None:
    def is_kept(record: Record) -> bool:
        return not (record.episode == 0 and getattr(record, "frame", 0) >= 18)

    a, b = write(tmp_path / "a"), write_run(tmp_path / "b", filter(is_kept, match_records(infos=infos)))
    verdict = verify_folders(a, b)
    assert (verdict.code, verdict.episode, verdict.frame, verdict.frames) == (DIFFERENT, 0, 16, 16)


def test_an_episode_that_one_side_only_began_is_no_difference(tmp_path: Path) -> None:
    a = write(tmp_path / "a", episodes=1, frames=20)
    records = [*match_records(episodes=1, frames=20, unverified=2, infos=infos), EpisodeStarted(1, 99, bytes(8))]
    b = write_run(tmp_path / "b", iter(records))
    assert verify_folders(a, b).code == BEGINNING


def test_a_killed_run_is_the_beginning(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a"), write(tmp_path / "b")
    data = (b / LOG_NAME).read_bytes()
    (b / LOG_NAME).write_bytes(data[: len(data) * 3 // 4])
    verdict = verify_folders(a, b)
    assert verdict.code == BEGINNING
    assert 20 < verdict.frames < 40


def test_unreadable_runs_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write(tmp_path / "a"), write(tmp_path / "b")
    data = bytearray((b / LOG_NAME).read_bytes())
    data[500] ^= 1
    (b / LOG_NAME).write_bytes(data)
    assert main([str(a), str(b)]) == UNREADABLE
    assert "B is unreadable" in capsys.readouterr().out
    assert main([str(tmp_path / "none"), str(a)]) == UNREADABLE
    assert main([str(a)]) == UNREADABLE


def test_json_has_all_of_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write(tmp_path / "a"), write(tmp_path / "b", change_frame(0, 3, rewards=(math.inf, math.nan)))
    assert main([str(a), str(b), "--json"]) == DIFFERENT
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["episode"] == 0
    assert verdict["frame"] == 3
    assert (verdict["field"], verdict["value_a"], verdict["value_b"]) == ("reward.0", repr(0.1 * 3), "inf")


def told(frame: int, **other: Any) -> dict[str, Any]:
    pause = {"kind": "pause", "episode": 0, "frame": 3, "reason": "", "seat": 0}
    sitting = {"seat": 1, "episode": 1, "first_frame": frame, "last_frame": 19, "by": "absent", "why": "left", **other}
    return {"changes": [pause], "sittings": [sitting]}


def verify_told(tmp_path: Path, a: dict[str, Any], b: dict[str, Any]) -> Verdict:
    folders = [write_run(tmp_path / name, match_records(infos=infos), told=each) for name, each in (("a", a), ("b", b))]
    return verify_folders(*folders)


def test_what_was_agreed_on_beside_the_frames_is_compared(tmp_path: Path) -> None:
    assert verify_told(tmp_path / "same", told(4), told(4)).code == SAME
    verdict = verify_told(tmp_path / "why", told(4), told(4, why="lost"))
    assert (verdict.code, verdict.episode, verdict.frame, verdict.field) == (DIFFERENT, 1, 4, "sittings")
    verdict = verify_told(tmp_path / "none", {**told(4), "changes": []}, told(4))
    assert (verdict.code, verdict.episode, verdict.frame, verdict.field) == (DIFFERENT, 0, 3, "changes")


def test_what_a_side_could_not_know_any_more_is_not_compared(tmp_path: Path) -> None:
    # It was killed and says nothing, or the interval begins behind what both have, or ended earlier for one of them.
    assert verify_told(tmp_path / "killed", told(4), {}).code == SAME
    later = [{**told(4)["sittings"][0], "episode": 2}]
    assert (
        verify_told(tmp_path / "later", told(4), {**told(4), "sittings": [*told(4)["sittings"], *later]}).code == SAME
    )
    assert verify_told(tmp_path / "shorter", told(4), told(4, last_frame=7)).code == SAME


@pytest.mark.parametrize("bad", [[5], [{"episode": 0}], [{"episode": "x", "frame": 1, "first_frame": 1}]])
def test_a_manifest_with_nonsense_in_place_of_changes_is_unreadable(tmp_path: Path, bad: list[Any]) -> None:
    assert verify_told(tmp_path, told(4), {**told(4), "changes": bad}).code == UNREADABLE


def test_who_held_a_seat_is_compared_frame_by_frame(tmp_path: Path) -> None:
    verdict = verify_with(tmp_path, change_frame(1, 4, by=(None, "absent")))
    assert (verdict.code, verdict.episode, verdict.frame) == (DIFFERENT, 1, 4)
    assert verdict.field is not None
    assert verdict.field.startswith("by.")
