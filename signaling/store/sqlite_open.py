"""Opens the file of a store: its checks, its format, and how it is told to keep what is written."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from p2pclient.common.errors import StoreError
from signaling.store.schema import APPLICATION_ID, STEPS

FILE_NAME = "tandem.sqlite3"
_BUSY_S = 10.0
"""How long to wait for another program's write."""
_LONG_LOG_BYTES = 4 << 20
"""SQLite's own measure: a thousand pages."""


def open_database(
    folder: Path, *, guest: bool, steps: Sequence[Sequence[str]] = STEPS
) -> tuple[Path, sqlite3.Connection]:
    """Open the file of a data folder, make it if there is none, and bring it to the newest format.

    Args:
        guest: another process serves from this folder: the file is used as it is, neither checked nor changed in form.
        steps: see :data:`signaling.store.schema.STEPS`.

    Returns:
        the file's path; a connection that leaves transactions to its user, for one thread at a time.

    Raises:
        StoreError: the file is damaged, of a newer version, not ours, or on a disk that will not do.
    """
    path = folder / FILE_NAME
    connection: sqlite3.Connection | None = None
    try:
        _make_private(path)
        # Only ever used by one thread, but not by the one that opens it.
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        version = _check_ours(connection, path, steps)
        if not guest:
            _check_whole(connection, path)
        _set_up(connection, path)
        if version < len(steps):
            if guest:
                raise StoreError(f"{path} has an older form; stop the server that uses it, then start this again.")
            _bring_up(connection, path, version, steps)
    except (OSError, sqlite3.Error) as error:
        _close(connection)
        raise StoreError(_sentence(path, error)) from None
    except StoreError:
        _close(connection)
        raise
    return path, connection


def shorten_log(connection: sqlite3.Connection, path: Path) -> None:
    """Move the write-ahead log into the file once it is long. Between transactions; only by who serves.

    Unlike the automatic way, this holds the lock of whoever writes meanwhile. If somebody reads for long, the next
    call will do it.
    """
    try:
        size = os.stat(f"{path}-wal").st_size
    except OSError:
        return  # nothing was written yet
    if size > _LONG_LOG_BYTES:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        connection.close()


def _make_private(path: Path) -> None:
    """Make the file, if there is none, readable for its owner only; SQLite gives its other files the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    if sys.platform != "win32":  # where a folder cannot be opened; the name of a new file is on the disk only then
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_ours(connection: sqlite3.Connection, path: Path, steps: Sequence[Sequence[str]]) -> int:
    """Return the version of the file's format; 0 for a new file."""
    owner = _number(connection, "application_id")
    version = _number(connection, "user_version")
    is_new = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if owner != APPLICATION_ID and not is_new:
        raise StoreError(f"{path} was not made by this program. Move it away, or take another folder (--data).")
    if version > len(steps):
        raise StoreError(
            f"{path} was written by a newer version of this program (format {version}; this one knows up to "
            f"{len(steps)}). Upgrade this program, or take another folder (--data)."
        )
    return version


def _check_whole(connection: sqlite3.Connection, path: Path) -> None:
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise StoreError(_damaged(path, "; ".join(found)))


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(
            f"{path} is on a disk that cannot share memory between programs (a network folder?). "
            "Take a folder on a disk of this machine (--data)."
        )
    connection.execute("PRAGMA synchronous = FULL")
    # On macOS, only this makes the disk write what it has in its own memory (fcntl(2), F_FULLFSYNC).
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA checkpoint_fullfsync = ON")
    # Until SQLite 3.51.3, a log that is moved into the file while another program writes can damage it, if rarely
    # (https://sqlite.org/wal.html#walresetbug). So it is moved by :func:`shorten_log` alone, which keeps others out.
    connection.execute("PRAGMA wal_autocheckpoint = 0")


def _bring_up(connection: sqlite3.Connection, path: Path, version: int, steps: Sequence[Sequence[str]]) -> None:
    """Take the steps that lead to the newest format, all or none; an older file is copied before."""
    if version:
        beside = path.with_name(f"{path.stem}-format-{version}-{time.strftime('%Y%m%d-%H%M%S')}{path.suffix}")
        _make_private(beside)
        copy = sqlite3.connect(beside)
        try:
            connection.backup(copy)
        finally:
            copy.close()
    connection.execute("BEGIN IMMEDIATE")
    for statement in (statement for step in steps[version:] for statement in step):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(steps)}")
    connection.execute("COMMIT")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _damaged(path: Path, what: str) -> str:
    return (
        f"{path} is damaged ({what}). Nothing in it was changed. Copy the whole folder {path.parent} somewhere safe, "
        f"then put back a copy of it that was made while no server ran, or take a new folder (--data)."
    )


def _sentence(path: Path, error: Exception) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(path, str(error))
    if code == sqlite3.SQLITE_BUSY:
        return f"{path} is held by another program. Close that one, then start this again."
    return f"{path} cannot be opened: {error}. Check the folder's permissions, or take another one (--data)."
