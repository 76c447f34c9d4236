"""Control messages and the handshake: round trips, frozen bytes, bounds, and differences in words."""

from __future__ import annotations

import random
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pclient.common.errors import LocalMisuseError, RemoteProtocolError
from p2pclient.protocol.control import (
    CONTROL_VERSION,
    MAX_CHECKSUMS,
    MAX_CONTROL_BYTES,
    MAX_LOST_FRAMES,
    MAX_LOST_PEERS,
    MAX_PART_BYTES,
    MAX_STATE_PARTS,
    AnyMessage,
    ChangeWish,
    Checksums,
    ClosedEpisode,
    DelayChange,
    DelayWish,
    DoneChange,
    Envelope,
    EpisodeOver,
    EpisodeReady,
    FeedEnd,
    FeedPause,
    FeedStart,
    Hello,
    HistoryRows,
    HistoryStart,
    HistoryWish,
    LastFrame,
    Leave,
    LinkCheck,
    LinkSound,
    LostInputs,
    MatchChange,
    MatchCourse,
    PeersLost,
    Recovered,
    Recovering,
    Refuse,
    Rejoin,
    Resumed,
    Standing,
    StatePart,
    TakeUp,
    Unwatch,
    Watch,
    decode_control,
    encode_control,
)
from p2pclient.protocol.datagram import DATAGRAM_VERSION
from p2pclient.protocol.handshake import PROTOCOL_VERSION, differences

