"""An event loop whose clock is virtual: nobody waits, and only what a test says takes time."""

from __future__ import annotations

import asyncio
import selectors


class VirtualLoop(asyncio.SelectorEventLoop):
    """Where a loop would wait for a timer, this one puts its clock forward. Begins at 0."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Skipping(self))

    def time(self) -> float:
        return self.now

    def hold_up(self, seconds: float) -> None:
        """Let time pass as if the caller had computed all the while."""
        self.now += seconds


class _Skipping(selectors.DefaultSelector):
    """Looks at once, and takes a wait that was asked for as having been."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("nothing would ever happen: no timer is set")
        found = super().select(0)
        if not found:
            self._loop.now += timeout
        return found
