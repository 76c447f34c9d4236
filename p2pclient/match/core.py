"""What the parts of one match share: the plan, the peers, the phase, the episode at hand, and the outbox.

The parts (barriers, desync, delays) each own what only they know, and act on the match through this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from p2pclient.common.frames import NULL_FRAME
from p2pclient.match.episode import EpisodePlay
from p2pclient.match.peers import Peers
from p2pclient.match.plan import Ended, MatchPlan, Outbox, Phase, PhaseChanged
from p2pclient.match.sittings import Sittings
from p2pclient.protocol.control import ClosedEpisode, Leave
from p2pclient.recorder.records import EventRecorded, FramesVerified
from p2pclient.telemetry.match import MatchTelemetry


class MatchCore:
    """The state of one side that all parts of the match see.

    Args:
        plan: what is fixed beforehand.
        now: seconds.
    """

    def __init__(self, plan: MatchPlan, *, now: float) -> None:
        self.plan = plan
        self.peers = Peers(plan, now=now)
        self.phase = Phase.HANDSHAKING
        conversations = {peer.id: peer.endpoint for peer in self.peers}
        self.telemetry = MatchTelemetry(conversations, phase=self.phase.value, now=now)
        self.counters = self.telemetry.counters
        self.episode: EpisodePlay | None = None
        self.number = 0
        """Number of the episode at hand, from 0."""
        self.finished_frames = 0
        """Frames of all episodes before it."""
        self.closed: ClosedEpisode | None = None
        """The episode before, if one was closed here."""
        self.sittings = Sittings()
        """Who sits in the seats of those who are gone."""
        self.out = Outbox()
        self.ended: Ended | None = None
        self.unreported: Callable[[float], None] | None = None
        """Set while states are known to differ and nobody has been told: however the match ends, this comes first."""

    def take_outbox(self) -> Outbox:
        """Return what was decided since the last call, and forget it."""
        out, self.out = self.out, Outbox()
        return out

    def change_phase(self, phase: Phase) -> None:
        """Go on to ``phase``."""
        self.phase = phase
        self.telemetry.phase(phase.value, self.number)
        self.out.events.append(PhaseChanged(phase, self.number))

    @property
    def leader(self) -> int:
        """Who names what all change together: the peer of the lowest seat that is still here."""
        seats = {self.plan.own_id: self.plan.local_seats, **{peer.id: peer.seats for peer in self.peers}}
        return min((min(held), owner) for owner, held in seats.items() if held)[1]

    def note(self, name: str, details: dict[str, Any], *, at: tuple[int, int] | None = None) -> None:
        """Record an event at the frame at hand, or at an ``(episode, frame)``."""
        self.telemetry.mark(name, details)
        if at is None:
            at = self.number, self.episode.session.current_frame if self.episode is not None else NULL_FRAME
        self.out.records.append(EventRecorded(name, *at, details))

    def mark_verified(self, episode: EpisodePlay) -> None:
        """Record how far all sides have verified the episode, if that grew."""
        fresh = episode.mark_verified()
        if fresh:
            self.counters.verified_frames += fresh
            self.out.records.append(FramesVerified(self.number, episode.verified))

    def end(self, reason: str, text: str, *, leave: str, now: float) -> None:
        """End the match on this side, and tell the others ``leave``. Only the first call counts."""
        if self.ended is not None:
            return
        if self.unreported is not None:
            report, self.unreported = self.unreported, None
            report(now)
            return
        unverified = 0
        if self.episode is not None:
            unverified = self.episode.recorded - self.episode.verified
            self.out.records.extend(self.episode.clock.take_complete(now, all_of_them=True))
            self.sittings.end_episode(self.episode.number, self.episode.recorded)
        self.ended = Ended(reason, text, unverified)
        self.note("ended", {"reason": reason, "unverified": unverified})
        self.out.events.append(self.ended)
        self.peers.tell(Leave(leave))
        self.change_phase(Phase.ENDED)