GOLDEN = {
    "acknowledgement": (Envelope(1, 0, 7, None), "940100 07c0"),
    "hello": (
        Envelope(1, 1, 0, Hello({"protocol": 1, "rate": 15.0})),
        "94010100 82 a474797065 a568656c6c6f a56661637473 82 a870726f746f636f6c 01 a472617465 cb402e000000000000",
    ),
    "refuse": (
        Envelope(1, 2, 1, Refuse(["rate"])),
        "94010201 82 a474797065 a6726566757365 ab646966666572656e636573 91 a472617465",
    ),
    "ready": (
        Envelope(1, 3, 1, EpisodeReady(4, b"12345678")),
        "94010301 83 a474797065 a57265616479 a7657069736f6465 04 a8636865636b73756d c408 3132333435363738",
    ),
    "link check": (
        Envelope(1, 3, 1, LinkCheck(4)),
        "94010301 82 a474797065 aa6c696e6b2d636865636b a7657069736f6465 04",
    ),
    "link sound": (
        Envelope(1, 3, 1, LinkSound(4)),
        "94010301 82 a474797065 aa6c696e6b2d736f756e64 a7657069736f6465 04",
    ),
    "over": (
        Envelope(1, 4, 2, EpisodeOver(4, 999, b"12345678")),
        "94010402 84 a474797065 a46f766572 a7657069736f6465 04 aa6c6173745f6672616d65 cd03e7 a5636861696e c408"
        "3132333435363738",
    ),
    "checksums": (
        Envelope(1, 5, 2, Checksums(4, 70, [b"12345678"], 3)),
        "94010502 85 a474797065 a9636865636b73756d73 a7657069736f6465 04 ab66697273745f6672616d65 46"
        "a9636865636b73756d73 91 c408 3132333435363738 a5726f756e64 03",
    ),
    "delay wish": (
        Envelope(1, 6, 2, DelayWish(3)),
        "94010602 82 a474797065 aa64656c61792d77697368 a564656c6179 03",
    ),
    "delay change": (
        Envelope(1, 7, 2, DelayChange(4, 130, 2)),
        "94010702 84 a474797065 ac64656c61792d6368616e6765 a7657069736f6465 04 a56672616d65 cc82 a564656c6179 02",
    ),
    "change wish": (
        Envelope(1, 6, 2, ChangeWish(3, "extend", 130, "")),
        "94010602 85 a474797065 ab6368616e67652d77697368 a66e756d626572 03 a46b696e64 a6657874656e64 a66672616d6573"
        "cc82 a6726561736f6e a0",
    ),
    "match change": (
        Envelope(1, 7, 2, MatchChange(2, "pause", 4, 130, 0, "a break", 1, 3)),
        "94010702 89 a474797065 ac6d617463682d6368616e6765 a66e756d626572 02 a46b696e64 a57061757365 a7657069736f6465"
        "04 a56672616d65 cc82 a66672616d6573 00 a6726561736f6e a76120627265616b a470656572 01 a477697368 03",
    ),
    "state part": (
        Envelope(1, 8, 2, StatePart(4, 71, 1, 2, b"\x81\xa1")),
        "94010802 86 a474797065 aa73746174652d70617274 a7657069736f6465 04 a56672616d65 47 a5696e646578 01"
        "a5636f756e74 02 a464617461 c402 81a1",
    ),
    "peers lost": (
        Envelope(1, 10, 2, PeersLost(4, [2, 3], [LostInputs(2, 68, [b"\x00\x01", b"\x00\x02"])])),
        "94010a02 84 a474797065 aa70656572732d6c6f7374 a7657069736f6465 04 a46c6f7374 92 02 03 a6696e70757473 91"
        "83 a470656572 02 ab66697273745f6672616d65 44 a6696e70757473 92 c402 0001 c402 0002",
    ),
    "watch": (
        Envelope(1, 11, 2, Watch(3, 4, 71)),
        "94010b02 84 a474797065 a57761746368 a772657175657374 03 a7657069736f6465 04 a56672616d65 47",
    ),
    "watch from anywhere": (
        Envelope(1, 11, 2, Watch(1, None, 0)),
        "94010b02 84 a474797065 a57761746368 a772657175657374 01 a7657069736f6465 c0 a56672616d65 00",
    ),
    "unwatch": (Envelope(1, 12, 2, Unwatch()), "94010c02 81 a474797065 a7756e7761746368"),
    "feed start": (
        Envelope(1, 13, 2, FeedStart(3, 1, 4, 71, b"12345678", b"87654321", [0.5], True)),
        "94010d02 89 a474797065 aa666565642d7374617274 a772657175657374 03 a773747265746368 01 a7657069736f6465 04"
        "ab66697273745f6672616d65 47 a5636861696e c408 3132333435363738 a8636865636b73756d c408 3837363534333231"
        "a6746f74616c73 91 cb3fe0000000000000 a96861735f7374617465 c3",
    ),
    "feed pause": (
        Envelope(1, 14, 2, FeedPause(True)),
        "94010e02 82 a474797065 aa666565642d7061757365 a6706175736564 c3",
    ),
    "feed end": (
        Envelope(1, 14, 2, FeedEnd("behind")),
        "94010e02 82 a474797065 a8666565642d656e64 a6726561736f6e a6626568696e64",
    ),
    "recovering": (
        Envelope(1, 15, 2, Recovering(3, 500)),
        "94010f02 83 a474797065 aa7265636f766572696e67 a4646f6e65 03 a66672616d6573 cd01f4",
    ),
    "recovered": (Envelope(1, 16, 2, Recovered()), "94011002 81 a474797065 a97265636f7665726564"),
    "rejoin": (
        Envelope(1, 2, 0, Rejoin()),
        "9401020081a474797065a672656a6f696e",
    ),
    "standing": (
        Envelope(
            1,
            2,
            2,
            Standing(
                4,
                "playing",
                70,
                68,
                [b"\x00\x01"],
                True,
                ClosedEpisode(3, 99, b"12345678", "ended"),
                [LastFrame(2, -1, True)],
            ),
        ),
        "9401020289a474797065a87374616e64696e67a7657069736f646504a57374616765a7706c6179696e67a87265636f72"
        "64656446ab66697273745f6672616d6544a6696e7075747391c4020001a669735f616c6cc3a870726576696f757384a7"
        "657069736f646503aa6c6173745f6672616d6563a5636861696ec4083132333435363738a6726561736f6ea5656e6465"
        "64a46c6f73749183a47065657202a56672616d65ffa46c656674c3",
    ),
    "history wish": (
        Envelope(1, 3, 3, HistoryWish(4, 71)),
        "9401030383a474797065ac686973746f72792d77697368a7657069736f646504a66672616d657347",
    ),
    "history": (
        Envelope(
            1,
            3,
            3,
            HistoryStart(
                4,
                60,
                71,
                b"12345678",
                b"23456781",
                b"34567812",
                65,
                True,
                100,
                2,
                MatchCourse(1, 30, None, None, (0, 0), False, None, [DoneChange("extend", 4, 50, "", 1, 30)]),
                [LostInputs(2, 71, [])],
            ),
        ),
        "940103038da474797065a7686973746f7279a7657069736f646504ab66697273745f6672616d653ca5756e74696c47ae"
        "66697273745f636865636b73756dc4083132333435363738a8636865636b73756dc4083233343536373831a563686169"
        "6ec4083334353637383132a8766572696669656441a96861735f7374617465c3af66696e69736865645f6672616d6573"
        "64a564656c617902a6636f7572736588a66e756d62657201a8657874656e6465641ea66e6577657374c0a57061757365"
        "c0a870617573655f6174920000a67374616e6473c2a3656e64c0a4646f6e659186a46b696e64a6657874656e64a76570"
        "69736f646504a56672616d6532a6726561736f6ea0a47365617401a66672616d65731ea561686561649183a470656572"
        "02ab66697273745f6672616d6547a6696e7075747390",
    ),
    "history rows": (
        Envelope(1, 4, 3, HistoryRows(4, 60, b"\x00\x01\x00\x02")),
        "9401040384a474797065ac686973746f72792d726f7773a7657069736f646504ab66697273745f6672616d653ca4726f"
        "7773c40400010002",
    ),
    "take up": (
        Envelope(1, 4, 4, TakeUp(4, 71)),
        "9401040483a474797065a774616b652d7570a7657069736f646504ab66697273745f6672616d6547",
    ),
    "resumed": (
        Envelope(1, 5, 4, Resumed(4, 71, b"12345678", b"34567812")),
        "9401050485a474797065a7726573756d6564a7657069736f646504a56672616d6547ae66697273745f636865636b7375"
        "6dc4083132333435363738a5636861696ec4083334353637383132",
    ),
    "leave": (Envelope(1, 6, 2, Leave("left")), "94010602 82 a474797065 a56c65617665 a6726561736f6e a46c656674"),
}
"""Messages of protocol version 3 in envelopes of version 1, frozen: these bytes must stay readable and be written
exactly so for as long as the versions stand."""

