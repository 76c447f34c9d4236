"""What is drawn, without a window: every screen at every size, and only what changed."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pygame
import pytest

from p2pclient.app import text
from p2pclient.app.draw import Painter, Part
from p2pclient.app.gallery import kitchen_view, presentations
from p2pclient.app.picture import Pictures, fit
from p2pclient.app.screens import Local, compose, render_presentation
from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.presentation import Hud, Presentation, Screen, View

SIZES = [(640, 480), (800, 600), (960, 720), (1920, 1080), (1080, 1920)]
SCREENS = presentations()
PLAYING = SCREENS["playing"][0]


def test_the_gallery_shows_every_screen() -> None:
    assert {presentation.screen for presentation, _ in SCREENS.values()} == set(Screen)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", SCREENS)
def test_nothing_lies_outside_of_the_window(name: str, size: tuple[int, int]) -> None:
    presentation, local = SCREENS[name]
    parts = compose(presentation, size, local, Pictures())
    assert parts
    window = pygame.Rect((0, 0), size)
    assert [part.key for part in parts if not window.contains(part.rect)] == []


@pytest.mark.parametrize("size", SIZES[:4], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", SCREENS)
def test_parts_paint_inside_of_their_own_rectangle(name: str, size: tuple[int, int]) -> None:
    """Overflow is what would be cut off: painting without a clip must change no pixel outside of the parts."""
    presentation, local = SCREENS[name]
    clipped = render_presentation(presentation, size, local=local)
    for part in compose(presentation, size, local, Pictures()):
        free = pygame.Surface(size, depth=32)
        part.paint(free, part.rect)
        outside = pygame.mask.from_threshold(free, (0, 0, 0), (1, 1, 1, 255))
        outside.invert()
        for rect in outside.get_bounding_rects():
            assert part.rect.contains(rect), f"{part.key} paints at {rect}, outside of {part.rect}"
    assert clipped.get_size() == size


@pytest.mark.parametrize("size", [(1, 1), (60, 40), (200, 900), (320, 200)])
@pytest.mark.parametrize("name", SCREENS)
def test_absurd_sizes_and_texts_do_no_harm(name: str, size: tuple[int, int]) -> None:
    presentation, local = SCREENS[name]
    strange = "nul\0 tab\t \ud800 " + "x" * 500 + " " + "word " * 300
    shown = replace(presentation, title=strange, message=strange, lines=((strange, strange),) * 20)
    assert render_presentation(shown, size, local=local).get_size() == size


def test_a_view_is_shown_at_a_whole_factor_pixel_by_pixel() -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (64, 80, 3), dtype=np.uint8)
    surface = render_presentation(Presentation(Screen.PLAYING, view=View(0, 0, pixels)), (960, 720))
    shown = pygame.surfarray.array3d(surface).swapaxes(0, 1)
    assert fit((80, 64), (928, 688)) == (800, 640)
    left, top = (960 - 800) // 2, (720 - 640) // 2
    np.testing.assert_array_equal(shown[top : top + 640, left : left + 800], pixels.repeat(10, 0).repeat(10, 1))


def test_pictures_of_any_memory_layout_are_shown_alike() -> None:
    view = kitchen_view()
    for other in (np.asfortranarray(view.pixels), view.pixels[:, ::-1][:, ::-1], readonly(view.pixels)):
        presentation = replace(PLAYING, view=replace(view, pixels=other))
        assert same(render_presentation(presentation), render_presentation(replace(PLAYING, view=view)))


def readonly(pixels: np.ndarray) -> np.ndarray:
    copy = pixels.copy()
    copy.flags.writeable = False
    return copy


def same(one: pygame.Surface, other: pygame.Surface) -> bool:
    return pygame.image.tobytes(one, "RGB") == pygame.image.tobytes(other, "RGB")


@pytest.mark.parametrize(
    ("picture", "area"), [((320, 256), (600, 400)), ((3000, 20), (640, 480)), ((1, 1), (640, 480))]
)
def test_pictures_fit_and_keep_their_proportions(picture: tuple[int, int], area: tuple[int, int]) -> None:
    width, height = fit(picture, area)
    assert 1 <= width <= area[0]
    assert 1 <= height <= area[1]
    assert width / height == pytest.approx(picture[0] / picture[1], rel=0.2)


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), None]
)
def test_what_is_no_picture_is_refused(pixels: object) -> None:
    with pytest.raises(LocalMisuseError, match="uint8"):
        render_presentation(Presentation(Screen.PLAYING, view=View(0, 0, pixels)))


# -- only what changed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCREENS)
def test_an_equal_screen_is_not_painted_again(name: str) -> None:
    presentation, local = SCREENS[name]
    surface, painter, pictures = pygame.Surface((960, 720)), Painter(), Pictures()
    assert painter.paint(surface, compose(presentation, (960, 720), local, pictures)) == [surface.get_rect()]
    assert painter.paint(surface, compose(replace(presentation), (960, 720), local, pictures)) == []
    painter.invalidate()
    assert painter.paint(surface, compose(presentation, (960, 720), local, pictures)) == [surface.get_rect()]


def test_a_new_view_repaints_the_picture_alone() -> None:
    surface, painter, pictures = pygame.Surface((960, 720)), Painter(), Pictures()
    painter.paint(surface, compose(PLAYING, surface.get_size(), Local(), pictures))
    changed = painter.paint(
        surface, compose(replace(PLAYING, view=kitchen_view(frame=119)), surface.get_size(), Local(), pictures)
    )
    assert [rect.size for rect in changed] == [fit((320, 256), (640, 512))]


def test_a_moving_bar_repaints_nothing_but_itself() -> None:
    waiting = SCREENS["waiting"][0]
    surface, painter = pygame.Surface((960, 720)), Painter()
    painter.paint(surface, compose(waiting, surface.get_size(), Local(phase=0.1), Pictures()))
    changed = painter.paint(surface, compose(waiting, surface.get_size(), Local(phase=0.2), Pictures()))
    assert len(changed) == 1
    assert changed[0].height < 20


def test_painting_changes_one_after_the_other_gives_what_painting_at_once_gives() -> None:
    """Any screen after any other: what remains must equal a fresh drawing."""
    surface, painter, pictures = pygame.Surface((800, 600), depth=32), Painter(), Pictures()
    names = list(SCREENS)
    for name in [n for pair in zip(names, reversed(names), strict=True) for n in pair]:
        presentation, local = SCREENS[name]
        for shown in (
            presentation,
            replace(presentation, hud=replace(presentation.hud, notice="One moment", stalled=True)),
        ):
            painter.paint(surface, compose(shown, surface.get_size(), local, pictures))
            assert same(surface, render_presentation(shown, surface.get_size(), local=local)), name


# -- what is said -----------------------------------------------------------------------------------------------------


def keys_of(presentation: Presentation, local: Local | None = None) -> list[object]:
    return [part.key for part in compose(presentation, (960, 720), local or Local(), Pictures())]


def test_own_seat_is_marked_and_unknown_figures_are_left_out() -> None:
    keys = keys_of(Presentation(Screen.PLAYING, hud=Hud(scores=(20.0, 12.5), own_seat=1)))
    assert any(isinstance(key, tuple) and key[:2] == ("chips", (("Partner", "20"), ("You", "12.5"))) for key in keys)
    assert not any(isinstance(key, tuple) and key[0] == "time" for key in keys)


def test_figures_are_drawn_on_demand() -> None:
    assert not any(isinstance(key, tuple) and key[0] == "figures" for key in keys_of(PLAYING))
    (figures,) = [k for k in keys_of(PLAYING, Local(figures=True)) if isinstance(k, tuple) and k[0] == "figures"]
    assert ("ping", "48 ms") in figures[1]
    assert ("rollback depth", "3 frames") in figures[1]


def test_who_has_lost_the_keyboard_is_told_where_to_click() -> None:
    notices = [k for k in keys_of(PLAYING, Local(focused=False)) if isinstance(k, tuple) and k[0] == "notice"]
    assert len(notices) == 1
    assert "Click here" in notices[0][1]


def test_wrapping_loses_no_word_and_keeps_to_the_width() -> None:
    words = "a path /home/participant/.local/share/tandem/runs/2025-11-21T10-15-02/report.txt and the rest of it"
    lines = text.wrap(words, 20, False, 260)
    assert max(text.width_of(line, 20, False) for line in lines) <= 260
    assert "".join(lines).replace(" ", "") == words.replace(" ", "")


def test_text_that_must_be_cut_says_so() -> None:
    lines = text.wrap("word " * 200, 20, False, 260, 3)
    assert len(lines) == 3
    assert lines[-1].endswith("…")
    assert text.width_of(lines[-1], 20, False) <= 260


@pytest.mark.parametrize("size", [(1280, 720), (640, 480), (480, 360)])
@pytest.mark.parametrize("seats", [2, 4])
def test_whose_turn_it_is_stands_above_the_picture_and_hides_nothing(size: tuple[int, int], seats: int) -> None:
    pixels = np.full((60, 80, 3), 200, np.uint8)
    hud = Hud((0.0,) * seats, 0, seconds_left=70.0, turn="It is your turn.")
    playing = Presentation(Screen.PLAYING, view=View(0, 0, pixels), hud=hud)
    rects = {str(part.key[0]): part.rect for part in compose(playing, size, Local(focused=True), Pictures())}
    assert {"chips", "notice", "time", "picture"} <= set(rects)
    above = [rects[name] for name in ("chips", "notice", "time")]
    assert all(not one.colliderect(other) for one, other in itertools.combinations([*above, rects["picture"]], 2))
    assert all(pygame.Rect((0, 0), size).contains(rect) for rect in above)


@pytest.mark.parametrize("size", SIZES[:4], ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_long_message_over_the_game_is_read_to_its_end(size: tuple[int, int]) -> None:
    message = "Please stop playing for a moment and put on your headphones. " * 3 + "We go on in five minutes."
    shown = replace(PLAYING, hud=replace(PLAYING.hud, notice=message))
    notice = notice_of(shown, size)
    assert notice.key[1] == " ".join(message.split())
    endless = replace(PLAYING, hud=replace(PLAYING.hud, notice="word " * 2000))
    cut = notice_of(endless, size)
    assert cut.key[1].endswith("…")
    assert cut.rect.height <= size[1] // 2  # the game is still to be seen


def notice_of(shown: Presentation, size: tuple[int, int]) -> Part:
    parts = compose(shown, size, Local(), Pictures())
    (found,) = [part for part in parts if isinstance(part.key, tuple) and part.key[0] == "notice"]
    return found
