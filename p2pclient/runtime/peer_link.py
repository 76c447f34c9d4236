"""The link to one peer: what a match sends to and reads from, whichever connection is beneath.

A link is itself a :class:`~p2pclient.transport.base.PeerTransport`. While nothing is heard, it makes further
connections beside the one it has, over whatever relays descriptions; the first that carries bytes is used, which may be
the old one. What was sent and not acknowledged is not its business: it says that the path is another one, and the match
sends again what is open. When to try and what to use is decided in :mod:`~p2pclient.runtime.link_policy`.

A link does not end while the match lasts: how long a silent peer is waited for is decided there.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Collection, Coroutine
from dataclasses import replace
from typing import Any

from p2pclient.common.description import Description
from p2pclient.common.errors import LocalMisuseError, RemoteProtocolError, SignalingError, TransportError
from p2pclient.runtime.link_history import PathUsed, Why, sum_stats
from p2pclient.runtime.link_paths import Making, NegotiatedTransport, Path, Way
from p2pclient.runtime.link_policy import Key, LinkPolicy
from p2pclient.runtime.relay_door import RelayDoor
from p2pclient.transport.base import (
    Closed,
    Failed,
    Opened,
    PathChanged,
    PeerTransport,
    Returned,
    TransportEvent,
    TransportStats,
)
from p2pclient.transport.ladder import Rung
from p2pclient.transport.relay import RelayTransport

log = logging.getLogger("tandem.links")

TICK = 0.1
"""Seconds between two looks at the clock."""
_NEEDS = ("silence", "address")
"""Why an attempt is begun that is not needed once something is heard."""
MOST_PAST = 8
"""Programs of the peer's that are remembered, to know what they said from what the newest one says."""


