"""The ordered lane of an endpoint, and what both lanes do with a peer that does what it must not."""

from __future__ import annotations

import random

import pytest
from protocol_rig import CHAIN, inputs_of, is_small, make_pair, raw, raw_control, transfer_control, value

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.protocol.control import (
    MAX_CONTROL_BYTES,
    Checksums,
    EpisodeReady,
    Hello,
    Leave,
)
from p2pclient.protocol.datagram import decode_datagram
from p2pclient.protocol.endpoint import (
    MAX_AHEAD,
    MAX_OPEN_CONTROL,
    MAX_UNACKNOWLEDGED,
    ControlReceived,
    InputReceived,
)

# -- control -----------------------------------------------------------------------------------------------------


def test_control_messages_arrive_once_in_order_and_are_acknowledged() -> None:
    one, other = make_pair()
    for reason in ("a", "b", "c"):
        one.queue_control(Leave(reason))
    assert one.open_control == 3
    transfer_control(one, other)
    assert other.take_events() == [ControlReceived(Leave(r)) for r in ("a", "b", "c")]
    assert len(transfer_control(other, one)) == 1  # a bare acknowledgement
    assert one.open_control == 0
    assert one.take_events() == []
    assert transfer_control(one, other) == []  # which is not acknowledged again
    assert transfer_control(other, one) == []


def test_an_acknowledgement_rides_on_a_message() -> None:
    one, other = make_pair()
    one.queue_control(Leave("a"))
    transfer_control(one, other)
    other.queue_control(Leave("b"))
    assert len(transfer_control(other, one)) == 1
    assert one.open_control == 0
    assert one.take_events() == [ControlReceived(Leave("b"))]


def test_over_a_new_connection_what_is_open_is_sent_again_and_taken_once() -> None:
    one, other = make_pair()
    one.queue_control(Leave("a"))
    transfer_control(one, other)
    one.queue_control(Leave("b"))
    one.control_to_send()  # lost with the connection, as is the acknowledgement of the first
    other.control_to_send()
    one.resend_control()
    assert len(transfer_control(one, other)) == 2
    assert other.take_events() == [ControlReceived(Leave("a")), ControlReceived(Leave("b"))]
    transfer_control(other, one)
    assert one.open_control == 0
    one.resend_control()
    assert one.control_to_send() == []


def test_a_gap_a_repetition_or_a_wrong_acknowledgement_is_not_taken() -> None:
    _, other = make_pair()
    other.queue_control(Leave("x"))
    other.receive_control(raw_control(Leave("a"), 2), now=0.0)
    other.receive_control(raw_control(Leave("a"), 1, acknowledged=2), now=0.0)
    other.receive_control(raw_control(Leave("a"), 1, acknowledged=-1), now=0.0)
    assert other.drops == {"gap": 1, "bad-ack": 2}
    assert other.take_events() == []
    other.receive_control(raw_control(Leave("a"), 1, acknowledged=1), now=0.0)
    other.receive_control(raw_control(Leave("a"), 1), now=0.0)
    other.receive_control(raw_control(Leave("a"), 0), now=0.0)
    other.receive_control(raw_control(Leave("a"), -3), now=0.0)
    assert other.take_events() == [ControlReceived(Leave("a"))]
    assert other.open_control == 0


def test_a_message_too_long_to_be_read_is_refused_where_it_is_made() -> None:
    one, other = make_pair()
    with pytest.raises(LocalMisuseError, match="Hello"):
        one.queue_control(Hello({"x": "y" * MAX_CONTROL_BYTES}))
    assert one.open_control == 0
    one.queue_control(Leave("left"))
    transfer_control(one, other)
    assert other.take_events() == [ControlReceived(Leave("left"))]


def test_who_sends_on_without_waiting_for_an_answer_is_not_listened_to() -> None:
    _, other = make_pair()
    for number in range(1, 3 * MAX_OPEN_CONTROL):
        other.receive_control(raw_control(Leave("a"), number), now=0.0)
    assert len(other.take_events()) == MAX_OPEN_CONTROL
    assert other.drops == {"flood": 1, "gap": 2 * MAX_OPEN_CONTROL - 2}
    other.control_to_send()
    other.receive_control(raw_control(Leave("b"), MAX_OPEN_CONTROL + 1), now=0.0)
    assert other.take_events() == [ControlReceived(Leave("b"))]


def test_who_has_as_many_open_as_is_allowed_is_heard_to_the_end() -> None:
    one, other = make_pair()
    told = 0
    for round_ in range(4):
        while one.open_control < MAX_OPEN_CONTROL:
            one.queue_control(Leave(str(told)))
            told += 1
        transfer_control(one, other)
        if round_ % 2:
            other.control_to_send()  # the acknowledgement is lost with the connection
            one.resend_control()
            transfer_control(one, other)
        transfer_control(other, one)
        assert one.open_control == 0
    assert other.take_events() == [ControlReceived(Leave(str(n))) for n in range(4 * MAX_OPEN_CONTROL)]
    assert not other.drops


def test_a_number_without_a_message_is_only_an_acknowledgement() -> None:
    _, other = make_pair()
    other.queue_control(Leave("x"))
    other.receive_control(raw_control(None, 5, acknowledged=1), now=0.0)
    assert (other.open_control, other.take_events()) == (0, [])
    assert len(other.control_to_send()) == 1  # what was queued; it needs no answer itself
    assert other.control_to_send() == []


