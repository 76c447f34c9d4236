"""Turns what happens into what the window shows. Plain data out; knows nothing of pygame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Protocol

from p2pclient.common.presentation import Hud, Intent, Presentation, Screen, View
from p2pclient.match.match import Match
from p2pclient.match.plan import ConnectionChanged, Desync, Ended, MatchEvent, Phase, PhaseChanged, ViewReady
from p2pclient.runtime.presence_words import PresenceWords

_DEPTH_SECONDS = 1.0
_LEFT_SECONDS = 12.0
"""Seconds of play for which it is said that somebody has left; then the place is free for other words."""
_BACK_SECONDS = 3.0
"""Seconds for which it is said that a connection is back."""
_LONG_COMPARING = 0.8
"""Seconds after which comparing gets a screen of its own; a shorter one would only flash."""
_REJOINING = "Welcome back. Your place in the game was kept; one moment, please."
_RESTARTING = "The game is being restarted. Please wait a moment."
_PAUSED = "The game stands still, and goes on by itself from where it is."
_COMPARING = "The computers are comparing their games. Please wait a moment."


class WindowLink(Protocol):
    """The runtime's end of the two queues between it and the window."""

    def publish(self, presentation: Presentation) -> None:
        """Show this from now on. Never waits."""

    def take_intents(self) -> list[Intent]:
        """Return what the person did since the last call. Never waits."""


class NoWindow:
    """For clients without a window: shows nothing, and nobody does anything."""

    def publish(self, presentation: Presentation) -> None:
        """Forget it."""

    def take_intents(self) -> list[Intent]:
        """Nothing was done."""
        return []


def seat_colours(ready: Mapping[str, Any]) -> tuple[tuple[int, int, int], ...]:
    """Return how the environment draws each seat's figure; empty where it did not say so."""
    return tuple((int(red), int(green), int(blue)) for red, green, blue in ready.get("seat_colours", ()))


def key_help(controls: Mapping[str, Any], keys: str) -> tuple[tuple[str, str], ...]:
    """Return the help line of a person who plays with ``all``, the ``first`` or the ``second`` keys of bindings."""
    lines = [(str(names).split(" or "), str(does)) for names, does in controls.get("help", ())]
    chosen = {"all": slice(None), "first": slice(0, 1), "second": slice(-1, None)}[keys]
    return tuple((" or ".join(names[chosen]), does) for names, does in lines)


@dataclass(frozen=True, slots=True)
class _Standing:
    """How it stands with the other sides, as far as a person is told."""

    missed: tuple[int, ...] = ()
    """Peers that have not been heard for a moment."""
    lost: tuple[int, ...] = ()
    """Peers that have not been heard for so long that nobody can play on for now."""
    is_back: bool = False
    """Was somebody lost, and is here again since a short while."""
    countdown: tuple[tuple[str, str], ...] = ()
    """How long those are waited for, and what follows, as lines."""
    left: tuple[int, ...] = ()
    """Peers without which the match went on a short while ago."""
    restarting: tuple[int, ...] = ()
    """Peers whose environment has failed and is started again."""
    restarted: int | None = None
    """Percents done of the same here; None while the environment runs."""
    paused: str | None = None
    """Why play stands still, in the words of who asked for that; None if it does not."""
    comparing: str = ""
    """Empty unless states that differ are looked into; ``short``, then ``long`` if that takes its time."""
    away: tuple[int, ...] = ()
    """Seats of others whose windows are not in front, as far as that is told."""
    waited_for: tuple[int, int] | None = None
    """For whose absence the match is paused, and the seconds that this lasts at most."""
    checking: tuple[int, int, int | None] | None = None
    """Try, tries, and seconds until the next try, while the links take long to be found sound."""


_LONG_CHECKING = 0.8
"""Seconds after which checking the links gets a screen of its own; healthy ones take less than a tenth."""


class _Words(PresenceWords):
    """What a person is told about the others."""

    def restarting(self, peers: Sequence[int]) -> str:
        whose = "your partner's game" if self._is_pair else f"the game of {self.names(peers)}"
        return f"Waiting for {whose}, which is being restarted."

    def turn(self, seat: int, own: Sequence[int]) -> str:
        """Whose turn it is. ``own`` begins with the seat of the person at this window."""
        if seat in own[:1]:
            return "It is your turn."
        return "It is your partner's turn." if self._is_pair and own else f"It is Player {seat + 1}'s turn."


