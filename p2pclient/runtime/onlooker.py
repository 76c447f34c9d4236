"""Watches one match for a client: asks the server, connects to the players, follows to the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from p2pclient import __version__
from p2pclient.common.lobby_messages import Admitted, PeerBack, PeerGone, ServerMessage, Signal, Watch
from p2pclient.common.presentation import Hud, Presentation, Screen, View
from p2pclient.envhost.client import EnvHost
from p2pclient.match.plan import Ended, MatchEvent, PeerSilence, Phase, PhaseChanged, ViewReady
from p2pclient.match.watching import Watching
from p2pclient.recorder.records import Record
from p2pclient.runtime.client import Report
from p2pclient.runtime.connecting import Connector
from p2pclient.runtime.hosting import HostKeeper
from p2pclient.runtime.match_runner import MatchRunner
from p2pclient.runtime.person import Person
from p2pclient.runtime.planning import make_watch_plan
from p2pclient.runtime.presenter import WindowLink, seat_colours, view_of
from p2pclient.runtime.signaling_client import SignalingClient
from p2pclient.transport.impairment import ImpairmentSpec


@dataclass(frozen=True, slots=True)
class Outlook:
    """How a match is watched, and what the person is told meanwhile."""

    delay: float = 0.0
    """Seconds to stay behind."""
    render: bool = True
    impairment: ImpairmentSpec = field(default_factory=ImpairmentSpec)
    seed: int = 0
    """Of the impairment."""
    title: str = ""
    """Of the screens before the game is seen; empty for that of the environment."""
    message: str = "You are about to watch this match."
    notice: str = "You are watching."
    """Over the picture."""


GOES_ON = Outlook(
    title="Your game goes on",
    message="You are watching it. When it is over, you can play again.",
    notice="Your game goes on. You are watching it.",
)
"""For a player who comes back after a crash."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What came of watching a match."""

    ended: Ended
    totals: tuple[tuple[float, ...], ...]
    """Total rewards by seat of each episode that was seen to its end."""
    colours: tuple[tuple[int, int, int], ...]

    def result(self) -> Presentation:
        """Return the screen that closes it."""
        title = "The match is over" if self.ended.reason == "finished" else "No longer watching"
        hud = Hud(scores=self.totals[-1] if self.totals else (), colours=self.colours)
        return Presentation(Screen.RESULTS, title=title, message=self.ended.text, hud=hud, can_continue=True)


class _Nowhere:
    """A spectator records nothing: the players do."""

    def record(self, record: Record) -> None:
        """Forget it."""


class WatchPresenter:
    """Publishes the screens of one match that is watched."""

    def __init__(self, window: WindowLink, watching: Watching, outlook: Outlook) -> None:
        self._window = window
        self._watching = watching
        self._outlook = outlook
        self._title = str(watching.plan.env["title"])
        self._silence = "heard"
        self._view: View | None = None
        self._totals: tuple[float, ...] = ()
        self._colours = seat_colours(watching.plan.env)

    def take_event(self, event: MatchEvent) -> None:
        """Note an event, and show how it stands now."""
        if isinstance(event, ViewReady):
            self._totals = tuple(float(total) for total in event.view["totals"])
            self._view = view_of(event)
        elif isinstance(event, PeerSilence):
            self._silence = event.level
        self._window.publish(self._presentation())

    def _presentation(self) -> Presentation:
        watching, outlook = self._watching, self._outlook
        if self._view is None and watching.phase is not Phase.PLAYING:
            message = PAUSED if watching.is_paused else outlook.message
            return Presentation(Screen.CONNECTING, title=outlook.title or self._title, message=message)
        rtt = watching.rtt
        hud = Hud(
            scores=self._totals,
            colours=self._colours,
            episode=watching.number,
            episodes=watching.plan.episodes,
            ping_ms=None if rtt is None else round(rtt * 1000),
            notice=self._notice(),
        )
        # Who watches with a delay sees the players' last frames first.
        if watching.is_paused and watching.behind <= watching.delay:
            return Presentation(Screen.PAUSED, title="Paused", message=PAUSED, view=self._view, hud=hud)
        return Presentation(Screen.PLAYING, title=self._title, view=self._view, hud=hud, needs_focus=False)

    def _notice(self) -> str:
        if self._watching.is_recovering:
            return "The game is being restarted. Please wait a moment."
        silent = "Nothing is heard from the players at the moment."
        return self._outlook.notice if self._silence == "heard" else silent


PAUSED = "The players have paused. It goes on by itself."


