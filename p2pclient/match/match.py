"""One match: from the handshake over the episodes to the goodbye.

The rules:

1. Nothing is simulated before the facts of all sides agree, and no episode begins before all sides stand at its
   barrier with the same first checksum.
2. An episode ends at a settled frame that every side names, with an equal chain value. Predicted ends end nothing.
3. A desync ends the match: a state that may be wrong is not played on.
4. Whoever leaves says so; whoever falls silent is waited for, and counts as gone after ``drop_after`` seconds, or when
   the server confirms it.

Call :meth:`Match.receive` when bytes arrive, :meth:`Match.tick` once per frame, and :meth:`Match.batch_done` with the
host's reply. What they decide comes back as an :class:`~p2pclient.match.plan.Outbox`; carry it out at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.match.episode import EpisodePlay, PlayBatch
from p2pclient.match.peers import Peer, Peers, first_difference
from p2pclient.match.plan import Desync, Ended, MatchPlan, Outbox, PeerSilence, Phase, PhaseChanged, ViewReady
from p2pclient.match.reset import ResetBatch, plan_reset
from p2pclient.match.sources import BotSource, InputSource
from p2pclient.protocol.control import (
    MAX_CHECKSUMS,
    AnyMessage,
    Checksums,
    EpisodeOver,
    EpisodeReady,
    Hello,
    Leave,
    Refuse,
)
from p2pclient.protocol.endpoint import MAX_AHEAD, ChainReceived, ControlReceived, InputReceived, SilenceChanged
from p2pclient.protocol.handshake import PROTOCOL_VERSION, differences
from p2pclient.recorder.records import EpisodeEnded, EpisodeStarted, EventRecorded, FramesVerified
from p2pclient.rollback.chain import ChainMismatch
from p2pclient.telemetry.counters import MatchCounters, RecentQuantiles

GOODBYE = 5.0
"""Seconds that a finished or diverged side waits for what the others still have to say."""

_STANDSTILL = 90.0
"""Seconds that a side which keeps alive may leave the others waiting at a handshake or barrier: above the time that a
host is given for a reset."""
_LATE_TICK = 0.5
"""After a pause of our own this long, what the others sent meanwhile is read before their silence is judged."""


class Match:
    """The state machine of one side.

    Args:
        plan: what is fixed beforehand.
        sources: where the inputs of the local seats come from, by seat.
        now: seconds.
    """

    def __init__(self, plan: MatchPlan, sources: Mapping[int, InputSource], *, now: float) -> None:
        self.plan = plan
        self.phase = Phase.HANDSHAKING
        self.counters = MatchCounters()
        self.rtts_ms = RecentQuantiles()
        self.tracing = False
        """True to fill ``Outbox.trace`` with a line for every simulated frame."""
        self.reset_commands: list[list[Any]] = []
        """Commands that go to the host before each reset; for tests that make it faulty."""
        self.peers = Peers(plan, now=now)
        self.episode: EpisodePlay | None = None
        self.number = 0
        """Number of the episode at hand, from 0."""
        self.totals: list[tuple[float, ...]] = []
        """Total rewards by seat of each finished episode."""
        self.ended: Ended | None = None
        self.stalled = False
        """Did the newest tick find the prediction window full."""
        self.last_depth = 0
        """Depth of the newest rollback."""
        self._sources = sources
        self._first_checksum = b""
        self._finished_frames = 0
        self._batch: PlayBatch | None = None
        self._resetting: ResetBatch | None = None
        self._deadline = now
        self._divergence: ChainMismatch | None = None
        self._owed = 0
        self._ticked_at = now
        self._waiting_since = now
        self._out = Outbox()
        self.peers.tell(Hello(self._facts()))
        if not self.peers:
            self._reset()

    def _facts(self) -> dict[str, Any]:
        return {"protocol": PROTOCOL_VERSION, **self.plan.facts()}

    # -- what happens to it -------------------------------------------------------------------------------------

    def receive(self, peer_id: int, channel: str, data: bytes, *, now: float) -> None:
        """Take in bytes from a peer, when they arrive. What follows is decided in the next tick."""
        endpoint = self.peers[peer_id].endpoint
        if channel == "inputs":
            endpoint.receive_datagram(data, now=now)
        else:
            endpoint.receive_control(data, now=now)

    def tick(self, *, now: float, owed: int = 1) -> Outbox:
        """Let one frame's time pass.

        Args:
            owed: frames that should have run by the clock since the last tick, at least 1.
        """
        self._take_events(now)
        if now - self._ticked_at < _LATE_TICK:
            self._watch_peers(now)
        self._ticked_at = now
        if self.phase is Phase.PLAYING:
            self._play(now, owed)
        elif self.phase in (Phase.FINISHING, Phase.DIVERGED):
            self._wait_for_goodbye(now)
        idle = self.phase not in (Phase.PLAYING, Phase.EPISODE_OVER)
        self.peers.send(self._out, self.counters, now=now, idle=idle)
        return self._take_outbox()

    def batch_done(self, results: Sequence[Any], *, now: float) -> Outbox:
        """Take in the host's results of the batch that is out."""
        if self._resetting is not None:
            reset, self._resetting = self._resetting, None
            self._after_reset(reset, results, now)
        else:
            batch, self._batch = self._batch, None
            if batch is None:
                raise LocalMisuseError("no batch is out")
            self._after_play(batch, results, now)
        self.peers.send_control(self._out, self.counters)
        return self._take_outbox()

    def batch_failed(self, cause: str, *, now: float) -> Outbox:
        """The host could not do it: the state is unknown, so the match ends here."""
        self._batch = self._resetting = None
        self._end("environment", f"The environment failed: {cause}", leave="error", now=now)
        self.peers.send_control(self._out, self.counters)
        return self._take_outbox()

    def peer_gone(self, peer_id: int) -> None:
        """The server confirmed that a peer's process is gone."""
        if peer_id in self.peers:
            self.peers[peer_id].gone = True

    def leave(self, *, now: float) -> Outbox:
        """The local person wants to go: say so, and end."""
        self._end("left", "You left the match.", leave="left", now=now)
        self.peers.send_control(self._out, self.counters)
        return self._take_outbox()

    def abort(self, *, now: float) -> Outbox:
        """Something here broke, and nothing can be recorded any more: tell the others, so that they need not wait."""
        self._end("error", "The program had to stop.", leave="error", now=now)
        self.peers.send_control(self._out, self.counters)
        return self._take_outbox()

    def shown(self, episode: int, frame: int, at: float) -> None:
        """The window displayed the view of a frame, which shows the state after the frame before."""
        if self.episode is not None and self.episode.number == episode:
            self.episode.clock.shown(frame - 1, at)

    @property
    def is_batch_out(self) -> bool:
        """True while the host works for this match."""
        return self._batch is not None or self._resetting is not None

    def frame_duration(self) -> float:
        """Seconds that the next frame is to last."""
        nominal = 1.0 / self.plan.rate_hz
        return nominal * self.peers.stretch() if self.phase is Phase.PLAYING else nominal

    def _take_outbox(self) -> Outbox:
        out, self._out = self._out, Outbox()
        return out

    # -- peers --------------------------------------------------------------------------------------------------

    def _take_events(self, now: float) -> None:
        for peer in self.peers:
            peer.endpoint.handle_timer(now=now)
            for event in peer.endpoint.take_events():
                if self.ended is not None:
                    break
                if isinstance(event, InputReceived) and self.episode is not None:
                    for seat, value in zip(peer.seats, event.values, strict=True):
                        self.episode.session.add_remote_input(seat, event.frame, value)
                elif isinstance(event, ChainReceived) and self.episode is not None:
                    self._diverge(self.episode.chain.receive(peer.id, event.frame, event.value), now)
                elif isinstance(event, ControlReceived):
                    self._take_message(peer, event.message, now)
                elif isinstance(event, SilenceChanged):
                    self._out.events.append(PeerSilence(peer.id, event.level))
                    self._note(f"silence-{event.level}", {"peer": peer.id})

    def _take_message(self, peer: Peer, message: AnyMessage, now: float) -> None:
        if isinstance(message, Hello):
            self._greet(peer, message, now)
        elif isinstance(message, Refuse):
            text = "The other machine does not fit together with this one. " + "; ".join(message.differences)
            self._end("refused", text, leave="error", now=now)
        elif isinstance(message, EpisodeReady) and message.episode in (self.number, self.number + 1):
            peer.ready[message.episode] = message.checksum
        elif isinstance(message, EpisodeOver) and message.episode == self.number:
            peer.over[message.episode] = message
        elif isinstance(message, Checksums) and message.episode == self.number:
            peer.checksums = message
            self._diverge([ChainMismatch(peer.id, message.first_frame - 1, message.first_frame)], now)
        elif isinstance(message, Leave):
            # Nobody has finished before all have named the last frame; whoever says so earlier just leaves.
            early = message.reason == "finished" and not self._has_named_the_end(peer)
            peer.left = "left" if early else message.reason
        self._look_at_barriers(now)

    def _has_named_the_end(self, peer: Peer) -> bool:
        """May a peer be through with the match: it says how the episode ended for which we wait, or all did."""
        return self.phase is Phase.FINISHING or (self.phase is Phase.EPISODE_OVER and self.number in peer.over)

    def _greet(self, peer: Peer, message: Hello, now: float) -> None:
        if peer.greeted:
            return
        found = differences(self._facts(), message.facts, allow_mixed_hosts=self.plan.allow_mixed_hosts)
        if found:
            peer.endpoint.queue_control(Refuse(found))
            text = "The two machines do not fit together. " + "; ".join(found)
            self._end("refused", text, leave="error", now=now)
            return
        peer.greeted = True
        if self.phase is Phase.HANDSHAKING and all(p.greeted for p in self.peers):
            self._reset()

    def _watch_peers(self, now: float) -> None:
        for peer in self.peers:
            # Whoever has named the last frame of the last episode owes nothing any more.
            if self.ended is not None or self.phase is Phase.FINISHING or peer.left == "finished":
                continue
            lost = peer.why_lost(now=now, drop_after=self.plan.drop_after)
            if lost is not None:
                self._end(*lost, leave="desync" if lost[0] == "desync" else "left", now=now)
        if self.phase not in (Phase.HANDSHAKING, Phase.BARRIER, Phase.EPISODE_OVER):
            self._waiting_since = now
        elif now - self._waiting_since > _STANDSTILL:
            self._end("partner-gone", "The other player's program does not go on.", leave="left", now=now)

    # -- barriers -----------------------------------------------------------------------------------------------

    def _reset(self) -> None:
        """Have the host reset for the episode at hand; the barrier follows."""
        self._resetting = plan_reset(self.plan, self.number, self.reset_commands)
        self._out.batch = self._resetting.commands
        self.episode = None
        self.peers.begin_episode(self.number)
        self._change_phase(Phase.RESETTING)

    def _after_reset(self, batch: ResetBatch, results: Sequence[Any], now: float) -> None:
        if self.phase is not Phase.RESETTING:
            return
        self._first_checksum = bytes(results[batch.checksum])
        self._use_results(batch, results)
        self.peers.tell(EpisodeReady(self.number, self._first_checksum))
        self.peers.take_inputs()
        self._owed = 0
        self.episode = EpisodePlay(
            self.plan,
            self.number,
            first_checksum=self._first_checksum,
            frame_limit=self._frame_limit(),
            counters=self.counters,
        )
        self._change_phase(Phase.BARRIER)
        self._look_at_barriers(now)

    def _frame_limit(self) -> int | None:
        left = self.plan.frames - self._finished_frames if self.plan.frames else None
        limits = [n for n in (left, self.plan.env["max_steps"]) if n is not None]
        return min(limits) if limits else None

    def _look_at_barriers(self, now: float) -> None:
        """Go on when all others stand where we stand."""
        if self.phase is Phase.BARRIER and all(self.number in p.ready for p in self.peers):
            for peer in self.peers:
                theirs = peer.ready.pop(self.number)
                if theirs != self._first_checksum:
                    self._report_desync(peer, NULL_FRAME, self._first_checksum, theirs, now)
                    return
            seed = self.plan.episode_seed(self.number)
            self._out.records.append(EpisodeStarted(self.number, seed, self._first_checksum))
            self._change_phase(Phase.PLAYING)
        elif self.phase is Phase.EPISODE_OVER and all(self.number in p.over for p in self.peers):
            self._close_episode(now)

    # -- play ---------------------------------------------------------------------------------------------------

    def _play(self, now: float, owed: int) -> None:
        episode = self.episode
        assert episode is not None
        self._owed = min(self._owed + owed, MAX_AHEAD)
        if self._batch is not None:
            self.counters.overruns += 1
            return
        batch, advance = episode.plan_batch(self._sources, owed=self._owed, now=now)
        # What is still owed stays: after a hitch, the others' inputs come in behind the tick that was late.
        self._owed = max(0, self._owed - max(1, advance.advanced))
        self.stalled = advance.stalled
        self.last_depth = advance.depth or self.last_depth
        fresh = episode.take_inputs_to_send()
        for peer in self.peers:
            for frame, value in fresh:
                peer.endpoint.queue_input(frame, value)
            peer.endpoint.lead = float(episode.session.current_frame - 1 - peer.endpoint.newest_heard)
            peer.endpoint.limit = episode.session.current_frame + MAX_AHEAD
        if batch.commands:
            self._batch = batch
            self._out.batch = batch.commands
        else:
            self._settle(advance.settled, now)

    def _after_play(self, batch: PlayBatch, results: Sequence[Any], now: float) -> None:
        episode = self.episode
        if self.phase is not Phase.PLAYING or episode is None:
            return
        episode.take_results(batch, results, now=now)
        if self.tracing:
            self._out.trace.extend(episode.trace(batch, results))
        self._use_results(batch, results)
        self._settle(batch.settled, now)

    def _use_results(self, batch: ResetBatch | PlayBatch, results: Sequence[Any]) -> None:
        """Give the bots' decisions to their seats, and the view to the window."""
        for index, seat in batch.decides.items():
            source = self._sources[seat]
            if isinstance(source, BotSource):
                source.decided(bytes(results[index]))
        if batch.view is not None:
            self._out.events.append(ViewReady(self.number, results[batch.view]))

    def _settle(self, settled: int, now: float) -> None:
        episode = self.episode
        assert episode is not None
        rtt = self.peers.rtt
        if rtt is not None:
            self.rtts_ms.add(rtt * 1000)
        records, mismatches = episode.settle(settled, now=now, rtt=rtt)
        self._out.records.extend(records)
        if episode.recorded != NULL_FRAME:
            for peer in self.peers:
                peer.endpoint.set_chain(episode.chain.frame, episode.chain.value)
        self._diverge(mismatches, now)
        self._mark_verified(episode)
        self._out.records.extend(episode.clock.take_complete(now))
        if episode.last_frame is not None and self.phase is Phase.PLAYING:
            self.peers.tell(EpisodeOver(self.number, episode.last_frame, episode.chain.value))
            self._change_phase(Phase.EPISODE_OVER)
            self._look_at_barriers(now)

    def _mark_verified(self, episode: EpisodePlay) -> None:
        verified = min(episode.chain.verified_frame, episode.recorded)
        if verified > episode.verified:
            self.counters.verified_frames += verified - episode.verified
            episode.verified = verified
            self._out.records.append(FramesVerified(self.number, verified))

    def _close_episode(self, now: float) -> None:
        """All sides have named the last frame: compare, record, go on to the next episode or to the goodbye."""
        episode = self.episode
        assert episode is not None
        assert episode.last_frame is not None
        for peer in self.peers:
            over = peer.over.pop(self.number)
            if over.last_frame != episode.last_frame:
                self._note("episode-end-differs", {"ours": episode.last_frame, "theirs": over.last_frame})
                at = min(over.last_frame, episode.last_frame)
                self._diverge([ChainMismatch(peer.id, episode.chain.verified_frame, at)], now)
                continue
            self._diverge(episode.chain.receive(peer.id, over.last_frame, over.chain), now)
        if self.phase is not Phase.EPISODE_OVER:
            return
        self._mark_verified(episode)
        totals = tuple(episode.totals)
        self._out.records.extend(episode.clock.take_complete(now, all_of_them=True))
        self._out.records.append(EpisodeEnded(self.number, episode.last_frame, totals, episode.end_reason))
        self.totals.append(totals)
        self._finished_frames += episode.last_frame + 1
        self.number += 1
        enough = self.plan.episodes and self.number >= self.plan.episodes
        if enough or (self.plan.frames and self._finished_frames >= self.plan.frames):
            self._deadline = now + GOODBYE
            self._change_phase(Phase.FINISHING)
        else:
            self._reset()

    # -- ends ---------------------------------------------------------------------------------------------------

    def _diverge(self, mismatches: Iterable[ChainMismatch], now: float) -> None:
        """States differ somewhere: exchange the checksums since the last agreement, to name the first frame."""
        for found in mismatches:
            peer, episode = self.peers[found.peer], self.episode
            if episode is None or self.ended is not None or self.phase is Phase.FINISHING:
                return
            if not peer.sent_checksums:
                peer.sent_checksums = True
                ours = episode.chain.checksums_since(found.after)[-MAX_CHECKSUMS:]
                first = ours[0][0] if ours else found.after + 1
                peer.endpoint.queue_control(Checksums(self.number, first, [c for _, c in ours]))
                self._start_diverging(found, now)
            if peer.checksums is not None:
                differing = first_difference(episode.chain.checksums_since(NULL_FRAME), peer.checksums)
                self._report_desync(peer, *(differing or (found.after + 1, b"", b"")), now)

    def _start_diverging(self, found: ChainMismatch, now: float) -> None:
        if self._divergence is None:
            self._divergence = found
            self._deadline = now + GOODBYE
            self._change_phase(Phase.DIVERGED)

    def _report_unnamed_desync(self, found: ChainMismatch, now: float) -> None:
        """The first differing frame stays unknown: name the first that is not known to be equal."""
        self._report_desync(self.peers[found.peer], found.after + 1, b"", b"", now)

    def _report_desync(self, peer: Peer, frame: int, ours: bytes, theirs: bytes, now: float) -> None:
        self.counters.desyncs += 1
        self._out.events.append(Desync(peer.id, self.number, frame, ours, theirs))
        self._note("desync", {"peer": peer.id, "first_frame": frame, "ours": ours.hex(), "theirs": theirs.hex()})
        text = f"The two games became different at frame {frame} of episode {self.number}."
        self._end("desync", text, leave="desync", now=now)

    def _wait_for_goodbye(self, now: float) -> None:
        if self.phase is Phase.DIVERGED:
            if now >= self._deadline and self._divergence is not None:
                self._report_unnamed_desync(self._divergence, now)
        elif not self.peers.owe_acknowledgement or now >= self._deadline:
            self._end("finished", "The match is complete.", leave="finished", now=now)

    def _end(self, reason: str, text: str, *, leave: str, now: float) -> None:
        if self.ended is not None:
            return
        if self._divergence is not None and not self.counters.desyncs:
            # However it ends: the states are known to differ, and that must not get lost.
            self._report_unnamed_desync(self._divergence, now)
            return
        unverified = 0
        if self.episode is not None:
            unverified = self.episode.recorded - self.episode.verified
            self._out.records.extend(self.episode.clock.take_complete(now, all_of_them=True))
        self.ended = Ended(reason, text, unverified)
        self._note("ended", {"reason": reason, "unverified": unverified})
        self._out.events.append(self.ended)
        self.peers.tell(Leave(leave))
        self._change_phase(Phase.ENDED)

    def _note(self, name: str, details: dict[str, Any]) -> None:
        frame = self.episode.session.current_frame if self.episode is not None else NULL_FRAME
        self._out.records.append(EventRecorded(name, self.number, frame, details))

    def _change_phase(self, phase: Phase) -> None:
        self.phase = phase
        self._out.events.append(PhaseChanged(phase, self.number))
