"""Two machines that are one network namespace each, at a switch that is a third, with no default route.

Needs Linux, iproute2 and the right to make namespaces; elsewhere it says so and is skipped.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from p2pclient.common.join_code import decode_join_code

ROOT = Path(__file__).resolve().parent.parent
SEARCH = """
import asyncio, json, sys
from p2pclient.discovery.finder import Finder
from p2pclient.discovery.findings import Wanted

async def search(port, mdns, seconds, urls, way):
    async with Finder(Wanted(urls=urls, on_lan=not urls), port=port, mdns=mdns) as finder:
        try:
            async with asyncio.timeout(seconds):
                while finder.choose().found is None or way not in finder.choose().found.ways:
                    finder.check()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return None
        found = finder.choose().found
        return [found.url, found.room, list(found.ways)]

nowhere = 9
for asked in json.loads(sys.argv[1]):
    port = 8766 if "broadcast" in asked["ways"] else nowhere
    urls, way = tuple(asked.get("urls", ())), (asked["ways"] or ["named"])[0]
    print(json.dumps(asyncio.run(search(port, "mdns" in asked["ways"], asked["seconds"], urls, way))))
"""


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20).stdout


@dataclass(frozen=True)
class Lan:
    """Names of three namespaces; the server is 10.77.0.1, the client 10.77.0.2."""

    server: str
    client: str
    switch: str

    def cable(self, number: int, machine: str) -> None:
        ip("-n", self.switch, "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", machine)
        ip("-n", self.switch, "link", "set", f"port{number}", "master", "bridge", "up")
        ip("-n", machine, "addr", "add", f"10.77.0.{number}/24", "brd", "+", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", machine, "link", "set", device, "up")

    def block_what_is_for_everyone(self) -> None:
        """Let the switch carry nothing but what is for one machine, like many a guest Wi-Fi."""
        for number, machine, other in ((1, self.server, self.client), (2, self.client, self.server)):
            hardware = json.loads(ip("-n", other, "-j", "link", "show", "eth0"))[0]["address"]
            # Who has an address is asked by broadcast, too.
            ip("-n", machine, "neigh", "replace", f"10.77.0.{3 - number}", "lladdr", hardware, "dev", "eth0")
            port = ("link", "set", f"port{number}", "type", "bridge_slave")
            ip("-n", self.switch, *port, "mcast_flood", "off", "bcast_flood", "off")


@pytest.fixture
def lan() -> Iterator[Lan]:
    if shutil.which("ip") is None:
        pytest.skip("there is no ip command to make network namespaces with")
    found = Lan(*(f"tandem-{os.getpid()}-{each}" for each in ("server", "client", "switch")))
    made = []
    try:
        for each in (found.server, found.client, found.switch):
            try:
                ip("netns", "add", each)
                made.append(each)
                if each == found.switch:
                    ip("-n", each, "link", "add", "bridge", "type", "bridge", "mcast_snooping", "0")
            except subprocess.CalledProcessError as error:
                pytest.skip(f"network namespaces with a bridge cannot be made here: {error.stderr.strip()}")
        ip("-n", found.switch, "link", "set", "bridge", "up")
        found.cable(1, found.server)
        found.cable(2, found.client)
        yield found
    finally:
        for each in made:
            ip("netns", "del", each)


def command(namespace: str, *words: str) -> list[str]:
    return ["ip", "netns", "exec", namespace, sys.executable, "-P", *words]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def serving(namespace: str) -> Iterator[str]:
    """Run a server; gives the join code that it prints."""
    words = command(namespace, "-u", "-m", "p2pclient.cli", "serve", "--if-lost", "end", "--room", "Lab 2", "--child")
    with subprocess.Popen(
        words, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        code, said = "", []
        for line in process.stdout:
            said.append(line)
            if "join code:" in line:
                code = line.split()[-1]
            if line.startswith("Ctrl-C"):
                break
        assert code, said
        try:
            yield code
        finally:
            process.stdin.close()
            process.wait(timeout=30)


def search(namespace: str, *asked: dict[str, object]) -> list[Any]:
    done = subprocess.run(
        command(namespace, "-c", SEARCH, json.dumps(asked)),
        env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_server_is_found_by_broadcast_and_by_mdns_and_by_code_where_both_are_blocked(lan: Lan) -> None:
    url = "http://10.77.0.1:8765"
    with serving(lan.server) as code:
        by_broadcast, by_mdns = search(
            lan.client, {"ways": ["broadcast"], "seconds": 40}, {"ways": ["mdns"], "seconds": 40}
        )
        assert by_mdns == [url, "Lab 2", ["mdns"]]
        assert by_broadcast is not None
        assert by_broadcast[:2] == [url, "Lab 2"]
        assert "broadcast" in by_broadcast[2]
        lan.block_what_is_for_everyone()
        address, port = decode_join_code(code)
        by_anything, by_code = search(
            lan.client,
            {"ways": ["broadcast", "mdns"], "seconds": 1.5},
            {"ways": [], "seconds": 40, "urls": [f"http://{address}:{port}"]},
        )
        assert by_anything is None
        assert by_code == [url, "Lab 2", ["named"]]
