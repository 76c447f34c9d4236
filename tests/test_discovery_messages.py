from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pclient.common.discovery_messages import (
    MAX_ADDRESSES,
    QUERY_BYTES,
    ServerFacts,
    check_room,
    decode_answer,
    decode_query,
    encode_answer,
    encode_query,
    facts_from_txt,
    facts_of,
    facts_to_txt,
    same_room,
)
from p2pclient.common.errors import ConfigurationError, RemoteProtocolError

NONCE = b"\x01\x02\x03\x04\x05\x06\x07\x08"
FACTS = ServerFacts(
    server_id="00112233445566ff", room="Lab 2", computer="front-desk", port=8765, protocol=2, addresses=("10.0.0.1",)
)


def test_query_of_version_1_stays_as_it_is() -> None:
    datagram = encode_query(NONCE)
    assert datagram[:31].hex() == "74616e64656d010182a56e6f6e6365c4080102030405060708a3706164c502"
    assert len(datagram) == QUERY_BYTES
    assert decode_query(datagram).nonce == NONCE


def test_answer_of_version_1_stays_as_it_is() -> None:
    datagram = encode_answer(NONCE, FACTS)
    assert datagram[:8].hex() == "74616e64656d0102"
    assert msgspec.msgpack.decode(datagram[8:]) == {
        "nonce": NONCE,
        "facts": {
            "server_id": "00112233445566ff",
            "room": "Lab 2",
            "computer": "front-desk",
            "port": 8765,
            "secure": False,
            "protocol": 2,
            "version": "",
            "addresses": ["10.0.0.1"],
        },
    }
    assert decode_answer(datagram).facts == FACTS


def test_no_answer_is_longer_than_the_question() -> None:
    addresses = tuple(f"fd00:1111:2222:3333:4444:5555:6666:{each:04x}" for each in range(MAX_ADDRESSES))
    facts = msgspec.structs.replace(
        FACTS, room="\u00e4" * 20, computer="\u6f22" * 64, version="v" * 64, addresses=addresses
    )
    datagram = encode_answer(NONCE, facts)
    assert len(datagram) <= QUERY_BYTES
    kept = decode_answer(datagram).facts.addresses
    assert 0 < len(kept) < MAX_ADDRESSES
    assert kept == addresses[: len(kept)]


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "foreign"),
        (b"x" * QUERY_BYTES, "foreign"),
        (encode_query(NONCE)[:-1], "size"),
        (encode_query(NONCE) + b"x", "size"),
        (b"tandem\x02" + encode_query(NONCE)[7:], "version"),
        (b"tandem\x01\x02" + encode_query(NONCE)[8:], "kind"),
        (b"tandem\x01\x01" + b"\x91" * (QUERY_BYTES - 8), "malformed"),
        (b"tandem\x01\x01" + msgspec.msgpack.encode({"nonce": b"1", "pad": b""}).ljust(QUERY_BYTES - 8), "malformed"),
    ],
)
def test_what_is_no_question_is_refused_by_reason(datagram: bytes, reason: str) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        decode_query(datagram)
    assert refused.value.reason == reason


def refusal_of(decode: Callable[[bytes], object], datagram: bytes) -> str:
    """Return the reason for which a datagram is refused; empty if it is not."""
    try:
        decode(datagram)
    except RemoteProtocolError as error:
        return error.reason
    return ""


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=700), st.integers(0, 255), st.integers(0, 8), st.booleans())
def test_hostile_datagrams_raise_nothing_else(noise: bytes, value: int, place: int, whole: bool) -> None:
    answer = bytearray(encode_answer(NONCE, FACTS))
    answer[(place * 31) % len(answer)] = value
    head = b"" if whole else b"tandem\x01" + bytes((1 + value % 2,))
    for datagram in (head + noise, bytes(answer), encode_query(NONCE)[: place * 70] + noise):
        for decode in (decode_query, decode_answer):
            assert refusal_of(decode, datagram) in {"", "foreign", "size", "version", "kind", "malformed"}


@pytest.mark.parametrize(
    "changed",
    [
        {"room": ""},
        {"room": "x" * 41},
        {"room": "a\x1b[31m"},
        {"computer": "a\nb"},
        {"version": "\u202e"},
        {"port": 0},
        {"port": 65536},
        {"port": True},
        {"server_id": "../../../../etc/"},
        {"addresses": ["1.2.3"]},
        {"addresses": ["10.0.0.1/../x"]},
        {"addresses": ["fe80::1%]@elsewhere/"]},
        {"addresses": ["10.0.0.1"] * 9},
        {"protocol": -1},
    ],
)
def test_facts_that_no_server_of_ours_would_tell_are_refused(changed: dict[str, Any]) -> None:
    plain = msgspec.to_builtins(FACTS)
    assert facts_of(plain) == FACTS
    with pytest.raises(RemoteProtocolError, match="malformed"):
        facts_of({**plain, **changed})


def test_mdns_says_the_same() -> None:
    txt: dict[bytes, bytes | None] = {key.encode(): value.encode() for key, value in facts_to_txt(FACTS).items()}
    assert facts_from_txt(txt, 8765, ("10.0.0.1",)) == FACTS
    for changed in (
        {b"v": b"2"},
        {b"v": None},
        {b"room": None},
        {b"protocol": b"x"},
        {b"room": b"\xff"},
        {b"\xff": b""},
    ):
        with pytest.raises(RemoteProtocolError):
            facts_from_txt({**txt, **changed}, 8765, ("10.0.0.1",))


def test_rooms_are_compared_as_people_write_them() -> None:
    assert same_room("Lab 2", "lab2")
    assert not same_room("Lab 2", "Lab 3")
    assert check_room("  Lab   2 ") == "Lab 2"
    for wrong in ("", " ", "x" * 41, "\u6f22" * 14, "a\x00b"):
        with pytest.raises(ConfigurationError, match="room"):
            check_room(wrong)


def test_the_study_is_said_in_every_way_and_left_out_where_there_is_none() -> None:
    facts = msgspec.structs.replace(FACTS, study="Cooking in pairs")
    assert decode_answer(encode_answer(NONCE, facts)).facts.study == "Cooking in pairs"
    said = {key.encode(): value.encode() for key, value in facts_to_txt(facts).items()}
    assert facts_from_txt(said, 8765, ()).study == "Cooking in pairs"
    assert "study" not in facts_to_txt(FACTS)
    with pytest.raises(RemoteProtocolError):
        facts_from_txt({**said, b"study": b"\x1b[31mred"}, 8765, ())
