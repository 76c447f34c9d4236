"""What is on the screen as parts, and the painter that paints only those that changed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import pygame

from p2pclient.app import theme


@dataclass(frozen=True, slots=True)
class Part:
    """One thing at one place.

    ``key`` stands for everything that ``paint`` draws: equal rect and key, equal pixels. ``paint`` draws inside of
    ``rect`` only; parts later in a list lie over earlier ones.
    """

    rect: pygame.Rect
    key: Hashable
    paint: Callable[[pygame.Surface, pygame.Rect], None]


class Painter:
    """Keeps one surface up to date with a list of parts."""

    def __init__(self) -> None:
        self._shown: Sequence[Part] = ()
        self._size: tuple[int, int] | None = None

    def invalidate(self) -> None:
        """Forget what is shown: the next call paints everything (after a resize, or when the system asks for it)."""
        self._size = None

    def paint(self, surface: pygame.Surface, parts: Sequence[Part]) -> list[pygame.Rect]:
        """Bring ``surface`` up to date; returns the rectangles that changed, empty if nothing did."""
        bounds = surface.get_rect()
        if surface.get_size() != self._size:
            changed = [bounds]
        else:
            changed = [rect for rect in (r.clip(bounds) for r in self._changed(parts)) if rect.size != (0, 0)]
        for rect in changed:
            surface.set_clip(rect)
            surface.fill(theme.BACKGROUND, rect)
            for part in parts:
                if part.rect.colliderect(rect):
                    part.paint(surface, part.rect)
        surface.set_clip(None)
        # The parts are kept, not only their keys: keys may hold the identity of an array that the part keeps alive.
        self._shown, self._size = list(parts), surface.get_size()
        return changed

    def _changed(self, parts: Sequence[Part]) -> list[pygame.Rect]:
        before = {(tuple(part.rect), part.key) for part in self._shown}
        after = {(tuple(part.rect), part.key) for part in parts}
        rects = [part.rect for part in self._shown if (tuple(part.rect), part.key) not in after]
        rects += [part.rect for part in parts if (tuple(part.rect), part.key) not in before]
        return _without_covered(rects)


def _without_covered(rects: Sequence[pygame.Rect]) -> list[pygame.Rect]:
    """Each rect once, and none that lies inside of another: nothing is painted twice."""
    kept: list[pygame.Rect] = []
    for rect in sorted(rects, key=lambda r: -r.width * r.height):
        if not any(other.contains(rect) for other in kept):
            kept.append(rect)
    return kept
