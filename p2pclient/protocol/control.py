"""Messages of the ``control`` channel: what must arrive, in order.

Each is numbered and acknowledged by the endpoint, so that a new connection can carry on where an old one broke. The
encoding is MessagePack of tagged structs; the version stands in :class:`Envelope`.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from p2pclient.common.errors import RemoteProtocolError

CONTROL_VERSION = 1
MAX_CONTROL_BYTES = 64 * 1024
MAX_CHECKSUMS = 4096
"""Checksums in one message; 10 bytes each on the wire."""

Digest = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 30)]
Sentence = Annotated[str, msgspec.Meta(max_length=600)]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all control messages."""


class Hello(Message, frozen=True, tag="hello"):
    """First message of both sides: everything on which they must agree, by name."""

    facts: dict[str, Any]
    """Compared field by field, see :mod:`p2pclient.protocol.handshake`."""


class Refuse(Message, frozen=True, tag="refuse"):
    """The facts differ; the match does not begin."""

    differences: Annotated[list[Sentence], msgspec.Meta(max_length=32)]


class EpisodeReady(Message, frozen=True, tag="ready"):
    """The sender stands at the barrier before ``episode``; its snapshot 0 has this checksum."""

    episode: Number
    checksum: Digest


class EpisodeOver(Message, frozen=True, tag="over"):
    """The sender has settled the episode up to its last frame; ``chain`` covers all of it."""

    episode: Number
    last_frame: Number
    chain: Digest


class Checksums(Message, frozen=True, tag="checksums"):
    """After a mismatch: the sender's checksums from ``first_frame`` on, to find where states part."""

    episode: Number
    first_frame: Number
    checksums: Annotated[list[Digest], msgspec.Meta(max_length=MAX_CHECKSUMS)]


class Leave(Message, frozen=True, tag="leave"):
    """The sender goes, for a reason from :data:`LEAVE_REASONS`."""

    reason: str


LEAVE_REASONS = ("finished", "left", "desync", "error")

AnyMessage = Hello | Refuse | EpisodeReady | EpisodeOver | Checksums | Leave


class Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One unit on the wire."""

    version: int
    number: int
    """Of this message, from 1 up; 0 for a bare acknowledgement."""
    acknowledged: int
    """All of the other side's messages up to this number have arrived."""
    message: AnyMessage | None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)


def encode_control(envelope: Envelope) -> bytes:
    """Return the bytes of one envelope."""
    return _encoder.encode(envelope)


def decode_control(data: bytes) -> Envelope:
    """Read one envelope.

    Raises:
        RemoteProtocolError: it is not one (reasons ``oversized``, ``bad-control``, ``unknown-version``).
    """
    if len(data) > MAX_CONTROL_BYTES:
        raise RemoteProtocolError("oversized", f"{len(data)} bytes of control")
    try:
        envelope = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError("bad-control", str(error)) from error
    if envelope.version != CONTROL_VERSION:
        raise RemoteProtocolError("unknown-version", f"control version {envelope.version}")
    return envelope
