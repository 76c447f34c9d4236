"""What the asynchronous and the blocking client share: requests, replies, errors, deadlines from measured costs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from p2pclient.common.errors import EnvHostError, EnvHostGone
from p2pclient.envhost.values import encode, encode_onto, list_head
from p2pclient.envhost.values_fast import encode_plain

Command = Sequence[Any]
"""``[name, argument, ...]``, plain values only."""

_PLAIN = frozenset(("step", "save", "load", "drop"))
"""Commands, sent every frame, whose arguments are frames, inputs and flags: a tuple may arrive as a list."""


@dataclass(slots=True)
class BatchReply:
    """What a batch gave, command by command."""

    results: list[Any]
    costs_us: list[int]
    """Microseconds that each command took inside the host."""
    total_us: int
    """Microseconds from handing the batch to the pipe until its reply had been read."""


def batch_request(request_id: int, commands: Sequence[Command]) -> bytes:
    """Return the bytes of a batch.

    Raises:
        CannotSendError: a command holds a value that cannot be sent; named such as ``commands[1][2]['x']``.
    """
    parts = [list_head(3), encode(request_id), encode("batch"), list_head(len(commands))]
    for index, command in enumerate(commands):
        if command[0] in _PLAIN:
            parts.append(encode_plain(command, f"commands[{index}]"))
        else:
            encode_onto(command, parts.append, f"commands[{index}]")
    return b"".join(parts)


def batch_error(error: dict[str, Any]) -> EnvHostError:
    """Return what the ``error`` reply to a batch stands for. The state is unknown until it is loaded, set or reset."""
    message = f"{error['command']} failed: {error['message']}"
    return EnvHostError(message, index=error["index"], command=error["command"], traceback=error["traceback"])


def load_error(env: str, error: dict[str, Any]) -> EnvHostGone:
    """Return what the ``error`` reply to ``init`` stands for."""
    return EnvHostGone(f"{env} could not be loaded: {error['message']}", traceback=error["traceback"])


def gone_reason(env: str, error: EnvHostGone) -> str:
    """Return what the message of a host that is gone says behind that."""
    return str(error).removeprefix(gone_words(env, ""))


def gone_words(env: str, cause: str) -> str:
    """Return the message of a host that is gone."""
    return f"the environment host of {env} is gone: {cause}"


def reload_error(env: str, error: dict[str, Any]) -> EnvHostError:
    """Return what the ``error`` reply to ``reload`` stands for. The code that was loaded before is still in use."""
    return EnvHostError(f"the new code of {env} could not be loaded: {error['message']}", traceback=error["traceback"])


class Deadlines:
    """How long a batch may take: 20 times what is expected from what its commands took so far, at least 1 s.

    ``least`` takes the place of that second. The mean moves by a tenth with every measurement; a command not seen yet
    counts as :data:`UNSEEN_US`.
    """

    FACTOR = 20
    LEAST_SECONDS = 1.0
    UNSEEN_US = 50_000.0
    SLOW_AT_FIRST_US = 500_000.0
    """For the first picture: it loads fonts and tiles."""

    def __init__(self, reset_timeout: float, least: float | None = None) -> None:
        self._reset_timeout = reset_timeout
        self._least = self.LEAST_SECONDS if least is None else least
        self._mean_us: dict[str, float] = {"render": self.SLOW_AT_FIRST_US}

    def of(self, names: Sequence[str]) -> float:
        """Return the seconds that a batch of these commands may take."""
        seen, unseen = self._mean_us, self.UNSEEN_US
        expected = 0.0
        resets = 0
        for name in names:
            if name == "reset":
                resets += 1
            else:
                expected += seen.get(name, unseen)
        return max(self._least, self.FACTOR * expected / 1e6) + resets * self._reset_timeout

    def learn(self, names: Sequence[str], costs_us: Sequence[int]) -> None:
        """Take in what commands cost."""
        means = self._mean_us
        for name, cost in zip(names, costs_us, strict=True):
            mean = means.get(name)
            means[name] = cost if mean is None else mean + (cost - mean) * 0.1


def settle(future: asyncio.Future[Any], outcome: Any) -> None:
    """Give ``outcome`` to a future, as its error if it is one; a future that was cancelled is left alone."""
    if isinstance(outcome, Exception):
        fail(future, outcome)
    elif not future.done():
        future.set_result(outcome)


def fail(future: asyncio.Future[Any], error: Exception) -> None:
    """Give ``error`` to a future, unless it is done."""
    if not future.done():
        future.set_exception(error)
        future.exception()  # seen: a host that goes while nobody waits is no stack trace on standard error
