"""Faults on purpose: a hidden hook by which tests and drills make an environment misbehave.

``["fault", {"kind": KIND, ...}]`` acts at once, or with ``"frame": F`` after every step of frame F, so that a rollback
over it does not undo it:

- ``corrupt`` (``seed``): changes one leaf of the state, chosen by the seed.
- ``hang`` (``seconds``, ``hold_lock``): stops; with ``hold_lock`` no other thread runs either, as in a stuck extension.
- ``raise``: raises. ``exit`` (``code``): ends the process.
"""

from __future__ import annotations

import copy
import os
import random
import sys
import time
from typing import Any, Callable, Dict, Iterator, List, Tuple

from p2pclient.common.errors import LocalMisuseError

Place = Tuple[Any, Any]
"""A container and the key of a leaf in it."""


class Faults:
    """Adds ``fault`` to a table of commands and wraps its ``step`` while a fault waits for a frame."""

    def __init__(self, simulation: Any, acts: Dict[str, Callable[..., Any]]) -> None:
        self._simulation = simulation
        self._acts = acts
        self._step = acts["step"]
        self._at_frame: Dict[int, Dict[str, Any]] = {}
        acts["fault"] = self.take

    def take(self, fault: Dict[str, Any]) -> None:
        """Carry ``fault`` out now, or keep it for its frame."""
        frame = fault.get("frame")
        if frame is None:
            self._carry_out(fault)
        else:
            self._at_frame[int(frame)] = fault
            self._acts["step"] = self._step_with_faults

    def _step_with_faults(self, frame: int, *rest: Any) -> Any:
        result = self._step(frame, *rest)
        fault = self._at_frame.get(frame)
        if fault is not None:
            self._carry_out(fault)
            result[0] = self._simulation.compute_hash()
        return result

    def _carry_out(self, fault: Dict[str, Any]) -> None:
        kind = fault.get("kind")
        if kind == "corrupt":
            corrupt(self._simulation, int(fault.get("seed", 0)))
        elif kind == "hang":
            hang(float(fault.get("seconds", 60.0)), hold_lock=bool(fault.get("hold_lock", False)))
        elif kind == "raise":
            raise RuntimeError("a fault on purpose")
        elif kind == "exit":
            print("ending on purpose", file=sys.stderr, flush=True)
            os._exit(int(fault.get("code", 3)))
        else:
            raise LocalMisuseError(f"there is no fault {kind!r}")


def hang(seconds: float, *, hold_lock: bool) -> None:
    """Do nothing for ``seconds``, if asked without letting any other thread run."""
    if hold_lock and os.name == "posix":
        import ctypes

        ctypes.PyDLL(None).poll(None, 0, int(seconds * 1000))
    else:
        time.sleep(seconds)


def corrupt(simulation: Any, seed: int) -> None:
    """Change one leaf of the state such that its checksum differs. Which one depends on ``seed`` and the state only.

    Raises:
        LocalMisuseError: no single leaf could be changed.
    """
    before = simulation.compute_hash()
    original = simulation.get_state()
    kept = dict(simulation._snapshots)  # set_state() drops them, but a fault must not be healed by a missing snapshot
    count = len(list(_places(original["data"])))
    for which in random.Random(seed).sample(range(count), count):
        state = copy.deepcopy(original)
        container, key = list(_places(state["data"]))[which]
        container[key] = _changed(container[key])
        try:
            after = simulation.set_state(state)
        except Exception:  # noqa: BLE001  an environment may refuse what is not possible in it: take another leaf
            after = before
        if after != before:
            simulation._snapshots.update(kept)
            return
    simulation.set_state(original)
    raise LocalMisuseError("no leaf of the state could be changed")


def _places(part: Any) -> Iterator[Place]:
    """Yield the numeric leaves below ``part``, in order."""
    items: List[Tuple[Any, Any]] = []
    if isinstance(part, dict):
        items = list(part.items())
    elif isinstance(part, list):
        items = list(enumerate(part))
    for key, item in items:
        if isinstance(item, (bool, int, float)) or (hasattr(item, "dtype") and item.size):
            yield part, key
        else:
            yield from _places(item)


def _changed(leaf: Any) -> Any:
    if isinstance(leaf, bool):
        return not leaf
    if isinstance(leaf, (int, float)):
        return leaf + 1
    array = leaf.copy()
    array.flat[0] = not array.flat[0] if array.dtype.kind == "b" else array.flat[0] + 1
    return array
