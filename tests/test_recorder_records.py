"""Records through the log's payloads: every type and value kept, nothing impossible let in."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from recorder_runs import make_frame, make_timing, match_records

from p2pclient.common.errors import RecordingError
from p2pclient.envhost.values import encode
from p2pclient.recorder.encoding import decode_record, encode_record
from p2pclient.recorder.records import (
    EpisodeEnded,
    EpisodeStarted,
    EventRecorded,
    FrameRecorded,
    FramesVerified,
    FramesWithdrawn,
)
from p2pclient.recorder.verify import is_same

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 80), 1 << 80),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.floats(width=32).map(np.float32),
    st.integers(-100, 100).map(np.int16),
    st.booleans().map(np.bool_),
    st.lists(st.floats(), max_size=4).map(np.array),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=5), st.integers(-5, 5)), inner, max_size=3),
    ),
    max_leaves=8,
)
indices = st.integers(0, (1 << 32) - 1)
optional_bools = st.one_of(st.none(), st.booleans())
checksums = st.binary(min_size=8, max_size=8)


def by_seat(values: Any) -> Any:
    return st.tuples(values, values)


frames = st.builds(
    FrameRecorded,
    episode=indices,
    frame=indices,
    inputs=by_seat(st.binary(min_size=1, max_size=256)),
    actions=by_seat(values),
    rewards=by_seat(values),
    terminations=by_seat(optional_bools),
    truncations=by_seat(optional_bools),
    infos=by_seat(values),
    focus=by_seat(st.booleans()),
    checksum=checksums,
    observations=st.one_of(st.none(), by_seat(values)),
)
others = st.one_of(
    st.builds(EpisodeStarted, indices, st.integers(0, (1 << 64) - 1), checksums),
    st.builds(FramesVerified, indices, st.integers(-1, 1 << 31)),
    st.builds(EpisodeEnded, indices, st.integers(-1, 1 << 31), by_seat(st.floats()), st.text(max_size=10)),
    st.builds(FramesWithdrawn, indices, indices),
    st.builds(EventRecorded, st.text(max_size=9), indices, indices, st.dictionaries(st.text(max_size=5), values)),
)


def fields_of(record: Any) -> list[Any]:
    return [getattr(record, name) for name in type(record).__struct_fields__]


@settings(max_examples=300, deadline=None)
@given(st.one_of(frames, others))
def test_every_record_comes_back_with_its_types_and_values(record: Any) -> None:
    again = decode_record(encode_record(record))
    assert type(again) is type(record)
    assert is_same(fields_of(again), fields_of(record))


def test_timings_come_back() -> None:
    assert decode_record(encode_record(make_timing(1, 2))) == make_timing(1, 2)


def test_the_payload_of_a_frame_is_frozen() -> None:
    assert encode_record(make_frame(1, 2)).hex() == (
        "029b0102c70901"  # kind, eleven fields, episode 1, frame 2, a tuple
        "92c4020002c4020002"  # inputs
        "c70301920202"  # actions
        "c7130192cb3fc999999999999acb8000000000000000"  # rewards
        "c7030192c2c2c7030192c2c2c70301928080c7030192c3c3"  # terminations, truncations, infos, focus
        "c4080200000001000000c0"  # checksum, no observations
    )


def test_the_kinds_of_records_never_change() -> None:
    kinds = [encode_record(record)[0] for record in match_records(episodes=1, frames=1)]
    assert kinds == [1, 6, 2, 4, 3, 5]  # start, event, frame, timing, verified, end
    assert encode_record(FramesWithdrawn(0, 0))[0] == 7
    assert encode_record(replace(make_frame(0, 0), by=("substitute", None)))[0] == 8


@pytest.mark.parametrize("by", [("substitute", None), (None, "absent"), ("substitute", "absent")])
def test_a_frame_says_who_held_the_seats_in_the_players_place(by: tuple[str | None, ...]) -> None:
    held = replace(make_frame(3, 4), by=by)
    assert decode_record(encode_record(held)) == held
    with pytest.raises(RecordingError, match="impossible by"):
        encode_record(replace(held, by=("ghost", None)))


@pytest.mark.parametrize(
    "changes",
    [
        {"frame": -1},
        {"frame": 1.0},
        {"episode": True},
        {"checksum": b"short"},
        {"inputs": (b"",)},
        {"inputs": (b"x" * 257,)},
        {"terminations": True},
        {"focus": (None, True)},
        {"rewards": (1.0,) * 9},
        {"observations": 5},
        {"infos": [{}, {}]},
    ],
)
def test_an_impossible_field_is_refused_by_name(changes: dict[str, Any]) -> None:
    (name, value), good = next(iter(changes.items())), make_frame(0, 0)
    fields = [value if field == name else getattr(good, field) for field in FrameRecorded.__struct_fields__[:11]]
    with pytest.raises(RecordingError, match=f"impossible {name}"):
        decode_record(b"\x02" + encode(fields))


def test_what_could_not_be_read_back_is_refused_when_it_is_written() -> None:
    with pytest.raises(RecordingError, match="impossible checksum"):
        encode_record(replace(make_frame(0, 0), checksum=b"short"))


def test_ends_of_any_kind_of_bool_are_stored_as_bools() -> None:
    frame = make_frame(0, 0, terminations=(np.bool_(True), None), truncations=(0, np.bool_(False)))
    again = decode_record(encode_record(frame))
    assert isinstance(again, FrameRecorded)
    assert again.terminations == (True, None)
    assert [type(value) for value in again.truncations] == [bool, bool]


def test_what_cannot_be_stored_is_named() -> None:
    with pytest.raises(RecordingError, match=r"\[7\]\[1\]\['made'\]"):
        encode_record(make_frame(0, 0, infos=({}, {"made": object()})))


def test_random_bytes_raise_nothing_but_recording_errors() -> None:
    chance = random.Random(5)
    wholes = [encode_record(record) for record in match_records(episodes=1, frames=3)]
    refused = 0
    for number in range(20_000):
        data = bytearray(chance.choice(wholes))
        if number % 2:
            data = bytearray(chance.randbytes(chance.randint(0, 60)))
            data[:1] = bytes((chance.randint(0, 8),))
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            decode_record(bytes(data))
        except RecordingError:
            refused += 1
    assert refused > 10_000


def test_sameness_is_of_type_and_value() -> None:
    same = [(math.nan, math.nan), ({"a": [1, (2.0,)]}, {"a": [1, (2.0,)]}), ({1: 2, 3: 4}, {3: 4, 1: 2})]
    same += [(np.array([1.0, np.nan]), np.array([1.0, -np.nan])), (np.float32("nan"), np.float32("nan"))]
    different = [(1, 1.0), (True, 1), (0.0, -0.0), ((1,), [1]), ({1: 0}, {True: 0}), (np.int8(1), 1), ("1", b"1")]
    different += [
        (np.zeros(2), np.zeros((2, 1))),
        (np.zeros(2, "f4"), np.zeros(2)),
        (np.array([0.0]), np.array([-0.0])),
    ]
    assert all(is_same(a, b) for a, b in same)
    assert not any(is_same(a, b) or is_same(b, a) for a, b in different)
