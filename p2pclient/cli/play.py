"""``tandem play``: one machine, no server."""

from __future__ import annotations

import argparse
import sys

from p2pclient.cli.client import Client, run_headless, run_with_window
from p2pclient.cli.join import reporter
from p2pclient.common.match_settings import MAX_RATE_HZ, match_frames
from p2pclient.runtime.logs import start_logging
from p2pclient.runtime.presenter import WindowLink
from p2pclient.settings.flags import (
    DEFAULT_ENV,
    add_environment_flags,
    add_fork_flag,
    add_hook_flag,
    add_inline_flag,
    add_log_flags,
    add_match_flags,
    add_out_flag,
    environment_arguments,
    host_options,
    match_episodes,
)
from p2pclient.settings.process_flags import add_process_flags, process_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    parser.add_argument("env", nargs="?", default=DEFAULT_ENV, help=f"environment (default: {DEFAULT_ENV})")
    parser.add_argument("--bot", metavar="NAME", help="let a scripted bot play the other seats, such as greedy")
    parser.add_argument("--headless", action="store_true", help="without a window: the bot plays all seats")
    parser.add_argument("--seed", type=int, default=None, help="of the match")
    parser.add_argument("--json", action="store_true", help="print what happens as lines of JSON")
    parser.add_argument("--load-fault", help=argparse.SUPPRESS)
    add_environment_flags(parser)
    add_hook_flag(parser)
    add_fork_flag(parser)
    add_inline_flag(parser)
    add_match_flags(parser, own_rate=True)
    add_out_flag(parser)
    add_process_flags(parser)
    add_log_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Play."""
    if arguments.headless and not arguments.bot:
        print("tandem: --headless needs --bot NAME: without a window nobody can press keys", file=sys.stderr)
        return 2
    start_logging(arguments.log_level)
    episodes = match_episodes(arguments)
    # Told before anything is opened, as far as it is known: the environment's own rate is not yet.
    match_frames(arguments.seconds, MAX_RATE_HZ if arguments.rate is None else arguments.rate)
    env_args = environment_arguments(arguments)
    process = process_options(arguments)

    def make(window: WindowLink) -> Client:
        from p2pclient.runtime.solo import SoloClient, SoloSettings

        options = {**host_options(arguments), **process}
        if arguments.load_fault:
            import json

            options.update(allow_faults=True, load_faults=json.loads(arguments.load_fault))
        settings = SoloSettings(
            env=arguments.env,
            out=arguments.out,
            env_args=env_args,
            bot=arguments.bot,
            all_bots=arguments.headless,
            seed=arguments.seed,
            rate_hz=arguments.rate,
            input_delay=arguments.input_delay.frames,
            prediction=tuple(arguments.prediction.split(",")),
            episodes=episodes,
            seconds=arguments.seconds,
            headless=arguments.headless,
            linger=not arguments.headless,
            host_options=options,
        )
        return SoloClient(settings, window, report=reporter(as_json=arguments.json, quiet=not arguments.headless))

    if arguments.headless:
        return run_headless(make, out=arguments.out)
    return run_with_window(make, out=arguments.out, title="Tandem")
