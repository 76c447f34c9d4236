"""Our end of a host's pipe, for a loop that must not wait: a writer, a reader, and a thread that reaps."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

from p2pclient.envhost.running import RunningHost
from p2pclient.envhost.values import MalformedValueError
from p2pclient.envhost.values_fast import decode_own

_DIRECT_BYTES = 4096
"""Requests up to this size are written by the caller. Windows' pipe holds 8 KiB, a Unix socket far more."""
_CHUNK_BYTES = 65_536
"""Bytes that are read at once: more than nearly all replies have."""
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
    """Begin to read: in the loop where it can watch a pipe, which saves waking a thread; else in a thread.

    Args:
        receive: called in the loop with each reply and the ``perf_counter`` time at which it was read.
        end: called in the loop once, last, when the process is gone, with how it ended.
        writer: closed when the process is gone.
    """
    if isinstance(loop, asyncio.SelectorEventLoop) and sys.platform != "win32":
        _LoopReader(process, loop, receive, end, writer)
        return
    arguments = (process, loop, receive, end, writer)
    threading.Thread(target=_read, args=arguments, name=f"envhost-{process.pid}", daemon=True).start()


class _LoopReader:
    """Takes what is there off the pipe whenever the loop sees some, and never waits for the rest of a reply.

    The form on the pipe is that of ``multiprocessing.connection.Connection``: the length as a signed 32-bit integer,
    big-endian; or -1 and the length in 64 bits; then the bytes.
    """

    def __init__(
        self,
        process: RunningHost,
        loop: asyncio.AbstractEventLoop,
        receive: Callable[[list[Any], float], None],
        end: Callable[[str], None],
        writer: PipeWriter,
    ) -> None:
        self._process = process
        self._loop = loop
        self._receive = receive
        self._end = end
        self._writer = writer
        self._buffer = bytearray()
        self._descriptor = process.pipe.fileno()
        self._has_stopped = False
        loop.add_reader(self._descriptor, self._take)

    def __del__(self) -> None:
        # The loop held this, and was closed without closing the host: nobody is left to serve.
        if not self._has_stopped:
            self._process.kill()
            self._process.reap(_EXIT_SECONDS)
            self._writer.close()

    def _take(self) -> None:
        try:
            data = os.read(self._descriptor, _CHUNK_BYTES)
        except OSError:
            data = b""
        if not data:
            self._stop("")
            return
        self._buffer += data
        try:
            while (reply := self._next()) is not None:
                self._receive(decode_own(reply), perf_counter())
        except MalformedValueError as error:
            self._process.kill()
            self._stop(f"its reply cannot be read ({error}); ")

    def _next(self) -> bytes | None:
        """Take a whole reply out of the buffer; None if there is none yet."""
        buffer = self._buffer
        if len(buffer) < 4:
            return None
        start, length = 4, int.from_bytes(buffer[:4], "big", signed=True)
        if length == -1:
            start, length = 12, int.from_bytes(buffer[4:12], "big") if len(buffer) >= 12 else 0
        elif length < 0:
            raise MalformedValueError(f"a length of {length}")
        if len(buffer) < start + length:
            return None
        reply = bytes(buffer[start : start + length])
        del buffer[: start + length]
        return reply

    def _stop(self, detail: str) -> None:
        self._has_stopped = True
        self._loop.remove_reader(self._descriptor)
        arguments = (self._process, self._loop, self._end, self._writer, detail)
        threading.Thread(target=_reap, args=arguments, name=f"envhost-{self._process.pid}", daemon=True).start()


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
            post(receive, decode_own(recv_bytes()), perf_counter())
    except (EOFError, OSError):
        pass  # the end of the process, or ours
    except MalformedValueError as error:
        detail = f"its reply cannot be read ({error}); "
        process.kill()
    except RuntimeError:
        process.kill()  # The loop was closed without closing the host: nobody is left to serve.
    _reap(process, loop, end, writer, detail)


def _reap(
    process: RunningHost,
    loop: asyncio.AbstractEventLoop,
    end: Callable[[str], None],
    writer: PipeWriter,
    detail: str,
) -> None:
    """Wait for the end of a process that closed its pipe, make it end if it does not, and tell the loop."""
    if not process.reap(_EXIT_SECONDS):
        process.kill()
        process.reap(_EXIT_SECONDS)
    writer.close()
    try:
        loop.call_soon_threadsafe(end, detail + process.describe_end())
    except RuntimeError:
        pass  # The loop is closed.
