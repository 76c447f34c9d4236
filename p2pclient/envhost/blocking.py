"""A host for programs without a loop: replay, verification, benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any

from p2pclient.common.errors import ConfigurationError, EnvHostGone, EnvHostHung
from p2pclient.envhost.exchange import (
    BatchReply,
    Command,
    Deadlines,
    batch_error,
    batch_request,
    gone_words,
    load_error,
)
from p2pclient.envhost.process import HostSpec, spawn
from p2pclient.envhost.running import RunningHost
from p2pclient.envhost.values import MalformedValueError, decode, encode

_POLITE_SECONDS = 2.0
_NAMING_SECONDS = 5.0


class BlockingEnvHost:
    """A host process with one environment; every call waits for its answer. A context manager that closes it.

    Args:
        on_progress: called with the share done and a line for a person while the environment loads.

    Raises:
        EnvHostGone: the environment could not be loaded.
    """

    def __init__(
        self, spec: HostSpec, on_progress: Callable[[float | None, str], None] = lambda share, text: None
    ) -> None:
        self.spec = spec
        # Who watches single calls names what hangs, and is given the time to do so.
        longest = max(spec.call_limits.values(), default=0.0) if spec.call_limits else 0.0
        self._deadlines = Deadlines(spec.reset_timeout, longest + _NAMING_SECONDS if longest else None)
        self._last_id = 0
        self._gone: EnvHostGone | None = None
        try:
            self._process: RunningHost = spawn(spec).result()
        except (OSError, ConfigurationError) as error:
            raise EnvHostGone(f"the environment host of {spec.env} could not be started: {error}") from error
        try:
            self.ready: dict[str, Any] = self._load(on_progress)
            """What the environment told of itself (see ``envs.registry.describe``)."""
        except BaseException:
            self._end(0.0)
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, commands: Sequence[Command], deadline: float | None = None) -> BatchReply:
        """Run one batch and return its reply.

        Raises:
            EnvHostError: a command failed; the state is unknown until ``load``, ``set_state`` or ``reset``.
            EnvHostGone: the host died, hung or was closed.
            CannotSendError: a command holds a value that cannot be sent.
        """
        if self._gone is not None:
            raise self._gone
        self._last_id += 1
        names = [command[0] for command in commands]
        views = self._process.views
        commands, lent = views.lend(commands, names)
        try:
            data = batch_request(self._last_id, commands)
        except BaseException:
            views.give_back(lent)
            raise
        begin = perf_counter()
        reply = self._exchange(data, deadline if deadline is not None else self._deadlines.of(names))
        total_us = int((perf_counter() - begin) * 1e6)
        if reply[1] != "result":
            views.give_back(lent)
            raise batch_error(reply[2])
        try:
            views.take_in(reply[2], lent)
        except MalformedValueError as error:
            raise self._fail(f"its reply cannot be used ({error})") from error
        self._deadlines.learn(names, reply[3])
        return BatchReply(reply[2], reply[3], total_us)

    def close(self) -> None:
        """End the process; returns when it is gone. May be called again."""
        if self._gone is None:
            self._gone = EnvHostGone(f"the environment host of {self.spec.env} was closed")
            try:
                self._process.pipe.send_bytes(encode([self._last_id + 1, "close"]))
            except OSError:
                pass  # It died on its own a moment ago.
            self._end(_POLITE_SECONDS)

    def _load(self, on_progress: Callable[[float | None, str], None]) -> dict[str, Any]:
        seconds = self.spec.init_timeout
        end = perf_counter() + seconds + (_NAMING_SECONDS if self.spec.call_limits else 0.0)
        request = self.spec.init_request(0, self._process.views.place, self._process.account)
        reply = self._exchange(encode(request, "init"), end - perf_counter(), seconds)
        while reply[1] == "progress":
            on_progress(reply[2]["share"], reply[2]["text"])
            reply = self._exchange(None, end - perf_counter(), seconds)
        if reply[1] != "ready":
            raise load_error(self.spec.env, reply[2])
        ready: dict[str, Any] = reply[2]
        self._deadlines.learn(["step"], [ready["step_us"]])
        return ready

    def _exchange(self, data: bytes | None, seconds: float, told: float | None = None) -> list[Any]:
        """Send a request, and return the next reply. ``told``: the seconds that are named if there is none in time."""
        pipe = self._process.pipe
        try:
            if data is not None:
                pipe.send_bytes(data)
            if not pipe.poll(None if self.spec.inline else max(0.0, seconds)):
                raise self._fail(f"no answer within {seconds if told is None else told:.3g} s{self._process.doing()}")
            reply: list[Any] = decode(pipe.recv_bytes())
        except (EOFError, OSError):
            self._process.reap(1.0)
            raise self._fail(self._process.describe_end()) from None
        except MalformedValueError as error:
            raise self._fail(f"its reply cannot be read ({error})") from error
        return reply

    def _fail(self, cause: str) -> EnvHostGone:
        self._end(0.0)
        hang, printed = self._process.hang, self._process.last_output()
        message = gone_words(self.spec.env, f"{hang or cause}{printed}")
        if hang is None:
            self._gone = EnvHostGone(message)
        else:
            self._gone = EnvHostHung(message, call=hang.call, frame=hang.frame, seconds=hang.seconds)
        return self._gone

    def _end(self, patience: float) -> None:
        if not self._process.reap(patience):
            self._process.kill()
            self._process.reap(5.0)
        self._process.pipe.close()

    def __enter__(self) -> BlockingEnvHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
