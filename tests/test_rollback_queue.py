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
def test_an_input_out_of_turn_leaves_an_empty_queue_untouched(delay: int) -> None:
    queue = make_queue(delay=delay)
    assert queue.add(3, value(1)) == NULL_FRAME
    assert queue.last_added == NULL_FRAME
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
