"""A whole client in the waiting room: what it is shown when the researcher or the server wants something of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter
from typing import Any

from play_rig import BOT, ENV
from signaling_rig import listening_server, plain_socketio
from test_play_return import Recorder

from p2pclient.common.lobby_messages import LOBBY_PROTOCOL, MatchSettings, PeerGone
from p2pclient.common.presentation import CloseRequest, Intent, Screen
from p2pclient.common.stages import SCREENS, Stage
from p2pclient.runtime.participant import Participant
from p2pclient.runtime.participant_settings import ParticipantSettings
from p2pclient.runtime.partings import STAYS_OUT
from signaling.actions import Remove, Tell
from signaling.effects import Send
from signaling.room_state import Rules
from signaling.server import Listening

SETTINGS = MatchSettings(env=ENV)


class Window(Recorder):
    """In which somebody may do something."""

    def __init__(self) -> None:
        super().__init__()
        self.intents: list[Intent] = []

    def take_intents(self) -> list[Intent]:
        taken, self.intents = self.intents, []
        return taken


@contextlib.asynccontextmanager
async def waiting_client(listening: Listening, out: Path, **changes: Any) -> AsyncIterator[tuple[Window, list[Any]]]:
    """Run a client with a window until it waits; it ends with the block, if it has not ended by itself."""
    window, reports = Window(), list[Any]()
    url = f"http://127.0.0.1:{listening.port}"
    settings = ParticipantSettings(
        url=url, out=out, label="Ann", bot=BOT, host_options={"inline": True}, linger=False, **changes
    )
    client = Participant(settings, window, report=reports.append)
    running = asyncio.create_task(client.run())
    try:
        async with asyncio.timeout(20):
            await window.until(lambda shown: shown.screen is Screen.WAITING)
            yield window, reports
            await running
    finally:
        client.close()
        await running


def notes_of(folder: Path) -> list[Path]:
    """Return what clients that wait have noted."""
    return list(folder.glob(".waiting-*"))


async def act(listening: Listening, action: Any) -> None:
    effects = listening.server.room.act(action, by="eva", now=perf_counter())[1]
    await listening.server.carry_out(effects)


async def test_message_is_shown_in_the_waiting_room_and_who_is_removed_is_told_kindly(tmp_path: Path) -> None:
    async with listening_server(SETTINGS) as listening, waiting_client(listening, tmp_path) as (window, reports):
        (participant,) = listening.server.room.waiting
        await act(listening, Tell(text="Five more minutes.", participant=participant))
        await window.until(lambda shown: "Five more minutes." in shown.message)
        assert SCREENS[Stage.WAITING][1] in window.shown[-1].message
        await act(listening, Tell(text="", participant=participant))
        await window.until(lambda shown: shown.message == SCREENS[Stage.WAITING][1])
        await act(listening, Remove(participant=participant, text="Please see Eva."))
    assert window.shown[-1].screen is Screen.RESULTS
    assert window.shown[-1].message == "Please see Eva."
    assert [each["text"] for each in reports if each["event"] == "removed"] == ["Please see Eva."]
    (ask,) = [each for each in listening.server.room.row(now=0.0, epoch=0.0).actions if each.kind == "remove"]
    assert ask.state == "done"
    assert not notes_of(tmp_path)


async def test_who_waited_for_too_long_is_told_and_its_client_ends(tmp_path: Path) -> None:
    rules = Rules(wait_limit_s=0.2, wait_message="Nobody came today.")
    async with (
        listening_server(SETTINGS, rules=rules) as listening,
        waiting_client(listening, tmp_path) as (window, reports),
    ):
        pass
    assert window.shown[-1].message == "Nobody came today."
    assert [each["event"] for each in reports][-1] == "removed"


async def test_a_station_that_is_removed_stays_out_until_its_window_is_closed(tmp_path: Path) -> None:
    async with listening_server(SETTINGS) as listening:
        async with waiting_client(listening, tmp_path, station="LAB03", matches=0) as (window, reports):
            (participant,) = listening.server.room.waiting
            await act(listening, Remove(participant=participant, text="Please see Eva."))
            await window.until(lambda shown: shown.message == f"Please see Eva. {STAYS_OUT}")
            assert not window.shown[-1].can_continue
            await act(listening, Tell(participant=participant, text="Still here."))
            await window.until(lambda shown: "Still here." in shown.message)  # it has not ended
            window.intents.append(CloseRequest(0.0))
        assert [each["event"] for each in reports].count("removed") == 1


async def test_a_partner_who_was_excluded_while_connecting_is_spoken_of_kindly(tmp_path: Path) -> None:
    words = "The other player cannot go on. Thank you for your patience."
    async with (
        listening_server(SETTINGS) as listening,
        waiting_client(listening, tmp_path, matches=0) as (window, _),
        plain_socketio(f"http://127.0.0.1:{listening.port}") as partner,
    ):
        said = {event: asyncio.get_running_loop().create_future() for event in ("welcome", "proposed", "matched")}
        for event, told in said.items():
            partner.on(event, told.set_result)
        await partner.call("join", {"protocol": LOBBY_PROTOCOL}, timeout=5)
        await partner.call("confirm", {"proposal_id": (await said["proposed"])["proposal_id"]}, timeout=5)
        match, own = await said["matched"], (await said["welcome"])["client_id"]
        gone = PeerGone(match_id=match["match_id"], client_id=own, why="left", message=words)
        await listening.server.carry_out([Send(match["peers"][0]["client_id"], gone)])
        await window.until(lambda shown: shown.message == f"{words} Press Enter to wait for another partner.")
        window.intents.append(CloseRequest(0.0))


async def test_at_a_station_a_wait_that_is_over_is_not_the_end(tmp_path: Path) -> None:
    rules = Rules(wait_limit_s=0.2, wait_message="Nobody came today.")
    async with (
        listening_server(SETTINGS, rules=rules) as listening,
        waiting_client(listening, tmp_path, station="LAB03", matches=0) as (window, _),
    ):
        await window.until(lambda shown: shown.message.startswith("Nobody came today. Press Enter"))
        seen = len(window.shown)
        await window.until(lambda shown: len(window.shown) > seen and shown.screen is Screen.WAITING)
        window.intents.append(CloseRequest(0.0))


async def test_proposal_that_comes_to_nothing_leads_back_to_the_waiting_room(tmp_path: Path) -> None:
    async with listening_server(SETTINGS) as listening, waiting_client(listening, tmp_path) as (window, reports):
        async with plain_socketio(f"http://127.0.0.1:{listening.port}") as silent:
            await silent.call("join", {"protocol": LOBBY_PROTOCOL}, timeout=5)
            await window.until(lambda shown: shown.title == SCREENS[Stage.MATCHED][0])
            assert listening.server.room.matches == {}
            await silent.call("leave", {}, timeout=5)
            await window.until(lambda shown: shown.screen is Screen.WAITING and "keep your place" in shown.message)
        (participant,) = listening.server.room.waiting
        await act(listening, Remove(participant=participant))
    assert [each["waiting"] for each in reports if each["event"] == "withdrawn"] == [True]
