"""``tandem doctor --peer``: two machines try each other, in both directions. One listens, the other has its code.

They talk over one TCP connection, in lines of JSON, and send each other datagrams for three seconds; each then says
what it found (:mod:`p2pclient.cli.doctor_verdict`). A datagram counts only with the token that the connection carried,
and what is answered is no longer than what was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
import secrets
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import psutil

from p2pclient import __version__
from p2pclient.cli.doctor_findings import Finding, firewall_fix
from p2pclient.cli.doctor_machine import version_of
from p2pclient.cli.doctor_verdict import DOCTOR_VERSION, LARGE, PATHS, SMALL, Hello, Ready, Report, Timing, compare
from p2pclient.common.errors import ConfigurationError, TransportError
from p2pclient.common.join_code import encode_join_code
from p2pclient.common.lobby_messages import DEFAULT_PORT, LOBBY_PROTOCOL
from p2pclient.common.network_interfaces import choose_interfaces, interfaces_of, usable_addresses
from signaling.addresses import listen as listen_at

SEND_S = 3.0
RATE_HZ = 60.0
"""Of each kind of datagram, two sizes in turn: what a match sends, and a bit more."""
GRACE_S = 0.7
_WORD_S = 15.0
_CALL_S = 5.0
_MAX_LINE = 16 * 1024

_MAGIC = b"tdoc"
_FORM = struct.Struct("!4s8sBBHdd")
"""Magic, the receiver's token, kind, path, number, the asker's clock, the answerer's wall clock."""
_ASK, _ANSWER = 0, 1

M = TypeVar("M", Hello, Ready, Report)
Words = Callable[[str], None]


async def listen(interface: str | None, say: Words, *, seconds: float = SEND_S) -> list[Finding]:
    """Wait for one other machine and try it. Raises TransportError."""
    chosen = choose_interfaces(interfaces_of(psutil.net_if_addrs(), psutil.net_if_stats()), interface)
    arrived: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
        asyncio.get_running_loop().create_future()
    )

    def on_call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if arrived.done():
            writer.close()
        else:
            arrived.set_result((reader, writer))

    server = await _open_server(on_call)
    async with server:
        port = _port_of(server)
        codes = [encode_join_code(each, port) for each in usable_addresses(chosen)] or [
            encode_join_code("127.0.0.1", port)
        ]
        say("On the other computer, type:")
        for code in codes:
            say(f"    tandem doctor --peer {code}")
        reader, writer = await arrived
        say("The other computer is here; this takes five seconds.")
        return await _converse(reader, writer, caller=False, own_tcp=port, seconds=seconds)


async def call(urls: Sequence[str], say: Words, *, seconds: float = SEND_S) -> list[Finding]:
    """Try the machine that listens at the first of ``urls`` that answers.

    Raises:
        TransportError: none answers, the connection ended, or what answers is something else.
    """
    failures = []
    for url in urls:
        parts = urlsplit(url)
        try:
            async with asyncio.timeout(_CALL_S):
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=_MAX_LINE)
        except (OSError, TimeoutError, UnicodeError) as error:
            failures.append(f"{url.rpartition('//')[2]} ({error or 'no answer'})")
            continue
        async with await _open_server(lambda reader, writer: writer.close(), anywhere=True) as server:
            say("Connected; this takes five seconds.")
            return await _converse(reader, writer, caller=True, own_tcp=_port_of(server), seconds=seconds)
    fix = firewall_fix(sys.platform, f"TCP {DEFAULT_PORT}")
    raise TransportError(
        f"No computer answers at {', '.join(failures)}. Does tandem doctor --peer run there, is it on the same "
        f"network, and does its firewall let it be called? There: {fix}"
    )


def _port_of(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _open_server(on_call: Callable[..., Any], *, anywhere: bool = False) -> asyncio.Server:
    """Listen where a server would, so that its code is short and its firewall rule is tried; else anywhere."""
    places = [(host, port) for port in ((0,) if anywhere else (DEFAULT_PORT, 0)) for host in ("::", "0.0.0.0")]
    for host, port in places[:-1]:
        try:
            return await asyncio.start_server(on_call, sock=listen_at(host, port), limit=_MAX_LINE)
        except ConfigurationError:
            continue  # without IPv6, or with a server on this machine
    return await asyncio.start_server(on_call, sock=listen_at(*places[-1]), limit=_MAX_LINE)


# -- the conversation -------------------------------------------------------------------------------------------------


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, caller: bool, own_tcp: int, seconds: float
) -> list[Finding]:
    talk = _Talk(reader, writer)
    token = secrets.token_bytes(8)
    peer = _Peer.of(writer.get_extra_info("peername"))
    try:
        async with _open_line(peer.family, token) as sink, _open_line(peer.family, token) as pair:
            own = _hello(token.hex(), sink.port, pair.port, own_tcp)
            talk.say(own)
            other = await talk.hear(Hello)
            if other.name == own.name:
                other = msgspec.structs.replace(other, name="the other computer")
            # Before the other is told to begin: its first datagram may be faster than the next line here.
            sink.peer_token = pair.peer_token = bytes.fromhex(other.token)
            if other.doctor != DOCTOR_VERSION:
                raise TransportError("The programs are of different versions; upgrade the older one.")
            back = None if caller else await _can_call(peer, other.tcp)
            talk.say(Ready(connected_back=back))
            ready = await talk.hear(Ready)
            back = bool(ready.connected_back) if caller else bool(back)
            report, timing = await _exchange(peer, other, sink, pair, seconds)
            talk.say(report)
            theirs = await talk.hear(Report)
    finally:
        await talk.close()
    return compare(own, other, report, theirs, timing, back=back, caller=caller)


