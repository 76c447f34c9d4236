"""What came of one simulated match: the oracle's verdict, what had to follow the faults, and the figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from p2pclient.common.frames import NULL_FRAME
from p2pclient.match.plan import ENDED_EARLY, Ended
from p2pclient.sim.audience import SimulatedSpectator
from p2pclient.sim.oracle import Judgement, Oracle
from p2pclient.sim.peer import SimulatedPeer
from p2pclient.sim.scenario import TERMINAL, Scenario
from p2pclient.sim.world import World

_SETTLED_SECONDS = 5.0
_AFTER_HITCH_SECONDS = 2.0
_WHOLE = ("finished", ENDED_EARLY)
"""How a match ends that all played to its last frame."""
_GONE_REASONS = frozenset({"partner-left", "partner-gone", *_WHOLE, "partition"})


@dataclass(slots=True)
class MatchResult:
    """One match as plain data."""

    scenario: Scenario
    seconds: float = 0.0
    """Virtual time it took."""
    trace_hash: str = ""
    confirmed_frames: int = 0
    """Frames in the longest recording of a side."""
    wrong_frames: int = 0
    false_desyncs: int = 0
    missed_desyncs: int = 0
    seeded_desyncs: int = 0
    """Recordings that became wrong on purpose."""
    resolved_desyncs: int = 0
    """Matches whose sides withdrew frames, simulated them again and went on."""
    misnamed_desyncs: int = 0
    """Desyncs that were found, but whose first frame is another than the one said."""
    hangs: int = 0
    bad_ends: int = 0
    """Matches that ended otherwise than what went wrong explains."""
    errors: int = 0
    """Exceptions out of the engine."""
    survived_losses: int = 0
    """Matches that went on without a peer, whose seats the survivors filled in from one frame on."""
    recovered_hosts: int = 0
    """Environments that failed and were brought back to where they had been."""
    rejoins: int = 0
    """How often a program that was killed came back into the match."""
    changes: dict[str, int] = field(default_factory=dict)
    """Pauses and the like that all agreed on, by kind."""
    unverified_frames: int = 0
    """Recorded frames of finished sides that not everybody verified."""
    recoveries: list[float] = field(default_factory=list)
    apart_after_5_s: float | None = None
    """Most frames between the foremost and the last peer, 5 s after the start and later, hitches left out."""
    apart_after_hitch: float | None = None
    """The same from 2 s after the end of each pause on, for 2 s."""
    largest_datagram: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    """How the sides ended."""
    problems: list[str] = field(default_factory=list)
    """Sentences about everything that was wrong; empty if nothing was."""
    peers: list[dict[str, Any]] = field(default_factory=list)
    """Figures of each side, see :func:`peer_figures`."""
    spectators: list[dict[str, Any]] = field(default_factory=list)
    """Of each spectator: how many frames it simulated, how often some were left out, who fed it, how it ended."""

    @property
    def is_right(self) -> bool:
        """Nothing was wrong."""
        return not self.problems


def judge_match(world: World) -> MatchResult:
    """Return what came of a match that has run."""
    scenario, peers = world.scenario, world.peers
    result = MatchResult(scenario, seconds=world.now, trace_hash=world.trace_hash)
    lost = frozenset(seat for peer in peers if _is_lost(peer) for seat in scenario.seats_of(peer.own))
    pressed = [player.inputs for peer in peers for player in peer.players.values()]
    corrupted = next(((p.own, p.host.corruption) for p in peers if p.host.corruption is not None), None)
    oracle = Oracle(scenario, pressed, lost=lost, corrupted=corrupted)
    for peer in peers:
        peer.recording.changes = peer.match.changes.done
    result.changes = dict(Counter(each["kind"] for each in max((p.recording.changes for p in peers), key=len)))
    judgement = oracle.judge([peer.recording for peer in peers])
    result.spectators = [_judge_spectator(result, oracle, judgement, each) for each in world.spectators]
    result.confirmed_frames = max(len(peer.recording.frames) for peer in peers)
    result.resolved_desyncs = int(any(p.recording.withdrawn for p in peers) and judgement.spoilt_from is None)
    survivors = any(_end_of(peer) in _WHOLE for peer in peers)
    result.survived_losses = int(survivors and bool(judgement.cuts))
    result.recovered_hosts = sum(peer.match.counters.recoveries for peer in peers)
    result.rejoins = sum(peer.rejoins for peer in peers)
    result.recoveries = [round(seconds, 3) for seconds in world.recoveries]
    result.largest_datagram = world.largest_datagram
    result.ends = dict(Counter(_end_of(peer) for peer in peers))
    result.peers = [peer_figures(peer) for peer in peers]
    _judge_frames(result, judgement, peers)
    _judge_desyncs(result, judgement, peers)
    _judge_ends(result, world)
    _measure_apart(result, world)
    return result


def _judge_spectator(
    result: MatchResult, oracle: Oracle, found: Judgement, spectator: SimulatedSpectator
) -> dict[str, Any]:
    watching = spectator.match
    end = watching.ended.reason if watching.ended is not None else "hung"
    gaps = oracle.judge_spectator(spectator.recording, found)
    found.wrong.extend(spectator.too_new)
    if spectator.hung or spectator.desyncs or end == "hung":
        result.bad_ends = 1
        result.problems.append(f"spectator {spectator.own} ended with {end!r}, differences {spectator.desyncs}")
    return {
        "frames": len(spectator.recording.frames),
        "episodes": len(spectator.recording.ends),
        "gaps": gaps,
        "failovers": watching.failovers,
        "end": end,
    }


def _is_lost(peer: SimulatedPeer) -> bool:
    """Did others perhaps play on without this one."""
    ended = peer.match.ended
    return ended is None or ended.reason not in (*_WHOLE, "desync")


def _end_of(peer: SimulatedPeer) -> str:
    ended: Ended | None = peer.match.ended
    return ended.reason if ended is not None else "crashed" if peer.is_done else "hung"


def _judge_frames(result: MatchResult, found: Judgement, peers: Iterable[SimulatedPeer]) -> None:
    result.wrong_frames = len(found.wrong)
    result.problems.extend(text for text in found.wrong[:20] if text)
    for peer in peers:
        for player in peer.players.values():
            result.wrong_frames += len(player.problems)
            result.problems.extend(player.problems[:3])
        ended = peer.match.ended
        if ended is not None and ended.reason in _WHOLE:
            result.unverified_frames += ended.unverified


def _judge_desyncs(result: MatchResult, found: Judgement, peers: list[SimulatedPeer]) -> None:
    corruption = next((p.host.corruption for p in peers if p.host.corruption is not None), None)
    happened = corruption is not None and corruption.happened
    reports = [desync for peer in peers for desync in peer.desyncs]
    said = [peer.own for peer in peers if _end_of(peer) == "desync" or peer.desyncs]
    if found.spoilt_from is None:
        result.seeded_desyncs = result.resolved_desyncs
        if said and not happened:
            result.false_desyncs = 1
            result.problems.append(f"peers {said} report a desync where there is none: {reports[:1]}")
        return
    result.seeded_desyncs = 1
    if len(said) < len(peers) or not reports or found.verified_wrong:
        result.missed_desyncs = 1
        result.problems.append(
            f"the states differ from frame {found.spoilt_from} on: only peers {said} of {len(peers)} say so, "
            f"{found.verified_wrong} wrong frames are verified"
        )
        return
    if any(peer.recording.withdrawn for peer in peers):
        return  # a report names what was played first, and the recordings hold what was simulated again
    for report in reports:
        # Without both checksums the frame is only where the difference must be looked for.
        exact = bool(report.ours and report.theirs)
        wrong = report.frame != found.spoilt_from if exact else report.frame > found.spoilt_from
        if wrong and report.frame != NULL_FRAME:
            result.misnamed_desyncs += 1
            result.problems.append(f"the first differing frame is {found.spoilt_from}, reported was {report.frame}")


def _judge_ends(result: MatchResult, world: World) -> None:
    if world.hung:
        result.hangs = 1
        phases = [(peer.own, peer.match.phase.value, round(world.now - peer.moved_at, 1)) for peer in world.peers]
        result.problems.append(f"nothing moves any more at {world.now:.1f} s: {phases}")
        return
    was_asked = any(fault.kind == "ask-end" for fault in world.scenario.faults)
    terminal = [fault for fault in world.scenario.faults if fault.kind in TERMINAL]
    for peer in world.peers:
        end = _end_of(peer)
        if end == "finished" or (end == ENDED_EARLY and was_asked) or (end == "desync" and result.seeded_desyncs):
            good = True
        elif end == "desync":
            good = False  # counted as false
        else:
            own = any(fault.peer == peer.own for fault in terminal)
            others = any(fault.peer != peer.own for fault in terminal)
            good = (own and end in ("left", "crashed")) or (others and end in _GONE_REASONS)
            good = good or (peer.came_too_late and end in (*_GONE_REASONS, "crashed"))
        if not good and not (end == "desync" and result.false_desyncs):
            result.bad_ends = 1
            text = peer.match.ended.text if peer.match.ended is not None else ""
            result.problems.append(f"peer {peer.own} ended with {end!r} ({text}); nothing explains that")
    if result.unverified_frames and not terminal:
        result.bad_ends = 1
        result.problems.append(f"{result.unverified_frames} frames of finished sides are not verified")


def _measure_apart(result: MatchResult, world: World) -> None:
    starts = [peer.meter.play_started for peer in world.peers]
    # Other faults tear the peers apart on purpose: then these figures say nothing about pacing.
    if None in starts or any(fault.kind != "pause" for fault in world.scenario.faults):
        return
    start = max(at for at in starts if at is not None)
    pauses = [pause for peer in world.peers for pause in peer.pauses]

    def is_disturbed(at: float) -> bool:
        return any(a <= at < b + _AFTER_HITCH_SECONDS for a, b in pauses)

    calm = [apart for at, apart in world.apart if at >= start + _SETTLED_SECONDS and not is_disturbed(at)]
    after = [
        apart
        for at, apart in world.apart
        if any(b + _AFTER_HITCH_SECONDS <= at < b + 2 * _AFTER_HITCH_SECONDS for _, b in pauses)
    ]
    result.apart_after_5_s = round(max(calm), 3) if calm else None
    result.apart_after_hitch = round(max(after), 3) if after else None


def peer_figures(peer: SimulatedPeer) -> dict[str, Any]:
    """Return the figures of one side; sums, so that those of many matches can be added up (see ``figures``)."""
    counters, meter = peer.match.counters, peer.meter
    return {
        "frames": counters.frames,
        "resimulated": counters.resimulated,
        "rollbacks": counters.rollbacks,
        "stalls": counters.stalls,
        "overruns": counters.overruns,
        "fast_forwarded": counters.fast_forwarded,
        "skipped_frames": meter.skipped,
        "datagrams": counters.datagrams_sent,
        "datagram_bytes": counters.datagram_bytes_sent,
        "control": counters.control_sent,
        "control_bytes": counters.control_bytes_sent,
        "depths": dict(counters.depths),
        "lags": dict(meter.lags),
        "play_seconds": meter.play_seconds,
        "play_frames": meter.play_frames,
        "rate_hz": peer.match.plan.rate_hz,
    }
