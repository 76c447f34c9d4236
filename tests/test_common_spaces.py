"""Action spaces as data, seat inputs, and derived seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pclient.common.errors import ConfigurationError, RemoteProtocolError
from p2pclient.common.frames import MAX_INPUT_BYTES, pack_seat_input, unpack_seat_input
from p2pclient.common.seeds import derive_seed
from p2pclient.common.spaces import check_space, decode_action, encode_action, input_width

DISCRETE = {"kind": "discrete", "n": 7, "start": 0}
MULTI = {"kind": "multi_discrete", "nvec": [3, 300, 70_000]}
BINARY = {"kind": "multi_binary", "n": 11}


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
    ],
)
def test_values_are_these_bytes(space: dict[str, Any], value: Any, data: str) -> None:
    assert check_space(space) is space
    assert encode_action(space, value).hex() == data
    assert decode_action(space, bytes.fromhex(data)) == value
    assert input_width(space) == len(data) // 2


discrete = st.builds(
    lambda n, start: {"kind": "discrete", "n": n, "start": start}, st.integers(1, 1 << 32), st.integers(-1000, 1000)
)
multi = st.builds(
    lambda nvec: {"kind": "multi_discrete", "nvec": nvec}, st.lists(st.integers(1, 1 << 18), min_size=1, max_size=15)
)
binary = st.builds(lambda n: {"kind": "multi_binary", "n": n}, st.integers(1, 504))


@given(st.one_of(discrete, multi, binary), st.data())
def test_every_value_comes_back(space: dict[str, Any], data: st.DataObject) -> None:
    check_space(space)
    if space["kind"] == "discrete":
        value: Any = data.draw(st.integers(0, space["n"] - 1)) + space["start"]
    elif space["kind"] == "multi_discrete":
        value = [data.draw(st.integers(0, n - 1)) for n in space["nvec"]]
    else:
        value = data.draw(st.lists(st.integers(0, 1), min_size=space["n"], max_size=space["n"]))
    encoded = encode_action(space, value)
    assert len(encoded) == input_width(space) < MAX_INPUT_BYTES
    assert decode_action(space, encoded) == value


def test_numpy_values_are_taken_and_plain_ones_given_back() -> None:
    assert encode_action(DISCRETE, np.int64(3)) == b"\x03"
    assert encode_action(MULTI, np.array([1, 2, 3])) == encode_action(MULTI, [1, 2, 3])
    assert encode_action(BINARY, np.ones(11, dtype=np.int8)) == b"\xff\x07"
    assert type(decode_action(DISCRETE, b"\x03")) is int


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
    ],
)
def test_bytes_outside_the_space_are_refused(space: dict[str, Any], data: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_action(space, data)
    assert caught.value.reason == "bad-input"


@given(st.one_of(discrete, multi, binary), st.binary(max_size=70))
def test_any_bytes_are_a_value_or_refused(space: dict[str, Any], data: bytes) -> None:
    try:
        value = decode_action(space, data)
    except RemoteProtocolError:
        return
    assert encode_action(space, value) == data


@pytest.mark.parametrize(
    "space",
    [
        None,
        [],
        {},
        {"kind": "box"},
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
        {"kind": "multi_discrete", "nvec": [2] * 64},
        {"kind": "multi_binary", "n": 0},
        {"kind": "multi_binary", "n": 505},
        {"kind": "multi_binary", "n": "8"},
    ],
)
def test_spaces_that_cannot_be_sent_are_refused_with_what_is_allowed(space: Any) -> None:
    with pytest.raises(ConfigurationError, match="discrete, multi_discrete or multi_binary"):
        check_space(space)


@pytest.mark.parametrize("space", [{"kind": "multi_discrete", "nvec": [2] * 63}, {"kind": "multi_binary", "n": 504}])
def test_the_widest_values_are_allowed(space: dict[str, Any]) -> None:
    assert input_width(check_space(space)) == MAX_INPUT_BYTES - 1


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
