"""What the rollback engine costs: session and endpoints together, per peer and tick, with 2 peers and with 8.

Whole meshes of peers in one process and in simulated time, each with its session and an endpoint per other peer, 60
ticks a second; measured is the work of one peer in one tick, by the machine's clock, in three parts: what came in is
read and given to the session; the session takes the local input and decides; the datagrams for all others are written.
All sides must have settled the inputs that were pressed, or the figures count for nothing.

Beside it stand an empty loop (the limit: what measuring costs) and one step of an environment in its host. A long match
compares its first minute with its last, in time and in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import sys
from array import array
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._table import Summary, format_table, summarize
from p2pclient.common.spaces import input_width
from p2pclient.envhost.client import EnvHost
from p2pclient.envhost.process import HostSpec
from p2pclient.protocol.endpoint import MAX_AHEAD, ChainReceived, Endpoint, EndpointConfig, InputReceived
from p2pclient.rollback.prediction import repeat_last
from p2pclient.rollback.session import RollbackSession, SeatConfig

RATE = 60
WINDOW = 8
WIDTH = 5
"""Flags and four bytes of input."""
BOUNDS_US = {2: 60.0, 8: 300.0}
"""Most that the median may be, by peers."""
MAX_SLOWER = 1.25
"""How much slower the last minute may be than the first, as measured; real growth would be many times that."""
MAX_GROWTH_BLOCKS = 500
"""Objects by which a long match may grow after its first minute: what is under way differs from tick to tick."""
_MINUTE = 60 * RATE
_CONNECTION = 1
PARTS = ("in", "session", "out")


@dataclass(frozen=True, slots=True)
class Link:
    """One way of a connection."""

    delay: float
    """Seconds."""
    jitter: float
    """Seconds by which the delay differs, up and down, evenly."""
    loss: float


LINKS = {"lan": Link(0.001, 0.0005, 0.0), "wifi": Link(0.050, 0.020, 0.01)}


class Presses:
    """What every seat presses: keys held for a while, as people and bots do. A function of seat and frame."""

    def __init__(self, seats: int, frames: int, seed: int) -> None:
        rng = random.Random(seed)
        self._by_seat: list[list[bytes]] = []
        for _ in range(seats):
            values: list[bytes] = []
            while len(values) < frames:
                values += [b"\0" + rng.randbytes(WIDTH - 1)] * rng.randint(4, 20)
            self._by_seat.append(values)

    def at(self, seat: int, frame: int) -> bytes:
        """Return the seat's input for ``frame``."""
        return self._by_seat[seat][frame]


class Side:
    """One peer: its session and its endpoints, run as a match runs them."""

    def __init__(self, own: int, peers: int, presses: Presses) -> None:
        neutral = bytes(WIDTH)
        self.session = RollbackSession(
            [SeatConfig(neutral, repeat_last, seat == own) for seat in range(peers)], window=WINDOW
        )
        config = EndpointConfig(_CONNECTION, WIDTH, (WIDTH,), lambda seat, value: value[0] == 0)
        self.endpoints = {peer: Endpoint(config, now=0.0) for peer in range(peers) if peer != own}
        self.arrived: list[tuple[int, bytes]] = []
        self.settled = -1
        self.newly_settled = range(0)
        self.inputs: list[tuple[bytes, ...]] = []
        self.depths: list[int] = []
        self._own = own
        self._presses = presses

    def tick(self, now: float) -> tuple[list[tuple[int, bytes]], tuple[float, float, float]]:
        """Run one tick; return the datagrams by peer, and the seconds that each of :data:`PARTS` took."""
        begin = perf_counter()
        chains = self._receive(now)
        received = perf_counter()
        self._play()
        played = perf_counter()
        out = self._send(now)
        sent = perf_counter()
        self._check(chains)
        return out, (received - begin, played - received, sent - played)

    def _receive(self, now: float) -> list[ChainReceived]:
        chains: list[ChainReceived] = []
        for peer, data in self.arrived:
            self.endpoints[peer].receive_datagram(data, now=now)
        self.arrived.clear()
        for peer, endpoint in self.endpoints.items():
            endpoint.handle_timer(now=now)
            for event in endpoint.take_events():
                if isinstance(event, InputReceived):
                    self.session.add_remote_input(peer, event.frame, event.values[0])
                elif isinstance(event, ChainReceived):
                    chains.append(event)
        return chains

    def _play(self) -> None:
        session = self.session
        for seat in session.seats_to_read():
            value = self._presses.at(seat, session.current_frame)
            frame = session.add_local_input(seat, value)
            for endpoint in self.endpoints.values():
                endpoint.queue_input(frame, value)
        advance = session.advance()
        if advance.depth:
            self.depths.append(advance.depth)
        self.newly_settled = range(self.settled + 1, advance.settled + 1)
        self.inputs = [session.confirmed_inputs(frame) for frame in self.newly_settled]
        self.settled = advance.settled
        session.discard_before(self.settled)

    def _send(self, now: float) -> list[tuple[int, bytes]]:
        current = self.session.current_frame
        out = []
        for peer, endpoint in self.endpoints.items():
            endpoint.lead = float(current - 1 - endpoint.newest_heard)
            endpoint.limit = current + MAX_AHEAD
            if self.settled >= 0:
                endpoint.set_chain(self.settled, self.settled.to_bytes(8, "little"))
            for data in endpoint.datagrams_to_send(now=now):
                out.append((peer, data))
            endpoint.control_to_send()
        return out

    def _check(self, chains: list[ChainReceived]) -> None:
        """Not measured: what was settled is what was pressed, and nobody was misheard."""
        for frame, inputs in zip(self.newly_settled, self.inputs, strict=True):
            if inputs != tuple(self._presses.at(seat, frame) for seat in range(len(inputs))):
                raise RuntimeError(f"side {self._own} settled frame {frame} with inputs that were not pressed")
        drops = {reason for endpoint in self.endpoints.values() for reason in endpoint.drops}
        if drops or any(int.from_bytes(chain.value, "little") != chain.frame for chain in chains):
            raise RuntimeError(f"side {self._own} misheard another one; drops: {sorted(drops)}")


