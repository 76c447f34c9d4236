"""Action spaces as data, seat inputs, and derived seeds."""

from __future__ import annotations

import copy
import math
import random
import struct
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from spaces_rig import any_space, box, boxes, hostile_bytes, values

from p2pclient.common.errors import ConfigurationError, RemoteProtocolError
from p2pclient.common.frames import MAX_INPUT_BYTES, pack_seat_input, unpack_seat_input
from p2pclient.common.seeds import derive_seed
from p2pclient.common.spaces import check_space, decode_action, draw_action, encode_action, input_width

DISCRETE = {"kind": "discrete", "n": 7, "start": 0}
MULTI = {"kind": "multi_discrete", "nvec": [3, 300, 70_000]}
BINARY = {"kind": "multi_binary", "n": 11}


STICK = box("<f4", [-1.0, 0.0], [1.0, None])
WORD = {"kind": "text", "min": 1, "max": 3, "charset": "abc"}
ARM = {"kind": "dict", "spaces": {"stick": STICK, "grip": DISCRETE}}
PAIR = {"kind": "tuple", "spaces": [BINARY, ARM]}


@pytest.mark.parametrize(
    ("space", "value", "data"),
    [
        (DISCRETE, 0, "00"),
        (DISCRETE, 6, "06"),
        ({"kind": "discrete", "n": 1}, 0, "00"),
        ({"kind": "discrete", "n": 5, "start": -2}, -2, "00"),
        ({"kind": "discrete", "n": 5, "start": -2}, 2, "04"),
        ({"kind": "discrete", "n": 5, "start": 100}, 104, "04"),
        ({"kind": "discrete", "n": 256}, 255, "ff"),
        ({"kind": "discrete", "n": 257}, 256, "0001"),
        ({"kind": "discrete", "n": 65536}, 65535, "ffff"),
        ({"kind": "discrete", "n": 65537}, 65536, "00000100"),
        ({"kind": "discrete", "n": 1 << 32}, (1 << 32) - 1, "ffffffff"),
        (MULTI, [2, 299, 69_999], "022b016f110100"),
        (BINARY, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "0104"),
        ({"kind": "multi_binary", "n": 8}, [1] * 8, "ff"),
        ({"kind": "multi_binary", "n": 1}, [0], "00"),
        ({"kind": "multi_discrete", "nvec": [3, 300], "start": [-1, 7]}, [1, 7], "020000"),
        (STICK, [0.5, 2.0], "0000003f00000040"),
        (STICK, [-1.0, 0.0], "000080bf00000000"),
        (box("<f8", [None], [None]), [0.1], "9a9999999999b93f"),
        (box("<f2", [None], [None]), [-2.0], "00c0"),
        (box("|u1", [0, 0], [255, 9], [2, 1]), [255, 9], "ff09"),
        (box("|i1", [None], [None]), [-128], "80"),
        (box("<i2", [-5], [5]), [-5], "fbff"),
        (box("<i4", [None], [0]), [-(1 << 31)], "00000080"),
        (box("<u8", [None], [None]), [(1 << 64) - 1], "ffffffffffffffff"),
        (box("|b1", [0, 0, 1], [1, 0, 1]), [1, 0, 1], "010001"),
        (WORD, "a", "01000000"),
        (WORD, "cab", "03020001"),
        ({"kind": "text", "max": 2, "charset": "xy"}, "", "000000"),
        ({"kind": "text", "max": 1, "charset": "".join(map(chr, range(300)))}, chr(299), "012b01"),
        (ARM, {"grip": 6, "stick": [0.5, 2.0]}, "060000003f00000040"),
        (PAIR, [[1] + [0] * 10, {"grip": 0, "stick": [0.0, 0.0]}], "0100000000000000000000"),
    ],
)
def test_values_are_these_bytes(space: dict[str, Any], value: Any, data: str) -> None:
    assert check_space(space) is space
    assert encode_action(space, value).hex() == data
    assert decode_action(space, bytes.fromhex(data)) == value
    assert input_width(space) == len(data) // 2


@given(any_space, st.data())
def test_every_value_comes_back(space: dict[str, Any], data: st.DataObject) -> None:
    check_space(space)
    value = data.draw(values(space))
    encoded = encode_action(space, value)
    assert len(encoded) == input_width(space) < MAX_INPUT_BYTES
    assert repr(decode_action(space, encoded)) == repr(sorted_keys(value))  # minus zero, and the types of numbers


