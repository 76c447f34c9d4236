"""A WebRTC session description on its way from one client to another."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

MAX_SDP_CHARS = 32 * 1024


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """A WebRTC session description with all candidates in it (RFC 8829); no trickle."""

    type: Literal["offer", "answer"]
    sdp: Annotated[str, msgspec.Meta(max_length=MAX_SDP_CHARS)]
