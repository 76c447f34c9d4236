"""A window without a match: each key that goes down puts another picture on the screen, at once.

The limit for :mod:`benchmarks.latency`. Prints ``[pressed_at, shown_at]`` for each press, in seconds of
``time.perf_counter``, one line of JSON each; ends when its standard input does.
"""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace

from p2pclient.app.gallery import kitchen_view
from p2pclient.app.mailbox import Mailbox
from p2pclient.app.window import run_window
from p2pclient.common.presentation import Hud, KeyChange, Presentation, Screen, Shown


class Answering:
    """Publishes a new picture for each press, in the window's own thread, and prints when it was shown."""

    def __init__(self) -> None:
        self.mailbox = Mailbox(wake_runtime=self._take)
        self._playing = Presentation(Screen.PLAYING, view=kitchen_view(), hud=Hud((0.0, 0.0), 0))
        self._pressed: dict[int, float] = {}
        self._frame = 0
        self.mailbox.publish(self._playing)

    def _take(self) -> None:
        for intent in self.mailbox.take_intents():
            if isinstance(intent, KeyChange) and intent.pressed:
                self._frame += 1
                self._pressed[self._frame] = intent.at
                view = self._playing.view
                assert view is not None
                changed = replace(view, frame=self._frame, pixels=view.pixels.copy())
                self.mailbox.publish(replace(self._playing, view=changed))
            elif isinstance(intent, Shown) and intent.frame in self._pressed:
                print(json.dumps([self._pressed.pop(intent.frame), intent.at]), flush=True)


def _close_at_end_of_input(mailbox: Mailbox) -> None:
    sys.stdin.read()
    mailbox.close()


if __name__ == "__main__":
    answering = Answering()
    threading.Thread(target=_close_at_end_of_input, args=(answering.mailbox,), daemon=True).start()
    run_window(answering.mailbox, title="bare window")
