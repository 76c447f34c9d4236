"""The environment host: a process with one environment, which answers batches of commands over one pipe.

Single-threaded where the environment is concerned: everything runs in the main thread, in the order in which it was
asked for, so that ``ping`` is answered between batches and never during one. Only while it loads does a second thread
report that the process lives. The host never resets, renders or steps by itself.

Requests and replies are lists (:mod:`p2pclient.envhost.values`); each reply starts with the number of its request:

==============================  ====================================================================================
``[id, "init", spec]``          any number of ``[id, "progress", {"share", "text"}]``, then ``[id, "ready", data]``
``[id, "batch", [command..]]``  ``[id, "result", [result..], [microseconds..]]``
``[id, "reload"]``              like ``init``, with ``"reloaded"`` in the data: what became of the state (see below)
``[id, "ping"]``                ``[id, "pong"]``
``[id, "close"]``               none: the process closes the environment and ends
==============================  ====================================================================================

``reload`` imports the person's own modules afresh, if their files have changed, and makes the environment anew.
``"reloaded"`` is ``"unchanged"``; ``"kept"``, if the new code goes on from the old state; else the reason why it needs
a ``reset``. Snapshots, bots and predictors are gone then. New code that fails leaves the old one in place.

Any of them may be answered by ``[id, "error", {"message", "type", "traceback", "index", "command", "cause"}]``.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import traceback
from typing import Any, Callable, Dict, List, Optional, Tuple

from p2pclient.common.errors import ConfigurationError, LocalMisuseError, TandemError
from p2pclient.envhost.host_batch import BatchRunner, error_reply
from p2pclient.envhost.host_faults import Faults, hang
from p2pclient.envhost.host_life import tie_to_client
from p2pclient.envhost.host_packages import check_packages
from p2pclient.envhost.host_reload import FreshModules, Stamp, go_on, own_modules, stamp_of, what_draws
from p2pclient.envhost.values import encode
from p2pclient.envhost.values_fast import decode_own

_BEAT_SECONDS = 0.25


class EnvironmentHost:
    """Answers requests from ``pipe`` until it is closed."""

    def __init__(self, pipe: Any, folder: str) -> None:
        self._pipe = pipe
        self._folder = folder
        self._environment: Any = None
        self._simulation: Any = None
        self._runner: Any = None
        """What runs batches, once it is loaded: here, or in forked processes."""
        self._forks: Any = None
        self._spec: Dict[str, Any] = {}
        self._ready: Dict[str, Any] = {}
        self._stamp: Stamp = ()
        self._views: Any = None

    def run(self) -> None:
        """Answer until ``close`` or the end of the pipe; then close the environment."""
        try:
            while self._answer(decode_own(self._pipe.recv_bytes())):
                pass
        except (EOFError, OSError):
            pass  # The client is gone: nobody to tell.
        finally:
            if self._forks is not None:
                self._forks.close()
            if self._environment is not None:
                self._environment.close()

    def _answer(self, request: List[Any]) -> bool:
        request_id, kind = request[0], request[1]
        if kind == "batch" and self._runner is not None:
            self._pipe.send_bytes(self._runner.run(request_id, request[2]))
        elif kind == "ping":
            if self._runner is not None:
                self._runner.check_alive()
            self._pipe.send_bytes(encode([request_id, "pong"]))
        elif kind == "close":
            return False
        elif kind == "init" and self._runner is None:
            self._load(request_id, lambda beat: self._make(request[2], beat))
        elif kind == "reload" and self._runner is not None:
            self._load(request_id, self._reload)
        else:
            misuse = LocalMisuseError(f"{kind!r} is not possible now")
            self._pipe.send_bytes(error_reply(request_id, misuse, "misuse"))
        return True

    def _load(self, request_id: int, make: Callable[[_Beat], Dict[str, Any]]) -> None:
        beat = _Beat(self._pipe, request_id)
        try:
            data = make(beat)
            reply = encode([request_id, "ready", data], "ready")
        except BaseException as error:  # noqa: BLE001  whatever an environment raises at import is told to the client
            cause = "configuration" if isinstance(error, ConfigurationError) else "load"
            if not isinstance(error, TandemError):
                traceback.print_exc()  # to the log of the environment
            reply = error_reply(request_id, error, cause)
        beat.stop()
        self._pipe.send_bytes(reply)

    def _make(self, spec: Dict[str, Any], beat: _Beat) -> Dict[str, Any]:
        name, args = spec["env"], spec["args"]
        beat.tell(None, "Opening the game")
        check_packages(self._folder, sys.path)
        self._act_up(spec, "import")
        registry, simulation_of, load_hook, forks_of = _import_envs()
        self._act_up(spec, "init")
        from p2pclient.envhost.host_account import note_commands, open_account
        from p2pclient.envhost.host_views import open_views, rendering  # NumPy comes with it

        self._views = open_views(spec.pop("views", None)) or self._views
        account = open_account(spec.pop("account", None))
        local, thorough = bool(spec.get("local")), bool(spec.get("thorough"))
        folder, hook_name = spec.get("folder"), spec.get("step_hook")
        if folder and folder not in sys.path and (hook_name or (local and _is_factory(registry, name))):
            # Where `python -m` would look first. Not for other names: they need nothing from there, and a package that
            # happens to lie in that folder must not get in their way.
            sys.path.insert(0, folder)
            check_packages(self._folder, sys.path)
        hook = load_hook(hook_name) if hook_name else None

        def make_runner(simulation: Any) -> BatchRunner:
            runner = BatchRunner(simulation)
            runner.acts["render"] = rendering(simulation.render, self._views)
            if thorough:
                runner.acts.update(_examination(registry, spec, simulation))
            if spec.get("allow_faults"):
                Faults(simulation, runner.acts)
            note_commands(runner.acts, account)
            return runner

        forks = forks_of(bool(spec.get("fork", True)), hook, make_runner, (self._pipe.fileno(),))
        with account.of("make"):
            environment = registry.create(
                name,
                args,
                beat.tell,
                local=local,
                trusted_args=bool(spec.get("trusted_args")),
                thorough=thorough,
                seats=spec.get("seats"),
                forks=forks,
            )
        check_packages(self._folder, sys.path)  # again: importing the environment may have changed the path
        beat.tell(None, "Almost ready")
        data: Dict[str, Any] = registry.describe(environment, name, args)
        data["step_hook"] = hook_name
        if hook is not None:
            data["digest"] += hook.digest()  # what it adds is part of what peers must agree on
        simulation = simulation_of(environment, hook)
        if self._forks is not None:
            self._forks.close()
        forks.settle()
        self._environment, self._simulation, self._forks = environment, simulation, forks
        self._runner, self._spec, self._ready = forks.runner or make_runner(simulation), spec, data
        self._stamp = stamp_of(self._own_modules())
        # What loading made stays: without it, each full collection would walk through it in the midst of a batch.
        gc.collect()
        if hasattr(gc, "freeze"):
            gc.freeze()
        return data

    def _reload(self, beat: _Beat) -> Dict[str, Any]:
        own = self._own_modules()
        if stamp_of(own) == self._stamp:
            return {**self._ready, "reloaded": "unchanged"}
        environment, handed = self._environment, self._simulation.hand_over()
        with FreshModules(own):
            data = self._make(self._spec, beat)
        drawing = what_draws()
        environment.close()  # now, because what it closes may be everybody's in this process
        if what_draws() != drawing:
            data = self._make(self._spec, beat)
        reason = go_on(handed, self._simulation)
        return {**data, "reloaded": reason or "kept"}

    def _own_modules(self) -> Dict[str, Any]:
        folder = self._spec.get("folder")
        return own_modules(folder, self._folder) if folder else {}

    def _act_up(self, spec: Dict[str, Any], stage: str) -> None:
        """Block on purpose at ``stage``, for tests and drills only."""
        for fault in spec.get("load_faults") or ():
            if spec.get("allow_faults") and fault.get("at") == stage:
                hang(float(fault["seconds"]), hold_lock=bool(fault.get("hold_lock", False)))


class _Beat:
    """A thread that reports the stage of loading until it is stopped; silent while something holds the interpreter."""

    def __init__(self, pipe: Any, request_id: int) -> None:
        self._pipe = pipe
        self._request_id = request_id
        self._stage: Tuple[Optional[float], str] = (None, "")
        self._changed = threading.Event()
        self._stopped = False
        self._since = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="loading", daemon=True)
        self._thread.start()

    def tell(self, share: Optional[float], text: str) -> None:
        self._stage = (share, text)
        self._changed.set()

    def stop(self) -> None:
        """Return when nothing more will be sent from here."""
        self._stopped = True
        self._changed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            seconds = time.monotonic() - self._since
            share, text = self._stage
            told = {"share": share, "text": f"{text} ({seconds:.0f} s)" if seconds >= 2 else text}
            try:
                if text:
                    self._pipe.send_bytes(encode([self._request_id, "progress", told]))
            except OSError:
                return  # The client is gone; the main thread notices by itself.
            self._changed.wait(_BEAT_SECONDS)
            self._changed.clear()


def _import_envs() -> Tuple[Any, Any, Any, Any]:
    """Return the registry, the simulation's class, what loads a hook and what forks; late, because of NumPy.

    Raises:
        ConfigurationError: NumPy was built for newer processors than it has been held to.
    """
    try:
        from envs import registry
        from envs.simulation import Simulation
        from envs.step_hook import load_hook
        from p2pclient.envhost.host_fork_trial import HostForks
    except RuntimeError as error:
        if "NPY_DISABLE_CPU_FEATURES" in str(error):
            raise ConfigurationError("pin_cpu", True, f"false with this build of NumPy ({error})") from error
        raise
    return registry, Simulation, load_hook, HostForks


def _examination(registry: Any, spec: Dict[str, Any], simulation: Any) -> Dict[str, Any]:
    """Return the commands that only the host of a check has."""
    from envs.examination import examination_commands

    allowed = {name: spec.get(name) for name in ("local", "trusted_args", "seats")}

    def make(**more: Any) -> Any:
        return registry.create(spec["env"], {**spec["args"], **more}, graded=False, **allowed)

    return examination_commands(make, simulation)


def _is_factory(registry: Any, name: str) -> bool:
    """True if ``name`` is none of those that come with a package, so that it can only be ``module:factory``."""
    return name not in registry.known_names() and not name.startswith(registry.families())


def open_pipe(handle: int) -> Any:
    """Return the inherited end of the pipe as a ``multiprocessing`` connection."""
    from multiprocessing import connection

    if sys.platform == "win32":
        os.set_handle_inheritable(handle, False)
        return connection.PipeConnection(handle)
    os.set_inheritable(handle, False)  # an environment's own children must not keep the pipe open
    return connection.Connection(handle)


def main() -> None:
    """Run as ``python tandem_env_host.py PIPE CLIENT_PID``, with standard input held open by the client."""
    tie_to_client(int(sys.argv[2]))
    pipe = open_pipe(int(sys.argv[1]))
    sys.argv = sys.argv[:1]  # environments parse these at times
    folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    EnvironmentHost(pipe, folder).run()
