"""A process that another one of this program started: it ends with it, and may be told things on standard input."""

from __future__ import annotations

import _thread
import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Protocol

from p2pclient.common.presentation import FocusChange, KeyChange


class TakesKeys(Protocol):
    """A client that may be one of two windows at one keyboard."""

    def take_from_sibling(self, intent: KeyChange | FocusChange) -> None:
        """Take a key or focus change of the other window in."""


def end_with_parent(on_line: Callable[[str], None] = lambda line: None) -> None:
    """Read standard input in a thread; when it ends, the parent is gone, and this process ends as by Ctrl-C.

    Args:
        on_line: called in that thread with each line.
    """

    def read() -> None:
        for line in sys.stdin:
            on_line(line)
        if os.name == "nt":
            _thread.interrupt_main()  # a signal sent there would end the process without a goodbye
        else:
            os.kill(os.getpid(), signal.SIGINT)  # wakes a loop that waits for something else

    threading.Thread(target=read, name="parent", daemon=True).start()


def pass_keys_to(client: TakesKeys) -> Callable[[str], None]:
    """Return what gives lines such as ``{"event": "key", "code": "KeyW", "pressed": true}`` to ``client``.

    Call this in the client's loop, which carries the changes out.
    """
    loop = asyncio.get_running_loop()

    def take(line: str) -> None:
        try:
            event = json.loads(line)
            intent: KeyChange | FocusChange
            if event["event"] == "key":
                intent = KeyChange(str(event["code"]), bool(event["pressed"]), loop.time())
            else:
                intent = FocusChange(bool(event["focused"]), loop.time())
        except (ValueError, KeyError, TypeError):
            return  # not ours; whoever writes to our input by hand does no harm
        try:
            loop.call_soon_threadsafe(client.take_from_sibling, intent)
        except RuntimeError:
            pass  # the loop has ended, and with it the match

    return take
