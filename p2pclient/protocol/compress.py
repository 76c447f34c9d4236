"""Inputs of consecutive frames in few bytes.

Each frame is XORed with the one before it (the first with nothing), then runs of zeros are shortened: a token byte
``0x80 | n`` stands for ``n + 1`` zero bytes, a token ``n < 0x80`` for the ``n + 1`` literal bytes behind it. What is
held does not change, so most of it is zeros. The decoder knows how much must come out and refuses anything else.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from p2pclient.common.errors import RemoteProtocolError

_RUN = 0x80
_LONGEST = 0x80


def compress(frames: Sequence[bytes]) -> bytes:
    """Return the packed inputs of consecutive frames, all of one length."""
    if not frames:
        return b""
    parts = [frames[0]]
    for before, value in itertools.pairwise(frames):
        mixed = int.from_bytes(before, "little") ^ int.from_bytes(value, "little")
        parts.append(mixed.to_bytes(len(value), "little"))
    return _shorten(b"".join(parts))


def _shorten(data: bytes) -> bytes:
    out = bytearray()
    at = 0
    while at < len(data):
        end = at
        if data[at] == 0:
            while end < len(data) and data[end] == 0 and end - at < _LONGEST:
                end += 1
            out.append(_RUN | (end - at - 1))
        else:
            # A single zero between literals costs a token either way, so only two in a row end the literals.
            while end < len(data) and end - at < _LONGEST and not _two_zeros(data, end):
                end += 1
            out.append(end - at - 1)
            out += data[at:end]
        at = end
    return bytes(out)


def _two_zeros(data: bytes, at: int) -> bool:
    return data[at] == 0 and (at + 1 == len(data) or data[at + 1] == 0)


def expand(packed: bytes, *, count: int, width: int) -> list[bytes]:
    """Return ``count`` inputs of ``width`` bytes each.

    Raises:
        RemoteProtocolError: the bytes do not come out at exactly that size (reason ``bad-inputs``).
    """
    size = count * width
    data = bytearray()
    at = 0
    while at < len(packed):
        token = packed[at]
        at += 1
        length = (token & 0x7F) + 1
        if len(data) + length > size or (not token & _RUN and at + length > len(packed)):
            raise RemoteProtocolError("bad-inputs", f"more than {size} bytes, or cut short")
        if token & _RUN:
            data += bytes(length)
        else:
            data += packed[at : at + length]
            at += length
    if len(data) != size:
        raise RemoteProtocolError("bad-inputs", f"{len(data)} of {size} bytes")
    frames: list[bytes] = []
    before = 0
    for index in range(count):
        before ^= int.from_bytes(data[index * width : (index + 1) * width], "little")
        frames.append(before.to_bytes(width, "little"))
    return frames
