"""A match on one machine: a person alone, or with bots in the other seats. No server, the same recording."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2pclient import __version__
from p2pclient.common.errors import EnvHostError, EnvHostGone
from p2pclient.common.match_settings import match_frames
from p2pclient.common.presentation import Presentation, Screen
from p2pclient.common.seeds import derive_seed
from p2pclient.envhost.client import EnvHost
from p2pclient.match.plan import MatchPlan
from p2pclient.recorder.run import check_folder
from p2pclient.runtime.client import PlayingClient, Report
from p2pclient.runtime.planning import check_bot, check_prediction, played_report
from p2pclient.runtime.playing import Table, play
from p2pclient.runtime.presenter import WindowLink
from p2pclient.runtime.results import results_screen

log = logging.getLogger("tandem.client")


@dataclass(frozen=True, slots=True)
class SoloSettings:
    """What ``tandem play`` is told."""

    env: str
    out: Path
    env_args: Mapping[str, Any] = field(default_factory=dict)
    bot: str | None = None
    """Bot for every seat but the person's; None leaves them idle."""
    all_bots: bool = False
    """The bot plays the person's seat too."""
    seed: int | None = None
    rate_hz: float | None = None
    """None takes the environment's own rate."""
    input_delay: int = 0
    prediction: tuple[str, ...] = ("auto",)
    """Nothing is missing here, but what is asked for must exist."""
    episodes: int = 1
    seconds: float | None = None
    """Length of a match, in nominal frames of its rate; None for no limit."""
    headless: bool = False
    linger: bool = True
    host_options: Mapping[str, Any] = field(default_factory=dict)


class SoloClient(PlayingClient):
    """Runs matches without peers."""

    def __init__(self, settings: SoloSettings, window: WindowLink, *, report: Report) -> None:
        super().__init__(
            window,
            report,
            out=settings.out,
            host_options={"trusted_args": True, **settings.host_options},
            allowed_envs=(settings.env,),
        )
        self._settings = settings

    async def _play(self) -> None:
        settings = self._settings
        self._window.publish(Presentation(Screen.LOADING, title="Starting", message="The game is being opened."))
        for warning in check_folder(settings.out):
            log.warning(warning)
        host = await self._hosts.start(settings.env, settings.env_args)
        ready = await self._hosts.ready(host)
        check_bot(settings.bot, ready)
        check_prediction(settings.prediction, ready)
        self._hosts.prepare_spare(host)
        again = True
        while again and not self._person.wants_to_close:
            plan = self._plan(ready)
            played = await play(
                Table(
                    plan=plan,
                    host=host,
                    renew=self._hosts.renew,
                    person=self._person,
                    window=self._window,
                    out=settings.out,
                    title=str(ready["title"]),
                    players=[
                        {"seat": s, "local": True, "bot": plan.bots[s][0] if s in plan.bots else None}
                        for s in plan.local_seats
                    ],
                    settings={"env": settings.env, "env_args": dict(settings.env_args), "rate_hz": plan.rate_hz},
                    human_seats=() if settings.all_bots else (0,),
                    on_runner=self._runner_starts,
                )
            )
            self._runner = None
            host = self._hosts.current or host
            self.played.append(played.without_outcome())
            self._report(played_report(played))
            self._window.publish(results_screen(played, ready, 0))
            again = settings.linger and played.ended.reason == "finished"
            if settings.linger and not self._person.wants_to_close:  # also to say why it ended
                await self._person.wait_for_continue()
            if again and not self._person.wants_to_close:
                ready = await self._with_newest_code(host, ready)

    async def _with_newest_code(self, host: EnvHost, ready: dict[str, Any]) -> dict[str, Any]:
        """Let who writes an environment try the next match with what they changed meanwhile.

        Returns:
            What the host says of itself now.
        """
        while not self._person.wants_to_close:
            try:
                ready = await host.reload()
            except EnvHostGone:
                raise
            except EnvHostError as error:
                log.error("%s", error)
                log.debug("%s", error.traceback)
                lines = (("What now", "Mend it, then go on here: it is loaded again."),)
                screen = Presentation(
                    Screen.ERROR, title="This did not work", message=str(error), lines=lines, can_continue=True
                )
                self._window.publish(screen)
                await self._person.wait_for_continue()
                continue
            if ready["reloaded"] != "unchanged":
                self._hosts.replace_spare()
                self._report({"event": "reloaded", "text": "The environment's code has changed; it was loaded again."})
            check_bot(self._settings.bot, ready)
            check_prediction(self._settings.prediction, ready)
            break
        return ready

    def _plan(self, ready: Mapping[str, Any]) -> MatchPlan:
        settings = self._settings
        seed = secrets.randbits(31) if settings.seed is None else settings.seed + len(self.played)
        seats = tuple(range(ready["seats"]))
        bot_seats = seats if settings.all_bots else seats[1:]
        rate = settings.rate_hz or float(ready["nominal_rate_hz"])
        bots = {s: (settings.bot, derive_seed(seed, "bot", s)) for s in bot_seats} if settings.bot else {}
        return MatchPlan(
            match_id="solo",
            seed=seed,
            env=ready,
            local_seats=seats,
            rate_hz=rate,
            input_delay=settings.input_delay,
            episodes=settings.episodes,
            frames=match_frames(settings.seconds, rate),
            render=not settings.headless,
            bots=bots,
            version=__version__,
        )
