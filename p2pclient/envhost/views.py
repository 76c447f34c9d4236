"""Pictures of a host through memory that is shared with it, instead of through the pipe.

The memory is a few slots of one size. The client lends a slot with each ``render`` that it sends: ``["render", slot]``.
The host copies the picture into it and names slot and shape in its reply (:mod:`p2pclient.envhost.host_views`). Here
that becomes a read-only array over the slot, without a copy. The slot is lent again once the array and everything made
from it is gone, in whichever thread that happens: what a window still draws is not written over.

Where no slot is free, where a picture is larger than one, or where there is no such memory, pictures come through the
pipe: slower, and otherwise the same.
"""

from __future__ import annotations

import ctypes
import logging
import mmap
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from p2pclient.envhost.exchange import Command
from p2pclient.envhost.values import MalformedValueError
from p2pclient.envhost.views_memory import SharedMemory

log = logging.getLogger("tandem.envhost")

SLOTS = 4
"""One being written to, the newest one here, and two that a window may draw at the moment."""
SLOT_BYTES = 16 * 2**20
"""Pictures of up to 2560 x 2048. On Linux and macOS only what is written to takes up memory; Windows sets the whole
aside, without using it."""

Lent = dict[int, int]
"""Slots by the index of the ``render`` in its batch."""


class ViewMemory:
    """The client's side of the slots of one host.

    Args:
        shared: as large as all slots; None where there is none: then every picture comes through the pipe.
    """

    def __init__(self, shared: SharedMemory | None, slots: int = SLOTS, slot_bytes: int = SLOT_BYTES) -> None:
        self._memory: mmap.mmap | None = shared.memory if shared is not None else None
        self._slot_bytes = slot_bytes
        self._owner_type = ctypes.c_ubyte * slot_bytes
        self._free: deque[int] = deque(range(slots) if shared is not None else ())
        self.place: dict[str, Any] | None = None
        """What the host is told; None if there is nothing to tell."""
        if shared is not None:
            self.place = {**shared.place, "slots": slots, "slot_bytes": slot_bytes}

    @property
    def free(self) -> int:
        """Slots that can be lent now."""
        return len(self._free)

    def lend(self, commands: Sequence[Command], names: Sequence[str]) -> tuple[Sequence[Command], Lent]:
        """Return ``commands`` with a slot for each ``render``, as far as there are free ones, and which they are.

        Follow it by :meth:`take_in` or :meth:`give_back`.
        """
        lent: Lent = {}
        if "render" not in names:
            return commands, lent
        changed = list(commands)
        for index, command in enumerate(changed):
            if command[0] == "render" and len(command) == 1:
                try:
                    lent[index] = self._free.popleft()
                except IndexError:
                    break
                changed[index] = ["render", lent[index]]
        return changed, lent

    def give_back(self, lent: Lent) -> None:
        """Nothing was written to these, or nothing that matters."""
        self._free.extend(lent.values())

    def take_in(self, results: list[Any], lent: Lent) -> None:
        """Put arrays where ``results`` of a batch name slots.

        Raises:
            MalformedValueError: they name what was not lent, or a shape that does not fit. None of it can be believed.
        """
        for index, slot in lent.items():
            view: Any = results[index] if index < len(results) else None
            found = view.get("pixels") if isinstance(view, dict) else None
            if isinstance(found, dict):
                view["pixels"] = self._array(slot, found)
            else:
                self._free.append(slot)  # no picture, or through the pipe

    def close(self) -> None:
        """Let go of the memory: it goes with the last array over it."""
        self._memory = None
        self._free.clear()

    def _array(self, slot: int, found: dict[Any, Any]) -> Any:
        shape: Any = found.get("shape")
        if found.get("slot") != slot or not _is_shape(shape) or shape[0] * shape[1] * 3 > self._slot_bytes:
            raise MalformedValueError(f"a picture in slot {slot} was asked for, not {str(found)[:80]}")
        memory = self._memory
        if memory is None:
            raise MalformedValueError("the memory of its pictures has been given up")
        # Of all that keeps the memory, only this can be watched for its end: an array of an array holds the innermost
        # thing alone, and neither a mapping nor a memoryview tells when the last one that looks at a part of it goes.
        owner: Any = self._owner_type.from_buffer(memory, slot * self._slot_bytes)
        weakref.finalize(owner, self._free.append, slot).atexit = False
        array = np.ndarray(tuple(shape), np.uint8, owner)
        array.flags.writeable = False
        return array


def _is_shape(shape: Any) -> bool:
    good = isinstance(shape, list) and len(shape) == 3 and all(type(extent) is int and extent > 0 for extent in shape)
    return good and shape[2] == 3


def make_shared_memory() -> SharedMemory | None:
    """Return memory for the slots of one host; None, with a line in the log, where there is none to be had."""
    try:
        return SharedMemory(SLOTS * SLOT_BYTES)
    except OSError as error:
        log.warning("pictures go through the pipe, because no memory can be shared with the host: %s", error)
        return None
