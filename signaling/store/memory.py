"""The reference store: everything in memory, gone with the process. For tests, and for ``serve`` without ``--data``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from p2pclient.common.errors import StoreError, StoreRefusal
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
from signaling.store.tables import TABLES, P, Row, check_batch, from_row, to_row

_Undo = list[Callable[[], object]]


class MemoryStore:
    """See :class:`signaling.store.interface.Store`."""

    def __init__(self) -> None:
        self._rows: dict[type[msgspec.Struct], dict[Any, Row]] = {record: {} for record in TABLES}
        """By key; by number, what is only added."""
        self._counters: dict[str, dict[str, int]] = {}
        self._closed = False

    async def write(self, records: Sequence[Record]) -> None:
        """See :meth:`signaling.store.interface.Store.write`."""
        self._check_open()
        check_batch(records)
        for record in records:
            if isinstance(record, Put):
                to_row(record)  # raises before anything is changed
        undo: _Undo = []
        try:
            for record in records:
                if isinstance(record, Change):
                    self._change(record, undo)
                else:
                    self._put(record, undo)
        except StoreRefusal:
            for step in reversed(undo):
                step()
            raise

    async def flush(self) -> None:
        """See :meth:`signaling.store.interface.Store.flush`."""
        self._check_open()

    async def close(self) -> None:
        """See :meth:`signaling.store.interface.Store.close`."""
        self._closed = True

    # -- what can be read ---------------------------------------------------------------------------------------------

    async def studies(self) -> tuple[Study, ...]:
        """See :class:`signaling.store.interface.Store`, here and below."""
        return self._all(Study)

    async def participants(self, study_id: str) -> tuple[Participant, ...]:
        return tuple(found for found in self._all(Participant) if found.study_id == study_id)

    async def matches(self, study_id: str, *, running_only: bool = False) -> tuple[Match, ...]:
        found = (match for match in self._all(Match) if match.study_id == study_id)
        return tuple(match for match in found if not running_only or match.state != "ended")

    async def ended_matches(self, study_id: str, *, before: str | None = None, limit: int = 50) -> tuple[Match, ...]:
        found = list(self._all(Match))
        if before is not None:
            ids = [match.id for match in found]
            found = found[: ids.index(before)] if before in ids else []
        ended = [match for match in found if match.study_id == study_id and match.state == "ended"]
        return tuple(ended[::-1][: max(0, limit)])

    async def ended_counts(self, study_id: str) -> dict[str, int]:
        found = (match for match in self._all(Match) if match.study_id == study_id and match.state == "ended")
        return dict(Counter(match.reason for match in found))

    async def counters(self, study_id: str) -> dict[str, int]:
        self._check_open()
        return dict(self._counters.get(study_id, {}))

    async def decisions(self, study_id: str, *, after: int = 0, limit: int = 1000) -> tuple[Decision, ...]:
        found = [line for line in self._lines(Decision) if line.study_id == study_id and line.number > after]
        return tuple(found[:limit])

    async def audit(self, *, before: int | None = None, limit: int = 200) -> tuple[AuditLine, ...]:
        found = [line for line in self._lines(AuditLine) if before is None or line.number < before]
        return tuple(found[max(0, len(found) - limit) :])

    async def accounts(self) -> tuple[Account, ...]:
        return tuple(sorted(self._all(Account), key=lambda account: account.name))

    async def account(self, name: str) -> Account | None:
        return next((account for account in self._all(Account) if account.name == name), None)

    async def session(self, token_hash: str, *, now: float) -> ConsoleSession | None:
        found = (each for each in self._all(ConsoleSession) if each.token_hash == token_hash and each.expires_at > now)
        return next(found, None)

    async def used_links(self) -> dict[str, str]:
        return {use.link_id: use.participant_id for use in self._all(LinkUse)}

    # -- inside -------------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("The store is closed.")

    def _all(self, record: type[P]) -> tuple[P, ...]:
        self._check_open()
        return tuple(from_row(record, row) for row in self._rows[record].values())

    def _lines(self, record: type[P]) -> tuple[P, ...]:
        self._check_open()
        return tuple(from_row(record, row, number=number) for number, row in self._rows[record].items())

    def _put(self, record: Put, undo: _Undo) -> None:
        table, rows = TABLES[type(record)], self._rows[type(record)]
        key = tuple(getattr(record, name) for name in table.key) or len(rows) + 1
        if isinstance(record, ConsoleSession) and (record.account,) not in self._rows[Account]:
            raise store_refusal("no-account")
        if isinstance(record, LinkUse) and key in rows:
            if from_row(LinkUse, rows[key]).participant_id != record.participant_id:
                raise store_refusal("link-used")
            return
        self._set(rows, key, to_row(record), undo)

    def _change(self, change: Change, undo: _Undo) -> None:
        sessions = self._rows[ConsoleSession]
        match change:
            case Count():
                counters = self._counters.setdefault(change.study_id, {})
                value = counters.get(change.name, 0) + change.by
                if value < 0 or (change.cap is not None and value > change.cap):
                    raise store_refusal("counter-limit")
                self._set(counters, change.name, value, undo)
            case AccountRemoved():
                self._remove(self._rows[Account], (change.name,), undo)
                for each in self._all(ConsoleSession):
                    if each.account == change.name:
                        self._remove(sessions, (each.token_hash,), undo)
            case SessionEnded():
                self._remove(sessions, (change.token_hash,), undo)
            case SessionsEnded():
                for each in self._all(ConsoleSession):
                    if each.expires_at <= change.before and change.account in (None, each.account):
                        self._remove(sessions, (each.token_hash,), undo)

    @staticmethod
    def _set(rows: dict[Any, Any], key: object, value: object, undo: _Undo) -> None:
        was_there, old = key in rows, rows.get(key)
        undo.append(lambda: rows.__setitem__(key, old) if was_there else rows.pop(key))
        rows[key] = value

    @staticmethod
    def _remove(rows: dict[Any, Any], key: object, undo: _Undo) -> None:
        if key in rows:
            before = dict(rows)

            def restore() -> None:
                rows.clear()
                rows.update(before)

            undo.append(restore)
            del rows[key]
