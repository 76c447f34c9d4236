"""What people are told of who is away from its window, and of links that are checked."""

from __future__ import annotations

from collections.abc import Sequence

from p2pclient.runtime.loss_words import LossWords


class PresenceWords(LossWords):
    """These words of one match, beside those of who is gone."""

    def away(self, seats: Sequence[int]) -> str:
        """Somebody does not look at the game."""
        who = "Your partner" if self._is_pair else _join([f"Player {seat + 1}" for seat in seats])
        is_one = self._is_pair or len(seats) == 1
        return f"{who} {'is' if is_one else 'are'} not at the game for a moment."

    def waited_for(self, peer: int, seconds: int) -> tuple[str, str]:
        """Title and message of a pause for somebody's absence."""
        limit = f"in {seconds} second{'' if seconds == 1 else 's'} at the latest"
        if peer == self._plan.own_id:
            return (
                "Paused for you",
                f"The game waits for you. Click on this window to go on; it goes on by itself {limit}.",
            )
        if not self._plan.tell_away:
            return "Paused", f"The game stands still for a moment. It goes on by itself, {limit}."
        names = self.names([peer])
        title = f"{names[0].upper()}{names[1:]} will be right back"
        return title, f"The game waits, and goes on by itself as soon as they are back, {limit}."

    def checking(self, attempt: int, attempts: int, retry_in: int | None) -> tuple[str, str]:
        """Title and message while the links are checked for longer than usual."""
        title = "Checking the connection"
        whose = "your partner's computer" if self._is_pair else "the other computers"
        if retry_in is None:
            nth = f" This is try {attempt} of {attempts}." if attempt > 1 else ""
            return (
                title,
                f"The game begins as soon as the connection to {whose} is good.{nth} Nothing to do until then.",
            )
        when = "now" if retry_in == 0 else f"in {retry_in} second{'' if retry_in == 1 else 's'}"
        return title, (
            f"The connection to {whose} is not good enough at the moment. "
            f"It is tried again {when} (try {attempt + 1} of {attempts}). Please leave this window open."
        )


def _join(each: Sequence[str]) -> str:
    *first, last = each
    return f"{', '.join(first)} and {last}" if first else last
