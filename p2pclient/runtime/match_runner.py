"""Carries out what one match decides: bytes to peers, batches to the host, records to the log, views to the window."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from p2pclient.common.errors import EnvHostError, EnvHostGone, LocalMisuseError, RecordingError, TransportError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.common.room_messages import Health
from p2pclient.envhost.client import EnvHost
from p2pclient.envhost.exchange import BatchReply
from p2pclient.match.match import Match
from p2pclient.match.plan import ConnectionChanged, Ended, MatchEvent, Outbox, SpectatorGone, ViewReady
from p2pclient.match.watching import Watching
from p2pclient.protocol.control import ChangeKind
from p2pclient.recorder.records import EventRecorded, Record
from p2pclient.runtime.clocks import Clocks
from p2pclient.runtime.health import HealthMeter
from p2pclient.runtime.path_log import PathLog
from p2pclient.runtime.peer_link import PeerLink
from p2pclient.runtime.ticker import Ticker
from p2pclient.telemetry.clocks import Suspended
from p2pclient.transport.base import Opened, PathChanged, PeerTransport, Returned, TransportStats

log = logging.getLogger("tandem.match")
frames_log = logging.getLogger("tandem.frames")

_GOODBYE_SECONDS = 1.0
"""After the end: time in which the goodbye may still be acknowledged."""


class RecordTaker(Protocol):
    """Where records go: a :class:`~p2pclient.recorder.run.RunWriter`, or nowhere for who only watches."""

    def record(self, record: Record) -> None:
        """Take the next one."""


class MatchRunner:
    """Runs one match to its end.

    Args:
        match: the state machine, a player's or a spectator's; this is its only caller.
        host: ready, and used by nobody else meanwhile.
        renew: called when it is lost; gives another one, and what that says of itself.
        transports: open, by peer.
        writer: where the records go.
        on_event: told of every event of the match, in order.
        before_tick: called before every tick, to take in what the person did.
        after_tick: called after every tick with its time, for what is shown beside the views.
    """

    def __init__(
        self,
        match: Match | Watching,
        host: EnvHost,
        renew: Callable[[], Awaitable[tuple[EnvHost, Mapping[str, Any]]]],
        transports: Mapping[int, PeerTransport],
        writer: RecordTaker,
        *,
        on_event: Callable[[MatchEvent], None],
        before_tick: Callable[[], None],
        after_tick: Callable[[float], None],
    ) -> None:
        self.match = match
        self._health = HealthMeter(match) if isinstance(match, Match) else None
        self.host = host
        """The one in use."""
        self._renew = renew
        self._renewal: asyncio.Task[None] | None = None
        self._transports = transports
        self._spectators: dict[int, PeerTransport] = {}
        self._writer = writer
        self._on_event = on_event
        self._before_tick = before_tick
        self._after_tick = after_tick
        self._loop = asyncio.get_running_loop()
        self._ticker = Ticker(self._loop)
        self._clocks = Clocks()
        self._reply: asyncio.Future[BatchReply] | None = None
        self._failure: BaseException | None = None
        self.final_view: Mapping[str, Any] | None = None
        """The newest view of all; after the end, what the player last saw."""
        self._first_stats = {peer: transport.stats() for peer, transport in transports.items()}
        self.paths = PathLog(
            {peer: link for peer, link in transports.items() if isinstance(link, PeerLink)}, began=self._loop.time()
        )
        """Which paths led to the peers, from when to when."""
        self.seconds = 0.0
        """How long the match took, the goodbye not counted."""

    async def run(self) -> Ended:
        """Tick until the match has ended and its goodbye is said. Returns how it ended.

        Raises:
            Exception: whatever went wrong inside. The others have been told; closing the log is the caller's.
        """
        for peer, transport in self._transports.items():
            transport.wakeup = lambda peer=peer: self._pump(peer)
            self._pump(peer)
            if isinstance(transport, PeerLink):
                transport.start()
        ended_at: float | None = None
        started = self._loop.time()
        try:
            while ended_at is None or not self._is_over(ended_at):
                owed = await self._ticker.next(self.match.frame_duration)
                self.match.tracing = frames_log.isEnabledFor(logging.DEBUG)
                self._before_tick()
                self._look_at_transports()
                self._look_at_clocks()
                self._carry_out(self.match.tick(now=self._loop.time(), owed=owed))
                self._after_tick(self._loop.time())
                if self._health is not None:
                    self._health.note_tick(self._loop.time())
                if self.match.ended is not None and ended_at is None:
                    ended_at = self._loop.time()
                    self.seconds = ended_at - started
                if self._failure is not None:
                    raise self._failure
        except BaseException:
            self._send_control(self.match.abort(now=self._loop.time()))
            raise
        finally:
            if self._renewal is not None:
                self._renewal.cancel()
                await asyncio.wait({self._renewal})
            for transport in (*self._transports.values(), *self._spectators.values()):
                transport.wakeup = None
        assert self.match.ended is not None
        return self.match.ended

    def _is_over(self, ended_at: float) -> bool:
        if self._reply is not None:
            return False
        return not self.match.owes_acknowledgement or self._loop.time() - ended_at > _GOODBYE_SECONDS

    @property
    def connections(self) -> list[str]:
        """Kinds of path that led to the peers."""
        first = (stats.connection for stats in self._first_stats.values())
        return sorted({*first, *self.paths.kinds} - {""})

    def transport_stats(self) -> dict[int, TransportStats]:
        """Return what was carried between us and each peer, and over which path: the newest that was known."""
        newest = {peer: transport.stats() for peer, transport in self._transports.items()}
        for peer, first in self._first_stats.items():
            if not newest[peer].local_address:  # closed by the peer, who was done first
                newest[peer] = replace(
                    newest[peer],
                    connection=first.connection,
                    local_address=first.local_address,
                    remote_address=first.remote_address,
                )
        return newest

    def leave(self) -> None:
        """The person wants to go: say so to the others, and end."""
        if self.match.ended is None:
            self._carry_out(self.match.leave(now=self._loop.time()))
            self._ticker.hurry()

    def request_pause(self, reason: str = "") -> None:
        """Ask for a pause at a frame that all sides agree on. Harmless if it is paused, or asked for already.

        Any client of the match may ask for this, and for the next three. What all agree on is a
        :class:`~p2pclient.match.plan.MatchChanged`.

        Args:
            reason: a sentence for the players.

        Raises:
            LocalMisuseError: the match has ended.
        """
        self._request("pause", reason=reason)

    def request_resume(self, reason: str = "") -> None:
        """Ask for the end of the pause. Harmless if there is none. Raises as :meth:`request_pause`."""
        self._request("resume", reason=reason)

    def request_end(self, reason: str = "") -> None:
        """Ask for the match's end at a frame that all agree on. Harmless twice. Raises as :meth:`request_pause`."""
        self._request("end", reason=reason)

    def request_extend(self, frames: int, reason: str = "") -> None:
        """Ask for ``frames`` more. Every call counts; one that comes in the last moment changes nothing.

        Raises:
            LocalMisuseError: the match has ended or is about to, has no length in frames, or would become too long.
        """
        self._request("extend", frames=frames, reason=reason)

    @property
    def pauses(self) -> tuple[bool, bool]:
        """Is the match paused now, and will it be when all that is agreed on or asked for here is in effect."""
        if not isinstance(self.match, Match):
            return False, False
        return self.match.changes.stands, self.match.changes.will_stand

    def _request(self, kind: ChangeKind, *, reason: str, frames: int = 0) -> None:
        if not isinstance(self.match, Match):
            raise LocalMisuseError("This client only watches the match.")
        self.match.changes.wish(kind, reason=reason, frames=frames)

    def health(self, now: float) -> Health:
        """Return how the match goes.

        Raises:
            LocalMisuseError: this client only watches it.
        """
        if self._health is None:
            raise LocalMisuseError("This client only watches the match.")
        return self._health.report(now, self.transport_stats())

    def add_spectator(self, spectator: int, transport: PeerTransport) -> None:
        """Let somebody watch who is connected. Closing the transport after :class:`SpectatorGone` is the caller's."""
        assert isinstance(self.match, Match)
        self.match.feeds.add(spectator, now=self._loop.time())
        self._spectators[spectator] = transport
        transport.wakeup = lambda: self._pump(spectator)
        self._pump(spectator)

    def remove_spectator(self, spectator: int) -> None:
        """A spectator's connection is closed for good. Harmless for one that is not here."""
        if isinstance(self.match, Match):
            self.match.feeds.remove(spectator)
        self._forget(spectator)

    def _forget(self, spectator: int) -> None:
        transport = self._spectators.pop(spectator, None)
        if transport is not None:
            transport.wakeup = None

    def peer_gone(self, peer: int) -> None:
        """The server says that a peer's process is gone."""
        self.match.peer_gone(peer)

    def peer_back(self, peer: int) -> None:
        """The server says that a peer that was gone is connected to it again."""
        self.match.peer_gone(peer, gone=False)

    def answer_grant(self, living: Sequence[int], *, is_granted: bool) -> None:
        """The server says whether this part of the players may go on without the others. Too late does no harm."""
        if isinstance(self.match, Match) and self.match.ended is None:
            self.match.drops.answer(living, is_granted=is_granted, now=self._loop.time())

    # -- in -----------------------------------------------------------------------------------------------------

    def _pump(self, peer: int) -> None:
        now = self._loop.time()
        transport = self._transport(peer)
        if isinstance(transport, PeerLink):
            self._look_at_transport(peer, transport)  # whose words these are has to be known first
        for channel, data in transport.take_received() if transport is not None else ():
            self.match.receive(peer, channel, data, now=now)

    def _transport(self, peer: int) -> PeerTransport | None:
        """Return what leads to a peer or spectator; None if that has gone meanwhile."""
        return self._transports.get(peer) or self._spectators.get(peer)

    def _look_at_transports(self) -> None:
        for peer, transport in self._transports.items():
            self._look_at_transport(peer, transport)

    def _look_at_transport(self, peer: int, transport: PeerTransport) -> None:
        for event in transport.take_events():
            if isinstance(event, PathChanged | Opened):
                self._path_changed(peer, event)
            elif isinstance(event, Returned) and isinstance(self.match, Match):
                is_in = self.match.readmit(peer, now=self._loop.time())
                log.info("peer %d was started again: %s", peer, "it comes back" if is_in else "too late")
            else:
                # No proof that the process is gone: silence and the server decide that.
                log.info("connection to peer %d: %s", peer, event)

    def _look_at_clocks(self) -> None:
        """Have it recorded that this machine slept, this program stood still, or the date was set."""
        for found in self._clocks.look():
            if not isinstance(self.match, Match):
                continue
            if isinstance(found, Suspended):
                self.match.absences.stood_still(found.seconds, found.why)
            else:
                self.match.absences.clock_jumped(found.seconds)

    def _path_changed(self, peer: int, event: PathChanged | Opened) -> None:
        """Send over the new path what the old one may not have brought."""
        match = self.match
        if not isinstance(match, Match):
            return
        if peer in match.peers:
            match.peers[peer].endpoint.resend_control()
        at = match.number, match.episode.session.current_frame if match.episode is not None else NULL_FRAME
        self.paths.note_change(peer, at)
        if isinstance(event, PathChanged):
            details = {"peer": peer, "connection": event.connection, "why": event.why}
            self._write(EventRecorded("connection", *at, details))
            self._on_event(ConnectionChanged(peer, event.connection, event.why))

    # -- out ----------------------------------------------------------------------------------------------------

    def _carry_out(self, out: Outbox) -> None:
        for peer, data in out.datagrams:
            transport = self._transport(peer)
            if transport is not None:
                transport.send_datagram(data)
        if out.batch is not None:
            self._reply = self.host.submit(out.batch)
            self._reply.add_done_callback(self._batch_returned)
        if out.wants_host:
            self._renewal = self._loop.create_task(self._take_host())
        for record in out.records:  # before anything is said of them that cannot be lost
            self._write(record)
        self._send_control(out)
        for line in out.trace:
            frames_log.debug(line)
        for event in out.events:
            if isinstance(event, SpectatorGone):
                self._forget(event.spectator)
            if isinstance(event, ViewReady):
                self.final_view = event.view
            else:
                log.info("%s", event)
            self._on_event(event)

    def _write(self, record: Record) -> None:
        try:
            self._writer.record(record)
        except RecordingError as error:
            self._failure = error

    def _send_control(self, out: Outbox) -> None:
        for peer, data in out.control:
            try:
                transport = self._transport(peer)
                if transport is not None:
                    transport.send_control(data)
            except TransportError as error:
                log.info("control message to peer %d not sent: %s", peer, error)

    def _batch_returned(self, reply: asyncio.Future[BatchReply]) -> None:
        self._reply = None
        now = self._loop.time()
        try:
            if reply.cancelled():
                return
            error = reply.exception()
            if error is None:
                done = reply.result()
                self._carry_out(self.match.batch_done(done.results, costs_us=done.costs_us, now=now))
            elif isinstance(error, EnvHostError):
                self._log_failure(error)
                is_gone = isinstance(error, EnvHostGone)
                self._carry_out(self.match.host_lost(str(error), is_gone=is_gone, now=now))
            else:
                self._failure = error
        except Exception as error:  # noqa: BLE001 - a callback's error would vanish; run() raises it
            self._failure = error

    def _log_failure(self, error: EnvHostError) -> None:
        log.error("environment: %s (more is in %s)", error, self.host.spec.log_path)
        log.debug("%s", error.traceback)

    async def _take_host(self) -> None:
        """Get another host in place of the lost one, and hand it to the match."""
        try:
            self.host, ready = await self._renew()
            log.info("another environment is ready")
            self._carry_out(self.match.host_ready(ready, now=self._loop.time()))
        except EnvHostError as error:
            self._log_failure(error)
            self._carry_out(self.match.host_lost(str(error), now=self._loop.time()))
        except Exception as error:  # noqa: BLE001 - a task's error would vanish; run() raises it
            self._failure = error
