"""The host process seen from the client: how it is started, ended, and what its end is called."""

from __future__ import annotations

import itertools
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from p2pclient.envhost import process_windows
from p2pclient.envhost.folder import START_SCRIPT, build_host_folder
from p2pclient.envhost.hanging import Hang, HangWatch, make_account, words_of
from p2pclient.envhost.running import RunningHost
from p2pclient.envhost.surroundings import make_environment
from p2pclient.envhost.views import ViewMemory, make_shared_memory
from p2pclient.envhost.views_memory import SharedMemory
from p2pclient.envhost.watch import Watch, open_log

_CRASH = "Fatal Python error: "


@dataclass(frozen=True, slots=True)
class HostSpec:
    """Which environment a host is to load, and how the process is made."""

    env: str
    """Name, such as ``cogrid:Overcooked-CrampedRoom-V0`` or ``gymnasium:CartPole-v1``."""
    args: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the environment: plain values only."""
    python: str | None = None
    """Interpreter of the host; None is this one. Python 3.8 or newer, with the environment's packages."""
    log_path: str | os.PathLike[str] | None = None
    """File to which what the environment prints is appended; None throws it away. Of very much, the middle is left
    out (see ``watch.py``)."""
    init_timeout: float = 120.0
    """Seconds from the start until the environment must be ready."""
    reset_timeout: float = 60.0
    """Seconds that a reset may take."""
    memory_mb: int | None = None
    """Memory that the host may take, with all that it starts; None for no limit. One that takes more is ended."""
    call_limits: Mapping[str, float] | None = None
    """Seconds that single calls into the environment may take, as :class:`~p2pclient.envhost.hanging.HangWatch` has
    them: then the host notes each, and one that hangs is ended and named. None: there are deadlines of batches only."""
    pin_cpu: bool = True
    """Keep NumPy, BLAS and libm to instructions that all machines have, so that floats agree between them."""
    local: bool = False
    """The person at this machine gave the name or allowed it: ``module:factory`` may be imported, also from the folder
    in which this program was started."""
    trusted_args: bool = False
    """The person at this machine gave the arguments, too, which may then be paths."""
    thorough: bool = False
    """Try every way of keeping the environment's state, instead of the first that is exact."""
    fork: bool = True
    """Let the host try snapshots by forking itself, where the system can. All sides of a match should say the same."""
    seats: int | None = None
    """Players in the match; None if that is not known. Counts for environments with more agents than players."""
    step_hook: str | None = None
    """``module:function`` of the person at this machine that sees every step (see ``envs/step_hook.py``)."""
    inline: bool = False
    """Run in a thread of this process instead of one of its own, for a debugger; deadlines do not count then."""
    hash_seed: str = "0"
    """The host's ``PYTHONHASHSEED``. All hosts of play have the same; another shows what depends on it."""
    allow_faults: bool = False
    """Let the command ``fault`` act. For tests and drills."""
    load_faults: tuple[Mapping[str, Any], ...] = ()
    """With ``allow_faults``: where to block while loading: ``{"at": "import"|"init", "seconds", "hold_lock"}``."""

    def init_request(
        self, request_id: int, views: Mapping[str, Any] | None = None, account: Mapping[str, Any] | None = None
    ) -> list[Any]:
        """Return the request that makes the host load the environment. ``views`` and ``account``: where it finds the
        memory of :attr:`HostProcess.views` and :attr:`HostProcess.account`."""
        spec: dict[str, Any] = {"env": self.env, "args": dict(self.args), "allow_faults": self.allow_faults}
        spec.update(local=self.local, trusted_args=self.trusted_args, thorough=self.thorough, fork=self.fork)
        spec.update(folder=_working_folder() if self.local or self.step_hook else None, step_hook=self.step_hook)
        spec.update(seats=self.seats)
        spec["load_faults"] = [dict(fault) for fault in self.load_faults]
        spec["views"] = None if views is None else dict(views)
        spec["account"] = None if account is None else dict(account)
        return [request_id, "init", spec]


