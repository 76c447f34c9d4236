"""The checksum chain: one value that covers every frame up to a point, compared with every peer's.

``chain[f] = blake2b-64(chain[f-1] | f | checksum[f])``. Two peers with an equal value at a frame agree on that frame
and on all before it, so one value on board each datagram verifies everything, whatever was lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.frames import NULL_FRAME

CHAIN_BYTES = 8
MAX_KEPT = 4096
"""Frames whose values are kept for a peer that says nothing about them. Honest ones lag by a few windows."""


def start_chain(first: bytes) -> bytes:
    """Return the chain's value before any frame; ``first`` is the checksum of snapshot 0."""
    return blake2b(first, digest_size=CHAIN_BYTES).digest()


def extend_chain(value: bytes, frame: int, checksum: bytes) -> bytes:
    """Return the chain's value at ``frame``, whose predecessor has ``value``."""
    return blake2b(value + frame.to_bytes(4, "little") + checksum, digest_size=CHAIN_BYTES).digest()


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
        self._start = start_chain(first)
        self.value = self._start
        """Value at :attr:`frame`; before any frame, the digest of the first checksum."""
        self.frame = NULL_FRAME
        """Newest frame in the chain."""
        self._agreed: dict[int, int] = dict.fromkeys(peers, NULL_FRAME)
        # Of what peers said before we were there: the oldest value, so that a peer that is always ahead is compared
        # all the same, and the newest.
        self._waiting: dict[int, list[tuple[int, bytes]]] = {peer: [] for peer in self._agreed}
        self._outdated: dict[int, int] = {}
        self._oldest = 0
        self.verified_frame = NULL_FRAME
        """Newest frame on which all peers agree; :attr:`frame` when there are none."""

    def agreed_with(self, peer: int) -> int:
        """Newest frame on which we and ``peer`` agree, or ``NULL_FRAME``."""
        return self._agreed[peer]

    def trust(self, frame: int) -> None:
        """All peers are known to agree up to ``frame``, which is in the chain: they said so to who was here before."""
        self._agreed = dict.fromkeys(self._agreed, frame)
        if self._agreed:
            self.verified_frame = frame
        self._forget()

    def remove(self, peer: int) -> None:
        """A peer is gone: nothing waits for its agreement any more."""
        del self._agreed[peer], self._waiting[peer]
        self.verified_frame = min(self._agreed.values(), default=self.frame)

    def rewind(self, frame: int, outdated: Mapping[int, int]) -> None:
        """Forget the frames after ``frame``; they are simulated again and appended anew.

        Args:
            frame: at or after what all agree on.
            outdated: by peer, the newest frame of which it may have told a value that it has withdrawn since; such
                values may still be under way, and are ignored.
        """
        if frame != NULL_FRAME and frame not in self._values:
            raise LocalMisuseError(f"the chain's value at frame {frame} is not kept")
        for later in range(frame + 1, self.frame + 1):
            del self._values[later], self._checksums[later]
        self.frame = frame
        self.value = self._start if frame == NULL_FRAME else self._values[frame]
        for peer in self._agreed:
            self._agreed[peer] = min(self._agreed[peer], frame)
            self._waiting[peer].clear()
            self._outdated[peer] = outdated.get(peer, frame)
        self.verified_frame = min(self._agreed.values(), default=frame)

    def append(self, frame: int, checksum: bytes) -> list[ChainMismatch]:
        """Add the next settled frame's checksum; compare with what peers said of it before we were there."""
        if frame != self.frame + 1:
            raise LocalMisuseError(f"chain is at frame {self.frame}, not before {frame}")
        self.frame = frame
        self.value = self._values[frame] = extend_chain(self.value, frame, checksum)
        self._checksums[frame] = checksum
        found = []
        for peer, ahead in self._waiting.items():
            while ahead and ahead[0][0] <= frame:
                found.extend(self._compare(peer, *ahead.pop(0)))
        if not self._agreed:
            self.verified_frame = frame
        if self._oldest < self.verified_frame or len(self._values) > MAX_KEPT:
            self._forget()
        return found

    def receive(self, peer: int, frame: int, value: bytes, *, in_order: bool = False) -> list[ChainMismatch]:
        """Take a peer's value at ``frame``. Those up to what is agreed on are ignored.

        Args:
            in_order: it came on the lane that keeps the order, so that it cannot be one that was withdrawn.
        """
        if not in_order and frame <= self._outdated.get(peer, NULL_FRAME):
            return []
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
            self.verified_frame = min(self._agreed.values())
            return []
        return [ChainMismatch(peer, self._agreed[peer], frame)]

    def checksums_since(self, frame: int) -> list[tuple[int, bytes]]:
        """Return ``(frame, checksum)`` of the kept frames after ``frame``, oldest first, for finding a difference."""
        return [(f, self._checksums[f]) for f in range(max(frame + 1, self._oldest), self.frame + 1)]

    def _forget(self) -> None:
        done = self.verified_frame
        if done <= self.frame - MAX_KEPT:
            done = self.frame - MAX_KEPT + 1
        while self._oldest < done:
            # Frames are appended one after another, so that what goes is always the oldest.
            self._values.pop(self._oldest, None)
            self._checksums.pop(self._oldest, None)
            self._oldest += 1
