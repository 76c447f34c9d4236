"""How long a key press takes to be seen, in a real window with real key events, with and without a match.

On a screen of its own (Xvfb), keys are pressed at random moments. For each press, from the times that the client
records: taken from the system -> applied (read by a tick) -> simulated (back from the environment's host) -> shown
(after the flip). Alone, and in a match of two clients over loopback, at 15 and at 60 frames a second, input delay 0.
Beside it a window without a match, which is the limit. From press to shown may take two frames, at the 99th percentile.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._desk import Desk, missing
from benchmarks._table import Summary, format_table, summarize
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.records import FrameTimed

ROOT = Path(__file__).resolve().parent.parent
ENV = "cogrid:Overcooked-CrampedRoom-V0"
BOT = "greedy"
RATES = (15, 60)
MAX_FRAMES = 2.0
"""From press to shown at the 99th percentile, frames."""
_PATIENCE_S = 30.0
_KEYS = ("w", "a", "s", "d")
STAGES = {
    "sent_to_pressed": "pressed on the keyboard -> taken from the system",
    "pressed_to_applied": "-> applied (the next tick)",
    "applied_to_simulated": "-> simulated",
    "simulated_to_shown": "-> shown",
    "pressed_to_shown": "press to shown",
}


@dataclass(frozen=True, slots=True)
class Press:
    """When one press went through the stages, seconds of ``perf_counter``."""

    sent: float
    pressed: float
    applied: float
    simulated: float
    shown: float

    def stages(self) -> dict[str, float]:
        times = (self.sent, self.pressed, self.applied, self.simulated, self.shown)
        steps = [later - earlier for earlier, later in itertools.pairwise(times)]
        return dict(zip(STAGES, [*steps, self.shown - self.pressed], strict=True))


class Bench:
    """Runs clients at one desk and presses their keys."""

    def __init__(self, desk: Desk, presses: int, seed: int, folder: Path) -> None:
        self._desk = desk
        self._presses = presses
        self._random = random.Random(seed)
        self._folder = folder

    def bare_window(self) -> Summary:
        """A window that answers by itself."""
        with self._process("benchmarks._bare_window") as process:
            self._desk.activate(self._desk.window_of(process.pid))
            self._press_keys(1 / 30)
            output, _ = process.communicate(timeout=_PATIENCE_S)
        pairs = [json.loads(line) for line in output.splitlines() if line.startswith("[")]
        if len(pairs) != self._presses:
            raise RuntimeError(f"the bare window answered {len(pairs)} of {self._presses} presses")
        return summarize([shown - pressed for pressed, shown in pairs])

    def alone(self, rate: int) -> list[Press]:
        """``tandem play``."""
        out = self._folder / f"play-{rate}"
        length = ("--max-steps", "1000000", "--rate", str(rate))
        with self._process("p2pclient.cli", "play", ENV, *length, "--out", str(out)) as client:
            return self._measure(client, out, rate)

    def two_clients(self, rate: int) -> list[Press]:
        """``tandem join``, with a bot in a client of its own on the other side."""
        out = self._folder / f"join-{rate}"
        length = ("--max-steps", "1000000", "--rate", str(rate))
        with ExitStack() as stack:
            serve = ("serve", ENV, "--if-lost", "end", *length, "--host", "127.0.0.1", "--port", "0")
            server = stack.enter_context(self._process("p2pclient.cli", *serve))
            url = _url_of(server)
            client = stack.enter_context(self._process("p2pclient.cli", "join", url, "--out", str(out)))
            self._desk.window_of(client.pid)  # it has the window, so that it sits first
            bot = ("join", url, "--bot", BOT, "--headless", "--out", str(self._folder / f"bot-{rate}"))
            stack.enter_context(self._process("p2pclient.cli", *bot))
            return self._measure(client, out, rate)

    def _measure(self, client: subprocess.Popen[str], out: Path, rate: int) -> list[Press]:
        self._desk.activate(self._desk.window_of(client.pid))
        _wait_for(lambda: _recorded(out) >= rate, "the match")
        sent = self._press_keys(1 / rate)
        client.terminate()
        client.wait(_PATIENCE_S)
        return _presses_of(_run_in(out), sent)

    def _press_keys(self, frame: float) -> list[float]:
        """Press keys one by one, each at a random moment of a frame; returns when."""
        sent = []
        for _ in range(self._presses):
            # Far enough apart that a press never waits for the one before it, even where a frame is stretched.
            time.sleep(frame * (2 + self._random.random()) + 0.02)
            key = self._random.choice(_KEYS)
            sent.append(self._desk.key(key, True))
            time.sleep(0.02)
            self._desk.key(key, False)
        time.sleep(3 * frame + 0.2)
        return sent

    @contextmanager
    def _process(self, module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", module, *arguments],
            cwd=ROOT,
            env=self._desk.environment(PYTHONPATH=str(ROOT)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(_PATIENCE_S)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _url_of(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    for line in server.stdout:
        found = re.search(r"tandem join (http://\S+)", line)
        if found:
            return found.group(1)
    raise RuntimeError("the server did not start")


def _run_in(out: Path) -> Path:
    return next(path.parent for path in out.glob("*/frames.log"))


def _recorded(out: Path) -> int:
    return RunReader(_run_in(out)).recorded if any(out.glob("*/frames.log")) else 0


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.perf_counter() + _PATIENCE_S
    while not condition():
        if time.perf_counter() > deadline:
            raise RuntimeError(f"{what} did not begin within {_PATIENCE_S:.0f} s")
        time.sleep(0.05)


def _presses_of(run: Path, sent: list[float]) -> list[Press]:
    """Join what was pressed with what the client recorded. Raises if a press is missing from the recording."""
    timing = [record for record in RunReader(run).records() if isinstance(record, FrameTimed)]
    pressed = [(index, time.pressed_at) for index, time in enumerate(timing) if time.pressed_at is not None]
    if len(pressed) != len(sent):
        raise RuntimeError(f"{len(sent)} keys were pressed, the recording in {run} shows {len(pressed)}")
    presses = []
    for at, (index, pressed_at) in zip(sent, pressed, strict=True):
        # A frame whose picture was overtaken by the next one is seen with that.
        shown = next((time.shown_at for time in timing[index:] if time.shown_at is not None), None)
        if shown is None:
            raise RuntimeError(f"frame {timing[index].frame} of {run} was never shown")
        presses.append(Press(at, pressed_at, timing[index].applied_at, timing[index].simulated_at, shown))
    return presses


def report(name: str, rate: int, presses: list[Press]) -> dict[str, Any]:
    """Return the figures of one case, and whether they keep the bound."""
    stages = {stage: summarize([press.stages()[stage] for press in presses]) for stage in STAGES}
    total = stages["pressed_to_shown"]
    return {
        "case": name,
        "rate_hz": rate,
        "presses": len(presses),
        "stages": {stage: summary.to_json() for stage, summary in stages.items()},
        "frames": {"median": round(total.median_ms * rate / 1e3, 2), "p99": round(total.p99_ms * rate / 1e3, 2)},
        "within_bound": total.p99_ms * rate / 1e3 <= MAX_FRAMES,
    }


def format_report(figures: dict[str, Any], bare: Summary) -> str:
    rate = figures["rate_hz"]
    rows = []
    for stage, title in STAGES.items():
        median, p99 = figures["stages"][stage]["median_ms"], figures["stages"][stage]["p99_ms"]
        in_frames = [f"{value * rate / 1e3:.2f}" for value in (median, p99)]
        rows.append([title, f"{median:.1f}", f"{p99:.1f}", *in_frames])
    limit = [f"{bare.median_ms:.1f}", f"{bare.p99_ms:.1f}"]
    rows.append(
        ["press to shown in a bare window (the limit)", *limit, *(f"{float(v) * rate / 1e3:.2f}" for v in limit)]
    )
    title = f"{figures['case']}, {rate} frames a second, {figures['presses']} presses"
    head = [title, "median ms", "99th ms", "median frames", "99th frames"]
    verdict = "kept" if figures["within_bound"] else "BROKEN"
    return f"{format_table(head, rows)}\nBound ({MAX_FRAMES:g} frames at the 99th percentile): {verdict}."


def main(argv: list[str]) -> int:
    """Run the benchmark; 0 if the bound holds, 1 if not, 2 if something that it needs is missing."""
    parser = argparse.ArgumentParser(prog="dev.py bench latency", description="From key press to picture.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--presses", type=int, default=120, help="key presses in each case (default 120)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which keys are pressed")
    options = parser.parse_args(argv)
    lack = missing()
    if lack:
        print(f"bench latency: {lack}", file=sys.stderr)
        return 2
    desk = Desk()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-latency-") as folder:
            bench = Bench(desk, options.presses, options.seed, Path(folder))
            return _run(bench, as_json=options.json)
    finally:
        desk.close()


def _run(bench: Bench, *, as_json: bool) -> int:
    bare = bench.bare_window()
    cases = []
    for rate in RATES:
        for name, measure in (("alone", bench.alone), ("two clients", bench.two_clients)):
            cases.append(report(name, rate, measure(rate)))
            if not as_json:
                print(format_report(cases[-1], bare), end="\n\n", flush=True)
    if as_json:
        print(json.dumps({"benchmark": "latency", "env": ENV, "bare_window": bare.to_json(), "cases": cases}))
    return 0 if all(case["within_bound"] for case in cases) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
