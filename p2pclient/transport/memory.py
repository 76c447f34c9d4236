"""Transports inside one process: over an asyncio loop, or in virtual time without any loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from p2pclient.transport.base import CONTROL, INPUTS, Closed, Connection, Failed, TransportStats
from p2pclient.transport.common import CommonTransport
from p2pclient.transport.delayed import LoopRelease, Release, VirtualRelease
from p2pclient.transport.impairment import Impairment


class MemoryTransport(CommonTransport):
    """One end of a pair. Made by :func:`memory_pair` or :class:`VirtualLink`."""

    _peer: MemoryTransport
    _is_cut = False

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        releases: tuple[Release, Release],
        call_soon: Callable[[Callable[[], None]], object],
        impairment: Impairment | None = None,
    ) -> None:
        super().__init__(clock=clock, releases=releases, call_soon=call_soon, impairment=impairment)
        self._stuck_control: list[bytes] = []

    def _carry(self, lane: str, data: bytes) -> None:
        if not self._is_cut:
            self._peer._receive(lane, data)
        elif lane == CONTROL:
            self._stuck_control.append(data)

    def _waiting_bytes(self, lane: str) -> int:
        return 0 if lane == INPUTS else sum(map(len, self._stuck_control))

    def set_cut(self, is_cut: bool) -> None:
        """Cut or mend the cable in this direction. Nothing notices: datagrams vanish, control waits for the mending."""
        self._is_cut = is_cut
        if not is_cut:
            stuck, self._stuck_control = self._stuck_control, []
            for data in stuck:
                self._peer._receive(CONTROL, data)

    def fail(self, reason: str) -> None:
        """Fail as a lost connection does, on this side only."""
        self._finish(Failed(reason))

    def stats(self) -> TransportStats:
        """See :class:`PeerTransport`."""
        connection: Connection = "loopback" if self._is_open else ""
        return replace(super().stats(), connection=connection, local_address="memory", remote_address="memory")

    async def close(self) -> None:
        """See :class:`PeerTransport`."""
        self.end()

    def end(self) -> None:
        """Do what :meth:`close` does, for callers without a loop."""
        if self._end is None:
            self._held_control.flush()
            self._finish(Closed(by_peer=False))
            if not self._is_cut:
                self._peer._finish(Closed(by_peer=True))


def _join(a: MemoryTransport, b: MemoryTransport) -> tuple[MemoryTransport, MemoryTransport]:
    a._peer, b._peer = b, a
    a._open()
    b._open()
    return a, b


def memory_pair(
    loop: asyncio.AbstractEventLoop, impairment_a: Impairment | None = None, impairment_b: Impairment | None = None
) -> tuple[MemoryTransport, MemoryTransport]:
    """Return two ends, already open, whose wakeups and delays run in ``loop``. Each impairs what it sends."""

    def make(impairment: Impairment | None) -> MemoryTransport:
        releases = (LoopRelease(loop), LoopRelease(loop))
        return MemoryTransport(clock=loop.time, releases=releases, call_soon=loop.call_soon, impairment=impairment)

    return _join(make(impairment_a), make(impairment_b))


class VirtualLink:
    """Pure: two ends, ``a`` and ``b``, already open, in virtual time. Wakeups run at once.

    What is sent leaves at the time of the last :meth:`deliver`; call it with the new time before using the ends.
    """

    def __init__(
        self, *, now: float = 0.0, impairment_a: Impairment | None = None, impairment_b: Impairment | None = None
    ) -> None:
        self._now = now
        self._release = VirtualRelease()
        self.a, self.b = _join(self._make(impairment_a), self._make(impairment_b))

    def _make(self, impairment: Impairment | None) -> MemoryTransport:
        def call_now(function: Callable[[], None]) -> None:
            function()

        inputs, control = _Lane(self._release), _Lane(self._release)
        return MemoryTransport(
            clock=lambda: self._now, releases=(inputs, control), call_soon=call_now, impairment=impairment
        )

    def deliver(self, now: float) -> None:
        """Move to time ``now`` and hand over everything that is due, each at its own time, in order."""
        while (due := self._release.next_due()) is not None and due <= now:
            self._now = max(self._now, due)
            self._release.release_due(due)
        self._now = max(self._now, now)

    def next_due(self) -> float | None:
        """Return when the next message is due, or None."""
        return self._release.next_due()


class _Lane:
    """One lane's share of a queue that several lanes use, so that the whole link has one total order."""

    def __init__(self, shared: VirtualRelease) -> None:
        self._shared = shared
        self._held: dict[object, Callable[[], None]] = {}

    def push(self, due: float, action: Callable[[], None]) -> None:
        key = object()
        self._held[key] = action
        self._shared.push(due, lambda: self._run(key))

    def _run(self, key: object) -> None:
        action = self._held.pop(key, None)
        if action is not None:
            action()

    def flush(self) -> None:
        held, self._held = self._held, {}
        # By insertion, which is the order of time: only control is flushed, and its times never decrease.
        for action in held.values():
            action()

    def clear(self) -> None:
        self._held.clear()
