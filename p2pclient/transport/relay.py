"""Carries bytes to a peer by way of the server to which both are connected, when nothing better works.

Whatever the server passes on may be lost: it keeps nothing, drops what a slow receiver does not take, and may be
started again meanwhile. So control messages are numbered, acknowledged and sent again. Inputs are numbered too, so that
they stop while none arrive: what lies in the buffers of two TCP connections is old before it can be of use.

A frame is a head and a part of a message (network byte order)::

    kind u8, to u32, number u32, inputs u32, control u32

``to`` is the number that the receiver drew when it was made: what is meant for another program, or for an earlier
transport, is dropped. ``inputs`` is the newest number received on that lane, ``control`` the last one in order.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from p2pclient.common.path_messages import MAX_RELAYED_BYTES
from p2pclient.transport.base import CONTROL, INPUTS, MAX_CONTROL_BYTES, Closed, Failed, TransportStats
from p2pclient.transport.common import CommonTransport
from p2pclient.transport.delayed import LoopRelease
from p2pclient.transport.impairment import Impairment

VERSION = 1

HELLO, INPUT, PART, LAST_PART, ACK, BYE = range(6)
"""Kinds of frames. A hello's number is the sender's own, ``inputs`` is its version, and the number of the sender's
program follows."""

HEAD = struct.Struct("!BIIII")
_HELLO_BODY = struct.Struct("!Q")
MAX_PART_BYTES = MAX_RELAYED_BYTES - HEAD.size
MAX_PARTS = MAX_CONTROL_BYTES // MAX_PART_BYTES
"""Of one message, beside the last."""

TICK_S = 0.1
HELLO_EVERY_S = 0.5
ACK_WITHIN_S = 0.2
KEEPALIVE_S = 1.0
AGAIN_AFTER_S = 1.0
"""Without an acknowledgement, control is sent again; then after twice as long, up to :data:`LONGEST_AGAIN_S`."""
LONGEST_AGAIN_S = 8.0
LOST_AFTER_S = 30.0
OPEN_WITHIN_S = 20.0

MAX_INPUTS_UNDER_WAY = 64
"""Inputs of which the receiver has not told: a second at 60 Hz."""
MAX_CONTROL_UNDER_WAY = 128 * 1024
"""Bytes of control that are sent before an acknowledgement comes: a quarter of what the server lets wait."""
MAX_FRAMES_UNDER_WAY = 256
"""Frames of control, likewise."""
ACK_EVERY = 16
"""Frames after which an acknowledgement is sent, should nothing else leave."""

NO_RELAY = (
    "The partner's computer cannot be reached by way of the server either. Check that both are connected to the "
    "server, and that it is told to relay."
)
LOST = "The connection to the partner by way of the server was lost. Check the network on both computers."


class RelayCarrier(Protocol):
    """What brings frames to one peer by way of the server."""

    def carry(self, lane: str, frame: bytes) -> bool:
        """Hand a frame over; False if it is not taken, because too much waits or there is no connection."""

    def describe(self) -> tuple[str, str]:
        """Return what stands for our address and for the peer's: the server's, and the peer's name there."""


@dataclass(frozen=True, slots=True)
class RelayHead:
    """Whom a frame is for."""

    is_hello: bool
    to: int
    sender: int
    """Of a hello."""


def read_head(frame: bytes) -> RelayHead | None:
    """Return whom a frame is for; None if it is none."""
    if len(frame) < HEAD.size:
        return None
    kind, to, number, _, _ = HEAD.unpack_from(frame)
    return RelayHead(kind == HELLO, to, number)


