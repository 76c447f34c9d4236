"""One server under load: a thousand participants who arrive within a minute in pairs, then play for a while.

The server is a process of its own, as ``tandem serve`` runs it, with its store, its console and its log of decisions;
the participants are real Socket.IO clients (the program's own), in several other processes on the same machine. They
say that they are ready and confirm what is proposed as a participant does, each pair exchanges descriptions of the
size of real ones, and each reports its health once a second while it "plays". Measured:

- from the moment the second of two begins to connect until both have confirmed and are told of their match, and the
  same from the moment at which its request to join leaves; side by side with what one round trip to the server takes
  them at that time. Once more by the clock of the server alone: from the moment it has the second connection until it
  hands over the message to the last of the two, their answers between included;
- how many of the reports due were taken in;
- how late the server's loop is (a timer of 10 ms, which shares the loop with everything), and its processor time; how
  late those of the participants are, which take more of the machine than the server: if they are late, so is the rest;
- memory of the server for each participant, against the same server with none;
- connections lost, partners reported gone, refusals: there must be none.

A real load comes from other machines: the participants' processes run at a lower priority than the server's (where the
system knows such a thing), so that they do not take from it what they would not take there. They still share its
processors, and their figures are theirs and the server's together.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import aiohttp  # noqa: F401  here, so that the first to connect does not wait for it
import psutil
import socketio  # noqa: F401  the same

from benchmarks._table import format_table, summarize
from p2pclient.common.lobby_messages import (
    Description,
    Join,
    Matched,
    MatchResult,
    MatchSettings,
    PeerGone,
    Refused,
    Signal,
)
from p2pclient.common.room_messages import Health, PeerHealth, Report
from p2pclient.runtime.signaling_client import SignalingClient

MAX_MATCH_MS = 250.0
MAX_LAG_MS = 100.0
MAX_KB = 100.0
_NICENESS = 10
_LAG_PROBE_S = 0.01
_REPORT_S = 1.0
_SDP = "v=0\r\n" + "a=candidate:1 1 udp 2130706431 192.168.1.20 50000 typ host\r\n" * 100
"""As long as the description of a machine with many addresses: 6 KB."""


async def _probe_lag(lags: list[float]) -> None:
    """Note how late this process's loop is, until cancelled."""
    while True:
        due = perf_counter() + _LAG_PROBE_S
        await asyncio.sleep(_LAG_PROBE_S)
        lags.append(max(0.0, perf_counter() - due))


# ----------------------------------------------------------------------------------------------------------- server


def _note_matched(sent: list[tuple[str, float, float]]) -> None:
    """Let each connection of this server note when it was open and when its match was handed over."""
    from signaling import web

    class NotingLink(web.Link):
        async def send(self, message: Any) -> None:
            await super().send(message)
            text = message.get("text") or ""
            if text.startswith('42["matched"'):
                sent.append((json.loads(text[2:])[1]["match_id"], self.opened_at, perf_counter()))

    web.Link = NotingLink  # type: ignore[misc]


async def serve_and_watch() -> None:
    """Serve; tell the port; then answer each line on standard input with the figures since the last one."""
    from signaling.server import Listening, serve

    sent: list[tuple[str, float, float]] = []
    _note_matched(sent)
    process, lags, stop = psutil.Process(), list[float](), asyncio.Event()

    def say(listening: Listening) -> None:
        print(json.dumps({"port": listening.port}), flush=True)

    async def answer() -> None:
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            busy = process.cpu_times()
            figures = {
                "rss": process.memory_info().rss,
                "cpu_s": busy.user + busy.system,
                "lags": lags[:],
                "sent": sent[:],
            }
            lags.clear()
            sent.clear()
            print(json.dumps(figures), flush=True)
        stop.set()

    settings = MatchSettings(env="test:counter_v0")
    tasks = [asyncio.create_task(_probe_lag(lags)), asyncio.create_task(answer())]
    with tempfile.TemporaryDirectory() as kept:
        await serve("127.0.0.1", 0, settings, data=Path(kept), on_listening=say, stop=stop)
    for task in tasks:
        task.cancel()


