"""Where the inputs of local seats come from: a person's keys, or a bot's decisions.

Pure: key events go in with their times, one input per frame comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from p2pclient.common.presentation import FocusChange, KeyChange


@dataclass(frozen=True, slots=True)
class Sample:
    """One seat's input for one frame."""

    payload: bytes
    focused: bool
    pressed_at: float | None
    """When the key behind a change went down or up (``perf_counter``); None without a change."""
    minimised: bool = False
    """The window is not even on the screen."""


class InputSource(Protocol):
    """What the match asks once for each frame of a local seat."""

    def sample(self) -> Sample:
        """Return the input for the frame at hand and forget what it used up."""


class KeyboardSource:
    """A person at the keyboard.

    In ``press`` mode each press acts in exactly one frame; presses queue up to two deep, so that quick taps are kept
    but nobody's moves go on after the fingers rest. In ``held`` mode the newest held key counts, and a tap shorter
    than a frame still counts for one frame.

    Args:
        controls: ``mode``, ``bindings`` and ``neutral`` as the environment's host described them.
        seat: whose inputs to use.
        keys: which of each binding's keys count: all, only the first, or only the second (two people, one keyboard).
    """

    _QUEUED_PRESSES = 2

    def __init__(self, controls: Mapping[str, Any], seat: int, *, keys: str = "all") -> None:
        self._mode = controls["mode"]
        self._neutral = bytes(controls["neutral"][seat])
        chosen = {"all": slice(None), "first": slice(0, 1), "second": slice(1, 2)}[keys]
        self._inputs = {code: _input_of(b, seat) for b in controls["bindings"] for code in b["keys"][chosen]}
        self._held: dict[str, float] = {}
        self._presses: list[tuple[str, float]] = []
        self._released_at: float | None = None
        self._focused = True
        self._minimised = False

    @property
    def away(self) -> Literal["", "focus", "minimised"]:
        """Why the person does not look at the window: ``minimised``, ``focus``, or empty if it does."""
        return "" if self._focused else "minimised" if self._minimised else "focus"

    def receive(self, event: KeyChange | FocusChange) -> None:
        """Take in one event of the window. Keys without a meaning here are ignored."""
        if isinstance(event, FocusChange):
            self._focused, self._minimised = event.focused, event.minimised
            if not event.focused:
                self._held.clear()
                self._presses.clear()
                self._released_at = event.at
        elif event.code in self._inputs:
            if event.pressed:
                self._held[event.code] = event.at
                self._presses.append((event.code, event.at))
                del self._presses[: -self._QUEUED_PRESSES]
            elif event.code in self._held:
                del self._held[event.code]
                self._released_at = event.at

    def rest(self) -> None:
        """Play stands still: what was pressed meanwhile does not act when it goes on; what is held then does."""
        self._presses.clear()
        self._released_at = None

    def sample(self) -> Sample:
        """Return the input for the frame at hand."""
        if self._presses:
            code, at = self._presses.pop(0) if self._mode == "press" else self._presses[-1]
            if self._mode == "held":
                self._presses.clear()
            return Sample(self._inputs[code], self._focused, at, self._minimised)
        released, self._released_at = self._released_at, None
        if self._mode == "held" and self._held:
            code = max(self._held, key=lambda c: self._held[c])
            return Sample(self._inputs[code], self._focused, None, self._minimised)
        return Sample(self._neutral, self._focused, released if self._mode == "held" else None, self._minimised)


def _input_of(binding: Mapping[str, Any], seat: int) -> bytes:
    """Return what a binding means at a seat: seats whose inputs look different have one each."""
    given = binding["input"]
    return bytes(given if isinstance(given, bytes | bytearray) else given[seat])


class BotSource:
    """A scripted bot: decides in the environment's host on the newest state, acts in the next frame, once."""

    def __init__(self, neutral: bytes) -> None:
        self._neutral = neutral
        self._next = neutral

    def decided(self, payload: bytes) -> None:
        """Take in what the host's bot decided."""
        self._next = payload

    def sample(self) -> Sample:
        """Return the newest decision; neutral if there is none since the last frame."""
        payload, self._next = self._next, self._neutral
        return Sample(payload, True, None)


class IdleSource:
    """A seat nobody plays."""

    def __init__(self, neutral: bytes) -> None:
        self._sample = Sample(neutral, True, None)

    def sample(self) -> Sample:
        """Return the neutral input."""
        return self._sample
