"""``tandem simulate``: whole matches in virtual time over bad networks, each held against the truth."""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.frames import MAX_SEATS
from p2pclient.common.match_settings import MAX_INPUT_DELAY, ON_DESYNC
from p2pclient.match.plan import PREDICTIONS
from p2pclient.settings.flags import number
from p2pclient.sim.campaign import COUNTED, Campaign, run_all, run_scenario, summarize
from p2pclient.sim.profiles import PROFILES, profile
from p2pclient.sim.results import MatchResult
from p2pclient.sim.scenario import Fault, Scenario, scenario_from_json
from p2pclient.sim.shrink import shrink
from p2pclient.sim.world import World
from p2pclient.telemetry.chrome import merge_traces

_SHOWN_FAILURES = 5
_SHRUNK_FAILURES = 2
_SHRINK_SECONDS = 60.0
"""After which the smallest failing scenario found so far is good enough."""
_MOST_MATCHES = 10_000_000
_MOST_JOBS = 256
_LONGEST_MS = 1e9
_PREDICTIONS = (*PREDICTIONS, "held")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    names = [*PROFILES, "all"]
    parser.add_argument(
        "--matches", type=int, default=1, metavar="N", help="matches, each with the next seed (default: 1)"
    )
    parser.add_argument("--seconds", type=number, default=60.0, metavar="T", help="length of each match (default: 60)")
    parser.add_argument("--profile", choices=names, default="wifi", help="network; all: each in turn (default: wifi)")
    parser.add_argument("--players", default="2", metavar="K", help="peers, 2 to 8; A-B: each in turn (default: 2)")
    parser.add_argument(
        "--seats-per-peer", type=int, default=1, metavar="N", help="seats that each peer holds (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the first match (default: 1)")
    parser.add_argument("--jobs", type=int, default=0, metavar="J", help="processes; 0: one per core (default: 0)")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write a trace of the first match, for Perfetto")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--faults", action="store_true", help="things go wrong in every match, from its seed")
    parser.add_argument("--no-shrink", action="store_true", help="do not look for a smaller scenario that fails too")
    parser.add_argument(
        "--scenario", metavar="JSON", help="run this one scenario (text, or @file), as a failure printed it"
    )
    group = parser.add_argument_group("the match")
    group.add_argument("--rate", type=number, default=60.0, metavar="HZ", help="frames per second (default: 60)")
    group.add_argument("--window", type=int, default=8, help="prediction window, frames; 0: lockstep (default: 8)")
    group.add_argument("--input-delay", default="0", metavar="D", help="frames, or one for each peer: 0,2 (default: 0)")
    group.add_argument("--input-bytes", type=int, default=1, metavar="N", help="width of an input (default: 1)")
    group.add_argument(
        "--hold-frames", type=int, default=6, metavar="N", help="keys are held 1 to N frames (default: 6)"
    )
    group.add_argument("--step-cost-ms", type=number, default=0.5, metavar="MS", help="cost of a step (default: 0.5)")
    group.add_argument(
        "--save-cost-ms", type=number, default=0.02, metavar="MS", help="cost of a snapshot (default: 0.02)"
    )
    group.add_argument("--episode-frames", type=int, metavar="N", help="length of an episode (default: the match)")
    group.add_argument(
        "--ends-when", type=int, metavar="N", help="about one step in N ends the episode (default: none)"
    )
    group.add_argument("--auto-delay", metavar="LOW-HIGH", help="the input delay follows the network in these bounds")
    group.add_argument("--on-desync", choices=ON_DESYNC, help="what follows a desync (default: end)")
    group.add_argument(
        "--on-drop", metavar="POLICY", help="what follows a loss: end, go-on, bot:sim:hidden (default: end)"
    )
    group.add_argument("--prediction", metavar="NAME", help="auto, repeat, neutral, or held: asked in the host")
    group = parser.add_argument_group("single conditions, over the profile")
    group.add_argument("--delay-ms", type=number, metavar="MS", help="one way")
    group.add_argument("--delay-back-ms", type=number, metavar="MS", help="one way, from higher to lower peers")
    group.add_argument("--jitter-ms", type=number, metavar="MS", help="most that a datagram is early or late")
    group.add_argument("--loss", type=number, metavar="SHARE", help="share of datagrams lost, 0 to 1")
    group.add_argument("--burst", type=number, metavar="N", help="mean number lost in a row (Gilbert-Elliott)")
    group.add_argument("--duplicate", type=number, metavar="SHARE", help="share that arrives twice")
    group.add_argument("--reorder", type=number, metavar="SHARE", help="share held back by another 20 to 100 ms")
    group.add_argument("--rate-limit", type=number, metavar="BYTES", help="bytes per second of each path, with a queue")
    group.add_argument(
        "--skew-ppm", type=number, default=0.0, metavar="PPM", help="the last clock runs this much faster"
    )
    group.add_argument("--start-offset-frames", type=number, metavar="N", help="the last peer begins N frames later")
    group.add_argument(
        "--hitch-ms", type=number, default=0.0, metavar="MS", help="peer 0 stands still once, in mid-match"
    )
    group.add_argument("--outage-ms", type=number, default=0.0, metavar="MS", help="all is lost once, in mid-match")


