"""One episode in play: turns the session's decisions into a batch for the host, and its reply into records.

The host's step result is positional, by seat: checksum after the step, rewards, terminations, truncations, infos,
whether the episode has ended, observations or None (see ``envs/simulation.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from p2pclient.common.frames import NULL_FRAME, pack_seat_input, unpack_seat_input
from p2pclient.common.spaces import Space, decode_action
from p2pclient.match.head import Head
from p2pclient.match.journal import Journal
from p2pclient.match.plan import MatchPlan
from p2pclient.match.sittings import BY_SUBSTITUTE
from p2pclient.match.sources import InputSource, Sample
from p2pclient.match.timing import FrameClock
from p2pclient.recorder.records import FrameRecorded
from p2pclient.rollback.chain import ChainMismatch, ChecksumChain
from p2pclient.rollback.prediction import PREDICT, SUBSTITUTE
from p2pclient.rollback.session import Command, Drop, Load, RollbackSession, Save, SeatConfig, Step
from p2pclient.telemetry.counters import MatchCounters

_USED = 7
"""Position of what the host predicted in the result of a step; it is there only if the host predicted anything."""
_DISCARD_EVERY = 32
"""Verified frames whose inputs are let go of at once."""
_KNOWN_ACTIONS = 4096
"""Different inputs of one seat whose actions are remembered."""


class PlayBatch(Struct):
    """Commands of one tick, and what their results mean."""

    commands: list[list[Any]] = []
    steps: dict[int, Step] = {}
    """The step behind each command that is one, by index."""
    settled: int = NULL_FRAME
    """Newest frame that is settled once the batch is done."""
    advanced: int = 0
    """New frames."""
    stalled: bool = False
    depth: int = 0
    cause: tuple[int, ...] = ()
    """Seats whose input was assumed wrongly."""
    resimulated: int = 0
    loaded: int = NULL_FRAME
    decides: dict[int, int] = {}
    """Seat of the bot behind each ``decide``, by index."""
    view: int | None = None
    """Index of the ``render``; None if none was asked for."""
    withdraws: bool = False
    """True if it simulates again what had been recorded."""
    snapshot: int | None = None
    """Index of the ``get_snapshot``; None if no spectator needs one."""
    kept: int | None = None
    """Index of the ``get_snapshot`` that is kept in case the host is lost; None in most batches."""


@dataclass(slots=True)
class EvidenceBatch:
    """Commands that fetch the state after one settled frame. The host stands elsewhere afterwards: load first."""

    commands: list[list[Any]]
    state: int
    """Index of the ``get_state``."""


class _Actions(dict[bytes, tuple[Any, bool]]):
    """``(action, focused)`` by input of one seat. Remembers them: people press few different keys."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def __missing__(self, value: bytes) -> tuple[Any, bool]:
        payload, focused = unpack_seat_input(value)
        split = decode_action(self._space, payload), focused
        if len(self) < _KNOWN_ACTIONS:
            self[value] = split
        return split


