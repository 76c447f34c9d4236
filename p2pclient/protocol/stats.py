"""How the conversation with one peer goes: what arrived, what was lost, how long the way takes.

Datagrams carry a number modulo 256. Order comes from their time of sending, which wraps later, and from the number
where two were sent in the same quarter of a millisecond; the number says how many are missing in between. After an
outage of more than 256 datagrams that is known modulo 256 only, which the share over the recent ones does not show.
"""

from __future__ import annotations

RECENT = 128
"""Datagrams over which :attr:`EndpointStats.loss` is taken: about two seconds at 60 Hz."""
_RECENT_BITS = (1 << RECENT) - 1
_GAIN = 1 / 16
"""Share of a new sample in the smoothed times. RFC 6298 smooths one sample per round trip with 1/8 and 1/4; here
nearly every datagram gives a sample, so that the smaller gain (RFC 3550, section 6.4.1) follows within 0.3 s."""


class EndpointStats:
    """Counts and times of one endpoint since it began, over all episodes."""

    __slots__ = (
        "_arrived",
        "_newest",
        "_span",
        "bytes_received",
        "control_bytes_received",
        "control_bytes_sent",
        "control_received",
        "control_sent",
        "datagrams_received",
        "duplicates",
        "input_bytes_sent",
        "inputs_sent",
        "jitter",
        "keep_alive_bytes_sent",
        "keep_alives_sent",
        "lost",
        "reordered",
        "rtt",
        "srtt",
    )

    def __init__(self) -> None:
        self.datagrams_received = 0
        """Datagrams that arrived, those that were dropped included."""
        self.bytes_received = 0
        self.control_received = 0
        """Control messages that arrived, bare acknowledgements and those that were dropped included."""
        self.control_bytes_received = 0
        self.inputs_sent = 0
        """Datagrams sent for a frame."""
        self.input_bytes_sent = 0
        self.keep_alives_sent = 0
        """Datagrams sent only to keep alive."""
        self.keep_alive_bytes_sent = 0
        self.control_sent = 0
        """Control messages sent, repeated ones and bare acknowledgements included."""
        self.control_bytes_sent = 0
        self.duplicates = 0
        """Datagrams that had arrived before."""
        self.reordered = 0
        """Datagrams that arrived after a later one."""
        self.lost = 0
        """Datagrams that have not arrived though a later one has."""
        self.rtt: float | None = None
        """Newest round trip time, seconds, without the time that the other side held our stamp."""
        self.srtt: float | None = None
        """Smoothed round trip time, seconds."""
        self.jitter: float | None = None
        """Smoothed distance of the round trip times from :attr:`srtt`, seconds."""
        self._newest: int | None = None
        self._arrived = 0  # bit n: the datagram n before the newest arrived
        self._span = 0

    @property
    def datagrams_sent(self) -> int:
        """Datagrams sent, for a frame or to keep alive."""
        return self.inputs_sent + self.keep_alives_sent

    @property
    def bytes_sent(self) -> int:
        """Bytes of all datagrams sent."""
        return self.input_bytes_sent + self.keep_alive_bytes_sent

    @property
    def loss(self) -> float:
        """Share of the recent :data:`RECENT` datagrams that did not arrive, 0 to 1; 0 before any."""
        return 1 - self._arrived.bit_count() / self._span if self._span else 0.0

    def steps_to(self, sequence: int) -> int:
        """Return how far ``sequence`` is past the newest one, modulo 256; 1 if there is none yet."""
        return 1 if self._newest is None else (sequence - self._newest) & 0xFF

    def take_newer(self, sequence: int) -> None:
        """Count a datagram that was sent after all that arrived before it."""
        steps = self.steps_to(sequence) or 256
        self._newest = sequence
        self._arrived = (self._arrived << steps | 1) & _RECENT_BITS
        if self._span < RECENT:
            self._span = min(RECENT, self._span + steps)
        self.lost += steps - 1

    def take_older(self, sequence: int) -> bool:
        """Count a datagram that was sent before the newest one; False if it had arrived before."""
        behind = -self.steps_to(sequence) & 0xFF
        if behind < self._span:
            if self._arrived >> behind & 1:
                self.duplicates += 1
                return False
            self._arrived |= 1 << behind
            self.lost -= 1
        self.reordered += 1
        return True

    def take_rtt(self, seconds: float) -> None:
        """Take in one measured round trip."""
        self.rtt = seconds
        if self.srtt is None or self.jitter is None:
            self.srtt, self.jitter = seconds, seconds / 2
        else:
            self.jitter += (abs(seconds - self.srtt) - self.jitter) * _GAIN
            self.srtt += (seconds - self.srtt) * _GAIN
