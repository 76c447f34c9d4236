"""Keeps a station running: starts the client again when it ended otherwise than on purpose."""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

log = logging.getLogger("tandem.station")

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
STEADY_S = 120.0
"""A client that ran for this long was well: what happens then is no repetition of what happened before."""
GOODBYE_S = 15.0
_ON_PURPOSE = frozenset({0, 2, 130})
"""Exit codes after which it stays ended: the window was closed, the command line is wrong, Ctrl-C."""


@dataclass(slots=True)
class Restarts:
    """Decides whether and when a client that ended is started again."""

    first: float = FIRST_WAIT_S
    """Seconds before the first start of a row."""
    wait: float = 0.0

    def ended(self, code: int, lived: float) -> float | None:
        """Return the seconds to wait before the next start; None if it ended on purpose.

        Args:
            code: its exit code; negative for a signal that killed it.
            lived: seconds for which it ran.
        """
        if code in _ON_PURPOSE:
            return None
        self.wait = self.first if lived >= STEADY_S or not self.wait else min(LONGEST_WAIT_S, 2 * self.wait)
        return self.wait


def keep(command: Sequence[str], restarts: Restarts | None = None) -> int:
    """Run a command, again and again, until it ends on purpose or a signal asks for the end. Returns its exit code.

    The command is given ``--child`` by the caller: it ends when its standard input does, so that it never outlives this
    process, however that ends.
    """
    stop = threading.Event()
    restarts = restarts or Restarts()
    with _signals_set(stop):
        while True:
            started = perf_counter()
            code = _run_once(command, stop)
            wait = restarts.ended(code, perf_counter() - started)
            if wait is None or stop.is_set():
                return 0 if stop.is_set() else code
            print(
                f"The station ended with code {code}; it is started again in {wait:g} s.", file=sys.stderr, flush=True
            )
            if stop.wait(wait):
                return 0


def _run_once(command: Sequence[str], stop: threading.Event) -> int:
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        while not stop.is_set():
            try:
                # Short, because on Windows a signal's handler runs only between two waits.
                return process.wait(0.5)
            except subprocess.TimeoutExpired:
                continue
    finally:
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()  # asks it to leave politely
        try:
            process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


@contextlib.contextmanager
def _signals_set(stop: threading.Event) -> Iterator[None]:
    before: dict[int, Any] = {}
    for name in ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None:
            before[number] = signal.signal(number, lambda *_: stop.set())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
