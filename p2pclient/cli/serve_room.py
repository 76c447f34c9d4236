"""What ``tandem serve`` is told about its waiting room: who plays with whom, and how long anybody waits."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from p2pclient.common.errors import ConfigurationError
from p2pclient.settings.flags import number

if TYPE_CHECKING:
    from signaling.room_state import Rules

_LONGEST_S = 24 * 3600.0


def add_room_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the waiting room."""
    parser.add_argument(
        "--matching",
        default="fifo",
        metavar="NAME[:OPTIONS]",
        help="who plays with whom: fifo, groups[:ATTRIBUTE], reunion, new-partners, round-robin, balanced:A=CAP,B=CAP, "
        "rtt[:limit=MS,relax=MS_PER_S,most=MS,probe=yes|no] or hook:MODULE:FUNCTION (default: fifo)",
    )
    parser.add_argument(
        "--hold",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="match nobody before somebody does it in the console, by hand or by release",
    )
    parser.add_argument("--wait-limit", type=number, metavar="S", help="longest wait for a partner (default: none)")
    parser.add_argument(
        "--after-wait",
        default="message",
        metavar="WHAT",
        help="what follows then: message, bot:NAME or alone (default: message)",
    )
    parser.add_argument("--wait-message", metavar="TEXT", help="what they are told then")
    parser.add_argument(
        "--confirm-within", type=number, default=30.0, metavar="S", help="time to confirm a match (default: 30)"
    )
    parser.add_argument(
        "--grace", type=number, default=15.0, metavar="S", help="how long a lost connection is waited for (default: 15)"
    )
    parser.add_argument(
        "--restart-grace",
        type=number,
        default=60.0,
        metavar="S",
        help="the same for everybody after the server was started again (default: 60)",
    )
    parser.add_argument(
        "--screening", type=Path, metavar="FILE", help="rules for who may take part and go on playing, in TOML"
    )
    parser.add_argument(
        "--links",
        choices=("optional", "required"),
        default="optional",
        help="whether only who has a personal link (tandem link) may take part (default: optional)",
    )
    parser.add_argument(
        "--lock-finished",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="let nobody in again who has played a match to its end under the same name or link",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("tandem-data"),
        metavar="DIR",
        help="folder of what the server keeps, such as its decisions (default: tandem-data)",
    )


def rules_of(arguments: argparse.Namespace) -> Rules:
    """Return the rules of the room. Raises ConfigurationError for a value out of range."""
    from p2pclient.cli.serve_paths import ice_rules_of
    from p2pclient.cli.serve_screening import read_screening
    from signaling.hooks import load_function
    from signaling.identity import JoinPolicy
    from signaling.matching.choice import choose_matcher
    from signaling.room_state import Rules

    _check("--confirm-within", arguments.confirm_within, 1.0)
    _check("--grace", arguments.grace, 0.0)
    _check("--restart-grace", arguments.restart_grace, 0.0)
    if arguments.wait_limit is not None:
        _check("--wait-limit", arguments.wait_limit, 1.0)
    then, _, bot = arguments.after_wait.partition(":")
    if then not in ("message", "bot", "alone") or bool(bot) != (then == "bot"):
        raise ConfigurationError("--after-wait", arguments.after_wait, "message, bot:NAME or alone")
    plain = Rules()
    return Rules(
        screening=read_screening(arguments.screening),
        ice=ice_rules_of(arguments),
        matcher=choose_matcher(arguments.matching, functools.partial(load_function, folder=arguments.study_folder)),
        grace_s=arguments.grace,
        restart_grace_s=arguments.restart_grace,
        confirm_within_s=arguments.confirm_within,
        wait_limit_s=arguments.wait_limit,
        after_wait=then,
        wait_message=arguments.wait_message or plain.wait_message,
        wait_bot=bot,
        starts_held=arguments.hold,
        title=arguments.study_title,
        join=JoinPolicy(links_only=arguments.links == "required", lock_finished=arguments.lock_finished),
    )


def _check(flag: str, value: float, least: float) -> None:
    if not least <= value <= _LONGEST_S:
        raise ConfigurationError(flag, value, f"{least:g} to {_LONGEST_S:g} seconds")


def bot_command(data: Path, *flags: str) -> Callable[[str, str], Sequence[str]]:
    """Return what gives the command that starts a bot: a client without a window that plays one match."""

    def command(url: str, bot: str) -> list[str]:
        client = [sys.executable, "-P", "-m", "p2pclient.cli", "join", url]
        return [*client, "--bot", bot, "--headless", "--child", "--matches", "1", "--out", str(data / "bots"), *flags]

    return command
