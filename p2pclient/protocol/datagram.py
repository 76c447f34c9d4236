"""The datagram of the ``inputs`` channel, version 2. One per peer and frame carries everything.

======  ==========================================================================================
bytes   meaning (integers little-endian; ``varint`` is LEB128, at most 5 bytes; ``zigzag`` signed)
======  ==========================================================================================
1       version in the high four bits; flags in the low: 1 chain on board, 2 timing echo on board
2       connection id, agreed in the handshake
1       low byte of the episode's number
1       number of this datagram, modulo 2^8: what is lost, doubled or out of order can be counted
2       when this was sent, in units of 0.25 ms, modulo 2^16
1       lead: frames ahead of the newest frame heard, in quarters, signed; -128 is not known
2       newest ``sent`` heard from the other side (if flag 2)
8       chain value (if flag 1)
varint  first frame of the inputs
zigzag  next frame expected from the other side (the acknowledgement), minus the first frame
varint  number of frames
varint  how long the echoed ``sent`` was held, 0.25 ms, at most 2^16 - 1 (if flag 2)
zigzag  frame of the chain value, minus the first frame (if flag 1)
rest    inputs of the sender's seats by frame, packed (``compress``)
======  ==========================================================================================

What has a fixed size stands first, so that one ``struct`` reads all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct

import msgspec

from p2pclient.common.errors import RemoteProtocolError
from p2pclient.common.frames import MAX_DATAGRAM_BYTES
from p2pclient.protocol.compress import compress, expand

DATAGRAM_VERSION = 2
TIME_UNIT = 0.00025
"""Seconds per unit of the timing fields: 16.4 s until they wrap, far beyond any round trip that can be played."""

MAX_FRAMES = 512
"""Frames of input in one datagram, at most; bounds what a peer can make us unpack."""
MAX_HELD = 0xFFFF
"""Held at least so long: the time cannot be told."""

_MAX_FRAME = 1 << 30
_CHAIN = 1
_ECHO = 2
_UNKNOWN_LEAD = -128
_HEADS = (Struct("<BHBBHb"), Struct("<BHBBHb8s"), Struct("<BHBBHbH"), Struct("<BHBBHbH8s"))
"""Fields of a fixed size, by flags."""
_NUMBERS = (3, 4, 4, 5)
"""How many numbers of a varying size follow, by flags."""


class Datagram(msgspec.Struct, frozen=True, kw_only=True):
    """What one datagram says. Frames are absolute here."""

    connection: int
    episode: int
    """Low byte of the episode's number."""
    sequence: int = 0
    """Low byte of the number of this datagram."""
    sent: int
    """Sender's clock in :data:`TIME_UNIT`, modulo 2^16."""
    echo: int | None
    """The receiver's own newest ``sent`` that the sender has heard; None if none."""
    held: int
    """Units between hearing ``echo`` and sending this, at most :data:`MAX_HELD`."""
    lead: float | None
    """Frames by which the sender is ahead of the newest frame heard, to a quarter."""
    next_expected: int
    """All inputs of the receiver before this frame have arrived."""
    chain: tuple[int, bytes] | None
    """``(frame, value)`` of the newest settled frame; None before any."""
    first_frame: int
    inputs: Sequence[bytes]
    """Joined inputs of the sender's seats, from ``first_frame`` on."""


