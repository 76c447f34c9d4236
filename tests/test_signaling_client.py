"""The signaling client against servers that are away, come back, or are something else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from typing import Any

import pytest
from signaling_rig import Caller, callers, running_server

from p2pclient.common.errors import ConfigurationError, LocalMisuseError, SignalingError
from p2pclient.common.lobby_messages import Join, Matched, MatchResult, Waiting
from p2pclient.runtime.signaling_client import Place, SignalingClient, parse_server_url


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("http://10.0.0.5:9000", "http://10.0.0.5:9000"),
        (" lab-server ", "http://lab-server:8765"),
        ("lab-server:80", "http://lab-server:80"),
        ("192.168.1.20", "http://192.168.1.20:8765"),
        ("http://lab/", "http://lab:8765"),
        ("[fd00::1]", "http://[fd00::1]:8765"),
        ("http://[::1]:99", "http://[::1]:99"),
        ("https://study.example.org", "https://study.example.org:443"),
        ("ws://lab:1", "http://lab:1"),
    ],
)
def test_addresses_as_people_type_them(typed: str, url: str) -> None:
    assert parse_server_url(typed) == url


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "http://",
        "ftp://lab",
        "lab:port",
        "lab:99999",
        "lab:0",
        "fd00::1",
        "http://a@lab",
        "lab/x",
        "a b",
        "lab?x=1",
    ],
)
def test_other_text_is_refused_with_examples(typed: str) -> None:
    with pytest.raises(ConfigurationError, match=r"server URL is .*192"):
        parse_server_url(typed)


async def free_port() -> int:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()
    return port


async def connect_error(url: str) -> SignalingError:
    client = SignalingClient()
    with pytest.raises(SignalingError) as caught:
        await client.connect(url)
    await client.close()
    return caught.value


async def test_unreachable_server_says_what_to_check() -> None:
    error = await connect_error(f"127.0.0.1:{await free_port()}")
    assert error.code == "unreachable"
    assert "tandem serve" in str(error)
    assert (await connect_error("no-such-host.invalid")).code == "unknown-host"


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b""]
)
async def test_other_servers_are_recognised(answer: bytes) -> None:
    asking: list[asyncio.Task[Any] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asking.append(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError):  # it is also asked whether it wants HTTPS
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        error = await connect_error(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert error.code == "not-a-server"
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.wait([each for each in asking if each is not None])


async def test_refusals_are_errors_with_the_servers_sentence() -> None:
    async with running_server() as url, callers(url, 1) as (a,):
        with pytest.raises(SignalingError, match="Upgrade the server") as caught:
            await a.client.join(Join(protocol=99))
        assert caught.value.code == "protocol-version"
        assert a.client.place is Place.IDLE
        with pytest.raises(LocalMisuseError):
            await a.client.connect(url)


async def test_waiting_client_takes_its_place_again_when_the_server_is_back() -> None:
    port = await free_port()
    caller = Caller()
    try:
        async with running_server(port=port) as url:
            await caller.client.connect(url)
            await caller.client.join(Join())
            await caller.next(Waiting)
        await caller.until(lambda: not caller.client.connected)
        with pytest.raises(SignalingError, match="no connection"):
            await caller.client.join(Join())
        async with running_server(port=port) as url, callers(url, 1) as (other,):
            await caller.next(Waiting)
            await other.client.join(Join())
            await caller.next(Matched)
    finally:
        await caller.client.close()


async def test_match_survives_the_server_and_the_client_may_join_again() -> None:
    port = await free_port()
    a, b = Caller(), Caller()
    try:
        async with running_server(port=port, seed=1) as url:
            for each in (a, b):
                await each.client.connect(url)
                await each.client.join(Join())
            first = await a.next(Matched)
        await a.until(lambda: not a.client.connected)
        assert a.client.place is Place.MATCHED
        await b.until(lambda: not b.client.connected)
        await b.client.finished(MatchResult(reason="complete"))  # nobody there to be told
        async with running_server(port=port, seed=2):
            for each in (a, b):
                await each.until(lambda each=each: each.client.connected)  # type: ignore[misc]
            assert a.client.place is Place.MATCHED
            await a.client.finished(MatchResult(reason="complete"))
            for each in (a, b):
                each.messages.clear()
                await each.client.join(Join())
            assert (await a.next(Matched)).match_id != first.match_id
    finally:
        await a.client.close()
        await b.client.close()


def test_importing_the_client_does_not_load_socketio() -> None:
    # Loading it takes a tenth of a second, which connect() spends in a thread.
    code = (
        "import sys, p2pclient.runtime.signaling_client; sys.exit(not {'socketio', 'aiohttp'}.isdisjoint(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


async def test_closing_twice_and_unused_is_harmless() -> None:
    client = SignalingClient()
    await client.leave()
    await client.finished(MatchResult(reason="none"))
    await client.close()
    async with running_server() as url, callers(url, 1) as (a,):
        await a.client.close()
        await a.client.close()
        assert not a.client.connected