VALID = [encode_control(envelope) for envelope, _ in GOLDEN.values()]


def refusal(data: bytes) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_control(data)
    return caught.value.reason


@pytest.mark.parametrize("name", GOLDEN)
def test_every_message_is_frozen(name: str) -> None:
    envelope, golden = GOLDEN[name]
    assert encode_control(envelope).hex() == golden.replace(" ", "")
    assert decode_control(bytes.fromhex(golden)) == envelope


def test_two_protocol_versions_can_tell_each_other_that_they_differ() -> None:
    """A greeting and a refusal of protocol 1, byte for byte: the envelope outlives the protocol."""
    for name in ("hello", "refuse"):
        envelope, golden = GOLDEN[name]
        assert bytes.fromhex(golden)[1] == CONTROL_VERSION == 1
        assert decode_control(bytes.fromhex(golden)) == envelope
    assert (PROTOCOL_VERSION, DATAGRAM_VERSION) == (3, 2)


numbers = st.integers(0, 1 << 30)
digests = st.binary(min_size=8, max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
control_messages = st.one_of(
    st.none(),
    st.builds(Hello, st.dictionaries(st.text(), plain, max_size=6)),
    st.builds(Refuse, st.lists(st.text(max_size=40), max_size=6)),
    st.builds(EpisodeReady, numbers, digests),
    st.builds(LinkCheck, numbers),
    st.builds(LinkSound, numbers),
    st.builds(EpisodeOver, numbers, numbers, digests),
    st.builds(Checksums, numbers, numbers, st.lists(digests, max_size=20)),
    st.builds(DelayWish, st.integers(0, 60)),
    st.builds(DelayChange, numbers, numbers, st.integers(0, 60)),
    st.builds(
        lambda e, f, i, more, data: StatePart(e, f, i, i + more, data),
        numbers,
        numbers,
        st.integers(0, 400),
        st.integers(1, 112),
        st.binary(max_size=80),
    ),
    st.builds(
        PeersLost,
        numbers,
        st.lists(numbers, min_size=1, max_size=8),
        st.lists(st.builds(LostInputs, numbers, numbers, st.lists(st.binary(max_size=20), max_size=9)), max_size=8),
    ),
    st.builds(Recovering, numbers, numbers),
    st.just(Recovered()),
    st.builds(Watch, numbers, st.none() | numbers, numbers),
    st.just(Unwatch()),
    st.builds(
        FeedStart,
        numbers,
        numbers,
        numbers,
        numbers,
        digests,
        digests,
        st.lists(st.floats(allow_nan=False), max_size=8),
        st.booleans(),
    ),
    st.builds(FeedPause, st.booleans()),
    st.builds(FeedEnd, st.text(max_size=20)),
    st.builds(Leave, st.text(max_size=20)),
)


@given(numbers, numbers, control_messages)
def test_every_message_comes_back_as_it_was(number: int, acknowledged: int, message: object) -> None:
    envelope = Envelope(1, number, acknowledged, message)  # type: ignore[arg-type]
    assert decode_control(encode_control(envelope)) == envelope


def test_the_longest_list_of_checksums_fits() -> None:
    message = Checksums(0, 0, [bytes(8)] * MAX_CHECKSUMS)
    data = encode_control(Envelope(1, 1, 0, message))
    assert len(data) <= MAX_CONTROL_BYTES
    assert decode_control(data).message == message


@pytest.mark.parametrize(
    "message",
    [
        DelayWish(60),
        DelayChange(1 << 30, 1 << 30, 60),
        StatePart(0, 0, MAX_STATE_PARTS - 1, MAX_STATE_PARTS, bytes(MAX_PART_BYTES)),
        PeersLost(0, list(range(MAX_LOST_PEERS)), [LostInputs(n, 0, [b""] * 600) for n in range(MAX_LOST_PEERS)]),
        PeersLost(0, [1], [LostInputs(1, 0, [bytes(64)] * MAX_LOST_FRAMES)]),
        PeersLost(0, [1], [LostInputs(1, 0, [bytes(512)] * 100)]),
        Watch(1 << 30, 1 << 30, 1 << 30),
        FeedStart(1 << 30, 1 << 30, 1 << 30, 1 << 30, bytes(8), bytes(8), [-1e300] * MAX_LOST_PEERS, True),
    ],
)
def test_what_is_at_its_bounds_is_taken(message: AnyMessage) -> None:
    assert decode_control(encode_control(Envelope(1, 1, 0, message))).message == message


def test_a_message_that_no_peer_would_read_is_not_written() -> None:
    with pytest.raises(LocalMisuseError, match="PeersLost of 309075 bytes"):
        encode_control(Envelope(1, 1, 0, PeersLost(0, [1], [LostInputs(1, 0, [bytes(512)] * 600)])))


def test_another_version_is_named() -> None:
    assert refusal(encode_control(Envelope(2, 1, 0, Leave("left")))) == "unknown-version"
    assert refusal(encode_control(Envelope(0, 1, 0, Leave("left")))) == "unknown-version"


def test_an_oversized_message_is_refused_unread() -> None:
    assert refusal(bytes(65_537)) == "oversized"
    assert refusal(bytes(65_536)) == "bad-control"


@pytest.mark.parametrize(
    "message",
    [
        EpisodeReady(-1, bytes(8)),
        LinkCheck(-1),
        LinkSound(1 << 40),
        EpisodeReady(1 << 40, bytes(8)),
        EpisodeReady(0, bytes(7)),
        EpisodeReady(0, bytes(9)),
        EpisodeOver(0, -1, bytes(8)),
        EpisodeOver(-1, 0, bytes(8)),
        EpisodeOver(0, (1 << 30) + 1, bytes(8)),
        EpisodeOver(0, 3, b""),
        Checksums(0, -5, []),
        Checksums(-1, 0, []),
        Checksums(0, 0, [bytes(8), bytes(9)]),
        Checksums(0, 0, [bytes(8)] * (MAX_CHECKSUMS + 1)),
        DelayWish(-1),
        DelayWish(61),
        DelayWish(1.5),  # type: ignore[arg-type]
        DelayChange(-1, 0, 0),
        DelayChange(0, -1, 0),
        DelayChange(0, 0, 61),
        StatePart(0, 0, -1, 1, b""),
        StatePart(0, 0, 0, MAX_STATE_PARTS + 1, b""),
        StatePart(0, 0, 0, 1, bytes(MAX_PART_BYTES + 1)),
        StatePart(0, -1, 0, 1, b""),
        PeersLost(0, [], []),
        PeersLost(0, [1] * (MAX_LOST_PEERS + 1), []),
        PeersLost(0, [-1], []),
        PeersLost(0, [1], [LostInputs(1, 0, [])] * (MAX_LOST_PEERS + 1)),
        PeersLost(0, [1], [LostInputs(1, 0, [b""] * (MAX_LOST_FRAMES + 1))]),
        PeersLost(0, [1], [LostInputs(1, 0, [bytes(513)])]),
        PeersLost(0, [1], [LostInputs(1, -1, [])]),
        PeersLost(0, [1], [LostInputs(-1, 0, [])]),
        PeersLost(-1, [1], []),
        Refuse(["x" * 601]),
        Refuse(["x"] * 33),
        EpisodeReady("3", bytes(8)),  # type: ignore[arg-type]
        EpisodeReady(0, "12345678"),  # type: ignore[arg-type]
        EpisodeReady(True, bytes(8)),
        Checksums(0, 0, bytes(8)),  # type: ignore[arg-type]
        Watch(-1, 0, 0),
        Watch(0, -1, 0),
        Watch(0, 0, -1),
        Watch(0, 0, (1 << 30) + 1),
        FeedStart(-1, 0, 0, 0, bytes(8), bytes(8), [], False),
        FeedStart(0, -1, 0, 0, bytes(8), bytes(8), [], False),
        FeedStart(0, 0, -1, 0, bytes(8), bytes(8), [], False),
        FeedStart(0, 0, 0, -1, bytes(8), bytes(8), [], False),
        FeedStart(0, 0, 0, 0, bytes(7), bytes(8), [], False),
        FeedStart(0, 0, 0, 0, bytes(8), bytes(9), [], False),
        FeedStart(0, 0, 0, 0, bytes(8), bytes(8), [0.0] * (MAX_LOST_PEERS + 1), False),
        FeedStart(0, 0, 0, 0, bytes(8), bytes(8), [], 1),  # type: ignore[arg-type]
        FeedPause(1),  # type: ignore[arg-type]
        FeedEnd(3),  # type: ignore[arg-type]
        Leave(3),  # type: ignore[arg-type]
        Hello([1]),  # type: ignore[arg-type]
    ],
)
def test_values_of_another_type_or_out_of_range_are_refused(message: object) -> None:
    assert refusal(encode_control(Envelope(1, 1, 0, message))) == "bad-control"  # type: ignore[arg-type]


def test_a_piece_past_the_last_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="index"):
        StatePart(0, 0, 2, 2, b"")