class PeerLink:
    """All connections to one peer, as one. Made in a running loop.

    Args:
        leads: True on the side whose offer counts when both make one: exactly one of the two.
        way: how further connections are made; None if there is to be none.
        draw: chance, from 0 to 1.
    """

    def __init__(self, *, leads: bool, way: Way | None, draw: Callable[[], float] = random.random) -> None:
        self._loop = asyncio.get_running_loop()
        self.wakeup: Callable[[], None] | None = None
        self.incarnation = 0
        """Number of the peer's program; 0 while unknown."""
        self._past: list[int] = []
        self._way = way
        rungs = (Rung.DIRECT,) if way is None else way.rungs
        self._policy = LinkPolicy(leads=leads, draw=draw, now=self._loop.time(), rungs=rungs)
        self._paths: dict[Key, Path] = {}
        self._used: Path | None = None
        self._trials: list[Path] = []
        """Paths to send datagrams over as well."""
        self._makings: dict[Rung, Making] = {}
        self._relayed = RelayDoor()
        self._why: str = "silence"
        self._events: list[TransportEvent] = []
        self._steps: set[asyncio.Task[None]] = set()
        self._closings: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._dropped: Counter[str] = Counter()
        self._past_stats = TransportStats()
        self.history: list[PathUsed] = []
        """The paths that were used, in order."""
        self.attempts = 0
        """Connections that were begun beyond the first, by either side."""

    @property
    def is_closed(self) -> bool:
        """Was it closed."""
        return self._is_closed

    @property
    def is_open(self) -> bool:
        """Is there a path to send over, if only a silent one."""
        return self._used is not None

    # -- connections --------------------------------------------------------------------------------------------------

    def adopt(self, transport: PeerTransport, *, number: int = 0, rung: Rung = Rung.DIRECT, why: Why = "first") -> None:
        """Take over a transport that is open. It is the link's to close from now on.

        Args:
            number: of the attempt that made it; both sides must give the same.
            rung: of its kind; where several paths are good, one of the highest is used. The same on both sides.
        """
        if self._is_closed:
            raise LocalMisuseError("the link is closed")
        self._add(self._policy.key(number, is_ours=self._policy.leads, rung=rung), Path(transport, number, why))

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The kinds of path that may be used, the best first."""
        return self._policy.ladder.rungs

    def connect(self) -> None:
        """Look at the clock from now on, and for a first path. Harmless twice."""
        if self._timer is None and not self._is_closed:
            self._tick()

    def expect(self, rung: Rung, within: float) -> None:
        """Somebody else makes a path on this rung, and will have it adopted, or call :meth:`is_missing`."""
        self._policy.ladder.trying(rung, now=self._loop.time(), limit=within)

    def is_missing(self, rung: Rung) -> None:
        """A path that was expected will not come."""
        self._policy.failed(rung, now=self._loop.time())

    def start(self) -> None:
        """The match begins: silence leads to further connections from now on. Harmless twice."""
        if not self._is_closed:
            self._policy.listen(now=self._loop.time())
            self.connect()

    def begin(self, why: Why) -> None:
        """Make another connection now, whatever the silence; nothing happens while one is being made."""
        rung = self._policy.ladder.rungs[0]
        if self._way is not None and rung not in self._policy.attempts and not self._is_closed:
            self._why = why
            self._begin(rung, self._policy.begin(now=self._loop.time(), rung=rung), self._way)

    def hurry(self) -> None:
        """Whoever relays descriptions is back: if another connection is needed, it is tried now."""
        self._policy.hurry()
        for making in self._makings.values():
            if making.said is not None and not making.is_answered:
                self._do(making, self._say(making, making.said))

    def addresses_are(self, addresses: Collection[str]) -> None:
        """This computer has these addresses now. A path from another one hardly works any more."""
        self._policy.hurry()
        for key, path in self._paths.items():
            stats = path.transport.stats()
            local = stats.local_address.rpartition(":")[0].strip("[]").partition("%")[0]
            was_doubted, path.is_doubted = path.is_doubted, stats.connection == "direct" and local not in addresses
            if path.is_doubted and not was_doubted:
                log.info("path %d: %s is no address of this computer any more", path.number, local)
                self._why = "address"
                self._policy.doubt(key)

    def take(self, description: Description, *, number: int, incarnation: int, rung: Rung = Rung.DIRECT) -> None:
        """A description of the peer's came, for an attempt beyond the first. Nothing it holds can raise."""
        if self._way is None or self._is_closed or incarnation in self._past:
            return
        making = self._makings.get(rung)
        if description.type == "answer":
            is_due = making is not None and making.is_ours and making.number == number and not making.is_answered
            if making is not None and is_due:
                making.incarnation, making.is_answered = incarnation, True
                self._do(making, self._accept_answer(making, description))
            return
        if incarnation != self.incarnation:
            self._policy.forget_numbers()
        if self._policy.takes_offer(number, now=self._loop.time(), rung=rung):
            self._drop_making(rung)
            self.attempts += 1
            is_same = incarnation == self.incarnation or not self.incarnation
            transport, why = self._way.make(rung, False), "peer" if is_same else "returned"
            making = Making(rung, number, transport, False, why, incarnation)
            self._watch(making)
            self._do(making, self._accept_offer(making, transport, description))
        elif making is not None and making.is_ours and not making.is_answered and making.said is not None:
            self._do(making, self._say(making, making.said))  # it may have been said to nobody

    def take_relayed(self, frame: bytes) -> None:
        """The server brought something of the peer's. Nothing it holds can raise."""
        if self._is_closed or self._way is None or self._way.make_relayed is None:
            return
        transport = self._relayed.addressee(frame)
        if transport is None and self._relayed.is_call(frame) and self._policy.takes_call(now=self._loop.time()):
            transport = self._make_relayed(self._way.make_relayed, is_ours=False, why="peer")
        if transport is not None:
            transport.receive(frame)

    def _begin(self, rung: Rung, number: int, way: Way) -> None:
        why = self._why if self._policy.used is None or rung <= self._policy.used[0] else "better"
        log.info("attempt %d at another connection: %s (%s)", number, rung.word, why)
        self.attempts += 1
        if rung is not Rung.RELAY:
            transport = way.make(rung, True)
            making = Making(rung, number, transport, True, why, self.incarnation)
            self._watch(making)
            self._do(making, self._offer(making, transport))
        elif way.make_relayed is not None:
            self._make_relayed(way.make_relayed, is_ours=True, why=why)

    def _make_relayed(self, make: Callable[[], RelayTransport], *, is_ours: bool, why: str) -> RelayTransport:
        self._drop_making(Rung.RELAY)
        transport = make()
        self._relayed.add(transport)
        self._watch(Making(Rung.RELAY, 0, transport, is_ours, why, self.incarnation))
        return transport

    def _watch(self, making: Making) -> None:
        self._makings[making.rung] = making
        making.transport.wakeup = lambda: self._look_at(making)

    async def _offer(self, making: Making, transport: NegotiatedTransport) -> None:
        made = await transport.make_offer()
        await self._say(making, Description(type="offer", sdp=made["sdp"]))

    async def _accept_offer(self, making: Making, transport: NegotiatedTransport, offer: Description) -> None:
        made = await transport.accept_offer({"type": offer.type, "sdp": offer.sdp})
        await self._say(making, Description(type="answer", sdp=made["sdp"]))

    async def _accept_answer(self, making: Making, answer: Description) -> None:
        assert isinstance(making.transport, NegotiatedTransport)
        await making.transport.accept_answer({"type": answer.type, "sdp": answer.sdp})

    async def _say(self, making: Making, description: Description) -> None:
        assert self._way is not None
        making.said = description
        await self._way.say(description, making.rung, making.number)

    def _do(self, making: Making, step: Coroutine[Any, Any, None]) -> None:
        """Carry out a step of an attempt under way; if it fails, so does the attempt."""

        async def carry_out() -> None:
            try:
                await step
            except (TransportError, SignalingError, RemoteProtocolError, TimeoutError) as error:
                self._fail(making, str(error))

        self._keep(carry_out(), self._steps)

    def _keep(self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        task = self._loop.create_task(work)
        among.add(task)
        task.add_done_callback(among.discard)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._loop.call_exception_handler({"message": "bug in a link", "exception": task.exception()})

    def _fail(self, making: Making, reason: str) -> None:
        if making is self._makings.get(making.rung):
            log.info("attempt %d (%s) failed: %s", making.number, making.rung.word, reason)
            self._drop_making(making.rung)
            self._policy.failed(making.rung, now=self._loop.time())

    def _drop_making(self, rung: Rung) -> None:
        making = self._makings.pop(rung, None)
        if making is not None:
            self._close(making.transport)

    def _close(self, transport: PeerTransport) -> None:
        transport.wakeup = None
        self._relayed.remove(transport)
        self._past_stats = replace(sum_stats([self._past_stats, transport.stats()]), buffered_bytes=0)
        self._keep(transport.close(), self._closings)

    # -- what the transports report -----------------------------------------------------------------------------------

    def _look_at(self, making: Making) -> None:
        """Look at a transport that is being made."""
        if making is not self._makings.get(making.rung):
            return
        for event in making.transport.take_events():
            if isinstance(event, Opened):
                del self._makings[making.rung]
                if isinstance(making.transport, RelayTransport):
                    making.number, making.is_ours = making.transport.number, self._policy.leads
                    making.incarnation = making.transport.peer_incarnation
                self._change_incarnation(making)
                key = self._policy.key(making.number, is_ours=making.is_ours, rung=making.rung)
                self._add(key, Path(making.transport, making.number, making.why))
                self._wake()
                return
            self._fail(making, event.reason if isinstance(event, Failed) else "the other side ended it")

    def _change_incarnation(self, making: Making) -> None:
        if making.incarnation == self.incarnation:
            return
        is_known, old = bool(self.incarnation), self.incarnation
        self.incarnation = making.incarnation
        if is_known:
            self._past = [*self._past[1 - MOST_PAST :], old]
            for key in list(self._paths):
                self._remove(key)
            making.why = "returned"
            self._events.append(Returned(making.incarnation))

    def _add(self, key: Key, path: Path) -> None:
        self._paths[key] = path
        path.transport.wakeup = lambda: self._path_woke(key)
        self._policy.opened(key, now=self._loop.time())
        self._use()
        self._path_woke(key)

    def _path_woke(self, key: Key) -> None:
        path = self._paths.get(key)
        if path is None:
            return
        for event in path.transport.take_events():
            if isinstance(event, Closed | Failed):
                # No proof that the process is gone: silence and the server decide that.
                log.info("path %d: %s", path.number, event)
                self._wake()  # what it received last is still there
                self._loop.call_soon(self._remove, key)
        self._wake()

    def _remove(self, key: Key) -> None:
        path = self._paths.pop(key, None)
        if path is not None:
            self._policy.ended(key, now=self._loop.time())
            self._close(path.transport)
            self._use()

    def _use(self) -> None:
        """Send over what the policy has chosen."""
        key = self._policy.used
        path = self._paths[key] if key is not None else None
        self._trials = [self._paths[each] for each in self._policy.trials]
        if path is self._used:
            return
        now = self._loop.time()
        is_first = not self.history
        self._used = path
        if self.history and self.history[-1].until is None:
            self.history[-1].until = now
        if path is None:
            return
        stats = path.transport.stats()
        why = "first" if is_first else "older" if path.was_used else path.why
        path.was_used = True
        used = PathUsed(path.number, stats.connection, stats.local_address, stats.remote_address, why, now)
        self.history.append(used)
        log.info("path %d is used: %s", path.number, used)
        self._events.append(Opened() if is_first else PathChanged(used.connection, used.why))
        self._wake()

    def _wake(self) -> None:
        if self.wakeup is not None:
            self.wakeup()

    def _tick(self) -> None:
        if self._is_closed:
            return
        self._timer = self._loop.call_later(TICK, self._tick)
        if self._way is None:
            return
        decision = self._policy.tick(now=self._loop.time())
        for rung in decision.give_up:
            log.info("the attempt took too long (%s)", rung.word)
            self._drop_making(rung)
        self._use()
        for key in decision.close:
            self._remove(key)
        for rung, number in decision.begin:
            self._begin(rung, number, self._way)
        if decision.begin:
            self._why = "silence"

    # -- as a transport -----------------------------------------------------------------------------------------------

    def send_datagram(self, data: bytes) -> None:
        """See :class:`PeerTransport`."""
        if self._used is None:
            self._dropped["not-open"] += 1
        else:
            self._used.transport.send_datagram(data)
            for path in self._trials:
                path.transport.send_datagram(data)

    def send_control(self, data: bytes) -> None:
        """See :class:`PeerTransport`."""
        if self._used is None:
            raise TransportError("There is no connection to the partner now. Wait for it, or connect again.")
        self._used.transport.send_control(data)

    def take_received(self) -> list[tuple[str, bytes]]:
        """See :class:`PeerTransport`. What came over several paths is not in order between them."""
        taken: list[tuple[str, bytes]] = []
        now = self._loop.time()
        for key, path in self._paths.items():
            received = path.transport.take_received()
            if received:
                self._policy.heard(key, now=now)
                taken += received
        if taken and self._makings:
            self._drop_needless(now)
        return taken

    def _drop_needless(self, now: float) -> None:
        """End attempts that silence was the reason for, if a path is back before the peer has said a word to them."""
        best = self._policy.ladder.best_good(now=now)
        for rung, making in list(self._makings.items()):
            is_unheard = making.is_ours and not making.is_answered and making.why in _NEEDS
            if is_unheard and best is not None and rung <= best:
                self._drop_making(rung)
                self._policy.drop(rung)

    def take_events(self) -> list[TransportEvent]:
        """Return and clear what happened, oldest first. ``Opened`` comes with the first path."""
        events, self._events = self._events, []
        return events

    def stats(self) -> TransportStats:
        """See :class:`PeerTransport`. The counts are those of all paths; address and kind are of the last one used."""
        total = sum_stats([self._past_stats, *(path.transport.stats() for path in self._paths.values())])
        dropped = Counter(total.dropped_by_reason) + self._dropped
        last = self.history[-1] if self.history else None
        if last is None:
            return replace(total, dropped_by_reason=dict(dropped))
        if self._used is not None:
            now = self._used.transport.stats()
            if now.local_address:
                last.connection = now.connection
                last.local_address, last.remote_address = now.local_address, now.remote_address
        connection: Any = last.connection
        return replace(
            total,
            connection=connection,
            local_address=last.local_address,
            remote_address=last.remote_address,
            dropped_by_reason=dict(dropped),
        )

    async def close(self) -> None:
        """See :class:`PeerTransport`."""
        if not self._is_closed:
            self._is_closed = True
            if self._timer is not None:
                self._timer.cancel()
            for rung in list(self._makings):
                self._drop_making(rung)
            for key in list(self._paths):
                path = self._paths.pop(key)
                self._close(path.transport)
            for step in self._steps:
                step.cancel()
        await asyncio.gather(*self._steps, *self._closings, return_exceptions=True)
