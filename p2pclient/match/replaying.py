"""Simulating an episode again from what another side tells of it, for a program that was started again.

From the episode's reset or from a portable state, in batches of about a quarter of a second. What comes out is recorded
like what was played.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from p2pclient.common.frames import NULL_FRAME, unpack_seat_input
from p2pclient.common.spaces import decode_action
from p2pclient.match.past import Row
from p2pclient.match.plan import MatchPlan
from p2pclient.match.reset import begin_episode
from p2pclient.recorder.records import FrameRecorded

_BATCH_SECONDS = 0.25
"""What a batch should take; it ends earlier than its deadline by a wide margin then."""
_FIRST_STEPS, _MOST_STEPS = 16, 1024


@dataclass(slots=True)
class ReplayBatch:
    """Commands of one batch, and what their results mean."""

    commands: list[list[Any]] = field(default_factory=list)
    first_checksum: int | None = None
    """Index of the reset; None in all batches but the first."""
    checksum: int | None = None
    """Index of what takes over the state, if there is one."""
    steps: dict[int, int] = field(default_factory=dict)
    """Frame of each step, by index."""
    decides: dict[int, int] = field(default_factory=dict)
    """Seat of the bot behind each ``decide``, by index."""
    view: int | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """One simulated frame."""

    record: FrameRecorded
    has_ended: bool
    """Did the episode end with it."""

    @property
    def row(self) -> Row:
        """What the other parts of the match need of it."""
        return Row(self.record.inputs, self.record.checksum, self.record.rewards)


class Replay:
    """One episode, from its beginning or a state up to a frame.

    Args:
        first: frame at whose beginning the state is; 0 without one.
        state: plain data; None to begin with the reset.
        inputs: by frame from ``first`` on, by seat.
        holders: by seat of who is gone: its last frame, and who has it since.
    """

    def __init__(
        self,
        plan: MatchPlan,
        episode: int,
        *,
        first: int,
        state: Any,
        inputs: Sequence[tuple[bytes, ...]],
        holders: Mapping[int, tuple[int, str]],
    ) -> None:
        self._plan, self._episode, self._holders = plan, episode, holders
        self._first, self._state, self._inputs = first, state, inputs
        self._next = first
        self._steps = _FIRST_STEPS
        self._has_begun = False
        self.frames: list[Replayed] = []
        self.first_checksum = b""
        """Of the reset; empty before it."""
        self.checksum = b""
        """At the beginning of the first frame; empty before."""
        self.is_done = False

    def begin_again(self) -> None:
        """The host is lost, and with it what was simulated."""
        self.frames.clear()
        self._next, self._has_begun, self.is_done = self._first, False, False

    @property
    def progress(self) -> float:
        """Share of the frames that are simulated."""
        return len(self.frames) / max(1, len(self._inputs))

    def next_batch(self) -> ReplayBatch:
        """Return what the host is to do next; not after :attr:`is_done`."""
        batch, plan = ReplayBatch(), self._plan
        if not self._has_begun:
            batch.first_checksum = 0
            batch.commands += begin_episode(plan, self._episode)
            if self._state is not None:
                batch.checksum = len(batch.commands)
                batch.commands.append(["set_state", {"frame": self._first, "data": self._state}])
        end = self._first + len(self._inputs)
        for frame in range(self._next, min(end, self._next + self._steps)):
            batch.steps[len(batch.commands)] = frame
            payloads = [value[1:] for value in self._inputs[frame - self._first]]
            batch.commands.append(["step", frame, payloads, *([True] if plan.observe else [])])
        if self._next + self._steps >= end:
            self._finish(batch, end)
        return batch

    def _finish(self, batch: ReplayBatch, end: int) -> None:
        """Append what play needs to go on from there."""
        batch.commands.append(["save", end])
        for seat in self._plan.bots:
            batch.decides[len(batch.commands)] = seat
            batch.commands.append(["decide", seat])
        if self._plan.render:
            batch.view = len(batch.commands)
            batch.commands.append(["render"])

    def take_results(self, batch: ReplayBatch, results: Sequence[Any], costs_us: Sequence[int]) -> None:
        """Take in what the host did."""
        if batch.first_checksum is not None:
            self._has_begun = True
            self.first_checksum = bytes(results[batch.first_checksum])
            self.checksum = self.first_checksum if batch.checksum is None else bytes(results[batch.checksum])
        for index, frame in batch.steps.items():
            self.frames.append(self._take(frame, results[index]))
        if costs_us and batch.steps:
            mean = sum(costs_us[index] for index in batch.steps) / len(batch.steps) / 1e6
            self._steps = max(1, min(int(_BATCH_SECONDS / max(mean, 1e-6)), _MOST_STEPS))
        self._next = max(batch.steps.values(), default=self._next + NULL_FRAME) + 1
        self.is_done = self._next >= self._first + len(self._inputs)

    def _take(self, frame: int, result: Sequence[Any]) -> Replayed:
        record = recorded(self._plan, self._episode, frame, self._inputs[frame - self._first], result)
        held = {seat: by for seat, (after, by) in self._holders.items() if frame > after}
        if held:
            record = replace(record, by=tuple([held.get(seat) for seat in range(self._plan.seats)]))
        return Replayed(record, bool(result[5]))


def recorded(
    plan: MatchPlan, episode: int, frame: int, inputs: tuple[bytes, ...], result: Sequence[Any]
) -> FrameRecorded:
    """Return the record of a frame that was simulated from what others told, from the host's result of the step."""
    split = [unpack_seat_input(value) for value in inputs]
    spaces = plan.env["action_spaces"]
    return FrameRecorded(
        episode=episode,
        frame=frame,
        inputs=inputs,
        actions=tuple(decode_action(space, payload) for space, (payload, _) in zip(spaces, split, strict=True)),
        rewards=tuple(result[1]),
        terminations=tuple(result[2]),
        truncations=tuple(result[3]),
        infos=tuple(result[4]),
        focus=tuple(focused for _, focused in split),
        checksum=bytes(result[0]),
        observations=None if result[6] is None else tuple(result[6]),
    )
