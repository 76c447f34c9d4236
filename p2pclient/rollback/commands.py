"""What a session tells the environment's host to do, and what it decided otherwise."""

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


class Advance(Struct, frozen=True, gc=False):
    """What one call of :meth:`RollbackSession.advance` decided."""

    commands: tuple[Command, ...]
    """Carry these out in order, in one batch. May be empty."""
    advanced: int
    """New frames simulated."""
    stalled: bool
    """True if the prediction window is full and the frame did not move."""
    depth: int
    """Frames from the first one that was wrong up to now; 0 when no prediction was wrong."""
    cause: tuple[int, ...]
    """Seats whose input was assumed wrongly."""
    settled: int
    """Newest frame that is settled once the batch is done, or ``NULL_FRAME``."""
    resimulated: int = 0
    """Frames simulated again: ``depth``, and those from the loaded snapshot up to the first wrong frame."""