class _Talk:
    """Lines of JSON over one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def say(self, message: Hello | Ready | Report) -> None:
        self._writer.write(msgspec.json.encode(message) + b"\n")

    async def hear(self, kind: type[M]) -> M:
        try:
            async with asyncio.timeout(_WORD_S):
                line = await self._reader.readuntil(b"\n")
            return msgspec.json.decode(line, type=kind)
        except TimeoutError:
            raise TransportError("The other computer has stopped answering; try again.") from None
        except (asyncio.IncompleteReadError, OSError):
            raise TransportError("The other computer has ended the connection; try again.") from None
        except (asyncio.LimitOverrunError, msgspec.DecodeError, RecursionError, ValueError) as error:
            fix = "Is it tandem doctor --peer, of the same version?"
            raise TransportError(f"What answers there is not understood. {fix} ({str(error)[:200]})") from None

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def _hello(token: str, sink: int, pair: int, tcp: int) -> Hello:
    name = "".join(each for each in platform.node() if each.isprintable())[:64] or "the other computer"
    versions = {
        "Tandem": __version__,
        "Python": platform.python_version(),
        "numpy": version_of("numpy") or "none",
        "system": platform.system(),
        "machine": platform.machine(),
    }
    return Hello(
        name=name,
        system=sys.platform,
        versions={key: value[:64] for key, value in versions.items()},
        protocol=LOBBY_PROTOCOL,
        token=token,
        sink=sink,
        pair=pair,
        tcp=tcp,
    )


@dataclass(frozen=True, slots=True)
class _Peer:
    """The other machine's address, and the interface that leads to it if that is part of it."""

    host: str
    scope: int = 0

    @classmethod
    def of(cls, address: tuple[Any, ...]) -> _Peer:
        host = str(address[0]).split("%")[0].removeprefix("::ffff:")
        return cls(host, address[3] if len(address) == 4 and ":" in host else 0)

    @property
    def family(self) -> int:
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def at(self, port: int) -> tuple[Any, ...]:
        return (self.host, port, 0, self.scope) if self.family == socket.AF_INET6 else (self.host, port)


async def _can_call(peer: _Peer, port: int) -> bool:
    host = f"{peer.host}%{peer.scope}" if peer.scope else peer.host
    try:
        async with asyncio.timeout(_CALL_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


# -- datagrams --------------------------------------------------------------------------------------------------------


class _Line(asyncio.DatagramProtocol):
    """One socket: counts what is asked, answers it, and times the answers."""

    def __init__(self, token: bytes) -> None:
        self.received: Counter[str] = Counter()
        self.rtts_ms: list[float] = []
        self.offsets: list[tuple[float, float]] = []
        """``(round trip, the other clock minus ours)`` of each answer, seconds."""
        self.port = 0
        self.peer_token = b""
        """Set before anything is sent; until then, nothing is answered."""
        self.transport: Any = None
        self._token = token
        self._asked: dict[tuple[int, int], tuple[float, float]] = {}

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def ask(self, path: int, number: int, size: int, target: tuple[Any, ...]) -> None:
        now = time.perf_counter()
        self._asked[path, number] = now, time.time()
        self._send(_ASK, path, number, now, size, target)

    def _send(self, kind: int, path: int, number: int, stamp: float, size: int, target: Any) -> None:
        head = _FORM.pack(_MAGIC, self.peer_token, kind, path, number, stamp, time.time())
        self.transport.sendto(head.ljust(size, b"\0"), target)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if len(data) not in (SMALL, LARGE) or not self.peer_token:
            return
        magic, token, kind, path, number, stamp, wall = _FORM.unpack_from(data)
        if magic != _MAGIC or token != self._token or path >= len(PATHS):
            return
        if kind == _ASK:
            self.received[PATHS[path]] += 1
            self._send(_ANSWER, path, number, stamp, len(data), addr)
        elif (asked := self._asked.pop((path, number), None)) is not None and wall == wall:
            rtt = time.perf_counter() - asked[0]
            self.rtts_ms.append(rtt * 1e3)
            self.offsets.append((rtt, wall - (asked[1] + rtt / 2)))


@contextlib.asynccontextmanager
async def _open_line(family: int, token: bytes) -> AsyncIterator[_Line]:
    local = ("::" if family == socket.AF_INET6 else "0.0.0.0", 0)
    transport, line = await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Line(token), local_addr=local)
    try:
        yield line
    finally:
        transport.close()


async def _exchange(peer: _Peer, other: Hello, sink: _Line, pair: _Line, seconds: float) -> tuple[Report, Timing]:
    """Send and answer for a while; return what this side sent, received and timed."""
    sent: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    # What goes to the other's sink leaves from a socket of its own: the sink here must stay one that nobody opened.
    async with _open_line(peer.family, secrets.token_bytes(8)) as mouth:
        mouth.peer_token = bytes.fromhex(other.token)
        started = loop.time()
        for number in range(round(seconds * RATE_HZ)):
            for path, size, line, port in (
                (0, SMALL, mouth, other.sink),
                (1, LARGE, mouth, other.sink),
                (2, SMALL, pair, other.pair),
                (3, LARGE, pair, other.pair),
            ):
                if path % 2 == number % 2:
                    line.ask(path, number, size, peer.at(port))
                    sent[PATHS[path]] += 1
            await asyncio.sleep(max(0.0, started + (number + 1) / RATE_HZ - loop.time()))
        await asyncio.sleep(GRACE_S)
    offset = min(pair.offsets)[1] if pair.offsets else None
    received = sink.received + pair.received
    return Report(sent=dict(sent), received=dict(received)), Timing(tuple(pair.rtts_ms), offset)
