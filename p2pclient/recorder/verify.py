"""``tandem verify``: do two recordings of one match hold the same data?

Compared are the verified frames in every column of ``frames``, the seeds, first checksums and ends of episodes, and
what both manifests say of changes (pauses and the like) and of seats that somebody else held, as far as both have
verified frames.
Values are the same if type and value are; NaN is the same as NaN, 0.0 is not the same as -0.0. Frames that were
withdrawn are not compared; they and the reports of desyncs are mentioned.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from p2pclient.common.errors import RecordingError
from p2pclient.recorder.cells import Cells, agent_labels, frame_cells
from p2pclient.recorder.desync import describe_desync
from p2pclient.recorder.plain import to_plain
from p2pclient.recorder.reading import RunReader, said_of_withdrawn

SAME, DIFFERENT, BEGINNING, UNREADABLE = 0, 1, 2, 3


_AGREED = {"changes": ("frame",), "sittings": ("first_frame", "last_frame")}
"""Lists in the outcome that are the same on all sides: the field with the frame of an item, and what is left out, since
a match may end earlier for one side."""


class _Absent:
    """Stands for a cell that a frame does not have."""


_ABSENT = _Absent()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison found. ``code`` is the exit code of the command."""

    code: int
    message: str
    frames: int = 0
    """Frames found to be the same, from the first on."""
    episode: int | None = None
    """Where the first difference is; None if it is in no episode, or there is none. Likewise the next four."""
    frame: int | None = None
    field: str | None = None
    value_a: str | None = None
    value_b: str | None = None
    notes: tuple[str, ...] = ()
    """Sentences about what else a person should know: desyncs and withdrawn frames. They change no verdict."""

    @property
    def is_same(self) -> bool:
        return self.code == SAME


def is_same(a: Any, b: Any) -> bool:
    """Return whether two values are the same in type and value, all the way down."""
    if type(a) is not type(b):
        return False
    if type(a) is float:
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if type(a) in (list, tuple):
        return len(a) == len(b) and all(map(is_same, a, b))
    if type(a) is dict:
        return len(a) == len(b) and _have_same_items(a, b)
    if type(a).__module__ == "numpy":
        return _is_same_numpy(a, b)
    return bool(a == b)


def _have_same_items(a: dict[Any, Any], b: dict[Any, Any]) -> bool:
    # 1, 1.0 and True are one key to a dict, but not to us.
    types = {key: type(key) for key in b}
    return all(key in b and types[key] is type(key) and is_same(item, b[key]) for key, item in a.items())


def _is_same_numpy(a: Any, b: Any) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.tobytes() == b.tobytes():
        return True
    if a.dtype.char not in "efdFD":
        return False
    return is_same(a.real.tolist(), b.real.tolist()) and is_same(a.imag.tolist(), b.imag.tolist())


def compare(a: RunReader, b: RunReader) -> Verdict:
    """Compare two runs up to the first difference.

    Raises:
        RecordingError: a log became unreadable while it was read.
    """
    for field, value_a, value_b in (
        ("agents", a.agents, b.agents),
        ("seed", a.manifest.get("seed"), b.manifest.get("seed")),
    ):
        if not is_same(value_a, value_b):
            return _different(0, None, None, field, value_a, value_b)
    done = 0
    steps_a, steps_b = _steps(a), _steps(b)
    while True:
        step_a, step_b = next(steps_a, None), next(steps_b, None)
        # A side that was killed may lack the word about an episode's end though it has all of its frames.
        if _is_end(step_a) and not _is_end(step_b):
            step_a = next(steps_a, None)
        elif _is_end(step_b) and not _is_end(step_a):
            step_b = next(steps_b, None)
        if step_a is None or step_b is None:
            return _different_outcome(done, a, b) or _ended(done, step_a is None, step_b is None)
        difference = _difference(step_a, step_b)
        if difference is not None:
            return _different(done, step_a["episode"], step_a.get("frame"), *difference)
        done += "frame" in step_a


def _different_outcome(done: int, a: RunReader, b: RunReader) -> Verdict | None:
    """Compare what was agreed on beside the frames; None if it is the same, or one side was killed and says nothing."""
    reach = min(_reach(a), _reach(b))
    for field, keys in _AGREED.items():
        told_a, told_b = (_told(run, field, keys, reach) for run in (a, b))
        if told_a is None or told_b is None:
            continue
        for n in range(max(len(told_a), len(told_b))):
            value_a, value_b = (told[n] if n < len(told) else _ABSENT for told in (told_a, told_b))
            if not is_same(value_a, value_b):
                known = value_b if isinstance(value_a, _Absent) else value_a
                assert isinstance(known, dict)
                return _different(done, known["episode"], known[keys[0]], field, value_a, value_b)
    return None


def _reach(run: RunReader) -> tuple[int, int]:
    """Return the episode and frame before which a run knows of everything."""
    last = max(run.episodes, key=lambda episode: episode.episode, default=None)
    if last is None:
        return 0, 0
    is_over = last.end is not None and last.verified == last.end.last_frame + 1
    return (last.episode + 1, 0) if is_over else (last.episode, last.verified)


