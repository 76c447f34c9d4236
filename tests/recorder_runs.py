"""Runs for the recorder's tests: made of plain records, without a match."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from p2pclient.common.frames import pack_seat_input
from p2pclient.recorder.manifest import RunHeader
from p2pclient.recorder.records import (
    EpisodeEnded,
    EpisodeStarted,
    EventRecorded,
    FrameRecorded,
    FramesVerified,
    FrameTimed,
    Record,
)
from p2pclient.recorder.run import RunWriter

Infos = Callable[[int], tuple[Any, ...]]


def no_infos(frame: int) -> tuple[Any, ...]:
    return ({}, {})


def make_frame(episode: int, frame: int, **changes: Any) -> FrameRecorded:
    """A frame of two seats that differs from every other."""
    fields: dict[str, Any] = {
        "episode": episode,
        "frame": frame,
        "inputs": (
            pack_seat_input(bytes((frame % 7,)), focused=True),
            pack_seat_input(bytes((frame % 5,)), focused=frame % 2 == 0),
        ),
        "actions": (frame % 7, frame % 5),
        "rewards": (0.1 * frame, -0.0),
        "terminations": (False, False),
        "truncations": (False, False),
        "infos": ({}, {}),
        "focus": (True, frame % 2 == 0),
        "checksum": (episode << 32 | frame).to_bytes(8, "little"),
    }
    return FrameRecorded(**{**fields, **changes})


def make_timing(episode: int, frame: int, started: float = 0.0) -> FrameTimed:
    at = started + frame / 15
    return FrameTimed(
        episode=episode,
        frame=frame,
        pressed_at=None if frame % 3 else at - 0.01,
        applied_at=at,
        simulated_at=at + 0.004,
        shown_at=at + 0.02,
        recorded_at=at + 0.1,
        rtt_ms=60.5,
        input_delay=0,
        window=8,
        predicted=(False, True),
        resimulated=frame % 4,
    )


def match_records(
    *,
    episodes: int = 2,
    frames: int = 20,
    unverified: int = 0,
    infos: Infos = no_infos,
    local: float = 0.0,
) -> Iterator[Record]:
    """What a match hands over; ``unverified`` frames at the end of the last episode. ``local`` changes local facts."""
    for episode in range(episodes):
        yield EpisodeStarted(episode, seed=1000 + episode, first_checksum=bytes((episode,)) * 8)
        yield EventRecorded("connection", episode, 0, {"kind": "direct", "rtt_ms": local})
        last = episode == episodes - 1
        for frame in range(frames):
            yield make_frame(episode, frame, infos=infos(frame))
            yield make_timing(episode, frame, local)
            if not (last and frame >= frames - unverified) and (frame % 3 == 0 or frame == frames - 1):
                yield FramesVerified(episode, frame)
        if last and unverified and frames > unverified:
            yield FramesVerified(episode, frames - unverified - 1)
        yield EpisodeEnded(episode, frames - 1, (1.0, 2.0), "max_steps")


def make_header(seat: int = 0, **changes: Any) -> RunHeader:
    fields: dict[str, Any] = {
        "match_id": "m1",
        "seed": 7,
        "env": {"env": "test:Nothing-V0", "args": {}, "agents": [0, 1]},
        "seats": ({"player": "a"}, {"player": "b"}),
        "own_seats": (seat,),
        "settings": {"rate_hz": 15},
    }
    return RunHeader(**{**fields, **changes})


def write_run(
    folder: Path, records: Iterator[Record], *, seat: int = 0, told: dict[str, Any] | None = None, **header: Any
) -> Path:
    """Record ``records`` into a new folder and finish. What is ``told`` goes into the outcome."""
    folder.mkdir(parents=True)
    writer = RunWriter(folder, make_header(seat, **header))
    for record in records:
        writer.record(record)
    writer.finish({"reason": "completed", "seat": seat, **(told or {})})
    return folder
