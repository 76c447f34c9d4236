"""Clients whose connection is lost, or whose program is opened twice: who has its place again, and who is sent away."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from signaling_rig import Caller, callers, listening_server, running_server
from test_signaling_client import free_port
from test_signaling_return_client import Relay

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import (
    Description,
    Join,
    Matched,
    MatchResult,
    PeerBack,
    PeerGone,
    Signal,
    Waiting,
    Welcome,
)
from p2pclient.common.presentation import Hud, Intent, Presentation, Screen
from p2pclient.common.room_messages import Command, Done, Health, Removed, Report
from p2pclient.runtime.announcing import Announcer
from p2pclient.runtime.obeying import Obedience
from p2pclient.runtime.signaling_client import Place
from signaling.actions import PauseMatch, Remove, Tell
from signaling.matching.simple import FixedGroups
from signaling.room_state import Rules
from signaling.server import Listening

OFFER = Description(type="offer", sdp="v=0\r\n")


async def cut(relay: Relay, caller: Caller) -> None:
    """End the connection of a client, and wait until it has noticed."""
    relay.cut()
    await caller.until(lambda: not caller.client.connected)


async def test_who_waits_has_its_place_again_after_a_lost_connection() -> None:
    alone = Rules(matcher=FixedGroups())
    async with running_server(rules=alone) as url, callers(url, 1) as (b,), Relay(url).running() as relay:
        a = Caller()
        await a.client.connect(relay.url)
        first = await a.client.join(Join(label="Ann"))
        await b.client.join(Join(label="Bob"))
        assert await a.next(Welcome) == first
        await cut(relay, a)
        again = await a.next(Welcome)
        assert again.client_id == first.client_id
        assert await a.next(Waiting) == Waiting(position=1, waiting=2, needed=0)
        await a.client.close()


async def test_who_plays_has_its_seat_again_and_the_partner_hears_of_it() -> None:
    async with running_server() as url, callers(url, 1) as (b,), Relay(url).running() as relay:
        a = Caller()
        await a.client.connect(relay.url)
        own = await a.client.join(Join(label="Ann"))
        await b.client.join(Join(label="Bob"))
        matched = await a.next(Matched)
        await cut(relay, a)
        assert (await b.next(PeerGone)).client_id == own.client_id
        assert (await b.next(PeerBack)).client_id == own.client_id
        assert (await a.next(Welcome)).match == matched.match_id
        assert a.client.place is Place.MATCHED
        await b.client.signal(own.client_id, OFFER)
        assert (await a.next(Signal)).description == OFFER
        await a.client.close()


async def test_player_of_a_match_that_a_new_server_does_not_know_is_left_alone() -> None:
    port = await free_port()
    players = [Caller(), Caller()]
    async with running_server(port=port) as url:
        for player in players:
            await player.client.connect(url)
            await player.client.join(Join())
        matched, _ = [await player.next(Matched) for player in players]
    async with listening_server(port=port) as listening:
        room = listening.server.room
        for player in players:
            await player.next(Welcome)
            assert player.client.place is Place.MATCHED
            assert not [each for each in player.messages if isinstance(each, Removed | Matched)]
        assert (room.waiting, room.proposed, room.matches) == ((), {}, {})
        await players[0].client.tell(Report(match_id=matched.match_id, health=Health()))
        for player in players:
            await player.client.finished(MatchResult(reason="complete"))
            assert player.client.place is Place.IDLE
        for player in players:
            await player.client.join(Join())
        assert (await players[1].next(Matched)).match_id != matched.match_id
        for player in players:
            await player.client.close()


async def test_second_client_of_a_name_is_refused_and_one_with_the_token_takes_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "tandem")
    async with running_server() as url, callers(url, 3) as (a, b, c):
        first = await a.client.join(Join(label="Ann"))
        with pytest.raises(SignalingError) as caught:
            await b.client.join(Join(label="Ann"))
        assert caught.value.code == "label-in-use"
        c.client.token = first.token
        assert (await c.client.join(Join(label="Ann"))).client_id == first.client_id
        assert "another window" in (await a.next(Removed)).message
        await a.until(lambda: not a.client.connected)
        await a.until(lambda: a.client.connected)
        assert a.client.place is Place.IDLE, "it does not fight for its place"
        assert c.client.connected
    assert first.token is not None
    assert first.token not in caplog.text


async def test_decisions_are_appended_to_a_file(tmp_path: Path) -> None:
    for _ in range(2):
        async with running_server(data=tmp_path / "data") as url, callers(url, 2) as members:
            for each in members:
                await each.client.join(Join())
            await members[0].next(Matched)
    lines = [json.loads(line) for line in (tmp_path / "data" / "decisions.jsonl").read_text().splitlines()]
    assert [line["decision"] for line in lines] == ["round", "round", "begun"] * 2
    assert all(line["time"] > 1.7e9 for line in lines)


# -- what a researcher asks of clients --------------------------------------------------------------------------------


class Screens:
    """A window that keeps what it was given."""

    def __init__(self) -> None:
        self.shown: list[Presentation] = []

    def publish(self, presentation: Presentation) -> None:
        self.shown.append(presentation)

    def take_intents(self) -> list[Intent]:
        return []


async def act(listening: Listening, action: Any) -> str:
    room = listening.server.room
    action_id, effects = room.act(action, by="eva", now=perf_counter())
    await listening.server.carry_out(effects)
    return action_id


def state_of(listening: Listening, action_id: str) -> tuple[str, str]:
    row = listening.server.room.row(now=perf_counter(), epoch=0.0)
    (found,) = [each for each in row.actions if each.id == action_id]
    return found.state, found.detail


async def until_answered(listening: Listening, action_id: str) -> tuple[str, str]:
    async with asyncio.timeout(10):
        while state_of(listening, action_id)[0] == "sent":  # noqa: ASYNC110 - nothing says when it changes
            await asyncio.sleep(0.01)
    return state_of(listening, action_id)


async def test_actions_are_carried_out_by_the_client_and_acknowledged() -> None:
    window = Screens()
    announcer = Announcer(window)
    announcer.publish(Presentation(Screen.WAITING, message="Waiting."))
    left: list[str] = []
    async with listening_server() as listening, callers(f"http://127.0.0.1:{listening.port}", 1) as (a,):
        obedience = Obedience(a.client, announcer, on_leave=left.append)
        participant = (await a.client.join(Join(label="Ann"))).client_id
        said = await act(listening, Tell(text="Five more minutes.", participant=participant))
        command = await a.next(Command)
        obedience.take(command)
        obedience.take(command)
        assert await until_answered(listening, said) == ("done", "")
        assert window.shown[-1].message == "Five more minutes.\n\nWaiting."
        assert len(window.shown) == 2, "one command is carried out once"
        gone = await act(listening, Remove(participant=participant, text="Please see Eva."))
        obedience.take(await a.next(Command))
        assert await until_answered(listening, gone) == ("done", "")
        assert left == ["Please see Eva."]
        await obedience.close()


async def test_control_of_a_match_that_the_client_does_not_play_is_refused_with_a_reason() -> None:
    announcer = Announcer(Screens())
    async with listening_server() as listening, callers(f"http://127.0.0.1:{listening.port}", 2) as (a, b):
        obedience = Obedience(a.client, announcer, on_leave=print)
        for each in (a, b):
            await each.client.join(Join())
        match_id = (await a.next(Matched)).match_id
        paused = await act(listening, PauseMatch(match=match_id))
        obedience.take(await a.next(Command))
        state, detail = await until_answered(listening, paused)
        assert state == "failed"
        assert "does not play that match" in detail
        await obedience.close()


def test_message_stays_over_every_screen_until_it_is_taken_back() -> None:
    window = Screens()
    announcer = Announcer(window)
    announcer.announce("Hello.")
    announcer.publish(Presentation(Screen.PLAYING, hud=Hud(notice="A notice.")))
    assert window.shown[-1].hud.notice == "Hello. – A notice."
    announcer.publish(Presentation(Screen.WAITING))
    assert window.shown[-1].message == "Hello."
    announcer.announce("")
    assert window.shown[-1] == Presentation(Screen.WAITING)


async def test_unknown_actions_are_acknowledged_by_nobody_else() -> None:
    async with listening_server() as listening, callers(f"http://127.0.0.1:{listening.port}", 2) as (a, b):
        participant = (await a.client.join(Join(ready=False))).client_id
        await b.client.join(Join(ready=False))
        said = await act(listening, Tell(text="x", participant=participant))
        assert await b.client.tell(Done(action_id=said, ok=True))
        assert state_of(listening, said)[0] == "sent"
