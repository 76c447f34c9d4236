"""Records as SQL: one statement for each, and the questions that a store answers. Pure text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from p2pclient.common.errors import StoreRefusal
from signaling.store.interface import (
    Account,
    AccountRemoved,
    AuditLine,
    Change,
    ConsoleSession,
    Count,
    Decision,
    LinkUse,
    Match,
    Participant,
    Put,
    Record,
    SessionEnded,
    SessionsEnded,
    Study,
    store_refusal,
)
from signaling.store.tables import TABLES, Table, Value, change_values, to_row


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement with its values. If there is a ``refusal``, it holds when the statement changed no row."""

    sql: str
    values: tuple[Value, ...] | dict[str, Value]
    refusal: StoreRefusal | None = None


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _insert(table: Table, values: str) -> str:
    """Return the statement that writes one row of a table, replacing the one of the same key in place."""
    sql = f"INSERT INTO {table.name} ({_quoted(table.columns)}) {values}"
    if not table.key:
        return sql
    others = ", ".join(f'"{name}" = excluded."{name}"' for name in table.columns if name not in table.key)
    return f"{sql} ON CONFLICT ({_quoted(table.key)}) DO UPDATE SET {others}"


def _marks(table: Table) -> str:
    return ", ".join("?" * len(table.columns))


_PUTS: Mapping[type[msgspec.Struct], str] = {
    record: _insert(table, f"VALUES ({_marks(table)})") for record, table in TABLES.items()
}
_SESSION = _insert(
    TABLES[ConsoleSession],
    f"SELECT {_marks(TABLES[ConsoleSession])} WHERE EXISTS (SELECT 1 FROM accounts WHERE name = ?)",
)
_LINK_USE = (
    "INSERT INTO link_uses (link_id, participant_id, at) VALUES (?, ?, ?) ON CONFLICT (link_id)"
    " DO UPDATE SET at = at WHERE participant_id = excluded.participant_id"
)
_COUNT = (
    "INSERT INTO counters (study_id, name, value) SELECT :study_id, :name, :by"
    " WHERE EXISTS (SELECT 1 FROM counters WHERE study_id = :study_id AND name = :name)"
    " OR (:by >= 0 AND (:cap IS NULL OR :by <= :cap))"
    " ON CONFLICT (study_id, name) DO UPDATE SET value = value + :by"
    " WHERE value + :by >= 0 AND (:cap IS NULL OR value + :by <= :cap)"
)
_CHANGES: Mapping[type[Change], tuple[str, ...]] = {
    AccountRemoved: ("DELETE FROM sessions WHERE account = :name", "DELETE FROM accounts WHERE name = :name"),
    SessionEnded: ("DELETE FROM sessions WHERE token_hash = :token_hash",),
    SessionsEnded: ("DELETE FROM sessions WHERE expires_at <= :before AND (:account IS NULL OR account = :account)",),
}


def statements_of(record: Record) -> tuple[Statement, ...]:
    """Return what writes a checked record.

    Raises:
        LocalMisuseError: a field holds what JSON cannot.
    """
    if isinstance(record, Count):
        return (Statement(_COUNT, change_values(record), store_refusal("counter-limit")),)
    if isinstance(record, Change):
        return tuple(Statement(sql, change_values(record)) for sql in _CHANGES[type(record)])
    row = to_row(record)
    if isinstance(record, ConsoleSession):
        return (Statement(_SESSION, (*row, record.account), store_refusal("no-account")),)
    if isinstance(record, LinkUse):
        return (Statement(_LINK_USE, row, store_refusal("link-used")),)
    return (Statement(_PUTS[type(record)], row),)


def _select(record: type[Put], rest: str, *, numbered: bool = False) -> str:
    table = TABLES[record]
    return f"SELECT {'number, ' if numbered else ''}{_quoted(table.columns)} FROM {table.name} {rest}"


_OF_STUDY = "WHERE study_id = ? ORDER BY rowid"

SELECTS: Mapping[str, str] = {
    "studies": _select(Study, "ORDER BY rowid"),
    "participants": _select(Participant, _OF_STUDY),
    "matches": _select(Match, _OF_STUDY),
    "running matches": _select(Match, "WHERE study_id = ? AND state != 'ended' ORDER BY rowid"),
    "ended matches": _select(
        Match,
        "WHERE study_id = ?1 AND state = 'ended' AND (?2 IS NULL OR rowid < (SELECT rowid FROM matches WHERE id = ?2))"
        " ORDER BY rowid DESC LIMIT ?3",
    ),
    "ended counts": "SELECT reason, COUNT(*) FROM matches WHERE study_id = ? AND state = 'ended' GROUP BY reason",
    "counters": "SELECT name, value FROM counters WHERE study_id = ? ORDER BY name",
    "decisions": _select(Decision, "WHERE study_id = ? AND number > ? ORDER BY number LIMIT ?", numbered=True),
    "audit": _select(AuditLine, "WHERE (?1 IS NULL OR number < ?1) ORDER BY number DESC LIMIT ?2", numbered=True),
    "accounts": _select(Account, "ORDER BY name"),
    "account": _select(Account, "WHERE name = ?"),
    "session": _select(ConsoleSession, "WHERE token_hash = ? AND expires_at > ?"),
    "link uses": _select(LinkUse, ""),
}
"""By what is asked; the values are bound in the order of the question marks."""
