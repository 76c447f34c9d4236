"""Where a participant stands with the server, and what it is told about it: every stage has a screen."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Stage(Enum):
    """What a participant is doing. The server decides; a client shows it."""

    IDLE = "idle"
    """Connected, and wants nothing at the moment."""
    SCREENING = "screening"
    WAITING = "waiting"
    MATCHED = "matched"
    """Proposed; not all have confirmed."""
    CONNECTING = "connecting"
    PLAYING = "playing"
    WATCHING = "watching"
    FINISHED = "finished"
    EXCLUDED = "excluded"
    GONE = "gone"
    """Forgotten: nobody is there to be told anything."""


SCREENS: Mapping[Stage, tuple[str, str]] = {
    Stage.IDLE: ("Ready", "Connected to the server. Nothing to do at the moment."),
    Stage.SCREENING: ("One moment, please", "This computer is being checked."),
    Stage.WAITING: ("Waiting room", "Waiting for another player. The game starts by itself."),
    Stage.MATCHED: ("Found a partner", "The game starts as soon as everybody is ready."),
    Stage.CONNECTING: ("Found a partner", "Connecting the two computers."),
    Stage.PLAYING: ("The game is on", "You are playing."),
    Stage.WATCHING: ("Watching", "You are watching this match."),
    Stage.FINISHED: ("The game is over", "Thank you."),
    Stage.EXCLUDED: ("You take no further part", "Thank you for coming. Please tell the person who looks after you."),
}
"""Title and message by stage, for whoever is there; a client may say more."""
