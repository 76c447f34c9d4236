"""What the pipe to the environment host costs: one batch, command by command, and no pipe at all, side by side.

Back to back through the runtime's own host client, in one run, in turns, so that all see the same machine:

- a rollback of 8 frames (load, 8 x step and save, checksum): as one batch, command by command, in this process;
- one plain frame (step, save, view): through the host, in this process.

First on an environment whose step costs 20 us, where the bound holds: one batch may cost 0.35 ms more than the work
itself, and a quarter of what command by command costs more. Then on CoGrid's Overcooked, without a bound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._table import Summary, format_table, summarize
from envs import registry
from envs.simulation import Simulation
from p2pclient.common.spaces import input_width
from p2pclient.envhost.client import EnvHost
from p2pclient.envhost.process import HostSpec

DEPTH = 8
STEP_US = 20
MAX_ABOVE_LIMIT_MS = 0.35
MAX_SHARE = 0.25
_TURN = 20
"""Measurements of one kind before the next kind has its turn."""

NAMES = {
    "batch": "8-frame rollback, one batch",
    "one_by_one": "8-frame rollback, command by command",
    "limit": "8-frame rollback, in this process (the limit)",
    "frame": "one plain frame, through the host",
    "frame_limit": "one plain frame, in this process (the limit)",
}

Commands = list[list[Any]]


class Bench:
    """One environment twice, in a host and in this process, with the same inputs."""

    def __init__(self, env: str, args: dict[str, Any], seed: int) -> None:
        self.host = EnvHost(HostSpec(env, args))
        self.simulation = Simulation(registry.create(env, args))
        self._env = env
        self._rng = random.Random(seed)
        self._spaces: list[dict[str, Any]] = []
        self.seconds: dict[str, list[float]] = {name: [] for name in NAMES}

    async def run(self, turns: int) -> dict[str, Summary]:
        await self.host.start()
        self._spaces = (await self.host.ready())["action_spaces"]
        try:
            for turn in range(turns):
                start: Commands = [["reset", turn], ["save", 0]]
                await self.host.submit(start)
                self._run_here(start)
                await self._turn()
        finally:
            await self.host.close()
        warm = {name: seconds[_TURN:] for name, seconds in self.seconds.items()}
        return {name: summarize(seconds) for name, seconds in warm.items()}

    async def _turn(self) -> None:
        rollback = self._rollback()
        frames = [self._frame(frame) for frame in range(_TURN)]
        for _ in range(_TURN):
            await self._timed("batch", rollback)
        for _ in range(_TURN):
            await self._timed_one_by_one(rollback)
        for _ in range(_TURN):
            self._timed_here("limit", rollback)
        # Both begin at frame 0 again, and step through the same frames.
        await self.host.submit([["load", 0]])
        self._run_here([["load", 0]])
        for frame in frames:
            await self._timed("frame", frame)
        for frame in frames:
            self._timed_here("frame_limit", frame)
        mine, theirs = self.simulation.compute_hash(), (await self.host.submit([["compute_hash"]])).results[0]
        if mine != theirs:
            raise RuntimeError(f"{self._env}: host and this process simulated different things")

    def _inputs(self) -> list[bytes]:
        return [bytes([self._rng.randrange(space["n"])]).ljust(input_width(space), b"\0") for space in self._spaces]

    def _rollback(self) -> Commands:
        commands: Commands = [["load", 0]]
        for frame in range(DEPTH):
            commands += [["step", frame, self._inputs()], ["save", frame + 1]]
        return [*commands, ["compute_hash"]]

    def _frame(self, frame: int) -> Commands:
        return [["step", frame, self._inputs()], ["save", frame + 1], ["render"]]

    async def _timed(self, name: str, commands: Commands) -> None:
        begin = perf_counter()
        await self.host.submit(commands)
        self.seconds[name].append(perf_counter() - begin)

    async def _timed_one_by_one(self, commands: Commands) -> None:
        begin = perf_counter()
        for command in commands:
            await self.host.submit([command])
        self.seconds["one_by_one"].append(perf_counter() - begin)

    def _timed_here(self, name: str, commands: Commands) -> None:
        begin = perf_counter()
        self._run_here(commands)
        self.seconds[name].append(perf_counter() - begin)

    def _run_here(self, commands: Commands) -> None:
        for command in commands:
            getattr(self.simulation, command[0])(*command[1:])


def report(env: str, found: dict[str, Summary], *, bound: bool) -> dict[str, Any]:
    """Return the figures of one environment, and whether they keep the bound."""
    limit = found["limit"].median_ms
    above = found["batch"].median_ms - limit
    share = above / (found["one_by_one"].median_ms - limit)
    good = not bound or (above <= MAX_ABOVE_LIMIT_MS and share <= MAX_SHARE)
    return {
        "env": env,
        "measured": {name: summary.to_json() for name, summary in found.items()},
        "batch_above_limit_ms": round(above, 4),
        "share_of_one_by_one": round(share, 4),
        "frame_above_limit_ms": round(found["frame"].median_ms - found["frame_limit"].median_ms, 4),
        "within_bound": good if bound else None,
    }


def format_report(figures: dict[str, Any]) -> str:
    measured = figures["measured"]
    rows = []
    for name, title in NAMES.items():
        limit = measured["frame_limit" if name.startswith("frame") else "limit"]["median_ms"]
        median, p99 = measured[name]["median_ms"], measured[name]["p99_ms"]
        rows.append([title, f"{median:.3f}", f"{p99:.3f}", f"{median - limit:+.3f}", f"{median / limit:.2f}"])
    lines = [figures["env"], format_table(["ms", "median", "99th", "above limit", "x limit"], rows)]
    above, share = figures["batch_above_limit_ms"], figures["share_of_one_by_one"]
    lines.append(f"One batch costs {above:.3f} ms above the limit, {share:.0%} of what command by command does.")
    if figures["within_bound"] is not None:
        verdict = "kept" if figures["within_bound"] else "BROKEN"
        lines.append(f"Bound (at most {MAX_ABOVE_LIMIT_MS} ms and {MAX_SHARE:.0%}): {verdict}.")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Run the benchmark; 0 if the bound holds, 1 if not."""
    parser = argparse.ArgumentParser(prog="dev.py bench batch", description="Cost of the pipe to the environment host.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--turns", type=int, default=30, help=f"turns of {_TURN} measurements each (default 30)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the inputs")
    options = parser.parse_args(argv)
    cases = [
        ("test:counter_v0", {"step_cost_us": STEP_US}, options.turns, True),
        ("cogrid:Overcooked-CrampedRoom-V0", {}, max(2, options.turns // 5), False),
    ]
    figures = []
    for env, args, turns, bound in cases:
        found = asyncio.run(Bench(env, args, options.seed).run(turns + 1))
        figures.append(report(env, found, bound=bound))
        if not options.json:
            print(format_report(figures[-1]), end="\n\n", flush=True)
    if options.json:
        print(json.dumps({"benchmark": "batch", "step_us": STEP_US, "environments": figures}))
    return 0 if all(each["within_bound"] is not False for each in figures) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
