"""Which frames to load, step and save: the session of one episode.

The rules (GGPO's, as GGRS states them, with one batch instead of callbacks):

1. Snapshot F is the state at the beginning of frame F. Snapshot 0 exists before anything is stepped.
2. When a real input differs from the one that was assumed, the first such frame is loaded and everything up to now is
   simulated again, in the same batch as the new frame.
3. At most ``window`` frames are simulated beyond the newest frame of which all inputs are here. When the window is
   full, the frame does not move: a stall. A pending correction still runs.
4. A frame is settled when all its inputs are here and it was simulated with them. Settled frames never change.

One batch is out at a time, with the commands of one or more calls of :meth:`RollbackSession.advance` in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pclient.common.errors import ConfigurationError, LocalMisuseError
from p2pclient.common.frames import MAX_SEATS, NULL_FRAME
from p2pclient.rollback.input_queue import InputQueue
from p2pclient.rollback.prediction import Predictor


@dataclass(frozen=True, slots=True)
class Load:
    """Go back to the beginning of ``frame``."""

    frame: int


@dataclass(frozen=True, slots=True)
class Step:
    """Simulate ``frame`` with these inputs, by seat."""

    frame: int
    inputs: tuple[bytes, ...]
    predicted: tuple[bool, ...]
    """By seat: is the input assumed."""
    again: bool
    """True if the frame was simulated before."""


@dataclass(frozen=True, slots=True)
class Save:
    """Keep the state at the beginning of ``frame``."""

    frame: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Let go of snapshots before ``before``."""

    before: int


Command = Load | Step | Save | Drop


@dataclass(frozen=True, slots=True)
class SeatConfig:
    """One seat as the session sees it."""

    neutral: bytes
    """Seat input when nothing is pressed, flags included."""
    predict: Predictor
    local: bool
    delay: int = 0
    """Input delay in frames; of a remote seat it is 0 here, since its inputs arrive by the frame they count for."""


@dataclass(frozen=True, slots=True)
class Advance:
    """What one call of :meth:`RollbackSession.advance` decided."""

    commands: tuple[Command, ...]
    """Carry these out in order, in one batch. May be empty."""
    advanced: int
    """New frames simulated."""
    stalled: bool
    """True if the prediction window is full and the frame did not move."""
    depth: int
    """Frames simulated again by this batch; 0 when no prediction was wrong."""
    cause: tuple[int, ...]
    """Seats whose input was assumed wrongly."""
    settled: int
    """Newest frame that is settled once the batch is done, or ``NULL_FRAME``."""


