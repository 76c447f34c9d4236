"""The signaling client of a player who comes back: what it asks for again, and what it does not believe."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio
import uvicorn
from signaling_rig import Caller, callers, running_server

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import (
    Description,
    Join,
    LastMatch,
    Matched,
    MatchSettings,
    PeerGone,
    Signal,
    Waiting,
    Welcome,
    encode_event,
)
from p2pclient.common.room_messages import Removed
from p2pclient.runtime.signaling_client import Place

THREE = MatchSettings(env="cogrid:Test", seats=3, on_drop="go-on")


class Relay:
    """A way to a server that can be cut."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.url = ""
        """Where it is taken; known once it runs."""
        self._to = (host, int(port))
        self._writers: list[asyncio.StreamWriter] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Relay]:
        server = await asyncio.start_server(self._join_up, "127.0.0.1", 0)
        async with server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self
            self.cut()

    def cut(self) -> None:
        """End all connections, as a cable that is pulled."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _join_up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._to)
        self._writers += [writer, back]
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.transport.abort()


async def match_of_three(players: list[Caller]) -> tuple[Matched, str]:
    """Begin a match; returns it, and the name of the last player."""
    for player in players:
        welcome = await player.client.join(Join())
    return await players[2].next(Matched), welcome.client_id


async def test_who_is_sent_to_watch_is_in_no_waiting_room() -> None:
    async with running_server(THREE) as url, callers(url, 4) as everyone:
        matched, gone = await match_of_three(everyone[:3])
        await everyone[2].client.close()
        last = LastMatch(match_id=matched.match_id, client_id=gone)
        welcome = await everyone[3].client.join(Join(last_match=last))
        assert welcome.watch == matched.match_id
        assert everyone[3].client.place is Place.IDLE


async def test_who_waits_goes_on_waiting_when_the_connection_is_made_anew() -> None:
    """Its old connection is gone from the match by then, so that asking once more would bring it there."""
    async with running_server(THREE) as url, callers(url, 3) as players, Relay(url).running() as relay:
        matched, still_there = await match_of_three(players)
        last = LastMatch(match_id=matched.match_id, client_id=still_there)
        waiting = Caller()
        await waiting.client.connect(relay.url)
        assert (await waiting.client.join(Join(last_match=last))).not_watched == "not-gone"
        await waiting.next(Waiting)
        await players[2].client.close()
        relay.cut()
        await waiting.until(lambda: not waiting.client.connected)
        again = await waiting.next(Welcome)
        assert (again.watch, again.not_watched) == (None, "")
        await waiting.next(Waiting)
        assert waiting.client.place is Place.WAITING
        await waiting.client.close()


@contextlib.asynccontextmanager
async def strange_server(watch: str) -> AsyncIterator[str]:
    """A server that sends whoever joins to watch the same match."""
    sio = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])

    async def on_join(sid: str, payload: Any) -> dict[str, bool]:
        welcome = Welcome(client_id="c1", settings=THREE, watch=watch)
        event, said = encode_event(welcome)
        await sio.emit(event, said, to=sid)
        return {"ok": True}

    sio.on("join", on_join)
    bound = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        socketio.ASGIApp(sio), log_config=None, lifespan="off", ws="websockets-sansio", timeout_graceful_shutdown=1
    )
    web = uvicorn.Server(config)
    serving = asyncio.create_task(web.serve(sockets=[bound]))
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        web.should_exit = True
        await serving


@pytest.mark.parametrize("last", [None, LastMatch(match_id="0001-aa", client_id="c9")])
async def test_match_that_nobody_asked_for_is_not_watched(last: LastMatch | None) -> None:
    async with strange_server("0002-bb") as url, callers(url, 1) as (caller,):
        with pytest.raises(SignalingError) as caught:
            await caller.client.join(Join(last_match=last))
        assert caught.value.code == "bad-server"
        assert caller.client.place is Place.IDLE


async def test_a_connection_that_does_not_answer_is_made_anew_without_a_word_to_the_partner() -> None:
    async with running_server() as url, callers(url, 2) as (first, second):
        for each in (first, second):
            await each.client.join(Join())
        matched = await first.next(Matched)
        await second.next(Matched)
        first.client.renew()
        first.client.renew()
        assert not first.client.connected
        again = await first.next(Welcome)
        assert again.match == matched.match_id
        await first.until(lambda: first.client.connected)
        description = Description(type="offer", sdp="v=0")
        await first.client.signal(matched.peers[0].client_id, description, attempt=3, incarnation=77)
        told = await second.next(Signal)
        assert (told.attempt, told.incarnation, told.description) == (3, 77, description)
        assert not any(isinstance(each, PeerGone) for each in second.messages + second.client.take_messages())
        assert not any(isinstance(each, Removed) for each in first.messages)


async def test_a_connection_from_an_address_that_is_gone_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_server() as url, callers(url, 1) as (caller,):
        link = caller.client._link
        assert link is not None
        assert link.local_address == "127.0.0.1"
        caller.client.addresses_are({"10.0.0.2"})  # the loopback interface is not asked about
        assert caller.client.connected
        monkeypatch.setattr(type(link), "local_address", "10.0.0.1")
        caller.client.addresses_are({"10.0.0.1", "10.0.0.2"})
        assert caller.client.connected
        caller.client.addresses_are({"10.0.0.2"})
        assert not caller.client.connected
        await caller.until(lambda: caller.client.connected)
        assert caller.client._link is not link
