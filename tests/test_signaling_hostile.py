"""Clients that do everything wrong, while two who mean well play: see :mod:`hostile_rig`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from console_rig import QUICK
from hostile_rig import EVENTS, GROUP, SOCKET, Heard, Villain
from signaling_rig import Caller, callers, listening_server

from p2pclient.common.lobby_messages import (
    Description,
    Join,
    Matched,
    MatchResult,
    MatchSettings,
    PeerGone,
    Signal,
    Waiting,
)
from p2pclient.common.room_messages import Command, Done, Health, Report
from signaling import connections, server
from signaling.actions import Tell
from signaling.frames import CAPACITY, FLOOD
from signaling.matching.simple import FixedGroups
from signaling.room_state import KEPT_ACTIONS, KEPT_EVENTS, KEPT_HISTORIES, KEPT_MATCHES, Limits, Rules
from signaling.server import Listening
from signaling.sockets import Keepalive
from signaling.store.interface import Account
from signaling.store.sqlite import SqliteStore

PASSWORDS = {"ada": "correct horse battery", "vi": "staple that nobody guesses"}
SETTINGS = MatchSettings(env="test:counter_v0", spectators=False)
RULES = Rules(matcher=FixedGroups(), grace_s=0.3, confirm_within_s=3.0)


class LogKept(logging.Handler):
    """Everything that anybody logs, at every level, as text."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.problems: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        self.lines.append(line)
        if record.levelno >= logging.ERROR or record.exc_info:
            self.problems.append(line)


@pytest.fixture
def log() -> Iterator[LogKept]:
    root, ours = logging.getLogger(), logging.getLogger("tandem")
    kept, before = LogKept(), (root.level, ours.level)
    root.addHandler(kept)
    root.setLevel(logging.DEBUG)
    ours.setLevel(logging.DEBUG)
    yield kept
    root.removeHandler(kept)
    root.setLevel(before[0])
    ours.setLevel(before[1])


async def accounts_in(folder: Path) -> None:
    """Make the console's accounts beforehand, with hashes that cost nothing."""
    store = SqliteStore(folder, serve=True, program="test")
    try:
        roles: tuple[tuple[str, Any], ...] = (("ada", "admin"), ("vi", "viewer"))
        await store.write([Account(name=n, role=r, password_hash=QUICK.hash(PASSWORDS[n])) for n, r in roles])
    finally:
        await store.close()


# -- those who mean well ----------------------------------------------------------------------------------------------


class Honest:
    """Two who play one match after the other, each to its end, and take down what they must not be troubled with."""

    def __init__(self, pair: list[Caller], listening: Listening, heard: Heard) -> None:
        self.pair = pair
        self.listening = listening
        self.heard = heard
        self.finished = 0

    async def play(self) -> None:
        a, b = self.pair
        room = self.listening.server.room
        for number, each in enumerate(self.pair):
            join = Join(label=f"honest-{number}", attributes={"group": GROUP}, station="LAB-honest")
            await each.client.join(join)
        matched = [await each.next(Matched, within=30) for each in self.pair]
        assert matched[0].match_id == matched[1].match_id
        # The villains know all ids: they are no secrets.
        self.heard.note(matched[0].match_id, *(peer.client_id for each in matched for peer in each.peers))
        sdp = f"honest {self.finished}"
        await a.client.signal(matched[0].peers[0].client_id, Description(type="offer", sdp=sdp))
        assert (await b.next(Signal)).description.sdp == sdp
        for each in self.pair:
            await each.client.tell(Report(match_id=matched[0].match_id, health=Health(phase="playing", frame=7)))
        await self.obey(room, matched[1].peers[0].client_id)
        for each in self.pair:
            assert each.client.connected
            await each.client.finished(MatchResult(reason="complete"))
            assert not [message for message in each.messages if isinstance(message, PeerGone)]
            each.messages.clear()
        self.finished += 1

    async def obey(self, room: Any, whom: str) -> None:
        """Have a researcher ask one of them for something: nobody else's answer counts."""
        tell = Tell(text="honest words", participant=whom)
        loop = asyncio.get_running_loop()
        action, effects = room.act(tell, by="ada", now=loop.time())
        self.heard.note(action)
        await self.listening.server.carry_out(effects)
        command = await self.pair[0].next(Command)
        assert (command.action_id, command.text) == (action, "honest words")
        await asyncio.sleep(0.02)
        state = next(each.state for each in room.row(now=loop.time(), epoch=0.0).actions if each.id == action)
        assert state == "sent"
        assert await self.pair[0].client.tell(Done(action_id=action, ok=True))
        state = next(each.state for each in room.row(now=loop.time(), epoch=0.0).actions if each.id == action)
        assert state == "done"


