"""Who is away from its window, from which frame to which, and what follows from that.

1. That a window lost the keyboard, or is minimised, travels inside the inputs. So every side derives the same
   intervals from what it recorded, whatever the network did.
2. ``go-on``: keys count as released, and that is all. ``pause``: the side of whoever is away asks for a pause like
   anybody else (:mod:`p2pclient.match.changes`), and for its end when the person is back, or after ``away_limit``
   seconds. It ends no pause that somebody else asked for, and asks once per absence. Whoever names the changes ends
   the pause of a player that is gone for good.
3. What only one side can know is recorded there only: that its own program stood still, that nothing came from
   another, that the system's clock was set.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from p2pclient.common.frames import MINIMISED, NULL_FRAME, UNFOCUSED
from p2pclient.match.changes import ChangeCourse
from p2pclient.match.core import MatchCore
from p2pclient.match.plan import Phase
from p2pclient.recorder.records import FrameRecorded

AWAY = "A player's window is not in front."
"""Reason of a pause, as all sides record it, that somebody's absence asks for."""
BACK = "The player's window is in front again."
WAITED = "The player's window is still not in front; all have waited for long enough."
GONE = "The player whose window was not in front has left the match."
GRACE = 0.3
"""Seconds: a window that loses the keyboard for less, as to a message that flashes up, stops nobody."""
NOTICED = 1.0
"""Seconds after which the others are told, if they are to be."""
_MOST_KEPT = 10_000
"""Intervals of one match in its manifest; the log has them all."""
_WAITABLE = (Phase.RESETTING, Phase.BARRIER, Phase.PLAYING, Phase.EPISODE_OVER)


Away = Literal["", "focus", "minimised"]


def why_away(flags: int) -> Away:
    """Return what a seat's flags say: ``minimised``, ``focus``, or empty if its window has the keyboard."""
    return "" if not flags & UNFOCUSED else "minimised" if flags & MINIMISED else "focus"


@dataclass(slots=True)
class _Absence:
    """A seat's, that lasts."""

    why: str
    episode: int
    first: int
    newest: int


