"""What aiortc 1.16 does otherwise than this program needs in its SCTP layer, changed on one association at a time.

Sending. ``RTCDataChannel.send`` only makes a task that sends later; here a message leaves within the call.

The congestion window, which starts at 3.5 KB and falls to 1.2 KB when the timer T3 expires, is kept open: datagrams
leave at a rate that the frames set and supersede each other, so holding them back cures no congestion and makes them
worthless. Measured at 60 Hz with 600-byte datagrams, 150 ms each way and 10 % loss: what arrives is 2,700 ms old at the
median with aiortc's window, 151 ms with this one.

Giving up lost datagrams. aiortc moves the peer past one hole per round trip. With more holes than that (60 Hz, 300 ms
and 10 % loss suffice) the list of what is unacknowledged grows for ever, and with it each acknowledgement, until it
no longer fits a datagram and nothing is acknowledged any more. Here one message moves the peer past all holes that
are given up.

Coming back. What was lost is sent again once per RTO, 1 s at the least, so that after an outage control would wait for
up to a second; and where a lost datagram was given up meanwhile, aiortc takes the whole outage for a round trip, by
which the RTO grows to as long as the outage was (after 20 s: 22 s). Here the first packet after a silence has
everything sent again at once, and the RTO is bounded.

Receiving. Packets come from an authenticated peer, whose program may be hostile. Any exception would end aiortc's
receiving task without anyone being told, and some packets cost it seconds or memory without bound.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

from aiortc import RTCDataChannel
from aiortc.rtcsctptransport import (
    WEBRTC_BINARY,
    WEBRTC_DCEP,
    Chunk,
    DataChunk,
    ForwardTsnChunk,
    SackChunk,
)
from OpenSSL import SSL

logger = logging.getLogger(__name__)

SEND_WINDOW_BYTES = 256 * 1024
"""Congestion window while it is open; more than :data:`SEND_WINDOW_PACKETS` of the largest datagrams."""

SEND_WINDOW_PACKETS = 128
"""Packets in flight at which the window closes: two seconds at 60 Hz, and half of what a system's default socket buffer
holds, so that a burst does not cause loss by itself. What is sent then waits, and inputs are soon dropped."""

FIRST_RTO_S = 1.0
"""Before a round trip was measured (RFC 9260 section 16); aiortc has 3 s, the value of RFC 4960."""

LONGEST_RTO_S = 2.0
"""Above the round trips of anything that can be played."""

RETURN_AFTER_S = 0.4
"""Silence after which a packet is a return: more than there is between two packets of a side that lives."""

MAX_SACK_GAPS = 200
"""Gaps in an acknowledgement that we send: 800 bytes. aiortc cuts what exceeds a datagram, and so breaks it."""

MAX_SACK_SPAN = 8192
"""Packets that one acknowledgement may speak of; aiortc walks through each of them."""

MAX_MISORDERED = 4096
"""Packets that may be missing before others; aiortc sorts them for every packet that comes."""

MAX_CHANNELS = 8
"""Channels, the peer's attempts at further ones included."""


