"""Which frames to load, step and save: the session of one episode.

The rules (GGPO's, as GGRS states them, with one batch instead of callbacks):

1. Snapshot F is the state at the beginning of frame F. Snapshot 0 exists before anything is stepped.
2. When a real input differs from the one that was assumed, the newest snapshot at or before the first such frame is
   loaded and everything up to now is simulated again, in the same batch as the new frame.
3. At most ``window`` frames are simulated beyond the newest frame of which all inputs are here. When the window is
   full, the frame does not move: a stall. A pending correction still runs.
4. A frame is settled when all its inputs are here and it was simulated with them. Settled frames never change.
5. Snapshots lie up to ``spacing`` frames apart, and never further than the window is wide. While frames are simulated
   again, the first one that is not settled is saved too: the next correction begins there at the earliest. A snapshot
   behind a loaded one is stale, and counts as none until it is saved again.

**Lockstep** is a window of 0: nothing is ever assumed. The local input of a frame is read and sent before the frame can
run, and no snapshot is taken, unless :meth:`RollbackSession.advance` is told to keep some: an environment that cannot
be saved can still be played so.

One batch is out at a time, with the commands of one or more calls of :meth:`RollbackSession.advance` in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pclient.common.errors import ConfigurationError, LocalMisuseError
from p2pclient.common.frames import MAX_SEATS, NULL_FRAME
from p2pclient.rollback.commands import Advance as Advance  # these six are part of what a session says
from p2pclient.rollback.commands import Command as Command
from p2pclient.rollback.commands import Drop as Drop
from p2pclient.rollback.commands import Load as Load
from p2pclient.rollback.commands import Save as Save
from p2pclient.rollback.commands import Step as Step
from p2pclient.rollback.input_queue import InputQueue, LocalQueues
from p2pclient.rollback.prediction import PREDICT as PREDICT  # part of what a Step says
from p2pclient.rollback.prediction import Predictor, repeat_last

MAX_DELAY = 60
"""Largest input delay in frames."""

_NEVER = 1 << 60
"""Later than every frame: the newest input of seats that wait for nobody."""


@dataclass(frozen=True, slots=True)
class SeatConfig:
    """One seat as the session sees it."""

    neutral: bytes
    """Seat input when nothing is pressed, flags included."""
    predict: Predictor | None
    """How a missing input is assumed; None: by the environment's host, see ``PREDICT``."""
    local: bool
    delay: int = 0
    """Input delay in frames; of a remote seat it is 0 here, since its inputs arrive by the frame they count for."""
    fill: Predictor = repeat_last
    """What stands in the frames that a raised delay opens. Where a press acts once, repeating it would act again."""
    known: Sequence[bytes] = ()
    """Of a session that begins in mid-episode: the inputs from the frame before its first one on."""
    cut: int | None = None
    """Likewise: the last frame of a seat that is gone, see :meth:`RollbackSession.disconnect`."""
    substitute: bool = False
    """Has such a seat a substitute."""


