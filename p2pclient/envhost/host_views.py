"""The host's side of :mod:`p2pclient.envhost.views`: puts pictures into the slots that the client lends.

The mapping is shared with processes that the host forks, which may write to a slot as the host does.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import Any, Callable, Dict, Optional

import numpy as np


class ViewWriter:
    """Slots of memory that the client reads.

    Args:
        memory: writable bytes; may be longer than all slots.
    """

    def __init__(self, memory: Any, slots: int, slot_bytes: int) -> None:
        self._slots = slots
        self._slot_bytes = slot_bytes
        self._bytes = np.frombuffer(memory, np.uint8)

    def put(self, slot: int, pixels: Any) -> Any:
        """Copy a picture into ``slot`` and return what tells the client so; ``pixels`` itself if it does not fit."""
        fits = (
            isinstance(pixels, np.ndarray)
            and pixels.dtype == np.uint8
            and pixels.ndim == 3
            and pixels.shape[2] == 3
            and 0 < pixels.nbytes <= self._slot_bytes
            and 0 <= slot < self._slots
        )
        if not fits:
            return pixels
        begin = slot * self._slot_bytes
        np.copyto(self._bytes[begin : begin + pixels.nbytes].reshape(pixels.shape), pixels)
        return {"slot": slot, "shape": list(pixels.shape)}


def open_views(place: Optional[Dict[str, Any]]) -> Optional[ViewWriter]:
    """Return the writer for the client's memory; None if there is none, or it cannot be opened from here.

    Args:
        place: ``descriptor`` or ``name``, ``token``, ``slots``, ``slot_bytes``, as the client tells it.
    """
    if place is None:
        return None
    slots, slot_bytes = int(place["slots"]), int(place["slot_bytes"])
    size = slots * slot_bytes
    try:
        memory = open_memory(place, size)
    except (OSError, ValueError) as error:
        # As when a program that started Python for the client passes no descriptors on.
        print(f"Pictures go through the pipe: the client's memory cannot be opened ({error}).", flush=True)
        return None
    return ViewWriter(memory, slots, slot_bytes)


def open_memory(place: Dict[str, Any], size: int) -> mmap.mmap:
    """Return memory that is shared with the client: ``size`` bytes, and what tells that they are the client's.

    Raises:
        OSError: it cannot be opened, or is not the client's.
        ValueError: it is not as large.
    """
    token = bytes(place["token"])
    if sys.platform == "win32":
        memory = mmap.mmap(-1, size + len(token), tagname=place["name"])
    else:
        memory = mmap.mmap(int(place["descriptor"]), size + len(token))
    if memory[size:] != token:
        raise OSError("it is not the client's")
    if "descriptor" in place:
        os.close(place["descriptor"])  # the mapping has its own; any other one would be somebody else's
    return memory


def rendering(render: Callable[[], Dict[str, Any]], writer: Optional[ViewWriter]) -> Callable[..., Dict[str, Any]]:
    """Return the command ``render``: with a slot, the picture goes there if it can."""

    def act(slot: Optional[int] = None) -> Dict[str, Any]:
        view = render()
        if slot is not None and writer is not None:
            view["pixels"] = writer.put(slot, view["pixels"])
        return view

    return act
