"""One run being recorded: its folder, its log and its manifest."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from p2pclient.common.errors import RecordingError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.recorder.desync import MAX_REPORTS, is_quick, render_report, report_event, report_name, report_of
from p2pclient.recorder.encoding import encode_record
from p2pclient.recorder.manifest import LOG_NAME, RunHeader, discard, replace_file, utc_text, write_manifest
from p2pclient.recorder.records import (
    DesyncEvidence,
    DesyncReported,
    EpisodeEnded,
    EpisodeStarted,
    EventRecorded,
    FrameRecorded,
    FramesVerified,
    FramesWithdrawn,
    FrameTimed,
    LogRecord,
    Record,
)
from p2pclient.recorder.resuming import ResumedRun, shift_times
from p2pclient.recorder.writing import LogWriter, describe_failure, describe_low_space


def check_folder(parent: Path) -> list[str]:
    """Make sure that runs can be recorded under ``parent``, which is made if missing. Call it before a match.

    Returns:
        Warnings for a person; empty if all is well.

    Raises:
        RecordingError: nothing can be written there.
    """
    probe = parent / f".write-check-{os.getpid()}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with probe.open("wb") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise RecordingError(describe_failure(parent, error)) from error
    finally:
        discard(probe)
    low = describe_low_space(parent)
    return [] if low is None else [low]


def create_run_folder(parent: Path, match_id: str, seat: int, *, at: datetime | None = None) -> Path:
    """Make and return a new folder such as ``2026-11-21_14-03-22_k3v9_0`` (local time, match, seat).

    A name that is taken gets ``-2``, ``-3``, ... behind it; making a folder is atomic, so two clients never share one.

    Raises:
        RecordingError: it cannot be made.
    """
    start = (at or datetime.now()).strftime("%Y-%m-%d_%H-%M-%S")
    # The match's name comes from the server: nothing of it may lead out of the folder, or be refused by Windows.
    name = f"{start}_{re.sub(r'[^A-Za-z0-9-]', '-', match_id)[:40] or 'match'}_{seat}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            folder = parent / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise RecordingError(describe_failure(parent, error)) from error
    raise RecordingError(f"{parent} holds 1,000 runs named {name}; move some of them away")


class RunWriter:
    """Records one run into a folder that :func:`create_run_folder` made.

    Not a judge of what it is given: records are stored in the order in which they come, and counted. Not safe for use
    by several threads; waits for no disk except in :meth:`finish` and :meth:`close`.
    """

    def __init__(
        self,
        folder: Path,
        header: RunHeader,
        *,
        resumed: ResumedRun | None = None,
        on_problem: Callable[[str], None] | None = None,
    ) -> None:
        """Write the manifest and start the log.

        Args:
            resumed: what an earlier process has recorded in the folder, which is gone on with.
            on_problem: called once per problem (disk nearly full, a failed write or flush) with a sentence for a
                person, possibly from a thread of the recorder's own.

        Raises:
            RecordingError: the folder holds a run already, or cannot be written.
        """
        self.folder = folder
        self.header = header
        self._episodes: dict[int, dict[str, Any]] = {}
        self._events: dict[str, int] = {}
        self._on_problem = on_problem
        self._report_problems: list[str] = []
        self._reports: list[tuple[str, Future[bool]]] = []
        # A state may take seconds to write down, and the match must not wait for it.
        self._reporting = ThreadPoolExecutor(1, thread_name_prefix="desync-report")
        append_at = resumed.log_bytes if resumed is not None else None
        self._log = LogWriter(folder / LOG_NAME, on_problem=on_problem, append_at=append_at)
        self._finished = False
        self._earlier = resumed.processes if resumed is not None else []
        self._shift = resumed.shift(header.clock) if resumed is not None else 0.0
        if resumed is not None:
            self.header = header = replace(header, clock=resumed.clock)
            for record in resumed.records:
                self._count(record)
            self._reports = [(name, _written()) for name in resumed.reports]
        try:
            write_manifest(folder, self._manifest())
        except RecordingError:
            self._log.close()
            raise

    def record(self, record: Record) -> None:
        """Store one record; it survives a kill of this process from here on.

        Of a desync that is reported, this holds for what :meth:`write_desync` says.

        Raises:
            RecordingError: the disk failed, now or before. What was recorded until then is intact; nothing more is.
        """
        if isinstance(record, DesyncEvidence | DesyncReported):
            self.write_desync(record)
            return
        if self._shift and isinstance(record, FrameTimed):
            record = shift_times(record, self._shift)
        self._log.append(encode_record(record))
        self._count(record)

    def write_desync(self, report: DesyncEvidence | DesyncReported) -> str | None:
        """Store the evidence of a desync: at once an event in the log, and soon a file beside it that is always whole.

        Large states are read and compared where the file is made; the event then does not say what differs.

        That the file cannot be written ends nothing; it is among :meth:`problems`. :meth:`close` waits for it.

        Returns:
            The name of the file; None if there are too many already, and the event has to do.

        Raises:
            RecordingError: the log failed, now or before.
        """
        if isinstance(report, DesyncEvidence) and is_quick(report):
            report = report_of(report)
        name = None
        if len(self._reports) < MAX_REPORTS:
            taken = {name for name, _ in self._reports}
            name = next(n for n in (report_name(report, i) for i in range(1, MAX_REPORTS + 1)) if n not in taken)
        event = report_event(report, name)
        self._log.append(encode_record(event))
        self._count(event)
        if name is not None:
            written = self._reporting.submit(self._write_report, name, report, time.perf_counter())
            self._reports.append((name, written))
        return name

    def _write_report(self, name: str, report: DesyncEvidence | DesyncReported, at: float) -> bool:
        try:
            if isinstance(report, DesyncEvidence):
                report = report_of(report)
            replace_file(self.folder / name, render_report(report, self.header, at=at))
        except Exception as error:  # noqa: BLE001  one state comes from a peer: whatever it does to us is told, and no more
            problem = f"the report of a desync is missing: {error}"
            self._report_problems.append(problem)
            if self._on_problem is not None:
                self._on_problem(problem)
            return False
        return True

    def problems(self) -> tuple[str, ...]:
        """Sentences for a person about everything that went wrong so far, oldest first, the log's before others."""
        return (*self._log.problems(), *self._report_problems)

    def counts(self) -> dict[str, int]:
        """Return frames recorded, verified, unverified and withdrawn, episodes started and ended, desyncs, so far.

        Frames that were withdrawn are in no other count.
        """
        recorded = sum(episode["recorded"] for episode in self._episodes.values())
        verified = sum(_verified(episode) for episode in self._episodes.values())
        return {
            "recorded": recorded,
            "verified": verified,
            "unverified": recorded - verified,
            "withdrawn": sum(episode["withdrawn"] for episode in self._episodes.values()),
            "episodes_started": len(self._episodes),
            "episodes_ended": sum("reason" in episode for episode in self._episodes.values()),
            "desyncs": self._events.get("desync", 0),
        }

    def finish(self, outcome: dict[str, Any]) -> None:
        """Close the log and write the final manifest with ``outcome``. Once only.

        Args:
            outcome: what the match came to, as plain data: reason, counts, and its telemetry under ``telemetry``.

        Raises:
            RecordingError: the manifest cannot be written; it still says ``running`` then, and the log is intact.
        """
        if self._finished:
            return
        self.close()
        write_manifest(self.folder, self._final_manifest(outcome))
        self._finished = True

    def close(self) -> None:
        """Close the log without a word about the outcome. Idempotent; :meth:`finish` does it too.

        Waits until reports that were begun are written.
        """
        self._log.close()
        self._reporting.shutdown()

    def _count(self, record: LogRecord) -> None:
        if isinstance(record, FrameRecorded):
            self._episode(record.episode)["recorded"] += 1
        elif isinstance(record, FramesWithdrawn):
            episode = self._episode(record.episode)
            episode["withdrawn"] += max(0, episode["recorded"] - record.first_frame)
            episode["recorded"] = min(episode["recorded"], record.first_frame)
        elif isinstance(record, FramesVerified):
            episode = self._episode(record.episode)
            episode["verified_frame"] = max(episode["verified_frame"], record.frame)
        elif isinstance(record, EpisodeStarted):
            self._episode(record.episode).update(seed=record.seed, first_checksum=record.first_checksum)
        elif isinstance(record, EpisodeEnded):
            ended = {"last_frame": record.last_frame, "totals": record.totals, "reason": record.reason}
            self._episode(record.episode).update(ended)
        elif isinstance(record, EventRecorded):
            self._events[record.name] = self._events.get(record.name, 0) + 1

    def _episode(self, number: int) -> dict[str, Any]:
        new = {"episode": number, "recorded": 0, "withdrawn": 0, "verified_frame": NULL_FRAME}
        return self._episodes.setdefault(number, new)

    def _manifest(self) -> dict[str, Any]:
        """Return what is known from the start; of a run that was gone on with, the earlier processes too."""
        known = self.header.to_manifest()
        return {**known, "earlier_processes": self._earlier} if self._earlier else known

    def _final_manifest(self, outcome: dict[str, Any]) -> dict[str, Any]:
        clock = self.header.clock
        return {
            **self._manifest(),
            "status": "finished",
            "ended_utc": utc_text(clock.to_utc(time.perf_counter() + self._shift)),
            "outcome": outcome,
            "counts": self.counts(),
            "events": self._events,
            "episodes": [self._episodes[number] for number in sorted(self._episodes)],
            "problems": self.problems(),
            "desync_reports": [name for name, written in self._reports if written.result()],
            "log_bytes": self._log.written_bytes,
        }


def _written() -> Future[bool]:
    done: Future[bool] = Future()
    done.set_result(True)
    return done


def _verified(episode: dict[str, Any]) -> int:
    return min(int(episode["recorded"]), int(episode["verified_frame"]) + 1)
