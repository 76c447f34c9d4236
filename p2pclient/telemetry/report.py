"""What is reported of a match: plain data, for the manifest and for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from p2pclient.telemetry.counters import PeerCounters
from p2pclient.telemetry.histogram import Summary


class Traffic(msgspec.Struct, frozen=True):
    """Messages of one kind, over the whole match."""

    messages: int
    bytes: int
    """Payload, without what the transport puts around it."""


class PeerReport(msgspec.Struct, frozen=True, kw_only=True):
    """The conversation with one peer."""

    sent: dict[str, Traffic]
    """By kind: ``inputs`` for a frame, ``keep-alive``, ``control``."""
    received: dict[str, Traffic]
    """By kind: ``datagrams``, ``control``."""
    lost: int
    """Datagrams to us that never arrived."""
    duplicates: int
    reordered: int
    drops: dict[str, int]
    """What arrived and was not taken, by reason."""
    silences: dict[str, int]
    """How often nothing was heard for long, by level."""
    rtt_ms: Summary
    jitter_ms: Summary
    loss: Summary
    """Shares lost on the way to us, 0 to 1."""
    lead: Summary
    """Our frame minus the newest frame heard, frames."""
    ahead: Summary
    """Half of what our lead is more than the peer's, frames."""


class MatchReport(msgspec.Struct, frozen=True, kw_only=True):
    """One side's match."""

    seconds: float
    """Since the match was made."""
    phase_seconds: dict[str, float]
    counters: dict[str, Any]
    """As in ``MatchCounters``."""
    frames_per_s: float
    """While playing."""
    resimulated_per_100: float
    """Frames simulated again for each 100 new ones."""
    rollbacks_per_100: float
    stalls_per_minute: float
    """Runs of stalled ticks for each minute of play."""
    messages_per_s: float
    """Datagrams and control messages sent to all peers."""
    bytes_per_s: float
    depth: Summary
    lag: Summary
    """Frames simulated and not confirmed, at every tick of play."""
    tick_ms: Summary
    """Times between ticks of play."""
    batch_ms: Summary
    """From handing a batch of play to the environment's host to its reply."""
    host_ms: Summary
    """What the host's commands of such a batch took by its own clock."""
    command_us: dict[str, Summary]
    """The same for each command by its name, in microseconds: ``step``, ``save``, ``load``, ``render`` and others."""
    peers: dict[str, PeerReport]
    """By the peer's id."""

    def as_data(self) -> dict[str, Any]:
        """Plain data with string keys."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data


def report_peer(peer: PeerCounters) -> PeerReport:
    """Return what is known of one peer."""
    stats = peer.conversation.stats
    return PeerReport(
        sent={
            "inputs": Traffic(stats.inputs_sent, stats.input_bytes_sent),
            "keep-alive": Traffic(stats.keep_alives_sent, stats.keep_alive_bytes_sent),
            "control": Traffic(stats.control_sent, stats.control_bytes_sent),
        },
        received={
            "datagrams": Traffic(stats.datagrams_received, stats.bytes_received),
            "control": Traffic(stats.control_received, stats.control_bytes_received),
        },
        lost=stats.lost,
        duplicates=stats.duplicates,
        reordered=stats.reordered,
        drops=_sorted(peer.conversation.drops),
        silences=_sorted(peer.silences),
        rtt_ms=peer.rtt_ms.summary(),
        jitter_ms=peer.jitter_ms.summary(),
        loss=peer.loss.summary(),
        lead=peer.lead.summary(),
        ahead=peer.ahead.summary(),
    )


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))
