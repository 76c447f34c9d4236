"""Going on with the recording of a process that was killed: in the same folder, behind its last whole record."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from p2pclient.common.errors import RecordingError
from p2pclient.protocol.clock import CLOCK_RANGE
from p2pclient.recorder.encoding import decode_record
from p2pclient.recorder.log import LogReader
from p2pclient.recorder.manifest import LOG_NAME, MANIFEST_NAME, ClockAnchor, read_manifest
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.records import FrameTimed, LogRecord


@dataclass(frozen=True, slots=True)
class ResumedRun:
    """What is in the folder of a run whose process is gone."""

    folder: Path
    manifest: dict[str, Any]
    log_bytes: int
    """Of whole records; what is behind them is cut off."""

    @property
    def records(self) -> Iterator[LogRecord]:
        """Yield all records, in order.

        Raises:
            RecordingError: the log cannot be read.
        """
        for _, payload in LogReader(self.folder / LOG_NAME, stop=self.log_bytes).payloads():
            yield decode_record(payload)

    @property
    def clock(self) -> ClockAnchor:
        """By which the times in the log are told."""
        clock = self.manifest["clock"]
        return ClockAnchor(float(clock["perf_counter"]), float(clock["utc"]))

    def shift(self, own: ClockAnchor) -> float:
        """Return what is added to times of this process, so that they are told by the log's clock."""
        return (own.utc - self.clock.utc) - (own.perf_counter - self.clock.perf_counter)

    @property
    def processes(self) -> list[int]:
        """Numbers of the processes that have recorded so far."""
        return [*self.manifest.get("earlier_processes", []), int(self.manifest["process"])]

    @property
    def reports(self) -> list[str]:
        """Names of the files about desyncs."""
        return sorted(path.name for path in self.folder.glob("desync-*.json"))


def find_run(parent: Path, match_id: str, seats: tuple[int, ...]) -> ResumedRun | None:
    """Return the newest run under ``parent`` of these seats of a match that was not finished; None if there is none.

    Whether its process is gone, the caller must know. A folder that cannot be read does not count.
    """
    # The names of folders are made by ``create_run_folder``; which match it was, only the manifest says for certain.
    part = re.sub(r"[^A-Za-z0-9-]", "-", match_id)[:40]
    for path in sorted(parent.glob(f"*_{part}_*/{MANIFEST_NAME}"), reverse=True):
        found = _open_run(path.parent, match_id, seats)
        if found is not None:
            return found
    return None


def _open_run(folder: Path, match_id: str, seats: tuple[int, ...]) -> ResumedRun | None:
    try:
        manifest = read_manifest(folder)
        is_it = manifest.get("match_id") == match_id and tuple(manifest.get("own_seats", ())) == seats
        if not is_it or manifest.get("status") != "running":
            return None
        run = ResumedRun(folder, manifest, RunReader(folder).log_bytes)
        return run if run.log_bytes and run.clock and run.processes else None
    except (RecordingError, KeyError, TypeError, ValueError):
        return None


def shift_times(record: FrameTimed, seconds: float) -> FrameTimed:
    """Return the record with its times told by another clock."""
    return replace(
        record,
        pressed_at=None if record.pressed_at is None else record.pressed_at + seconds,
        applied_at=record.applied_at + seconds,
        simulated_at=record.simulated_at + seconds,
        shown_at=None if record.shown_at is None else record.shown_at + seconds,
        recorded_at=record.recorded_at + seconds,
        sent_at=None if record.sent_at is None else record.sent_at + seconds,
        received_at=tuple(None if at is None else at + seconds for at in record.received_at),
        clock_offset=tuple(None if offset is None else _in_range(offset - seconds) for offset in record.clock_offset),
    )


def _in_range(offset: float) -> float:
    """Return a difference of two clocks as it is told: from minus half to half of ``CLOCK_RANGE``."""
    return offset - CLOCK_RANGE * round(offset / CLOCK_RANGE)
