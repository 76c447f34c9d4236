"""``tandem check``: may an environment be rolled back."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from p2pclient.cli.check_assessment import Assessment, assess, assessment_data, print_assessment
from p2pclient.cli.check_verdict import print_verdict, verdict_data, wrong_sentence
from p2pclient.common.errors import ConfigurationError, EnvHostError, EnvHostGone, EnvHostHung, TandemError
from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.checking import (
    PROCESS,
    REMEMBERED,
    CheckPlan,
    CheckReport,
    Finding,
    check_rollback,
    measure_costs,
)
from p2pclient.envhost.examining import Examination, agrees_with_first, examine
from p2pclient.envhost.exchange import gone_reason
from p2pclient.envhost.hanging import OTHERS
from p2pclient.envhost.process import HostSpec
from p2pclient.settings.flags import (
    add_environment_flags,
    add_fork_flag,
    add_hook_flag,
    environment_arguments,
    host_options,
    number,
)
from p2pclient.settings.process_flags import add_process_flags, process_options, process_words

FINE, WRONG, UNCHECKED = 0, 1, 2
"""Exit codes."""

_OTHER_HASH_SEED = "1"
"""Of the second process, so that the order of a set of strings differs as it may between machines."""
_LOADING_SECONDS, _MAKING_SECONDS, _RESET_SECONDS = 300.0, 120.0, 60.0
"""All ways of keeping the state are tried while it loads; importing and making it, and a reset, are parts of that."""
_SHARE_OF_MEMORY, _LEAST_MB = 0.4, 1024
"""Of what is free: that each of the two processes may take, where nothing else is said."""
_DEFAULT_SECONDS = 60.0
_MOST_FRAMES, _DEEPEST, _MOST_SEEDS, _LONGEST = 10_000_000, 60, 1000, 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    parser.add_argument("env", help="environment, as `tandem envs` lists them")
    parser.add_argument("--frames", type=int, default=300, metavar="N", help="frames per seed (default: 300)")
    parser.add_argument(
        "--distance", type=int, default=7, metavar="D", help="frames to go back in every frame (default: 7)"
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="K", help="seeds 0 to K-1 (default: 3)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=_DEFAULT_SECONDS,
        metavar="S",
        help="time after which no more frames are tried (default: 60)",
    )
    parser.add_argument(
        "--step-timeout",
        type=number,
        default=30.0,
        metavar="S",
        help="seconds after which a step, a picture, or keeping the state counts as hung (default: 30)",
    )
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    add_environment_flags(parser)
    add_hook_flag(parser)
    add_fork_flag(parser)
    add_process_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0: nothing was wrong, 1: something was, 2: it cannot be checked."""
    try:
        plan = _plan(arguments)
        env_args = environment_arguments(arguments)
        options = _host_options(arguments)
        with _log_of_failure() as log:
            spec = HostSpec(
                arguments.env, env_args, log_path=log, local=True, trusted_args=True, thorough=True, **options
            )
            report, assessment = _check(spec, plan, is_quiet=arguments.json)
    except TandemError as error:
        return _cannot(arguments, error)
    flags = flags_of_finding(arguments)
    if arguments.json:
        verdict = verdict_data(arguments.env, env_args, plan, report, flags)
        print(json.dumps({**verdict, **assessment_data(assessment)}, indent=2))
    else:
        # What is read by a program, or by a person later on, is not broken into lines of this window.
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print_verdict(
            arguments.env,
            env_args,
            plan,
            report,
            assessment.causes,
            width,
            flags=flags,
            takes_max_steps=assessment.examination.takes_max_steps,
        )
        print_assessment(assessment, width)
    return WRONG if report.finding is not None else UNCHECKED if report.is_vacuous else FINE


def _host_options(arguments: argparse.Namespace) -> dict[str, Any]:
    if not 0 < arguments.step_timeout <= _LONGEST:
        raise ConfigurationError("--step-timeout", arguments.step_timeout, f"more than 0, up to {_LONGEST}")
    given = {**host_options(arguments), **process_options(arguments)}
    free_mb = psutil.virtual_memory().available >> 20
    limits = {
        "make": given.get("init_timeout", _MAKING_SECONDS),
        "reset": given.get("reset_timeout", _RESET_SECONDS),
        OTHERS: arguments.step_timeout,
    }
    usual = {"init_timeout": _LOADING_SECONDS, "memory_mb": max(_LEAST_MB, round(free_mb * _SHARE_OF_MEMORY))}
    return {**usual, "call_limits": limits, **given}


