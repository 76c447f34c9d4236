"""How records become rows, the same for every store: columns are fields, and what has a shape of its own is JSON.

Pure. Records are checked on their way in, so that no store ever meets one that it cannot keep or read back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from p2pclient.common.errors import LocalMisuseError
from signaling.store.interface import (
    MAX_BATCH_RECORDS,
    Account,
    AuditLine,
    Change,
    ConsoleSession,
    Decision,
    LinkUse,
    Match,
    Participant,
    Put,
    Record,
    Study,
)

Value = str | int | float | None
Row = tuple[Value, ...]
P = TypeVar("P", bound=Put)


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its name, the fields that make its key (none: lines that are only added), and those kept as JSON."""

    name: str
    record: type[Put]
    key: tuple[str, ...]
    json: tuple[str, ...] = ()
    columns: tuple[str, ...] = field(init=False)
    """In the order of the struct's fields; without ``number``, which the store gives."""

    def __post_init__(self) -> None:
        fields = tuple(name for name in self.record.__struct_fields__ if name != "number")
        object.__setattr__(self, "columns", fields)


TABLES: Mapping[type[msgspec.Struct], Table] = {
    table.record: table
    for table in (
        Table("studies", Study, ("id",), json=("settings",)),
        Table("participants", Participant, ("id",), json=("attributes", "room")),
        Table("matches", Match, ("id",), json=("settings", "seats", "results", "room")),
        Table("decisions", Decision, (), json=("line",)),
        Table("audit", AuditLine, (), json=("facts",)),
        Table("accounts", Account, ("name",)),
        Table("sessions", ConsoleSession, ("token_hash",)),
        Table("link_uses", LinkUse, ("link_id",)),
    )
}


def check_batch(records: Sequence[Record]) -> None:
    """Raise LocalMisuseError unless these are records, no more than may be in one batch, each what its type says."""
    if len(records) > MAX_BATCH_RECORDS:
        raise LocalMisuseError(f"a batch has {len(records)} records; at most {MAX_BATCH_RECORDS} are allowed")
    for record in records:
        if not isinstance(record, Record):
            raise LocalMisuseError(f"{type(record).__name__} is no record")
        try:
            msgspec.convert(msgspec.to_builtins(record), type(record))
        except (TypeError, ValueError, RecursionError) as error:  # msgspec's own are ValueErrors
            raise LocalMisuseError(f"{type(record).__name__} cannot be kept: {error}") from None
        for name in record.__struct_fields__:
            value = getattr(record, name)
            if isinstance(value, float) and not math.isfinite(value):
                raise LocalMisuseError(f"{type(record).__name__} cannot be kept: {name} is {value}")


def to_row(record: Put) -> Row:
    """Return the values of a checked record, in the order of its table's columns.

    Raises:
        LocalMisuseError: a field holds what JSON cannot.
    """
    table = TABLES[type(record)]
    try:
        return tuple(
            _encoded(getattr(record, name)) if name in table.json else _plain(getattr(record, name))
            for name in table.columns
        )
    except (TypeError, ValueError, RecursionError) as error:  # half a surrogate pair is a ValueError, too
        raise LocalMisuseError(f"{type(record).__name__} cannot be kept: {error}") from None


def from_row(record: type[P], row: Sequence[Value], *, number: int | None = None) -> P:
    """Return the record of a row.

    Raises:
        ValueError: it is none; somebody else wrote it.
    """
    table = TABLES[record]
    fields: dict[str, object] = {
        name: msgspec.json.decode(str(value)) if name in table.json else value
        for name, value in zip(table.columns, row, strict=True)
    }
    if number is not None:
        fields["number"] = number
    return msgspec.convert(fields, record, strict=False)


def change_values(change: Change) -> dict[str, Value]:
    """Return the fields of a checked change by name."""
    return {name: _plain(getattr(change, name)) for name in change.__struct_fields__}


def _encoded(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _plain(value: object) -> Value:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        value.encode()  # what no file can hold is found here, not by whoever writes it
        return value
    if value is None or isinstance(value, int | float):
        return value
    raise TypeError(f"{value!r} has no column")
