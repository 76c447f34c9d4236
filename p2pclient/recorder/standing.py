"""Which records of a log still stand: frames that were not withdrawn, and the newest timing of each frame.

The log is append-only, so what counts no more stays in it, before the record that says so. Whoever reads it in order
has to know that beforehand; one earlier pass collects it here.
"""

from __future__ import annotations

from bisect import bisect_right

from p2pclient.common.frames import NULL_FRAME
from p2pclient.recorder.records import FrameRecorded, FramesWithdrawn, FrameTimed, LogRecord


class Standing:
    """What one pass over a log found out; grows with what was withdrawn or timed again, not with the log."""

    def __init__(self) -> None:
        self._withdrawals: dict[int, list[tuple[int, int]]] = {}
        self._newest_timed: dict[int, int] = {}
        self._timed_again: dict[tuple[int, int], int] = {}

    def take(self, offset: int, record: LogRecord) -> None:
        """Take in a record of the log. Offsets grow from call to call."""
        if isinstance(record, FramesWithdrawn):
            self._withdraw(offset, record)
        elif isinstance(record, FrameTimed):
            newest = self._newest_timed.get(record.episode, NULL_FRAME)
            if record.frame <= newest:
                self._timed_again[record.episode, record.frame] = offset
            else:
                self._newest_timed[record.episode] = record.frame

    def _withdraw(self, offset: int, record: FramesWithdrawn) -> None:
        """Keep ``(offset, first frame)`` per episode so that both grow along the list.

        An earlier withdrawal from the same or a later frame says nothing that this one does not say as well.
        """
        kept = self._withdrawals.setdefault(record.episode, [])
        while kept and kept[-1][1] >= record.first_frame:
            kept.pop()
        kept.append((offset, record.first_frame))

    def stands(self, offset: int, record: LogRecord) -> bool:
        """Return False for a frame that was withdrawn and for a timing that was measured anew, once all is taken in."""
        if isinstance(record, FrameRecorded):
            kept = self._withdrawals.get(record.episode)
            if kept is None:
                return True
            # The next withdrawal in the log reaches back furthest of all that follow.
            following = bisect_right(kept, (offset, record.frame))
            return following == len(kept) or record.frame < kept[following][1]
        if isinstance(record, FrameTimed):
            return self._timed_again.get((record.episode, record.frame), offset) == offset
        return True
