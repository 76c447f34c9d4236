"""``tandem join``: a client of a server, with a window or without."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from p2pclient.cli.client import Client, run_headless, run_with_window
from p2pclient.cli.parent import end_with_parent, pass_keys_to
from p2pclient.common.errors import ConfigurationError
from p2pclient.discovery.findings import Wanted
from p2pclient.runtime.logs import start_logging
from p2pclient.runtime.presenter import WindowLink
from p2pclient.settings.flags import (
    add_allow_env_flag,
    add_fork_flag,
    add_hook_flag,
    add_impairment_flags,
    add_inline_flag,
    add_log_flags,
    add_log_format_flag,
    add_out_flag,
    host_options,
    impairment_options,
)
from p2pclient.settings.place import add_place_arguments, link_of, wanted_of
from p2pclient.settings.process_flags import add_process_flags, process_options
from p2pclient.settings.trust import add_trust_arguments, trust_of

TOKEN_VARIABLE = "TANDEM_TOKEN"
"""By which a server knows a bot that it has started; not on the command line, which all users of a machine can read."""
MAX_CHARS, MAX_ATTRIBUTES = 64, 16
if TYPE_CHECKING:
    from p2pclient.runtime.participant import Participant

RESULTS_S = 30.0
"""How long a station shows the results before it waits for the next person."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    add_place_arguments(parser)
    add_trust_arguments(parser)
    parser.add_argument("--bot", metavar="NAME", help="let a scripted bot play, such as greedy")
    parser.add_argument("--headless", action="store_true", help="without a window; needs --bot")
    parser.add_argument("--label", default="", help="name of this participant")
    parser.add_argument(
        "--link", metavar="LINK", help="the personal link of this participant, where it is not part of the address"
    )
    parser.add_argument("--station", default="", help="name of this computer in the lab")
    parser.add_argument(
        "--attribute",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of this participant, for the server's matching, such as group=A; may be given again",
    )
    parser.add_argument("--matches", type=int, default=None, help="matches to play one after the other")
    parser.add_argument("--seed", type=int, default=0, help="of the bot and the impairment")
    parser.add_argument(
        "--path",
        choices=("direct", "turn", "relay"),
        help="use only this kind of path to the others, to try it out (default: the best that works)",
    )
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
    add_log_format_flag(parser)


def run(arguments: argparse.Namespace) -> int:
    """Play."""
    return play(arguments, wanted_of(arguments))


def play(arguments: argparse.Namespace, wanted: Wanted, *, stays: bool = False) -> int:
    """Run a client of the server that is ``wanted``.

    Args:
        stays: it is a station: it waits for a server that was named, too, and goes on from results by itself.
    """
    if arguments.headless and not arguments.bot:
        print("tandem: --headless needs --bot NAME: without a window nobody can press keys", file=sys.stderr)
        return 2
    start_logging(arguments.log_level, log_format=arguments.log_format)
    attributes = _attributes(arguments.attribute)
    link, trust = _link(arguments, stays), trust_of(arguments)
    # Taken away: the environment's processes and their libraries need not know it.
    token = os.environ.pop(TOKEN_VARIABLE, None)
    process = process_options(arguments)

    report = reporter(as_json=arguments.json, quiet=not arguments.headless)

    def participant(url: str, window: WindowLink) -> Participant:
        # Here, in the runtime's thread: what this imports takes half a second, and the window need not wait for it.
        from p2pclient.runtime.participant import Participant
        from p2pclient.runtime.participant_settings import ParticipantSettings
        from p2pclient.transport.impairment import ImpairmentSpec

        settings = ParticipantSettings(
            url=url,
            trust=trust,
            out=arguments.out,
            label=arguments.label,
            token=token,
            link=link,
            station=arguments.station,
            attributes=attributes,
            bot=arguments.bot,
            seed=arguments.seed,
            matches=arguments.matches if arguments.matches is not None else int(arguments.headless and not stays),
            impairment=ImpairmentSpec(**impairment_options(arguments)),
            path=arguments.path,
            linger=not arguments.headless,
            linger_s=RESULTS_S if stays else None,
            keys=arguments.keys,
            share_keys=arguments.sibling,
            headless=arguments.headless,
            trace=arguments.trace,
            fault=json.loads(arguments.fault) if arguments.fault else None,
            host_options={**host_options(arguments), **process, **_load_faults(arguments)},
            allowed_envs=tuple(arguments.allow_env),
        )
        return Participant(settings, window, report=report)

    def make(window: WindowLink) -> Client:
        from p2pclient.runtime.searching import Searching

        client: Participant | Searching
        if len(wanted.urls) == 1 and not wanted.on_lan and not stays:
            client = participant(wanted.urls[0], window)
        else:
            must_choose = arguments.headless and not stays
            client = Searching(
                wanted, participant, window, report=report, must_choose=must_choose, follow=stays, trust=trust
            )
        if arguments.child:
            end_with_parent(pass_keys_to(client))
        return client

    return _run_client(arguments, make, stays)


