"""The checksum chain: what peers agree on, and where they part."""

from __future__ import annotations

from hashlib import blake2b

import pytest

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.rollback.chain import MAX_KEPT, ChainMismatch, ChecksumChain

FIRST = b"firstsum"


def checksum(frame: int) -> bytes:
    return frame.to_bytes(8, "little")


def make_chain(frames: int, *, peers: tuple[int, ...] = (1,), wrong_at: int | None = None) -> ChecksumChain:
    chain = ChecksumChain(peers, first=FIRST)
    for frame in range(frames):
        chain.append(frame, b"different"[:8] if frame == wrong_at else checksum(frame))
    return chain


def value_at(frame: int, *, wrong_at: int | None = None) -> bytes:
    return make_chain(frame + 1, wrong_at=wrong_at).value


def test_value_is_the_documented_hash() -> None:
    start = blake2b(FIRST, digest_size=8).digest()
    chain = ChecksumChain([1], first=FIRST)
    assert (chain.frame, chain.value) == (NULL_FRAME, start)
    assert chain.append(0, checksum(5)) == []
    assert chain.value == blake2b(start + bytes(4) + checksum(5), digest_size=8).digest()


def test_equal_values_verify_everything_before_them() -> None:
    chain = make_chain(10)
    assert chain.verified_frame == NULL_FRAME
    assert chain.receive(1, 7, value_at(7)) == []
    assert chain.verified_frame == 7
    for frame in (-1, 3, 7):  # not newer than what is agreed on
        assert chain.receive(1, frame, b"whatever") == []
    assert chain.verified_frame == 7


def test_one_different_frame_is_seen_in_every_later_value() -> None:
    chain = make_chain(20)
    assert chain.receive(1, 4, value_at(4, wrong_at=5)) == []
    for frame in range(5, 20):
        assert chain.receive(1, frame, value_at(frame, wrong_at=5)) == [ChainMismatch(1, 4, frame)]
    assert chain.verified_frame == 4


def test_a_value_for_a_frame_ahead_is_compared_when_we_are_there() -> None:
    chain = make_chain(3)
    assert chain.receive(1, 4, value_at(4)) == []
    assert chain.append(3, checksum(3)) == []
    assert chain.verified_frame == NULL_FRAME
    assert chain.append(4, checksum(4)) == []
    assert chain.verified_frame == 4


def test_a_wrong_value_ahead_is_found_when_we_are_there() -> None:
    chain = make_chain(3)
    chain.receive(1, 4, b"\xff" * 8)
    assert chain.append(3, checksum(3)) == []
    assert chain.append(4, checksum(4)) == [ChainMismatch(1, NULL_FRAME, 4)]


def test_a_peer_that_is_always_ahead_is_verified_all_the_same() -> None:
    chain = ChecksumChain([1], first=FIRST)
    values = [make_chain(frame + 1).value for frame in range(42)]
    for frame in range(40):
        chain.receive(1, frame + 2, values[frame + 2])
        assert chain.append(frame, checksum(frame)) == []
        assert chain.verified_frame >= frame - 3
    assert len(chain._waiting[1]) <= 2


def test_of_values_ahead_an_older_one_does_not_replace_a_newer() -> None:
    chain = ChecksumChain([1], first=FIRST)
    for frame in (4, 7, 6, 5, 7):
        chain.receive(1, frame, value_at(frame) if frame != 6 else b"\xff" * 8)
    for frame in range(8):
        assert chain.append(frame, checksum(frame)) == []
    assert chain.verified_frame == 7


def test_verified_means_by_every_peer() -> None:
    chain = make_chain(10, peers=(1, 2))
    chain.receive(1, 9, value_at(9))
    assert chain.verified_frame == NULL_FRAME
    chain.receive(2, 6, value_at(6))
    assert chain.verified_frame == 6
    assert chain.receive(2, 8, value_at(8, wrong_at=8)) == [ChainMismatch(2, 6, 8)]


def test_alone_everything_is_verified_and_nothing_is_kept() -> None:
    chain = make_chain(100, peers=())
    assert chain.verified_frame == 99
    assert chain.checksums_since(NULL_FRAME) == [(99, checksum(99))]


