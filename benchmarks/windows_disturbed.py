"""What a person's disturbed window costs the partner: dragged, minimised, and its program stopped.

On a screen of its own (Xvfb, openbox) a person's client plays in a window against a bot's client without one, over
loopback. The person's window is left alone, dragged by its title bar with the mouse, and minimised, for so many seconds
each; then its process is stopped (SIGSTOP) and goes on. Measured at the **partner's**: how far the time from one frame
to the next is from nominal, as its recording has it. In the end both recordings are compared.

Bounds: 2 ms at the 99th percentile while the window is dragged or minimised; play goes on within 1 s after SIGCONT; no
recorded frame differs. On a machine that does other work, too, look at the column beside it: the same against the
undisturbed case of the same run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._desk import Desk, missing
from benchmarks._table import format_table, summarize
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.records import EventRecorded, FrameTimed

ROOT = Path(__file__).resolve().parent.parent
ENV = "cogrid:Overcooked-CrampedRoom-V0"
BOT = "greedy"
MAX_OFF_MS, MAX_BACK_S = 2.0, 1.0
BOUND = ("dragged", "minimised")
_PATIENCE_S = 60.0
_SETTLED_S = 3.0
"""Between two cases, so that nothing of one is left in the next."""
_MOVES_PER_S = 60


@dataclass(slots=True)
class Case:
    """What was done to the window or its process, and when, on the clock that all processes share."""

    name: str
    began: float
    ended: float


@dataclass(slots=True)
class Outcome:
    """What came of one run."""

    cases: list[Case] = field(default_factory=list)
    partner: list[FrameTimed] = field(default_factory=list)
    person: list[FrameTimed] = field(default_factory=list)
    differing: int = 0
    compared: int = 0
    events: list[EventRecorded] = field(default_factory=list)
    """Of the person's recording."""

    def off_nominal(self, case: Case, rate: float) -> list[float]:
        """Seconds by which each of the partner's frames in a case was from nominal."""
        times = [t.applied_at for t in self.partner if case.began <= t.applied_at < case.ended]
        return [abs(later - earlier - 1 / rate) for earlier, later in itertools.pairwise(times)]

    def back_after(self, case: Case) -> float:
        """Seconds from the end of a stop until both had recorded a frame that they began after it."""
        return max(
            min((t.recorded_at for t in times if t.applied_at > case.ended), default=float("inf")) - case.ended
            for times in (self.partner, self.person)
        )


