"""What a session tells the environment's host to do."""

from __future__ import annotations

from msgspec import Struct


class Load(Struct, frozen=True, gc=False):
    """Go back to the beginning of ``frame``."""

    frame: int


class Step(Struct, frozen=True, gc=False):
    """Simulate ``frame`` with these inputs, by seat."""

    frame: int
    inputs: tuple[bytes, ...]
    """``PREDICT`` where the environment's host is to assume one."""
    predicted: tuple[bool, ...]
    """By seat: is the input assumed."""
    again: bool
    """True if the frame was simulated before."""


class Save(Struct, frozen=True, gc=False):
    """Keep the state at the beginning of ``frame``, which is the current state."""

    frame: int


class Drop(Struct, frozen=True, gc=False):
    """Let go of snapshots before ``before``."""

    before: int


Command = Load | Step | Save | Drop
