"""Whole matches in virtual time: real state machines, a toy environment, links that delay, lose and reorder.

The toy's state is a running hash of everything that was ever pressed: any wrong input shows at once and for good.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from p2pclient.match.match import Match
from p2pclient.match.plan import Ended, MatchEvent, MatchPlan, Outbox, Phase
from p2pclient.match.sources import Sample
from p2pclient.recorder.records import FrameRecorded, Record

INPUTS = 5


class ToyHost:
    """Carries out batches on a toy environment: ``state = hash(state, inputs)``; ends by event or by length."""

    def __init__(self, seats: int, *, ends_when: int | None = None) -> None:
        self.seats = seats
        self.state = b""
        self.frame = 0
        self.ended = False
        self.saved: dict[int, tuple[bytes, int, bool]] = {}
        self.ends_when = ends_when
        self.corrupt_at: int | None = None
        self.steps = 0
        self.bots: dict[int, random.Random] = {}
        self.substitutes: dict[int, str] = {}
        self.decided: dict[int, list[bytes]] = {}

    def run(self, batch: list[list[Any]]) -> list[Any]:
        return [getattr(self, "do_" + command[0])(*command[1:]) for command in batch]

    def do_reset(self, seed: int) -> bytes:
        self.state, self.frame, self.ended = str(seed).encode(), 0, False
        self.saved.clear()
        return self.checksum()

    def checksum(self) -> bytes:
        return blake2b(self.state + bytes([self.ended]), digest_size=8).digest()

    def do_compute_hash(self) -> bytes:
        return self.checksum()

    def do_add_substitute(self, seat: int, name: str, seed: int) -> None:
        self.substitutes[seat] = f"{name}{seed}"

    def act(self, seat: int) -> bytes:
        """What the substitute of a seat does now: by its name, the state and the frame alone."""
        told = blake2b(f"{self.substitutes[seat]}/{self.frame}".encode() + self.state, digest_size=1).digest()
        return bytes([1 + told[0] % (INPUTS - 1)])

    def do_step(self, frame: int, inputs: Sequence[bytes | None], observe: bool = False) -> list[Any]:
        if None in inputs:
            used = [self.act(seat) if value is None else None for seat, value in enumerate(inputs)]
            given = [value or act or b"" for value, act in zip(inputs, used, strict=True)]
            return [*self.do_step(frame, given, observe), used]
        inputs = [value or b"" for value in inputs]
        assert frame == self.frame, (frame, self.frame)
        self.frame += 1
        self.steps += 1
        rewards = [0.0] * self.seats
        if not self.ended:
            self.state = blake2b(self.state + b"|".join(inputs), digest_size=8).digest()
            if frame == self.corrupt_at:
                self.state = b"corrupted"
            rewards = [float(self.state[0] % 3)] * self.seats
            self.ended = self.ends_when is not None and frame > 20 and self.state[1] % self.ends_when == 0
        flags = [self.ended] * self.seats
        seen = [self.state] * self.seats if observe else None
        return [self.checksum(), rewards, flags, [False] * self.seats, [{}] * self.seats, self.ended, seen]

    def do_save(self, frame: int) -> None:
        assert frame == self.frame
        self.saved[frame] = (self.state, self.frame, self.ended)

    def do_load(self, frame: int) -> None:
        self.state, self.frame, self.ended = self.saved[frame]

    def do_drop(self, before: int) -> None:
        for frame in [f for f in self.saved if f < before]:
            del self.saved[frame]

    def do_get_state(self) -> dict[str, Any]:
        return {"frame": self.frame, "data": {"state": self.state, "ended": self.ended}}

    def do_get_snapshot(self, frame: int) -> dict[str, Any]:
        state, _, ended = self.saved[frame]
        return {"frame": frame, "data": {"state": state, "ended": ended}}

    def do_set_state(self, state: dict[str, Any]) -> bytes:
        self.frame, self.state, self.ended = state["frame"], state["data"]["state"], state["data"]["ended"]
        return self.checksum()

    def do_add_bot(self, seat: int, name: str, seed: int) -> None:
        self.bots[seat] = random.Random(f"{name}{seed}")

    def do_decide(self, seat: int) -> bytes:
        self.decided.setdefault(seat, []).append(bytes([self.bots[seat].randrange(1, INPUTS)]))
        return self.decided[seat][-1]

    def do_render(self) -> dict[str, Any]:
        return {"frame": self.frame, "pixels": None, "totals": [0.0] * self.seats, "ended": self.ended}


def toy_env(seats: int = 2, *, max_steps: int | None = 200, mode: str = "held") -> dict[str, Any]:
    """What a host says of the toy when it is ready."""
    return {
        "env": "toy",
        "args": {},
        "agents": list(range(seats)),
        "seats": seats,
        "action_spaces": [{"kind": "discrete", "n": INPUTS, "start": 0}] * seats,
        "observation_spaces": [None] * seats,
        "controls": {"mode": mode, "bindings": [], "neutral": [b"\x00"] * seats, "help": []},
        "max_steps": max_steps,
        "nominal_rate_hz": 15,
        "bots": [],
        "digest": "d",
        "machine": {"python": "3", "numpy": "2", "system": "s", "machine": "m"},
        "numeric_probe": "p",
        "step_us": 1.0,
    }


class RandomSource:
    """Presses keys for a few frames at a time, and keeps what was read from it: the truth for the oracle."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._left = 0
        self._key = b"\x00"
        self.pressed: list[bytes] = []
        self.read: Counter[int] = Counter()
        self.match: Match | None = None

    def sample(self) -> Sample:
        if self._left == 0:
            self._left = self._random.randint(1, 6)
            self._key = bytes([self._random.randrange(INPUTS)])
        self._left -= 1
        self.pressed.append(self._key)
        self.read[self.match.number if self.match else 0] += 1
        return Sample(self._key, True, None)