# -- those who do not -------------------------------------------------------------------------------------------------


async def trouble(villain: Villain, listening: Listening, rounds: int, calls: int, cookie: str) -> None:
    """Run several hostile connections of every kind at a time."""
    async with aiohttp.ClientSession() as session:
        for _ in range(rounds):
            works = [villain.call(session, villain.noise.randrange(5, 55)) for _ in range(calls)]
            works.append(villain.betray(session, 20))
            works += [villain.ask() for _ in range(4 * calls)]
            works += [villain.flood(session, villain.noise.choice(EVENTS), 300), look(villain, session, cookie)]
            await asyncio.gather(*works)


async def look(villain: Villain, session: aiohttp.ClientSession, cookie: str) -> None:
    """Open the console's feed from another site, without a session, and as one who may only look."""
    noise, feed = villain.noise, f"{villain.url}/console/feed"
    case = noise.randrange(3)
    headers = {"Origin": "http://evil.example" if case == 0 else villain.url}
    if case != 1:
        headers["Cookie"] = cookie
    try:
        async with session.ws_connect(feed, headers=headers) as ws:
            assert case != 0, "another site has opened the feed"
            kinds = ["pair", "hold", "remove", "end", "tell", "add-bot", "move", "extend", "nothing"]
            for _ in range(20):
                action = {"kind": noise.choice(kinds), "participant": villain.an_id(), "match": villain.an_id()}
                request: Any = {"id": noise.choice([1, 2]), "action": action}
                await ws.send_json(villain.twist(request) if noise.random() < 0.3 else request)
            async with asyncio.timeout(2):
                async for message in ws:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        assert case == 2, "who is not logged in is shown something"
                        answer = message.json()
                        assert answer["type"] != "answer" or not answer["ok"]
    except (aiohttp.ClientError, ConnectionError, TimeoutError, ValueError, RecursionError):
        pass  # turned away, or cut off


async def log_in(url: str, name: str) -> str:
    """Return the cookie of a session."""
    form = {"name": name, "password": PASSWORDS[name]}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/console/login", data=form, headers={"Origin": url}, allow_redirects=False) as answer,
    ):
        assert answer.status == 303
        return answer.headers["Set-Cookie"].split(";")[0]


# -- what must hold ---------------------------------------------------------------------------------------------------


def check_nothing_leaked(heard: Heard, honest: Honest, listening: Listening) -> None:
    """Nobody got a message of a match that is not its own, or what belongs to others."""
    secrets = {each.client.token for each in honest.pair}
    assert None not in secrets
    assert not secrets & heard.tokens
    for frame in heard.frames:
        assert "honest" not in frame, frame
        assert not any(secret in frame for secret in secrets if secret)


def check_log(log: LogKept, heard: Heard, honest: Honest, cookies: list[str]) -> None:
    assert not log.problems, log.problems[:3]
    secrets = {*PASSWORDS.values(), *heard.tokens, *(each.client.token or "" for each in honest.pair)}
    secrets |= {cookie.split("=", 1)[1] for cookie in cookies}
    text = "\n".join(log.lines)
    assert not [secret for secret in secrets if secret in text]
    assert "refused" in text  # it is the right log


