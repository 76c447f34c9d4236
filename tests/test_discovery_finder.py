"""A real server and a real search in one loop, over loopback; machines apart are in ``test_lan_namespaces.py``."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from ipaddress import ip_interface
from typing import Any

import aiohttp
import pytest
from signaling_rig import SETTINGS

from p2pclient.common.discovery_messages import (
    FACTS_PATH,
    decode_answer,
    decode_query,
    encode_answer,
    encode_query,
    facts_of,
)
from p2pclient.common.errors import ConfigurationError
from p2pclient.common.join_code import decode_join_code
from p2pclient.common.network_interfaces import Interface
from p2pclient.discovery.finder import Finder
from p2pclient.discovery.findings import Choice, Wanted
from signaling.announce import Announcement, Announcer, make_facts
from signaling.server import Listening, serve

HERE = "127.0.0.1"


@pytest.fixture
def port() -> int:
    """A UDP port. Those who answer share it, so that it may be taken meanwhile."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HERE, 0))
        number: int = probe.getsockname()[1]
        return number


@contextlib.asynccontextmanager
async def announced(room: str, port: int, *, on_lan: bool = True) -> AsyncIterator[Listening]:
    listening: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    announcement = Announcement(room, port=port, mdns=False, on_lan=on_lan)
    task = asyncio.create_task(
        serve(HERE, 0, SETTINGS, announcement=announcement, stop=stop, on_listening=listening.set_result)
    )
    await asyncio.wait([task, listening], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield listening.result()
    finally:
        stop.set()
        await task


async def choice_of(finder: Finder, *, until: str) -> Choice:
    """Return the first choice in which the field ``until`` is not empty."""
    async with asyncio.timeout(20):
        while not getattr(finder.choose(), until):
            finder.check()
            await asyncio.sleep(0.02)
    return finder.choose()


async def test_server_is_found_by_its_answer_to_everyone(port: int) -> None:
    async with announced("Lab 2", port) as server, Finder(Wanted(interface=HERE), port=port, mdns=False) as finder:
        found = (await choice_of(finder, until="found")).found
        assert found is not None
        assert (found.url, found.room, found.ways) == (f"http://{HERE}:{server.port}", "Lab 2", ("broadcast",))


async def test_server_that_starts_after_the_search_is_found(port: int) -> None:
    async with Finder(Wanted(interface=HERE), port=port, mdns=False) as finder:
        assert finder.choose() == Choice()
        async with announced("Late", port):
            assert (await choice_of(finder, until="found")).found is not None


async def test_server_is_found_by_its_address_alone_and_says_its_room(port: int) -> None:
    async with announced("Quiet", port, on_lan=False) as server:
        address, number = decode_join_code(server.codes[0])
        wanted = Wanted(urls=("http://127.0.0.1:9", f"http://{address}:{number}"), on_lan=False)
        async with Finder(wanted, port=port) as finder:
            found = (await choice_of(finder, until="found")).found
            assert found is not None
            assert (found.room, found.ways) == ("Quiet", ("named",))


async def test_two_rooms_of_one_machine_are_told_apart(port: int) -> None:
    async with announced("Lab 1", port), announced("Lab 2", port) as second:
        # Both hear a broadcast; not every system has one on loopback, so each is also looked for by name.
        urls = (f"http://{HERE}:{second.port}",)
        async with Finder(Wanted(urls=urls, room="lab 2", interface=HERE), port=port, mdns=False) as finder:
            found = (await choice_of(finder, until="found")).found
            assert found is not None
            assert found.room == "Lab 2"


async def test_server_shows_its_code_and_its_facts(port: int) -> None:
    async with announced("Lab 2", port) as server, aiohttp.ClientSession() as session:
        url = f"http://{HERE}:{server.port}"
        async with session.get(url) as page:
            text = await page.text()
        assert f"tandem join {server.codes[0]}" in text
        assert decode_join_code(server.codes[0]) == (HERE, server.port)
        async with session.get(url + FACTS_PATH) as answer:
            facts = facts_of(await answer.json())
        assert (facts.room, facts.port, facts.addresses) == ("Lab 2", server.port, (HERE,))


async def test_room_name_that_cannot_be_one_is_refused_before_anything_listens(port: int) -> None:
    with pytest.raises(ConfigurationError, match="room"):
        async with announced("x" * 50, port):
            pass


async def test_search_on_an_interface_that_is_not_there_waits_for_it_and_says_which_there_are() -> None:
    async with Finder(Wanted(interface="wlan77")) as finder:
        await asyncio.sleep(0)
        finder.check()
        assert "interface is 'wlan77'" in finder.notes["interface"]
        assert HERE in finder.notes["interface"]


def interface(name: str, address: str) -> Interface:
    return Interface(name, (ip_interface(address),))


async def test_cable_that_is_plugged_in_later_is_announced() -> None:
    there = [Interface("lo", (ip_interface("127.0.0.1/8"),), loopback=True)]
    announcement = Announcement("Lab", mdns=False)
    facts = make_facts(announcement, 8765, version="1")
    announcer = Announcer(announcement, facts, host="0.0.0.0", read_interfaces=lambda: tuple(there))
    assert announcer.facts.addresses == ("127.0.0.1",)
    there.append(interface("eth0", "10.0.0.5/24"))
    await announcer.follow()
    assert announcer.current().addresses == ("10.0.0.5",)
    assert announcer.current().server_id == facts.server_id
    there[1] = interface("eth0", "192.168.7.5/24")
    await announcer.follow()
    assert announcer.current().addresses == ("192.168.7.5",)


def test_only_the_interface_that_was_chosen_is_announced() -> None:
    there = (interface("eth0", "10.0.0.5/24"), interface("eth1", "10.1.0.5/24"))
    announcement = Announcement("Lab", interface="eth1")
    facts = make_facts(announcement, 8765, version="1")
    announcer = Announcer(announcement, facts, host="0.0.0.0", read_interfaces=lambda: there)
    assert announcer.facts.addresses == ("10.1.0.5",)
    other = Announcer(Announcement("Lab"), facts, host="10.0.0.5", read_interfaces=lambda: there)
    assert other.facts.addresses == ("10.0.0.5",)
    loopback = (Interface("lo", (ip_interface("127.0.0.1/8"),), loopback=True),)
    unusual = Announcer(Announcement("Lab"), facts, host="127.0.0.2", read_interfaces=lambda: loopback)
    assert unusual.facts.addresses == ("127.0.0.2",)


async def test_without_zeroconf_the_search_says_so_and_goes_on(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    monkeypatch.setitem(sys.modules, "zeroconf.asyncio", None)
    async with announced("Lab 2", port), Finder(Wanted(interface=HERE), port=port) as finder:
        assert (await choice_of(finder, until="found")).found is not None
        assert "zeroconf is not installed" in finder.notes["mdns"]


async def test_without_zeroconf_the_server_says_so_and_is_found_by_broadcast(
    port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    monkeypatch.setitem(sys.modules, "zeroconf.asyncio", None)
    announcement = Announcement("Lab", port=port)
    facts = make_facts(announcement, 8765, version="1")
    there = (Interface("lo", (ip_interface("127.0.0.1/8"),)),)
    announcer = Announcer(announcement, facts, host="0.0.0.0", read_interfaces=lambda: there)
    running = asyncio.create_task(announcer.run())
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.setblocking(False)
            loop = asyncio.get_running_loop()
            answer = b""
            async with asyncio.timeout(20):
                while not answer:
                    asking.sendto(encode_query(b"12345678"), (HERE, port))
                    with contextlib.suppress(TimeoutError):
                        answer = await asyncio.wait_for(loop.sock_recv(asking, 2000), 0.3)
        assert decode_answer(answer).facts.server_id == facts.server_id
        assert "zeroconf is not installed" in caplog.text
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_answers_to_nobodys_question_and_false_identities_are_not_believed(port: int) -> None:
    async with announced("Real", port, on_lan=False) as server:
        announcement = Announcement("Nobody", port=port)
        nobody = make_facts(announcement, server.port, version="1")
        impostor = make_facts(Announcement("Impostor", port=port), server.port, version="1")

        class Hostile(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, addr: Any) -> None:
                nonce = decode_query(data).nonce
                for answer in (
                    encode_answer(bytes(8), nobody),
                    b"tandem\x02\x02" + bytes(30),
                    b"noise",
                    encode_answer(nonce, impostor),
                ):
                    self.transport.sendto(answer, addr)

        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Hostile, local_addr=(HERE, port))
        try:
            async with Finder(Wanted(interface=HERE), port=port, mdns=False) as finder:
                choice = await choice_of(finder, until="silent")
                assert [each.room for each in choice.silent] == ["Impostor"]
                assert choice.found is None
                assert "another version" in finder.notes["version"]
        finally:
            transport.close()