class Onlooker:
    """One client's watching of one match. Made before the server is asked, so that nothing it says is missed.

    Args:
        signaling: connected, and in no match.
        on_runner: called with what runs the match before its first tick.
    """

    def __init__(
        self,
        outlook: Outlook,
        *,
        signaling: SignalingClient,
        window: WindowLink,
        person: Person,
        report: Report,
        on_runner: Callable[[MatchRunner], None],
    ) -> None:
        self._outlook = outlook
        self._signaling = signaling
        self._window = window
        self._person = person
        self._report = report
        self._on_runner = on_runner
        self._connector: Connector | None = None
        self._runner: MatchRunner | None = None
        self._seats_of: dict[str, int] = {}
        self._gone: set[str] = set()

    async def watch(self, match_id: str | None, hosts: HostKeeper) -> Watched:
        """Watch a match to its end, or until the person leaves; None for the one that began last.

        The client has left the match when this returns, not when it raises.

        Raises:
            SignalingError: the server refuses, or is away.
            TransportError: none of the players can be reached.
            EnvHostError: the environment cannot be loaded.
            ConfigurationError: it does not fit the match.
        """
        admitted = await self._signaling.watch(Watch(app_version=__version__, match_id=match_id))
        self._report({"event": "admitted", "match": admitted.match_id, "spectator": admitted.spectator})
        self._seats_of = {peer.client_id: peer.seats[0] for peer in admitted.peers}
        settings = admitted.settings
        host = await hosts.start(settings.env, settings.env_args, settings.seats)
        ready = await hosts.ready(host)
        title = self._outlook.title or str(ready["title"])
        self._window.publish(Presentation(Screen.CONNECTING, title=title, message=self._outlook.message))
        watched = await self._follow(admitted, host, ready, hosts)
        await self._signaling.leave()
        return watched

    async def _follow(self, admitted: Admitted, host: EnvHost, ready: Mapping[str, Any], hosts: HostKeeper) -> Watched:
        outlook = self._outlook
        connector = Connector(admitted, self._signaling, impairment=outlook.impairment, seed=outlook.seed)
        self._connector = connector
        try:
            transports = await connector.connect_some()
            plan = make_watch_plan(admitted, ready, render=outlook.render)
            now = asyncio.get_running_loop().time()
            watching = Watching(plan, sorted(transports), delay=round(outlook.delay * plan.rate_hz), now=now)
            presenter = WatchPresenter(self._window, watching, outlook)

            def on_event(event: MatchEvent) -> None:
                presenter.take_event(event)
                self._tell(admitted.match_id, event)

            runner = MatchRunner(
                watching,
                host,
                hosts.renew,
                transports,
                _Nowhere(),
                on_event=on_event,
                before_tick=self._person.take,
                after_tick=lambda now: None,
            )
            for client_id in self._gone & self._seats_of.keys():
                runner.peer_gone(self._seats_of[client_id])
            self._runner = runner
            self._on_runner(runner)
            ended = await runner.run()
        finally:
            self._runner = None
            self._connector = None
            await connector.close()
        self._tell_end(admitted.match_id, watching, ended)
        return Watched(ended, tuple(watching.totals), seat_colours(ready))

    # -- what is told -------------------------------------------------------------------------------------------

    def _tell(self, match_id: str, event: MatchEvent) -> None:
        if isinstance(event, PhaseChanged) and event.phase is Phase.PLAYING:
            text = f"Watching episode {event.episode + 1}."
            self._report({"event": "watching", "match": match_id, "episode": event.episode, "text": text})

    def _tell_end(self, match_id: str, watching: Watching, ended: Ended) -> None:
        self._report(
            {
                "event": "watched",
                "match": match_id,
                "reason": ended.reason,
                "text": ended.text,
                "frames": watching.simulated_frames,
                "totals": [list(totals) for totals in watching.totals],
                "failovers": watching.failovers,
                "recoveries": watching.recoveries,
            }
        )

    # -- what the server says -----------------------------------------------------------------------------------

    def take(self, message: ServerMessage) -> None:
        """Take what the server says; what concerns no spectator is passed over."""
        if isinstance(message, Signal):
            if self._connector is not None:
                self._connector.take_signal(message)
        elif isinstance(message, PeerGone) and message.why != "silent":  # else no proof: it may still be heard
            self._gone.add(message.client_id)
            player = self._seats_of.get(message.client_id)
            if player is not None and self._runner is not None:
                self._runner.peer_gone(player)
        elif isinstance(message, PeerBack):
            self._gone.discard(message.client_id)
            player = self._seats_of.get(message.client_id)
            if player is not None and self._runner is not None:
                self._runner.peer_back(player)

    def server_lost(self) -> None:
        """The connection to the server ended."""
        if self._connector is not None:
            self._connector.server_lost()
