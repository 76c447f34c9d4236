"""``tandem watch``: look on while others play."""

from __future__ import annotations

import argparse

from p2pclient.cli.client import Client, run_headless, run_with_window
from p2pclient.cli.join import reporter
from p2pclient.cli.parent import end_with_parent
from p2pclient.common.errors import ConfigurationError
from p2pclient.runtime.logs import start_logging
from p2pclient.runtime.presenter import WindowLink
from p2pclient.settings.flags import (
    add_allow_env_flag,
    add_fork_flag,
    add_hook_flag,
    add_impairment_flags,
    add_log_flags,
    add_log_format_flag,
    add_out_flag,
    host_options,
    impairment_options,
    number,
)
from p2pclient.settings.place import server_urls_of
from p2pclient.settings.process_flags import add_process_flags, process_options
from p2pclient.settings.trust import add_trust_arguments, trust_of

_LONGEST_DELAY = 600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    parser.add_argument("url", metavar="SERVER", help="a join code, or an address such as http://lab-server:8765")
    parser.add_argument(
        "--delay", type=number, default=0.0, metavar="S", help="seconds to stay behind what is played (default: 0)"
    )
    parser.add_argument("--match", metavar="ID", help="which match (default: the one that began last)")
    parser.add_argument("--headless", action="store_true", help="without a window")
    parser.add_argument("--seed", type=int, default=0, help="of the impairment")
    parser.add_argument("--json", action="store_true", help="print what happens as lines of JSON")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    add_trust_arguments(parser)
    add_allow_env_flag(parser)
    add_hook_flag(parser)
    add_fork_flag(parser)
    add_out_flag(parser)
    add_impairment_flags(parser)
    add_process_flags(parser)
    add_log_flags(parser)
    add_log_format_flag(parser)


def run(arguments: argparse.Namespace) -> int:
    """Watch."""
    start_logging(arguments.log_level, log_format=arguments.log_format)
    if not 0 <= arguments.delay <= _LONGEST_DELAY:
        raise ConfigurationError("--delay", arguments.delay, f"0 to {_LONGEST_DELAY:g} seconds")
    process = process_options(arguments)
    url, trust = server_urls_of(arguments.url)[0], trust_of(arguments)

    def make(window: WindowLink) -> Client:
        # Here, in the runtime's thread: what this imports takes half a second, and the window need not wait for it.
        from p2pclient.runtime.spectator import Spectator, SpectatorSettings
        from p2pclient.transport.impairment import ImpairmentSpec

        settings = SpectatorSettings(
            url=url,
            trust=trust,
            out=arguments.out,
            match_id=arguments.match,
            delay=arguments.delay,
            impairment=ImpairmentSpec(**impairment_options(arguments)),
            seed=arguments.seed,
            linger=not arguments.headless,
            headless=arguments.headless,
            host_options={**host_options(arguments), **process},
            allowed_envs=tuple(arguments.allow_env),
        )
        if arguments.child:
            end_with_parent()
        return Spectator(settings, window, report=reporter(as_json=arguments.json, quiet=not arguments.headless))

    if arguments.headless:
        return run_headless(make, out=arguments.out)
    return run_with_window(make, out=arguments.out, title="Tandem")
