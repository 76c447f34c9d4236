"""What ``tandem check`` says of the checksum's reach, and of what is probably behind a difference."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from p2pclient.envhost.checking import PROCESS, CheckReport
from p2pclient.envhost.examining import ENOUGH, Examination

MOST_FRAMES_DIFFER = 0.9
"""Share of frames with a state of their own below which it is said that there are fewer."""

_NAMED = 3
_UNDONE = ("own", "engine", "pickle", "copy")
_REPLAYED = "resimulate"
"""Ways of keeping the state by which it is brought back after a picture that has changed it."""
_READS = {
    "clock": ("It reads a clock", "Count frames instead"),
    "chance": ("It draws from chance that no seed governs", "Take the generator that reset has seeded"),
    "address": ("It looks at addresses in memory", "Number its objects itself"),
}


def likely_causes(report: CheckReport, seen: Examination) -> Iterator[str]:
    """Yield a sentence for each probable cause, where something differed or it cannot go back at all."""
    if report.finding is None and report.goes_back:
        return
    if seen.hash_order:
        yield (
            "It is the order of a set: a third process with the same hash seed as the first agrees with it. Sort a set "
            "of strings, or of objects without an order of their own, before going through it."
        )
        return
    for read in seen.reads:
        yield _read_sentence(read)
    if seen.changed and (report.finding is None or report.finding.kind != PROCESS or not seen.reads):
        yield (
            f"Its steps change {_some(seen.changed)}, outside of the environment, where neither a reset nor going back "
            "reaches. Make it an attribute of the environment, set by reset."
        )


def state_sentences(
    report: CheckReport, seen: Examination, inexact: Collection[str], used: str | None = None
) -> Iterator[str]:
    """Yield what is to be said of the state and its checksum.

    Args:
        inexact: the ways of keeping it that are not exact.
        used: the way that play takes; None if it has none.
    """
    if seen.picture_changes and used in _UNDONE:
        yield (
            f"Its render() changes {seen.picture_changes}. That is undone after each picture, which takes time: let "
            "render() only read."
        )
    elif seen.picture_changes and used == _REPLAYED and not seen.picture_stays:
        yield (
            f"Its render() changes {seen.picture_changes}. That is undone after each picture by simulating the episode "
            "again, which takes as long as going back: let render() only read."
        )
    elif seen.picture_changes and used != "fork":  # there, what is drawn is a copy that is thrown away
        yield (
            f"Its render() changes {seen.picture_changes}: whoever looks would not have the same state as whoever does "
            "not, and matches would end with a desync. Let render() only read."
        )
    if seen.picture_fails:
        yield f"It cannot be drawn: {seen.picture_fails}. A match that is looked at would end there."
    if seen.remade and "pickle" in inexact:
        yield f"{_some(seen.remade)} is an EzPickle: pickling makes a new environment, whatever state this one is in."
    if seen.failed:
        yield f"What its checksum covers could not be measured: {seen.failed}."
    elif seen.coverage is not None and seen.coverage < ENOUGH:
        yield (
            f"These parts of the state are not in the checksum: {_some(seen.missed)} ({seen.tried - seen.noticed} of "
            f"{seen.tried} values changed on purpose went unnoticed). If they ever differ, two machines would not hear "
            "of it; it does no harm where they never change, or follow from the rest."
        )
    elif seen.tried:
        yield f"Its checksum noticed {seen.noticed} of {seen.tried} values changed on purpose."
    if seen.opaque:
        yield f"Could not be looked into: {_some(seen.opaque)}."
    if report.finding is None and report.bare_checksums:
        yield from _movement(report)


def _movement(report: CheckReport) -> Iterator[str]:
    if len(report.bare_checksums) < 2:
        yield "In its state nothing moves but what counts time or steps: equal checksums say little."
    elif report.distinct < MOST_FRAMES_DIFFER * report.live_frames:
        yield (
            f"Only {report.distinct} of {report.live_frames} frames had a state of their own, time and steps not "
            "counted: random inputs often change nothing there."
        )


def _read_sentence(read: Mapping[str, Any]) -> str:
    what, instead = _READS[read["kind"]]
    place = f"{_short_path(read['file'])}, line {read['line']}"
    function = f", in {read['function']}" if not read["function"].startswith("<") else ""
    return f"{what}: {read['call']}() in {place}{function}. {instead}."


def _short_path(path: str) -> str:
    """Return a path as seen from the folder where the person stands, if it lies there; else its last parts."""
    try:
        inside = os.path.relpath(path)
    except ValueError:  # on another drive
        inside = os.pardir
    return inside if not inside.startswith(os.pardir) else os.sep.join(path.split(os.sep)[-3:])


def _some(names: Collection[str]) -> str:
    shown = list(names)[:_NAMED]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(shown) + more
