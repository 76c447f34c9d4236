"""What libraries log about requests that no client of ours makes: one warning a minute instead of many errors.

Anybody who can reach the server can cause these lines. What fails in our own code is not among them: that has a
traceback, and stays an error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter

_log = logging.getLogger("tandem.signaling")

SAID_AGAIN_AFTER_S = 60.0

_OF_UVICORN = ("Invalid UTF-8 sequence received from client.", "Invalid HTTP request received.")


_OF_ASYNCIO = ("SSL connection is closed", "socket.send() raised exception.")
"""Logged for each write after the fifth to a client that has gone and was not noticed so far; many may go at once."""


class StrangersLines(logging.Filter):
    """Takes such lines out of a library's log, and says once a minute that there were some.

    Args:
        is_strangers: is this one of them.
    """

    def __init__(
        self, is_strangers: Callable[[logging.LogRecord], bool], *, now: Callable[[], float] = perf_counter
    ) -> None:
        super().__init__()
        self._is_strangers = is_strangers
        self._now = now
        self._said: float | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """See the class."""
        if not self._is_strangers(record):
            return True
        text, now = record.getMessage()[:200], self._now()
        if self._said is None or now - self._said >= SAID_AGAIN_AFTER_S:
            self._said = now
            _log.warning("something that is no client of this program asks here, and is turned away: %r", text)
        else:
            _log.debug("turned away: %r", text)
        return False


def calm_socketio(logger: logging.Logger) -> None:
    """Have the Socket.IO library's lines about requests filtered; its errors with a traceback stay."""
    logger.setLevel(logging.ERROR)
    _put(logger, StrangersLines(lambda record: not record.exc_info))


def calm_uvicorn() -> None:
    """The same for uvicorn; and what asyncio says of clients that have just gone is not logged at all."""
    _put(logging.getLogger("uvicorn.error"), StrangersLines(lambda record: record.msg in _OF_UVICORN))
    logging.getLogger("asyncio").addFilter(_is_news)  # the same function is added once only


def _is_news(record: logging.LogRecord) -> bool:
    return record.msg not in _OF_ASYNCIO


def _put(logger: logging.Logger, made: StrangersLines) -> None:
    for each in [each for each in logger.filters if isinstance(each, StrangersLines)]:
        logger.removeFilter(each)  # of an earlier server in this process
    logger.addFilter(made)
