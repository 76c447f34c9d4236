"""The inputs of one seat by frame: confirmed ones, and what was assumed where they were missing.

Frames are contiguous from 0. Confirmed values come in order; a frame that was simulated with an assumed value is
remembered until its real value arrives, and the earliest that differs is :attr:`InputQueue.first_incorrect`.
"""

from __future__ import annotations

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.rollback.prediction import Predictor


class InputQueue:
    """Inputs of one seat in one episode.

    Args:
        neutral: the agreed input of the first frames under an input delay, and of frames before any is known.
        predict: what to assume, from the newest confirmed input.
        delay: frames between reading an input and simulating it; the first ``delay`` frames are neutral.
    """

    def __init__(self, *, neutral: bytes, predict: Predictor, delay: int = 0) -> None:
        self._neutral = neutral
        self._predict = predict
        self._delay = delay
        self._base = 0  # frame of self._values[0]; earlier ones were discarded
        self._values: list[bytes] = []
        self._assumed: dict[int, bytes] = {}
        self.first_incorrect: int = NULL_FRAME
        """Earliest frame simulated with a wrong assumption, until :meth:`reset_prediction`."""

    @property
    def last_added(self) -> int:
        """Newest confirmed frame, or ``NULL_FRAME``."""
        return self._base + len(self._values) - 1

    @property
    def oldest_kept(self) -> int:
        """Oldest frame whose input can still be read."""
        return self._base

    def add(self, frame: int, value: bytes) -> int:
        """Add the input that was read at ``frame``; it counts for ``frame + delay``.

        Returns:
            The frame for which it counts, or ``NULL_FRAME`` if it is not the next one and was not accepted.
        """
        target = frame + self._delay
        if frame == 0 and self.last_added == NULL_FRAME:
            for early in range(self._delay):
                self._append(early, self._neutral)
        if target != self.last_added + 1:
            return NULL_FRAME
        self._append(target, value)
        return target

    def _append(self, frame: int, value: bytes) -> None:
        self._values.append(value)
        assumed = self._assumed.pop(frame, value)
        if assumed != value and self.first_incorrect == NULL_FRAME:
            self.first_incorrect = frame

    def confirmed(self, frame: int) -> bytes:
        """Return the real input of a frame, never a guess.

        Raises:
            LocalMisuseError: it has not arrived, or was discarded.
        """
        if not self._base <= frame <= self.last_added:
            raise LocalMisuseError(f"no confirmed input for frame {frame}: kept are {self._base} to {self.last_added}")
        return self._values[frame - self._base]

    def input_for(self, frame: int) -> tuple[bytes, bool]:
        """Return ``(value, predicted)`` for simulating ``frame``, and remember what was assumed.

        Raises:
            LocalMisuseError: the frame was discarded.
        """
        if frame < self._base:
            raise LocalMisuseError(f"frame {frame} was discarded; the oldest kept is {self._base}")
        if frame <= self.last_added:
            return self._values[frame - self._base], False
        value = self._predict(self._values[-1]) if self._values else self._neutral
        self._assumed[frame] = value
        return value, True

    def reset_prediction(self) -> None:
        """Forget what was found wrong; call it when the correction is on its way."""
        self.first_incorrect = NULL_FRAME

    def discard_before(self, frame: int) -> None:
        """Let go of inputs before ``frame``. The newest one stays: predictions start from it."""
        count = min(frame - self._base, len(self._values) - 1)
        if count > 0:
            del self._values[:count]
            self._base += count
