"""The screen after a match, and the one after an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from p2pclient.common.errors import TandemError
from p2pclient.common.presentation import Hud, Presentation, Screen
from p2pclient.match.plan import ENDED_EARLY
from p2pclient.runtime.playing import Played
from p2pclient.runtime.presenter import seat_colours

_TITLES = {
    "finished": "Well done",
    ENDED_EARLY: "The match is over",
    "left": "You left the match",
    "partner-left": "The other player left",
    "partner-gone": "The other player is gone",
    "partner-excluded": "Thank you for taking part",
    "excluded": "Thank you for taking part",
    "removed": "Thank you for taking part",
    "desync": "The match was stopped",
    "refused": "The match could not begin",
    "environment": "The game stopped",
}


def results_screen(played: Played, ready: Mapping[str, Any], own_seat: int) -> Presentation:
    """Return the screen that closes a match: how it ended, the scores, where the recording is."""
    lines: list[tuple[str, str]] = []
    scores = tuple(played.outcome.get("shown_totals") or ())
    if len(played.totals) > 1:  # of a single episode, the score is shown above the lines already
        scores = tuple(sum(seat) for seat in zip(*played.totals, strict=True))
        lines = [(f"Episode {number + 1}", _scores(totals, own_seat)) for number, totals in enumerate(played.totals)]
    if played.ended.unverified:
        lines.append(("Not verified", f"the last {played.ended.unverified} frames; they are kept apart"))
    lines.append(("Recording", str(played.folder)))
    return Presentation(
        Screen.RESULTS,
        title=_TITLES.get(played.ended.reason, "The match is over"),
        message=played.ended.text,
        hud=Hud(scores=scores, own_seat=own_seat, colours=seat_colours(ready)),
        lines=tuple(lines),
        can_continue=True,
    )


def _scores(totals: tuple[float, ...], own_seat: int) -> str:
    if len(set(totals)) == 1:
        return f"{totals[0]:g} together"
    return ", ".join(f"{'you' if seat == own_seat else f'player {seat + 1}'} {t:g}" for seat, t in enumerate(totals))


_REFUSED_KINDLY = {"already-finished": "Thank you for taking part"}
"""Titles by code, where nothing has gone wrong."""


def error_screen(error: BaseException, report: Path | None) -> Presentation:
    """Return the screen for what cannot be gone on from: what happened, and what to do."""
    lines: list[tuple[str, str]] = []
    message = str(error)
    if not isinstance(error, TandemError):
        message = "Something went wrong in the program. Please tell whoever looks after this session."
        lines.append(("What failed", f"{type(error).__name__}: {error}"))
    if report is not None:
        lines.append(("Report", str(report)))
    return Presentation(
        Screen.ERROR,
        title=_REFUSED_KINDLY.get(getattr(error, "code", ""), "This did not work"),
        message=message,
        lines=tuple(lines),
        can_continue=True,
    )