def _told(run: RunReader, field: str, keys: tuple[str, ...], reach: tuple[int, int]) -> list[dict[str, Any]] | None:
    """Return what a manifest says of ``field``, up to a place; None if it has no such list."""
    outcome = run.manifest.get("outcome")
    told = outcome.get(field) if isinstance(outcome, dict) else None
    if not isinstance(told, list):
        return None
    place, *left_out = keys
    for each in told:
        if not isinstance(each, dict) or type(each.get("episode")) is not int or type(each.get(place)) is not int:
            raise RecordingError(f"{run.folder}: the manifest's {field} are malformed")
    known = [each for each in told if (each["episode"], each[place]) < reach]
    return [{name: value for name, value in each.items() if name not in left_out} for each in known]


def _is_end(step: Cells | None) -> bool:
    return step is not None and "last_frame" in step


def _steps(run: RunReader) -> Iterator[Cells]:
    """Yield the cells of each episode's head, of its verified frames, and of its end if they reach it."""
    labels = agent_labels(run.agents)
    frames = run.frames(verified=True)
    is_complete = True
    for episode in run.episodes:
        if not (is_complete or episode.verified):
            # Started, but what is verified stops before it: a shorter table, not another one.
            continue
        yield {"episode": episode.episode, "seed": episode.seed, "first_checksum": episode.first_checksum}
        for record in islice(frames, episode.verified):
            yield frame_cells(labels, record, seated=run.seated)
        end = episode.end
        is_complete = end is not None and episode.verified == end.last_frame + 1
        if end is not None and is_complete:
            yield {"episode": episode.episode, "last_frame": end.last_frame, "totals": end.totals}


def _difference(a: Cells, b: Cells) -> tuple[str, Any, Any] | None:
    for name in a if a.keys() == b.keys() else {**a, **b}:
        value_a, value_b = a.get(name, _ABSENT), b.get(name, _ABSENT)
        if (name in a) != (name in b) or not is_same(value_a, value_b):
            return name, value_a, value_b
    return None


def _ended(done: int, a_ended: bool, b_ended: bool) -> Verdict:
    if a_ended and b_ended:
        return Verdict(SAME, f"same: {done} frames", done)
    shorter, longer = ("A", "B") if a_ended else ("B", "A")
    return Verdict(BEGINNING, f"{shorter} is the beginning of {longer}: {done} frames are the same", done)


def _different(done: int, episode: int | None, frame: int | None, field: str, a: Any, b: Any) -> Verdict:
    text_a, text_b = _show(a), _show(b)
    where = "".join(
        f"{name} {value}, " for name, value in (("episode", episode), ("frame", frame)) if value is not None
    )
    message = f"different at {where}{field}: A has {text_a}, B has {text_b} ({done} frames before are the same)"
    return Verdict(DIFFERENT, message, done, episode, frame, field, text_a, text_b)


def _show(value: Any) -> str:
    """A value as text, with its type where that is not obvious; huge ones are cut."""
    if isinstance(value, _Absent):
        return "(absent)"
    if type(value) is bytes:
        return value.hex()
    if isinstance(value, int) and abs(value) >= 1 << 64:
        return hex(value)[:200]
    text = repr(to_plain(value)) if isinstance(value, dict | list | tuple) else repr(value)
    return text if len(text) <= 200 else text[:200] + "..."


def verify_folders(folder_a: Path, folder_b: Path) -> Verdict:
    """Read two run folders and compare them. Never raises for what is in them."""
    runs = []
    for name, folder in (("A", folder_a), ("B", folder_b)):
        try:
            runs.append(RunReader(folder))
        except RecordingError as error:
            return Verdict(UNREADABLE, f"{name} is unreadable: {error}")
    try:
        notes = [note for name, run in zip("AB", runs, strict=True) for note in _notes(name, run)]
        return replace(compare(*runs), notes=tuple(notes))
    except RecordingError as error:
        return Verdict(UNREADABLE, f"unreadable: {error}")


def _notes(name: str, run: RunReader) -> Iterator[str]:
    if run.withdrawn:
        yield f"{name}: {said_of_withdrawn(run)}"
    for event in run.desyncs:
        yield f"{name}: {describe_desync(event, run.folder)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``tandem verify``. Exit codes: 0 same, 1 different, 2 one is the beginning of the other, 3 unreadable."""
    parser = argparse.ArgumentParser(prog="tandem verify", description="Compare two recordings of one match.")
    parser.add_argument("run_a", type=Path, metavar="RUN_A")
    parser.add_argument("run_b", type=Path, metavar="RUN_B")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    try:
        options = parser.parse_args(argv)
    except SystemExit as stop:
        # argparse ends with 2 for wrong arguments, which here would say that one run is the beginning of the other.
        return UNREADABLE if stop.code else 0
    verdict = verify_folders(options.run_a, options.run_b)
    lines = (verdict.message, *verdict.notes)
    print(json.dumps(asdict(verdict), sort_keys=True) if options.json else "\n".join(lines))
    return verdict.code


if __name__ == "__main__":
    sys.exit(main())