@pytest.mark.parametrize(
    "value",
    [
        [1, 1, 0],
        [1, 1, 0, None, 5],
        [1, "1", 0, None],
        [1, 1, 0, {}],
        [1, 1, 0, {"type": "no-such"}],
        [1, 1, 0, {"type": "leave"}],
        [1, 1, 0, {"type": "state-part", "episode": 0, "frame": 0, "index": 1, "count": 1, "data": b""}],
        [1, 1, 0, {"type": "state-part", "episode": 0, "frame": 0, "index": 0, "count": 0, "data": b""}],
        [1, 1, 0, {"type": "peers-lost", "episode": 0, "lost": [1], "inputs": [{"peer": 1, "first_frame": 0}]}],
        [1, 1, 0, {"type": "leave", "reason": "left", "extra": 1}],
        {"version": 1},
        None,
        [],
    ],
)
def test_other_shapes_are_refused(value: object) -> None:
    assert refusal(msgspec.msgpack.encode(value)) == "bad-control"


def test_every_prefix_is_refused() -> None:
    for data in VALID:
        for end in range(len(data)):
            assert refusal(data[:end]) == "bad-control"


def test_random_bytes_never_raise_anything_else() -> None:
    noise = random.Random(4)
    reasons: set[str] = set()
    for number in range(10_000):
        if number % 2:
            data = bytearray(noise.choice(VALID))
            for _ in range(noise.randint(1, 4)):
                data[noise.randrange(len(data))] = noise.randrange(256)
        else:
            data = bytearray(noise.randbytes(noise.randrange(60)))
        try:
            decode_control(bytes(data))
        except RemoteProtocolError as error:
            reasons.add(error.reason)
    assert reasons == {"bad-control", "unknown-version"}


