"""Keeps what the room decided about who plays with whom: one line of JSON each, in a file that only grows."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

from p2pclient.common.errors import ConfigurationError

_log = logging.getLogger("tandem.signaling")

FILE_NAME = "decisions.jsonl"


class DecisionLog:
    """Appends to ``decisions.jsonl`` in a folder, which is made if it is not there.

    Raises:
        ConfigurationError: nothing can be written there.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._has_failed = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8"):
                pass
        except OSError as error:
            raise ConfigurationError("--data", str(folder), f"a folder that can be written to ({error})") from None

    def append(self, line: dict[str, object]) -> None:
        """Write one decision, with the time on the wall. A full disk is logged once, and stops no match."""
        text = json.dumps({"time": round(time.time(), 3), **line}, ensure_ascii=False)
        try:
            # Opened for each line: they are few, and whoever looks at the file, or moves it away, sees all of them.
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text + "\n")
            self._has_failed = False
        except OSError as error:
            if not self._has_failed:
                _log.error("%s cannot be written: %s", self.path, error)
            self._has_failed = True
