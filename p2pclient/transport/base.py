"""What every transport offers: two lanes to one peer, taken from and put into, without blocking.

Weather (loss, congestion, a partner that goes away) is counted or becomes an event; exceptions are for misuse and for
control messages that cannot be taken on any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

INPUTS = "inputs"
"""Lane of datagrams: unordered, never sent twice."""

CONTROL = "control"
"""Lane of control messages: reliable and ordered."""

LANES = (INPUTS, CONTROL)

MAX_CONTROL_BYTES = 64 * 1024
"""Largest control message. What is larger belongs on a connection of its own, or it delays inputs."""

MAX_CONTROL_QUEUE_BYTES = 1024 * 1024
"""Control bytes that may wait to leave; beyond that the peer is as good as gone."""

MAX_RECEIVED_BYTES = 2 * 1024 * 1024
"""Bytes that may wait to be taken: what a peer can make us keep."""

MAX_RECEIVED_MESSAGES = 4096

Connection = Literal["", "direct", "turn", "relay", "loopback"]
"""Kind of path in use, ``turn`` by way of a TURN server and ``relay`` of ours; empty while there is none."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Both lanes carry from now on. Comes at most once; something may have been received before it."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection was ended on purpose. Nothing follows."""

    by_peer: bool
    """False if ``close()`` was called on this side."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The connection cannot be made or is lost. Nothing follows; ``close()`` still has to be called."""

    reason: str
    """A sentence for people, with what to check."""


@dataclass(frozen=True, slots=True)
class PathChanged:
    """Of a link, which has several transports: another one is used. What is not acknowledged is to be sent again."""

    connection: str
    """Kind of the path."""
    why: str
    """A short stable word."""


@dataclass(frozen=True, slots=True)
class Returned:
    """Of a link: the peer's program is another one than before, without its memory. A ``PathChanged`` follows."""

    incarnation: int


TransportEvent = Opened | Closed | Failed | PathChanged | Returned


@dataclass(frozen=True, slots=True)
class LaneCounts:
    """Messages on one lane in one direction, and their payload (no headers of any layer)."""

    messages: int = 0
    payload_bytes: int = 0


@dataclass(frozen=True, slots=True)
class TransportStats:
    """Counts since the transport was made."""

    connection: Connection = ""
    local_address: str = ""
    """``address:port`` of our end of the path in use; empty while there is none."""
    remote_address: str = ""
    sent: Mapping[str, LaneCounts] = field(default_factory=dict)
    """By lane. What was taken on for sending: a message that an impairment loses counts, a dropped one does not."""
    received: Mapping[str, LaneCounts] = field(default_factory=dict)
    """By lane. What was, or will be, handed out by ``take_received``."""
    dropped_by_reason: Mapping[str, int] = field(default_factory=dict)
    """In both directions: ``not-open``, ``congested``, ``simulated-loss``; from the peer: ``queue-full``,
    ``too-large``, ``not-bytes``, ``wrong-channel``, ``foreign-channel``, ``malformed``, ``not-dtls``."""
    buffered_bytes: int = 0
    """Bytes that were taken on but have not left, or have left and are not acknowledged."""


@runtime_checkable
class PeerTransport(Protocol):
    """Bytes to and from one peer. All methods are called in the loop's thread; none waits, except ``close``."""

    wakeup: Callable[[], None] | None
    """Called in the loop when something was received or an event waits; once for all that came together."""

    def send_datagram(self, data: bytes) -> None:
        """Send on the inputs lane, at once. Silently dropped, and counted, when not open or congested.

        Raises:
            LocalMisuseError: ``data`` is empty or longer than ``MAX_DATAGRAM_BYTES``.
        """

    def send_control(self, data: bytes) -> None:
        """Send on the control lane.

        Raises:
            LocalMisuseError: ``data`` is empty or longer than ``MAX_CONTROL_BYTES``.
            TransportError: not open yet, closed, failed, or too much is waiting already.
        """

    def take_received(self) -> list[tuple[str, bytes]]:
        """Return and clear ``(lane, data)`` of what arrived, in order of arrival."""

    def take_events(self) -> list[TransportEvent]:
        """Return and clear what happened, oldest first."""

    def stats(self) -> TransportStats:
        """Return the counts so far. Cheap enough for every tick."""

    async def close(self) -> None:
        """End the connection and tell the peer. Idempotent. Control messages still held back here leave first."""