def sorted_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    return [sorted_keys(item) for item in value] if isinstance(value, list) else value


@given(boxes(), st.data())
def test_the_bytes_of_a_box_are_the_ones_of_an_array(space: dict[str, Any], data: st.DataObject) -> None:
    value = data.draw(values(space))
    array = np.array(value, dtype=space["dtype"])
    assert encode_action(space, value) == array.tobytes() == encode_action(space, array)


def test_numpy_values_are_taken_and_plain_ones_given_back() -> None:
    assert encode_action(DISCRETE, np.int64(3)) == b"\x03"
    assert encode_action(MULTI, np.array([1, 2, 3])) == encode_action(MULTI, [1, 2, 3])
    assert encode_action(BINARY, np.ones(11, dtype=np.int8)) == b"\xff\x07"
    assert encode_action(BINARY, np.arange(11) > 8) == b"\x00\x06"
    assert type(decode_action(DISCRETE, b"\x03")) is int
    tenth = np.array([0.1, 3], np.float32)
    assert encode_action(STICK, tenth) == tenth.tobytes()
    assert encode_action(STICK, [np.float64(0.1), np.int8(3)]) == tenth.tobytes()
    assert encode_action(STICK, [np.float32(0.1), np.float16(3)]) == tenth.tobytes()
    assert encode_action(ARM, {"stick": np.zeros(2), "grip": np.int8(1)}) == b"\x01" + bytes(8)
    assert encode_action(STICK, [Fraction(1, 2), 3]) == struct.pack("<2f", 0.5, 3)
    assert all(type(number) is float for number in decode_action(STICK, bytes(8)))


def test_a_number_is_rounded_to_its_boxs_dtype_and_then_compared() -> None:
    tenth = box("<f4", [None], [float(np.float32(0.1))])
    assert float(np.float32(0.1)) > 0.1
    assert decode_action(tenth, encode_action(tenth, [0.1])) == tenth["high"]
    assert encode_action(tenth, [0.1000000015]) == encode_action(tenth, [0.1])
    with pytest.raises(ConfigurationError, match="action"):
        encode_action(tenth, [0.10000001])


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (DISCRETE, 7),
        (DISCRETE, -1),
        ({"kind": "discrete", "n": 5, "start": -2}, 3),
        ({"kind": "discrete", "n": 5, "start": -2}, -3),
        (MULTI, [3, 0, 0]),
        (MULTI, [0, -1, 0]),
        (MULTI, [0, 0]),
        (MULTI, [0, 0, 0, 0]),
        (BINARY, [2] + [0] * 10),
        (BINARY, [0] * 10),
        (BINARY, [0] * 12),
        (BINARY, None),
        (BINARY, np.ones((11, 1), bool)),
        (BINARY, np.ones(11)),
        (MULTI, 3),
        ({"kind": "multi_discrete", "nvec": [3], "start": [4]}, [0]),
        ({"kind": "multi_discrete", "nvec": [3], "start": [4]}, [7]),
        (STICK, [0.0]),
        (STICK, [0.0, 0.0, 0.0]),
        (STICK, [1.01, 0.0]),
        (STICK, [0.0, -0.01]),
        (STICK, [0.0, math.nan]),
        (STICK, [0.0, math.inf]),
        (STICK, [0.0, 1e39]),
        (STICK, [0.0, 10**400]),
        (STICK, [0.0, "1"]),
        (STICK, [0.0, 1j]),
        (STICK, [Fraction(1, 3), 0.0]),
        (STICK, [0.0, None]),
        (STICK, np.zeros((2, 1))),
        (STICK, np.zeros(())),
        (STICK, 0.5),
        (box("<i2", [-5], [5]), [6]),
        (box("<i2", [None], [None]), [1 << 15]),
        (box("<i2", [None], [None]), [1.0]),
        (box("|b1", [0], [1]), [2]),
        (WORD, ""),
        (WORD, "abca"),
        (WORD, "d"),
        (WORD, ["a"]),
        (WORD, b"a"),
        (ARM, {"grip": 1}),
        (ARM, {"grip": 1, "stick": [0.0, 0.0], "more": 0}),
        (ARM, {"grip": 7, "stick": [0.0, 0.0]}),
        (ARM, [[0.0, 0.0], 1]),
        (PAIR, [[0] * 11]),
        (PAIR, {"0": [0] * 11}),
        (PAIR, None),
    ],
)
def test_values_outside_the_space_are_not_encoded(space: dict[str, Any], value: Any) -> None:
    with pytest.raises(ConfigurationError, match="action"):
        encode_action(space, value)


