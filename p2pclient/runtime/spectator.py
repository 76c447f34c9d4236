"""A client that watches a match and shows the result."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2pclient.common.presentation import Presentation, Screen
from p2pclient.runtime.client import PlayingClient, Report
from p2pclient.runtime.onlooker import Onlooker, Outlook
from p2pclient.runtime.playing import Played
from p2pclient.runtime.presenter import WindowLink
from p2pclient.runtime.signaling_client import SignalingClient
from p2pclient.transport.impairment import ImpairmentSpec


@dataclass(frozen=True, slots=True)
class SpectatorSettings:
    """What one spectator is told on its command line."""

    url: str
    trust: ssl.SSLContext | None = field(default=None, kw_only=True)
    """Checks the server's certificate; None: as the system does."""
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
    allowed_envs: tuple[str, ...] = ()
    """Environments of the person's own that the server may ask for, as ``module:factory``."""


class Spectator(PlayingClient):
    """Runs one client that watches one match."""

    def __init__(self, settings: SpectatorSettings, window: WindowLink, *, report: Report) -> None:
        super().__init__(
            window,
            report,
            out=settings.out,
            host_options=settings.host_options,
            allowed_envs=settings.allowed_envs,
        )
        self._settings = settings
        self._signaling = SignalingClient(wakeup=self._take_messages, trust=settings.trust)
        delay = settings.delay
        outlook = Outlook(
            delay=delay,
            render=not settings.headless,
            impairment=settings.impairment,
            seed=settings.seed,
            notice=f"You are watching, {delay:g} s behind." if delay else "You are watching.",
        )
        self._onlooker = Onlooker(
            outlook,
            signaling=self._signaling,
            window=window,
            person=self._person,
            report=report,
            on_runner=self._runner_starts,
        )

    async def _close(self) -> None:
        await self._signaling.close()

    async def _play(self) -> None:
        starting = Presentation(Screen.LOADING, title="Starting", message="Connecting to the server.")
        self._window.publish(starting)
        await self._signaling.connect(self._settings.url)
        try:
            watched = await self._onlooker.watch(self._settings.match_id, self._hosts)
        finally:
            self._runner = None
        self.played.append(Played(watched.ended, self._settings.out, watched.totals))
        if self._settings.linger and not self._person.wants_to_close:
            self._window.publish(watched.result())
            await self._person.wait_for_continue()

    def _take_messages(self) -> None:
        for message in self._signaling.take_messages():
            self._onlooker.take(message)
        if not self._signaling.connected:
            self._onlooker.server_lost()
