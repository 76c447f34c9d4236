"""The truth about a match: a straight run of what was pressed, without network, prediction or rollback.

Everything that any side recorded is held against it, frame by frame: inputs, checksums, rewards, ends and totals. Two
sides that agree could both be wrong; this cannot be wrong together with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from p2pclient.common.seeds import derive_seed
from p2pclient.match.plan import ENDED_EARLY
from p2pclient.recorder.records import (
    EpisodeEnded,
    EpisodeStarted,
    EventRecorded,
    FrameRecorded,
    FramesVerified,
    Record,
)
from p2pclient.sim.environment import Corruption, SimulatedHost
from p2pclient.sim.scenario import Scenario


@dataclass(slots=True)
class SideRecording:
    """What one side handed to its recorder; frames that were withdrawn are not in it."""

    peer: int
    frames: list[FrameRecorded] = field(default_factory=list)
    verified: dict[int, int] = field(default_factory=dict)
    """Newest verified frame by episode."""
    starts: list[EpisodeStarted] = field(default_factory=list)
    ends: list[EpisodeEnded] = field(default_factory=list)

    withdrawn: int = 0
    """Frames that were recorded and taken back."""
    changes: Sequence[dict[str, Any]] = ()
    """Pauses and the like that it says were agreed on."""
    problems: list[str] = field(default_factory=list)
    is_partial: bool = False
    """Was an earlier recording lost, so that it may begin with a later episode than the first."""

    def as_records(self) -> Iterator[Record]:
        """Yield what a log would hold: of the newest episode everything, of those before it how they ended."""
        for end in self.ends:
            yield EpisodeStarted(end.episode, 0, b"")
            yield end
        newest = self.starts[-1] if self.starts else None
        if newest is not None and all(end.episode != newest.episode for end in self.ends):
            yield newest
            yield from [frame for frame in self.frames if frame.episode == newest.episode]
            if newest.episode in self.verified:
                yield FramesVerified(newest.episode, self.verified[newest.episode])

    def note_pause(self, event: EventRecorded, stood_at: tuple[int, int]) -> None:
        """A pause begins or ends: everybody must have recorded all before its frame, and begun nothing from there on.

        Args:
            stood_at: episode and frame that this side was about to begin.
        """
        newest = self.frames[-1].frame if self.frames and self.frames[-1].episode == event.episode else -1
        place = event.episode, event.frame
        if newest != event.frame - 1 or (event.name == "resume" and stood_at > place):
            stands = f"recorded {newest}, about to begin {stood_at}"
            self.problems.append(f"peer {self.peer} has a {event.name} at {place}: {stands}")

    def withdraw(self, episode: int, first_frame: int) -> None:
        """Forget the frames of ``episode`` from ``first_frame`` on."""
        while self.frames and self.frames[-1].episode == episode and self.frames[-1].frame >= first_frame:
            self.frames.pop()
            self.withdrawn += 1


@dataclass(slots=True)
class Judgement:
    """What the oracle found."""

    wrong: list[str] = field(default_factory=list)
    """Every recorded frame, end or total that is not what a straight run gives."""
    verified_wrong: int = 0
    """Wrong frames that were marked as verified all the same."""
    spoilt_from: int | None = None
    """First frame on which the deliberately wrong state shows in the recording of its side."""
    frames: int = 0
    """Frames compared, over all sides."""
    cuts: dict[int, int] = field(default_factory=dict)
    """Last frame for which a lost peer's own inputs were used, by seat (of the newest episode)."""


