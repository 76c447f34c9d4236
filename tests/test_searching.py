from __future__ import annotations

import asyncio
from typing import Any

import pytest

from p2pclient.common.discovery_messages import ServerFacts
from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import LOBBY_PROTOCOL
from p2pclient.common.presentation import CloseRequest, FocusChange, Intent, Presentation, Screen
from p2pclient.discovery.finder import Finder
from p2pclient.discovery.findings import Choice, Found, Wanted
from p2pclient.runtime.person import Person
from p2pclient.runtime.searching import Searching, search_screen

LAB1 = Found("http://10.0.0.1:8765", "Lab 1", "desk1", ("mdns",))
LAB2 = Found("http://10.0.0.2:8765", "Lab 2", "desk2", ("broadcast",))


def text_of(screen: Presentation) -> str:
    return " ".join([screen.title, screen.message, *(f"{label} {value}" for label, value in screen.lines)])


def test_screen_says_what_is_searched_for_and_later_what_to_do() -> None:
    wanted = Wanted(room="Lab 2")
    first = search_screen(wanted, Choice(), {"mdns": "mDNS is not tried."}, waited=False)
    later = search_screen(wanted, Choice(), {"mdns": "mDNS is not tried."}, waited=True)
    assert first.screen is later.screen is Screen.LOADING
    assert "'Lab 2'" in text_of(first)
    assert "mDNS" not in text_of(first)
    assert "join code" in text_of(later)
    assert "mDNS is not tried." in text_of(later)
    assert "no cable" in text_of(search_screen(wanted, Choice(), {"interface": "no cable"}, waited=False))


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice(several=(LAB1, LAB2)), ["Which room?", "--room", "'Lab 1' on desk1", "'Lab 2' on desk2"]),
        (Choice(others=(LAB1,)), ["Another room", "'Lab 1' on desk1"]),
        (Choice(old=(LAB1,)), ["Another version", "Upgrade"]),
        (Choice(silent=(LAB1,)), ["cannot be reached", "firewall", "http://10.0.0.1:8765"]),
    ],
)
def test_screen_says_what_was_found_instead(choice: Choice, words: list[str]) -> None:
    text = text_of(search_screen(Wanted(room="Lab 7"), choice, {}, waited=False))
    for word in words:
        assert word in text


class Window:
    def __init__(self, *intents: Intent) -> None:
        self.intents = list(intents)
        self.shown: list[Presentation] = []

    def publish(self, presentation: Presentation) -> None:
        self.shown.append(presentation)

    def take_intents(self) -> list[Intent]:
        taken, self.intents = self.intents, []
        return taken


AWAY_FROM: dict[str, str] = {}
"""URL -> ``away`` if a client there plays until it is closed and its server is away, ``there`` if it is not."""


class Player:
    """Stands where the client stands that plays."""

    def __init__(self, url: str, window: Any) -> None:
        self.url, self.window = url, window
        self.played: list[Any] = ["match"]
        self.intents: list[Intent] = []
        self.is_away = "away" in AWAY_FROM.get(url, "")
        self.closed = asyncio.Event()

    def close(self) -> None:
        self.closed.set()

    async def run(self) -> None:
        self.intents = self.window.take_intents()
        if self.url in AWAY_FROM:
            await self.closed.wait()


def facts(number: int, room: str = "") -> ServerFacts:
    return ServerFacts(
        server_id=f"{number:016x}", room=room or f"Lab {number}", computer="desk", port=1, protocol=LOBBY_PROTOCOL
    )


def finder_that_sees(*numbers: int, room: str = "") -> Any:
    """A real search that looks nowhere, with servers in it that have just answered."""

    def make(wanted: Wanted) -> Finder:
        finder = Finder(Wanted(room=wanted.room, on_lan=False))
        for number in numbers:
            finder.findings.see(facts(number, room), "broadcast", [f"10.0.0.{number}"], now=finder.now())
            finder.findings.due(now=finder.now())
            finder.findings.tried(facts(number).server_id, f"http://10.0.0.{number}:1", now=finder.now() - 5)
        return finder

    return make


