"""What is kept of an episode so that a new environment host can be brought to where the lost one stood.

All recorded inputs and checksums, a dozen bytes a frame for two seats, and the newest portable state that was fetched:
with the state few frames have to be simulated again, without it all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from p2pclient.common.frames import NULL_FRAME

_CHECKSUM_BYTES = 8


class Journal:
    """The recorded frames of one episode.

    Args:
        widths: bytes of each seat's input, by seat.
        first: checksum of snapshot 0.
    """

    def __init__(self, widths: Sequence[int], *, first: bytes) -> None:
        self._widths = tuple(widths)
        self._row = sum(widths) + _CHECKSUM_BYTES
        self._first = first
        self._rows = bytearray()
        self.state: Mapping[str, Any] | None = None
        """``{"frame": int, "data": plain data}`` after frames that all sides have verified; None if there is none."""

    @property
    def newest(self) -> int:
        """The newest frame that is kept, or ``NULL_FRAME``."""
        return len(self._rows) // self._row - 1

    def append(self, inputs: Sequence[bytes], checksum: bytes) -> None:
        """Add the next frame: its inputs by seat, and the checksum after it."""
        row = b"".join(inputs) + checksum
        assert len(row) == self._row
        self._rows += row

    def withdraw(self, after: int) -> None:
        """Forget the frames after ``after``."""
        del self._rows[(after + 1) * self._row :]

    def payloads(self, frame: int) -> list[bytes]:
        """Return the inputs of ``frame`` by seat, without the seats' flags."""
        at = frame * self._row
        payloads = []
        for width in self._widths:
            payloads.append(bytes(self._rows[at + 1 : at + width]))
            at += width
        return payloads

    def rows(self, first: int, until: int) -> Iterator[tuple[int, bytes]]:
        """Yield ``(frame, joined inputs of all seats)`` of the frames from ``first`` up to the one before ``until``."""
        for frame in range(first, until):
            yield frame, bytes(self._rows[frame * self._row : (frame + 1) * self._row - _CHECKSUM_BYTES])

    def inputs(self, frame: int, seats: Sequence[int]) -> bytes:
        """Return the joined inputs of some seats."""
        at, joined = frame * self._row, b""
        for seat, width in enumerate(self._widths):
            if seat in seats:
                joined += self._rows[at : at + width]
            at += width
        return joined

    def checksum(self, frame: int) -> bytes:
        """Return the checksum of the state after ``frame``; of snapshot 0 for ``NULL_FRAME``."""
        if frame == NULL_FRAME:
            return self._first
        return bytes(self._rows[(frame + 1) * self._row - _CHECKSUM_BYTES : (frame + 1) * self._row])
