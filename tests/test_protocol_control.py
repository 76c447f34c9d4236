"""Control messages and the handshake: round trips, frozen bytes, bounds, and differences in words."""

from __future__ import annotations

import random
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pclient.common.errors import RemoteProtocolError
from p2pclient.protocol.control import (
    MAX_CHECKSUMS,
    MAX_CONTROL_BYTES,
    Checksums,
    Envelope,
    EpisodeOver,
    EpisodeReady,
    Hello,
    Leave,
    Refuse,
    decode_control,
    encode_control,
)
from p2pclient.protocol.handshake import differences

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
    "over": (
        Envelope(1, 4, 2, EpisodeOver(4, 999, b"12345678")),
        "94010402 84 a474797065 a46f766572 a7657069736f6465 04 aa6c6173745f6672616d65 cd03e7 a5636861696e c408"
        "3132333435363738",
    ),
    "checksums": (
        Envelope(1, 5, 2, Checksums(4, 70, [b"12345678"])),
        "94010502 84 a474797065 a9636865636b73756d73 a7657069736f6465 04 ab66697273745f6672616d65 46"
        "a9636865636b73756d73 91 c408 3132333435363738",
    ),
    "leave": (Envelope(1, 6, 2, Leave("left")), "94010602 82 a474797065 a56c65617665 a6726561736f6e a46c656674"),
}
"""Version 1, frozen: these bytes must stay readable and be written exactly so for as long as the version is 1."""

VALID = [encode_control(envelope) for envelope, _ in GOLDEN.values()]


def refusal(data: bytes) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_control(data)
    return caught.value.reason


@pytest.mark.parametrize("name", GOLDEN)
def test_version_1_is_frozen(name: str) -> None:
    envelope, golden = GOLDEN[name]
    assert encode_control(envelope).hex() == golden.replace(" ", "")
    assert decode_control(bytes.fromhex(golden)) == envelope


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
    st.builds(EpisodeOver, numbers, numbers, digests),
    st.builds(Checksums, numbers, numbers, st.lists(digests, max_size=20)),
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
        Refuse(["x" * 601]),
        Refuse(["x"] * 33),
        EpisodeReady("3", bytes(8)),  # type: ignore[arg-type]
        EpisodeReady(0, "12345678"),  # type: ignore[arg-type]
        EpisodeReady(True, bytes(8)),
        Checksums(0, 0, bytes(8)),  # type: ignore[arg-type]
        Leave(3),  # type: ignore[arg-type]
        Hello([1]),  # type: ignore[arg-type]
    ],
)
def test_values_of_another_type_or_out_of_range_are_refused(message: object) -> None:
    assert refusal(encode_control(Envelope(1, 1, 0, message))) == "bad-control"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        [1, 1, 0],
        [1, 1, 0, None, 5],
        [1, "1", 0, None],
        [1, 1, 0, {}],
        [1, 1, 0, {"type": "no-such"}],
        [1, 1, 0, {"type": "leave"}],
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
