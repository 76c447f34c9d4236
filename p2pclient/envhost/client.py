"""The runtime's end of an environment host: batches out, replies in, nothing that waits in the loop.

Theory of operation. One request is on the pipe at a time; what is submitted meanwhile, or before the environment is
ready, waits in order. Replies are read by the loop as their bytes come, where it can watch a pipe, and else by a thread
(Windows), which hands them to the loop. Requests that fit the pipe's buffer are written by the loop itself: the host
has read everything before it, so that the write cannot wait; larger ones are written by a thread.

The host ends in one of three ways, and every pending request then fails at once with the cause: it dies (the reader
sees the end of the pipe), it misses a deadline (it is killed), or it is closed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from p2pclient.common.errors import ConfigurationError, EnvHostGone, LocalMisuseError
from p2pclient.envhost.exchange import (
    BatchReply,
    Command,
    Deadlines,
    batch_error,
    batch_request,
    fail,
    gone_words,
    load_error,
    reload_error,
    settle,
)
from p2pclient.envhost.pipe import PipeWriter, read_replies
from p2pclient.envhost.process import HostSpec, spawn
from p2pclient.envhost.running import RunningHost
from p2pclient.envhost.values import MalformedValueError, encode
from p2pclient.envhost.views import Lent

_LATE_SECONDS = 0.5
"""A deadline that fires this late was held up with us (a suspended machine, a stopped client): it is given again."""
_POLITE_SECONDS = 2.0
_TERMINATE_SECONDS = 1.0
_INIT_ID = 0


@dataclass(slots=True)
class _Request:
    id: int
    data: bytes
    names: list[str]
    future: asyncio.Future[Any]
    seconds: float | None
    lent: Lent
    """Slots for its pictures."""
    sent_at: float = 0.0


class EnvHost:
    """A host process with one environment. Use :meth:`start`, then :meth:`submit` at will, and :meth:`close`.

    All methods belong to the loop in which :meth:`start` was called. A host that failed is never used again: make
    another one.
    """

    def __init__(self, spec: HostSpec) -> None:
        self.spec = spec
        self.state = "starting"
        """``starting``, ``ready``, ``dead`` or ``closed``."""
        self.cause: str | None = None
        """Why the host is gone, with the last lines of its log."""
        self.on_progress: Callable[[float | None, str], None] = lambda share, text: None
        """Called in the loop with the share done (0..1, None if not known) and a line for a person."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process: RunningHost | None = None
        self._spawned: asyncio.Future[RunningHost] | None = None
        self._ready: asyncio.Future[dict[str, Any]] | None = None
        self._ended = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._waiting: deque[_Request] = deque()
        self._in_flight: _Request | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadlines = Deadlines(spec.reset_timeout)
        self._last_id = _INIT_ID
        self._writer: PipeWriter | None = None

    @property
    def pid(self) -> int | None:
        """The process's id; None until it is started."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start the process; return when it runs, not when it is ready.

        Raises:
            EnvHostGone: it cannot be started.
        """
        if self._spawned is not None or self.state != "starting":
            raise LocalMisuseError("a host is started once")
        self._loop = asyncio.get_running_loop()
        self._ready = self._loop.create_future()
        self._set_timer(self.spec.init_timeout, None)
        self._spawned = asyncio.wrap_future(spawn(self.spec))
        self._spawned.add_done_callback(self._attach)
        self.on_progress(None, "Starting")
        try:
            await asyncio.shield(self._spawned)
        except (OSError, ConfigurationError):
            raise self._gone() from None

    async def ready(self) -> dict[str, Any]:
        """Wait until the environment is loaded; return what it told of itself (see ``envs.registry.describe``).

        Raises:
            EnvHostGone: it could not be loaded; with the cause and the host's traceback.
        """
        if self._ready is None:
            raise LocalMisuseError("start() the host first")
        return await asyncio.shield(self._ready)

    def submit(self, commands: Sequence[Command], deadline: float | None = None) -> asyncio.Future[BatchReply]:
        """Queue ``commands`` as one batch; it leaves when the host is ready and all earlier ones are answered.

        Args:
            deadline: seconds from its leaving until the host counts as hung; None derives it from measured costs.

        Returns:
            A future with the reply. It raises EnvHostError if a command failed (the rest of the batch was not run, and
            the state is unknown until ``load``, ``set_state`` or ``reset``), EnvHostGone if the host is no more.

        Raises:
            CannotSendError: a command holds a value that cannot be sent. Nothing was queued.
        """
        self._last_id += 1
        names = [command[0] for command in commands]
        lent: Lent = {}
        if self._process is not None:
            commands, lent = self._process.views.lend(commands, names)
        try:
            data = batch_request(self._last_id, commands)
        except BaseException:
            self._give_back(lent)
            raise
        return self._enqueue(data, names, deadline, lent)

    def reload(self) -> asyncio.Future[dict[str, Any]]:
        """Load the person's own code afresh, if it has changed, behind the batches submitted so far.

        Returns:
            A future with what :meth:`ready` gives, and ``"reloaded"``: ``"unchanged"``, ``"kept"`` if the new code goes
            on from the old state, else why it needs a ``reset``. It raises EnvHostError if the new code cannot be
            loaded: the old one stays in use.
        """
        self._last_id += 1
        return self._enqueue(encode([self._last_id, "reload"]), [], self.spec.init_timeout, {})

    def ping(self, deadline: float = Deadlines.LEAST_SECONDS) -> asyncio.Future[float]:
        """Ask for a sign of life, behind the batches submitted so far; the future gets the round trip in seconds."""
        self._last_id += 1
        return self._enqueue(encode([self._last_id, "ping"]), [], deadline, {})

    def kill(self, cause: str) -> None:
        """End the process now; every pending request fails with ``cause``."""
        self._die(cause)

    async def close(self) -> None:
        """End the process: politely if it can hear, else by force. Returns when it is gone. May be called again."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    # ------------------------------------------------------------------------------------------------- requests

    def _enqueue(self, data: bytes, names: list[str], seconds: float | None, lent: Lent) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.state in ("dead", "closed"):
            fail(future, self._gone())
            return future
        self._waiting.append(_Request(self._last_id, data, names, future, seconds, lent))
        if self._in_flight is None and self.state == "ready":
            self._send_next()
        return future

    def _send_next(self) -> None:
        while self._waiting:
            request = self._waiting.popleft()
            if request.future.done():  # cancelled while it waited
                self._give_back(request.lent)
                continue
            seconds = request.seconds if request.seconds is not None else self._deadlines.of(request.names)
            self._in_flight = request
            self._set_timer(seconds, request)
            assert self._writer is not None
            request.sent_at = perf_counter()
            self._writer.write(request.data)
            return

    def _give_back(self, lent: Lent) -> None:
        if lent and self._process is not None:
            self._process.views.give_back(lent)

    # ------------------------------------------------------------------------------------------------- replies

    def _receive(self, reply: list[Any], at: float) -> None:
        """Take a reply in; called in the loop by the reader with the time at which it had been read."""
        request = self._in_flight
        kind = reply[1]
        if request is not None and reply[0] == request.id and kind == "progress":
            self.on_progress(reply[2]["share"], reply[2]["text"])
        elif request is not None and reply[0] == request.id:
            self._in_flight = None
            self._stop_timer()
            if kind == "result":
                if not self._take_views(reply[2], request):
                    return
                total_us = int((at - request.sent_at) * 1e6)
                outcome: Any = BatchReply(reply[2], reply[3], total_us)
                self._deadlines.learn(request.names, reply[3])
            elif kind == "error":
                self._give_back(request.lent)
                outcome = batch_error(reply[2]) if request.names else reload_error(self.spec.env, reply[2])
            else:
                outcome = at - request.sent_at if kind == "pong" else reply[2]
            self._send_next()  # before the answer is used: the host need not wait for that
            settle(request.future, outcome)
        elif reply[0] == _INIT_ID and self.state == "starting":
            self._receive_while_loading(kind, reply[2])
        elif self.state not in ("dead", "closed"):
            self._die(f"it answered {kind!r} to a request that was not made")

    def _take_views(self, results: list[Any], request: _Request) -> bool:
        """Put the pictures that are in slots into ``results``; False if the host had to be given up."""
        if request.lent and self._process is not None:
            try:
                self._process.views.take_in(results, request.lent)
            except MalformedValueError as error:
                self._in_flight = request  # fails with the others
                self._die(f"its reply cannot be used ({error})")
                return False
        return True

    def _receive_while_loading(self, kind: str, content: Any) -> None:
        if kind == "progress":
            self.on_progress(content["share"], content["text"])
        elif kind == "ready":
            self._stop_timer()
            self.state = "ready"
            self._deadlines.learn(["step"], [content["step_us"]])
            assert self._ready is not None
            settle(self._ready, content)
            self._send_next()
        else:
            error = load_error(self.spec.env, content)
            self._die(content["message"], error)

    # ------------------------------------------------------------------------------------------------- deadlines

    def _set_timer(self, seconds: float, request: _Request | None) -> None:
        if self.spec.inline:
            return  # a debugger may stop it for as long as a person thinks
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._miss, loop.time() + seconds, seconds, request)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _miss(self, due: float, seconds: float, request: _Request | None) -> None:
        if asyncio.get_running_loop().time() - due > _LATE_SECONDS:
            self._set_timer(seconds, request)
        elif request is None:
            self._die(f"{self.spec.env} was not ready within {seconds:g} s")
        else:
            what = ", ".join(dict.fromkeys(request.names)) or "ping"
            self._die(f"no answer within {seconds:.3g} s to: {what}")

    # ------------------------------------------------------------------------------------------------- the end

    def _attach(self, spawned: asyncio.Future[RunningHost]) -> None:
        """Take over the process that was started, whatever happened to this host meanwhile."""
        error = spawned.exception()
        if error is not None:
            self._die(f"it could not be started: {error}")
            self._ended.set()
            return
        assert self._loop is not None
        self._process = process = spawned.result()
        self._writer = PipeWriter(process)
        read_replies(process, self._loop, self._receive, self._end, self._writer)
        if self.state == "starting":
            self._writer.write(encode(self.spec.init_request(_INIT_ID, process.views.place), "init"))
        else:
            process.kill()

    def _end(self, detail: str) -> None:
        """The reader has seen the end, and reaped the process."""
        self._ended.set()
        self._die(detail)

    def _die(self, cause: str, error: EnvHostGone | None = None) -> None:
        if self.state in ("dead", "closed"):
            return
        self.state = "dead"
        self.cause = cause
        if self._process is not None:
            self._process.kill()
            self.cause += self._process.last_output()
        self._fail_all(error or self._gone())

    def _gone(self) -> EnvHostGone:
        return EnvHostGone(gone_words(self.spec.env, str(self.cause)))

    def _fail_all(self, error: EnvHostGone) -> None:
        self._stop_timer()
        requests = [self._in_flight] if self._in_flight is not None else []
        requests += self._waiting
        self._in_flight = None
        self._waiting.clear()
        if self._ready is not None:
            fail(self._ready, error)
        for request in requests:
            fail(request.future, error)

    async def _close(self) -> None:
        was = self.state
        self.state = "closed"
        if was != "dead":
            self.cause = "it was closed"
            self._fail_all(self._gone())
        if self._spawned is None:
            return
        await asyncio.wait({self._spawned})  # _attach is its first callback, so that it has run by now
        process = self._process
        if process is None:
            return
        if was == "ready" and self._writer is not None:
            self._last_id += 1
            self._writer.write(encode([self._last_id, "close"]))
            if await self._ends_within(_POLITE_SECONDS):
                return
        process.terminate()
        if not await self._ends_within(_TERMINATE_SECONDS):
            process.kill()
            await self._ended.wait()

    async def _ends_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._ended.wait(), seconds)
        except TimeoutError:
            return False
        return True
