"""Credentials for TURN servers: what they are, who is told, when they are renewed, and where they are never written."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import time
from pathlib import Path

import pytest
from relay_rig import matched_pair
from room_rig import come, confirm, make_room, only
from signaling_rig import callers, listening_server
from transport_pairs import still_works
from virtual_loop import VirtualLoop

from p2pclient.cli.doctor_turn import check_turn
from p2pclient.common.errors import SignalingError, TransportError
from p2pclient.common.lobby_messages import Matched
from p2pclient.common.path_messages import AskIceServers, IceServerOffer, IceServers
from p2pclient.runtime.ice_servers import ASK_AGAIN_S, RENEW_BEFORE_S, IceBook
from p2pclient.transport import ice
from p2pclient.transport.conformance import close_pair, open_pair
from p2pclient.transport.ice import IceServer
from p2pclient.transport.rtc import NO_TURN, RtcTransport, connect_pair
from signaling.room_state import Rules
from signaling.turn import IceRules, turn_credential

SECRET = "nobody is to read this"
TURN = ("turn:turn.example:3478", "turns:turn.example:5349")
ICE = IceRules(stun=("stun:stun.example:3478",), turn=TURN, turn_secret=SECRET, valid_s=600.0)


@pytest.mark.parametrize(
    ("secret", "username", "credential"),
    [
        # By OpenSSL: printf %s USERNAME | openssl dgst -sha1 -hmac SECRET -binary | base64
        ("sesame12345", "1433895918:0001-8f447703", "qo6YKGmrSwFCIRnuOkOId8uxnfs="),
        ("öffentlich nicht", "1795318089:m", "yHsevGzqJLVg7G3AXEyQfA/DKeU="),
    ],
)
def test_credentials_are_what_a_turn_server_computes(secret: str, username: str, credential: str) -> None:
    assert turn_credential(secret, username) == credential


def test_an_offer_names_all_servers_and_its_end() -> None:
    offer = ICE.offer("0001-abc", epoch=1_700_000_000.9)
    stun, *turns = offer.servers
    assert stun == IceServerOffer(url="stun:stun.example:3478")
    assert [each.url for each in turns] == list(TURN)
    assert {each.username for each in turns} == {"1700000600:0001-abc"}
    assert {each.credential for each in turns} == {turn_credential(SECRET, "1700000600:0001-abc")}
    assert offer.valid_s == 600.0
    assert IceRules().offer("m", epoch=0.0).servers == ()


def test_the_players_of_a_match_are_told_and_nobody_else() -> None:
    room = make_room(2, ice=ICE)
    one = confirm(room, come(room, "a", "b"), "a", "b")
    two = confirm(room, come(room, "c", "d"), "c", "d")
    told = {each: only(one if each in "ab" else two, each, Matched) for each in "abcd"}
    users = {each: {server.username for server in told[each].ice.servers if server.username} for each in "abcd"}
    assert users["a"] == users["b"] == {f"600:{told['a'].match_id}"}
    assert users["c"] == users["d"] == {f"600:{told['c'].match_id}"}
    assert users["a"] != users["c"]
    (again,) = room.ice_servers("a", AskIceServers(match_id=told["a"].match_id), now=100.0)
    assert {each.username for each in again.message.servers if each.username} == {f"700:{told['a'].match_id}"}
    come(room, "w")
    for client, match in (("a", told["c"].match_id), ("w", told["a"].match_id), ("nobody", told["a"].match_id)):
        with pytest.raises(SignalingError) as caught:
            room.ice_servers(client, AskIceServers(match_id=match), now=0.0)
        assert caught.value.code == "not-matched"


def test_without_turn_or_stun_nobody_is_told_anything() -> None:
    room = make_room(2)
    assert only(confirm(room, come(room, "a", "b"), "a", "b"), "a", Matched).ice is None


async def test_secrets_are_in_no_log_and_in_nothing_that_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        listening_server(rules=Rules(ice=ICE), data=tmp_path) as listening,
        callers(f"http://127.0.0.1:{listening.port}", 2) as pair,
    ):
        matched = await matched_pair(pair)
        answers: list[IceServers] = []
        pair[0].client.on_path_message = answers.append  # type: ignore[assignment]
        assert await pair[0].client.tell(AskIceServers(match_id=matched[0].match_id))
        health = str(listening.server._health())
    (answer,) = answers
    assert matched[0].ice is not None
    credential = answer.servers[-1].credential
    assert len(credential) == 28
    kept = b"".join(path.read_bytes() for path in sorted(tmp_path.glob("*.*")))  # noqa: ASYNC240
    assert matched[0].match_id.encode() in kept
    for secret in (SECRET, credential, matched[0].ice.servers[-1].credential):
        assert secret not in caplog.text
        assert secret.encode() not in kept
        assert secret not in health
        for each in (ICE, Rules(ice=ICE), answer, matched[0], IceServer(TURN[0], "u", secret)):
            assert secret not in repr(each)


# -- the client -------------------------------------------------------------------------------------------------------


def offer_of(*urls: str, valid_s: float = 600.0, number: int = 0, match: str = "m") -> IceServers:
    servers = tuple(IceServerOffer(url=url, username=f"user{number}", credential="c") for url in urls)
    return IceServers(match_id=match, servers=servers, valid_s=valid_s)


async def nobody(asked: AskIceServers) -> bool:
    raise AssertionError("asked")


def test_several_turn_servers_are_tried_in_turn() -> None:
    book = IceBook("m", nobody)
    assert not book.has_turn
    assert book.next_turn() == book.stun() == []
    book.take(offer_of("turn:a:1", "stun:s:1", "turns:b:2", "stun:t:1", valid_s=0.0))
    assert book.has_turn
    assert [each.url for _ in range(3) for each in book.next_turn()] == ["turn:a:1", "turns:b:2", "turn:a:1"]
    assert [each.url for each in book.stun()] == ["stun:s:1"]


def test_what_the_server_cannot_mean_is_left_out() -> None:
    book = IceBook("m", nobody)
    bad = ("http://x", "turn:", "turn:host?transport=quic", "turn:a:b", "stun:x/../y", "turn:h:99999")
    book.take(offer_of(*bad, "turn:good", valid_s=0.0))
    assert [each.url for each in book.next_turn()] == ["turn:good"]
    book.take(offer_of("turn:other", valid_s=0.0, match="another"))
    assert [each.url for each in book.next_turn()] == ["turn:good"]


def test_credentials_are_renewed_before_they_expire_also_while_the_server_is_away() -> None:
    asked: list[float] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()

        async def ask(message: AskIceServers) -> bool:
            asked.append(loop.time())
            if len(asked) < 3:
                return False
            book.take(offer_of("turn:a:1", number=len(asked)))
            return True

        book = IceBook("m", ask)
        book.take(offer_of("turn:a:1"))
        await asyncio.sleep(1200)
        assert book.next_turn()[0].username == "user4"
        book.close()
        book.take(offer_of("turn:late:1"))
        await asyncio.sleep(1200)
        assert len(asked) == 4

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())
    first = 600.0 - RENEW_BEFORE_S
    assert asked[:3] == pytest.approx([first, first + ASK_AGAIN_S, first + 2 * ASK_AGAIN_S])
    assert asked[3:] == pytest.approx([asked[2] + first])


# -- a real server ----------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_turn_server_that_does_not_answer_is_named() -> None:
    server = IceServer(f"turn:127.0.0.1:{free_port()}?transport=tcp", "u", "c")
    transport = RtcTransport(offerer=True, only_turn=True, ice_servers=[server])
    with pytest.raises(TransportError) as caught:
        await transport.make_offer()
    assert str(caught.value) == NO_TURN
    await transport.close()


@pytest.mark.skipif(shutil.which("turnserver") is None, reason="needs a TURN server (on Debian the package coturn)")
async def test_coturn_takes_the_credentials_and_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice, "GATHER_WITHIN_S", 30)  # a busy machine is no reason to fail
    port = free_port()
    arguments = (
        f"-n --log-file=stdout --listening-ip=127.0.0.1 --relay-ip=127.0.0.1 --listening-port={port} --realm=lab "
        "--use-auth-secret --static-auth-secret=sesame12345 --no-cli --no-tls --no-dtls --allow-loopback-peers "
        f"--pidfile={tmp_path / 'pid'} --userdb={tmp_path / 'db'}"
    )
    coturn = await asyncio.create_subprocess_exec("turnserver", *arguments.split(), stdout=asyncio.subprocess.DEVNULL)
    try:
        await listens(port)
        rules = IceRules(
            turn=(f"turn:127.0.0.1:{port}", f"turn:127.0.0.1:{port}?transport=tcp"), turn_secret="sesame12345"
        )
        offers = rules.offer("0001-abc", epoch=time.time()).servers

        async def make_pair() -> tuple[RtcTransport, RtcTransport]:
            a, b = (
                RtcTransport(offerer=told is offers[0], only_turn=True, ice_servers=[server_of(told)])
                for told in offers  # one by UDP, the other by TCP
            )
            await connect_pair(a, b)
            return a, b

        pair = await open_pair(make_pair)
        assert [each.transport.stats().connection for each in pair] == ["turn", "turn"]
        await still_works(*pair)
        await close_pair(*pair)
        stranger = IceServer(offers[0].url, offers[0].username, "wrong")
        wrong = RtcTransport(offerer=True, only_turn=True, ice_servers=[stranger])
        with pytest.raises(TransportError):
            await wrong.make_offer()
        await wrong.close()
        assert [each.level.value for each in await check_turn(rules)] == ["good", "good"]
        (found,) = await check_turn(IceRules(turn=rules.turn[:1], turn_secret="another one"))
        assert (found.level.value, found.text) == ("problem", f"{rules.turn[0]} gives no address")
    finally:
        coturn.kill()
        await coturn.wait()


def server_of(told: IceServerOffer) -> IceServer:
    return IceServer(told.url, told.username, told.credential)


async def listens(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return
