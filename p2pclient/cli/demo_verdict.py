"""What came of a demo: both recordings against each other and against a straight run, and the figures in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from p2pclient.cli.demo_run import DemoPlan, MatchReports
from p2pclient.common.presentation import Hud, Presentation, Screen, View
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.replay import ReplayVerdict, replay_run
from p2pclient.recorder.verify import verify_folders
from p2pclient.runtime.presenter import seat_colours

_MAXIMA = ("frames", "confirmed_frames", "verified_frames", "rollbacks", "max_depth", "stalls", "desyncs")


def summarize(plan: DemoPlan, matches: Sequence[MatchReports]) -> dict[str, Any]:
    """Return the demo's result as plain data. Counts are the maximum over the clients, summed over the matches."""
    verdicts = [_judge(reports, plan.host_options) for reports in matches]
    per_client = [_client_figures([reports[number] for reports in matches]) for number in (0, 1)]
    result: dict[str, Any] = {
        name: sum(max(report["outcome"]["counters"][name] for report in reports) for reports in matches)
        for name in _MAXIMA
        if name != "max_depth"
    }
    result["max_depth"] = max((c["max_depth"] for c in per_client), default=0)
    result["frames"] = sum(reports[0]["outcome"]["counters"]["frames"] for reports in matches)
    result["parity"] = bool(verdicts) and all(v["parity"] for v in verdicts)
    result["parity_details"] = [v["details"] for v in verdicts]
    result["scores"] = verdicts[-1]["scores"] if verdicts else []
    result["info_sums"] = dict(sum((Counter(v["info_sums"]) for v in verdicts), Counter()))
    rtts = [c["rtt_ms"] for c in per_client if c["rtt_ms"]["median"] is not None]
    result["rtt_ms"] = {name: max((rtt[name] for rtt in rtts), default=None) for name in ("median", "p99")}
    result["messages_per_s"] = max((c["messages_per_s"] for c in per_client), default=0.0)
    result["bytes_per_s"] = max((c["bytes_per_s"] for c in per_client), default=0.0)
    result["per_client"] = per_client
    result["matches"] = len(matches)
    result["ok"] = result["parity"] and len(matches) == plan.matches and all(_is_whole(reports) for reports in matches)
    result["out"] = str(plan.out)
    result["picture"] = _draw_picture(plan.out, matches)
    return result


def _is_whole(reports: MatchReports) -> bool:
    """Nothing was lost: both finished as planned, and all that was recorded is verified."""
    return all(
        report["reason"] == "finished"
        and report["unverified"] == 0
        and report["outcome"]["counters"]["desyncs"] == 0
        and report["outcome"]["counters"]["confirmed_frames"] == report["outcome"]["counters"]["verified_frames"]
        for report in reports
    )


def _judge(reports: MatchReports, host_options: Mapping[str, Any]) -> dict[str, Any]:
    folders = [Path(report["folder"]) for report in reports]
    same = verify_folders(*folders)
    replays = [replay_run(folder, host_options=host_options) for folder in folders]
    shown = [report["outcome"]["shown_totals"] for report in reports]
    last = replays[0].totals[-1] if replays[0].totals else ()
    shown_right = all(totals is None or tuple(totals) == tuple(last) for totals in shown)
    return {
        "parity": same.is_same and same.frames > 0 and all(replay.is_same for replay in replays) and shown_right,
        "details": {
            "recordings": same.message,
            "straight_runs": [replay.message for replay in replays],
            "shown_totals": shown,
            "straight_totals": [list(t) for t in replays[0].totals],
        },
        "scores": _scores(replays[0]),
        "info_sums": _info_sums(folders[0]),
    }


def _scores(replay: ReplayVerdict) -> list[float]:
    """Total reward by seat over all episodes of a straight run."""
    return [sum(seat) for seat in zip(*replay.totals, strict=True)]


def _info_sums(folder: Path) -> dict[str, int]:
    """Sums over all frames and seats of what the environment counts in its infos, such as soups delivered."""
    sums: Counter[str] = Counter()
    for frame in RunReader(folder).frames():
        for info in frame.infos:
            for key, value in (info or {}).items():
                if isinstance(value, int) and not isinstance(value, bool):
                    sums[str(key)] += value
    return dict(sums)


