"""Programs that are started again in mid-match: our own, and those of others; see ``rejoining`` and ``readmission``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from p2pclient.common.frames import NULL_FRAME
from p2pclient.match.barriers import Barriers
from p2pclient.match.changes import ChangeCourse
from p2pclient.match.core import MatchCore
from p2pclient.match.delays import DelayCourse
from p2pclient.match.desync import DesyncCourse
from p2pclient.match.drops import DropCourse
from p2pclient.match.past import Past
from p2pclient.match.plan import Phase
from p2pclient.match.readmission import Readmission
from p2pclient.match.reception import Reception
from p2pclient.match.rejoining import RejoinCourse
from p2pclient.match.replaying import ReplayBatch
from p2pclient.match.reset import ResetBatch
from p2pclient.protocol.control import Hello, Rejoin


@dataclass(frozen=True, slots=True)
class Courses:
    """The parts of a match that a return concerns."""

    barriers: Barriers
    changes: ChangeCourse
    delays: DelayCourse
    desync: DesyncCourse
    drops: DropCourse


class Returns:
    """All returns of one match.

    Args:
        past: what is recorded here, if our program was started again; else None.
        facts: on which all have to agree.
        compare: called with what differs, if anything does.
        on_greeted: called when all have said Hello, at the beginning.
    """

    def __init__(
        self,
        core: MatchCore,
        courses: Courses,
        past: Past | None,
        *,
        facts: Mapping[str, Any],
        compare: Callable[[Sequence[object], float], None],
        on_greeted: Callable[[], None],
        now: float,
    ) -> None:
        self._core, self._courses, self._facts = core, courses, dict(facts)
        self._readmission = Readmission(core, courses.changes, courses.delays, courses.drops, compare=compare)
        self._rejoining = RejoinCourse(core, past, courses.drops, now=now) if past is not None else None
        self.reception = Reception(
            core,
            courses.barriers,
            courses.changes,
            courses.delays,
            courses.desync,
            courses.drops,
            self._readmission,
            self._rejoining,
            facts=facts,
            on_greeted=on_greeted,
        )

    @property
    def away(self) -> tuple[int, ...]:
        """Peers that come back at the moment, in order."""
        return self._readmission.away

    @property
    def progress(self) -> float | None:
        """Of our own return: the share of the frames that are simulated; None while there is none under way."""
        return self._rejoining.progress if self._rejoining is not None else None

    @property
    def owed(self) -> int:
        """Frames that all others had played when we came back, as far as is known."""
        return self._rejoining.owed if self._rejoining is not None else 0

    @property
    def _open(self) -> RejoinCourse | None:
        """Our own return, while it is under way."""
        return self._rejoining if self._rejoining is not None and self._rejoining.is_open else None

    def say_hello(self) -> None:
        """The first words to everybody."""
        self._core.peers.tell(Hello(self._facts))
        if self._rejoining is not None:
            self._core.change_phase(Phase.REJOINING)
            self._core.peers.tell(Rejoin())

    def readmit(self, peer_id: int, *, now: float) -> bool:
        """Another program of a peer's is connected; False if its seat is not to be had any more."""
        core = self._core
        peer = core.peers.get(peer_id)
        if peer is None or core.ended is not None or peer.left is not None:
            return False
        rejoining = self._open
        self._readmission.begin(peer, now=now)
        peer.endpoint.queue_control(Hello(self._facts))
        if rejoining is not None:
            rejoining.renewed(peer)
            peer.endpoint.queue_control(Rejoin())
        return True

    def tick(self, *, now: float) -> None:
        """Tell those who come back what they lack. Call it in every tick."""
        self._readmission.tick(now=now)

    # -- our own ------------------------------------------------------------------------------------------------

    def step(self, *, is_batch_out: bool, now: float) -> ReplayBatch | ResetBatch | None:
        """Take the next step of our own return; returns what the host is to do. The phase says when it is done."""
        rejoining, core = self._rejoining, self._core
        assert rejoining is not None
        batch = rejoining.tick(is_batch_out=is_batch_out, now=now)
        start = rejoining.start_of_play
        if start is None or core.ended is not None or core.phase is not Phase.REJOINING:
            return batch
        self._courses.delays.resume(start.delay)
        self._courses.changes.resume(start.course, start.until, now)
        reset = rejoining.enter(self._courses.barriers)
        for peer in core.peers.all:
            if peer.id in rejoining.strangers:
                self._readmission.await_return(peer, heard=NULL_FRAME, since=now, now=now)
            else:
                self._courses.changes.confirm_again(peer)
        for peer, message in rejoining.take_kept():
            if peer.id in core.peers:
                self.reception.take_in_match(peer, message, now)
        return reset

    def take_results(self, batch: ReplayBatch, results: Sequence[Any], costs_us: Sequence[int], now: float) -> bool:
        """Take in what the host did; True if all is simulated, and the bots' decisions and the view are to be used."""
        assert self._rejoining is not None
        self._rejoining.take_results(batch, results, costs_us, now)
        return self._rejoining.takeover is not None

    def host_lost(self, cause: str, now: float) -> bool:
        """The host is gone; False if that concerns no return."""
        rejoining = self._open
        if rejoining is not None:
            rejoining.host_lost(cause, now)
        return rejoining is not None

    def take_host(self, ready: Mapping[str, Any], now: float) -> bool:
        """Another host is there; False if that concerns no return."""
        rejoining = self._open
        if rejoining is not None:
            rejoining.take_host(ready, now)
        return rejoining is not None
