"""The processes of a forking host: each is an environment in one state, and a snapshot is one that waits.

Theory of operation. The host forks the first worker once, right after the environment was loaded; all others descend
from it. A worker serves requests from its end of a socket pair. ``save`` forks a copy, which waits: that is the
snapshot. ``load`` is a request to a copy that waits: it forks another one in its place, and goes on; ``reset`` the
same from the copy that has waited since loading, so that every episode begins in an identical process. So all that a
worker ever does is to serve: the snapshot is not told apart from who runs, except by :attr:`Worker.waits_as`.

The copy is the one that waits, and who asked for it goes on, because a fresh copy has to find every page of its
libraries again. The ends of the copies' sockets are handed to the host with the answer; until then a copy lives by the
one who made it.

What the copies must have of each other, the host hands on with each request: orders (bots, predictors, faults) that
are newer than the copy, and how often bots have decided.
"""

from __future__ import annotations

import gc
import mmap
import os
import random
import socket
import sys
import threading
import traceback
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple, Union

from p2pclient.common.errors import EnvHostError, LocalMisuseError
from p2pclient.envhost.host_batch import BatchRunner, Part, Unwind
from p2pclient.envhost.host_fork_wire import WireClosedError, receive, send
from p2pclient.envhost.values import decode, encode

PRISTINE = "pristine"
"""What the copy waits as that every episode begins from; others wait as their frame."""
MOST_SNAPSHOTS = 64
ORDERS = frozenset(("add_bot", "add_predictor", "add_substitute", "fault"))
"""Commands that hold on whatever is loaded later."""

_PICTURE_BYTES = 64 * 1024 * 1024
"""Room for one picture. What is not written to takes no memory."""
_HARMLESS_THREADS = frozenset(("SDLTimer",))
"""Threads of libraries that a copy can do without: they only wait to be asked."""

Key = Union[str, int]


class Worker:
    """One process with the environment, and all that were forked from it: what is here was copied with the rest.

    Args:
        end: of the socket pair with the host.
        simulation: of the environment, whose state nothing but these processes keeps.
        runner: runs commands on it; those that concern snapshots are replaced here.
    """

    def __init__(self, end: socket.socket, simulation: Any, runner: BatchRunner) -> None:
        self._end = end
        self._simulation = simulation
        self._runner = runner
        self.waits_as: Optional[Key] = PRISTINE
        """What the host knows this process as; None while it is the one that runs."""
        self._kept: Set[int] = set()
        """Frames of which there are snapshots, in whatever process."""
        self._made: Dict[Key, Tuple[int, socket.socket]] = {}
        """Copies made since the last answer, and the ends of their sockets for the host."""
        self._orders_seen = 0
        self._decided: Dict[int, int] = {}
        self._picture = mmap.mmap(-1, _PICTURE_BYTES)
        acts = runner.acts
        self._decide: Callable[[int], bytes] = acts["decide"]
        self._render_here: Callable[..., Dict[str, Any]] = acts["render"]
        acts.update(reset=self._reset, save=self._save, load=self._load, drop=self._drop, render=self._render)
        acts.update(add_bot=self._add_bot)
        acts["decide"] = self._decide_and_count
        acts.update({name: self._counted(act) for name, act in acts.items() if name in ORDERS})

    def serve(self) -> None:
        """Answer until the host is gone. Never returns."""
        while True:
            try:
                self._answer(receive(self._end).value)
            except Unwind:
                pass  # This is the copy: its turn comes when it is asked.
            except WireClosedError:
                os._exit(0)

    def _answer(self, request: Dict[str, Any]) -> None:
        self._kept = set(request["kept"])
        commands = request["commands"]
        if self.waits_as not in (None, key_of(commands[0])):
            self._fork_copy(self.waits_as)
        part = self._catch_up(request)
        if part.error is None:
            part = self._runner.run_part(request["id"], commands, request["first"])
        made, self._made = self._made, {}
        answer = {
            "error": part.error,
            "costs": part.costs,
            "kept": sorted(self._kept),
            "waits_as": self.waits_as,
            "made": [[key, pid] for key, (pid, _) in made.items()],
            "decided": list(self._decided.items()),
        }
        send(self._end, answer, part.results, [end.fileno() for _, end in made.values()])
        for _, end in made.values():
            end.close()

    def _catch_up(self, request: Dict[str, Any]) -> Part:
        """Do what others were told while this process waited, and ask bots as often as they were asked."""
        orders = [order for number, order in request["orders"] if number >= self._orders_seen]
        part = self._runner.run_part(request["id"], orders) if orders else Part([], [], None)
        self._orders_seen = request["order"]
        for seat, count in request["decided"]:
            for _ in range(count - self._decided.get(seat, 0)):
                self._decide_and_count(seat)
        return part

    # -- commands ---------------------------------------------------------------------------------------------------

    def _reset(self, seed: int) -> bytes:
        if self.waits_as != PRISTINE:
            raise LocalMisuseError("only the process in which nothing was played yet begins an episode")
        self._fork_copy(PRISTINE)
        self._decided.clear()
        checksum: bytes = self._simulation.reset(seed)
        return checksum

    def _save(self, frame: int) -> None:
        if frame not in self._kept and len(self._kept) >= MOST_SNAPSHOTS:
            raise LocalMisuseError(f"{MOST_SNAPSHOTS} snapshots are kept, and each is a process: drop some before")
        self._simulation.save(frame)
        self._fork_copy(frame)

    def _load(self, frame: int) -> None:
        if self.waits_as != frame:
            raise LocalMisuseError(f"there is no snapshot of frame {frame}; kept: {sorted(self._kept)}")
        self._fork_copy(frame)
        self._simulation.load(frame)

    def _drop(self, before: int) -> None:
        self._simulation.drop(before)
        for frame in [frame for frame in self._kept if frame < before]:
            self._kept.remove(frame)
            if frame in self._made:
                self._made.pop(frame)[1].close()

    def _counted(self, order: Callable[..., Any]) -> Callable[..., Any]:
        """Return an order that counts when it is carried out, so that copies made after it need not be told."""

        def act(*arguments: Any) -> Any:
            result = order(*arguments)
            self._orders_seen += 1
            return result

        return act

    def _add_bot(self, seat: int, name: str, seed: int) -> None:
        self._simulation.add_bot(seat, name, seed)
        self._decided[seat] = 0

    def _decide_and_count(self, seat: int) -> bytes:
        decision = self._decide(seat)
        self._decided[seat] = self._decided.get(seat, 0) + 1
        return decision

    def _render(self, *arguments: Any) -> Any:
        """Draw in a copy that is thrown away: looking changes nothing."""
        reading, writing = os.pipe()
        pid = _fork()
        if not pid:
            self._draw(writing, arguments)
        os.close(writing)
        with open(reading, "rb") as told:
            content = told.read()
        if not content:
            raise EnvHostError("drawing the picture ended the process that drew it")
        view, shape, trace = decode(content)
        if trace:
            raise EnvHostError(f"the picture cannot be drawn: {trace}")
        if shape is not None:
            import numpy

            count = shape[0] * shape[1] * shape[2]
            view["pixels"] = numpy.frombuffer(self._picture, numpy.uint8, count).reshape(shape).copy()
        return view

    def _draw(self, writing: int, arguments: Tuple[Any, ...]) -> None:
        """In the copy: draw, tell, and end."""
        try:
            self._let_go()
            view, shape = self._render_here(*arguments), None
            pixels = view["pixels"]
            # Where the client has lent a slot of its memory, the picture is there already.
            if hasattr(pixels, "nbytes") and pixels.nbytes <= _PICTURE_BYTES:
                shape, view["pixels"] = list(pixels.shape), None
                self._picture[: pixels.nbytes] = memoryview(pixels).cast("B")
            told = encode([view, shape, None])
        except BaseException:  # noqa: BLE001  whatever drawing raises is told to the client
            told = encode([None, None, traceback.format_exc()])
        with open(writing, "wb") as pipe:
            pipe.write(told)
        os._exit(0)

    # -- processes --------------------------------------------------------------------------------------------------

    def _fork_copy(self, key: Key) -> None:
        """Leave a copy of this process waiting as ``key``. In the copy, this raises :class:`Unwind`."""
        if key in self._made:
            self._made.pop(key)[1].close()
        theirs, ours = socket.socketpair()
        try:
            pid = _fork()
        except OSError:
            theirs.close()
            ours.close()
            raise
        if not pid:
            theirs.close()
            self._let_go()
            self._end, self.waits_as = ours, key
            raise Unwind
        ours.close()
        self._made[key] = (pid, theirs)
        self.waits_as = None
        if isinstance(key, int):
            self._kept.add(key)

    def _let_go(self) -> None:
        """In a copy: close what is another process's, so that its end is seen."""
        self._end.close()
        for _, end in self._made.values():
            end.close()
        self._made = {}


