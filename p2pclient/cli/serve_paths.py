"""The flags of ``tandem serve`` that say how clients may reach each other."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.match_settings import RELAY
from p2pclient.common.path_messages import MAX_ICE_SERVERS, check_ice_url

if TYPE_CHECKING:
    from signaling.turn import IceRules

_LEAST_SECRET, _LONGEST_SECRET = 8, 1024


def add_path_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of paths between clients."""
    parser.add_argument(
        "--turn",
        action="append",
        default=[],
        metavar="URL",
        help="a TURN server for players who cannot reach each other directly, such as turn:host:3478, "
        "turn:host:3478?transport=tcp or turns:host:5349; may be given again, they are tried in turn",
    )
    parser.add_argument(
        "--turn-secret-file",
        type=Path,
        metavar="FILE",
        help="holds the secret that this server shares with the TURN servers (coturn: static-auth-secret)",
    )
    parser.add_argument(
        "--stun", action="append", default=[], metavar="URL", help="a STUN server, such as stun:host:3478"
    )
    parser.add_argument(
        "--relay",
        choices=RELAY,
        default="allowed",
        help="whether this server passes on what players say who cannot reach each other in another way; always is for "
        "trying that out (default: allowed)",
    )


def ice_rules_of(arguments: argparse.Namespace) -> IceRules:
    """Return what clients are told of STUN and TURN servers. Raises ConfigurationError for what cannot be used."""
    return ice_rules(turn=arguments.turn, secret_file=arguments.turn_secret_file, stun=arguments.stun)


def ice_rules(*, turn: Sequence[str], secret_file: Path | None, stun: Sequence[str] = ()) -> IceRules:
    """Return the rules for these URLs. Raises ConfigurationError for what cannot be used."""
    from signaling.turn import IceRules

    turn = tuple(check_ice_url("--turn", each) for each in turn)
    stun = tuple(check_ice_url("--stun", each) for each in stun)
    for flag, urls, schemes in (("--turn", turn, ("turn:", "turns:")), ("--stun", stun, ("stun:",))):
        for url in urls:
            if not url.startswith(schemes):
                raise ConfigurationError(flag, url, f"a URL that begins with {' or '.join(schemes)}")
    if len(turn) + len(stun) > MAX_ICE_SERVERS:
        raise ConfigurationError("--turn, --stun", len(turn) + len(stun), f"at most {MAX_ICE_SERVERS} of them")
    if bool(turn) != (secret_file is not None):
        given = "only --turn" if turn else "only --turn-secret-file"
        raise ConfigurationError("--turn, --turn-secret-file", given, "both or none")
    return IceRules(stun=stun, turn=turn, turn_secret="" if secret_file is None else _secret_in(secret_file))


def _secret_in(file: Path) -> str:
    """Return the only line of a file. What it holds is in no message."""
    flag = "--turn-secret-file"
    try:
        content = file.read_bytes()[: 4 * _LONGEST_SECRET].decode().strip()
    except OSError as error:
        raise ConfigurationError(flag, str(file), f"a file that can be read ({error.strerror})") from None
    except UnicodeDecodeError:
        content = ""
    if not _LEAST_SECRET <= len(content) <= _LONGEST_SECRET or len(content.splitlines()) != 1:
        allowed = f"a file with one line of {_LEAST_SECRET} to {_LONGEST_SECRET} characters"
        raise ConfigurationError(flag, str(file), allowed)
    return content
