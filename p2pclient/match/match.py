"""One match: from the handshake over the episodes to the goodbye.

The rules:

1. Nothing is simulated before the facts of all sides agree, and no episode begins before all sides stand at its
   barrier with the same first checksum.
2. An episode ends at a settled frame that every side names, with an equal chain value. Predicted ends end nothing.
3. A state that may be wrong is not played on: at a desync all stop (:mod:`p2pclient.match.desync`).
4. Whoever leaves says so; whoever falls silent is waited for, and counts as gone after ``drop_after`` seconds, or when
   the server confirms it.

Call :meth:`Match.receive` when bytes arrive, :meth:`Match.tick` once per frame, and :meth:`Match.batch_done` with the
host's reply. What they decide comes back as an :class:`~p2pclient.match.plan.Outbox`; carry it out at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.match.absences import AbsenceCourse
from p2pclient.match.barriers import WAITING, Barriers
from p2pclient.match.changes import ChangeCourse
from p2pclient.match.core import MatchCore
from p2pclient.match.costs import learn_costs
from p2pclient.match.delays import DelayCourse
from p2pclient.match.desync import DesyncCourse
from p2pclient.match.drops import DropCourse
from p2pclient.match.episode import EpisodePlay, EvidenceBatch, PlayBatch
from p2pclient.match.feed import Feeds
from p2pclient.match.past import Past
from p2pclient.match.patience import MOST_UNVERIFIED as MOST_UNVERIFIED
from p2pclient.match.patience import Patience
from p2pclient.match.peers import Peers
from p2pclient.match.plan import Ended, MatchPlan, Outbox, PeerSilence, Phase, ViewReady
from p2pclient.match.readiness import Standing
from p2pclient.match.recovery import RecoveryBatch, RecoveryCourse
from p2pclient.match.replaying import ReplayBatch
from p2pclient.match.reset import ResetBatch
from p2pclient.match.returns import Courses, Returns
from p2pclient.match.sources import BotSource, InputSource
from p2pclient.protocol.endpoint import MAX_AHEAD, ChainReceived, ControlReceived, InputReceived, SilenceChanged
from p2pclient.protocol.handshake import PROTOCOL_VERSION
from p2pclient.rollback.budget import Budget
from p2pclient.telemetry.counters import MatchCounters
from p2pclient.telemetry.match import MatchTelemetry

_PLAYING, _DIVERGED, _FINISHING, _REJOINING = Phase.PLAYING, Phase.DIVERGED, Phase.FINISHING, Phase.REJOINING
"""What is asked for in every tick: in Python 3.11 a member of an enum takes twenty times as long as a name."""
_IN_TOUCH = (Phase.BARRIER, Phase.PLAYING, Phase.EPISODE_OVER, Phase.DIVERGED)
"""Phases in which a datagram leaves in every tick; in all others only to keep alive."""
_LATE_TICK = 0.5
"""After a pause of our own this long, what the others sent meanwhile is read before their silence is judged."""

AnyBatch = ResetBatch | PlayBatch | EvidenceBatch | RecoveryBatch | ReplayBatch


class Match:
    """The state machine of one side.

    Args:
        plan: what is fixed beforehand.
        sources: where the inputs of the local seats come from, by seat.
        now: seconds.
        past: what is recorded of the match, if this program was started again in its midst; empty if nothing is.
    """

    def __init__(
        self, plan: MatchPlan, sources: Mapping[int, InputSource], *, now: float, past: Past | None = None
    ) -> None:
        self.plan = plan
        self.tracing = False
        """True to fill ``Outbox.trace`` with a line for every simulated frame."""
        self.stalled = False
        """Did the newest tick find the prediction window full."""
        self.last_depth = 0
        """Depth of the newest rollback."""
        self._sources = sources
        self._core = core = MatchCore(plan, now=now)
        self.peers: Peers = self._core.peers
        """All other sides."""
        self.telemetry: MatchTelemetry = self._core.telemetry
        """Everything that is counted about this match, and the trace while one is made."""
        self.counters: MatchCounters = self._core.counters
        """What this side counted so far."""
        self._desync = DesyncCourse(self._core)
        self.delays = DelayCourse(self._core)
        self.drops = DropCourse(self._core)
        self.sittings = self._core.sittings
        """Who sat in the seats of those who were gone."""
        self.changes = ChangeCourse(self._core, self.drops)
        self._barriers = Barriers(self._core, self._desync, self.delays, self.drops, self.changes)
        self._patience = Patience(self._core, self.drops, self._barriers.readiness, now=now)
        self.absences = AbsenceCourse(self._core, self.changes)
        self._recovery = RecoveryCourse(self._core)
        self.returns = Returns(
            core,
            Courses(self._barriers, self.changes, self.delays, self._desync, self.drops),
            past,
            facts=self._facts(),
            compare=self._compare,
            on_greeted=lambda: self._submit(self._barriers.reset()),
            now=now,
        )
        self.feeds = Feeds(self._core, self._facts())
        """The spectators; :meth:`~p2pclient.match.feed.Feeds.add` lets one in."""
        self._budget = Budget(frame=1.0 / plan.rate_hz, window=plan.own_window, spacing=plan.first_spacing)
        self._batch: AnyBatch | None = None
        self._owed = 0
        self._ticked_at = now
        self.returns.say_hello()
        if not self.peers:
            self._submit(self._barriers.reset())

    def _facts(self) -> dict[str, Any]:
        return {"protocol": PROTOCOL_VERSION, **self.plan.facts()}

    # -- how it stands ------------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """Where the match stands."""
        return self._core.phase

    @property
    def episode(self) -> EpisodePlay | None:
        """The episode at hand; None between a reset and its reply."""
        return self._core.episode

    @property
    def number(self) -> int:
        """Number of the episode at hand, from 0."""
        return self._core.number

    @property
    def ended(self) -> Ended | None:
        """How the match ended; None while it goes on."""
        return self._core.ended

    @property
    def totals(self) -> list[tuple[float, ...]]:
        """Total rewards by seat of each finished episode."""
        return self._barriers.totals

    @property
    def reset_commands(self) -> list[list[Any]]:
        """Commands that go to the host before each reset; for tests that make it faulty."""
        return self._barriers.reset_commands

    @property
    def is_batch_out(self) -> bool:
        """True while the host works for this match."""
        return self._batch is not None

    @property
    def is_recovering(self) -> bool:
        """True while the environment failed and is brought back to where it was."""
        return self._recovery.is_open

    @property
    def recovered(self) -> float | None:
        """Share of the frames to simulate again that is done; None while no recovery is under way."""
        return self._recovery.progress

    @property
    def owes_acknowledgement(self) -> bool:
        """True while what was said last has not reached everyone who is still here."""
        return self.peers.owe_acknowledgement or self.feeds.owe

    def link_check(self, now: float) -> Standing | None:
        """How the check of the links before the next episode goes; None if none is under way."""
        return self._barriers.readiness.standing(now)

    def frame_duration(self) -> float:
        """Seconds that the next frame is to last. Call it once per tick: each call is a sample of the leads."""
        is_paced = self._core.phase is _PLAYING and not self.changes.is_paused
        return (self.peers.stretch() if is_paced else 1.0) / self.plan.rate_hz

    # -- what happens to it -------------------------------------------------------------------------------------

    def receive(self, peer_id: int, channel: str, data: bytes, *, now: float) -> None:
        """Take in bytes from a peer, when they arrive. What follows is decided in the next tick."""
        peer = self.peers.get(peer_id)
        if peer is None:
            if peer_id in self.feeds:
                self.feeds.receive(peer_id, channel, data, now=now)
            return  # or given up: nothing of it counts any more
        self.telemetry.received(peer_id, channel, data, now=now)
        if channel == "inputs":
            peer.endpoint.receive_datagram(data, now=now)
        else:
            peer.endpoint.receive_control(data, now=now)

    def tick(self, *, now: float, owed: int = 1) -> Outbox:
        """Let one frame's time pass.

        Args:
            owed: frames that should have run by the clock since the last tick, at least 1.
        """
        core = self._core
        self.telemetry.tick(now=now, owed=owed)
        stood = now - self._ticked_at
        if stood >= _LATE_TICK:
            self._patience.forgive(stood)
        self._take_events(now)
        if stood < _LATE_TICK:
            is_stalled = core.phase is _PLAYING and self.stalled and not self._recovery.is_open
            if self._patience.look(is_stalled=is_stalled, now=now):
                self._submit(self._barriers.look(now))
            self.drops.tick(now=now)
        self._ticked_at = now
        self._recovery.tick(now)
        self.changes.tick(now)
        if core.phase in WAITING:
            self._submit(self._barriers.look(now))
        phase = core.phase
        if phase is _PLAYING:
            self.delays.tick(now)
            self._play(now, owed)
        elif phase is _DIVERGED:
            self._submit(self._desync.tick(is_batch_out=self.is_batch_out or self.is_recovering, now=now))
            self._resume_after_desync(now)
        elif phase is _FINISHING:
            self._wait_for_goodbye(now)
        elif phase is _REJOINING:
            self._rejoin(now)
        self.returns.tick(now=now)
        self.absences.tick(now)
        self.drops.tell()
        self.peers.send(core.out, self.telemetry, now=now, idle=phase not in _IN_TOUCH)
        self.feeds.tick(now=now, is_paused=self.changes.is_paused)
        return core.take_outbox()

    def batch_done(self, results: Sequence[Any], *, now: float, costs_us: Sequence[int] = ()) -> Outbox:
        """Take in the host's results of the batch that is out.

        Args:
            costs_us: microseconds that each of its commands took.
        """
        self.telemetry.batch_back(now=now, costs_us=costs_us)
        batch, self._batch = self._batch, None
        if batch is None:
            raise LocalMisuseError("no batch is out")
        if isinstance(batch, PlayBatch):
            rtt = self.peers.rtt
            self._learn(batch, costs_us, rtt)
            self._after_play(batch, results, rtt, now)
        elif isinstance(batch, EvidenceBatch):
            self._desync.take_evidence(batch, results, now)
        elif isinstance(batch, RecoveryBatch):
            self._submit(self._recovery.take_results(batch, results, costs_us, now))
        elif isinstance(batch, ReplayBatch):
            if self.returns.take_results(batch, results, costs_us, now):
                self._use_results(batch, results)
            self._rejoin(now)
        elif self.phase is Phase.RESETTING:
            self._owed = 0
            self._use_results(batch, results)
            self._barriers.after_reset(batch, results, now=now)
            self._recovery.close(now)
            self._submit(self._barriers.look(now))
        self.peers.send_control(self._core.out, self.telemetry)
        self.feeds.take_records()
        return self._core.take_outbox()

    def host_lost(self, cause: str, *, is_gone: bool = True, now: float) -> Outbox:
        """The host could not do the batch that is out, or is gone with it; or another one cannot be had.

        Args:
            is_gone: nothing more can be asked of it.
        """
        self.telemetry.batch_back(now=now)
        batch, self._batch = self._batch, None
        if not self.returns.host_lost(cause, now):
            self._submit(self._recovery.begin(batch, cause, is_gone=is_gone, now=now))
        return self._answer(now)

    def host_ready(self, ready: Mapping[str, Any], *, now: float) -> Outbox:
        """The host that ``Outbox.wants_host`` asked for is there; all batches go to it from here on."""
        self.telemetry.now = now
        if not self.returns.take_host(ready, now):
            self._submit(self._recovery.take_host(ready, now))
        return self._answer(now)

    def _answer(self, now: float) -> Outbox:
        self.peers.send_control(self._core.out, self.telemetry)
        if self.ended is not None:
            self.feeds.tick(now=now, is_paused=self.changes.is_paused)
            self.absences.end(now)
        return self._core.take_outbox()

    def batch_failed(self, cause: str, *, now: float) -> Outbox:
        """The host could not do it, and there will be no other: the match ends here."""
        self._batch = None
        self.telemetry.batch_back(now=now)
        return self._end_now("environment", f"The environment failed: {cause}", leave="error", now=now)

    def peer_gone(self, peer_id: int, *, gone: bool = True) -> None:
        """The server confirmed that a peer's process is gone; or, not ``gone``, that it is connected to it again."""
        if peer_id in self.peers:
            self.peers[peer_id].gone = gone

    def readmit(self, peer_id: int, *, now: float) -> bool:
        """Another program of a peer's is connected in place of the one that was: what arrives from now on is its.

        Returns:
            False if its seat is not to be had any more, and nothing was done.
        """
        self.telemetry.now = now
        self._take_events(now)  # what the earlier one said last
        return self.returns.readmit(peer_id, now=now)

    def leave(self, *, now: float) -> Outbox:
        """The local person wants to go: say so, and end."""
        return self._end_now("left", "You left the match.", leave="left", now=now)

    def abort(self, *, now: float) -> Outbox:
        """Something here broke, and nothing can be recorded any more: tell the others, so that they need not wait."""
        return self._end_now("error", "The program had to stop.", leave="error", now=now)

    def _end_now(self, reason: str, text: str, *, leave: str, now: float) -> Outbox:
        self.telemetry.now = now
        self._core.end(reason, text, leave=leave, now=now)
        return self._answer(now)

    def shown(self, episode: int, frame: int, at: float) -> None:
        """The window displayed the view of a frame, which shows the state after the frame before."""
        if self.episode is not None and self.episode.number == episode:
            self.episode.clock.shown(frame - 1, at)

    def _submit(self, batch: Any) -> None:
        """Hand a batch to the host, if there is one."""
        if batch is not None:
            self._batch = batch
            self._core.out.batch = batch.commands
            self.telemetry.batch_out(batch.commands)

    # -- peers --------------------------------------------------------------------------------------------------

    def _take_events(self, now: float) -> None:
        core = self._core
        for peer in self.peers.all:
            peer.endpoint.handle_timer(now=now)
            for event in peer.endpoint.take_events():
                if core.ended is not None:
                    break
                episode = core.episode
                if type(event) is InputReceived:
                    if episode is not None:
                        for index, seat in enumerate(peer.seats):
                            episode.session.add_remote_input(seat, event.frame, event.values[index])
                elif type(event) is ChainReceived:
                    # While a desync is looked into, what was agreed on stands still.
                    if episode is not None and core.phase is not _DIVERGED:
                        self._compare(episode.chain.receive(peer.id, event.frame, event.value), now)
                elif isinstance(event, ControlReceived):
                    self.returns.reception.take(peer, event.message, now)
                    self._submit(self._barriers.look(now))
                else:
                    assert isinstance(event, SilenceChanged)
                    self.telemetry.silence(peer.id, event.level)
                    core.out.events.append(PeerSilence(peer.id, event.level))
                    core.note(f"silence-{event.level}", {"peer": peer.id})

    def _compare(self, mismatches: Sequence[object], now: float) -> None:
        if mismatches:
            self._desync.begin(now)

    # -- play ---------------------------------------------------------------------------------------------------

    def _play(self, now: float, owed: int) -> None:
        episode = self._core.episode
        assert episode is not None
        self._owed = 0 if self.changes.is_paused else min(self._owed + owed, MAX_AHEAD)
        if self._recovery.is_open:
            self.stalled = True
            return
        if self._batch is not None:
            self.telemetry.overrun()
            return
        back = self.changes.step_back()
        if back is not None:
            self._submit(episode.plan_step_back(back))
            return
        session, budget = episode.session, self._budget
        session.window, session.spacing = self._recovery.window(episode, budget.window), budget.spacing
        batch = episode.plan_batch(self._sources, owed=self._owed, now=now)
        # What is still owed stays: after a hitch, the others' inputs come in behind the tick that was late.
        self._owed -= batch.advanced or 1
        self.stalled = batch.stalled
        self.last_depth = batch.depth or self.last_depth
        fresh = episode.take_inputs_to_send(now=now)
        current = session.current_frame
        for peer in self.peers.playing:
            endpoint = peer.endpoint
            for frame, value in fresh:
                endpoint.queue_input(frame, value)
            endpoint.lead = float(current - 1 - endpoint.newest_heard)
            endpoint.limit = current + MAX_AHEAD
        self.telemetry.played(
            batch,
            frame=current,
            confirmed=session.confirmed_frame,
            window=budget.window,
            delay=self.delays.longest,
        )
        if batch.commands:
            self.feeds.ask(batch)
            self._recovery.ask(batch, now)
            self._submit(batch)
        else:
            self._settle(episode, batch.settled, self.peers.rtt, now)

    def _learn(self, batch: PlayBatch, costs_us: Sequence[int], rtt: float | None) -> None:
        if rtt is not None and self.plan.delay_range is None:
            # Narrower than inputs are late, the window would cost more of the frame rate than a late batch does.
            self._budget.narrowest = ceil(rtt / 2 * self.plan.rate_hz) + 1
        step_seconds = learn_costs(self._budget, batch, costs_us)
        if step_seconds is not None:
            self.delays.learn_step(step_seconds)

    def _after_play(self, batch: PlayBatch, results: Sequence[Any], rtt: float | None, now: float) -> None:
        core, episode = self._core, self._core.episode
        if core.phase is not (_DIVERGED if batch.withdraws else _PLAYING):
            return  # the match has ended meanwhile, or states were found to differ
        assert episode is not None
        if batch.withdraws:
            recorded = episode.recorded
            withdrawn = self._desync.withdraw()
            if withdrawn is not None:
                self.counters.count_withdrawn(recorded - episode.recorded)
                core.out.records.append(withdrawn)
        episode.take_results(batch, results, now=now)
        if self.tracing:
            core.out.trace.extend(episode.trace(batch, results))
        self._use_results(batch, results)
        self._settle(episode, batch.settled, rtt, now)
        if batch.kept is not None:
            episode.journal.state = results[batch.kept]
        if batch.snapshot is not None:
            self.feeds.take_snapshot(results[batch.snapshot])
        if batch.withdraws:
            self._desync.take_resimulation(now)

    def _use_results(self, batch: ResetBatch | PlayBatch | ReplayBatch, results: Sequence[Any]) -> None:
        """Give the bots' decisions to their seats, and the view to the window."""
        for index, seat in batch.decides.items():
            source = self._sources[seat]
            assert isinstance(source, BotSource)
            source.decided(bytes(results[index]))
        if batch.view is not None:
            self._core.out.events.append(ViewReady(self.number, results[batch.view]))

    def _settle(self, episode: EpisodePlay, settled: int, rtt: float | None, now: float) -> None:
        core = self._core
        self.peers.time_frames(episode.clock, now=now)
        records, mismatches = episode.settle(settled, now=now, rtt=rtt)
        core.out.records += records
        self.absences.take(records)
        if episode.recorded != NULL_FRAME:
            self.peers.set_chain(episode.chain.frame, episode.chain.value)
        self._compare(mismatches, now)
        core.mark_verified(episode)
        core.out.records += episode.clock.take_complete(now)
        if core.phase is _PLAYING:
            self._look_at_end(episode, now)

    def _look_at_end(self, episode: EpisodePlay, now: float) -> None:
        if episode.last_frame is None:
            self._barriers.look_at_named_ends(episode, now)
        elif self.changes.step_back() is None:
            self._barriers.say_over(episode, now)
            self._submit(self._barriers.look(now))

    # -- who was started again ----------------------------------------------------------------------------------

    def _rejoin(self, now: float) -> None:
        """Take the next step of our own return, and play on when it is done."""
        self._submit(self.returns.step(is_batch_out=self.is_batch_out, now=now))
        if self.phase is _PLAYING and self.episode is not None:
            self._owed = self.returns.owed
            self._settle(self.episode, self.episode.recorded, self.peers.rtt, now)

    # -- ends ---------------------------------------------------------------------------------------------------

    def _resume_after_desync(self, now: float) -> None:
        """All agree again: play on, from an episode that may meanwhile be over."""
        if self.phase is Phase.PLAYING and self.episode is not None:
            self._owed = 0
            self._look_at_end(self.episode, now)

    def _wait_for_goodbye(self, now: float) -> None:
        if not self.peers.owe_acknowledgement or now >= self._barriers.leave_at:
            self._core.end(*self._barriers.goodbye, leave="finished", now=now)
