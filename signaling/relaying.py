"""Whose bytes are passed on to whom, when players of a match do not reach each other directly: pure.

Only between players of one running match who are both connected, within a rate for each of them. Nothing is kept of
what is relayed. What waits for a receiver that is slow is bounded for each sender, so that nobody else pays for it.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from p2pclient.common.lobby_messages import refusal
from p2pclient.common.path_messages import MAX_PEERS, IceServers, Relay
from signaling.frames import TokenBucket
from signaling.room_state import Participant, RoomState, RunningMatch

BYTES_PER_SECOND = 256 * 1024.0
"""Of one player, to all of its partners. 60 datagrams a second to seven partners take 25 to 100 KB."""
BYTES_AT_ONCE = 2.0 * 1024 * 1024
"""Control messages that wait at a sender fill a quarter of this for each of two partners."""

MAX_WAITING_INPUTS = 64
"""Of one sender for one receiver: a second at 60 Hz. Then the oldest go; newer ones carry what was in them."""
MAX_WAITING_CONTROL_CHARS = 512 * 1024
"""Of one sender for one receiver. What exceeds it is dropped; a client has a quarter of this on its way at most, and
sends again what is not acknowledged."""


class Relaying:
    """Decides where relayed bytes go. One object for the room."""

    def __init__(self, state: RoomState) -> None:
        self._state = state
        self._budgets: dict[str, TokenBucket] = {}
        self.counts: Counter[str] = Counter()
        """``messages`` and ``bytes`` that were let pass, and refusals by their code."""

    def relay(self, sender: Participant | None, relay: Relay, *, now: float) -> str:
        """Return the connection to which the bytes go.

        Raises:
            SignalingError: ``no-relay``, ``not-matched``, ``not-your-partner``, ``peer-away`` or ``rate-limited``.
        """
        code, receiver = self._decide(sender, relay, now)
        if code:
            self.counts[code] += 1
            raise refusal(code)
        self.counts["messages"] += 1
        self.counts["bytes"] += len(relay.data)
        return receiver

    def _decide(self, sender: Participant | None, relay: Relay, now: float) -> tuple[str, str]:
        match = self._match_of(sender, relay.match_id)
        if match is None or sender is None:
            return "not-matched", ""
        if match.settings.relay == "never":
            return "no-relay", ""
        if relay.peer not in match.open or relay.peer == sender.id:
            return "not-your-partner", ""
        receiver = self._state.participants[relay.peer].connection
        if receiver is None or not self._state.is_present(relay.peer):
            return "peer-away", ""
        if not self._budget(sender.id, now).take(now=now, tokens=len(relay.data)):
            return "rate-limited", ""
        return "", receiver

    def _match_of(self, player: Participant | None, match_id: str) -> RunningMatch | None:
        match = self._state.matches.get(match_id)
        return match if match is not None and player is not None and player.id in match.open else None

    def _budget(self, participant: str, now: float) -> TokenBucket:
        budget = self._budgets.get(participant)
        if budget is None:
            for gone in [each for each in self._budgets if each not in self._state.participants]:
                del self._budgets[gone]
            budget = self._budgets[participant] = TokenBucket(BYTES_AT_ONCE, BYTES_PER_SECOND, now=now)
        return budget

    def ice_servers(self, player: Participant | None, match_id: str, *, now: float) -> IceServers:
        """Return what helps a player to find paths in its match, with fresh credentials.

        Raises:
            SignalingError: ``not-matched``.
        """
        if self._match_of(player, match_id) is None:
            raise refusal("not-matched")
        return self._state.rules.ice.offer(match_id, epoch=now + self._state.epoch)


@dataclass(slots=True)
class _Waiting:
    """What one sender has waiting for one receiver."""

    inputs: deque[str] = field(default_factory=deque)
    control: deque[str] = field(default_factory=deque)
    control_chars: int = 0


class RelayQueue:
    """What waits for one receiver: frames as they will be sent, by sender, each sender in its turn."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}
        """In the order of their turns."""
        self.dropped = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def push(self, sender: str, lane: str, frame: str) -> None:
        """Let a frame wait. Of a sender that has too much here, the oldest inputs go, and the newest control."""
        waiting = self._waiting.get(sender)
        if waiting is None:
            if len(self._waiting) >= MAX_PEERS:
                self.dropped += 1
                return
            waiting = self._waiting[sender] = _Waiting()
        if lane == "inputs":
            if len(waiting.inputs) >= MAX_WAITING_INPUTS:
                waiting.inputs.popleft()
                self.dropped += 1
            waiting.inputs.append(frame)
        elif waiting.control_chars + len(frame) > MAX_WAITING_CONTROL_CHARS:
            self.dropped += 1
        else:
            waiting.control.append(frame)
            waiting.control_chars += len(frame)

    def pop(self) -> str | None:
        """Take the next frame, of whose turn it is: inputs first, which are small and of use only now."""
        while self._waiting:
            sender = next(iter(self._waiting))
            waiting = self._waiting.pop(sender)
            frame = None
            if waiting.inputs:
                frame = waiting.inputs.popleft()
            elif waiting.control:
                frame = waiting.control.popleft()
                waiting.control_chars -= len(frame)
            if waiting.inputs or waiting.control:
                self._waiting[sender] = waiting
            if frame is not None:
                return frame
        return None
