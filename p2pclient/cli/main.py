"""Reads the command line and hands over to the sub-command's module."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from p2pclient import __version__
from p2pclient.common.errors import TandemError
from p2pclient.settings.packages import check_packages

_COMMANDS = {
    "demo": "see two clients share one environment on this machine, over a network as bad as you like",
    "play": "play alone, or with a bot in the other seat; no server needed",
    "serve": "start the server at which players meet",
    "account": "say who may log in to the server's console",
    "link": "make personal links by which participants join",
    "join": "join a server and play with whoever comes",
    "station": "be a station of a lab: stay, under a name, for one participant after the other",
    "doctor": "check this machine, the way to a server, or the way to another machine",
    "watch": "watch a match of a server while others play it",
    "export": "turn a run's recording into Parquet and CSV tables",
    "verify": "compare two recordings of the same match",
    "soak": "let bots play for hours over bad networks, kill what plays, and get a verdict",
    "simulate": "prove the engine in virtual time, over networks as bad as you like",
    "check": "try whether an environment can be rolled back without a difference",
    "trace": "put the traces of several sides of a match into one file",
    "new": "write an environment to begin with",
    "envs": "list the environments that can be played",
    "install": "put what an environment requires into a Python of its own, for --env-python",
}


def make_parser(asked: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the command with all sub-commands.

    Args:
        asked: the sub-command to come, if known: then only its module is imported, and a window opens the sooner.
    """
    parser = argparse.ArgumentParser(
        prog="tandem", description="People and bots share one environment across machines, in real time."
    )
    parser.add_argument("--version", action="version", version=f"tandem {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in _COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if asked in _COMMANDS and asked != name:
            continue
        module = importlib.import_module(f"p2pclient.cli.{name}")
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code. Errors that a person can mend are one sentence, not a traceback."""
    words = sys.argv[1:] if argv is None else argv
    arguments = make_parser(words[0] if words else None).parse_args(words)
    try:
        check_packages()
        arguments.words = tuple(words)
        code: int = arguments.run(arguments)
    except TandemError as error:
        print(f"tandem: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def entry() -> None:
    """Entry point of the ``tandem`` command."""
    sys.exit(main())
