"""Inputs of consecutive frames in few bytes.

Each frame is XORed with the one before it (the first with nothing), all frames at once: they are one long integer, and
the same integer moved up by a frame holds each frame's predecessor. What is held does not change, so most of the result
is zeros, and only their number is written. It is a row of tokens: one byte, of which five bits are a number of zeros
and three a number of other bytes, which follow. Bits that are all set say that a byte with more of that number comes
first (for the zeros, then for the bytes). The decoder knows how much must come out and refuses anything else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct

from p2pclient.common.errors import RemoteProtocolError

_MANY_ZEROS = 31
_MANY_BYTES = 7
_MORE = 255
"""Most that a byte can add to a number."""
_ZEROS = bytes(_MANY_ZEROS + _MORE)
_RUNS = re.compile(rb"(\0*)([^\0]*)")


def compress(frames: Sequence[bytes]) -> bytes:
    """Return the packed inputs of consecutive frames, all of one length."""
    joined = b"".join(frames)
    if not joined:
        return b""
    size = len(joined)
    width = size // len(frames)
    value = int.from_bytes(joined, "little")
    mixed = (value ^ value << 8 * width).to_bytes(size + width, "little")
    out = bytearray()
    # What was moved up past the last frame is cut off. The last match is always empty.
    for zeros, changed in _RUNS.findall(mixed[:size])[:-1]:
        skip, length = len(zeros), len(changed)
        if skip < _MANY_ZEROS and length < _MANY_BYTES:
            out.append(skip << 3 | length)
            out += changed
        else:
            _append_long(out, skip, changed)
    return bytes(out)


def _append_long(out: bytearray, skip: int, changed: bytes) -> None:
    """Write a run with numbers that do not fit a token, and one that fits no byte either as several."""
    while skip > _MANY_ZEROS + _MORE:
        out += bytes((_MANY_ZEROS << 3, _MORE))
        skip -= _MANY_ZEROS + _MORE
    while True:
        part, changed = changed[: _MANY_BYTES + _MORE], changed[_MANY_BYTES + _MORE :]
        out.append(min(_MANY_ZEROS, skip) << 3 | min(_MANY_BYTES, len(part)))
        if skip >= _MANY_ZEROS:
            out.append(skip - _MANY_ZEROS)
        if len(part) >= _MANY_BYTES:
            out.append(len(part) - _MANY_BYTES)
        out += part
        if not changed:
            break
        skip = 0


def expand(packed: bytes, *, count: int, width: int) -> tuple[bytes, ...]:
    """Return ``count`` inputs of ``width`` bytes each.

    Raises:
        RemoteProtocolError: the bytes do not come out at exactly that size (reason ``bad-inputs``).
    """
    size, packed_size = count * width, len(packed)
    mixed = bytearray()
    at = 0
    try:
        while at < packed_size and len(mixed) <= size:
            token = packed[at]
            skip, length = token >> 3, token & 0x07
            at += 1
            if skip == _MANY_ZEROS:
                skip += packed[at]
                at += 1
            if length == _MANY_BYTES:
                length += packed[at]
                at += 1
            mixed += _ZEROS[:skip]
            mixed += packed[at : at + length]
            at += length
    except IndexError:
        raise RemoteProtocolError("bad-inputs", "a number is cut short") from None
    if len(mixed) != size or at > packed_size:
        raise RemoteProtocolError("bad-inputs", f"not {size} bytes, or cut short")
    return _undo_mixing(mixed, count, width)


def _undo_mixing(mixed: bytearray, count: int, width: int) -> tuple[bytes, ...]:
    """XOR every frame with all frames before it, in as many steps as the count has binary digits."""
    value = int.from_bytes(mixed, "little")
    shift, bits = 8 * width, 8 * len(mixed)
    while shift < bits:
        value ^= value << shift
        shift *= 2
    joined = (value & (1 << bits) - 1).to_bytes(len(mixed), "little")
    return _frames(count, width).unpack(joined)


@lru_cache(maxsize=256)
def _frames(count: int, width: int) -> Struct:
    """Return what splits ``count`` inputs of ``width`` bytes each."""
    return Struct(f"{width}s" * count)
