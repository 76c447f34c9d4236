"""A store in one SQLite file, behind one thread that writes: durable, and shared by many writes at once.

Why so: SQLite needs nobody to set it up, and its write-ahead log (WAL) is whole after any crash. ``synchronous=FULL``
makes each commit wait until the disk has it, so that a power cut takes nothing that was acknowledged; under ``NORMAL``,
``kill -9`` would lose nothing, but a power cut would (https://sqlite.org/pragma.html#pragma_synchronous). What that
costs is shared: whatever was handed over while the disk was busy goes into one transaction (group commit), each batch
in a savepoint of its own, so that one that is refused takes no other with it.

Everything that touches the file runs on the one thread, reads too: they see what was written before, and nothing that
is not durable. The event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from p2pclient.common.errors import LocalMisuseError, StoreError, StoreRefusal
from signaling.store.interface import (
    Account,
    AuditLine,
    ConsoleSession,
    Decision,
    LinkUse,
    Match,
    Participant,
    Record,
    Study,
)
from signaling.store.lock import FolderLock
from signaling.store.sqlite_open import open_database, shorten_log
from signaling.store.statements import SELECTS, Statement, statements_of
from signaling.store.tables import P, Value, check_batch, from_row

log = logging.getLogger("tandem.server")

T = TypeVar("T")

MAX_PENDING_BATCHES = 4096
"""Handed over and not yet durable; whoever comes then waits before it hands over more."""
_MAX_GROUP = 1024
"""Batches and reads taken up at once: bounds how long the first of a group waits for the last."""


@dataclass(frozen=True, slots=True)
class _Write:
    statements: tuple[Statement, ...]
    done: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Read:
    read: Callable[[sqlite3.Connection], Any]
    done: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Stop:
    done: asyncio.Future[Any]


_Item = _Write | _Read | _Stop
_Outcomes = list[tuple[asyncio.Future[Any], object]]
"""An exception as an outcome is raised where the future is awaited."""


class SqliteStore:
    """See :class:`signaling.store.interface.Store`.

    Args:
        folder: the data folder; made if there is none.
        serve: True for a server: no other may have the folder. False for a program that looks in or changes a few
            records, while a server runs or not.
        program: how this one is named to whoever finds the folder in use.

    Raises:
        StoreError: the folder is in use, or its file is damaged, of a newer version, or not ours; says what to do.
    """

    def __init__(self, folder: Path, *, serve: bool = True, program: str = "tandem serve") -> None:
        self.path, self._connection, self._lock = _open(folder, serve=serve, program=program)
        self._items: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(MAX_PENDING_BATCHES)
        self._failed: StoreError | None = None
        self._dead: StoreError | None = None
        self._closing: asyncio.Future[None] | None = None
        # A daemon: a server that dies of an error is not kept alive by its store.
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    async def write(self, records: Sequence[Record]) -> None:
        """See :meth:`signaling.store.interface.Store.write`."""
        check_batch(records)
        statements = tuple(statement for record in records for statement in statements_of(record))
        await self._room.acquire()
        done = self._future()
        done.add_done_callback(lambda _: self._room.release())
        self._put(_Write(statements, done))
        await done

    async def flush(self) -> None:
        """See :meth:`signaling.store.interface.Store.flush`."""
        await self._read(lambda connection: None)

    async def close(self) -> None:
        """See :meth:`signaling.store.interface.Store.close`."""
        if self._closing is None:
            self._closing = self._future()
            self._put(_Stop(self._closing))
        await asyncio.shield(self._closing)
        self._thread.join()  # it has nothing left to do

    # -- what can be read ---------------------------------------------------------------------------------------------

    async def studies(self) -> tuple[Study, ...]:
        """See :class:`signaling.store.interface.Store`, here and below."""
        return await self._records(Study, "studies")

    async def participants(self, study_id: str) -> tuple[Participant, ...]:
        return await self._records(Participant, "participants", study_id)

    async def matches(self, study_id: str, *, running_only: bool = False) -> tuple[Match, ...]:
        return await self._records(Match, "running matches" if running_only else "matches", study_id)

    async def ended_matches(self, study_id: str, *, before: str | None = None, limit: int = 50) -> tuple[Match, ...]:
        return await self._records(Match, "ended matches", study_id, before, max(0, limit))

    async def ended_counts(self, study_id: str) -> dict[str, int]:
        return {str(reason): int(count) for reason, count in await self._rows("ended counts", study_id)}

    async def counters(self, study_id: str) -> dict[str, int]:
        return {str(name): int(value) for name, value in await self._rows("counters", study_id)}

    async def decisions(self, study_id: str, *, after: int = 0, limit: int = 1000) -> tuple[Decision, ...]:
        return await self._lines(Decision, "decisions", study_id, after, max(0, limit))

    async def audit(self, *, before: int | None = None, limit: int = 200) -> tuple[AuditLine, ...]:
        newest_first = await self._lines(AuditLine, "audit", before, max(0, limit))
        return newest_first[::-1]

    async def accounts(self) -> tuple[Account, ...]:
        return await self._records(Account, "accounts")

    async def account(self, name: str) -> Account | None:
        return next(iter(await self._records(Account, "account", name)), None)

    async def session(self, token_hash: str, *, now: float) -> ConsoleSession | None:
        return next(iter(await self._records(ConsoleSession, "session", token_hash, now)), None)

    async def used_links(self) -> dict[str, str]:
        return {use.link_id: use.participant_id for use in await self._records(LinkUse, "link uses")}

    # -- on the event loop --------------------------------------------------------------------------------------------

    def _put(self, item: _Item) -> None:
        if self._closing is not None and not isinstance(item, _Stop):
            item.done.set_exception(StoreError("The store is closed."))
            return
        self._items.put(item)
        if self._dead is not None:
            self._abandon([], self._dead)  # asked after it was put: so nothing waits for a thread that is gone

    @staticmethod
    def _future() -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        done = self._future()
        self._put(_Read(read, done))
        result: T = await done
        return result

    async def _rows(self, select: str, *values: Value) -> list[Any]:
        return await self._read(lambda connection: connection.execute(SELECTS[select], values).fetchall())

    async def _records(self, record: type[P], select: str, *values: Value) -> tuple[P, ...]:
        return await self._decoded(lambda row: from_row(record, row), select, values)

    async def _lines(self, record: type[P], select: str, *values: Value) -> tuple[P, ...]:
        return await self._decoded(lambda row: from_row(record, row[1:], number=row[0]), select, values)

    async def _decoded(self, decode: Callable[[Any], P], select: str, values: tuple[Value, ...]) -> tuple[P, ...]:
        def read(connection: sqlite3.Connection) -> tuple[P, ...]:
            rows = connection.execute(SELECTS[select], values).fetchall()
            try:
                return tuple(decode(row) for row in rows)
            except ValueError as error:
                raise StoreError(f"{self.path} holds what this program did not write ({error}).") from None

        return await self._read(read)

    # -- on the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Carry out what is handed over until the end, in order."""
        items: list[_Item] = []
        try:
            while not any(isinstance(item, _Stop) for item in items):
                items = [self._items.get()]
                while len(items) < _MAX_GROUP and not self._items.empty():
                    items.append(self._items.get())  # this thread is the only one that takes
                for kind, group in itertools.groupby(items, key=type):
                    _resolve(self._carry_out(kind, list(group)))
                    self._tidy()
        except BaseException as error:  # a bug here: whoever waits must hear of it, rather than wait for ever
            log.critical("the thread of the store ends", exc_info=True)
            self._dead = StoreError(f"{self.path} is no longer written: {error!r}. Start the server again.")
            self._end()
            self._abandon(items, self._dead)

    def _abandon(self, items: list[_Item], error: StoreError) -> None:
        """Fail what will not be carried out."""
        while True:
            try:
                items.append(self._items.get_nowait())
            except queue.Empty:
                break
        _resolve([(item.done, error) for item in items])

    def _carry_out(self, kind: type[_Item], items: list[Any]) -> _Outcomes:
        if kind is _Write:
            return self._commit(items)
        if kind is _Read:
            return [self._answer(item) for item in items]
        return [(item.done, self._end()) for item in items]

    def _answer(self, item: Any) -> tuple[asyncio.Future[Any], object]:
        try:
            return item.done, item.read(self._connection)
        except StoreError as error:
            return item.done, error
        except (sqlite3.ProgrammingError, ValueError, OverflowError) as error:  # a number of more than 64 bits
            return item.done, LocalMisuseError(f"the store cannot be asked this: {error}")
        except sqlite3.Error as error:
            return item.done, StoreError(f"{self.path} cannot be read: {error}. {_what_to_do(error)}")

    def _commit(self, writes: list[Any]) -> _Outcomes:
        """Keep batches in one transaction; returns what became of each."""
        if self._failed is not None:
            return [(write.done, self._failed) for write in writes]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes: _Outcomes = [(write.done, self._apply(write.statements)) for write in writes]
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            failure = self._fail(error)
            return [(write.done, failure) for write in writes]
        return outcomes

    def _tidy(self) -> None:
        """Shorten the log, if need be, once the writers have been told."""
        if self._lock is None or self._failed is not None or self._closing is not None:
            return
        try:
            shorten_log(self._connection, self.path)
        except sqlite3.Error as error:
            self._fail(error)

    def _apply(self, statements: tuple[Statement, ...]) -> StoreRefusal | None:
        """Carry out one batch within the transaction; one that is refused leaves no trace."""
        execute = self._connection.execute
        execute("SAVEPOINT batch")
        refusal = next((each.refusal for each in statements if not self._grants(each)), None)
        if refusal is not None:
            execute("ROLLBACK TO batch")
        execute("RELEASE batch")
        return refusal

    def _grants(self, statement: Statement) -> bool:
        cursor = self._connection.execute(statement.sql, statement.values)
        return statement.refusal is None or cursor.rowcount > 0

    def _fail(self, error: sqlite3.Error) -> StoreError:
        """Take back a transaction that failed; returns what to tell its writers."""
        failure = StoreError(f"{self.path} cannot be written: {error}. {_what_to_do(error)}")
        if not _may_pass(error):
            # Never tried again: after a failed fsync a system may report success for what it has dropped
            # (https://wiki.postgresql.org/wiki/Fsync_Errors). Opening the file again reads what is really there.
            self._failed = failure
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._failed = failure
        return failure

    def _end(self) -> StoreError | None:
        try:
            self._connection.close()
        except sqlite3.Error as error:
            return StoreError(f"{self.path} cannot be closed: {error}. {_what_to_do(error)}")
        finally:
            if self._lock is not None:
                self._lock.release()
        return None


