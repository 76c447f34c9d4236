"""The sync test: roll back on purpose in every frame, and see whether the same inputs give the same states again.

No network, no prediction: every input is real, so that any difference is the environment's, its snapshots' or the
host's doing (after GGRS's ``SyncTestSession``). With a check distance of 2, frame 5 is the batch ::

    load 3, step 3, save 4, step 4, save 5, step 5

Each frame is thus simulated once for the first time and ``distance`` times again, each time from a snapshot that a
later simulation has saved. As everywhere, ``step F`` gives the checksum of the state after frame F, and snapshot F is
the state before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pclient.common.errors import ConfigurationError, LocalMisuseError
from p2pclient.common.frames import MAX_SEATS
from p2pclient.rollback.session import Load, Save, Step

SyncCommand = Load | Step | Save


@dataclass(frozen=True, slots=True)
class SyncMismatch:
    """The first frame that came out differently when it was simulated again."""

    frame: int
    first: bytes
    """Checksum after the frame when it was simulated for the first time."""
    again: bytes


class SyncTestSession:
    """Decides the batches of a sync test over one episode, and compares what comes back.

    Args:
        seats: the neutral input of every seat, in order.
        distance: frames to go back in every frame; 0 only advances.
        delay: input delay in frames, of all seats; the first ``delay`` frames have neutral inputs.
        window: prediction window that is to be borne; rollbacks in play are never deeper, so ``distance`` is smaller.
        spacing: frames between snapshots; only 1 can be tested: a frame without a snapshot is not rolled back to.

    Raises:
        ConfigurationError: a value is out of range.
    """

    def __init__(
        self, seats: Sequence[bytes], *, distance: int, delay: int = 0, window: int = 8, spacing: int = 1
    ) -> None:
        if not 1 <= len(seats) <= MAX_SEATS:
            raise ConfigurationError("seats", len(seats), f"1 to {MAX_SEATS}")
        if not 0 <= distance < window:
            raise ConfigurationError("check distance", distance, f"0 to {window - 1}: less than the prediction window")
        if delay < 0:
            raise ConfigurationError("input delay", delay, "0 or more frames")
        if spacing != 1:
            raise ConfigurationError("snapshot spacing", spacing, "1: a sync test loads a snapshot of every frame")
        self._distance = distance
        self._delay = delay
        self._neutral = tuple(seats)
        self._given = (False,) * len(seats)
        self._inputs: dict[int, tuple[bytes, ...]] = dict.fromkeys(range(delay), self._neutral)
        self._first: dict[int, bytes] = {}
        self.current_frame = 0
        """Next frame to be simulated for the first time."""
        self.compared = 0
        """Simulations whose checksum was held against an earlier one."""
        self.mismatch: SyncMismatch | None = None
        """What was found first, if anything."""

    @property
    def oldest_needed(self) -> int:
        """Oldest frame whose snapshot will still be loaded; older ones may be dropped."""
        return max(0, self.current_frame - self._distance)

    def advance(self, inputs: Sequence[bytes]) -> tuple[SyncCommand, ...]:
        """Take the inputs read for the current frame, by seat, and return its batch.

        Raises:
            LocalMisuseError: an input is missing.
        """
        if len(inputs) != len(self._neutral) or not all(inputs):
            raise LocalMisuseError(f"frame {self.current_frame} needs an input of every seat; given: {list(inputs)}")
        current = self.current_frame
        self._inputs[current + self._delay] = tuple(inputs)
        commands: list[SyncCommand] = []
        if 0 < self._distance < current:
            oldest = current - self._distance
            commands.append(Load(oldest))
            for frame in range(oldest, current):
                commands.append(self._step(frame, again=True))
                commands.append(Save(frame + 1))
            self._inputs.pop(oldest - 1, None)
        elif self._distance:
            commands.append(Save(current))
        else:
            self._inputs.pop(current - 1, None)
        commands.append(self._step(current, again=False))
        self.current_frame = current + 1
        return tuple(commands)

    def receive_checksum(self, frame: int, checksum: bytes) -> bool:
        """Compare what a step of ``frame`` gave with its first result; False if it differs. Call it in batch order.

        Raises:
            LocalMisuseError: the frame has not been stepped, or not lately.
        """
        if not max(0, self.current_frame - 1 - self._distance) <= frame < self.current_frame:
            raise LocalMisuseError(f"no result of frame {frame} is due; the next frame is {self.current_frame}")
        first = self._first.get(frame)
        if first is None:
            self._first[frame] = checksum
            self._first.pop(frame - self._distance - 1, None)
            return True
        self.compared += 1
        if first != checksum and self.mismatch is None:
            self.mismatch = SyncMismatch(frame, first, checksum)
        return first == checksum

    def first_checksum(self, frame: int) -> bytes | None:
        """Return what the first simulation of a recent frame gave; None if it is not known or no longer kept."""
        return self._first.get(frame)

    def _step(self, frame: int, *, again: bool) -> Step:
        return Step(frame, self._inputs[frame], self._given, again)
