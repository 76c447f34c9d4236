"""Colours, sizes and spacing that every screen shares.

Colours of seats are Okabe and Ito's palette (2008), told apart by people with any common colour blindness; each seat
also has a shape of its own, so that nothing rests on colour alone. Text on its ground has a contrast of 7:1 or more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

Colour = tuple[int, int, int]

BACKGROUND: Colour = (28, 36, 44)
PANEL: Colour = (41, 51, 61)
PANEL_EDGE: Colour = (66, 80, 93)
TRACK: Colour = (58, 71, 83)
TEXT: Colour = (240, 244, 246)
TEXT_SOFT: Colour = (188, 199, 208)
TEXT_ON_BRIGHT: Colour = (16, 22, 28)
ACCENT: Colour = (86, 180, 233)
CAUTION: Colour = (240, 190, 80)
KEY_FACE: Colour = (70, 84, 97)
KEY_EDGE: Colour = (104, 121, 136)

SEAT_COLOURS: tuple[Colour, ...] = (
    (86, 180, 233),  # sky blue
    (230, 159, 0),  # orange
    (64, 196, 152),  # bluish green
    (240, 228, 66),  # yellow
    (214, 140, 182),  # reddish purple
    (236, 120, 60),  # vermillion
)
SEAT_SHAPES: tuple[str, ...] = ("circle", "triangle", "square", "diamond", "hexagon", "star")

# The sizes below are pixels in a window of this size; everything grows and shrinks with the window.
_REFERENCE = (960, 720)
_SMALLEST_TEXT = 12


class Type(NamedTuple):
    """A role of text: size in reference pixels, and weight."""

    px: int
    bold: bool


TITLE = Type(34, True)
HEADING = Type(25, True)
BODY = Type(20, False)
STRONG = Type(20, True)
SMALL = Type(16, False)
SMALL_STRONG = Type(16, True)


@dataclass(frozen=True, slots=True)
class Scale:
    """How large things are in one window. Spacing comes in steps: 4, 8, 12, 16, 24, 32, 48."""

    factor: float

    @staticmethod
    def of(size: tuple[int, int]) -> Scale:
        """For a window of ``size`` pixels."""
        return Scale(max(0.2, min(size[0] / _REFERENCE[0], size[1] / _REFERENCE[1])))

    def shrunk(self, share: float) -> Scale:
        return Scale(self.factor * share)

    def px(self, reference_px: float) -> int:
        """A length, at least one pixel."""
        return max(1, round(reference_px * self.factor))

    def text(self, role: Type) -> int:
        """Font size in pixels; never so small that it cannot be read."""
        return max(_SMALLEST_TEXT, round(role.px * self.factor))


def seat_colour(seat: int) -> Colour:
    return SEAT_COLOURS[seat % len(SEAT_COLOURS)]


def seat_shape(seat: int) -> str:
    return SEAT_SHAPES[seat % len(SEAT_SHAPES)]
