"""What may come in over one WebSocket, decided before the Socket.IO library sees it. Pure.

python-socketio and python-engineio parse frames on the assumption that they come from their own client: other frames
end in a traceback in the log, in a connection that is only half closed, or in a call of the ``disconnect`` handler by
an event of that name (python-engineio 4.15, python-socketio 5.18). So a frame passes only if it is one of these, in
the Engine.IO and Socket.IO protocols version 4 and 5::

    3                 pong
    40, 40{...}       connect to the default namespace, once; the data is dropped
    42ID["name",{}]   event with an acknowledgement id (or none) and at most one argument

Engine.IO's ``1`` (close) and Socket.IO's ``41`` (disconnect) close the WebSocket, which the library survives best.

Events are passed on as ``[name, argument or null, acknowledged]``, where ``acknowledged`` says whether there is an id,
which the library does not tell its handlers. Everything else becomes an event whose name is a refusal
(``!malformed``), with the id of the original where it can be read; the server answers that like any event. Before the
connection is made there is nobody to answer, and the WebSocket is closed.

What players relay to each other through this server, ``42["relay",{}]``, comes 60 times a second and is not passed to
the library at all. There is no answer to it; what is refused is counted by whoever decides on it.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from p2pclient.common.lobby_messages import MAX_EVENT_BYTES
from p2pclient.common.path_messages import Relay

REFUSAL_MARK = "!"
"""First character of an event's name that stands for a refusal. No client's event passes with it."""

CAPACITY = 60
"""Frames that may come at once: a match of eight takes 7 descriptions, pongs and a few more."""

PER_SECOND = 20.0

RELAY_CAPACITY = 2000
"""Frames to be relayed that may come at once: after a stall of this server, all that was on its way, which each client
limits to 64 datagrams and a few control messages for each of seven partners."""

RELAYS_PER_SECOND = 1500.0
"""60 Hz to seven partners take 420, and as many acknowledgements at most; 120 Hz twice as many."""

RELAY_HEAD = '42["relay",'
"""How a frame begins that is to be relayed, as python-socketio writes it."""

FLOOD = 200
"""Frames that may be refused for being too many, at once, before the connection is closed."""

FORGIVEN_PER_SECOND = 5.0

_HEAD = re.compile(r"42(\d{0,9})(?=\[)")
# Never passed on as events: the library calls its own handlers for these.
_RESERVED = frozenset({"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener", "*"})
_MAX_DEPTH = 16


class TokenBucket:
    """Rate limit: ``capacity`` at once, ``per_second`` in the long run."""

    def __init__(self, capacity: float, per_second: float, *, now: float) -> None:
        self._capacity = capacity
        self._per_second = per_second
        self._tokens = capacity
        self._at = now

    def take(self, *, now: float, tokens: float = 1) -> bool:
        """Take so many tokens; False, and none taken, if there are fewer."""
        self._tokens = min(self._capacity, self._tokens + max(0.0, now - self._at) * self._per_second)
        self._at = now
        if self._tokens < tokens:
            return False
        self._tokens -= tokens
        return True


class FrameGate:
    """Lets the frames of one WebSocket pass, or turns them into refusals."""

    def __init__(self, *, now: float) -> None:
        self._bucket = TokenBucket(CAPACITY, PER_SECOND, now=now)
        self._patience = TokenBucket(FLOOD, FORGIVEN_PER_SECOND, now=now)
        self._relays = TokenBucket(RELAY_CAPACITY, RELAYS_PER_SECOND, now=now)
        self._connected = False

    def admit_relay(self, frame: str, *, now: float) -> Relay | bool:
        """Return what a frame that begins with :data:`RELAY_HEAD` relays, without the detour by the library.

        True if there is nothing in it to pass on, False if the connection is to be closed.
        """
        if not self._connected:
            return False
        if not self._relays.take(now=now):
            return self.forgives(now=now)
        try:
            if len(frame) <= MAX_EVENT_BYTES:
                return msgspec.json.decode(frame[2:], type=tuple[Literal["relay"], Relay])[1]
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            pass
        return self.forgives(now=now)

    def forgives(self, *, now: float) -> bool:
        """May the connection stay open after something that should not have come."""
        return self._patience.take(now=now)

    def admit(self, frame: str | bytes, *, now: float) -> str | None:
        """Return the frame to pass on, which may stand for a refusal; None if the connection is to be closed."""
        if not self._bucket.take(now=now):
            patient = self._patience.take(now=now) and self._connected
            return _refusal("rate-limited", frame) if patient else None
        if isinstance(frame, str) and frame[:2] == "40" and len(frame) <= MAX_EVENT_BYTES:
            first, self._connected = not self._connected, True
            return "40" if first else _refusal("malformed", frame)
        if frame == "3":
            return "3"
        if not self._connected or frame in ("1", "41"):
            return None
        return _check_event(frame)


def _check_event(frame: str | bytes) -> str:
    if len(frame) > MAX_EVENT_BYTES:
        return _refusal("oversized", frame)
    head = _HEAD.match(frame) if isinstance(frame, str) else None
    if head is None or isinstance(frame, bytes):
        return _refusal("malformed", frame)
    try:
        data = msgspec.json.decode(frame[head.end() :])
        if not data or len(data) > 2 or not isinstance(data[0], str):
            return _refusal("malformed", frame)
        # Almost every frame has fewer brackets than it may be deep, and need not be looked through.
        if frame.count("[") + frame.count("{") > _MAX_DEPTH and not _is_shallow(data, _MAX_DEPTH):
            return _refusal("malformed", frame)
        if data[0] in _RESERVED or data[0].startswith(REFUSAL_MARK):
            return _refusal("unknown-event", frame)
        # Written anew, so that what the library parses is what was checked here.
        return _event(head, data[0], data[1] if len(data) == 2 else None)
    except (msgspec.MsgspecError, UnicodeError, OverflowError, RecursionError):
        return _refusal("malformed", frame)


def _is_shallow(value: object, depth: int) -> bool:
    if not isinstance(value, list | dict):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_shallow(each, depth - 1) for each in inner)


def _refusal(code: str, frame: str | bytes) -> str:
    return _event(_HEAD.match(frame[:16]) if isinstance(frame, str) else None, REFUSAL_MARK + code, None)


def _event(head: re.Match[str] | None, name: str, argument: object) -> str:
    number = head.group(1) if head else ""
    return f"42{number}{msgspec.json.encode([name, argument, number != '']).decode()}"
