"""What the person at the window does, taken off the queue and given to whoever it concerns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from p2pclient.common.presentation import (
    BeatShown,
    CloseRequest,
    Continue,
    DisplayMeasured,
    FocusChange,
    KeyChange,
    Shown,
)
from p2pclient.match.sources import KeyboardSource
from p2pclient.runtime.logs import toggle_debug
from p2pclient.runtime.presenter import WindowLink

_POLL_SECONDS = 0.04
_DEBUG_KEY = "F9"


class Person:
    """Takes intents: keys go to the keyboard source, shown frames to the match, the rest becomes events.

    Args:
        window: the runtime's end of the queues.
    """

    def __init__(self, window: WindowLink) -> None:
        self._window = window
        self._focused = {"own": False, "sibling": False}
        self._minimised = False
        self.share: Callable[[KeyChange | FocusChange], None] | None = None
        """Given every key and focus change of this window, for a second window at the same keyboard."""
        self.keyboard: KeyboardSource | None = None
        """Who gets the keys; None outside of a match."""
        self.on_shown: Callable[[int, int, float], None] | None = None
        """Told of ``(episode, frame, at)`` when a view was displayed."""
        self.on_measured: Callable[[BeatShown | DisplayMeasured], None] | None = None
        """Told what the window measures while it is asked to."""
        self.on_close: Callable[[], None] = lambda: None
        """Told once, when the person wants to go."""
        self.wants_to_close = False
        self._continue = asyncio.Event()

    def sit_down(self, keyboard: KeyboardSource) -> None:
        """Give the keys to ``keyboard`` from now on; it learns whether the window has the focus."""
        keyboard.receive(FocusChange(any(self._focused.values()), 0.0, self._minimised))
        self.keyboard = keyboard

    def take(self) -> None:
        """Take what the person did since the last call."""
        for intent in self._window.take_intents():
            if isinstance(intent, KeyChange | FocusChange):
                if self.share is not None:
                    self.share(intent)
                self._press(intent, "own")
            elif isinstance(intent, Shown):
                if self.on_shown is not None:
                    self.on_shown(intent.episode, intent.frame, intent.at)
            elif isinstance(intent, BeatShown | DisplayMeasured):
                if self.on_measured is not None:
                    self.on_measured(intent)
            elif isinstance(intent, Continue):
                self._continue.set()
            elif isinstance(intent, CloseRequest):
                self.request_close()

    def request_close(self) -> None:
        """The person wants to go: told to :attr:`on_close`, once, and nothing is waited for any more."""
        if not self.wants_to_close:
            self.wants_to_close = True
            self._continue.set()
            self.on_close()

    def take_from_sibling(self, intent: KeyChange | FocusChange) -> None:
        """A key or focus change of a second window at the same keyboard: this one need not have the focus."""
        self._press(intent, "sibling")

    def _press(self, intent: KeyChange | FocusChange, window: str) -> None:
        if isinstance(intent, FocusChange):
            self._focused[window] = intent.focused
            self._minimised = intent.minimised if window == "own" else self._minimised
            intent = replace(intent, focused=any(self._focused.values()), minimised=self._minimised)
        elif intent.pressed and intent.code == _DEBUG_KEY and window == "own":
            toggle_debug()
        if self.keyboard is not None:
            self.keyboard.receive(intent)

    async def watch(self) -> None:
        """Take intents for as long as this runs; a match takes them itself as well, right before each tick."""
        while True:
            self.take()
            await asyncio.sleep(_POLL_SECONDS)

    async def wait_for_continue(self, at_most: float | None = None) -> None:
        """Wait until the person goes on from the screen at hand; not at all once they want to close.

        Args:
            at_most: seconds after which it is gone on without a word; None: never.
        """
        self._continue.clear()
        if not self.wants_to_close:
            try:
                async with asyncio.timeout(at_most):
                    await self._continue.wait()
            except TimeoutError:
                return
