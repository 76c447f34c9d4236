"""One run read back: also a run that goes on, or whose process was killed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pclient.common.errors import RecordingError
from p2pclient.common.frames import MAX_SEATS, NULL_FRAME
from p2pclient.recorder.desync import DESYNC_EVENT
from p2pclient.recorder.encoding import decode_record
from p2pclient.recorder.log import LogReader
from p2pclient.recorder.manifest import LOG_NAME, read_manifest
from p2pclient.recorder.records import (
    EpisodeEnded,
    EpisodeStarted,
    EventRecorded,
    FrameRecorded,
    FramesVerified,
    FramesWithdrawn,
    LogRecord,
)
from p2pclient.recorder.standing import Standing

_MAX_DESYNCS = 1000
"""Events about desyncs that are kept in memory. A log may be hostile."""


@dataclass(slots=True)
class EpisodeSummary:
    """What a log says of one episode."""

    episode: int
    seed: int
    first_checksum: bytes
    recorded: int = 0
    """Frames recorded: 0 up to this, without a gap; those withdrawn are not counted."""
    withdrawn: int = 0
    """Frames that were recorded and count no more."""
    verified_frame: int = NULL_FRAME
    """Newest frame that every peer has agreed to; all before it are agreed to as well."""
    end: EpisodeEnded | None = None

    @property
    def verified(self) -> int:
        """Frames recorded and verified."""
        return min(self.recorded, self.verified_frame + 1)


class RunReader:
    """A run folder: manifest, episodes, frames and everything else that was recorded.

    The log is read through once when this is made, which counts and checks every record, and once more by each
    iterator. All of them see the log as long as it was at first. Kept in memory is one record, and what was withdrawn,
    timed again or said of desyncs.
    """

    def __init__(self, folder: Path, *, salvage: bool = False) -> None:
        """Open the run in ``folder``.

        Args:
            salvage: take what stands before damage instead of raising; ``damage`` says what was found then.

        Raises:
            RecordingError: the folder holds no run, or its log is damaged or contradicts itself.
        """
        self.folder = folder
        self.manifest: dict[str, Any] = read_manifest(folder)
        self.agents: tuple[Any, ...] = _read_agents(folder, self.manifest)
        self.seated: tuple[str, ...] = _read_seated(self.manifest, len(self.agents))
        """By seat, to whom it was given: a ``person``, a ``bot``, or a ``player`` of whom that is not known."""
        self.torn_bytes = 0
        """Bytes of a half-written last record that were cut off."""
        self.damage: str | None = None
        self.desyncs: list[EventRecorded] = []
        """What the log says of the desyncs that were reported; ``describe_desync`` makes sentences of it."""
        self._episodes: dict[int, EpisodeSummary] = {}
        self._standing = Standing()
        self._log_end: int | None = None
        self._salvage = salvage
        self._index()

    @property
    def log_path(self) -> Path:
        return self.folder / LOG_NAME

    @property
    def log_bytes(self) -> int:
        """Bytes of whole records."""
        return self._log_end or 0

    @property
    def was_finished(self) -> bool:
        """False for a run that goes on, or whose process was killed."""
        return self.manifest.get("status") == "finished"

    @property
    def episodes(self) -> tuple[EpisodeSummary, ...]:
        """In the order in which they were played."""
        return tuple(self._episodes.values())

    @property
    def recorded(self) -> int:
        return sum(episode.recorded for episode in self.episodes)

    @property
    def verified(self) -> int:
        return sum(episode.verified for episode in self.episodes)

    @property
    def withdrawn(self) -> int:
        """Frames that were recorded and count no more."""
        return sum(episode.withdrawn for episode in self.episodes)

    def is_verified(self, frame: FrameRecorded) -> bool:
        """True if every peer has agreed to ``frame``, which is one of this run that stands."""
        return frame.frame <= self._episodes[frame.episode].verified_frame

    def stands(self, offset: int, record: LogRecord) -> bool:
        """False if ``record`` is a frame that was withdrawn, or a timing of a frame that was timed again later.

        Args:
            offset: where :meth:`records_at` found it.
        """
        return self._standing.stands(offset, record)

    def records(self) -> Iterator[LogRecord]:
        """Yield every record in the order in which they were stored, also those that stand no more."""
        for _, record in self.records_at():
            yield record

    def records_at(self) -> Iterator[tuple[int, LogRecord]]:
        """Yield ``(offset in the log, record)``; the offset over ``log_bytes`` is the share done."""
        for offset, payload in LogReader(self.log_path, stop=self._log_end).payloads():
            yield offset, self._decode(offset, payload)

    def frames(self, *, verified: bool | None = None) -> Iterator[FrameRecorded]:
        """Yield the recorded frames that stand, in order: all, or only those that are (not) verified."""
        for offset, record in self.records_at():
            if not isinstance(record, FrameRecorded) or not self.stands(offset, record):
                continue
            if verified in (None, self.is_verified(record)):
                yield record

    def _decode(self, offset: int, payload: bytes) -> LogRecord:
        try:
            return decode_record(payload)
        except RecordingError as error:
            raise RecordingError(f"{self.log_path} is damaged at byte {offset}: {error}") from error

    def _index(self) -> None:
        log = LogReader(self.log_path)
        good = 0
        try:
            for offset, payload in log.payloads():
                record = self._decode(offset, payload)
                problem = self._take(record)
                if problem is not None:
                    raise RecordingError(f"{self.log_path} contradicts itself at byte {offset}: {problem}")
                self._standing.take(offset, record)
                good = log.end
        except RecordingError as error:
            if not self._salvage:
                raise
            self.damage = str(error)
        self._log_end, self.torn_bytes = good, log.torn_bytes

    def _take(self, record: LogRecord) -> str | None:
        """Count one record; return what is wrong with it, if anything."""
        if isinstance(record, EpisodeStarted):
            if self._episodes and record.episode <= next(reversed(self._episodes)):
                return f"episode {record.episode} starts again"
            self._episodes[record.episode] = EpisodeSummary(record.episode, record.seed, record.first_checksum)
        elif isinstance(record, FrameRecorded):
            return self._take_frame(record)
        elif isinstance(record, FramesWithdrawn):
            return self._take_withdrawal(record)
        elif isinstance(record, EventRecorded):
            if record.name == DESYNC_EVENT and len(self.desyncs) < _MAX_DESYNCS:
                self.desyncs.append(record)
        elif isinstance(record, FramesVerified | EpisodeEnded):
            episode = self._episodes.get(record.episode)
            if episode is None:
                return f"episode {record.episode} is spoken of before it started"
            if isinstance(record, EpisodeEnded):
                episode.end = record
            else:
                episode.verified_frame = max(episode.verified_frame, record.frame)
        return None

    def _take_frame(self, record: FrameRecorded) -> str | None:
        newest = next(reversed(self._episodes), None)
        if newest != record.episode:
            return f"a frame of episode {record.episode} is not in the current episode"
        episode = self._episodes[record.episode]
        if record.frame != episode.recorded:
            return f"frame {record.frame} of episode {record.episode} follows frame {episode.recorded - 1}"
        seats = len(self.agents)
        by_seat = [record.inputs, record.actions, record.rewards, record.terminations, record.truncations]
        by_seat += [record.infos, record.focus] + ([] if record.observations is None else [record.observations])
        if any(len(values) != seats for values in by_seat):
            return f"frame {record.frame} of episode {record.episode} is not of {seats} seats"
        episode.recorded += 1
        return None

    def _take_withdrawal(self, record: FramesWithdrawn) -> str | None:
        episode = self._episodes.get(record.episode)
        where = f"frames of episode {record.episode} from {record.first_frame} on are withdrawn"
        if episode is None or record.episode != next(reversed(self._episodes)) or episode.end is not None:
            return f"{where} while it was not played"
        if record.first_frame > episode.recorded:
            return f"{where}, but frame {episode.recorded} was not recorded"
        if record.first_frame <= episode.verified_frame:
            return f"{where}, but all had agreed up to frame {episode.verified_frame}"
        episode.withdrawn += episode.recorded - record.first_frame
        episode.recorded = record.first_frame
        return None


def _read_seated(manifest: dict[str, Any], seats: int) -> tuple[str, ...]:
    told = manifest.get("seats")
    each = [entry if isinstance(entry, dict) else {} for entry in (told if isinstance(told, list) else [])]
    known = ["player" if "bot" not in entry else "bot" if entry["bot"] else "person" for entry in each[:seats]]
    return (*known, *["player"] * (seats - len(known)))


def _read_agents(folder: Path, manifest: dict[str, Any]) -> tuple[Any, ...]:
    env = manifest.get("env")
    agents = env.get("agents") if isinstance(env, dict) else None
    if not isinstance(agents, list) or not 1 <= len(agents) <= MAX_SEATS or not all(map(_is_agent, agents)):
        raise RecordingError(f"the manifest in {folder} does not name the environment's agents; restore it from a copy")
    return tuple(agents)


def _is_agent(agent: Any) -> bool:
    return type(agent) in (int, str)


def said_of_withdrawn(run: RunReader) -> str:
    """Return, for a sentence, how many frames of a run were withdrawn, and why."""
    count = "1 frame was" if run.withdrawn == 1 else f"{run.withdrawn} frames were"
    came_back = run.manifest.get("earlier_processes") and not run.desyncs
    why = "when its player came back, and recorded again" if came_back else "after a desync"
    return f"{count} withdrawn {why}"
