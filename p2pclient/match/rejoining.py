"""The side of a program that was started again in mid-match: it finds out where the others stand, and plays on there.

1. It says :class:`~p2pclient.protocol.control.Rejoin` to everybody and hears from each survivor where that one stands,
   and which inputs of ours it has. Inputs that nobody has were never part of the match. All that somebody has are: from
   here on everybody gets them from us, so that one history exists however differently they had come in. Hence nothing
   begins before *all* have been heard without whom the others do not go on anyhow.
2. Who stands at the end of an episode because our last word about it was lost, hears it from us now.
3. One survivor tells the episode: its newest portable state, if our recording holds all before it, else the beginning;
   the inputs of all seats from there on; what was agreed about delays, pauses and the like.
4. It is simulated. Our recording has to lead to the same state, and the whole to the chain's value of who told it; all
   others compare theirs before they count us as returned (:mod:`p2pclient.match.readmission`).

What was recorded here and is not part of that history is withdrawn, and recorded as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from p2pclient.common.errors import RemoteProtocolError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.envhost.values import MalformedValueError, decode
from p2pclient.match.barriers import Barriers
from p2pclient.match.core import MatchCore
from p2pclient.match.drops import DropCourse
from p2pclient.match.evidence import StateParts
from p2pclient.match.head import Head, Takeover
from p2pclient.match.past import Past, Row
from p2pclient.match.peers import Peer
from p2pclient.match.plan import ENDED_EARLY, PeerRejoined
from p2pclient.match.recovery import is_same_environment
from p2pclient.match.replaying import Replay, ReplayBatch
from p2pclient.match.reset import ResetBatch
from p2pclient.match.survey import Survey
from p2pclient.protocol.control import (
    AnyMessage,
    ClosedEpisode,
    EpisodeOver,
    HistoryRows,
    HistoryStart,
    HistoryWish,
    Rejoin,
    Resumed,
    Standing,
    StatePart,
    TakeUp,
)
from p2pclient.protocol.endpoint import MAX_AHEAD
from p2pclient.recorder.records import EpisodeStarted, FramesWithdrawn
from p2pclient.rollback.chain import extend_chain, start_chain

LONGEST = 90.0
"""Seconds after which a return that has not come about ends the match here."""
_GOODBYE = 3.0
"""Seconds after which who is through with the match is believed that it is over."""
_MOST_KEPT = 4096
"""Messages of the others that wait until we play."""
_MOST_FRAMES = 1 << 23
"""Frames of an episode that are simulated again: a day and a half at 60 Hz."""
_WRONG_STORY = "What the other players' programs tell of the match does not fit together."


class Stage(Enum):
    """How far a return has come."""

    ASKING = "asking"
    FETCHING = "fetching"
    SIMULATING = "simulating"
    DONE = "done"


class RejoinCourse:
    """Sees one return through.

    Args:
        past: what our recording holds.
        now: seconds.
    """

    def __init__(self, core: MatchCore, past: Past, drops: DropCourse, *, now: float) -> None:
        self._core, self._drops = core, drops
        self._past = past
        self._began = now
        self.stage = Stage.ASKING
        self._survey = Survey(core.plan)
        self._closed: set[tuple[int, int]] = set()
        """Which peer was told the end of which episode."""
        self._sponsor: int | None = None
        self._start: HistoryStart | None = None
        self._state = StateParts()
        self._rows: list[tuple[bytes, ...]] = []
        self._own: dict[int, bytes] = {}
        """See :meth:`Survey.own_inputs`."""
        self._is_whole = False
        """Is the episode asked for from its beginning, whatever is recorded here."""
        self._replay: Replay | None = None
        self._failures = 0
        self._waits_for_host = False
        self._kept: list[tuple[Peer, AnyMessage]] = []
        self.takeover: Takeover | None = None
        """Set when all is simulated, and play may go on."""
        self.barrier: HistoryStart | None = None
        """Set when all stand before an episode, and we are to come there."""

    @property
    def is_open(self) -> bool:
        """Do we not play yet."""
        return self.stage is not Stage.DONE

    @property
    def progress(self) -> float | None:
        """Share of the frames that are simulated; None before and behind."""
        return self._replay.progress if self._replay is not None and self.is_open else None

    def take_kept(self) -> list[tuple[Peer, AnyMessage]]:
        """Return what the others said meanwhile, which is not about our return."""
        kept, self._kept = self._kept, []
        return kept

    # -- what is heard ------------------------------------------------------------------------------------------

    def receive(self, peer: Peer, message: AnyMessage) -> None:
        """Take in what a peer says as long as we do not play."""
        try:
            if isinstance(message, Standing):
                if self._survey.take(peer.id, message):
                    self._begin_anew()
            elif isinstance(message, Rejoin):
                self._survey.add_stranger(peer.id)
            elif peer.id == self._sponsor and isinstance(message, HistoryStart | StatePart | HistoryRows):
                self._take_history(peer, message)
            elif isinstance(message, HistoryStart | StatePart | HistoryRows):
                pass  # of one that was asked before
            elif len(self._kept) < _MOST_KEPT:
                self._kept.append((peer, message))
        except RemoteProtocolError as error:
            peer.endpoint.drops[error.reason] += 1

    def _begin_anew(self) -> None:
        """Somebody stands elsewhere than was thought: what was fetched may lead nowhere."""
        if self.stage is not Stage.DONE:
            self.stage, self._sponsor, self._replay = Stage.ASKING, None, None

    # -- where all stand ----------------------------------------------------------------------------------------

    def tick(self, *, is_batch_out: bool, now: float) -> ReplayBatch | None:
        """Take the next step that is possible; returns a batch for the host, if one is needed."""
        core = self._core
        if core.ended is not None or self.stage is Stage.DONE:
            return None
        self._look_at_peers(now)
        if core.ended is None and self.stage is Stage.ASKING and not is_batch_out:
            self._decide(now)
        if core.ended is None and self.stage is Stage.FETCHING and self._has_all():
            self._prepare(now)
        may_simulate = core.ended is None and not is_batch_out and not self._waits_for_host
        if may_simulate and self.stage is Stage.SIMULATING and self._replay is not None:
            return self._replay.next_batch()
        return None

    def _look_at_peers(self, now: float) -> None:
        core = self._core
        lost = {
            peer.id: peer.why_lost(now=now, drop_after=core.plan.drop_after, may_return=True) for peer in core.peers
        }
        reasons = [reason for reason in lost.values() if reason is not None]
        if reasons and len(reasons) == len(lost):
            core.end(*reasons[0], leave="left", now=now)
        elif self.strangers and self.strangers | {p for p, why in lost.items() if why} >= set(lost):
            text = "All programs of this match were started again, so that none knows how it stood."
            core.end("partner-gone", text, leave="left", now=now)
        elif now - self._began > LONGEST:
            core.end("partner-gone", "The match could not be gone on with in time.", leave="left", now=now)

    def _decide(self, now: float) -> None:
        by_peer = self._survey.of_survivors()
        if by_peer is None:
            self._finish_with_some(now)
            return
        reports = list(by_peer.values())
        newest = max(report.newest.episode for report in reports)
        ahead = [report.newest.previous for report in reports if report.newest.episode == newest]
        previous = next((each for each in ahead if each is not None), None)
        behind = [peer for peer, report in by_peer.items() if report.newest.episode < newest]
        if behind:
            self._tell_end(behind, previous, newest)
            return
        try:
            self._own = self._survey.own_inputs(reports)
        except RemoteProtocolError as error:
            self._core.note("contradiction", {"what": str(error)})
            self._core.end("desync", _WRONG_STORY, leave="desync", now=now)
            return
        if previous is not None and previous.episode == newest - 1:
            self._close_past(previous)
        if all(report.newest.stage == "finishing" for report in reports):
            self._finish(previous, now)
            return
        playing = {p: r.newest.recorded for p, r in by_peer.items() if r.newest.stage == "playing"}
        standing = playing or {p: NULL_FRAME for p, r in by_peer.items() if r.newest.stage == "barrier"}
        if not standing:
            return
        self._sponsor = max(sorted(standing), key=lambda peer: standing[peer])
        is_in_it = self._past.episode == newest and not self._is_whole
        self._core.number = newest
        self._start, self._state, self._rows = None, StateParts(), []
        wish = HistoryWish(newest, len(self._past.rows) if is_in_it else 0)
        self._core.peers[self._sponsor].offer(wish)
        self.stage = Stage.FETCHING

    def _finish_with_some(self, now: float) -> None:
        """Somebody is through with the match, and others, who are too, have gone: do not wait for what they say."""
        done = [each.newest for each in self._survey.reports.values() if each.newest.stage == "finishing"]
        if done and now - self._began > _GOODBYE:
            if done[0].previous is not None:
                self._close_past(done[0].previous)
            self._finish(done[0].previous, now)

    def _tell_end(self, behind: Sequence[int], previous: ClosedEpisode | None, newest: int) -> None:
        """Say once more how the last episode ended, to those who have not heard it from us."""
        if previous is None or previous.episode != newest - 1:
            return
        for peer_id in behind:
            if (peer_id, previous.episode) not in self._closed:
                self._closed.add((peer_id, previous.episode))
                over = EpisodeOver(previous.episode, previous.last_frame, previous.chain)
                self._core.peers[peer_id].offer(over)

    # -- what was recorded here ---------------------------------------------------------------------------------

    def _close_past(self, over: ClosedEpisode) -> None:
        """An episode that was recorded here up to its end was closed by the others: so it is here."""
        past, core = self._past, self._core
        if past.episode == over.episode and not past.is_over:
            recorded = len(past.rows)
            records = past.close(over)
            if not records:
                core.note("rejoin-gap", {"episode": over.episode, "recorded": recorded, "last": over.last_frame})
            core.out.records += records

    def _finish(self, previous: ClosedEpisode | None, now: float) -> None:
        """All are through with the match, and so are we."""
        self.stage = Stage.DONE
        if previous is not None and previous.reason == ENDED_EARLY:
            text = "The match was ended early. Everything up to its last frame is recorded."
            self._core.end(ENDED_EARLY, text, leave="finished", now=now)
        else:
            self._core.end("finished", "The match is complete.", leave="finished", now=now)

    # -- the episode is told ------------------------------------------------------------------------------------

    def _take_history(self, peer: Peer, message: HistoryStart | StatePart | HistoryRows) -> None:
        if isinstance(message, HistoryStart):
            self._check_start(message)
            self._survey.check_start(message)
            self._start, self._state, self._rows = message, StateParts(), []
            self._take_up(message)
        elif self._start is None:
            raise RemoteProtocolError("bad-history", "no beginning")
        elif isinstance(message, StatePart):
            if message.frame != self._start.first_frame:
                raise RemoteProtocolError("bad-history", f"a state of frame {message.frame}")
            self._state.add(message)
        else:
            self._take_rows(message, self._start)

    def _check_start(self, start: HistoryStart) -> None:
        past = self._past
        limit = self._core.plan.env["max_steps"]
        is_in_range = start.first_frame <= start.until <= (limit or _MOST_FRAMES)
        has_recorded = past.episode == start.episode and len(past.rows) >= start.first_frame
        is_ours = start.episode == self._core.number and start.verified < start.until
        if not (is_in_range and is_ours and (has_recorded or not start.first_frame)):
            raise RemoteProtocolError("bad-history", f"episode {start.episode} from {start.first_frame} on")
        if start.has_state is not bool(start.first_frame):
            raise RemoteProtocolError("bad-history", "a state where there is none to be")
        course, place = start.course, (start.episode, start.until)
        is_late = course.pause is not None and (course.pause_at[0] > start.episode + 1 or course.pause_at < place)
        if is_late or (course.end is not None and (course.end.episode, course.end.frame) < place):
            raise RemoteProtocolError("bad-history", "a change of what was played")

    def _take_rows(self, message: HistoryRows, start: HistoryStart) -> None:
        width = sum(self._survey.widths)
        at_frame = start.first_frame + len(self._rows)
        count, rest = divmod(len(message.rows), width)
        if rest or message.first_frame != at_frame or at_frame + count > start.until:
            raise RemoteProtocolError("bad-history", f"rows from {message.first_frame} on")
        seats = range(len(self._survey.widths))
        for at in range(0, len(message.rows), width):
            self._rows.append(self._survey.split(message.rows[at : at + width], seats))

    def _take_up(self, start: HistoryStart) -> None:
        """Tell everybody where we go on, and listen to them from there."""
        lost = [each.peer for each in self._survey.lost() or ()]
        for peer in self._core.peers:
            report = self._survey.reports.get(peer.id)
            if report is None or peer.id in lost or peer.id in self.strangers:
                continue
            first = min(report.next, start.until)
            peer.endpoint.begin_episode(start.episode, first_frame=first, expected=start.until)
            peer.endpoint.limit = 0
            peer.offer(TakeUp(start.episode, start.until))

    def _has_all(self) -> bool:
        start = self._start
        if start is None or start.first_frame + len(self._rows) < start.until:
            return False
        return not start.has_state or self._state.is_complete

    def _prepare(self, now: float) -> None:
        """All is told: look whether our recording fits, and simulate."""
        start, past = self._start, self._past
        assert start is not None
        reports = self._survey.of_survivors()
        if reports is not None and all(report.newest.stage == "barrier" for report in reports.values()):
            self.barrier, self.stage = start, Stage.DONE
            return
        if start.has_state and past.rows[start.first_frame - 1].checksum != start.checksum:
            self._core.note("rejoin-differs", {"after": start.first_frame - 1})
            self._is_whole = True  # what is recorded here is not what was played: it is recorded anew
            self._begin_anew()
            return
        state = None
        if start.has_state:
            try:
                state = decode(self._state.joined())
            except MalformedValueError:
                self._differ(start.first_frame - 1, "a state that cannot be read", now)
                return
        self.stage = Stage.SIMULATING
        self._replay = Replay(
            self._core.plan,
            start.episode,
            first=start.first_frame,
            state=state,
            inputs=tuple(self._rows),
            holders=self._holders(),
        )

    # -- it is simulated ----------------------------------------------------------------------------------------

    def take_results(self, batch: ReplayBatch, results: Sequence[Any], costs_us: Sequence[int], now: float) -> None:
        """Take in what the host did."""
        replay, start = self._replay, self._start
        if replay is None or start is None or self.stage is not Stage.SIMULATING:
            return  # somebody went on meanwhile
        replay.take_results(batch, results, costs_us)
        if batch.first_checksum is not None and (replay.first_checksum, replay.checksum) != (
            start.first_checksum,
            start.checksum,
        ):
            self._differ(start.first_frame - 1, "another state", now)
        elif replay.is_done:
            self._conclude(replay, start, now)

    def renewed(self, peer: Peer) -> None:
        """A peer was started again, too: what its earlier program said of itself is not so any more."""
        self._survey.add_stranger(peer.id)
        self._begin_anew()

    def take_host(self, ready: Mapping[str, Any], now: float) -> None:
        """Another host is there."""
        self._waits_for_host = False
        if not is_same_environment(self._core.plan, ready):
            text = "The environment failed, and is not the same when it is started again."
            self._core.end("environment", text, leave="error", now=now)

    def host_lost(self, cause: str, now: float) -> None:
        """The host is gone: another one begins again, a few times."""
        self._failures += 1
        if self._failures > 2 or self._replay is None:
            self._core.end("environment", f"The environment failed: {cause}", leave="error", now=now)
            return
        self._replay.begin_again()
        self._waits_for_host = self._core.out.wants_host = True

    def _holders(self) -> dict[int, tuple[int, str]]:
        return self._drops.holders(self._survey.lost() or ())

    def _differ(self, frame: int, what: str, now: float) -> None:
        self._core.note("rejoin-differs", {"after": frame})
        text = f"Started again, this computer came to {what} at frame {frame + 1} of episode {self._core.number + 1}."
        self._core.end("desync", text, leave="desync", now=now)

    def _conclude(self, replay: Replay, start: HistoryStart, now: float) -> None:
        past = self._past
        kept = past.rows[: start.first_frame]
        rows = [*kept, *[frame.row for frame in replay.frames]]
        value = start_chain(start.first_checksum)
        for number, row in enumerate(rows):
            value = extend_chain(value, number, row.checksum)
        ended_at = next((n for n, frame in enumerate(replay.frames) if frame.has_ended), len(replay.frames))
        is_sound = past.episode != start.episode or past.is_confirmed_by(rows)
        if value != start.chain or ended_at < len(replay.frames) - 1 or not is_sound:
            self._differ(start.until - 1, "another end", now)
            return
        self._record(replay, start)
        has_ended = bool(replay.frames) and replay.frames[-1].has_ended
        verified = max(start.verified, past.verified if past.episode == start.episode else NULL_FRAME)
        head = Head(rows, verified, has_ended, self._known(rows, start), self._holders())
        self.takeover = Takeover(head, start, self._count_known(len(rows)))
        self.stage = Stage.DONE

    def _record(self, replay: Replay, start: HistoryStart) -> None:
        """Take back what was recorded and is not known to be part of the match, and record what is."""
        core, past = self._core, self._past
        first = start.first_frame
        if past.episode != start.episode:
            seed = core.plan.episode_seed(start.episode)
            core.out.records.append(EpisodeStarted(start.episode, seed, start.first_checksum))
        else:
            first = max(first, past.verified + 1)
            if len(past.rows) > first:
                core.out.records.append(FramesWithdrawn(start.episode, first))
            first = min(first, len(past.rows))
        core.out.records += [frame.record for frame in replay.frames if frame.record.frame >= first]

    def _count_known(self, frame: int) -> int:
        """Return the first frame from ``frame`` on of which nobody has our input."""
        while frame in self._own:
            frame += 1
        return frame

    def _known(self, rows: Sequence[Row], start: HistoryStart) -> dict[int, list[bytes]]:
        """Return by seat the inputs from the last row on, as the input queues begin with them."""
        plan, newest = self._core.plan, rows[-1].inputs if rows else None
        known = {seat: [newest[seat]] if newest is not None else [] for seat in range(plan.seats)}
        frame = len(rows)
        while frame in self._own:
            values = self._survey.split(self._own[frame], plan.local_seats)
            for seat, value in zip(plan.local_seats, values, strict=True):
                known[seat].append(value)
            frame += 1
        for lost in start.ahead:
            for joined in lost.inputs:
                seats = plan.peers.get(lost.peer, ())
                for seat, value in zip(seats, self._survey.split(joined, seats), strict=True):
                    known[seat].append(value)
        return known

    # -- play goes on -------------------------------------------------------------------------------------------

    @property
    def strangers(self) -> frozenset[int]:
        """Peers who were started again, too, and are to be told where the match stands."""
        return frozenset(self._survey.strangers)

    @property
    def start_of_play(self) -> HistoryStart | None:
        """What play or the barrier is begun with; None as long as that is not known."""
        return self.takeover.start if self.takeover is not None else self.barrier

    @property
    def owed(self) -> int:
        """Frames that all others have played already, as far as is known."""
        return self.takeover.inputs_until - self.takeover.start.until if self.takeover is not None else 0

    def enter(self, barriers: Barriers) -> ResetBatch | None:
        """Go to where the others stand; returns the batch for the host, if they stand before an episode."""
        core, past, takeover = self._core, self._past, self.takeover
        lost = self._survey.lost() or []
        barriers.totals, barriers.started = list(past.totals), past.episode
        self._drops.resume(lost, is_applied=takeover is not None)
        way = "barrier" if takeover is None else "state" if takeover.start.has_state else "seed"
        simulated = 0 if takeover is None else takeover.start.until - takeover.start.first_frame
        core.note("rejoined", {"from": way, "recorded": len(past.rows), "resimulated": simulated})
        if takeover is None:
            assert self.barrier is not None
            core.finished_frames = self.barrier.finished_frames
            barriers.head = Head((), NULL_FRAME, known=self._known((), self.barrier))
            core.out.events.append(PeerRejoined(core.plan.own_id, core.number, 0, True, self._count_known(0)))
            return barriers.reset()
        barriers.take_up(takeover)
        assert core.episode is not None
        for each in lost:
            core.episode.chain.remove(each.peer)
        self._give_inputs(takeover)
        core.out.events.append(
            PeerRejoined(core.plan.own_id, core.number, takeover.start.until, True, takeover.inputs_until)
        )
        return None

    def _give_inputs(self, takeover: Takeover) -> None:
        """Send everybody our inputs that it lacks, of what was played, and say where we stand."""
        core, start, rows = self._core, takeover.start, takeover.head.rows
        resumed = Resumed(start.episode, start.until, start.first_checksum, start.chain)
        for peer in core.peers:
            report = self._survey.reports.get(peer.id)
            if report is None or peer.id in self.strangers:
                continue
            for frame in range(min(report.next, start.until), start.until):
                own = b"".join([rows[frame].inputs[seat] for seat in core.plan.local_seats])
                peer.endpoint.queue_input(frame, own)
            for frame in range(start.until, takeover.inputs_until):
                peer.endpoint.queue_input(frame, self._own[frame])
            peer.endpoint.limit = start.until + MAX_AHEAD
            peer.endpoint.queue_control(resumed)
        core.peers.look()