@pytest.mark.parametrize("depth", [50, 500, 980, 5_000])
def test_deeply_nested_facts_are_refused_or_named(depth: int) -> None:
    data = encode_control(Envelope(1, 1, 0, Hello({"a": 0})))[:-1] + b"\x91" * depth + b"\x01"
    try:
        message = decode_control(data).message
    except RemoteProtocolError:
        return
    assert isinstance(message, Hello)
    (sentence,) = differences({"a": 0}, message.facts)
    assert len(sentence) < 600


def test_a_value_too_deep_for_words_is_still_named() -> None:
    deep: list[object] = []
    for _ in range(sys.getrecursionlimit() * 2):
        deep = [deep]
    assert differences({"a": 0}, {"a": deep}) == ["a: here 0, there a deeply nested value"]


# -- the handshake -----------------------------------------------------------------------------------------------

FACTS = {"protocol": 1, "seats": 2, "rate": 15.0, "host python": "3.11", "numeric probe": "p", "extra": None}


def test_equal_facts_have_no_differences() -> None:
    assert differences(FACTS, dict(reversed(FACTS.items()))) == []


def test_each_difference_is_named_with_both_values_and_what_to_do() -> None:
    found = differences(FACTS, {**FACTS, "protocol": 2, "seats": 3})
    assert found == ["protocol: here 1, there 2 (install the same version of Tandem on both machines)",
                     "seats: here 2, there 3"]  # fmt: skip


