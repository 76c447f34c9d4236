"""Watches a host from outside: that it takes no more memory than it may, and that its log does not fill the disk.

The measure is the same on every system, because the systems' own limits are not: address space is no memory (NumPy's
libraries reserve far more than they use), macOS holds to no limit at all, and a limit for one process says nothing of
several. Between two looks more may be taken than is allowed.

What an environment prints goes to its log by itself, without a pipe in between that could fill up and hold it, or be
lost with us. A log that grew too long is cut in the middle: its beginning is kept, what comes goes on behind it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import psutil

from p2pclient.envhost import process_windows
from p2pclient.envhost.hanging import Hang, HangWatch

LOG_KEPT_BYTES = 10 << 20
"""How much of the beginning of a host's output is kept; as much again may follow until it is cut."""

_LOOK_SECONDS = 0.25
_CUT = b"\n[the environment printed more than is kept: what was here is left out]\n"


class Watch:
    """A thread that looks at one host until it has ended.

    Args:
        pid: the host's.
        log_path: its log, None if it has none.
        log_start: where in it the host's output begins.
    """

    def __init__(self, pid: int, log_path: Path | None, log_start: int) -> None:
        self._pid = pid
        self._log_path = log_path
        self._log_start = log_start
        self._ended = threading.Event()

    def start(self, memory_mb: int | None, over: Callable[[str | Hang], None], calls: HangWatch | None = None) -> None:
        """Begin to look.

        Args:
            memory_mb: what the host may take with all processes it started; None for no limit.
            over: called in the thread, once, with a sentence if it takes more, or with the call that hangs.
            calls: sees what hangs; None if nobody looks.
        """
        if memory_mb is not None or self._log_path is not None or calls is not None:
            name = f"envhost-watch-{self._pid}"
            threading.Thread(target=self._run, args=(memory_mb, over, calls), name=name, daemon=True).start()

    def stop(self) -> None:
        """The host is gone."""
        self._ended.set()

    def _run(self, memory_mb: int | None, over: Callable[[str | Hang], None], calls: HangWatch | None) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            if self._log_path is not None:
                cut_log(self._log_path, self._log_start)
            if memory_mb is not None:
                taken = measure_memory(self._pid, memory_mb << 20) >> 20
                if taken > memory_mb and not self._ended.is_set():
                    over(f"the environment took more than {memory_mb} MB of memory ({taken} MB)")
                    return
            hang = calls.look(perf_counter()) if calls is not None else None
            if hang is not None and not self._ended.is_set():
                over(hang)
                return


def open_log(path: Path) -> tuple[int, int]:
    """Open a host's log so that whatever writes to it appends, however the file is cut meanwhile.

    A log that earlier hosts have filled is put aside under the same name with ``.old``, in place of the one before.

    Returns:
        A descriptor that is the caller's to close, and where the new output begins.

    Raises:
        OSError: it cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if path.stat().st_size > 2 * LOG_KEPT_BYTES:
            os.replace(path, path.with_name(path.name + ".old"))
    except OSError:
        pass  # There is none yet; or another host writes to it on Windows, and it is put aside the next time.
    if sys.platform == "win32":
        descriptor = process_windows.open_to_append(path)
    else:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    return descriptor, path.stat().st_size


def cut_log(path: Path, start: int, kept: int = LOG_KEPT_BYTES) -> bool:
    """Cut a log whose output from ``start`` on is more than twice ``kept``; return whether it was.

    Whoever writes to it appends, so that what comes next is behind what is left.
    """
    try:
        if path.stat().st_size - start <= 2 * kept:
            return False
        os.truncate(path, start + kept)
        with path.open("ab") as log:
            log.write(_CUT)
    except OSError:
        return False  # Gone, or held by another program for a moment: the next look tries again.
    return True


def measure_memory(pid: int, enough: int) -> int:
    """Return the bytes of memory that a process and those below it take; roughly, if it is at most ``enough``.

    Forked processes share pages. Summing them up counts those many times, which is quick, and good enough as long as
    the sum is allowed. Beyond, Linux is asked for the share of each (PSS), which takes it milliseconds. macOS does not
    tell; there the largest process counts, with the others' share unknown. On Windows nothing is forked.
    """
    sizes: list[int] = []
    shares: list[int] = []
    for process in _family(pid):
        try:
            sizes.append(process.memory_info().rss)
        except psutil.Error:
            continue  # It ended in between.
    if sum(sizes) <= enough or sys.platform == "win32":
        return sum(sizes)
    if not sys.platform.startswith("linux"):
        return max(sizes)
    for process in _family(pid):
        try:
            shares.append(process.memory_full_info().pss)
        except psutil.Error:
            continue
    return sum(shares)


def _family(pid: int) -> Iterator[psutil.Process]:
    """Yield the process and all that it started, as far as they can be found."""
    try:
        process = psutil.Process(pid)
        yield process
        for child in _children(process):
            yield from _family(child)
    except psutil.Error:
        return  # It ended.


def _children(process: psutil.Process) -> list[int]:
    try:
        # Elsewhere, and where the kernel was built without it, all processes of the machine are looked through.
        found = [(task / "children").read_text() for task in Path(f"/proc/{process.pid}/task").iterdir()]
        return [int(pid) for text in found for pid in text.split()]
    except OSError:
        return [child.pid for child in process.children()]
