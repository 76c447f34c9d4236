"""What a researcher says to a participant, on top of whatever its window shows."""

from __future__ import annotations

from dataclasses import replace

from p2pclient.common.presentation import Intent, Presentation, Screen
from p2pclient.runtime.presenter import WindowLink

_WITH_PICTURE = frozenset({Screen.PLAYING})


class Announcer:
    """A window's end of the queues that shows a message with everything, until it is taken back.

    Args:
        window: where it all goes.
    """

    def __init__(self, window: WindowLink) -> None:
        self._window = window
        self._text = ""
        self._last: Presentation | None = None

    def publish(self, presentation: Presentation) -> None:
        """Show this from now on, with the message."""
        self._last = presentation
        self._window.publish(_with_message(presentation, self._text) if self._text else presentation)

    def take_intents(self) -> list[Intent]:
        """Return what the person did since the last call."""
        return self._window.take_intents()

    def announce(self, text: str) -> None:
        """Show a message from now on; an empty one takes it back."""
        self._text = text
        if self._last is not None:
            self.publish(self._last)


def _with_message(shown: Presentation, text: str) -> Presentation:
    if shown.screen in _WITH_PICTURE:
        words = f"{text} – {shown.hud.notice}" if shown.hud.notice else text
        return replace(shown, hud=replace(shown.hud, notice=words))
    return replace(shown, message=f"{text}\n\n{shown.message}" if shown.message else text)
