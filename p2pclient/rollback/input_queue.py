"""The inputs of one seat by frame: confirmed ones, and what was assumed where they were missing.

Frames are contiguous from 0. Confirmed values come in order; a frame that was simulated with an assumed value is
remembered until its real value arrives, and the earliest that differs is :attr:`InputQueue.first_incorrect`.

Where the environment's host predicts, what it assumed is not known before its reply. A real value that arrives earlier
is held back, and everything behind it, so that no frame counts as confirmed while nobody can say whether it was right.

A seat that is gone has the neutral input from some frame on, or a **substitute**: then the host decides its input in
each simulation of a frame, by the state, and says what it was. That is confirmed at once: all sides come to the same.

**Input delay.** The input read at frame f counts for frame f + delay. The queue never has a gap and never takes two
samples for one frame: a raised delay opens frames, which are filled; a lowered one leaves out the next samples.
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import NULL_FRAME, unpack_seat_input
from p2pclient.rollback.prediction import PREDICT, SUBSTITUTE, Predictor, repeat_last


class InputQueue:
    """Inputs of one seat in one episode.

    Args:
        neutral: the agreed input of the first frames under an input delay, of frames before any is known, and of all
            frames after a disconnect.
        predict: what to assume, from the newest confirmed input; None leaves it to the environment's host.
        delay: frames between reading an input and simulating it; the first ``delay`` frames are neutral.
        fill: what stands in the frames that a raised delay opens, from the input before.
    """

    def __init__(
        self, *, neutral: bytes, predict: Predictor | None, delay: int = 0, fill: Predictor = repeat_last
    ) -> None:
        self._neutral = neutral
        self._predict = predict
        self._fill = fill
        self._base = 0  # frame of self._values[0]; earlier ones were discarded
        self._values = [neutral] * delay
        self._assumed: dict[int, bytes] = {}  # whole inputs; payloads without flags where the host predicts
        self._held: list[bytes] = []
        self._decided: dict[int, bytes] | None = None
        """What the substitute did in the newest simulation of each frame; None if the seat has none."""
        self.delay = delay
        """Read only; see :meth:`set_delay`."""
        self.last_added = delay - 1
        """Newest confirmed frame, or ``NULL_FRAME``. After a disconnect the newest one that was not filled."""
        self.next_read = 0
        """The frame whose sample is taken next."""
        self.left_out = 0
        """Frames without a sample of their own because the delay was lowered."""
        self.cut: int | None = None
        """Newest frame that counts after a disconnect; None as long as the seat is connected."""
        self.first_incorrect: int = NULL_FRAME
        """Earliest frame simulated with a wrong assumption, until :meth:`reset_prediction`."""

    @property
    def oldest_kept(self) -> int:
        """Oldest frame whose input can still be read."""
        return self._base

    def begin_at(
        self, frame: int, known: Sequence[bytes], *, cut: int | None, local: bool, substitute: bool = False
    ) -> None:
        """Begin in mid-episode, before anything is added.

        Args:
            frame: that is simulated next.
            known: inputs from the frame before it on (from 0 on, if it is 0), without a gap; of a local seat, nothing
                is pressed in the frames behind them for which an input delay leaves no sample.
            cut: last frame that counts, if the seat is gone; ``known`` then ends there at the latest.
            substitute: the host decides the inputs behind it.
        """
        self._base = max(0, frame - 1)
        self._values = list(known)
        if cut is not None and cut < self._base:
            self._base, self._values = cut + 1, []
        self.last_added = self._base + len(self._values) - 1
        self.next_read = frame
        self.cut = cut
        self._decided = {} if substitute else None
        while local and self.last_added < frame + self.delay - 1:
            self.last_added += 1
            self._values.append(self._neutral)

    # -- samples and arrivals -----------------------------------------------------------------------------------

    def add(self, frame: int, value: bytes) -> int:
        """Add the input that was read at ``frame``; it counts for ``frame + delay``.

        Returns:
            The frame for which it counts, or ``NULL_FRAME`` if it is not the next one and was not accepted.
        """
        target = frame + self.delay
        if target != self.last_added + len(self._held) + 1 or self.cut is not None:
            return NULL_FRAME
        self.next_read = frame + 1
        if self._predict is None and (self._held or self._assumed.get(target) == PREDICT):
            self._held.append(value)
        else:
            self._append(target, value)
        return target

    def _append(self, frame: int, value: bytes) -> None:
        self._values.append(value)
        self.last_added = frame
        assumed = self._assumed.pop(frame, None)
        if assumed is not None and not self._is_right(assumed, value):
            self._mark(frame)

    def _is_right(self, assumed: bytes, value: bytes) -> bool:
        if self._predict is not None:
            return assumed == value
        # The host knows no flags, and they change nothing in its simulation.
        return assumed != PREDICT and assumed == unpack_seat_input(value)[0]

    def _mark(self, frame: int) -> None:
        if self.first_incorrect == NULL_FRAME or frame < self.first_incorrect:
            self.first_incorrect = frame

    def wants(self, frame: int) -> bool:
        """Is a sample to be read at ``frame``: none was yet, and a lowered delay does not leave it out."""
        return self.last_added < frame + self.delay

    def leave(self, frame: int) -> None:
        """Go on from ``frame``: the next sample belongs to a later one.

        Raises:
            LocalMisuseError: it has no sample, and was not left out either.
        """
        if self.next_read > frame:
            return
        if self.last_added < frame + self.delay:
            raise LocalMisuseError(f"frame {frame} has no local input")
        self.left_out += 1
        self.next_read = frame + 1

    def set_delay(self, delay: int) -> int:
        """Change the input delay from the next sample on.

        Returns:
            Frames that were filled to raise it (fewer than it was raised by while samples were still to be left out);
            to lower it, the number of samples that will be left out, negative.
        """
        lowered = self.delay - delay
        self.delay = delay
        if lowered > 0:
            return -lowered
        missing = max(0, self.next_read - 1 + delay - self.last_added)
        for _ in range(missing):
            self._append(self.last_added + 1, self._fill(self._values[-1]) if self._values else self._neutral)
        return missing

    def disconnect(self, after: int, *, simulated: int, substitute: bool = False) -> None:
        """From the frame behind ``after`` on, every input is the neutral one, or what a substitute does.

        Args:
            after: newest frame whose input counts; ``NULL_FRAME`` for none.
            simulated: frames before it have been simulated: those whose input is replaced are corrected.
            substitute: the host decides the inputs behind it.

        Raises:
            LocalMisuseError: inputs up to ``after`` are missing, or those behind it are discarded. Nothing has changed.
        """
        if not self._base - 1 <= after <= self.last_added + len(self._held):
            raise LocalMisuseError(f"frame {after} cannot be the last of what was taken, {self._base} on")
        self.release()
        if substitute:
            self._decided = {}
            if simulated > after + 1:
                self._mark(after + 1)
        else:
            self._mark_not_neutral(after, simulated)
        self._assumed.clear()
        del self._values[after + 1 - self._base :]
        self.last_added = self.cut = after

    def _mark_not_neutral(self, after: int, simulated: int) -> None:
        for frame in range(after + 1, min(simulated, self.last_added + 1)):
            if self._values[frame - self._base] != self._neutral:
                self._mark(frame)
        for frame, assumed in self._assumed.items():
            if not self._is_right(assumed, self._neutral):
                self._mark(frame)

    # -- for the simulation -------------------------------------------------------------------------------------

    def confirmed(self, frame: int) -> bytes:
        """Return the real input of a frame, never a guess.

        Raises:
            LocalMisuseError: it has not arrived, or was discarded.
        """
        if self._base <= frame <= self.last_added:
            return self._values[frame - self._base]
        if self.cut is not None and frame > self.cut:
            if self._decided is None:
                return self._neutral
            if frame in self._decided:
                return self._decided[frame]
        raise LocalMisuseError(f"no confirmed input for frame {frame}: kept are {self._base} to {self.last_added}")

    def input_for(self, frame: int) -> tuple[bytes, bool]:
        """Return ``(value, predicted)`` for simulating ``frame``, and remember what was assumed.

        Raises:
            LocalMisuseError: the frame was discarded.
        """
        if frame <= self.last_added:
            if frame < self._base:
                raise LocalMisuseError(f"frame {frame} was discarded; the oldest kept is {self._base}")
            return self._values[frame - self._base], False
        if self.cut is not None:
            return self._neutral if self._decided is None else SUBSTITUTE, False
        predict = self._predict
        if predict is None:
            value = PREDICT
        elif self._values:
            value = predict(self._values[-1])
        else:
            value = self._neutral
        self._assumed[frame] = value
        return value, True

    def resolve(self, frame: int, used: bytes) -> None:
        """Take in what the host assumed in its newest simulation of ``frame``, or the substitute did, without flags.

        Raises:
            LocalMisuseError: it is empty.
        """
        if self._decided is not None and self.cut is not None and frame > self.cut:
            self._decided[frame] = self._neutral[:1] + used
            return
        if used == PREDICT:
            raise LocalMisuseError(f"the host did not say what it assumed for frame {frame}")
        if self._assumed.get(frame) != PREDICT:
            return  # simulated with its real input since, or filled
        self._assumed[frame] = used
        while self._held and self._assumed.get(self.last_added + 1) != PREDICT:
            self._append(self.last_added + 1, self._held.pop(0))

    def release(self) -> None:
        """Hold nothing back any more. Where the host has not said what it assumed, simulating again is always right."""
        for value in self._held:
            self._append(self.last_added + 1, value)
        self._held.clear()

    def forget_assumed(self) -> None:
        """No frame that is not confirmed counts as simulated any more: nothing was assumed, nothing is held back."""
        self.release()
        self._assumed.clear()
        self.first_incorrect = NULL_FRAME

    def reset_prediction(self) -> None:
        """Forget what was found wrong; call it when the correction is on its way."""
        self.first_incorrect = NULL_FRAME

    def discard_before(self, frame: int) -> None:
        """Let go of inputs before ``frame``. The newest one stays: predictions start from it."""
        if self._decided is not None:
            self._decided = {at: value for at, value in self._decided.items() if at >= frame}
        count = min(frame - self._base, len(self._values) - 1)
        if count > 0:
            del self._values[:count]
            self._base += count


class LocalQueues(dict[int, InputQueue]):
    """The queues of the local seats, by seat. Asking for another seat is a mistake of ours."""

    def __missing__(self, seat: int) -> InputQueue:
        raise LocalMisuseError(f"seat {seat} is not local")
