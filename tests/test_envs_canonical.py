"""Checksums tell types apart, ignore what does not count, and are fast; differences are named by their place."""

from __future__ import annotations

import itertools
import math
import struct
from enum import IntEnum
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.canonical import UnsupportedValueError, canonical_bytes, checksum
from envs.plain import copy_plain, first_difference

ALL_DIFFERENT: list[Any] = [
    None, False, True, 0, 1, -1, 2, 255, 256, -256, -257, 1023, 1024, 2**31, 2**63, 2**64, 2**127 + 1, -(2**127),
    0.0, -0.0, 1.0, 0.5, math.inf, -math.inf, math.nan,
    "", "1", "a", "ab", "é", b"", b"1", b"a", b"\x00", b"\x00\x00",
    [], [0], [[]], [[], []], [1, 2], [2, 1], [12], ["a", "b"], ["ab"], (), (0,), (1, 2),
    {}, {"a": 1}, {"a": 2}, {"b": 1}, {1: "a"}, {"1": "a"}, {1.5: "a"}, {"a": {}}, {"a": []}, {"a": None}, {(1, 2): 0},
    np.int8(1), np.int16(1), np.int32(1), np.int64(1), np.uint8(1), np.bool_(True), np.float32(1), np.float64(1),
    np.float32(0.0), np.float32(-0.0), np.complex64(1), np.str_("a"), np.bytes_(b"a"),
    np.array(1), np.array([1]), np.array([[1]]), np.array([1, 2]), np.array([[1, 2]]), np.array([[1], [2]]),
    np.array([1, 2], np.int32), np.array([1, 2], np.float32), np.array([0.0]), np.array([-0.0]), np.array([math.nan]),
    np.zeros((0, 2)), np.zeros((2, 0)), np.zeros(0), np.array([True, False]), np.array(["a"]), np.array([b"a"]),
]  # fmt: skip


def test_values_that_differ_in_type_or_content_have_different_bytes_of_which_none_begins_another() -> None:
    forms = [canonical_bytes(value) for value in ALL_DIFFERENT]
    for (i, a), (j, b) in itertools.combinations(enumerate(forms), 2):
        assert not a.startswith(b), (ALL_DIFFERENT[i], ALL_DIFFERENT[j])
        assert not b.startswith(a), (ALL_DIFFERENT[i], ALL_DIFFERENT[j])


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(width=64) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(-5, 5), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(PLAIN, PLAIN)
def test_bytes_are_equal_exactly_when_no_difference_is_found(a: Any, b: Any) -> None:
    assert (canonical_bytes(a) == canonical_bytes(b)) == (first_difference(a, b) is None)
    assert canonical_bytes(copy_plain(a)) == canonical_bytes(a)


def test_order_of_a_dict_byte_order_and_memory_layout_do_not_count() -> None:
    assert checksum({"a": 1, 2: "b", "c": [3]}) == checksum({"c": [3], 2: "b", "a": 1})
    numbers = np.arange(12, dtype=np.int32).reshape(3, 4)
    wide = np.arange(24, dtype=np.int32).reshape(3, 8)
    wide[:, ::2] = numbers
    for same in (numbers.astype(">i4"), np.asfortranarray(numbers), wide[:, ::2]):
        assert canonical_bytes(same) == canonical_bytes(numbers)


def test_every_nan_is_the_same_nan() -> None:
    other = struct.unpack("<d", struct.pack("<Q", 0xFFF8_0000_0000_0123))[0]
    assert math.isnan(other)
    assert canonical_bytes(other) == canonical_bytes(math.nan)
    assert canonical_bytes(np.array([1.0, other])) == canonical_bytes(np.array([1.0, math.nan]))
    assert canonical_bytes(np.float64(other)) == canonical_bytes(np.float64(math.nan))
    pair = np.array([complex(other, -0.0)])
    assert canonical_bytes(pair) == canonical_bytes(np.array([complex(math.nan, -0.0)]))
    assert canonical_bytes(pair) != canonical_bytes(np.array([complex(math.nan, 0.0)]))


def test_checksums_are_frozen() -> None:
    value = {
        "t": 3,
        "pos": np.array([[1, 2]], np.int32),
        7: [None, True, -0.0, 2**80],
        "s": ("é", b"\x01", np.float32(2)),
    }
    assert checksum(value).hex() == "bef347e79cac7e71"


class _Direction(IntEnum):
    UP = 3


@pytest.mark.parametrize(
    "bad", [{1, 2}, object(), _Direction.UP, np.array([object()]), np.longdouble(1), bytearray(b"a")]
)
def test_what_is_not_plain_data_is_named_by_its_place(bad: Any) -> None:
    with pytest.raises(UnsupportedValueError, match=r"state\['cooks'\]\[1\] is a "):
        canonical_bytes({"time": 1, "cooks": [None, bad]})


def test_the_first_difference_is_named_by_its_path_and_both_values() -> None:
    a = {"time": 4, "extra": {"timer": np.array([[30, 2]]), "odd key": [1, 2]}}
    b = {"time": 4, "extra": {"timer": np.array([[30, 1]]), "odd key": [1, 2]}}
    assert first_difference(a, b) == ("state.extra.timer[0, 1]", 2, 1)
    assert first_difference(a, a) is None
    assert first_difference({"x": 1}, {"x": 1.0}) == ("state.x", 1, 1.0)
    assert first_difference({"odd key": [1, 2]}, {"odd key": [1]}) == ("state['odd key'][1]", 2, "<absent>")
    assert first_difference({}, {"b": 1}) == ("state.b", "<absent>", 1)


def test_a_copy_shares_only_what_cannot_change() -> None:
    frozen, loose = np.arange(3), np.arange(3)
    frozen.flags.writeable = False
    view = loose[:2]
    view.flags.writeable = False
    value: dict[str, Any] = {"frozen": frozen, "loose": loose, "view": view, "list": [[1]], "tuple": ([2],)}
    copy = copy_plain(value)
    loose[0] = value["list"][0][0] = value["tuple"][0][0] = 9
    assert copy["frozen"] is frozen
    assert copy["loose"][0] == 0
    assert copy["view"][0] == 0
    assert copy["list"] == [[1]]
    assert copy["tuple"] == ([2],)


@pytest.mark.alone
def test_a_state_of_a_grid_world_is_hashed_within_the_budget() -> None:
    state = {f"map {i}": np.arange(20, dtype=np.int32).reshape(4, 5) for i in range(13)}
    state["generator"] = {"name": "PCG64", "state": {"state": 2**127 - 1, "inc": 2**126 + 1}, "has": 0, "left": 7}  # type: ignore[assignment]
    costs = []
    for _ in range(200):
        begin = perf_counter()
        checksum(state)
        costs.append(perf_counter() - begin)
    assert min(costs) < 60e-6
