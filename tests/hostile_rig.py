"""Clients that do everything wrong, from one seed: what they send, and what they must never be sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from p2pclient.common.lobby_messages import LOBBY_PROTOCOL

SOCKET = "/socket.io/?EIO=4&transport=websocket"
GROUP = "they know it"
"""By which those who mean well find each other; nobody else says it."""

EVENTS = (
    "join", "watch", "signal", "leave", "finished", "ready", "confirm", "decline", "report", "done", "screened", "echo",
    "probe-signal", "probe-result", "ask-ice-servers", "relay",
)  # fmt: skip
ODD_EVENTS = ("", "welcome", "matched", "command", "disconnect", "connect", "*", "!oversized", "x" * 500, "__class__")
NASTY: tuple[Any, ...] = (
    None, True, -1, 0, 1 << 53, 1 << 63, 1 << 200, 1e308, -0.0, float("nan"), float("inf"), "", "\x00", "\ud800",
    "\u202e", "../../etc/passwd", "a/b", "<img src=x onerror=alert(1)>", "a\r\nX-Injected: 1", "{0.__class__}", "%s%n",
    "x" * 70, "x" * 40_000, [], {}, [[]], {"": {}}, {"__proto__": {}}, [0] * 3000, {"event": "matched"}, "\u0661",
    "0" * 64,
)  # fmt: skip


@dataclass
class Heard:
    """Everything that the hostile ones were sent or found out, and whom it concerns."""

    ids: set[str] = field(default_factory=set)
    """Of matches, proposals, participants and actions, their own and others': ids are no secrets."""
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=15))
    """The newest of them, which are more likely to matter."""
    tokens: set[str] = field(default_factory=set)
    recent_tokens: deque[str] = field(default_factory=lambda: deque(maxlen=5))
    frames: list[str] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    sent: int = 0

    def count(self, status: int) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def note(self, *ids: str) -> None:
        self.ids.update(ids)
        self.recent.extend(ids)

    def take(self, frame: str) -> None:
        """Keep a frame, and what can be used from it."""
        self.frames.append(frame)
        if frame[:2] not in ("42", "43"):
            return
        said = json.loads(frame[frame.index("[") :])
        for each in _leaves(said):
            for key in ("match_id", "proposal_id", "client_id", "action_id", "peer", "probe_id", "screening_id"):
                if isinstance(each.get(key), str):
                    self.note(each[key])
            if isinstance(each.get("token"), str):
                self.tokens.add(each["token"])
                self.recent_tokens.append(each["token"])


def _leaves(value: Any) -> list[dict[str, Any]]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [*([value] if isinstance(value, dict) else []), *(found for each in inner for found in _leaves(each))]