def run(arguments: argparse.Namespace) -> int:
    """Run the matches. Exit code 0 only if nothing was wrong."""
    campaign = make_campaign(arguments)
    if arguments.scenario is not None:
        scenarios: Sequence[Scenario] = [_read_scenario(arguments.scenario)]
    else:
        scenarios = list(campaign.scenarios())
    if not 0 <= arguments.jobs <= _MOST_JOBS:
        raise ConfigurationError("--jobs", arguments.jobs, f"0 to {_MOST_JOBS}")
    jobs = min(arguments.jobs or os.cpu_count() or 1, len(scenarios))
    if arguments.trace is not None:
        _write(arguments.trace, b"")  # that it cannot be written is better known before hours of matches
    started, cpu = time.perf_counter(), time.process_time()
    with _progress(len(scenarios), quiet=arguments.json) as advance, _mapper(jobs) as mapper:
        results = run_all(scenarios, mapper=mapper, on_result=advance)
    wall = time.perf_counter() - started
    summary = summarize(results, wall_seconds=wall, cpu_seconds=time.process_time() - cpu if jobs == 1 else None)
    if arguments.trace is not None:
        write_trace(scenarios[0], arguments.trace)
    failures = [result for result in results if not result.is_right]
    summary["failures"] = [
        _tell_failure(result, smaller=number < _SHRUNK_FAILURES and not arguments.no_shrink)
        for number, result in enumerate(failures[:_SHOWN_FAILURES])
    ]
    if arguments.json:
        print(json.dumps(summary, indent=2))
    else:
        print_table(summary)
    return 0 if summary["ok"] else 1


def write_trace(scenario: Scenario, path: Path) -> None:
    """Run a match once more, with a trace of all its sides, and write that as one file."""
    world = World(scenario)
    world.start_traces()
    world.run()
    _write(path, merge_traces(world.take_traces(), one_clock=False))


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigurationError("--trace", str(path), f"a file that can be written ({error.strerror})") from None


