"""The append-only log of one run: framed, checksummed payloads in one file.

::

    file   = header frame*
    header = magic (8) version (u16) reserved (u16) crc32 of the 12 bytes before (u32)
    frame  = marker (4) length of payload (u32) crc32 of length and payload (u32) payload
    (all integers little-endian)

Every payload reaches the operating system in one ``write``, so a killed process loses nothing that it reported as
written. The file then ends in a whole frame, or in the beginning of one: the *torn tail*, which a reader cuts off.
Anything else that does not parse is corruption. The two are told apart by looking for a whole frame further on:
behind a torn tail there is none.

A log is hostile input: sizes are bounded, nothing is unpickled, and no content raises anything but RecordingError.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from p2pclient.common.errors import RecordingError

MAGIC = b"TNDMLOG\n"
VERSION = 1
MARKER = b"\xf5Td\xa7"
MAX_PAYLOAD_BYTES = 16 << 20
"""Largest payload; more than any frame with observations of all seats needs."""

HEADER = struct.Struct("<8sHHI")
_FRAME = struct.Struct("<4sII")
_LENGTH = struct.Struct("<I")
_RESYNC_BUDGET_BYTES = 64 << 20
"""Checksummed at most while looking for a frame behind a bad one; a crafted file could ask for a quadratic amount."""
_CHUNK_BYTES = 1 << 20


def file_header() -> bytes:
    """The bytes that a log of this version starts with."""
    start = HEADER.pack(MAGIC, VERSION, 0, 0)[:-4]
    return start + _LENGTH.pack(zlib.crc32(start))


def frame_payload(payload: bytes) -> bytes:
    """Return the frame that carries ``payload``.

    Raises:
        RecordingError: it is larger than ``MAX_PAYLOAD_BYTES``.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise RecordingError(
            f"one record takes {len(payload) >> 20} MiB, more than the {MAX_PAYLOAD_BYTES >> 20} MiB that a log holds;"
            " switch the recording of observations off"
        )
    length = _LENGTH.pack(len(payload))
    return MARKER + length + _LENGTH.pack(zlib.crc32(payload, zlib.crc32(length))) + payload


class LogReader:
    """Yields the payloads of a log with the offsets of their frames.

    ``end`` is the offset behind the last whole frame read so far, and ``torn_bytes`` what was cut off after it; both
    are final when :meth:`payloads` is exhausted.
    """

    def __init__(self, path: Path, *, stop: int | None = None) -> None:
        """``stop`` reads no further than this offset: what an earlier reader of a growing log had as ``end``."""
        self.path = path
        self.end = 0
        self.torn_bytes = 0
        self._stop = stop

    def payloads(self) -> Iterator[tuple[int, bytes]]:
        """Yield ``(offset, payload)`` in the order in which they were written.

        Raises:
            RecordingError: the file cannot be read, is no log of this version, or is damaged before its end.
        """
        try:
            with self.path.open("rb", buffering=_CHUNK_BYTES) as file:
                size = os.fstat(file.fileno()).st_size
                size = size if self._stop is None else min(size, self._stop)
                yield from self._read(file, size)
        except OSError as error:
            raise RecordingError(f"{self.path} cannot be read: {error.strerror or error}") from error

    def _read(self, file: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
        if not self._check_header(file.read(min(size, HEADER.size))):
            self.torn_bytes = size
            return
        self.end = HEADER.size
        while self.end < size:
            payload = _read_frame(file, size - self.end)
            if payload is None:
                self._check_tail(file, size)
                return
            offset = self.end
            self.end += _FRAME.size + len(payload)
            yield offset, payload

    def _check_header(self, header: bytes) -> bool:
        """Return False if only a beginning of the header reached the disk: a log without records."""
        expected = file_header()
        if header == expected:
            return True
        if len(header) < HEADER.size and expected.startswith(header):
            return False
        if header[:8] != MAGIC or zlib.crc32(header[:12]) != int.from_bytes(header[12:], "little"):
            raise RecordingError(f"{self.path} is not the log of a run, or its first bytes are damaged")
        version = HEADER.unpack(header)[1]
        raise RecordingError(
            f"{self.path} has log version {version}, this program reads version {VERSION};"
            " use the Tandem version named in the run's manifest.json"
        )

    def _check_tail(self, file: BinaryIO, size: int) -> None:
        found = _find_frame(file, self.end + 1, size)
        if found is not None:
            raise RecordingError(
                f"{self.path} is damaged at byte {self.end}; whole records follow from byte {found}."
                " Everything before is intact: restore the file from a copy, or export that part with --salvage"
            )
        self.torn_bytes = size - self.end


def _read_frame(file: BinaryIO, left: int) -> bytes | None:
    """Return the next payload, or None if no whole, intact frame starts here."""
    head = file.read(min(left, _FRAME.size))
    if len(head) < _FRAME.size:
        return None
    marker, length, checksum = _FRAME.unpack(head)
    if marker != MARKER or length > min(MAX_PAYLOAD_BYTES, left - _FRAME.size):
        return None
    payload = file.read(length)
    if len(payload) < length or zlib.crc32(payload, zlib.crc32(head[4:8])) != checksum:
        return None
    return payload


def _find_frame(file: BinaryIO, start: int, size: int) -> int | None:
    """Return the offset of the first whole frame at or after ``start``; None if there is none within the budget."""
    budget = _RESYNC_BUDGET_BYTES
    for candidate in _find_markers(file, start, size):
        file.seek(candidate)
        payload = _read_frame(file, size - candidate)
        if payload is not None:
            return candidate
        file.seek(candidate + 4)
        budget -= _FRAME.size + min(int.from_bytes(file.read(4), "little"), size - candidate)
        if budget < 0:
            return candidate
    return None


def _find_markers(file: BinaryIO, start: int, size: int) -> Iterator[int]:
    overlap = len(MARKER) - 1
    while start < size:
        file.seek(start)
        chunk = file.read(min(_CHUNK_BYTES + overlap, size - start))
        at = chunk.find(MARKER)
        while at >= 0:
            yield start + at
            at = chunk.find(MARKER, at + 1)
        start += _CHUNK_BYTES
