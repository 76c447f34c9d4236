"""Replay: what was recorded is what a fresh host does with the recorded inputs, or the first difference is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from recorder_runs import write_run

from p2pclient.common.frames import pack_seat_input
from p2pclient.common.spaces import encode_action
from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.process import HostSpec
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.records import (
    EpisodeEnded,
    EpisodeStarted,
    FrameRecorded,
    FramesVerified,
    FramesWithdrawn,
    Record,
)
from p2pclient.recorder.replay import BATCH_FRAMES, check_replay, replay_commands, replay_run

FRAMES = 50
Change = Callable[[Record], Record]


class Sums:
    """A host in a few lines: its state is the seed and the sum of all inputs."""

    def run(self, command: list[Any]) -> Any:
        if command[0] == "reset":
            self.total = command[1]
            return self.checksum()
        _, frame, payloads, observe = command
        self.total += 1 + sum(payload[0] * (seat + 1) for seat, payload in enumerate(payloads))
        ended = frame == FRAMES - 1
        infos = [{"total": self.total}, {}]
        seen = [self.total, self.total] if observe else None
        return [self.checksum(), [0.1 * payloads[0][0], 1.0], [ended] * 2, [False] * 2, infos, ended, seen]

    def checksum(self) -> bytes:
        return self.total.to_bytes(8, "little")


def play(observe: bool = False) -> Iterator[Record]:
    host = Sums()
    for episode in range(3):
        yield EpisodeStarted(episode, 100 + episode, host.run(["reset", 100 + episode]))
        totals = [0.0, 0.0]
        for frame in range(FRAMES):
            payloads = [bytes((frame % 7 + episode,)), bytes((frame % 3,))]
            result = host.run(["step", frame, payloads, observe])
            totals = [total + reward for total, reward in zip(totals, result[1], strict=True)]
            focus = (frame % 4 > 0, True)
            inputs = tuple(pack_seat_input(p, focused=f) for p, f in zip(payloads, focus, strict=True))
            lists = [tuple(part) for part in result[1:5]]
            actions = tuple(p[0] for p in payloads)
            seen = tuple(result[6]) if observe else None
            yield FrameRecorded(episode, frame, inputs, actions, *lists, focus, result[0], seen)
        yield FramesVerified(episode, FRAMES - 10)
        yield EpisodeEnded(episode, FRAMES - 1, (totals[0], totals[1]), "max_steps")


def replay(run: RunReader) -> Any:
    host = Sums()
    return check_replay((host.run(command) for batch in replay_commands(run) for command in batch), run)


def changed(fields: dict[str, Any], kind: type[Any] = FrameRecorded, frame: int = 30) -> Change:
    def change(record: Record) -> Record:
        hit = isinstance(record, kind) and record.episode == 1 and getattr(record, "frame", frame) == frame
        return replace(record, **fields) if hit else record

    return change


@pytest.mark.parametrize("observe", [False, True])
def test_a_right_recording_is_what_a_straight_run_gives(tmp_path: Path, observe: bool) -> None:
    run = RunReader(write_run(tmp_path / "run", play(observe)))
    verdict = replay(run)
    assert verdict.is_same, verdict
    assert (verdict.frames, verdict.recorded) == (150, 150)
    assert verdict.totals == tuple(episode.end.totals for episode in run.episodes if episode.end is not None)
    assert len(verdict.totals) == 3


def test_frames_that_were_withdrawn_are_not_replayed(tmp_path: Path) -> None:
    def records() -> Iterator[Record]:
        for record in play():
            if isinstance(record, FrameRecorded) and (record.episode, record.frame) == (1, 30):
                for frame in range(30, 36):
                    yield replace(record, frame=frame, inputs=(b"\0\6", b"\0\6"), checksum=bytes(8))
                yield FramesWithdrawn(1, 30)
            yield record

    run = RunReader(write_run(tmp_path / "run", records()))
    assert run.withdrawn == 6
    verdict = replay(run)
    assert verdict.is_same, verdict
    assert (verdict.frames, verdict.recorded) == (150, 150)
    assert sum(map(len, replay_commands(run))) == 153


def test_commands_are_the_recorded_inputs_without_focus_in_batches(tmp_path: Path) -> None:
    batches = list(replay_commands(RunReader(write_run(tmp_path / "run", play()))))
    assert max(map(len, batches)) == BATCH_FRAMES
    commands = [command for batch in batches for command in batch]
    assert len(commands) == 153
    assert commands[:2] == [["reset", 100], ["step", 0, [b"\0", b"\0"], False]]
    assert commands[51 + 9] == ["step", 8, [b"\x02", b"\x02"], False]


@pytest.mark.parametrize(
    ("change", "frame", "field"),
    [
        (changed({"checksum": bytes(8)}), 30, "checksum"),
        (changed({"inputs": (b"\0\x05", b"\0\0")}), 30, "checksum"),
        (changed({"rewards": (0.5, 1.0)}), 30, "reward"),
        (changed({"truncations": (True, False)}), 30, "truncated"),
        (changed({"infos": ({}, {})}), 30, "info"),
        (changed({"seed": 5}, EpisodeStarted), None, "first_checksum"),
        (changed({"totals": (0.0, 50.0)}, EpisodeEnded), None, "totals"),
    ],
)
def test_the_first_difference_is_named(tmp_path: Path, change: Change, frame: int | None, field: str) -> None:
    verdict = replay(RunReader(write_run(tmp_path / "run", map(change, play()))))
    assert not verdict.is_same
    assert (verdict.episode, verdict.frame, verdict.field) == (1, frame, field)
    assert field in verdict.message


def test_wrong_totals_of_the_last_episode_are_found(tmp_path: Path) -> None:
    def change(record: Record) -> Record:
        return (
            replace(record, totals=(1.0, 2.0)) if isinstance(record, EpisodeEnded) and record.episode == 2 else record
        )

    verdict = replay(RunReader(write_run(tmp_path / "run", map(change, play()))))
    assert (verdict.is_same, verdict.episode, verdict.field) == (False, 2, "totals")


def test_a_run_that_stops_early_is_not_the_same(tmp_path: Path) -> None:
    run = RunReader(write_run(tmp_path / "run", play()))
    host = Sums()
    results = [host.run(command) for batch in replay_commands(run) for command in batch]
    verdict = check_replay(results[:100], run)
    assert not verdict.is_same
    assert verdict.frames == 98


def record_with_host(host: BlockingEnvHost, frames: int) -> Iterator[Record]:
    spaces = host.ready["action_spaces"]
    yield EpisodeStarted(0, 11, host.run([["reset", 11]]).results[0])
    for frame in range(frames):
        actions = [(frame // (seat + 1)) % 2 + space.get("start", 0) for seat, space in enumerate(spaces)]
        payloads = [encode_action(space, action) for space, action in zip(spaces, actions, strict=True)]
        result = host.run([["step", frame, payloads]]).results[0]
        inputs = tuple(pack_seat_input(payload, focused=True) for payload in payloads)
        lists = [tuple(part) for part in result[1:5]]
        yield FrameRecorded(0, frame, inputs, tuple(actions), *lists, (True,) * len(spaces), result[0], None)


def test_a_fresh_host_proves_a_recording(tmp_path: Path) -> None:
    spec = HostSpec(env="test:counter_v0")
    with BlockingEnvHost(spec) as host:
        env = {**host.ready, "args": dict(host.ready["args"])}
        records = list(record_with_host(host, 40))
    assert len({record.checksum for record in records if isinstance(record, FrameRecorded)}) > 1
    shares: list[float] = []
    verdict = replay_run(write_run(tmp_path / "good", iter(records), env=env), progress=shares.append)
    assert verdict.is_same, verdict
    assert verdict.frames == 40
    assert shares[-1] == 1.0
    records[20] = replace(records[20], inputs=records[22].inputs)  # type: ignore[call-arg, union-attr]
    verdict = replay_run(write_run(tmp_path / "bad", iter(records), env=env))
    assert (verdict.is_same, verdict.frame) == (False, 19)