def test_what_only_one_side_says_is_a_difference() -> None:
    assert differences({"a": 1}, {}) == ["a: here 1, there None"]
    assert differences({}, {"b": 1}) == ["b: here None, there 1"]
    assert differences({"a": None}, {}) == []


def test_the_same_number_of_another_type_is_a_difference() -> None:
    assert differences({"a": 1}, {"a": True}) == ["a: here 1, there True"]
    assert differences({"a": 1}, {"a": 1.0}) == ["a: here 1, there 1.0"]


def test_mixed_hosts_are_allowed_only_while_their_probes_agree() -> None:
    mixed = {**FACTS, "host python": "3.12"}
    assert len(differences(FACTS, mixed)) == 1
    assert differences(FACTS, mixed, allow_mixed_hosts=True) == []
    (sentence,) = differences(FACTS, {**mixed, "numeric probe": "q"}, allow_mixed_hosts=True)
    assert sentence.startswith("numeric probe: here p, there q")


def test_long_values_are_cut_to_120_characters() -> None:
    assert differences({"a": "x" * 120}, {"a": "y" * 121}) == [f"a: here {'x' * 120}, there {'y' * 117}..."]


def test_a_flood_of_differences_stays_readable_and_sendable() -> None:
    flood = {f"{n}" + "x" * 300: "y" * 3000 for n in range(1000)}
    found = differences(FACTS, flood)
    assert len(found) == 21
    assert found[-1] == "and 985 more"
    assert found[0].startswith("protocol")
    assert all(len(sentence) <= 600 for sentence in found)
    assert decode_control(encode_control(Envelope(1, 1, 0, Refuse(found)))).message == Refuse(found)


@given(st.dictionaries(st.text(), plain, max_size=6), st.dictionaries(st.text(), plain, max_size=6))
def test_differences_are_found_by_both_sides(ours: dict[str, object], theirs: dict[str, object]) -> None:
    assert bool(differences(ours, theirs)) == bool(differences(theirs, ours))
    assert differences(ours, ours) == []
