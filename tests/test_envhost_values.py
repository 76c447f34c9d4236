"""The codec: what goes in comes out, with type and value, and nothing else gets through."""

from __future__ import annotations

import enum
import math
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pclient.envhost.values import CannotSendError, MalformedValueError, decode, encode
from p2pclient.envhost.values_fast import decode_own, encode_plain

ROOT = Path(__file__).resolve().parent.parent


def same(a: Any, b: Any) -> bool:
    """Equal in type, value and order of keys; floats bit by bit, arrays byte by byte."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a), list(b)) and same(list(a.values()), list(b.values()))
    if type(a) is float:
        return struct.pack("d", a) == struct.pack("d", b)
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return bool(a == b)


DTYPES = ["?", "i1", "<i2", ">i4", "<u8", "<f2", "<f4", "<f8", ">f8", "<c8", "<c16", "S3", "<U4", "<M8[ns]", "<m8[s]"]


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    numbers = np.array(draw(st.lists(st.integers(0, 1), min_size=math.prod(shape), max_size=math.prod(shape))))
    return numbers.astype("i8").astype(dtype).reshape(shape)


leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=40)
    | st.text(st.characters(exclude_categories=()), max_size=40)
    | st.integers(-(2**31), 2**31 - 1).map(np.int32) | st.floats(width=32).map(np.float32) | st.floats().map(np.float64)
    | st.booleans().map(np.bool_) | st.text(max_size=5).map(np.str_) | st.binary(max_size=5).map(np.bytes_)
)  # fmt: skip
keys = st.integers() | st.text(max_size=5) | st.booleans() | st.tuples(st.integers(), st.text(max_size=3)) | st.none()
values = st.recursive(
    leaves | arrays(),
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=18)
    ),
    max_leaves=30,
)


@settings(max_examples=300, deadline=None)
@given(values)
def test_values_come_back_with_type_and_value(value: Any) -> None:
    assert same(decode(encode(value)), value)
    assert same(decode_own(encode(value)), value)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary()
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=40), inner, max_size=18),
    max_leaves=30,
)


@settings(max_examples=300, deadline=None)
@given(plain)
def test_the_fast_codec_writes_the_same_bytes(value: Any) -> None:
    assert encode_plain(value) == encode(value)


@pytest.mark.parametrize(
    "value",
    [
        *(sign * (1 << bits) + delta for bits in (5, 7, 8, 15, 16, 31, 32, 63, 64, 200) for delta in (-1, 0, 1)
          for sign in (1, -1)),
        math.nan, -math.nan, math.inf, -math.inf, -0.0, 5e-324,
        struct.unpack("d", struct.pack("Q", 0x7FF8_0000_DEAD_BEEF))[0],
        "\ud800 lone surrogate", "é" * 300, "x" * 70_000, b"y" * 70_000, b"",
        (), ((),), [()], {(): {}}, {(1, (2, "x")): [1]}, {0: "a", 1: "b"}, {None: 1, True: 2, 2.5: 3},
        list(range(70_000)), {i: i for i in range(70_000)}, tuple(range(300)),
        np.array(3.5), np.array([]), np.zeros((0, 5)), np.zeros((2, 0), "U3"), np.arange(12).reshape(3, 4)[:, ::2],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(20_000, dtype=">u2").reshape(100, 200).T,
        np.longdouble("0.1"), np.datetime64("2024-05-01T10", "h"), np.timedelta64(3, "D"), np.datetime64("NaT"),
        np.str_("ends in zero\0"), np.bytes_(b"too\0"), np.str_(""), np.bytes_(b""), np.float16(np.nan), np.int8(-1),
        [{"rewards": {0: np.float32(1), 1: np.float64("nan")}, "mask": np.array([True, False])}],
    ],
    ids=lambda value: f"{type(value).__name__} {value!r:.25}",
)  # fmt: skip
def test_awkward_values_come_back(value: Any) -> None:
    assert same(decode(encode(value)), value)
    assert same(decode_own(encode(value)), value)


def test_arrays_that_arrive_may_be_written_to() -> None:
    for array in (np.zeros(3), np.zeros((0, 3)), np.zeros((100, 100, 3), np.uint8)):
        arrived = decode(encode(array))
        arrived[...] = 1
        assert arrived.flags.c_contiguous


class Number(enum.IntEnum):
    ONE = 1


class Opaque:
    """Stands for anything that an environment might put into infos."""


def _callback() -> None:
    """Stands for what a wrapper leaves in infos."""


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([{"callback": 1}, {"callback": _callback}], "infos[1]['callback']: function cannot be sent"),
        ({"a": [(1, 2), (3, Opaque())]}, "infos['a'][1][1]: Opaque cannot be sent"),
        ({"s": {1, 2}}, "infos['s']: set cannot be sent"),
        ([Number.ONE], "infos[0]: Number cannot be sent"),
        ({frozenset(): 1}, "key frozenset() of infos: frozenset cannot be sent"),
        ([np.array([None, 1])], "infos[0]: array of dtype object cannot be sent"),
        ([np.zeros(2, [("x", "f8")])], "infos[0]: array of dtype [('x', '<f8')] cannot be sent"),
        ([np.zeros(2, [("x", "f8")])[0]], "infos[0]: void cannot be sent"),
        ([bytearray(3)], "infos[0]: bytearray cannot be sent"),
        (_callback, "infos: function cannot be sent"),
    ],
)
def test_what_cannot_be_sent_is_named_by_its_path(value: Any, message: str) -> None:
    with pytest.raises(CannotSendError) as caught:
        encode(value, "infos")
    assert str(caught.value) == message


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {1: v}, lambda v: [{2: (v,)}]])
def test_depth_is_bounded_both_ways(wrap: Any) -> None:
    value: Any = 0
    for _ in range(33):  # at most 99 deep
        value = wrap(value)
        assert same(decode(encode(value)), value)
    for _ in range(70):
        value = wrap(value)
    with pytest.raises(CannotSendError, match="deeper than 100"):
        encode(value)
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(CannotSendError, match="deeper"):
        encode(loop)


SAMPLE = [
    7, "result", [[b"\x01" * 8, [0.5, None], {"x": (1, -200, 1 << 70, "é" * 40)}, {0: np.arange(6.0).reshape(2, 3)}]],
    [np.float32(2), np.str_("name"), np.array(["ab", "c"]), True, 70_000, b"z" * 300], list(range(20)), {(1, 2): None},
]  # fmt: skip


def refuse(data: bytes) -> bool:
    """Decode ``data``; True if it was refused, in the one way that is allowed."""
    try:
        decode_own(data)  # may take a little more, but raises nothing else either
    except MalformedValueError:
        pass
    try:
        decode(data)
    except MalformedValueError as error:
        return error.reason == "malformed-value"
    return False


def test_every_prefix_is_refused() -> None:
    data = encode(SAMPLE)
    assert same(decode(data), SAMPLE)
    assert all(refuse(data[:end]) for end in range(len(data)))
    assert refuse(data + b"\0")


def test_random_bytes_raise_only_the_defined_error() -> None:
    rng = random.Random(1)
    refused = sum(refuse(rng.randbytes(rng.randrange(1, 80))) for _ in range(10_000))
    assert refused > 5_000


def test_damaged_bytes_raise_only_the_defined_error() -> None:
    rng = random.Random(2)
    original = encode(SAMPLE)
    refused = 0
    for _ in range(10_000):
        data = bytearray(original)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        refused += refuse(bytes(data))
    assert refused > 500


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",  # a list of four billion
        b"\xdf\x7f\xff\xff\xff\x00",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 5000 + b"\x00",  # lists in lists
        b"\xc9\x00\x00\x10\x00\x01" * 900 + b"\x90",  # tuples around tuples without a list
        b"\xc7\x02\x01\x92\x00",  # a tuple longer than its frame
        b"\x82\x01\x00\x01\x00",  # a key twice
        b"\x81\x90\x00",  # a list as a key
        b"\xc7\x00\x02",  # an integer of no bytes
        b"\xc7\x01\x09\x00",  # an unknown extension
        b"\xa2\xff\xfe",  # not UTF-8
    ],
)
def test_hostile_bytes_are_refused(data: bytes) -> None:
    assert refuse(data)


@pytest.mark.parametrize(
    ("dtype", "shape", "raw"),
    [
        (b"|O8", (1,), b"\0" * 8),
        (b"|V8", (1,), b"\0" * 8),
        (b"<f8", (1 << 61, 1 << 3), b""),
        (b"<f8", (2,), b"\0" * 8),
        (b"<f3", (1,), b"\0" * 3),
        (b"|b1", (2,), b"\x01\x02"),
        (b"<U1", (1,), b"\xff\xff\xff\x7f"),
        (b"<U0", (2,), b""),
        (b"<f8,<f8", (1,), b"\0" * 16),
        (b"<M8[lightyears]", (1,), b"\0" * 8),
        (b"<f8", (0, 1 << 63, 1 << 63), b""),
    ],
)
def test_hostile_arrays_are_refused(dtype: bytes, shape: tuple[int, ...], raw: bytes) -> None:
    body = bytes((len(dtype),)) + dtype + struct.pack(f">B{len(shape)}Q", len(shape), *shape) + raw
    assert refuse(b"\xc8" + struct.pack(">H", len(body)) + b"\x04" + body)


def test_numpy_is_not_imported_for_plain_values() -> None:
    script = (
        "import sys; from p2pclient.envhost.values import decode, encode\n"
        "assert decode(encode([1, 'a', {2: (3.5, None)}, b'x', 1 << 80])) and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_an_interpreter_without_msgspec_talks_to_one_with_it() -> None:
    script = (
        "import sys; sys.modules['msgspec'] = None\n"
        "from p2pclient.envhost import values, values_fast\n"
        "assert values_fast.decode_own is values.decode\n"
        "sys.stdout.buffer.write(values_fast.encode_plain(values_fast.decode_own(sys.stdin.buffer.read())))"
    )
    value = [7, "batch", [["step", 1, [b"\x01", None], False], ["save", 2], ["x", {"a": [2.5, -70_000, True]}]]]
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, input=encode_plain(value), capture_output=True
    )
    assert same(decode_own(told.stdout), value)
