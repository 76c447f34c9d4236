"""One recorded frame as named cells, and what type of column holds the cells of a name.

A cell that a frame does not have is missing from its dict: absent is never another value, and never shifts a column.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

from p2pclient.recorder.plain import clean_text, key_label, to_json_text
from p2pclient.recorder.records import FrameRecorded

Cells = dict[str, Any]
Kind = Literal["bool", "int", "float", "text", "hex", "ints", "floats", "json"]
"""``hex`` is bytes, shown as text; ``ints`` and ``floats`` are lists; ``json`` is what has no type of its own, or
several."""

MAX_GROUP_COLUMNS = 1000
"""Columns that the infos or observations of one agent may spread over; beyond, they become one JSON column. An
environment that makes up keys while it runs would otherwise make a table that nothing can open."""

_EXACT_INT = 1 << 53
"""Integers up to this are floats as well, exactly."""

_INT64 = 1 << 63

_NUMPY_KINDS = "biufSU"
"""Kinds of NumPy dtypes whose scalars are a bool, int, float, str or bytes."""


def agent_labels(agents: Sequence[Any]) -> tuple[str, ...]:
    """Return what columns call the agents, by seat. Ids may be ints; dots are escaped; labels are distinct."""
    labels = [_escaped(clean_text(str(agent))) for agent in agents]
    return tuple(label if labels.count(label) == 1 else f"{label}#{seat}" for seat, label in enumerate(labels))


def frame_cells(
    labels: Sequence[str], record: FrameRecorded, *, seated: Sequence[str], folded: Collection[str] = ()
) -> Cells:
    """Return the cells of ``record`` in the order of columns, with values as recorded.

    Args:
        labels: of the agents, by seat.
        seated: who had each seat where the record says nothing else.
        folded: groups (``info.<agent>``, ``observation.<agent>``) whose value is one cell.
    """
    cells: Cells = {"episode": record.episode, "frame": record.frame}
    for field, values in (
        ("action", record.actions),
        ("reward", record.rewards),
        ("terminated", record.terminations),
        ("truncated", record.truncations),
        ("focus", record.focus),
        ("by", seated if record.by is None else [by or who for by, who in zip(record.by, seated, strict=True)]),
        ("input", record.inputs),
    ):
        for label, value in zip(labels, values, strict=True):
            cells[f"{field}.{label}"] = value
    cells["checksum"] = record.checksum
    for field, values in (("info", record.infos), ("observation", record.observations or ())):
        for label, value in zip(labels, values, strict=False):
            _add_group(cells, f"{field}.{label}", value, folded)
    return cells


def _add_group(cells: Cells, group: str, value: Any, folded: Collection[str]) -> None:
    if value is None:
        return
    if group not in folded and type(value) is dict:
        _flatten(cells, group, value)
    else:
        cells[group] = value


def _flatten(cells: Cells, prefix: str, value: dict[Any, Any]) -> None:
    for key, item in value.items():
        name = f"{prefix}.{_escaped(key_label(key))}"
        if type(item) is dict and item:
            _flatten(cells, name, item)
        else:
            cells[name] = item


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace(".", "\\.") if "." in label or "\\" in label else label


def group_of(name: str) -> str | None:
    """Return ``info.<agent>`` or ``observation.<agent>`` for the columns of such a group, else None."""
    if not name.startswith(("info.", "observation.")):
        return None
    start = name.index(".") + 1
    end = start
    while end < len(name) and name[end] != ".":
        end += 2 if name[end] == "\\" else 1
    return name[:end]


def classify(value: Any) -> str:
    """Return the class of a value: a kind, or ``long`` for an integer that is not a float as well."""
    kind = type(value)
    if kind is bool:
        return "bool"
    if kind is int:
        return "int" if -_EXACT_INT <= value <= _EXACT_INT else "long" if -_INT64 <= value < _INT64 else "json"
    if kind is float:
        return "float"
    if kind is str:
        return "text"
    if kind is bytes:
        return "hex"
    if kind.__module__ == "numpy" and value.ndim == 0 and value.dtype.kind in _NUMPY_KINDS:
        as_python = value.item()
        # Long doubles come back as they are.
        return "json" if type(as_python) is kind else classify(as_python)
    return "json"


def classify_action(value: Any) -> str:
    """Return the class of an action: as :func:`classify`, but lists of whole numbers or of floats have their own.

    Actions of one agent are all of one shape, so that such a column serves as it is. Lists in infos may be anything.
    """
    if type(value) is list:
        of = {classify(item) for item in value}
        if of == {"float"}:
            return "floats"
        if of and of <= {"int", "long"}:
            return "ints"
    return classify(value)


def resolve(classes: Iterable[str], *, prefer_float: bool = False) -> Kind:
    """Return the kind of column that holds values of all ``classes`` without loss, ``json`` if there is no other.

    Args:
        prefer_float: make a column of whole numbers one of floats, so that its type is the same in every run.
    """
    found = set(classes)
    if found <= {"int", "float"} and ("float" in found or prefer_float):
        return "float"
    if found <= {"int", "long"} and found:
        return "int"
    for kind in ("bool", "text", "hex", "ints", "floats"):
        if found == {kind}:
            return kind
    return "json"


def render(kind: Kind, value: Any) -> Any:
    """Return ``value`` as bool, int, float, str or list, as its column's kind wants it; None stays None."""
    if value is None:
        return None
    if kind == "bool":
        return bool(value)
    if kind == "int":
        return int(value)
    if kind == "float":
        return float(value)
    if kind == "text":
        return clean_text(str(value))
    if kind == "hex":
        return bytes(value).hex()
    if kind in ("ints", "floats"):
        return list(value)
    return to_json_text(value)