class Mesh:
    """All peers of a match, and the network between them."""

    def __init__(self, peers: int, link: Link, frames: int, seed: int) -> None:
        presses = Presses(peers, frames + WINDOW, seed)
        self.sides = [Side(own, peers, presses) for own in range(peers)]
        self.datagrams = 0
        self.bytes = 0
        self._link = link
        self._rng = random.Random(seed + 1)
        self._under_way: dict[int, list[tuple[float, int, int, bytes]]] = defaultdict(list)
        self._now = 0

    def run(self, ticks: int) -> tuple[array[float], ...]:
        """Run so many ticks; return the seconds of every peer's ticks: of each part, and the whole."""
        measured = tuple(array("d") for _ in range(len(PARTS) + 1))
        for _ in range(ticks):
            self._deliver()
            for own, side in enumerate(self.sides):
                out, seconds = side.tick(self._now / RATE)
                for kept, value in zip(measured, (*seconds, sum(seconds)), strict=True):
                    kept.append(value)
                for peer, data in out:
                    self._carry(own, peer, data)
            self._now += 1
        return measured

    def _deliver(self) -> None:
        for _, sender, receiver, data in sorted(self._under_way.pop(self._now, [])):
            self.sides[receiver].arrived.append((sender, data))

    def _carry(self, sender: int, receiver: int, data: bytes) -> None:
        self.datagrams += 1
        self.bytes += len(data)
        if self._rng.random() < self._link.loss:
            return
        when = self._now / RATE + self._link.delay + self._rng.uniform(-1, 1) * self._link.jitter
        # It is read by the first tick after it is there.
        self._under_way[int(when * RATE) + 1].append((when, sender, receiver, data))


def measure_engine(peers: int, network: str, ticks: int, seed: int) -> dict[str, Any]:
    """Return the figures of one mesh over one network."""
    mesh = Mesh(peers, LINKS[network], ticks + RATE, seed)
    mesh.run(RATE)
    *parts, whole = mesh.run(ticks)
    depths = [depth for side in mesh.sides for depth in side.depths]
    if not depths or min(side.settled for side in mesh.sides) < ticks // 2:
        raise RuntimeError("no rollback happened, or play did not go on: nothing was measured")
    bound = BOUNDS_US[peers]
    total = summarize(whole)
    return {
        "case": f"{peers} peers, {network}",
        "measured": total.to_json(),
        "parts": {name: summarize(part).to_json() for name, part in zip(PARTS, parts, strict=True)},
        "rollbacks_per_100": round(100 * len(depths) / len(whole), 1),
        "max_depth": max(depths),
        "bytes_per_datagram": round(mesh.bytes / mesh.datagrams, 1),
        "bound_us": bound,
        "within_bound": total.median_ms * 1e3 <= bound,
    }


def measure_empty_loop(ticks: int) -> Summary:
    """Return what the measuring itself costs."""
    seconds = array("d")
    for _ in range(ticks):
        begin = perf_counter()
        first = perf_counter()
        second = perf_counter()
        end = perf_counter()
        seconds.append((first - begin) + (second - first) + (end - second))
    return summarize(seconds)


