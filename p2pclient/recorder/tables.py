"""The tables of a run: which columns they have, and their rows.

``frames`` holds the verified frames and is identical on all sides: its columns come from verified frames alone, and
nothing local is in it. ``unverified`` holds, in the same columns, what was recorded but not agreed to by every peer.
``timing`` and ``events`` are local.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from p2pclient.recorder.cells import (
    MAX_GROUP_COLUMNS,
    Cells,
    Kind,
    agent_labels,
    classify,
    classify_action,
    frame_cells,
    group_of,
    render,
    resolve,
)
from p2pclient.recorder.plain import to_json_text
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.records import EventRecorded, FrameRecorded, FramesWithdrawn, FrameTimed

Row = list[Any]
"""One value (None, bool, int, float, str, or a list of int or float) per column."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class FrameLayout:
    """The columns of a table of frames."""

    labels: tuple[str, ...]
    columns: tuple[Column, ...]
    folded: frozenset[str]
    seated: tuple[str, ...]

    def row(self, record: FrameRecorded) -> Row:
        """Return the row of ``record``; what it does not have is None."""
        cells = frame_cells(self.labels, record, seated=self.seated, folded=self.folded)
        return [render(column.kind, cells.get(column.name)) for column in self.columns]


class _Census:
    """The classes of values seen under each name."""

    def __init__(self) -> None:
        self.classes: dict[str, set[str]] = {}
        self.folded: set[str] = set()
        self._group_sizes: dict[str, int] = {}

    def add(self, cells: Cells) -> None:
        for name, value in cells.items():
            classes = self.classes.get(name)
            if classes is None:
                classes = self._start(name)
            if value is not None:
                classes.add(classify_action(value) if name.startswith("action.") else classify(value))

    def _start(self, name: str) -> set[str]:
        group = group_of(name)
        if group is not None:
            size = self._group_sizes[group] = self._group_sizes.get(group, 0) + 1
            if size > MAX_GROUP_COLUMNS:
                self.folded.add(group)
            if group in self.folded:
                return set()
        return self.classes.setdefault(name, set())

    def merge(self, other: _Census) -> _Census:
        """Return what both have seen."""
        merged = _Census()
        merged.folded = self.folded | other.folded
        for name in {**self.classes, **other.classes}:
            merged._start(name).update(self.classes.get(name, ()), other.classes.get(name, ()))
        return merged

    def layout(self, labels: tuple[str, ...], seated: tuple[str, ...]) -> FrameLayout:
        names = _fixed_names(labels)
        names += sorted(name for name in self.classes if group_of(name) not in (None, *self.folded))
        names += sorted(self.folded)
        columns = tuple(Column(name, self._kind(name)) for name in names)
        return FrameLayout(labels, columns, frozenset(self.folded), seated)

    def _kind(self, name: str) -> Kind:
        field = name.partition(".")[0]
        if name in self.folded:
            return "json"
        if field in _FIXED_KINDS:
            return _FIXED_KINDS[field]
        return resolve(self.classes.get(name, ()), prefer_float=field == "reward")


_FIXED_KINDS: dict[str, Kind] = {
    "episode": "int",
    "frame": "int",
    "terminated": "bool",
    "truncated": "bool",
    "focus": "bool",
    "by": "text",
    "input": "hex",
    "checksum": "hex",
}


def _fixed_names(labels: Sequence[str]) -> list[str]:
    fields = ("action", "reward", "terminated", "truncated", "focus", "by", "input")
    return ["episode", "frame", *(f"{field}.{label}" for field in fields for label in labels), "checksum"]


def frame_layouts(run: RunReader) -> tuple[FrameLayout, FrameLayout]:
    """Read ``run`` through and return the layouts of ``frames`` and ``unverified``.

    Infos and observations spread over the union of their keys; a column whose values have several types holds JSON.
    """
    labels = agent_labels(run.agents)
    verified, unverified = _Census(), _Census()
    for record in run.frames():
        census = verified if run.is_verified(record) else unverified
        census.add(frame_cells(labels, record, seated=run.seated, folded=census.folded))
    return verified.layout(labels, run.seated), verified.merge(unverified).layout(labels, run.seated)


def timing_columns(labels: Iterable[str]) -> tuple[Column, ...]:
    """Return the columns of ``timing``. Times are ``perf_counter`` seconds; the manifest maps them to UTC."""
    return (
        Column("episode", "int"),
        Column("frame", "int"),
        Column("pressed_at", "float"),
        Column("applied_at", "float"),
        Column("simulated_at", "float"),
        Column("shown_at", "float"),
        Column("recorded_at", "float"),
        Column("rtt_ms", "float"),
        Column("input_delay", "int"),
        Column("window", "int"),
        *(Column(f"predicted.{label}", "bool") for label in labels),
        Column("resimulated", "int"),
    )


def timing_row(seats: int, timed: FrameTimed) -> Row:
    """Return the row of ``timed`` in :func:`timing_columns` of ``seats`` agents."""
    predicted = [*timed.predicted[:seats], *[None] * (seats - len(timed.predicted))]
    row: Row = [timed.episode, timed.frame, timed.pressed_at, timed.applied_at, timed.simulated_at, timed.shown_at]
    row += [timed.recorded_at, timed.rtt_ms, timed.input_delay, timed.window, *predicted, timed.resimulated]
    return row


EVENT_COLUMNS = (Column("episode", "int"), Column("frame", "int"), Column("name", "text"), Column("details", "json"))


def event_row(event: EventRecorded) -> Row:
    """Return the row of ``event`` in :data:`EVENT_COLUMNS`."""
    return [event.episode, event.frame, render("text", event.name), to_json_text(event.details)]


def withdrawal_row(record: FramesWithdrawn) -> Row:
    """Return the row of ``record`` in :data:`EVENT_COLUMNS`."""
    return [record.episode, record.first_frame, "frames-withdrawn", "{}"]


def csv_line(row: Iterable[Any]) -> str:
    """Return a row as one line of CSV (RFC 4180, but ending in a line feed on every system).

    None is an empty field and empty text is ``""``, so that they stay apart; floats read back exactly; lists are JSON.
    """
    return ",".join(map(_csv_field, row)) + "\n"


def _csv_field(value: Any) -> str:
    if value is None:
        return ""
    if value is True or value is False:
        return "true" if value else "false"
    if type(value) is list:
        value = to_json_text(value)
    if type(value) is not str:
        return repr(value)
    if not value or any(mark in value for mark in ',"\n\r') or value != value.strip():
        return '"' + value.replace('"', '""') + '"'
    return value
