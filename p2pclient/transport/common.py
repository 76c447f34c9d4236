"""What all transports share: the way in (bounded, counted, waking its owner) and the way out (impaired, counted)."""

from __future__ import annotations

import abc
from collections import Counter
from collections.abc import Callable
from functools import partial

from p2pclient.common.errors import LocalMisuseError, TransportError
from p2pclient.common.frames import MAX_DATAGRAM_BYTES
from p2pclient.transport.base import (
    CONTROL,
    INPUTS,
    LANES,
    MAX_CONTROL_BYTES,
    MAX_CONTROL_QUEUE_BYTES,
    MAX_RECEIVED_BYTES,
    MAX_RECEIVED_MESSAGES,
    Closed,
    Failed,
    LaneCounts,
    Opened,
    TransportEvent,
    TransportStats,
)
from p2pclient.transport.delayed import Release
from p2pclient.transport.impairment import Impairment

LARGEST = {INPUTS: MAX_DATAGRAM_BYTES, CONTROL: MAX_CONTROL_BYTES}

TOO_MUCH_CONTROL = (
    "The partner's program sends more than this one can take in. Check that both have the same version, and reconnect."
)


class CommonTransport(abc.ABC):
    """Base of the transports. A subclass carries bytes at once and reports what arrives and happens.

    ``clock`` gives the time on which ``releases`` (for inputs, for control) act. ``call_soon`` runs a function when
    the current one has returned, so that a wakeup never runs inside the library that delivered a message.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        releases: tuple[Release, Release],
        call_soon: Callable[[Callable[[], None]], object],
        impairment: Impairment | None,
    ) -> None:
        self.wakeup: Callable[[], None] | None = None
        self._clock = clock
        self._held_inputs, self._held_control = releases
        self._call_soon = call_soon
        self._impairment = None if impairment is None or impairment.spec.is_none else impairment
        self._is_open = False
        self._end: Closed | Failed | None = None
        self._is_waking = False
        self._received: list[tuple[str, bytes]] = []
        self._received_bytes = 0
        self._events: list[TransportEvent] = []
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._dropped: Counter[str] = Counter()

    # What a subclass does

    @abc.abstractmethod
    def _carry(self, lane: str, data: bytes) -> None:
        """Send now. Only called while open; raises nothing for weather."""

    @abc.abstractmethod
    def _waiting_bytes(self, lane: str) -> int:
        """Return how many bytes were carried but have not left."""

    def _may_carry_input(self) -> bool:
        """Return False while inputs would only queue up."""
        return True

    # The way out

    def send_datagram(self, data: bytes) -> None:
        """See :class:`PeerTransport`."""
        self._check_size(INPUTS, data)
        if not self._is_open:
            self._dropped["not-open"] += 1
            return
        self._count("sent", INPUTS, data)
        if self._impairment is None:
            self._carry_input(data)
            return
        now = self._clock()
        times = self._impairment.plan(now, len(data))
        if not times:
            self._dropped["simulated-loss"] += 1
        for due in times:
            self._at(self._held_inputs, due, now, partial(self._carry_input, data))

    def send_control(self, data: bytes) -> None:
        """See :class:`PeerTransport`."""
        self._check_size(CONTROL, data)
        if not self._is_open:
            raise TransportError("There is no connection to the partner now. Wait for it, or connect again.")
        if self._waiting_bytes(CONTROL) > MAX_CONTROL_QUEUE_BYTES:
            raise TransportError("The partner takes nothing in any more. Check the network on both computers.")
        self._count("sent", CONTROL, data)
        if self._impairment is None:
            self._carry(CONTROL, data)
            return
        # Never past the queue, even when due now: order is kept by the queue alone.
        self._held_control.push(self._impairment.plan_control(self._clock()), partial(self._carry_control, data))

    @staticmethod
    def _at(held: Release, due: float, now: float, action: Callable[[], None]) -> None:
        if due <= now:
            action()
        else:
            held.push(due, action)

    def _carry_input(self, data: bytes) -> None:
        if not self._is_open:
            self._dropped["not-open"] += 1
        elif not self._may_carry_input():
            self._dropped["congested"] += 1
        else:
            self._carry(INPUTS, data)

    def _carry_control(self, data: bytes) -> None:
        if self._is_open:
            self._carry(CONTROL, data)

    @staticmethod
    def _check_size(lane: str, data: bytes) -> None:
        if not isinstance(data, bytes) or not 0 < len(data) <= LARGEST[lane]:
            what = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
            raise LocalMisuseError(f"{lane}: {what} given; 1 to {LARGEST[lane]} bytes are sent")

    # The way in

    def take_received(self) -> list[tuple[str, bytes]]:
        """See :class:`PeerTransport`."""
        received, self._received, self._received_bytes = self._received, [], 0
        return received

    def take_events(self) -> list[TransportEvent]:
        """See :class:`PeerTransport`."""
        events, self._events = self._events, []
        return events

    def _receive(self, lane: str, data: object) -> None:
        """Keep what came from the peer, within bounds."""
        if self._end is not None:
            return
        if not isinstance(data, bytes):
            self._dropped["not-bytes"] += 1
        elif not 0 < len(data) <= LARGEST[lane]:
            self._dropped["too-large"] += 1
        elif len(self._received) >= MAX_RECEIVED_MESSAGES or self._received_bytes > MAX_RECEIVED_BYTES:
            self._dropped["queue-full"] += 1
            if lane == CONTROL:
                # A reliable lane with a hole in it would be worse than none.
                self._finish(Failed(TOO_MUCH_CONTROL))
        else:
            self._count("received", lane, data)
            self._received.append((lane, data))
            self._received_bytes += len(data)
            self._wake()

    def _open(self) -> None:
        if self._end is None and not self._is_open:
            self._is_open = True
            self._announce(Opened())

    def _finish(self, event: Closed | Failed) -> None:
        """Take the first end that is reported; what comes later is an echo of it."""
        if self._end is None:
            self._end = event
            self._is_open = False
            self._held_inputs.clear()
            self._held_control.clear()
            self._announce(event)

    def _announce(self, event: TransportEvent) -> None:
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        if not self._is_waking and self.wakeup is not None:
            self._is_waking = True
            self._call_soon(self._run_wakeup)

    def _run_wakeup(self) -> None:
        self._is_waking = False
        if self.wakeup is not None:
            self.wakeup()

    # Counts

    def _count(self, direction: str, lane: str, data: bytes) -> None:
        self._counts[direction, lane, "messages"] += 1
        self._counts[direction, lane, "bytes"] += len(data)

    def _lane_counts(self, direction: str) -> dict[str, LaneCounts]:
        counts = self._counts
        return {
            lane: LaneCounts(counts[direction, lane, "messages"], counts[direction, lane, "bytes"]) for lane in LANES
        }

    def stats(self) -> TransportStats:
        """See :class:`PeerTransport`."""
        return TransportStats(
            sent=self._lane_counts("sent"),
            received=self._lane_counts("received"),
            dropped_by_reason=dict(self._dropped),
            buffered_bytes=sum(self._waiting_bytes(lane) for lane in LANES),
        )
