"""Two machines and a server on a LAN: three network namespaces, each at its own address."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from play_rig import BOT, ENV, assert_whole, in_play, join, tandem

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs network namespaces of Linux")


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


@contextlib.contextmanager
def lan() -> Iterator[tuple[str, str, str]]:
    """Make three namespaces on one bridge at 10.77.0.1 to 10.77.0.3; gives their names. Skips where that fails."""
    if shutil.which("ip") is None:
        pytest.skip("needs the command ip of iproute2")
    mark = f"td{os.getpid() % 100_000}"
    names = (f"{mark}s", f"{mark}a", f"{mark}b")
    hub = f"{mark}h"
    try:
        try:
            for name in (hub, *names):
                run("ip", "netns", "add", name)
            run("ip", "-n", hub, "link", "add", "lan", "type", "bridge")
            run("ip", "-n", hub, "link", "set", "lan", "up")
            for number, name in enumerate(names, 1):
                peer = ("peer", "name", "eth0", "netns", name)
                run("ip", "-n", hub, "link", "add", f"v{number}", "type", "veth", *peer)
                run("ip", "-n", hub, "link", "set", f"v{number}", "master", "lan", "up")
                run("ip", "-n", name, "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
                run("ip", "-n", name, "link", "set", "eth0", "up")
                run("ip", "-n", name, "link", "set", "lo", "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"needs network namespaces, veth and bridges: {error.stderr.strip()}")
        yield names
    finally:
        for name in (hub, *names):
            subprocess.run(("ip", "netns", "delete", name), capture_output=True, check=False)


def inside(name: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", name)


async def test_two_clients_and_a_server_on_three_machines_find_each_other_by_address(tmp_path: Path) -> None:
    serve = ["serve", ENV, "--if-lost", "end", "--rate", "60", "--seconds", "2", "--seed", "5"]
    with lan() as (s, a, b):
        async with tandem(*serve, out=tmp_path, prefix=inside(s)) as server:
            line = await server.until_line("tandem join")
            assert line.split()[-1] == "http://10.77.0.1:8765"
            async with (
                join("10.77.0.1", tmp_path / "a", prefix=inside(a)) as first,
                join("http://10.77.0.1:8765", tmp_path / "b", prefix=inside(b)) as second,
            ):
                await in_play(first, second)
                assert [await first.end(), await second.end()] == [0, 0]
    addresses = set()
    for client in (first, second):
        outcome = client.of("played")[0]["outcome"]
        assert outcome["connections"] == ["direct"]
        assert outcome["counters"]["verified_frames"] == 120
        (stats,) = outcome["transports"].values()
        addresses.add((stats["local_address"].rsplit(":", 1)[0], stats["remote_address"].rsplit(":", 1)[0]))
    assert addresses == {("10.77.0.2", "10.77.0.3"), ("10.77.0.3", "10.77.0.2")}
    (run_a,), (run_b,) = first.run_folders(), second.run_folders()
    assert_whole(run_a, least=120)
    async with tandem("verify", str(run_a), str(run_b), out=tmp_path) as verify:
        assert await verify.end() == 0
        assert "same: 120 frames" in verify.lines[0]


async def test_match_outlives_an_outage_and_a_change_of_address(tmp_path: Path) -> None:
    serve = ["serve", ENV, "--if-lost", "end@90", "--rate", "60", "--seconds", "5", "--seed", "5"]
    with lan() as (s, a, b):
        async with tandem(*serve, out=tmp_path, prefix=inside(s)) as server:
            await server.until_line("tandem join")
            async with (
                join("10.77.0.1", tmp_path / "a", prefix=inside(a)) as first,
                join("10.77.0.1", tmp_path / "b", prefix=inside(b)) as second,
            ):
                await in_play(first, second)
                cable = ("ip", "-n", f"{s[:-1]}h", "link", "set", "v3")
                run(*cable, "nomaster")
                await first.until("silence", level="notice")
                run(*cable, "master", "lan")
                await first.until("silence", level="heard")
                run("ip", "-n", b, "address", "delete", "10.77.0.3/24", "dev", "eth0")
                run("ip", "-n", b, "address", "add", "10.77.0.33/24", "dev", "eth0")
                await first.until("connection", within=60)
                assert [await first.end(60), await second.end(60)] == [0, 0]
    ways = {}
    for client in (first, second):
        outcome = client.of("played")[0]["outcome"]
        assert (outcome["reason"], outcome["counters"]["verified_frames"]) == ("finished", 300)
        addresses = [(p["local_address"], p["remote_address"]) for p in outcome["paths"]]
        ways[client] = [tuple(each.rsplit(":", 1)[0] for each in pair) for pair in addresses]
    assert ways[first][0] == ("10.77.0.2", "10.77.0.3")
    assert ways[first][-1] == ("10.77.0.2", "10.77.0.33")
    assert ways[second][-1] == ("10.77.0.33", "10.77.0.2")
    (run_a,), (run_b,) = first.run_folders(), second.run_folders()
    async with tandem("verify", str(run_a), str(run_b), out=tmp_path) as verify:
        assert await verify.end() == 0
        assert "same: 300 frames" in verify.lines[0]


async def test_demo_needs_no_network_but_the_loopback_interface(tmp_path: Path) -> None:
    unshare = ("unshare", "--map-root-user", "--user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("needs the commands unshare of util-linux and ip of iproute2")
    probe = await asyncio.create_subprocess_exec(*unshare, "true", stderr=asyncio.subprocess.PIPE)
    _, why = await probe.communicate()
    if probe.returncode:
        pytest.skip(f"needs the right to make network namespaces: {why.decode().strip()}")
    arguments = ["demo", ENV, "--bot", BOT, "--rate", "60", "--seconds", "1", "--headless", "--json"]
    async with tandem(*arguments, "--out", str(tmp_path), out=tmp_path, prefix=unshare) as demo:
        assert await demo.end() == 0, demo.errors
        assert '"loopback"' in "".join(demo.lines)