class RollbackSession:
    """Inputs, prediction and rollback of one episode.

    Args:
        seats: every seat of the match, in order.
        window: unconfirmed frames that may be simulated; 0 is lockstep.
        first_frame: where it begins; of all frames before it, everything is settled. The host stands there, and has
            a snapshot of it.
    """

    def __init__(self, seats: Sequence[SeatConfig], *, window: int, first_frame: int = 0) -> None:
        if not 1 <= len(seats) <= MAX_SEATS:
            raise ConfigurationError("seats", len(seats), f"1 to {MAX_SEATS}")
        for seat in seats:
            if not seat.neutral:
                raise ConfigurationError("neutral input", seat.neutral, "at least the byte of the flags")
            _check_delay(seat.delay, most=MAX_DELAY if seat.local else 0)
        self._queues = [InputQueue(neutral=s.neutral, predict=s.predict, delay=s.delay, fill=s.fill) for s in seats]
        for queue, seat in zip(self._queues, seats, strict=True):
            if first_frame or seat.known or seat.cut is not None:
                queue.begin_at(first_frame, seat.known, cut=seat.cut, local=seat.local, substitute=seat.substitute)
        self._is_local = tuple(seat.local for seat in seats)
        self._local_by_seat = LocalQueues((n, queue) for n, queue in enumerate(self._queues) if seats[n].local)
        self._local = tuple(self._local_by_seat.values())
        self._remote = tuple(queue for queue, seat in zip(self._queues, seats, strict=True) if not seat.local)
        self._by_host = tuple(q for q, seat in zip(self._queues, seats, strict=True) if seat.predict is None)
        self.window = window
        self.spacing = 1
        self.current_frame = first_frame
        """Next frame to be simulated for the first time."""
        self.frame_limit: int | None = None
        """Frames at or past it are never simulated; None without a limit."""
        self._saved = [first_frame]  # frames of the snapshots that are kept and not stale, in order
        self._settled = first_frame - 1
        # Of all queues, looked up once after they changed and not at every question:
        self._changed = True
        self._newest_remote = NULL_FRAME
        self._newest_of_all = NULL_FRAME
        self._first_wrong = NULL_FRAME

    # -- how far it may run -------------------------------------------------------------------------------------

    @property
    def window(self) -> int:
        """Unconfirmed frames that may be simulated, 0 or more. What is beyond a narrower one waits until it fits."""
        return self._window

    @window.setter
    def window(self, frames: int) -> None:
        if frames < 0:
            raise ConfigurationError("window", frames, "0 frames or more")
        self._window = frames

    @property
    def spacing(self) -> int:
        """Frames between snapshots, 1 or more; from the window's width on, hardly any but the one that is needed."""
        return self._spacing

    @spacing.setter
    def spacing(self, frames: int) -> None:
        if frames < 1:
            raise ConfigurationError("spacing", frames, "1 frame or more")
        self._spacing = frames

    @property
    def confirmed_frame(self) -> int:
        """Newest frame of which the inputs of all seats are here, or ``NULL_FRAME``.

        When nobody is left to wait for, the current frame.
        """
        if self._changed:
            self._look()
        return self._newest_of_all if self._newest_of_all < _NEVER else self.current_frame

    @property
    def confirmed_ahead(self) -> int:
        """Frames from the current one on of which every other peer's input is here; 0 when there are no others."""
        if self._changed:
            self._look()
        return max(0, self._newest_remote + 1 - self.current_frame) if self._newest_remote < _NEVER else 0

    @property
    def has_room(self) -> bool:
        """May the next frame be simulated: the window is not full, and the limit is not reached."""
        return self._has_room()

    def _has_room(self) -> bool:
        if self._changed:
            self._look()
        if self.frame_limit is not None and self.current_frame >= self.frame_limit:
            return False
        # Local seats do not count: they are read just before they are needed.
        return self.current_frame - (self._newest_remote + 1) < self._window

    def _look(self) -> None:
        newest, wrong = _NEVER, _NEVER
        for queue in self._remote:
            if queue.last_added < newest and queue.cut is None:
                newest = queue.last_added
            if NULL_FRAME != queue.first_incorrect < wrong:
                wrong = queue.first_incorrect
        self._newest_remote = newest
        for queue in self._local:
            if queue.last_added < newest:
                newest = queue.last_added
        self._newest_of_all = newest
        self._first_wrong = wrong if wrong < _NEVER else NULL_FRAME
        self._changed = False

    # -- inputs -------------------------------------------------------------------------------------------------

    def seats_to_read(self) -> tuple[int, ...]:
        """Local seats whose input for the current frame is to be read now; each once per frame.

        None while the window is full. In lockstep the input is read before the frame can run, since the others wait
        for it. A seat whose delay was lowered by n frames is left out for n frames.
        """
        frame = self.current_frame
        if self._window:
            if not self._has_room():
                return ()
        elif self.frame_limit is not None and frame >= self.frame_limit:
            return ()
        seats = []
        for seat, queue in self._local_by_seat.items():
            if queue.wants(frame):
                seats.append(seat)
        return tuple(seats)

    def add_local_input(self, seat: int, value: bytes) -> int:
        """Add the input read for the current frame of a local seat.

        Returns:
            The frame for which it counts (to be sent to the peers), or ``NULL_FRAME`` if this frame takes none, or no
            further one.
        """
        self._changed = True
        return self._local_by_seat[seat].add(self.current_frame, value)

    def delay(self, seat: int) -> int:
        """Input delay of a local seat, in frames."""
        return self._local_by_seat[seat].delay

    def set_delay(self, seat: int, frames: int) -> int:
        """Change the input delay of a local seat, from its next sample on.

        Raising it fills the frames that open, by ``SeatConfig.fill``; lowering it leaves out the next samples. Frames
        have neither gaps nor two inputs. Call it before :meth:`seats_to_read`, which may say more afterwards, and send
        the peers the inputs up to what :meth:`last_input_frame` then says.

        Returns:
            The number of frames filled, or of samples that will be left out, the latter negative.
        """
        queue = self._local_by_seat[seat]
        _check_delay(frames, most=MAX_DELAY)
        self._changed = True
        return queue.set_delay(frames)

    @property
    def discarded(self) -> int:
        """Samples left out so far because a delay was lowered."""
        return sum([queue.left_out for queue in self._local])

    def add_remote_input(self, seat: int, frame: int, value: bytes) -> bool:
        """Add a peer's input for ``frame``; False if it is not the next one of that seat, or the seat is gone."""
        if self._is_local[seat]:
            raise LocalMisuseError(f"seat {seat} is local")
        self._changed = True
        return self._queues[seat].add(frame, value) != NULL_FRAME

    def resolve(self, frame: int, used: Sequence[bytes | None]) -> None:
        """Take in what the host assumed in its newest simulation of ``frame`` where it was told to ``PREDICT``.

        Call it with each reply, before the next :meth:`advance`. Until then a real input for the frame is held back;
        if the host never says, the frame is simulated again.

        Args:
            frame: the frame.
            used: payload by seat, without the seat's flags, as the host knows it; None where nothing was predicted.
        """
        self._changed = True
        for queue, payload in zip(self._queues, used, strict=True):
            if payload is not None:
                queue.resolve(frame, payload)

    def last_input_frame(self, seat: int) -> int:
        """Newest confirmed frame of a seat, or ``NULL_FRAME``; of one that is gone, its last frame."""
        return self._queues[seat].last_added

    def confirmed_inputs(self, frame: int) -> tuple[bytes, ...]:
        """Real inputs of a frame, by seat. Raises :class:`LocalMisuseError` if one is missing or discarded."""
        inputs = []  # not in a comprehension: before Python 3.12 that is one more function to make and to call
        for queue in self._queues:
            inputs.append(queue.confirmed(frame))
        return tuple(inputs)

    def confirmed_input(self, seat: int, frame: int) -> bytes:
        """Real input of one seat. Raises :class:`LocalMisuseError` if it is missing or discarded."""
        return self._queues[seat].confirmed(frame)

    def local_inputs(self, first: int) -> list[bytes]:
        """Return the joined confirmed inputs of the local seats by frame, from ``first`` on as far as all have one."""
        newest = _NEVER if self._local else NULL_FRAME
        for queue in self._local:
            if queue.last_added < newest:
                newest = queue.last_added
        joined = []
        for frame in range(first, newest + 1):
            joined.append(b"".join([queue.confirmed(frame) for queue in self._local]))
        return joined

    def discard_before(self, frame: int) -> None:
        """Let go of inputs before ``frame``; call it once the settled frames before it are recorded.

        Those from the oldest kept snapshot on stay: simulating again from there needs them.
        """
        if self._saved and self._saved[0] < frame:
            frame = self._saved[0]
        for queue in self._queues:
            queue.discard_before(frame)

    def disconnect(self, seat: int, *, after: int, substitute: bool = False) -> None:
        """A remote seat is gone: its input behind frame ``after`` is the neutral one, confirmed, or a ``substitute``'s,
        which the host decides and :meth:`resolve` takes in. What was taken for later frames is replaced, and corrected
        where it was simulated; what still comes is refused.

        Raises:
            LocalMisuseError: the seat is unknown, local or already gone; inputs up to ``after`` are missing; or frames
                behind it are settled. Nothing has changed.
        """
        if not 0 <= seat < len(self._queues) or self._is_local[seat]:
            raise LocalMisuseError(f"seat {seat} is not remote")
        queue = self._queues[seat]
        if queue.cut is not None:
            raise LocalMisuseError(f"seat {seat} is already gone, after frame {queue.cut}")
        if after < self._settled:
            raise LocalMisuseError(f"seat {seat} cannot be gone after frame {after}: {self._settled} is settled")
        queue.disconnect(after, simulated=self.current_frame, substitute=substitute)
        self._changed = True

    @property
    def snapshots(self) -> tuple[int, ...]:
        """Frames whose snapshots the host keeps once it has carried out all commands, in order; none is stale."""
        return tuple(self._saved)

    def is_disconnected(self, seat: int, frame: int) -> bool:
        """Does the neutral input stand for a seat in ``frame`` because it is gone."""
        cut = self._queues[seat].cut
        return cut is not None and frame > cut

    # -- decisions ----------------------------------------------------------------------------------------------

    def advance(self, *, keep_from: int | None = None) -> Advance:
        """Correct what was assumed wrongly, then simulate the current frame if the window has room.

        The local inputs of the current frame must have been added.

        Args:
            keep_from: keep the snapshots that simulating again from this frame or a later one needs, see
                :meth:`rewind`; those that corrections need are kept in any case.
        """
        commands: list[Command] = []
        for queue in self._by_host:
            queue.release()
            self._changed = True
        room = self._has_room()
        if room:
            for queue in self._local:
                queue.leave(self.current_frame)
        depth, resimulated = 0, 0
        cause: tuple[int, ...] = ()
        if self._first_wrong != NULL_FRAME:
            depth, cause, resimulated = self._correct(commands)
        if room:
            self._simulate_next(commands, saving=self._window > 0 or keep_from is not None)
        settled = min(self._newest_of_all, self.current_frame - 1)
        self._settled = settled
        if commands:
            self._drop(commands, keep_from)
        return Advance(
            commands=tuple(commands),
            advanced=int(room),
            stalled=not room and (self.frame_limit is None or self.current_frame < self.frame_limit),
            depth=depth,
            cause=cause,
            settled=settled,
            resimulated=resimulated,
        )

    def rewind(self, frame: int) -> tuple[Command, ...]:
        """Simulate again from ``frame`` up to now, although nothing is known to be wrong: after a desync.

        Returns:
            Commands that load the newest snapshot at or before the frame and go on from there, with the confirmed
            inputs and with predictions. A correction that was due is made with it.

        Raises:
            LocalMisuseError: the frame was not simulated yet, or no snapshot for it is kept.
        """
        if not 0 <= frame < self.current_frame:
            raise LocalMisuseError(f"frame {frame} is not before the current frame {self.current_frame}")
        if not self._saved or self._saved[0] > frame:
            raise LocalMisuseError(f"no snapshot for frame {frame} is kept; kept: {self._saved}")
        self._look()
        first = frame if self._first_wrong == NULL_FRAME else min(frame, self._first_wrong)
        commands: list[Command] = []
        self._simulate_again(first, commands)
        return tuple(commands)

    def revisit(self, frame: int) -> tuple[Command, ...]:
        """Bring the host to the beginning of a frame, all before it confirmed, to look at its state; save nothing.

        The next commands that it is given must be those of :meth:`rewind`, or none.

        Raises:
            LocalMisuseError: no snapshot to start from is kept, or an input is missing.
        """
        start = max((saved for saved in self._saved if saved <= frame), default=NULL_FRAME)
        if start == NULL_FRAME:
            raise LocalMisuseError(f"no snapshot for frame {frame} is kept; kept: {self._saved}")
        real = (False,) * len(self._queues)
        return (Load(start), *[Step(f, self.confirmed_inputs(f), real, True) for f in range(start, frame)])

    def step_back(self, frame: int) -> tuple[Command, ...]:
        """Go back to the beginning of a frame that is not confirmed; what was simulated from there on never was.

        Returns:
            Commands for that, with which a correction that was due is made.

        Raises:
            LocalMisuseError: the frame is beyond the current one, or before one that is settled.
        """
        if not self._settled < frame <= self.current_frame:
            raise LocalMisuseError(f"frame {frame} is beyond {self.current_frame}, or before what is settled")
        for queue in self._queues:
            queue.forget_assumed()
        commands, self.current_frame = list[Command](), frame
        self._look()
        self._simulate_again(self._settled + 1, commands)
        return tuple(commands)

    def restart(self, saved: Sequence[int]) -> None:
        """Another host has taken over: it stands at the last of these frames, and keeps snapshots of them and no other.

        What was simulated from there on counts as never simulated; its inputs, read and received, stay.

        Raises:
            LocalMisuseError: it stands behind the current frame, or behind one whose inputs are not all here.
        """
        at = saved[-1]
        if at > self.current_frame or at > self.confirmed_frame + 1:
            raise LocalMisuseError(f"frame {at} is beyond {self.current_frame}, or what is confirmed")
        self._saved = list(saved)
        self.current_frame, self._settled = at, at - 1
        for queue in self._queues:
            queue.forget_assumed()
        self._changed = True

    def _correct(self, commands: list[Command]) -> tuple[int, tuple[int, ...], int]:
        """Append the rollback that is due; return its depth, the seats that caused it, and the frames it simulates."""
        first = self._first_wrong
        cause = tuple([seat for seat, queue in enumerate(self._queues) if queue.first_incorrect == first])
        return self.current_frame - first, cause, self._simulate_again(first, commands)

    def _simulate_again(self, first: int, commands: list[Command]) -> int:
        """Append what simulates ``first`` and all after it again; return the number of frames."""
        for queue in self._queues:
            queue.reset_prediction()
        self._first_wrong = NULL_FRAME
        saved = self._saved
        while saved[-1] > first:
            saved.pop()
        start = saved[-1]
        commands.append(Load(start))
        spacing = self._widest_spacing()
        unsettled = min(self._newest_of_all, self.current_frame - 1) + 1
        for frame in range(start, self.current_frame):
            self._step(frame, commands, again=True)
            if frame + 1 - saved[-1] >= spacing or frame + 1 == unsettled:
                commands.append(Save(frame + 1))
                saved.append(frame + 1)
        return self.current_frame - start

    def _simulate_next(self, commands: list[Command], *, saving: bool) -> None:
        frame, saved = self.current_frame, self._saved
        if saving and not saved:  # out of lockstep
            commands.append(Save(frame))
            saved.append(frame)
        self._step(frame, commands, again=False)
        frame += 1
        self.current_frame = frame
        if saving and frame - saved[-1] >= self._widest_spacing():
            commands.append(Save(frame))
            saved.append(frame)

    def _widest_spacing(self) -> int:
        """Spacing now. Never beyond the window, or a correction could cost without bound."""
        return (self._spacing if self._spacing < self._window else self._window) or 1

    def _step(self, frame: int, commands: list[Command], *, again: bool) -> None:
        values, predicted = [], []
        for queue in self._queues:
            value, is_assumed = queue.input_for(frame)
            values.append(value)
            predicted.append(is_assumed)
        commands.append(Step(frame, tuple(values), tuple(predicted), again))

    def _drop(self, commands: list[Command], keep_from: int | None) -> None:
        """Append the drop of the snapshots that no load needs any more, if there are such."""
        saved, needed = self._saved, self._settled + 1
        if keep_from is None and self._window == 0 and needed == self.current_frame:
            count = len(saved)
        else:
            oldest = needed if keep_from is None else min(keep_from, needed)
            count = 0
            while count + 1 < len(saved) and saved[count + 1] <= oldest:
                count += 1
        if count:
            commands.append(Drop(saved[count] if count < len(saved) else saved[-1] + 1))
            del saved[:count]


def _check_delay(frames: int, *, most: int) -> None:
    if not 0 <= frames <= most:
        raise ConfigurationError("input delay", frames, f"0 to {most} frames")