class Association:
    """One association (``RTCSctpTransport``), prepared before it starts.

    ``channels`` are the ids that both sides negotiated; ``count`` is called with the reason of each drop.
    """

    def __init__(self, sctp: Any, *, channels: set[int], count: Callable[[str], None]) -> None:
        self._sctp = sctp
        self._channels = channels
        self._count = count
        self._leaves_at_once = True
        self._heard_at = monotonic()
        self._sctp._rto = FIRST_RTO_S
        self._measure = self._sctp._update_rto
        self._sctp._update_rto = self._update_rto
        self._send_chunk = self._sctp._send_chunk
        self._transmit = self._sctp._transmit
        self._advance_past_abandoned = self._sctp._update_advanced_peer_ack_point
        self._take_packet = self._sctp._handle_data
        self._take_chunk = self._sctp._receive_chunk
        self._take_message = self._sctp._data_channel_receive
        self._sctp._send_chunk = self._send_chunk_if_connected
        self._sctp._transmit = self._transmit_with_open_window
        self._sctp._update_advanced_peer_ack_point = self._advance_past_all_settled
        self._sctp._handle_data = self._receive_packet
        self._sctp._receive_chunk = self._receive_chunk
        self._sctp._data_channel_receive = self._receive_message

    # Sending

    def send(self, channel: RTCDataChannel, data: bytes) -> None:
        """Send ``data`` on an open channel, now."""
        if not self._leaves_at_once:
            channel.send(data)
            return
        channel._addBufferedAmount(len(data))
        self._sctp._data_channel_queue.append((channel, WEBRTC_BINARY, data))
        self._leaves_at_once = _run_now(self._sctp._data_channel_flush())

    def unacknowledged_bytes(self) -> int:
        """Return payload bytes that were sent, or wait below the channels, without an acknowledgement."""
        sctp = self._sctp
        return sum(len(chunk.user_data) for queue in (sctp._sent_queue, sctp._outbound_queue) for chunk in queue)

    async def _send_chunk_if_connected(self, chunk: Chunk) -> None:
        # Timers and tasks of the association outlive the connection below it by a moment; what they send then raises
        # in tasks that nobody awaits. SCTP treats it as lost.
        if isinstance(chunk, SackChunk):
            del chunk.gaps[MAX_SACK_GAPS:], chunk.duplicates[MAX_SACK_GAPS // 4 :]
        try:
            await self._send_chunk(chunk)
        except (ConnectionError, SSL.Error):
            logger.debug("not connected: %r not sent", chunk)

    async def _transmit_with_open_window(self) -> None:
        # Every path that changes the window comes by here before it sends. One byte is a closed window: with nothing
        # in flight a packet may still leave.
        in_flight = sum(chunk._in_flight for chunk in self._sctp._sent_queue)
        self._sctp._cwnd = SEND_WINDOW_BYTES if in_flight < SEND_WINDOW_PACKETS else 1
        await self._transmit()

    def _advance_past_all_settled(self) -> None:
        # Chunks that the peer has, behind one that is given up, need nothing more from us: count them as given up too,
        # so that the advance (RFC 3758 section 3.5, C2) does not halt at them. No peer of ours takes back what it
        # acknowledged, and the advance tells it nothing that it does not know.
        for chunk in self._sctp._sent_queue:
            if chunk._acked:
                chunk._abandoned = True
            elif not chunk._abandoned:
                break
        self._advance_past_abandoned()

    def _update_rto(self, round_trip: float) -> None:
        self._measure(min(round_trip, LONGEST_RTO_S))
        self._sctp._rto = min(self._sctp._rto, LONGEST_RTO_S)

    def _send_again(self) -> None:
        """Do at once what the timer T3 would do later."""
        if self._sctp._t3_handle is not None:
            self._sctp._t3_cancel()
            self._sctp._t3_expired()

    # Receiving

    async def _receive_packet(self, data: bytes) -> None:
        silent_for = monotonic() - self._heard_at
        self._heard_at += silent_for
        if silent_for > RETURN_AFTER_S:
            self._send_again()
        try:
            await self._take_packet(data)
        except Exception:
            # SCTP treats it as lost, so what was an honest packet comes again.
            self._count("malformed")
            logger.debug("packet dropped", exc_info=True)

    async def _receive_chunk(self, chunk: Chunk) -> None:
        if self._is_costly(chunk):
            self._count("malformed")
        else:
            await self._take_chunk(chunk)

    def _is_costly(self, chunk: Chunk) -> bool:
        sctp = self._sctp
        if isinstance(chunk, SackChunk):
            span: int = sum(max(0, last - first + 1) for first, last in chunk.gaps)
            return span > MAX_SACK_SPAN
        if isinstance(chunk, DataChunk):
            return bool(len(sctp._sack_misordered) > MAX_MISORDERED or sctp._advertised_rwnd < len(chunk.user_data))
        return isinstance(chunk, ForwardTsnChunk) and len(chunk.streams) > MAX_CHANNELS

    async def _receive_message(self, stream_id: int, protocol: int, data: bytes) -> None:
        is_ours = stream_id in self._channels
        if protocol == WEBRTC_DCEP:
            # The opening of a further channel; the transport closes it. Ours are never opened on the wire.
            is_expected = not is_ours and len(self._sctp._data_channels) < MAX_CHANNELS
        else:
            is_expected = is_ours
        if is_expected:
            await self._take_message(stream_id, protocol, data)
            return
        self._count("wrong-channel")
        if not is_ours:
            # aiortc keeps a record of each stream that was ever named.
            self._sctp._inbound_streams.pop(stream_id, None)


def _run_now(sending: Coroutine[Any, Any, None]) -> bool:
    """Run a coroutine that never waits to its end, and return True.

    aiortc's way from the channel to the socket is made of coroutines, none of which waits for anything. Should one
    begin to, its message is dropped and False returned; messages must then be sent by way of a task.
    """
    try:
        sending.send(None)
    except StopIteration:
        return True
    sending.close()
    return False