# ------------------------------------------------------------------------------------------------------ participants


class Caller:
    """One participant: connects at its time, is matched, exchanges descriptions, plays, and finishes."""

    def __init__(self, url: str, begins_at: float, ends_at: float) -> None:
        self._url = url
        self._begins_at = begins_at
        self._ends_at = ends_at
        self._news = asyncio.Event()
        self._client = SignalingClient(wakeup=self._news.set)
        self._matched_at = 0.0
        self.told: dict[str, Any] = {"problems": [], "reports": 0}

    async def run(self) -> dict[str, Any]:
        await asyncio.sleep(max(0.0, self._begins_at - perf_counter()))
        try:
            self.told["began"] = perf_counter()
            await self._client.connect(self._url)
            self.told["asked"] = perf_counter()
            await self._client.join(Join(label="", ready=False))
            self.told["answered"] = perf_counter()
            await self._client.ready()
            await asyncio.wait_for(self._play(), self._ends_at + 30 - perf_counter())
        except Exception as error:  # noqa: BLE001  a figure of this benchmark, not its end
            self.told["problems"].append(repr(error))
        finally:
            await self._client.close()
        return self.told

    async def _play(self) -> None:
        while perf_counter() < self._ends_at:
            self._news.clear()
            for message in self._client.take_messages():
                await self._take(message)
            if not self._client.connected:
                raise ConnectionError("the connection was lost")
            await self._report()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), self._until_report())
        if "match" in self.told:
            await self._client.finished(MatchResult(reason="complete"))

    def _until_report(self) -> float:
        """Return the seconds until the next report is due, each client at its own phase."""
        if "match" not in self.told:
            return _REPORT_S
        return max(0.0, self._matched_at + (1 + self.told["reports"]) * _REPORT_S - perf_counter())

    async def _report(self) -> None:
        if "match" in self.told and not self._until_report():
            report = Report(match_id=self.told["match"], health=_health(perf_counter() - self._matched_at))
            if not await self._client.tell(report):
                self.told["problems"].append("a report was not taken")
            self.told["reports"] += 1

    async def _take(self, message: Any) -> None:
        match message:
            case Matched():
                self._matched_at = perf_counter()
                self.told.update(matched=self._matched_at, match=message.match_id)
                for peer in message.peers:
                    if peer.make_offer:
                        await self._client.signal(peer.client_id, Description(type="offer", sdp=_SDP))
            case Signal():
                self.told["described"] = perf_counter()
                if message.description.type == "offer":
                    await self._client.signal(message.peer, Description(type="answer", sdp=_SDP))
            case PeerGone() if perf_counter() < self._ends_at - 1:
                self.told["problems"].append(f"partner gone: {message.why}")
            case Refused():
                self.told["problems"].append(f"refused: {message.code}")


