"""Reports of desyncs: a file each, with both states and their differences, and an event in the log that points to it.

The event carries what matters most, so that a desync is known of also when the file did not come about. The file is
for a developer who was not there: one JSON object, one line per difference, one per state (see
:mod:`p2pclient.recorder.exact` for their form).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from p2pclient.common.differences import find_differences
from p2pclient.common.errors import RecordingError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.envhost.values import MalformedValueError, decode
from p2pclient.recorder.exact import from_exact, to_exact
from p2pclient.recorder.manifest import RunHeader, utc_text
from p2pclient.recorder.plain import clean_text, to_json_text, to_plain
from p2pclient.recorder.records import DESYNC_VERDICTS, DesyncEvidence, DesyncReported, EventRecorded

DESYNC_EVENT = "desync-report"
"""Name of the event that points to a report."""

MAX_REPORTS = 20
"""Files of one run. A hostile peer could ask for one after another; later desyncs leave their event only."""

FORMAT = 1
_NAME = re.compile(r"desync-e[0-9]{1,10}-(f[0-9]{1,10}|start)(-[0-9]{1,3})?\.json")
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
"""Writes ASCII, because a state may hold text that no encoding takes."""

_MAX_BYTES = 512 << 20
_QUICK_BYTES = 64 << 10
"""Of both states together, up to which they are compared at once: at worst 0.3 s, in a match that stands still."""
_SPARE_BYTES = 256 << 10
"""By which a state may be larger than twice ours: this bounds the memory that a hostile peer can take, too."""
_MAX_TEXT = 200
"""Characters of a path or a value in the event; the file has all of it."""


def report_of(evidence: DesyncEvidence) -> DesyncReported:
    """Read both states and compare them. Takes seconds and a gigabyte for the largest."""
    ours, theirs = _decoded(evidence.ours), _decoded(_within_reason(evidence))
    found = [] if ours is None or theirs is None else find_differences(ours, theirs)
    differences = tuple((each.path, each.ours, each.theirs) for each in found)
    return DesyncReported(evidence.episode, evidence.frame, evidence.peer, ours, theirs, differences, evidence.verdict)


def is_quick(evidence: DesyncEvidence) -> bool:
    """Can :func:`report_of` be called in the midst of a match."""
    return len(evidence.ours) + len(evidence.theirs) <= _QUICK_BYTES


def _within_reason(evidence: DesyncEvidence) -> bytes:
    """Return the other side's state; empty if it is so large that it cannot be one of the same environment."""
    most = 2 * len(evidence.ours) + _SPARE_BYTES
    return evidence.theirs if len(evidence.theirs) <= most else b""


def _decoded(state: bytes) -> Any:
    """Read a state that came from a peer, or from our own host; None if it is none."""
    if not state:
        return None
    try:
        return decode(state)
    except MalformedValueError:
        return None


def report_name(report: DesyncEvidence | DesyncReported, number: int) -> str:
    """Return the name of the ``number``-th file (from 1) about this episode and frame."""
    where = "start" if report.frame == NULL_FRAME else f"f{report.frame}"
    return f"desync-e{report.episode}-{where}{'' if number == 1 else f'-{number}'}.json"


def report_event(report: DesyncEvidence | DesyncReported, name: str | None) -> EventRecorded:
    """Return the event for the log. ``name`` is that of the file, None if there is none.

    Of evidence that has not been looked into yet, only the file will say what differs.
    """
    found = report.differences if isinstance(report, DesyncReported) else None
    first = [_short(part) for part in found[0]] if found else None
    details = {
        "peer": report.peer,
        "verdict": report.verdict,
        "differences": None if found is None else len(found),
        "first_difference": first,
        "report": name,
    }
    return EventRecorded(DESYNC_EVENT, report.episode, report.frame, details)


def _short(part: Any) -> str:
    text = clean_text(part) if type(part) is str else to_json_text(part)
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "..."


def render_report(report: DesyncReported, header: RunHeader, *, at: float) -> bytes:
    """Return the file.

    Args:
        at: ``perf_counter`` seconds when the report was handed over.

    Raises:
        RecordingError: a state is no plain data.
    """
    about = {
        "format": FORMAT,
        "match_id": header.match_id,
        "env": header.env.get("env"),
        "args": header.env.get("args"),
        "episode": report.episode,
        "frame": report.frame,
        "own_seats": header.own_seats,
        "peer": report.peer,
        "written_utc": utc_text(header.clock.to_utc(at)),
        "verdict": report.verdict,
        "meaning": DESYNC_VERDICTS.get(report.verdict, ""),
    }
    lines = [f"{json.dumps(name)}: {_line(to_plain(value))}" for name, value in about.items()]
    differences = ",\n    ".join(_line([to_exact(part) for part in each]) for each in report.differences)
    lines.append(f'"differences": [\n    {differences}\n  ]' if differences else '"differences": []')
    lines += [
        f'"{name}": {_line(to_exact(state))}' for name, state in (("ours", report.ours), ("theirs", report.theirs))
    ]
    return ("{\n  " + ",\n  ".join(lines) + "\n}\n").encode()


def _line(form: Any) -> str:
    # Piece by piece: json.dumps writes in one call that no other thread can interrupt, 0.5 s for a state of 16 MB.
    return "".join(_ENCODER.iterencode(form))


def read_report(path: Path) -> DesyncReported:
    """Return what the file at ``path`` reports, with the states as they were.

    Raises:
        RecordingError: it cannot be read, or is no report.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        found = json.loads(data) if len(data) <= _MAX_BYTES else None
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"{path} is damaged: {error}; restore it from a copy") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise RecordingError(f"{path} is not a report of a desync that this version reads (format {FORMAT})")
    try:
        return DesyncReported(
            episode=int(found["episode"]),
            frame=int(found["frame"]),
            peer=int(found["peer"]),
            ours=from_exact(found["ours"]),
            theirs=from_exact(found["theirs"]),
            differences=tuple((str(name), *pair) for name, *pair in from_exact(found["differences"])),
            verdict=str(found["verdict"]),
        )
    except (KeyError, ValueError, TypeError, RecordingError) as error:
        raise RecordingError(f"{path} is damaged: {error}; restore it from a copy") from error


def report_path(folder: Path, event: EventRecorded) -> Path | None:
    """Return where the report is to which ``event`` points; None if it points to none. It may be missing."""
    name = event.details.get("report")
    # The event comes from a log, and nothing in a log may lead out of its folder.
    return folder / name if isinstance(name, str) and _NAME.fullmatch(name) else None


def describe_desync(event: EventRecorded, folder: Path) -> str:
    """Return what the log says of one desync as a sentence for a person."""
    details = event.details
    where = "at the start" if event.frame == NULL_FRAME else f"at frame {event.frame}"
    text = f"desync {where} of episode {event.episode} with peer {_short(details.get('peer'))}"
    first = details.get("first_difference")
    if isinstance(first, list) and len(first) == 3:
        name, ours, theirs = map(_short, first)
        text += f", first in {name}: {ours} here, {theirs} there"
    verdict = _short(details.get("verdict"))
    text += f"; {DESYNC_VERDICTS.get(verdict, verdict)}"
    path = report_path(folder, event)
    if path is None:
        return f"{text}; no report was written"
    return f"{text}; report: {path.name}" + ("" if path.is_file() else " (missing)")
