"""Conversations between two endpoints: what is lost, doubled, late or malicious."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import MAX_DATAGRAM_BYTES, NULL_FRAME
from p2pclient.protocol.control import Checksums, Envelope, EpisodeReady, Leave, encode_control
from p2pclient.protocol.datagram import Datagram, decode_datagram, encode_datagram
from p2pclient.protocol.endpoint import (
    KEEP_ALIVE,
    LOST_AFTER,
    MAX_AHEAD,
    MAX_OPEN_CONTROL,
    MAX_UNACKNOWLEDGED,
    NOTICE_AFTER,
    ChainReceived,
    ControlReceived,
    Endpoint,
    EndpointConfig,
    Event,
    InputReceived,
    SilenceChanged,
)

CONNECTION = 0x1234
CHAIN = b"chain123"


def is_small(seat: int, value: bytes) -> bool:
    """Valid inputs of the tests: every byte below 128."""
    return all(byte < 128 for byte in value)


def make_endpoint(
    *, local_width: int = 2, remote_widths: tuple[int, ...] = (2,), is_valid: Callable[[int, bytes], bool] = is_small
) -> Endpoint:
    return Endpoint(EndpointConfig(CONNECTION, local_width, remote_widths, is_valid), now=0.0)


def make_pair() -> tuple[Endpoint, Endpoint]:
    return make_endpoint(), make_endpoint()


def value(number: int) -> bytes:
    return bytes((0, number % 128))


def transfer(sender: Endpoint, receiver: Endpoint, *, now: float, sent: float | None = None) -> list[bytes]:
    """Bring what ``sender`` has to say to ``receiver``."""
    data = sender.datagrams_to_send(now=now if sent is None else sent)
    for datagram in data:
        receiver.receive_datagram(datagram, now=now)
    return data


def transfer_control(sender: Endpoint, receiver: Endpoint, *, now: float = 0.0) -> list[bytes]:
    data = sender.control_to_send()
    for message in data:
        receiver.receive_control(message, now=now)
    return data


def inputs_of(events: Iterable[Event]) -> list[InputReceived]:
    return [event for event in events if isinstance(event, InputReceived)]


def raw(**changes: object) -> bytes:
    """A datagram as a stranger would make it."""
    fields: dict[str, object] = {
        "connection": CONNECTION,
        "episode": 0,
        "sent": 0,
        "echo": None,
        "held": 0,
        "lead": None,
        "next_expected": 0,
        "chain": None,
        "first_frame": 0,
        "inputs": (),
    }
    return encode_datagram(Datagram(**{**fields, **changes}))  # type: ignore[arg-type]


def raw_control(message: object, number: int, acknowledged: int = 0) -> bytes:
    return encode_control(Envelope(1, number, acknowledged, message))  # type: ignore[arg-type]


# -- inputs ------------------------------------------------------------------------------------------------------


def test_inputs_arrive_in_order_with_their_frames() -> None:
    one, other = make_pair()
    for frame in range(20):
        one.queue_input(frame, value(frame))
        transfer(one, other, now=frame / 60)
        assert inputs_of(other.take_events()) == [InputReceived(frame, (value(frame),))]
        assert other.newest_heard == frame
        transfer(other, one, now=frame / 60)
    assert not one.drops
    assert not other.drops


def test_lost_input_is_carried_by_the_next_datagram() -> None:
    one, other = make_pair()
    for frame in range(5):
        one.queue_input(frame, value(frame))
        one.datagrams_to_send(now=frame / 60)  # lost
    one.queue_input(5, value(5))
    transfer(one, other, now=0.1)
    assert [e.frame for e in inputs_of(other.take_events())] == [0, 1, 2, 3, 4, 5]


def test_what_is_acknowledged_is_not_sent_again() -> None:
    one, other = make_pair()
    for frame in range(6):
        one.queue_input(frame, value(frame))
    (first,) = transfer(one, other, now=0.0)
    transfer(other, one, now=0.0)
    (second,) = transfer(one, other, now=0.1)
    assert len(decode_datagram(first, width=2).inputs) == 6
    back = decode_datagram(second, width=2)
    assert (back.first_frame, back.inputs) == (6, ())


def test_doubled_and_reordered_datagrams_change_nothing() -> None:
    noise = random.Random(5)
    one, other = make_pair()
    sent: list[bytes] = []
    for frame in range(60):
        one.queue_input(frame, value(frame))
        one.set_chain(frame, CHAIN)
        sent += one.datagrams_to_send(now=frame / 60)
    shuffled = sent * 2
    noise.shuffle(shuffled)
    taken = []
    for datagram in shuffled:
        before = other.newest_heard
        other.receive_datagram(datagram, now=2.0)
        assert other.newest_heard >= before
        taken += other.take_events()
    assert [e.frame for e in inputs_of(taken)] == list(range(60))
    assert [e.values for e in inputs_of(taken)] == [(value(frame),) for frame in range(60)]
    chains = [e.frame for e in taken if isinstance(e, ChainReceived)]
    assert chains == sorted(set(chains))
    assert chains[-1] == 59


def test_an_older_acknowledgement_takes_nothing_back() -> None:
    one, _ = make_pair()
    for frame in range(10):
        one.queue_input(frame, value(frame))
    one.receive_datagram(raw(next_expected=7), now=0.0)
    one.receive_datagram(raw(next_expected=4), now=0.0)
    (data,) = one.datagrams_to_send(now=0.0)
    back = decode_datagram(data, width=2)
    assert (back.first_frame, back.inputs) == (7, (value(7), value(8), value(9)))


def test_inputs_of_several_seats_are_split_in_their_order() -> None:
    one = make_endpoint(local_width=6)
    other = make_endpoint(remote_widths=(1, 3, 2))
    one.queue_input(0, b"\x01\x02\x03\x04\x05\x06")
    transfer(one, other, now=0.0)
    assert inputs_of(other.take_events()) == [InputReceived(0, (b"\x01", b"\x02\x03\x04", b"\x05\x06"))]


def test_only_what_the_environment_takes_is_handed_on() -> None:
    asked: list[tuple[int, bytes]] = []

    def is_valid(seat: int, joined: bytes) -> bool:
        asked.append((seat, joined))
        return joined != b"\x07"

    other = make_endpoint(remote_widths=(1, 1), is_valid=is_valid)
    other.receive_datagram(raw(inputs=(b"\x01\x02", b"\x03\x07", b"\x04\x05")), now=0.0)
    assert other.take_events() == []  # all or nothing: no frame of a bad datagram is taken
    assert other.newest_heard == NULL_FRAME
    assert other.drops == {"bad-input": 1}
    assert asked == [(0, b"\x01"), (1, b"\x02"), (0, b"\x03"), (1, b"\x07")]
    other.receive_datagram(raw(inputs=(b"\x01\x02", b"\x03\x04")), now=0.0)
    assert [e.values for e in inputs_of(other.take_events())] == [(b"\x01", b"\x02"), (b"\x03", b"\x04")]


def test_more_frames_than_fit_arrive_over_several_datagrams() -> None:
    noise = random.Random(6)
    frames = [bytes(noise.randrange(128) for _ in range(60)) for _ in range(100)]
    one = make_endpoint(local_width=60)
    other = make_endpoint(local_width=60, remote_widths=(60,))
    for frame, joined in enumerate(frames):
        one.queue_input(frame, joined)
    taken: list[InputReceived] = []
    for number in range(30):
        (data,) = transfer(one, other, now=number / 60)
        assert len(data) <= MAX_DATAGRAM_BYTES
        transfer(other, one, now=number / 60)
        taken += inputs_of(other.take_events())
    assert [e.values[0] for e in taken] == frames


def test_local_inputs_are_queued_in_order_and_of_the_agreed_width() -> None:
    one, _ = make_pair()
    one.queue_input(0, value(0))
    for frame, joined in ((0, value(1)), (2, value(1)), (1, b"\x00"), (1, b"\x00\x01\x02")):
        with pytest.raises(LocalMisuseError):
            one.queue_input(frame, joined)
    one.queue_input(1, value(1))


def test_steady_play_takes_one_datagram_a_frame_of_at_most_32_bytes() -> None:
    """60 Hz, 50 ms one way, so that about six frames are unacknowledged; a flag and four bytes, held."""
    one, other = (make_endpoint(local_width=5, remote_widths=(5,)) for _ in range(2))
    under_way: list[tuple[float, Endpoint, bytes]] = []
    sizes: list[int] = []
    held = b"\x00\x01\x02\x03\x04"
    for frame in range(600):
        now = frame / 60
        for when, receiver, data in [u for u in under_way if u[0] <= now]:
            receiver.receive_datagram(data, now=when)
        under_way = [u for u in under_way if u[0] > now]
        for sender, receiver in ((one, other), (other, one)):
            sender.limit = frame + MAX_AHEAD
            sender.queue_input(frame, held)
            sender.set_chain(frame, CHAIN)
            data = sender.datagrams_to_send(now=now)
            data += sender.datagrams_to_send(now=now, idle=True) + sender.control_to_send()
            assert len(data) == 1
            under_way.append((now + 0.045, receiver, data[0]))
            sizes.append(len(data[0]))
    unacknowledged = len(decode_datagram(under_way[-1][2], width=5).inputs)
    assert unacknowledged == 6
    assert max(sizes[100:]) <= 32


def test_chain_value_is_repeated_until_a_newer_one_and_told_once() -> None:
    one, other = make_pair()
    one.set_chain(3, CHAIN)
    other_events = []
    for _ in range(3):
        transfer(one, other, now=0.0)
        other_events += other.take_events()
    one.set_chain(4, CHAIN[::-1])
    transfer(one, other, now=0.0)
    other_events += other.take_events()
    assert other_events == [ChainReceived(3, CHAIN), ChainReceived(4, CHAIN[::-1])]


# -- episodes ----------------------------------------------------------------------------------------------------


def test_a_new_episode_starts_from_nothing() -> None:
    one, other = make_pair()
    for frame in range(5):
        one.queue_input(frame, value(frame))
    one.set_chain(4, CHAIN)
    one.lead = 3.0
    transfer(one, other, now=0.0)
    for side in (one, other):
        side.begin_episode(1)
    assert (other.newest_heard, other.peer_lead, one.lead) == (NULL_FRAME, None, None)
    one.queue_input(0, value(50))
    (data,) = transfer(one, other, now=0.1)
    back = decode_datagram(data, width=2)
    assert (back.episode, back.first_frame, back.inputs, back.chain, back.lead) == (1, 0, (value(50),), None, None)
    assert inputs_of(other.take_events()) == [InputReceived(0, (value(50),))]


def test_events_of_the_episode_before_are_forgotten_but_messages_are_not() -> None:
    one, other = make_pair()
    one.queue_input(0, value(1))
    one.set_chain(0, CHAIN)
    one.queue_control(Leave("left"))
    transfer(one, other, now=0.0)
    transfer_control(one, other)
    other.begin_episode(1)
    assert other.take_events() == [ControlReceived(Leave("left"))]


@pytest.mark.parametrize(("ours", "theirs"), [(1, 0), (0, 1), (256, 255), (255, 256)])
def test_datagrams_of_another_episode_are_dropped_but_show_that_the_peer_lives(ours: int, theirs: int) -> None:
    one, other = make_pair()
    one.begin_episode(theirs)
    other.begin_episode(ours)
    one.queue_input(0, value(1))
    one.set_chain(0, CHAIN)
    transfer(one, other, now=2.0)
    assert other.take_events() == []
    assert other.drops == {"other-episode": 1}
    assert other.silent_for(now=2.0) == 0.0
    other.begin_episode(theirs)
    transfer(one, other, now=2.1)
    assert inputs_of(other.take_events()) == [InputReceived(0, (value(1),))]


# -- timing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0.0, 16.0, 12345.678])
def test_round_trip_time_leaves_out_how_long_the_stamp_was_held(start: float) -> None:
    one, other = make_pair()
    transfer(one, other, now=start + 0.03, sent=start)
    transfer(other, one, now=start + 0.15, sent=start + 0.10)
    assert one.rtt == pytest.approx(0.08, abs=0.001)
    assert other.rtt is None


def test_a_stamp_held_too_long_to_be_told_gives_no_time() -> None:
    one, other = make_pair()
    transfer(one, other, now=0.03, sent=0.0)
    transfer(other, one, now=20.0)
    assert one.rtt is None


def test_an_echo_from_the_future_gives_no_time() -> None:
    one, _ = make_pair()
    one.receive_datagram(raw(echo=100, held=500), now=0.05)
    assert one.rtt is None


def test_lead_and_echo_come_from_the_newest_datagram_not_from_a_late_one() -> None:
    one, other = make_pair()
    one.lead = 1.0
    (early,) = one.datagrams_to_send(now=1.0)
    one.lead = 2.5
    (late,) = one.datagrams_to_send(now=1.1)
    other.receive_datagram(late, now=1.2)
    other.receive_datagram(early, now=1.2)
    assert other.peer_lead == 2.5
    (answer,) = other.datagrams_to_send(now=1.2)
    assert decode_datagram(answer, width=2).echo == int(1.1 / 0.00025)


def test_after_a_long_silence_any_stamp_is_newer() -> None:
    one, other = make_pair()
    one.lead = 1.0
    transfer(one, other, now=1.0)
    one.lead = 2.0
    transfer(one, other, now=11.0)  # half of the stamp's range further: it looks older
    assert other.peer_lead == 2.0


def test_an_unknown_lead_stays_unknown() -> None:
    one, other = make_pair()
    transfer(one, other, now=0.0)
    assert other.peer_lead is None


# -- silence -----------------------------------------------------------------------------------------------------


def test_silence_is_told_once_per_level_and_resumed() -> None:
    one, other = make_pair()
    levels = []
    for tick in range(40):
        other.handle_timer(now=tick / 10)
        levels += [(tick, e.level) for e in other.take_events() if isinstance(e, SilenceChanged)]
    assert levels == [(int(NOTICE_AFTER * 10), "notice"), (int(LOST_AFTER * 10), "lost")]
    assert other.silence == "lost"
    assert other.silent_for(now=4.0) == 4.0
    transfer(one, other, now=4.0)
    other.handle_timer(now=4.1)
    assert other.take_events() == [SilenceChanged("heard")]


def test_a_control_message_breaks_the_silence() -> None:
    one, other = make_pair()
    other.handle_timer(now=1.0)
    one.queue_control(Leave("left"))
    transfer_control(one, other, now=1.1)
    assert SilenceChanged("heard") in other.take_events()


def test_garbage_does_not_break_the_silence() -> None:
    _, other = make_pair()
    other.handle_timer(now=1.0)
    other.take_events()
    other.receive_datagram(b"garbage", now=1.1)
    other.receive_datagram(raw(connection=1), now=1.1)
    other.receive_control(b"garbage", now=1.1)
    assert other.take_events() == []
    assert other.silent_for(now=2.0) == 2.0


def test_idle_datagrams_only_keep_alive() -> None:
    one, _ = make_pair()
    sent = [tick for tick in range(100) if one.datagrams_to_send(now=tick / 100, idle=True)]
    assert len(sent) == 5
    one.datagrams_to_send(now=1.0)
    assert one.datagrams_to_send(now=1.0 + KEEP_ALIVE / 2, idle=True) == []
    assert len(one.datagrams_to_send(now=1.001 + KEEP_ALIVE, idle=True)) == 1


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
        (b"\x20" + bytes(20), "unknown-version"),
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