class RelayTransport(CommonTransport):
    """One end. Make it in a running loop, and hand it what comes from the peer by :meth:`receive`.

    Both ends say hello until they know each other's numbers; then ``Opened`` comes as an event. Each tells the other
    its ``incarnation``, which is :attr:`peer_incarnation` there.
    """

    def __init__(
        self,
        carrier: RelayCarrier,
        *,
        incarnation: int = 0,
        impairment: Impairment | None = None,
        draw: Callable[[], int] = lambda: random.getrandbits(32),
        open_within: float = OPEN_WITHIN_S,
    ) -> None:
        self._loop = loop = asyncio.get_running_loop()
        super().__init__(
            clock=loop.time,
            releases=(LoopRelease(loop), LoopRelease(loop)),
            call_soon=loop.call_soon,
            impairment=impairment,
        )
        self._carrier = carrier
        self._incarnation = incarnation
        self.peer_incarnation = 0
        """Number of the peer's program; 0 while unknown."""
        self._own = draw() & 0xFFFFFFFF or 1
        self._theirs = 0
        self._made_at = self._heard_at = loop.time()
        self._open_within = open_within
        self._inputs_sent = self._inputs_acked = self._inputs_received = 0
        self._control_sent = self._control_received = 0
        self._parts: deque[tuple[int, bytes]] = deque()
        """Kind and content of what is not sent so far, in order."""
        self._unacked: deque[tuple[int, int, bytes]] = deque()
        """Number, kind and content of what was sent."""
        self._under_way = 0
        self._waiting = 0
        self._again_at, self._again_after = 0.0, AGAIN_AFTER_S
        self._partial: list[bytes] = []
        self._unsaid = 0
        """Frames that were received since the last acknowledgement."""
        self._said_at = self._helloed_at = loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._say_hello()
        self._tick()

    @property
    def own(self) -> int:
        """The number by which the peer addresses this transport."""
        return self._own

    @property
    def theirs(self) -> int:
        """The peer's number; 0 while unknown."""
        return self._theirs

    @property
    def is_calling(self) -> bool:
        """Does it still look for its other end."""
        return not self._is_open and self._end is None

    @property
    def number(self) -> int:
        """What both ends have in common once it is open: differs from one pair of transports to the next."""
        return self._own ^ self._theirs

    # -- out ----------------------------------------------------------------------------------------------------------

    def _carry(self, lane: str, data: bytes) -> None:
        if lane == INPUTS:
            self._inputs_sent += 1
            if not self._send(INPUT, self._inputs_sent, data):
                self._dropped["congested"] += 1
            return
        pieces = [data[at : at + MAX_PART_BYTES] for at in range(0, len(data), MAX_PART_BYTES)]
        self._parts += [(PART, piece) for piece in pieces[:-1]]
        self._parts.append((LAST_PART, pieces[-1]))
        self._waiting += len(data)
        self._send_parts()

    def _send_parts(self, *, all_of_them: bool = False) -> None:
        while self._parts and (all_of_them or self._has_window()):
            kind, piece = self._parts.popleft()
            self._waiting -= len(piece)
            self._under_way += len(piece)
            self._control_sent += 1
            if not self._unacked:
                self._again_at = self._loop.time() + self._again_after
            self._unacked.append((self._control_sent, kind, piece))
            self._send(kind, self._control_sent, piece)

    def _has_window(self) -> bool:
        return self._under_way < MAX_CONTROL_UNDER_WAY and len(self._unacked) < MAX_FRAMES_UNDER_WAY

    def _send(self, kind: int, number: int = 0, content: bytes = b"") -> bool:
        # Of numbers that have become too long only the end is sent: none is ever that old.
        head = HEAD.pack(
            kind,
            self._theirs,
            number & 0xFFFFFFFF,
            VERSION if kind == HELLO else self._inputs_received & 0xFFFFFFFF,
            self._control_received & 0xFFFFFFFF,
        )
        is_taken = self._carrier.carry(INPUTS if kind in (INPUT, ACK, HELLO) else CONTROL, head + content)
        if is_taken:
            self._said_at, self._unsaid = self._loop.time(), 0
        return is_taken

    def _say_hello(self) -> None:
        self._helloed_at = self._loop.time()
        self._send(HELLO, self._own, _HELLO_BODY.pack(self._incarnation))

    def _may_carry_input(self) -> bool:
        return self._inputs_sent - self._inputs_acked < MAX_INPUTS_UNDER_WAY

    def _waiting_bytes(self, lane: str) -> int:
        return self._waiting + self._under_way if lane == CONTROL else 0

    # -- in -----------------------------------------------------------------------------------------------------------

    def receive(self, frame: bytes) -> None:
        """Take what the server brought from the peer. Nothing that it holds can raise."""
        if self._end is not None:
            return
        if len(frame) < HEAD.size:
            self._dropped["malformed"] += 1
            return
        kind, to, number, inputs, control = HEAD.unpack_from(frame)
        if kind == HELLO:
            self._receive_hello(to, number, inputs, frame[HEAD.size :])
        elif to != self._own or not self._theirs:
            self._dropped["foreign-channel"] += 1
        else:
            self._heard_at = self._loop.time()
            self._take_acknowledgement(inputs, control)
            self._receive_frame(kind, number, frame[HEAD.size :])

    def _receive_hello(self, to: int, number: int, version: int, body: bytes) -> None:
        is_readable = version == VERSION and number and len(body) == _HELLO_BODY.size
        if not is_readable or (self._is_open and number != self._theirs):
            # Another transport of the peer's, or another program: whoever owns this one makes a new one for it. Before
            # it is open, the first may have been late, and the newest counts.
            self._dropped["foreign-channel"] += 1
            return
        self._heard_at = self._loop.time()
        is_new, self._theirs = number != self._theirs, number
        (self.peer_incarnation,) = _HELLO_BODY.unpack(body)
        if is_new or (to != self._own and self._loop.time() - self._helloed_at > TICK_S / 2):
            self._say_hello()
        if to == self._own:
            self._open()

    def _take_acknowledgement(self, inputs: int, control: int) -> None:
        acked = _unrolled(inputs, self._inputs_sent)
        if self._inputs_acked < acked <= self._inputs_sent:
            self._inputs_acked = acked
        acked, is_news = _unrolled(control, self._control_sent), False
        while self._unacked and self._unacked[0][0] <= acked:
            self._under_way -= len(self._unacked.popleft()[2])
            is_news = True
        if is_news:
            self._again_after = AGAIN_AFTER_S
            self._again_at = self._loop.time() + self._again_after
            self._send_parts()

    def _receive_frame(self, kind: int, number: int, content: bytes) -> None:
        if kind == BYE:
            self._finish(Closed(by_peer=True))
            return
        self._open()  # whoever sends this knows our number
        if kind == INPUT:
            self._inputs_received = max(self._inputs_received, _unrolled(number, self._inputs_received))
            self._note_received()
            self._receive(INPUTS, content)
        elif kind in (PART, LAST_PART):
            if number == (self._control_received + 1) & 0xFFFFFFFF:
                self._control_received += 1
                self._take_part(kind, content)
            self._note_received()  # if it came before: what we said of it was lost
        elif kind != ACK:
            self._dropped["malformed"] += 1

    def _take_part(self, kind: int, content: bytes) -> None:
        self._partial.append(content)
        if kind == LAST_PART:
            message, self._partial = b"".join(self._partial), []
            self._receive(CONTROL, message)
        elif len(self._partial) > MAX_PARTS:
            self._partial = []
            self._dropped["too-large"] += 1

    def _note_received(self) -> None:
        self._unsaid += 1
        if self._unsaid >= ACK_EVERY and self._end is None:
            self._send(ACK)

    # -- time ---------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = self._loop.time()
        if self._end is not None:
            return
        self._timer = self._loop.call_later(TICK_S, self._tick)
        if not self._is_open:
            if now - self._made_at > self._open_within:
                self._finish(Failed(NO_RELAY))
            elif now - self._helloed_at >= HELLO_EVERY_S:
                self._say_hello()
        elif now - self._heard_at > LOST_AFTER_S:
            self._finish(Failed(LOST))
        else:
            if not self._may_carry_input():
                # They may be lost, of which nobody would ever tell: one more may try.
                self._inputs_acked += 1
            self._say_again(now)
            if now - self._said_at >= (ACK_WITHIN_S if self._unsaid else KEEPALIVE_S):
                self._send(ACK)

    def _say_again(self, now: float) -> None:
        if not self._unacked or now < self._again_at:
            return
        self._again_after = min(LONGEST_AGAIN_S, 2 * self._again_after)
        self._again_at = now + self._again_after
        for number, kind, content in self._unacked:
            self._send(kind, number, content)

    # -- the rest -----------------------------------------------------------------------------------------------------

    def _finish(self, event: Closed | Failed) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super()._finish(event)

    def stats(self) -> TransportStats:
        """See :class:`PeerTransport`."""
        local, remote = self._carrier.describe()
        kind = "relay" if self._is_open or self._end is not None else ""
        return replace(super().stats(), connection=kind, local_address=local, remote_address=remote)  # type: ignore[arg-type]

    async def close(self) -> None:
        """See :class:`PeerTransport`."""
        if self._end is None:
            self._held_control.flush()
            self._send_parts(all_of_them=True)
            if self._theirs:
                self._send(BYE)
            self._finish(Closed(by_peer=False))


def _unrolled(number: int, near: int) -> int:
    """Return the whole of a number of which the last 32 bits came, the one that is closest to ``near``."""
    difference = (number - near) & 0xFFFFFFFF
    return near + (difference if difference < 0x80000000 else difference - 0x100000000)
