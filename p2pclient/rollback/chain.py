"""The checksum chain: one value that covers every frame up to a point, compared with every peer's.

``chain[f] = blake2b-64(chain[f-1] | f | checksum[f])``. Two peers with an equal value at a frame agree on that frame
and on all before it, so one value on board each datagram verifies everything, whatever was lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import NULL_FRAME

CHAIN_BYTES = 8
MAX_KEPT = 4096
"""Frames whose values are kept for a peer that says nothing about them. Honest ones lag by a few windows."""


@dataclass(frozen=True, slots=True)
class ChainMismatch:
    """A peer's chain differs from ours: somewhere after ``after``, at or before ``frame``, states differ."""

    peer: int
    after: int
    """Newest frame on which both agreed, or ``NULL_FRAME``."""
    frame: int


class ChecksumChain:
    """The chain of one episode and what each peer said of it.

    Args:
        peers: their ids.
        first: checksum of snapshot 0, where the chain starts.
    """

    def __init__(self, peers: Iterable[int], *, first: bytes) -> None:
        self._values: dict[int, bytes] = {}
        self._checksums: dict[int, bytes] = {}
        self._newest = blake2b(first, digest_size=CHAIN_BYTES).digest()
        self.frame = NULL_FRAME
        """Newest frame in the chain."""
        self._agreed: dict[int, int] = dict.fromkeys(peers, NULL_FRAME)
        # Of what peers said before we were there: the oldest value, so that a peer that is always ahead is compared
        # all the same, and the newest.
        self._waiting: dict[int, list[tuple[int, bytes]]] = {peer: [] for peer in self._agreed}

    @property
    def value(self) -> bytes:
        """Value at :attr:`frame`; before any frame, the digest of the first checksum."""
        return self._newest

    @property
    def verified_frame(self) -> int:
        """Newest frame on which all peers agree; :attr:`frame` when there are none."""
        return min(self._agreed.values(), default=self.frame)

    def append(self, frame: int, checksum: bytes) -> list[ChainMismatch]:
        """Add the next settled frame's checksum; compare with what peers said of it before we were there."""
        if frame != self.frame + 1:
            raise LocalMisuseError(f"chain is at frame {self.frame}, not before {frame}")
        self.frame = frame
        self._newest = blake2b(self._newest + frame.to_bytes(4, "little") + checksum, digest_size=CHAIN_BYTES).digest()
        self._values[frame] = self._newest
        self._checksums[frame] = checksum
        found = []
        for peer, ahead in self._waiting.items():
            while ahead and ahead[0][0] <= frame:
                found.extend(self._compare(peer, *ahead.pop(0)))
        self._forget()
        return found

    def receive(self, peer: int, frame: int, value: bytes) -> list[ChainMismatch]:
        """Take a peer's value at ``frame``. Those up to what is agreed on are ignored."""
        if frame > self.frame:
            ahead = self._waiting[peer]
            if not ahead or frame > ahead[-1][0]:
                ahead[1:] = [(frame, value)]
            return []
        found = self._compare(peer, frame, value)
        self._forget()
        return found

    def _compare(self, peer: int, frame: int, value: bytes) -> list[ChainMismatch]:
        if frame <= self._agreed[peer] or frame not in self._values:
            return []
        if self._values[frame] == value:
            self._agreed[peer] = frame
            return []
        return [ChainMismatch(peer, self._agreed[peer], frame)]

    def checksums_since(self, frame: int) -> list[tuple[int, bytes]]:
        """Return ``(frame, checksum)`` of the kept frames after ``frame``, oldest first, for finding a difference."""
        return [(f, c) for f, c in self._checksums.items() if f > frame]

    def _forget(self) -> None:
        done = max(self.verified_frame, self.frame - MAX_KEPT + 1)
        for frame in [f for f in self._values if f < done]:
            del self._values[frame], self._checksums[frame]
