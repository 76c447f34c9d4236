"""Logging of a client: to the terminal, to the run folder, and a tail in memory for the crash report."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from p2pclient.runtime.json_logs import JsonFormatter

ROOT = "tandem"
LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
_TAIL_LINES = 300
_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s"
_TIME = "%H:%M:%S"


class _Tail(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=_TAIL_LINES)
        self.setFormatter(logging.Formatter(_FORMAT, _TIME))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


_tail = _Tail()


_usual_level = logging.WARNING


def start_logging(level: str, *, terminal: bool = True, log_format: str = "text") -> None:
    """Log ``tandem.*`` at ``level``; to standard error if ``terminal``. Call it once, at the start of a process.

    With the format ``json``, the warnings and errors of libraries are such lines, too.
    """
    root = logging.getLogger(ROOT)
    root.propagate = False
    root.handlers = [_tail]
    if terminal:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(_FORMAT, _TIME))
        if log_format == "json":
            handler.setFormatter(JsonFormatter())
            logging.captureWarnings(True)
            logging.getLogger().handlers = [handler]
        # Every simulated frame would bury the terminal; those lines are for the file in the run folder.
        handler.addFilter(lambda record: record.name != f"{ROOT}.frames")
        root.addHandler(handler)
    set_level(level)


def set_level(level: str) -> None:
    """Change the level, at any time. At ``debug``, every simulated frame and rollback is logged."""
    logging.getLogger(ROOT).setLevel(level.upper())


def toggle_debug() -> None:
    """Go to ``debug``, or back to the level from before."""
    global _usual_level
    logger = logging.getLogger(ROOT)
    if logger.level == logging.DEBUG:
        logger.setLevel(_usual_level)
    else:
        _usual_level = logger.level
        logger.setLevel(logging.DEBUG)


def log_tail() -> list[str]:
    """Return the newest lines."""
    return list(_tail.lines)


@contextlib.contextmanager
def log_to_folder(folder: Path) -> Iterator[None]:
    """While this lasts, log to ``client.log`` in ``folder``, and simulated frames to ``frames-debug.log``.

    The lines of the second file carry no time, so that two clients' files can be compared line by line.
    """
    everything = logging.FileHandler(folder / "client.log", encoding="utf-8", delay=True)
    everything.setFormatter(logging.Formatter(_FORMAT, _TIME))
    everything.addFilter(lambda record: record.name != f"{ROOT}.frames")
    frames = logging.FileHandler(folder / "frames-debug.log", encoding="utf-8", delay=True)
    frames.setFormatter(logging.Formatter("%(message)s"))
    frames_logger = logging.getLogger(f"{ROOT}.frames")
    logging.getLogger(ROOT).addHandler(everything)
    frames_logger.addHandler(frames)
    try:
        yield
    finally:
        logging.getLogger(ROOT).removeHandler(everything)
        frames_logger.removeHandler(frames)
        everything.close()
        frames.close()