@pytest.mark.parametrize(
    ("space", "data"),
    [
        (DISCRETE, b""),
        (DISCRETE, b"\x07"),
        (DISCRETE, b"\xff"),
        (DISCRETE, b"\x00\x00"),
        ({"kind": "discrete", "n": 1}, b"\x01"),
        ({"kind": "discrete", "n": 300}, b"\x2c\x01"),
        (MULTI, b"\x03\x00\x00\x00\x00\x00\x00"),
        (MULTI, b"\x00\x2c\x01\x00\x00\x00\x00"),
        (MULTI, b"\x00\x00\x00\x70\x11\x01\x00"),
        (MULTI, bytes(6)),
        (BINARY, b"\x00\x08"),
        (BINARY, b"\x00"),
        (BINARY, b"\x00\x00\x00"),
        (STICK, bytes(7)),
        (STICK, bytes(9)),
        (STICK, struct.pack("<2f", 1.0000001, 0.0)),
        (STICK, struct.pack("<2f", 0.0, -1e-45)),
        (STICK, struct.pack("<2f", 0.0, math.inf)),
        (STICK, struct.pack("<2f", math.nan, 0.0)),
        (STICK, bytes.fromhex("000000000100807f")),  # a NaN that signals
        (box("<f8", [None], [None]), struct.pack("<d", -math.inf)),
        (box("<f8", [None], [None]), bytes.fromhex("010000000000f8ff")),
        (box("<f2", [None], [None]), bytes.fromhex("007c")),
        (box("<i2", [-5], [5]), bytes.fromhex("faff")),
        (box("|u1", [0], [9]), b"\x0a"),
        (box("|b1", [0], [1]), b"\x02"),
        (box("|b1", [0], [0]), b"\x01"),
        (WORD, bytes.fromhex("00000000")),
        (WORD, bytes.fromhex("04000000")),
        (WORD, bytes.fromhex("ff000000")),
        (WORD, bytes.fromhex("01030000")),
        (WORD, bytes.fromhex("01000100")),
        (ARM, bytes.fromhex("070000003f00000040")),
        (ARM, bytes(8)),
        (ARM, bytes(10)),
        (PAIR, bytes.fromhex("0008") + bytes(9)),
    ],
)
def test_bytes_outside_the_space_are_refused(space: dict[str, Any], data: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_action(space, data)
    assert caught.value.reason == "bad-input"


@given(any_space, st.data())
def test_any_bytes_are_a_value_or_refused(space: dict[str, Any], data: st.DataObject) -> None:
    given_bytes = data.draw(hostile_bytes(space))
    try:
        outcome: Any = encode_action(space, decode_action(space, given_bytes))
    except RemoteProtocolError as error:
        outcome = error.reason
    assert outcome in (given_bytes, "bad-input")


@pytest.mark.parametrize(("low", "high"), [(None, None), (-1.0, 1.0), (0.0, None), (None, -0.0), (0.25, 0.25)])
def test_of_all_half_floats_those_within_the_bounds_are_taken(low: float | None, high: float | None) -> None:
    space = check_space(box("<f2", [low], [high]))
    taken = []
    for pattern in range(1 << 16):
        try:
            taken.append(decode_action(space, pattern.to_bytes(2, "little"))[0])
        except RemoteProtocolError:
            continue
    every = np.arange(1 << 16, dtype="<u2").view("<f2").astype(float)
    inside = np.isfinite(every) & (every >= (-math.inf if low is None else low))
    inside &= every <= (math.inf if high is None else high)
    assert list(map(repr, taken)) == list(map(repr, every[inside].tolist()))
    assert len(taken) > 0


@pytest.mark.parametrize(
    "space",
    [
        None,
        [],
        {},
        {"kind": []},
        {"kind": "box"},
        {"kind": "graph"},
        {"kind": "discrete"},
        {"kind": "discrete", "n": 0},
        {"kind": "discrete", "n": -3},
        {"kind": "discrete", "n": 2.0},
        {"kind": "discrete", "n": True},
        {"kind": "discrete", "n": 3, "start": 0.5},
        {"kind": "discrete", "n": (1 << 32) + 1},
        {"kind": "multi_discrete"},
        {"kind": "multi_discrete", "nvec": []},
        {"kind": "multi_discrete", "nvec": [2, 0]},
        {"kind": "multi_discrete", "nvec": (2, 2)},
        {"kind": "multi_discrete", "nvec": [2] * 256},
        {"kind": "multi_binary", "n": 0},
        {"kind": "multi_binary", "n": 2041},
        {"kind": "multi_binary", "n": "8"},
        {"kind": "multi_discrete", "nvec": [2, 2], "start": [1]},
        {"kind": "multi_discrete", "nvec": [2], "start": [0.5]},
        box("<f4", [], []),
        box("<f4", [0.0], [1.0, 1.0]),
        box("<f4", [0.0, 0.0], [1.0]),
        box("<f4", [0.0], [1.0], [2]),
        box("<f4", [0.0] * 2, [1.0] * 2, [1]),
        box("<f4", [0.0], [1.0], [1, 0]),
        box("<f4", [0.0], [1.0], [-1, -1]),
        box("<f4", [0.0], [1.0], [True]),
        box("<f4", [1.0], [0.0]),
        box("<f4", [0.1], [1.0]),
        box("<f4", [0], [1]),
        box("<f4", [0.0], [math.inf]),
        box("<f4", [math.nan], [1.0]),
        box("<f4", [0.0], [1e39]),
        box(">f4", [0.0], [1.0]),
        box("<f16", [0.0], [1.0]),
        box("<c8", [0.0], [1.0]),
        box("|u1", [0], [256]),
        box("|u1", [-1], [0]),
        box("|u1", [0.0], [1.0]),
        box("|b1", [0], [2]),
        box("|b1", [False], [True]),
        {"kind": "box", "dtype": "<f4", "shape": [1], "low": (0.0,), "high": (1.0,)},
        {"kind": "text", "max": 3},
        {"kind": "text", "max": 3, "charset": ""},
        {"kind": "text", "max": 3, "charset": "aba"},
        {"kind": "text", "max": 3, "charset": "\ud800"},
        {"kind": "text", "max": 3, "charset": ["a"]},
        {"kind": "text", "max": 0, "charset": "a"},
        {"kind": "text", "max": 3, "min": 4, "charset": "a"},
        {"kind": "text", "max": 3, "min": -1, "charset": "a"},
        {"kind": "text", "max": 256, "charset": "a"},
        {"kind": "dict"},
        {"kind": "dict", "spaces": {}},
        {"kind": "dict", "spaces": [DISCRETE]},
        {"kind": "dict", "spaces": {1: DISCRETE}},
        {"kind": "dict", "spaces": {"\udcff": DISCRETE}},
        {"kind": "dict", "spaces": {"a": {"kind": "dict", "spaces": {}}}},
        {"kind": "tuple", "spaces": []},
        {"kind": "tuple", "spaces": (DISCRETE,)},
        {"kind": "tuple", "spaces": [None]},
    ],
)
def test_spaces_that_cannot_be_sent_are_refused_with_what_is_allowed(space: Any) -> None:
    with pytest.raises(ConfigurationError, match="discrete, multi_discrete, multi_binary, box, text, dict, tuple"):
        check_space(space)


@pytest.mark.parametrize(
    ("space", "width"),
    [
        (box("<f4", [None] * 64, [None] * 64), 256),
        (box("|u1", [0] * 256, [255] * 256), 256),
        ({"kind": "text", "max": 255, "charset": "ab"}, 256),
        ({"kind": "tuple", "spaces": [box("<f4", [None] * 63, [None] * 63), WORD]}, 256),
        ({"kind": "dict", "spaces": {"a": DISCRETE, "b": {"kind": "multi_binary", "n": 2040}}}, 256),
        ({"kind": "multi_binary", "n": 1 << 32}, 1 << 29),
    ],
)
def test_what_takes_too_many_bytes_is_told_with_their_number(space: dict[str, Any], width: int) -> None:
    with pytest.raises(ConfigurationError, match=f"at most 255 bytes per value; this one takes {width}$"):
        check_space(space)


def test_spaces_nested_too_deeply_are_refused() -> None:
    space: Any = DISCRETE
    for _ in range(16):
        space = {"kind": "tuple", "spaces": [space]}
    assert input_width(check_space(space)) == 1
    with pytest.raises(ConfigurationError, match="allowed"):
        check_space({"kind": "dict", "spaces": {"too": space}})


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 300), st.floats(), st.text(max_size=3), st.just([]), st.just({}),
    st.lists(st.one_of(st.none(), st.integers(-3, 3), st.floats()), max_size=3),
)  # fmt: skip


