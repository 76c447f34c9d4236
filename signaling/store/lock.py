"""One server per data folder: a lock that ends with its process, however that ends."""

from __future__ import annotations

import os
import platform
import sys
import time
from io import FileIO
from pathlib import Path

import msgspec

from p2pclient.common.errors import StoreError

LOCK_NAME = "server.lock"
_LOCKED_BYTE = 1 << 20
"""Far behind the text: Windows lets nobody else read what is locked (``LockFile``)."""
_MAX_BYTES = 4096


class _Holder(msgspec.Struct, frozen=True, kw_only=True):
    """What is in the file. It proves nothing: the lock does."""

    process: int
    program: str
    machine: str
    since: str


class FolderLock:
    """The right to serve from a folder, from its making until :meth:`release`.

    The file stays: who removes a lock's file may remove the one that another has just taken.

    Raises:
        StoreError: another process has it; the sentence names that one. Or the file cannot be written.
    """

    def __init__(self, folder: Path, *, program: str) -> None:
        path = folder / LOCK_NAME
        self._file: FileIO | None = None
        try:
            # Neither "w", which would empty another's text, nor "a", which would only ever write behind it.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
            self._file = FileIO(descriptor, "r+")
            taken = _try_lock(descriptor)
        except OSError as error:
            self.release()
            raise StoreError(f"{path} cannot be locked: {error}. Choose a folder on a disk of this machine.") from None
        if not taken:
            holder = self._read_holder()
            self.release()
            raise StoreError(
                f"The data folder {folder} is in use by {holder}. Stop that one first, or take another folder (--data)."
            )
        self._write_holder(program)

    def release(self) -> None:
        """Let the next one have the folder. Harmless twice."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _write_holder(self, program: str) -> None:
        assert self._file is not None
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        holder = _Holder(process=os.getpid(), program=program, machine=platform.node(), since=since)
        self._file.seek(0)
        self._file.truncate()
        self._file.write(msgspec.json.encode(holder))

    def _read_holder(self) -> str:
        assert self._file is not None
        self._file.seek(0)
        try:
            holder = msgspec.json.decode(self._file.read(_MAX_BYTES), type=_Holder)
        except (OSError, ValueError):  # it has locked the file and is about to write
            return "another process"
        return f"process {holder.process} ({holder.program} on {holder.machine}, since {holder.since})"


def _try_lock(descriptor: int) -> bool:
    """Lock without waiting; False if another process, or another :class:`FolderLock` of this one, has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # what flock raises, and what Windows does
        return False
    return True
