"""Shapes that screens are drawn with. Each function paints inside of the rectangle that it is given."""

from __future__ import annotations

import math
from functools import lru_cache

import pygame

from p2pclient.app import text, theme
from p2pclient.app.theme import Colour

# Polygons have no anti-aliasing of their own here: drawn this many times larger, then averaged.
_OVERSAMPLING = 4
_CORNERS = {
    "triangle": (3, -90.0),
    "square": (4, -45.0),
    "diamond": (4, -90.0),
    "hexagon": (6, 0.0),
}


def panel(surface: pygame.Surface, rect: pygame.Rect, colour: Colour, radius: int, edge: Colour | None = None) -> None:
    """A rectangle with round corners, and a thin edge if asked for."""
    if edge is not None:
        _rounded(surface, rect, edge, radius)
        rect = rect.inflate(-2, -2)
    _rounded(surface, rect, colour, max(0, radius - 1))


def _rounded(surface: pygame.Surface, rect: pygame.Rect, colour: Colour, radius: int) -> None:
    radius = min(radius, rect.width // 2, rect.height // 2)
    if radius < 2:
        surface.fill(colour, rect)
        return
    surface.fill(colour, rect.inflate(-2 * radius, 0))
    surface.fill(colour, rect.inflate(0, -2 * radius))
    corner = _disc(radius, colour)
    for x, area_x in ((rect.left, 0), (rect.right - radius, radius)):
        for y, area_y in ((rect.top, 0), (rect.bottom - radius, radius)):
            surface.blit(corner, (x, y), (area_x, area_y, radius, radius))


@lru_cache(maxsize=128)
def _disc(radius: int, colour: Colour) -> pygame.Surface:
    return _smooth_shape("circle", 2 * radius, colour, 0)


def progress_bar(surface: pygame.Surface, rect: pygame.Rect, share: float | None, phase: float) -> None:
    """How much is done, or, while ``share`` is ``None``, a piece that runs to and fro (``phase`` 0..1 is one round).

    Covers all of ``rect``; meant to lie on a panel.
    """
    surface.blit(_bar_track(rect.size), rect)
    if share is None:
        width = max(rect.height, rect.width // 4)
        # Slow at the ends: a cosine, which moves without a jerk.
        left = rect.left + round((rect.width - width) * (0.5 - 0.5 * math.cos(2 * math.pi * phase)))
    else:
        width, left = round(rect.width * min(1.0, max(0.0, share))), rect.left
        if width < rect.height:
            return
    surface.blit(_bar_piece((width, rect.height)), (left, rect.top))


@lru_cache(maxsize=8)
def _bar_track(size: tuple[int, int]) -> pygame.Surface:
    track = pygame.Surface(size, depth=32)
    track.fill(theme.PANEL)
    _rounded(track, track.get_rect(), theme.TRACK, size[1] // 2)
    return track


@lru_cache(maxsize=8)
def _bar_piece(size: tuple[int, int]) -> pygame.Surface:
    piece = pygame.Surface(size, pygame.SRCALPHA)
    piece.fill((*theme.ACCENT, 0))
    _rounded(piece, piece.get_rect(), theme.ACCENT, size[1] // 2)
    return piece


def seat_mark(
    surface: pygame.Surface, centre: tuple[int, int], size: int, seat: int, colour: Colour | None = None
) -> None:
    """The shape of a seat in its colour (or in ``colour``), ``size`` pixels wide."""
    mark = _smooth_shape(theme.seat_shape(seat), size, colour or theme.seat_colour(seat), 0)
    surface.blit(mark, mark.get_rect(center=centre))


def hollow_seat_mark(surface: pygame.Surface, centre: tuple[int, int], size: int, seat: int) -> None:
    """The outline of a seat's shape: nobody sits there yet, or no more."""
    mark = _smooth_shape(theme.seat_shape(seat), size, theme.KEY_EDGE, max(2, size // 12))
    surface.blit(mark, mark.get_rect(center=centre))


@lru_cache(maxsize=256)
def _smooth_shape(shape: str, size: int, colour: Colour, outline: int) -> pygame.Surface:
    big = size * _OVERSAMPLING
    # Transparent in the shape's own colour, or the averaging would darken its edge.
    surface = pygame.Surface((big, big), pygame.SRCALPHA)
    surface.fill((*colour, 0))
    width = outline * _OVERSAMPLING
    centre = (big / 2, big / 2)
    if shape == "circle":
        pygame.draw.circle(surface, colour, centre, big / 2, width)
    else:
        pygame.draw.polygon(surface, colour, _corners(shape, centre, big / 2 - width / 2), width)
    return pygame.transform.smoothscale(surface, (size, size))


def _corners(shape: str, centre: tuple[float, float], radius: float) -> list[tuple[float, float]]:
    if shape == "star":
        radii, angles = [radius, radius * 0.45] * 5, [-90.0 + 36.0 * i for i in range(10)]
    else:
        count, first = _CORNERS[shape]
        radii, angles = [radius] * count, [first + 360.0 * i / count for i in range(count)]
    if shape == "triangle":
        centre = (centre[0], centre[1] + radius * 0.2)  # its middle lies lower than its corners suggest
    return [
        (centre[0] + r * math.cos(math.radians(a)), centre[1] + r * math.sin(math.radians(a)))
        for r, a in zip(radii, angles, strict=True)
    ]


def caution_mark(surface: pygame.Surface, rect: pygame.Rect) -> None:
    """A calm exclamation mark: something did not work."""
    size = min(rect.size)
    disc = _disc(size // 2, theme.CAUTION)
    surface.blit(disc, disc.get_rect(center=rect.center))
    sign = text.line_surface("!", max(12, round(size * 0.62)), True, theme.TEXT_ON_BRIGHT)
    surface.blit(sign, sign.get_rect(center=rect.center))


def key_cap(surface: pygame.Surface, rect: pygame.Rect, label: str, px: int) -> None:
    """A key of the keyboard with what is printed on it."""
    panel(surface, rect, theme.KEY_FACE, max(3, rect.height // 5), theme.KEY_EDGE)
    sign = text.line_surface(label, px, True, theme.TEXT)
    surface.blit(sign, sign.get_rect(center=rect.center))


def put_line(surface: pygame.Surface, line: str, px: int, bold: bool, colour: Colour, *, left: int, middle: int) -> int:
    """One line of text, centred on the height ``middle``; returns where it ends."""
    drawn = text.line_surface(line, px, bold, colour)
    surface.blit(drawn, drawn.get_rect(midleft=(left, middle)))
    return left + drawn.get_width()
