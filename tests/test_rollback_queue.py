"""One seat's inputs by frame: what is accepted, what is assumed, what was assumed wrongly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.rollback.input_queue import InputQueue
from p2pclient.rollback.prediction import neutral, repeat_last

BLANK = b"\x00\x00"


def value(number: int) -> bytes:
    return b"\x00" + bytes([number % 256])


def make_queue(*, delay: int = 0, mode: str = "held") -> InputQueue:
    return InputQueue(neutral=BLANK, predict=repeat_last if mode == "held" else neutral(b"\x00"), delay=delay)


def test_first_frame_is_accepted_and_a_gap_is_not() -> None:
    queue = make_queue()
    assert queue.add(0, value(1)) == 0
    assert queue.add(3, value(2)) == NULL_FRAME
    assert queue.last_added == 0
    assert queue.add(1, value(3)) == 1
    assert queue.confirmed(1) == value(3)


def test_same_frame_is_not_accepted_twice() -> None:
    queue = make_queue()
    assert queue.add(0, value(1)) == 0
    assert queue.add(0, value(9)) == NULL_FRAME
    assert queue.confirmed(0) == value(1)


@pytest.mark.parametrize("delay", [0, 2])
def test_an_input_out_of_turn_leaves_a_new_queue_untouched(delay: int) -> None:
    queue = make_queue(delay=delay)
    assert queue.add(3, value(1)) == NULL_FRAME
    assert queue.last_added == delay - 1
    assert queue.add(0, value(2)) == delay
    assert queue.confirmed(delay) == value(2)


def test_frames_are_added_and_read_one_by_one() -> None:
    queue = make_queue()
    for frame in range(10):
        assert queue.last_added == frame - 1
        assert queue.add(frame, value(frame)) == frame
        assert queue.last_added == frame
        assert queue.input_for(frame) == (value(frame), False)
    assert queue.oldest_kept == 0


def test_delayed_inputs_count_later_and_the_first_frames_are_neutral() -> None:
    queue = make_queue(delay=2)
    for frame in range(10):
        assert queue.add(frame, value(frame + 1)) == frame + 2
        assert queue.last_added == frame + 2
        assert queue.input_for(frame) == (value(frame - 1) if frame >= 2 else BLANK, False)


def test_a_raised_delay_fills_exactly_the_frames_that_open() -> None:
    queue = make_queue()
    for frame in range(5):
        queue.add(frame, value(frame))
    assert queue.set_delay(2) == 2
    assert [queue.confirmed(frame) for frame in (4, 5, 6)] == [value(4)] * 3
    assert queue.last_added == 6
    assert queue.add(5, value(5)) == 7
    assert queue.left_out == 0


def test_a_lowered_delay_drops_exactly_as_many_samples_and_goes_on_without_a_gap() -> None:
    queue = make_queue(delay=3)
    for frame in range(5):
        queue.add(frame, value(frame))
    assert queue.set_delay(1) == -2
    accepted = []
    for frame in range(5, 12):
        assert queue.wants(frame) == (frame >= 7)
        if queue.add(frame, value(frame)) != NULL_FRAME:
            accepted.append(frame)
        queue.leave(frame)
    assert (accepted, queue.left_out) == ([7, 8, 9, 10, 11], 2)
    assert [queue.confirmed(frame) for frame in range(12)] == [BLANK] * 3 + [
        value(n) for n in (*range(5), *range(7, 11))
    ]


@pytest.mark.parametrize("is_read", [False, True])
def test_a_delay_that_goes_down_and_up_again_before_the_next_sample_changes_nothing(is_read: bool) -> None:
    queue = make_queue(delay=3)
    for frame in range(5):
        queue.add(frame, value(frame))
        queue.leave(frame)
    if is_read:
        queue.add(5, value(5))
    assert [queue.set_delay(1), queue.set_delay(2), queue.set_delay(3)] == [-2, 0, 0]
    assert queue.wants(5) is not is_read
    assert queue.add(5, value(5)) == (NULL_FRAME if is_read else 8)
    queue.leave(5)
    assert queue.add(6, value(6)) == 9
    assert queue.left_out == 0


def test_a_delay_raised_after_the_sample_of_the_frame_was_read_fills_behind_it() -> None:
    queue = make_queue()
    queue.add(0, value(7))
    assert queue.set_delay(1) == 1
    assert not queue.wants(0)
    queue.leave(0)
    assert queue.add(1, value(8)) == 2
    assert [queue.confirmed(frame) for frame in range(3)] == [value(7), value(7), value(8)]


def test_a_delay_set_before_the_first_sample_fills_with_the_neutral_input() -> None:
    queue = make_queue()
    assert queue.set_delay(2) == 2
    assert queue.add(0, value(5)) == 2
    assert [queue.confirmed(frame) for frame in range(3)] == [BLANK, BLANK, value(5)]


def test_going_on_without_a_sample_is_an_error_unless_it_was_left_out() -> None:
    queue = make_queue(delay=1)
    with pytest.raises(LocalMisuseError, match="frame 0 has no local input"):
        queue.leave(0)
    queue.set_delay(0)
    queue.leave(0)
    queue.leave(0)
    assert (queue.left_out, queue.next_read) == (1, 1)


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=40))
def test_whatever_the_delays_frames_are_contiguous_and_every_sample_counts_or_is_left_out(
    moves: list[tuple[int, bool]],
) -> None:
    queue = make_queue()
    fills = 0
    for frame, (delay, before_reading) in enumerate(moves):
        if before_reading:
            fills += max(0, queue.set_delay(delay))
        if queue.wants(frame):
            assert queue.add(frame, value(frame)) == frame + queue.delay
        if not before_reading:
            fills += max(0, queue.set_delay(delay))
        if queue.wants(frame):  # was to be left out before the delay was raised
            assert queue.add(frame, value(frame)) == frame + queue.delay
        queue.leave(frame)
        assert queue.last_added >= frame
    taken = len(moves) - queue.left_out
    assert queue.last_added + 1 == taken + fills


def test_a_missing_input_repeats_the_newest() -> None:
    queue = make_queue()
    queue.add(0, value(77))
    assert queue.input_for(1) == (value(77), True)
    assert queue.input_for(5) == (value(77), True)


def test_a_missing_input_is_neutral_where_a_press_acts_once_and_keeps_the_flags() -> None:
    queue = make_queue(mode="press")
    queue.add(0, b"\x01\x4d")
    assert queue.input_for(1) == (b"\x01\x00", True)


@pytest.mark.parametrize("mode", ["held", "press"])
def test_before_any_input_the_neutral_one_is_assumed(mode: str) -> None:
    assert make_queue(mode=mode).input_for(0) == (BLANK, True)


def test_a_right_assumption_is_no_mistake() -> None:
    queue = make_queue()
    queue.add(0, value(77))
    queue.input_for(1)
    assert queue.add(1, value(77)) == 1
    assert queue.first_incorrect == NULL_FRAME
    assert queue.input_for(1) == (value(77), False)


def test_the_first_wrong_assumption_is_remembered_until_reset() -> None:
    queue = make_queue()
    queue.add(0, value(5))
    for frame in (1, 2, 3):
        queue.input_for(frame)
    queue.add(1, value(5))
    assert queue.first_incorrect == NULL_FRAME
    queue.add(2, value(99))
    queue.add(3, value(98))
    assert queue.first_incorrect == 2
    queue.reset_prediction()
    assert queue.first_incorrect == NULL_FRAME


def test_a_mistake_after_a_reset_is_found_again() -> None:
    queue = make_queue()
    queue.add(0, value(5))
    queue.input_for(1)
    queue.add(1, value(6))
    queue.reset_prediction()
    queue.input_for(2)
    queue.add(2, value(7))
    assert queue.first_incorrect == 2


def test_only_the_newest_assumption_of_a_frame_counts() -> None:
    queue = make_queue()
    queue.add(0, value(1))
    queue.input_for(2)
    queue.add(1, value(2))
    queue.input_for(2)  # simulated again, from the newer input
    queue.add(2, value(2))
    assert queue.first_incorrect == NULL_FRAME


def test_an_input_that_nobody_assumed_is_no_mistake() -> None:
    queue = make_queue()
    queue.add(0, value(1))
    queue.add(1, value(2))
    assert queue.first_incorrect == NULL_FRAME


def test_confirmed_is_never_a_guess() -> None:
    queue = make_queue()
    for frame in range(4):
        queue.add(frame, value(10 * frame))
    assert queue.confirmed(3) == value(30)
    queue.input_for(4)
    with pytest.raises(LocalMisuseError, match="frame 4"):
        queue.confirmed(4)
    with pytest.raises(LocalMisuseError):
        queue.confirmed(-1)


def test_two_hundred_frames_with_discards_are_all_accepted() -> None:
    queue = make_queue()
    for frame in range(200):
        assert queue.add(frame, value(frame)) == frame
        if frame % 64 == 63:
            queue.discard_before(frame)
            assert queue.oldest_kept == frame
        assert queue.confirmed(frame) == value(frame)


def test_what_was_discarded_is_an_error_not_a_wrong_value() -> None:
    queue = make_queue()
    for frame in range(10):
        queue.add(frame, value(frame))
    queue.discard_before(6)
    assert queue.confirmed(6) == value(6)
    assert queue.input_for(6) == (value(6), False)
    with pytest.raises(LocalMisuseError):
        queue.confirmed(5)
    with pytest.raises(LocalMisuseError, match="oldest kept is 6"):
        queue.input_for(5)


def test_discarding_keeps_the_newest_for_predictions_and_never_goes_back() -> None:
    queue = make_queue()
    queue.discard_before(5)
    assert queue.oldest_kept == 0
    for frame in range(3):
        queue.add(frame, value(frame))
    queue.discard_before(100)
    assert queue.oldest_kept == 2
    assert queue.input_for(3) == (value(2), True)
    queue.discard_before(-1)
    queue.discard_before(1)
    assert queue.oldest_kept == 2
    assert queue.add(3, value(3)) == 3


def test_memory_stays_flat_whatever_is_assumed() -> None:
    queue = make_queue()
    for frame in range(20_000):
        for ahead in range(frame, frame + 8):
            queue.input_for(ahead)
        queue.add(frame, value(frame // 7))
        queue.reset_prediction()
        queue.discard_before(frame - 8)
        assert len(queue._assumed) <= 8
        assert len(queue._values) <= 9


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=60))
def test_first_incorrect_is_the_earliest_difference_between_assumed_and_real(moves: list[tuple[int, int]]) -> None:
    """A plain model: every frame's last assumption is kept beside the real inputs."""
    queue = make_queue()
    real: list[bytes] = []
    assumed: dict[int, bytes] = {}
    for ahead, number in moves:
        for frame in range(len(real), len(real) + ahead):
            assumed[frame] = queue.input_for(frame)[0]
        queue.add(len(real), value(number))
        real.append(value(number))
        wrong = [frame for frame, guess in sorted(assumed.items()) if frame < len(real) and real[frame] != guess]
        assert queue.first_incorrect == (wrong[0] if wrong else NULL_FRAME)
