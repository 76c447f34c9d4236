"""Checks of this machine's way to its LAN: interfaces, ports, firewall, UDP, broadcast, mDNS, servers."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from p2pclient.cli.doctor_findings import Finding, firewall_fix, good, note, problem, warning
from p2pclient.common.discovery_messages import DISCOVERY_PORT
from p2pclient.common.lobby_messages import DEFAULT_PORT
from p2pclient.common.network_interfaces import (
    Interface,
    choose_interfaces,
    interfaces_of,
    multicast_choices,
    usable_addresses,
)
from p2pclient.discovery.finder import Finder
from p2pclient.discovery.findings import Choice, Wanted, describe

SEARCH_S = 2.5
_SERVICE = "_tandem-doctor._udp.local."
_COMMAND_S = 5.0


async def check_network(interface: str | None = None) -> list[Finding]:
    """Return what is to be said of the network here; takes about four seconds. Raises ConfigurationError."""
    interfaces = choose_interfaces(interfaces_of(psutil.net_if_addrs(), psutil.net_if_stats()), interface)
    choice, notes = await search(interface)
    return [
        *check_interfaces(interfaces),
        *check_ports(choice),
        check_firewall(sys.platform, firewall_state(sys.platform)),
        *check_udp(interfaces),
        await check_mdns(interfaces),
        *check_servers(choice, notes),
    ]


# -- interfaces -------------------------------------------------------------------------------------------------------


def check_interfaces(interfaces: Sequence[Interface]) -> list[Finding]:
    real = [each for each in interfaces if not each.loopback]
    if not real:
        fix = "plug a cable in or switch Wi-Fi on; until then, only programs on this computer find each other"
        return [warning("network", "no network but this computer's own", fix)]
    found = [note("network", f"{each.name}: {', '.join(str(own) for own in each.addresses)}") for each in real]
    usable = usable_addresses(real)
    ipv4 = [each for each in real if each.ipv4]
    if not usable:
        fix = "wait until the network has given it one, or set one by hand, such as 192.168.50.2/24"
        found.append(problem("network", "no address that other computers can use", fix))
    elif all(own.ip.is_link_local for each in ipv4 for own in each.ipv4) and ipv4:
        text = "only an address that the computer gave itself (169.254.x.y)"
        fix = "fine for two computers and one cable; else see whether the cable is in and the router gives addresses"
        found.append(warning("network", text, fix))
    else:
        found.append(good("network", f"others reach this computer at {usable[0]}"))
    tunnels = [each.name for each in real if each.tunnel]
    if tunnels:
        fix = "switch the VPN off for the session: it may take what is meant for the LAN"
        found.append(warning("network", f"a VPN is on: {', '.join(tunnels)}", fix))
    physical = [each for each in ipv4 if not each.tunnel and not each.virtual]
    if len(physical) > 1:
        names = ", ".join(each.name for each in physical)
        fix = "see that all computers are in one of these networks; name it with --interface if another one is found"
        found.append(warning("network", f"several networks at once: {names}", fix))
    return found


# -- ports ------------------------------------------------------------------------------------------------------------


def check_ports(choice: Choice) -> list[Finding]:
    """Whether a server could listen here; a Tandem server that already does is no finding to mend."""
    seen = [*([choice.found] if choice.found else []), *choice.several, *choice.others, *choice.old]
    own = {address for each in interfaces_of(psutil.net_if_addrs(), psutil.net_if_stats()) for address in _texts(each)}
    ours = any(each.url.rpartition("//")[2] in {f"{address}:{DEFAULT_PORT}" for address in own} for each in seen)
    found = []
    reason = port_in_use(socket.SOCK_STREAM, DEFAULT_PORT)
    if not reason:
        found.append(good("ports", f"TCP {DEFAULT_PORT} is free for a server"))
    elif ours:
        found.append(note("ports", f"TCP {DEFAULT_PORT} is used by a Tandem server on this computer"))
    else:
        fix = "only if this computer is to be the server: choose another with tandem serve --port"
        found.append(warning("ports", f"TCP {DEFAULT_PORT} is taken: {reason}", fix))
    reason = port_in_use(socket.SOCK_DGRAM, DISCOVERY_PORT)
    if reason:
        fix = "end the program that has it, or use codes and URLs"
        found.append(warning("ports", f"UDP {DISCOVERY_PORT} is taken: {reason}", fix))
    else:
        found.append(good("ports", f"UDP {DISCOVERY_PORT} can be used, so that a server here is found by broadcast"))
    return found


def _texts(interface: Interface) -> list[str]:
    return [str(each.ip) for each in interface.addresses]


def port_in_use(kind: int, port: int) -> str:
    """Return why the port of this machine cannot be bound; empty if it can."""
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_DGRAM or os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            return "by another program" if error.errno == errno.EADDRINUSE else str(error)
    return ""


# -- firewall ---------------------------------------------------------------------------------------------------------


def firewall_state(platform: str) -> str:
    """Return what the system says of its firewall, as text; empty where it cannot be asked."""
    if platform == "win32":
        return _output("netsh", "advfirewall", "show", "currentprofile")
    if platform == "darwin":
        return _output("/usr/libexec/ApplicationFirewall/socketfilterfw", "--getglobalstate")
    try:
        told = Path("/etc/ufw/ufw.conf").read_text(encoding="utf-8", errors="replace")
    except OSError:
        told = ""
    return f"{told}\nfirewalld: {_output('firewall-cmd', '--state')}"


def _output(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_COMMAND_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def check_firewall(platform: str, state: str) -> Finding:
    """Read what :func:`firewall_state` returned."""
    ports = f"TCP {DEFAULT_PORT}, UDP {DISCOVERY_PORT} (a server) and all UDP of this program (players)"
    said = state.lower()
    if platform == "win32":
        words = said.split()
        # Whole words, in English and German; in any other language it counts as not known.
        on = bool({"on", "ein"} & set(words))
        known = on or bool({"off", "aus"} & set(words))
    elif platform == "darwin":
        on, known = "enabled" in said, "abled" in said
    else:
        on = "enabled=yes" in said.replace(" ", "") or "firewalld: running" in said
        known = on  # others may be at work, which only an administrator can see
    if on:
        fix = f"{firewall_fix(platform, ports)}; try it with tandem doctor --peer"
        return warning("firewall", "a firewall is on: it may keep the others out", fix)
    if known:
        return good("firewall", "off, as far as the system says")
    return note("firewall", "cannot be asked here; tandem doctor --peer shows what gets through")


# -- UDP --------------------------------------------------------------------------------------------------------------


def check_udp(interfaces: Sequence[Interface]) -> list[Finding]:
    found = []
    addresses = ["127.0.0.1", *[each for each in usable_addresses(interfaces) if ":" not in each]]
    deaf = [each for each in addresses if not _hears_itself(each)]
    if deaf:
        fix = f"allow Python in the firewall: {firewall_fix(sys.platform, 'all UDP of this program')}"
        found.append(problem("UDP", f"datagrams from this computer to itself are lost at {', '.join(deaf)}", fix))
    else:
        found.append(good("UDP", f"datagrams arrive at {', '.join(addresses)}"))
    refused: list[str] = []
    sent: list[str] = []
    for interface in interfaces:
        for own, broadcast in interface.broadcasts():
            if interface.loopback:
                continue
            reason = _broadcast(own, broadcast)
            (refused if reason else sent).append(f"{broadcast} ({reason})" if reason else broadcast)
    if refused:
        fix = "a firewall or a VPN forbids it; join codes and URLs work without"
        found.append(warning("broadcast", f"cannot be sent to {', '.join(refused)}", fix))
    elif sent:
        found.append(good("broadcast", f"leaves to {', '.join(sent)}"))
    return found


def _hears_itself(address: str) -> bool:
    token = secrets.token_bytes(16)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth,
    ):
        ear.settimeout(0.5)
        try:
            ear.bind((address, 0))
            for _ in range(3):
                mouth.sendto(token, ear.getsockname())
            return ear.recvfrom(64)[0] == token
        except OSError:
            return False


def _broadcast(own: str, broadcast: str) -> str:
    """Send one datagram to everyone's port 9, which throws it away; return why it could not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        try:
            mouth.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            mouth.bind((own, 0))
            mouth.sendto(b"tandem doctor", (broadcast, 9))
        except OSError as error:
            return error.strerror or str(error)
    return ""