@dataclass
class Link:
    """One direction of a path: one-way delay in seconds, jitter, loss, and spells in which everything is lost."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    outages: tuple[tuple[float, float], ...] = ()


@dataclass
class HostFailure(Exception):
    """A host fails at a step of a frame, or (``frame`` -1) at the next command of a kind."""

    frame: int = -1
    command: str = "step"
    seconds: float = 0.0
    """Until that is noticed."""
    is_gone: bool = True
    times: int = 1

    def strikes(self, batch: list[list[Any]]) -> bool:
        names = [command for command in batch if command[0] == self.command]
        return any(self.frame in (-1, command[1] if len(command) > 1 else -1) for command in names)


@dataclass
class Side:
    """One client of a virtual match."""

    match: Match
    host: ToyHost
    source: RandomSource
    clock_rate: float = 1.0
    due: float = 0.0
    records: list[Record] = field(default_factory=list)
    events: list[MatchEvent] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    failures: list[HostFailure] = field(default_factory=list)
    """How its hosts fail, one after the other."""
    restart: float = 0.5
    """Seconds until a new host is there; it never comes if infinite."""
    hosts: int = 1
    batches: list[list[list[Any]]] = field(default_factory=list)
    paused: tuple[float, float] = (0.0, 0.0)
    dead_from: float = float("inf")

    @property
    def simulated(self) -> dict[int, int]:
        """Frames for which this side read an input, by episode."""
        return self.source.read

    def frames(self, episode: int | None = None) -> list[FrameRecorded]:
        return [r for r in self.records if isinstance(r, FrameRecorded) and episode in (None, r.episode)]

    @property
    def ended(self) -> Ended | None:
        return self.match.ended


class VirtualMatch:
    """The clients of one match, their hosts and the network between them; one heap of events, one seed.

    Args:
        link: of every direction; ``back`` is the one from the second client to the first.
        envs: what each client's host says of itself, where that is not the same.
        players: clients, each with one seat, every two of them connected.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        link: Link | None = None,
        back: Link | None = None,
        env: dict[str, Any] | None = None,
        envs: Sequence[dict[str, Any]] = (),
        host_cost: float = 0.002,
        ends_when: int | None = None,
        clock_rates: Sequence[float] = (),
        players: int = 2,
        tracing: bool = False,
        **plan: Any,
    ) -> None:
        self.random = random.Random(seed)
        pairs = [(a, b) for a in range(players) for b in range(players) if a != b]
        self.links = {pair: link or Link() for pair in pairs}
        if back is not None:
            self.links[1, 0] = back
        self.now = 0.0
        self._heap: list[tuple[float, int, Any]] = []
        self._order = 0
        self._control_free = dict.fromkeys(pairs, 0.0)
        self.host_cost = host_cost
        self.sides: list[Side] = []
        for own in range(players):
            match_plan = MatchPlan(
                match_id="m",
                seed=seed,
                env=envs[own] if envs else env or toy_env(players),
                local_seats=(own,),
                peers={other: (other,) for other in range(players) if other != own},
                own_id=own,
                **{"render": False, **plan},
            )
            source = RandomSource(seed * 10 + own)
            match = Match(match_plan, {own: source}, now=0.0)
            source.match = match
            match.tracing = tracing
            rate = clock_rates[own] if clock_rates else 1.0
            side = Side(match, ToyHost(players, ends_when=ends_when), source, clock_rate=rate)
            self.sides.append(side)
            self._at(0.0, ("tick", own))

    def _at(self, when: float, what: Any) -> None:
        self._order += 1
        heapq.heappush(self._heap, (when, self._order, what))

    def run(self, seconds: float = 120.0) -> None:
        """Let time pass until all have ended and said goodbye, or ``seconds`` are over."""
        while self._heap and self._heap[0][0] <= seconds:
            self.now, _, what = heapq.heappop(self._heap)
            own = what[1]
            side = self.sides[own]
            if self.now >= side.dead_from:
                continue
            if side.paused[0] <= self.now < side.paused[1]:
                self._at(side.paused[1], what)
                continue
            if what[0] == "tick":
                self._tick(own, side)
            elif what[0] == "reply":
                self._carry_out(own, side.match.batch_done(what[2], now=self.now))
            elif what[0] == "lost":
                self._carry_out(own, side.match.host_lost(what[2], is_gone=what[3], now=self.now))
            elif what[0] == "host":
                side.hosts += 1
                side.host = type(side.host)(side.host.seats, ends_when=side.host.ends_when)
                self._carry_out(own, side.match.host_ready(dict(side.match.plan.env), now=self.now))
            elif what[0] == "receive":
                side.match.receive(what[2], what[3], what[4], now=self.now)
            if all(s.ended for s in self.sides) and all(not s.match.is_batch_out for s in self.sides):
                return

    def _tick(self, own: int, side: Side) -> None:
        frame = side.match.frame_duration() / side.clock_rate
        owed = max(1, int((self.now - side.due) / frame) + 1)
        self._carry_out(own, side.match.tick(now=self.now, owed=owed))
        side.due = (side.due if owed == 1 else self.now) + frame
        self._at(side.due, ("tick", own))

    def _carry_out(self, own: int, out: Outbox) -> None:
        side = self.sides[own]
        for peer, data in out.datagrams:
            self._send(own, peer, "inputs", data)
        for peer, data in out.control:
            self._send(own, peer, "control", data)
        side.records.extend(out.records)
        side.events.extend(out.events)
        side.trace.extend(out.trace)
        if out.wants_host and side.restart < float("inf"):
            self._at(self.now + side.restart, ("host", own))
        if out.batch is not None:
            side.batches.append(out.batch)
            self._run(own, side, out.batch)

    def _run(self, own: int, side: Side, batch: list[list[Any]]) -> None:
        failure = next((each for each in side.failures if each.strikes(batch)), None)
        if failure is None:
            self._at(self.now + self.host_cost, ("reply", own, side.host.run(batch)))
            return
        failure.times -= 1
        if failure.times == 0:
            side.failures.remove(failure)
        at = next(n for n, command in enumerate(batch) if failure.strikes([command]))
        side.host.run(batch[:at])  # what came before it is done
        self._at(self.now + self.host_cost + failure.seconds, ("lost", own, "it broke", failure.is_gone))

    def _send(self, own: int, peer: int, channel: str, data: bytes) -> None:
        link = self.links[own, peer]
        out = next((end for start, end in link.outages if start <= self.now < end), None)
        delay = link.delay + self.random.random() * link.jitter
        if channel == "control":
            when = max(self.now + delay, self._control_free[own, peer], (out or 0.0) + delay)
            self._control_free[own, peer] = when
            self._at(when, ("receive", peer, own, channel, data))
            return
        if out is not None or self.random.random() < link.loss:
            return
        self._at(self.now + delay, ("receive", peer, own, channel, data))
        if self.random.random() < link.duplicate:
            self._at(self.now + delay * 1.5, ("receive", peer, own, channel, data))


def straight_run(pressed: list[list[bytes]], seed: int, *, frames: int, ends_when: int | None = None) -> list[bytes]:
    """Checksums of a run without any network: the truth."""
    host = ToyHost(len(pressed), ends_when=ends_when)
    host.do_reset(seed)
    checksums = []
    for frame in range(frames):
        checksums.append(host.do_step(frame, [seat[frame] for seat in pressed])[0])
    return checksums


def finished(match: VirtualMatch) -> bool:
    """Did all sides come to the planned end."""
    return all(s.ended is not None and s.ended.reason == "finished" for s in match.sides)


__all__ = ["Link", "Phase", "Side", "ToyHost", "VirtualMatch", "finished", "straight_run", "toy_env"]