def _run_client(arguments: argparse.Namespace, make: Callable[[WindowLink], Client], stays: bool) -> int:
    if arguments.headless:
        return run_headless(make, out=arguments.out)
    error_s = RESULTS_S if stays else None
    return run_with_window(make, out=arguments.out, title="Tandem", side=arguments.side, error_s=error_s)


def _link(arguments: argparse.Namespace, stays: bool) -> str | None:
    link = link_of(arguments)
    if link is not None and stays:
        raise ConfigurationError("a personal link", "given", "none: a station is for one participant after the other")
    return link


def _load_faults(arguments: argparse.Namespace) -> dict[str, Any]:
    if not arguments.fault and not arguments.load_fault:
        return {}
    return {"allow_faults": True, "load_faults": json.loads(arguments.load_fault) if arguments.load_fault else []}


def _attributes(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for text, (name, _, value) in zip(given, pairs, strict=True):
        if not name or not value or max(len(name), len(value)) > MAX_CHARS:
            raise ConfigurationError("--attribute", text, f"NAME=VALUE, each of at most {MAX_CHARS} characters")
    if len(pairs) > MAX_ATTRIBUTES:
        raise ConfigurationError("--attribute", len(pairs), f"at most {MAX_ATTRIBUTES} of them")
    return {name: value for name, _, value in pairs}


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
_CHANGES = {
    "pause": "Paused before frame {frame}{reason}.",
    "resume": "The pause is over{reason}.",
    "end": "The match is to end before frame {frame}{reason}.",
    "extend": "The match became longer{reason}.",
}


def _sentence(event: dict[str, Any]) -> str:
    kind = event["event"]
    if kind == "connection":
        return f"Another connection to the other player is used ({event['connection']})."
    if kind == "found":
        return f"Found the room {event['room']!r} at {event['url']}."
    if kind == "welcome":
        return "Connected to the server; loading the environment."
    if kind == "waiting":
        return f"Waiting for {event['needed']} more." if event["needed"] else "Waiting to be matched."
    if kind == "matched":
        return f"Match {event['match']}, seat {event['seats'][0] + 1}."
    if kind == "admitted":
        return f"Watching match {event['match']}."
    if kind == "proposed":
        return "Partners were found; waiting until all have confirmed."
    if kind == "playing":
        return f"Playing episode {event['episode'] + 1}."
    if kind == "rejoined":
        who = "You are back in the match" if event["own"] else "The other player is back in the match"
        return f"{who}, at frame {event['frame']} of episode {event['episode'] + 1}."
    if kind == "silence":
        return _SILENCE[event["level"]]
    if kind == "said":
        return f"The experimenter says: {event['text']}" if event["text"] else "The message is taken back."
    if kind in _CHANGES:
        return _CHANGES[kind].format(frame=event["frame"], reason=f" ({event['reason']})" if event["reason"] else "")
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
