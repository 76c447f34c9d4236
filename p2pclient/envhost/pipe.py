"""Our end of a host's pipe, for a loop that must not wait: a writer, and a thread that reads and reaps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

from p2pclient.envhost.running import RunningHost
from p2pclient.envhost.values import MalformedValueError, decode

_DIRECT_BYTES = 4096
"""Requests up to this size are written by the caller. Windows' pipe holds 8 KiB, a Unix socket far more."""
_EXIT_SECONDS = 1.0
"""A process that closed its pipe ends within this, or is made to."""


class PipeWriter:
    """Writes requests without making the caller wait, as long as one is on the pipe at a time.

    The host has then read all that came before, so that a small request fits the pipe's buffer. A large one does not:
    a thread writes it.
    """

    def __init__(self, process: RunningHost) -> None:
        self._pipe = process.pipe
        self._lock = threading.Lock()
        """Held while writing, so that the pipe is not closed under a thread that writes: its number may be reused."""

    def write(self, data: bytes) -> None:
        """Write ``data``, now or by a thread. A broken pipe is not told here: the reader sees the end too."""
        if len(data) <= _DIRECT_BYTES:
            self._write(data, may_wait=False)
        else:
            keywords = {"may_wait": True}
            threading.Thread(
                target=self._write, args=(data,), kwargs=keywords, name="envhost-write", daemon=True
            ).start()

    def close(self) -> None:
        """Close the pipe, reading end included."""
        with self._lock:
            self._pipe.close()

    def _write(self, data: bytes, *, may_wait: bool) -> None:
        # Not had at once only by a goodbye to a host that is still being written to: it is then ended by force.
        if not self._lock.acquire(blocking=may_wait):
            return
        try:
            self._pipe.send_bytes(data)
        except OSError:
            pass
        finally:
            self._lock.release()


def read_replies(
    process: RunningHost,
    loop: asyncio.AbstractEventLoop,
    receive: Callable[[list[Any], float], None],
    end: Callable[[str], None],
    writer: PipeWriter,
) -> None:
    """Start the thread.

    Args:
        receive: called in the loop with each reply and the ``perf_counter`` time at which it was read.
        end: called in the loop once, last, when the process is gone, with how it ended.
        writer: closed when the process is gone.
    """
    arguments = (process, loop, receive, end, writer)
    threading.Thread(target=_read, args=arguments, name=f"envhost-{process.pid}", daemon=True).start()


def _read(
    process: RunningHost,
    loop: asyncio.AbstractEventLoop,
    receive: Callable[[list[Any], float], None],
    end: Callable[[str], None],
    writer: PipeWriter,
) -> None:
    recv_bytes, post = process.pipe.recv_bytes, loop.call_soon_threadsafe
    detail = ""
    try:
        while True:
            # Under no name of its own: it would be held until the next one comes, with the picture that is in it.
            post(receive, decode(recv_bytes()), perf_counter())
    except (EOFError, OSError):
        pass  # the end of the process, or ours
    except MalformedValueError as error:
        detail = f"its reply cannot be read ({error}); "
        process.kill()
    except RuntimeError:
        process.kill()  # The loop was closed without closing the host: nobody is left to serve.
    if not process.reap(_EXIT_SECONDS):
        process.kill()
        process.reap(_EXIT_SECONDS)
    writer.close()
    try:
        post(end, detail + process.describe_end())
    except RuntimeError:
        pass  # The loop is closed.
