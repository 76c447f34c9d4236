"""Keeps what the room decided about who plays with whom: one line of JSON each, in a file that only grows."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from p2pclient.common.errors import ConfigurationError
from signaling.keeping import clean

_log = logging.getLogger("tandem.signaling")

FILE_NAME = "decisions.jsonl"


class DecisionLog:
    """Appends to ``decisions.jsonl`` in a folder, which is made if it is not there.

    Args:
        study: named in each line, unless it is empty: a folder may hold several.

    Raises:
        ConfigurationError: nothing can be written there.
    """

    def __init__(self, folder: Path, study: str = "") -> None:
        self.path = folder / FILE_NAME
        self._study = study
        self._has_failed = False
        # One thread, so that lines stay in their order, and its own: others wait for passwords to be hashed.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="decisions")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8"):
                pass
        except OSError as error:
            raise ConfigurationError("--data", str(folder), f"a folder that can be written to ({error})") from None

    async def write(self, lines: Sequence[dict[str, object]]) -> None:
        """Write decisions, with the time on the wall; returns when the system has them, which outlives us.

        The loop does not wait for the disk. One that is full is logged once, and stops no match.
        """
        head = {"time": round(time.time(), 3), **({"study": self._study} if self._study else {})}
        text = "".join(json.dumps({**head, **clean(line)}, ensure_ascii=False) + "\n" for line in lines)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._append, text)

    def close(self) -> None:
        """Let go of the thread, when what was handed over is written."""
        self._thread.shutdown()

    def _append(self, text: str) -> None:
        try:
            # Opened each time: whoever looks at the file, or moves it away, sees all lines.
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text)
            self._has_failed = False
        except OSError as error:
            if not self._has_failed:
                _log.error("%s cannot be written: %s", self.path, error)
            self._has_failed = True