def flags_of_finding(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return the flags that decide what is found, beside the plan and the environment's arguments."""
    words: list[str] = []
    if arguments.seconds != _DEFAULT_SECONDS:
        words += ["--seconds", f"{arguments.seconds:g}"]
    if arguments.step_hook is not None:
        words += ["--step-hook", arguments.step_hook]
    if arguments.no_fork:
        words.append("--no-fork")
    return (*words, *process_words(arguments))


@contextlib.contextmanager
def _log_of_failure() -> Iterator[Path]:
    """Yield a file for what the environment prints. It stays only if the check fails: the error names it then."""
    descriptor, name = tempfile.mkstemp(prefix="tandem-check-", suffix=".log")
    os.close(descriptor)
    log = Path(name)
    try:
        yield log
    except TandemError:
        if log.stat().st_size:
            raise
        log.unlink()
        raise
    log.unlink()


def _plan(arguments: argparse.Namespace) -> CheckPlan:
    limits = {"frames": _MOST_FRAMES, "distance": _DEEPEST, "seeds": _MOST_SEEDS}
    for name, most in limits.items():
        value = getattr(arguments, name)
        if not 1 <= value <= most:
            raise ConfigurationError(f"--{name}", value, f"1 to {most}")
    if arguments.frames <= arguments.distance:
        raise ConfigurationError("--frames", arguments.frames, f"more than the distance, {arguments.distance}")
    if not 1 <= arguments.seconds <= _LONGEST:
        raise ConfigurationError("--seconds", arguments.seconds, f"1 to {_LONGEST}")
    return CheckPlan(
        frames=arguments.frames, distance=arguments.distance, seeds=arguments.seeds, seconds=arguments.seconds
    )


def _check(spec: HostSpec, plan: CheckPlan, *, is_quiet: bool) -> tuple[CheckReport, Assessment]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    # On standard error, and only for a person: standard output belongs to the verdict.
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=is_quiet or not console.is_terminal) as bar:
        task = bar.add_task(f"Opening {spec.env}", total=None)

        def show_loading(share: float | None, text: str) -> None:
            bar.update(task, description=text)

        def show_frames(done: int, total: int) -> None:
            bar.update(task, description="Trying it", completed=done, total=total)

        second = dataclasses.replace(spec, hash_seed=_OTHER_HASH_SEED)
        with contextlib.ExitStack() as stack:
            # Both at once: trying all ways to keep the state of a slow environment takes a minute.
            with ThreadPoolExecutor(2) as pool:
                opening = [pool.submit(BlockingEnvHost, one, show_loading) for one in (spec, second)]
            for future in opening:
                if future.exception() is None:
                    stack.enter_context(future.result())
            host, other = (_opened(future, spec) for future in opening)
            report = check_rollback(host, other, plan, show_frames)
            bar.update(task, description="Looking into it", total=None)
            found = _examine(other, report, _is_hash_order(spec, report, show_loading))
            if report.finding is None and found.remembered and host.ready["snapshots"]["chosen"] != "fork":
                report.finding = Finding(REMEMBERED, 0, 0, 0, error=", ".join(found.remembered))
            wrong = wrong_sentence(report)
            costs = measure_costs(host) if wrong is None else None
            return report, assess(host.ready, report, costs, wrong, found)


def _opened(future: Future[BlockingEnvHost], spec: HostSpec) -> BlockingEnvHost:
    try:
        return future.result()
    except EnvHostHung as error:
        raise error.within(f"while it was loaded and tried, {gone_reason(spec.env, error)}") from error


def _examine(host: BlockingEnvHost, report: CheckReport, hash_order: bool | None) -> Examination:
    try:
        return examine(host, hash_order=hash_order)
    except EnvHostHung as error:
        if report.finding is None:
            raise
        return Examination(failed=gone_reason(host.spec.env, error), hash_order=hash_order)


def _is_hash_order(
    spec: HostSpec, report: CheckReport, show_loading: Callable[[float | None, str], None]
) -> bool | None:
    """Where two processes differ: does a third agree with the first if it has the same order of sets as that?"""
    if report.finding is None or report.finding.kind != PROCESS or not report.finding.checksum:
        return None
    try:
        with BlockingEnvHost(dataclasses.replace(spec, thorough=False), show_loading) as third:
            return agrees_with_first(third, report.finding)
    except EnvHostError:
        return None  # it fails now and then: what was found stands without its cause


def _cannot(arguments: argparse.Namespace, error: TandemError) -> int:
    reason = gone_reason(arguments.env, error) if isinstance(error, EnvHostGone) else str(error)
    if arguments.json:
        verdict: dict[str, Any] = {"env": arguments.env, "ok": False, "verdict": "unchecked", "reason": reason}
        if isinstance(error, EnvHostHung):
            hung = {"call": error.call, "frame": error.frame, "seconds": error.seconds}
            verdict.update(verdict="hung", hung=hung)
        print(json.dumps(verdict, indent=2))
    else:
        # What says by itself which environment it is, and that it could not be loaded, says it once.
        is_whole = reason.startswith(f"{arguments.env} ")
        text = reason if is_whole else f"{arguments.env} cannot be checked: {reason}"
        print(f"tandem check: {text}", file=sys.stderr)
    return UNCHECKED