async def check_nothing_kept(listening: Listening, honest: int) -> None:
    """When the villains are gone, so is everything of theirs, but for logs of bounded length."""
    server = listening.server
    state: Any = server.room._state
    held = {
        "connections": state.connections,
        "addresses": state.addresses,
        "participants": state.participants,
        "tokens": state.tokens,
        "links": server.app.links,
        "sids": server._sids,
        "clients": server._clients,
        "client links": server._links,
        "sockets": server._sio.eio.sockets,
    }
    empty = {"queue": state.queue, "pending": state.pending, "bookings": state.bookings, "matches": state.matches}

    def left() -> dict[str, int]:
        found = {name: len(each) - honest for name, each in held.items()}
        return {name: count for name, count in {**found, **{n: len(e) for n, e in empty.items()}}.items() if count}

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while left() or not server._delivery.is_idle:  # noqa: ASYNC110  nobody tells when the last is forgotten
                await asyncio.sleep(0.01)
    assert not left()
    assert len(server.room._attendance._labels) == honest
    assert len(state.events) <= KEPT_EVENTS
    assert len(state.ended) <= KEPT_MATCHES
    assert len(state.asks) <= KEPT_ACTIONS
    assert len(state.partners) <= KEPT_HISTORIES
    assert server._delivery.is_idle  # there was no wait since it was seen so


async def run(seed: int, folder: Path, log: LogKept, *, rounds: int, calls: int) -> tuple[Heard, Honest]:
    """Play and be troubled; return what was found out."""
    await accounts_in(folder)
    options: dict[str, Any] = {
        "rules": RULES,
        "limits": Limits(clients=60, matches=20),
        "keepalive": Keepalive(interval_s=1, timeout_s=2),
        "data": folder,
    }
    heard = Heard()
    async with listening_server(SETTINGS, **options) as listening:
        url = f"http://127.0.0.1:{listening.port}"
        cookies = [await log_in(url, "vi"), await log_in(url, "ada")]
        async with callers(url, 2) as pair:
            honest = Honest(pair, listening, heard)
            await honest.play()
            works = trouble(Villain(seed, url, heard), listening, rounds, calls, cookies[0])
            troubling = asyncio.create_task(works)
            while not troubling.done():
                await honest.play()
                await asyncio.sleep(0.4)  # within what one connection may say
            await troubling
            await honest.play()
            await check_nothing_kept(listening, 2)
            check_nothing_leaked(heard, honest, listening)
    check_log(log, heard, honest, cookies)
    assert not [status for status in heard.statuses if status >= 500 and status != 503], heard.statuses
    return heard, honest


async def test_two_who_mean_well_play_on_among_those_who_do_everything_wrong(tmp_path: Path, log: LogKept) -> None:
    heard, honest = await run(1, tmp_path, log, rounds=3, calls=6)
    assert honest.finished >= 3
    # The villains got far: into matches of their own, and to every kind of refusal.
    codes = {line.rsplit(": ", 1)[1] for line in log.lines if line.startswith("tandem.signaling DEBUG refused ")}
    assert {"malformed", "not-matched", "unknown-event", "rate-limited"} <= codes
    assert any('"matched"' in frame for frame in heard.frames)
    assert {200, 400, 404} <= set(heard.statuses)


# -- connections that are open for nothing ----------------------------------------------------------------------------


