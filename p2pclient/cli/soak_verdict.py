"""What a soak found, for people and as data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from p2pclient.cli.soak_judge import LEAST_LATENESS_SAMPLES
from p2pclient.cli.soak_ledger import Ledger
from p2pclient.cli.soak_plan import SoakPlan, settings_of
from p2pclient.cli.soak_watch import Watch, growth_data, quantiles_ms

REPORT_NAME = "soak.json"


def summarize(plan: SoakPlan, ledger: Ledger, watch: Watch, *, seconds: float) -> dict[str, Any]:
    """Return the result as plain data. ``ok`` only if matches were played and nothing was wrong."""
    growths = growth_data(watch.growths())
    return {
        "ok": ledger.whole > 0 and not ledger.problems,
        "seconds": round(seconds, 1),
        "settings": {**settings_of(plan), "pairs": plan.pairs, "kills": plan.kills},
        "matches": ledger.matches,
        "whole": ledger.whole,
        "not_begun": ledger.not_begun,
        "cut_short": ledger.cut_short,
        "replayed": ledger.replayed,
        "failed": ledger.failed,
        "problems": [asdict(problem) for problem in ledger.problems],
        "faults": dict(ledger.faults),
        "reasons": dict(ledger.reasons),
        "frames_recorded": ledger.recorded,
        "frames_verified": ledger.verified,
        **{name: ledger.sums[name] for name in ("rollbacks", "resimulated", "stalls", "overruns", "desyncs")},
        "max_depth": ledger.max_depth,
        "lateness_ms": _worst(ledger.lateness),
        "machine_lateness_ms": quantiles_ms(watch.lateness_between()),
        "growth": growths,
        "processes_left": watch.processes_left(),
        "shared_memory_left": watch.shared_memory_left(),
        "out": str(plan.out),
    }


def _worst(lateness: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median match's median, and the worst match's 99th percentile and maximum."""
    lateness = [each for each in lateness if each["samples"] >= LEAST_LATENESS_SAMPLES]
    if not lateness:
        return {"median": 0.0, "p99": 0.0, "max": 0.0}
    return {
        "median": median(each["median"] for each in lateness),
        "p99": max(each["p99"] for each in lateness),
        "max": max(each["max"] for each in lateness),
    }


def write_report(result: Mapping[str, Any], out: Path) -> Path:
    """Write the result beside the recordings, and return the file."""
    path = out / REPORT_NAME
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return path


def live_line(plan: SoakPlan, ledger: Ledger, seconds: float) -> str:
    """Return where the soak is, on one line."""
    faults = ", ".join(f"{count} {kind}" for kind, count in sorted(ledger.faults.items())) or "no faults yet"
    checked = f"{ledger.matches} of {plan.matches}" if plan.matches else f"{ledger.matches}"
    wrong = f"{len(ledger.problems)} PROBLEMS" if ledger.problems else "nothing wrong"
    return (
        f"{_clock(seconds)} of {_clock(plan.seconds)} | {checked} matches checked, {ledger.whole} whole |"
        f" {ledger.verified:,} frames verified, {ledger.sums['rollbacks']:,} rollbacks | {faults} | {wrong}"
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"


def print_verdict(result: Mapping[str, Any]) -> None:
    """Print the result for a person."""
    console = Console()
    table = Table(title="Tandem soak", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    lateness, machine = result["lateness_ms"], result["machine_lateness_ms"]
    rows = [
        ("network", result["settings"]["profile"]),
        ("time", _clock(result["seconds"])),
        ("matches checked / played to the planned end", f"{result['matches']} / {result['whole']}"),
        ("simulated again in a straight run", str(result["replayed"])),
        ("frames verified", f"{result['frames_verified']:,}"),
        ("rollbacks / deepest", f"{result['rollbacks']:,} / {result['max_depth']}"),
        ("stalls", f"{result['stalls']:,}"),
        ("faults", ", ".join(f"{count} {kind}" for kind, count in sorted(result["faults"].items())) or "none"),
        ("loops late, ms (median / worst 99th / worst)", _quantiles(lateness)),
        ("this machine late, ms (median / 99th / worst)", _quantiles(machine)),
    ]
    rows += [(f"{each['name']}, {each['what']}", _growth(each)) for each in result["growth"][:6]]
    for label, text in rows:
        table.add_row(label, text)
    console.print(table)
    for problem in result["problems"]:
        console.print(
            f"[bold red]{problem['match_id'] or 'soak'}[/]: {problem['text']}", highlight=False, soft_wrap=True
        )
    for repeat in dict.fromkeys(problem["repeat"] for problem in result["problems"] if problem["repeat"]):
        console.print(f"to repeat: {repeat}", highlight=False, soft_wrap=True)
    if result["ok"]:
        console.print("Nothing was wrong.")
    elif not result["problems"]:
        console.print("[bold red]No match was played to its end: nothing is proven. Let it run longer.[/]")
    console.print(f"report and logs: {result['out']}", highlight=False, soft_wrap=True)


def _quantiles(values: Mapping[str, float]) -> str:
    return " / ".join(f"{values[name]:.1f}" for name in ("median", "p99", "max"))


def _growth(each: Mapping[str, Any]) -> str:
    return f"{each['early']:.1f} -> {each['late']:.1f} over {each['samples']} matches"