async def searching(window: Window, *numbers: int, room: str | None = None, must_choose: bool = False) -> Any:
    made: list[Player] = []
    reports: list[dict[str, Any]] = []

    def make(url: str, window: Any) -> Any:
        made.append(Player(url, window))
        return made[-1]

    client = Searching(
        Wanted(room=room),
        make,
        window,
        report=reports.append,
        must_choose=must_choose,
        make_finder=finder_that_sees(*numbers),
    )
    async with asyncio.timeout(20):
        await client.run()
    return client, made, reports


async def test_client_plays_at_the_server_that_was_found_and_knows_who_has_the_keyboard() -> None:
    window = Window(FocusChange(True, 0.0))
    client, made, reports = await searching(window, 2)
    assert [each.url for each in made] == ["http://10.0.0.2:1"]
    assert client.played == ["match"]
    assert reports[-1] == {"event": "found", "url": "http://10.0.0.2:1", "room": "Lab 2", "ways": ["broadcast"]}
    assert made[0].intents == [FocusChange(True, 0.0)]


async def test_several_rooms_are_an_error_that_names_them_where_nobody_can_be_shown_them() -> None:
    with pytest.raises(SignalingError, match=r"'Lab 1' on desk .*'Lab 2' on desk .*--room") as refused:
        await searching(Window(), 1, 2, must_choose=True)
    assert refused.value.code == "several-rooms"


async def test_named_room_is_joined_among_several() -> None:
    _, made, _ = await searching(Window(), 1, 2, room="lab 2", must_choose=True)
    assert [each.url for each in made] == ["http://10.0.0.2:1"]


async def test_window_that_is_closed_ends_the_search() -> None:
    window = Window(CloseRequest(at=0.0))
    client, made, _ = await searching(window)
    assert made == []
    assert client.played == []


@pytest.mark.parametrize("follow", [True, False])
async def test_station_whose_server_is_away_goes_to_where_it_is_now(
    follow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(AWAY_FROM, "http://10.0.0.1:1", "away")
    made: list[Player] = []
    searches = iter([finder_that_sees(1), finder_that_sees(2, room="Lab 1")])
    playing = asyncio.Event()

    def make(url: str, window: Any) -> Any:
        made.append(Player(url, window))
        playing.set()
        return made[-1]

    client = Searching(
        Wanted(),
        make,
        Window(),
        report=lambda event: None,
        must_choose=False,
        follow=follow,
        make_finder=lambda wanted: next(searches)(wanted),
        away_s=0.0,
    )
    async with asyncio.timeout(20):
        running = asyncio.create_task(client.run())
        if not follow:
            await playing.wait()
            client.close()
        await running
    assert [each.url for each in made] == ["http://10.0.0.1:1", "http://10.0.0.2:1"][: 1 + follow]
    assert client.played == ["match"] * (1 + follow)


@pytest.mark.parametrize("state", ["there", "away"])
async def test_station_stays_while_its_server_is_there_and_never_goes_to_another_room(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(AWAY_FROM, "http://10.0.0.1:1", state)
    made: list[Player] = []
    searches: list[Wanted] = []
    playing, searched_again = asyncio.Event(), asyncio.Event()

    def make(url: str, window: Any) -> Any:
        made.append(Player(url, window))
        playing.set()
        return made[-1]

    def finder(wanted: Wanted) -> Finder:
        searches.append(wanted)
        if len(searches) == 2:
            searched_again.set()
        found: Finder = finder_that_sees(len(searches))(wanted)
        return found

    client = Searching(
        Wanted(),
        make,
        Window(),
        report=lambda event: None,
        must_choose=False,
        follow=True,
        make_finder=finder,
        away_s=0.0,
    )
    async with asyncio.timeout(20):
        running = asyncio.create_task(client.run())
        await (searched_again if state == "away" else playing).wait()
        await asyncio.sleep(0.3)
        client.close()
        await running
    assert [each.url for each in made] == ["http://10.0.0.1:1"]
    assert [each.room for each in searches] == [None, "Lab 1"][: 1 + (state == "away")]


async def test_results_stay_for_as_long_as_the_station_says() -> None:
    person = Person(Window())
    async with asyncio.timeout(20):
        await person.wait_for_continue(0.01)
    assert not person.wants_to_close
