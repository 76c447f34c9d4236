"""What the sides of a desync tell each other: lists of checksums, and states in pieces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from p2pclient.common.errors import RemoteProtocolError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.protocol.control import MAX_PART_BYTES, MAX_STATE_PARTS, Checksums, StatePart


@dataclass(frozen=True, slots=True)
class FirstDifference:
    """The first frame at which not all sides have the same checksum."""

    frame: int
    peer: int
    """A peer that differs from us there, or from another peer if we did not come so far."""
    ours: bytes
    """Empty if we did not come so far."""
    theirs: bytes


def first_difference(ours: Mapping[int, bytes], theirs: Mapping[int, Checksums]) -> FirstDifference | None:
    """Compare our checksums by frame with the lists of all peers; None if they agree wherever they overlap.

    Every side that has all lists finds the same frame: who differs from nobody there did not come so far, or has the
    checksum of one of those who differ.
    """
    lists = {peer: dict(enumerate(said.checksums, said.first_frame)) for peer, said in theirs.items()}
    for frame in sorted({frame for each in (ours, *lists.values()) for frame in each}):
        there = {peer: each[frame] for peer, each in lists.items() if frame in each}
        own = ours.get(frame)
        reference = own if own is not None else next(iter(there.values()))
        for peer, checksum in there.items():
            if checksum != reference:
                return FirstDifference(frame, peer, own or b"", checksum)
    return None


def split_state(episode: int, frame: int, state: bytes | None) -> list[StatePart]:
    """Return the messages that carry a state; one empty message if there is none, or it is above 16 MB."""
    if not state or len(state) > MAX_PART_BYTES * MAX_STATE_PARTS:
        return [StatePart(episode, frame, 0, 1, b"")]
    pieces = [state[at : at + MAX_PART_BYTES] for at in range(0, len(state), MAX_PART_BYTES)]
    return [StatePart(episode, frame, index, len(pieces), piece) for index, piece in enumerate(pieces)]


@dataclass(slots=True)
class StateParts:
    """Puts one peer's state together. The control lane keeps their order."""

    pieces: list[bytes] = field(default_factory=list)
    count: int = 0
    frame: int = NULL_FRAME
    """The frame that the peer says it is of."""

    def add(self, part: StatePart) -> None:
        """Take the next piece.

        Raises:
            RemoteProtocolError: it is not the next one.
        """
        is_next = part.index == len(self.pieces) and part.index < part.count
        if not is_next or (self.count and (part.count, part.frame) != (self.count, self.frame)):
            raise RemoteProtocolError("bad-state-part", f"{part.index} of {part.count}, frame {part.frame}")
        self.count, self.frame = part.count, part.frame
        self.pieces.append(part.data)

    @property
    def is_complete(self) -> bool:
        """Has all of it arrived."""
        return self.count > 0 and len(self.pieces) == self.count

    def joined(self) -> bytes:
        """The whole state; empty if the peer has none to give, or if some of it is missing."""
        return b"".join(self.pieces) if self.is_complete else b""
