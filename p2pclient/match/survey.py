"""What the survivors tell somebody who was started again: where each stands, and what it has of our inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from p2pclient.common.errors import RemoteProtocolError
from p2pclient.match.peers import input_check
from p2pclient.match.plan import MatchPlan
from p2pclient.protocol.control import HistoryStart, LastFrame, Standing

_MOST_INPUTS = 4096
"""Of one survivor: far above what it can have and not have verified."""


@dataclass(slots=True)
class Report:
    """What one survivor said of itself."""

    newest: Standing
    inputs: list[bytes] = field(default_factory=list)
    """Ours, from the first frame of it on."""

    @property
    def next(self) -> int:
        """The first frame of which it lacks our input."""
        return self.newest.first_frame + len(self.inputs)


class Survey:
    """All that was heard so far."""

    def __init__(self, plan: MatchPlan) -> None:
        self._plan = plan
        self.reports: dict[int, Report] = {}
        """By peer."""
        self.strangers: set[int] = set()
        """Peers who were started again, too, and know no more than we do."""
        self.widths = [len(plan.neutral_input(seat)) for seat in range(plan.seats)]
        """Bytes of the input of each seat."""
        self._is_valid = input_check(plan, range(plan.seats))

    def add_stranger(self, peer: int) -> None:
        """A peer was started again."""
        self.reports.pop(peer, None)
        self.strangers.add(peer)

    def take(self, peer: int, said: Standing) -> bool:
        """Take in what a peer says of itself; True if it is not the rest of what it had begun to say.

        Raises:
            RemoteProtocolError: inputs that may not reach the environment, or too many; somebody is lost twice.
        """
        if len({each.peer for each in said.lost}) < len(said.lost):
            raise RemoteProtocolError("bad-history", "a peer that is lost twice")
        for joined in said.inputs:
            self.split(joined, self._plan.local_seats)
        self.strangers.discard(peer)
        report = self.reports.get(peer)
        is_more = (
            report is not None
            and not report.newest.is_all
            and (report.newest.episode, report.next) == (said.episode, said.first_frame)
        )
        if report is None or not is_more:
            report = self.reports[peer] = Report(said)
        if len(report.inputs) + len(said.inputs) > _MOST_INPUTS:
            raise RemoteProtocolError("bad-history", f"{len(report.inputs)} inputs and more")
        report.inputs.extend(said.inputs)
        report.newest = replace(said, first_frame=report.newest.first_frame)
        return not is_more

    def split(self, joined: bytes, seats: Sequence[int]) -> tuple[bytes, ...]:
        """Return the inputs of some seats.

        Raises:
            RemoteProtocolError: they may not reach the environment.
        """
        at, values = 0, []
        for seat in seats:
            value = joined[at : at + self.widths[seat]]
            at += self.widths[seat]
            if not self._is_valid(seat, value):
                raise RemoteProtocolError("bad-history", value.hex())
            values.append(value)
        if at != len(joined):
            raise RemoteProtocolError("bad-history", joined.hex())
        return tuple(values)

    def lost(self) -> list[LastFrame] | None:
        """Return the last frames of those whom the survivors have given up; None while they do not say the same."""
        said = {peer: report.newest.lost for peer, report in self.reports.items()}
        # A report of somebody who was given up later counts no more.
        out = {each.peer for lost in said.values() for each in lost}
        living = [lost for peer, lost in said.items() if peer not in out]
        if not living or any(lost != living[0] for lost in living):
            return None
        return living[0] if {each.peer for each in living[0]} < set(self._plan.peers) else None

    def check_start(self, start: HistoryStart) -> None:
        """Look whether what is told of an episode is about those who play it, and says of the lost what fits.

        Raises:
            RemoteProtocolError: it does not.
        """
        plan, course = self._plan, start.course
        for change in (course.newest, course.pause, course.end):
            if change is not None and change.peer != plan.own_id and change.peer not in plan.peers:
                raise RemoteProtocolError("bad-history", f"a change by {change.peer}")
        cuts = {each.peer: each.frame for each in self.lost() or ()}
        for told in start.ahead:
            cut = cuts.pop(told.peer, None)
            if cut is None or told.first_frame != start.until or len(told.inputs) != max(0, cut + 1 - start.until):
                raise RemoteProtocolError("bad-history", f"inputs of {told.peer} from {told.first_frame} on")
            for joined in told.inputs:
                self.split(joined, plan.peers[told.peer])

    def of_survivors(self) -> dict[int, Report] | None:
        """Return what all have said who are to be heard, by peer; None while somebody has not."""
        lost = self.lost()
        if lost is None:
            return None
        out = self.strangers | {each.peer for each in lost}
        awaited = [peer for peer in self._plan.peers if peer not in out]
        found = {
            peer: self.reports[peer] for peer in awaited if peer in self.reports and self.reports[peer].newest.is_all
        }
        return found if found and len(found) == len(awaited) else None

    def own_inputs(self, reports: Iterable[Report]) -> dict[int, bytes]:
        """Return our joined inputs that one of them has, by frame.

        Raises:
            RemoteProtocolError: two of them have different ones.
        """
        own: dict[int, bytes] = {}
        for report in reports:
            for frame, joined in enumerate(report.inputs, report.newest.first_frame):
                if own.setdefault(frame, joined) != joined:
                    raise RemoteProtocolError("bad-history", f"two different inputs for frame {frame}")
        return own