def _read_scenario(text: str) -> Scenario:
    if not text.startswith("@"):
        return scenario_from_json(text)
    try:
        return scenario_from_json(Path(text[1:]).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("--scenario", text, f"a file with a scenario ({error})") from None


def make_campaign(arguments: argparse.Namespace) -> Campaign:
    """Return what the flags ask for.

    Raises:
        ConfigurationError: a value is out of range.
    """
    if not 1 <= arguments.matches <= _MOST_MATCHES:
        raise ConfigurationError("--matches", arguments.matches, f"1 to {_MOST_MATCHES}")
    name = arguments.profile if arguments.profile != "all" else "wifi"
    given = {
        "delay_ms": arguments.delay_ms,
        "jitter_ms": arguments.jitter_ms,
        "loss": arguments.loss,
        "burst": arguments.burst,
        "duplicate": arguments.duplicate,
        "reorder": arguments.reorder,
        "bytes_per_s": arguments.rate_limit,
    }
    over = {setting: value for setting, value in given.items() if value is not None}
    if arguments.profile == "all" and (over or arguments.delay_back_ms is not None):
        raise ConfigurationError("--profile", "all", "one profile where single conditions are set over it")
    link = replace(profile(name), **over)
    back = replace(link, delay_ms=arguments.delay_back_ms) if arguments.delay_back_ms is not None else None
    changed = over or back is not None
    players = _whole_range("--players", arguments.players, 2, MAX_SEATS)
    base = Scenario(
        seed=arguments.seed,
        players=players[0],
        seats_per_peer=arguments.seats_per_peer,
        seconds=arguments.seconds,
        rate_hz=arguments.rate,
        window=arguments.window,
        input_delays=tuple(_whole("--input-delay", part) for part in arguments.input_delay.split(",")),
        network=f"{name}, changed" if changed else name,
        link=link,
        back=back,
        skew_ppm=arguments.skew_ppm,
        start_offset_frames=arguments.start_offset_frames,
        hold_frames=arguments.hold_frames,
        input_bytes=arguments.input_bytes,
        step_ms=arguments.step_cost_ms,
        save_ms=arguments.save_cost_ms,
        episode_frames=arguments.episode_frames,
        ends_when=arguments.ends_when,
        plan=_plan_settings(arguments),
        faults=_single_faults(arguments),
    )
    return Campaign(
        base,
        matches=arguments.matches,
        profiles=tuple(PROFILES) if arguments.profile == "all" else (),
        players=players if len(players) > 1 else (),
        with_faults=arguments.faults,
    )


def _plan_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    plan: dict[str, Any] = {}
    if arguments.auto_delay is not None:
        bounds = _whole_range("--auto-delay", arguments.auto_delay, 0, MAX_INPUT_DELAY)
        plan["delay_range"] = (bounds[0], bounds[-1])
    if arguments.on_desync is not None:
        plan["on_desync"] = arguments.on_desync
    if arguments.on_drop is not None:
        plan["on_drop"] = arguments.on_drop
    if arguments.prediction is not None:
        if arguments.prediction not in _PREDICTIONS:
            raise ConfigurationError("--prediction", arguments.prediction, ", ".join(_PREDICTIONS))
        plan["prediction"] = (arguments.prediction,)
    return plan


def _single_faults(arguments: argparse.Namespace) -> tuple[Fault, ...]:
    for flag, value in (("--hitch-ms", arguments.hitch_ms), ("--outage-ms", arguments.outage_ms)):
        if not 0 <= value <= _LONGEST_MS:
            raise ConfigurationError(flag, value, f"0 to {_LONGEST_MS:g}")
    middle = max(0.0, arguments.seconds / 2)
    faults = []
    if arguments.hitch_ms:
        faults.append(Fault("pause", at=middle, seconds=arguments.hitch_ms / 1000))
    if arguments.outage_ms:
        faults.append(Fault("outage", at=middle, seconds=arguments.outage_ms / 1000))
    return tuple(faults)


def _whole(flag: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(flag, text, "whole numbers") from None


def _whole_range(flag: str, text: str, lowest: int, highest: int) -> tuple[int, ...]:
    first, dash, last = text.partition("-")
    low = _whole(flag, first)
    high = _whole(flag, last) if dash else low
    if not lowest <= low <= high <= highest:
        raise ConfigurationError(flag, text, f"N, or A-B with A below B, from {lowest} to {highest}")
    return tuple(range(low, high + 1))


@contextmanager
def _mapper(jobs: int) -> Iterator[Any]:
    """``map``, or that of a pool of processes, which begin fresh on every system."""
    if jobs <= 1:
        usual = gc.get_threshold()
        _collect_rarely()
        try:
            yield map
        finally:
            gc.unfreeze()
            gc.set_threshold(*usual)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, initializer=_collect_rarely) as pool:
        yield pool.imap


def _collect_rarely() -> None:
    """A match makes hundreds of thousands of objects that all live until it is judged, and hardly a cycle."""
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)