class RollbackSession:
    """Inputs, prediction and rollback of one episode.

    Args:
        seats: every seat of the match, in order.
        window: unconfirmed frames that may be simulated, at least 1.
    """

    def __init__(self, seats: Sequence[SeatConfig], *, window: int) -> None:
        if not 1 <= len(seats) <= MAX_SEATS:
            raise ConfigurationError("seats", len(seats), f"1 to {MAX_SEATS}")
        if window < 1:
            raise ConfigurationError("window", window, "at least 1 frame")
        self._seats = tuple(seats)
        self._queues = [InputQueue(neutral=s.neutral, predict=s.predict, delay=s.delay) for s in seats]
        self.window = window
        self.current_frame = 0
        """Next frame to be simulated for the first time."""
        self.frame_limit: int | None = None
        """Frames at or past it are never simulated; None without a limit."""

    @property
    def confirmed_frame(self) -> int:
        """Newest frame of which the inputs of all seats are here, or ``NULL_FRAME``."""
        return min(queue.last_added for queue in self._queues)

    @property
    def has_room(self) -> bool:
        """May the next frame be simulated: the window is not full, and the limit is not reached."""
        if self.frame_limit is not None and self.current_frame >= self.frame_limit:
            return False
        return self.current_frame - (self._confirmed_remote() + 1) < self.window

    def _confirmed_remote(self) -> int:
        """Newest frame confirmed by all other peers; local seats are read just before they are needed."""
        remote = [q.last_added for q, s in zip(self._queues, self._seats, strict=True) if not s.local]
        return min(remote) if remote else self.current_frame

    @property
    def confirmed_ahead(self) -> int:
        """Frames from the current one on of which every other peer's input is already here."""
        remote = [q.last_added for q, s in zip(self._queues, self._seats, strict=True) if not s.local]
        return max(0, min(remote) + 1 - self.current_frame) if remote else 0

    def add_local_input(self, seat: int, value: bytes) -> int:
        """Add the input read for the current frame of a local seat.

        Returns:
            The frame for which it counts (to be sent to the peers), or ``NULL_FRAME`` if this frame has one already.
        """
        if not self._seats[seat].local:
            raise LocalMisuseError(f"seat {seat} is not local")
        return self._queues[seat].add(self.current_frame, value)

    def add_remote_input(self, seat: int, frame: int, value: bytes) -> bool:
        """Add a peer's input for ``frame``; False if it is not the next one of that seat."""
        if self._seats[seat].local:
            raise LocalMisuseError(f"seat {seat} is local")
        return self._queues[seat].add(frame, value) == frame

    def last_input_frame(self, seat: int) -> int:
        """Newest confirmed frame of a seat, or ``NULL_FRAME``."""
        return self._queues[seat].last_added

    def confirmed_inputs(self, frame: int) -> tuple[bytes, ...]:
        """Real inputs of a frame, by seat. Raises :class:`LocalMisuseError` if one is missing or discarded."""
        return tuple(queue.confirmed(frame) for queue in self._queues)

    def confirmed_input(self, seat: int, frame: int) -> bytes:
        """Real input of one seat. Raises :class:`LocalMisuseError` if it is missing or discarded."""
        return self._queues[seat].confirmed(frame)

    def discard_before(self, frame: int) -> None:
        """Let go of inputs before ``frame``; call it once the settled frames before it are recorded."""
        for queue in self._queues:
            queue.discard_before(frame)

    def advance(self) -> Advance:
        """Correct what was assumed wrongly, then simulate the current frame if the window has room.

        The local inputs of the current frame must have been added.
        """
        commands: list[Command] = []
        depth, cause = self._correct(commands)
        advanced = 0
        room = self.has_room
        if room:
            self._simulate(self.current_frame, commands, again=False)
            self.current_frame += 1
            advanced = 1
        confirmed = self.confirmed_frame
        settled = min(confirmed, self.current_frame - 1)
        if commands:
            commands.append(Drop(settled + 1))
        at_limit = self.frame_limit is not None and self.current_frame >= self.frame_limit
        return Advance(
            commands=tuple(commands),
            advanced=advanced,
            stalled=not room and not at_limit,
            depth=depth,
            cause=cause,
            settled=settled,
        )

    def _correct(self, commands: list[Command]) -> tuple[int, tuple[int, ...]]:
        """Append the rollback that is due; return its depth and the seats that caused it."""
        wrong = {
            seat: queue.first_incorrect
            for seat, queue in enumerate(self._queues)
            if queue.first_incorrect != NULL_FRAME
        }
        if not wrong:
            return 0, ()
        first = min(wrong.values())
        for queue in self._queues:
            queue.reset_prediction()
        commands.append(Load(first))
        for frame in range(first, self.current_frame):
            self._simulate(frame, commands, again=True)
        return self.current_frame - first, tuple(seat for seat, frame in wrong.items() if frame == first)

    def _simulate(self, frame: int, commands: list[Command], *, again: bool) -> None:
        inputs = [queue.input_for(frame) for queue in self._queues]
        for seat, (_, predicted) in zip(self._seats, inputs, strict=True):
            if seat.local and predicted:
                raise LocalMisuseError(f"frame {frame} has no local input")
        values = tuple(value for value, _ in inputs)
        commands.append(Step(frame, values, tuple(predicted for _, predicted in inputs), again))
        commands.append(Save(frame + 1))
