"""The environment's picture: from ``uint8[height, width, 3]`` to a crisp surface of the size that fits."""

from __future__ import annotations

import pygame

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.presentation import View

# An integer factor keeps every pixel equally large. It is taken where it costs no more than a fifth of the size.
_INTEGER_SHARE = 0.8


def fit(picture: tuple[int, int], area: tuple[int, int]) -> tuple[int, int]:
    """The size at which a picture is shown in an area: as large as fits, in its own proportions, crisp if possible."""
    factor = min(area[0] / picture[0], area[1] / picture[1])
    whole = int(factor)
    if whole >= 1 and whole >= factor * _INTEGER_SHARE:
        factor = whole
    return max(1, round(picture[0] * factor)), max(1, round(picture[1] * factor))


def size_of(view: View) -> tuple[int, int]:
    """Width and height of a view's pixels.

    Raises:
        LocalMisuseError: the pixels are not ``uint8[height, width, 3]``.
    """
    pixels = view.pixels
    shape: tuple[int, ...] = getattr(pixels, "shape", ())
    if len(shape) != 3 or shape[2] != 3 or 0 in shape or str(pixels.dtype) != "uint8":
        raise LocalMisuseError(f"a view needs uint8[height, width, 3], not {getattr(pixels, 'dtype', '?')}{shape}")
    return int(shape[1]), int(shape[0])


class Pictures:
    """Scales views, and keeps the last result: the same view is drawn again when something moves over it."""

    def __init__(self) -> None:
        self._key: tuple[int, tuple[int, int], bool] | None = None
        self._surface: pygame.Surface | None = None
        self._pixels: object = None

    def scaled(self, view: View, size: tuple[int, int], *, dimmed: bool = False) -> pygame.Surface:
        """The view at ``size`` pixels; ``dimmed`` for a picture that does not go on for now."""
        key = (id(view.pixels), size, dimmed)
        if self._surface is None or key != self._key:
            self._surface = _scale(view, size)
            if dimmed:
                self._surface.fill((104, 112, 120), special_flags=pygame.BLEND_RGB_MULT)
            self._key = key
            self._pixels = view.pixels  # held so that its identity stays its own
        return self._surface


def _scale(view: View, size: tuple[int, int]) -> pygame.Surface:
    width, height = size_of(view)
    # No copy where the array is contiguous, as rendered ones are.
    pixels = view.pixels if view.pixels.flags.c_contiguous else view.pixels.copy(order="C")
    surface = pygame.image.frombuffer(pixels, (width, height), "RGB")
    if size[0] % width == 0 and size[0] // width == size[1] / height:
        return pygame.transform.scale(surface, size)
    return pygame.transform.smoothscale(surface, size)
