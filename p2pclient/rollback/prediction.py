"""How the input of a seat is assumed until the real one arrives.

A predictor takes the seat's newest confirmed input before the frame (by frame, never by arrival) and returns the
assumed one. Both here work on whole seat inputs, flags included: whether the window had focus is always predicted to
stay. A seat without a predictor is predicted by the environment's host, which knows the state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

Predictor = Callable[[bytes], bytes]

PREDICT: Final = b""
"""Stands for an input that the environment's host is to predict. No real one is empty: it begins with the flags."""

SUBSTITUTE: Final = b"\xff"
"""Stands for an input that a bot in the host decides in place of a lost player. No real one has these flags."""


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
