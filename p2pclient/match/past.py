"""What a program that was started again finds in its own recording of the match."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from p2pclient.common.frames import NULL_FRAME
from p2pclient.protocol.control import ClosedEpisode
from p2pclient.recorder.records import (
    EpisodeEnded,
    EpisodeStarted,
    FrameRecorded,
    FramesVerified,
    FramesWithdrawn,
    Record,
)
from p2pclient.rollback.chain import extend_chain, start_chain


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded frame."""

    inputs: tuple[bytes, ...]
    """By seat."""
    checksum: bytes
    """Of the state after it."""
    rewards: tuple[Any, ...]


@dataclass(slots=True)
class Past:
    """The newest episode of a recording, and what came before it."""

    episode: int = NULL_FRAME
    """Its number; ``NULL_FRAME`` if none was recorded."""
    first_checksum: bytes = b""
    rows: list[Row] = field(default_factory=list)
    """Frames from 0 on that were recorded and not withdrawn."""
    verified: int = NULL_FRAME
    """Newest frame of it that is marked as verified."""
    is_over: bool = False
    """Is its end recorded."""
    totals: list[tuple[float, ...]] = field(default_factory=list)
    """Total rewards by seat of each finished episode."""

    @classmethod
    def of(cls, records: Iterable[Record]) -> Past:
        """Return what the records of one run, in order, say."""
        past = cls()
        for record in records:
            past.take(record)
        return past

    def take(self, record: Record) -> None:
        """Take in the next record."""
        if isinstance(record, EpisodeStarted):
            self.episode, self.first_checksum = record.episode, record.first_checksum
            self.rows, self.verified, self.is_over = [], NULL_FRAME, False
        elif isinstance(record, FrameRecorded):
            self.rows.append(Row(record.inputs, record.checksum, record.rewards))
        elif isinstance(record, FramesWithdrawn) and record.episode == self.episode:
            del self.rows[record.first_frame :]
        elif isinstance(record, FramesVerified) and record.episode == self.episode:
            self.verified = max(self.verified, record.frame)
        elif isinstance(record, EpisodeEnded):
            self.is_over = True
            self.totals.append(record.totals)

    def is_confirmed_by(self, rows: Sequence[Row]) -> bool:
        """Does the episode begin with what is recorded here as verified."""
        verified = [row.checksum for row in self.rows[: self.verified + 1]]
        return [row.checksum for row in rows[: len(verified)]] == verified

    def chain_before(self, frame: int) -> bytes:
        """Return the value of the chain before a frame, up to which all rows are here."""
        value = start_chain(self.first_checksum)
        for number, row in enumerate(self.rows[:frame]):
            value = extend_chain(value, number, row.checksum)
        return value

    def close(self, over: ClosedEpisode) -> list[Record]:
        """The others say how the newest episode ended; returns what is to be recorded of that.

        Nothing, if not all of it is here, or something else.
        """
        self.is_over = True
        if len(self.rows) != over.last_frame + 1 or self.chain_before(len(self.rows)) != over.chain:
            return []
        self.totals.append(self.sums())
        ended = EpisodeEnded(over.episode, over.last_frame, self.totals[-1], over.reason)
        return [FramesVerified(over.episode, over.last_frame), ended]

    def sums(self) -> tuple[float, ...]:
        """Return the total rewards by seat of the rows."""
        return add_rewards((), [row.rewards for row in self.rows])


def add_rewards(totals: Sequence[float], rewards: Iterable[Sequence[Any]]) -> tuple[float, ...]:
    """Return ``totals`` by seat (empty for zeros) with ``rewards`` added, frame by frame, as they are in play."""
    sums = list(totals)
    for each in rewards:
        sums = sums or [0.0] * len(each)
        for seat, reward in enumerate(each):
            if reward is not None:
                sums[seat] += float(reward)
    return tuple(sums)
