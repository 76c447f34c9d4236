"""A real server on a real disk: started again, and with a disk that takes nothing for a while."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from signaling_rig import Caller, callers, listening_server

from p2pclient.common.errors import SignalingError, StoreError
from p2pclient.common.lobby_messages import Description, Join, Matched, MatchResult, Signal, Waiting
from p2pclient.common.match_settings import DEFAULT_STUDY as STUDY
from p2pclient.common.room_messages import Health, Report
from signaling.rows import MatchRow
from signaling.server import Listening
from signaling.store.interface import Participant
from signaling.store.sqlite import SqliteStore


def shown(listening: Listening, match_id: str) -> MatchRow:
    row = listening.server.room.row(now=perf_counter(), epoch=time.time())
    (found,) = [each for each in row.matches if each.id == match_id]
    return found


async def until(condition: Any, within: float = 15.0) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - the server's side: nothing says when
            await asyncio.sleep(0.02)


async def health(listening: Listening) -> dict[str, Any]:
    def read() -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{listening.port}/healthz") as answer:
            said: bytes = answer.read()
            return said

    said: dict[str, Any] = json.loads(await asyncio.to_thread(read))
    return said


async def test_server_that_is_started_again_goes_on_where_it_was(tmp_path: Path) -> None:
    players = [Caller(), Caller(), Caller()]
    a, b, c = players
    async with listening_server(data=tmp_path) as first:
        for each in players:
            await each.client.connect(first.urls[0].replace("localhost", "127.0.0.1"))
            await each.client.join(Join(label=f"P-{players.index(each)}"))
        matched = await a.next(Matched)
        await b.next(Matched)
        await c.next(Waiting)
        waiting = first.server.room.waiting
    try:
        await a.until(lambda: not a.client.connected)
        await a.client.finished(MatchResult(reason="complete"))  # nobody hears it
        async with listening_server(data=tmp_path, port=first.port) as second:
            assert second.server.room.waiting == waiting
            assert [each.label for each in shown(second, matched.match_id).seats] == ["P-0", "P-1"]
            await until(lambda: [each.present for each in shown(second, matched.match_id).seats] == [False, True])
            await until(lambda: second.server.room.clients == 3)
            await b.client.tell(Report(match_id=matched.match_id, health=Health(phase="playing", frame=7)))
            seat = shown(second, matched.match_id).seats[1]
            assert seat.health is not None
            assert seat.health.frame == 7
            await b.client.finished(MatchResult(reason="complete"))
            assert (shown(second, matched.match_id).state, shown(second, matched.match_id).reason) == (
                "ended",
                "complete",
            )
            await a.client.join(Join(label="P-0"))
            again = await a.next(Matched)
            assert {each.client_id for each in again.peers} == set(waiting)
            assert again.match_id.startswith("0002-")
    finally:
        for each in players:
            await each.client.close()


async def test_full_disk_is_a_refusal_and_matches_go_on_meanwhile(tmp_path: Path) -> None:
    async with listening_server(data=tmp_path) as listening, callers(listening.urls[0], 3) as (a, b, c):
        for each in (a, b):
            await each.client.join(Join())
        matched = await a.next(Matched)
        await b.next(Matched)
        store = listening.server._store
        assert isinstance(store, SqliteStore)
        (pages,) = await store._read(lambda connection: connection.execute("PRAGMA page_count").fetchone())
        await store._read(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone())
        await fill(store)
        with pytest.raises(SignalingError) as caught:
            await c.client.join(Join(label="early"))
        assert caught.value.code == "server-error"
        c.client.take_messages()
        said = await health(listening)
        assert (said["ok"], "full" in said["store"]) == (False, True)
        events = listening.server.room.row(now=perf_counter(), epoch=time.time()).events
        assert [each.severity for each in events if each.kind == "store"] == ["problem"]
        await a.client.signal(matched.peers[0].client_id, Description(type="offer", sdp="v=0"))
        assert (await b.next(Signal)).match_id == matched.match_id
        assert not c.client.take_messages()
        await store._read(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
        await until(lambda: not listening.server._durable.problem)  # type: ignore[union-attr]
        assert (await health(listening))["ok"]
        await c.client.join(Join(label="late"))
        await c.next(Waiting)
        kept = await store.participants(STUDY)
        assert [each.state for each in kept if each.label == "late"] == ["waiting"]


async def fill(store: SqliteStore) -> None:
    """Write participants of another study until the disk takes nothing more."""
    for number in range(2000):
        try:
            await store.write([Participant(id=f"p-{number}", study_id="another")])
        except StoreError:
            return
    pytest.fail("the disk never was full")
