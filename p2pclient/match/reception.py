"""What the other sides say, and to which part of the match it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from p2pclient.match.barriers import BarrierMessage, Barriers
from p2pclient.match.changes import ChangeCourse
from p2pclient.match.core import MatchCore
from p2pclient.match.delays import DelayCourse
from p2pclient.match.desync import DesyncCourse
from p2pclient.match.drops import DropCourse
from p2pclient.match.greeting import greet
from p2pclient.match.peers import Peer
from p2pclient.match.readmission import Readmission
from p2pclient.match.rejoining import RejoinCourse
from p2pclient.protocol.control import (
    AnyMessage,
    ChangeWish,
    Checksums,
    DelayChange,
    DelayWish,
    EpisodeReady,
    Hello,
    HistoryWish,
    Leave,
    MatchChange,
    PeersLost,
    Recovered,
    Recovering,
    Refuse,
    Resumed,
    Standing,
    StatePart,
    TakeUp,
)


class Reception:
    """Takes in the control messages of one match.

    Args:
        facts: on which all have to agree.
        readmission: of others who were started again.
        rejoining: our own return; None if we were here from the beginning.
        on_greeted: called when all have said Hello, at the beginning.
    """

    def __init__(
        self,
        core: MatchCore,
        barriers: Barriers,
        changes: ChangeCourse,
        delays: DelayCourse,
        desync: DesyncCourse,
        drops: DropCourse,
        readmission: Readmission,
        rejoining: RejoinCourse | None,
        *,
        facts: Mapping[str, Any],
        on_greeted: Callable[[], None],
    ) -> None:
        self._core = core
        self._barriers, self._changes, self._delays = barriers, changes, delays
        self._desync, self._drops = desync, drops
        self._readmission, self._rejoining = readmission, rejoining
        self._facts = facts
        self._on_greeted = on_greeted

    def take(self, peer: Peer, message: AnyMessage, now: float) -> None:
        """Take in the next message of a peer."""
        core = self._core
        if isinstance(message, Hello):
            self._greet(peer, message, now)
        elif peer.is_returning and (isinstance(message, Refuse) or message == Leave("error")):
            if peer.is_news("return-failed"):
                core.note("return-failed", {"peer": peer.id})  # the next program of that side may do better
        elif isinstance(message, Refuse):
            text = "The other machine does not fit together with this one. " + "; ".join(message.differences)
            core.end("refused", text, leave="error", now=now)
        elif isinstance(message, Leave):
            # Nobody has finished before all have named the last frame; whoever says so earlier just leaves.
            early = message.reason == "finished" and not self._barriers.has_named_the_end(peer)
            peer.left = "left" if early else message.reason
        elif self._rejoining is not None and self._rejoining.is_open:
            self._rejoining.receive(peer, message)
        else:
            self.take_in_match(peer, message, now)

    def take_in_match(self, peer: Peer, message: AnyMessage, now: float) -> None:
        """Take in what only concerns who knows where the match stands."""
        core = self._core
        if isinstance(message, BarrierMessage):
            self._barriers.receive(peer, message)
            if isinstance(message, EpisodeReady) and message.episode == core.number and not peer.is_away:
                self._readmission.returned(peer, frame=0, now=now)
        elif isinstance(message, Checksums) and message.episode == core.number:
            self._desync.receive_checksums(peer, message, now)
        elif isinstance(message, StatePart) and message.episode == core.number:
            self._desync.receive_state(peer, message, now)
        elif isinstance(message, DelayWish):
            self._delays.receive_wish(peer.id, message)
        elif isinstance(message, DelayChange):
            self._delays.receive_change(peer.id, message)
        elif isinstance(message, ChangeWish | MatchChange):
            self._changes.receive(peer, message, now)
        elif isinstance(message, PeersLost):
            self._drops.receive(peer, message, now=now)
        elif isinstance(message, HistoryWish | TakeUp | Resumed):
            self._readmission.receive(peer, message, now)
        elif isinstance(message, Standing):
            self._readmission.meet(peer, message, has_returned=self._rejoining is not None)
        elif isinstance(message, Recovering | Recovered) and peer.take_recovery(message):
            core.note("peer-recovered" if peer.recovering is None else "peer-recovering", {"peer": peer.id})

    def _greet(self, peer: Peer, message: Hello, now: float) -> None:
        if greet(self._core, self._facts, peer, message, now):
            self._on_greeted()
