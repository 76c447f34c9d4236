"""Where the server is: what a person or ``tandem.toml`` says, as what is to be searched for."""

from __future__ import annotations

import argparse
import socket

import psutil

from p2pclient.common.discovery_messages import check_room
from p2pclient.common.errors import ConfigurationError
from p2pclient.common.join_code import is_like_join_code, read_join_code
from p2pclient.common.join_link import check_shape, split_link
from p2pclient.common.network_interfaces import interfaces_of
from p2pclient.discovery.findings import Wanted, server_url
from p2pclient.runtime.signaling_client import parse_server_url
from p2pclient.settings.tandem_file import TandemFile, find_tandem_file

PLACE_HELP = (
    "the server: a join code such as 00H-8T3, an address such as 192.168.1.20, http://lab-server:8765, or a personal "
    "link (default: what tandem.toml says, or the one that is found on this network)"
)


def add_place_arguments(parser: argparse.ArgumentParser) -> None:
    """The server, ``--room`` and ``--interface``."""
    parser.add_argument("url", nargs="?", metavar="SERVER", help=PLACE_HELP)
    parser.add_argument("--room", metavar="NAME", help="join the server of this room, where there are several")
    parser.add_argument("--interface", metavar="NAME|ADDRESS", help="look for servers on this network interface only")


def wanted_of(arguments: argparse.Namespace, file: TandemFile | None = None) -> Wanted:
    """Return what is to be searched for. A server on the command line is the only one; one in the file, the first.

    Raises:
        ConfigurationError: the server is neither a code nor an address, or the file is wrong.
    """
    file = find_tandem_file() if file is None else file
    room = arguments.room if arguments.room is not None else file.room
    room = None if room is None else check_room(room)
    interface = arguments.interface if arguments.interface is not None else file.interface
    if arguments.url is not None:
        # The address is all that counts: whoever names a server means it, in whatever room.
        return Wanted(urls=server_urls_of(arguments.url), room=arguments.room and room, on_lan=False)
    return Wanted(urls=server_urls_of(file.server) if file.server else (), room=room, interface=interface)


def link_of(arguments: argparse.Namespace, file: TandemFile | None = None) -> str | None:
    """Return the personal link: ``--link``, or what stands behind the server's address; None without one.

    Raises:
        ConfigurationError: there are two, or it cannot be one.
    """
    file = find_tandem_file() if file is None else file
    address = arguments.url if arguments.url is not None else file.server
    _, behind = split_link(address or "")
    given = None
    if arguments.link is not None:
        before, given = split_link(arguments.link)
        if given is None:
            given = before
        if behind is not None and arguments.url is not None:
            raise ConfigurationError("--link", "given", "one link: it stands behind the address already")
    link = given if given is not None else behind
    return None if link is None else check_shape(link)


def server_urls_of(text: str) -> tuple[str, ...]:
    """Return the URLs that an address or a join code means: one, or one for each interface if it is link-local.

    Of a personal link, the address counts.

    Raises:
        ConfigurationError: it is neither.
    """
    text, _ = split_link(text)
    if is_like_join_code(text):
        try:
            address, port, secure = read_join_code(text)
        except ConfigurationError as error:
            _check_name(text, error)
        else:
            if not address.startswith("fe80:"):
                return (server_url(address, port, secure),)
            interfaces = interfaces_of(psutil.net_if_addrs(), psutil.net_if_stats())
            names = [each.name for each in interfaces if each.ipv6 and not each.loopback]
            if not names:
                raise ConfigurationError("join code", text, "one with an IPv4 address: this computer has no IPv6")
            return tuple(server_url(f"{address}%{name}", port) for name in names)
    return (parse_server_url(text),)


def _check_name(text: str, error: ConfigurationError) -> None:
    """Raise the error unless a computer is called so: ``lab-server`` looks like a code, too."""
    try:
        socket.getaddrinfo(text.strip(), None)
    except (OSError, UnicodeError):
        raise error from None
