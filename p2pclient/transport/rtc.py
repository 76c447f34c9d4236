"""Carries bytes over a WebRTC peer connection (aiortc) with two negotiated data channels.

Importing this module takes 0.2 to 0.4 s, nearly all of it aiortc's media libraries. Everything else is quick: no
certificate or gathering needs to be prepared (1 ms together on a machine without STUN).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aiortc import RTCConfiguration, RTCDataChannel, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from p2pclient.common.errors import LocalMisuseError, RemoteProtocolError, TransportError
from p2pclient.transport.association import Association
from p2pclient.transport.base import CONTROL, INPUTS, Closed, Failed, TransportStats
from p2pclient.transport.common import CommonTransport
from p2pclient.transport.delayed import LoopRelease
from p2pclient.transport.description import read_description
from p2pclient.transport.ice import IcePath, IceServer, checked_addresses
from p2pclient.transport.impairment import Impairment

logger = logging.getLogger(__name__)

CHANNEL_IDS = {INPUTS: 0, CONTROL: 1}

MAX_BUFFERED_INPUT_BYTES = 16 * 1024
"""Inputs that may wait in front of the connection. Only reached when nothing has been acknowledged for long."""

CONNECT_TIMEOUT_S = 20.0

CLOSE_TIMEOUT_S = 2.0

NO_ADDRESS = "This computer has no network address to be reached at. Check that a network is connected."
NO_TURN = (
    "The TURN server does not answer, or has another secret. Check that it runs, that its address is right "
    "(tandem serve --turn), and that its static-auth-secret is the one in --turn-secret-file."
)
NO_PATH = (
    "No path to the partner's computer was found. Check that both are on the same network and that no firewall "
    "blocks this program (UDP)."
)
NO_HANDSHAKE = "The encrypted connection to the partner could not be set up. Start both programs again."
LOST = "The connection to the partner was lost. Check the network on both computers."


class RtcTransport(CommonTransport):
    """One peer connection. Make it in a running loop; one side is the offerer.

    The offerer calls ``make_offer`` and later ``accept_answer``, the other ``accept_offer``; descriptions are dicts of
    ``type`` and ``sdp``, carry all candidates, and go by way of the signaling server. Then ``Opened`` or ``Failed``
    comes as an event. ``close`` must be awaited in every case.

    ``addresses`` are the local addresses to use; all that are up if ``None``. A path that gives no answer is kept for
    30 s, or ``keep_s`` if that is longer: until then it works again as soon as the network does. With ``only_turn``,
    the only candidate is an address on the TURN server.
    """

    def __init__(
        self,
        *,
        offerer: bool,
        ice_servers: Sequence[IceServer] = (),
        impairment: Impairment | None = None,
        addresses: Sequence[str] | None = None,
        connect_timeout: float = CONNECT_TIMEOUT_S,
        keep_s: float | None = None,
        only_turn: bool = False,
    ) -> None:
        self._loop = loop = asyncio.get_running_loop()
        wanted = checked_addresses(addresses)
        super().__init__(
            clock=loop.time,
            releases=(LoopRelease(loop), LoopRelease(loop)),
            call_soon=loop.call_soon,
            impairment=impairment,
        )
        self._offerer = offerer
        self._only_turn = only_turn
        self._connect_timeout = connect_timeout
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._step = "new"
        servers = [RTCIceServer(each.url, each.username, each.credential) for each in ice_servers]
        # An empty list, never None: the library's default asks a public STUN server.
        policy = RTCIceTransportPolicy.RELAY if only_turn else RTCIceTransportPolicy.ALL
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers, iceTransportPolicy=policy))
        self._channels = {INPUTS: self._make_channel(INPUTS), CONTROL: self._make_channel(CONTROL)}
        sctp = self._connection.sctp
        assert sctp is not None
        self._association = Association(sctp, channels=set(CHANNEL_IDS.values()), count=self._count_drop)
        self._path = IcePath(
            sctp.transport.transport._connection,
            addresses=wanted,
            messages=self._messages_received,
            count=self._count_drop,
            lost=lambda: self._finish(Failed(LOST)),
            keep_s=keep_s,
        )
        self._connection.on("connectionstatechange", self._guarded(self._on_connection_state))
        self._connection.on("datachannel", self._guarded(self._on_foreign_channel))

    def _make_channel(self, lane: str) -> RTCDataChannel:
        options: dict[str, Any] = {"ordered": False, "maxRetransmits": 0} if lane == INPUTS else {}
        channel = self._connection.createDataChannel(lane, negotiated=True, id=CHANNEL_IDS[lane], **options)
        channel.on("open", self._guarded(self._on_open))
        channel.on("close", self._guarded(self._on_close))
        channel.on("message", self._guarded(lambda data: self._receive(lane, data)))
        return channel

    def _guarded(self, function: Callable[..., None]) -> Callable[..., None]:
        """Return ``function`` such that a bug in it is reported to the loop, not thrown into aiortc's tasks."""

        def call(*args: Any) -> None:
            try:
                function(*args)
            except Exception as error:
                logger.error("bug in the transport", exc_info=True)
                self._loop.call_exception_handler({"message": "bug in the transport", "exception": error})

        return call

    # Connecting

    async def make_offer(self) -> dict[str, str]:
        """Return the description that the other side's ``accept_offer`` takes.

        Raises:
            TransportError: this machine has no address to be reached at, or the transport was closed meanwhile.
        """
        self._go("new", "offering", offerer=True)
        return await self._describe()

    async def accept_offer(self, description: Mapping[str, Any]) -> dict[str, str]:
        """Take the other side's offer and return the answer for its ``accept_answer``.

        Raises:
            RemoteProtocolError: the description is not one that a peer of this program makes (``bad-description``).
            TransportError: as :meth:`make_offer`.
        """
        offer = read_description(description, "offer")
        self._go("new", "connecting", offerer=False)
        await self._apply(offer)
        answer = await self._describe()
        self._start_timer()
        return answer

    async def accept_answer(self, description: Mapping[str, Any]) -> None:
        """Take the other side's answer; connecting begins.

        Raises:
            RemoteProtocolError: as :meth:`accept_offer`.
            TransportError: the transport was closed.
        """
        answer = read_description(description, "answer")
        self._go("offering", "connecting", offerer=True)
        await self._apply(answer)
        self._start_timer()

    def _go(self, expected: str, step: str, *, offerer: bool) -> None:
        self._check_alive()
        if self._step != expected or self._offerer != offerer:
            role = "offerer" if self._offerer else "answerer"
            raise LocalMisuseError(f"out of turn: the {role} is {self._step}")
        self._step = step

    def _check_alive(self) -> None:
        if self._end is not None:
            raise TransportError("The connection to the partner was ended. Connect again.")

    async def _describe(self) -> dict[str, str]:
        await self._translated(self._connection.setLocalDescription())
        if not self._path.has_candidates:
            raise TransportError(NO_TURN if self._only_turn else NO_ADDRESS)
        made = self._connection.localDescription
        return {"type": made.type, "sdp": made.sdp}

    async def _apply(self, description: RTCSessionDescription) -> None:
        try:
            await self._translated(self._connection.setRemoteDescription(description))
        except TransportError:
            raise
        except Exception as error:
            # It was checked, so this is a combination that nobody thought of; it came from outside all the same.
            raise RemoteProtocolError("bad-description", f"it does not fit ({type(error).__name__})") from error

    async def _translated(self, step: Awaitable[None]) -> None:
        """Await ``step``; if the transport ended meanwhile, say that instead of what aiortc makes of it."""
        try:
            await step
        except Exception:
            self._check_alive()
            raise
        self._check_alive()

    def _start_timer(self) -> None:
        if self._end is None and not self._is_open:
            self._timer = self._loop.call_later(self._connect_timeout, self._finish, Failed(NO_PATH))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # What aiortc reports

    def _on_open(self) -> None:
        if all(channel.readyState == "open" for channel in self._channels.values()):
            self._stop_timer()
            self._open()

    def _on_close(self) -> None:
        # An abort by the peer, which its close() sends, arrives here at once; so does a handshake that ran out of
        # tries, but only before the lanes were open.
        self._finish(Closed(by_peer=True) if self._is_open else Failed(NO_HANDSHAKE))

    def _on_connection_state(self) -> None:
        state = self._connection.connectionState
        if state == "failed":
            has_path = self._connection.iceConnectionState != "failed"
            self._finish(Failed(LOST if self._is_open else NO_HANDSHAKE if has_path else NO_PATH))
        elif state == "closed":
            self._finish(Closed(by_peer=True))

    def _on_foreign_channel(self, channel: RTCDataChannel) -> None:
        self._count_drop("foreign-channel")
        channel.close()

    def _finish(self, event: Closed | Failed) -> None:
        self._stop_timer()
        super()._finish(event)

    # Carrying

    def _carry(self, lane: str, data: bytes) -> None:
        channel = self._channels[lane]
        if channel.readyState == "open":
            self._association.send(channel, data)
        else:
            self._count_drop("not-open")

    def _may_carry_input(self) -> bool:
        return self._channels[INPUTS].bufferedAmount < MAX_BUFFERED_INPUT_BYTES

    def _waiting_bytes(self, lane: str) -> int:
        return self._channels[lane].bufferedAmount

    def _count_drop(self, reason: str) -> None:
        self._dropped[reason] += 1

    def _messages_received(self) -> int:
        return self._counts["received", INPUTS, "messages"] + self._counts["received", CONTROL, "messages"]

    def stats(self) -> TransportStats:
        """See :class:`PeerTransport`."""
        kind, local, remote = self._path.describe()
        counted = super().stats()
        buffered = counted.buffered_bytes + self._association.unacknowledged_bytes()
        return replace(counted, connection=kind, local_address=local, remote_address=remote, buffered_bytes=buffered)

    # Closing

    async def close(self) -> None:
        """See :class:`PeerTransport`. Takes up to 20 ms; loss is not waited out."""
        if self._closing is None:
            self._held_control.flush()
            self._finish(Closed(by_peer=False))
            self._closing = asyncio.ensure_future(self._close_connection())
        await asyncio.shield(self._closing)

    async def _close_connection(self) -> None:
        try:
            await asyncio.wait_for(self._connection.close(), CLOSE_TIMEOUT_S)
            await asyncio.wait_for(self._path.settle(), CLOSE_TIMEOUT_S)
        except TimeoutError:
            logger.warning("the connection to the partner did not close in time")


async def connect_pair(offerer: RtcTransport, answerer: RtcTransport) -> None:
    """Exchange the descriptions of two transports in one process, as the signaling server does between two."""
    await offerer.accept_answer(await answerer.accept_offer(await offerer.make_offer()))
