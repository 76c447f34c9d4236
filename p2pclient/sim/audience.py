"""The spectators of a simulated match: their clients, and what they saw."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from p2pclient.match.plan import Desync, MatchPlan, Outbox
from p2pclient.match.watching import Watching
from p2pclient.recorder.records import EpisodeEnded, FrameRecorded
from p2pclient.sim.environment import Costs, SimulatedHost
from p2pclient.sim.oracle import SideRecording
from p2pclient.sim.peer import FOREVER, SimulatedPeer
from p2pclient.sim.scenario import Scenario, SpectatorSpec

FIRST_SPECTATOR = 100
"""Ids of spectators begin here; players have lower ones."""
STANDSTILL_SECONDS = 30.0
"""A spectator that moves by nothing for this long beyond ``drop_after`` and its delay hangs."""


class SimulatedSpectator:
    """One client that watches.

    Args:
        own: its id.
        players: those whose programs run when it comes.
        now: the world's time at which it comes.
    """

    def __init__(
        self, scenario: Scenario, spec: SpectatorSpec, own: int, players: list[SimulatedPeer], *, now: float
    ) -> None:
        self.own = own
        self.rate = 1.0
        self.offset = Random(f"spectator/{scenario.seed}/{own}").random() * 5000.0
        self.host = SimulatedHost(scenario.seats, ends_when=scenario.ends_when, input_bytes=scenario.input_bytes)
        save = round(scenario.save_ms * 1000)
        self.host.charge(Costs(round(scenario.step_ms * 1000), save, save))
        self.match = Watching(
            _spectator_plan(players[0].match.plan, own),
            [player.own for player in players],
            delay=spec.delay,
            now=self.local_time(now),
        )
        self.is_down = False
        self.starts_at = 0.0
        self.recording = SideRecording(own)
        self.desyncs: list[Desync] = []
        self.too_new: list[str] = []
        """Frames that were simulated before they might be."""
        self.hung = False
        self.began_at = self.moved_at = now
        self.done_at = FOREVER
        self.pauses = [(spec.pause_at, spec.pause_at + spec.pause_seconds)] if spec.pause_seconds else []
        self._leave_at = spec.leave_at or FOREVER
        self._patience = STANDSTILL_SECONDS + scenario.drop_after + spec.delay / scenario.rate_hz
        self._players = players

    def local_time(self, now: float) -> float:
        """Return the time on this client's clock."""
        return self.offset + now * self.rate

    def paused_until(self, now: float) -> float:
        """Return when its program goes on; 0 if it does not stand still."""
        return max((end for start, end in self.pauses if start <= now < end), default=0.0)

    def tick(self, now: float) -> Outbox:
        """Let one frame's time pass."""
        if self.match.ended is not None and not self.match.is_batch_out and not self.match.owes_acknowledgement:
            self.done_at = now
        elif now - self.moved_at > self._patience:
            self.hung, self.done_at = self.match.ended is None, now
        if now >= self._leave_at and self.match.ended is None:
            return self.match.leave(now=self.local_time(now))
        return self.match.tick(now=self.local_time(now))

    def take(self, out: Outbox, now: float) -> None:
        """Keep what it saw; look whether it may have seen that."""
        for record in out.records:
            if isinstance(record, FrameRecorded):
                self._check_age(record)
                self.recording.frames.append(record)
                self.moved_at = now
            elif isinstance(record, EpisodeEnded):
                self.recording.ends.append(record)
        for event in out.events:
            if isinstance(event, Desync):
                self.desyncs.append(event)

    def _check_age(self, record: FrameRecorded) -> None:
        """Has a player confirmed all frames up to ``delay`` behind this one, or is its episode over?"""
        number, frame = record.episode, record.frame + self.match.delay
        for player in self._players:
            episode = player.match.episode
            if player.match.number > number or player.match.ended is not None or player.has_crashed:
                return
            if episode is None or episode.number != number:
                continue
            if episode.last_frame is not None or frame <= episode.session.confirmed_frame:
                return
        self.too_new.append(f"spectator {self.own} simulated episode {number} frame {record.frame} too early")


def _spectator_plan(plan: MatchPlan, own: int) -> MatchPlan:
    values: dict[str, Any] = {name: getattr(plan, name) for name in MatchPlan.__dataclass_fields__}
    return MatchPlan(**{**values, "own_id": own, "local_seats": (), "peers": {}, "bots": {}})


def begin_watching(
    scenario: Scenario,
    spec: SpectatorSpec,
    own: int,
    peers: list[SimulatedPeer],
    *,
    now: float,
    connect: Callable[[int, int], None],
) -> SimulatedSpectator | None:
    """Let a spectator in at every player that is there; None if the match is over.

    Args:
        connect: called with the spectator's and each player's id.
    """
    players = [peer for peer in peers if not peer.is_done and peer.match.ended is None]
    if not players:
        return None
    for player in players:
        connect(own, player.own)
        player.match.feeds.add(own, now=player.local_time(now))
    return SimulatedSpectator(scenario, spec, own, players, now=now)
