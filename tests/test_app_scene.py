"""A scene composes no more often than something changes, and shows the same as composing every time."""

from __future__ import annotations

from dataclasses import replace

import pygame
import pytest

from p2pclient.app.draw import Painter, Part
from p2pclient.app.gallery import kitchen_view, presentations
from p2pclient.app.scene import Scene
from p2pclient.app.screens import render_presentation

SIZE = (800, 600)
SCREENS = presentations()
MOVING = [name for name, (p, _) in SCREENS.items() if p.screen.value in ("waiting", "comparing")]


@pytest.mark.parametrize("name", SCREENS)
def test_what_stands_still_is_the_very_same_again(name: str) -> None:
    presentation, local = SCREENS[name]
    scene = Scene()
    parts = scene.parts(presentation, SIZE, local)
    assert scene.parts(presentation, SIZE, replace(local)) is parts
    again = scene.parts(presentation, SIZE, replace(local, phase=local.phase + 0.1))
    moved = [after for before, after in zip(parts, again, strict=True) if before is not after]
    assert len(moved) == any(part.moved is not None for part in parts)


@pytest.mark.parametrize("name", MOVING)
def test_a_bar_that_moved_looks_as_if_all_was_drawn_anew(name: str) -> None:
    presentation, local = SCREENS[name]
    surface, painter, scene = pygame.Surface(SIZE, depth=32), Painter(), Scene()
    painter.paint(surface, scene.parts(presentation, SIZE, replace(local, phase=0.9)))
    pictures = set()
    for phase in (0.0, 0.1, 0.37, 0.5, 0.8):
        at = replace(local, phase=phase)
        (changed,) = painter.paint(surface, scene.parts(presentation, SIZE, at))
        assert changed.height < 20
        shown = pygame.image.tobytes(surface, "RGB")
        assert shown == pygame.image.tobytes(render_presentation(presentation, SIZE, local=at), "RGB")
        pictures.add(shown)
    assert len(pictures) == 5


def test_whatever_changes_is_composed_anew() -> None:
    playing, local = SCREENS["playing"]
    surface, painter, scene = pygame.Surface(SIZE, depth=32), Painter(), Scene()
    for presentation, size, seen in (
        (playing, SIZE, local),
        (replace(playing, view=kitchen_view(frame=119)), SIZE, local),
        (playing, SIZE, replace(local, figures=True)),
        (playing, SIZE, replace(local, focused=False)),
        (SCREENS["comparing"][0], SIZE, local),
        (SCREENS["comparing"][0], (640, 480), local),
        (SCREENS["waiting"][0], (640, 480), local),
    ):
        if surface.get_size() != size:
            surface = pygame.Surface(size, depth=32)
        assert painter.paint(surface, scene.parts(presentation, size, seen))
        expected = render_presentation(presentation, size, local=seen)
        assert pygame.image.tobytes(surface, "RGB") == pygame.image.tobytes(expected, "RGB")


def test_a_part_that_went_elsewhere_leaves_nothing_behind() -> None:
    def part(left: int, name: str) -> Part:
        return Part(pygame.Rect(left, 10, 40, 20), name, lambda surface, rect: surface.fill((255, 255, 255), rect))

    still, surface, painter = part(10, "still"), pygame.Surface((200, 50), depth=32), Painter()
    painter.paint(surface, [still, part(100, "goes")])
    painter.paint(surface, [still, part(150, "goes")])
    fresh = pygame.Surface((200, 50), depth=32)
    Painter().paint(fresh, [still, part(150, "goes")])
    assert pygame.image.tobytes(surface, "RGB") == pygame.image.tobytes(fresh, "RGB")
