"""What the server says of why somebody takes no further part, and what this client shows and records of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from p2pclient.common.lobby_messages import PeerGone
from p2pclient.common.presentation import Presentation, Screen
from p2pclient.common.room_messages import Removed
from p2pclient.common.stages import SCREENS, Stage
from p2pclient.match.plan import Ended
from p2pclient.runtime.playing import Played
from p2pclient.runtime.screening import excluded_screen

STAYS_OUT = "This station stays out until somebody closes this window and starts its program again."


def no_match_screen(why: str) -> Presentation:
    """Return the screen of a match that came to nothing, for whoever may try again."""
    text = f"{why} Press Enter to wait for another partner."
    return Presentation(Screen.RESULTS, title="No match this time", message=text, can_continue=True)


class Partings:
    """One client's knowledge of who was excluded or removed: itself, or a partner in the present match."""

    def __init__(self) -> None:
        self.removed: Removed | None = None
        """This participant takes no further part."""
        self.partner_words = ""
        """What is said of the partner who is gone, if there is more to say."""
        self._leaves: str | None = None

    def begin_match(self) -> None:
        """Other partners than before."""
        self.partner_words = ""

    def note_partner(self, gone: PeerGone) -> None:
        """A partner is gone, for a reason that its partners are told, or for none."""
        self.partner_words = gone.message or self.partner_words

    def leave(self, message: str) -> None:
        """The server or the researcher sends this participant away, with these words or none."""
        self._leaves = message

    def explain(self, ended: Ended) -> Ended:
        """Say of a match that ended because somebody was excluded or removed that this is why."""
        if self.removed is not None and self.removed.rule and ended.reason == "left":
            return replace(ended, reason="excluded", text=self.removed.message)
        if self._leaves is not None and ended.reason == "left":
            return replace(ended, reason="removed", text=self._leaves or SCREENS[Stage.EXCLUDED][1])
        if self.partner_words and ended.reason in ("partner-left", "partner-gone"):
            return replace(ended, reason="partner-excluded", text=self.partner_words)
        return ended

    def farewell(self, message: str, played: Sequence[Played], *, stays: bool = False) -> Presentation:
        """Return the last screen. What ``stays`` is a station: nobody goes on from there."""
        if self.removed is not None and self.removed.rule:
            lines = tuple(("Recording", str(each.folder)) for each in played[-1:])
            screen = excluded_screen(message, has_played=bool(played), lines=lines)
        else:
            title, words = SCREENS[Stage.EXCLUDED if not message else Stage.FINISHED]
            screen = Presentation(Screen.RESULTS, title=title, message=message or words, can_continue=True)
        return replace(screen, message=f"{screen.message} {STAYS_OUT}", can_continue=False) if stays else screen
