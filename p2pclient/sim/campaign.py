"""Many matches: which ones, over several processes, and what they come to."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from p2pclient.sim.faults import plan_faults
from p2pclient.sim.profiles import PROFILES
from p2pclient.sim.results import MatchResult, judge_match
from p2pclient.sim.scenario import Scenario
from p2pclient.sim.world import World

COUNTED = (
    "confirmed_frames",
    "wrong_frames",
    "false_desyncs",
    "missed_desyncs",
    "seeded_desyncs",
    "resolved_desyncs",
    "misnamed_desyncs",
    "hangs",
    "bad_ends",
    "errors",
    "unverified_frames",
    "survived_losses",
    "recovered_hosts",
    "rejoins",
)


@dataclass(frozen=True, slots=True)
class Campaign:
    """Matches that differ by their seeds."""

    base: Scenario
    """Its seed is that of the first match; each further one has the next."""
    matches: int = 1
    profiles: tuple[str, ...] = ()
    """Names of networks that take turns; empty: the links of ``base``."""
    players: tuple[int, ...] = ()
    """Numbers of players that take turns."""
    with_faults: bool = False

    def scenarios(self) -> Iterator[Scenario]:
        """Yield the scenario of every match, in order."""
        for index in range(self.matches):
            scenario = replace(self.base, seed=self.base.seed + index)
            if self.players:
                scenario = replace(scenario, players=self.players[index % len(self.players)])
            if self.profiles:
                name = self.profiles[index % len(self.profiles)]
                scenario = replace(scenario, network=name, link=PROFILES[name], back=None)
            yield plan_faults(scenario) if self.with_faults else scenario


def run_scenario(scenario: Scenario) -> MatchResult:
    """Run one match and judge it. An exception out of the engine is a finding, not the end of the campaign."""
    try:
        world = World(scenario)
        world.run()
        return judge_match(world)
    except Exception:  # noqa: BLE001 whatever it is, it was raised by what is under test
        problem = "exception: " + traceback.format_exc(limit=-6)
        return MatchResult(scenario, errors=1, problems=[problem])


def run_all(
    scenarios: Iterable[Scenario],
    *,
    mapper: Callable[[Callable[[Scenario], MatchResult], Iterable[Scenario]], Iterable[MatchResult]] = map,
    on_result: Callable[[MatchResult], None] = lambda result: None,
) -> list[MatchResult]:
    """Run every scenario; results come in the order of the scenarios, however many processes work.

    Args:
        mapper: ``map``, or that of a pool of processes.
        on_result: told of each result as it comes, for a progress bar.
    """
    results = []
    for result in mapper(run_scenario, scenarios):
        on_result(result)
        results.append(result)
    return results


def summarize(
    results: Sequence[MatchResult], *, wall_seconds: float, cpu_seconds: float | None = None
) -> dict[str, Any]:
    """Return the campaign's outcome as plain data."""
    virtual = sum(result.seconds for result in results)
    digest = blake2b(digest_size=16)
    for result in results:
        digest.update(result.trace_hash.encode())
    summary: dict[str, Any] = {"matches": len(results)}
    summary.update({name: sum(getattr(result, name) for result in results) for name in COUNTED})
    for name in ("rollbacks", "stalls", "overruns", "skipped_frames"):
        summary[name] = sum(peer[name] for result in results for peer in result.peers)
    summary["trace_hash"] = digest.hexdigest()
    summary["virtual_seconds"] = round(virtual, 3)
    summary["wall_seconds"] = round(wall_seconds, 3)
    summary["speed_x_realtime"] = round(virtual / wall_seconds, 1) if wall_seconds else 0.0
    if cpu_seconds:
        summary["speed_x_cpu"] = round(virtual / cpu_seconds, 1)
    summary["largest_datagram"] = max((result.largest_datagram for result in results), default=0)
    summary["max_recovery_s"] = max((s for result in results for s in result.recoveries), default=None)
    for name in ("apart_after_5_s", "apart_after_hitch"):
        known = [getattr(result, name) for result in results if getattr(result, name) is not None]
        summary[name] = max(known, default=None)
    ends: Counter[str] = Counter()
    for result in results:
        ends.update(result.ends)
    summary["ends"] = dict(sorted(ends.items()))
    changes: Counter[str] = Counter()
    for result in results:
        changes.update(result.changes)
    summary["changes"] = dict(sorted(changes.items()))
    summary["peers"] = figures(results)
    summary["networks"] = {
        name: _network_figures([r for r in results if r.scenario.network == name])
        for name in dict.fromkeys(r.scenario.network for r in results)
    }
    summary["ok"] = bool(results) and all(result.is_right for result in results)
    return summary


def _network_figures(results: Sequence[MatchResult]) -> dict[str, Any]:
    peers = figures(results)
    every = figures(results, together=True)[0]
    shares = [peer["resimulated_per_100"] for peer in peers]
    every["resimulated_per_100_apart"] = round(max(shares) - min(shares), 3) if shares else 0.0
    every["matches"] = len(results)
    every["confirmed_frames"] = sum(result.confirmed_frames for result in results)
    every["problems"] = sum(not result.is_right for result in results)
    return every


def figures(results: Sequence[MatchResult], *, together: bool = False) -> list[dict[str, Any]]:
    """Return the figures of each peer over all matches; ``together``: of all peers, as if they were one."""
    count = max((len(result.peers) for result in results), default=0)
    groups = [[result.peers[n] for result in results if n < len(result.peers)] for n in range(count)]
    if together:
        groups = [[peer for group in groups for peer in group]]
    return [_figures(number, group) for number, group in enumerate(groups)]


def _figures(number: int, peers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    total: Counter[str] = Counter()
    depths: Counter[int] = Counter()
    lags: Counter[int] = Counter()
    nominal = 0.0
    for peer in peers:
        total.update({name: value for name, value in peer.items() if not isinstance(value, dict)})
        depths.update({int(depth): n for depth, n in peer["depths"].items()})
        lags.update({int(lag): n for lag, n in peer["lags"].items()})
        nominal += peer["play_seconds"] * peer["rate_hz"]
    frames, seconds = max(1, total["frames"]), max(1e-9, total["play_seconds"])
    lag_mean = sum(lag * n for lag, n in lags.items()) / max(1, sum(lags.values()))
    return {
        "peer": number,
        "frames": total["frames"],
        "resimulated_per_100": round(100 * total["resimulated"] / frames, 3),
        "rollbacks_per_100": round(100 * total["rollbacks"] / frames, 3),
        "bytes_per_s": round((total["datagram_bytes"] + total["control_bytes"]) / seconds, 1),
        "messages_per_s": round((total["datagrams"] + total["control"]) / seconds, 2),
        "bytes_per_datagram": round(total["datagram_bytes"] / max(1, total["datagrams"]), 2),
        "rate_error": round(total["play_frames"] / nominal - 1, 6) if nominal else 0.0,
        "depth_median": quantile(depths, 0.5),
        "depth_p99": quantile(depths, 0.99),
        "depth_max": max(depths, default=0),
        "lag_mean": round(lag_mean, 3),
        "lag_p99": quantile(lags, 0.99),
        "lag_max": max(lags, default=0),
        "stalls": total["stalls"],
        "stalls_per_min": round(60 * total["stalls"] / seconds, 2),
        "overruns": total["overruns"],
        "fast_forwarded": total["fast_forwarded"],
        "skipped_frames": total["skipped_frames"],
    }


def quantile(counts: Counter[int], share: float) -> int:
    """Return the nearest-rank quantile of counted whole numbers; 0 without any."""
    total = sum(counts.values())
    seen = 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= share * total:
            return value
    return 0
