"""Datagrams between two endpoints: inputs, chain, episodes, time and silence, whatever is lost, doubled or late."""

from __future__ import annotations

import random

import pytest
from protocol_rig import CHAIN, inputs_of, make_endpoint, make_pair, raw, transfer, transfer_control, value

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import MAX_DATAGRAM_BYTES, NULL_FRAME
from p2pclient.protocol.control import (
    Leave,
)
from p2pclient.protocol.datagram import decode_datagram
from p2pclient.protocol.endpoint import (
    KEEP_ALIVE,
    LOST_AFTER,
    MAX_AHEAD,
    NOTICE_AFTER,
    ChainReceived,
    ControlReceived,
    Endpoint,
    InputReceived,
    SilenceChanged,
)

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


def test_what_is_held_is_checked_once_and_what_was_refused_is_checked_again() -> None:
    asked: list[bytes] = []

    def is_valid(seat: int, joined: bytes) -> bool:
        asked.append(joined)
        return joined != b"\x07"

    other = make_endpoint(remote_widths=(1, 1), is_valid=is_valid)
    held = b"\x01\x02"
    other.receive_datagram(raw(inputs=(held,) * 5), now=0.0)
    other.receive_datagram(raw(inputs=(held,) * 9), now=0.0)
    assert asked == [b"\x01", b"\x02"]
    assert [e.values for e in inputs_of(other.take_events())] == [(b"\x01", b"\x02")] * 9
    for _ in range(2):
        other.receive_datagram(raw(first_frame=9, inputs=(b"\x01\x07",)), now=0.0)
    assert other.drops == {"bad-input": 2}
    assert asked[2:] == [b"\x01", b"\x07"] * 2
    other.begin_episode(1)
    other.receive_datagram(raw(episode=1, inputs=(b"\x02\x01",)), now=0.0)
    assert asked[6:] == [b"\x02", b"\x01"]


def test_a_conversation_that_begins_after_frame_0_waits_for_what_is_missing() -> None:
    one, other = make_pair()
    other.receive_datagram(raw(first_frame=2, inputs=(value(3),)), now=0.0)
    assert other.drops == {"gap": 1}
    for frame in range(3):
        one.queue_input(frame, value(frame + 1))
    transfer(one, other, now=0.1)
    assert [e.values for e in inputs_of(other.take_events())] == [(value(1),), (value(2),), (value(3),)]


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


def test_four_players_on_two_machines_take_at_most_44_bytes_a_frame() -> None:
    one, other = (make_endpoint(local_width=10, remote_widths=(5, 5)) for _ in range(2))
    sizes = []
    for frame in range(30_000):
        now = frame / 60
        for sender in (one, other):
            sender.limit = frame + MAX_AHEAD
            sender.queue_input(frame, b"\x00\x01\x02\x03\x04\x00\x09\x08\x07\x06")
            sender.set_chain(frame, CHAIN)
        if frame % 6:
            continue
        sizes += [len(transfer(one, other, now=now)[0]), len(transfer(other, one, now=now)[0])]
    assert len(sizes) == 10_000
    assert max(sizes[10:]) <= 44
    assert not one.drops


def test_sixty_frames_a_second_take_at_most_65_messages_a_second_and_2000_bytes() -> None:
    """Everything on board: inputs that change four times a second, acknowledgements, time, chain; a LAN."""
    noise = random.Random(11)
    one, other = (make_endpoint(local_width=5, remote_widths=(5,)) for _ in range(2))
    messages = size = 0
    joined = bytes(5)
    for frame in range(1200):
        if frame % 15 == 0:
            joined = b"\x00" + bytes(noise.randrange(128) for _ in range(4))
        for sender, receiver in ((one, other), (other, one)):
            sender.limit = frame + MAX_AHEAD
            sender.queue_input(frame, joined)
            sender.set_chain(frame, CHAIN)
            out = transfer(sender, receiver, now=frame / 60) + transfer_control(sender, receiver, now=frame / 60)
            messages += len(out)
            size += sum(map(len, out))
    assert messages / 2 / 20 <= 65
    assert size / 2 / 20 <= 2000


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


# -- beginning in the middle -----------------------------------------------------------------------------------------


def test_frames_may_begin_anywhere_in_both_directions() -> None:
    one, other = make_pair()
    for endpoint in (one, other):
        endpoint.begin_episode(5, first_frame=100)
        assert endpoint.newest_heard == 99
        assert endpoint.limit == 100 + MAX_AHEAD
    with pytest.raises(LocalMisuseError):
        one.queue_input(0, value(0))
    for frame in range(100, 110):
        one.queue_input(frame, value(frame))
        one.set_chain(frame, CHAIN)
    assert one.open_inputs == 10
    transfer(one, other, now=0.0)
    events = other.take_events()
    assert [event.frame for event in inputs_of(events)] == list(range(100, 110))
    assert [event for event in events if isinstance(event, ChainReceived)] == [ChainReceived(109, CHAIN)]
    transfer(other, one, now=0.0)
    assert one.open_inputs == 0
    assert not one.drops
    assert not other.drops


def test_what_begins_elsewhere_under_the_same_number_is_not_taken() -> None:
    one, other = make_pair()
    one.begin_episode(0, first_frame=100)
    one.queue_input(100, value(100))
    transfer(one, other, now=0.0)
    assert not inputs_of(other.take_events())
    assert other.drops == {"bad-ack": 1}
