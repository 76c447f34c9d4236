"""The conversation with one peer, as a state machine without a socket or a clock.

Two lanes. **Datagrams** may be lost, doubled and reordered: each carries all inputs that are not yet acknowledged, the
acknowledgement, timing, lead and the newest chain value, so that any one of them heals what was lost. **Control**
messages are numbered and acknowledged; :meth:`Endpoint.resend_control` repeats what is open over a new connection.

Nothing that a peer sends raises out of here: what is wrong is counted by reason in :attr:`Endpoint.drops` and dropped.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from p2pclient.common.errors import LocalMisuseError, RemoteProtocolError
from p2pclient.protocol.clock import PeerClock
from p2pclient.protocol.control import CONTROL_VERSION, AnyMessage, Envelope, decode_control, encode_control
from p2pclient.protocol.datagram import MAX_HELD, TIME_UNIT, Datagram, decode_datagram, encode_datagram
from p2pclient.protocol.stats import EndpointStats

NOTICE_AFTER = 0.5
"""Seconds of silence after which the person is told."""
LOST_AFTER = 2.5
"""Seconds of silence after which the peer counts as lost."""
KEEP_ALIVE = 0.2
"""Seconds between datagrams while none goes out for a frame."""
MAX_AHEAD = 256
"""Frames beyond what we have simulated that we take from a peer: far above any window, small in memory."""
MAX_UNACKNOWLEDGED = 256
"""Inputs of ours that a peer may leave unacknowledged while it goes on; two windows and delays are honest."""
MAX_OPEN_CONTROL = 256
"""Control messages that may wait for their acknowledgement."""
_NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """What both sides of one conversation know beforehand."""

    connection: int
    """16-bit id that every datagram carries; others belong to another match."""
    local_width: int
    """Bytes of all inputs of our seats in one frame."""
    remote_widths: tuple[int, ...]
    """Bytes of one input of each of the peer's seats, in their order."""
    is_valid: Callable[[int, bytes], bool]
    """``(index of the peer's seat, input) -> may it reach the environment``. Not asked again about what is held."""


class InputReceived(msgspec.Struct, frozen=True):
    """The peer's next input: of all its seats, for ``frame``. Comes in order, without gaps."""

    frame: int
    values: tuple[bytes, ...]


class ChainReceived(msgspec.Struct, frozen=True):
    """The peer's chain value at ``frame``."""

    frame: int
    value: bytes


class ControlReceived(msgspec.Struct, frozen=True):
    """The peer's next control message. Comes in order, once."""

    message: AnyMessage


class SilenceChanged(msgspec.Struct, frozen=True):
    """How long nothing was heard has crossed a bound: ``heard``, ``notice`` or ``lost``."""

    level: str


Event = InputReceived | ChainReceived | ControlReceived | SilenceChanged


