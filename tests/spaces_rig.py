"""Action spaces, their values, and bytes that may be none of them, as strategies of Hypothesis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from p2pclient.common.frames import MAX_INPUT_BYTES
from p2pclient.common.spaces import encode_action, input_width


def box(dtype: str, low: list[Any], high: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    return {"kind": "box", "dtype": dtype, "shape": shape or [len(low)], "low": low, "high": high}


discrete = st.builds(
    lambda n, start: {"kind": "discrete", "n": n, "start": start}, st.integers(1, 1 << 32), st.integers(-1000, 1000)
)
multi = st.lists(st.tuples(st.integers(1, 1 << 18), st.integers(-300, 300)), min_size=1, max_size=15).map(
    lambda pairs: {"kind": "multi_discrete", "nvec": [n for n, _ in pairs], "start": [first for _, first in pairs]}
)
multi_from_zero = st.builds(
    lambda nvec: {"kind": "multi_discrete", "nvec": nvec}, st.lists(st.integers(1, 1 << 18), min_size=1, max_size=15)
)
binary = st.builds(lambda n: {"kind": "multi_binary", "n": n}, st.integers(1, 504))
text = st.builds(
    lambda charset, shortest, more: {"kind": "text", "min": shortest, "max": shortest + more, "charset": charset},
    st.one_of(
        st.lists(st.characters(codec="utf-8"), min_size=1, max_size=40, unique=True).map("".join),
        st.just("".join(map(chr, range(500)))),
    ),
    st.integers(0, 5),
    st.integers(1, 20),
)


def numbers(dtype: str) -> st.SearchStrategy[Any]:
    """Every finite number of the dtype."""
    of = np.dtype(dtype)
    if of.kind == "f":
        return st.floats(width=of.itemsize * 8, allow_nan=False, allow_infinity=False)  # type: ignore[arg-type]
    if of.kind == "b":
        return st.integers(0, 1)
    return st.integers(int(np.iinfo(of).min), int(np.iinfo(of).max))


DTYPES = ("<f2", "<f4", "<f8", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "|b1")


def by_size(number: Any) -> tuple[Any, float]:
    return number, math.copysign(1, number)  # minus zero before zero


@st.composite
def boxes(draw: st.DrawFn, most: int = 80) -> dict[str, Any]:
    dtype = draw(st.sampled_from(DTYPES))
    columns = draw(st.integers(1, min(3, most // np.dtype(dtype).itemsize)))
    rows = draw(st.integers(1, max(1, most // np.dtype(dtype).itemsize // columns)))
    pairs = [sorted(draw(st.tuples(numbers(dtype), numbers(dtype))), key=by_size) for _ in range(rows * columns)]
    low, high = ([None if draw(st.booleans()) else pair[side] for pair in pairs] for side in (0, 1))
    return box(dtype, low, high, draw(st.sampled_from([[rows, columns], [rows * columns], [1, columns, rows]])))


leaves = st.one_of(discrete, multi, multi_from_zero, binary, text, boxes())
small_leaves = st.one_of(
    discrete,
    boxes(12),
    st.just({"kind": "text", "min": 1, "max": 3, "charset": "abc"}),
    st.just({"kind": "multi_binary", "n": 11}),
    st.just({"kind": "multi_discrete", "nvec": [3, 300, 70_000]}),
)
trees = st.recursive(
    small_leaves,
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(lambda spaces: {"kind": "tuple", "spaces": spaces}),
        st.dictionaries(st.text(max_size=3), parts, min_size=1, max_size=3).map(
            lambda spaces: {"kind": "dict", "spaces": spaces}
        ),
    ),
    max_leaves=5,
).filter(lambda space: input_width(space) < MAX_INPUT_BYTES)
any_space = st.one_of(leaves, trees)


def values(space: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Every value of the space, found without the code under test."""
    kind = space["kind"]
    if kind == "discrete":
        return st.integers(0, space["n"] - 1).map(lambda index: index + space.get("start", 0))
    if kind == "multi_discrete":
        starts = space.get("start") or [0] * len(space["nvec"])
        return st.tuples(
            *[st.integers(first, first + n - 1) for n, first in zip(space["nvec"], starts, strict=True)]
        ).map(list)
    if kind == "multi_binary":
        return st.lists(st.integers(0, 1), min_size=space["n"], max_size=space["n"])
    if kind == "text":
        return st.text(st.sampled_from(space["charset"]), min_size=space["min"], max_size=space["max"])
    if kind == "box":
        sides = zip(space["low"], space["high"], strict=True)
        return st.tuples(*[bounded(space["dtype"], low, high) for low, high in sides]).map(list)
    if kind == "tuple":
        return st.tuples(*map(values, space["spaces"])).map(list)
    return st.fixed_dictionaries({key: values(part) for key, part in space["spaces"].items()})


def bounded(dtype: str, low: Any, high: Any) -> st.SearchStrategy[Any]:
    of = np.dtype(dtype)
    if of.kind == "f":
        width: Any = of.itemsize * 8
        return st.floats(low, high, width=width, allow_nan=False, allow_infinity=False)
    least, greatest = (0, 1) if of.kind == "b" else (int(np.iinfo(of).min), int(np.iinfo(of).max))
    return st.integers(least if low is None else low, greatest if high is None else high)


@st.composite
def hostile_bytes(draw: st.DrawFn, space: dict[str, Any]) -> bytes:
    """Bytes of any length, of the right one, and those of a value with some of them changed."""
    width = input_width(space)
    how = draw(st.sampled_from(["any", "width", "changed"]))
    if how != "changed":
        return draw(st.binary(max_size=70) if how == "any" else st.binary(min_size=width, max_size=width))
    data = bytearray(encode_action(space, draw(values(space))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, width - 1))
        data[at] = draw(st.sampled_from([0x00, 0x01, 0x7F, 0x80, 0xFF, data[at] ^ 1, data[at] ^ 0x80]))
    return bytes(data)
