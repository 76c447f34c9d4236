"""The spectator's side: follows a match that others play, holds no seat, and is waited for by nobody.

The rules:

1. Only what all players have verified arrives here; it is simulated in order, never newer than ``delay`` frames behind
   the newest that was heard. Whoever is more than :data:`CATCH_UP_AFTER` frames behind that runs two in a tick.
2. What is simulated is compared with the players' chain. A difference is named, and ends the watching.
3. One player feeds at a time. When it falls silent or goes, the next one is asked to go on from what is here already.

It has the verbs of :class:`~p2pclient.match.match.Match`, and hands back the same outbox. Its phases: ``HANDSHAKING``,
``BARRIER`` while it waits for what it needs to begin, ``RESETTING`` while the host is brought there, ``PLAYING``,
``ENDED``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from p2pclient.common.errors import LocalMisuseError, RemoteProtocolError
from p2pclient.common.frames import NULL_FRAME, unpack_seat_input
from p2pclient.common.spaces import decode_action
from p2pclient.envhost.values import MalformedValueError, decode
from p2pclient.match.peers import input_check
from p2pclient.match.plan import Desync, Ended, MatchPlan, Outbox, PeerSilence, Phase, PhaseChanged, ViewReady
from p2pclient.match.stretch import Stretch
from p2pclient.protocol.control import (
    AnyMessage,
    EpisodeOver,
    FeedEnd,
    FeedStart,
    Hello,
    Leave,
    Refuse,
    StatePart,
    Unwatch,
    Watch,
)
from p2pclient.protocol.endpoint import (
    LOST_AFTER,
    ChainReceived,
    ControlReceived,
    Endpoint,
    EndpointConfig,
    InputReceived,
    SilenceChanged,
)
from p2pclient.protocol.handshake import PROTOCOL_VERSION, differences
from p2pclient.recorder.records import EpisodeEnded, FrameRecorded
from p2pclient.rollback.chain import extend_chain

CATCH_UP_AFTER = 4
"""Frames behind what may be shown above which two frames run in one tick."""
_HELD_FRAMES = 2048
"""Inputs that are held beyond the delay."""
_HELD_STRETCHES = 64
_OPEN_CONTROL = 8
"""Messages that a player may leave unacknowledged and still be asked for something."""


_LEAVING = {"desync": "The games of the players had become different.", "error": "The player's program had to stop."}


@dataclass(slots=True)
class _Source:
    """One player."""

    id: int
    endpoint: Endpoint
    greeted: bool = False
    finished: bool = False
    """It says that the match is complete."""
    gone: bool = False
    """The server confirmed that its process is gone."""
    out: str = ""
    """Why it is asked no more; empty while it may be."""
    told: int = NULL_FRAME
    """Newest input that was acknowledged to it."""


@dataclass(slots=True)
class _Batch:
    """What is out at the host."""

    commands: list[list[Any]] = field(default_factory=list)
    steps: dict[int, tuple[int, tuple[bytes, ...]]] = field(default_factory=dict)
    """Frame and inputs behind each step, by index."""
    checksum: int | None = None
    """Index of the command that begins a stretch, whose result is a checksum."""
    view: int | None = None


class Watching:
    """The state machine of one spectator.

    Args:
        plan: as the players have it, without local seats and peers; ``own_id`` is the spectator's.
        players: their ids.
        delay: frames to stay behind what is confirmed.
        now: seconds.
    """

    def __init__(self, plan: MatchPlan, players: Sequence[int], *, delay: int = 0, now: float) -> None:
        self.plan = plan
        self.delay = delay
        self.tracing = False
        self.phase = Phase.HANDSHAKING
        self.ended: Ended | None = None
        self.number = 0
        """Number of the episode at hand."""
        self.simulated = NULL_FRAME
        """Newest frame of it that was simulated."""
        self.simulated_frames = 0
        """Frames simulated in all."""
        self.totals: list[tuple[float, ...]] = []
        """Total rewards by seat of each episode that was watched to its end."""
        self.failovers = 0
        """How often another player was asked to go on."""
        self._out = Outbox()
        self._sources = {player: _Source(player, self._make_endpoint(player, now)) for player in players}
        self._current: _Source | None = None
        self._request = 0
        self._stretches: deque[Stretch] = deque()
        self._is_entered = False
        """Is the host in the first of the stretches."""
        self._chain = b""
        self._totals: tuple[float, ...] = ()
        self._batch: _Batch | None = None
        for source in self._sources.values():
            source.endpoint.queue_control(Hello(self._facts()))

    def _make_endpoint(self, player: int, now: float) -> Endpoint:
        plan = self.plan
        seats = range(plan.seats)
        config = EndpointConfig(
            connection=plan.connection_id(player),
            local_width=0,
            remote_widths=tuple(len(plan.neutral_input(seat)) for seat in seats),
            is_valid=input_check(plan, seats),
        )
        return Endpoint(config, now=now)

    def _facts(self) -> dict[str, Any]:
        return {"protocol": PROTOCOL_VERSION, **self.plan.facts()}

    # -- how it stands ------------------------------------------------------------------------------------------

    @property
    def is_batch_out(self) -> bool:
        """True while the host works for this spectator."""
        return self._batch is not None

    @property
    def feeder(self) -> int | None:
        """The player that was asked to feed; None before any."""
        return self._current.id if self._current is not None else None

    @property
    def behind(self) -> int:
        """Frames that were heard and are not simulated yet."""
        return sum(len(stretch.inputs) for stretch in self._stretches)

    @property
    def rtt(self) -> float | None:
        """Newest round trip time to the player that feeds, seconds."""
        return self._current.endpoint.rtt if self._current is not None else None

    @property
    def owes_acknowledgement(self) -> bool:
        """True while a player that is still here has not acknowledged everything that was said."""
        return any(
            s.endpoint.open_control and s.endpoint.silence == "heard" and not s.out for s in self._sources.values()
        )

    def frame_duration(self) -> float:
        """Seconds that the next frame is to last."""
        return 1.0 / self.plan.rate_hz

    # -- what happens to it -------------------------------------------------------------------------------------

    def receive(self, peer_id: int, channel: str, data: bytes, *, now: float) -> None:
        """Take in bytes from a player, when they arrive. What follows is decided in the next tick."""
        source = self._sources.get(peer_id)
        if source is None:
            return
        if channel == "inputs":
            source.endpoint.receive_datagram(data, now=now)
        else:
            source.endpoint.receive_control(data, now=now)

    def tick(self, *, now: float, owed: int = 1) -> Outbox:
        """Let one frame's time pass. Frames that are ``owed`` are caught up with by themselves."""
        for source in self._sources.values():
            source.endpoint.handle_timer(now=now)
            for event in source.endpoint.take_events():
                if self.ended is None:
                    self._take_event(source, event, now)
        if self.ended is None:
            self._choose(now)
            self._go_on(now)
        return self._send(now)

    def batch_done(self, results: Sequence[Any], *, now: float, costs_us: Sequence[int] = ()) -> Outbox:
        """Take in the host's results of the batch that is out."""
        batch, self._batch = self._batch, None
        if batch is None:
            raise LocalMisuseError("no batch is out")
        if self.ended is None:
            if batch.checksum is not None:
                self._enter(bytes(results[batch.checksum]))
            for index, (frame, inputs) in batch.steps.items():
                if self.ended is None:
                    self._take_step(frame, inputs, results[index])
            if batch.view is not None and self.ended is None:
                self._out.events.append(ViewReady(self.number, results[batch.view]))
        return self._take_outbox()

    def batch_failed(self, cause: str, *, now: float) -> Outbox:
        """The host could not do it: the state is unknown, so the watching ends here."""
        self._batch = None
        self._end("environment", f"The environment failed: {cause}")
        return self._send(now)

    def peer_gone(self, peer_id: int) -> None:
        """The server confirmed that a player's process is gone."""
        if peer_id in self._sources:
            self._sources[peer_id].gone = True

    def leave(self, *, now: float) -> Outbox:
        """The person wants to go."""
        self._end("left", "You stopped watching.")
        return self._send(now)

    def abort(self, *, now: float) -> Outbox:
        """Something here broke."""
        self._end("error", "The program had to stop.")
        return self._send(now)

    # -- what players say ---------------------------------------------------------------------------------------

    def _take_event(self, source: _Source, event: object, now: float) -> None:
        is_current = source is self._current
        if isinstance(event, ControlReceived):
            self._take_message(source, event.message, now)
        elif isinstance(event, SilenceChanged) and is_current:
            self._out.events.append(PeerSilence(source.id, event.level))
        elif isinstance(event, InputReceived) and is_current and self._stretches:
            tail = self._stretches[-1]
            if event.frame == tail.heard + 1 and tail.closed_at is None:
                tail.heard = event.frame
                tail.inputs.append(event.values)
                self._close_if_whole(tail, now)
        elif isinstance(event, ChainReceived) and is_current and self._stretches:
            self._expect(self._stretches[-1], event.frame, event.value)

    def _take_message(self, source: _Source, message: AnyMessage, now: float) -> None:
        if isinstance(message, Hello) and not source.greeted:
            allowed = self.plan.allow_mixed_hosts
            found = differences(self._facts(), message.facts, allow_mixed_hosts=allowed)
            source.greeted = not found
            if found:
                source.endpoint.queue_control(Refuse(found))
                source.out = "The two machines do not fit together. " + "; ".join(found)
        elif isinstance(message, Refuse):
            source.out = "The player's machine does not fit together with this one. " + "; ".join(message.differences)
        elif isinstance(message, Leave):
            source.finished = message.reason == "finished"
            if not source.finished:
                source.out = _LEAVING.get(message.reason, "The player left the match.")
        elif isinstance(message, FeedEnd):
            source.out = f"The player does not send the match any more ({message.reason[:40]})."
        elif isinstance(message, FeedStart) and source is self._current and message.request == self._request:
            self._begin_stretch(source, message, now)
        elif isinstance(message, StatePart) and source is self._current and self._stretches:
            self._take_part(source, self._stretches[-1], message)
        elif isinstance(message, EpisodeOver) and source is self._current and self._stretches:
            tail = self._stretches[-1]
            if tail.episode == message.episode and tail.over is None and message.last_frame >= tail.heard:
                tail.over = message
                self._expect(tail, message.last_frame, message.chain)
                self._close_if_whole(tail, now)

    def _begin_stretch(self, source: _Source, start: FeedStart, now: float) -> None:
        """A player feeds from here on: what we have goes on, or something new begins."""
        tail = self._stretches[-1] if self._stretches else None
        goes_on = (
            not start.has_state
            and tail is not None
            and tail.closed_at is None
            and (start.episode, start.first_frame) == (tail.episode, tail.heard + 1)
        )
        if not goes_on and not start.has_state and start.first_frame != 0:
            source.out = "The player does not go on from where this spectator stands."
            return
        if len(start.totals) != self.plan.seats or len(self._stretches) >= _HELD_STRETCHES:
            source.out = "The player sent what cannot be followed."
            return
        source.endpoint.begin_episode(start.stretch, first_frame=start.first_frame)
        if goes_on and tail is not None:
            self._expect(tail, start.first_frame - 1, start.chain)
            return
        if tail is not None and not tail.is_ready:
            self._stretches.pop()
        elif tail is not None and tail.closed_at is None:
            tail.closed_at = now
        self._stretches.append(Stretch.begin(start))

    def _take_part(self, source: _Source, tail: Stretch, part: StatePart) -> None:
        if tail.parts is None or tail.parts.is_complete:
            return
        try:
            tail.parts.add(part)
        except RemoteProtocolError as error:
            source.endpoint.drops[error.reason] += 1
            source.out = "The player sent a state that cannot be read."

    def _close_if_whole(self, stretch: Stretch, now: float) -> None:
        if stretch.is_whole and stretch.closed_at is None:
            stretch.closed_at = now

    def _expect(self, stretch: Stretch, frame: int, value: bytes) -> None:
        """A player told the chain's value at a frame: compare now or, if we are not there yet, later."""
        is_here = self._is_entered and stretch is self._stretches[0]
        newest, known = (self.simulated, self._chain) if is_here else (stretch.first - 1, stretch.chain)
        if frame > newest:
            stretch.expected[frame] = value
        elif frame == newest and value != known:
            self._differ(frame, known, value)

    # -- who feeds ----------------------------------------------------------------------------------------------

    def _choose(self, now: float) -> None:
        """Ask a player to feed; another one if the present one is silent or gone. Ends when nobody is left."""
        if self._has_everything() or (self._current is not None and _is_useful(self._current)):
            return
        candidates = [s for s in self._in_turn() if s.greeted and _is_useful(s)]
        candidates = [s for s in candidates if s.endpoint.open_control <= _OPEN_CONTROL]
        if candidates:
            self._ask(candidates[0])
        elif all(self._is_hopeless(source, now) for source in self._sources.values()):
            self._give_up(now)

    def _in_turn(self) -> list[_Source]:
        """All players, those behind the present one first; the first choice differs between spectators."""
        every = list(self._sources.values())
        at = every.index(self._current) + 1 if self._current is not None else self.plan.own_id % len(every)
        return every[at:] + every[:at]

    def _ask(self, source: _Source) -> None:
        if self._current is not None:
            self.failovers += 1
            if not self._current.out and self._current.endpoint.open_control <= _OPEN_CONTROL:
                self._current.endpoint.queue_control(Unwatch())
        self._current = source
        self._request += 1
        if self._stretches and not self._stretches[-1].is_ready:
            self._stretches.pop()  # nobody knows the rest of this state
        tail = self._stretches[-1] if self._stretches else None
        if tail is not None and not tail.is_whole:
            tail.closed_at = None
        if tail is None:
            position = self._next_episode()
        elif tail.is_whole:
            position = (tail.episode + 1, 0)
        else:
            position = (tail.episode, tail.heard + 1)
        source.endpoint.queue_control(Watch(self._request, *position))
        if self.phase is Phase.HANDSHAKING:
            self._change_phase(Phase.BARRIER)

    def _next_episode(self) -> tuple[int | None, int]:
        """Where it goes on if nothing is held: behind the newest episode that was watched to its end."""
        return (self.number, 0) if self.totals else (None, 0)

    def _is_hopeless(self, source: _Source, now: float) -> bool:
        silent = source.endpoint.silent_for(now=now)
        return bool(source.out) or source.finished or silent >= (LOST_AFTER if source.gone else self.plan.drop_after)

    def _has_everything(self) -> bool:
        """Is the match complete, and all of it here."""
        is_complete = self._current is not None and self._current.finished
        return is_complete and (not self._stretches or self._stretches[-1].is_whole)

    def _give_up(self, now: float) -> None:
        """Nobody feeds any more: show what is held, then end."""
        if self._stretches and not self._stretches[-1].is_ready:
            self._stretches.pop()
        for stretch in self._stretches:
            if stretch.closed_at is None:
                stretch.closed_at = now
        if self.behind or self._batch is not None or any(stretch.is_whole for stretch in self._stretches):
            return
        if not self._stretches and any(s.finished for s in self._sources.values()):
            self._end("finished", "The match is complete.")
            return
        reasons = dict.fromkeys(s.out for s in self._sources.values() if s.out)
        is_refused = bool(reasons) and not any(s.greeted for s in self._sources.values())
        text = " ".join(reasons) or "The connection to the players was lost."
        self._end("refused" if is_refused else "partner-gone", text)

    # -- what is simulated --------------------------------------------------------------------------------------

    def _go_on(self, now: float) -> None:
        self._limit_what_is_held()
        if self._batch is not None or self.ended is not None:
            return
        if not self._stretches:
            if self._has_everything():
                self._end("finished", "The match is complete.")
            return
        head = self._stretches[0]
        released = head.released(delay=self.delay, rate_hz=self.plan.rate_hz, now=now)
        if not self._is_entered:
            if head.is_ready and released >= head.first - 1:
                self._submit(self._plan_entry(head))
            return
        if head.closed_at is not None and self.simulated >= head.heard:
            self._leave_stretch(head)
        elif released > self.simulated:
            self._submit(self._plan_steps(head, released))

    def _limit_what_is_held(self) -> None:
        if self._current is not None and self._stretches:
            room = max(0, _HELD_FRAMES + self.delay - self.behind)
            self._current.endpoint.limit = self._stretches[-1].heard + 1 + room

    def _plan_entry(self, head: Stretch) -> _Batch | None:
        """Return the batch that brings the host to the beginning of a stretch."""
        batch = _Batch([["reset", self.plan.episode_seed(head.episode)]], checksum=0)
        if head.parts is not None:
            try:
                state = decode(head.parts.joined())
            except MalformedValueError:
                self._end("desync", "The state that a player sent cannot be read.")
                return None
            batch.checksum = 1
            batch.commands.append(["set_state", {"frame": head.first, "data": state}])
        self._add_view(batch)
        if self.number != head.episode or self.phase is not Phase.RESETTING:
            self.number = head.episode
            self._change_phase(Phase.RESETTING)
        return batch

    def _plan_steps(self, head: Stretch, released: int) -> _Batch:
        behind = released - self.simulated
        batch = _Batch()
        for frame in range(self.simulated + 1, self.simulated + 1 + min(behind, 2 if behind > CATCH_UP_AFTER else 1)):
            inputs = head.inputs.popleft()
            batch.steps[len(batch.commands)] = frame, inputs
            batch.commands.append(["step", frame, [value[1:] for value in inputs]])
        self._add_view(batch)
        return batch

    def _add_view(self, batch: _Batch) -> None:
        if self.plan.render:
            batch.view = len(batch.commands)
            batch.commands.append(["render"])

    def _submit(self, batch: _Batch | None) -> None:
        if batch is not None:
            self._batch = batch
            self._out.batch = batch.commands

    def _enter(self, checksum: bytes) -> None:
        head = self._stretches[0]
        if checksum != head.checksum:
            self._differ(head.first - 1, checksum, head.checksum)
            return
        self._is_entered = True
        self.simulated = head.first - 1
        self._chain, self._totals = head.chain, head.totals
        self._change_phase(Phase.PLAYING)

    def _take_step(self, frame: int, inputs: tuple[bytes, ...], result: Sequence[Any]) -> None:
        head = self._stretches[0]
        checksum = bytes(result[0])
        self.simulated = frame
        self.simulated_frames += 1
        self._chain = extend_chain(self._chain, frame, checksum)
        self._totals = tuple(
            [
                total if reward is None else total + float(reward)
                for total, reward in zip(self._totals, result[1], strict=True)
            ]
        )
        expected = head.expected.pop(frame, None)
        if expected is not None and expected != self._chain:
            self._differ(frame, self._chain, expected)
            return
        self._out.records.append(self._record(frame, inputs, result))

    def _record(self, frame: int, inputs: tuple[bytes, ...], result: Sequence[Any]) -> FrameRecorded:
        split = [unpack_seat_input(value) for value in inputs]
        spaces = self.plan.env["action_spaces"]
        return FrameRecorded(
            episode=self.number,
            frame=frame,
            inputs=inputs,
            actions=tuple(decode_action(space, payload) for space, (payload, _) in zip(spaces, split, strict=True)),
            rewards=tuple(result[1]),
            terminations=tuple(result[2]),
            truncations=tuple(result[3]),
            infos=tuple(result[4]),
            focus=tuple(focused for _, focused in split),
            checksum=bytes(result[0]),
        )

    def _leave_stretch(self, head: Stretch) -> None:
        """All of it was simulated: the episode is over, or there is a gap behind it."""
        self._stretches.popleft()
        self._is_entered = False
        if head.over is not None and self.simulated == head.over.last_frame:
            self.totals.append(self._totals)
            self._out.records.append(EpisodeEnded(self.number, self.simulated, self._totals, "watched"))
            self.number += 1
        self._change_phase(Phase.BARRIER)

    # -- ends ---------------------------------------------------------------------------------------------------

    def _differ(self, frame: int, ours: bytes, theirs: bytes) -> None:
        player = self._current.id if self._current is not None else NULL_FRAME
        self._out.events.append(Desync(player, self.number, frame, ours, theirs))
        self._end("desync", f"What is simulated here differs from the game at frame {frame} of episode {self.number}.")

    def _end(self, reason: str, text: str) -> None:
        if self.ended is not None:
            return
        self.ended = Ended(reason, text, 0)
        self._out.events.append(self.ended)
        for source in self._sources.values():
            if source.endpoint.open_control <= _OPEN_CONTROL:
                source.endpoint.queue_control(Leave("left"))
        self._change_phase(Phase.ENDED)

    def _change_phase(self, phase: Phase) -> None:
        self.phase = phase
        self._out.events.append(PhaseChanged(phase, self.number))

    def _send(self, now: float) -> Outbox:
        for source in self._sources.values():
            endpoint = source.endpoint
            idle = source.told == endpoint.newest_heard
            source.told = endpoint.newest_heard
            for data in endpoint.datagrams_to_send(now=now, idle=idle):
                self._out.datagrams.append((source.id, data))
            for data in endpoint.control_to_send():
                self._out.control.append((source.id, data))
        return self._take_outbox()

    def _take_outbox(self) -> Outbox:
        out, self._out = self._out, Outbox()
        return out


def _is_useful(source: _Source) -> bool:
    return not source.out and not source.finished and source.endpoint.silence != "lost"
