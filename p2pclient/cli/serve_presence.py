"""What ``tandem serve`` says of players who look away, and of links that are not good enough to begin with."""

from __future__ import annotations

import argparse
from typing import Any

from p2pclient.common.match_settings import ON_AWAY
from p2pclient.settings.flags import number


def add_presence_flags(parser: argparse.ArgumentParser) -> None:
    """``--on-away`` and its kin, ``--check-tries`` and the bounds of the links."""
    parser.add_argument(
        "--on-away",
        choices=ON_AWAY,
        default="go-on",
        help="when a player's window is not in front: go on with released keys, or pause (default: go-on)",
    )
    parser.add_argument("--away-limit", type=number, default=60.0, metavar="S", help="longest such pause (default: 60)")
    parser.add_argument(
        "--tell-away",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="whether the others are told whose window is not in front (default: they are not)",
    )
    parser.add_argument(
        "--check-tries",
        type=int,
        default=3,
        metavar="N",
        help="tries that a link has before each episode, until it counts as lost (default: 3)",
    )
    parser.add_argument("--max-rtt", type=number, metavar="MS", help="longest round trip to begin an episode with")
    parser.add_argument("--max-loss", type=number, metavar="SHARE", help="the same for lost datagrams, 0 to 1")


def presence_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the match settings that these flags stand for."""
    return {
        "on_away": arguments.on_away,
        "away_limit_s": arguments.away_limit,
        "tell_away": arguments.tell_away,
        "check_tries": arguments.check_tries,
        "max_rtt_ms": arguments.max_rtt,
        "max_loss": arguments.max_loss,
    }