class Bench:
    """Runs the two clients at one desk."""

    def __init__(self, desk: Desk, folder: Path, *, rate: float, seconds: float, stops: Sequence[float]) -> None:
        self._desk, self._folder = desk, folder
        self._rate, self._seconds, self._stops = rate, seconds, stops
        self._outcome = Outcome()

    def run(self) -> Outcome:
        with ExitStack() as stack:
            length = ("--max-steps", "1000000", "--rate", str(self._rate), "--input-delay", "2", "--tell-away")
            serve = ("serve", ENV, *length, "--host", "127.0.0.1", "--port", "0", "--hidden")
            serve += ("--if-lost", "end", "--drop-after", "60")  # longer than any stop
            url = _url_of(stack.enter_context(self._process(*serve)))
            outs = [self._folder / name for name in ("person", "partner")]
            person = stack.enter_context(self._process("join", url, "--out", str(outs[0])))
            window = self._desk.window_of(person.pid)
            bot = ("join", url, "--bot", BOT, "--headless", "--out", str(outs[1]))
            stack.enter_context(self._process(*bot))
            self._desk.activate(window)
            _wait_for(lambda: _recorded(outs[1]) >= self._rate, "the match")
            time.sleep(_SETTLED_S)
            self._disturb(person, window)
            time.sleep(_SETTLED_S)
            person.terminate()
            person.wait(_PATIENCE_S)
            _wait_for(lambda: RunReader(_run_in(outs[1])).was_finished, "the end of the partner's recording")
        return self._read(outs)

    def _disturb(self, person: subprocess.Popen[str], window: int) -> None:
        self._case("undisturbed", lambda: time.sleep(self._seconds))
        self._case("dragged", lambda: self._drag(window))
        self._desk.activate(window)
        self._case("minimised", lambda: self._minimise(window))
        self._case("undisturbed again", lambda: time.sleep(self._seconds))
        for seconds in self._stops:
            self._case(f"stopped for {seconds:g} s", lambda seconds=seconds: _stop(person, seconds))  # type: ignore[misc]

    def _case(self, name: str, act: Callable[[], None]) -> None:
        began = time.perf_counter()
        act()
        self._outcome.cases.append(Case(name, began, time.perf_counter()))
        time.sleep(_SETTLED_S)

    def _drag(self, window: int) -> None:
        """Take the window by its title bar and move it about, as a hand does, without letting go."""
        left, top, width, _ = self._desk.place_of(window)
        x, y = left + width // 2, top - 10
        self._desk.xdotool("mousemove", str(x), str(y))
        self._desk.xdotool("mousedown", "1")
        until = time.perf_counter() + self._seconds
        try:
            for step in itertools.count():
                if time.perf_counter() > until:
                    break
                # Back and forth by some pixels a time: what the window manager makes of it is a move for each.
                offset = 4 * (step % 40 if step % 80 < 40 else 40 - step % 40)
                self._desk.move_pointer(x + offset, y + offset // 2)
                time.sleep(1 / _MOVES_PER_S)
        finally:
            self._desk.xdotool("mouseup", "1")
        moved = self._desk.place_of(window)
        if moved[:2] == (left, top):
            raise RuntimeError("the window was not dragged: it stands where it stood")

    def _minimise(self, window: int) -> None:
        self._desk.xdotool("windowminimize", "--sync", str(window))
        time.sleep(self._seconds)
        self._desk.activate(window)

    def _read(self, outs: Sequence[Path]) -> Outcome:
        outcome = self._outcome
        runs = [RunReader(_run_in(out)) for out in outs]
        outcome.person, outcome.partner = ([r for r in run.records() if isinstance(r, FrameTimed)] for run in runs)
        outcome.events = [r for r in runs[0].records() if isinstance(r, EventRecorded)]
        pairs = list(zip(*(run.frames() for run in runs), strict=False))
        outcome.compared = len(pairs)
        outcome.differing = sum(a.checksum != b.checksum or a.inputs != b.inputs for a, b in pairs)
        return outcome

    @contextmanager
    def _process(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-u", "-m", "p2pclient.cli", *arguments],
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
                process.send_signal(signal.SIGCONT)
                process.terminate()
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _stop(process: subprocess.Popen[str], seconds: float) -> None:
    process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        process.send_signal(signal.SIGCONT)


def _url_of(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    for line in server.stdout:
        found = re.search(r"tandem join (http://\S+)", line)
        if found:
            threading.Thread(target=server.stdout.read, daemon=True).start()
            return found.group(1)
    raise RuntimeError("the server did not start")


def _run_in(out: Path) -> Path:
    return next(path.parent for path in out.glob("*/manifest.json"))


def _recorded(out: Path) -> int:
    return RunReader(_run_in(out)).recorded if any(out.glob("*/manifest.json")) else 0


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.perf_counter() + _PATIENCE_S
    while not condition():
        if time.perf_counter() > deadline:
            raise RuntimeError(f"{what} did not come within {_PATIENCE_S:.0f} s")
        time.sleep(0.05)


def report(outcome: Outcome, rate: float) -> dict[str, Any]:
    """Return all figures, and whether the bounds are kept."""
    lines, usual = [], 0.0
    for case in outcome.cases:
        if case.name.startswith("stopped"):
            back = outcome.back_after(case)
            lines.append({"case": case.name, "back_s": round(back, 3), "within_bound": back <= MAX_BACK_S})
            continue
        off = summarize(outcome.off_nominal(case, rate))
        usual = usual or off.p99_ms
        line = {"case": case.name, "off_nominal": off.to_json(), "against_undisturbed": round(off.p99_ms / usual, 2)}
        lines.append({**line, "within_bound": off.p99_ms <= MAX_OFF_MS if case.name in BOUND else None})
    noted = [f"{event.name} at frame {event.frame}: {event.details}" for event in outcome.events]
    return {
        "rate_hz": rate,
        "cases": lines,
        "compared_frames": outcome.compared,
        "differing_frames": outcome.differing,
        "events": [each for each in noted if each.startswith(("away", "suspended", "stalled", "clock-jump"))],
        "is_right": not outcome.differing and outcome.compared > 0,
    }


def table(found: dict[str, Any]) -> str:
    """Return the figures for people."""
    rows = []
    for line in found["cases"]:
        off = line.get("off_nominal")
        figures = (
            [f"{off['median_ms']:.2f}", f"{off['p99_ms']:.2f}", f"{line['against_undisturbed']:.2f}"]
            if off
            else 3 * [""]
        )
        back = f"{line['back_s']:.2f}" if "back_s" in line else ""
        kept = {True: "yes", False: "no", None: ""}[line["within_bound"]]
        rows.append([line["case"], *figures, back, kept])
    head = (
        "the person's window",
        "off by ms, median",
        "p99",
        "against undisturbed",
        "plays again after s",
        "within bound",
    )
    compared = f"{found['compared_frames']} frames recorded by both, {found['differing_frames']} differ"
    return "\n".join([format_table(head, rows), "", compared, *found["events"]])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=60.0, help="frames per second (default: 60)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each disturbance lasts (default: 10)")
    parser.add_argument("--stops", default="1,5,30", help="seconds for which the process is stopped (default: 1,5,30)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if missing():
        print(missing(), file=sys.stderr)
        return 2
    stops = [float(each) for each in arguments.stops.split(",") if each]
    desk = Desk()
    try:
        with tempfile.TemporaryDirectory(prefix="disturbed-") as folder:
            bench = Bench(desk, Path(folder), rate=arguments.rate, seconds=arguments.seconds, stops=stops)
            found = report(bench.run(), arguments.rate)
    finally:
        desk.close()
    print(json.dumps(found) if arguments.json else table(found))
    kept = all(line["within_bound"] is not False for line in found["cases"])
    return 0 if found["is_right"] and kept else 1


if __name__ == "__main__":
    sys.exit(main())
