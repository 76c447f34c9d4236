"""Where the server listens, and the addresses under which others reach it."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from collections.abc import Sequence

import psutil

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.network_interfaces import Interface, choose_interfaces, interfaces_of, usable_addresses


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket; port 0 takes a free one.

    Args:
        host: an address or name of this machine; ``""``, ``0.0.0.0`` or ``::`` for all of its addresses.

    Raises:
        ConfigurationError: names ``host`` or ``port`` and says what to do.
    """
    if not 0 <= port <= 65535:
        raise ConfigurationError("port", port, "0 to 65535; 0 takes any free port")
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise ConfigurationError("host", host, "an address of this computer, or 0.0.0.0 for all of them") from None
    # IPv4 first: where a name has both, others on a LAN are told the IPv4 address.
    family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    bound = socket.socket(family, kind, protocol)
    try:
        _set_options(bound)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise _bind_error(host, port, error) from None
    return bound


def _set_options(bound: socket.socket) -> None:
    if sys.platform == "win32":
        # There, SO_REUSEADDR would let a second server take the same port without an error.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)


def _bind_error(host: str, port: int, error: OSError) -> ConfigurationError:
    if error.errno == errno.EADDRINUSE:
        hint = "a port that no other program uses; stop that program (another tandem serve?), or choose with --port"
        return ConfigurationError("port", port, hint)
    if error.errno == errno.EACCES:
        return ConfigurationError("port", port, "1024 to 65535; lower ports need an administrator")
    return ConfigurationError("host", host, f"an address of this computer, or 0.0.0.0 for all of them ({error})")


def lan_addresses(interface: str | None = None) -> list[str]:
    """Return this machine's addresses that others may reach, the most useful first; IPv6 link-local ones are left out.

    Raises:
        ConfigurationError: there is no interface of the name or address ``interface``.
    """
    return usable_addresses(choose_interfaces(machine_interfaces(), interface))


def machine_interfaces() -> tuple[Interface, ...]:
    """Return the interfaces of this machine that are up."""
    return interfaces_of(psutil.net_if_addrs(), psutil.net_if_stats())


def server_urls(
    host: str, port: int, interface: str | None = None, *, secure: bool = False, names: Sequence[str] = ()
) -> list[str]:
    """Return the URLs to tell people, the most useful first. Never empty.

    Args:
        secure: it speaks HTTPS.
        names: what its certificate is for; others would be refused by the clients, and are left out if there are any.

    Raises:
        ConfigurationError: there is no interface of the name or address ``interface``.
    """
    if host in ("", "0.0.0.0", "::"):
        # With an empty host, listen() takes IPv4, too.
        wanted = 6 if host == "::" else 4
        hosts = [each for each in lan_addresses(interface) if ipaddress.ip_address(each).version <= wanted]
        hosts += [] if interface else ["127.0.0.1"]
    else:
        hosts = [host]
    good = [each for each in hosts if each in names]
    good = [*good, *(each for each in names if each not in good and not _is_address(each))]
    scheme = "https" if secure else "http"
    return [f"{scheme}://[{each}]:{port}" if ":" in each else f"{scheme}://{each}:{port}" for each in good or hosts]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
