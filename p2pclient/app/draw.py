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
    moved: Callable[[float], Part] | None = None
    """``phase -> the same part there``, for what moves by itself; None for what stands still."""
    solid: bool = False
    """True if ``paint`` covers every pixel of ``rect``, so that nothing under it need be painted."""


class Painter:
    """Keeps one surface up to date with a list of parts."""

    def __init__(self) -> None:
        self._shown: Sequence[Part] = ()
        self._size: tuple[int, int] | None = None

    def invalidate(self) -> None:
        """Forget what is shown: the next call paints everything (after a resize, or when the system asks for it)."""
        self._size = None

    def paint(self, surface: pygame.Surface, parts: Sequence[Part]) -> list[pygame.Rect]:
        """Bring ``surface`` up to date; returns the rectangles that changed, empty if nothing did.

        The same sequence as in the last call stands for the same screen: do not change one that was given.
        """
        bounds = surface.get_rect()
        if bounds.size != self._size:
            changed = [bounds]
        elif parts is self._shown:
            return []
        else:
            changed = [rect for rect in (r.clip(bounds) for r in self._changed(parts)) if rect.size != (0, 0)]
        for rect in changed:
            surface.set_clip(rect)
            ground = next((i for i in reversed(range(len(parts))) if _covers(parts[i], rect)), None)
            if ground is None:
                surface.fill(theme.BACKGROUND, rect)
            for part in parts[ground:]:
                if part.rect.colliderect(rect):
                    part.paint(surface, part.rect)
        surface.set_clip(None)
        # The parts are kept, not only their keys: keys may hold the identity of an array that the part keeps alive.
        self._shown, self._size = parts, bounds.size
        return changed

    def _changed(self, parts: Sequence[Part]) -> list[pygame.Rect]:
        if len(parts) == len(self._shown):
            # Mostly the very same parts as before; comparing their keys, whole texts, would take the time here.
            other = [(a, b) for a, b in zip(self._shown, parts, strict=True) if a is not b]
            if len(other) == 1 and other[0][0].rect == other[0][1].rect:
                ((was, is_now),) = other
                return [is_now.rect] if was.key != is_now.key else []
        before = {(tuple(part.rect), part.key) for part in self._shown}
        after = {(tuple(part.rect), part.key) for part in parts}
        rects = [part.rect for part in self._shown if (tuple(part.rect), part.key) not in after]
        rects += [part.rect for part in parts if (tuple(part.rect), part.key) not in before]
        return _without_covered(rects)


def _covers(part: Part, rect: pygame.Rect) -> bool:
    return part.solid and bool(part.rect.contains(rect))


def _without_covered(rects: Sequence[pygame.Rect]) -> list[pygame.Rect]:
    """Each rect once, and none that lies inside of another: nothing is painted twice."""
    kept: list[pygame.Rect] = []
    for rect in sorted(rects, key=lambda r: -r.width * r.height):
        if not any(other.contains(rect) for other in kept):
            kept.append(rect)
    return kept