class AbsenceCourse:
    """The absences of one match, as one side sees them."""

    def __init__(self, core: MatchCore, changes: ChangeCourse) -> None:
        self._core = core
        self._changes = changes
        self._open: dict[int, _Absence] = {}
        """By seat."""
        self._newest = 0, NULL_FRAME
        self.done: list[dict[str, Any]] = []
        """All that are over, in order, the same on every side that recorded their frames."""
        self.interruptions: list[dict[str, Any]] = []
        """What only this side can tell: see rule 3."""
        self.suspended_seconds = 0.0
        """For how long nothing ran here, in sum."""
        self._person: Away | None = None
        """Why the person here is away; None where no person plays."""
        self._person_since = 0.0
        self._wish: int | None = None
        """The pause that was asked for in the absence at hand; -1 if it needs none any more."""
        self._seen_away: dict[int, float] = {}
        """By seat of another: since when its newest inputs say that it is away."""
        self._silent: dict[int, tuple[int, int, float]] = {}
        """By peer that is lost for now: episode, frame, and when it was heard last."""

    # -- what is recorded ---------------------------------------------------------------------------------------

    def take(self, frames: Iterable[FrameRecorded]) -> None:
        """Take in frames that were recorded, in order; what is recorded anew after a desync counts once."""
        for record in frames:
            at = record.episode, record.frame
            if at <= self._newest:
                continue
            if record.episode > self._newest[0]:
                self._close_all()
            self._newest = at
            for seat, value in enumerate(record.inputs):
                if value[0] or seat in self._open:
                    self._look_at(seat, why_away(value[0]), record)

    def _look_at(self, seat: int, why: str, record: FrameRecorded) -> None:
        absence = self._open.get(seat)
        if absence is not None and absence.why != why:
            self._close(seat)
            absence = None
        if absence is not None:
            absence.newest = record.frame
        elif why:
            self._open[seat] = _Absence(why, record.episode, record.frame, record.frame)

    def _close_all(self) -> None:
        for seat in sorted(self._open):
            self._close(seat)

    def _close(self, seat: int) -> None:
        each = self._open.pop(seat)
        details = {"seat": seat, "why": each.why, "to": each.newest}
        self._core.note("away", details, at=(each.episode, each.first))
        if len(self.done) < _MOST_KEPT:
            self.done.append({"episode": each.episode, "from": each.first, **details})

    def end(self, now: float) -> None:
        """The match is over: nobody is away any more. Harmless twice."""
        self._close_all()
        for peer_id in list(self._silent):
            self._heard_again(peer_id, now)

    # -- what only this side knows ------------------------------------------------------------------------------

    def stood_still(self, seconds: float, why: str) -> None:
        """Our program did not run, or the whole machine slept: ``stopped`` or ``asleep``."""
        self.suspended_seconds += seconds
        self._interrupt("suspended", {"seats": list(self._core.plan.local_seats), "why": why, "seconds": seconds})

    def clock_jumped(self, seconds: float) -> None:
        """The system's date was set, forward or (negative) back. Nothing in play follows it."""
        self._interrupt("clock-jump", {"seconds": seconds})

    def _interrupt(self, name: str, details: dict[str, Any], *, at: tuple[int, int] | None = None) -> None:
        core = self._core
        if core.ended is None and len(self.interruptions) < _MOST_KEPT:
            frame = core.episode.session.current_frame if core.episode is not None else NULL_FRAME
            episode, frame = at if at is not None else (core.number, frame)
            self.interruptions.append({"name": name, "episode": episode, "frame": frame, **details})
            core.note(name, details, at=(episode, frame))

    def _look_at_silence(self, now: float) -> None:
        core = self._core
        for peer in core.peers.all:
            is_lost = peer.endpoint.silence == "lost"
            if is_lost and peer.id not in self._silent:
                frame = core.episode.session.current_frame if core.episode is not None else NULL_FRAME
                self._silent[peer.id] = core.number, frame, peer.endpoint.heard_at
            elif not is_lost and peer.id in self._silent:
                self._heard_again(peer.id, now)

    def _heard_again(self, peer_id: int, now: float) -> None:
        episode, frame, since = self._silent.pop(peer_id)
        details = {"seats": list(self._core.plan.peers[peer_id]), "seconds": now - since}
        self._interrupt("stalled", details, at=(episode, frame))

    # -- the person here, and the others ------------------------------------------------------------------------

    def note_person(self, why: Away, now: float) -> None:
        """Say before each tick whether the person at this window is away: ``focus``, ``minimised``, or empty."""
        if bool(why) != bool(self._person):
            self._person_since = now
        self._person = why

    @property
    def person(self) -> Away:
        """Why the person here is away; empty if it is not, or if none plays here."""
        return self._person or ""

    @property
    def waited_for(self) -> int | None:
        """Whose absence the match is paused for; None if it is not paused for one."""
        wish = self._changes.pause_wish
        return wish[0] if wish is not None and self._changes.pause_reason == AWAY else None

    def wait_left(self, now: float) -> float:
        """Seconds until a pause for somebody's absence ends at the latest."""
        return max(0.0, self._core.plan.away_limit - self._changes.paused_for(now))

    def away_seats(self, now: float) -> tuple[int, ...]:
        """Return which seats of others are away, by the newest that came from them, and for longer than a moment."""
        return tuple(seat for seat, since in self._seen_away.items() if now - since >= NOTICED)

    def tick(self, now: float) -> None:
        """Let time pass. Call it in every tick."""
        core = self._core
        self._look_at_silence(now)
        if core.ended is not None:
            self.end(now)
            return
        if core.phase is Phase.PLAYING:
            self._look_at_others(now)
        if core.plan.on_away != "pause" or core.phase not in _WAITABLE:
            return
        self._look_at_who_is_gone()
        if self._person is None:
            return
        self._adopt()
        if self._person:
            self._wait_for_person(now)
        elif self._wish is not None:
            self._go_on()

    def _look_at_others(self, now: float) -> None:
        episode = self._core.episode
        assert episode is not None
        for peer in self._core.peers.all:
            for seat in peer.seats:
                frame = episode.session.last_input_frame(seat)
                if frame != NULL_FRAME and episode.session.confirmed_input(seat, frame)[0] & UNFOCUSED:
                    self._seen_away.setdefault(seat, now)
                else:
                    self._seen_away.pop(seat, None)

    def _look_at_who_is_gone(self) -> None:
        """End the pause for somebody who is no longer in the match, if it falls to us."""
        core, peer = self._core, self.waited_for
        if peer is not None and core.leader == core.plan.own_id and peer != core.leader and peer not in core.peers:
            self._changes.wish("resume", reason=GONE)

    def _adopt(self) -> None:
        """Take the pause that this program asked for before it was started again for that of the absence at hand."""
        changes = self._changes
        wish = changes.pause_wish
        if self._wish is None and wish is not None and self.waited_for == self._core.plan.own_id:
            # Of a pause whose end is asked for already, nothing is left to be done.
            self._wish = wish[1] if changes.will_stand else None

    def _wait_for_person(self, now: float) -> None:
        """The person is away: ask for a pause, and for its end if that lasts for too long."""
        changes = self._changes
        if self._wish is None:
            if now - self._person_since >= GRACE:
                self._wish = changes.wish("pause", reason=AWAY)
        elif self._is_ours() and changes.paused_for(now) >= self._core.plan.away_limit:
            changes.wish("resume", reason=WAITED)
            self._wish = -1

    def _go_on(self) -> None:
        """The person is back: end the pause, if it is the one that was asked for."""
        assert self._wish is not None
        if self._changes.is_open(self._wish):
            return  # whether it will be ours is not known yet
        if self._is_ours():
            self._changes.wish("resume", reason=BACK)
        self._wish = None

    def _is_ours(self) -> bool:
        return self._changes.pause_wish == (self._core.plan.own_id, self._wish)
