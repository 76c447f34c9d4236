"""One side of a probe: small datagrams there and back, and what they say about the network. Pure.

Both sides do the same: they send ``samples`` pings, one every ``interval_s``, and echo those of the other side. A ping
carries a number and a nonce; an echo repeats both, so that nobody can answer before it was asked. Pings and echoes go
over the lane that neither repeats nor orders, like inputs. Who has measured says so over the reliable lane, and goes on
echoing until the other side has measured, too.

Layout, numbers in network byte order::

    ping, echo   version (1 byte), kind (1 byte: 1 or 2), number (2 bytes), nonce (8 bytes)
    finished     version (1 byte), kind (1 byte: 3)
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from statistics import median

from p2pclient.common.errors import LocalMisuseError

VERSION = 1
NONCE_BYTES = 8

_PING, _ECHO, _FINISHED = 1, 2, 3
_FORM = struct.Struct(f"!BBH{NONCE_BYTES}s")
_GOODBYE = bytes((VERSION, _FINISHED))

MIN_ECHOES = 5
"""Fewer echoes are no measurement."""

_PATIENCE_S = (0.2, 1.5)
"""How long echoes are awaited after the last ping, at least and at most; in between, three of the longest round trips
so far. Nothing has come back at all: the longer one."""


@dataclass(frozen=True, slots=True)
class Network:
    """What one side measured."""

    rtt_ms: float
    """Median of the round trips."""
    jitter_ms: float
    """Smoothed difference between one round trip and the next, in the order in which echoes arrived: RFC 3550, section
    6.4.1, with the way there and back in place of the way here, for which clocks would have to agree."""
    loss: float
    """Share of pings without an echo, 0 to 1."""
    echoes: int


class ProbeSide:
    """See the module's docstring. Times are seconds of any clock.

    Call :meth:`receive_datagram` and :meth:`receive_control` with what arrives, and then, and whenever
    :meth:`next_timer` is over, :meth:`datagrams_to_send` and :meth:`control_to_send`.

    Args:
        nonces: ``NONCE_BYTES`` unpredictable bytes for each sample.
        now: when the first ping is due.
    """

    def __init__(self, *, samples: int, interval_s: float, nonces: bytes, now: float) -> None:
        if samples < MIN_ECHOES or len(nonces) != samples * NONCE_BYTES:
            raise LocalMisuseError(f"{len(nonces)} bytes of nonces for {samples} samples")
        self._samples = samples
        self._interval = interval_s
        self._nonces = [nonces[at : at + NONCE_BYTES] for at in range(0, len(nonces), NONCE_BYTES)]
        self._sent: list[float] = []
        """When each ping left."""
        self._due = now
        self._round_trips: dict[int, float] = {}
        """Seconds by number, in the order in which the echoes arrived."""
        self._echoed: set[int] = set()
        self._echoes: list[bytes] = []
        self._jitter = 0.0
        self._is_over = False
        self._has_said_so = False
        self._peer_is_over = False
        self.dropped: Counter[str] = Counter()
        """What came and was no use, by reason: ``malformed``, ``repeated``, ``unknown``, ``late``."""

    # -- how far it is ------------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Nothing more is measured here."""
        return self._is_over

    @property
    def may_close(self) -> bool:
        """Neither side needs the other any more."""
        return self._is_over and self._peer_is_over

    def network(self) -> Network | None:
        """Return what was measured so far; None if that is too little."""
        if len(self._round_trips) < MIN_ECHOES:
            return None
        return Network(
            rtt_ms=median(self._round_trips.values()) * 1000,
            jitter_ms=self._jitter * 1000,
            loss=1 - len(self._round_trips) / self._samples,
            echoes=len(self._round_trips),
        )

    def next_timer(self) -> float | None:
        """Return when there is something to do, whether or not anything arrives; None once it is over."""
        if self._is_over:
            return None
        return self._due if len(self._sent) < self._samples else self._sent[-1] + self._patience()

    def _patience(self) -> float:
        least, most = _PATIENCE_S
        return max(least, min(most, 3 * max(self._round_trips.values()))) if self._round_trips else most

    # -- the way out --------------------------------------------------------------------------------------------------

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return the echoes that are owed, and the next ping if it is due: one, for late ones are not made up for."""
        sending, self._echoes = self._echoes, []
        if len(self._sent) < self._samples:
            if now >= self._due:
                number = len(self._sent)
                sending.append(_FORM.pack(VERSION, _PING, number, self._nonces[number]))
                self._sent.append(now)
                self._due = now + self._interval
        elif len(self._round_trips) == self._samples or now >= self._sent[-1] + self._patience():
            self._is_over = True
        return sending

    def control_to_send(self) -> list[bytes]:
        """Return what is to be said over the reliable lane: once, that it is over here."""
        if not self._is_over or self._has_said_so:
            return []
        self._has_said_so = True
        return [_GOODBYE]

    # -- the way in ---------------------------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take in a ping or an echo. Anything else is counted and dropped."""
        if len(data) != _FORM.size:
            self.dropped["malformed"] += 1
            return
        version, kind, number, nonce = _FORM.unpack(data)
        if version != VERSION or kind not in (_PING, _ECHO) or number >= self._samples:
            self.dropped["malformed"] += 1
        elif kind == _PING:
            self._receive_ping(number, nonce)
        else:
            self._receive_echo(number, nonce, now)

    def receive_control(self, data: bytes) -> None:
        """Take in that the other side has measured. Anything else is counted and dropped."""
        if data == _GOODBYE:
            self._peer_is_over = True
        else:
            self.dropped["malformed"] += 1

    def _receive_ping(self, number: int, nonce: bytes) -> None:
        # One echo for each number: a peer cannot make us send more than it was to ask for.
        if number in self._echoed:
            self.dropped["repeated"] += 1
            return
        self._echoed.add(number)
        self._echoes.append(_FORM.pack(VERSION, _ECHO, number, nonce))

    def _receive_echo(self, number: int, nonce: bytes, now: float) -> None:
        if number >= len(self._sent) or nonce != self._nonces[number]:
            self.dropped["unknown"] += 1
            return
        if number in self._round_trips:
            self.dropped["repeated"] += 1
            return
        if self._is_over:
            self.dropped["late"] += 1
            return
        round_trip = max(0.0, now - self._sent[number])
        if self._round_trips:
            before = next(reversed(self._round_trips.values()))
            self._jitter += (abs(round_trip - before) - self._jitter) / 16
        self._round_trips[number] = round_trip
