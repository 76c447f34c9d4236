"""``tandem serve``: the server at which players meet."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from p2pclient import __version__
from p2pclient.cli.parent import end_with_parent
from p2pclient.cli.serve_paths import add_path_flags
from p2pclient.cli.serve_presence import add_presence_flags, presence_of
from p2pclient.cli.serve_room import add_room_flags, bot_command, rules_of
from p2pclient.cli.serve_study import add_study_flags, print_study, with_study
from p2pclient.common.discovery_messages import DEFAULT_ROOM
from p2pclient.common.errors import ConfigurationError
from p2pclient.common.if_lost import CHOICES
from p2pclient.common.lobby_messages import DEFAULT_PORT, MatchSettings
from p2pclient.runtime.logs import start_logging
from p2pclient.settings.flags import (
    DEFAULT_ENV,
    add_environment_flags,
    add_log_flags,
    add_log_format_flag,
    add_match_flags,
    environment_arguments,
    match_length,
    number,
)

if TYPE_CHECKING:
    from signaling.certificate import Certificate
    from signaling.room_state import Limits, Rules
    from signaling.screening_hooks import ScreeningHook


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's flags."""
    parser.add_argument(
        "env",
        nargs="?",
        default=DEFAULT_ENV,
        metavar="STUDY|ENV",
        help=f"a study's file, NAME.toml, or an environment (default: {DEFAULT_ENV})",
    )
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default: all of this machine)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"default: {DEFAULT_PORT}; 0 takes a free one")
    parser.add_argument("--room", default=DEFAULT_ROOM, metavar="NAME", help="how this server is called on the LAN")
    parser.add_argument("--interface", metavar="NAME|ADDRESS", help="announce it on this network interface only")
    parser.add_argument("--hidden", action="store_true", help="do not announce it: only codes and URLs lead to it")
    parser.add_argument(
        "--per-address", type=int, default=200, metavar="N", help="clients from one address at a time (default: 200)"
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate (PEM): players join with https")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key (PEM, without a password)")
    parser.add_argument("--seats", type=int, default=2, help="players in one match (default: 2)")
    parser.add_argument("--seed", type=int, default=None, help="fixes match ids and seeds")
    parser.add_argument(
        "--drop-after",
        type=number,
        default=15.0,
        metavar="S",
        help="seconds to wait for a player of whom nothing is heard",
    )
    parser.add_argument(
        "--observations", action=argparse.BooleanOptionalAction, default=False, help="record observations too"
    )
    _add_losses(parser)
    parser.add_argument(
        "--spectators",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether others may watch matches (default: they may)",
    )
    parser.add_argument(
        "--allow-mixed-hosts",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="let different Python, NumPy or systems play",
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    add_presence_flags(parser)
    add_path_flags(parser)
    add_study_flags(parser)
    add_room_flags(parser)
    add_environment_flags(parser)
    add_match_flags(parser)
    add_log_flags(parser)
    add_log_format_flag(parser)


def _add_losses(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--may-return",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="a player whose program is gone has --drop-after seconds to start it again and play on (default: yes)",
    )
    parser.add_argument(
        "--if-lost",
        metavar="POLICY",
        help="what follows when a player left or was waited for in vain; must be given: end (the match ends), go-on "
        "(its seat stays, and does nothing), bot:NAME:disclosed or bot:NAME:hidden (a bot takes its seat, and the "
        "others are told so or not); for single seats: 'go-on 1=end@30', with other seconds to wait behind @",
    )


def settings_of(arguments: argparse.Namespace) -> MatchSettings:
    """Return the settings of the matches to come. Raises ConfigurationError for a value out of range."""
    episodes, frames = match_length(arguments)
    return MatchSettings(
        study=arguments.study_name,
        env=arguments.env,
        env_args=environment_arguments(arguments),
        seats=arguments.seats,
        rate_hz=arguments.rate,
        window=arguments.window,
        input_delay=arguments.input_delay.frames,
        delay_range=arguments.input_delay.range,
        on_desync=arguments.on_desync,
        may_return=arguments.may_return,
        relay=arguments.relay,
        on_drop=arguments.if_lost or "end",
        prediction=tuple(arguments.prediction.split(",")),
        episodes=episodes,
        frames=frames,
        drop_after_s=arguments.drop_after,
        spectators=arguments.spectators,
        record_observations=arguments.observations,
        allow_mixed_hosts=arguments.allow_mixed_hosts,
        **presence_of(arguments),
    )


def certificate_of(arguments: argparse.Namespace) -> Certificate | None:
    """Return the certificate; None for plain HTTP. Raises ConfigurationError."""
    from signaling.certificate import read_certificate, warn_of

    if arguments.tls_cert is None and arguments.tls_key is None:
        return None
    if arguments.tls_cert is None or arguments.tls_key is None:
        raise ConfigurationError("--tls-cert and --tls-key", "one of them", "both, or none of them")
    certificate = read_certificate(arguments.tls_cert, arguments.tls_key)
    warn_of(certificate)
    return certificate


def _limits(arguments: argparse.Namespace) -> Limits:
    from signaling.room_state import Limits

    if not 1 <= arguments.per_address <= Limits().clients:
        raise ConfigurationError("--per-address", arguments.per_address, f"1 to {Limits().clients}")
    return Limits(per_address=arguments.per_address)


def _is_own(name: str) -> bool:
    """True if only whoever sits at a machine can let an environment of this name be loaded there."""
    from envs.registry import families, known_names

    return name not in known_names() and not name.startswith(families())


def _what_holds(
    arguments: argparse.Namespace,
) -> tuple[argparse.Namespace, MatchSettings, Rules, dict[str, ScreeningHook]]:
    """Return what the command line and the study's file say, all of it checked; the functions named are loaded."""
    from p2pclient.cli.serve_screening import screening_hooks

    arguments, study = with_study(arguments, add_arguments)
    try:
        rules = rules_of(arguments)
        return arguments, settings_of(arguments), rules, screening_hooks(rules.screening, arguments.study_folder)
    except ConfigurationError as error:
        if study is None:
            raise
        raise study.placed(error, vars(arguments)) from None


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    from signaling.announce import Announcement
    from signaling.server import Listening
    from signaling.server import run as run_server

    start_logging(arguments.log_level, log_format=arguments.log_format)
    if arguments.child:
        end_with_parent()
    arguments, settings, rules, hooks = _what_holds(arguments)
    if arguments.if_lost is None and settings.seats > 1:
        raise ConfigurationError("--if-lost (what follows when a player is gone)", None, CHOICES)
    if arguments.print_study:
        print_study(arguments, add_arguments)
        return 0
    allowed = ("--allow-env", settings.env) if _is_own(settings.env) else ()
    certificate = certificate_of(arguments)
    pinned = () if certificate is None else ("--pinned", str(certificate.file.resolve()))

    def say(listening: Listening) -> None:
        study = f"the study {arguments.study_title!r}: " if arguments.study_title else ""
        print(f"Serving {study}{settings.env}, {settings.seats} players a match. On each player's machine:", flush=True)
        allow = f"--allow-env {settings.env} " if allowed else ""
        for url in listening.urls:
            print(f"    tandem join {allow}{url}", flush=True)
        for code in listening.codes:
            print(f"or, with its join code: tandem join {allow}{code}", flush=True)
        if not arguments.hidden:
            print(
                f"or, as this is the room {arguments.room!r} on this network: tandem join {allow}".rstrip(), flush=True
            )
        if certificate is not None:
            print("with --ca FILE where that computer does not know who signed the certificate.", flush=True)
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
        limits=_limits(arguments),
        hooks=hooks,
        data=arguments.data,
        bot_command=bot_command(arguments.data, *allowed, *pinned),
        server_version=__version__,
        certificate=certificate,
        announcement=Announcement(arguments.room, arguments.interface, on_lan=not arguments.hidden),
        on_listening=say,
    )
    return 0
