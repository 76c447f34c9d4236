"""One episode in play: turns the session's decisions into a batch for the host, and its reply into records.

The host's step result is positional, by seat: checksum after the step, rewards, terminations, truncations, infos,
whether the episode has ended, observations or None (see ``envs/simulation.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import NULL_FRAME, unpack_seat_input
from p2pclient.common.spaces import decode_action
from p2pclient.match.plan import MatchPlan
from p2pclient.match.sources import InputSource, Sample
from p2pclient.match.timing import FrameClock
from p2pclient.recorder.records import FrameRecorded
from p2pclient.rollback.chain import ChainMismatch, ChecksumChain
from p2pclient.rollback.session import Advance, Command, Drop, Load, RollbackSession, Save, SeatConfig, Step
from p2pclient.telemetry.counters import MatchCounters


@dataclass(slots=True)
class PlayBatch:
    """Commands of one tick, and what their results mean."""

    commands: list[list[Any]]
    steps: dict[int, Step]
    """The step behind each command that is one, by index."""
    settled: int
    new_frames: int
    depth: int
    cause: tuple[int, ...]
    loaded: int = NULL_FRAME
    decides: dict[int, int] = field(default_factory=dict)
    """Seat of the bot behind each ``decide``, by index."""
    view: int | None = None
    """Index of the ``render``; None if none was asked for."""


class EpisodePlay:
    """Play between the barrier before an episode and its agreed last frame."""

    def __init__(
        self, plan: MatchPlan, number: int, *, first_checksum: bytes, frame_limit: int | None, counters: MatchCounters
    ) -> None:
        self.number = number
        self.first_checksum = first_checksum
        self._plan = plan
        self._counters = counters
        self.session = RollbackSession(
            [
                SeatConfig(
                    neutral=plan.neutral_input(seat),
                    predict=plan.predictor(seat),
                    local=seat in plan.local_seats,
                    delay=plan.input_delay if seat in plan.local_seats else 0,
                )
                for seat in range(plan.seats)
            ],
            window=plan.window,
        )
        self.session.frame_limit = frame_limit
        self.chain = ChecksumChain(plan.peers, first=first_checksum)
        self.clock = FrameClock(number, input_delay=plan.input_delay, shows=plan.render)
        self.recorded = NULL_FRAME
        """Newest frame that went to the recorder."""
        self.verified = NULL_FRAME
        """Newest frame marked as verified."""
        self.last_frame: int | None = None
        """The episode's last frame, once it is settled."""
        self.end_reason = ""
        self.totals = [0.0] * plan.seats
        """Sum of the recorded rewards by seat."""
        self._results: dict[int, list[Any]] = {}
        self._sent_inputs = 0

    # -- before the batch ---------------------------------------------------------------------------------------

    def plan_batch(self, sources: Mapping[int, InputSource], *, owed: int, now: float) -> tuple[PlayBatch, Advance]:
        """Read the local inputs and decide the batch of this tick.

        Args:
            sources: by local seat.
            owed: frames that should run by the clock, at least 1; more than one only as far as the others' inputs are
                here already, so that catching up predicts nothing.
        """
        commands: list[Command] = []
        frames = max(1, min(owed, self.session.confirmed_ahead))
        totals = Advance((), advanced=0, stalled=False, depth=0, cause=(), settled=NULL_FRAME)
        for _ in range(frames):
            samples = self._read_inputs(sources) if self.session.has_room else []
            frame = self.session.current_frame
            step = self.session.advance()
            commands.extend(step.commands)
            if step.advanced:
                newest = next(c for c in reversed(step.commands) if isinstance(c, Step))
                self.clock.applied(frame, samples, newest.predicted, self.session.window, now)
            totals = Advance(
                (),
                advanced=totals.advanced + step.advanced,
                stalled=step.stalled and not totals.advanced,
                depth=max(totals.depth, step.depth),
                cause=totals.cause or step.cause,
                settled=step.settled,
            )
        self._count(totals)
        return self._to_batch(commands, totals), totals

    def _read_inputs(self, sources: Mapping[int, InputSource]) -> list[Sample]:
        samples = []
        for seat in self._plan.local_seats:
            sample = sources[seat].sample()
            samples.append(sample)
            value = (b"\x00" if sample.focused else b"\x01") + sample.payload
            if self.session.add_local_input(seat, value) == NULL_FRAME:
                raise LocalMisuseError(f"seat {seat} already has an input for frame {self.session.current_frame}")
        return samples

    def take_inputs_to_send(self) -> list[tuple[int, bytes]]:
        """Return ``(frame, joined input of the local seats)`` that the peers have not been given yet."""
        if not self._plan.local_seats:
            return []
        newest = min(self.session.last_input_frame(seat) for seat in self._plan.local_seats)
        fresh = [
            (frame, b"".join(self.session.confirmed_input(seat, frame) for seat in self._plan.local_seats))
            for frame in range(self._sent_inputs, newest + 1)
        ]
        self._sent_inputs = newest + 1
        return fresh

    def _count(self, advance: Advance) -> None:
        counters = self._counters
        counters.frames += advance.advanced
        counters.fast_forwarded += max(0, advance.advanced - 1)
        counters.stalls += advance.stalled
        if advance.depth:
            counters.rollbacks += 1
            counters.resimulated += advance.depth
            counters.max_depth = max(counters.max_depth, advance.depth)
            counters.depths[advance.depth] += 1
            for seat in advance.cause:
                counters.rollback_causes[seat] += 1

    def _to_batch(self, commands: Sequence[Command], advance: Advance) -> PlayBatch:
        batch = PlayBatch([], {}, advance.settled, advance.advanced, advance.depth, advance.cause)
        for command in commands:
            if isinstance(command, Step):
                batch.steps[len(batch.commands)] = command
                payloads = [unpack_seat_input(value)[0] for value in command.inputs]
                observe = [True] if self._plan.observe else []
                batch.commands.append(["step", command.frame, payloads, *observe])
            elif isinstance(command, Save):
                batch.commands.append(["save", command.frame])
            elif isinstance(command, Load):
                batch.loaded = command.frame
                batch.commands.append(["load", command.frame])
            elif isinstance(command, Drop):
                batch.commands.append(["drop", command.before])
        if batch.commands:
            if advance.advanced:
                for seat in self._plan.bots:
                    batch.decides[len(batch.commands)] = seat
                    batch.commands.append(["decide", seat])
            if self._plan.render:
                batch.view = len(batch.commands)
                batch.commands.append(["render"])
        return batch

    # -- after the batch ----------------------------------------------------------------------------------------

    def take_results(self, batch: PlayBatch, results: Sequence[Any], *, now: float) -> None:
        """Keep the newest result of every simulated frame."""
        for index, step in batch.steps.items():
            self._results[step.frame] = results[index]
            self.clock.simulated(step.frame, now, again=step.again)

    def settle(self, settled: int, *, now: float, rtt: float | None) -> tuple[list[FrameRecorded], list[ChainMismatch]]:
        """Record every frame up to ``settled`` and put it into the chain. Stops at the episode's last frame."""
        records: list[FrameRecorded] = []
        found: list[ChainMismatch] = []
        while self.recorded < settled and self.last_frame is None:
            frame = self.recorded + 1
            result = self._results.pop(frame)
            records.append(self._record(frame, result))
            found.extend(self.chain.append(frame, bytes(result[0])))
            self.recorded = frame
            self.clock.recorded(frame, now, rtt)
            self._counters.confirmed_frames += 1
            for seat, reward in enumerate(result[1]):
                self.totals[seat] += 0.0 if reward is None else float(reward)
            limit = self.session.frame_limit
            if result[5] or (limit is not None and frame == limit - 1):
                self.last_frame = frame
                self.end_reason = "ended" if result[5] else "limit"
        self.session.discard_before(self.recorded)
        return records, found

    def _record(self, frame: int, result: Sequence[Any]) -> FrameRecorded:
        inputs = self.session.confirmed_inputs(frame)
        split = [unpack_seat_input(value) for value in inputs]
        spaces = self._plan.env["action_spaces"]
        return FrameRecorded(
            episode=self.number,
            frame=frame,
            inputs=inputs,
            actions=tuple(decode_action(spaces[seat], payload) for seat, (payload, _) in enumerate(split)),
            rewards=tuple(result[1]),
            terminations=tuple(result[2]),
            truncations=tuple(result[3]),
            infos=tuple(result[4]),
            focus=tuple(focused for _, focused in split),
            checksum=bytes(result[0]),
            observations=None if result[6] is None else tuple(result[6]),
        )

    def trace(self, batch: PlayBatch, results: Sequence[Any]) -> list[str]:
        """Lines for comparing two sides: every simulated frame with its inputs and checksums, every rollback."""
        lines = []
        if batch.depth:
            end = batch.loaded + batch.depth - 1
            lines.append(f"rollback frames {batch.loaded}-{end} depth {batch.depth} cause seats {list(batch.cause)}")
        for index, step in batch.steps.items():
            before = self.first_checksum if step.frame == 0 else self._checksum_before(step.frame)
            inputs = " ".join(v.hex() + ("?" if p else "") for v, p in zip(step.inputs, step.predicted, strict=True))
            kind = "again" if step.again else "live "
            after = bytes(results[index][0]).hex()
            lines.append(f"{kind} e{self.number} f{step.frame} inputs {inputs} before {before.hex()} after {after}")
        return lines

    def _checksum_before(self, frame: int) -> bytes:
        result = self._results.get(frame - 1)
        if result is not None:
            return bytes(result[0])
        kept = dict(self.chain.checksums_since(frame - 2))
        return kept.get(frame - 1, b"")
