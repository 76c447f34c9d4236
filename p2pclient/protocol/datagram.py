"""The datagram of the ``inputs`` channel, version 1. One per peer and frame carries everything.

======  ==========================================================================================
bytes   meaning (integers little-endian; ``varint`` is LEB128, at most 5 bytes; ``zigzag`` signed)
======  ==========================================================================================
1       version in the high four bits; flags in the low: 1 chain on board, 2 timing echo on board
2       connection id, agreed in the handshake
1       low byte of the episode's number
2       when this was sent, in units of 0.25 ms, modulo 2^16
2+2     newest ``sent`` heard from the other side, and how long it was held, 0.25 ms (if flag 2)
1       lead: frames ahead of the newest frame heard, in quarters, signed; -128 is not known
varint  first frame of the inputs
zigzag  next frame expected from the other side (the acknowledgement), minus the first frame
zigzag  frame of the chain value, minus the first frame (if flag 1)
8       chain value (if flag 1)
varint  number of frames
rest    inputs of the sender's seats by frame, packed (``compress``)
======  ==========================================================================================
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from p2pclient.common.errors import LocalMisuseError, RemoteProtocolError
from p2pclient.common.frames import MAX_DATAGRAM_BYTES
from p2pclient.protocol.compress import compress, expand

DATAGRAM_VERSION = 1
TIME_UNIT = 0.00025
"""Seconds per unit of the timing fields: 16.4 s until they wrap, far beyond any round trip that can be played."""

MAX_FRAMES = 512
"""Frames of input in one datagram, at most; bounds what a peer can make us unpack."""

_MAX_FRAME = 1 << 30
_CHAIN = 1
_ECHO = 2
_UNKNOWN_LEAD = -128
_HEAD = struct.Struct("<BHBH")
_TIMES = struct.Struct("<HH")


@dataclass(frozen=True, slots=True)
class Datagram:
    """What one datagram says. Frames are absolute here."""

    connection: int
    episode: int
    """Low byte of the episode's number."""
    sent: int
    """Sender's clock in :data:`TIME_UNIT`, modulo 2^16."""
    echo: int | None
    """The receiver's own newest ``sent`` that the sender has heard; None if none."""
    held: int
    """Units between hearing ``echo`` and sending this, at most 65535."""
    lead: float | None
    """Frames by which the sender is ahead of the newest frame heard, to a quarter."""
    next_expected: int
    """All inputs of the receiver before this frame have arrived."""
    chain: tuple[int, bytes] | None
    """``(frame, value)`` of the newest settled frame; None before any."""
    first_frame: int
    inputs: tuple[bytes, ...]
    """Joined inputs of the sender's seats, from ``first_frame`` on."""


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _zigzag(value: int) -> bytes:
    return _varint(value << 1 if value >= 0 else (-value << 1) - 1)


class _Reader:
    """Takes fields off a datagram; anything cut short is a ``truncated`` protocol error."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        if len(part) != count:
            raise RemoteProtocolError("truncated")
        self._at += count
        return part

    def rest(self) -> bytes:
        return self._data[self._at :]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise RemoteProtocolError("bad-number")

    def zigzag(self) -> int:
        value = self.varint()
        return value >> 1 if not value & 1 else -(value + 1 >> 1)


def encode_datagram(message: Datagram) -> bytes:
    """Return the bytes of ``message``, with as many of its oldest inputs as fit in 1,160 bytes."""
    flags = (_CHAIN if message.chain is not None else 0) | (_ECHO if message.echo is not None else 0)
    lead = _UNKNOWN_LEAD if message.lead is None else max(-127, min(127, round(message.lead * 4)))
    head = bytearray(
        _HEAD.pack(DATAGRAM_VERSION << 4 | flags, message.connection, message.episode & 0xFF, message.sent & 0xFFFF)
    )
    if message.echo is not None:
        head += _TIMES.pack(message.echo & 0xFFFF, min(0xFFFF, message.held))
    head += struct.pack("<b", lead)
    head += _varint(message.first_frame) + _zigzag(message.next_expected - message.first_frame)
    if message.chain is not None:
        frame, value = message.chain
        head += _zigzag(frame - message.first_frame) + value
    inputs: Sequence[bytes] = message.inputs[:MAX_FRAMES]
    while True:
        body = _varint(len(inputs)) + compress(inputs)
        if len(head) + len(body) <= MAX_DATAGRAM_BYTES:
            return bytes(head) + body
        if not inputs:
            raise LocalMisuseError("a datagram without inputs cannot exceed the bound")
        inputs = inputs[: len(inputs) * 3 // 4]


def decode_datagram(data: bytes, *, width: int) -> Datagram:
    """Read a datagram of a peer whose seats' inputs take ``width`` bytes per frame.

    Raises:
        RemoteProtocolError: it is not one (reasons ``oversized``, ``truncated``, ``unknown-version``, ``bad-number``,
            ``bad-frame``, ``bad-inputs``).
    """
    if len(data) > MAX_DATAGRAM_BYTES:
        raise RemoteProtocolError("oversized", f"{len(data)} bytes")
    reader = _Reader(data)
    first, connection, episode, sent = _HEAD.unpack(reader.take(_HEAD.size))
    if first >> 4 != DATAGRAM_VERSION or first & 0x0F > (_CHAIN | _ECHO):
        raise RemoteProtocolError("unknown-version", f"first byte {first:#04x}")
    echo, held = _TIMES.unpack(reader.take(_TIMES.size)) if first & _ECHO else (None, 0)
    (lead,) = struct.unpack("<b", reader.take(1))
    first_frame = reader.varint()
    next_expected = first_frame + reader.zigzag()
    chain = None
    if first & _CHAIN:
        frame = first_frame + reader.zigzag()
        chain = (frame, reader.take(8))
    count = reader.varint()
    newest = chain[0] if chain is not None else 0
    if not (first_frame <= _MAX_FRAME and 0 <= next_expected <= _MAX_FRAME and 0 <= newest <= _MAX_FRAME):
        raise RemoteProtocolError("bad-frame")
    if count > MAX_FRAMES:
        raise RemoteProtocolError("bad-inputs", f"{count} frames")
    return Datagram(
        connection=connection,
        episode=episode,
        sent=sent,
        echo=echo,
        held=held,
        lead=None if lead == _UNKNOWN_LEAD else lead / 4,
        next_expected=next_expected,
        chain=chain,
        first_frame=first_frame,
        inputs=tuple(expand(reader.rest(), count=count, width=width)),
    )