async def test_connections_that_are_open_for_nothing_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_WITHIN_S", 0.2)
    monkeypatch.setattr(server, "DOORS_S", 0.05)
    said = [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na"]
    async with listening_server(SETTINGS) as listening, callers(f"http://127.0.0.1:{listening.port}", 1) as (waits,):
        await waits.client.join(Join())
        for start in said:
            reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
            writer.write(start)
            with contextlib.suppress(ConnectionResetError):
                async with asyncio.timeout(10):
                    assert len(await reader.read()) < 1000
            writer.transport.abort()
        await waits.next(Waiting)
        assert waits.client.connected


async def test_more_silent_connections_than_there_may_be_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_REQUESTS", 5)
    async with listening_server(SETTINGS) as listening:
        silent = [await asyncio.open_connection("127.0.0.1", listening.port) for _ in range(12)]
        waiting = {asyncio.create_task(reader.read()) for reader, _ in silent}
        async with asyncio.timeout(10):
            while len(waiting) > 5:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                assert all(isinstance(each.exception(), ConnectionResetError) or not each.result() for each in done)
        async with callers(f"http://127.0.0.1:{listening.port}", 2) as pair:
            for each in pair:
                await each.client.join(Join())
            for each in pair:
                await each.next(Matched)
        for _, writer in silent:
            writer.transport.abort()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_who_takes_nothing_is_let_go_even_if_something_is_left_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CLOSED_WITHIN_S", 0.2)
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[asyncio.Transport] = loop.create_future()

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            transport.write(b"x" * 10_000_000)
            transport.close()
            accepted.set_result(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            lost.set()

    lost = asyncio.Event()
    made: list[Protocol] = []
    server = await loop.create_server(lambda: made.append(Protocol()) or made[0], "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()):
        await accepted
        doorkeeper = connections.Doorkeeper()
        doorkeeper.sweep(made, now=0.0)
        doorkeeper.sweep(made, now=0.1)
        await asyncio.sleep(0)
        assert not lost.is_set()
        doorkeeper.sweep(made, now=1.0)
        async with asyncio.timeout(5):
            await lost.wait()
    server.close()
    await server.wait_closed()


async def test_frames_before_the_handshake_is_answered_end_the_connection_only(log: LogKept) -> None:
    async with listening_server(SETTINGS) as listening:
        for path in (SOCKET, "/console/feed", "/nothing"):
            reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
            handshake = (
                f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            # More than is read at once: the rest comes while the handshake is being answered.
            writer.write(handshake.encode() + b"no frame" * 200_000)
            with contextlib.suppress(ConnectionResetError):
                async with asyncio.timeout(20):
                    await reader.read()
            writer.transport.abort()
    assert not log.problems, log.problems


async def test_flood_of_what_is_to_be_relayed_for_others_is_bounded() -> None:
    async with listening_server(SETTINGS) as listening, aiohttp.ClientSession() as session:
        await Villain(1, f"http://127.0.0.1:{listening.port}", Heard()).flood(session, "relay", 1000)
        async with asyncio.timeout(20):
            while listening.server.app.links:  # noqa: ASYNC110  as above
                await asyncio.sleep(0.02)
        assert 0 < listening.server._relay.counts()["not-matched"] <= FLOOD + 10


@pytest.mark.parametrize("event", [each for each in EVENTS if each != "relay"])
async def test_flood_of_any_valid_message_is_bounded(event: str) -> None:
    async with listening_server(SETTINGS) as listening, aiohttp.ClientSession() as session:
        villain = Villain(1, f"http://127.0.0.1:{listening.port}", Heard())
        taken: list[str] = []
        room: Any = listening.server
        take = room._take
        room._take = lambda client, said, payload: taken.append(said) or take(client, said, payload)
        await villain.flood(session, event, 1000)
        async with asyncio.timeout(20):
            while listening.server.app.links:  # noqa: ASYNC110  as above
                await asyncio.sleep(0.02)
        assert 0 < taken.count(event) < 2 * CAPACITY
        assert len(taken) <= 2 * CAPACITY + 2 * FLOOD


# -- six at once ------------------------------------------------------------------------------------------------------


async def test_three_matches_that_begin_at_once_ten_times_over_leave_nothing_behind() -> None:
    async with listening_server(SETTINGS) as listening, callers(f"http://127.0.0.1:{listening.port}", 6) as six:
        room: Any = listening.server.room
        for number in range(10):
            await asyncio.gather(*(each.client.join(Join()) for each in six))
            matched = [await each.next(Matched) for each in six]
            ids = {each.match_id for each in matched}
            assert len(ids) == len(room.matches) == 3
            for each, own in zip(six, matched, strict=True):
                health = Health(phase="playing", frame=number)
                assert await each.client.tell(Report(match_id=own.match_id, health=health))
            await asyncio.gather(*(each.client.finished(MatchResult(reason="complete")) for each in six))
            assert not any(isinstance(message, PeerGone) for each in six for message in each.messages)
            state = room._state
            kept = [state.matches, state.pending, state.queue, state.bookings, state.asks]
            assert [len(each) for each in kept] == [0] * len(kept)
            known = [state.connections, state.participants, state.tokens, state.addresses, state.partners]
            assert [len(each) for each in known] == [6] * len(known)
            assert len(state.ended) == 3 * (number + 1)
        assert all(each.client.connected for each in six)
        assert room.matches_made == 30
