"""A client that watches a match: asks the server, connects to the players, follows to the end, shows the result."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2pclient import __version__
from p2pclient.common.lobby_messages import Admitted, PeerGone, ServerMessage, Signal, Watch
from p2pclient.common.presentation import Hud, Presentation, Screen, View
from p2pclient.envhost.client import EnvHost
from p2pclient.match.plan import Ended, MatchEvent, PeerSilence, Phase, PhaseChanged, ViewReady
from p2pclient.match.watching import Watching
from p2pclient.recorder.records import Record
from p2pclient.runtime.client import PlayingClient, Report
from p2pclient.runtime.connecting import Connector
from p2pclient.runtime.match_runner import MatchRunner
from p2pclient.runtime.planning import make_watch_plan
from p2pclient.runtime.playing import Played
from p2pclient.runtime.presenter import WindowLink, seat_colours
from p2pclient.runtime.signaling_client import SignalingClient
from p2pclient.transport.impairment import ImpairmentSpec

log = logging.getLogger("tandem.client")


@dataclass(frozen=True, slots=True)
class SpectatorSettings:
    """What one spectator is told on its command line."""

    url: str
    out: Path
    match_id: str | None = None
    """Which match; None: the one that began last."""
    delay: float = 0.0
    """Seconds to stay behind."""
    impairment: ImpairmentSpec = field(default_factory=ImpairmentSpec)
    seed: int = 0
    linger: bool = True
    """Leave the result on the screen until the person goes on."""
    headless: bool = False
    host_options: Mapping[str, Any] = field(default_factory=dict)


class _Nowhere:
    """A spectator records nothing: the players do."""

    def record(self, record: Record) -> None:
        """Forget it."""


class WatchPresenter:
    """Publishes the screens of one match that is watched.

    Args:
        title: what is played, for people.
        delay: seconds behind.
    """

    def __init__(self, window: WindowLink, watching: Watching, *, title: str, delay: float) -> None:
        self._window = window
        self._watching = watching
        self._title = title
        self._notice = f"You are watching, {delay:g} s behind." if delay else "You are watching."
        self._silence = "heard"
        self._view: View | None = None
        self._totals: tuple[float, ...] = ()
        self._colours = seat_colours(watching.plan.env)

    def take_event(self, event: MatchEvent) -> None:
        """Note an event, and show how it stands now."""
        if isinstance(event, ViewReady):
            self._totals = tuple(float(total) for total in event.view["totals"])
            if event.view["pixels"] is not None:
                self._view = View(event.episode, int(event.view["frame"]), event.view["pixels"])
        elif isinstance(event, PeerSilence):
            self._silence = event.level
        self._window.publish(self._presentation())

    def _presentation(self) -> Presentation:
        watching = self._watching
        if self._view is None and watching.phase is not Phase.PLAYING:
            return Presentation(Screen.CONNECTING, title=self._title, message="You are about to watch this match.")
        rtt = watching.rtt
        hud = Hud(
            scores=self._totals,
            colours=self._colours,
            episode=watching.number,
            episodes=watching.plan.episodes,
            ping_ms=None if rtt is None else round(rtt * 1000),
            notice=self._notice if self._silence == "heard" else "Nothing is heard from the players at the moment.",
        )
        return Presentation(Screen.PLAYING, title=self._title, view=self._view, hud=hud, needs_focus=False)


class Spectator(PlayingClient):
    """Runs one client that watches one match."""

    def __init__(self, settings: SpectatorSettings, window: WindowLink, *, report: Report) -> None:
        super().__init__(window, report, out=settings.out, host_options=settings.host_options)
        self._settings = settings
        self._signaling = SignalingClient(wakeup=self._take_messages)
        self._connector: Connector | None = None
        self._seats_of: dict[str, int] = {}
        self._gone: set[int] = set()

    async def _close(self) -> None:
        await self._signaling.close()

    async def _play(self) -> None:
        self._show(Screen.LOADING, "Starting", "Connecting to the server.")
        await self._signaling.connect(self._settings.url)
        admitted = await self._signaling.watch(Watch(app_version=__version__, match_id=self._settings.match_id))
        self._report({"event": "admitted", "match": admitted.match_id, "spectator": admitted.spectator})
        self._take_messages()
        self._seats_of = {peer.client_id: peer.seats[0] for peer in admitted.peers}
        host = await self._hosts.start(admitted.settings.env, admitted.settings.env_args)
        ready = await self._hosts.ready(host)
        self._show(Screen.CONNECTING, str(ready["title"]), "Connecting to the players.")
        ended = await self._watch(admitted, host, ready)
        await self._signaling.leave()
        if self._settings.linger and not self._person.wants_to_close:
            hud = Hud(scores=self.played[-1].totals[-1] if self.played[-1].totals else (), colours=seat_colours(ready))
            title = "The match is over" if ended.reason == "finished" else "No longer watching"
            shown = Presentation(Screen.RESULTS, title=title, message=ended.text, hud=hud, can_continue=True)
            self._window.publish(shown)
            await self._person.wait_for_continue()

    async def _watch(self, admitted: Admitted, host: EnvHost, ready: Mapping[str, Any]) -> Ended:
        settings = self._settings
        connector = Connector(admitted, self._signaling, impairment=settings.impairment, seed=settings.seed)
        self._connector = connector
        try:
            transports = await connector.connect_some()
            plan = make_watch_plan(admitted, ready, render=not settings.headless)
            now = asyncio.get_running_loop().time()
            watching = Watching(plan, sorted(transports), delay=round(settings.delay * plan.rate_hz), now=now)
            presenter = WatchPresenter(self._window, watching, title=str(ready["title"]), delay=settings.delay)

            def on_event(event: MatchEvent) -> None:
                presenter.take_event(event)
                self._tell(event)

            runner = MatchRunner(
                watching,
                host,
                transports,
                _Nowhere(),
                on_event=on_event,
                before_tick=self._person.take,
                after_tick=lambda now: None,
            )
            for player in self._gone:
                runner.peer_gone(player)
            self._runner_starts(runner)
            ended = await runner.run()
        finally:
            self._runner = None
            self._connector = None
            await connector.close()
        self.played.append(Played(ended, settings.out, tuple(watching.totals)))
        self._report(
            {
                "event": "watched",
                "reason": ended.reason,
                "text": ended.text,
                "frames": watching.simulated_frames,
                "totals": [list(totals) for totals in watching.totals],
                "failovers": watching.failovers,
            }
        )
        return ended

    def _tell(self, event: MatchEvent) -> None:
        if isinstance(event, PhaseChanged) and event.phase is Phase.PLAYING:
            text = f"Watching episode {event.episode + 1}."
            self._report({"event": "watching", "episode": event.episode, "text": text})

    # -- what the server says -----------------------------------------------------------------------------------

    def _take_messages(self) -> None:
        for message in self._signaling.take_messages():
            self._take(message)
        if self._connector is not None and not self._signaling.connected:
            self._connector.server_lost()

    def _take(self, message: ServerMessage) -> None:
        if isinstance(message, Signal):
            if self._connector is not None:
                self._connector.take_signal(message)
        elif isinstance(message, PeerGone):
            player = self._seats_of.get(message.client_id)
            if player is not None and message.why != "silent":
                self._gone.add(player)
                if self._runner is not None:
                    self._runner.peer_gone(player)

    def _show(self, screen: Screen, title: str, message: str) -> None:
        self._window.publish(Presentation(screen, title=title, message=message))
