"""What ``tandem check`` says of play: how the state can be kept, what that costs, and the sync mode that follows."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from p2pclient.cli.check_causes import likely_causes, state_sentences
from p2pclient.cli.check_verdict import say
from p2pclient.common.match_settings import MAX_RATE_HZ
from p2pclient.envhost.checking import PROCESS, REMEMBERED, REPEATED, CheckReport, PlayCosts
from p2pclient.envhost.examining import Examination

ROLLBACK, DELAYED, LOCKSTEP = "rollback", "rollback with delay", "lockstep"
"""Sync modes: the full window fits into a frame, a narrower one does, none does or it cannot go back."""

FULL_WINDOW = 8
NARROWEST_WINDOW = 2
_UNKNOWN_LENGTH_SECONDS = 60
"""How long an episode is taken to be where nobody says."""
_TOO_LONG = "trying it took too long"
"""What ``envs/grading.py`` says of a way for which the time did not suffice."""
_TABLE_WIDTH = 46
"""Columns before the reasons."""
_NARROW = 60
"""Columns; where fewer are left for a reason that does not fit, it stands below its way instead."""
_INDENT = 12


@dataclass(frozen=True, slots=True)
class Way:
    """One way of keeping the state."""

    name: str
    exact: bool | None
    """None: not known, because something else was found first."""
    reason: str
    """Why it is not exact; empty if it is."""
    portable: bool
    save_us: int | None
    load_us: int | None
    size: int | None
    """Bytes of a snapshot; None where that cannot be told."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What follows from a report for play."""

    ways: tuple[Way, ...]
    chosen: str
    portable: bool
    deterministic: bool | None
    """Do two processes agree. None: not known."""
    step_us: int
    """Of the environment alone, the mean over the first steps."""
    frame_us: int | None
    """Of a step in play, with its checksum, as it usually is. None: not measured, because it cannot be played."""
    numeric_probe: str
    nominal_rate_hz: int
    sync_mode: str | None
    """None: it cannot be played as it is, or that is not known."""
    max_rate_hz: float | None
    """Highest rate at which a rollback over the full window fits into a frame, at most the highest that a match may
    have. None: it does not go back."""
    window: int
    """Widest window, up to the full one, whose rollback fits into a frame at the nominal rate; 0 if none does."""
    reasons: tuple[str, ...]
    """Sentences."""
    causes: tuple[str, ...]
    """Sentences that name what is probably behind a finding, or why no way of keeping the state is exact."""
    examination: Examination


