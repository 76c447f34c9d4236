"""What a player keeps for its spectators: the newest frames, with what is needed to begin at any of them.

It is read off the records of the match, so that keeping it disturbs nothing; without spectators it is not kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.match.episode import EpisodePlay
from p2pclient.recorder.records import (
    EpisodeEnded,
    EpisodeStarted,
    FrameRecorded,
    FramesVerified,
    FramesWithdrawn,
    Record,
)
from p2pclient.rollback.chain import extend_chain, start_chain

KEPT_FRAMES = 1024
"""Frames that are kept, of all episodes together. A spectator that is further behind is given up."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is so after one frame: at the beginning of the next one."""

    chain: bytes
    """Value of the chain."""
    checksum: bytes
    """Of the state."""
    totals: tuple[float, ...]
    """Sums of the rewards by seat."""


@dataclass(slots=True)
class Chapter:
    """One episode, from some frame on."""

    number: int
    first: int
    """The first frame that is kept."""
    before: Standing
    """At the beginning of :attr:`first`."""
    verified: int = NULL_FRAME
    """Newest frame that all players have verified: what lies behind it is not told to anyone."""
    last_frame: int | None = None
    """Last frame of the episode, once all players have named it."""
    rows: deque[tuple[bytes, Standing]] = field(default_factory=deque)
    """Joined inputs of all seats by frame, and what is so after it."""

    @property
    def next(self) -> int:
        """The frame behind the newest one that is here."""
        return self.first + len(self.rows)

    def at(self, frame: int) -> Standing:
        """Return what is so at the beginning of ``frame``."""
        return self.before if frame == self.first else self.rows[frame - self.first - 1][1]

    def inputs(self, frame: int) -> bytes:
        """Return the joined inputs of ``frame``."""
        return self.rows[frame - self.first][0]

    def may_begin_at(self, frame: int) -> bool:
        """Is all that is needed to begin at ``frame`` here and verified."""
        return self.first <= frame <= min(self.verified + 1, self.next)

    def append(self, record: FrameRecorded) -> None:
        """Add the next frame."""
        if record.frame != self.next:
            raise LocalMisuseError(f"frame {record.frame} was recorded where {self.next} belongs")
        old = self.at(record.frame)
        totals = [
            total if reward is None else total + float(reward)
            for total, reward in zip(old.totals, record.rewards, strict=True)
        ]
        chain = extend_chain(old.chain, record.frame, record.checksum)
        self.rows.append((b"".join(record.inputs), Standing(chain, record.checksum, tuple(totals))))

    def drop_oldest(self) -> None:
        """Let go of the first frame."""
        _, self.before = self.rows.popleft()
        self.first += 1


class History:
    """The newest frames of a match.

    Args:
        seats: of the match.
        episode: the one that is under way; None if the next one has not begun.
    """

    def __init__(self, seats: int, episode: EpisodePlay | None) -> None:
        self._seats = seats
        self._chapters: dict[int, Chapter] = {}
        self._frames = 0
        if episode is not None:
            self._begin_midway(episode)

    def _begin_midway(self, episode: EpisodePlay) -> None:
        recorded = episode.recorded
        kept = episode.chain.checksums_since(recorded - 1)
        checksum = kept[-1][1] if recorded != NULL_FRAME else episode.first_checksum
        before = Standing(episode.chain.value, checksum, episode.totals)
        self._chapters = {episode.number: Chapter(episode.number, recorded + 1, before, verified=episode.verified)}
        self._frames = 0

    @property
    def newest(self) -> Chapter | None:
        """The newest episode; None before the first one that began since this is kept."""
        return next(reversed(self._chapters.values()), None)

    def chapter(self, episode: int) -> Chapter | None:
        """Return what is kept of an episode."""
        return self._chapters.get(episode)

    def take(self, records: Iterable[Record], episode: EpisodePlay | None) -> None:
        """Take in what the match hands to its recorder.

        Args:
            episode: the one at hand, after all of the records.
        """
        outdated = False
        for record in records:
            chapter = self._chapters.get(getattr(record, "episode", NULL_FRAME))
            if isinstance(record, EpisodeStarted):
                first = record.first_checksum
                before = Standing(start_chain(first), first, (0.0,) * self._seats)
                self._chapters[record.episode] = Chapter(record.episode, 0, before)
            elif chapter is None:
                continue
            elif isinstance(record, FrameRecorded):
                chapter.append(record)
                self._frames += 1
            elif isinstance(record, FramesVerified):
                chapter.verified = record.frame
            elif isinstance(record, EpisodeEnded):
                chapter.last_frame = record.last_frame
            elif isinstance(record, FramesWithdrawn):
                outdated = outdated or self._withdraw(chapter, record.first_frame)
        if outdated:
            assert episode is not None
            self._begin_midway(episode)
        self._trim()

    def _withdraw(self, chapter: Chapter, first_frame: int) -> bool:
        """Take the frames from ``first_frame`` on back; True if they reach before what is kept, and none is left."""
        if first_frame < chapter.first:
            del self._chapters[chapter.number]
            return True
        while chapter.next > first_frame:
            chapter.rows.pop()
            self._frames -= 1
        return False

    def _trim(self) -> None:
        while self._frames > KEPT_FRAMES:
            chapter = next(iter(self._chapters.values()))
            if chapter.rows:
                chapter.drop_oldest()
                self._frames -= 1
            else:
                del self._chapters[chapter.number]
