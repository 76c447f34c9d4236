"""How the input of a seat is assumed until the real one arrives.

A predictor takes the seat's newest confirmed input before the frame (by frame, never by arrival) and returns the
assumed one. Both work on whole seat inputs, flags included: whether the window had focus is always predicted to stay.
"""

from __future__ import annotations

from collections.abc import Callable

Predictor = Callable[[bytes], bytes]


def repeat_last(newest: bytes) -> bytes:
    """Assume that what is held stays held. For environments in which keys act as long as they are down."""
    return newest


def neutral(payload: bytes) -> Predictor:
    """Assume that nothing is pressed. For environments in which a press acts once.

    Args:
        payload: the environment's neutral input; the seat flags are kept from the newest input.
    """

    def predict(newest: bytes) -> bytes:
        return newest[:1] + payload

    return predict
