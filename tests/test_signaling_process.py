"""Server and clients as processes of their own, stopped by signals and killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter

import pytest
from signaling_rig import callers, running_server

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import Closing, Join, Matched, PeerGone
from signaling.identity import make_link
from signaling.sockets import Keepalive
from signaling.store.folder import LINK_SECRET, secret_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

SERVER = """
from p2pclient.common.lobby_messages import MatchSettings
from signaling.server import run
run("127.0.0.1", 0, MatchSettings(env="cogrid:Test"), on_listening=lambda at: print(at.urls[0], flush=True))
print("ended well", flush=True)
"""

CLIENT = """
import asyncio, sys
from p2pclient.common.lobby_messages import Join, Matched
from p2pclient.runtime.signaling_client import SignalingClient

async def main():
    changed = asyncio.Event()
    client = SignalingClient(wakeup=changed.set)
    await client.connect(sys.argv[1])
    await client.join(Join(label="process"))
    while not any(isinstance(each, Matched) for each in client.take_messages()):
        await changed.wait()
        changed.clear()
    print("matched", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def python(program: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        *arguments,
        stdout=pipe,
        stderr=pipe,
        env=environment,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()


@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_server_process_tells_its_clients_and_ends_by_signal(number: int) -> None:
    async with python(SERVER) as server:
        url = await line(server)
        async with callers(url, 1) as (a,):
            await a.client.join(Join())
            began = perf_counter()
            server.send_signal(number)
            await a.next(Closing)
            out, err = await asyncio.wait_for(server.communicate(), 5)
            assert perf_counter() - began < 2.0
    assert out.decode().strip() == "ended well"
    assert err.decode() == ""
    assert server.returncode == 0


@pytest.mark.alone
async def test_killed_client_is_reported_at_once() -> None:
    async with running_server() as url, callers(url, 1) as (a,), python(CLIENT, url) as other:
        await a.client.join(Join())
        assert await line(other) == "matched"
        matched = await a.next(Matched)
        began = perf_counter()
        other.kill()
        gone = await a.next(PeerGone)
        assert perf_counter() - began < 1.0
        assert (gone.match_id, gone.why) == (matched.match_id, "disconnected")
        assert gone.client_id == matched.peers[0].client_id


@pytest.mark.alone
async def test_blocked_client_stays_and_silent_one_is_noticed() -> None:
    keepalive = Keepalive(interval_s=1, timeout_s=2)
    async with running_server(keepalive=keepalive) as url, callers(url, 1) as (a,), python(CLIENT, url) as other:
        await a.client.join(Join())
        assert await line(other) == "matched"
        other.send_signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            await a.next(PeerGone, within=1.5)
        other.send_signal(signal.SIGCONT)
        with pytest.raises(TimeoutError):
            await a.next(PeerGone, within=2.0)
        other.send_signal(signal.SIGSTOP)
        began = perf_counter()
        assert (await a.next(PeerGone)).why == "silent"
        assert perf_counter() - began < 1 + 2 + 0.5 + 0.5


KEEPING_SERVER = """
import sys
from pathlib import Path
from p2pclient.common.lobby_messages import MatchSettings
from signaling.server import run
settings = MatchSettings(env="cogrid:Test")
run("127.0.0.1", 0, settings, data=Path(sys.argv[1]), on_listening=lambda at: print(at.urls[0], flush=True))
"""


@pytest.mark.alone
async def test_link_for_one_use_stays_used_when_the_server_is_killed(tmp_path: Path) -> None:
    link = make_link(secret_of(tmp_path, LINK_SECRET), "P-01", entropy=random.SystemRandom(), single_use=True)
    async with python(KEEPING_SERVER, str(tmp_path)) as server, callers(await line(server), 1) as (a,):
        await a.client.join(Join(link=link))
        token = a.client.token
        server.kill()
        await server.wait()
    async with python(KEEPING_SERVER, str(tmp_path)) as server, callers(await line(server), 2) as (b, c):
        with pytest.raises(SignalingError, match="has been used already"):
            await b.client.join(Join(link=link))
        c.client.token = token
        await c.client.join(Join(link=link))