@given(any_space, st.sampled_from(["kind", "n", "nvec", "start", "dtype", "shape", "low", "high", "min", "max"]), JUNK)
@example(STICK, "low", [math.nan, 0.0])
def test_a_space_with_a_wrong_parameter_is_refused_or_works(space: dict[str, Any], key: str, junk: Any) -> None:
    assume(key in space)
    changed = {**copy.deepcopy(space), key: junk}
    try:
        check_space(changed)
    except ConfigurationError:
        return
    value = draw_action(changed, random.Random(0))
    assert decode_action(changed, encode_action(changed, value)) == value


@pytest.mark.parametrize(
    "space",
    [
        {"kind": "multi_discrete", "nvec": [2] * 255},
        {"kind": "multi_binary", "n": 2040},
        box("|u1", [0] * 255, [1] * 255),
        {"kind": "text", "max": 254, "charset": "ab"},
        {"kind": "tuple", "spaces": [DISCRETE] * 255},
    ],
)
def test_the_widest_values_are_allowed(space: dict[str, Any]) -> None:
    assert input_width(check_space(space)) == MAX_INPUT_BYTES - 1


@given(any_space, st.integers())
def test_what_is_drawn_is_in_the_space_and_follows_from_the_seed(space: dict[str, Any], seed: int) -> None:
    drawn = [draw_action(space, generator) for generator in (random.Random(seed), random.Random(seed))]
    assert repr(drawn[0]) == repr(drawn[1])
    assert repr(decode_action(space, encode_action(space, drawn[0]))) == repr(drawn[0])


