"""Judges one match of a soak: did it end as what was done to it lets expect, and is the data right?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from p2pclient.cli.soak_plan import KILL_CLIENT, KILL_HOST, KILL_SERVER, LEAVE, PAUSE, Fault, Seeds, SoakPlan
from p2pclient.recorder.manifest import MANIFEST_NAME
from p2pclient.recorder.verify import BEGINNING, SAME

PLAYED, FAILED, DIED = "played", "failed", "died"
"""How a match ended for one side: it played (to whichever end), the match did not come about, its process ended."""

REACTION_SECONDS = 10.0
"""Within which a match must be over for both after a fault that ends it. The rule is 3 s on an idle machine."""

LEAST_LATENESS_SAMPLES = 200
"""Frames below which a 99th percentile is but the worst of them."""
MACHINE_SHARE = 2.0
"""How much later than this machine woke us at worst during the match a client may be: it needs more of the machine."""

_ENDING = (KILL_CLIENT, KILL_HOST, LEAVE)
"""What ends a match for both; a killed host only if it is not brought back."""


@dataclass(slots=True)
class Side:
    """One client in one match."""

    seat: int
    client: str
    seeds: Seeds
    ending: str | None = None
    ended_at: float = 0.0
    report: Mapping[str, Any] = field(default_factory=dict)
    """What it reported at the end."""
    folder: Path | None = None

    @property
    def has_recording(self) -> bool:
        """Is there something to be read: who was killed at the very beginning may have left an empty folder."""
        return self.folder is not None and ((self.folder / MANIFEST_NAME).exists() or self.ending == PLAYED)

    @property
    def reason(self) -> str:
        """Why the match ended, as this side says."""
        return str(self.report.get("reason", "")) if self.ending == PLAYED else ""

    def describe(self) -> str:
        """Say how it ended."""
        return f"seat {self.seat} ({self.client}): {self.ending} {self.reason}".rstrip()


@dataclass(slots=True)
class MatchCourse:
    """What is known of one match: all of it, once it is over."""

    match_id: str
    number: int
    fault: Fault | None
    began_at: float
    sides: dict[int, Side] = field(default_factory=dict)
    playing: set[int] = field(default_factory=set)
    fired_at: float | None = None
    """When the fault was done; None if it was not, because the match was over before."""
    victim: int | None = None
    """Seat of the client that it was done to."""
    has_lost_server: bool = False
    """The server ended during the match. The next one does not know of it, and cannot tell who is gone."""
    disturbed: bool = False
    """The server, or a client that had not told us yet, ended while the two connected: that the match did not come
    about is right then."""
    is_cut_short: bool = False
    """The soak ended while it was played."""

    @property
    def fault_kind(self) -> str | None:
        """What was done to it."""
        return self.fault.kind if self.fault is not None and self.fired_at is not None else None

    @property
    def fault_done(self) -> Fault | None:
        """What was done to it, as it was: to be repeated."""
        if self.fault is None or (
            self.fired_at is None and not (self.fault.kind == KILL_SERVER and self.has_lost_server)
        ):
            return None
        return self.fault if self.victim is None else replace(self.fault, side=self.victim)

    @property
    def is_over(self) -> bool:
        """It has ended for every side that is known."""
        return bool(self.sides) and all(side.ending is not None for side in self.sides.values())

    @property
    def is_whole(self) -> bool:
        """Both sides played it to its planned end."""
        return len(self.sides) == 2 and all(side.reason == "finished" for side in self.sides.values())


def judge(course: MatchCourse, check: Mapping[str, Any], plan: SoakPlan) -> list[str]:
    """Return everything that is wrong with the match, as sentences.

    Args:
        check: what ``soak_check`` said of its recordings.
    """
    return [*_judge_ends(course, plan), *_judge_counts(course, check, plan), *_judge_recordings(course, check, plan)]


def _judge_ends(course: MatchCourse, plan: SoakPlan) -> list[str]:
    problems = [
        f"{side.describe()}; {_what_was_done(course)} allows {' or '.join(sorted(_allowed(course, side)))}"
        for side in course.sides.values()
        if (side.reason or side.ending) not in _allowed(course, side)
    ]
    if len(course.sides) == 1 and not (course.disturbed or course.is_cut_short or course.fault_kind):
        problems.append("only one client was told of the match")
    if course.fault_kind in _ENDING and course.fired_at is not None:
        limit = REACTION_SECONDS + (plan.drop_after if course.has_lost_server else 0.0)
        problems += [
            f"seat {side.seat} ended only {side.ended_at - course.fired_at:.1f} s after {course.fault_kind}"
            for side in course.sides.values()
            if side.ending is not None and side.ended_at - course.fired_at > limit and not _has_survived(course, side)
        ]
    return problems


def _has_survived(course: MatchCourse, side: Side) -> bool:
    """Was the match played to its end with another environment."""
    return course.fault_kind == KILL_HOST and side.reason == "finished"


def _what_was_done(course: MatchCourse) -> str:
    if course.is_cut_short:
        return "the end of the soak"
    return course.fault_kind or (
        "an end of the server or of the partner" if course.disturbed else "an undisturbed match"
    )


def _allowed(course: MatchCourse, side: Side) -> set[str]:
    """Return the reasons, or endings without one, that are right for this side."""
    is_victim = side.seat == course.victim
    allowed = {"finished"}
    if course.fault_kind == KILL_CLIENT:
        allowed |= {DIED} if is_victim else {"partner-gone"}
    elif course.fault_kind == KILL_HOST:
        allowed |= {"environment"} if is_victim else {"partner-left"}
    elif course.fault_kind == LEAVE:
        allowed |= {"left", DIED} if is_victim else {"partner-left", "partner-gone"}
    if course.is_cut_short:
        allowed |= {"left", "partner-left", "partner-gone", FAILED, DIED}
    if course.disturbed or (course.fault_kind in _ENDING and len(course.playing) < 2):
        allowed |= {FAILED}
    return allowed


def _judge_counts(course: MatchCourse, check: Mapping[str, Any], plan: SoakPlan) -> list[str]:
    """A match that was played to its end has all of its frames on both sides, verified; nothing differs in any."""
    problems: list[str] = []
    for side in course.sides.values():
        if side.ending != PLAYED:
            continue
        counters = side.report["outcome"]["counters"]
        if counters["desyncs"]:
            problems.append(f"seat {side.seat} found a desync")
        if side.reason == "finished":
            counts = (counters["confirmed_frames"], counters["verified_frames"], side.report["unverified"])
            # After a death at the very end, the one that stays may lack the last word of the other.
            if counts != (plan.frames, plan.frames, 0) and not (course.fault_kind or course.is_cut_short):
                problems.append(
                    f"seat {side.seat} finished with {counts[0]} frames confirmed, {counts[1]} verified and"
                    f" {counts[2]} unverified; {plan.frames} were to be played"
                )
    for found in check.get("sides", ()):
        if found["recorded"] and found["checksums"] < 0.5 * found["recorded"]:
            problems.append(
                f"only {found['checksums']} distinct checksums in {found['recorded']} frames: nothing is tested"
            )
    return problems


def _judge_recordings(course: MatchCourse, check: Mapping[str, Any], plan: SoakPlan) -> list[str]:
    problems = [f"unreadable: {text}" for text in check.get("unreadable", ())]
    problems += [f"the check failed: {text}" for text in check.get("failures", ())]
    problems += [
        f"seat {side.seat} played and left no recording"
        for side in course.sides.values()
        if side.ending == PLAYED and side.folder is None
    ]
    sides: Sequence[Mapping[str, Any]] = check.get("sides", ())
    verify = check.get("verify")
    if verify is not None:
        good = {SAME} if course.is_whole and not course.fault_kind else {SAME, BEGINNING}
        if verify["code"] not in good:
            problems.append(f"recordings: {verify['message']}")
    if check.get("difference") is not None:
        problems.append(f"recordings differ at {check['difference']}, unverified frames included")
    if len(sides) == 2:
        for one, other in (sides, sides[::-1]):
            if one["verified"] > other["recorded"]:
                problems.append(
                    f"lost: {one['folder']} says that all had {one['verified']} frames,"
                    f" {other['folder']} recorded {other['recorded']}"
                )
    for side in course.sides.values():
        if side.folder is not None:
            problems += [f"a crash report: {path}" for path in side.folder.glob("crash-*.txt")]
    problems += [f"straight run: {each['message']}" for each in check.get("replays", ()) if not each["same"]]
    limit = plan.lag_limit_ms + MACHINE_SHARE * check.get("machine_lateness_ms", {"max": 0.0})["max"]
    for found in sides:
        late = found["lateness_ms"]
        if (
            course.fault_kind not in (PAUSE, KILL_HOST)
            and late["samples"] >= LEAST_LATENESS_SAMPLES
            and late["p99"] > limit
        ):
            problems.append(
                f"loop lag: 99th percentile {late['p99']:.1f} ms, limit {limit:.1f} ms, in {found['folder']}"
            )
    return problems
