"""Games without a picture: maps of characters in the colours of a terminal, or a sentence."""

from __future__ import annotations

import pygame
import pytest

from p2pclient.app.letters import Cell, letter_parts, rows_of
from p2pclient.app.screens import render_presentation
from p2pclient.app.theme import BACKGROUND, Scale
from p2pclient.common.presentation import Presentation, Screen, View

AREA = pygame.Rect(0, 0, 900, 600)


def words(picture: str) -> list[str]:
    return ["".join(cell.character for cell in row) for row in rows_of(picture)]


def shown(picture: str) -> pygame.Surface:
    return render_presentation(Presentation(Screen.PLAYING, view=View(0, 0, None, picture)))


def test_characters_keep_their_columns_and_empty_rows_around_them_go() -> None:
    assert words("\n  (Down)\nS F\n\nHF\n\n") == ["  (Down)", "S F", "", "HF"]


def test_escape_sequences_become_colours_and_nothing_of_them_is_seen() -> None:
    (row,) = rows_of("S\x1b[41mF\x1b[0mG\x1b[34;1mB\x1b[22;39mC\x1b[2J\x1b[?25lD")
    assert "".join(cell.character for cell in row) in ("SFGBCD", "SFGBC[?25lD")
    assert row[0] == row[2].__class__("S")
    assert row[1].ground is not None
    assert row[2] == Cell("G")
    assert row[3].bold
    assert row[3].colour is not None
    assert row[4].colour is None


def test_a_colour_lasts_over_the_end_of_a_line() -> None:
    first, second = rows_of("\x1b[32ma\nb\x1b[mc")
    assert first[0].colour == second[0].colour is not None
    assert second[1] == Cell("c")


def test_the_place_of_a_player_who_is_only_a_colour_is_seen() -> None:
    marked, plain = shown("SFF\nF\x1b[41m \x1b[0mF"), shown("SFF\nF F")
    assert pygame.image.tobytes(marked, "RGB") != pygame.image.tobytes(plain, "RGB")


@pytest.mark.parametrize("picture", ["", " \n\n  ", "\x1b[0m"])
def test_without_any_character_a_sentence_is_shown(picture: str) -> None:
    surface = shown(picture)
    seen = pygame.mask.from_threshold(surface, BACKGROUND, (1, 1, 1, 255))
    seen.invert()
    assert seen.count() > 200
    (part,) = letter_parts(picture, AREA, Scale.of(AREA.size), dimmed=False)
    assert "no picture" in str(part.key)


def test_a_picture_that_does_not_go_on_is_dimmed() -> None:
    def light(dimmed: bool) -> int:
        (part,) = letter_parts("\x1b[47m####", AREA, Scale.of(AREA.size), dimmed=dimmed)
        surface = pygame.Surface(AREA.size, depth=32)
        part.paint(surface, part.rect)
        return int(sum(pygame.transform.average_color(surface)[:3]))

    assert light(True) < light(False)


@pytest.mark.parametrize(
    "picture", ["x" * 100_000, "\n".join("y" * 5000), "\x1b[" + "9" * 5000 + "m" + "z", "\x1b[;;m\0"]
)
def test_no_text_is_too_large(picture: str) -> None:
    for size in ((960, 720), (60, 40)):
        surface = render_presentation(Presentation(Screen.PLAYING, view=View(0, 0, None, picture)), size)
        assert surface.get_size() == size
    for part in letter_parts(picture, AREA, Scale.of(AREA.size), dimmed=False):
        assert AREA.contains(part.rect)
