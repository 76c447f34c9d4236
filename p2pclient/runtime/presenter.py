"""Turns what happens into what the window shows. Plain data out; knows nothing of pygame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from p2pclient.common.presentation import Hud, Intent, Presentation, Screen, View
from p2pclient.match.match import Match
from p2pclient.match.plan import Desync, Ended, MatchEvent, PeerSilence, Phase, PhaseChanged, ViewReady

_DEPTH_SECONDS = 1.0


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


class MatchPresenter:
    """Publishes the screens of one match.

    Args:
        title: what is played, for people.
        connection: kind of path to the others.
        keys: which keys the person at this window plays with, see ``KeyboardSource``; None if nobody does.
    """

    def __init__(
        self, window: WindowLink, match: Match, *, title: str, connection: str, keys: str | None = "all"
    ) -> None:
        self._window = window
        self._match = match
        self._title = title
        self._connection = connection
        self._keys = () if keys is None else key_help(match.plan.env["controls"], keys)
        self._needs_focus = keys == "all"
        self._view: View | None = None
        self._totals: tuple[float, ...] = ()
        self._colours = seat_colours(match.plan.env)
        self._frame = 0
        self._lost = False
        self._notice = ""
        self._depths: list[tuple[float, int]] = []
        self._rollbacks_seen = 0
        self._last: Presentation | None = None

    def take_event(self, event: MatchEvent) -> None:
        """Note an event; a new view is published at once."""
        if isinstance(event, ViewReady):
            self._take_view(event)
            self.publish()
        elif isinstance(event, PeerSilence):
            self._lost = event.level == "lost"
            self._notice = "Your partner has not been heard for a moment." if event.level == "notice" else ""
            self.publish()
        elif isinstance(event, PhaseChanged | Ended | Desync):
            self.publish()

    def _take_view(self, event: ViewReady) -> None:
        view: Mapping[str, Any] = event.view
        self._totals = tuple(float(total) for total in view["totals"])
        self._frame = int(view["frame"])
        if view["pixels"] is not None:
            self._view = View(event.episode, self._frame, view["pixels"])

    def publish(self) -> None:
        """Show where the match stands now, if that differs from what is shown."""
        presentation = self._presentation()
        if presentation != self._last:
            self._last = presentation
            self._window.publish(presentation)

    def note_tick(self, now: float) -> None:
        """Keep track of rollbacks for the figures on screen."""
        counters = self._match.counters
        if counters.rollbacks > self._rollbacks_seen:
            self._depths.append((now, self._match.last_depth))
            self._rollbacks_seen = counters.rollbacks
        self._depths = [(at, d) for at, d in self._depths if now - at < _DEPTH_SECONDS]

    def _presentation(self) -> Presentation:
        match = self._match
        common: dict[str, Any] = {"title": self._title, "view": self._view, "hud": self._hud()}
        if self._lost:
            message = "Nothing is heard from the other computer. Please wait: the game goes on as soon as it is back."
            return Presentation(Screen.PARTNER_LOST, message=message, **{**common, "title": "Waiting for your partner"})
        if match.phase in (Phase.HANDSHAKING, Phase.RESETTING, Phase.BARRIER) and match.number == 0:
            return Presentation(Screen.CONNECTING, message="Getting ready.", **common)
        return Presentation(Screen.PLAYING, keys=self._keys, needs_focus=self._needs_focus, **common)

    def _hud(self) -> Hud:
        match, plan = self._match, self._match.plan
        rtt = match.peers.rtt
        limit = match.episode.session.frame_limit if match.episode is not None else None
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
            connection=self._connection,
            rollback_depth=max((depth for _, depth in self._depths), default=0),
            predicted_frames=ahead,
            stalled=match.stalled,
            notice=self._notice,
        )