def _open(folder: Path, *, serve: bool, program: str) -> tuple[Path, sqlite3.Connection, FolderLock | None]:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"The data folder {folder} cannot be made: {error}. Choose another one (--data).") from None
    lock: FolderLock | None = None
    try:
        lock = FolderLock(folder, program=program)
    except StoreError:
        if serve:
            raise
    try:
        path, connection = open_database(folder, guest=lock is None)
    except StoreError:
        if lock is not None:
            lock.release()
        raise
    return path, connection, lock


def _may_pass(error: sqlite3.Error) -> bool:
    """True for what leaves the file and the connection as they were: a full disk, another program's long write."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)


def _what_to_do(error: sqlite3.Error) -> str:
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return "Make room on the disk."
        case sqlite3.SQLITE_BUSY:
            return "Another program holds the file; close it."
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return "Stop the server and start it again: it will check the file and say what to do."
    return "Check the disk, then start the server again."


def _resolve(outcomes: _Outcomes) -> None:
    """Tell whoever waits, each on its own event loop and in order."""
    for loop, group in itertools.groupby(outcomes, key=lambda outcome: outcome[0].get_loop()):
        try:
            loop.call_soon_threadsafe(_tell, list(group))
        except RuntimeError:
            pass  # the loop is closed, so nobody waits


def _tell(outcomes: _Outcomes) -> None:
    for done, outcome in outcomes:
        if done.done():
            continue  # whoever waited was cancelled
        if isinstance(outcome, Exception):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)
