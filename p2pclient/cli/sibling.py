"""Two windows at one keyboard: the one without the focus gets the other's keys as lines on its standard input."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from typing import Protocol

from p2pclient.common.presentation import FocusChange, KeyChange


class _TakesKeys(Protocol):
    def take_from_sibling(self, intent: KeyChange | FocusChange) -> None:
        """Take a key or focus change in."""


def listen_to_sibling(client: _TakesKeys) -> None:
    """Pass lines such as ``{"event": "key", "code": "KeyW", "pressed": true}`` to ``client``, in the running loop."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in sys.stdin:
            try:
                event = json.loads(line)
                intent: KeyChange | FocusChange
                if event["event"] == "key":
                    intent = KeyChange(str(event["code"]), bool(event["pressed"]), loop.time())
                else:
                    intent = FocusChange(bool(event["focused"]), loop.time())
            except (ValueError, KeyError, TypeError):
                continue  # not ours; whoever writes to our input by hand does no harm
            try:
                loop.call_soon_threadsafe(client.take_from_sibling, intent)
            except RuntimeError:
                return  # the loop has ended

    threading.Thread(target=read, name="sibling", daemon=True).start()
