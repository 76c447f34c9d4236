"""Field-by-field differences of two states: what counts, how places are named, and what is kept of large values."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.canonical import checksum
from p2pclient.common.differences import ABSENT, Difference, find_differences, value_text
from p2pclient.envhost import values


def paths(ours: Any, theirs: Any) -> list[str]:
    return [difference.path for difference in find_differences(ours, theirs)]


def test_every_field_that_differs_is_named_with_both_values() -> None:
    ours = {"environment": {"agents": [{"pos": [1, 2]}, {"pos": [3, 4]}], "time": 7}, "totals": [0.5, 1.0]}
    theirs = copy.deepcopy(ours)
    theirs["environment"]["agents"][1]["pos"][0] = 9  # type: ignore[index,call-overload]
    theirs["totals"][1] = -1.0  # type: ignore[index]
    assert find_differences(ours, theirs) == [
        Difference("environment.agents[1].pos[0]", 3, 9),
        Difference("totals[1]", 1.0, -1.0),
    ]


def test_equal_states_have_no_differences_whatever_the_order_of_their_keys() -> None:
    grid = np.arange(12.0).reshape(3, 4)
    ours = {"a": 1, "b": [grid, (1, "x", b"y", None, True)], 3: np.float32(0.5)}
    theirs = {3: np.float32(0.5), "b": [grid.copy(), (1, "x", b"y", None, True)], "a": 1}
    assert find_differences(ours, theirs) == []


def test_what_is_on_one_side_only_is_absent_on_the_other() -> None:
    assert find_differences({"a": 1, "b": 2}, {"a": 1}) == [Difference("b", 2, ABSENT)]
    assert find_differences({}, {"b": 2}) == [Difference("b", ABSENT, 2)]
    assert find_differences([1, 2], [1]) == [Difference("[1]", 2, ABSENT)]
    assert find_differences([1], [1, 2]) == [Difference("[1]", ABSENT, 2)]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (1, 1.0),
        (1, True),
        ([1], (1,)),
        ("a", b"a"),
        (0.0, -0.0),
        (1 << 9000, (1 << 9000) + 1),
        ({1: 0}, {True: 0}),
        ({(1,): 0}, {(1.0,): 0}),
        (np.int32(1), 1),
        (np.int32(1), np.int64(1)),
        (np.float64(0.0), np.float64(-0.0)),
        (np.zeros(2, np.int32), np.zeros(2, np.int64)),
        (np.zeros((2, 1)), np.zeros((1, 2))),
    ],
)
def test_values_that_checksums_tell_apart_differ(ours: Any, theirs: Any) -> None:
    assert checksum(ours) != checksum(theirs)
    assert find_differences(ours, theirs)
    assert find_differences([{"x": ours}], [{"x": theirs}])
    assert not find_differences(ours, copy.deepcopy(ours))


def test_every_nan_is_the_same_also_as_a_key_and_inside_of_arrays() -> None:
    other = np.array([0x7FF8000000000123], np.uint64).view(np.float64)
    assert other.tobytes() != np.array([math.nan]).tobytes()
    assert find_differences(np.array([math.nan]), other) == []
    assert find_differences(math.nan, float(other[0])) == []
    assert find_differences({float("nan"): 1}, {float("nan"): 1}) == []
    assert find_differences(np.array([complex(math.nan, 1)]), np.array([complex(math.nan, 2)])) != []
    assert paths(np.array([math.nan, 1.0]), np.array([1.0, math.nan])) == ["[0]", "[1]"]


def test_byte_order_and_memory_order_of_an_array_do_not_count() -> None:
    grid = np.arange(12, dtype="<i4").reshape(3, 4)
    assert find_differences(grid, grid.astype(">i4")) == []
    assert find_differences(grid, np.asfortranarray(grid)) == []
    assert find_differences(np.array([True]), np.array([True])) == []


def test_items_of_arrays_are_named_by_their_axes() -> None:
    ours = {"grid": np.zeros((3, 4)), "line": np.zeros(3000, np.int8), "single": np.array(5)}
    theirs: dict[str, Any] = copy.deepcopy(ours)
    theirs["grid"][2, 1], theirs["line"][2999], theirs["single"] = 0.5, 3, np.array(6)
    assert find_differences(ours, theirs) == [
        Difference("grid[2, 1]", 0.0, 0.5),
        Difference("line[2999]", 0, 3),
        Difference("single", 5, 6),
    ]
    assert paths(np.zeros((0, 4)), np.zeros((0, 4))) == []


def test_there_are_no_more_differences_than_asked_for() -> None:
    ours, theirs = list(range(500)), list(range(1, 501))
    assert len(find_differences(ours, theirs)) == 100
    assert paths(ours, theirs)[-1] == "[99]"
    assert [d.path for d in find_differences(ours, theirs, limit=2)] == ["[0]", "[1]"]
    assert find_differences(ours, theirs, limit=0) == []


def test_both_sides_list_the_same_places_in_the_same_order() -> None:
    ours = {"b": 1, 2: 1, "a": [1, 2], ("k", 1): 0, 1 << 70: 1}
    theirs = {("k", 1): 1, "a": [2, 1], 2: 3, "c": 4}
    there = find_differences(theirs, ours)
    assert [(d.path, d.theirs, d.ours) for d in there] == [
        (d.path, d.ours, d.theirs) for d in find_differences(ours, theirs)
    ]
    assert {d.path for d in there} == {"b", "[2]", "a[0]", "a[1]", "[(str:'k', int:1)]", "c", f"[{hex(1 << 70)}]"}


def test_differences_keep_no_large_values() -> None:
    large = {
        "d": {"x": 1, "y": 2},
        "l": [1, 2],
        "t": "abc" * 999,
        "b": b"\0" * 999,
        "i": 1 << 9000,
        "g": np.zeros((2, 9)),
    }
    found = {d.path: d.ours for d in find_differences(large, dict.fromkeys(large))}
    assert found == {
        "d": "<dict of 2>",
        "l": "<list of 2>",
        "t": "<str of 2997: 'abcabcabcabcabcabcab'...>",
        "b": f"<bytes of 999: {bytes(20)!r}...>",
        "i": "<int of 9001 bits: 0x10000000000000000000...>",
        "g": "<array of f8, shape [2, 9]>",
    }
    long_key = find_differences({"k" * 5000: 1, "no name": 2}, {})
    assert [len(d.path) <= 64 for d in long_key] == [True, True]
    assert long_key[1].path == "['no name']"


def test_differences_are_told_to_people_in_short() -> None:
    assert Difference("time", 3, 4).text() == "time: 3 here, 4 there"
    assert Difference("x", ABSENT, "a").text("first", "second") == "x: <absent> first, 'a' second"
    assert find_differences(1, 2)[0].text() == "state: 1 here, 2 there"
    assert value_text(np.float32(0.5)) == "float32(0.5)"
    assert value_text(np.str_("<x>")) == "str_(<x>)"
    assert value_text("y" * 150) == "'" + "y" * 56 + "..."


def test_types_without_a_checksum_are_compared_all_the_same() -> None:
    for one, two in ((np.longdouble(1), np.longdouble(2)), (np.datetime64(1, "s"), np.datetime64(2, "s"))):
        assert paths({"a": one, "b": np.array([one])}, {"a": two, "b": np.array([two])}) == ["a", "b[0]"]
        assert paths({"a": one, "b": np.array([one])}, {"a": one, "b": np.array([one])}) == []
    assert paths(np.datetime64(1, "s"), np.datetime64(1000, "ms")) == ["state"]


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3)
STATES = st.recursive(
    LEAVES | st.sampled_from([np.int8(3), np.float32(1.5), np.zeros((2, 2)), np.arange(3)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2) | st.integers(), inner, max_size=3)
    | st.tuples(inner, inner),
    max_leaves=8,
)  # fmt: skip


@given(ours=STATES, theirs=STATES)
def test_states_differ_exactly_if_their_checksums_do(ours: Any, theirs: Any) -> None:
    assert bool(find_differences(ours, theirs)) == (checksum(ours) != checksum(theirs))
    assert find_differences(ours, values.decode(values.encode(ours))) == []
