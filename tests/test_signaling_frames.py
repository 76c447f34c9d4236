"""What passes the gate in front of the Socket.IO library."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pclient.common.lobby_messages import MAX_EVENT_BYTES
from signaling.frames import CAPACITY, FLOOD, FrameGate, TokenBucket


def connected_gate() -> FrameGate:
    gate = FrameGate(now=0.0)
    assert gate.admit('40{"token":1}', now=0.0) == "40"
    return gate


def test_events_pass_with_whether_they_want_an_answer() -> None:
    gate = connected_gate()
    assert gate.admit('4217["join",{"a":[1,null]}]', now=0.0) == '4217["join",{"a":[1,null]},true]'
    assert gate.admit('42["leave"]', now=0.0) == '42["leave",null,false]'
    assert gate.admit("3", now=0.0) == "3"


@pytest.mark.parametrize(
    ("frame", "passed"),
    [
        ("", '42["!malformed",null,false]'),
        ("xyz", '42["!malformed",null,false]'),
        (b"\x00\x01", '42["!malformed",null,false]'),
        ("40", '42["!malformed",null,false]'),
        ("2", '42["!malformed",null,false]'),
        ("5", '42["!malformed",null,false]'),
        ("b1234", '42["!malformed",null,false]'),
        ("4" + "[" * 5000, '42["!malformed",null,false]'),
        ('42/admin,["join"]', '42["!malformed",null,false]'),
        ('451-["join",{"_placeholder":true,"num":0}]', '42["!malformed",null,false]'),
        ("439[]", '42["!malformed",null,false]'),
        ('4299["join"', '4299["!malformed",null,true]'),
        ("425[]", '425["!malformed",null,true]'),
        ("425[7]", '425["!malformed",null,true]'),
        ('425["join",1,2]', '425["!malformed",null,true]'),
        ('425["join",' + "[" * 5000, '425["!malformed",null,true]'),
        ('425["join",' + "[" * 30 + "]" * 30 + "]", '425["!malformed",null,true]'),
        ('425["disconnect","x"]', '425["!unknown-event",null,true]'),
        ('425["connect"]', '425["!unknown-event",null,true]'),
        ('425["!malformed"]', '425["!unknown-event",null,true]'),
        ('425["join","' + "x" * MAX_EVENT_BYTES + '"]', '425["!oversized",null,true]'),
    ],
)
def test_everything_else_becomes_a_refusal(frame: str | bytes, passed: str) -> None:
    assert connected_gate().admit(frame, now=0.0) == passed


@pytest.mark.parametrize("frame", ["1", "41", '42["join"]', "garbage", b"\x00"])
def test_before_the_connection_is_made_the_socket_is_closed(frame: str | bytes) -> None:
    assert FrameGate(now=0.0).admit(frame, now=0.0) is None


def test_goodbyes_close_the_socket() -> None:
    assert connected_gate().admit("1", now=0.0) is None
    assert connected_gate().admit("41", now=0.0) is None


@given(st.text() | st.binary() | st.text(alphabet='42013[]{}",:\\ue8"ab').map(lambda text: "42" + text))
def test_what_passes_is_what_the_library_reads_well(frame: str | bytes) -> None:
    passed = connected_gate().admit(frame, now=0.0)
    if passed is not None and passed != "3":
        assert passed.startswith("42")
        name, _, acknowledged = json.loads(passed.lstrip("0123456789"))
        assert isinstance(name, str)
        assert isinstance(acknowledged, bool)


def test_floods_are_refused_then_closed() -> None:
    gate = connected_gate()
    answers = [gate.admit('421["leave"]', now=i / 1000) for i in range(400)]
    assert answers[CAPACITY // 2] == '421["leave",null,true]'
    assert '421["!rate-limited",null,true]' in answers
    assert answers.index(None) > FLOOD


def test_short_bursts_are_forgiven() -> None:
    gate = connected_gate()
    for start in range(0, 100, 10):
        answers = [gate.admit('421["leave"]', now=float(start)) for _ in range(CAPACITY + 20)]
        assert None not in answers
        assert '421["!rate-limited",null,true]' in answers


def test_bucket_refills_with_time_and_not_beyond_its_size() -> None:
    bucket = TokenBucket(2, 1.0, now=0.0)
    assert [bucket.take(now=0.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(now=1.0), bucket.take(now=1.0)] == [True, False]
    assert [bucket.take(now=99.0) for _ in range(3)] == [True, True, False]
