"""``tandem demo``: a server and two clients as processes of this machine, and a verdict on what they recorded."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

from p2pclient.cli.demo_run import DemoFailed, DemoPlan, Orchestra, has_display
from p2pclient.cli.demo_verdict import print_table, summarize
from p2pclient.settings.flags import (
    DEFAULT_ENV,
    add_environment_flags,
    add_impairment_flags,
    add_log_flags,
    add_match_flags,
    environment_arguments,
    impairment_options,
    match_length,
)
from p2pclient.settings.process_flags import add_process_flags, process_options, process_words

_DEFAULT_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    parser.add_argument("env", nargs="?", default=DEFAULT_ENV, help=f"environment (default: {DEFAULT_ENV})")
    parser.add_argument("--two-windows", action="store_true", help="two people at one keyboard instead of a bot")
    parser.add_argument("--headless", action="store_true", help="two bots, no window")
    parser.add_argument("--bot", default="greedy", help="scripted bot (default: greedy)")
    parser.add_argument("--matches", type=int, default=1, help="matches one after the other (default: 1)")
    parser.add_argument("--seed", type=int, default=None, help="fixes server, bots and impairment")
    parser.add_argument("--out", type=Path, default=None, help="folder for recordings and the picture")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--fault", help=argparse.SUPPRESS)
    add_environment_flags(parser)
    add_match_flags(parser)
    add_impairment_flags(parser)
    add_process_flags(parser)
    add_log_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo. Exit code 0 only if nothing was lost and both recordings agree with each other and the truth."""
    if arguments.seconds is None and arguments.episodes is None:
        arguments.seconds = _DEFAULT_SECONDS
    episodes, frames = match_length(arguments)
    out = arguments.out or Path(tempfile.mkdtemp(prefix="tandem-demo-"))
    headless = arguments.headless or not has_display()
    plan = DemoPlan(
        env=arguments.env,
        env_args=environment_arguments(arguments),
        out=out,
        rate=arguments.rate,
        window=arguments.window,
        input_delay=arguments.input_delay,
        on_desync=arguments.on_desync,
        prediction=arguments.prediction,
        episodes=episodes,
        frames=frames,
        matches=arguments.matches,
        seed=arguments.seed,
        bot=arguments.bot,
        humans=0 if headless else 2 if arguments.two_windows else 1,
        impairment=impairment_options(arguments),
        fault=arguments.fault,
        host_options=process_options(arguments),
        client_flags=process_words(arguments),
        log_level=arguments.log_level,
        quiet=arguments.json,
    )
    # A polite kill ends like Ctrl-C: through the clean-up, so that no process is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        matches = Orchestra(plan).run()
    except DemoFailed as error:
        print(f"tandem demo: {error}", file=sys.stderr)
        return 1
    result = summarize(plan, matches)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        print_table(result, out)
    return 0 if result["ok"] else 1