def test_what_is_drawn_spreads_over_the_space() -> None:
    generator = random.Random(4)
    space = box("<f4", [-2.0, None, 5.0, None], [2.0, None, None, -5.0])
    rows = np.array([draw_action(space, generator) for _ in range(2000)])
    for quarter in range(4):
        assert 400 < np.sum((rows[:, 0] >= quarter - 2) & (rows[:, 0] < quarter - 1)) < 600
    assert -0.2 < rows[:, 1].mean() < 0.2 < rows[:, 1].std()
    assert (rows[:, 2].min(), rows[:, 3].max()) == (pytest.approx(5, abs=0.1), pytest.approx(-5, abs=0.1))
    assert {draw_action(WORD, generator) for _ in range(2000)} == {
        *"abc", *(a + b for a in "abc" for b in "abc"), *(a + b + c for a in "abc" for b in "abc" for c in "abc"),
    }  # fmt: skip
    assert {draw_action(box("|i1", [-2], [2]), generator)[0] for _ in range(200)} == {-2, -1, 0, 1, 2}
    huge = box("<f8", [-1.7976931348623157e308], [1.7976931348623157e308])
    assert len({draw_action(huge, generator)[0] for _ in range(100)}) == 100


@pytest.mark.parametrize("focused", [True, False])
def test_focus_travels_in_the_seat_input(focused: bool) -> None:
    packed = pack_seat_input(b"\x05\x06", focused=focused)
    assert packed == bytes([not focused]) + b"\x05\x06"
    assert unpack_seat_input(packed) == (b"\x05\x06", focused)


def test_derived_seeds_are_frozen_and_tell_purposes_apart() -> None:
    assert derive_seed(7, "episode", 0) == 1944040508
    seeds = [derive_seed(seed, name, number) for seed in range(20) for name in "ab" for number in range(20)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 1 << 31 for seed in seeds)
    assert derive_seed(1, 23) != derive_seed(12, 3)


@pytest.mark.parametrize("value", [1.7, 1.0, "1", None])
def test_what_is_no_whole_number_is_never_rounded_into_an_action(value: object) -> None:
    with pytest.raises(ConfigurationError, match="whole number"):
        encode_action({"kind": "discrete", "n": 4, "start": 0}, value)
