"""Measures the network to another candidate when the server asks for it.

Connects as for a match, with the impairment of this client if it has one, sends a few dozen small datagrams, echoes
those of the other side, closes everything, and tells the server what came of it. One probe at a time, bounded in time
and in number, and none while a match is played: a probe is never in the way of one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Any, Literal

from p2pclient.common.description import Description
from p2pclient.common.errors import RemoteProtocolError, SignalingError, TransportError
from p2pclient.common.probe_messages import ProbeCancel, ProbeFailure, ProbeResult, ProbeSignal, ProbeStart
from p2pclient.protocol.probe import NONCE_BYTES, ProbeSide
from p2pclient.runtime.connecting import wait_until_open
from p2pclient.transport.base import CONTROL, INPUTS, Closed, Failed, PeerTransport
from p2pclient.transport.ice import IceServer
from p2pclient.transport.impairment import Impairment, ImpairmentSpec
from p2pclient.transport.rtc import RtcTransport

log = logging.getLogger("tandem.probing")

MAX_REFUSALS = 8
"""Answers of ``busy`` on their way at one time. A server that asks more often waits for an answer in vain."""

Send = Callable[[ProbeSignal | ProbeResult], Awaitable[None]]


class _Ended(Exception):
    """A probe measures nothing, for a reason that the server is told."""

    def __init__(self, failure: ProbeFailure) -> None:
        super().__init__(failure)
        self.failure = failure


@dataclass(eq=False)
class _Current:
    """The probe that runs here."""

    start: ProbeStart
    description: asyncio.Future[Description]
    task: asyncio.Task[None] | None = field(default=None)


class Prober:
    """Answers the server's wish for probes. All methods belong to one running loop.

    Args:
        send: gives a message to the server; may raise :class:`SignalingError`.
        is_busy: tells whether a match is being connected or played, or watched.
        impairment: what to do to what leaves here, as in a match.
        seed: of the impairment.
        ice_servers: none on a LAN.
    """

    def __init__(
        self,
        send: Send,
        *,
        is_busy: Callable[[], bool],
        impairment: ImpairmentSpec | None = None,
        seed: int = 0,
        ice_servers: Sequence[IceServer] = (),
    ) -> None:
        self._send = send
        self._is_busy = is_busy
        self._impairment = impairment
        self._seed = seed
        self._ice_servers = tuple(ice_servers)
        self._current: _Current | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        """Everything that is not over."""
        self._closing: set[asyncio.Task[None]] = set()
        """Probes that were ended early and still close their connections."""
        self._refusing = 0
        self._probes = 0

    @property
    def is_probing(self) -> bool:
        """True while a probe runs."""
        return self._current is not None

    def take(self, message: ProbeStart | ProbeCancel | ProbeSignal) -> None:
        """The server said something about a probe. What belongs to none that runs here is ignored."""
        if isinstance(message, ProbeStart):
            self._start(message)
            return
        current = self._current
        if current is None or current.start.probe_id != message.probe_id:
            return
        if isinstance(message, ProbeCancel):
            self._end(current)
        elif not current.description.done():
            current.description.set_result(message.description)

    def stop(self) -> None:
        """A match begins: end what runs, and tell the server. Harmless at any time."""
        if self._current is not None:
            current = self._current
            self._end(current)
            self._refuse(current.start)

    async def close(self) -> None:
        """End everything, and wait until it is closed. Harmless twice."""
        self._current = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- one probe ----------------------------------------------------------------------------------------------------

    def _start(self, start: ProbeStart) -> None:
        if self._is_busy() or self._current is not None:
            self._refuse(start)
            return
        current = _Current(start, asyncio.get_running_loop().create_future())
        self._current = current
        self._probes += 1
        # An earlier one may still be closing its connection; its packets would be in the way of this one's.
        current.task = self._spawn(self._probe(current, after=tuple(self._closing)))

    def _refuse(self, start: ProbeStart) -> None:
        if self._refusing < MAX_REFUSALS:
            self._refusing += 1
            self._spawn(self._tell_busy(ProbeResult(probe_id=start.probe_id, failure="busy")))

    async def _tell_busy(self, result: ProbeResult) -> None:
        try:
            await self._tell(result)
        finally:
            self._refusing -= 1

    def _end(self, current: _Current) -> None:
        self._current = None
        if current.task is not None and not current.task.done():
            self._closing.add(current.task)
            current.task.add_done_callback(self._closing.discard)
            current.task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _probe(self, current: _Current, after: Sequence[asyncio.Task[None]]) -> None:
        start = current.start
        if after:
            await asyncio.wait(after)
        try:
            result = await self._measured(current)
        except _Ended as ended:
            result = ProbeResult(probe_id=start.probe_id, failure=ended.failure)
        except SignalingError as error:
            log.info("probe of %s: %s", start.peer, error)
            result = None
        finally:
            # Before the answer: the server may ask for the next one as soon as it has that.
            if self._current is current:
                self._current = None
        if result is not None:
            log.info("probe of %s: %s", start.peer, result)
            await self._tell(result)

    async def _tell(self, result: ProbeResult) -> None:
        try:
            await self._send(result)
        except SignalingError as error:
            log.info("the server did not want the result of %s: %s", result.probe_id, error)

    async def _measured(self, current: _Current) -> ProbeResult:
        start = current.start
        transport = RtcTransport(
            offerer=start.make_offer,
            ice_servers=self._ice_servers,
            impairment=self._impairment_of_this(),
            connect_timeout=start.connect_within_s,
        )
        try:
            await self._connect(transport, current)
            side = ProbeSide(
                samples=start.samples,
                interval_s=start.interval_ms / 1000,
                nonces=token_bytes(NONCE_BYTES * start.samples),
                now=asyncio.get_running_loop().time(),
            )
            await measure(transport, side, within_s=start.measure_within_s)
            path = transport.stats().connection
        finally:
            await transport.close()
        network = side.network()
        if side.dropped:
            log.info("probe of %s: dropped %s", start.peer, dict(side.dropped))
        if network is None:
            raise _Ended("timeout")
        return ProbeResult(
            probe_id=start.probe_id,
            rtt_ms=round(network.rtt_ms, 3),
            jitter_ms=round(network.jitter_ms, 3),
            loss=round(network.loss, 4),
            path=path,
        )

    def _impairment_of_this(self) -> Impairment | None:
        if self._impairment is None or self._impairment.is_none:
            return None
        return Impairment(self._impairment, self._seed * 1000 + self._probes)

    async def _connect(self, transport: RtcTransport, current: _Current) -> None:
        """Open a connection to the other side.

        Raises:
            _Ended: that failed, or took too long.
            SignalingError: the server does not pass our description on.
        """
        probe_id, has_exchanged = current.start.probe_id, False
        try:
            async with asyncio.timeout(current.start.connect_within_s):
                if current.start.make_offer:
                    offer = await transport.make_offer()
                    await self._send(_signal(probe_id, "offer", offer["sdp"]))
                    answer = await current.description
                    has_exchanged = True
                    await transport.accept_answer({"type": answer.type, "sdp": answer.sdp})
                else:
                    offered = await current.description
                    own = await transport.accept_offer({"type": offered.type, "sdp": offered.sdp})
                    await self._send(_signal(probe_id, "answer", own["sdp"]))
                    has_exchanged = True
                await wait_until_open(transport)
        except TimeoutError:
            raise _Ended("no-path" if has_exchanged else "timeout") from None
        except (TransportError, RemoteProtocolError) as error:
            log.info("probe of %s: %s", current.start.peer, error)
            raise _Ended("no-path") from error


def _signal(probe_id: str, kind: Literal["offer", "answer"], sdp: str) -> ProbeSignal:
    return ProbeSignal(probe_id=probe_id, description=Description(type=kind, sdp=sdp))


async def measure(transport: PeerTransport, side: ProbeSide, *, within_s: float) -> None:
    """Carry one side of a probe over an open transport until neither side needs the other any more.

    If the other side takes too long to finish, what was measured here stands.

    Raises:
        _Ended: too much time went by, or the other side went away, before it was measured here.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + within_s
    woken = asyncio.Event()
    transport.wakeup = woken.set
    try:
        while True:
            _carry(transport, side, loop.time())
            is_gone = any(isinstance(event, Closed | Failed) for event in transport.take_events())
            if side.may_close or (side.is_over and is_gone):
                return
            if is_gone:
                raise _Ended("left")
            timer = side.next_timer()
            woken.clear()
            try:
                async with asyncio.timeout_at(end if timer is None else min(timer, end)):
                    await woken.wait()
            except TimeoutError:
                if loop.time() < end:
                    continue
                if not side.is_over:
                    raise _Ended("timeout") from None
                return
    finally:
        transport.wakeup = None


def _carry(transport: PeerTransport, side: ProbeSide, now: float) -> None:
    for lane, data in transport.take_received():
        if lane == INPUTS:
            side.receive_datagram(data, now=now)
        elif lane == CONTROL:
            side.receive_control(data)
    for data in side.datagrams_to_send(now=now):
        transport.send_datagram(data)
    try:
        for data in side.control_to_send():
            transport.send_control(data)
    except TransportError as error:
        # It is gone, which is an event, too; what was measured here does not depend on it.
        log.info("the other side could not be told that it is over: %s", error)
