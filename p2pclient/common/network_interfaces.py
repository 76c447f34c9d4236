"""The network interfaces of a machine as data, and which of their addresses others can use.

What the system says is read at the edge (``psutil.net_if_addrs()`` and ``net_if_stats()``) and handed in here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from typing import Any

from p2pclient.common.errors import ConfigurationError

_TUNNELS = ("tun", "tap", "utun", "wg", "ppp", "ipsec", "tailscale", "zt", "nordlynx", "gpd", "vpn")
_VIRTUAL = ("docker", "br-", "veth", "virbr", "vmnet", "vboxnet", "vethernet", "lxc", "cni", "bridge", "awdl", "llw")


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface that is up."""

    name: str
    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    """With their prefix lengths; no zone."""
    loopback: bool = False

    @property
    def ipv4(self) -> tuple[IPv4Interface, ...]:
        return tuple(each for each in self.addresses if isinstance(each, IPv4Interface))

    @property
    def ipv6(self) -> tuple[IPv6Interface, ...]:
        return tuple(each for each in self.addresses if isinstance(each, IPv6Interface))

    @property
    def tunnel(self) -> bool:
        """True if it looks like a VPN."""
        return self.name.lower().startswith(_TUNNELS) or "vpn" in self.name.lower()

    @property
    def virtual(self) -> bool:
        """True if it looks like one of containers or virtual machines, which nobody on the LAN can reach."""
        return self.name.lower().startswith(_VIRTUAL)

    def broadcasts(self) -> tuple[tuple[str, str], ...]:
        """Return ``(own address, broadcast address)`` for each IPv4 network that has one."""
        usable = [each for each in self.ipv4 if each.network.prefixlen < 31]
        return tuple((str(each.ip), str(each.network.broadcast_address)) for each in usable)


def interfaces_of(addresses: Mapping[str, Sequence[Any]], stats: Mapping[str, Any]) -> tuple[Interface, ...]:
    """Return the interfaces that are up and have an IP address, from what psutil says."""
    found = []
    for name, entries in addresses.items():
        if name not in stats or not stats[name].isup:
            continue
        taken: dict[IPv4Interface | IPv6Interface, None] = {}
        for entry in entries:
            parsed = _address(entry)
            if parsed is not None:
                taken[parsed] = None
        if taken:
            loopback = all(each.ip.is_loopback for each in taken)
            found.append(Interface(name, tuple(taken), loopback))
    return tuple(found)


def _address(entry: Any) -> IPv4Interface | IPv6Interface | None:
    """Return the address of one entry; None for hardware addresses."""
    text = str(entry.address).split("%")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    prefix = 32 if address.version == 4 else 64
    if entry.netmask:
        try:
            prefix = int(ip_address(entry.netmask)).bit_count()
        except ValueError:
            pass  # no mask that could be read: a network of its own
    return ip_interface(f"{text}/{prefix}")


def choose_interfaces(interfaces: Iterable[Interface], wanted: str | None) -> tuple[Interface, ...]:
    """Return all interfaces, or those with the name or the address ``wanted``.

    Raises:
        ConfigurationError: there is none; names those that there are.
    """
    every = tuple(interfaces)
    if wanted is None:
        return every
    chosen = tuple(each for each in every if each.name == wanted or wanted in {str(own.ip) for own in each.addresses})
    if not chosen:
        names = ", ".join(f"{each.name} ({', '.join(str(own.ip) for own in each.addresses)})" for each in every)
        raise ConfigurationError("interface", wanted, f"the name or address of one that is up: {names or 'none is'}")
    return chosen


def usable_addresses(interfaces: Iterable[Interface]) -> list[str]:
    """Return the addresses under which others may reach this machine, the most useful first.

    IPv4 before IPv6, private before public, cables and Wi-Fi before tunnels and containers. Loopback is left out, and
    link-local IPv6, which means nothing without an interface; link-local IPv4 (169.254.x.y) comes last of its kind: two
    laptops with one cable have nothing else.
    """
    ranked = []
    for interface in interfaces:
        for each in interface.addresses:
            own = each.ip
            if own.is_loopback or (own.version == 6 and own.is_link_local):
                continue
            away = interface.tunnel or interface.virtual
            ranked.append(((own.version, own.is_link_local, away, not own.is_private, int(own)), str(own)))
    return list(dict.fromkeys(address for _, address in sorted(ranked)))


def shares_network(interfaces: Iterable[Interface], address: str) -> bool:
    """True if ``address`` is in a network of one of the interfaces; link-local IPv6 is judged by its zone."""
    text, _, zone = address.partition("%")
    try:
        theirs = ip_address(text)
    except ValueError:
        return False
    if zone:
        return any(zone == each.name for each in interfaces)
    return any(theirs in own.network for each in interfaces for own in each.addresses if own.version == theirs.version)


def source_of(address: Sequence[Any], name_of: Callable[[int], str]) -> str:
    """Return whence a datagram came, a link-local address with its interface.

    Args:
        address: as a socket gives it.
        name_of: the name of an interface by its index; raises OSError if there is none.
    """
    host = str(address[0]).split("%")[0]
    if len(address) == 4 and address[3]:
        try:
            return f"{host}%{name_of(address[3])}"
        except OSError:
            return f"{host}%{address[3]}"
    return host


def multicast_choices(interfaces: Iterable[Interface]) -> tuple[list[str], ...]:
    """Return lists of own addresses on which to speak mDNS, the best first: one of each interface by IPv4 and by IPv6,
    then only those by IPv4, where a system's IPv6 is in the way. None is empty."""
    ipv4 = [str(each.ipv4[0].ip) for each in interfaces if each.ipv4]
    ipv6 = [str(each.ipv6[0].ip) for each in interfaces if each.ipv6 and not each.loopback]
    found = [choice for choice in ([*ipv4, *ipv6], ipv4) if choice]
    return tuple(found[:1] if len(found) > 1 and found[0] == found[1] else found)
