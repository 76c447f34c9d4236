"""Memory that this process and a host of its share, of a kind that nothing can leak: it has no name.

Linux has anonymous files (``memfd_create``), macOS objects of shared memory, whose name is taken away at once, and all
Unix systems temporary files without a name. The host inherits the descriptor. Windows has mappings that belong to no
file; their name is random, known to the host alone, and goes with the last process that has the memory open.

Not ``multiprocessing.shared_memory``: its resource tracker, a process more, takes the memory away as soon as any of the
processes that have it open ends (until Python 3.13), and what a killed process leaves keeps its name.
"""

from __future__ import annotations

import mmap
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

TOKEN_BYTES = 16
"""Random bytes at the end of the memory: by them the host knows that what it opened is what was meant."""
_DISK_FOLDERS: tuple[str | None, ...] = ("/dev/shm", None)
"""Where a temporary file is made: in memory if there is such a place, else where all of them are."""


class SharedMemory:
    """Memory to hand to one host: make it, start the host with :attr:`descriptors`, then :meth:`let_go` of them.

    Raises:
        OSError: none can be had on this machine.
    """

    def __init__(self, size: int) -> None:
        token = secrets.token_bytes(TOKEN_BYTES)
        self.descriptors: tuple[int, ...] = ()
        """What the host must inherit."""
        self.place: dict[str, Any] = {"token": token}
        """Where the host finds it: plain data for its ``init`` request."""
        if sys.platform == "win32":
            name = f"tandem-{secrets.token_hex(16)}"
            self.memory = mmap.mmap(-1, size + TOKEN_BYTES, tagname=name)
            self.place["name"] = name
        else:
            descriptor, self.memory = _open_first(size + TOKEN_BYTES)
            self.descriptors = (descriptor,)
            self.place["descriptor"] = descriptor
        self.memory[size:] = token

    def let_go(self) -> None:
        """Close the descriptors here, once the host has its own. The memory stays."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = ()


if sys.platform != "win32":

    def _open_first(size: int) -> tuple[int, mmap.mmap]:
        reasons = []
        for make in ways():
            try:
                descriptor = make(size)
            except (OSError, AttributeError, ImportError) as error:
                reasons.append(str(error))
                continue
            try:
                return descriptor, mmap.mmap(descriptor, size)
            except (OSError, ValueError) as error:
                reasons.append(str(error))
                os.close(descriptor)
        raise OSError("; ".join(reasons))

    def ways() -> Iterator[Callable[[int], int]]:
        """Yield the ways to get a descriptor of memory of a size, the best one first. Each raises where there is none.

        What raises: OSError, and AttributeError or ImportError of a Python that was built without it.
        """
        if sys.platform == "linux":
            yield open_anonymous
        else:
            yield open_unlinked
        for folder in _DISK_FOLDERS:
            yield partial(open_temporary, folder=folder)

    def open_anonymous(size: int) -> int:
        """Linux. Takes up no memory until it is written to."""
        import fcntl

        descriptor = os.memfd_create("tandem-views", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, size)
            # Nobody can make it smaller: whoever then read what is gone would be killed by the system.
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def open_unlinked(size: int) -> int:
        """macOS. A temporary file would do too, but what is written to it goes to the disk now and then."""
        system = import_module("_posixshmem")  # what multiprocessing.shared_memory stands on
        name = f"/tandem-{secrets.token_hex(8)}"  # macOS takes 31 characters
        descriptor: int = system.shm_open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode=0o600)
        try:
            system.shm_unlink(name)
            os.ftruncate(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def open_temporary(size: int, folder: str | None) -> int:
        """Where there is nothing better, as with a Python that was built for old Linux systems.

        The space is taken now: who writes to a mapping when the disk is full is killed by the system.
        """
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            return os.dup(file.fileno())
