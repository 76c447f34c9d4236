"""A client that first has to find its server: searches, says what it sees, and plays once there is one to join."""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from p2pclient.common.errors import SignalingError
from p2pclient.common.presentation import CloseRequest, FocusChange, Intent, KeyChange, Presentation, Screen
from p2pclient.discovery.finder import Finder
from p2pclient.discovery.findings import Choice, Found, Wanted, describe
from p2pclient.runtime.participant import Participant
from p2pclient.runtime.playing import Played
from p2pclient.runtime.presenter import WindowLink

_PATIENCE_S = 5.0
"""Until nothing found is worth saying what to do about it."""
_LOOK_S = 0.1
AWAY_S = 10.0
"""A server that is started again is back sooner, at the same address."""


class Searching:
    """Finds a server and then is the client that ``make`` returns for its URL and window.

    Args:
        wanted: what is searched for.
        must_choose: raise when several servers could be meant, instead of showing them and searching on.
        follow: when the server is away for :data:`AWAY_S`, search again, and go to another of its room: today the
            server may run on another computer than yesterday.
        trust: checks servers' certificates; None: as the system does.
    """

    def __init__(
        self,
        wanted: Wanted,
        make: Callable[[str, WindowLink], Participant],
        window: WindowLink,
        *,
        report: Callable[[dict[str, Any]], None],
        must_choose: bool,
        follow: bool = False,
        make_finder: Callable[[Wanted], Finder] | None = None,
        away_s: float = AWAY_S,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._wanted = wanted
        self._make = make
        self._window = _Handover(window)
        self._report = report
        self._must_choose = must_choose
        self._follow = follow
        self._make_finder = make_finder or functools.partial(Finder, trust=trust)
        self._away_s = away_s
        self._client: Participant | None = None
        self._played: list[Played] = []
        self._closing = asyncio.Event()

    @property
    def played(self) -> list[Played]:
        """The matches so far."""
        return [*self._played, *(self._client.played if self._client is not None else ())]

    def close(self) -> None:
        """Leave politely."""
        self._closing.set()
        if self._client is not None:
            self._client.close()

    def take_from_sibling(self, intent: KeyChange | FocusChange) -> None:
        """A key or focus change of the other window at the same keyboard."""
        if self._client is not None:
            self._client.take_from_sibling(intent)

    async def run(self) -> None:
        """Search, then play.

        Raises:
            SignalingError: ``several-rooms``; names them.
            TandemError: it could not go on.
        """
        found = await self._search()
        while found is not None:
            self._report({"event": "found", "url": found.url, "room": found.room, "ways": list(found.ways)})
            self._client = self._make(found.url, self._window)
            found = await self._play(self._client, found)
            self._played, self._client = [*self._played, *self._client.played], None

    async def _play(self, client: Participant, joined: Found) -> Found | None:
        """Run the client; return where its server is instead, if it went away and is somewhere else."""
        playing = asyncio.create_task(client.run())
        following = asyncio.create_task(self._look_elsewhere(client, joined))
        try:
            await asyncio.wait([playing, following] if self._follow else [playing], return_when=asyncio.FIRST_COMPLETED)
            elsewhere = None
            if not playing.done():
                elsewhere = following.result()
                client.close()
            await playing
            return None if self._closing.is_set() else elsewhere
        finally:
            for task in (playing, following):
                task.cancel()
            await asyncio.gather(playing, following, return_exceptions=True)

    async def _look_elsewhere(self, client: Participant, joined: Found) -> Found:
        """Wait until the server has been away for a while and another one answers, of the same room."""
        wanted = replace(self._wanted, room=joined.room)
        while True:
            await asyncio.sleep(_LOOK_S)
            if not client.is_away:
                continue
            async with self._make_finder(wanted) as finder:
                away_since = finder.now()
                while client.is_away:
                    found = finder.choose().found
                    if found is not None and found.url != joined.url and finder.now() - away_since >= self._away_s:
                        return found
                    finder.check()
                    await asyncio.sleep(_LOOK_S)

    async def _search(self) -> Found | None:
        """Return the server; None if the person has closed the window."""
        last: Presentation | None = None
        self._report({"event": "searching", "text": f"Looking for {_what(self._wanted)}."})
        async with self._make_finder(self._wanted) as finder:
            started = finder.now()
            while not self._wants_to_close():
                choice = finder.choose()
                if choice.found is not None:
                    return choice.found
                if choice.several and self._must_choose:
                    raise SignalingError("several-rooms", several_sentence(choice))
                waited = finder.now() - started >= _PATIENCE_S
                screen = search_screen(self._wanted, choice, finder.notes, waited=waited)
                if screen != last:
                    self._window.publish(screen)
                    if last is not None:
                        self._report(
                            {"event": "searching", "text": " ".join((screen.message, *map(": ".join, screen.lines)))}
                        )
                    last = screen
                finder.check()
                await asyncio.sleep(_LOOK_S)
        return None

    def _wants_to_close(self) -> bool:
        return self._window.keep_intents() or self._closing.is_set()


class _Handover:
    """A window whose intents are looked at during the search, and given to the client after it: it must know what is
    pressed, and whether the window has the keyboard."""

    def __init__(self, window: WindowLink) -> None:
        self._window = window
        self._kept: list[Intent] = []

    def publish(self, presentation: Presentation) -> None:
        self._window.publish(presentation)

    def keep_intents(self) -> bool:
        """Keep what the person did; return whether it was closing the window."""
        for intent in self._window.take_intents():
            if isinstance(intent, CloseRequest):
                return True
            if isinstance(intent, FocusChange):
                # Keys are released by what comes after the focus was lost; what was pressed before is of no use.
                self._kept = [intent]
        return False

    def take_intents(self) -> list[Intent]:
        kept, self._kept = self._kept, []
        return [*kept, *self._window.take_intents()]


def several_sentence(choice: Choice) -> str:
    """Return which servers there are, and how to name one."""
    listed = "; ".join(describe(choice.several))
    rooms = {each.room.casefold() for each in choice.several}
    how = 'Name the room, as in: tandem join --room "Lab 2"' if len(rooms) > 1 else "Name one by its address"
    return f"Several servers are here: {listed}. {how}, or type a join code."


def _what(wanted: Wanted) -> str:
    if not wanted.on_lan:
        return f"the server at {' or '.join(wanted.urls)}"
    return f"the server of the room {wanted.room!r} on this network" if wanted.room else "a server on this network"


def search_screen(wanted: Wanted, choice: Choice, notes: Mapping[str, str], *, waited: bool) -> Presentation:
    """Return the screen of a search that goes on."""
    lines: list[tuple[str, str]] = []
    if choice.several:
        title = "Which room?"
        message = (
            "More than one server is here. Start this program with the name of the room, as in tandem join --room "
            '"Lab 2", or with a join code. It goes on by itself as soon as only one is left.'
        )
    elif choice.old:
        title = "Another version"
        message = "A server is here, but of another version. Upgrade this program or the server, whichever is older."
    elif choice.silent:
        title = "The server cannot be reached"
        message = (
            "A server was seen on this network, but does not answer. Is it still running, and does the firewall of its "
            "computer let its port in, for private networks?"
        )
    elif choice.others and wanted.room:
        title = "Another room"
        message = f"No server of the room {wanted.room!r} is here yet, but other rooms are. Is the name right?"
    else:
        title, message = "Looking for the server", f"Looking for {_what(wanted)}. It goes on by itself."
        if waited:
            message = (
                f"Not found yet: {_what(wanted)}. This goes on searching. Is the server started, and is this computer "
                "on the same network? If so, start this program with the join code that the server shows."
            )
    for label, found in (
        ("Found", (*choice.others, *choice.several)),
        ("Version", choice.old),
        ("Seen", choice.silent),
    ):
        lines += [(label, each) for each in describe(found)]
    lines += [("Note", note) for way, note in sorted(notes.items()) if waited or way == "interface"]
    if waited:
        lines += [("Tried", each) for each in wanted.urls]
    return Presentation(Screen.LOADING, title=title, message=message, lines=tuple(lines))
