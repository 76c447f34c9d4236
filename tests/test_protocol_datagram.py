"""The datagram and the packing of inputs: round trips, frozen bytes, sizes, and whatever a stranger may send."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pclient.common.errors import RemoteProtocolError
from p2pclient.common.frames import MAX_DATAGRAM_BYTES
from p2pclient.protocol.compress import compress, expand
from p2pclient.protocol.datagram import MAX_FRAMES, Datagram, decode_datagram, encode_datagram

CHAIN = bytes(range(1, 9))


def make_datagram(**changes: object) -> Datagram:
    """A datagram in mid-play: six frames of a constant input of a flag and four bytes are on their way."""
    plain = Datagram(
        connection=0x1234,
        episode=1,
        sequence=7,
        sent=40_000,
        echo=39_000,
        held=60,
        lead=2.5,
        next_expected=448,
        chain=(446, CHAIN),
        first_frame=445,
        inputs=(b"\x00\x01\x02\x03\x04",) * 6,
    )
    return msgspec.structs.replace(plain, **changes)


# -- packing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "size"),
    [
        ([], 0),
        ([b"\x00\x00\x00\x01"], 1 + 1),
        ([b"\x00\x00\x00\x01"] * 5, 1 + 1 + 1),
        ([b"\x07\x00\x00\x00"], 1 + 1 + 1),
        ([bytes(4)] * 5, 1),
        ([bytes(4)] * 64, 2),
        ([b"\x00\x00\x00\x01", b"\x00\x00\x01\x00", b"\x00\x01\x00\x00", b"\x01\x00\x00\x00", bytes(4)], 14),
        ([b"\xff" * 64] * 2, 2 + 64 + 2),
        ([b"\x01\x00\x02\x00\x03\x00"], 3 * 2 + 1),
    ],
)
def test_packing_is_reversible_and_short_where_nothing_changes(frames: list[bytes], size: int) -> None:
    packed = compress(frames)
    assert len(packed) == size
    assert expand(packed, count=len(frames), width=len(frames[0]) if frames else 4) == tuple(frames)


@given(st.data(), st.integers(0, 40), st.integers(1, 70))
def test_any_inputs_of_one_width_come_back(data: st.DataObject, count: int, width: int) -> None:
    mostly_zero = st.lists(st.sampled_from([0, 0, 0, 1, 255]), min_size=width, max_size=width).map(bytes)
    one = st.one_of(mostly_zero, st.binary(min_size=width, max_size=width))
    frames = data.draw(st.lists(one, min_size=count, max_size=count))
    packed = compress(frames)
    assert expand(packed, count=count, width=width) == tuple(frames)
    # At worst there is one zero to every seven other bytes: two bytes in place of one.
    assert len(packed) <= count * width + count * width // 8 + 2


LONG = [6, 7, 8, 30, 31, 32, 261, 262, 263, 285, 286, 287, 523, 524, 525, 571, 572, 573, 900]
"""Around every length at which a run needs a longer number, or a token more."""


@pytest.mark.parametrize("zeros", [0, *LONG])
@pytest.mark.parametrize("changed", [0, *LONG])
def test_runs_of_any_length_come_back(zeros: int, changed: int) -> None:
    run = bytes(zeros) + bytes(1 + n % 255 for n in range(changed))
    for frame in (run, run + b"\x00", run + b"\x00\x01", run + run):
        packed = compress([frame])
        assert expand(packed, count=1, width=len(frame)) == (frame,)
        for end in range(max(0, len(packed) - 12), len(packed)):
            with pytest.raises(RemoteProtocolError):
                expand(packed[:end], count=1, width=len(frame))


@pytest.mark.parametrize(
    ("frame", "packed"),
    [
        (bytes(30), "f0"),
        (bytes(31), "f8 00"),
        (bytes(286), "f8 ff"),
        (bytes(287), "f8 ff 08"),
        (b"\x05" * 6, "06 050505050505"),
        (b"\x05" * 7, "07 00 05050505050505"),
        (b"\x05" * 262, "07 ff" + "05" * 262),
        (b"\x05" * 263, "07 ff" + "05" * 262 + "01 05"),
        (bytes(31) + b"\x05" * 7, "ff 00 00 05050505050505"),
    ],
)
def test_tokens_are_frozen(frame: bytes, packed: str) -> None:
    assert compress([frame]) == bytes.fromhex(packed)
    assert expand(bytes.fromhex(packed), count=1, width=len(frame)) == (frame,)


def test_long_rows_of_zeros_are_packed_in_time() -> None:
    """What is searched once from each of its zeros would take minutes."""
    frames = [bytes(512)] * 512
    packed = compress(frames)
    assert len(packed) == 2 * -(-512 * 512 // 286)
    assert expand(packed, count=512, width=512) == tuple(frames)


def test_what_is_held_takes_two_bytes_more_at_most() -> None:
    held = [b"\x00\x05\x06\x07"] * 72
    assert len(compress(held[:2])) == len(compress(held[:1])) + 1
    assert len(compress(held)) == len(compress(held[:1])) + 2


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\x18",  # three zeros
        b"\x28",  # five
        b"\x18\x10",
        b"\x01",
        b"\x04\x01\x02\x03",
        b"\x05\x01\x02\x03\x04",
        b"\x05\x01\x02\x03\x04\x05",
        b"\x04\x01\x02\x03\x04\x08",
        b"\x1c\x01",
        b"\xf8",
        b"\xf8\x00",
        b"\x07",
        b"\x07\x00",
        b"\xff\x00",
        b"\xff\xff\xff",
    ],
)
def test_packed_inputs_of_another_size_are_refused(packed: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        expand(packed, count=1, width=4)
    assert caught.value.reason == "bad-inputs"


def test_a_side_without_seats_has_inputs_of_no_bytes() -> None:
    assert expand(b"", count=3, width=0) == (b"", b"", b"")
    assert expand(compress([b"", b""]), count=2, width=0) == (b"", b"")
    with pytest.raises(RemoteProtocolError):
        expand(b"\x08", count=3, width=0)


# -- the whole datagram ------------------------------------------------------------------------------------------

GOLDEN = {
    "everything": (
        make_datagram(),
        "23 3412 01 07 409c 0a 5898 0102030405060708 bd03 06 06 3c 02  0c01020304 c8",
    ),
    "nothing": (
        make_datagram(
            echo=None, held=0, lead=None, chain=None, next_expected=0, first_frame=0, inputs=(), episode=0, sequence=0,
            sent=0,
        ),
        "20 3412 00 00 0000 80 00 00 00",
    ),
    "chain": (
        make_datagram(echo=None, held=0, inputs=()),
        "21 3412 01 07 409c 0a 0102030405060708 bd03 06 00 02",
    ),
    "echo": (
        make_datagram(chain=None, held=267, inputs=()),
        "22 3412 01 07 409c 0a 5898 bd03 06 00 8b02",
    ),
    "behind": (
        make_datagram(
            sequence=255, lead=-31.75, next_expected=3, chain=(0, CHAIN), first_frame=300,
            inputs=(b"\x00\x01\x02\x03\x04",),
        ),
        "23 3412 01 ff 409c 81 5898 0102030405060708 ac02 d104 01 3c d704  0c01020304",
    ),
    "changing": (
        make_datagram(inputs=(b"\x00\x01", b"\x00\x01", b"\x00\x05", b"\x01\x05")),
        "23 3412 01 07 409c 0a 5898 0102030405060708 bd03 06 04 3c 02  0901 1a0401 08",
    ),
}  # fmt: skip
"""Version 2, frozen: these bytes must stay readable and be written exactly so for as long as the version is 2."""


@pytest.mark.parametrize("name", GOLDEN)
def test_version_2_is_frozen(name: str) -> None:
    message, golden = GOLDEN[name]
    width = len(message.inputs[0]) if message.inputs else 5
    assert encode_datagram(message) == bytes.fromhex(golden)
    assert decode_datagram(bytes.fromhex(golden), width=width) == message


messages = st.builds(
    Datagram,
    connection=st.integers(0, 0xFFFF),
    episode=st.integers(0, 0xFF),
    sequence=st.integers(0, 0xFF),
    sent=st.integers(0, 0xFFFF),
    echo=st.integers(0, 0xFFFF),
    held=st.integers(0, 0xFFFF),
    lead=st.one_of(st.none(), st.integers(-127, 127).map(lambda quarters: quarters / 4)),
    next_expected=st.integers(0, 1 << 30),
    chain=st.one_of(st.none(), st.tuples(st.integers(0, 1 << 30), st.binary(min_size=8, max_size=8))),
    first_frame=st.integers(0, 1 << 30),
    inputs=st.lists(st.binary(min_size=6, max_size=6), max_size=40).map(tuple),
)


@given(messages, st.booleans())
def test_every_datagram_comes_back_as_it_was(message: Datagram, echoes: bool) -> None:
    if not echoes:
        message = msgspec.structs.replace(message, echo=None, held=0)
    assert decode_datagram(encode_datagram(message), width=6) == message


def test_numbers_wrap_or_are_clipped_to_their_fields() -> None:
    wide = make_datagram(episode=0x1FF, sequence=0x305, sent=0x12345, echo=0x2FFFF, held=1 << 20, lead=99.0)
    back = decode_datagram(encode_datagram(wide), width=5)
    assert (back.episode, back.sequence, back.sent, back.echo) == (0xFF, 0x05, 0x2345, 0xFFFF)
    assert (back.held, back.lead) == (0xFFFF, 31.75)
    low = decode_datagram(encode_datagram(make_datagram(lead=-99.0)), width=5)
    assert low.lead == -31.75
    assert decode_datagram(encode_datagram(make_datagram(lead=0.3)), width=5).lead == 0.25


def test_steady_datagram_of_two_players_is_at_most_32_bytes() -> None:
    for first_frame in (10, 1_000, 200_000):
        frames = {"first_frame": first_frame, "next_expected": first_frame + 3, "chain": (first_frame - 2, CHAIN)}
        assert len(encode_datagram(make_datagram(**frames))) <= 32


def test_steady_datagram_of_four_players_on_two_machines_is_at_most_44_bytes() -> None:
    frames = {"first_frame": 200_000, "next_expected": 200_003, "chain": (199_998, CHAIN)}
    assert len(encode_datagram(make_datagram(inputs=(b"\x00\x01\x02\x03\x04" * 2,) * 6, **frames))) <= 44


def test_a_datagram_carries_the_oldest_inputs_that_fit() -> None:
    noise = random.Random(1)
    inputs = tuple(noise.randbytes(64) for _ in range(100))
    data = encode_datagram(make_datagram(inputs=inputs))
    assert len(data) <= MAX_DATAGRAM_BYTES
    back = decode_datagram(data, width=64)
    assert 9 <= len(back.inputs) <= 17
    assert back.inputs == inputs[: len(back.inputs)]


def test_a_datagram_carries_a_bounded_number_of_frames() -> None:
    data = encode_datagram(make_datagram(inputs=(b"\x00\x01",) * 2000))
    assert len(decode_datagram(data, width=2).inputs) == MAX_FRAMES


def test_the_widest_single_frame_fits() -> None:
    noise = random.Random(2)
    inputs = tuple(noise.randbytes(8 * 64) for _ in range(3))
    assert decode_datagram(encode_datagram(make_datagram(inputs=inputs)), width=8 * 64).inputs == inputs[:2]


# -- what strangers send -----------------------------------------------------------------------------------------


def refusal(data: bytes, *, width: int = 5) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_datagram(data, width=width)
    return caught.value.reason


@pytest.mark.parametrize("first", [0x03, 0x13, 0x33, 0xF3, 0x24, 0x27, 0x2B, 0x2F])
def test_another_version_or_unknown_flags_are_refused(first: int) -> None:
    data = encode_datagram(make_datagram())
    assert refusal(bytes([first]) + data[1:]) == "unknown-version"


def test_an_oversized_datagram_is_refused() -> None:
    assert refusal(encode_datagram(make_datagram()) + bytes(MAX_DATAGRAM_BYTES)) == "oversized"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"first_frame": (1 << 30) + 1, "next_expected": 0, "chain": None}, "bad-frame"),
        ({"next_expected": (1 << 30) + 1}, "bad-frame"),
        ({"next_expected": -1}, "bad-frame"),
        ({"chain": ((1 << 30) + 1, CHAIN)}, "bad-frame"),
        ({"chain": (-1, CHAIN)}, "bad-frame"),
    ],
)
def test_frames_out_of_range_are_refused(changes: dict[str, object], reason: str) -> None:
    assert refusal(encode_datagram(make_datagram(**changes))) == reason


def test_frames_at_the_ends_of_the_range_are_taken() -> None:
    top = 1 << 30
    for changes in ({"first_frame": top, "next_expected": top, "chain": (top, CHAIN)}, {"next_expected": 0}):
        message = make_datagram(**changes)
        assert decode_datagram(encode_datagram(message), width=5) == message


def test_numbers_of_more_than_five_bytes_are_refused() -> None:
    head = encode_datagram(make_datagram(echo=None, held=0, chain=None))[:8]
    assert refusal(head + b"\xff" * 5 + b"\x00" * 4) == "bad-number"
    assert refusal(head + b"\xff" * 4) == "truncated"


def test_a_stamp_held_longer_than_can_be_told_is_refused() -> None:
    data = encode_datagram(make_datagram(held=1 << 20, chain=None, inputs=()))
    assert data.endswith(b"\x00\xff\xff\x03")
    assert decode_datagram(data, width=5).held == 0xFFFF
    assert refusal(data[:-3] + b"\x80\x80\x04") == "bad-number"


def test_a_count_of_frames_beyond_the_bound_is_refused_before_it_is_unpacked() -> None:
    head = encode_datagram(make_datagram(echo=None, held=0, chain=None, inputs=()))[:-1]
    zeros = b"\xf8\xff" * 8
    assert refusal(head + b"\x81\x04" + zeros + b"\xf8\xf6", width=5) == "bad-inputs"
    assert len(decode_datagram(head + b"\x80\x04" + zeros + b"\xf8\xf1", width=5).inputs) == 512
    assert refusal(head + b"\xff\xff\xff\xff\x0f") == "bad-inputs"


def test_every_prefix_is_refused() -> None:
    for message, width in itertools.product([make_datagram(), make_datagram(echo=None, held=0, chain=None)], [5]):
        data = encode_datagram(message)
        for end in range(len(data)):
            assert refusal(data[:end], width=width) in {"truncated", "bad-inputs"}


def test_random_bytes_never_raise_anything_else() -> None:
    noise = random.Random(3)
    valid = encode_datagram(make_datagram())
    taken = 0
    for number in range(10_000):
        if number % 2:
            data = bytearray(valid)
            for _ in range(noise.randint(1, 4)):
                data[noise.randrange(len(data))] = noise.randrange(256)
        else:
            data = bytearray([0x20 | noise.randrange(4)]) + noise.randbytes(noise.randrange(60))
        try:
            message = decode_datagram(bytes(data), width=noise.choice([0, 1, 2, 5, 512]))
        except RemoteProtocolError:
            continue
        taken += 1
        assert len(message.inputs) <= MAX_FRAMES
    assert 0 < taken < 10_000