def test_checksums_since_are_those_after_a_frame_oldest_first() -> None:
    chain = make_chain(6)
    assert chain.checksums_since(3) == [(4, checksum(4)), (5, checksum(5))]
    assert [frame for frame, _ in chain.checksums_since(NULL_FRAME)] == list(range(6))
    chain.receive(1, 4, value_at(4))
    assert [frame for frame, _ in chain.checksums_since(NULL_FRAME)] == [4, 5]


@pytest.mark.parametrize("frame", [-1, 2, 4])
def test_frames_are_appended_in_order(frame: int) -> None:
    chain = make_chain(3)
    with pytest.raises(LocalMisuseError):
        chain.append(frame, checksum(frame % 256))


def test_a_peer_that_says_nothing_costs_bounded_memory_and_cannot_break_it() -> None:
    chain = ChecksumChain([1], first=FIRST)
    for frame in range(MAX_KEPT + 500):
        chain.append(frame, checksum(frame))
    assert len(chain.checksums_since(NULL_FRAME)) == MAX_KEPT
    assert chain.receive(1, 10, b"\xff" * 8) == []  # too old to be compared
    assert chain.verified_frame == NULL_FRAME
    assert chain.receive(1, chain.frame, chain.value) == []
    assert chain.verified_frame == chain.frame
    assert len(chain.checksums_since(NULL_FRAME)) == 1


def test_rewound_frames_are_appended_anew_and_verified() -> None:
    chain = make_chain(10, wrong_at=6)
    chain.receive(1, 4, value_at(4))
    assert chain.receive(1, 9, value_at(9)) == [ChainMismatch(1, 4, 9)]
    chain.rewind(4, {1: 9})
    assert (chain.frame, chain.value, chain.verified_frame) == (4, value_at(4), 4)
    for frame in range(5, 12):
        assert chain.append(frame, checksum(frame)) == []
    assert chain.value == value_at(11)
    assert chain.receive(1, 11, value_at(11)) == []
    assert chain.verified_frame == 11


def test_a_value_that_was_withdrawn_meanwhile_is_no_difference_when_it_arrives_late() -> None:
    chain = make_chain(10)
    chain.rewind(NULL_FRAME, {1: 9})
    for frame in range(12):
        chain.append(frame, checksum(frame))
    assert chain.receive(1, 9, value_at(9, wrong_at=6)) == []
    assert chain.verified_frame == NULL_FRAME
    assert chain.receive(1, 10, value_at(10, wrong_at=6)) == [ChainMismatch(1, NULL_FRAME, 10)]
    assert chain.receive(1, 9, value_at(9, wrong_at=6), in_order=True) == [ChainMismatch(1, NULL_FRAME, 9)]


def test_a_value_ahead_from_before_a_rewind_is_forgotten() -> None:
    chain = make_chain(5)
    chain.receive(1, 8, value_at(8, wrong_at=6))
    chain.rewind(NULL_FRAME, {})
    for frame in range(10):
        assert chain.append(frame, checksum(frame)) == []


def test_to_start_from_a_value_that_is_not_kept_is_refused() -> None:
    chain = make_chain(8)
    chain.receive(1, 6, value_at(6))
    with pytest.raises(LocalMisuseError):
        chain.rewind(5, {})
    with pytest.raises(LocalMisuseError):
        chain.rewind(8, {})


def test_a_peer_that_is_gone_holds_no_verification_back() -> None:
    chain = make_chain(10, peers=(1, 2))
    chain.receive(1, 9, value_at(9))
    chain.remove(2)
    assert chain.verified_frame == 9
    chain.remove(1)
    chain.append(10, checksum(10))
    assert chain.verified_frame == 10


def test_what_each_peer_agrees_on_is_told_by_itself() -> None:
    chain = make_chain(10, peers=(1, 2))
    chain.receive(1, 7, value_at(7))
    chain.receive(2, 4, value_at(4))
    assert [chain.agreed_with(peer) for peer in (1, 2)] == [7, 4]
    assert chain.verified_frame == 4
