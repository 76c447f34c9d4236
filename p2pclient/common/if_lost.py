"""What happens when a player is gone: the setting, as a value and as the text that people write.

One word for all seats, and others for single ones, apart by spaces::

    end                      the match ends, and is recorded up to there
    go-on                    the others go on; the seat stays in the game and does nothing
    bot:greedy:disclosed     the bot `greedy` takes the seat, and the others are told so
    bot:greedy:hidden        likewise, and they are not told
    go-on@5 1=end@30         how many seconds to wait before, where it is not the match's own; seat 1 is different

Whoever says goodbye is not waited for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.frames import MAX_SEATS

Then: TypeAlias = Literal["end", "go-on", "bot"]
SHORTEST_WAIT, LONGEST_WAIT = 1.0, 3600.0
"""Seconds."""
CHOICES = "end, go-on, bot:NAME:disclosed or bot:NAME:hidden, each with @SECONDS to wait, and SEAT= before it"
_NO_STANDBY = "nobody can take the seat of a player in a running match yet; choose " + CHOICES
_WORD = re.compile(
    r"(?:(?P<seat>\d{1,2})=)?"
    r"(?P<then>end|go-on|bot:(?P<bot>[A-Za-z0-9_-]{1,64}):(?P<told>disclosed|hidden))"
    r"(?:@(?P<wait>\d{1,4}(?:\.\d{1,3})?))?"
)
_STANDBY = re.compile(r"(?:\d{1,2}=)?standby\b.*")


@dataclass(frozen=True, slots=True)
class IfLost:
    """What follows when the player of a seat is gone."""

    then: Then = "end"
    bot: str = ""
    """Name of the bot that takes the seat."""
    is_disclosed: bool = False
    """Are the others told that a bot took it."""
    wait_s: float | None = None
    """Seconds of silence before it follows; None: as many as the match has for all."""

    def __str__(self) -> str:
        told = "disclosed" if self.is_disclosed else "hidden"
        name = f"bot:{self.bot}:{told}" if self.then == "bot" else self.then
        return name if self.wait_s is None else f"{name}@{self.wait_s:g}"


@dataclass(frozen=True, slots=True)
class LossPolicy:
    """The same for all seats of a match."""

    usual: IfLost
    by_seat: tuple[tuple[int, IfLost], ...] = ()
    """Seats for which something else holds, in order."""

    @classmethod
    @lru_cache(maxsize=64)
    def parse(cls, text: str, *, setting: str = "on_drop", seats: int = MAX_SEATS) -> LossPolicy:
        """Return what ``text`` says.

        Raises:
            ConfigurationError: it is none, names no word for all seats, or a seat that is not there.
        """
        usual: IfLost | None = None
        by_seat: dict[int, IfLost] = {}
        for word in text.split() if isinstance(text, str) and len(text) <= 1024 else [""]:
            seat, says = _parse_word(word, setting, text)
            if (seat is None and usual is not None) or seat in by_seat:
                raise ConfigurationError(setting, text, "one word for all seats, and one for each other seat")
            if seat is None:
                usual = says
            elif seat < seats:
                by_seat[seat] = says
            else:
                raise ConfigurationError(setting, text, f"seats 0 to {seats - 1}")
        if usual is None:
            raise ConfigurationError(setting, text, CHOICES)
        return cls(usual, tuple(sorted(by_seat.items())))

    def __str__(self) -> str:
        return " ".join([str(self.usual), *(f"{seat}={says}" for seat, says in self.by_seat)])

    def of(self, seat: int) -> IfLost:
        """Return what holds for a seat."""
        return dict(self.by_seat).get(seat, self.usual)

    def of_all(self, seats: Iterable[int]) -> IfLost:
        """Return what holds for a player with these seats: the lowest one decides, but one that ends it ends it."""
        each = [self.of(seat) for seat in sorted(seats)] or [self.usual]
        return next((says for says in each if says.then == "end"), each[0])

    @property
    def can_go_on(self) -> bool:
        """Is there a seat without whose player the match goes on."""
        return any(says.then != "end" for says in self._all)

    @property
    def bots(self) -> tuple[str, ...]:
        """Names of all bots that may take a seat."""
        return tuple(sorted({says.bot for says in self._all if says.then == "bot"}))

    def longest_wait(self, usual: float) -> float:
        """Return the longest of the waits, in seconds; ``usual`` where none is given."""
        return max(usual if says.wait_s is None else says.wait_s for says in self._all)

    @property
    def _all(self) -> Sequence[IfLost]:
        return [self.usual, *(says for _, says in self.by_seat)]


def _parse_word(word: str, setting: str, text: str) -> tuple[int | None, IfLost]:
    found = _WORD.fullmatch(word)
    if found is None:
        raise ConfigurationError(setting, text, _NO_STANDBY if _STANDBY.fullmatch(word) else CHOICES)
    wait_s = None if found["wait"] is None else float(found["wait"])
    if wait_s is not None and not SHORTEST_WAIT <= wait_s <= LONGEST_WAIT:
        raise ConfigurationError(setting, text, f"@{SHORTEST_WAIT:g} to @{LONGEST_WAIT:g} seconds")
    seat = None if found["seat"] is None else int(found["seat"])
    if found["bot"] is not None:
        return seat, IfLost("bot", found["bot"], found["told"] == "disclosed", wait_s)
    return seat, IfLost("end" if found["then"] == "end" else "go-on", wait_s=wait_s)
