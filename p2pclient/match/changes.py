"""Pause, resume, end and extend: changes of a running match that all sides make at one and the same frame.

1. Anybody may wish for one. The wish goes to the peer that holds the lowest seat among the living; it **names** the
   change, with a number, counted up, and a frame that lies ahead of all.
2. Whoever hears of a change **takes** it, and repeats it to everybody: that is its confirmation, and it reaches those
   whom the peer that named it can reach no more. The next change is named only when all living have confirmed the last.
3. Who names a change sends no input for its frame, nor for any later one, before all have confirmed it. So nobody can
   have settled that frame before it has heard of the change, however late that is. Who ran ahead of it on assumed
   inputs goes back to it.
4. A **pause** holds everybody before its frame, and keeps all inputs from there on back. It is in effect, and is
   recorded, when every frame before it is verified by all. If the episode ends before, the pause stands before the
   first frame of the next one. A **resume** is named for the frame at which the match is paused.
5. An **end** makes its frame the episode's limit, at 1 or later, and the episode the last one. To **extend** raises the
   length of the match, and holds only the peer that names it, at a frame before the end as it was known.

A lost peer: nothing is named while the survivors have not agreed without whom they go on. Whoever took a change of the
lost one has repeated it before it says whom it lost, and nobody goes on before it has heard that from everyone. So all
survivors have the same changes when the next in line begins to name.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from p2pclient.common.errors import LocalMisuseError
from p2pclient.match.core import MatchCore
from p2pclient.match.drops import DropCourse
from p2pclient.match.episode import EpisodePlay
from p2pclient.match.peers import Peer
from p2pclient.match.plan import ENDED_EARLY, MatchChanged, Phase
from p2pclient.protocol.control import (
    MAX_DONE,
    MAX_EXTENSION,
    MAX_REASON,
    ChangeKind,
    ChangeWish,
    DoneChange,
    MatchChange,
    MatchCourse,
)

_LEAD_TIME = 0.5
"""Seconds ahead at which a change is to take effect, at least; the longest round trip is added."""
_MOST_WISHES = 16
"""Wishes of one side that may be open."""
_MOST_CHANGES = 10_000
"""Changes of one match; each is recorded."""
_MOST_FRAMES = 1 << 30
"""Frames of a match, with all that it was extended by."""
_AGREEING = (Phase.BARRIER, Phase.PLAYING)
"""Phases in which a change can be named."""
_TELLING = (Phase.RESETTING, Phase.BARRIER, Phase.PLAYING, Phase.EPISODE_OVER, Phase.DIVERGED)
"""Phases in which a wish can be told."""
_OVER = (Phase.FINISHING, Phase.ENDED)


@dataclass(slots=True)
class _Pause:
    """A pause that was taken and not lifted."""

    change: MatchChange
    episode: int
    frame: int
    since: float | None = None
    """When it took effect; None if it has not yet."""


class ChangeCourse:
    """Wishes and changes of one side of one match."""

    def __init__(self, core: MatchCore, drops: DropCourse) -> None:
        self._core = core
        self._drops = drops
        self._newest = 0
        """Number of the change that was taken last."""
        self._last: MatchChange | None = None
        """That change."""
        self._wishes: list[ChangeWish] = []
        """Our own, as long as no change has answered them."""
        self._wished = 0
        self._told: tuple[int, int] = (core.plan.own_id, 0)
        """Who was told our wishes, and up to which one."""
        self._asked: deque[tuple[int, ChangeWish]] = deque()
        """What is to be named, if that falls to us; with whose wish it is."""
        self._pause: _Pause | None = None
        self._gate: tuple[int, int] | None = None
        """Episode and frame at which we wait until all have confirmed what we named."""
        self._gate_until = float("inf")
        """When we wait no longer: at the end of a pause, that all begin at about the same time."""
        self._paused_before = 0.0
        """Seconds of all pauses that are over."""
        self._end: MatchChange | None = None
        self.extended = 0
        """Frames by which the match is longer than planned."""
        self.done: list[dict[str, Any]] = []
        """All that took effect, in order, the same on every side."""

    # -- how it stands ------------------------------------------------------------------------------------------

    @property
    def is_paused(self) -> bool:
        """Does this side stand at the frame of a pause, and wait for nothing else."""
        if self._pause is None and self._gate_until == float("inf"):
            return False
        core, episode = self._core, self._core.episode
        if episode is None or episode.hold is None or core.phase is not Phase.PLAYING:
            return False
        return episode.session.current_frame >= episode.hold

    @property
    def stands(self) -> bool:
        """Is a pause in effect on all sides, and recorded."""
        return self._pause is not None and self._pause.since is not None

    @property
    def will_stand(self) -> bool:
        """Will the match be paused once all is in effect that is agreed on, or wished for here."""
        wished = [each.kind for each in self._wishes if each.kind in ("pause", "resume")]
        return wished[-1] == "pause" if wished else self._pause is not None

    @property
    def pause_reason(self) -> str | None:
        """Why the match is paused, in the words of who asked for it; None if no pause is agreed on."""
        return self._pause.change.reason if self._pause is not None else None

    @property
    def pause_wish(self) -> tuple[int, int] | None:
        """Who asked for the pause that is agreed on, and with which of its wishes; None if there is none."""
        return (self._pause.change.peer, self._pause.change.wish) if self._pause is not None else None

    def is_open(self, number: int) -> bool:
        """Is a wish of our own still without an answer."""
        return any(wish.number == number for wish in self._wishes)

    def paused_for(self, now: float) -> float:
        """Seconds for which the pause at hand has been in effect; 0 if there is none."""
        return now - self._pause.since if self._pause is not None and self._pause.since is not None else 0.0

    @property
    def ends_here(self) -> bool:
        """Is the episode at hand the last one because an end was asked for."""
        return self._end is not None and self._end.episode <= self._core.number

    def frame_limit(self) -> int | None:
        """Return how many frames the episode at hand has at most; None without a limit."""
        core, end = self._core, self._end
        plan = core.plan
        left = plan.frames + self.extended - core.finished_frames if plan.frames else None
        stop = end.frame if end is not None and end.episode == core.number else None
        limits = [n for n in (left, plan.env["max_steps"], stop) if n is not None]
        return min(limits) if limits else None

    def step_back(self) -> int | None:
        """Return the frame to go back to, if we ran past one that nobody is to begin yet."""
        episode = self._core.episode
        if episode is None or episode.hold is None or episode.session.current_frame <= episode.hold:
            return None
        return episode.hold

    # -- what is wished for -------------------------------------------------------------------------------------

    def wish(self, kind: ChangeKind, *, reason: str = "", frames: int = 0) -> int | None:
        """Ask for a change. Harmless if it is there already, or is asked for twice; only frames add up.

        Returns:
            The number of the wish; None if nothing had to be asked for.

        Raises:
            LocalMisuseError: it is too late for it, or the match has no length that could be extended.
        """
        self._check_wish(kind, frames)
        open_kinds = [each.kind for each in self._wishes if each.kind != "extend"]
        paused = open_kinds[-1] == "pause" if open_kinds else self._pause is not None
        if kind in open_kinds[-1:] or (kind == "pause" and paused) or (kind == "resume" and not paused):
            return None
        if kind == "end" and self._end is not None:
            return None
        if len(self._wishes) >= _MOST_WISHES:
            raise LocalMisuseError("Too many requests wait for the other players' computers.")
        self._wished += 1
        wish = ChangeWish(self._wished, kind, frames, one_line(reason))
        self._wishes.append(wish)
        return wish.number

    def _check_wish(self, kind: ChangeKind, frames: int) -> None:
        core, plan = self._core, self._core.plan
        if core.phase in _OVER:
            raise LocalMisuseError("The match has already ended.")
        if kind != "extend":
            return
        if not plan.frames:
            raise LocalMisuseError("The match has no length in frames, so that it cannot be extended.")
        if self._end is not None or any(wish.kind == "end" for wish in self._wishes):
            raise LocalMisuseError("The match is about to be ended, so that it cannot be extended.")
        asked = sum(wish.frames for wish in self._wishes)
        if not 1 <= frames <= MAX_EXTENSION or plan.frames + self.extended + asked + frames > _MOST_FRAMES:
            raise LocalMisuseError(f"A match can be extended by 1 to {MAX_EXTENSION} frames at once.")

    def _receive_wish(self, peer: Peer, wish: ChangeWish) -> None:
        waiting = sum(owner == peer.id for owner, _ in self._asked)
        is_for_us = self._core.leader == self._core.plan.own_id and waiting < _MOST_WISHES
        if not is_for_us or wish.number <= peer.wished or wish.reason != one_line(wish.reason):
            peer.endpoint.drops["bad-wish"] += 1
            return
        peer.wished = wish.number
        self._asked.append((peer.id, wish))

    # -- time ---------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Tell what is wished for, name what is to be named, and see what is in effect. Call it in every tick."""
        core = self._core
        if self._pause is not None:
            self._look_at_pause(self._pause, now)
        if not (self._wishes or self._asked or self._gate):
            return
        is_confirmed = all(peer.changed >= self._newest for peer in core.peers.all)
        if self._gate is not None and (is_confirmed or now >= self._gate_until):
            self._gate, self._gate_until = None, float("inf")
            self.apply()
        if self._drops.is_open:
            return
        if core.phase in _TELLING:
            self._tell()
        is_open = self._pause is not None and self._pause.since is None
        if core.phase in _AGREEING and is_confirmed and not is_open and core.episode is not None:
            self._name(core.episode, now)

    def _tell(self) -> None:
        """Hand our wishes to who names what is changed: once, and again to who takes that place."""
        core = self._core
        leader = core.leader
        told = self._told[1] if self._told[0] == leader else 0
        for wish in self._wishes:
            if wish.number <= told:
                continue
            if leader == core.plan.own_id:
                self._asked.append((leader, wish))
            else:
                core.peers[leader].endpoint.queue_control(wish)
        self._told = leader, self._wished

    def _name(self, episode: EpisodePlay, now: float) -> None:
        """Name the next change that is asked for, if that falls to us."""
        core = self._core
        while self._asked and self._newest < _MOST_CHANGES:
            owner, wish = self._asked[0]
            is_here = owner == core.plan.own_id or owner in core.peers
            if not is_here or self._is_vain(wish):
                self._asked.popleft()
                continue
            frame = self._frame_for(wish, episode)
            if frame is None:
                return
            self._asked.popleft()
            number = self._newest + 1
            change = MatchChange(number, wish.kind, core.number, frame, wish.frames, wish.reason, owner, wish.number)
            self._gate = core.number, frame
            if wish.kind == "resume":
                self._gate_until = now + (core.peers.rtt or 0.0) / 2
            self._take(change, now)
            return

    def _is_vain(self, wish: ChangeWish) -> bool:
        """Is there nothing left of it to be done."""
        if self._end is not None:
            return True
        if wish.kind == "extend":
            plan, frames = self._core.plan, wish.frames
            return not plan.frames or not frames or plan.frames + self.extended + frames > _MOST_FRAMES
        return (wish.kind == "pause" and self._pause is not None) or (wish.kind == "resume" and self._pause is None)

    def _frame_for(self, wish: ChangeWish, episode: EpisodePlay) -> int | None:
        """Return the frame at which a change can take effect; None if there is none in this episode any more."""
        core, limit = self._core, self.frame_limit()
        if self._pause is not None:
            frame = self._pause.frame
        elif core.phase is Phase.BARRIER:
            frame = 0
        else:
            ahead = round((_LEAD_TIME + (core.peers.rtt or 0.0)) * core.plan.rate_hz)
            frame = max(episode.session.current_frame + ahead, episode.sent_inputs)
        if wish.kind == "end":
            return max(1, frame)
        if wish.kind != "extend" or limit is None:
            return frame
        frame = min(frame, limit - 1)
        is_free = self._pause is not None or frame >= max(episode.session.current_frame, episode.sent_inputs)
        return frame if is_free else None

    # -- what is named ------------------------------------------------------------------------------------------

    def receive(self, peer: Peer, message: ChangeWish | MatchChange, now: float) -> None:
        """A peer asks for a change, because it thinks that we name it; or names one; or repeats what another named."""
        if isinstance(message, ChangeWish):
            self._receive_wish(peer, message)
        else:
            self._receive_change(peer, message, now)

    def _receive_change(self, peer: Peer, change: MatchChange, now: float) -> None:
        if change.number == self._newest + 1 and self._is_possible(change):
            self._take(change, now)
        if change.number > self._newest:
            peer.endpoint.drops["bad-change"] += 1
            return
        peer.changed = max(peer.changed, change.number)

    def _is_possible(self, change: MatchChange) -> bool:
        """May this be the next change: it comes from outside."""
        core, pause = self._core, self._pause
        if self._end is not None or change.number > _MOST_CHANGES or change.reason != one_line(change.reason):
            return False
        if change.peer != core.plan.own_id and change.peer not in core.plan.peers:
            return False
        if change.kind == "resume":
            return pause is not None
        if change.kind == "extend":
            total = core.plan.frames + self.extended + change.frames
            if not core.plan.frames or not change.frames or total > _MOST_FRAMES:
                return False
        is_next = change.episode == core.number + 1
        recorded = core.episode.recorded if core.episode is not None and not is_next else -1
        is_new = is_next or (change.episode == core.number and change.frame > recorded)
        return (
            is_new and not (change.kind == "pause" and pause is not None) and (change.kind != "end" or change.frame > 0)
        )

    def _take(self, change: MatchChange, now: float) -> None:
        core, kind = self._core, change.kind
        self._newest, self._last = change.number, change
        self._wishes = [wish for wish in self._wishes if not self._is_answered(wish, change)]
        core.peers.tell(change)
        if kind == "pause":
            self._pause = _Pause(change, change.episode, change.frame)
        else:
            pause = self._pause
            if pause is not None and pause.since is None:
                # It is in effect where this was named: all have verified what is before it, or closed that episode.
                if pause.episode < change.episode:
                    pause.episode, pause.frame = change.episode, 0
                self._put_in_effect(pause, now)
            if kind == "extend":
                self.extended += change.frames
            elif kind == "end":
                self._end = change
            self._record(change, change.episode, change.frame)
            if kind != "extend":
                self._lift_pause(now)
        self.apply()

    def _lift_pause(self, now: float) -> None:
        if self._pause is None:
            return
        self._look_at_pause(self._pause, now)
        self._paused_before = self._core.counters.paused_seconds
        self._pause = None
        self._core.peers.pace_anew()

    def _is_answered(self, wish: ChangeWish, change: MatchChange) -> bool:
        if change.kind == "extend":
            return change.peer == self._core.plan.own_id and change.wish == wish.number
        return change.kind in (wish.kind, "end")

    def apply(self) -> None:
        """Tell the episode at hand how far it may go."""
        core, episode, pause, end = self._core, self._core.episode, self._pause, self._end
        if episode is None:
            return
        holds = [self._gate[1]] if self._gate is not None and self._gate[0] == core.number else []
        if pause is not None and pause.episode == core.number:
            holds.append(pause.frame)
        if end is not None and end.episode == core.number:
            holds.append(end.frame)
        limit = self.frame_limit()
        is_early = end is not None and end.episode == core.number and end.frame == limit
        episode.set_bounds(limit, hold=min(holds, default=None), reason=ENDED_EARLY if is_early else "limit")

    def begin_episode(self) -> None:
        """The last episode is closed: a pause that it did not come to stands before the first frame of the next."""
        core, pause = self._core, self._pause
        if pause is not None and pause.episode < core.number:
            pause.episode, pause.frame = core.number, 0
        self._gate, self._gate_until = None, float("inf")  # nobody closes an episode without what was named in it

    # -- who was started again --------------------------------------------------------------------------------------

    def course(self) -> MatchCourse:
        """Return what is agreed on, for a peer that was started again."""
        pause = self._pause
        return MatchCourse(
            number=self._newest,
            extended=self.extended,
            newest=self._last,
            pause=pause.change if pause is not None else None,
            pause_at=(pause.episode, pause.frame) if pause is not None else (0, 0),
            stands=self.stands,
            end=self._end,
            done=[DoneChange(**each) for each in self.done[-MAX_DONE:]],
        )

    def resume(self, course: MatchCourse, frame: int, now: float) -> None:
        """We were started again, and play on from ``frame``: take over what was agreed on meanwhile."""
        self._newest, self._last, self.extended, self._end = course.number, course.newest, course.extended, course.end
        self.done = [_as_done(each) for each in course.done]
        if course.pause is not None:
            self._pause = _Pause(course.pause, *course.pause_at, since=now if course.stands else None)
        last = course.newest
        if last is not None and (last.episode, last.frame) >= (self._core.number, frame):
            self._gate = last.episode, last.frame  # nobody may have heard of it yet but who told us

    def renew(self, peer: Peer) -> None:
        """A peer was started again: what it wished for, confirmed and was told before counts no more."""
        peer.changed = 0
        self._asked = deque(each for each in self._asked if each[0] != peer.id)
        if self._told[0] == peer.id:
            self._told = self._core.plan.own_id, 0

    def confirm_again(self, peer: Peer) -> None:
        """Tell a peer the newest change that was taken here."""
        if self._last is not None:
            peer.endpoint.queue_control(self._last)

    # -- what is in effect --------------------------------------------------------------------------------------

    def _look_at_pause(self, pause: _Pause, now: float) -> None:
        core, episode = self._core, self._core.episode
        if pause.since is not None:
            core.counters.paused_seconds = self._paused_before + now - pause.since
            return
        if core.phase is not Phase.PLAYING or episode is None or pause.episode != episode.number:
            return
        if episode.last_frame is None and episode.verified >= pause.frame - 1:
            self._put_in_effect(pause, now)

    def _put_in_effect(self, pause: _Pause, now: float) -> None:
        pause.since = now
        self._core.counters.pauses += 1
        self._record(pause.change, pause.episode, pause.frame)

    def _record(self, change: MatchChange, episode: int, frame: int) -> None:
        plan = self._core.plan
        seats = plan.local_seats if change.peer == plan.own_id else plan.peers[change.peer]
        details: dict[str, Any] = {"reason": change.reason, "seat": min(seats)}
        if change.kind == "extend":
            details["frames"] = change.frames
        self._core.note(change.kind, details, at=(episode, frame))
        self._core.out.events.append(MatchChanged(change.kind, episode, frame, change.reason))
        self.done.append({"kind": change.kind, "episode": episode, "frame": frame, **details})


def _as_done(change: DoneChange) -> dict[str, Any]:
    done: dict[str, Any] = {name: getattr(change, name) for name in ("kind", "episode", "frame", "reason", "seat")}
    if change.kind == "extend":
        done["frames"] = change.frames
    return done


def one_line(reason: str) -> str:
    """Return what a person wrote as one line that can be shown and stored anywhere."""
    words = " ".join(reason.split())
    return "".join([letter for letter in words if letter.isprintable()])[:MAX_REASON].strip()
