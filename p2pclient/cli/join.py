"""``tandem join``: a client of a server, with a window or without."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from p2pclient.cli.client import Client, run_headless, run_with_window
from p2pclient.cli.parent import end_with_parent, pass_keys_to
from p2pclient.runtime.logs import start_logging
from p2pclient.runtime.presenter import WindowLink
from p2pclient.settings.flags import (
    add_allow_env_flag,
    add_fork_flag,
    add_hook_flag,
    add_impairment_flags,
    add_inline_flag,
    add_log_flags,
    add_out_flag,
    host_options,
    impairment_options,
)
from p2pclient.settings.process_flags import add_process_flags, process_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    parser.add_argument("url", help="the server, such as 192.168.1.20 or http://lab-server:8765")
    parser.add_argument("--bot", metavar="NAME", help="let a scripted bot play, such as greedy")
    parser.add_argument("--headless", action="store_true", help="without a window; needs --bot")
    parser.add_argument("--label", default="", help="name of this participant")
    parser.add_argument("--matches", type=int, default=None, help="matches to play one after the other")
    parser.add_argument("--seed", type=int, default=0, help="of the bot and the impairment")
    parser.add_argument("--trace", action="store_true", help="write a trace of each match into its run folder")
    parser.add_argument("--json", action="store_true", help="print what happens as lines of JSON")
    parser.add_argument("--keys", choices=("all", "first", "second"), default="all", help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=("left", "right"), help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--sibling", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--fault", help=argparse.SUPPRESS)
    parser.add_argument("--load-fault", help=argparse.SUPPRESS)
    add_allow_env_flag(parser)
    add_hook_flag(parser)
    add_fork_flag(parser)
    add_inline_flag(parser)
    add_out_flag(parser)
    add_impairment_flags(parser)
    add_process_flags(parser)
    add_log_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Play."""
    if arguments.headless and not arguments.bot:
        print("tandem: --headless needs --bot NAME: without a window nobody can press keys", file=sys.stderr)
        return 2
    start_logging(arguments.log_level)
    process = process_options(arguments)

    def make(window: WindowLink) -> Client:
        # Here, in the runtime's thread: what this imports takes half a second, and the window need not wait for it.
        from p2pclient.runtime.participant import Participant, ParticipantSettings
        from p2pclient.transport.impairment import ImpairmentSpec

        fault = json.loads(arguments.fault) if arguments.fault else None
        load_faults = json.loads(arguments.load_fault) if arguments.load_fault else []
        options = {**host_options(arguments), **process}
        if fault or load_faults:
            options.update(allow_faults=True, load_faults=load_faults)
        settings = ParticipantSettings(
            url=arguments.url,
            out=arguments.out,
            label=arguments.label,
            bot=arguments.bot,
            seed=arguments.seed,
            matches=arguments.matches if arguments.matches is not None else (1 if arguments.headless else 0),
            impairment=ImpairmentSpec(**impairment_options(arguments)),
            linger=not arguments.headless,
            keys=arguments.keys,
            share_keys=arguments.sibling,
            headless=arguments.headless,
            trace=arguments.trace,
            fault=fault,
            host_options=options,
            allowed_envs=tuple(arguments.allow_env),
        )
        client = Participant(settings, window, report=reporter(as_json=arguments.json, quiet=not arguments.headless))
        if arguments.child:
            end_with_parent(pass_keys_to(client))
        return client

    if arguments.headless:
        return run_headless(make, out=arguments.out)
    return run_with_window(make, out=arguments.out, title="Tandem", side=arguments.side)


def reporter(*, as_json: bool, quiet: bool = False) -> Callable[[dict[str, Any]], None]:
    """Return what prints the client's reports: lines of JSON, or sentences."""

    def report(event: dict[str, Any]) -> None:
        try:
            if as_json:
                print(json.dumps(event), flush=True)
            elif not quiet and _sentence(event):
                print(_sentence(event), flush=True)
        except BrokenPipeError:
            # Whoever read this is gone; the match is not over for that.
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - stays open to the end

    return report


_SILENCE = {
    "heard": "The other player is heard again.",
    "notice": "The other player has not been heard for a moment.",
    "lost": "The other player is lost; waiting.",
}


def _sentence(event: dict[str, Any]) -> str:
    kind = event["event"]
    if kind == "welcome":
        return "Connected to the server; loading the environment."
    if kind == "waiting":
        return f"Waiting for {event['needed']} more."
    if kind == "matched":
        return f"Match {event['match']}, seat {event['seats'][0] + 1}."
    if kind == "admitted":
        return f"Watching match {event['match']}."
    if kind == "playing":
        return f"Playing episode {event['episode'] + 1}."
    if kind == "silence":
        return _SILENCE[event["level"]]
    if kind == "desync":
        start = "the beginning" if event["frame"] < 0 else f"frame {event['frame']}"
        return f"The two games differ from {start} of episode {event['episode'] + 1} on; see `tandem check`."
    if kind == "played":
        counters = event["outcome"]["counters"]
        return (
            f"{event['text']} {counters['confirmed_frames']} frames, {counters['verified_frames']} verified, "
            f"{counters['rollbacks']} rollbacks. Recorded in {event['folder']}"
        )
    return str(event.get("text", kind))
