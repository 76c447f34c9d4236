"""How a match goes, in a few figures that are told to the server about once a second."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import isfinite
from typing import Literal

from p2pclient.common.frames import NULL_FRAME, UNFOCUSED
from p2pclient.common.room_messages import Health, PeerHealth
from p2pclient.match.match import Match
from p2pclient.match.peers import Peer
from p2pclient.match.plan import Phase
from p2pclient.transport.base import TransportStats

_SPAN = 1.0
"""Seconds over which the rate and the depth of rollbacks are taken."""
_SAMPLE_EVERY = 0.1
_MOST = 1e9
_MOST_AHEAD = 1e6
_BETWEEN = (Phase.RESETTING, Phase.BARRIER, Phase.EPISODE_OVER, Phase.FINISHING)

Standing = Literal["connecting", "playing", "paused", "stalled", "between", "ended"]


class HealthMeter:
    """Looks at a match in every tick, and says how it goes.

    Args:
        match: of a player.
    """

    def __init__(self, match: Match) -> None:
        self._match = match
        self._frames: deque[tuple[float, int]] = deque()
        """When so many frames had been simulated."""
        self._depths: deque[tuple[float, int]] = deque()
        self._rollbacks = 0

    def note_tick(self, now: float) -> None:
        """A tick is over."""
        counters = self._match.counters
        if counters.rollbacks > self._rollbacks:
            self._rollbacks = counters.rollbacks
            self._depths.append((now, self._match.last_depth))
            while now - self._depths[0][0] > _SPAN:
                self._depths.popleft()
        frames = self._frames
        if not frames or now - frames[-1][0] >= _SAMPLE_EVERY:
            frames.append((now, counters.frames))
            while len(frames) > 2 and now - frames[1][0] >= _SPAN:
                frames.popleft()

    def report(self, now: float, transports: Mapping[int, TransportStats]) -> Health:
        """Return how the match goes.

        Args:
            transports: what carries the datagrams, by peer.
        """
        match = self._match
        counters, episode = match.counters, match.episode
        steps = match.telemetry.command_us.get("step")
        step_us = steps.mean if steps is not None else None
        totals = episode.totals if episode is not None else match.totals[-1] if match.totals else ()
        return Health(
            phase=self._phase(),
            episode=match.number,
            frame=episode.session.current_frame if episode is not None else 0,
            verified_frames=counters.verified_frames,
            rate_hz=self._rate(now),
            rollbacks=counters.rollbacks,
            rollback_depth=max((depth for at, depth in self._depths if now - at <= _SPAN), default=0),
            stalls=counters.stall_spells,
            desyncs=counters.desyncs,
            step_ms=None if step_us is None else _figure(step_us / 1000),
            focused=self._is_focused(),
            away=match.absences.person,
            is_waited_for=match.changes.is_paused and match.absences.waited_for == match.plan.own_id,
            suspended_s=_figure(match.absences.suspended_seconds),
            scores=tuple([total if isfinite(total) else 0.0 for total in totals]),
            peers=tuple([_peer_health(peer, transports.get(peer.id), now) for peer in match.peers]),
        )

    def _phase(self) -> Standing:
        match = self._match
        phase = match.phase
        if phase is Phase.ENDED:
            return "ended"
        if phase in (Phase.HANDSHAKING, Phase.REJOINING) or (
            phase in (Phase.RESETTING, Phase.BARRIER) and match.number == 0
        ):
            return "connecting"
        if phase in _BETWEEN:
            return "between"
        if match.changes.is_paused:
            return "paused"
        return "stalled" if match.stalled or phase is Phase.DIVERGED else "playing"

    def _rate(self, now: float) -> float:
        if not self._frames:
            return 0.0
        since, frames = self._frames[0]
        seconds = now - since
        return _figure((self._match.counters.frames - frames) / seconds) if seconds > 0 else 0.0

    def _is_focused(self) -> bool:
        """Had the windows the keyboard when the newest inputs were read."""
        episode = self._match.episode
        if episode is None:
            return True
        session = episode.session
        newest = [(seat, session.last_input_frame(seat)) for seat in self._match.plan.local_seats]
        return not any(session.confirmed_input(s, f)[0] & UNFOCUSED for s, f in newest if f != NULL_FRAME)


def _peer_health(peer: Peer, transport: TransportStats | None, now: float) -> PeerHealth:
    endpoint = peer.endpoint
    stats = endpoint.stats
    is_known = endpoint.lead is not None and endpoint.peer_lead is not None
    ahead = max(-_MOST_AHEAD, min(peer.pacer.frames_ahead, _MOST_AHEAD)) if is_known else None
    return PeerHealth(
        seats=peer.seats,
        rtt_ms=None if stats.rtt is None else _figure(stats.rtt * 1000),
        jitter_ms=None if stats.jitter is None else _figure(stats.jitter * 1000),
        loss=min(1.0, max(0.0, stats.loss)) if stats.datagrams_received else None,
        frames_ahead=ahead,
        silent_s=_figure(endpoint.silent_for(now=now)),
        path=transport.connection if transport is not None else "",
    )


def _figure(value: float) -> float:
    return min(max(0.0, value), _MOST)
