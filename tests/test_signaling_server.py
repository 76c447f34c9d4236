"""A real server and real Socket.IO clients in one loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any

import aiohttp
import pytest
from signaling_rig import SETTINGS, Caller, callers, plain_socketio, running_server

from p2pclient.common.errors import ConfigurationError, SignalingError
from p2pclient.common.lobby_messages import (
    LOBBY_PROTOCOL,
    Closing,
    Description,
    Join,
    Matched,
    MatchResult,
    PeerGone,
    Signal,
    Waiting,
)
from p2pclient.runtime.signaling_client import Place
from signaling.addresses import lan_addresses, listen, server_urls
from signaling.room_state import Limits
from signaling.sockets import Keepalive

OFFER = Description(type="offer", sdp="v=0\r\n")
ANSWER = Description(type="answer", sdp="v=1\r\n")


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with running_server() as url:
        yield url


async def health(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/healthz") as answer:
        assert answer.status == 200
        found: dict[str, Any] = await answer.json()
        return found


async def join_match(members: list[Caller]) -> list[Matched]:
    for each in members:
        await each.client.join(Join(label=f"x{id(each)}"))
    return [await each.next(Matched) for each in members]


async def test_two_are_matched_and_their_descriptions_relayed(url: str) -> None:
    async with callers(url, 2) as (a, b):
        welcome = await a.client.join(Join(label="A", bot=True))
        assert welcome.settings == SETTINGS
        assert (await a.next(Waiting)) == Waiting(position=1, waiting=1, needed=1)
        await b.client.join(Join(label="B"))
        at_a, at_b = await a.next(Matched), await b.next(Matched)
        assert at_a.match_id == at_b.match_id
        assert at_a.seed == at_b.seed
        (peer,) = at_a.peers
        assert peer.make_offer
        await a.client.signal(peer.client_id, OFFER)
        got = await b.next(Signal)
        assert got == Signal(match_id=at_a.match_id, peer=at_b.peers[0].client_id, description=OFFER)
        await b.client.signal(got.peer, ANSWER)
        assert (await a.next(Signal)).description == ANSWER
        assert (await health(url))["matches"] == 1


async def test_seed_fixes_what_the_matches_are() -> None:
    found = []
    for seed in (3, 3, 0):
        async with running_server(seed=seed) as url, callers(url, 2) as members:
            matched = (await join_match(members))[0]
            found.append((matched.match_id, matched.seed))
    assert found[0] == found[1] != found[2]


async def test_third_client_cannot_signal_into_a_match(url: str) -> None:
    async with callers(url, 2) as members, plain_socketio(url) as stranger:
        matched, other = await join_match(members)
        signal = {
            "match_id": matched.match_id,
            "peer": matched.peers[0].client_id,
            "description": {"type": "offer", "sdp": "x"},
        }
        answer = await stranger.call("signal", signal, timeout=5)
        assert answer["refused"]["code"] == "not-matched"
        await members[0].client.signal(matched.peers[0].client_id, OFFER)
        assert (await members[1].next(Signal)).peer == other.peers[0].client_id


async def test_everything_malformed_gets_a_typed_refusal(url: str, caplog: pytest.LogCaptureFixture) -> None:
    join = {"protocol": LOBBY_PROTOCOL}
    cases: list[tuple[str, Any, str]] = [
        ("no-such-event", {"a": 1}, "unknown-event"),
        ("disconnect", "now", "unknown-event"),
        ("connect", {}, "unknown-event"),
        ("__disconnect_final", {}, "unknown-event"),
        ("!rate-limited", {}, "unknown-event"),
        ("join", None, "malformed"),
        ("join", [1, 2], "malformed"),
        ("join", {"protocol": "1"}, "malformed"),
        ("join", {**join, "label": 5}, "malformed"),
        ("join", {**join, "label": "x" * 65}, "malformed"),
        ("join", ({**join}, {**join}), "malformed"),
        ("join", {"protocol": LOBBY_PROTOCOL + 1}, "protocol-version"),
        ("join", b"\x00" * 10, "malformed"),
        ("join", {**join, "label": "x" * 1_000_000}, "oversized"),
        ("signal", {"match_id": "../..", "peer": "c1", "description": {"type": "offer", "sdp": ""}}, "malformed"),
        ("signal", {"match_id": "m", "peer": "c1", "description": {"type": "pranswer", "sdp": ""}}, "malformed"),
        ("signal", {"match_id": "m", "peer": "c1", "description": {"type": "offer", "sdp": "x" * 40_000}}, "malformed"),
        ("finished", {"match_id": "m", "result": {"reason": "x", "frames": -1}}, "malformed"),
    ]
    async with plain_socketio(url) as sio, callers(url, 2) as members:
        matched, _ = await join_match(members)
        unanswered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        sio.on("refused", lambda data: unanswered.done() or unanswered.set_result(data))
        for event, payload, code in cases:
            if isinstance(payload, bytes):
                # No acknowledgement id survives in a binary packet, so that the answer is an event.
                await sio.emit(event, payload)
                answer = {"refused": await asyncio.wait_for(unanswered, 5)}
            else:
                answer = await sio.call(event, payload, timeout=5)
            assert answer["refused"]["code"] == code, (event, str(payload)[:80])
            assert answer["refused"]["message"]
        assert await sio.call("leave", {}, timeout=5) == {"ok": True}
        await members[0].client.signal(matched.peers[0].client_id, OFFER)
        assert (await members[1].next(Signal)).description == OFFER
        assert (await health(url))["ok"]
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


async def test_garbage_on_raw_sockets_harms_nobody(url: str, caplog: pytest.LogCaptureFixture) -> None:
    address = f"{url}/socket.io/?EIO=4&transport=websocket"
    garbage: list[str | bytes] = ["", "x", "9", "4", "4" + "[" * 5000, "42[", "6", b"\xff" * 100, "45999-[]", "43[]"]
    async with callers(url, 2) as members, aiohttp.ClientSession() as session:
        for connect_first in (False, True):
            for frame in [*garbage, "x" * 3_000_000]:
                async with session.ws_connect(address) as ws:
                    assert (await ws.receive_str()).startswith("0")
                    if connect_first:
                        await ws.send_str("40")
                        assert (await ws.receive_str()).startswith("40")
                    await (ws.send_bytes(frame) if isinstance(frame, bytes) else ws.send_str(frame))
                    answer = await ws.receive(timeout=5)
                    if connect_first and len(frame) < 2_000_000:
                        assert json.loads(answer.data[2:])[0] == "refused"
                    else:
                        assert answer.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        assert len(await join_match(members)) == 2
        assert (await health(url))["clients"] == 2
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


async def test_web_requests_are_answered_and_never_a_500(url: str) -> None:
    requests = [
        ("GET", "/", 200),
        ("GET", "/healthz", 200),
        ("POST", "/healthz", 405),
        ("GET", "/nothing", 404),
        ("GET", "/socket.io/?EIO=4&transport=polling", 400),
        ("POST", "/socket.io/?EIO=4&transport=polling&sid=x", 400),
        ("GET", "/socket.io/?EIO=4&transport=websocket", 400),
        ("OPTIONS", "/socket.io", 400),
    ]
    async with aiohttp.ClientSession() as session:
        for method, path, status in requests:
            async with session.request(method, url + path, headers={"Upgrade": "websocket"}) as answer:
                assert answer.status == status, (method, path)
        for query in ("EIO=3&transport=websocket", "EIO=4&transport=websocket&sid=x", "EIO=4", "&&%ff=%ff"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await session.ws_connect(f"{url}/socket.io/?{query}")
            assert caught.value.status < 500


async def test_flood_is_refused_then_cut_off_while_others_play(url: str) -> None:
    async with callers(url, 2) as members, plain_socketio(url) as sio:
        gone = asyncio.Event()
        codes: list[str] = []
        sio.on("disconnect", lambda reason: gone.set())
        for _ in range(400):
            await sio.emit("leave", {}, callback=lambda answer: codes.append(answer.get("refused", {}).get("code")))
        await asyncio.wait_for(gone.wait(), 5)
        assert "rate-limited" in codes
        assert len(await join_match(members)) == 2


async def test_client_that_never_answers_pings_holds_nobody_up() -> None:
    keepalive = Keepalive(interval_s=1, timeout_s=1)
    async with running_server(keepalive=keepalive) as url, callers(url, 1) as (a,), aiohttp.ClientSession() as session:
        await a.client.join(Join())
        async with session.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket") as ws:
            await ws.send_str("40")
            await ws.send_str(f'42["join",{{"protocol":{LOBBY_PROTOCOL}}}]')
            while '"proposed"' not in (frame := await ws.receive_str()):
                pass
            proposal = json.loads(frame[2:])[1]["proposal_id"]
            await ws.send_str(f'42["confirm",{{"proposal_id":"{proposal}"}}]')
            peer = (await a.next(Matched)).peers[0].client_id
            refused = None
            while refused is None:
                # It goes on talking, and is sent to, so that the server finds its silence while it sends.
                with contextlib.suppress(aiohttp.ClientConnectionResetError):  # the server may just have closed it
                    await ws.send_str('42["leave-not"]')
                try:
                    await a.client.signal(peer, OFFER)
                    await a.next(PeerGone, within=0.06)
                except TimeoutError:
                    continue
                except SignalingError as error:
                    refused = error.code
            assert refused == "not-your-partner"
        await a.client.finished(MatchResult(reason="partner lost"))
        await a.client.join(Join())
        await a.next(Waiting)


async def test_partner_is_told_of_a_leave_and_of_a_closed_connection(url: str) -> None:
    async with callers(url, 2) as (a, b):
        matched = (await join_match([a, b]))[0]
        await b.client.leave()
        assert await a.next(PeerGone) == PeerGone(
            match_id=matched.match_id, client_id=matched.peers[0].client_id, why="left"
        )
        await a.client.finished(MatchResult(reason="partner left"))
        assert (await health(url))["matches"] == 0


async def test_same_connections_play_again(url: str) -> None:
    ids = set()
    async with callers(url, 2) as members:
        for _ in range(10):
            matched = (await join_match(members))[0]
            ids.add(matched.match_id)
            for each in members:
                await each.client.finished(MatchResult(reason="complete", frames=10))
                assert each.client.place is Place.IDLE
        found = await health(url)
        assert (len(ids), found["matches"], found["matches_made"], found["clients"]) == (10, 0, 10, 2)


async def test_three_pairs_in_a_row_without_a_disconnect(url: str) -> None:
    async with callers(url, 6) as members:
        for pair in (members[:2], members[2:4], members[4:]):
            await join_match(pair)
        found = await health(url)
        assert (found["matches"], found["clients"], found["waiting"]) == (3, 6, 0)
        assert all(each.client.connected for each in members)
        assert not any(isinstance(message, PeerGone) for each in members for message in each.messages)


async def test_full_server_says_so() -> None:
    async with running_server(limits=Limits(clients=2)) as url, callers(url, 2):
        with pytest.raises(SignalingError) as caught:
            await Caller().client.connect(url)
        assert caught.value.code == "full"


@pytest.mark.alone
async def test_shutdown_tells_everyone_and_ends_quickly() -> None:
    stack = contextlib.AsyncExitStack()
    url = await stack.enter_async_context(running_server())
    async with callers(url, 3) as members, aiohttp.ClientSession() as session:
        await join_match(members[:2])
        await members[2].client.join(Join())
        async with session.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket"):
            began = perf_counter()
            await stack.aclose()
            assert perf_counter() - began < 2.0
        for each in members:
            assert (await each.next(Closing)).message
            await each.until(lambda each=each: not each.client.connected)  # type: ignore[misc]


async def test_port_in_use_and_wrong_hosts_say_what_to_do(url: str) -> None:
    port = int(url.rsplit(":", 1)[1])
    with pytest.raises(ConfigurationError, match=f"port is {port}.*--port"):
        async with running_server(port=port):
            pass
    for host in ("no.such.host.invalid", "203.0.113.7"):
        with pytest.raises(ConfigurationError, match=r"host is .*0\.0\.0\.0"):
            listen(host, 0)
    with pytest.raises(ConfigurationError, match="port is 70000"):
        listen("127.0.0.1", 70000)


def test_urls_name_addresses_that_others_can_use() -> None:
    assert server_urls("127.0.0.1", 5) == ["http://127.0.0.1:5"]
    assert server_urls("fd00::1", 5) == ["http://[fd00::1]:5"]
    assert server_urls("0.0.0.0", 5)[-1] == "http://127.0.0.1:5"
    assert not any(each.startswith(("127.", "fe80", "169.254")) or each == "::1" for each in lan_addresses())


async def test_silent_tcp_connection_does_not_keep_the_server_from_others(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))):
        async with callers(url, 2) as members:
            assert len(await join_match(members)) == 2
