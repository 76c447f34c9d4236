"""What the sides of a desync tell each other: the first frame that differs, and states in pieces."""

from __future__ import annotations

import pytest

from p2pclient.common.errors import RemoteProtocolError
from p2pclient.match.evidence import FirstDifference, StateParts, first_difference, split_state
from p2pclient.protocol.control import MAX_PART_BYTES, MAX_STATE_PARTS, Checksums, StatePart

A, B, C = b"a" * 8, b"b" * 8, b"c" * 8


def said(first: int, *checksums: bytes) -> Checksums:
    return Checksums(0, first, list(checksums))


def test_equal_lists_have_no_difference_wherever_they_begin_and_end() -> None:
    assert first_difference({4: A, 5: B}, {1: said(3, C, A, B, C), 2: said(5, B)}) is None
    assert first_difference({}, {1: said(0)}) is None


def test_the_first_frame_that_differs_is_named_with_both_checksums() -> None:
    assert first_difference({4: A, 5: B, 6: A}, {1: said(4, A, C, C)}) == FirstDifference(5, 1, B, C)


def test_of_several_peers_the_one_that_differs_is_named() -> None:
    ours = {4: A, 5: B}
    assert first_difference(ours, {1: said(4, A, B), 2: said(4, A, C)}) == FirstDifference(5, 2, B, C)


def test_the_earliest_difference_counts_whoever_has_it() -> None:
    ours = {4: A, 5: A, 6: A}
    assert first_difference(ours, {1: said(4, A, A, B), 2: said(4, A, B, A)}) == FirstDifference(5, 2, A, B)


def test_others_that_differ_where_we_did_not_come_are_named_too() -> None:
    assert first_difference({4: A}, {1: said(4, A, B), 2: said(4, A, C)}) == FirstDifference(5, 2, b"", C)


@pytest.mark.parametrize("size", [1, MAX_PART_BYTES, MAX_PART_BYTES + 1, 3 * MAX_PART_BYTES - 1])
def test_a_state_in_pieces_comes_together_again(size: int) -> None:
    state = bytes(n % 251 for n in range(size))
    parts = split_state(2, 70, state)
    assert len(parts) == -(-size // MAX_PART_BYTES)
    together = StateParts()
    for part in parts:
        assert (part.episode, part.frame, part.count) == (2, 70, len(parts))
        assert not together.is_complete
        assert together.joined() == b""
        together.add(part)
    assert together.is_complete
    assert together.joined() == state


@pytest.mark.parametrize("state", [None, b"", bytes(MAX_PART_BYTES * MAX_STATE_PARTS + 1)], ids=["none", "0", "long"])
def test_no_state_and_one_beyond_all_bounds_are_told_as_one_empty_piece(state: bytes | None) -> None:
    assert split_state(2, 70, state) == [StatePart(2, 70, 0, 1, b"")]


def test_the_longest_state_is_split_into_as_many_pieces_as_are_allowed() -> None:
    parts = split_state(2, 70, bytes(MAX_PART_BYTES * MAX_STATE_PARTS))
    assert len(parts) == MAX_STATE_PARTS
    assert all(len(part.data) == MAX_PART_BYTES for part in parts)


@pytest.mark.parametrize(
    "part",
    [
        StatePart(0, 7, 0, 3, b"x"),
        StatePart(0, 7, 2, 3, b"x"),
        StatePart(0, 7, 1, 4, b"x"),
        StatePart(0, 7, 1, 2, b"x"),
        StatePart(0, 8, 1, 3, b"x"),
    ],
    ids=["again", "gap", "more", "fewer", "frame"],
)
def test_a_piece_that_is_not_the_next_one_is_refused(part: StatePart) -> None:
    together = StateParts()
    together.add(StatePart(0, 7, 0, 3, b"a"))
    with pytest.raises(RemoteProtocolError, match="bad-state-part"):
        together.add(part)
    for index in (1, 2):
        together.add(StatePart(0, 7, index, 3, b"b"))
    assert together.joined() == b"abb"


def test_after_the_last_piece_none_is_taken() -> None:
    together = StateParts()
    together.add(StatePart(0, 7, 0, 1, b"a"))
    with pytest.raises(RemoteProtocolError, match="1 of 2"):
        together.add(StatePart(0, 7, 1, 2, b"b"))
    assert together.joined() == b"a"
