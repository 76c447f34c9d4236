from __future__ import annotations

from ipaddress import ip_interface
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.network_interfaces import (
    Interface,
    choose_interfaces,
    interfaces_of,
    multicast_choices,
    shares_network,
    usable_addresses,
)


def interface(name: str, *addresses: str, loopback: bool = False) -> Interface:
    return Interface(name, tuple(ip_interface(each) for each in addresses), loopback)


LO = interface("lo", "127.0.0.1/8", "::1/128", loopback=True)
ETH = interface("eth0", "192.168.1.20/24", "fe80::1/64", "fd00::2/64")
VPN = interface("tun0", "10.8.0.2/24")
CABLE = interface("eth1", "169.254.3.4/16", "fe80::2/64")


def entry(address: str, netmask: str | None = None) -> Any:
    return SimpleNamespace(address=address, netmask=netmask)


def test_what_the_system_says_becomes_interfaces_that_are_up() -> None:
    addresses = {
        "lo": [entry("127.0.0.1", "255.0.0.0"), entry("::1", "ffff:" * 7 + "ffff")],
        "eth0": [
            entry("192.168.1.20", "255.255.255.0"),
            entry("fe80::1%eth0", "ffff:ffff:ffff:ffff::"),
            entry("fd00::2"),
            entry("02:fc:00:00:00:01"),
        ],
        "off": [entry("10.0.0.1", "255.0.0.0")],
        "bare": [entry("00-11-22-33-44-55")],
        "unknown": [entry("10.0.0.2")],
    }
    stats = {name: SimpleNamespace(isup=name != "off") for name in addresses if name != "unknown"}
    assert interfaces_of(addresses, stats) == (LO, ETH)


def test_this_machine_has_a_loopback_interface() -> None:
    found = interfaces_of(psutil.net_if_addrs(), psutil.net_if_stats())
    assert any(each.loopback and shares_network([each], "127.0.0.1") for each in found)


def test_addresses_that_others_can_use_come_first() -> None:
    assert usable_addresses([VPN, CABLE, LO, ETH]) == ["192.168.1.20", "10.8.0.2", "169.254.3.4", "fd00::2"]
    assert usable_addresses([LO]) == []


def test_interface_is_chosen_by_name_or_address() -> None:
    assert choose_interfaces([LO, ETH], None) == (LO, ETH)
    assert choose_interfaces([LO, ETH], "eth0") == choose_interfaces([LO, ETH], "192.168.1.20") == (ETH,)
    with pytest.raises(ConfigurationError, match=r"interface is 'eth7'.*eth0 \(192\.168\.1\.20"):
        choose_interfaces([LO, ETH], "eth7")


def test_who_shares_a_network_is_told_from_who_does_not() -> None:
    assert shares_network([ETH], "192.168.1.99")
    assert shares_network([ETH], "fd00::99")
    assert shares_network([ETH], "fe80::77%eth0")
    assert not shares_network([ETH], "fe80::77%eth1")
    assert not shares_network([ETH], "192.168.2.99")
    assert not shares_network([ETH], "nonsense")


def test_broadcast_goes_to_each_network_that_has_one() -> None:
    point_to_point = interface("ppp0", "10.9.9.1/32")
    assert ETH.broadcasts() == (("192.168.1.20", "192.168.1.255"),)
    assert point_to_point.broadcasts() == ()
    assert point_to_point.tunnel
    assert not ETH.tunnel


def test_mdns_speaks_on_every_interface_and_falls_back_to_ipv4() -> None:
    assert multicast_choices([LO, ETH]) == (["127.0.0.1", "192.168.1.20", "fe80::1"], ["127.0.0.1", "192.168.1.20"])
    assert multicast_choices([VPN]) == (["10.8.0.2"],)
    assert multicast_choices([]) == ()