class Villain:
    """Thinks up messages, requests and connections."""

    def __init__(self, seed: int, url: str, heard: Heard) -> None:
        self.noise = random.Random(seed)
        self.url = url
        self.heard = heard

    # -- messages -----------------------------------------------------------------------------------------------------

    def an_id(self) -> str:
        if self.heard.recent and self.noise.random() < 0.7:
            return self.noise.choice(list(self.heard.recent))
        return self.noise.choice([*sorted(self.heard.ids), "c1-000000", "a1", "q1-0000"])

    def payload(self, event: str) -> Any:
        """Return what fits an event, at least by its form."""
        noise, some = self.noise, self.an_id
        health = {
            "phase": noise.choice(["connecting", "playing", "paused", "stalled", "between", "ended"]),
            "scores": [1e308, -5],
            "peers": [{"seats": [noise.randrange(8)], "rtt_ms": 4.0, "loss": 1.0, "frames_ahead": -3}],
        }
        join: dict[str, Any] = {
            "protocol": LOBBY_PROTOCOL,
            "label": noise.choice(["", "", "", "villain", f"v{noise.randrange(9)}"]),
            "ready": noise.random() < 0.8,
            "attributes": {"group": noise.choice(["a", "b", "", "__all__"])},
        }
        if noise.random() < 0.3 and self.heard.tokens:
            join["token"] = noise.choice([*self.heard.recent_tokens, *sorted(self.heard.tokens)[:5]])
        if noise.random() < 0.1:
            join["token"] = "f" * 48
        if noise.random() < 0.15:
            join["match_id"] = some()
        if noise.random() < 0.2:
            join["last_match"] = {"match_id": some(), "client_id": some()}
        return {
            "join": join,
            "watch": {"protocol": LOBBY_PROTOCOL, "match_id": noise.choice([None, some()])},
            "signal": {"match_id": some(), "peer": some(), "description": {"type": "offer", "sdp": "evil"}},
            "leave": {},
            "finished": {"match_id": some(), "result": {"reason": "complete", "frames": 9}},
            "ready": {},
            "confirm": {"proposal_id": some()},
            "decline": {"proposal_id": some()},
            "report": {"match_id": some(), "health": health},
            "screened": {"screening_id": some(), "facts": {}},
            "probe-signal": {"probe_id": some(), "description": {"type": "offer", "sdp": "evil"}},
            "probe-result": {"probe_id": some(), "rtt_ms": 0.1, "jitter_ms": 0.1, "loss": 0.0, "path": "direct"},
            "relay": {"match_id": some(), "peer": some(), "lane": "control", "data": "ZXZpbA=="},
            "ask-ice-servers": {"match_id": some()},
            "done": {"action_id": some(), "ok": noise.random() < 0.5, "message": "evil"},
        }.get(event, {})

    def twist(self, value: Any, depth: int = 0) -> Any:
        """Return the value with something in it replaced, left out, added, or wrapped up many times."""
        noise = self.noise
        if depth > 3 or not isinstance(value, dict) or not value or noise.random() < 0.2:
            bad = noise.choice(NASTY)
            for _ in range(noise.choice([0, 0, 0, 1, 20, 2000])):
                bad = [bad] if noise.random() < 0.9 else {"x": bad}
            return bad
        twisted = dict(value)
        key = noise.choice(sorted(twisted))
        match noise.randrange(4):
            case 0:
                del twisted[key]
            case 1:
                twisted[noise.choice(["x", "event", key + "_", "", "__init__"])] = noise.choice(NASTY)
            case _:
                twisted[key] = self.twist(twisted[key], depth + 1)
        return twisted

    def frame(self) -> str | bytes:
        """Return one frame of a WebSocket, more often right than wrong."""
        noise = self.noise
        event = noise.choice(EVENTS) if noise.random() < 0.95 else noise.choice(ODD_EVENTS)
        payload = self.payload(event)
        if noise.random() < 0.3:
            payload = self.twist(payload)
        arguments = [event, payload] if noise.random() < 0.97 else noise.choice([[event], [payload], [], [event] * 3])
        number = noise.choice(["1", "7", "", "99999999", "00"])
        try:
            text = f"42{number}{json.dumps(arguments)}"
        except RecursionError:
            text = "42" + "[" * 50_000
        if noise.random() < 0.05:
            cut = noise.randrange(len(text))
            text = noise.choice(
                [text[:cut], text[cut:], text + text, "451-" + text[2:], "41", "2probe", "40/x," + text]
            )
        return text.encode("utf-8", "replace") if noise.random() < 0.02 else text

    # -- connections --------------------------------------------------------------------------------------------------

    async def call(self, session: aiohttp.ClientSession, frames: int) -> None:
        """Hold one conversation over Socket.IO, and end it in one of several bad ways."""
        noise = self.noise
        try:
            async with session.ws_connect(self.url + SOCKET, max_msg_size=1 << 22, autoping=True) as ws:
                if noise.random() < 0.97:
                    await ws.send_str("40")
                reading = asyncio.create_task(self._listen(ws)) if noise.random() < 0.9 else None
                try:
                    await self._talk(ws, frames)
                finally:
                    if reading is not None:
                        if not ws.closed:
                            await asyncio.sleep(0.02)
                        reading.cancel()
                        await asyncio.gather(reading, return_exceptions=True)
                if noise.random() < 0.3 and ws._writer is not None and ws._writer.transport is not None:
                    ws._writer.transport.abort()  # as if its program had been killed
        except (aiohttp.ClientError, ConnectionError, OSError):
            pass  # the server may end what it does not like

    async def _talk(self, ws: aiohttp.ClientWebSocketResponse, frames: int) -> None:
        said: list[str] = []
        if self.noise.random() < 0.6:  # as one who means well, for a while
            await ws.send_str(_JOIN)
            await asyncio.sleep(self.noise.choice([0.02, 0.1, 0.2]))
        for _ in range(frames):
            if ws.closed:
                return
            again = said and self.noise.random() < 0.1
            frame = self.noise.choice(said) if again else self.frame()
            self.heard.sent += 1
            if isinstance(frame, bytes):
                await ws.send_bytes(frame)
            else:
                said.append(frame)
                await ws.send_str(frame)
            if self.noise.random() < 0.3:
                await asyncio.sleep(self.noise.choice([0, 0, 0.001, 0.01]))

    async def _listen(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        async for message in ws:
            if message.type is aiohttp.WSMsgType.TEXT:
                self.heard.take(message.data)
                if message.data == "2" and self.noise.random() < 0.9:
                    await ws.send_str("3")
                elif '"proposed"' in message.data and self.noise.random() < 0.7:
                    proposal = json.loads(message.data[message.data.index("[") :])[1]["proposal_id"]
                    await ws.send_str(f'42["confirm",{{"proposal_id":"{proposal}"}}]')

    async def betray(self, session: aiohttp.ClientSession, frames: int) -> None:
        """Begin a match like anybody else, two of them, and say everything else from inside."""
        async with contextlib.AsyncExitStack() as stack:
            both = [await stack.enter_async_context(session.ws_connect(self.url + SOCKET)) for _ in range(2)]
            for ws in both:
                await ws.send_str("40")
                await ws.send_str(_JOIN)
            for ws in both:
                async with asyncio.timeout(20):
                    while '42["matched"' not in (frame := await ws.receive_str()):
                        self.heard.take(frame)
                        if '42["proposed"' in frame:
                            proposal = json.loads(frame[2:])[1]["proposal_id"]
                            await ws.send_str(f'42["confirm",{{"proposal_id":"{proposal}"}}]')
                            break
            reading = [asyncio.create_task(self._listen(ws)) for ws in both]
            with contextlib.suppress(aiohttp.ClientError, ConnectionError):
                for ws in both:
                    await self._talk(ws, frames)
            await asyncio.sleep(0.1)
            for each in reading:
                each.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    async def flood(self, session: aiohttp.ClientSession, event: str, count: int) -> None:
        """Send one valid message over and over, and read nothing."""
        frame = f'42["{event}",{json.dumps(self.payload(event))}]'
        with contextlib.suppress(aiohttp.ClientError, ConnectionError, OSError):
            async with session.ws_connect(self.url + SOCKET) as ws:
                await ws.send_str("40")
                for _ in range(count):
                    await ws.send_str(frame)
                    self.heard.sent += 1

    # -- requests -----------------------------------------------------------------------------------------------------

    def request(self) -> bytes:
        """Return one HTTP request, more often wrong than right."""
        noise = self.noise
        method = noise.choice([b"GET", b"GET", b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"G@T", b"CONNECT"])
        path = noise.choice(PATHS)
        if noise.random() < 0.1:
            path += noise.choice(
                [b"?", b"/", b"/..", b"%00", b"%2e%2e%2f", b"\\..", b";x", b"#", b"?" + b"a=b&" * 5000]
            )
        host = noise.choice([b"127.0.0.1", b"[", b"a b", b"evil:99999", b"[::1", b"\xff", b'a"<b>', b""])
        host = self.url.removeprefix("http://").encode() if noise.random() < 0.6 else host
        lines = [method + b" " + path + b" HTTP/1.1", b"Host: " + host, b"Connection: close"]
        port = self.url.rsplit(":", 1)[1].encode()
        cookie = b"tandem_console_" + port
        lines += noise.sample(
            [
                b"Origin: http://" + host,
                b"Origin: null",
                b"Origin: http://[",
                b"Cookie: " + cookie + b"=" + noise.choice([b"x", b"x" * 30_000, b"\xff\xfe", b'"\\000', b"=;=;="]),
                b"Cookie: " + b"a=b; " * 5000,
                b"X-Forwarded-For: 1.2.3.4",
                b"Transfer-Encoding: chunked",
                b"Content-Length: -1",
                b"Content-Length: 99999999999",
                b"Expect: 100-continue",
                b"If-None-Match: *",
                b"Upgrade: websocket",
                b"X: " + b"y" * 70_000,
                b"Bad Header",
                b"\x00: \x00",
            ],
            noise.choice([0, 0, 0, 1, 1, 2, 4]),
        )
        body = b""
        if method == b"POST" and noise.random() < 0.7:
            body = noise.choice(BODIES)
            lines.append(b"Content-Length: %d" % len(body))
            lines.append(b"Origin: http://" + host)
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    async def ask(self) -> None:
        """Send one request as raw bytes; some are only half sent, some answers are not read."""
        noise = self.noise
        address, port = self.url.removeprefix("http://").split(":")
        request = self.request()
        self.heard.sent += 1
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection(address, int(port))
            try:
                if noise.random() < 0.1:
                    writer.write(request[: noise.randrange(len(request))])
                    await writer.drain()
                    writer.transport.abort()
                    return
                writer.write(request)
                await writer.drain()
                if noise.random() < 0.95:
                    async with asyncio.timeout(0.5):
                        self._check_answer(await reader.readuntil(b"\r\n\r\n"))
            except asyncio.IncompleteReadError as error:
                self._check_answer(error.partial)
            finally:
                writer.transport.abort()

    def _check_answer(self, head: bytes) -> None:
        if not head:
            return  # closed without a word, as after what is no HTTP
        assert b"x-injected" not in head.lower()
        self.heard.count(int(head.split(b" ", 2)[1]))


_JOIN = f'42["join",{json.dumps({"protocol": LOBBY_PROTOCOL, "attributes": {"group": "traitors"}})}]'

PATHS = (
    b"/", b"/healthz", b"/metrics", b"/.well-known/tandem", b"/console", b"/console/", b"/console/login",
    b"/console/logout", b"/console/history", b"/console/history?match=../../x", b"/console/audit", b"/console/feed",
    b"/console/static/app.js", b"/console/static/../pages.py", b"/console/static/..%2fpages.py",
    b"/console/static/%2e%2e/%2e%2e/server.py", b"/console/static//etc/passwd", b"/console/static/....//x",
    b"/console/static/login.html%00.js", b"/socket.io/", b"/socket.io/?EIO=4&transport=polling",
    b"/socket.io/?EIO=4&transport=websocket", b"//evil.example/..", b"/console/login?x=%0d%0aX-Injected:1", b"*",
    b"http://evil.example/console", b"/%ff%fe", b"/\xff", b"/nothing",
)  # fmt: skip
BODIES = (
    b"", b"name=admin&password=guess", b"name=ada&name=olu&password=x", b"name=%00&password=%ff",
    b"name=a" + b"a" * 9000, b"{}", b"&" * 4000, b"name=%0d%0aX-Injected:1&password=p",
    b"name=<script>&password=" + b"p" * 3000,
)  # fmt: skip
