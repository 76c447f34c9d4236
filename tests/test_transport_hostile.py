"""What hostile descriptions, peers and strangers can do to a WebRTC transport: be counted."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from typing import Any

import pytest
from transport_pairs import dropped, opened, still_works, transport_of

from p2pclient.common.errors import RemoteProtocolError
from p2pclient.transport.base import CONTROL, INPUTS, Failed
from p2pclient.transport.conformance import Listener, close_pair
from p2pclient.transport.description import read_description
from p2pclient.transport.rtc import RtcTransport, connect_pair

# Hostile descriptions


async def an_offer() -> dict[str, str]:
    a = RtcTransport(offerer=True)
    try:
        return await a.make_offer()
    finally:
        await a.close()


def without(sdp: str, start: str) -> str:
    return "".join(line for line in sdp.splitlines(keepends=True) if not line.startswith(start))


async def test_hostile_descriptions_are_refused_by_name() -> None:
    offer = await an_offer()
    sdp = offer["sdp"]
    candidate = next(line for line in sdp.splitlines() if line.startswith("a=candidate"))
    address = candidate.split()[4]
    only_first = without(sdp.replace(candidate, "first"), "a=candidate").replace("first", candidate)
    hostile: list[Any] = [
        None,
        [],
        {},
        {"type": "offer"},
        {"type": "offer", "sdp": 1},
        {"type": "offer", "sdp": ""},
        {"type": "offer", "sdp": "x" * 100_000},
        {"type": "answer", "sdp": sdp},
        *(
            {"type": "offer", "sdp": text}
            for text in (
                "v=0",
                without(sdp, "m="),
                without(sdp, "a=fingerprint"),
                without(sdp, "a=candidate"),
                without(sdp, "a=ice-ufrag"),
                without(sdp, "a=ice-pwd"),
                without(sdp, "a=mid"),
                sdp.replace("sha-256", "md5").replace("sha-384", "md5").replace("sha-512", "md5"),
                sdp.replace("BUNDLE 0", "BUNDLE 0 1"),
                sdp.replace("a=max-message-size:262144", "a=max-message-size:10"),
                sdp.replace("a=sctp-port:5000", "a=sctp-port:0"),
                sdp.replace("webrtc-datachannel", "1 2 3").replace("UDP/DTLS/SCTP", "DTLS/SCTP"),
                sdp.replace(candidate, f"{candidate}\r\n" * 80),
                only_first.replace(address, "224.0.0.1"),
                only_first.replace(address, "somewhere.local"),
                sdp + sdp[sdp.index("m=") :],
                sdp + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n",
            )
        ),
    ]
    b = RtcTransport(offerer=False)
    for description in hostile:
        with pytest.raises(RemoteProtocolError) as caught:
            await b.accept_offer(description)
        assert caught.value.reason == "bad-description"
    # None of them did anything to it.
    a = RtcTransport(offerer=True)
    await connect_pair(a, b)
    ends = Listener(a), Listener(b)
    for end in ends:
        await end.until_open()
    await close_pair(*ends)


async def test_mangled_descriptions_are_refused_or_harmless() -> None:
    rng, offer = random.Random(4), await an_offer()
    refused = 0
    for _ in range(400):
        text = bytearray(offer["sdp"], "utf-8")
        for _ in range(rng.randint(1, 30)):
            at = rng.randrange(len(text))
            if rng.random() < 0.5:
                text[at] = rng.randrange(32, 127)
            else:
                del text[at : at + rng.randint(1, 40)]
        try:
            read_description({"type": "offer", "sdp": text.decode()}, "offer")
        except RemoteProtocolError:
            refused += 1
    assert refused > 100


async def test_an_answer_of_another_connection_is_refused_or_fails_quietly() -> None:
    a, b, c = (RtcTransport(offerer=offerer, connect_timeout=0.5) for offerer in (True, True, False))
    offer_b = await b.make_offer()
    await a.make_offer()
    answer = await c.accept_offer(offer_b)
    listener = Listener(a)
    await a.accept_answer(answer)
    await listener.until(lambda: bool(listener.events))
    assert isinstance(listener.events[0], Failed)
    for each in (a, b, c):
        await each.close()


# Hostile peers, inside the encrypted connection


async def test_text_and_oversized_messages_are_dropped() -> None:
    async with opened() as (a, b):
        channels = transport_of(a)._channels
        channels[INPUTS].send("text")
        channels[CONTROL].send("text")
        channels[INPUTS].send(bytes(2000))
        channels[CONTROL].send(bytes(100_000))
        channels[INPUTS].send(b"")
        await dropped(b, "not-bytes", 2)
        await dropped(b, "too-large", 3)
        await still_works(a, b)


async def test_a_foreign_channel_is_closed_and_their_number_bounded() -> None:
    async with opened() as (a, b):
        connection = transport_of(a)._connection
        foreign = connection.createDataChannel("foreign")
        closed = asyncio.Event()
        foreign.on("close", closed.set)
        await asyncio.wait_for(closed.wait(), 10)
        assert b.transport.stats().dropped_by_reason["foreign-channel"] == 1
        for number in range(50):
            connection.createDataChannel(f"foreign {number}")
        await dropped(b, "wrong-channel", 30)
        assert len(transport_of(b)._association._sctp._data_channels) <= 8
        await still_works(a, b)


async def test_messages_on_a_stream_without_a_channel_are_dropped() -> None:
    async with opened() as (a, b):
        for stream in range(40, 60):
            await transport_of(a)._association._sctp._send(stream, 53, b"hello")
        await dropped(b, "wrong-channel", 20)
        assert len(transport_of(b)._association._sctp._inbound_streams) <= 3
        await still_works(a, b)


@pytest.mark.alone
async def test_hostile_packets_are_counted_and_cost_little() -> None:
    from aiortc import rtcsctptransport as sctp

    async with opened() as (a, b):
        association = transport_of(a)._association._sctp
        span = sctp.SackChunk()
        span.cumulative_tsn = association._last_received_tsn
        span.gaps = [(1, 65535)] * 200
        short = sctp.Chunk(body=b"\x01")
        short.type = 192
        opening_of_ours = struct.pack("!BBHLHH", 3, 0, 0, 0, 0, 0)
        start = time.perf_counter()
        for _ in range(20):
            await association._send_chunk(span)
            await association._send_chunk(short)
        await association._send(0, sctp.WEBRTC_DCEP, opening_of_ours)
        await association._send(1, sctp.WEBRTC_STRING, b"\xff\xfe not text")
        await dropped(b, "malformed", 41)
        await dropped(b, "wrong-channel", 1)
        assert time.perf_counter() - start < 2.0
        await still_works(a, b)


async def test_random_packets_from_the_peer_do_no_harm() -> None:
    from aiortc import rtcsctptransport as sctp

    rng = random.Random(9)
    async with opened() as (a, b):
        association = transport_of(a)._association._sctp
        kinds = [kind for kind in sctp.CHUNK_TYPES if kind not in (1, 6, 7, 8, 14)]
        for _ in range(300):
            chunk = sctp.Chunk(rng.randrange(256), rng.randbytes(rng.randrange(60)))
            chunk.type = rng.choice(kinds)
            await association._send_chunk(chunk)
        # What they said about TSNs may have ended this association, but not the process's composure.
        await dropped(b, "malformed", 1)


# Hostile strangers, outside of it


async def test_datagrams_of_strangers_do_no_harm() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    truncated_stun = bytes.fromhex("000100042112a442" + "00" * 12 + "00240000")
    async with opened() as (a, b):
        host, _, port = b.transport.stats().local_address.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        rng = random.Random(2)
        with socket.socket(family, socket.SOCK_DGRAM) as stranger:
            for data in [
                b"",
                b"\x80" + bytes(20),
                b"x" * 1200,
                truncated_stun,
                *(rng.randbytes(40) for _ in range(50)),
            ]:
                stranger.sendto(data, (host.strip("[]"), int(port)))
        await dropped(b, "not-dtls", 3)
        await dropped(b, "malformed", 1)
        await still_works(a, b)
    assert told == []
