"""One open console: what passes through its WebSocket, and how much of it may be waiting."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Annotated, Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from signaling.actions import Action
from signaling.alerts import Alert
from signaling.console.login import LoggedIn
from signaling.rows import RoomRow

MOST_REQUEST_CHARS = 16 * 1024
MOST_ANSWERS = 64
"""Answers that a console has not taken yet; one that takes none is closed."""

ACTIONS_AT_ONCE, ACTIONS_PER_S = 20.0, 5.0
SEND_TIMEOUT_S = 10.0

LOGGED_OUT, TOO_MANY, TOO_SLOW, NOT_UNDERSTOOD = 4401, 4429, 4408, 4400
"""Why a feed is closed, for the page to say."""


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a console asks for. The answer repeats ``id``."""

    id: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
    action: Action


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="answer"):
    """What became of a request: ``message`` is the action's id, or why it was refused."""

    id: int
    ok: bool
    message: str


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="hello"):
    """The first message: who looks, and what that account may do."""

    account: str
    role: str
    may_act: bool
    may_audit: bool


class Shown(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="room"):
    """The whole room, and what to look at first."""

    room: RoomRow
    alerts: tuple[Alert, ...]


decode_request = msgspec.json.Decoder(Request).decode


class Viewer:
    """One open console: the newest room that it has not got yet, and the answers that it waits for."""

    def __init__(self, websocket: WebSocket, who: LoggedIn, token: str) -> None:
        self.websocket, self.who, self.token = websocket, who, token
        self.answers: deque[bytes] = deque()
        self.room: bytes | None = None
        self.due = asyncio.Event()
        self.closed_with: int | None = None
        self._budget, self._refilled = ACTIONS_AT_ONCE, 0.0

    def show(self, room: bytes) -> None:
        self.room = room
        self.due.set()

    def answer(self, answer: Answer) -> None:
        self.answers.append(msgspec.json.encode(answer))
        if len(self.answers) > MOST_ANSWERS:
            self.close(TOO_SLOW)
        self.due.set()

    def close(self, code: int) -> None:
        self.closed_with = self.closed_with or code
        self.due.set()

    def may_ask(self, now: float) -> bool:
        self._budget = min(ACTIONS_AT_ONCE, self._budget + (now - self._refilled) * ACTIONS_PER_S)
        self._refilled = now
        if self._budget < 1:
            return False
        self._budget -= 1
        return True

    async def send_what_is_due(self) -> None:
        """Send until the console is closed from this side, or takes nothing for ``SEND_TIMEOUT_S``."""
        while self.closed_with is None:
            await self.due.wait()
            self.due.clear()
            due = [*self.answers, *([self.room] if self.room is not None else [])]
            self.answers.clear()
            self.room = None
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    for message in due:
                        await self.websocket.send_text(message.decode("utf-8"))
            except TimeoutError:
                self.close(TOO_SLOW)


async def receive_text(websocket: WebSocket) -> str | None:
    """Return the next message; None if it is no text or too large. Raises WebSocketDisconnect at the end."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1005)
    text: str | None = message.get("text")
    return text if text is not None and len(text) <= MOST_REQUEST_CHARS else None


def id_of(text: str) -> int | None:
    """Return the id of a request whose rest is wrong, so that it can be refused; None if it has none."""
    try:
        found: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    number = found.get("id") if isinstance(found, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= 1 << 53 else None


async def close(websocket: WebSocket, code: int) -> None:
    try:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await websocket.close(code)
    except (RuntimeError, OSError, TimeoutError, WebSocketDisconnect):
        pass  # it went first, or takes nothing: either way it is closed
