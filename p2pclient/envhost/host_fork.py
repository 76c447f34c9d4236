"""Snapshots by forking: the host's own process hands commands on to the worker that is in the state they are for.

It stays the single owner of the client's pipe, and its own copy of the environment is only described, never played.
What the workers do is told in :mod:`p2pclient.envhost.host_fork_worker`.

Loaded on demand only: Windows has none of this.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import threading
import warnings
import weakref
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from envs.account import ACCOUNT
from p2pclient.common.errors import EnvHostError
from p2pclient.envhost.host_batch import BatchRunner, result_reply
from p2pclient.envhost.host_fork_wire import Answer, WireClosedError, end_with, is_alive, receive, send
from p2pclient.envhost.host_fork_worker import ORDERS, PRISTINE, Key, key_of, other_threads, silence, start

OWN_THREADS = ("lifeline", "loading")
"""Threads of the host that its workers do without."""
_PR_SET_CHILD_SUBREAPER = 36
Command = Sequence[Any]
MakeRunner = Callable[[Any], BatchRunner]


_RUNNING: weakref.WeakSet[ForkingRunner] = weakref.WeakSet()
"""All of this process: what one of them forks must not hold the descriptors of another."""


class WorkerGoneError(EnvHostError):
    """A worker ended by itself, or does not answer in time. There is nothing to go on with."""


class _Copy:
    """A process that waits, and our end of its socket."""

    def __init__(self, pid: int, end: socket.socket) -> None:
        self.pid = pid
        self.end = end


class ForkingRunner:
    """Runs batches as :class:`~p2pclient.envhost.host_batch.BatchRunner` does, in workers, once it is ready.

    Args:
        simulation: of an environment that was just made. It is not touched here any more.
        make_runner: given the simulation, says how commands are run on it; called in the first worker.
        let_go: descriptors that are this process's alone, the client's pipe above all.
    """

    def __init__(self, simulation: Any, make_runner: MakeRunner, let_go: Sequence[int] = ()) -> None:
        reading, self._lifetime = os.pipe()
        ours, theirs = socket.socketpair()
        silence()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: see refusal()
            pid = os.fork()
        if not pid:
            strange = [ours.fileno(), self._lifetime, *let_go]
            for other in _RUNNING:
                strange += other.descriptors()
            _begin_worker(theirs, strange, reading, simulation, make_runner)
        theirs.close()
        os.close(reading)
        self._pid = pid
        self._current = _Copy(pid, ours)
        self._waiting: Dict[Key, _Copy] = {PRISTINE: self._current}
        self._orders: Dict[Tuple[Any, ...], Tuple[int, Command]] = {}
        self._order = 0
        self._decided: List[List[int]] = []
        self._has_begun = False
        _RUNNING.add(self)

    def descriptors(self) -> List[int]:
        """Return those that no worker may hold."""
        if self._lifetime < 0:
            return []
        return [self._lifetime, *(copy.end.fileno() for copy in {self._current, *self._waiting.values()})]

    def run(self, request_id: int, commands: Sequence[Command], patience: Optional[float] = None) -> bytes:
        """Run ``commands`` in order and return the reply, as one process would give it.

        Args:
            patience: seconds after which a worker counts as stuck; None waits on.

        Raises:
            WorkerGoneError: a worker is gone or stuck.
        """
        results: List[bytes] = []
        costs: List[int] = []
        for first, part in _parts(commands):
            answer = self._ask(request_id, first, part, patience)
            if answer.value["error"] is not None:
                error: bytes = answer.value["error"]
                return error
            results.append(answer.raw)
            costs += answer.value["costs"]
        return result_reply(request_id, results, costs)

    def wait_until_ready(self, patience: float) -> str:
        """Wait for the first worker; returns why it cannot be copied, empty if it can.

        Raises:
            WorkerGoneError: it is gone or stuck.
        """
        if not self._has_begun:
            refusal: str = self._hear(self._current, patience).value["refusal"]
            self._has_begun = not refusal
            return refusal
        return ""

    def check_alive(self) -> None:
        """Raise WorkerGoneError if the worker that runs has ended."""
        if not is_alive(self._current.end):
            raise WorkerGoneError("the process of the environment has ended")

    @property
    def current_pid(self) -> int:
        """Of the process that runs."""
        return self._current.pid

    def waiting_pids(self) -> Dict[Key, int]:
        """Return the processes that wait, by frame."""
        return {key: copy.pid for key, copy in self._waiting.items()}

    def close(self) -> None:
        """End all workers, whatever they do. May be called again."""
        if self._lifetime < 0:
            return
        os.close(self._lifetime)  # kills them: see end_with()
        ACCOUNT.forget_forks()
        self._lifetime = -1
        for copy in {self._current, *self._waiting.values()}:
            copy.end.close()
        try:
            os.waitpid(self._pid, 0)
        except ChildProcessError:
            pass  # The system does that here: see adopt().

    def _ask(self, request_id: int, first: int, part: Sequence[Command], patience: Optional[float]) -> Answer:
        worker, kept = self._worker_for(part)
        request = {
            "id": request_id,
            "first": first,
            "commands": list(part),
            "kept": kept,
            "orders": sorted(self._orders.values(), key=lambda each: each[0]),
            "order": self._order,
            "decided": self._decided,
        }
        try:
            send(worker.end, request)
        except WireClosedError as error:
            raise WorkerGoneError(f"a process of the environment has ended ({error})") from error
        answer = self._hear(worker, patience)
        self._take_in(worker, part, answer)
        return answer

    def _worker_for(self, part: Sequence[Command]) -> Tuple[_Copy, List[int]]:
        """Return who is in the state that the commands begin with, and the frames that are kept."""
        frames = [key for key in self._waiting if isinstance(key, int)]
        key = key_of(part[0])
        if key == PRISTINE:
            self._decided = []
            return self._waiting[PRISTINE], []
        return self._waiting.get(key, self._current) if key is not None else self._current, frames

    def _hear(self, worker: _Copy, patience: Optional[float]) -> Answer:
        worker.end.settimeout(patience)
        try:
            return receive(worker.end)
        except socket.timeout as error:
            raise WorkerGoneError(f"a forked process did not answer within {patience:.1f} s") from error
        except WireClosedError as error:
            raise WorkerGoneError(f"the process of the environment has ended ({error})") from error

    def _take_in(self, worker: _Copy, part: Sequence[Command], answer: Answer) -> None:
        before = {*self._waiting.values(), self._current}
        told = answer.value
        kept = {PRISTINE, *told["kept"]}
        self._waiting = {key: copy for key, copy in self._waiting.items() if key in kept and copy is not worker}
        for (key, pid), end in zip(told["made"], answer.ends):
            self._waiting[key] = _Copy(pid, end)
        if told["waits_as"] is not None:  # it could not be copied, so that it must not go on
            self._waiting[told["waits_as"]] = worker
        self._current = worker
        for copy in before - {*self._waiting.values(), worker}:
            copy.end.close()  # which ends it
        self._decided = [list(each) for each in told["decided"]]
        for command in part[: len(told["costs"])]:
            if command[0] in ORDERS:
                if _is_lasting(command):
                    self._orders[_order_key(command)] = (self._order, list(command))
                self._order += 1


def _parts(commands: Sequence[Command]) -> Iterator[Tuple[int, Sequence[Command]]]:
    """Yield the commands in pieces that one process can run, each with the index of its first."""
    begin = 0
    for index in range(1, len(commands) + 1):
        if index == len(commands) or key_of(commands[index]) is not None:
            yield begin, commands[begin:index]
            begin = index


def _is_lasting(order: Command) -> bool:
    return order[0] != "fault" or order[1].get("frame") is not None


def _order_key(order: Command) -> Tuple[Any, ...]:
    return (order[0], order[1]) if order[0] != "fault" else ("fault", order[1]["frame"])


def _begin_worker(
    end: socket.socket, strange: Sequence[int], lifetime: int, simulation: Any, make_runner: MakeRunner
) -> None:
    """In the first worker. Never returns."""
    try:
        for descriptor in strange:
            os.close(descriptor)
        end_with(lifetime)
        ACCOUNT.enter_fork()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever ends is gone, without being waited for
        for name in ("SIGINT", "SIGTERM"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        start(end, simulation, make_runner(simulation))
    except BaseException:  # noqa: BLE001  this process must not go on as the host
        import traceback

        traceback.print_exc()
    finally:
        os._exit(1)


def refusal(is_wanted: bool) -> str:
    """Return why this process cannot be forked, as the end of a sentence; empty if it can."""
    if not is_wanted:
        return "it is switched off here (--no-fork)"
    if not hasattr(os, "fork"):
        return "this system cannot fork a process"
    if sys.platform == "darwin":
        return "on macOS a forked process may not go on using the system's own libraries"
    if not sys.platform.startswith("linux"):
        return f"it is not tried on this system ({sys.platform})"
    if threading.current_thread() is not threading.main_thread():
        return "the host runs as a thread of another program (--env-inline)"
    silence()
    others = other_threads(OWN_THREADS)
    return f"the environment's package runs threads of its own ({', '.join(others)})" if others else ""


def adopt(*, is_on: bool = True) -> None:
    """Take in, and bury, descendants whose own parents are gone: the first process of a container may not do it."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN if is_on else signal.SIG_DFL)
    try:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(is_on), 0, 0, 0)
    except (OSError, AttributeError):
        pass  # A libc without prctl: whoever is the first process buries them.
