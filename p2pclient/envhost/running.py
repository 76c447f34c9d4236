"""What the client needs of a host that runs, whether that is a process or, for a debugger, a thread."""

from __future__ import annotations

from typing import Any, Protocol

from p2pclient.envhost.hanging import Hang
from p2pclient.envhost.views import ViewMemory


class RunningHost(Protocol):
    """A host and our end of its pipe."""

    pipe: Any
    """A ``multiprocessing`` connection: ``send_bytes``, ``recv_bytes``, ``poll``, ``close``."""

    views: ViewMemory
    """Memory for its pictures; the host is told of it with ``init``."""

    account: Any
    """Where the host finds the memory in which it notes what it does, told with ``init``; None if nobody asked."""

    hang: Hang | None
    """The call for which it was ended; None if it was not for one."""

    @property
    def pid(self) -> int:
        """Of the process it runs in."""

    def terminate(self) -> None:
        """Ask it to end; it need not."""

    def kill(self) -> None:
        """End it now, as far as that can be done."""

    def reap(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for its end; True if it came."""

    def doing(self) -> str:
        """Return which call into the environment runs as the end of a sentence; empty if that is unknown."""

    def describe_end(self) -> str:
        """Say how it ended."""

    def last_output(self) -> str:
        """Return the last lines that it printed as the end of a sentence; empty if there are none."""
