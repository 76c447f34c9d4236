"""How episodes begin and end: everybody waits for everybody, with equal checksums on both occasions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from p2pclient.common.frames import NULL_FRAME
from p2pclient.match.changes import ChangeCourse
from p2pclient.match.core import MatchCore
from p2pclient.match.delays import DelayCourse
from p2pclient.match.desync import DesyncCourse
from p2pclient.match.drops import DropCourse
from p2pclient.match.episode import EpisodePlay
from p2pclient.match.head import Head, Takeover
from p2pclient.match.peers import Peer
from p2pclient.match.plan import ENDED_EARLY, Phase
from p2pclient.match.readiness import Readiness
from p2pclient.match.reset import ResetBatch, plan_reset
from p2pclient.protocol.control import ClosedEpisode, EpisodeOver, EpisodeReady, LinkCheck, LinkSound
from p2pclient.recorder.records import EpisodeEnded, EpisodeStarted
from p2pclient.rollback.chain import ChainMismatch

GOODBYE = 5.0
"""Seconds that a finished side waits for what the others still have to say."""

BarrierMessage = EpisodeReady | LinkCheck | LinkSound | EpisodeOver
"""What concerns the way from one episode to the next."""
WAITING = (Phase.BARRIER, Phase.EPISODE_OVER)
"""Phases in which one look in every tick says whether all others are there."""
_COMPLETE = "finished", "The match is complete."
_ENDED_EARLY = ENDED_EARLY, "The match was ended early. Everything up to its last frame is recorded."


class Barriers:
    """The way from one episode to the next."""

    def __init__(
        self, core: MatchCore, desync: DesyncCourse, delays: DelayCourse, drops: DropCourse, changes: ChangeCourse
    ) -> None:
        self._core = core
        self.readiness = Readiness(core)
        """The check of the links before each episode."""
        self._changes = changes
        self._desync = desync
        self._delays = delays
        self._drops = drops
        self._first_checksum = b""
        self.reset_commands: list[list[Any]] = []
        self.head: Head | None = None
        """What is known already of the episode that is about to be reset, if anything."""
        self.started = NULL_FRAME
        """The newest episode that is recorded as begun."""
        self.totals: list[tuple[float, ...]] = []
        """Total rewards by seat of each finished episode."""
        self.leave_at = float("inf")
        """When a finished side goes, whatever the others still have to say."""
        self.goodbye = _COMPLETE
        """Reason and text with which a match ends that all have played to its last frame."""

    def reset(self) -> ResetBatch:
        """Return the batch by which the host resets for the episode at hand; the barrier follows."""
        core = self._core
        batch = plan_reset(core.plan, core.number, self.reset_commands)
        core.episode = None
        core.peers.begin_episode(core.number)
        core.change_phase(Phase.RESETTING)
        return batch

    def after_reset(self, batch: ResetBatch, results: Sequence[Any], *, now: float) -> None:
        """The host stands at snapshot 0: say so."""
        core = self._core
        self._first_checksum = bytes(results[batch.checksum])
        core.peers.tell(EpisodeReady(core.number, self._first_checksum))
        self.readiness.begin(now)
        core.peers.take_inputs()
        core.episode = EpisodePlay(
            core.plan,
            core.number,
            first_checksum=self._first_checksum,
            frame_limit=self._changes.frame_limit(),
            counters=core.counters,
            delays=self._delays.by_seat,
            head=self.head,
        )
        self.head = None
        self._changes.apply()
        core.change_phase(Phase.BARRIER)
        self._drops.begin_play(now=now)

    def take_up(self, takeover: Takeover) -> None:
        """We were started again, and stand in the midst of an episode."""
        core, start = self._core, takeover.start
        self._first_checksum = start.first_checksum
        core.finished_frames = start.finished_frames
        core.episode = EpisodePlay(
            core.plan,
            core.number,
            first_checksum=start.first_checksum,
            frame_limit=self._changes.frame_limit(),
            counters=core.counters,
            delays=self._delays.by_seat,
            head=takeover.head,
        )
        core.episode.skip_inputs(takeover.inputs_until)
        self._changes.apply()
        core.peers.take_inputs()
        core.change_phase(Phase.PLAYING)

    def receive(self, peer: Peer, message: BarrierMessage) -> None:
        """A peer stands at a barrier, ours or the next one; asks for an answer, which the acknowledgement is; finds all
        of its links sound; or says how the episode at hand ended."""
        number = self._core.number
        if isinstance(message, EpisodeOver):
            if message.episode == number:
                peer.over[message.episode] = message
        elif message.episode in (number, number + 1):
            if isinstance(message, EpisodeReady):
                peer.ready[message.episode] = message.checksum
            elif isinstance(message, LinkSound):
                peer.sound.add(message.episode)

    def has_named_the_end(self, peer: Peer) -> bool:
        """May a peer be through with the match: it says how the episode ended for which we wait, or all did."""
        core = self._core
        return core.phase is Phase.FINISHING or (core.phase is Phase.EPISODE_OVER and core.number in peer.over)

    def look(self, now: float) -> ResetBatch | None:
        """Go on when all others stand where we stand; returns the batch that the next episode begins with."""
        core = self._core
        self._drops.release_finished(now=now)
        if self._drops.is_open:
            return None
        if core.phase is Phase.BARRIER and all(core.number in p.ready for p in core.peers):
            if self._has_equal_start(now) and self.readiness.is_sound(now):
                self._begin_play()
        elif core.phase is Phase.EPISODE_OVER and all(core.number in p.over for p in core.peers):
            return self._close_episode(now)
        elif core.phase in WAITING:
            self.readiness.wait(now)
        return None

    def _has_equal_start(self, now: float) -> bool:
        core = self._core
        for peer in core.peers:
            theirs = peer.ready[core.number]
            if theirs != self._first_checksum:
                self._desync.report_first_state(peer, self._first_checksum, theirs, now)
                return False
        return True

    def _begin_play(self) -> None:
        core = self._core
        for peer in core.peers:
            del peer.ready[core.number]
        seed = core.plan.episode_seed(core.number)
        if core.number != self.started:  # else an earlier run of this program has recorded it
            core.out.records.append(EpisodeStarted(core.number, seed, self._first_checksum))
        core.change_phase(Phase.PLAYING)

    def look_at_named_ends(self, episode: EpisodePlay, now: float) -> None:
        """While our side plays on: an end that a peer has named, and that we have passed, is no end here. It would wait
        for us for ever, and send no input any more.
        """
        core = self._core
        for peer in core.peers.all:
            over = peer.over.get(core.number)
            if over is not None and over.last_frame <= episode.recorded:
                core.note("episode-end-differs", {"ours": None, "theirs": over.last_frame})
                self._desync.begin(now)
                return

    def say_over(self, episode: EpisodePlay, now: float) -> None:
        """Our side has settled the episode's last frame."""
        core = self._core
        assert episode.last_frame is not None
        core.peers.tell(EpisodeOver(core.number, episode.last_frame, episode.chain.value))
        self.readiness.begin(now)
        core.change_phase(Phase.EPISODE_OVER)

    def _close_episode(self, now: float) -> ResetBatch | None:
        """All sides have named the last frame: compare, record, go on to the next episode or to the goodbye."""
        core, episode = self._core, self._core.episode
        assert episode is not None
        assert episode.last_frame is not None
        if self._do_ends_differ(episode):
            self._desync.begin(now)
            return None
        core.mark_verified(episode)
        core.out.records.extend(episode.clock.take_complete(now, all_of_them=True))
        core.out.records.append(EpisodeEnded(core.number, episode.last_frame, episode.totals, episode.end_reason))
        core.closed = ClosedEpisode(core.number, episode.last_frame, episode.chain.value, episode.end_reason)
        self.totals.append(episode.totals)
        core.finished_frames += episode.last_frame + 1
        core.sittings.end_episode(core.number, episode.last_frame)
        ends_early = self._changes.ends_here
        core.number += 1
        enough = core.plan.episodes and core.number >= core.plan.episodes
        is_done = enough or (core.plan.frames and core.finished_frames >= core.plan.frames + self._changes.extended)
        if is_done or ends_early:
            self.goodbye = _COMPLETE if episode.end_reason != ENDED_EARLY and is_done else _ENDED_EARLY
            self.leave_at = now + GOODBYE
            core.change_phase(Phase.FINISHING)
            return None
        core.episode = None  # what is agreed from here on belongs to the next one
        self._changes.begin_episode()
        self._drops.begin_episode(now=now)
        return self.reset()

    def _do_ends_differ(self, episode: EpisodePlay) -> bool:
        core = self._core
        mismatches: list[ChainMismatch] = []
        for peer in core.peers:
            over = peer.over.pop(core.number)
            if over.last_frame != episode.last_frame:
                core.note("episode-end-differs", {"ours": episode.last_frame, "theirs": over.last_frame})
                return True
            mismatches += episode.chain.receive(peer.id, over.last_frame, over.chain, in_order=True)
        return bool(mismatches)
