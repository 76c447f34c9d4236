"""``tandem station``: a client that stays, under a name of its own, for one participant after the other."""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path

from p2pclient.cli import join
from p2pclient.cli.station_keep import keep
from p2pclient.common.errors import ConfigurationError
from p2pclient.settings import autostart
from p2pclient.settings.place import wanted_of
from p2pclient.settings.station import config_folder, station_name
from p2pclient.settings.tandem_file import find_tandem_file

_OWN_FLAGS = ("--keep", "--install-autostart", "--remove-autostart", "--child")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags: those of ``join``, and its own."""
    join.add_arguments(parser)
    parser.allow_abbrev = False  # the flags are handed on as words
    group = parser.add_argument_group("the station")
    group.add_argument("--name", help="name of this station, such as LAB03; kept for the next start")
    group.add_argument("--keep", action="store_true", help="start it again when it ended otherwise than on purpose")
    group.add_argument(
        "--install-autostart", action="store_true", help="start it so, with --keep, when this user logs in; then end"
    )
    group.add_argument("--remove-autostart", action="store_true", help="do not start it at login any more; then end")


def run(arguments: argparse.Namespace, words: list[str] | None = None) -> int:
    """Be a station, or change what happens at login."""
    words = sys.argv[2:] if words is None else words
    if arguments.label:
        raise ConfigurationError("--label", arguments.label, "nothing: a station is known by --name")
    file = find_tandem_file()
    wanted = wanted_of(arguments, file)
    if arguments.remove_autostart:
        return _remove_autostart()
    name = station_name(arguments.name or file.station, platform.node(), config_folder())
    if arguments.install_autostart:
        return _install_autostart(words)
    if arguments.keep and not arguments.child:
        print(f"This is the station {name}. Close its window, or press Ctrl-C here, to end it.", flush=True)
        return keep([*_program(), *_without_own_flags(words), "--child"])
    arguments.label = arguments.station = name
    return join.play(arguments, wanted, stays=True)


def _program() -> list[str]:
    # -P: not to take a folder of the user's with one of our names for ours.
    return [sys.executable, "-P", "-m", "p2pclient.cli", "station"]


def _without_own_flags(words: list[str]) -> list[str]:
    return [each for each in words if each not in _OWN_FLAGS]


def _install_autostart(words: list[str]) -> int:
    made = autostart.own_entry([*_program(), *_without_own_flags(words), "--keep"], Path.cwd(), _log_file())
    autostart.install(made)
    print(f"From the next login on, this station starts by itself, in {Path.cwd()}: {made.path}")
    return 0


def _remove_autostart() -> int:
    made = autostart.own_entry(_program(), Path.cwd(), _log_file())
    if autostart.remove(made):
        print(f"This station no longer starts at login: {made.path} is gone.")
    else:
        print(f"This station does not start at login: there is no {made.path}.")
    return 0


def _log_file() -> Path:
    return config_folder() / "station.log"