@contextmanager
def _progress(matches: int, *, quiet: bool) -> Iterator[Any]:
    if quiet:
        yield lambda result: None
        return
    columns = (
        TextColumn("matches"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[bad]}"),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress:
        task = progress.add_task("", total=matches, bad="")
        wrong = 0

        def advance(result: MatchResult) -> None:
            nonlocal wrong
            wrong += not result.is_right
            progress.update(task, advance=1, bad=f"{wrong} wrong" if wrong else "")

        yield advance


def command_for(scenario: Scenario) -> str:
    """Return the command that runs exactly this scenario again."""
    return "tandem simulate --scenario " + shlex.quote(scenario.to_json())


def _tell_failure(result: MatchResult, *, smaller: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "seed": result.scenario.seed,
        "network": result.scenario.network,
        "problems": result.problems,
        "command": command_for(result.scenario),
    }
    if smaller:
        kind = _kind(result)
        until = time.perf_counter() + _SHRINK_SECONDS
        print(f"tandem: looking for a smaller scenario than seed {result.scenario.seed} ...", file=sys.stderr)
        smallest = shrink(
            result.scenario,
            lambda scenario: _kind(run_scenario(scenario)) == kind,
            is_enough=lambda: time.perf_counter() > until,
        )
        told["shrunk_problems"] = run_scenario(smallest).problems
        told["shrunk_command"] = command_for(smallest)
    return told


def _kind(result: MatchResult) -> tuple[str, ...]:
    """Return in which ways a match was wrong."""
    harmless = ("confirmed_frames", "seeded_desyncs", "resolved_desyncs", "unverified_frames", "survived_losses")
    return tuple(name for name in COUNTED if name not in harmless and getattr(result, name))


_COLUMNS = (
    ("matches", "matches"),
    ("frames", "confirmed_frames"),
    ("B/s", "bytes_per_s"),
    ("msg/s", "messages_per_s"),
    ("rollbacks/100", "rollbacks_per_100"),
    ("again/100", "resimulated_per_100"),
    ("apart", "resimulated_per_100_apart"),
    ("lag mean", "lag_mean"),
    ("stalls/min", "stalls_per_min"),
    ("wrong", "problems"),
)


def print_table(summary: dict[str, Any]) -> None:
    """Print the outcome for a person."""
    console = Console(width=None if sys.stdout.isatty() else 150)
    table = Table(title="Simulated matches")
    table.add_column("network")
    for heading, _ in _COLUMNS[:6]:
        table.add_column(heading, justify="right")
    table.add_column("apart", justify="right")
    table.add_column("depth 50/99/max", justify="right")
    for heading, _ in _COLUMNS[7:]:
        table.add_column(heading, justify="right")
    for name, row in summary["networks"].items():
        cells = [str(row[key]) for _, key in _COLUMNS]
        cells.insert(7, f"{row['depth_median']}/{row['depth_p99']}/{row['depth_max']}")
        table.add_row(name, *cells)
    console.print(table)
    counts = ", ".join(f"{name.replace('_', ' ')} {summary[name]}" for name in COUNTED)
    console.print(counts, highlight=False)
    if summary["changes"]:
        told = ", ".join(f"{name} {count}" for name, count in summary["changes"].items())
        console.print(f"agreed on by all: {told}", highlight=False)
    rates = ", ".join(f"{peer['rate_error']:+.4%}" for peer in summary["peers"])
    console.print(f"rate of each peer against the nominal one: {rates}", highlight=False)
    console.print(
        f"{summary['virtual_seconds']:.0f} s in {summary['wall_seconds']:.1f} s:"
        f" {summary['speed_x_realtime']} x real time; trace {summary['trace_hash']}",
        highlight=False,
    )
    for failure in summary["failures"]:
        console.print(f"[bold red]seed {failure['seed']}, {failure['network']}[/]", highlight=False)
        for problem in failure["problems"][:5]:
            console.print(f"  {problem}", highlight=False, markup=False, soft_wrap=True)
        console.print(f"  {failure['command']}", highlight=False, markup=False, soft_wrap=True)
        if "shrunk_command" in failure:
            console.print("  smaller:", highlight=False)
            console.print(f"  {failure['shrunk_command']}", highlight=False, markup=False, soft_wrap=True)
    console.print("Nothing was wrong." if summary["ok"] else "[bold red]Something was wrong.[/]")
