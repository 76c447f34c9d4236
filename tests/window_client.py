"""The ``tandem`` command, window and runtime watched from inside: ``python -m tests.window_client LOG ...``.

Nothing is replaced: each pass of the window's loop and a beat of 500 ms in the runtime's loop are noted, besides, as
lines of JSON in the file ``LOG``. All times are ``time.perf_counter``, which is one clock for all processes on Linux.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from p2pclient.app import window
from p2pclient.cli import client, main

BEAT_S = 0.5


class Watch:
    """Notes what happened when, in a file that is whole at every moment."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", buffering=1)
        self._screen = ""
        self._next_beat = 0.0
        self._drawn = 0

    def note(self, kind: str, **fields: Any) -> None:
        self._file.write(json.dumps({"kind": kind, "at": time.perf_counter(), **fields}) + "\n")

    def window_pass(self, screen: str, title: str, message: str, changed: bool) -> None:
        """One pass of the window's loop: a beat if it is due, and the screen if it is another."""
        now = time.perf_counter()
        self._drawn += changed
        if now >= self._next_beat:
            late = now - self._next_beat if self._next_beat else 0.0
            self.note("window-beat", late_ms=late * 1000, drawn=self._drawn)
            self._next_beat, self._drawn = now + BEAT_S, 0
        if screen != self._screen:
            self._screen = screen
            self.note("screen", screen=screen, title=title, message=message)

    async def runtime_beat(self) -> None:
        while True:
            due = time.perf_counter() + BEAT_S
            await asyncio.sleep(BEAT_S)
            self.note("runtime-beat", late_ms=(time.perf_counter() - due) * 1000)


def watch_window(watch: Watch) -> None:
    draw, paint = window._Window._draw, window._Window._paint
    changed: list[bool] = []

    def watched_paint(self: Any, **arguments: Any) -> Any:
        found = paint(self, **arguments)
        changed.append(bool(found))
        return found

    def watched_draw(self: Any, **arguments: Any) -> None:
        changed.clear()
        draw(self, **arguments)
        shown = self._presentation
        watch.window_pass(shown.screen.value, shown.title, shown.message, any(changed))

    window._Window._paint, window._Window._draw = watched_paint, watched_draw  # type: ignore[method-assign]


def watch_runtime(watch: Watch) -> None:
    make_loop = client.make_loop

    def watched_loop() -> asyncio.AbstractEventLoop:
        loop = make_loop()
        beats: list[asyncio.Task[None]] = []
        loop.call_soon(lambda: beats.append(loop.create_task(watch.runtime_beat())))
        return loop

    client.make_loop = watched_loop


if __name__ == "__main__":
    watcher = Watch(Path(sys.argv[1]))
    watch_window(watcher)
    watch_runtime(watcher)
    sys.exit(main.main(sys.argv[2:]))
