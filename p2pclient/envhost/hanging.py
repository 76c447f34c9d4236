"""Which call of an environment does not return: seen from outside, in memory in which its host notes each of them.

The host's side is :mod:`envs.account`. Deadlines of whole batches (:mod:`p2pclient.envhost.exchange`) end what hangs as
well, but know neither the call nor the frame, and nothing of what goes on while an environment loads.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from p2pclient.envhost.views_memory import SharedMemory

HALF_BYTES = 64
ACCOUNT_BYTES = 2 * HALF_BYTES
"""As in :mod:`envs.account`."""
_HALVES = (0, HALF_BYTES)
_NUMBER = struct.Struct("<Q")
OTHERS = ""
"""Among limits: of all calls that are not named there."""
_WHOLE = frozenset(("", "examine"))
"""Notes of nothing, and of what is made of many calls, which have limits of their own."""
_WORDS = {
    "make": "importing and making it",
    "reset": "its reset",
    "step": "its step of frame {frame}",
    "render": "drawing its picture",
    "save": "keeping its state at frame {frame}",
    "load": "going back to frame {frame}",
    "get_state": "asking for its state",
}


@dataclass(frozen=True, slots=True)
class Hang:
    """A call that did not return in time."""

    call: str
    """``make``, ``reset``, ``step``, ``render``, or another command of the host."""
    frame: int | None
    seconds: float
    """That it was allowed to take."""

    def __str__(self) -> str:
        return f"{words_of(self.call, self.frame)} did not return within {self.seconds:g} s"


class HangWatch:
    """Looks at the account of one host.

    Args:
        memory: that the host writes to, at least :data:`ACCOUNT_BYTES`.
        limits: seconds that a call may take, by name; :data:`OTHERS` for all others.
    """

    def __init__(self, memory: Any, limits: Mapping[str, float]) -> None:
        self._memory = memory
        self._limits = dict(limits)
        self._seen = dict.fromkeys(_HALVES, (-1, 0.0))
        """By half: its number, and since when it has been that."""

    def look(self, now: float) -> Hang | None:
        """Return the call that has taken too long by now; None if all is well. ``now`` in seconds."""
        for half, (seen, since) in self._seen.items():
            (number,) = _NUMBER.unpack_from(self._memory, half)
            if number != seen:
                self._seen[half] = number, now
                continue
            call, frame = self._call(half)
            limit = self._limits.get(call, self._limits[OTHERS])
            if call not in _WHOLE and now - since > limit:
                return Hang(call, frame, limit)
        return None

    def current(self) -> tuple[str, int | None]:
        """Return the call that runs, and its frame if it has one; empty if none does."""
        return next((told for told in map(self._call, reversed(_HALVES)) if told[0] not in _WHOLE), ("", None))

    def _call(self, half: int) -> tuple[str, int | None]:
        note = bytes(self._memory[half + _NUMBER.size : half + HALF_BYTES]).rstrip(b"\0").decode("ascii", "replace")
        call, _, frame = note.partition(" ")
        return call, int(frame) if frame.isdecimal() else None


def words_of(call: str, frame: int | None) -> str:
    """Return what a person would call it."""
    return _WORDS.get(call, call).format(frame="?" if frame is None else frame)


def make_account(limits: Mapping[str, float] | None) -> SharedMemory | None:
    """Return memory for the account of one host; None if nobody is to watch it, or none can be had here."""
    if limits is None:
        return None
    try:
        return SharedMemory(ACCOUNT_BYTES)
    except OSError:
        return None  # deadlines remain
