"""Runs batches of commands on a simulation, and says what each cost or where and why it stopped."""

from __future__ import annotations

import traceback
from time import perf_counter_ns
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from p2pclient.common.errors import ConfigurationError, EnvHostError, LocalMisuseError
from p2pclient.envhost.host_blame import place_of
from p2pclient.envhost.values import CannotSendError, encode, encode_onto, find_unsendable, list_head
from p2pclient.envhost.values_fast import encode_plain

COMMANDS = (
    "reset", "step", "get_state", "set_state", "save", "load", "drop", "compute_hash", "seed_rng", "render",
    "add_bot", "decide", "add_predictor", "add_substitute", "get_state_unless", "get_snapshot", "observe",
)  # fmt: skip
RESTORING = frozenset(("reset", "set_state", "load"))
"""Commands after which the state is known whatever it was before."""
STEP_FIELDS = ("checksum", "rewards", "terminations", "truncations", "infos", "ended", "observations", "used")
"""Names of the positions of a step's result, for messages."""
_MAX_TRACEBACK = 20_000

Act = Callable[..., Any]


class Unwind(BaseException):
    """Leaves a batch unanswered: raised by a command in a process that is a copy of the one that was asked."""


class Part(NamedTuple):
    """What some commands of a batch gave: the bytes of their results one after the other, or an ``error`` reply."""

    results: List[Any]
    costs: List[int]
    """Microseconds, of the commands that succeeded."""
    error: Optional[bytes]


class BatchRunner:
    """Commands in, bytes of one reply out.

    A batch stops at the first command that fails. What the environment did until then cannot be told, so that only
    :data:`RESTORING` commands are taken afterwards, until one of them succeeds.
    """

    def __init__(self, simulation: Any) -> None:
        self.acts: Dict[str, Act] = {name: getattr(simulation, name) for name in COMMANDS}
        self._unknown_since: Optional[str] = None

    def run(self, request_id: int, commands: Sequence[Sequence[Any]]) -> bytes:
        """Run ``commands`` in order and return the reply: ``result``, or ``error`` with index and command."""
        part = self.run_part(request_id, commands)
        return part.error if part.error is not None else result_reply(request_id, part.results, part.costs)

    def check_alive(self) -> None:
        """Raise if nothing could be run any more: never, where everything runs in this process."""

    def run_part(self, request_id: int, commands: Sequence[Sequence[Any]], first: int = 0) -> Part:
        """Run ``commands``, of which the first one has index ``first`` in its batch."""
        results: List[Any] = []
        put, acts = results.append, self.acts
        costs: List[int] = []
        index = first - 1
        name: Any = None
        result: Any = None
        error: Optional[bytes] = None
        try:
            for command in commands:
                index += 1
                name = command[0]
                if self._unknown_since is not None and name not in RESTORING:
                    raise LocalMisuseError(f"the state is unknown since {self._unknown_since}; load, set or reset it")
                act = acts.get(name)
                if act is None:
                    raise LocalMisuseError(f"there is no command {name!r}")
                begin = perf_counter_ns()
                result = act(*command[1:])
                cost = (perf_counter_ns() - begin) // 1000
                encode_onto(result, put, name)
                costs.append(cost)
                self._unknown_since = None
        except Unwind:
            raise
        except CannotSendError as failure:
            self._unknown_since = f"the result of {name} could not be sent"
            error = error_reply(request_id, failure, "unsendable", index, name, _name_part(name, result, failure))
        except BaseException as failure:  # noqa: BLE001  an environment may also raise SystemExit; the client is told
            self._unknown_since = f"{name} failed"
            if not isinstance(failure, LocalMisuseError):
                traceback.print_exc()  # to the log of the environment, where whoever wrote it looks for it
            error = error_reply(request_id, failure, "command", index, name)
        return Part(results, costs, error)


def result_reply(request_id: int, results: Sequence[Any], costs: Sequence[int]) -> bytes:
    """Return the ``result`` reply to a batch, given the bytes of its results."""
    head = [list_head(4), encode(request_id), encode("result"), list_head(len(costs))]
    return b"".join((*head, *results, encode_plain(list(costs))))


def _name_part(name: str, result: Any, error: CannotSendError) -> str:
    """Say which part of ``result`` cannot be sent, a step's by the names of its fields."""
    if name != "step" or not isinstance(result, list):
        return str(error)
    for field, part in zip(STEP_FIELDS, result):
        path = find_unsendable(part, field)
        if path is not None:
            return f"{path}: {str(error).rpartition(': ')[2]}"
    return str(error)


def error_reply(
    request_id: int,
    error: BaseException,
    cause: str,
    index: Optional[int] = None,
    command: Any = None,
    message: Optional[str] = None,
) -> bytes:
    """Return the ``error`` reply, with the traceback as text. ``cause`` is a short stable word for the kind.

    The message ends with the line of the environment's code that it came from, if there is one.
    """
    if isinstance(error, (ConfigurationError, EnvHostError)):
        message = message or str(error)  # our own sentences need no name of a class before them
    said = message or traceback.format_exception_only(type(error), error)[-1].strip()
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return encode(
        [
            request_id,
            "error",
            {
                "message": said + place_of(error),
                "type": type(error).__name__,
                "traceback": trace[-_MAX_TRACEBACK:],
                "index": index,
                "command": command if isinstance(command, str) else repr(command) if command is not None else None,
                "cause": cause,
            },
        ]
    )
