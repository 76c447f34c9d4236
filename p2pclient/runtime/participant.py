"""A client of a server: joins, waits, plays, shows the result; again for as many matches as asked for.

It joins while its environment is still being loaded, and says when it is ready; only then is it proposed to others.

Where it waits or plays is noted in its folder (:mod:`~p2pclient.runtime.bookmark`). Killed and started again, it shows
the token that it had. One that waited has its place again; one that played has its seat again, and plays on; or, where
the match goes on without it, watches that, and then waits like anyone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from p2pclient import __version__
from p2pclient.common.errors import EnvHostError, SignalingError, TransportError
from p2pclient.common.lobby_messages import (
    Closing,
    Join,
    LastMatch,
    Matched,
    MatchSettings,
    PeerBack,
    PeerGone,
    Refused,
    ServerMessage,
    Signal,
    SpectatorCame,
    Waiting,
    Welcome,
)
from p2pclient.common.presentation import FocusChange, KeyChange, Presentation, Screen
from p2pclient.common.probe_messages import ProbeCancel, ProbeSignal, ProbeStart
from p2pclient.common.room_messages import Command as ServerCommand
from p2pclient.common.room_messages import Proposed, Removed, Withdrawn
from p2pclient.common.screening_messages import Screen as ScreeningAsked
from p2pclient.common.stages import SCREENS, Stage
from p2pclient.envhost.client import EnvHost
from p2pclient.match.plan import GrantWanted, MatchEvent, SpectatorGone
from p2pclient.recorder.run import check_folder
from p2pclient.runtime.announcing import Announcer
from p2pclient.runtime.bookmark import Bookmark, Command, link_mark
from p2pclient.runtime.client import PlayingClient, Report
from p2pclient.runtime.connecting import Connector
from p2pclient.runtime.entrance import Entrance
from p2pclient.runtime.granting import GrantAsker
from p2pclient.runtime.joining import join_patiently
from p2pclient.runtime.match_runner import MatchRunner
from p2pclient.runtime.obeying import Obedience
from p2pclient.runtime.onlooker import GOES_ON, Onlooker
from p2pclient.runtime.participant_settings import ParticipantSettings
from p2pclient.runtime.partings import Partings, no_match_screen
from p2pclient.runtime.planning import check_bot, event_report, intent_report, match_result, played_report
from p2pclient.runtime.playing import Played, play
from p2pclient.runtime.presenter import WindowLink
from p2pclient.runtime.probing import Prober
from p2pclient.runtime.results import results_screen
from p2pclient.runtime.seating import make_table
from p2pclient.runtime.signaling_client import SignalingClient
from p2pclient.runtime.spectator_door import SpectatorDoor

log = logging.getLogger("tandem.client")


class Participant(PlayingClient):
    """Runs one client of a server until it has played its matches or the person leaves."""

    def __init__(self, settings: ParticipantSettings, window: WindowLink, *, report: Report) -> None:
        self._announcer = Announcer(window)
        super().__init__(
            self._announcer,
            report,
            out=settings.out,
            host_options=settings.host_options,
            allowed_envs=settings.allowed_envs,
        )
        self._settings = settings
        if settings.share_keys:
            self._person.share = lambda intent: report(intent_report(intent))
        self._signaling = SignalingClient(wakeup=self._take_messages, trust=settings.trust)
        self._signaling.token = settings.token
        self._obedience = Obedience(
            self._signaling,
            self._announcer,
            on_leave=self._take_no_further_part,
            on_say=lambda text: report({"event": "said", "text": text}),
        )
        self._entrance = Entrance(self._signaling, self._announcer, self._person, headless=settings.headless)
        self._partings = Partings()
        self._farewell: tuple[str, bool] | None = None
        """What this participant is told in the end, and whether it is on the screen already."""
        self._matched: asyncio.Future[Matched | None] | None = None
        """The match, or None if there is to be none: the screen says why."""
        self._connector: Connector | None = None
        self._prober = Prober(
            self._signaling.probe,
            is_busy=lambda: self._connector is not None or self._onlooker is not None,
            impairment=settings.impairment,
            seed=settings.seed,
        )
        self._grants = GrantAsker(self._signaling.ask_to_go_on)
        self._door: SpectatorDoor | None = None
        self._onlooker: Onlooker | None = None
        command = Command(url=settings.url, label=settings.label, bot=settings.bot, link=link_mark(settings.link))
        self._bookmark = Bookmark(settings.out, command)
        self._last_match: LastMatch | None = None
        """Where an earlier run of this program ended without a word, until the server was asked about it."""
        self._was_here = False
        """Is the next thing that the server hears that an earlier program of this participant's is gone."""
        self._client_id = ""
        self._label = settings.label
        self._loaded: tuple[EnvHost, Mapping[str, Any]]
        self._seats_of: dict[str, int] = {}
        self._gone: set[int] = set()
        self._is_ready = self._is_proposed = False
        self._news = asyncio.Event()

    @property
    def is_away(self) -> bool:
        """True while the server does not answer, and nothing goes on that does without it."""
        busy = self._runner is not None or self._connector is not None or self._onlooker is not None
        return not busy and not self._signaling.connected

    def take_from_sibling(self, intent: KeyChange | FocusChange) -> None:
        """A key or focus change of the other window at the same keyboard."""
        self._person.take_from_sibling(intent)

    async def _close(self) -> None:
        await self._close_door()
        await self._obedience.close()
        await self._prober.close()
        await self._signaling.close()

    # -- the way through ----------------------------------------------------------------------------------------

    async def _play(self) -> None:
        self._show(Screen.LOADING, "Starting", "Connecting to the server.")
        for warning in check_folder(self._settings.out):
            log.warning(warning)
        await self._signaling.connect(self._settings.url)
        self._last_match = await asyncio.to_thread(self._bookmark.take)
        self._signaling.token = self._signaling.token or self._bookmark.token
        self._was_here = self._signaling.token is not None
        reporting = asyncio.create_task(self._obedience.report())
        try:
            await self._play_matches()
        finally:
            reporting.cancel()

    async def _play_matches(self) -> None:
        while not self._person.wants_to_close and self._farewell is None:
            played = await self._next_match()
            if played is not None:
                self.played.append(played.without_outcome())
            is_last = bool(self._settings.matches) and len(self.played) >= self._settings.matches
            if self._settings.linger and self._farewell is None:
                await self._person.wait_for_continue(self._settings.linger_s)
            if is_last:
                break
        if self._farewell is not None and not self._farewell[1] and not self._person.wants_to_close:
            self._show_farewell(self._farewell[0])
            if self._settings.linger and not self._settings.station:
                await self._person.wait_for_continue(self._settings.linger_s)
        while self._farewell is not None and self._settings.station and not self._person.wants_to_close:
            await self._person.wait_for_continue()  # if it ended, it would be started again, or the seat be empty

    def _take_no_further_part(self, message: str) -> None:
        """The server or the researcher sends this participant away."""
        if self._farewell is not None:
            return
        self._farewell = (message, False)
        self._partings.leave(message)
        if self._partings.removed is not None:
            self._announcer.announce("")  # a warning has had its time
        self._report({"event": "removed", "text": message or SCREENS[Stage.EXCLUDED][1]})
        if self._matched is not None and not self._matched.done():
            self._matched.set_result(None)
        elif self._runner is not None:
            self._runner.leave()
        elif self._connector is not None:
            self._connector.peer_gone()
        else:  # the result of a match is on the screen
            self._show_farewell(message)

    def _show_farewell(self, message: str) -> None:
        self._farewell = (message, True)
        self._window.publish(self._partings.farewell(message, self.played, stays=bool(self._settings.station)))

    async def _next_match(self) -> Played | None:
        """Join, wait, play one match and show its result; None if it did not come about."""
        self._matched = asyncio.get_running_loop().create_future()
        last, self._last_match = self._last_match, None
        welcome = await self._join(last)
        if last is not None and welcome.watch is not None:
            await self._look_on(last)
            if self._person.wants_to_close:
                return None
            welcome = await self._join()
        matched = await self._wait(welcome)
        if matched is None:
            return None
        self._report({"event": "matched", "match": matched.match_id, "seats": list(matched.own_seats)})
        self._show(Screen.CONNECTING, *SCREENS[Stage.CONNECTING])
        host, ready = self._loaded
        try:
            played = await self._play_match(matched, host, ready)
        except (SignalingError, TransportError) as error:
            await self._signaling.leave()
            self._report({"event": "failed", "text": str(error)})
            self._window.publish(no_match_screen(self._partings.partner_words or str(error)))
            return None
        self._report(played_report(played))
        await self._signaling.finished(match_result(played))
        self._window.publish(results_screen(played, ready, matched.own_seats[0]))
        return played

    async def _wait(self, welcome: Welcome) -> Matched | None:
        """Load the environment, and wait for a match; None if there is to be none."""
        settings = welcome.settings
        self._bookmark.put_waiting(welcome.client_id, self._signaling.token)
        try:
            return await self._wait_noted(settings)
        finally:
            self._is_ready = False
            await self._entrance.close()
            self._bookmark.remove()

    async def _wait_noted(self, settings: MatchSettings) -> Matched | None:
        assert self._matched is not None
        try:
            host = await self._hosts.start(settings.env, settings.env_args, settings.seats)
            ready = await self._hosts.ready(host)
        except EnvHostError as error:
            await self._entrance.fail(str(error))
            raise
        check_bot(self._settings.bot, ready)  # before a partner connects in vain
        self._hosts.prepare_spare(host)
        self._loaded = (host, ready)
        await self._entrance.examine(ready, settings.rate_hz)
        self._is_ready = True
        if not self._matched.done():
            if not self._entrance.is_closed:
                self._show(Screen.WAITING, *SCREENS[Stage.WAITING])
            await self._signaling.ready()
        return await self._matched

    async def _join(self, last: LastMatch | None = None) -> Welcome:
        """Join; while the server is away, wait until it is back. ``last`` is what is to be watched, if it goes on."""
        join = Join(
            app_version=__version__,
            label=self._settings.label,
            bot=self._settings.bot is not None,
            last_match=last,
            returns=self._was_here,
            ready=False,
            station=self._settings.station,
            attributes=dict(self._settings.attributes),
            link=self._settings.link,
        )
        self._was_here = False
        welcome = await join_patiently(
            self._signaling, join, self._news, lambda why: self._show(Screen.LOADING, "Waiting for the server", why)
        )
        if self._settings.link is not None:
            self._label = welcome.label
        self._report({"event": "welcome", "client": welcome.client_id})
        return welcome

    async def _look_on(self, last: LastMatch) -> None:
        """Watch the match that goes on without us, to its end. If it cannot be watched, the log says why."""
        settings = self._settings
        outlook = replace(GOES_ON, render=not settings.headless, impairment=settings.impairment, seed=settings.seed)
        self._onlooker = Onlooker(
            outlook,
            signaling=self._signaling,
            window=self._window,
            person=self._person,
            report=self._report,
            on_runner=super()._runner_starts,
        )
        self._prober.stop()
        self._show(Screen.CONNECTING, outlook.title, outlook.message)
        self._bookmark.put(last, self._signaling.token)  # it may be killed once more
        try:
            watched = await self._onlooker.watch(last.match_id, self._hosts)
        except (SignalingError, TransportError) as error:
            log.warning("match %s, in which this client was, cannot be watched: %s", last.match_id, error)
            await self._signaling.leave()
            return
        finally:
            self._runner = None
            self._onlooker = None
            self._bookmark.remove()
        if settings.linger and not self._person.wants_to_close:
            message = f"{watched.ended.text} Press Enter to wait for the next one."
            self._window.publish(replace(watched.result(), message=message))
            await self._person.wait_for_continue(settings.linger_s)

    async def _play_match(self, matched: Matched, host: EnvHost, ready: Mapping[str, Any]) -> Played:
        connector = self._connector
        assert connector is not None
        try:
            transports = await (connector.connect_again() if matched.returns else connector.connect())
            table = make_table(
                matched,
                ready,
                transports,
                self._settings,
                label=self._label,
                host=host,
                renew=self._hosts.renew,
                person=self._person,
                window=self._window,
                on_runner=self._runner_starts,
                on_event=self._report_event,
                explain=self._partings.explain,
            )
            own = LastMatch(match_id=matched.match_id, client_id=self._client_id)
            self._bookmark.put(own, self._signaling.token)
            played = await play(table)
            # Not after an error that ends the program: started again, it comes back to what it was in.
            self._bookmark.remove()
            return played
        except asyncio.CancelledError:
            self._bookmark.remove()
            raise
        finally:
            self._runner = None
            self._obedience.match_over()
            self._grants.stop()
            self._connector = None
            await connector.close()
            await self._close_door()

    def _runner_starts(self, runner: MatchRunner) -> None:
        self._obedience.runner = runner
        if self._farewell is not None:
            runner.leave()
        for peer in self._gone:
            runner.peer_gone(peer)  # said right after the connection had been made
        super()._runner_starts(runner)
        if self._door is not None:
            self._door.runner_starts(runner)

    async def _close_door(self) -> None:
        door, self._door = self._door, None
        if door is not None:
            await door.close()

    def _report_event(self, event: MatchEvent) -> None:
        self._obedience.note(event)
        if isinstance(event, GrantWanted) and self._runner is not None:
            self._grants.take(event, self._runner)
        if isinstance(event, SpectatorGone) and self._door is not None:
            self._door.dismiss(event.spectator)
        report = event_report(event)
        if report is not None:
            self._report(report)

    # -- what the server says -----------------------------------------------------------------------------------

    def _take_messages(self) -> None:
        self._news.set()
        for message in self._signaling.take_messages():
            self._take(message)
        if not self._signaling.connected:
            if self._connector is not None:
                self._connector.server_away()
            if self._onlooker is not None:
                self._onlooker.server_lost()

    def _take(self, message: ServerMessage) -> None:
        if self._onlooker is not None:
            self._onlooker.take(message)
        if isinstance(message, Welcome):
            self._client_id = message.client_id
            if self._connector is not None:
                self._connector.server_back(message.match)
        elif isinstance(message, ScreeningAsked):
            self._report({"event": "screening", "checks": list(message.checks)})
            self._entrance.take(message)
        elif isinstance(message, Waiting):
            is_news = self._entrance.admit() or self._is_proposed  # by a server that was started again since
            self._is_proposed = False
            if is_news and self._is_ready:
                self._show(Screen.WAITING, *SCREENS[Stage.WAITING])
            self._report({"event": "waiting", "position": message.position, "needed": message.needed})
        elif isinstance(message, Proposed):
            self._entrance.admit()
            self._report({"event": "proposed", "proposal": message.proposal_id})
            self._is_proposed = True
            if self._is_ready:
                self._show(Screen.CONNECTING, *SCREENS[Stage.MATCHED])
        elif isinstance(message, Withdrawn):
            self._withdrawn(message)
        elif isinstance(message, ServerCommand):
            self._obedience.take(message)
        elif isinstance(message, Removed):
            self._removed(message)
        elif isinstance(message, ProbeStart | ProbeCancel | ProbeSignal):
            self._prober.take(message)
        elif isinstance(message, Matched):
            self._prober.stop()
            self._obedience.match_id = message.match_id
            settings = self._settings
            self._connector = Connector(
                message, self._signaling, impairment=settings.impairment, seed=settings.seed, path=settings.path
            )
            self._door = SpectatorDoor(self._signaling)
            self._seats_of = {peer.client_id: peer.seats[0] for peer in message.peers}
            self._gone.clear()
            self._partings.begin_match()
            if self._matched is not None and not self._matched.done():
                self._matched.set_result(message)
        elif isinstance(message, Signal):
            is_spectator = self._door is not None and self._door.take_signal(message)
            if self._connector is not None and not is_spectator:
                self._connector.take_signal(message)
        elif isinstance(message, SpectatorCame):
            if self._door is not None:
                self._door.announce(message)
        elif isinstance(message, PeerGone):
            self._peer_gone(message)
        elif isinstance(message, PeerBack):
            self._peer_back(message)
        elif isinstance(message, Refused):
            log.warning("the server refused: %s %s", message.code, message.message)
            if self._matched is not None and not self._matched.done():
                self._matched.set_exception(SignalingError(message.code, message.message))
        elif isinstance(message, Closing):
            log.warning("the server shuts down: %s", message.message)

    def _withdrawn(self, message: Withdrawn) -> None:
        self._is_proposed = False
        self._report({"event": "withdrawn", "text": message.message, "waiting": message.waiting})
        if message.waiting:
            if self._is_ready:
                self._show(Screen.WAITING, SCREENS[Stage.WAITING][0], message.message)
        elif self._matched is not None and not self._matched.done():
            self._window.publish(no_match_screen(message.message))
            self._matched.set_result(None)

    def _removed(self, message: Removed) -> None:
        if self._settings.station and not message.rule and self._matched is not None and not self._matched.done():
            self._window.publish(no_match_screen(message.message))  # the next person may wait
            self._matched.set_result(None)
            return
        self._partings.removed = message
        self._take_no_further_part(message.message)

    def _peer_back(self, message: PeerBack) -> None:
        log.info("the server says that %s is back", message.client_id)
        peer = self._seats_of.get(message.client_id)
        if peer is not None:
            self._gone.discard(peer)
            if self._runner is not None:
                self._runner.peer_back(peer)
            elif self._connector is not None:
                self._connector.say_again(message.client_id)

    def _peer_gone(self, message: PeerGone) -> None:
        log.info("the server says that %s is gone: %s", message.client_id, message.why)
        peer = self._seats_of.get(message.client_id)
        if peer is None:
            if self._door is not None and message.why != "silent":
                self._door.gone(message.client_id)
            return
        self._partings.note_partner(message)
        if message.why != "silent":  # else no proof: it may have lost only the server
            self._gone.add(peer)
            if self._runner is not None:
                self._runner.peer_gone(peer)
        if self._runner is None and self._connector is not None:
            self._connector.peer_gone()

    # -- screens ------------------------------------------------------------------------------------------------

    def _show(self, screen: Screen, title: str, message: str, *, can_continue: bool = False) -> None:
        self._window.publish(Presentation(screen, title=title, message=message, can_continue=can_continue))
