"""What display this machine has, without opening a window on it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pygame

from p2pclient.app.display import BLIND_DRIVERS


@dataclass(frozen=True, slots=True)
class DisplayFacts:
    """The displays of this machine. ``driver`` is empty if there is none; ``error`` says why."""

    driver: str
    sizes: tuple[tuple[int, int], ...] = ()
    rates_hz: tuple[int, ...] = ()
    """0 where the system does not say."""
    error: str = ""


def read_display() -> DisplayFacts:
    """Ask the system; harmless where there is no display."""
    try:
        pygame.display.init()
        driver = pygame.display.get_driver()
        if driver in BLIND_DRIVERS and "SDL_VIDEODRIVER" not in os.environ:
            return DisplayFacts("", error="the system offers none to this program")
        sizes = tuple(pygame.display.get_desktop_sizes())
        return DisplayFacts(driver, sizes, tuple(pygame.display.get_desktop_refresh_rates()))
    except pygame.error as error:
        return DisplayFacts("", error=str(error))
    finally:
        pygame.display.quit()
