"""What tests of host processes share."""

from __future__ import annotations

import gc
import os
import select
import time

import psutil

ENV = "test:counter_v0"
"""A registered environment that is ready at once."""

_OPEN_FILES = "/dev/fd"


def wait_gone(pid: int, seconds: float) -> bool:
    """Wait for the end of a process that need not be our child; True if it ended within ``seconds``."""
    if not hasattr(os, "pidfd_open"):
        try:
            psutil.Process(pid).wait(seconds)
        except psutil.NoSuchProcess:
            return True
        except psutil.TimeoutExpired:
            return False
        return True
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def batch_of(frames: int, start: int = 0) -> list[list[object]]:
    """Return the commands of a rollback: load, then step and save each frame, then the checksum."""
    commands: list[list[object]] = [["load", start]]
    for frame in range(start, start + frames):
        commands += [["step", frame, [bytes([frame % 2]), b"\x01"]], ["save", frame + 1]]
    return [*commands, ["compute_hash"]]


def now() -> float:
    return time.perf_counter()


def holdings() -> set[object]:
    """Return what this process has: child processes, and open files where they can be listed (not on Windows).

    For a look before and one after: what is in the second one only is new. What earlier tests left to the garbage
    collector is not in either.
    """
    gc.collect()
    found: set[object] = set(psutil.Process().children())
    for name in os.listdir(_OPEN_FILES) if os.path.isdir(_OPEN_FILES) else ():
        try:
            status = os.fstat(int(name))
        except OSError:  # that with which the folder was listed
            continue
        found.add((int(name), status.st_dev, status.st_ino))
    return found