# -- mDNS -------------------------------------------------------------------------------------------------------------


async def check_mdns(interfaces: Sequence[Interface]) -> Finding:
    """Announce a service, and look it up from a second responder on the same machine."""
    topic, fix = "mDNS", "let UDP 5353 through the firewall; a server is found in the other ways meanwhile"
    try:
        from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf
    except ImportError:
        return warning(topic, "not tried: zeroconf is not installed", "pip install zeroconf")
    choices = multicast_choices(interfaces)
    if not choices:
        return warning(topic, "there is no network to use it on", "plug a cable in or switch Wi-Fi on")
    name = f"{secrets.token_hex(8)}.{_SERVICE}"
    open_: list[Any] = []
    try:
        for _ in range(2):
            open_.append(AsyncZeroconf(interfaces=choices[-1]))
        info = AsyncServiceInfo(_SERVICE, name, port=9, parsed_addresses=[choices[-1][0]], server=f"{name[:16]}.local.")
        await open_[0].async_register_service(info, cooperating_responders=True)
        heard = await AsyncServiceInfo(_SERVICE, name).async_request(open_[1].zeroconf, 2000)
        await (await open_[0].async_unregister_service(info))
    except Exception as error:  # noqa: BLE001 - whatever the library meets on this machine is the finding
        return warning(topic, f"cannot be used: {error or type(error).__name__}", fix)
    finally:
        for each in open_:
            await each.async_close()
    return good(topic, "works on this computer") if heard else warning(topic, "nothing is heard of it", fix)


# -- servers ----------------------------------------------------------------------------------------------------------


async def search(interface: str | None) -> tuple[Choice, dict[str, str]]:
    """Look for servers for a while; return what was found, and which ways do not work."""
    async with Finder(Wanted(interface=interface)) as finder:
        await asyncio.sleep(SEARCH_S)
        finder.check()
        return finder.choose(), dict(finder.notes)


def check_servers(choice: Choice, notes: dict[str, str]) -> list[Finding]:
    found = []
    answering = [*([choice.found] if choice.found else []), *choice.several]
    if answering:
        ways = sorted({way for each in answering for way in each.ways})
        found.append(good("servers", f"found by {', '.join(ways)}: {'; '.join(describe(answering))}"))
    if choice.old:
        fix = "upgrade the older one: both must be of one version"
        found.append(warning("servers", f"of another version: {'; '.join(describe(choice.old))}", fix))
    if choice.silent:
        fix = f"let TCP in at the firewall of that computer: {firewall_fix(sys.platform, f'TCP {DEFAULT_PORT}')}"
        found.append(problem("servers", f"seen, but not reached: {'; '.join(describe(choice.silent))}", fix))
    if not found:
        found.append(note("servers", "none is on this network at the moment"))
    found += [note("search", text) for way, text in sorted(notes.items()) if way == "version"]
    return found
