"""What a client and the server say to each other to measure the network between two candidates.

Part of the conversation in :mod:`p2pclient.common.lobby_messages`, and of its version. The server tells two clients to
probe each other; they connect as for a match, by descriptions that the server passes between these two only, exchange
small datagrams, close the connection, and both tell what they measured.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from p2pclient.common.description import Description
from p2pclient.common.room_messages import Name

ProbePath = Literal["", "direct", "turn", "relay", "loopback"]
"""Kind of path that was measured; empty while unknown."""

ProbeFailure = Literal["no-path", "timeout", "left", "busy"]
"""Why a client measured nothing: the connection cannot be made; it took too long, or too few echoes came; the other
side closed it; this client plays, or is in another probe."""

Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=20_000)]
"""No probe lasts longer, so none can measure more."""


class ProbeStart(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="probe-start"):
    """Measure the network to ``peer``. Both get it. Answered by :class:`ProbeResult`, whatever comes of it.

    The bounds are the client's own: a server cannot make it send more, or for longer.
    """

    probe_id: Name
    peer: Name
    make_offer: bool
    samples: Annotated[int, msgspec.Meta(ge=5, le=100)] = 30
    """Datagrams that each side sends, and that the other side echoes."""
    interval_ms: Annotated[int, msgspec.Meta(ge=5, le=100)] = 20
    connect_within_s: Annotated[float, msgspec.Meta(ge=0.5, le=10)] = 5.0
    """From here until both lanes are open."""
    measure_within_s: Annotated[float, msgspec.Meta(ge=0.5, le=10)] = 3.0
    """From then until both sides have measured."""


class ProbeCancel(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="probe-cancel"):
    """A probe is over, or comes to nothing: close what is open. Needs no answer."""

    probe_id: Name


class ProbeSignal(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="probe-signal"):
    """A description for the other side of a probe, or from it."""

    probe_id: Name
    description: Description


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="probe-result"):
    """What a client measured, or why it measured nothing.

    Raises:
        ValueError: it says both, or neither.
    """

    probe_id: Name
    rtt_ms: Milliseconds | None = None
    """Median of the round trips."""
    jitter_ms: Milliseconds | None = None
    """Of the round trips, as RFC 3550 (section 6.4.1) smooths it."""
    loss: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    """Share of datagrams without an echo: lost on the way there or on the way back."""
    path: ProbePath = ""
    failure: ProbeFailure | None = None

    def __post_init__(self) -> None:
        figures = (self.rtt_ms, self.jitter_ms, self.loss)
        complete = all(each is not None for each in figures) and self.failure is None
        empty = all(each is None for each in figures) and self.failure is not None
        if not complete and not empty:
            raise ValueError("a probe has either all of rtt_ms, jitter_ms and loss, or a failure")
