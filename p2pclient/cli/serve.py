"""``tandem serve``: the server at which players meet."""

from __future__ import annotations

import argparse

from p2pclient import __version__
from p2pclient.cli.parent import end_with_parent
from p2pclient.cli.serve_room import add_room_flags, bot_command, rules_of
from p2pclient.common.discovery_messages import DEFAULT_ROOM
from p2pclient.common.lobby_messages import DEFAULT_PORT, MatchSettings
from p2pclient.common.match_settings import ON_DROP
from p2pclient.runtime.logs import start_logging
from p2pclient.settings.flags import (
    DEFAULT_ENV,
    add_environment_flags,
    add_log_flags,
    add_match_flags,
    environment_arguments,
    match_length,
    number,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    parser.add_argument("env", nargs="?", default=DEFAULT_ENV, help=f"environment (default: {DEFAULT_ENV})")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default: all of this machine)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"default: {DEFAULT_PORT}; 0 takes a free one")
    parser.add_argument("--room", default=DEFAULT_ROOM, metavar="NAME", help="how this server is called on the LAN")
    parser.add_argument("--interface", metavar="NAME|ADDRESS", help="announce it on this network interface only")
    parser.add_argument("--hidden", action="store_true", help="do not announce it: only codes and URLs lead to it")
    parser.add_argument("--seats", type=int, default=2, help="players in one match (default: 2)")
    parser.add_argument("--seed", type=int, default=None, help="fixes match ids and seeds")
    parser.add_argument("--drop-after", type=number, default=15.0, metavar="S", help="silence until a player is gone")
    parser.add_argument("--observations", action="store_true", help="record observations too")
    parser.add_argument(
        "--may-return",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="a player whose program is gone has --drop-after seconds to start it again and play on (default: yes)",
    )
    parser.add_argument(
        "--on-drop",
        choices=ON_DROP,
        default="end",
        help="when one of three or more players is lost: end the match, or go on without (default: end)",
    )
    parser.add_argument(
        "--spectators",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether others may watch matches (default: they may)",
    )
    parser.add_argument("--allow-mixed-hosts", action="store_true", help="let different Python, NumPy or systems play")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    add_room_flags(parser)
    add_environment_flags(parser)
    add_match_flags(parser)
    add_log_flags(parser)


def settings_of(arguments: argparse.Namespace) -> MatchSettings:
    """Return the settings of the matches to come. Raises ConfigurationError for a value out of range."""
    episodes, frames = match_length(arguments)
    return MatchSettings(
        env=arguments.env,
        env_args=environment_arguments(arguments),
        seats=arguments.seats,
        rate_hz=arguments.rate,
        window=arguments.window,
        input_delay=arguments.input_delay.frames,
        delay_range=arguments.input_delay.range,
        on_desync=arguments.on_desync,
        on_drop=arguments.on_drop,
        may_return=arguments.may_return,
        prediction=tuple(arguments.prediction.split(",")),
        episodes=episodes,
        frames=frames,
        drop_after_s=arguments.drop_after,
        spectators=arguments.spectators,
        record_observations=arguments.observations,
        allow_mixed_hosts=arguments.allow_mixed_hosts,
    )


def _is_own(name: str) -> bool:
    """True if only whoever sits at a machine can let an environment of this name be loaded there."""
    from envs.registry import families, known_names

    return name not in known_names() and not name.startswith(families())


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    from p2pclient.cli.serve_screening import screening_hooks
    from signaling.announce import Announcement
    from signaling.server import Listening
    from signaling.server import run as run_server

    start_logging(arguments.log_level)
    if arguments.child:
        end_with_parent()
    settings = settings_of(arguments)
    rules = rules_of(arguments)
    allowed = ("--allow-env", settings.env) if _is_own(settings.env) else ()

    def say(listening: Listening) -> None:
        print(f"Serving {settings.env}, {settings.seats} players a match. On each player's machine:", flush=True)
        allow = f"--allow-env {settings.env} " if allowed else ""
        for url in listening.urls:
            print(f"    tandem join {allow}{url}", flush=True)
        for code in listening.codes:
            print(f"or, with its join code: tandem join {allow}{code}", flush=True)
        if not arguments.hidden:
            print(
                f"or, as this is the room {arguments.room!r} on this network: tandem join {allow}".rstrip(), flush=True
            )
        if allow:
            print("That is code of your own: each is to start it in a folder that has the same.", flush=True)
        for url in listening.console_urls[:1]:
            print(f"The console, for whoever leads the session: {url}", flush=True)
        if listening.first_password is not None and not arguments.child:  # what children say may end up in a file
            print("    name: admin", flush=True)
            print(
                f"    password: {listening.first_password}   (told only once; `tandem account` sets another)",
                flush=True,
            )
        print("Ctrl-C ends it.", flush=True)

    run_server(
        arguments.host,
        arguments.port,
        settings,
        seed=arguments.seed,
        rules=rules,
        hooks=screening_hooks(rules.screening),
        data=arguments.data,
        bot_command=bot_command(arguments.data, *allowed),
        server_version=__version__,
        announcement=Announcement(arguments.room, arguments.interface, on_lan=not arguments.hidden),
        on_listening=say,
    )
    return 0
