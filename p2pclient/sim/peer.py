"""One client of a simulated match: its state machine, host, players and clock, and what is measured about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from p2pclient.match.match import Match
from p2pclient.match.past import Past
from p2pclient.match.plan import Desync, MatchPlan, Phase
from p2pclient.sim.environment import Corruption, Costs, SimulatedHost, describe_environment
from p2pclient.sim.oracle import SideRecording
from p2pclient.sim.players import Player
from p2pclient.sim.scenario import Fault, Scenario

FOREVER = float(1 << 40)
"""Seconds that never come."""
_LATEST_BEGIN = 0.1
"""Seconds after the beginning of the world at which the last peer begins to tick."""


@dataclass(slots=True)
class Meter:
    """What is measured from outside, on the world's clock."""

    skipped: int = 0
    """Ticks in play that ran no frame although nothing stood in the way."""
    lags: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Frames simulated beyond the newest confirmed one, after each tick in play."""
    play_started: float | None = None
    play_seconds: float = 0.0
    """Time from the first to the last frame of each episode, summed."""
    play_frames: int = 0
    """Frames in that time."""
    first_frame_at: float | None = None
    """When the first frame of the episode at hand ran, and the newest one, and how many there were."""
    newest_frame_at: float = 0.0
    newest_frame: int = 0

    def note_tick(self, before: int, frame: int, now: float) -> None:
        """The session went from frame ``before`` to ``frame`` in a tick."""
        if frame < self.newest_frame:
            self.close_episode()
        if frame == before:
            return
        if self.first_frame_at is None:
            self.first_frame_at = now
            if self.play_started is None:
                self.play_started = now
        self.newest_frame, self.newest_frame_at = frame, now

    def close_episode(self) -> None:
        """The episode at hand is over: add it to the sums."""
        if self.first_frame_at is not None:
            self.play_seconds += self.newest_frame_at - self.first_frame_at
            self.play_frames += self.newest_frame - 1
        self.first_frame_at, self.newest_frame = None, 0


class SimulatedPeer:
    """One side of the match.

    Args:
        own: its number.
    """

    def __init__(self, scenario: Scenario, own: int) -> None:
        self.own = own
        self.rate = scenario.clock_rate_of(own)
        draw = Random(f"clock/{scenario.seed}/{own}")
        # Nobody's clock starts at 0, and no two agree; nobody begins at the same moment.
        self.offset = draw.random() * 5000.0
        self.begins_at = draw.random() * _LATEST_BEGIN
        self._scenario = scenario
        self._slowness = 1.0
        self.host = self._make_host()
        self.host_faults: list[Fault] = []
        """What its environment does at the next batches, one after the other."""
        self.restart_seconds = 0.0
        """Until the host that it waits for is there."""
        self.players = {
            seat: Player(
                seat,
                seed=f"player/{scenario.seed}/{seat}",
                width=scenario.input_bytes,
                hold=scenario.hold_frames,
                acts_once=scenario.press,
            )
            for seat in scenario.seats_of(own)
        }
        plan = self._make_plan()
        self.match = Match(plan, dict(self.players), now=self.local_time(self.begins_at))
        for player in self.players.values():
            player.match = self.match
        self.due = self.local_time(self.begins_at)
        """When the next tick is due, on its own clock."""
        self.recording = SideRecording(own)
        self.desyncs: list[Desync] = []
        self.meter = Meter()
        self.pauses: list[tuple[float, float]] = []
        """Times in which its program stands still, on the world's clock."""
        self.held_until = 0.0
        """It does not tick before this, nor does it owe the ticks: for beginning late."""
        self.done_at = FOREVER
        """When it had said everything after its end, or crashed: nothing comes of it any more."""
        self.has_crashed = False
        self.is_down = False
        """Its program was killed, and not started again yet."""
        self.starts_at = 0.0
        """When the program that was started again has its connections: what arrives before waits."""
        self.kills = 0
        """How often its program was killed."""
        self.rejoins = 0
        """How often it came back into the match."""
        self.came_too_late = False
        """Was the match over for somebody when it was started again, or nobody left who had not been."""
        self.stood_at = 0, 0
        """Episode and frame that came next before its newest tick, in play."""
        self.refused = 0
        """Changes that it asked for in vain."""
        self.moved_at = 0.0
        """When it last recorded a frame, went on to another phase or ended."""

    def _make_plan(self) -> MatchPlan:
        scenario, own = self._scenario, self.own
        # JSON has no tuples.
        more: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in scenario.plan.items()}
        return MatchPlan(
            match_id=f"sim-{scenario.seed}",
            seed=scenario.seed,
            env=describe_environment(
                scenario.seats,
                max_steps=scenario.episode_frames,
                input_bytes=scenario.input_bytes,
                mode="press" if scenario.press else "held",
                step_us=scenario.step_ms * 1000,
                portable=scenario.portable,
            ),
            local_seats=scenario.seats_of(own),
            peers={peer: scenario.seats_of(peer) for peer in range(scenario.players) if peer != own},
            own_id=own,
            rate_hz=scenario.rate_hz,
            window=scenario.window,
            input_delay=scenario.input_delay_of(own),
            episodes=0,
            frames=scenario.frames,
            drop_after=scenario.drop_after,
            may_return=any(fault.kind == "kill" for fault in scenario.faults),
            render=False,
            has_arbiter=scenario.losses.can_go_on,
            **more,
        )

    def start_again(self, *, now: float, keeps_recording: bool) -> None:
        """Start its program again after a kill; it knows what it has recorded, if it keeps that."""
        recording = self.recording
        if not keeps_recording:
            recording = self.recording = SideRecording(self.own, is_partial=True)
        past = Past.of(recording.as_records())
        self.host = self._make_host()
        self.host_faults.clear()
        self.meter.close_episode()
        self.match = Match(self._make_plan(), dict(self.players), now=self.local_time(now), past=past)
        for player in self.players.values():
            player.match = self.match
        self.due = self.local_time(now)
        self.moved_at = now
        self.is_down = False

    def local_time(self, now: float) -> float:
        """Return the time on this peer's clock."""
        return self.offset + now * self.rate

    def paused_until(self, now: float) -> float:
        """Return when the pause at hand ends; 0 if there is none."""
        return max((end for start, end in self.pauses if start <= now < end), default=0.0)

    @property
    def is_done(self) -> bool:
        """Nothing will come of it any more."""
        return self.done_at < FOREVER

    def charge(self, factor: float = 1.0) -> None:
        """From here on its host takes ``factor`` times as long as usual."""
        self._slowness = factor
        self._charge(self.host)

    def _charge(self, host: SimulatedHost) -> None:
        save = round(self._scenario.save_ms * 1000)
        host.charge(Costs(round(self._scenario.step_ms * 1000), save, save), factor=self._slowness)

    def _make_host(self) -> SimulatedHost:
        scenario = self._scenario
        host = SimulatedHost(scenario.seats, ends_when=scenario.ends_when, input_bytes=scenario.input_bytes)
        self._charge(host)
        return host

    def renew_host(self) -> None:
        """Another host takes the place of the lost one; what was wrong on purpose is wrong in it, too."""
        lost, self.host = self.host, self._make_host()
        self.host.corruption = lost.corruption
        self.host.episode = self.match.number - 1

    def corrupt(self, kind: str, frame: int) -> None:
        """Make its host wrong."""
        self.host.corruption = Corruption(0, frame, kind.removeprefix("corrupt-"))

    def heal_before(self, batch: Sequence[Sequence[Any]]) -> None:
        """End a corruption that is there ``once``, if the batch simulates its frame again after a desync.

        A batch that only fetches the state for the report still shows it.
        """
        corruption = self.host.corruption
        if corruption is None or corruption.kind != "once" or any(command[0] == "get_state" for command in batch):
            return
        if any(command[0] == "step" and command[1] == corruption.frame for command in batch):
            corruption.is_healed = True

    def position(self, now: float) -> float | None:
        """Return how far it is in the episode, in frames and parts of one; None if it does not play."""
        match, meter = self.match, self.meter
        if match.episode is None or match.phase is not Phase.PLAYING or meter.first_frame_at is None:
            return None
        duration = 1.0 / (match.plan.rate_hz * self.rate)
        return match.episode.session.current_frame + min(1.0, (now - meter.newest_frame_at) / duration)
