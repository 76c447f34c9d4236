"""What it costs the server to relay: pairs of clients that send each other datagrams by way of it, 60 times a second.

The server is a process of its own, as ``tandem serve`` runs it; the clients are the program's own, all in this process,
which does most of the work. For each number of pairs: the server's processor time for each message that arrived, the
share that arrived, and how long they took over loopback, both clients' work included. The first row is the limit: the
same clients without a server, joined in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil

from benchmarks._table import format_table, summarize
from p2pclient.common.lobby_messages import Join, Matched
from p2pclient.common.path_messages import Relayed
from p2pclient.runtime.relay_carrier import ServerCarrier
from p2pclient.runtime.signaling_client import SignalingClient
from p2pclient.transport.base import PeerTransport
from p2pclient.transport.memory import memory_pair
from p2pclient.transport.relay import RelayTransport

RATE = 60.0
SIZE = 40
"""Bytes of a datagram in steady play, about."""

Pair = tuple[PeerTransport, PeerTransport]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one number of pairs cost."""

    pairs: int
    messages_per_s: float
    arrived: float
    server_us: float
    """Processor time of the server for each message."""
    server_core: float
    median_ms: float
    p99_ms: float


async def make_client(url: str) -> tuple[SignalingClient, asyncio.Future[Matched]]:
    """Return a client that has joined, and the match that it will be told."""
    matched: asyncio.Future[Matched] = asyncio.get_running_loop().create_future()

    def take() -> None:
        for message in client.take_messages():
            if isinstance(message, Matched) and not matched.done():
                matched.set_result(message)

    client = SignalingClient(wakeup=take)
    await client.connect(url)
    await client.join(Join())
    return client, matched


def relay_to(client: SignalingClient, peer: str) -> RelayTransport:
    """Return a transport by way of the server."""
    transport = RelayTransport(ServerCarrier(client, peer))
    client.on_path_message = lambda message: transport.receive(message.data) if isinstance(message, Relayed) else None
    return transport


async def exchange(pairs: list[Pair], seconds: float) -> tuple[int, list[float]]:
    """Let all send; return how many messages were sent, and how long each took that arrived."""
    took: list[float] = []

    def note(transport: PeerTransport) -> None:
        now = perf_counter()
        took.extend(now - float(data[:20]) for _, data in transport.take_received())

    ends = [each for pair in pairs for each in pair]
    for each in ends:
        each.wakeup = lambda each=each: note(each)  # type: ignore[misc]
    began = due = perf_counter()
    sent = 0
    while perf_counter() < began + seconds:
        for each in ends:
            each.send_datagram(f"{perf_counter():<20.9f}".encode().ljust(SIZE, b"."))
        sent += len(ends)
        due += 1 / RATE
        await asyncio.sleep(max(0.0, due - perf_counter()))
    await asyncio.sleep(0.5)
    return sent, took


async def measure(url: str, server: psutil.Process, pairs: int, seconds: float) -> Figures:
    """Relay between so many pairs."""
    clients: list[SignalingClient] = []
    made: list[tuple[RelayTransport, RelayTransport]] = []
    for _ in range(pairs):
        (a, of_a), (b, of_b) = await make_client(url), await make_client(url)
        clients += [a, b]
        made.append((relay_to(a, (await of_a).peers[0].client_id), relay_to(b, (await of_b).peers[0].client_id)))
    while any(each.is_calling for pair in made for each in pair):  # noqa: ASYNC110  a moment, once
        await asyncio.sleep(0.01)
    before = server.cpu_times()
    sent, took = await exchange(list(made), seconds)
    after = server.cpu_times()
    for each in [each for pair in made for each in pair]:
        await each.close()
    for client in clients:
        await client.close()
    busy = after.user + after.system - before.user - before.system
    return figures(pairs, sent, took, busy, seconds)


def figures(pairs: int, sent: int, took: list[float], busy: float, seconds: float) -> Figures:
    """Return the figures of one run."""
    times = summarize(took)
    share, each = len(took) / sent, 1e6 * busy / len(took)
    return Figures(pairs, sent / seconds, share, each, busy / seconds, times.median_ms, times.p99_ms)


async def run(url: str, server: psutil.Process, counts: list[int], seconds: float) -> list[Figures]:
    """Measure every number of pairs, after the limit."""
    sent, took = await exchange([memory_pair(asyncio.get_running_loop())], seconds)
    found = [figures(0, sent, took, 0.0, seconds)]
    await measure(url, server, 1, 1.0)  # what is loaded late is not counted
    for pairs in counts:
        found.append(await measure(url, server, pairs, seconds))
    return found


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as kept:
        serve = [sys.executable, "-P", "-m", "p2pclient.cli", "serve", "test:counter_v0", "--if-lost", "end"]
        serve += ["--host", "127.0.0.1", "--port", "0", "--hidden", "--child", "--data", kept, "--log-level", "warning"]
        server = subprocess.Popen(serve, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            url = next(line.split()[-1] for line in server.stdout if "tandem join" in line)
            found = asyncio.run(run(url, psutil.Process(server.pid), options.pairs, options.seconds))
        finally:
            server.kill()
            server.wait()
    if options.json:
        print(json.dumps([asdict(each) for each in found]))
        return 0
    head = ("pairs", "messages/s", "arrived", "server us each", "server's core", "median ms", "99th ms")
    print(format_table(head, [_row(each) for each in found]))
    return 0


def _row(found: Figures) -> tuple[str, ...]:
    server = (f"{found.server_us:.0f}", f"{100 * found.server_core:.1f} %") if found.pairs else ("", "")
    times = (f"{found.median_ms:.2f}", f"{found.p99_ms:.2f}")
    return (str(found.pairs or "limit"), f"{found.messages_per_s:.0f}", f"{100 * found.arrived:.1f} %", *server, *times)


if __name__ == "__main__":
    raise SystemExit(main())