class EpisodePlay:
    """Play between the barrier before an episode and its agreed last frame.

    Args:
        delays: input delay of each local seat, as it stands.
        head: where to begin, if not before frame 0.
    """

    def __init__(
        self,
        plan: MatchPlan,
        number: int,
        *,
        first_checksum: bytes,
        frame_limit: int | None,
        counters: MatchCounters,
        delays: Mapping[int, int],
        head: Head | None = None,
    ) -> None:
        self.number = number
        self.first_checksum = first_checksum
        self._plan = plan
        self._counters = counters
        held = dict(head.holders) if head is not None else {}
        self.session = RollbackSession(
            [
                SeatConfig(
                    neutral=plan.neutral_input(seat),
                    predict=plan.predictor(seat),
                    local=seat in plan.local_seats,
                    delay=delays.get(seat, 0),
                    fill=plan.fill(seat),
                    known=head.known.get(seat, ()) if head is not None else (),
                    cut=held[seat][0] if seat in held else None,
                    substitute=seat in held and held[seat][1] == BY_SUBSTITUTE,
                )
                for seat in range(plan.seats)
            ],
            window=plan.own_window,
            first_frame=head.frame if head is not None else 0,
        )
        self.frame_limit = self.session.frame_limit = frame_limit
        """Frames that the episode has at most; None without a limit. See :meth:`set_bounds`."""
        self.hold: int | None = None
        """The frame that is not begun for now, and from which on our inputs are kept back; None if there is none."""
        self._limit_reason = "limit"
        self.chain = ChecksumChain(plan.peers, first=first_checksum)
        self.journal = Journal([len(plan.neutral_input(seat)) for seat in range(plan.seats)], first=first_checksum)
        """All recorded inputs, for a new host."""
        self.clock = FrameClock(number, shows=plan.render)
        self.recorded = NULL_FRAME
        """Newest frame that went to the recorder."""
        self.verified = NULL_FRAME
        """Newest frame marked as verified."""
        self.last_frame: int | None = None
        """The episode's last frame, once it is settled."""
        self.end_reason = ""
        self.totals = (0.0,) * plan.seats
        """Sum of the recorded rewards by seat."""
        self._totals_after: dict[int, tuple[float, ...]] = {NULL_FRAME: self.totals}
        """The same after each frame that may yet be withdrawn, and after the newest that may not."""
        self._discarded = 0
        self._results: dict[int, list[Any]] = {}
        self._samples: list[Sample] = []
        self._sent_inputs = 0
        self._held_by: dict[int, tuple[int, str]] = held
        """By seat of who is gone: after which frame, and who has it since."""
        self._actions = [_Actions(space) for space in plan.env["action_spaces"]]
        if head is not None:
            self._take_up(head)

    def _take_up(self, head: Head) -> None:
        """Take in what was played before this side came back."""
        for frame, row in enumerate(head.rows):
            self.journal.append(row.inputs, row.checksum)
            self.chain.append(frame, row.checksum)
            self._add_rewards(frame, row.rewards)
            if frame <= head.verified:
                del self._totals_after[frame - 1]
        self.chain.trust(head.verified)
        self.recorded = head.frame - 1
        self.verified = self._discarded = head.verified
        self._sent_inputs = head.frame
        if head.has_ended:
            self.last_frame, self.end_reason = self.recorded, "ended"

    # -- before the batch ---------------------------------------------------------------------------------------

    def plan_batch(self, sources: Mapping[int, InputSource], *, owed: int, now: float) -> PlayBatch:
        """Read the local inputs and decide the batch of this tick.

        Args:
            sources: by local seat.
            owed: frames that should run by the clock, at least 1; more than one only as far as the others' inputs are
                here already, so that catching up predicts nothing.
        """
        session, local = self.session, self._plan.local_seats
        # A state that not all have verified may be needed once more, see ``plan_resimulation``.
        keep_from = self.chain.verified_frame + 1
        batch = PlayBatch()
        for _ in range(max(1, min(owed, session.confirmed_ahead)) if owed > 1 else 1):
            self._read_inputs(sources)
            frame = session.current_frame
            step = session.advance(keep_from=keep_from)
            newest = self._add_commands(batch, step.commands)
            batch.settled = step.settled
            if step.advanced and newest is not None:
                batch.advanced += 1
                delay = session.delay(local[0]) if local else 0
                self.clock.applied(frame, self._samples, newest.predicted, session.window, delay, now)
                self._samples = []
            elif step.stalled and not batch.advanced:
                batch.stalled = True
            if step.depth:
                batch.depth = max(batch.depth, step.depth)
                batch.cause = batch.cause or step.cause
                batch.resimulated += step.resimulated
        if batch.commands:
            self._add_decisions(batch)
        return batch

    def _read_inputs(self, sources: Mapping[int, InputSource]) -> None:
        session = self.session
        for seat in session.seats_to_read():
            sample = sources[seat].sample()
            self._samples.append(sample)
            value = pack_seat_input(sample.payload, focused=sample.focused, minimised=sample.minimised)
            taken = session.add_local_input(seat, value)
            assert taken != NULL_FRAME

    def set_bounds(self, frame_limit: int | None, *, hold: int | None, reason: str) -> None:
        """Say anew how far the episode goes, and how far it may run for now.

        Args:
            frame_limit: nobody may have settled it or a later one yet, nor the limit that held before.
            hold: see :attr:`hold`.
            reason: why it ends at the limit.
        """
        self.frame_limit, self.hold, self._limit_reason = frame_limit, hold, reason
        self.session.frame_limit = min([n for n in (frame_limit, hold) if n is not None], default=None)

    @property
    def sent_inputs(self) -> int:
        """The first frame of which the peers have not been given our input."""
        return self._sent_inputs

    def take_inputs_to_send(self, *, now: float) -> list[tuple[int, bytes]]:
        """Return ``(frame, joined input of the local seats)`` that the peers have not been given and may have."""
        fresh = list(enumerate(self.session.local_inputs(self._sent_inputs), self._sent_inputs))
        if self.hold is not None:
            del fresh[max(0, self.hold - self._sent_inputs) :]
        self._sent_inputs += len(fresh)
        if self._plan.peers:
            for frame, _ in fresh:
                self.clock.sent(frame, now)
        return fresh

    def skip_inputs(self, until: int) -> None:
        """All of our inputs before ``until`` have been given to the peers."""
        self._sent_inputs = max(self._sent_inputs, until)

    def own_input(self, frame: int) -> bytes:
        """Return the joined input of the local seats for a frame that was recorded, or has one."""
        return self._joined(self._plan.local_seats, frame)

    def _joined(self, seats: Sequence[int], frame: int) -> bytes:
        if frame <= self.recorded:
            return self.journal.inputs(frame, seats)
        return b"".join([self.session.confirmed_input(seat, frame) for seat in seats])

    def inputs_of(self, seats: Sequence[int]) -> tuple[int, list[bytes]]:
        """Return ``(first frame, joined inputs)`` of one peer's seats: those that not all have verified."""
        session, first = self.session, self.verified + 1
        newest = min([session.last_input_frame(seat) for seat in seats])
        return first, [self._joined(seats, frame) for frame in range(first, newest + 1)]

    def disconnect(self, peer: int, holders: Mapping[int, str], *, after: int, inputs: Mapping[int, bytes]) -> None:
        """A peer is gone after frame ``after``: take what others had of it, and wait for it no more.

        Args:
            holders: by seat of the peer, in order: who has it from then on, see :mod:`p2pclient.match.sittings`.
            inputs: joined inputs of its seats that were not here, by frame.
        """
        for frame in sorted(inputs):
            at = 0
            for seat in holders:
                width = len(self._plan.neutral_input(seat))
                self.session.add_remote_input(seat, frame, inputs[frame][at : at + width])
                at += width
        for seat, by in holders.items():
            self.session.disconnect(seat, after=after, substitute=by == BY_SUBSTITUTE)
            self._held_by[seat] = after, by
        self.chain.remove(peer)

    def plan_evidence(self, frame: int) -> EvidenceBatch:
        """Return the batch that fetches the state after ``frame``, which is settled and not verified.

        With a snapshot after every frame this is the very state that was played; else it is simulated from the one
        before.
        """
        batch = PlayBatch()
        self._add_commands(batch, self.session.revisit(frame + 1))
        return EvidenceBatch([*batch.commands, ["get_state"]], state=len(batch.commands))

    def plan_resimulation(self, frame: int) -> PlayBatch | None:
        """Return the batch that simulates everything from ``frame`` on once more, with the inputs that are here.

        None if nothing from there on was simulated yet.

        Raises:
            LocalMisuseError: no snapshot to start from is kept.
        """
        session = self.session
        if frame >= session.current_frame:
            return None
        batch = PlayBatch(withdraws=True)
        self._add_commands(batch, session.rewind(frame))
        batch.settled = min(session.confirmed_frame, session.current_frame - 1)
        if self._plan.render:
            batch.view = len(batch.commands)
            batch.commands.append(["render"])
        return batch

    def plan_step_back(self, frame: int) -> PlayBatch:
        """Return the batch that brings the host back to the beginning of a frame, which nobody is to have begun."""
        batch = PlayBatch()
        self._add_commands(batch, self.session.step_back(frame))
        batch.settled = min(self.session.confirmed_frame, frame - 1)
        if self._plan.render:
            batch.view = len(batch.commands)
            batch.commands.append(["render"])
        return batch

    def withdraw(self, after: int, outdated: Mapping[int, int]) -> None:
        """Take back what was recorded after frame ``after``; see :meth:`ChecksumChain.rewind` for ``outdated``."""
        self.chain.rewind(after, outdated)
        self.journal.withdraw(after)
        self.recorded = after
        self.last_frame = None
        self.totals = self._totals_after[after]

    def _add_commands(self, batch: PlayBatch, commands: Sequence[Command]) -> Step | None:
        """Append them in the host's form; return the last step among them."""
        out, steps, observe = batch.commands, batch.steps, self._plan.observe
        newest = None
        for command in commands:
            if type(command) is Step:
                steps[len(out)] = newest = command
                # The flags stay here; of an input that the host is to predict nothing is left.
                payloads: list[bytes | None] = []
                for value in command.inputs:
                    payloads.append(None if value == SUBSTITUTE else value[1:])
                step: list[Any] = ["step", command.frame, payloads]
                if PREDICT in command.inputs:
                    step += [observe, self._newest_payloads()]
                elif observe:
                    step.append(True)
                out.append(step)
            elif type(command) is Save:
                out.append(["save", command.frame])
            elif type(command) is Load:
                batch.loaded = command.frame
                out.append(["load", command.frame])
            else:
                assert type(command) is Drop
                out.append(["drop", command.before])
        return newest

    def _newest_payloads(self) -> list[bytes | None]:
        """By seat: the newest input that is here, for predictors in the host; None if there is none yet."""
        newest = [self.session.last_input_frame(seat) for seat in range(self._plan.seats)]
        return [self._joined([seat], frame)[1:] if frame != NULL_FRAME else None for seat, frame in enumerate(newest)]

    def _add_decisions(self, batch: PlayBatch) -> None:
        """What follows the frames: the bots' next decisions, and the view."""
        if batch.advanced:
            for seat in self._plan.bots:
                batch.decides[len(batch.commands)] = seat
                batch.commands.append(["decide", seat])
        if self._plan.render:
            batch.view = len(batch.commands)
            batch.commands.append(["render"])

    # -- after the batch ----------------------------------------------------------------------------------------

    def take_results(self, batch: PlayBatch, results: Sequence[Any], *, now: float) -> None:
        """Keep the newest result of every simulated frame."""
        for index, step in batch.steps.items():
            result = results[index]
            self._results[step.frame] = result
            self.clock.simulated(step.frame, now, again=step.again)
            if len(result) > _USED:
                self.session.resolve(step.frame, result[_USED])

    def settle(self, settled: int, *, now: float, rtt: float | None) -> tuple[list[FrameRecorded], list[ChainMismatch]]:
        """Record every frame up to ``settled`` and put it into the chain. Stops at the episode's last frame."""
        records: list[FrameRecorded] = []
        found: list[ChainMismatch] = []
        limit = self.frame_limit
        while self.recorded < settled and self.last_frame is None:
            frame = self.recorded + 1
            result = self._results.pop(frame)
            record = self._record(frame, result)
            records.append(record)
            self.journal.append(record.inputs, record.checksum)
            found += self.chain.append(frame, record.checksum)
            self.recorded = frame
            self.clock.recorded(frame, now, rtt)
            self._add_rewards(frame, result[1])
            if result[5]:
                self.last_frame, self.end_reason = frame, "ended"
            elif frame + 1 == limit:
                break
        if self.last_frame is None and self.recorded + 1 == limit:  # also one that was named behind what is recorded
            self.last_frame, self.end_reason = self.recorded, self._limit_reason
        self._counters.confirmed_frames += len(records)
        return records, found

    def _add_rewards(self, frame: int, rewards: Sequence[Any]) -> None:
        totals = list(self.totals)
        for seat, reward in enumerate(rewards):
            if reward is not None:
                totals[seat] += float(reward)
        self._totals_after[frame] = self.totals = tuple(totals)

    def mark_verified(self) -> int:
        """All peers agree up to the chain's newest verified frame: let go of what was kept in case they would not.

        Returns:
            How many frames are newly verified.
        """
        verified = self.chain.verified_frame
        fresh = verified - self.verified
        if fresh <= 0:
            return 0
        for frame in range(self.verified, verified):
            del self._totals_after[frame]
        self.verified = verified
        # The survivors of a drop share their inputs from here on, and a desync is simulated again from here.
        if verified - self._discarded >= _DISCARD_EVERY:
            self._discarded = verified
            self.session.discard_before(verified)
        return fresh

    def _record(self, frame: int, result: Sequence[Any]) -> FrameRecorded:
        inputs = self.session.confirmed_inputs(frame)
        actions, focus = [], []
        for seat, value in enumerate(inputs):
            action, focused = self._actions[seat][value]
            actions.append(action)
            focus.append(focused)
        return FrameRecorded(
            episode=self.number,
            frame=frame,
            inputs=inputs,
            actions=tuple(actions),
            rewards=tuple(result[1]),
            terminations=tuple(result[2]),
            truncations=tuple(result[3]),
            infos=tuple(result[4]),
            focus=tuple(focus),
            checksum=bytes(result[0]),
            observations=None if result[6] is None else tuple(result[6]),
            by=self._holders(frame) if self._held_by else None,
        )

    def _holders(self, frame: int) -> tuple[str | None, ...] | None:
        """Return by seat who has it in a frame, None for the player to whom it was given; None if all are those."""
        held = {seat: by for seat, (after, by) in self._held_by.items() if frame > after}
        return tuple([held.get(seat) for seat in range(self._plan.seats)]) if held else None

    def trace(self, batch: PlayBatch, results: Sequence[Any]) -> list[str]:
        """Lines for comparing two sides: every simulated frame with its inputs and checksums, every rollback."""
        lines = []
        if batch.depth:
            end = batch.loaded + batch.resimulated - 1
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
