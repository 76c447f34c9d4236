"""How long a picture takes from the environment's host to the client: shared memory, the pipe, and a bare copy.

An environment whose picture is ready draws it again and again. Timed is from handing over the batch until the client
has an array that it can use, one after the other, in turns, so that all see the same machine:

- as the runtime gets it, through memory that the host shares with it;
- as it gets it when no memory is free: through the pipe, with the rest of the reply;
- the same bytes through a bare ``multiprocessing`` pipe from another process that was asked for them;
- the same bytes copied once in this process: the limit.

The bound is on a picture of 1280 x 720.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._still import still
from benchmarks._table import Summary, format_table, summarize
from p2pclient.envhost.client import EnvHost
from p2pclient.envhost.process import HostSpec
from p2pclient.envhost.views import SLOTS

SIZES = ((480, 384), (1280, 720), (1920, 1080))
BOUND_SIZE, MAX_MS = (1280, 720), 0.5
_TURN = 10
"""Measurements of one kind before the next kind has its turn."""

NAMES = {
    "shared": "through shared memory",
    "piped": "through the host's pipe",
    "bare": "through a bare pipe",
    "limit": "one copy in this process (the limit)",
}


class Bench:
    """Pictures of one size, each way."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._host = EnvHost(HostSpec("tandem_still:make", {"width": size[0], "height": size[1]}, local=True))
        self._expected = [still(*size, frame) for frame in range(2)]
        self.seconds: dict[str, list[float]] = {name: [] for name in NAMES}

    async def run(self, turns: int) -> dict[str, Summary]:
        await self._host.start()
        await self._host.ready()
        pipe, theirs = multiprocessing.Pipe()
        sender = multiprocessing.get_context("spawn").Process(target=send_pictures, args=(theirs, self._size))
        sender.start()
        theirs.close()
        try:
            for turn in range(turns):
                await self._host.submit([["reset", turn], ["save", 0]])
                await self._turn(pipe)
        finally:
            await self._host.close()
            pipe.close()
            sender.join()
        warm = {name: seconds[_TURN:] for name, seconds in self.seconds.items()}
        return {name: summarize(seconds) for name, seconds in warm.items()}

    async def _turn(self, pipe: Connection) -> None:
        for _ in range(_TURN):
            await self._timed("shared")
        held = [await self._picture() for _ in range(SLOTS)]  # as a program would that keeps the newest pictures
        for _ in range(_TURN):
            await self._timed("piped")
        del held
        for _ in range(_TURN):
            begin = perf_counter()
            pipe.send_bytes(b"?")
            data = pipe.recv_bytes()
            self.seconds["bare"].append(perf_counter() - begin)
        if data != self._expected[0].tobytes():
            raise RuntimeError("the bare pipe brought another picture")
        for _ in range(_TURN):
            target = np.empty_like(self._expected[0])
            target[:] = 0  # its memory is there: that is not what is measured
            begin = perf_counter()
            np.copyto(target, self._expected[0])
            self.seconds["limit"].append(perf_counter() - begin)

    async def _timed(self, name: str) -> None:
        begin = perf_counter()
        picture = await self._picture()
        self.seconds[name].append(perf_counter() - begin)
        if picture.flags.owndata or picture.flags.writeable != (name == "piped"):
            raise RuntimeError(f"the picture did not come {NAMES[name]}")
        if picture.shape != self._expected[0].shape or (picture[-1] != self._expected[0][-1]).any():
            raise RuntimeError("another picture came than was drawn")

    async def _picture(self) -> Any:
        return (await self._host.submit([["render"]])).results[0]["pixels"]


def send_pictures(pipe: Connection, size: tuple[int, int]) -> None:
    """Send a picture for every message, until the pipe is closed. Runs in a process of its own."""
    picture = still(*size, 0)
    try:
        while pipe.recv_bytes():
            pipe.send_bytes(picture.data.cast("B"))
    except (EOFError, OSError):
        pass  # the benchmark is over


def report(size: tuple[int, int], found: dict[str, Summary]) -> dict[str, Any]:
    """Return the figures for one size, and whether they keep the bound."""
    return {
        "width": size[0],
        "height": size[1],
        "measured": {name: summary.to_json() for name, summary in found.items()},
        "within_bound": found["shared"].median_ms <= MAX_MS if size == BOUND_SIZE else None,
    }


def format_report(figures: dict[str, Any]) -> str:
    measured = figures["measured"]
    limit = measured["limit"]["median_ms"]
    rows = [
        [title, *(f"{measured[name][key]:.3f}" for key in ("median_ms", "p99_ms"))] for name, title in NAMES.items()
    ]
    for row, name in zip(rows, NAMES, strict=True):
        row.append(f"{measured[name]['median_ms'] - limit:+.3f}")
    width, height = figures["width"], figures["height"]
    lines = [f"{width} x {height}, {width * height * 3 / 1e6:.1f} MB"]
    lines.append(format_table(["ms", "median", "99th", "above limit"], rows))
    if figures["within_bound"] is not None:
        lines.append(f"Bound (at most {MAX_MS} ms): {'kept' if figures['within_bound'] else 'BROKEN'}.")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Run the benchmark; 0 if the bound holds, 1 if not."""
    parser = argparse.ArgumentParser(prog="dev.py bench views", description="Cost of bringing a picture to the client.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--turns", type=int, default=20, help=f"turns of {_TURN} measurements each (default 20)")
    options = parser.parse_args(argv)
    figures = []
    with tempfile.TemporaryDirectory(prefix="tandem-views-") as folder:
        shutil.copy(Path(__file__).with_name("_still.py"), Path(folder) / "tandem_still.py")
        was = os.getcwd()
        os.chdir(folder)
        try:
            for size in SIZES:
                figures.append(report(size, asyncio.run(Bench(size).run(options.turns + 1))))
                if not options.json:
                    print(format_report(figures[-1]), end="\n\n", flush=True)
        finally:
            os.chdir(was)
    if options.json:
        print(json.dumps({"benchmark": "views", "sizes": figures}))
    return 0 if all(each["within_bound"] is not False for each in figures) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
