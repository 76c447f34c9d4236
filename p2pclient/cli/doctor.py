"""``tandem doctor``: what is wrong with this machine, the way to a server, or the way to another machine."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from p2pclient.cli.doctor_findings import Finding, exit_code, line, report_json, summary
from p2pclient.runtime.logs import start_logging
from p2pclient.runtime.loop import fine_timers, make_loop
from p2pclient.settings.flags import add_log_flags
from p2pclient.settings.place import server_urls_of
from p2pclient.settings.trust import add_trust_arguments, trust_of

_EPILOG = "Exit code: 0 all is well, 1 there are warnings, 2 there are problems."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    parser.epilog = _EPILOG
    parser.add_argument("server", nargs="?", help="a join code, an address or a URL: check the way to this server, too")
    parser.add_argument(
        "--peer",
        nargs="?",
        const="",
        metavar="CODE|ADDRESS",
        help="check the way to another computer, both ways: without CODE, wait for it and print the code to type there",
    )
    parser.add_argument("--turn", action="append", default=[], metavar="URL", help="check this TURN server, too")
    parser.add_argument("--turn-secret-file", type=Path, metavar="FILE", help="holds the secret of the TURN servers")
    parser.add_argument("--interface", metavar="NAME|ADDRESS", help="look at this network interface only")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder for recordings (default: runs)")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    add_trust_arguments(parser)
    add_log_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check, print, and return how bad it is."""
    start_logging(arguments.log_level)
    with fine_timers(), asyncio.Runner(loop_factory=make_loop) as runner:
        findings = runner.run(_check(arguments))
    if arguments.json:
        print(report_json(findings))
    else:
        for each in findings:
            print(line(each))
        print(summary(findings))
    return exit_code(findings)


async def _check(arguments: argparse.Namespace) -> list[Finding]:
    # Here, not at the top: what these import takes half a second, which is not part of the command's help.
    if arguments.peer is not None:
        from p2pclient.cli import doctor_peer

        if arguments.peer:
            return await doctor_peer.call(server_urls_of(arguments.peer), _say)
        return await doctor_peer.listen(arguments.interface, _say)
    from p2pclient.cli.doctor_machine import check_machine
    from p2pclient.cli.doctor_network import check_network
    from p2pclient.cli.doctor_server import check_server
    from p2pclient.cli.serve_paths import ice_rules

    urls = server_urls_of(arguments.server) if arguments.server is not None else ()
    rules = ice_rules(turn=arguments.turn, secret_file=arguments.turn_secret_file)
    findings = check_machine(arguments.out)
    findings += await check_network(arguments.interface)
    if urls:
        findings += await check_server(urls, trust_of(arguments))
    if rules.turn:
        from p2pclient.cli.doctor_turn import check_turn

        findings += await check_turn(rules)
    return findings


def _say(text: str) -> None:
    """Words on the way: to the error output, so that --json stays JSON."""
    print(text, file=sys.stderr, flush=True)