def _health(at: float) -> Health:
    """What a participant of a match of two reports ``at`` seconds into it: about 500 bytes."""
    wave = at % 7.3
    peer = PeerHealth(
        seats=(1,), rtt_ms=12.4 + wave, jitter_ms=0.8 + wave / 10, loss=0.0127, frames_ahead=-1.62, path="direct"
    )
    return Health(
        phase="playing",
        episode=int(at // 60),
        frame=int(at * 15),
        verified_frames=int(at * 15),
        rate_hz=15.02 + wave / 100,
        rollbacks=int(at * 3),
        rollback_depth=3,
        step_ms=3.81 + wave / 100,
        scores=(3.25, 4.5),
        peers=(peer,),
    )


async def run_fleet(url: str, times: list[float], ends_at: float) -> None:
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    callers = [Caller(url, at, ends_at) for at in times]
    lags: list[float] = []
    probing = asyncio.create_task(_probe_lag(lags))
    told = await asyncio.gather(*(caller.run() for caller in callers))
    probing.cancel()
    print(json.dumps({"told": told, "lags": lags}), flush=True)


# --------------------------------------------------------------------------------------------------------- the whole


def _ask(server: subprocess.Popen[str]) -> dict[str, Any]:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write("\n")
    server.stdin.flush()
    figures: dict[str, Any] = json.loads(server.stdout.readline())
    return figures


def arrivals(count: int, within: float, rng: random.Random) -> list[float]:
    """Return seconds of arrival: pairs at random times, the second of each at most a second after the first."""
    found = []
    for _ in range(count // 2):
        first = rng.uniform(0, max(0.0, within - 1))
        found += [first, first + rng.uniform(0, 1)]
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    here = [sys.executable, "-P", str(Path(__file__).resolve())]
    server = subprocess.Popen([*here, "--server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    fleets: list[subprocess.Popen[str]] = []
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{json.loads(server.stdout.readline())['port']}"
        # Once through with a few, so that what is imported late is not counted as theirs.
        _fleet(here, url, [perf_counter() + 2.0] * 8, perf_counter() + 4.0).communicate(timeout=60)
        empty = _ask(server)
        start = perf_counter() + 3.0
        times = [start + at for at in arrivals(options.participants, options.within, random.Random(options.seed))]
        ends_at = start + options.within + options.play
        for number in range(options.processes):
            fleets.append(_fleet(here, url, times[number :: options.processes], ends_at))
        _wait_until(start)
        _ask(server)
        _wait_until(start + options.within)
        arriving = _ask(server)
        _wait_until(ends_at - 1)
        playing = _ask(server)
        found = [json.loads(fleet.communicate(timeout=120)[0]) for fleet in fleets]
    finally:
        for fleet in fleets:
            fleet.kill()
        server.kill()
        server.wait()
    told = [each for fleet in found for each in fleet["told"]]
    return report(options, told, [lag for fleet in found for lag in fleet["lags"]], empty, arriving, playing)


def _fleet(here: list[str], url: str, times: list[float], ends_at: float) -> subprocess.Popen[str]:
    work = json.dumps({"url": url, "times": times, "ends_at": ends_at})
    fleet = subprocess.Popen([*here, "--fleet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert fleet.stdin is not None
    fleet.stdin.write(work + "\n")
    fleet.stdin.flush()
    return fleet


def _wait_until(at: float) -> None:
    import time

    time.sleep(max(0.0, at - perf_counter()))


def report(
    options: argparse.Namespace,
    told: list[dict[str, Any]],
    fleet_lags: list[float],
    empty: dict[str, Any],
    arriving: dict[str, Any],
    playing: dict[str, Any],
) -> dict[str, Any]:
    """Return the figures, and whether each bound is kept."""
    matches: dict[str, list[dict[str, Any]]] = {}
    for each in told:
        if "match" in each:
            matches.setdefault(each["match"], []).append(each)
    pairs = [pair for pair in matches.values() if len(pair) == 2]
    from_connecting = [max(p["matched"] for p in pair) - max(p["began"] for p in pair) for pair in pairs]
    from_asking = [max(p["matched"] for p in pair) - max(p["asked"] for p in pair) for pair in pairs]
    round_trips = [each["answered"] - each["asked"] for each in told if "answered" in each]
    problems = [problem for each in told for problem in each["problems"]]
    kilobytes = (playing["rss"] - empty["rss"]) / 1024 / options.participants
    made = summarize(from_connecting or [float("inf")])
    all_lags = [*arriving["lags"], *playing["lags"]]
    lags = summarize(all_lags)
    at_server: dict[str, list[list[float]]] = {}
    for match, opened, sent in [*arriving["sent"], *playing["sent"]]:
        at_server.setdefault(match, []).append([opened, sent])
    in_server = [
        max(sent for _, sent in pair) - max(opened for opened, _ in pair)
        for match, pair in at_server.items()
        if match in matches and len(pair) == 2
    ]
    cpu_s = playing["cpu_s"] - empty["cpu_s"]
    found = {
        "participants": options.participants,
        "pairs_matched": len(pairs),
        "described": sum("described" in each for each in told),
        "reports": sum(each["reports"] for each in told),
        "problems": problems[:20],
        "problem_count": len(problems),
        "matched_after_connecting": made.to_json(),
        "matched_after_asking": summarize(from_asking or [float("inf")]).to_json(),
        "round_trip": summarize(round_trips or [float("inf")]).to_json(),
        "matched_by_server": summarize(in_server or [float("inf")]).to_json(),
        "loop_lag": lags.to_json(),
        "longest_pauses_ms": [round(1000 * each, 1) for each in sorted(all_lags)[:-6:-1]],
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
        "participants_lag": summarize(fleet_lags or [float("inf")]).to_json(),
        "kb_per_participant": round(kilobytes, 1),
        "cpu_s_per_participant": round(cpu_s / options.participants, 4),
        "cpu_share_arriving": round((arriving["cpu_s"] - empty["cpu_s"]) / options.within, 3),
        "cpu_share_playing": round((playing["cpu_s"] - arriving["cpu_s"]) / max(1.0, options.play - 1), 3),
    }
    found["kept"] = {
        "every pair matched": len(pairs) * 2 == options.participants == found["described"],
        "no false disconnects": not problems,
        "match made": made.p99_ms <= MAX_MATCH_MS,
        "memory": kilobytes <= MAX_KB,
        "loop lag": lags.p99_ms < MAX_LAG_MS,
    }
    return found


def format_report(found: dict[str, Any]) -> str:
    rows = [
        [title, f"{found[name]['median_ms']:.1f}", f"{found[name]['p99_ms']:.1f}", bound]
        for name, title, bound in (
            ("matched_after_connecting", "matched, from connecting", f"{MAX_MATCH_MS:.0f}"),
            ("matched_after_asking", "matched, from asking to join", ""),
            ("matched_by_server", "matched, by the server's clock", ""),
            ("round_trip", "one request and its answer", ""),
            ("loop_lag", "lateness of the server's loop", f"{MAX_LAG_MS:.0f}"),
            ("participants_lag", "lateness of the participants' loops", ""),
        )
    ]
    lines = [
        format_table(["ms", "median", "99th", "bound"], rows),
        f"{found['pairs_matched']} pairs of {found['participants']} participants; {found['described']} described, "
        f"{found['reports']} reports taken.",
        f"{found['kb_per_participant']} KB of the server's memory for each (at most {MAX_KB:.0f}).",
        f"Processor of the server: {found['cpu_share_arriving']:.0%} while they arrive, "
        f"{found['cpu_share_playing']:.0%} while they play; {1000 * found['cpu_s_per_participant']:.0f} ms for each.",
        f"Longest pauses of its loop: {', '.join(f'{each:.0f}' for each in found['longest_pauses_ms'])} ms. "
        f"Load of the machine (1, 5, 15 min): {', '.join(f'{each:.1f}' for each in found['load']) or 'not known'}.",
        f"Problems: {found['problem_count']} {found['problems'][:3] if found['problems'] else ''}",
        "Bounds: " + ", ".join(f"{name} {'kept' if good else 'BROKEN'}" for name, good in found["kept"].items()),
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dev.py bench signaling", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--participants", type=int, default=1000, help="an even number (default: 1000)")
    parser.add_argument("--within", type=float, default=60.0, help="seconds in which they arrive (default: 60)")
    parser.add_argument("--play", type=float, default=60.0, help="seconds for which they play (default: 60)")
    parser.add_argument("--processes", type=int, default=4, help="processes of participants (default: 4)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--server", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--fleet", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.server:
        from signaling.pauses import short_pauses

        with short_pauses():
            asyncio.run(serve_and_watch())
        return 0
    if options.fleet:
        work = json.loads(sys.stdin.readline())
        asyncio.run(run_fleet(work["url"], work["times"], work["ends_at"]))
        return 0
    found = measure(options)
    print(json.dumps({"benchmark": "signaling", **found}) if options.json else format_report(found))
    return 0 if all(found["kept"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