def test_open_control_messages_are_bounded() -> None:
    one, _ = make_pair()
    for _ in range(MAX_OPEN_CONTROL):
        one.queue_control(Leave("a"))
    with pytest.raises(LocalMisuseError):
        one.queue_control(Leave("a"))


# -- strangers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (raw(connection=0x1235, inputs=(value(1),)), "wrong-connection"),
        (raw(next_expected=3, inputs=(value(1),)), "bad-ack"),
        (raw(first_frame=1, next_expected=0, inputs=(value(1),)), "gap"),
        (raw(inputs=(b"\x00\xff",)), "bad-input"),
        (raw(inputs=(b"\x01",)), "bad-inputs"),
        (raw(inputs=(value(1),) * (MAX_AHEAD + 1)), "too-far"),
        (raw(chain=(MAX_AHEAD, CHAIN), inputs=(value(1),)), "too-far"),
        (raw(inputs=(value(1),))[:-1], "bad-inputs"),
        (raw(inputs=(value(1),))[:5], "truncated"),
        (b"", "truncated"),
        (b"\x10" + bytes(20), "unknown-version"),
        (bytes(2000), "oversized"),
    ],
)
def test_a_bad_datagram_is_counted_by_reason_and_changes_nothing(data: bytes, reason: str) -> None:
    one, _ = make_pair()
    one.queue_input(0, value(1))
    one.queue_input(1, value(1))
    one.receive_datagram(data, now=1.0)
    assert one.drops == {reason: 1}
    assert one.take_events() == []
    assert (one.newest_heard, one.peer_lead, one.silent_for(now=1.0)) == (NULL_FRAME, None, 1.0)
    assert len(decode_datagram(one.datagrams_to_send(now=1.0)[0], width=2).inputs) == 2


def test_frames_up_to_the_limit_are_taken() -> None:
    one, _ = make_pair()
    one.receive_datagram(raw(chain=(MAX_AHEAD - 1, CHAIN), inputs=(value(1),) * MAX_AHEAD), now=1.0)
    assert not one.drops
    assert one.newest_heard == MAX_AHEAD - 1


def test_who_never_acknowledges_is_not_listened_to_for_ever() -> None:
    one, _ = make_pair()
    one.limit = 10_000
    for frame in range(2 * MAX_UNACKNOWLEDGED):
        one.queue_input(frame, value(frame))
        one.receive_datagram(raw(first_frame=frame, next_expected=0, inputs=(value(1),)), now=0.0)
        assert frame >= MAX_UNACKNOWLEDGED or one.newest_heard == frame
    assert one.newest_heard == MAX_UNACKNOWLEDGED - 1
    assert one.drops["no-ack"] == 1
    # An acknowledgement on board opens the way again, at once.
    newest = one.newest_heard + 1
    one.receive_datagram(raw(first_frame=newest, next_expected=newest, inputs=(value(1),)), now=0.0)
    assert one.newest_heard == newest


def test_every_prefix_of_valid_messages_is_survived() -> None:
    one, other = make_pair()
    for frame in range(6):
        one.queue_input(frame, value(frame))
    one.set_chain(3, CHAIN)
    one.receive_datagram(raw(), now=0.0)
    (datagram,) = one.datagrams_to_send(now=0.0)
    for end in range(len(datagram)):
        other.receive_datagram(datagram[:end], now=0.0)
    assert sum(other.drops.values()) == len(datagram)
    for message in (Leave("left"), EpisodeReady(3, bytes(8)), Checksums(0, 0, [bytes(8)] * 3)):
        data = raw_control(message, 1)
        for end in range(len(data)):
            other.receive_control(data[:end], now=0.0)
    assert other.take_events() == []
    other.receive_datagram(datagram, now=0.0)
    assert len(inputs_of(other.take_events())) == 6


def test_random_bytes_are_survived_and_play_goes_on() -> None:
    noise = random.Random(7)
    one, other = make_pair()
    for side in (one, other):
        side.queue_input(0, value(1))
        side.queue_control(Leave("left"))
    valid = raw(next_expected=1, chain=(0, CHAIN), inputs=(value(1), value(2)))
    control = raw_control(Leave("a"), 1)
    for number in range(10_000):
        base = bytearray(noise.choice([valid, control]) if number % 2 else noise.randbytes(noise.randrange(40)))
        if base:
            base[noise.randrange(len(base))] = noise.randrange(256)
        if number % 4 < 2:
            other.receive_datagram(bytes(base), now=number / 1000)
        else:
            other.receive_control(bytes(base), now=number / 1000)
        for event in inputs_of(other.take_events()):
            assert all(is_small(0, joined) for joined in event.values)
    assert 8_000 < sum(other.drops.values()) < 10_000
    assert len(other.drops) <= 16
    frame = other.newest_heard + 1
    other.receive_datagram(raw(first_frame=frame, next_expected=1, inputs=(value(3),)), now=20.0)
    assert inputs_of(other.take_events()) == [InputReceived(frame, (value(3),))]


def test_memory_of_a_conversation_is_flat() -> None:
    noise = random.Random(8)
    one, other = make_pair()
    for frame in range(20_000):
        for sender, receiver in ((one, other), (other, one)):
            sender.queue_input(frame, value(frame))
            sender.limit = frame + MAX_AHEAD
            sender.set_chain(frame, CHAIN)
            (data,) = sender.datagrams_to_send(now=frame / 60)
            if noise.random() < 0.8 or frame % 50 == 49:
                receiver.receive_datagram(data, now=frame / 60)
            receiver.take_events()
        assert len(one._unacknowledged) <= 60
    assert one.newest_heard > 19_940
    assert not one.drops