def _client_figures(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures of one client over all matches."""
    counters = [report["outcome"]["counters"] for report in reports]
    seconds = sum(report["outcome"]["played_seconds"] for report in reports)
    last = reports[-1]["outcome"] if reports else {}
    sums = {name: sum(c[name] for c in counters) for name in (*_MAXIMA, "resimulated", "overruns", "fast_forwarded")}
    sums["max_depth"] = max((c["max_depth"] for c in counters), default=0)
    return {
        **sums,
        "reason": reports[-1]["reason"] if reports else "",
        "text": reports[-1]["text"] if reports else "",
        "folder": reports[-1]["folder"] if reports else "",
        "rtt_ms": last.get("rtt_ms", {"median": None, "p99": None}),
        "messages_per_s": sum(c["datagrams_sent"] for c in counters) / seconds if seconds else 0.0,
        "bytes_per_s": sum(c["datagram_bytes_sent"] for c in counters) / seconds if seconds else 0.0,
        "connection": last.get("connections", []),
        "memory_mb": [report["outcome"]["memory_mb"] for report in reports],
    }


def _draw_picture(out: Path, matches: Sequence[MatchReports]) -> str | None:
    """Draw what both players last saw, side by side, with the program's own screens; None if nothing was drawn."""
    import numpy as np

    if not matches:
        return None
    paths = [Path(report["folder"]) / "last_view.npy" for report in matches[-1]]
    if not all(path.exists() for path in paths):
        return None
    from p2pclient.app.sheet import save_side_by_side

    colours = seat_colours(RunReader(paths[0].parent).manifest["env"])
    shown = []
    for seat, (path, report) in enumerate(zip(paths, matches[-1], strict=True)):
        outcome = report["outcome"]
        frames = outcome["counters"]["confirmed_frames"]
        hud = Hud(scores=tuple(outcome["shown_totals"] or ()), own_seat=seat, colours=colours)
        view = View(0, frames, np.load(path, allow_pickle=False))
        shown.append(Presentation(Screen.PLAYING, view=view, hud=hud))
    picture = out / "demo.png"
    save_side_by_side(shown, picture)
    return str(picture)


def print_table(result: dict[str, Any], out: Path) -> None:
    """Print the result for a person."""
    console = Console()
    table = Table(title="Tandem demo")
    table.add_column("")
    for number in (1, 2):
        table.add_column(f"client {number}", justify="right")
    rows = [
        ("frames simulated", "frames"),
        ("frames confirmed", "confirmed_frames"),
        ("frames verified with the other side", "verified_frames"),
        ("rollbacks", "rollbacks"),
        ("deepest rollback, frames", "max_depth"),
        ("frames simulated again", "resimulated"),
        ("stalls", "stalls"),
        ("desyncs", "desyncs"),
    ]
    for label, key in rows:
        table.add_row(label, *(str(client[key]) for client in result["per_client"]))
    table.add_row("round trip, ms (median / 99th)", *(_rtt(client["rtt_ms"]) for client in result["per_client"]))
    table.add_row("datagrams per second", *(f"{c['messages_per_s']:.1f}" for c in result["per_client"]))
    table.add_row("ended", *(client["reason"] for client in result["per_client"]))
    table.add_row("bytes per second", *(f"{c['bytes_per_s']:.0f}" for c in result["per_client"]))
    console.print(table)
    for name, count in result["info_sums"].items():
        console.print(f"{name.replace('_', ' ')}: {count}")
    console.print("score by seat: " + ", ".join(f"{score:g}" for score in result["scores"]))
    for client in result["per_client"]:
        if client["reason"] != "finished":
            console.print(f"[bold]{client['text']}[/]", highlight=False)
    for details in result["parity_details"]:
        console.print(f"recordings: {details['recordings']}", highlight=False)
        console.print(f"straight run of the inputs: {details['straight_runs'][0]}", highlight=False)
    console.print("Both recordings agree." if result["parity"] else "[bold red]The recordings do NOT agree.[/]")
    if result["picture"]:
        console.print(f"what both players last saw: {result['picture']}", highlight=False, soft_wrap=True)
    console.print(f"recordings and logs: {out}", highlight=False, soft_wrap=True)


def _rtt(rtt: dict[str, float | None]) -> str:
    if rtt["median"] is None or rtt["p99"] is None:
        return "-"
    return f"{rtt['median']:.0f} / {rtt['p99']:.0f}"
