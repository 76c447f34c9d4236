"""Trace files: the JSON object form of Chrome's trace event format, which ui.perfetto.dev opens.

One process per side, one track per kind of event. Several sides go into one file: of one clock as they are, of several
machines by laying the beginnings of play over each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from p2pclient.common.errors import RecordingError
from p2pclient.telemetry.trace import PLAY, TRACKS, TraceEvent, Track, track_name


class _File(msgspec.Struct):
    traceEvents: list[TraceEvent]
    displayTimeUnit: str = "ms"


def chrome_trace(events: Iterable[TraceEvent], process_names: Mapping[int, str]) -> bytes:
    """Return a trace file.

    Args:
        events: of one or more sides, in any order.
        process_names: what to call each side, by the number of its process.
    """
    kept = sorted(events, key=lambda event: event.ts)
    names = [
        message
        for process in sorted({event.pid for event in kept} | set(process_names))
        for message in _describe(process, process_names.get(process, f"process {process}"))
    ]
    tracks = sorted({(event.pid, event.tid) for event in kept if event.tid})
    for process, tid in tracks:
        track = tid % TRACKS
        names.append(TraceEvent("thread_name", "M", process, 0, tid, args={"name": track_name(track)}))
        names.append(TraceEvent("thread_sort_index", "M", process, 0, tid, args={"sort_index": track}))
    return msgspec.json.encode(_File(names + kept))


def _describe(process: int, name: str) -> Iterable[TraceEvent]:
    yield TraceEvent("process_name", "M", process, 0, args={"name": name})
    yield TraceEvent("process_sort_index", "M", process, 0, args={"sort_index": process})


def merge_traces(files: Sequence[bytes], *, one_clock: bool) -> bytes:
    """Return one trace file of several, each side as a process of its own.

    Args:
        files: as :func:`chrome_trace` made them.
        one_clock: True if all were made on one machine: times stay as they are. Else the files are shifted so that
            their first play begins at the same moment; the true difference is at most the longer way between them.

    Raises:
        RecordingError: one is no trace file of ours.
    """
    read = [_read(file, number) for number, file in enumerate(files)]
    began = [_beginning_of_play(events) for events in read]
    latest = max((at for at in began if at is not None), default=0)
    merged: list[TraceEvent] = []
    process_names: dict[int, str] = {}
    for events, at in zip(read, began, strict=True):
        shift = 0 if one_clock or at is None else latest - at
        first = len(process_names) + 1
        numbers = {process: first + n for n, process in enumerate(sorted({event.pid for event in events}))}
        process_names.update({number: f"process {number}" for number in numbers.values()})
        for event in events:
            event.pid = numbers[event.pid]
            if event.ph == "M":
                if event.name == "process_name":
                    process_names[event.pid] = str(event.args["name"])
                continue
            event.tid = event.pid * TRACKS + event.tid % TRACKS if event.tid else 0
            event.ts += shift
            merged.append(event)
    return chrome_trace(merged, process_names)


def _read(file: bytes, number: int) -> list[TraceEvent]:
    try:
        return msgspec.json.decode(file, type=_File).traceEvents
    except msgspec.DecodeError as error:
        raise RecordingError(f"File {number + 1} is no trace of this program: {error}. Give traces only.") from error


def _beginning_of_play(events: Iterable[TraceEvent]) -> int | None:
    starts = [event.ts for event in events if event.name == PLAY and event.tid % TRACKS == Track.PHASES]
    return min(starts, default=None)
