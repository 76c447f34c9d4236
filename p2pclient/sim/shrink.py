"""Makes a failing scenario smaller: fewer faults, a better network, fewer players, a shorter match."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from p2pclient.sim.network import LinkSpec
from p2pclient.sim.scenario import Scenario

MOST_RUNS = 150


def shrink(
    scenario: Scenario,
    fails: Callable[[Scenario], bool],
    *,
    most_runs: int = MOST_RUNS,
    is_enough: Callable[[], bool] = lambda: False,
) -> Scenario:
    """Return the smallest scenario found that still fails.

    Greedy: takes the first simpler scenario that fails and begins anew, until none does or the runs are used up.

    Args:
        fails: runs a scenario; True if it fails in the same way.
        is_enough: asked before each run; True to take the smallest found so far.
    """
    runs = 0
    while True:
        for candidate in _simpler(scenario):
            if runs >= most_runs or is_enough():
                return scenario
            runs += 1
            if fails(candidate):
                scenario = candidate
                break
        else:
            return scenario


def _simpler(scenario: Scenario) -> Iterator[Scenario]:
    """Yield scenarios that are a step simpler, the biggest steps first."""
    faults = scenario.faults
    if len(faults) > 2:
        yield replace(scenario, faults=faults[: len(faults) // 2])
        yield replace(scenario, faults=faults[len(faults) // 2 :])
    for index in range(len(faults)):
        yield replace(scenario, faults=faults[:index] + faults[index + 1 :])
    needed = max((max(f.peer, f.other) for f in faults), default=0) + 1
    if scenario.players > max(2, needed):
        yield replace(scenario, players=max(2, needed))
    if scenario.players > 2 and scenario.players - 1 >= needed:
        yield replace(scenario, players=scenario.players - 1)
    yield from _shorter(scenario)
    usual = Scenario()
    for name in (
        "ends_when",
        "episode_frames",
        "press",
        "skew_ppm",
        "input_delays",
        "hold_frames",
        "input_bytes",
        "step_ms",
        "seats_per_peer",
        "start_offset_frames",
    ):
        if getattr(scenario, name) != getattr(usual, name):
            yield replace(scenario, **{name: getattr(usual, name)})
    yield from _better_networks(scenario)


def _shorter(scenario: Scenario) -> Iterator[Scenario]:
    for share in (0.25, 0.5, 0.75, 0.9):
        seconds = round(scenario.seconds * share, 2)
        if seconds >= 1.0:
            yield replace(scenario, seconds=seconds)


def _better_networks(scenario: Scenario) -> Iterator[Scenario]:
    if scenario.back is not None:
        yield replace(scenario, back=None)
    link, good = scenario.link, LinkSpec()
    if scenario.back is None:
        yield from (replace(scenario, link=better) for better in _better(link, good))


def _better(link: LinkSpec, good: LinkSpec) -> Iterator[LinkSpec]:
    for name in ("bytes_per_s", "reorder", "duplicate", "burst", "loss", "jitter_ms", "delay_ms"):
        if getattr(link, name) != getattr(good, name):
            yield replace(link, **{name: getattr(good, name)})
