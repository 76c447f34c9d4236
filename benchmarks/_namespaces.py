"""Two machines that are one network namespace each, joined by a cable. Needs Linux, iproute2 and root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_ADDRESSES = ("10.79.0.1", "10.79.0.2")


@contextmanager
def two_machines() -> Iterator[tuple[str, tuple[tuple[str, ...], tuple[str, ...]]]]:
    """Make two namespaces; gives the first one's address, and the words that start a command in each.

    Raises:
        OSError: they cannot be had here.
    """
    program = shutil.which("ip")
    if program is None:
        raise OSError("namespaces need Linux and iproute2")

    def ip(*words: str) -> None:
        run = subprocess.run([program, *words], check=False, capture_output=True, text=True, timeout=20)
        if run.returncode:
            raise OSError(f"ip {' '.join(words)}: {run.stderr.strip()}")

    names = [f"bench-{os.getpid()}-{number}" for number in (0, 1)]
    made = []
    try:
        for name in names:
            ip("netns", "add", name)
            made.append(name)
        ip("-n", names[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", names[1])
        for name, address in zip(names, _ADDRESSES, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "brd", "+", "dev", "eth0")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "eth0", "up")
        first, second = ((program, "netns", "exec", name) for name in names)
        yield _ADDRESSES[0], (first, second)
    finally:
        for name in made:
            ip("netns", "del", name)
