"""What ``tandem check`` found, in words for a person and as data."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from p2pclient.common.differences import Difference, value_text
from p2pclient.envhost.checking import (
    PROCESS,
    RAISED,
    REMEMBERED,
    REPEATED,
    RESIMULATED,
    RESTORED,
    RESULT,
    CheckPlan,
    CheckReport,
    Finding,
)
from p2pclient.recorder.plain import to_plain

_OTHERS_SHOWN = 5
"""Differences that are listed after the first."""

_SENTENCES = {
    RESTORED: "Going back to frame {frame} did not bring the whole state back.",
    RESIMULATED: "Frame {frame} came out differently when it was simulated again, from the same state with the same "
    "inputs.",
    RESULT: "Frame {frame} gave something else when it was simulated again, although the state is the same.",
    RAISED: "Frame {frame} could be simulated once, but going back to it and simulating it again fails:",
    PROCESS: "Frame {frame} came out differently in a second process that ran the same inputs without going back.",
    REPEATED: "Frame {frame} came out differently when the first episode was begun once more in the same process, from "
    "the same seed with the same inputs.",
    REMEMBERED: "An episode comes out differently once functools.lru_cache or cache has forgotten what it remembers.",
}
_STRAIGHT_PROCESS = "Frame {frame} came out differently in a second process that ran the same inputs."
_FIRST_STATE = "The first state of an episode differs between two processes, although the seed is the same."
_SIDES = {
    RESTORED: ("when it was saved", "after going back"),
    PROCESS: ("with rollbacks", "in the second process"),
}
_STRAIGHT_SIDES = ("in the first process", "in the second process")
_ADVICE = {
    RESTORED: "set_state must restore all that get_state gives, whatever the environment did in between.",
    RESIMULATED: "Something that the step depends on is not part of the state: a random generator, a counter, a clock, "
    "an object that is shared. It must be in what get_state gives, and set_state must restore it.",
    RESULT: "What a step gives may depend on nothing but the state and the inputs; here it depends on what was "
    "simulated before.",
    RAISED: "Something outside of the state remembers what was simulated. It must be part of the state.",
    PROCESS: "Something differs from process to process: a seed that is not used, the time, addresses of objects, the "
    "order of a set. Or rollbacks leave traces that show only here.",
    REMEMBERED: "What is remembered depends on more than its arguments, such as on random draws, and outlives the "
    "episode: neither a reset nor going back reaches it. Make it an attribute of the environment, set by reset.",
    REPEATED: "Something outlives the episode that neither a reset nor going back reaches: a cache, a variable of a "
    "module or class. Who returns to a match, or plays a second one in the same process, would differ.",
}


def print_verdict(
    env: str,
    env_args: Mapping[str, Any],
    plan: CheckPlan,
    report: CheckReport,
    causes: Sequence[str] = (),
    width: int | None = None,
    *,
    flags: Sequence[str] = (),
    takes_max_steps: bool = False,
) -> None:
    """Print the verdict.

    Args:
        causes: sentences that name what is probably behind it.
        width: columns at which lines are broken; None for not at all.
        flags: words of the command line that a finding may depend on, beside what ``plan`` and ``env_args`` say.
        takes_max_steps: the environment ends its episodes where ``--max-steps`` says.
    """
    if report.finding is not None:
        _print_finding(env, report.finding, causes, width, goes_back=report.goes_back)
        print(f"\nThis command finds it again: {repeat_command(env, env_args, plan, report.finding, flags)}")
        return
    if report.is_vacuous:
        say(f"{env} cannot be checked: {vacuous_reason(report)}", width)
    elif not report.goes_back:
        say(
            f"{env} cannot go back, but can be played in lockstep: two processes agreed in each of the "
            f"{report.frames} frames, with {report.distinct} distinct checksums; other inputs gave other ones.",
            width,
        )
    else:
        _print_fine(env, plan, report, width, takes_max_steps=takes_max_steps)
    for cause in causes:
        say(cause, width)


def say(sentence: str, width: int | None) -> None:
    """Print a sentence, broken into lines of at most ``width`` columns; None for not at all."""
    print(sentence if width is None else textwrap.fill(sentence, width, break_long_words=False))


def wrong_sentence(report: CheckReport) -> str | None:
    """Say what was found, or why nothing could be; None if all is fine."""
    if report.finding is not None:
        return finding_sentence(report.finding, goes_back=report.goes_back)
    return vacuous_reason(report) if report.is_vacuous else None


def vacuous_reason(report: CheckReport) -> str:
    """Say why equal checksums prove nothing here."""
    if len(report.checksums) < 2:
        return f"all {report.frames} states had the same checksum, so its state seems to hold nothing that changes."
    return (
        "other inputs gave the same checksums at the same frames, so its state does not hold what players do, "
        "and equal checksums prove nothing."
    )


def _print_finding(env: str, finding: Finding, causes: Sequence[str], width: int | None, *, goes_back: bool) -> None:
    print(f"{env} cannot be {'rolled back' if goes_back else 'used'} as it is.\n")
    say(finding_sentence(finding, goes_back=goes_back), width)
    if finding.error:
        print(f"  {finding.error}")
    print(f"It was in episode {finding.episode + 1} with seed {finding.seed}.")
    if finding.differences:
        ours, theirs = _SIDES.get(finding.kind, ("the first time", "the second time")) if goes_back else _STRAIGHT_SIDES
        longest = max(len(ours), len(theirs))
        first, *others = finding.differences
        print(f"\nFirst field that differs: {first.path}")
        print(f"  {ours:<{longest}}  {value_text(first.ours)}")
        print(f"  {theirs:<{longest}}  {value_text(first.theirs)}")
        if others:
            more = f", and {len(others) - _OTHERS_SHOWN} more" if len(others) > _OTHERS_SHOWN else ""
            say("Also: " + ", ".join(other.path for other in others[:_OTHERS_SHOWN]) + more, width)
    print()
    for sentence in causes or (_ADVICE[finding.kind],):
        say(sentence, width)


def repeat_command(
    env: str, env_args: Mapping[str, Any], plan: CheckPlan, finding: Finding, flags: Sequence[str] = ()
) -> str:
    """Return the command line that comes to the same finding, if anything about it can be repeated."""
    words = ["tandem", "check", env, "--frames", str(plan.frames), "--distance", str(plan.distance)]
    # What shows only after all other episodes needs as many of them.
    words += ["--seeds", str(plan.seeds if finding.kind == REPEATED else finding.seed + 1)]
    for name, value in env_args.items():
        words += ["--env-arg", f"{name}={json.dumps(value)}"]
    return shlex.join([*words, *flags])


def finding_sentence(finding: Finding, *, goes_back: bool = True) -> str:
    """Say in one sentence what was found."""
    if finding.frame < 0:
        return _FIRST_STATE
    if not goes_back:
        return _STRAIGHT_PROCESS.format(frame=finding.frame)
    return _SENTENCES[finding.kind].format(frame=finding.frame)


def _print_fine(env: str, plan: CheckPlan, report: CheckReport, width: int | None, *, takes_max_steps: bool) -> None:
    say(
        f"{env} can be rolled back: {report.rollbacks} rollbacks, up to {plan.distance} frames deep, and each of "
        f"the {report.resimulated} frames simulated again came out the same.",
        width,
    )
    say(
        f"{report.distinct} distinct checksums in {report.frames} frames; other inputs gave other checksums; "
        f"a second process without rollbacks agreed in every frame.",
        width,
    )
    if report.cut_short:
        wanted = plan.frames * plan.seeds
        say(f"It is slow: after {plan.seconds:g} s, {report.frames} of {wanted} frames had been tried.", width)
    if report.ends:
        say(f"Rolled back over the end of {report.ends} episode{'s' if report.ends > 1 else ''}.", width)
    else:
        half, tried = plan.frames // 2, min(plan.frames, report.frames)
        advice = f"With --max-steps {half} the end is tried as well." if takes_max_steps else "Its end was not tried."
        say(f"No episode ended in {tried} frames. {advice}", width)


def verdict_data(
    env: str, env_args: Mapping[str, Any], plan: CheckPlan, report: CheckReport, flags: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the verdict as JSON values. ``flags``: as for :func:`print_verdict`."""
    finding = report.finding
    fine = "fine" if report.goes_back else "lockstep"
    verdict = "wrong" if finding is not None else "unchecked" if report.is_vacuous else fine
    return {
        "env": env,
        "env_args": dict(env_args),
        "ok": verdict == fine,
        "verdict": verdict,
        "reason": wrong_sentence(report),
        "frames_per_seed": plan.frames,
        "distance": plan.distance,
        "seeds": plan.seeds,
        "frames": report.frames,
        "rollbacks": report.rollbacks,
        "resimulated": report.resimulated,
        "episodes": report.episodes,
        "ends": report.ends,
        "distinct_checksums": report.distinct,
        "live_frames": report.live_frames,
        "cut_short": report.cut_short,
        "inputs_matter": report.inputs_matter,
        "finding": None if finding is None else _finding_data(finding),
        "repeat": None if finding is None else repeat_command(env, env_args, plan, finding, flags),
    }


def _finding_data(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "seed": finding.seed,
        "episode": finding.episode,
        "frame": finding.frame,
        "error": finding.error or None,
        "field": finding.differences[0].path if finding.differences else None,
        "differences": [_difference_data(difference) for difference in finding.differences],
    }


def _difference_data(difference: Difference) -> dict[str, Any]:
    values = {"first": difference.ours, "again": difference.theirs}
    return {"path": difference.path, **{name: to_plain(value) for name, value in values.items()}}