def key_of(command: Sequence[Any]) -> Optional[Key]:
    """Return what the process waits as that this command is for; None: whichever runs."""
    if len(command) and command[0] == "reset":
        return PRISTINE
    if len(command) > 1 and command[0] == "load" and isinstance(command[1], int):
        return command[1]
    return None


def _fork() -> int:
    """Fork, with the state of ``random``'s generator in both: Python seeds it anew in the copy."""
    drawn = random.getstate()
    pid = os.fork()
    if not pid:
        random.setstate(drawn)
    return pid


def start(end: socket.socket, simulation: Any, runner: BatchRunner) -> None:
    """In the first worker: get ready, say so, and serve. Never returns."""
    worker = Worker(end, simulation, runner)
    try:
        # What is loaded with the first picture (fonts, drawing itself) is there for all; that it changes the state
        # matters to nobody, because every episode begins with a reset.
        simulation.reset(0)
        simulation.render()
    except Exception:  # noqa: BLE001  it will fail again when it is asked for, and be told
        traceback.print_exc()
    silence()
    gc.collect()
    if hasattr(gc, "freeze"):
        gc.freeze()  # Else each collection would write to all that the copies share.
    others = other_threads()
    send(end, {"refusal": f"it runs threads of its own ({', '.join(others)})" if others else ""})
    worker.serve()


def silence() -> None:
    """End the thread that would play sounds: nobody hears it here, and no copy would have it."""
    mixer = sys.modules.get("pygame.mixer")
    if mixer is not None and mixer.get_init():
        mixer.quit()


def other_threads(known: Tuple[str, ...] = ()) -> List[str]:
    """Return the names of threads that a copy of this process would lack and might miss.

    Args:
        known: names of Python threads that it need not have.
    """
    ours = {threading.get_native_id()}
    ours.update(each.native_id or 0 for each in threading.enumerate() if each.name in known)
    found = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/comm", encoding="utf-8", errors="replace") as told:
                name = told.read().strip()
        except OSError:
            continue  # It has just ended.
        if int(task) not in ours and name not in _HARMLESS_THREADS:
            found.append(name)
    return found
