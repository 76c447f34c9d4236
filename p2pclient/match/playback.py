"""What a spectator simulates: the stretches that it was told, in order, in batches for its host."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from p2pclient.common.frames import NULL_FRAME
from p2pclient.envhost.values import MalformedValueError, decode
from p2pclient.match.plan import MatchPlan, Phase
from p2pclient.match.replaying import recorded
from p2pclient.match.stretch import Stretch
from p2pclient.protocol.control import EpisodeOver
from p2pclient.recorder.records import EpisodeEnded, Record
from p2pclient.rollback.chain import extend_chain

CATCH_UP_AFTER = 4
"""Frames behind what may be shown above which two frames run in one tick."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What was simulated here is not what was played."""

    frame: int
    """Of the episode at hand; the states after it differ, or some before it."""
    ours: bytes
    theirs: bytes


@dataclass(slots=True)
class WatchBatch:
    """Commands of one tick of a spectator, and what their results mean."""

    commands: list[list[Any]] = field(default_factory=list)
    steps: dict[int, tuple[int, tuple[bytes, ...]]] = field(default_factory=dict)
    """Frame and inputs behind each step, by index."""
    checksum: int | None = None
    """Index of the command that begins a stretch, whose result is a checksum; None if none does."""
    view: int | None = None


class Playback:
    """The stretches that are held, and how far the first one is simulated.

    Args:
        delay: frames to stay behind what was heard.
    """

    def __init__(self, plan: MatchPlan, *, delay: int) -> None:
        self.stretches: deque[Stretch] = deque()
        self.phase = Phase.BARRIER
        self.number = 0
        """Number of the episode at hand."""
        self.simulated = NULL_FRAME
        """Newest frame of it that was simulated."""
        self.simulated_frames = 0
        """Frames simulated in all."""
        self.totals: list[tuple[float, ...]] = []
        """Total rewards by seat of each episode that was watched to its end."""
        self.difference: Difference | None = None
        """The first one that was found; nothing is to be simulated any more then."""
        self._plan = plan
        self._delay = delay
        self._is_entered = False
        """Is the host in the first of the stretches."""
        self._is_new = False
        """Will anything do to begin with, as for who has seen nothing yet."""
        self._chain = b""
        self._totals: tuple[float, ...] = ()

    @property
    def tail(self) -> Stretch | None:
        """The newest stretch: what comes, comes for it."""
        return self.stretches[-1] if self.stretches else None

    @property
    def behind(self) -> int:
        """Frames that were heard and are not simulated yet."""
        return sum(len(stretch.inputs) for stretch in self.stretches)

    @property
    def position(self) -> tuple[int | None, int]:
        """``(episode, frame)`` of what is missing next; episode None if anything will do."""
        tail = self.tail
        if tail is None:
            return (self.number, 0) if self.totals and not self._is_new else (None, 0)
        return (tail.episode + 1, 0) if tail.is_whole else (tail.episode, tail.heard + 1)

    # -- what is heard ------------------------------------------------------------------------------------------

    def begin(self, stretch: Stretch, *, now: float) -> None:
        """Something new begins; what is held of older stretches is shown first."""
        self.drop_unready()
        self.close(now=now)
        self.stretches.append(stretch)
        self._is_new = False

    def begin_again(self) -> None:
        """The host is lost, and the state with it: what is held leads nowhere."""
        self.stretches.clear()
        self._is_entered = False
        self._is_new = True
        self.phase = Phase.BARRIER

    def drop_unready(self) -> None:
        """Forget a stretch of whose state only a part is here: nobody sends the rest."""
        if self.stretches and not self.stretches[-1].is_ready:
            self.stretches.pop()

    def close(self, *, now: float) -> None:
        """Nothing more comes for the stretches that are held."""
        for stretch in self.stretches:
            if stretch.closed_at is None:
                stretch.closed_at = now

    def reopen(self) -> None:
        """Somebody may go on with the newest stretch."""
        if self.stretches and not self.stretches[-1].is_whole:
            self.stretches[-1].closed_at = None

    def add_inputs(self, frame: int, values: tuple[bytes, ...], *, now: float) -> None:
        """Add the next frame; any other is ignored."""
        tail = self.tail
        if tail is not None and frame == tail.heard + 1 and tail.closed_at is None:
            tail.heard = frame
            tail.inputs.append(values)
            self._close_if_whole(tail, now)

    def end_episode(self, over: EpisodeOver, *, now: float) -> None:
        """The newest stretch's episode is over."""
        tail = self.tail
        if tail is not None and tail.over is None and tail.episode == over.episode and over.last_frame >= tail.heard:
            tail.over = over
            self.expect(over.last_frame, over.chain)
            self._close_if_whole(tail, now)

    def _close_if_whole(self, stretch: Stretch, now: float) -> None:
        if stretch.is_whole:
            stretch.closed_at = now

    def expect(self, frame: int, value: bytes) -> None:
        """The chain has this value at a frame of the newest stretch: compare now or, if we are not there yet, later."""
        tail = self.tail
        if tail is None:
            return
        is_here = self._is_entered and tail is self.stretches[0]
        newest, known = (self.simulated, self._chain) if is_here else (tail.first - 1, tail.chain)
        if frame > newest:
            tail.expected[frame] = value
        elif frame == newest and value != known:
            self._differ(frame, known, value)

    # -- what is simulated --------------------------------------------------------------------------------------

    def next_batch(self, *, now: float) -> WatchBatch | None:
        """Return what the host is to do next; None if nothing is due. One batch is out at a time."""
        if not self.stretches:
            return None
        head = self.stretches[0]
        released = head.released(delay=self._delay, rate_hz=self._plan.rate_hz, now=now)
        if not self._is_entered:
            return self._plan_entry(head) if head.is_ready and released >= head.first - 1 else None
        return self._plan_steps(head, released) if released > self.simulated else None

    def leave_finished(self) -> list[Record]:
        """Let go of the first stretch if all of it was simulated: its episode is over, or there is a gap behind it."""
        head = self.stretches[0] if self.stretches else None
        if head is None or not self._is_entered or head.closed_at is None or self.simulated < head.heard:
            return []
        self.stretches.popleft()
        self._is_entered = False
        self.phase = Phase.BARRIER
        if not head.is_whole:
            return []
        self.totals.append(self._totals)
        self.number += 1
        return [EpisodeEnded(head.episode, self.simulated, self._totals, "watched")]

    def _plan_entry(self, head: Stretch) -> WatchBatch | None:
        """Return the batch that brings the host to the beginning of a stretch."""
        batch = WatchBatch([["reset", self._plan.episode_seed(head.episode)]], checksum=0)
        self.number = head.episode
        if head.parts is not None:
            try:
                state = decode(head.parts.joined())
            except MalformedValueError:
                self._differ(head.first - 1, b"", head.checksum)
                return None
            batch.checksum = 1
            batch.commands.append(["set_state", {"frame": head.first, "data": state}])
        self.phase = Phase.RESETTING
        self._add_view(batch)
        return batch

    def _plan_steps(self, head: Stretch, released: int) -> WatchBatch:
        behind = released - self.simulated
        batch = WatchBatch()
        for frame in range(self.simulated + 1, self.simulated + 1 + min(behind, 2 if behind > CATCH_UP_AFTER else 1)):
            inputs = head.inputs.popleft()
            batch.steps[len(batch.commands)] = frame, inputs
            batch.commands.append(["step", frame, [value[1:] for value in inputs]])
        self._add_view(batch)
        return batch

    def _add_view(self, batch: WatchBatch) -> None:
        if self._plan.render:
            batch.view = len(batch.commands)
            batch.commands.append(["render"])

    def take_results(self, batch: WatchBatch, results: Sequence[Any]) -> list[Record]:
        """Take in what the host did; returns the frames that are proved to be what was played."""
        if batch.checksum is not None:
            self._enter(bytes(results[batch.checksum]))
        records: list[Record] = []
        for index, (frame, inputs) in batch.steps.items():
            if self._take_step(frame, results[index]):
                records.append(recorded(self._plan, self.number, frame, inputs, results[index]))
        return records

    def _enter(self, checksum: bytes) -> None:
        head = self.stretches[0]
        if checksum != head.checksum:
            self._differ(head.first - 1, checksum, head.checksum)
            return
        self._is_entered = True
        self.phase = Phase.PLAYING
        self.simulated = head.first - 1
        self._chain, self._totals = head.chain, head.totals

    def _take_step(self, frame: int, result: Sequence[Any]) -> bool:
        if self.difference is not None:
            return False
        self.simulated = frame
        self.simulated_frames += 1
        self._chain = extend_chain(self._chain, frame, bytes(result[0]))
        self._totals = tuple(
            [
                total if reward is None else total + float(reward)
                for total, reward in zip(self._totals, result[1], strict=True)
            ]
        )
        expected = self.stretches[0].expected.pop(frame, self._chain)
        if expected != self._chain:
            self._differ(frame, self._chain, expected)
            return False
        return True

    def _differ(self, frame: int, ours: bytes, theirs: bytes) -> None:
        self.difference = self.difference or Difference(frame, ours, theirs)
