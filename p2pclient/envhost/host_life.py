"""What ties the life of the host to its client's: it survives Ctrl-C, and never survives the client.

Three means, because each has a hole:

- End of file on the pipe ends an idle host. A busy one does not read.
- A thread waits for the end of file on standard input, which only the client holds open. It works on every system, but
  needs the interpreter's lock, which a stuck extension may hold.
- The system's own means: on Linux the parent-death signal, on Windows the job object that the client made. On macOS
  there is none; a host that holds the lock there ends when it lets go of it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
_GRACE_SECONDS = 2.0
"""How long an orphaned host may take to end in order (closing its environment) before it is cut off."""


def tie_to_client(client_pid: int) -> None:
    """Set the means up. Call it first thing: until then, only standard input tells that the client died."""
    if hasattr(signal, "SIGINT"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform.startswith("linux"):
        _ask_for_death_signal()
    lifeline = _take_standard_input()
    threading.Thread(target=_end_with, args=(lifeline,), name="lifeline", daemon=True).start()
    # Died before the signal was asked for. Not a sure sign: the parent may also be a wrapper that started Python
    # for the client. The lifeline knows which it is.
    if os.name == "posix" and os.getppid() == 1 and client_pid != 1:
        os._exit(1)


def _ask_for_death_signal() -> None:
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass  # A libc without prctl: the lifeline remains.


def _take_standard_input() -> int:
    """Move standard input to another descriptor, so that an environment that asks for input gets none at once."""
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return lifeline


def _end_with(lifeline: int) -> None:
    try:
        while os.read(lifeline, 64):
            pass
    except OSError:
        pass  # Broken in another way than by its end: the client is gone all the same.
    time.sleep(_GRACE_SECONDS)
    os._exit(1)
