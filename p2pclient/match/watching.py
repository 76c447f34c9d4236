"""The spectator's side: follows a match that others play, holds no seat, and is waited for by nobody.

The rules:

1. Only what all players have verified arrives here; it is simulated in order, never newer than ``delay`` frames behind
   the newest that was heard. Whoever is more than :data:`~p2pclient.match.playback.CATCH_UP_AFTER` frames behind that
   runs two in a tick.
2. What is simulated is compared with the players' chain. A difference is named, and ends the watching.
3. When the environment's host fails, another one begins as at the first: with the newest state that a player gives.
4. One player feeds at a time. When it falls silent or goes, the next one is asked to go on from what is here already.

It has the verbs of :class:`~p2pclient.match.match.Match`, and hands back the same outbox. Its phases: ``HANDSHAKING``,
``BARRIER`` while it waits for what it needs to begin, ``RESETTING`` while the host is brought there, ``PLAYING``,
``ENDED``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from p2pclient.common.errors import LocalMisuseError, RemoteProtocolError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.match.peers import input_check
from p2pclient.match.plan import (
    Desync,
    Ended,
    MatchChanged,
    MatchPlan,
    Outbox,
    PeerSilence,
    Phase,
    PhaseChanged,
    ViewReady,
)
from p2pclient.match.playback import Playback, WatchBatch
from p2pclient.match.recovery import MOST, SPAN, is_same_environment
from p2pclient.match.stretch import Stretch
from p2pclient.protocol.control import (
    AnyMessage,
    EpisodeOver,
    FeedEnd,
    FeedPause,
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
        self.failovers = 0
        """How often another player was asked to go on."""
        self.recoveries = 0
        """How often the environment failed, and the watching began again."""
        self.is_recovering = False
        """True while another host is waited for."""
        self.is_paused = False
        """True while the players say that play stands still."""
        self._failures: list[float] = []
        self._out = Outbox()
        self._sources = {player: _Source(player, self._make_endpoint(player, now)) for player in players}
        self._current: _Source | None = None
        self._request = 0
        self._playback = Playback(plan, delay=delay)
        self._batch: WatchBatch | None = None
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
    def number(self) -> int:
        """Number of the episode at hand."""
        return self._playback.number

    @property
    def simulated(self) -> int:
        """Newest frame of it that was simulated."""
        return self._playback.simulated

    @property
    def simulated_frames(self) -> int:
        """Frames simulated in all."""
        return self._playback.simulated_frames

    @property
    def totals(self) -> list[tuple[float, ...]]:
        """Total rewards by seat of each episode that was watched to its end."""
        return self._playback.totals

    @property
    def behind(self) -> int:
        """Frames that were heard and are not simulated yet."""
        return self._playback.behind

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
            self._out.records.extend(self._playback.take_results(batch, results))
            self._follow()
            if batch.view is not None and self.ended is None:
                self._out.events.append(ViewReady(self.number, results[batch.view]))
        return self._take_outbox()

    def host_lost(self, cause: str, *, is_gone: bool = True, now: float) -> Outbox:
        """The host could not do the batch that is out, or another one cannot be had: begin again, or end."""
        self._failures = [at for at in self._failures if now - at < SPAN]
        if self.ended is not None or self.is_recovering or len(self._failures) >= MOST:
            return self.batch_failed(cause, now=now)
        self._failures.append(now)
        self._batch, self._current, self.is_recovering = None, None, True
        self._playback.begin_again()
        self._follow()
        self._out.wants_host = True
        return self._send(now)

    def host_ready(self, ready: Mapping[str, Any], *, now: float) -> Outbox:
        """The host that ``Outbox.wants_host`` asked for is there."""
        if self.is_recovering and self.ended is None:
            if is_same_environment(self.plan, ready):
                self.is_recovering = False
                self.recoveries += 1
            else:
                self._end("environment", "The environment failed, and is not the same when it is started again.")
        return self._send(now)

    def batch_failed(self, cause: str, *, now: float) -> Outbox:
        """The host could not do it, and there will be no other: the watching ends here."""
        self._batch = None
        self._end("environment", f"The environment failed: {cause}")
        return self._send(now)

    def peer_gone(self, peer_id: int, *, gone: bool = True) -> None:
        """The server confirmed that a player's process is gone; or, not ``gone``, that it is connected again."""
        if peer_id in self._sources:
            self._sources[peer_id].gone = gone

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
        if isinstance(event, ControlReceived):
            self._take_message(source, event.message, now)
        elif source is not self._current:
            return
        elif isinstance(event, SilenceChanged):
            self._out.events.append(PeerSilence(source.id, event.level))
        elif isinstance(event, InputReceived):
            self._playback.add_inputs(event.frame, event.values, now=now)
        else:
            assert isinstance(event, ChainReceived)
            self._playback.expect(event.frame, event.value)
        self._follow()

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
        elif source is self._current:
            self._take_feed(source, message, now)

    def _take_feed(self, source: _Source, message: AnyMessage, now: float) -> None:
        if isinstance(message, FeedStart) and message.request == self._request:
            self._begin_stretch(source, message, now)
        elif isinstance(message, FeedPause):
            self._pause(message.paused)
        elif isinstance(message, StatePart):
            self._take_part(source, message)
        elif isinstance(message, EpisodeOver):
            self._playback.end_episode(message, now=now)

    def _begin_stretch(self, source: _Source, start: FeedStart, now: float) -> None:
        """A player feeds from here on: what we have goes on, or something new begins."""
        playback = self._playback
        tail = playback.tail
        goes_on = tail is not None and not start.has_state and not tail.is_whole
        goes_on = goes_on and (start.episode, start.first_frame) == playback.position
        begins = start.has_state or start.first_frame == 0
        too_many = len(playback.stretches) >= _HELD_STRETCHES
        if not (goes_on or begins) or too_many or len(start.totals) != self.plan.seats:
            source.out = "The player sent what cannot be followed."
            return
        source.endpoint.begin_episode(start.stretch, first_frame=start.first_frame)
        self._pause(False)
        if goes_on:
            playback.expect(start.first_frame - 1, start.chain)
        else:
            playback.begin(Stretch.begin(start), now=now)

    def _pause(self, is_paused: bool) -> None:
        if is_paused != self.is_paused:
            self.is_paused = is_paused
            kind = "pause" if is_paused else "resume"
            self._out.events.append(MatchChanged(kind, self.number, max(0, self.simulated), ""))

    def _take_part(self, source: _Source, part: StatePart) -> None:
        tail = self._playback.tail
        if tail is None or tail.parts is None or tail.is_ready:
            return
        try:
            tail.parts.add(part)
        except RemoteProtocolError as error:
            source.endpoint.drops[error.reason] += 1
            source.out = "The player sent a state that cannot be read."

    # -- who feeds ----------------------------------------------------------------------------------------------

    def _choose(self, now: float) -> None:
        """Ask a player to feed; another one if the present one is silent or gone. Ends when nobody is left."""
        if self._has_everything() or (self._current is not None and _is_useful(self._current)) or self.is_recovering:
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
        self._pause(False)
        self._request += 1
        self._playback.drop_unready()
        self._playback.reopen()
        source.endpoint.queue_control(Watch(self._request, *self._playback.position))
        if self.phase is Phase.HANDSHAKING:
            self._change_phase(Phase.BARRIER)

    def _is_hopeless(self, source: _Source, now: float) -> bool:
        silent = source.endpoint.silent_for(now=now)
        return bool(source.out) or source.finished or silent >= (LOST_AFTER if source.gone else self.plan.drop_after)

    def _has_everything(self) -> bool:
        """Is the match complete, and all of it here."""
        is_complete = self._current is not None and self._current.finished
        tail = self._playback.tail
        return is_complete and (tail is None or tail.is_whole)

    def _give_up(self, now: float) -> None:
        """Nobody feeds any more: show what is held, then end."""
        playback = self._playback
        playback.drop_unready()
        playback.close(now=now)
        if playback.behind or self._batch is not None or any(stretch.is_whole for stretch in playback.stretches):
            return
        if not playback.stretches and any(s.finished for s in self._sources.values()):
            self._end("finished", "The match is complete.")
            return
        reasons = dict.fromkeys(s.out for s in self._sources.values() if s.out)
        is_refused = bool(reasons) and not any(s.greeted for s in self._sources.values())
        text = " ".join(reasons) or "The connection to the players was lost."
        self._end("refused" if is_refused else "partner-gone", text)

    # -- what is simulated --------------------------------------------------------------------------------------

    def _go_on(self, now: float) -> None:
        playback = self._playback
        if self._current is not None and playback.tail is not None:
            room = max(0, _HELD_FRAMES + self.delay - playback.behind)
            self._current.endpoint.limit = playback.tail.heard + 1 + room
        if self._batch is not None or self.ended is not None or self.is_recovering:
            return
        self._out.records.extend(playback.leave_finished())
        self._follow()
        if not playback.stretches:
            if self._has_everything():
                self._end("finished", "The match is complete.")
            return
        self._batch = playback.next_batch(now=now)
        if self._batch is not None:
            self._out.batch = self._batch.commands
        self._follow()

    def _follow(self) -> None:
        """Go where the playback stands: on to its phase, or to the end if it is wrong."""
        difference = self._playback.difference
        if difference is not None and self.ended is None:
            player = self._current.id if self._current is not None else NULL_FRAME
            event = Desync(player, self.number, difference.frame, difference.ours, difference.theirs)
            self._out.events.append(event)
            where = f"frame {difference.frame} of episode {self.number}"
            self._end("desync", f"What is simulated here differs from the game at {where}.")
        elif self.phase not in (Phase.HANDSHAKING, Phase.ENDED, self._playback.phase):
            self._change_phase(self._playback.phase)

    # -- ends ---------------------------------------------------------------------------------------------------

    def _end(self, reason: str, text: str) -> None:
        if self.ended is not None:
            return
        self.ended = Ended(reason, text, 0)
        self._out.events.append(self.ended)
        # Who reads nothing need not be told either.
        reading = [s.endpoint for s in self._sources.values() if s.endpoint.open_control <= _OPEN_CONTROL]
        for endpoint in reading:
            endpoint.queue_control(Leave("left"))
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