class Oracle:
    """Compares recordings with a straight run.

    Args:
        pressed: by seat, then by episode: the inputs by frame.
        lost: seats whose peer left or crashed; after some frame, the same on every side, they are neutral.
    """

    def __init__(
        self,
        scenario: Scenario,
        pressed: Sequence[dict[int, list[bytes]]],
        *,
        lost: frozenset[int] = frozenset(),
        corrupted: tuple[int, Corruption] | None = None,
    ) -> None:
        self._scenario = scenario
        self._pressed = pressed
        self._lost = lost
        self._corrupted = corrupted
        self._neutral = bytes(1 + scenario.input_bytes)
        self._inputs: dict[int, list[tuple[bytes, ...]]] = {}
        self._held_by: dict[int, list[tuple[str | None, ...] | None]] = {}
        self._truth: dict[int, list[tuple[bytes, list[float] | None, bool]]] = {}
        self._totals: dict[int, list[tuple[float, ...]]] = {}

    def judge(self, sides: Sequence[SideRecording]) -> Judgement:
        """Compare every side's recording; the longest one says how far the truth has to be known."""
        found = Judgement()
        by_episode: dict[int, list[tuple[SideRecording, list[FrameRecorded]]]] = {}
        for side in sides:
            for frame in side.frames:
                rows = by_episode.setdefault(frame.episode, [])
                if not rows or rows[-1][0] is not side:
                    rows.append((side, []))
                rows[-1][1].append(frame)
        for episode in sorted(by_episode):
            rows = by_episode[episode]
            self._simulate(episode, max((frames for _, frames in rows), key=len), found)
            for side, frames in rows:
                self._compare(side, episode, frames, found)
        changes = max((side.changes for side in sides), key=len, default=())
        for side in sides:
            found.wrong.extend(side.problems)
            if list(side.changes) != list(changes[: len(side.changes)]):
                found.wrong.append(f"peer {side.peer} has the changes {side.changes}, another one {changes}")
            self._compare_ends(side, changes, found)
        return found

    def judge_spectator(self, side: SideRecording, found: Judgement) -> int:
        """Compare every frame that a spectator simulated, after :meth:`judge`; return how often it left some out."""
        gaps, expected = 0, (0, 0)
        for count, record in enumerate(side.frames):
            episode, frame = record.episode, record.frame
            what = None
            if (episode, frame) != expected and count:
                gaps += 1
            if (episode, frame) < expected:
                what = f"comes where frame {expected} belongs"
            elif frame >= len(self._truth.get(episode, [])):
                what = "was simulated, but no player recorded it"
            elif record.inputs != self._inputs[episode][frame]:
                what = f"has inputs {record.inputs}"
            elif (record.checksum, list(record.rewards)) != self._truth[episode][frame][:2]:
                what = "has another state or other rewards"
            is_last = any(end.episode == episode and end.last_frame == frame for end in side.ends)
            expected = (episode + 1, 0) if is_last else (episode, frame + 1)
            found.frames += 1
            if what is not None:
                found.wrong.append(f"spectator {side.peer} episode {episode} frame {frame} {what}")
        for end in side.ends:
            if tuple(end.totals) != self._totals[end.episode][end.last_frame]:
                found.wrong.append(f"spectator {side.peer} episode {end.episode} has totals {end.totals}")
        return gaps

    def _simulate(self, episode: int, longest: Sequence[FrameRecorded], found: Judgement) -> None:
        """Straight run of an episode, as long as the longest recording of it."""
        scenario = self._scenario
        host = SimulatedHost(scenario.seats, ends_when=scenario.ends_when, input_bytes=scenario.input_bytes)
        host.reset(derive_seed(scenario.seed, "episode", episode))
        self._prepare_bots(host)
        pressed: list[Sequence[bytes | None]] = [seat.get(episode, []) for seat in self._pressed]
        for seat in self._lost:
            pressed[seat] = self._cut(seat, pressed[seat], longest, found)
        inputs: list[tuple[bytes, ...]] = []
        truth, totals = [], []
        total = (0.0,) * scenario.seats
        for frame, values in enumerate(list(zip(*pressed, strict=False))[: len(longest)]):
            result = host.step(frame, [None if value is None else value[1:] for value in values])
            played = result[7] if len(result) > 7 else values
            inputs.append(tuple([v or self._neutral[:1] + (act or b"") for v, act in zip(values, played, strict=True)]))
            truth.append((result[0], result[1], result[5]))
            if result[1][0] is not None:
                total = tuple([a + b for a, b in zip(total, result[1], strict=True)])
            totals.append(total)
        self._inputs[episode], self._truth[episode], self._totals[episode] = inputs, truth, totals
        self._held_by[episode] = [frame.by for frame in longest]

    def _prepare_bots(self, host: SimulatedHost) -> None:
        """Have the bots at hand that take the seats of the lost; what they do follows from the states."""
        losses, seed = self._scenario.losses, self._scenario.seed
        for seat in range(self._scenario.seats):
            if losses.of(seat).then == "bot":
                host.add_substitute(seat, losses.of(seat).bot, derive_seed(seed, "substitute", seat))

    def _cut(
        self, seat: int, pressed: Sequence[bytes | None], recorded: Sequence[FrameRecorded], found: Judgement
    ) -> list[bytes | None]:
        """Return what a lost peer's seat pressed up to one last frame, and then neutral inputs, or None for a bot."""
        cut = len(recorded)
        for frame in recorded:
            if frame.frame >= len(pressed) or frame.inputs[seat] != pressed[frame.frame]:
                cut = frame.frame
                break
        if cut < len(recorded):
            found.cuts[seat] = cut - 1
        by = "substitute" if self._scenario.losses.of(seat).then == "bot" else "absent"
        for frame in recorded:
            told = None if frame.by is None else frame.by[seat]
            # A bot may do by chance what was pressed: then the last frame is an earlier one than it looks like.
            if told != by if frame.frame >= cut else told not in (None, by):
                text = f"peer 0 episode {frame.episode} frame {frame.frame}: seat {seat} is held by {told}, not {by}"
                found.wrong.append(text)
        return [*pressed[:cut], *[None if by == "substitute" else self._neutral] * (len(recorded) - cut)]

    def _compare(self, side: SideRecording, episode: int, frames: Sequence[FrameRecorded], found: Judgement) -> None:
        truth, inputs = self._truth[episode], self._inputs[episode]
        verified = side.verified.get(episode, -1)
        corrupted = self._corrupted
        spoilt = corrupted is not None and corrupted[0] == side.peer and corrupted[1].episode == episode
        first_spoilt = corrupted[1].frame if spoilt and corrupted is not None else len(frames)
        found.frames += len(frames)
        ended = False
        for expected, record in enumerate(frames):
            what = None
            if record.frame != expected:
                what = f"comes where frame {expected} belongs"
            elif expected >= len(truth):
                what = "was recorded, but not everybody pressed something for it"
            elif ended:
                what = "was recorded after the episode's end"
            else:
                checksum, rewards, ended = truth[expected]
                if record.inputs != inputs[expected]:
                    what = f"has inputs {record.inputs}, pressed were {inputs[expected]}"
                elif record.checksum != checksum:
                    what = "has another state"
                elif list(record.rewards) != rewards:
                    what = f"has rewards {record.rewards}, not {rewards}"
                elif expected <= verified and record.by != self._held_by[episode][expected]:
                    what = f"has seats held by {record.by}, another side {self._held_by[episode][expected]}"
            if what is None:
                continue
            if expected >= first_spoilt and what == "has another state":
                found.spoilt_from = expected if found.spoilt_from is None else min(found.spoilt_from, expected)
                found.verified_wrong += max(0, verified - expected + 1)
                return
            found.verified_wrong += max(0, verified - expected + 1)
            # One wrong state makes all behind it wrong: those are counted, and the first is told.
            found.wrong.append(f"peer {side.peer} episode {episode} frame {record.frame} {what}")
            found.wrong.extend([""] * (len(frames) - expected - 1))
            return
        if verified >= len(frames):
            found.wrong.append(f"peer {side.peer} episode {episode} frame {verified} is verified, but was not recorded")

    def _compare_ends(self, side: SideRecording, changes: Sequence[dict[str, Any]], found: Judgement) -> None:
        limit = self._scenario.episode_frames
        for start in side.starts:
            if start.seed != derive_seed(self._scenario.seed, "episode", start.episode):
                found.wrong.append(f"peer {side.peer} episode {start.episode} has another seed")
        if self._corrupted is not None and self._corrupted[0] == side.peer and found.spoilt_from is not None:
            return  # what follows from a wrong state is not compared
        first = side.starts[0].episode if side.is_partial and side.starts else 0
        before = sum(len(rows) for episode, rows in self._truth.items() if episode < first)
        left = self._scenario.frames - before + sum(change.get("frames", 0) for change in changes)
        stops = {change["episode"]: change["frame"] for change in changes if change["kind"] == "end"}
        counts = Counter(frame.episode for frame in side.frames)
        for end in side.ends:
            truth = self._truth.get(end.episode, [])
            frames = end.last_frame + 1
            first_end = next((frame for frame, row in enumerate(truth) if row[2]), None)
            stop = stops.get(end.episode)
            last = min(n - 1 for n in (left, limit, stop) if n is not None)
            reason = "limit" if last + 1 != stop else ENDED_EARLY
            if first_end is not None and first_end <= last:
                last, reason = first_end, "ended"
            recorded = counts[end.episode]
            if end.last_frame != last or recorded != frames:
                where = f"{end.last_frame} with {recorded} frames"
                found.wrong.append(f"peer {side.peer} episode {end.episode} ends at {where}, not {last}")
            elif tuple(end.totals) != self._totals[end.episode][end.last_frame]:
                found.wrong.append(f"peer {side.peer} episode {end.episode} has totals {end.totals}")
            elif end.reason != reason:
                found.wrong.append(f"peer {side.peer} episode {end.episode} ends for {end.reason!r}, not {reason!r}")
            left -= frames
