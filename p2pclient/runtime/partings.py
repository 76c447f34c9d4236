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


class Partings:
    """One client's knowledge of who was excluded: itself, or a partner in the present match."""

    def __init__(self) -> None:
        self.removed: Removed | None = None
        """This participant takes no further part."""
        self._partner_words = ""

    def begin_match(self) -> None:
        """Other partners than before."""
        self._partner_words = ""

    def note_partner(self, gone: PeerGone) -> None:
        """A partner is gone, for a reason that its partners are told, or for none."""
        self._partner_words = gone.message or self._partner_words

    def explain(self, ended: Ended) -> Ended:
        """Say of a match that ended because somebody was excluded that this is why."""
        if self.removed is not None and self.removed.rule and ended.reason == "left":
            return replace(ended, reason="excluded", text=self.removed.message)
        if self._partner_words and ended.reason in ("partner-left", "partner-gone"):
            return replace(ended, reason="partner-excluded", text=self._partner_words)
        return ended

    def farewell(self, message: str, played: Sequence[Played]) -> Presentation:
        """Return the last screen."""
        if self.removed is not None and self.removed.rule:
            lines = tuple(("Recording", str(each.folder)) for each in played[-1:])
            return excluded_screen(message, has_played=bool(played), lines=lines)
        title, words = SCREENS[Stage.EXCLUDED if not message else Stage.FINISHED]
        return Presentation(Screen.RESULTS, title=title, message=message or words, can_continue=True)
