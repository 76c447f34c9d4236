"""``tandem soak``: real clients with bots over bad networks, killed at random, for as long as you like; a verdict."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.status import Status

from p2pclient.cli.soak_plan import MIXED, NETWORKS, SoakPlan, read_repeated
from p2pclient.cli.soak_run import Soak
from p2pclient.cli.soak_server import SoakFailed
from p2pclient.cli.soak_verdict import live_line, print_verdict, summarize, write_report
from p2pclient.common.errors import ConfigurationError
from p2pclient.envhost.interpreter import use_interpreter
from p2pclient.runtime.loop import fine_timers, make_loop
from p2pclient.settings.flags import (
    DEFAULT_ENV,
    add_environment_flags,
    add_match_flags,
    environment_arguments,
    match_length,
)

_MATCH_SECONDS = 20.0
_EPISODES = 3
"""A match has about as many, unless ``--max-steps`` says otherwise: their ends and barriers are to be tested too."""
_LINE_SECONDS = 0.5
_PLAIN_LINE_SECONDS = 60.0
"""How often the line is printed where it cannot be drawn over."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    parser.add_argument("--pairs", type=int, default=1, help="matches at the same time (default: 1)")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long matches are begun (default: 10)")
    parser.add_argument("--matches", type=int, default=0, metavar="N", help="end sooner, when so many are checked")
    parser.add_argument(
        "--profile", default="wifi", metavar="P", help=f"{', '.join([*NETWORKS, MIXED])} (default: wifi)"
    )
    parser.add_argument("--seed", type=int, default=None, help="of everything that is drawn (default: a new one)")
    parser.add_argument("--out", type=Path, default=None, help="folder for logs and for the matches that fail")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--kills", action=argparse.BooleanOptionalAction, default=True, help="kill, pause and remove at random"
    )
    parser.add_argument(
        "--kill-server-every", type=float, default=0.0, metavar="S", help="kill each server, and look at its console"
    )
    parser.add_argument("--keep", action="store_true", help="keep the recordings of all matches")
    parser.add_argument("--env", default=DEFAULT_ENV, help=f"environment (default: {DEFAULT_ENV})")
    parser.add_argument("--bot", default="greedy", help="scripted bot (default: greedy)")
    parser.add_argument("--replays", type=float, default=0.25, metavar="SHARE", help="matches simulated again, 0 to 1")
    parser.add_argument("--max-lag-ms", type=float, default=50.0, metavar="MS", help="bound on the clients' lateness")
    parser.add_argument("--most-failures", type=int, default=20, metavar="N", help="end after so many (default: 20)")
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="match.json of a match that failed: the same again")
    parser.add_argument("--env-python", metavar="PATH|NAME", help="another Python for the environment")
    parser.add_argument("--fault", help=argparse.SUPPRESS)
    add_environment_flags(parser)
    add_match_flags(parser)


def make_plan(arguments: argparse.Namespace) -> SoakPlan:
    """Return what the command line asks for. Raises ConfigurationError for a value that cannot be."""
    out = arguments.out or Path(tempfile.mkdtemp(prefix="tandem-soak-"))
    if arguments.seconds is None:
        arguments.seconds = _MATCH_SECONDS
    episodes, frames = match_length(arguments)
    if episodes:
        raise ConfigurationError("--episodes", episodes, "--seconds instead: a soak counts the frames of a match")
    env_args = environment_arguments(arguments)
    env_args.setdefault("max_steps", max(1, frames // _EPISODES))
    settings: dict[str, Any] = {
        "env": arguments.env,
        "env_args": env_args,
        "bot": arguments.bot,
        "profile": arguments.profile,
        "seed": secrets.randbits(31) if arguments.seed is None else arguments.seed,
        "rate": arguments.rate,
        "window": arguments.window,
        "input_delay": str(arguments.input_delay),
        "prediction": arguments.prediction,
        "on_desync": arguments.on_desync,
        "frames": frames,
        "wrong_env": arguments.fault,
    }
    repeated = None
    if arguments.repeat is not None:
        settings, repeated = read_repeated(arguments.repeat)
    return SoakPlan(
        **settings,
        pairs=1 if repeated else arguments.pairs,
        seconds=60 * arguments.minutes,
        out=out,
        kills=arguments.kills,
        keep=arguments.keep,
        replay_share=arguments.replays,
        matches=arguments.matches,
        lag_limit_ms=arguments.max_lag_ms,
        most_failures=arguments.most_failures,
        # Never from the file of a match to be repeated: what is run here is named by who sits here.
        env_python=None if arguments.env_python is None else use_interpreter(arguments.env_python).path,
        repeated=repeated,
        kill_server_every=arguments.kill_server_every,
    )


def run(arguments: argparse.Namespace) -> int:
    """Soak until the time is up, all matches are played, or Ctrl-C.

    Exit code 0 only if a match was played to its end and nothing was wrong.
    """
    plan = make_plan(arguments)
    try:
        with fine_timers(), asyncio.Runner(loop_factory=make_loop) as runner:
            result = runner.run(_soak(plan))
    except SoakFailed as error:
        print(f"tandem soak: {error}", file=sys.stderr)
        return 1
    write_report(result, plan.out)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        print_verdict(result)
    return 0 if result["ok"] else 1


async def _soak(plan: SoakPlan) -> dict[str, Any]:
    console = Console(stderr=True)
    status = Status("starting", console=console)

    def say(text: str) -> None:
        console.print(f"[bold red]{text}[/]", highlight=False, soft_wrap=True)

    soak = Soak(plan, say=say)
    began = perf_counter()
    stop = asyncio.Event()
    console.print(f"seed {plan.seed}, recordings and logs: {plan.out}", highlight=False, soft_wrap=True)
    with _signals_set(stop), status if console.is_terminal else contextlib.nullcontext():
        telling = asyncio.create_task(_tell(soak, console, status, began))
        try:
            await soak.run(stop)
        finally:
            telling.cancel()
    result = summarize(plan, soak.ledger, soak.watch, seconds=perf_counter() - began)
    if plan.kill_server_every:
        result["console_right_after_s"] = [round(each, 2) for each in soak.chaos.right_after_s]
    return result


async def _tell(soak: Soak, console: Console, status: Status, began: float) -> None:
    """Keep the live line up to date: drawn over on a terminal, printed now and then elsewhere."""
    while True:
        await asyncio.sleep(_LINE_SECONDS if console.is_terminal else _PLAIN_LINE_SECONDS)
        line = live_line(soak.plan, soak.ledger, perf_counter() - began)
        if console.is_terminal:
            status.update(line)
        else:
            console.print(line, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def _signals_set(stop: asyncio.Event) -> Iterator[None]:
    """The first Ctrl-C, or polite kill, ends the soak with a verdict; the second one ends it at once."""
    loop = asyncio.get_running_loop()
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}

    def on_signal(number: int, frame: Any) -> None:
        for each, handler in before.items():
            signal.signal(each, handler)
        loop.call_soon_threadsafe(stop.set)

    for number in numbers:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