def _rejoining(done: float | None) -> str:
    return _REJOINING if done is None else f"{_REJOINING} ({int(100 * done)} %)"


def _paused(reason: str) -> str:
    """Return what is said in a pause; a reason comes first, as a sentence of its own."""
    if not reason:
        return _PAUSED
    return f"{reason}{'' if reason[-1] in '.!?…' else '.'} {_PAUSED}"


def view_of(event: ViewReady) -> View:
    """Return what the window is to draw of a view from the host."""
    pixels = event.view["pixels"]
    text = None if pixels is not None else str(event.view.get("text", ""))
    return View(event.episode, int(event.view["frame"]), pixels, text)


class MatchPresenter:
    """Publishes the screens of one match. What is said of the others is read from the match in each tick.

    Args:
        title: what is played, for people.
        connections: kind of path to each peer.
        keys: which keys the person at this window plays with, see ``KeyboardSource``; None if nobody does.
    """

    def __init__(
        self,
        window: WindowLink,
        match: Match,
        *,
        title: str,
        connections: Mapping[int, str],
        keys: str | None = "all",
    ) -> None:
        self._window = window
        self._match = match
        self._title = title
        self._connections = dict(connections)
        self._keys = () if keys is None else key_help(match.plan.env["controls"], keys)
        self._needs_focus = keys == "all"
        self._view: View | None = None
        self._totals: tuple[float, ...] = ()
        self._colours = seat_colours(match.plan.env)
        self._frame = 0
        self._to_move: int | None = None
        """The seat whose turn it is; None where all act at once."""
        self._words = _Words(match.plan)
        self._standing = _Standing()
        self._gone: tuple[int, ...] = ()
        self._back_until = 0.0
        self._gone_at = 0.0
        """Seconds of play at which the newest of them was gone."""
        self._played = 0.0
        self._compared_since: float | None = None
        self._ticked_at: float | None = None
        self._depths: list[tuple[float, int]] = []
        self._rollbacks_seen = 0
        self._last: Presentation | None = None

    def take_event(self, event: MatchEvent) -> None:
        """Note an event; a new view is published at once."""
        if isinstance(event, ViewReady):
            self._take_view(event)
            self.publish()
        elif isinstance(event, ConnectionChanged):
            self._connections[event.peer] = event.connection
            self.publish()
        elif isinstance(event, PhaseChanged | Ended | Desync):
            self.publish()

    def _take_view(self, event: ViewReady) -> None:
        view: Mapping[str, Any] = event.view
        self._totals = tuple(float(total) for total in view["totals"])
        self._frame = int(view["frame"])
        self._to_move = view.get("to_move")
        self._view = view_of(event)

    def publish(self) -> None:
        """Show where the match stands now, if that differs from what is shown."""
        presentation = self._presentation()
        if presentation != self._last:
            self._last = presentation
            self._window.publish(presentation)

    def note_tick(self, now: float) -> None:
        """Look at the match after a tick, and show what is different for the person."""
        counters = self._match.counters
        if counters.rollbacks > self._rollbacks_seen:
            self._depths.append((now, self._match.last_depth))
            self._rollbacks_seen = counters.rollbacks
        self._depths = [(at, d) for at, d in self._depths if now - at < _DEPTH_SECONDS]
        standing = self._look(now)
        if standing != self._standing:
            self._standing = standing
            self.publish()

    def _look(self, now: float) -> _Standing:
        match, phase = self._match, self._match.phase
        passed = now - (now if self._ticked_at is None else self._ticked_at)
        self._ticked_at = now
        if match.ended is not None:
            return self._standing  # what was said last stays until the result is shown
        if phase is Phase.FINISHING:
            return _Standing()  # nobody is waited for any more
        self._played += passed if phase is Phase.PLAYING else 0.0
        gone = tuple(sorted(peer for peer in match.plan.peers if peer not in match.peers))
        if gone != self._gone:
            self._gone, self._gone_at = gone, self._played
        here = [peer for peer in match.peers if peer.left is None]
        lost = tuple(peer.id for peer in here if peer.endpoint.silence == "lost")
        if set(self._standing.lost) & {peer.id for peer in here} - set(lost):
            self._back_until = now + _BACK_SECONDS
        return _Standing(
            missed=tuple(peer.id for peer in here if peer.endpoint.silence == "notice"),
            lost=lost,
            is_back=now < self._back_until,
            countdown=self._words.countdown(lost, match, now) if lost else (),
            left=gone if self._played - self._gone_at < _LEFT_SECONDS else (),
            restarting=tuple(peer.id for peer in here if peer.recovering is not None),
            restarted=None if match.recovered is None else int(100 * match.recovered),
            paused=match.changes.pause_reason if match.changes.is_paused else None,
            comparing=self._comparing(now),
            away=match.absences.away_seats(now) if match.plan.tell_away else (),
            waited_for=self._waited_for(now),
            checking=self._checking(now),
        )

    def _waited_for(self, now: float) -> tuple[int, int] | None:
        absences, peer = self._match.absences, self._match.absences.waited_for
        return None if peer is None else (peer, ceil(absences.wait_left(now)))

    def _checking(self, now: float) -> tuple[int, int, int | None] | None:
        standing = self._match.link_check(now)
        if standing is None or standing.seconds < _LONG_CHECKING:
            return None
        retry_in = None if standing.retry_in is None else ceil(standing.retry_in)
        return standing.attempt, standing.attempts, retry_in

    def _comparing(self, now: float) -> str:
        if self._match.phase is not Phase.DIVERGED:
            self._compared_since = None
            return ""
        if self._compared_since is None:
            self._compared_since = now
        return "long" if now - self._compared_since >= _LONG_COMPARING else "short"

    def _presentation(self) -> Presentation:
        match = self._match
        # The keys stay too where a card covers the picture, so that nothing moves beneath it.
        common: dict[str, Any] = {"title": self._title, "view": self._view, "hud": self._hud(), "keys": self._keys}
        if self._standing.lost:
            title, message = self._words.lost(self._standing.lost)
            lines = self._standing.countdown
            return Presentation(Screen.PARTNER_LOST, message=message, lines=lines, **{**common, "title": title})
        if self._standing.comparing == "long":
            title = "One moment, please"
            return Presentation(Screen.COMPARING, message=_COMPARING, **{**common, "title": title})
        if self._standing.checking is not None:
            title, message = self._words.checking(*self._standing.checking)
            common = {**common, "title": title, "view": None}
            return Presentation(Screen.CONNECTING, message=message, **common)
        if self._standing.paused is not None and self._standing.waited_for is not None:
            title, message = self._words.waited_for(*self._standing.waited_for)
            return Presentation(Screen.PAUSED, message=message, **{**common, "title": title})
        if self._standing.paused is not None:
            return Presentation(Screen.PAUSED, message=_paused(self._standing.paused), **{**common, "title": "Paused"})
        if match.phase is Phase.REJOINING:
            return Presentation(Screen.CONNECTING, message=_rejoining(match.returns.progress), **common)
        if match.phase in (Phase.HANDSHAKING, Phase.RESETTING, Phase.BARRIER) and match.number == 0:
            return Presentation(Screen.CONNECTING, message="Getting ready.", **common)
        return Presentation(Screen.PLAYING, needs_focus=self._needs_focus, **common)

    def _notice(self) -> str:
        standing = self._standing
        if standing.comparing:
            return _COMPARING
        if standing.restarted is not None:
            return f"{_RESTARTING} {standing.restarted} % is done." if standing.restarted else _RESTARTING
        if standing.restarting:
            return self._words.restarting(standing.restarting)
        if standing.missed:
            return self._words.missed(standing.missed)
        if standing.is_back:
            return self._words.back()
        if standing.left:
            return self._words.left(standing.left)
        if standing.away:
            return self._words.away(standing.away)
        return ""

    def _hud(self) -> Hud:
        match, plan = self._match, self._match.plan
        rtt = match.peers.rtt
        limit = match.episode.frame_limit if match.episode is not None else None
        left = None if limit is None else max(0, limit - self._frame) / plan.rate_hz
        ahead = 0
        if match.episode is not None:
            session = match.episode.session
            ahead = max(0, session.current_frame - 1 - session.confirmed_frame)
        return Hud(
            scores=self._totals,
            own_seat=plan.local_seats[0] if plan.local_seats else None,
            colours=self._colours,
            seconds_left=left,
            episode=match.number,
            episodes=plan.episodes,
            ping_ms=None if rtt is None else round(rtt * 1000),
            connection=", ".join(sorted(set(self._connections.values()))),
            rollback_depth=max((depth for _, depth in self._depths), default=0),
            predicted_frames=ahead,
            stalled=match.stalled,
            notice=self._notice(),
            turn="" if self._to_move is None else self._words.turn(self._to_move, plan.local_seats),
        )
