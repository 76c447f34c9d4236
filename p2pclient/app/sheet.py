"""Several screens side by side as one picture, drawn without a window."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from p2pclient.common.presentation import Presentation

_GAP = 16
_BETWEEN = (24, 26, 32)


def save_side_by_side(presentations: Sequence[Presentation], path: Path, *, size: tuple[int, int] = (640, 480)) -> None:
    """Write a PNG with each presentation as its screen, left to right, ``size`` pixels each.

    Raises:
        OSError: the file cannot be written.
    """
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no display is needed to draw into memory
    import pygame

    from p2pclient.app.screens import render_presentation

    width = size[0] * len(presentations) + _GAP * (len(presentations) - 1)
    sheet = pygame.Surface((width, size[1]))
    sheet.fill(_BETWEEN)
    for number, presentation in enumerate(presentations):
        sheet.blit(render_presentation(presentation, size), (number * (size[0] + _GAP), 0))
    try:
        pygame.image.save(sheet, str(path))
    except pygame.error as error:
        raise OSError(str(error)) from error
