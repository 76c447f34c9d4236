"""Noticing that this computer has other network addresses."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest

from p2pclient.runtime import addresses
from p2pclient.runtime.addresses import AddressWatch, local_addresses


async def test_a_change_is_told_once_and_what_was_there_at_first_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "LOOK_EVERY", 0.001)
    looks = [{"10.0.0.1"}, {"10.0.0.1"}, OSError("an interface vanished"), {"10.0.0.1"}, {"10.0.0.2"}, {"10.0.0.2"}]
    told: list[frozenset[str]] = []
    seen = asyncio.Event()
    loop = asyncio.get_running_loop()

    def look() -> frozenset[str]:
        if not looks:
            loop.call_soon_threadsafe(seen.set)
            return frozenset({"10.0.0.2"})
        found = looks.pop(0)
        if isinstance(found, OSError):
            raise found
        return frozenset(found)

    watch = AddressWatch(told.append, look=look)
    async with asyncio.timeout(10):
        await seen.wait()
    await watch.close()
    await watch.close()
    assert told == [frozenset({"10.0.0.2"})]


def test_addresses_of_this_computer_can_be_compared_with_those_of_a_socket() -> None:
    found = local_addresses()
    assert "127.0.0.1" in found
    assert all(ipaddress.ip_address(each) for each in found)
    assert not any("%" in each for each in found)
