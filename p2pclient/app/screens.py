"""One composition per :class:`Screen`: what it is given becomes parts at places. Nothing here keeps state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pygame

from p2pclient.app import blocks, hud, picture, theme, widgets
from p2pclient.app.blocks import Block
from p2pclient.app.draw import Painter, Part
from p2pclient.app.letters import letter_parts
from p2pclient.app.picture import Pictures
from p2pclient.app.theme import Scale
from p2pclient.common.presentation import Presentation, Screen

LEAVING = Presentation(
    Screen.LOADING, title="Leaving…", message="Finishing the recording. The window closes by itself in a moment."
)
_MOVING = frozenset({Screen.LOADING, Screen.CHECKING, Screen.CONNECTING, Screen.WAITING, Screen.COMPARING})
_ALONE = frozenset({Screen.CHECKING, Screen.EXCLUDED})
"""Screens that are about one person only."""
_OVER_PICTURE = frozenset({Screen.PARTNER_LOST, Screen.COMPARING, Screen.PAUSED})
_FOCUS_HINT = "Click here to play: the keyboard belongs to another window"


@dataclass(frozen=True, slots=True)
class _Fit:
    """How much of a column is shown, and how large."""

    share: float
    message_lines: int = 12
    rows: int = 12
    value_lines: int = 4


# Tried in turn until a column fits: smaller first, then less. Rows outlive the message: they say where the report is.
_FITS = (
    _Fit(1.0),
    _Fit(0.9),
    _Fit(0.8),
    _Fit(0.7, 8, 10, 3),
    _Fit(0.6, 5, 8, 3),
    _Fit(0.6, 4, 5, 2),
    _Fit(0.5, 2, 3, 2),
)


@dataclass(frozen=True, slots=True)
class Local:
    """What the window itself knows and the runtime does not."""

    phase: float = 0.0
    """Where the moving bar is, 0..1."""
    figures: bool = False
    """Whether F3 has switched the figures on."""
    focused: bool = True


def compose(presentation: Presentation, size: tuple[int, int], local: Local, pictures: Pictures) -> list[Part]:
    """The parts of a screen in a window of ``size`` pixels, back to front."""
    if presentation.screen is Screen.PLAYING:
        return _playing(presentation, size, local, pictures)
    if presentation.screen in _OVER_PICTURE:
        # Everything stays where it was; only its light goes down.
        calm = replace(presentation, hud=replace(presentation.hud, notice=""))
        return _playing(calm, size, Local(), pictures, dimmed=True) + _card(presentation, size, local)
    return _card(presentation, size, local)


def render_presentation(
    presentation: Presentation, size: tuple[int, int] = (960, 720), *, local: Local | None = None
) -> pygame.Surface:
    """Draw one screen without a window: for pictures, tests and reports. Needs no display and no video driver."""
    surface = pygame.Surface(size, depth=32)
    Painter().paint(surface, compose(presentation, size, local or Local(), Pictures()))
    return surface


# -- screens that say something ---------------------------------------------------------------------------------------


def _card(presentation: Presentation, size: tuple[int, int], local: Local) -> list[Part]:
    """A column of blocks on a panel in the middle of the window."""
    margin = Scale.of(size).px(24)
    room = pygame.Rect((0, 0), size).inflate(-2 * margin, -2 * margin)
    for fit in _FITS:
        scale = Scale.of(size).shrunk(fit.share)
        pad = scale.px(32)
        width = max(40, min(room.width - 2 * pad, Scale.of(size).px(680)))
        column = _column(presentation, scale, width, local, fit)
        if blocks.column_height(column) + 2 * pad <= room.height:
            break
    while len(column) > 2 and blocks.column_height(column) + 2 * pad > room.height:
        # A window smaller than a few lines of text: the title and the message stay.
        column.pop(0 if column[0].key == ("mark", presentation.screen) else -1)
    frame = pygame.Rect(0, 0, width + 2 * pad, min(room.height, blocks.column_height(column) + 2 * pad))
    frame.center = room.center
    radius = scale.px(16)

    def paint(surface: pygame.Surface, rect: pygame.Rect) -> None:
        widgets.panel(surface, rect, theme.PANEL, radius, theme.PANEL_EDGE)

    return [Part(frame, ("card", radius), paint), *blocks.place_column(column, frame)]


def _column(presentation: Presentation, scale: Scale, width: int, local: Local, fit: _Fit) -> list[Block]:
    screen, message = presentation.screen, presentation.message
    column = [_mark(screen, scale)]
    if presentation.title:
        title = blocks.paragraph(presentation.title, theme.TITLE, theme.TEXT, scale, width, max_lines=3)
        column.append(replace(title, gap=scale.px(16)))
    if message:
        words = blocks.paragraph(message, theme.BODY, theme.TEXT_SOFT, scale, width, max_lines=fit.message_lines)
        column.append(replace(words, gap=scale.px(12)))
    if screen is Screen.RESULTS and presentation.hud.scores:
        column.append(hud.score_chips(presentation.hud, scale, width, gap=scale.px(24)))
    if presentation.lines:
        rows = blocks.table(presentation.lines[: fit.rows], scale, width, max_lines=fit.value_lines)
        column.append(replace(rows, gap=scale.px(24)))
    if screen in _MOVING:
        column.append(blocks.bar(presentation.progress, local.phase, scale, width * 3 // 4, gap=scale.px(32)))
    if presentation.can_continue:
        column.append(blocks.hint("Enter", "or a click: continue", scale, width, gap=scale.px(24)))
    return column


def _mark(screen: Screen, scale: Scale) -> Block:
    """The sign at the top: two seats, and whether somebody sits there; or one's own alone."""
    size = scale.px(44)
    width = size if screen in _ALONE else size * 2 + scale.px(20)
    paint_one: Callable[[pygame.Surface, tuple[int, int], int, int], None] = widgets.seat_mark
    if screen in (Screen.WAITING, Screen.CONNECTING, Screen.PARTNER_LOST):
        paint_one = widgets.hollow_seat_mark

    def paint(surface: pygame.Surface, rect: pygame.Rect) -> None:
        if screen is Screen.ERROR:
            widgets.caution_mark(surface, rect)
            return
        widgets.seat_mark(surface, (rect.left + size // 2, rect.centery), size, 0)
        if screen not in _ALONE:
            paint_one(surface, (rect.right - size // 2, rect.centery), size, 1)

    return Block(width, size, ("mark", screen), paint)


# -- the screen that is played ----------------------------------------------------------------------------------------


def _playing(
    presentation: Presentation, size: tuple[int, int], local: Local, pictures: Pictures, *, dimmed: bool = False
) -> list[Part]:
    scale = Scale.of(size)
    margin = scale.px(16)
    room = pygame.Rect((0, 0), size).inflate(-2 * margin, -2 * margin)
    top, strip = _strip(presentation, scale, room)
    bottom: list[Part] = []
    below = 0
    if presentation.keys:
        help_block = blocks.help_lines(presentation.keys, scale, room.width)
        bottom = [help_block.at(room.left, room.bottom - help_block.height)]
        below = help_block.height + scale.px(12)
    area = pygame.Rect(room.left, room.top + top, room.width, max(1, room.height - top - below))
    shown = _picture_parts(presentation, area, pictures, scale, dimmed=dimmed)
    lower_edge = shown[0].rect.bottom if shown else area.bottom
    return strip + bottom + shown + _over_picture(presentation, area, lower_edge, local, scale)


def _strip(presentation: Presentation, scale: Scale, room: pygame.Rect) -> tuple[int, list[Part]]:
    """Scores on the left, whose turn it is, time on the right, all above the picture; and how high that is."""
    parts: list[Part] = []
    time = hud.time_block(presentation.hud, scale)
    time_width = time.width + scale.px(16) if time else 0
    # Over the picture it would hide what the game is about, for as long as it lasts.
    turn = hud.notice_block(presentation.hud.turn, scale, room.width // 2) if presentation.hud.turn else None
    turn_width = turn.width + scale.px(16) if turn else 0
    height = chips_width = 0
    if presentation.hud.scores:
        chips = hud.score_chips(presentation.hud, scale, max(40, room.width - time_width - turn_width))
        height, chips_width = chips.height, chips.width
        parts.append(chips.at(room.left, room.top))
    if turn:
        height = max(height, turn.height)
        free = room.width - chips_width - time_width - turn.width
        parts.append(turn.at(room.left + chips_width + max(0, free) // 2, room.top + (height - turn.height) // 2))
    if time:
        height = max(height, time.height)
        parts.append(time.at(room.right - time.width, room.top + (height - time.height) // 2))
    return (height + scale.px(12) if height else 0), parts


def _picture_parts(
    presentation: Presentation, area: pygame.Rect, pictures: Pictures, scale: Scale, *, dimmed: bool
) -> list[Part]:
    view = presentation.view
    if view is None or area.width < 8 or area.height < 8:
        return []
    if view.text is not None:
        return letter_parts(view.text, area, scale, dimmed=dimmed)
    size = picture.fit(picture.size_of(view), area.size)
    rect = pygame.Rect((0, 0), size)
    rect.center = area.center

    def paint(surface: pygame.Surface, where: pygame.Rect) -> None:
        surface.blit(pictures.scaled(view, size, dimmed=dimmed), where)

    return [Part(rect, ("picture", id(view.pixels), dimmed), paint)]


def _over_picture(
    presentation: Presentation, area: pygame.Rect, lower_edge: int, local: Local, scale: Scale
) -> list[Part]:
    parts: list[Part] = []
    inset = scale.px(12)
    words = presentation.hud.notice or (_FOCUS_HINT if presentation.needs_focus and not local.focused else "")
    if words:
        notice = hud.notice_block(words, scale, area.width - 2 * inset, height=(lower_edge - area.top) // 2)
        parts.append(notice.at(area.centerx - notice.width // 2, lower_edge - inset - notice.height))
    if local.figures:
        figures = hud.figures_block(presentation.hud, presentation.view, scale)
        parts.append(figures.at(area.left + inset, area.top + inset))
    return parts
