"""What two sides of one match recorded, looked at in a process of its own.

So a soak's own loop is not held up, and at a low priority, so that the matches that go on are not either.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from p2pclient.cli.soak_process import APART, LINE_LIMIT
from p2pclient.cli.soak_watch import quantiles_ms
from p2pclient.common.errors import EnvHostError, RecordingError
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.records import FrameRecorded, FrameTimed
from p2pclient.recorder.replay import replay_run
from p2pclient.recorder.verify import verify_folders

_NICE = 5
_LONGEST_STRETCH = 1.05
"""Pacing may let a frame last this much longer."""
CHECK_SECONDS = 180.0
"""After which a check is given up."""
_DEPTH = 256
"""Recording times kept to look up when an older frame was confirmed: more than any prediction window."""


class Checker:
    """Runs :func:`look_at` in a process of its own, one pair of folders after the other, with ``python`` for hosts."""

    def __init__(self, python: str | None = None) -> None:
        self._python = python
        self._process: asyncio.subprocess.Process | None = None

    async def check(self, folders: Sequence[Path], *, replay: bool) -> dict[str, Any]:
        """Return what :func:`look_at` says; that it failed is said in ``failures``."""
        if self._process is None:
            command = [sys.executable, "-P", "-m", "p2pclient.cli.soak_check"]
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, limit=LINE_LIMIT, **APART
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        question = json.dumps({"folders": [str(f) for f in folders], "replay": replay, "python": self._python})
        self._process.stdin.write(question.encode() + b"\n")
        try:
            answer = await asyncio.wait_for(self._process.stdout.readline(), CHECK_SECONDS)
            found: dict[str, Any] = json.loads(answer)
        except (TimeoutError, ValueError) as error:
            await self.close()
            return {"failures": [f"no answer of the checking process: {error!r}"]}
        return found

    async def close(self) -> None:
        """End the process, if one runs."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()


def lateness_of(run: RunReader) -> list[float]:
    """Return by how many seconds each input was read later than it could have been.

    A frame can begin one frame after the one before it, once the host has answered, and once the frame that leaves the
    prediction window is confirmed. What comes on top is the loop's own: it was busy, or the system did not run it.
    """
    seconds = _LONGEST_STRETCH / float(run.manifest["settings"]["rate_hz"])
    late: list[float] = []
    timed: deque[FrameTimed] = deque(maxlen=_DEPTH)
    for record in sorted(_timings(run), key=lambda each: (each.episode, each.frame)):
        if timed and timed[-1].episode != record.episode:
            timed.clear()
        if timed and timed[-1].frame == record.frame - 1:
            could = max(timed[-1].applied_at + seconds, timed[-1].simulated_at)
            if 0 < record.window <= len(timed):
                could = max(could, timed[-record.window].recorded_at)
            late.append(max(0.0, record.applied_at - could))
        timed.append(record)
    return late


def _timings(run: RunReader) -> Iterator[FrameTimed]:
    newest: dict[tuple[int, int], FrameTimed] = {}
    for record in run.records():
        if isinstance(record, FrameTimed):
            newest[record.episode, record.frame] = record
    yield from newest.values()


def find_difference(a: RunReader, b: RunReader) -> str | None:
    """Compare all that both have recorded, verified or not; return where they first differ."""
    of_b = {(frame.episode, frame.frame): _essence(frame) for frame in b.frames()}
    for frame in a.frames():
        other = of_b.get((frame.episode, frame.frame))
        if other is not None and other != _essence(frame):
            return f"episode {frame.episode}, frame {frame.frame}"
    return None


def _essence(frame: FrameRecorded) -> tuple[Any, ...]:
    return frame.inputs, frame.checksum, repr(frame.rewards), frame.terminations, frame.truncations


def look_at(folders: Sequence[Path], *, replay: bool, python: str | None = None) -> dict[str, Any]:
    """Return what the recordings say, as plain data. What cannot be read is said in ``unreadable``."""
    found: dict[str, Any] = {"sides": [], "unreadable": [], "difference": None, "verify": None, "replays": []}
    runs: list[RunReader] = []
    for folder in folders:
        try:
            run = RunReader(folder)
            found["sides"].append(_describe(run))
            runs.append(run)
        except RecordingError as error:
            found["unreadable"].append(str(error))
    if len(runs) == 2:
        verdict = verify_folders(folders[0], folders[1])
        found["verify"] = {"code": verdict.code, "message": verdict.message, "frames": verdict.frames}
        found["difference"] = find_difference(*runs)
    if replay:
        found["replays"] = [_replay(run, python) for run in runs]
    return found


def _describe(run: RunReader) -> dict[str, Any]:
    return {
        "folder": str(run.folder),
        "recorded": run.recorded,
        "verified": run.verified,
        "episodes": [episode.recorded for episode in run.episodes],
        "checksums": len({frame.checksum for frame in run.frames()}),
        "finished": run.was_finished,
        "torn_bytes": run.torn_bytes,
        "lateness_ms": quantiles_ms(lateness_of(run)),
    }


def _replay(run: RunReader, python: str | None) -> dict[str, Any]:
    try:
        verdict = replay_run(run.folder, host_options={"python": python})
    except (RecordingError, EnvHostError) as error:
        return {"same": False, "message": str(error), "frames": 0}
    return {"same": verdict.is_same, "message": verdict.message, "frames": verdict.frames}


def main() -> int:
    """Answer every line ``{"folders": [...], "replay": true}`` with a line of what was found, until the input ends."""
    if hasattr(os, "nice"):
        os.nice(_NICE)
    for line in sys.stdin:
        question = json.loads(line)
        try:
            folders = [Path(folder) for folder in question["folders"]]
            found = look_at(folders, replay=question["replay"], python=question["python"])
        except Exception as error:  # noqa: BLE001 - said with the match; the matches after it are to be checked too
            found = {"failures": [f"{error!r}"]}
        print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
