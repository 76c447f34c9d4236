"""Constants about frames, seats and inputs that all packages share."""

from __future__ import annotations

NULL_FRAME = -1
"""No frame yet."""

MAX_SEATS = 8
"""Seats in one match."""

MAX_INPUT_BYTES = 256
"""Bytes of input per seat and frame on the wire, the seat flags included."""

MAX_JOINED_BYTES = 512
"""The same of all seats together: a frame of them fits any datagram with room for more, whatever they are."""

MAX_DATAGRAM_BYTES = 1160
"""Largest datagram: fits one UDP packet with DTLS, SCTP and ICE around it on every usual path."""

UNFOCUSED = 0x01
"""Seat flag: the player's window did not have the keyboard in this frame."""


MINIMISED = 0x02
"""Seat flag, beside the other one: the window was not even on the screen."""

SEAT_FLAGS = bytes((0, UNFOCUSED, UNFOCUSED | MINIMISED))
"""All values that the flags of a seat may have."""


def pack_seat_input(payload: bytes, *, focused: bool, minimised: bool = False) -> bytes:
    """Return the bytes that stand for one seat in one frame: a flag byte, then the environment's input.

    Focus travels inside the input, so that every peer records it for exactly the same frame.

    Args:
        minimised: counts only without the focus.
    """
    flags = 0 if focused else UNFOCUSED | MINIMISED if minimised else UNFOCUSED
    return bytes((flags,)) + payload


def unpack_seat_input(value: bytes) -> tuple[bytes, bool]:
    """Return ``(payload, focused)`` of what :func:`pack_seat_input` made."""
    return value[1:], not value[0] & UNFOCUSED
