"""A host in a thread of this process, so that a debugger that is attached here stops in the environment.

Everything else is as in play: the same commands, encoded and decoded, over the same kind of pipe. What a process of its
own gives is missing: an environment that hangs or crashes takes this process with it, its output goes where ours goes,
it shares our packages, our random generators and our window system, and a second one beside it shares its globals.
"""

from __future__ import annotations

import logging
import os
import threading
from multiprocessing.connection import Pipe
from pathlib import Path

from p2pclient.envhost.hanging import Hang
from p2pclient.envhost.host import EnvironmentHost
from p2pclient.envhost.values import encode
from p2pclient.envhost.views import ViewMemory

_NOBODY = -1
"""Number of a request to which no answer is awaited."""

log = logging.getLogger("tandem.envhost")


class InlineProcess:
    """The thread, as a :class:`~p2pclient.envhost.running.RunningHost`."""

    def __init__(self) -> None:
        self.pipe, theirs = Pipe(duplex=True)
        self.views = ViewMemory(None)  # there is no other process to share memory with
        self.account = None  # deadlines do not count
        self.hang: Hang | None = None
        root = Path(__file__).resolve().parent.parent.parent
        self._host = EnvironmentHost(theirs, str(root))
        self._theirs = theirs
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="envhost-inline", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Of this process."""
        return os.getpid()

    def terminate(self) -> None:
        """Have the thread end at its next command: a thread cannot be stopped in the midst of one."""
        try:
            self.pipe.send_bytes(encode([_NOBODY, "close"]))
        except OSError:
            pass  # It has ended.

    def kill(self) -> None:
        """Like :meth:`terminate`."""
        self.terminate()

    def reap(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the end; True if it came."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def doing(self) -> str:
        """Nothing: a debugger knows."""
        return ""

    def describe_end(self) -> str:
        """Say how it ended."""
        if self._thread.is_alive():
            return "it is still running"
        return f"it raised {self._failure!r}" if self._failure is not None else "it ended"

    def last_output(self) -> str:
        """Nothing: what it printed stands where this program prints."""
        return ""

    def _run(self) -> None:
        try:
            self._host.run()
        except BaseException as error:
            log.exception("the environment host in this process failed")
            self._failure = error
        finally:
            self._theirs.close()
