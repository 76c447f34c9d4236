"""What passes between the runtime's thread and the window's, without either ever waiting for the other.

Plain data both ways: the newest presentation one way (older ones are of no use), every intent the other way.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from p2pclient.common.presentation import Intent, Presentation

# A runtime that does not take its intents is dead or about to be; what it leaves must not grow without bound.
_INTENTS_KEPT = 4096


class Mailbox:
    """One window's letter box. Every method may be called from any thread, and returns at once except :meth:`wait`.

    ``wake_runtime``, if set, is called in the window's thread after each intent: an asyncio runtime gives
    ``lambda: loop.call_soon_threadsafe(event.set)``. It must return at once.
    """

    def __init__(self, wake_runtime: Callable[[], None] | None = None) -> None:
        self.wake_runtime = wake_runtime
        self._latest: Presentation | None = None
        self._intents: deque[Intent] = deque(maxlen=_INTENTS_KEPT)
        self._snapshots: deque[Path] = deque()
        self._fresh = threading.Event()
        self._closed = False
        self._wake_window: Callable[[], None] | None = None
        # Held for the microseconds of posting one event, so that no event is posted to a display that is going away.
        self._wake_lock = threading.Lock()

    # -- the runtime's side -------------------------------------------------------------------------------------------

    def publish(self, presentation: Presentation) -> None:
        """Show this from now on. Replaces what was not drawn yet; wakes the window."""
        self._latest = presentation
        self._wake()

    def take_intents(self) -> list[Intent]:
        """What the person did since the last call, in order; clears it."""
        taken: list[Intent] = []
        while True:
            try:
                taken.append(self._intents.popleft())
            except IndexError:
                return taken

    def request_snapshot(self, path: Path | str) -> None:
        """Have the window write what it shows to ``path`` (PNG) after its next pass.

        The file appears whole under its name or not at all. Nothing is written if no window is open.
        """
        self._snapshots.append(Path(path))
        self._wake()

    def close(self) -> None:
        """End the window, now. Idempotent."""
        self._closed = True
        self._wake()

    # -- the window's side --------------------------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        return self._closed

    def latest(self) -> Presentation | None:
        """The newest presentation; ``None`` before the first."""
        # Cleared before reading: what is published in between sets it again, so nothing is missed.
        self._fresh.clear()
        return self._latest

    def send(self, intent: Intent) -> None:
        """Hand an intent to the runtime."""
        self._intents.append(intent)
        wake_runtime = self.wake_runtime
        if wake_runtime is not None:
            try:
                wake_runtime()
            except RuntimeError:
                # The runtime's loop closed between two of our events; its mailbox.close() follows or has been called.
                self.wake_runtime = None

    def take_snapshot_requests(self) -> list[Path]:
        """Where pictures are wanted; clears it."""
        taken: list[Path] = []
        while self._snapshots:
            taken.append(self._snapshots.popleft())
        return taken

    def wait(self, timeout: float) -> bool:
        """Sleep until something is new, ``timeout`` seconds at most; returns whether it is."""
        return self._fresh.wait(timeout)

    def attach(self, wake_window: Callable[[], None] | None) -> None:
        """Call this once per batch of news, in the runtime's thread; ``None`` detaches.

        After it returns, no call of the former one is under way.
        """
        with self._wake_lock:
            self._wake_window = wake_window

    def _wake(self) -> None:
        if self._fresh.is_set():
            return  # woken already and has not looked yet: one event is enough
        self._fresh.set()
        with self._wake_lock:
            if self._wake_window is not None:
                self._wake_window()
