"""Every screen at three sizes as PNG, for eyes: ``python -m p2pclient.app.gallery OUT_DIR``."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygame

from p2pclient.app.screens import LEAVING, Local, render_presentation
from p2pclient.common.presentation import Hud, Presentation, Screen, View

SIZES = ((640, 480), (960, 720), (1920, 1080))
_LETTERS = (
    "+---------+\n|\x1b[35mR\x1b[0m: |W: :G|\n| : |\x1b[43m@\x1b[0m: : |\n"
    "|Y| : |\x1b[34;1mB\x1b[0m: |\n+---------+\n  (North)\n"
)
"""A map with colours, as environments print it on a terminal."""
_CHECKING = Presentation(
    Screen.CHECKING,
    "Checking this computer",
    "This takes a few seconds. Please keep this window in view. Nothing to do until then.",
    progress=0.4,
    beat=48,
)
_TOO_SMALL = (
    "The display is too small for this study: it has 1280 x 720 pixels, and it needs a width of 1920. "
    "Please use a larger display, or choose a higher resolution in the system's settings, and start again."
)
_AWAY = (
    "The game was left alone for too long, so it has ended. What you have played is kept. "
    "Please tell the person who looks after you."
)
_LONG = (
    "The environment could not be loaded because a package that it needs is not installed in this Python. "
    "Install it with the command below, then start again; nothing of the other machine has to be changed. "
)


def kitchen_view(tile: int = 64, frame: int = 118) -> View:
    """A made-up picture in the manner of the environments that ship: 4 by 5 tiles."""
    surface = pygame.Surface((5 * tile, 4 * tile))
    surface.fill((176, 132, 16))
    floor = pygame.Rect(tile, tile, 3 * tile, 2 * tile)
    surface.fill((0, 0, 0), floor)
    for column in range(4):
        pygame.draw.line(surface, (96, 96, 96), ((1 + column) * tile, tile), ((1 + column) * tile, 3 * tile - 1))
    for row in range(3):
        pygame.draw.line(surface, (96, 96, 96), (tile, (1 + row) * tile), (4 * tile - 1, (1 + row) * tile))
    surface.fill((0, 220, 40), (3 * tile, 3 * tile, tile, tile))
    for x, y in ((0.25, 1.3), (0.75, 1.3), (0.5, 1.7), (4.25, 1.3), (4.75, 1.3), (4.5, 1.7)):
        pygame.draw.circle(surface, (250, 240, 20), (x * tile, y * tile), 0.2 * tile)
    _triangle(surface, tile, (3.5, 1.5), (170, 244, 252))
    _triangle(surface, tile, (1.5, 2.5), (250, 160, 160))
    pixels = np.ascontiguousarray(pygame.surfarray.array3d(surface).swapaxes(0, 1))
    return View(episode=0, frame=frame, pixels=pixels)


def _triangle(surface: pygame.Surface, tile: int, centre: tuple[float, float], colour: tuple[int, int, int]) -> None:
    x, y = centre[0] * tile, centre[1] * tile
    corners = [(x - 0.3 * tile, y - 0.36 * tile), (x + 0.3 * tile, y - 0.36 * tile), (x, y + 0.36 * tile)]
    pygame.draw.polygon(surface, colour, corners)


def presentations() -> dict[str, tuple[Presentation, Local]]:
    """Name to screen: each state of the interface, and the extremes that a layout must bear."""
    quiet = Local(phase=0.3)
    return {name: (screen, quiet) for name, screen in {**_before_play(), **_after_play()}.items()} | _in_play()


def _before_play() -> dict[str, Presentation]:
    return {
        "loading": Presentation(
            Screen.LOADING, "Loading the environment", "cogrid:Overcooked-CrampedRoom-V0, a few seconds", progress=0.4
        ),
        "loading-moving": Presentation(Screen.LOADING, "Loading the environment", "This may take a minute."),
        "checking": _CHECKING,
        "checking-link": Presentation(
            Screen.CONNECTING,
            "Checking the connection",
            "The game begins as soon as the connection to your partner's computer is good. Nothing to do until then.",
        ),
        "checking-link-again": Presentation(
            Screen.CONNECTING,
            "Checking the connection",
            "The connection to your partner's computer is not good enough at the moment. It is tried again in 4 "
            "seconds (try 2 of 3). Please leave this window open.",
        ),
        "connecting": Presentation(Screen.CONNECTING, "Connecting", "A partner is found. Opening the path to them."),
        "waiting": Presentation(
            Screen.WAITING,
            "Waiting for a partner",
            "You will play as soon as somebody else joins. Nothing to do until then: this page changes by itself.",
        ),
        "leaving": LEAVING,
    }


def _in_play() -> dict[str, tuple[Presentation, Local]]:
    keys = (("W A S D", "move"), ("Space", "pick up, put down"), ("E", "switch"), ("F3", "figures"))
    hud = Hud((20.0, 20.0), 0, 47.4, 0, 3, 48.2, "direct", 3, 2)
    playing = Presentation(Screen.PLAYING, view=kitchen_view(), hud=hud, keys=keys)
    noticed = replace(playing, hud=replace(hud, notice="Your partner has not been heard for a moment"))
    back = replace(playing, hud=replace(hud, notice="The connection is back. The game goes on."))
    many = Hud(tuple(12.5 * n for n in range(6)), 3, 3671.0, 11, 12)
    crowded_keys = (*keys, ("← ↑ → ↓", "look around"), ("ShiftLeft Tab", "choose the next one of all tools"))
    gone = replace(playing, hud=replace(many, notice="Player 2 has left. The game goes on."))
    comparing = replace(
        playing,
        screen=Screen.COMPARING,
        title="One moment, please",
        message="The computers are comparing their games. Please wait a moment.",
    )
    lost = replace(
        playing,
        screen=Screen.PARTNER_LOST,
        title="Waiting for your partner",
        message="The connection to the other computer is lost, and is being made anew. Please wait: the game goes on "
        "by itself as soon as it is back.",
        lines=(
            ("Time left to come back", "12 s"),
            ("After that", "A computer player takes the place, and the game goes on."),
        ),
    )
    paused = replace(
        playing,
        screen=Screen.PAUSED,
        title="Paused",
        message="A short break for everybody. The game stands still, and goes on by itself from where it is.",
    )
    return {
        "playing": (playing, Local()),
        "playing-figures": (noticed, Local(figures=True)),
        "playing-unfocused": (playing, Local(focused=False)),
        "playing-six": (replace(playing, hud=many, keys=crowded_keys), Local(figures=True)),
        "playing-small-picture": (replace(playing, view=kitchen_view(16), keys=()), Local()),
        "playing-one-left": (gone, Local()),
        "playing-back": (back, Local()),
        "playing-letters": (replace(playing, view=View(0, 0, None, _LETTERS)), Local()),
        "playing-letters-lost": (replace(lost, view=View(0, 0, None, _LETTERS)), Local()),
        "playing-no-picture": (replace(playing, view=View(0, 0, None, "")), Local(figures=True)),
        "partner-lost": (lost, Local(phase=0.3)),
        "comparing": (comparing, Local(phase=0.3)),
        "paused": (paused, Local()),
        **_away(playing, paused),
    }


def _away(playing: Presentation, paused: Presentation) -> dict[str, tuple[Presentation, Local]]:
    return {
        "paused-for-partner": (
            replace(
                paused,
                title="Your partner will be right back",
                message="The game waits, and goes on by itself as soon as they are back, in 42 seconds at the latest.",
            ),
            Local(),
        ),
        "paused-for-you": (
            replace(
                paused,
                title="Paused for you",
                message="The game waits for you. Click on this window to go on; it goes on by itself in 42 seconds at "
                "the latest.",
            ),
            Local(focused=False),
        ),
        "playing-partner-away": (
            replace(playing, hud=replace(playing.hud, notice="Your partner is not at the game for a moment.")),
            Local(),
        ),
    }


def _after_play() -> dict[str, Presentation]:
    rows = (
        ("Episodes", "3"),
        ("Frames, verified by both", "600 of 600"),
        ("Connection", "direct"),
        ("Recording", "runs/2025-11-21T10-15-02-cramped-room-4f2a"),
    )
    path = "C:\\Users\\participant\\AppData\\Local\\tandem\\runs\\2025-11-21T10-15-02-cramped-room-4f2a\\report.txt"
    details = (("What failed", "ModuleNotFoundError: No module named 'cogrid'"), ("Report", path))
    return {
        "results": Presentation(
            Screen.RESULTS,
            "Well done",
            "You delivered three soups together.",
            hud=Hud((60.0, 60.0), 0),
            lines=rows,
            can_continue=True,
        ),
        "excluded": Presentation(Screen.EXCLUDED, "Thank you for coming", _TOO_SMALL),
        "excluded-playing": Presentation(
            Screen.EXCLUDED, "Thank you for taking part", _AWAY, lines=rows[-1:], can_continue=True
        ),
        "error": Presentation(
            Screen.ERROR,
            "The connection could not be made",
            "The two machines cannot reach each other. Check that both are on the same network, then start again.",
            lines=details,
        ),
        "error-long": Presentation(
            Screen.ERROR, "The environment does not start on this machine", _LONG * 3, lines=details * 4
        ),
    }


def main(out: Path) -> None:
    """Write all screens into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    for name, (presentation, local) in presentations().items():
        for size in SIZES:
            surface = render_presentation(presentation, size, local=local)
            pygame.image.save(surface, str(out / f"{name}-{size[0]}x{size[1]}.png"))


if __name__ == "__main__":
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m p2pclient.app.gallery OUT_DIR")
    main(Path(sys.argv[1]))