async def measure_step(env: str, args: dict[str, Any], turns: int, seed: int) -> Summary:
    """Return the cost of one plain frame, step and save, in the environment's host, there and back."""
    rng = random.Random(seed)
    host = EnvHost(HostSpec(env, args))
    await host.start()
    spaces = (await host.ready())["action_spaces"]
    seconds = array("d")
    try:
        for turn in range(turns):
            await host.submit([["reset", turn], ["save", 0]])
            for frame in range(20):
                inputs = [bytes([rng.randrange(s["n"])]).ljust(input_width(s), b"\0") for s in spaces]
                begin = perf_counter()
                await host.submit([["step", frame, inputs], ["save", frame + 1], ["drop", frame + 1]])
                seconds.append(perf_counter() - begin)
    finally:
        await host.close()
    return summarize(seconds[20:])


def measure_long_match(minutes: int, seed: int) -> dict[str, Any]:
    """Return the first and the last minute of a long match of two, and what it grew by in between."""
    mesh = Mesh(2, LINKS["wifi"], minutes * _MINUTE, seed)
    first = summarize(mesh.run(_MINUTE)[-1])
    _forget_depths(mesh)
    blocks = _count_blocks()
    for _ in range(minutes - 2):
        mesh.run(_MINUTE)
        _forget_depths(mesh)
    last = summarize(mesh.run(_MINUTE)[-1])
    _forget_depths(mesh)
    grown = _count_blocks() - blocks
    slower = last.median_ms / first.median_ms
    return {
        "minutes": minutes,
        "first_minute": first.to_json(),
        "last_minute": last.to_json(),
        "slower": round(slower, 3),
        "grown_blocks": grown,
        "within_bound": slower <= MAX_SLOWER and grown <= MAX_GROWTH_BLOCKS,
    }


def _forget_depths(mesh: Mesh) -> None:
    for side in mesh.sides:
        side.depths.clear()


def _count_blocks() -> int:
    gc.collect()
    return sys.getallocatedblocks()


def format_engine(cases: list[dict[str, Any]], beside: dict[str, Summary]) -> str:
    """Return the table of the engine's figures, in microseconds, beside what they are to be compared with."""
    rows = []
    for case in cases:
        whole, parts = case["measured"], case["parts"]
        rows.append([
            case["case"],
            *(f"{parts[name]['median_ms'] * 1e3:.1f}" for name in PARTS),
            f"{whole['median_ms'] * 1e3:.1f}",
            f"{whole['p99_ms'] * 1e3:.1f}",
            f"{case['bound_us']:.0f}",
            f"{case['rollbacks_per_100']:.1f}",
            f"{case['bytes_per_datagram']:.1f}",
        ])  # fmt: skip
    for name, summary in beside.items():
        rows.append([name, "", "", "", f"{summary.median_ms * 1e3:.1f}", f"{summary.p99_ms * 1e3:.1f}", "", "", ""])
    head = ["us per peer and tick", *PARTS, "median", "99th", "bound", "rollbacks/100", "B/datagram"]
    return format_table(head, rows)


def format_long_match(found: dict[str, Any]) -> str:
    """Return the comparison of the first and the last minute as a sentence."""
    first, last = found["first_minute"]["median_ms"] * 1e3, found["last_minute"]["median_ms"] * 1e3
    return (
        f"Two peers, wifi: median {first:.1f} us in minute 1, {last:.1f} us in minute {found['minutes']} "
        f"(x {found['slower']:.2f}); {found['grown_blocks']:+d} objects in between."
    )


def main(argv: list[str]) -> int:
    """Run the benchmark; 0 if the bounds hold, 1 if not."""
    parser = argparse.ArgumentParser(prog="dev.py bench engine", description="Cost of session and endpoints.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--ticks", type=int, default=_MINUTE, help=f"ticks of each case (default {_MINUTE})")
    parser.add_argument("--minutes", type=int, default=100, help="length of the long match, at least 2 (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="seed of inputs and networks")
    options = parser.parse_args(argv)
    cases = [measure_engine(n, name, options.ticks, options.seed) for n in BOUNDS_US for name in LINKS]
    beside = {
        "empty loop (the limit)": measure_empty_loop(options.ticks),
        "test:counter_v0, a step in the host": asyncio.run(measure_step("test:counter_v0", {}, 30, options.seed)),
        "CoGrid, a step in the host": asyncio.run(
            measure_step("cogrid:Overcooked-CrampedRoom-V0", {}, 10, options.seed)
        ),
    }
    if not options.json:
        print(format_engine(cases, beside), flush=True)
    long_match = measure_long_match(max(2, options.minutes), options.seed)
    good = all(each["within_bound"] for each in (*cases, long_match))
    if options.json:
        figures = {name: summary.to_json() for name, summary in beside.items()}
        print(json.dumps({"benchmark": "engine", "cases": cases, "beside": figures, "long_match": long_match}))
    else:
        print(f"\n{format_long_match(long_match)}\nBounds: {'kept' if good else 'BROKEN'}.")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
