"""What lies around and over the environment's picture: scores, time, notices, figures."""

from __future__ import annotations

from collections.abc import Sequence

import pygame

from p2pclient.app import text, theme, widgets
from p2pclient.app.blocks import Block
from p2pclient.app.theme import Scale
from p2pclient.common.presentation import Hud, View


def seat_name(seat: int, seats: int, own_seat: int | None) -> str:
    """How a seat is called on the screen."""
    if seat == own_seat:
        return "You"
    return "Partner" if own_seat is not None and seats == 2 else f"Player {seat + 1}"


def number(value: float) -> str:
    """A score: no decimals where there are none."""
    return str(int(value)) if value == int(value) else f"{value:.2f}".rstrip("0")


def clock(seconds: float) -> str:
    """Minutes and seconds; never negative."""
    whole = max(0, int(seconds + 0.5))
    return f"{whole // 60}:{whole % 60:02d}"


def score_chips(hud: Hud, scale: Scale, width: int, *, gap: int = 0) -> Block:
    """One chip per seat: shape, name, score; the own one is filled. Names go first where space is short."""
    seats = len(hud.scores)
    full = [(seat_name(seat, seats, hud.own_seat), number(score)) for seat, score in enumerate(hud.scores)]
    short = [(name if seat == hud.own_seat else "", score) for seat, (name, score) in enumerate(full)]
    for labels, share in ((full, 1.0), (short, 1.0), (short, 0.8), (short, 0.6)):
        chips = _Chips(labels, hud, scale.shrunk(share))
        if chips.width <= width:
            break
    key = ("chips", tuple(chips.labels), hud.own_seat, hud.colours, chips.height)
    return Block(min(chips.width, width), chips.height, key, chips.paint, gap)


class _Chips:
    def __init__(self, labels: Sequence[tuple[str, str]], hud: Hud, scale: Scale) -> None:
        self.labels = labels
        self._own_seat = hud.own_seat
        self._colours = hud.colours
        self._px = scale.text(theme.STRONG)
        self._space = scale.px(8)
        self.height = text.line_height(self._px, True) + scale.px(14)
        self._pad = scale.px(14)
        self._mark = round(self._px * 0.95)
        self._widths = [self._width_of(name, score) for name, score in labels]
        self.width = sum(self._widths) + self._space * max(0, len(labels) - 1)

    def _width_of(self, name: str, score: str) -> int:
        words = text.width_of(name, self._px, False) + self._space if name else 0
        # A score grows by a digit now and then; chips keep their width while it does.
        digits = max(text.width_of(score, self._px, True), text.width_of("00", self._px, True))
        return 2 * self._pad + self._mark + self._space + words + digits

    def paint(self, surface: pygame.Surface, rect: pygame.Rect) -> None:
        left = rect.left
        for seat, ((name, score), width) in enumerate(zip(self.labels, self._widths, strict=True)):
            if left + width > rect.right:
                return  # more seats than any window has room for
            own = seat == self._own_seat
            chip = pygame.Rect(left, rect.top, width, self.height)
            colour = self._colours[seat] if seat < len(self._colours) else theme.seat_colour(seat)
            fill = colour if own else theme.PANEL
            widgets.panel(surface, chip, fill, self.height // 2, fill if own else theme.PANEL_EDGE)
            ink = theme.TEXT_ON_BRIGHT if own else theme.TEXT
            mark_at = (left + self._pad + self._mark // 2, chip.centery)
            widgets.seat_mark(surface, mark_at, self._mark, seat, ink if own else colour)
            at = left + self._pad + self._mark + self._space
            if name:
                at = widgets.put_line(surface, name, self._px, False, ink, left=at, middle=chip.centery) + self._space
            widgets.put_line(surface, score, self._px, True, ink, left=at, middle=chip.centery)
            left += width + self._space


def time_block(hud: Hud, scale: Scale) -> Block | None:
    """Time left and which episode of how many; ``None`` if neither is known."""
    episode = f"Episode {hud.episode + 1} of {hud.episodes}" if hud.episodes > 1 else ""
    time_left = "" if hud.seconds_left is None else clock(hud.seconds_left)
    if not episode and not time_left:
        return None
    small, large = scale.text(theme.SMALL), scale.text(theme.HEADING)
    space = scale.px(14)
    # As wide as the widest digits, so that the line stands still while the time runs.
    time_width = text.width_of("0" * (len(time_left) - 1) + ":", large, True) if time_left else 0
    width = text.width_of(episode, small, False) + time_width + (space if episode and time_left else 0)

    def paint(surface: pygame.Surface, rect: pygame.Rect) -> None:
        if episode:
            widgets.put_line(surface, episode, small, False, theme.TEXT_SOFT, left=rect.left, middle=rect.centery)
        if time_left:
            left = rect.right - time_width
            widgets.put_line(surface, time_left, large, True, theme.TEXT, left=left, middle=rect.centery)

    return Block(width, text.line_height(large, True), ("time", episode, time_left, large), paint)


def notice_block(words: str, scale: Scale, width: int, *, height: int = 0) -> Block:
    """One line, over the lower edge of the picture for example; as many as fit if it may have that ``height``."""
    px = scale.text(theme.BODY)
    pad, margin, step = scale.px(16), scale.px(12), text.line_height(px, False)
    most = max(1, (height - margin) // step)
    lines = text.wrap(" ".join(text.printable(words).split()), px, False, max(1, width - 2 * pad), most)
    lines = tuple(text.shorten(line, px, False, width - 2 * pad) for line in lines)

    def paint(surface: pygame.Surface, rect: pygame.Rect) -> None:
        widgets.panel(surface, rect, theme.PANEL, (step + margin) // 2, theme.CAUTION)
        for index, line in enumerate(lines):
            middle = rect.top + (margin + step) // 2 + index * step
            widgets.put_line(surface, line, px, False, theme.TEXT, left=rect.left + pad, middle=middle)

    widest = max(text.width_of(line, px, False) for line in lines)
    return Block(widest + 2 * pad, len(lines) * step + margin, ("notice", " ".join(lines), px), paint)


def figures_block(hud: Hud, view: View | None, scale: Scale) -> Block:
    """The F3 overlay: what one wants to know when play does not feel right."""
    rows = [
        ("connection", hud.connection or "none, on this machine"),
        ("ping", "–" if hud.ping_ms is None else f"{hud.ping_ms:.0f} ms"),
        ("rollback depth", _frames(hud.rollback_depth)),
        ("predicted", _frames(hud.predicted_frames)),
        ("stalled", "yes" if hud.stalled else "no"),
        ("frame", "–" if view is None else str(view.frame)),
    ]
    px = scale.text(theme.SMALL)
    step, pad = text.line_height(px, True), scale.px(12)
    labels = max(text.width_of(label, px, False) for label, _ in rows) + scale.px(16)
    # Room for usual values, so that the panel does not change its width with every figure.
    usual = text.width_of("000 frames", px, True)
    width = 2 * pad + labels + max(usual, *(text.width_of(value, px, True) for _, value in rows))

    def paint(surface: pygame.Surface, rect: pygame.Rect) -> None:
        widgets.panel(surface, rect, theme.PANEL, scale.px(8), theme.PANEL_EDGE)
        for index, (label, value) in enumerate(rows):
            top = rect.top + pad + index * step
            surface.blit(text.line_surface(label, px, False, theme.TEXT_SOFT), (rect.left + pad, top))
            surface.blit(text.line_surface(value, px, True, theme.TEXT), (rect.left + pad + labels, top))

    return Block(width, 2 * pad + step * len(rows), ("figures", tuple(rows), px), paint)


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"
