"""Writes the log: one ``write`` per record, a flush to the disk once a second, and no silence about failures."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from p2pclient.common.errors import RecordingError
from p2pclient.recorder.log import file_header, frame_payload

LOW_SPACE_BYTES = 200 << 20
"""Below this much free space a person is told, before and during a match."""

SYNC_INTERVAL = 1.0
"""Seconds between flushes to the disk: what a power cut may cost."""

_SPACE_CHECK_EVERY = 5
"""Flushes between two looks at the free space."""

_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space, or choose a folder on another disk",
    errno.EDQUOT: "the disk quota is used up: free some space, or choose another folder",
    errno.EFBIG: "the file reached the largest size that the system allows: raise the limit, or choose another disk",
    errno.EROFS: "the disk is read-only: choose another folder",
    errno.EACCES: "this folder may not be written to: choose another one, or change its permissions",
    errno.EPERM: "this folder may not be written to: choose another one, or change its permissions",
    errno.EIO: "the disk reports an error: check its cable and its health, and choose another disk",
    errno.ENOENT: "the folder is gone: was it removed, or its disk unplugged?",
}


def describe_failure(path: Path, error: OSError) -> str:
    """Return the sentence for a person: which file, what happened, what to do."""
    advice = _ADVICE.get(error.errno or 0, f"{error.strerror or error}: check the disk, or choose another folder")
    return f"{path} cannot be written: {advice}"


def free_bytes(folder: Path) -> int:
    """Bytes that an ordinary user may still write in the file system of ``folder``.

    Raises:
        OSError: the folder cannot be looked at.
    """
    return shutil.disk_usage(folder).free


def describe_low_space(folder: Path) -> str | None:
    """Return a sentence if less than ``LOW_SPACE_BYTES`` are free, else None. Unknown counts as enough."""
    try:
        free = free_bytes(folder)
    except OSError:
        return None
    if free >= LOW_SPACE_BYTES:
        return None
    return f"only {free >> 20} MB are free where {folder} is: free some space, or the recording will stop"


class LogWriter:
    """Appends payloads to a new log, or to that of a process that was killed.

    The first failure ends the recording for good: the file is cut back to its last whole record, so that what was
    written stays readable, and every later call raises the same sentence. Going on after a failure would leave a hole.

    One thread calls :meth:`append`; a thread of the writer's own flushes to the disk, so that no caller waits for it.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_problem: Callable[[str], None] | None = None,
        sync: Callable[[int], None] = os.fsync,
        sync_interval: float = SYNC_INTERVAL,
        append_at: int | None = None,
    ) -> None:
        """Create the file, or open it.

        Args:
            path: must not exist.
            on_problem: called once per problem with a sentence for a person, in the thread in which it was noticed.
            sync: what brings a file descriptor's data to the disk.
            sync_interval: seconds between two calls of it.
            append_at: go on with a log that has so many bytes of whole records; what is behind them is cut off.

        Raises:
            RecordingError: the file exists or cannot be created; or it cannot be gone on with.
        """
        self.path = path
        self.written_bytes = 0
        self._on_problem = on_problem
        self._sync = sync
        self._failure: str | None = None
        self._problems: list[str] = []
        self._dirty = False
        self._stop = threading.Event()
        binary = getattr(os, "O_BINARY", 0)
        try:
            if append_at is None:
                self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | binary, 0o644)
            else:
                self._fd = os.open(path, os.O_WRONLY | binary)
                os.ftruncate(self._fd, append_at)
                os.lseek(self._fd, append_at, os.SEEK_SET)
                self.written_bytes = append_at
        except FileExistsError as error:
            raise RecordingError(f"{path} exists already; a recording is never overwritten") from error
        except OSError as error:
            raise RecordingError(describe_failure(path, error)) from error
        self._thread = threading.Thread(target=self._flush, args=(sync_interval,), name="log-sync", daemon=True)
        self._thread.start()
        if self.written_bytes:
            return
        try:
            self._write(file_header())
        except RecordingError:
            self.close()
            raise

    def append(self, payload: bytes) -> None:
        """Write one payload; when this returns, it survives the end of the process.

        Raises:
            RecordingError: this or an earlier write or flush failed, or the writer is closed.
        """
        self._write(frame_payload(payload))

    def problems(self) -> tuple[str, ...]:
        """Sentences about everything that went wrong so far, oldest first."""
        return tuple(self._problems)

    def close(self) -> None:
        """Flush to the disk and close the file. Idempotent; a failed flush is among :meth:`problems`."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        self._flush_once()
        os.close(self._fd)
        self._fd = -1

    def _write(self, data: bytes) -> None:
        if self._failure is not None:
            raise RecordingError(self._failure)
        if self._fd < 0:
            raise RecordingError(f"{self.path} is closed; nothing can be recorded any more")
        try:
            written = os.write(self._fd, data)
            # A disk that fills up takes a part first; asking again for the rest yields the reason.
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError as error:
            self._cut_back()
            raise RecordingError(self._fail(error)) from error
        self.written_bytes += len(data)
        self._dirty = True

    def _cut_back(self) -> None:
        """Remove a half-written record. Where that fails too, the reader takes it for a torn tail."""
        try:
            os.ftruncate(self._fd, self.written_bytes)
        except OSError:
            pass

    def _fail(self, error: OSError) -> str:
        self._failure = describe_failure(self.path, error)
        self._tell(self._failure)
        return self._failure

    def _tell(self, problem: str) -> None:
        self._problems.append(problem)
        if self._on_problem is not None:
            self._on_problem(problem)

    def _flush(self, interval: float) -> None:
        rounds, told = 0, False
        while not self._stop.wait(interval):
            self._flush_once()
            if rounds % _SPACE_CHECK_EVERY == 0 and not told:
                low = describe_low_space(self.path.parent)
                told = low is not None
                if low is not None:
                    self._tell(low)
            rounds += 1

    def _flush_once(self) -> None:
        if not self._dirty or self._failure is not None:
            return
        self._dirty = False
        try:
            self._sync(self._fd)
        except OSError as error:
            # Never retried: after a failed fsync the system may report success for data that it dropped
            # (https://lwn.net/Articles/752063/).
            self._fail(error)