def assess(
    ready: Mapping[str, Any],
    report: CheckReport,
    costs: PlayCosts | None,
    wrong: str | None,
    examination: Examination | None = None,
) -> Assessment:
    """Draw the conclusions from a check.

    Args:
        ready: what the environment told of itself.
        costs: what play costs; None if it was not measured, because it cannot be played.
        wrong: why the environment cannot be rolled back or cannot be checked; None if nothing was found.
        examination: what else was found out; None for nothing.
    """
    seen = examination or Examination()
    ways = tuple(_ways(ready, report, costs, wrong))
    chosen = str(ready["snapshots"]["chosen"])
    used = next((way for way in ways if way.name == chosen), None) if report.goes_back else None
    mode: str | None = None
    rate, window = None, 0
    if costs is not None and wrong is None:
        mode = LOCKSTEP
        if used is not None:
            rate, window = _affordable(ready, used, costs)
            mode = ROLLBACK if window == FULL_WINDOW else DELAYED if window else LOCKSTEP
    portable = used is not None and used.portable
    deterministic = True if wrong is None else False if _is_process(report) else None
    inexact = {way.name for way in ways if way.exact is False}
    found = _Found(ready, report, used, costs, mode, rate, window)
    return Assessment(
        ways,
        chosen,
        portable,
        deterministic,
        int(ready["step_us"]),
        costs.step if costs is not None else None,
        str(ready["numeric_probe"]),
        int(ready["nominal_rate_hz"]),
        mode,
        rate,
        window,
        tuple(_sentences(found, state_sentences(report, seen, inexact, used.name if used is not None else None))),
        tuple(likely_causes(report, seen)),
        seen,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    ready: Mapping[str, Any]
    report: CheckReport
    used: Way | None
    costs: PlayCosts | None
    mode: str | None
    rate: float | None
    window: int


def _ways(ready: Mapping[str, Any], report: CheckReport, costs: PlayCosts | None, wrong: str | None) -> list[Way]:
    snapshots = ready["snapshots"]
    refuted = wrong is not None and report.finding is not None and not _is_process(report)
    if not snapshots["graded"]:
        # An adapter of ours: it keeps the state itself, and nothing was tried when it was loaded but what we did here.
        exact = True if wrong is None else False if refuted else None
        save, load = (costs.save, costs.load) if costs is not None else (None, None)
        portable = bool(ready["portable"])
        return [Way(snapshots["chosen"], exact, wrong or "" if refuted else "", portable, save, load, None)]
    ways = []
    for grade in snapshots["graded"]:
        exact, reason = bool(grade["exact"]), str(grade["reason"])
        if refuted and grade["name"] == snapshots["chosen"]:
            exact, reason = False, wrong or ""
        save, load = (grade["save_us"], grade["load_us"]) if grade["exact"] else (None, None)
        ways.append(Way(grade["name"], exact, reason, exact and grade["portable"], save, load, grade["size"]))
    return ways


def _is_process(report: CheckReport) -> bool:
    return report.finding is not None and report.finding.kind == PROCESS


def _affordable(ready: Mapping[str, Any], used: Way, costs: PlayCosts) -> tuple[float, int]:
    """Return the highest rate for the full window, and the widest window at the nominal rate."""
    save, load = used.save_us or 0, used.load_us or 0
    if used.name == "resimulate":
        # Going back costs as many steps as the episode has had: what counts is the last frame, not the first ones.
        steps = ready["max_steps"] or _UNKNOWN_LENGTH_SECONDS * ready["nominal_rate_hz"]
        load += steps * int(ready["step_us"])
    highest = min(1e6 / _rollback_us(FULL_WINDOW, costs.step, save, load), float(MAX_RATE_HZ))
    frame = 1e6 / ready["nominal_rate_hz"]
    fitting = [n for n in range(NARROWEST_WINDOW, FULL_WINDOW + 1) if _rollback_us(n, costs.step, save, load) <= frame]
    return math.floor(highest * 10) / 10, max(fitting, default=0)


def _rollback_us(window: int, step: int, save: int, load: int) -> int:
    """Return what going back over a whole window costs, with snapshots as far apart as is cheapest then.

    With a snapshot every s frames, going back goes up to s - 1 frames too far, and only every s-th frame is saved.
    """
    frames = [(window + spacing - 1, spacing) for spacing in range(1, window + 1)]
    return max(1, load + min(count * step + -(-count // spacing) * save for count, spacing in frames))


def _sentences(found: _Found, of_state: Iterable[str]) -> list[str]:
    ready, used = found.ready, found.used
    sentences = [_choice_sentence(found)]
    if used is not None and used.exact is not False:
        sentences.append(
            "Its state is portable: another machine can go on from it."
            if used.portable
            else "Its state is not portable: what is kept is good for the process that made it alone."
        )
    if found.costs is not None:
        sentences.append(
            f"A step by itself took {ready['step_us']} us, the first ones included; "
            f"in play, with the checksum of the state, it costs {found.costs.step} us."
        )
    sentences.extend(of_state)
    sentences.extend(_mode_sentences(found))
    return sentences


def _choice_sentence(found: _Found) -> str:
    if found.used is None:
        return "No way of keeping its state is exact, so it cannot go back."
    if not found.ready["snapshots"]["graded"]:
        return "Its adapter keeps its state."
    if found.used.exact:
        return f"{found.used.name} is used: the first way that is exact."
    if found.report.finding is not None and found.report.finding.kind in (REPEATED, REMEMBERED):
        return f"{found.used.name} was the first way that seemed exact, but it does not reach what outlives an episode."
    return f"{found.used.name} was the first way that seemed exact, but rollbacks showed that it is not."


def _mode_sentences(found: _Found) -> list[str]:
    rate = found.ready["nominal_rate_hz"]
    if found.mode is None:
        if _is_process(found.report):
            return ["It cannot be used: two processes differ, and no sync mode mends that."]
        if found.report.finding is not None:
            return ["It cannot be used as it is: the way in which its state is kept is not exact."]
        return ["Nothing was shown, so no sync mode follows."]
    if found.mode == ROLLBACK:
        return [
            f"Sync mode: rollback. On this machine a rollback over {FULL_WINDOW} frames fits into one frame up to "
            f"{found.rate:g} Hz; the environment's own rate is {rate} Hz."
        ]
    if found.mode == DELAYED:
        return [
            f"Sync mode: rollback with delay. At {rate} Hz a rollback over {found.window} frames fits into one frame "
            f"on this machine, and not more: take a window of {found.window} and an input delay, or at most "
            f"{found.rate:g} Hz with a window of {FULL_WINDOW}."
        ]
    if found.used is not None:
        return [
            f"Sync mode: lockstep. At {rate} Hz not even a rollback over {NARROWEST_WINDOW} frames fits into one frame "
            f"on this machine; one over {FULL_WINDOW} frames would at {found.rate:g} Hz."
        ]
    agreed = "Sync mode: lockstep. Two processes with the same history agreed in every frame."
    if any(_TOO_LONG in grade["reason"] for grade in found.ready["snapshots"]["graded"]):
        return [agreed, "It is too slow for this machine: not every way of going back could be tried in time."]
    return [
        agreed,
        "But an episode does not come out the same when it is run again in the same process: something remembers what "
        "was before a reset. Who returns to a match, or plays a second one in the same process, may differ.",
    ]


def print_assessment(assessment: Assessment, width: int | None = None) -> None:
    """Print the table and the sentences, in lines of at most ``width`` columns; None for as long as they are."""
    print("\nway         exact  save us  load us    bytes")
    for way in assessment.ways:
        exact = {True: "yes", False: "no", None: "?"}[way.exact]
        figures = "".join(
            f"{'-' if value is None else value:>{width}}"
            for value, width in ((way.save_us, 9), (way.load_us, 9), (way.size, 9))
        )
        note = "used" if way.name == assessment.chosen and way.exact else " ".join(way.reason.split())
        for line in _row(f"{way.name:<12}{exact:<5}{figures}  ", note, width):
            print(line)
    print()
    for sentence in assessment.reasons:
        say(sentence, width)


def _row(figures: str, note: str, width: int | None) -> list[str]:
    """Return the lines of a way: its figures with a note behind them, or below them where there is little room."""
    if width is None or len(figures) + len(note) <= width:
        return [f"{figures}{note}".rstrip()]
    if width - _TABLE_WIDTH >= _NARROW:
        return textwrap.wrap(figures + note, width, subsequent_indent=" " * _TABLE_WIDTH, drop_whitespace=True)
    indent = " " * _INDENT
    return [figures.rstrip(), *textwrap.wrap(note, max(width, 40), initial_indent=indent, subsequent_indent=indent)]


def assessment_data(assessment: Assessment) -> dict[str, Any]:
    """Return it as JSON values."""
    return {
        "deterministic": assessment.deterministic,
        "strategies": {
            way.name: {
                "exact": way.exact,
                "reason": way.reason or None,
                "save_us": way.save_us,
                "load_us": way.load_us,
                "bytes": way.size,
                "portable": way.portable,
            }
            for way in assessment.ways
        },
        "chosen": assessment.chosen,
        "portable": assessment.portable,
        "step_us": assessment.step_us,
        "frame_us": assessment.frame_us,
        "numeric_probe": assessment.numeric_probe,
        "nominal_rate_hz": assessment.nominal_rate_hz,
        "sync_mode": assessment.sync_mode,
        "max_rate_hz": assessment.max_rate_hz,
        "window": assessment.window,
        "checksum_coverage": assessment.examination.coverage,
        "coverage_tried": assessment.examination.tried,
        "coverage_missed": list(assessment.examination.missed),
        "counters": list(assessment.examination.counters),
        "opaque": list(assessment.examination.opaque),
        "picture_fails": assessment.examination.picture_fails or None,
        "picture_changes": assessment.examination.picture_changes or None,
        "picture_stays": assessment.examination.picture_stays,
        "reads": [dict(read) for read in assessment.examination.reads],
        "reasons": list(assessment.reasons),
        "causes": list(assessment.causes),
    }