class HostProcess:
    """A running host: its process and our end of the pipe. Made by :func:`start_process`."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        pipe: Connection,
        log_path: Path | None,
        log_start: int,
        shared: SharedMemory | None = None,
        account: SharedMemory | None = None,
    ):
        self.pipe = pipe
        self.views = ViewMemory(shared)
        """Memory for its pictures; the host is told of it with ``init``."""
        self.account = account.place if account is not None else None
        """Where the host finds the memory in which it notes what it does; told with ``init``."""
        self.hang: Hang | None = None
        """The call for which it was ended."""
        self._noted = account.memory if account is not None else None
        self._calls: HangWatch | None = None
        self._process = process
        self._log_path = log_path
        self._log_start = log_start
        self._job = process_windows.tie_to_this_process(process)
        self._killed_for: str | None = None
        self._watch = Watch(process.pid, log_path, log_start)

    @property
    def pid(self) -> int:
        return self._process.pid

    def terminate(self) -> None:
        """Ask the process to end; it need not."""
        self._process.terminate()

    def kill(self) -> None:
        """End the process, and what it started in its own session, now. Does nothing once it has been reaped."""
        if self._process.returncode is not None:
            return
        if sys.platform != "win32":
            try:
                os.killpg(self.pid, signal.SIGKILL)  # the host leads its own group: see start_new_session
            except (ProcessLookupError, PermissionError):
                pass  # Ended a moment ago (macOS says PermissionError of a zombie's group).
        self._process.kill()

    def hold_to(self, memory_mb: int | None, call_limits: Mapping[str, float] | None = None) -> None:
        """Watch it until it ends: end it if it takes more memory or hangs, and keep its log within bounds."""
        if self._noted is not None and call_limits is not None:
            self._calls = HangWatch(self._noted, call_limits)
        self._watch.start(memory_mb, self._kill_for, self._calls)

    def doing(self) -> str:
        """Return in words which call into the environment runs, as the end of a sentence; empty if that is unknown."""
        call, frame = self._calls.current() if self._calls is not None else ("", None)
        return f"; it was busy with {words_of(call, frame)}" if call else ""

    def _kill_for(self, reason: str | Hang) -> None:
        self._killed_for = str(reason)
        self.hang = reason if isinstance(reason, Hang) else None
        self.kill()

    def reap(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the end; True if it came. Closes everything that is ours then."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        self._watch.stop()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self.views.close()
        process_windows.release(self._job)
        return True

    def describe_end(self) -> str:
        """Say how the process ended: why we ended it, its exit code, or the signal that killed it."""
        code = self._process.returncode
        if self._killed_for is not None:
            return self._killed_for
        if code is None:
            return "it is still running"
        return f"killed by {_signal_name(-code)}" if code < 0 else f"exit code {code}"

    def last_output(self) -> str:
        """Return the last lines of the log as the end of a sentence; empty if there are none."""
        lines = self.last_lines()
        return f"; last output: {' | '.join(lines)} (all of it is in {self._log_path})" if lines else ""

    def last_lines(self, count: int = 6) -> list[str]:
        """Return the last lines that this process wrote to its log; none if it has no log."""
        if self._log_path is None:
            return []
        try:
            with self._log_path.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(min(self._log_start, size), size - 8192))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return []
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        crash = next((index for index, line in enumerate(lines) if line.startswith(_CRASH)), None)
        if crash is None:
            return lines[-count:]
        # faulthandler's words: the innermost calls come first, and those below them are ours.
        at = next((index for index, line in enumerate(lines) if line.startswith("Current thread")), crash)
        calls = itertools.takewhile(lambda line: line.startswith("File "), lines[at + 1 :])
        return [lines[crash], *itertools.islice(calls, count - 1)]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def start_process(spec: HostSpec) -> HostProcess:
    """Start a host for ``spec``. Blocks for some milliseconds, so not for the runtime's loop: see :func:`spawn`.

    The pipe is made here and its other end inherited, instead of listening under a name: nobody else can connect,
    nothing is left in the file system, and a host that dies before it says a word is an end of file.

    Raises:
        OSError: the interpreter or the log cannot be opened.
    """
    script = build_host_folder() / START_SCRIPT
    python = spec.python or sys.executable
    ours, theirs = Pipe(duplex=True)
    log: int | None = None
    log_start = 0
    log_path = Path(spec.log_path) if spec.log_path is not None else None
    shared = make_shared_memory()
    account = make_account(spec.call_limits)
    inherited = [number for memory in (shared, account) if memory is not None for number in memory.descriptors]
    try:
        if log_path is not None:
            log, log_start = open_log(log_path)
        options = (
            process_windows.inherit(theirs.fileno())
            if sys.platform == "win32"
            else _inherit(theirs.fileno(), *inherited)
        )
        process = subprocess.Popen(
            [python, str(script), str(theirs.fileno()), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL if log is None else log,
            stderr=subprocess.DEVNULL if log is None else log,
            env=make_environment(os.environ, pin_cpu=spec.pin_cpu, hash_seed=spec.hash_seed),
            **options,
        )
        host = HostProcess(process, ours, log_path, log_start, shared, account)
        host.hold_to(spec.memory_mb, spec.call_limits)
        return host
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        for memory in (shared, account):
            if memory is not None:
                memory.let_go()
        if log is not None:
            os.close(log)


def _working_folder() -> str | None:
    """Return the folder in which this program runs; None if it has been removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def _inherit(*descriptors: int) -> dict[str, Any]:
    # A session of its own: Ctrl-C and a closing terminal reach the client only, which then closes the host in order.
    return {"pass_fds": descriptors, "start_new_session": True}


class _Spawner:
    """A thread that starts processes and lives as long as this process.

    Linux sends the parent-death signal when the *thread* that started the child ends (prctl(2)), so that a pool's
    or a loop's thread must not be the one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[tuple[Future[RunningHost], HostSpec]] | None = None

    def submit(self, spec: HostSpec) -> Future[RunningHost]:
        with self._lock:
            if self._jobs is None:
                self._jobs = queue.SimpleQueue()
                threading.Thread(target=_run_jobs, args=(self._jobs,), name="envhost-spawner", daemon=True).start()
        future: Future[RunningHost] = Future()
        self._jobs.put((future, spec))
        return future


def _run_jobs(jobs: queue.SimpleQueue[tuple[Future[RunningHost], HostSpec]]) -> None:
    start: Callable[[HostSpec], RunningHost] = start_process
    while True:
        future, spec = jobs.get()
        if not future.set_running_or_notify_cancel():
            continue
        try:
            future.set_result(start(spec))
        except BaseException as error:  # noqa: BLE001  handed to who waits
            future.set_exception(error)
        del future, spec


_spawner = _Spawner()


def spawn(spec: HostSpec) -> Future[RunningHost]:
    """Start a host from the lasting thread; the future gets the process, or what :func:`start_process` raised.

    One that is to run in this process is started as a thread at once.
    """
    if spec.inline:
        from p2pclient.envhost.inline import InlineProcess

        future: Future[RunningHost] = Future()
        future.set_result(InlineProcess())
        return future
    return _spawner.submit(spec)
