"""Blocks: things of a known size that screens stack and place. A block does not know where it will be."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import pygame

from p2pclient.app import text, theme, widgets
from p2pclient.app.draw import Part
from p2pclient.app.theme import Colour, Scale, Type

_OR = "or"


@dataclass(frozen=True, slots=True)
class Block:
    """Something ``width`` by ``height`` pixels; ``gap`` is the space above it in a column."""

    width: int
    height: int
    key: Hashable
    paint: Callable[[pygame.Surface, pygame.Rect], None]
    gap: int = 0
    moved: Callable[[float], Block] | None = None
    """``phase -> the same block there``, for what moves by itself; None for what stands still."""
    solid: bool = False
    """True if ``paint`` covers every pixel."""

    def at(self, left: int, top: int) -> Part:
        rect, moved = pygame.Rect(left, top, self.width, self.height), self.moved
        again = None if moved is None else lambda phase: moved(phase).at(left, top)
        return Part(rect, self.key, self.paint, again, self.solid)


def column_height(blocks: Sequence[Block]) -> int:
    """Height of a column; the first block's gap does not count."""
    return sum(b.height + b.gap for b in blocks) - (blocks[0].gap if blocks else 0)


def place_column(blocks: Sequence[Block], area: pygame.Rect) -> list[Part]:
    """The blocks one below the other, centred in ``area`` both ways."""
    top = area.top + (area.height - column_height(blocks)) // 2 - (blocks[0].gap if blocks else 0)
    parts = []
    for block in blocks:
        top += block.gap
        parts.append(block.at(area.left + (area.width - block.width) // 2, top))
        top += block.height
    return parts


def paragraph(
    words: str, role: Type, colour: Colour, scale: Scale, width: int, *, max_lines: int = 12, gap: int = 0
) -> Block:
    """Wrapped text, each line centred."""
    px = scale.text(role)
    lines = text.wrap(words, px, role.bold, width, max_lines)
    step = text.line_height(px, role.bold)

    def paint(surface: pygame.Surface, rect: pygame.Rect) -> None:
        for index, line in enumerate(lines):
            drawn = text.line_surface(line, px, role.bold, colour)
            surface.blit(drawn, drawn.get_rect(midtop=(rect.centerx, rect.top + index * step)))

    return Block(width, step * len(lines), ("paragraph", lines, px, role.bold, colour), paint, gap)


def bar(progress: float | None, phase: float, scale: Scale, width: int, *, gap: int = 0) -> Block:
    """A progress bar on a panel; ``phase`` matters only while the share is not known."""
    known = None if progress is None else round(progress, 3)
    key = ("bar", known, phase if known is None else 0)

    def paint(surface: pygame.Surface, rect: pygame.Rect) -> None:
        widgets.progress_bar(surface, rect, known, phase)

    def moved(other: float) -> Block:
        return bar(None, other, scale, width, gap=gap)

    return Block(width, scale.px(10), key, paint, gap, moved if known is None else None, solid=True)


def table(rows: Sequence[tuple[str, str]], scale: Scale, width: int, *, max_lines: int = 4, gap: int = 0) -> Block:
    """Label and value per row. Values that do not fit beside the labels wrap."""
    role, bold = theme.SMALL, theme.SMALL_STRONG
    px = scale.text(role)
    step = text.line_height(px, bold.bold)
    pad, between = scale.px(12), scale.px(6)
    inner = width - 2 * pad
    widest = max((text.width_of(text.printable(label), px, False) for label, _ in rows), default=0)
    label_width = min(widest, inner * 2 // 5)
    value_width = inner - label_width - scale.px(16)
    cells = [
        (text.wrap(label, px, False, label_width, 2), text.wrap(value, px, True, value_width, max_lines))
        for label, value in rows
    ]
    heights = [step * max(len(label), len(value)) for label, value in cells]

    def paint(surface: pygame.Surface, rect: pygame.Rect) -> None:
        widgets.panel(surface, rect, theme.BACKGROUND, scale.px(8))
        top = rect.top + pad
        for (label, value), height in zip(cells, heights, strict=True):
            for index, line in enumerate(label):
                surface.blit(text.line_surface(line, px, False, theme.TEXT_SOFT), (rect.left + pad, top + index * step))
            for index, line in enumerate(value):
                drawn = text.line_surface(line, px, True, theme.TEXT)
                left = rect.left + pad + label_width + scale.px(16)
                surface.blit(drawn, (left, top + index * step))
            top += height + between

    height = 2 * pad + sum(heights) + between * (len(rows) - 1)
    return Block(width, height, ("table", tuple(cells), px), paint, gap)


def hint(key_name: str, words: str, scale: Scale, width: int, *, gap: int = 0) -> Block:
    """A key and what it does here, such as how to go on."""
    return help_lines(((key_name, words),), scale, width, gap=gap)


def help_lines(keys: Sequence[tuple[str, str]], scale: Scale, width: int, *, gap: int = 0) -> Block:
    """Key caps with what they do, in as many centred rows as are needed; at most three are drawn.

    An "or" between names of keys is a word, not a key.
    """
    px = scale.text(theme.SMALL)
    items = [_help_item(text.printable(names), text.printable(does), px, scale, width) for names, does in keys]
    rows: list[list[_HelpItem]] = [[]]
    space = scale.px(28)
    for item in items:
        if rows[-1] and sum(i.width + space for i in rows[-1]) + item.width > width:
            rows.append([])
        rows[-1].append(item)
    rows = rows[:3]
    row_height = text.line_height(px, True) + scale.px(8)
    step = row_height + scale.px(6)

    def paint(surface: pygame.Surface, rect: pygame.Rect) -> None:
        for index, row in enumerate(rows):
            left = rect.centerx - (sum(i.width for i in row) + space * (len(row) - 1)) // 2
            for item in row:
                item.paint(surface, left, rect.top + index * step, row_height, px, scale)
                left += item.width + space

    height = step * len(rows) - scale.px(6)
    return Block(width, height, ("help", tuple(keys), px, width), paint, gap)


@dataclass(frozen=True, slots=True)
class _HelpItem:
    caps: tuple[tuple[str, int], ...]
    does: str
    width: int

    def paint(self, surface: pygame.Surface, left: int, top: int, height: int, px: int, scale: Scale) -> None:
        middle = top + height // 2
        for label, cap_width in self.caps:
            if label == _OR:
                widgets.put_line(surface, label, px, False, theme.TEXT_SOFT, left=left + scale.px(4), middle=middle)
            else:
                widgets.key_cap(surface, pygame.Rect(left, top, cap_width, height), label, px)
            left += cap_width + scale.px(4)
        left += scale.px(6)
        widgets.put_line(surface, self.does, px, False, theme.TEXT_SOFT, left=left, middle=middle)


def _help_item(names: str, does: str, px: int, scale: Scale, limit: int) -> _HelpItem:
    least = text.line_height(px, True) + scale.px(8)  # no cap is narrower than it is high
    caps = tuple(
        (name, text.width_of(name, px, False) + scale.px(8))
        if name == _OR
        else (name, max(least, text.width_of(name, px, True) + scale.px(16)))
        for name in names.split()
    )
    before = sum(w + scale.px(4) for _, w in caps) + scale.px(6)
    does = text.shorten(does, px, False, max(0, limit - before))
    return _HelpItem(caps, does, before + text.width_of(does, px, False))
