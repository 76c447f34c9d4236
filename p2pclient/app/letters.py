"""A picture made of characters, as environments draw it on a terminal: one cell per character, in its colours."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pygame

from p2pclient.app import blocks, text, theme
from p2pclient.app.draw import Part
from p2pclient.app.theme import Colour, Scale

NO_PICTURE = "This game has no picture."
_MAX_COLUMNS, _MAX_ROWS = 200, 100
"""What is beyond is not drawn: it could not be read either."""
_LARGEST_PX = 48
"""A map of few characters need not fill the window."""
_CELL = (0.62, 1.2)
"""Width and height of a cell by the size of its font."""

_ESCAPE = re.compile(r"\x1b\[([0-9;]*)([@-~])")
_PALETTE: tuple[Colour, ...] = (
    (96, 104, 112),  # black, which could not be seen here
    (224, 82, 76),
    (70, 168, 92),
    (224, 180, 60),
    (70, 130, 220),
    (196, 100, 190),
    (60, 176, 190),
    (225, 229, 232),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One character; ``ground`` is None where the screen's own is."""

    character: str
    colour: Colour | None = None
    ground: Colour | None = None
    bold: bool = False


_PLAIN = Cell(" ")


def rows_of(picture: str) -> tuple[tuple[Cell, ...], ...]:
    """Return the characters by row, with the colours that escape sequences (ECMA-48, SGR) give them.

    Empty rows at the beginning and the end are left out.
    """
    rows: list[tuple[Cell, ...]] = []
    style = _PLAIN
    for line in picture.split("\n"):
        row: list[Cell] = []
        at = 0
        for escape in _ESCAPE.finditer(line):
            row += _cells(line[at : escape.start()], style)
            style = _restyled(style, escape[1]) if escape[2] == "m" else style
            at = escape.end()
        row += _cells(line[at:], style)
        rows.append(tuple(row[:_MAX_COLUMNS]))
    filled = [i for i, row in enumerate(rows) if any(cell.character != " " or cell.ground for cell in row)]
    return tuple(rows[filled[0] : filled[-1] + 1][:_MAX_ROWS]) if filled else ()


def _cells(characters: str, style: Cell) -> list[Cell]:
    return [Cell(character, style.colour, style.ground, style.bold) for character in text.printable(characters)]


def _restyled(style: Cell, parameters: str) -> Cell:
    colour, ground, bold = style.colour, style.ground, style.bold
    for number in (int(part[:4] or 0) for part in parameters.split(";")):
        if number == 0:
            colour, ground, bold = None, None, False
        elif number == 1:
            bold = True
        elif number in (39, 49):
            colour, ground = (None, ground) if number == 39 else (colour, None)
        elif 30 <= number % 60 <= 37:  # 30 to 37, and 90 to 97, which are brighter
            colour = _PALETTE[number % 60 - 30]
        elif 40 <= number % 60 <= 47:
            ground = _PALETTE[number % 60 - 40]
    return Cell(" ", colour, ground, bold)


def letter_parts(picture: str, area: pygame.Rect, scale: Scale, *, dimmed: bool) -> list[Part]:
    """The characters in the middle of ``area``, as large as fits; a sentence where there are none.

    Args:
        dimmed: for what does not go on for now.
    """
    rows = rows_of(picture)
    if not rows:
        return blocks.place_column([blocks.paragraph(NO_PICTURE, theme.BODY, theme.TEXT_SOFT, scale, area.width)], area)
    rows = tuple(row[: area.width] for row in rows[: area.height])  # a cell is at least a pixel
    columns = max(len(row) for row in rows)
    px = min(area.width / columns / _CELL[0], area.height / len(rows) / _CELL[1], scale.px(_LARGEST_PX))
    width, height = max(1, int(px * _CELL[0])), max(1, int(px * _CELL[1]))
    rect = pygame.Rect(0, 0, width * columns, height * len(rows))
    rect.center = area.center

    def paint(surface: pygame.Surface, where: pygame.Rect) -> None:
        for down, row in enumerate(rows):
            for across, cell in enumerate(row):
                place = pygame.Rect(where.left + across * width, where.top + down * height, width, height)
                _paint_cell(surface, place, cell, max(1, int(px)), dimmed)

    return [Part(rect, ("letters", picture, width, height, dimmed), paint)]


def _paint_cell(surface: pygame.Surface, place: pygame.Rect, cell: Cell, px: int, dimmed: bool) -> None:
    if cell.ground is not None:
        surface.fill(_light(cell.ground, dimmed), place)
    if cell.character != " ":
        own = theme.TEXT if cell.ground is None else theme.TEXT_ON_BRIGHT
        colour = _light(cell.colour if cell.colour is not None and cell.ground is None else own, dimmed)
        drawn = text.line_surface(cell.character, px, cell.bold, colour)
        whole = drawn.get_rect(center=place.center)
        seen = whole.clip(place)  # wide ones are cut: what is beside them would not be painted again
        surface.blit(drawn, seen, seen.move(-whole.left, -whole.top))


def _light(colour: Colour, dimmed: bool) -> Colour:
    return (colour[0] // 2, colour[1] // 2, colour[2] // 2) if dimmed else colour