def encode_datagram(message: Datagram) -> bytes:
    """Return the bytes of ``message``, with as many of its oldest inputs as fit in 1,160 bytes."""
    first_frame, chain, echo = message.first_frame, message.chain, message.echo
    lead = _UNKNOWN_LEAD
    if message.lead is not None:
        lead = round(message.lead * 4)
        if not -127 <= lead <= 127:
            lead = max(-127, min(127, lead))
    fields: list[int | bytes] = [
        DATAGRAM_VERSION << 4,
        message.connection,
        message.episode & 0xFF,
        message.sequence & 0xFF,
        message.sent & 0xFFFF,
        lead,
    ]
    numbers = [first_frame, _zigzag(message.next_expected - first_frame), 0]
    flags = 0
    if echo is not None:
        flags = _ECHO
        fields.append(echo & 0xFFFF)
        numbers.append(message.held if message.held < MAX_HELD else MAX_HELD)
    if chain is not None:
        flags |= _CHAIN
        fields.append(chain[1])
        numbers.append(_zigzag(chain[0] - first_frame))
    fields[0] = DATAGRAM_VERSION << 4 | flags
    head = _HEADS[flags].pack(*fields)
    inputs = message.inputs[:MAX_FRAMES]
    while True:
        numbers[2] = len(inputs)
        data = head + _varints(numbers) + compress(inputs)
        if len(data) <= MAX_DATAGRAM_BYTES:
            return data
        inputs = inputs[: len(inputs) * 3 // 4]  # ends: a single frame always fits


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else ~(value << 1)


def _varints(values: Iterable[int]) -> bytes:
    out = bytearray()
    for value in values:
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out)


def decode_datagram(data: bytes, *, width: int) -> Datagram:
    """Read a datagram of a peer whose seats' inputs take ``width`` bytes per frame.

    Raises:
        RemoteProtocolError: it is not one (reasons ``oversized``, ``truncated``, ``unknown-version``, ``bad-number``,
            ``bad-frame``, ``bad-inputs``).
    """
    if len(data) > MAX_DATAGRAM_BYTES:
        raise RemoteProtocolError("oversized", f"{len(data)} bytes")
    if not data:
        raise RemoteProtocolError("truncated")
    flags = data[0] & 0x0F
    if data[0] >> 4 != DATAGRAM_VERSION or flags > _CHAIN | _ECHO:
        raise RemoteProtocolError("unknown-version", f"first byte {data[0]:#04x}")
    head = _HEADS[flags]
    if len(data) < head.size:
        raise RemoteProtocolError("truncated")
    _, connection, episode, sequence, sent, lead, *rest = head.unpack_from(data)
    numbers, end = _read_varints(data, head.size, _NUMBERS[flags])
    first_frame, expected, count, *more = numbers
    next_expected = first_frame + (expected >> 1 ^ -(expected & 1))
    chain, newest = None, 0
    if flags & _CHAIN:
        newest = first_frame + (more[-1] >> 1 ^ -(more[-1] & 1))
        chain = (newest, rest[-1])
    echo, held = (rest[0], more[0]) if flags & _ECHO else (None, 0)
    if not (first_frame <= _MAX_FRAME and 0 <= next_expected <= _MAX_FRAME and 0 <= newest <= _MAX_FRAME):
        raise RemoteProtocolError("bad-frame")
    if count > MAX_FRAMES:
        raise RemoteProtocolError("bad-inputs", f"{count} frames")
    if held > MAX_HELD:
        raise RemoteProtocolError("bad-number", f"held for {held} units")
    return Datagram(
        connection=connection,
        episode=episode,
        sequence=sequence,
        sent=sent,
        echo=echo,
        held=held,
        lead=None if lead == _UNKNOWN_LEAD else lead / 4,
        next_expected=next_expected,
        chain=chain,
        first_frame=first_frame,
        inputs=expand(data[end:], count=count, width=width),
    )


def _read_varints(data: bytes, at: int, count: int) -> tuple[list[int], int]:
    """Return the next ``count`` numbers, and where they end."""
    values = []
    try:
        for _ in range(count):
            value = data[at]
            at += 1
            if value > 0x7F:
                value &= 0x7F
                for shift in (7, 14, 21, 28):
                    byte = data[at]
                    at += 1
                    value |= (byte & 0x7F) << shift
                    if byte < 0x80:
                        break
                else:
                    raise RemoteProtocolError("bad-number")
            values.append(value)
    except IndexError:
        raise RemoteProtocolError("truncated") from None
    return values, at