class Endpoint:
    """One side of the conversation with one peer.

    Args:
        config: what both sides know beforehand.
        now: seconds; the conversation starts here.
    """

    def __init__(self, config: EndpointConfig, *, now: float) -> None:
        self._config = config
        self._remote_width = sum(config.remote_widths)
        self.drops: Counter[str] = Counter()
        """Datagrams and control messages that were not taken, by reason."""
        self.stats = EndpointStats()
        self.clock = PeerClock()
        """The peer's clock against ours."""
        self.arrivals: deque[tuple[int, float]] = deque(maxlen=MAX_AHEAD)
        """``(frame, when)`` of the newest inputs that arrived in this episode; take them out and keep what you need."""
        self.peer_lead: float | None = None
        """Frames by which the peer said to be ahead of us, newest value."""
        self.silence = "heard"
        self.heard_at = now
        """When anything was heard last."""
        self.answered = _NEVER
        """When the newest of our datagrams left whose stamp has come back."""
        self._sent_at = _NEVER
        self._newest_stamp: int | None = None
        self._newest_stamp_at = now
        self._sequence = 0
        self._held_input: tuple[bytes, tuple[bytes, ...]] | None = None
        self._sent_control: deque[tuple[int, AnyMessage]] = deque()
        self._control_queue: deque[Envelope] = deque()
        self._next_number = 1
        self._control_heard = 0
        self._control_told = 0
        self._acknowledge_due = False
        self._events: list[Event] = []
        self.begin_episode(0)

    def begin_episode(self, episode: int, *, first_frame: int = 0, expected: int | None = None) -> None:
        """Start frames anew at ``first_frame``, in both directions; datagrams of other episodes are dropped then.

        Args:
            episode: what datagrams say; of the conversation with a spectator, the number of the stretch that is fed.
            first_frame: where our inputs begin.
            expected: where those of the other side begin; None: there as well.
        """
        heard = (first_frame if expected is None else expected) - 1
        self._episode = episode
        self._events = [e for e in self._events if not isinstance(e, InputReceived | ChainReceived)]
        self.arrivals.clear()
        self._unacknowledged: deque[bytes] = deque()
        self._first_unacknowledged = first_frame
        self._chain: tuple[int, bytes] | None = None
        self._chain_heard = heard
        self.newest_heard = heard
        """Newest frame for which the peer's input is here."""
        self.peer_lead = None
        self.lead: float | None = None
        """Our frame minus the newest frame heard; goes out with every datagram."""
        self.limit = heard + 1 + MAX_AHEAD
        """Frames at or past it are not taken from the peer yet."""

    @property
    def rtt(self) -> float | None:
        """Newest round trip time, seconds, without the time that the other side held our stamp."""
        return self.stats.rtt

    # -- local side ---------------------------------------------------------------------------------------------

    def queue_input(self, frame: int, value: bytes) -> None:
        """Queue the joined input of our seats for the next frame."""
        if frame != self._first_unacknowledged + len(self._unacknowledged) or len(value) != self._config.local_width:
            raise LocalMisuseError(f"input for frame {frame} is not the next one, or not of the agreed width")
        self._unacknowledged.append(value)

    @property
    def open_inputs(self) -> int:
        """Inputs of ours that the peer has not acknowledged."""
        return len(self._unacknowledged)

    def set_chain(self, frame: int, value: bytes) -> None:
        """The newest chain value of ours, repeated in every datagram from here on."""
        self._chain = (frame, value)

    def queue_control(self, message: AnyMessage) -> int:
        """Queue a control message; it leaves with :meth:`control_to_send`.

        Returns:
            Its number, for :meth:`is_acknowledged`.

        Raises:
            LocalMisuseError: too many wait for their acknowledgement, or this one is too long to be read.
        """
        if len(self._sent_control) >= MAX_OPEN_CONTROL:
            raise LocalMisuseError("too many control messages wait for their acknowledgement")
        envelope = Envelope(CONTROL_VERSION, self._next_number, self._next_number, message)
        encode_control(envelope)  # too long a message is found where it is made, not where it leaves
        self._sent_control.append((self._next_number, message))
        self._control_queue.append(envelope)
        self._next_number += 1
        return self.newest_control

    @property
    def newest_control(self) -> int:
        """Number of the control message that was queued last."""
        return self._next_number - 1

    def is_acknowledged(self, number: int) -> bool:
        """Has a control message of ours arrived on the other side."""
        return not self._sent_control or self._sent_control[0][0] > number

    @property
    def open_control(self) -> int:
        """Control messages that the peer has not acknowledged."""
        return len(self._sent_control)

    def resend_control(self) -> None:
        """Queue again what is not acknowledged: the connection that carried it is gone."""
        self._control_queue = deque(Envelope(CONTROL_VERSION, n, 0, m) for n, m in self._sent_control)

    def control_to_send(self) -> list[bytes]:
        """Return the bytes of all queued control messages, acknowledgements on board."""
        if not self._control_queue:
            if not self._acknowledge_due:
                return []
            self._control_queue.append(Envelope(CONTROL_VERSION, 0, 0, None))
        self._acknowledge_due = False
        out = []
        while self._control_queue:
            queued = self._control_queue.popleft()
            data = encode_control(Envelope(queued.version, queued.number, self._control_heard, queued.message))
            self.stats.control_sent += 1
            self.stats.control_bytes_sent += len(data)
            self._control_told = self._control_heard
            out.append(data)
        return out

    def datagrams_to_send(self, *, now: float, idle: bool = False) -> list[bytes]:
        """Return the datagram that is due: one per call in a frame; when ``idle``, only to keep alive."""
        if idle and now - self._sent_at < KEEP_ALIVE:
            return []
        self._sent_at = now
        stamp = self._newest_stamp
        message = Datagram(
            connection=self._config.connection,
            episode=self._episode & 0xFF,
            sequence=self._sequence,
            sent=_stamp(now),
            echo=stamp,
            held=int((now - self._newest_stamp_at) / TIME_UNIT) if stamp is not None else 0,
            lead=self.lead,
            next_expected=self.newest_heard + 1,
            chain=self._chain,
            first_frame=self._first_unacknowledged,
            inputs=tuple(self._unacknowledged),
        )
        self._sequence = (self._sequence + 1) & 0xFF
        data = encode_datagram(message)
        if idle:
            self.stats.keep_alives_sent += 1
            self.stats.keep_alive_bytes_sent += len(data)
        else:
            self.stats.inputs_sent += 1
            self.stats.input_bytes_sent += len(data)
        return [data]

    # -- remote side --------------------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take in one datagram of the ``inputs`` channel, whatever it holds."""
        self.stats.datagrams_received += 1
        self.stats.bytes_received += len(data)
        try:
            message = decode_datagram(data, width=self._remote_width)
            if message.connection != self._config.connection:
                raise RemoteProtocolError("wrong-connection")
            if message.episode != self._episode & 0xFF:
                # Barriers let one side be an episode further for a moment; its inputs come again.
                self._heard(now)
                self._take_timing(message, now)
                raise RemoteProtocolError("other-episode")
            inputs = self._checked_inputs(message)
        except RemoteProtocolError as error:
            self.drops[error.reason] += 1
            return
        self._heard(now)
        if self._take_timing(message, now):
            self.peer_lead = message.lead
        self._take_acknowledgement(message.next_expected)
        for values in inputs:
            self.newest_heard += 1
            self.arrivals.append((self.newest_heard, now))
            self._events.append(InputReceived(self.newest_heard, values))
        if message.chain is not None and message.chain[0] > self._chain_heard:
            self._chain_heard = message.chain[0]
            self._events.append(ChainReceived(*message.chain))

    def _checked_inputs(self, message: Datagram) -> list[tuple[bytes, ...]]:
        """Return the inputs that are new to us, split by seat. All are checked before any is taken."""
        expected = self.newest_heard + 1
        queued_to = self._first_unacknowledged + len(self._unacknowledged)
        if message.next_expected > queued_to:
            raise RemoteProtocolError("bad-ack", f"{message.next_expected} was never sent")
        if message.first_frame > expected:
            raise RemoteProtocolError("gap", f"starts at {message.first_frame}, expected {expected}")
        if message.chain is not None and message.chain[0] >= self.limit:
            raise RemoteProtocolError("too-far", f"chain at {message.chain[0]}")
        fresh = message.inputs[expected - message.first_frame :]
        if fresh and len(self._unacknowledged) > MAX_UNACKNOWLEDGED:
            acknowledged = max(message.next_expected, self._first_unacknowledged)
            if queued_to - acknowledged > MAX_UNACKNOWLEDGED:
                raise RemoteProtocolError("no-ack", f"still at {acknowledged}")
        if self.newest_heard + len(fresh) >= self.limit:
            raise RemoteProtocolError("too-far", f"input for {self.newest_heard + len(fresh)}")
        checked = []
        for joined in fresh:
            checked.append(self._checked_input(joined))
        return checked

    def _checked_input(self, joined: bytes) -> tuple[bytes, ...]:
        """Return one frame's inputs by seat."""
        if self._held_input is not None and joined == self._held_input[0]:
            return self._held_input[1]
        at = 0
        values = []
        for seat, width in enumerate(self._config.remote_widths):
            value = joined[at : at + width]
            at += width
            if not self._config.is_valid(seat, value):
                raise RemoteProtocolError("bad-input", value.hex())
            values.append(value)
        self._held_input = joined, tuple(values)
        return self._held_input[1]

    def _take_timing(self, message: Datagram, now: float) -> bool:
        """Take in stamp, number and echo; True if nothing that was sent later has arrived."""
        is_newer = self._is_newer(message, now)
        if is_newer:
            self.stats.take_newer(message.sequence)
            self._newest_stamp, self._newest_stamp_at = message.sent, now
        elif not self.stats.take_older(message.sequence):
            return False  # its first copy has told the time
        if message.echo is not None and message.held < MAX_HELD:
            self.clock.take(sent=message.sent, echo=message.echo, held=message.held, now=now)
            elapsed = (_stamp(now) - message.echo) & 0xFFFF
            if elapsed >= message.held:
                self.stats.take_rtt((elapsed - message.held) * TIME_UNIT)
                self.answered = max(self.answered, now - elapsed * TIME_UNIT)
        return is_newer

    def _is_newer(self, message: Datagram, now: float) -> bool:
        if self._newest_stamp is None:
            return True
        age = (message.sent - self._newest_stamp) & 0xFFFF
        if age == 0:
            return 0 < self.stats.steps_to(message.sequence) < 0x80
        # Half of the stamp's range is 8 s; after a silence half as long, any stamp is newer.
        return age < 0x8000 or now - self._newest_stamp_at > 4.0

    def _take_acknowledgement(self, next_expected: int) -> None:
        while self._first_unacknowledged < next_expected:
            self._unacknowledged.popleft()
            self._first_unacknowledged += 1

    def receive_control(self, data: bytes, *, now: float) -> None:
        """Take in one message of the ``control`` channel, whatever it holds."""
        self.stats.control_received += 1
        self.stats.control_bytes_received += len(data)
        try:
            envelope = decode_control(data)
            if not 0 <= envelope.acknowledged < self._next_number:
                raise RemoteProtocolError("bad-ack", f"control {envelope.acknowledged}")
            if envelope.message is not None and envelope.number > self._control_heard + 1:
                raise RemoteProtocolError("gap", f"control {envelope.number} after {self._control_heard}")
            if envelope.number > self._control_told + MAX_OPEN_CONTROL:
                raise RemoteProtocolError(
                    "flood", f"control {envelope.number} before {self._control_told} was answered"
                )
        except RemoteProtocolError as error:
            self.drops[error.reason] += 1
            return
        self._heard(now)
        while self._sent_control and self._sent_control[0][0] <= envelope.acknowledged:
            self._sent_control.popleft()
        if envelope.message is None:
            return
        self._acknowledge_due = True
        if envelope.number == self._control_heard + 1:
            self._control_heard = envelope.number
            self._events.append(ControlReceived(envelope.message))

    # -- time ---------------------------------------------------------------------------------------------------

    def _heard(self, now: float) -> None:
        self.heard_at = now
        if self.silence != "heard":
            self._set_silence("heard")

    def handle_timer(self, *, now: float) -> None:
        """Look at the clock: notices silence. Call it every tick."""
        quiet = now - self.heard_at
        level = "lost" if quiet >= LOST_AFTER else "notice" if quiet >= NOTICE_AFTER else "heard"
        if level != self.silence:
            self._set_silence(level)

    def _set_silence(self, level: str) -> None:
        self.silence = level
        self._events.append(SilenceChanged(level))

    def forgive(self, seconds: float) -> None:
        """Our own program stood still for so long: what was not heard meanwhile is no silence of the other side's."""
        self.heard_at += seconds

    def silent_for(self, *, now: float) -> float:
        """Seconds since anything was heard."""
        return now - self.heard_at

    def take_events(self) -> list[Event]:
        """Return what happened since the last call, in order, and forget it."""
        events, self._events = self._events, []
        return events


def _stamp(now: float) -> int:
    return int(now / TIME_UNIT) & 0xFFFF
