"""The window of the system: opened, resized, put on the full screen, and closed again."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence

import pygame

from p2pclient.app import theme, widgets
from p2pclient.common.errors import TandemError
from p2pclient.common.presentation import DisplayMeasured

# On a desktop larger than this the window grows along, so that it is as large to the eye.
_USUAL_DESKTOP = (1920, 1080)
_SETTLING_S = 0.15


BLIND_DRIVERS = ("offscreen", "dummy")
"""What SDL takes when there is no display: it opens windows that nobody can see."""


class DisplayError(TandemError):
    """There is no display to open a window on. The message says what to do instead."""


class Display:
    """One window of the system, and the surface that is shown in it.

    ``side`` (``left`` or ``right``) puts the window on that half of the desktop, so that two lie side by side.
    ``vsync`` asks for pictures that change between two scans of the screen. It is off unless asked for: it waits up to
    a scan with every picture, starting it costs 0.2 s where there is no graphics card, and desktops that compose their
    windows (all of Windows, macOS and Wayland, most of X11) show no torn picture anyway. Where it cannot be had, the
    window opens without.

    Raises:
        DisplayError: the system has no display, or refuses a window.
    """

    def __init__(self, title: str, size: tuple[int, int], *, side: str | None = None, vsync: bool = False) -> None:
        _give_hints(vsync)
        try:
            pygame.display.init()
            if pygame.display.get_driver() in BLIND_DRIVERS and "SDL_VIDEODRIVER" not in os.environ:
                raise pygame.error("the system offers none to this program")
            pygame.display.set_icon(_icon())
            pygame.display.set_caption(title)
            self._windowed, position = _place_on_desktop(size, side)
            _open(self._windowed, pygame.RESIZABLE)
        except pygame.error as error:
            pygame.display.quit()
            raise DisplayError(f"no display: {error}; use --headless") from error
        if position is not None:
            pygame.display.set_window_position(position)
        # Typing is not wanted here, and an input method would swallow the keys that are played with.
        pygame.key.stop_text_input()
        self._is_fullscreen = False
        self._settle_at: float | None = None
        self._is_kept_awake = False

    @property
    def surface(self) -> pygame.Surface:
        """What to draw on. Another one after each resize: ask anew each time."""
        surface = pygame.display.get_surface()
        assert surface is not None, "open from construction to close()"
        return surface

    @property
    def is_fullscreen(self) -> bool:
        return self._is_fullscreen

    def show(self, changed: Sequence[pygame.Rect]) -> None:
        """Hand these rectangles of the surface to the screen. The interpreter's lock is free meanwhile."""
        pygame.display.update(list(changed))

    def measure(self) -> DisplayMeasured:
        """Return what the system says of the display; with several, the size is that of the first one."""
        width, height = pygame.display.get_desktop_sizes()[0]
        rate = pygame.display.get_current_refresh_rate()
        return DisplayMeasured(width, height, _scale(), float(rate) or None, pygame.display.get_num_displays())

    def toggle_fullscreen(self, *, now: float) -> None:
        """Fill the screen, or go back to the window as it was; call :meth:`settle` after that."""
        desktop = pygame.display.get_desktop_sizes()[0]
        if self._is_fullscreen:
            # In two steps: a window that leaves the full screen on X11 refuses another size until it has left.
            _open(desktop, pygame.RESIZABLE)
            self._settle_at = now + _SETTLING_S
        else:
            self._windowed = self._windowed if self._settle_at else self.surface.get_size()
            self._settle_at = None
            _open(desktop, pygame.FULLSCREEN)
        self._is_fullscreen = not self._is_fullscreen
        pygame.key.stop_text_input()

    def settle(self, *, now: float) -> None:
        """Take the window's own size again when it has left the full screen. Cheap: call it in every pass."""
        if self._settle_at is not None and now >= self._settle_at:
            self._settle_at = None
            _open(self._windowed, pygame.RESIZABLE)

    def keep_awake(self, wanted: bool) -> None:
        """Hold off screensaver and sleep, or allow them again."""
        if wanted != self._is_kept_awake:
            pygame.display.set_allow_screensaver(not wanted)
            self._is_kept_awake = wanted

    def close(self) -> None:
        """Close the window and allow the screensaver again. Idempotent."""
        if pygame.display.get_init():
            pygame.display.set_allow_screensaver(True)
            pygame.display.quit()


def _open(size: tuple[int, int], flags: int) -> None:
    try:
        pygame.display.set_mode(size, flags)
    except pygame.error:
        # Some drivers have no way but the accelerated one: again, as SDL sees fit.
        os.environ.pop("SDL_FRAMEBUFFER_ACCELERATION", None)
        pygame.display.set_mode(size, flags)


def _give_hints(vsync: bool) -> None:
    """What SDL reads from the process's environment when it starts; what the user has set stays."""
    hints = {
        "SDL_WINDOWS_DPI_AWARENESS": "permonitorv2",
        # SDL asks X11 compositors to step aside for games; ours shows untorn pictures thanks to them.
        "SDL_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR": "0",
    }
    if vsync:
        hints["SDL_RENDER_VSYNC"] = "1"
    elif sys.platform == "linux" and os.environ.get("SDL_VIDEODRIVER") != "wayland":
        # Straight to shared memory with X11: 0.3 ms for a whole picture, 4 ms by way of OpenGL without a card.
        hints["SDL_FRAMEBUFFER_ACCELERATION"] = "0"
    for name, value in hints.items():
        os.environ.setdefault(name, value)


def _place_on_desktop(size: tuple[int, int], side: str | None) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """Size and position of the window: as wanted, larger on a very large desktop, and never larger than the desktop.

    On one half of the desktop if there is a ``side``; else the position is ``None``: the system's choice.
    """
    desktop = pygame.display.get_desktop_sizes()[0]
    factor = max(1.0, min(desktop[0] / _USUAL_DESKTOP[0], desktop[1] / _USUAL_DESKTOP[1]))
    room = desktop[0] // 2 if side else desktop[0]
    width, height = min(round(size[0] * factor), room * 9 // 10), min(round(size[1] * factor), desktop[1] * 9 // 10)
    if side is None:
        return (width, height), None
    left = (room - width) // 2 + (room if side == "right" else 0)
    return (width, height), (left, (desktop[1] - height) // 2)


def _scale() -> float | None:
    """Return how much larger the system draws its own windows than one to one; None where only it knows."""
    windows = getattr(ctypes, "windll", None)
    # Windows 10 on. Other systems tell a program only what they want it to draw.
    return None if windows is None else int(windows.user32.GetDpiForSystem()) / 96


def _icon() -> pygame.Surface:
    icon = pygame.Surface((64, 64), pygame.SRCALPHA)
    widgets.panel(icon, icon.get_rect(), theme.PANEL, 14)
    widgets.seat_mark(icon, (21, 32), 24, 0)
    widgets.seat_mark(icon, (44, 32), 24, 1)
    return icon
