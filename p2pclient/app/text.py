"""Text: fonts that come with the program, wrapping, and lines drawn once and kept."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pygame

from p2pclient.app.theme import Colour

# Inside of the package: found in a checkout and after an installation alike.
ASSETS = Path(__file__).resolve().parent / "assets"
_BREAKS_AFTER = "/\\-_.:,;?&="


@lru_cache(maxsize=64)
def font(px: int, bold: bool) -> pygame.font.Font:
    """The program's own font, never the system's: screens look alike on every machine."""
    if not pygame.font.get_init():
        pygame.font.init()
    return pygame.font.Font(str(ASSETS / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")), px)


@lru_cache(maxsize=2048)
def width_of(text: str, px: int, bold: bool) -> int:
    """Width of one line in pixels."""
    return font(px, bold).size(text)[0]


@lru_cache(maxsize=128)
def line_height(px: int, bold: bool) -> int:
    """Distance of two lines in pixels."""
    return round(font(px, bold).get_height() * 1.12)


@lru_cache(maxsize=512)
def line_surface(text: str, px: int, bold: bool, colour: Colour) -> pygame.Surface:
    """One line as a picture with alpha. Not to be painted on: it is shared."""
    return font(px, bold).render(text, True, colour)


def printable(text: str) -> str:
    """Without what a font refuses (NUL, lone surrogates) or shows as a box (control characters)."""
    text = text.encode("utf-8", "replace").decode("utf-8").expandtabs(4)
    return "".join(c for c in text if c == "\n" or c.isprintable() or c == "\u200d")


@lru_cache(maxsize=512)
def wrap(text: str, px: int, bold: bool, width: int, max_lines: int = 1000) -> tuple[str, ...]:
    """Lines no wider than ``width`` pixels; the last ends in an ellipsis if ``max_lines`` is not enough."""
    lines: list[str] = []
    for paragraph in printable(text).split("\n"):
        lines.extend(_wrap_paragraph(paragraph, px, bold, width))
    if len(lines) <= max_lines:
        return tuple(lines)
    kept = lines[:max_lines]
    kept[-1] = shorten(kept[-1] + " …", px, bold, width)
    return tuple(kept)


def shorten(text: str, px: int, bold: bool, width: int) -> str:
    """The text, or as much of its beginning as fits with an ellipsis."""
    if width_of(text, px, bold) <= width:
        return text
    kept = text.rstrip(" …")
    return kept[: _fitting(kept, px, bold, width - width_of("…", px, bold))].rstrip() + "…"


def _wrap_paragraph(paragraph: str, px: int, bold: bool, width: int) -> list[str]:
    lines: list[str] = []
    line = ""
    for word in paragraph.split():
        candidate = f"{line} {word}" if line else word
        if width_of(candidate, px, bold) <= width:
            line = candidate
            continue
        if line:
            lines.append(line)
        *full, line = _break_word(word, px, bold, width)
        lines.extend(full)
    lines.append(line)
    return lines


def _break_word(word: str, px: int, bold: bool, width: int) -> list[str]:
    """A word in pieces that fit: paths and addresses break after their separators, anything else anywhere."""
    pieces: list[str] = []
    while width_of(word, px, bold) > width:
        fits = max(1, _fitting(word, px, bold, width))
        nice = max(word.rfind(c, 0, fits) for c in _BREAKS_AFTER) + 1
        cut = nice if nice > fits // 2 else fits
        pieces.append(word[:cut])
        word = word[cut:]
        if not word:
            return pieces
    pieces.append(word)
    return pieces


def _fitting(text: str, px: int, bold: bool, width: int) -> int:
    """How many characters of the beginning fit (binary search)."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if font(px, bold).size(text[:middle])[0] <= width:
            low = middle
        else:
            high = middle - 1
    return low
