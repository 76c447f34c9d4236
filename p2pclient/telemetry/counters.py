"""What one side of a match counts: over the match, and of each peer."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, fields
from typing import Any

from p2pclient.telemetry.histogram import Histogram
from p2pclient.telemetry.observed import Conversation, Decision

_SPARSE = 16
"""Every so many ticks the figures are sampled that are smoothed over longer than that."""


def _counts() -> defaultdict[int, int]:
    return defaultdict(int)


@dataclass(slots=True)
class MatchCounters:
    """Counts over all episodes of a match."""

    frames: int = 0
    """Frames simulated for the first time; again the first time, if that was lost with the environment's host."""
    resimulated: int = 0
    """Frames simulated again."""
    rollbacks: int = 0
    max_depth: int = 0
    stalls: int = 0
    """Ticks that could not advance because the prediction window was full."""
    stall_spells: int = 0
    """Runs of such ticks, one after the other."""
    stalled_seconds: float = 0.0
    longest_stall: float = 0.0
    """Seconds of the longest such run."""
    overruns: int = 0
    """Ticks at which the environment's host was still busy with the frame before."""
    late_ticks: int = 0
    """Ticks that came a frame or more late: the program was held up."""
    fast_forwarded: int = 0
    """Frames run in addition to the tick's own, to make up for a hitch."""
    confirmed_frames: int = 0
    verified_frames: int = 0
    withdrawn_frames: int = 0
    """Frames that had been recorded and were simulated again after a desync; they are confirmed anew."""
    desyncs: int = 0
    recoveries: int = 0
    """How often the environment failed and was brought back to where it had been."""
    recovering_seconds: float = 0.0
    """What that took, in all."""
    pauses: int = 0
    paused_seconds: float = 0.0
    """From when a pause took effect to the word that it is over."""
    datagrams_sent: int = 0
    datagram_bytes_sent: int = 0
    control_sent: int = 0
    control_bytes_sent: int = 0
    rollback_causes: defaultdict[int, int] = field(default_factory=_counts)
    """Rollbacks by the seat whose input was assumed wrongly."""
    resimulated_by_cause: defaultdict[int, int] = field(default_factory=_counts)
    """Frames simulated again by the same; where several seats caused a rollback, all of it counts for each."""
    depths: defaultdict[int, int] = field(default_factory=_counts)
    """Rollbacks by depth."""
    windows: defaultdict[int, int] = field(default_factory=_counts)
    """Ticks of play by the prediction window that held."""
    delays: defaultdict[int, int] = field(default_factory=_counts)
    """Ticks of play by the input delay that held, in frames."""

    def count_decision(self, decision: Decision) -> None:
        """Count what the session decided in one tick."""
        self.frames += decision.advanced
        if decision.advanced > 1:
            self.fast_forwarded += decision.advanced - 1
        if decision.stalled:
            self.stalls += 1
        depth = decision.depth
        if depth:
            self.rollbacks += 1
            self.resimulated += decision.resimulated
            self.max_depth = max(self.max_depth, depth)
            self.depths[depth] += 1
            for seat in decision.cause:
                self.rollback_causes[seat] += 1
                self.resimulated_by_cause[seat] += decision.resimulated

    def count_withdrawn(self, frames: int) -> None:
        """So many frames that were recorded are simulated again, and will be confirmed anew."""
        self.withdrawn_frames += frames
        self.confirmed_frames -= frames

    def as_data(self) -> dict[str, Any]:
        """Plain data with string keys, for the manifest and JSON."""
        # Not asdict: before Python 3.12 it makes a counter of the pairs of a counter.
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: {str(k): v for k, v in sorted(value.items())} if isinstance(value, defaultdict) else value
            for name, value in values.items()
        }


class PeerCounters:
    """Figures of one peer, sampled while playing. What is only counted stays with the conversation itself.

    Args:
        conversation: with this peer; read at every sample, and again for the report.
    """

    __slots__ = ("_received", "_samples", "ahead", "conversation", "jitter_ms", "lead", "loss", "rtt_ms", "silences")

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.lead = Histogram()
        """Our frame minus the newest frame heard, in frames, at every tick."""
        self.ahead = Histogram()
        """Frames ahead: half of what our lead is more than the peer's. Pacing holds it near 0."""
        self.rtt_ms = Histogram()
        """Round trip times, at every tick before which something arrived."""
        self.jitter_ms = Histogram()
        self.loss = Histogram()
        """Shares lost on the way to us, 0 to 1."""
        self.silences: Counter[str] = Counter()
        """How often nothing was heard for long: ``notice``, ``lost``."""
        self._received = 0
        self._samples = 0

    def sample(self) -> bool:
        """Take in the figures of this tick. True if round trip, jitter and loss had their turn to be shown.

        Call :meth:`sort_in` every few hundred times.
        """
        conversation = self.conversation
        stats = conversation.stats
        lead, theirs = conversation.lead, conversation.peer_lead
        if lead is not None:
            self.lead.pending.append(lead)
            if theirs is not None:
                self.ahead.pending.append((lead - theirs) / 2)
        if stats.datagrams_received != self._received:  # an old time is no new sample
            self._received = stats.datagrams_received
            if stats.rtt is not None:
                self.rtt_ms.pending.append(stats.rtt * 1000)
        self._samples += 1
        if self._samples % _SPARSE:
            return False
        if stats.jitter is not None:
            self.jitter_ms.add(stats.jitter * 1000)
        self.loss.add(stats.loss)
        return True

    def sort_in(self) -> None:
        """Keep small what is sampled in every tick."""
        for histogram in (self.lead, self.ahead, self.rtt_ms):
            histogram.sort_in()
