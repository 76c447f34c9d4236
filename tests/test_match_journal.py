"""What is kept of an episode for a new host: every recorded frame, until it is withdrawn."""

from __future__ import annotations

from p2pclient.common.frames import NULL_FRAME
from p2pclient.match.journal import Journal


def checksum(number: int) -> bytes:
    return bytes([number]) * 8


def test_frames_are_given_back_as_they_were_recorded() -> None:
    journal = Journal([2, 3], first=checksum(9))
    assert journal.newest == NULL_FRAME
    assert journal.checksum(NULL_FRAME) == checksum(9)
    for frame in range(5):
        journal.append((bytes([1, frame]), bytes([0, frame, frame + 1])), checksum(frame))
    assert journal.newest == 4
    assert journal.payloads(3) == [bytes([3]), bytes([3, 4])]  # without the flags
    assert [journal.checksum(frame) for frame in range(5)] == [checksum(frame) for frame in range(5)]


def test_what_is_withdrawn_is_recorded_anew() -> None:
    journal = Journal([2], first=checksum(9))
    for frame in range(5):
        journal.append((bytes([0, frame]),), checksum(frame))
    journal.withdraw(1)
    assert journal.newest == 1
    journal.append((b"\x00\x42",), checksum(42))
    assert (journal.payloads(2), journal.checksum(2)) == ([b"\x42"], checksum(42))
    journal.withdraw(NULL_FRAME)
    assert journal.newest == NULL_FRAME
