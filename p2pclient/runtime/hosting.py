"""Keeps the environment's host: started early, kept for following matches, replaced when it is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from p2pclient.common.errors import EnvHostError
from p2pclient.common.presentation import Presentation, Screen
from p2pclient.envhost.client import EnvHost
from p2pclient.envhost.process import HostSpec
from p2pclient.runtime.presenter import WindowLink

log = logging.getLogger("tandem.hosting")

SPARE_ABOVE = 0.5
"""Processor time of a host's start, in seconds, above which a spare is kept: who takes less is replaced as quickly."""
_SPARE_AFTER = 3.0
"""Seconds after a spare was used until there is another one: starting it costs a processor that the game may need."""
_SPARE_MEMORY = 4
"""No spare is started unless so many times the memory of a host is free."""


class HostKeeper:
    """One host at a time, for one environment with its arguments; a spare one if starting it takes long.

    Args:
        window: shows how loading goes.
        options: further fields of ``HostSpec``.
        allowed: names that the person at this machine lets a server ask for, beside those that anybody may.
        log_folder: where the environment's output is logged.
    """

    def __init__(
        self, window: WindowLink, options: Mapping[str, Any], *, log_folder: Path, allowed: Collection[str] = ()
    ) -> None:
        self._window = window
        self._options = dict(options)
        self._allowed = frozenset(allowed)
        self._log_folder = log_folder
        self._host: EnvHost | None = None
        self._spec: HostSpec | None = None
        self._key: tuple[str, str, int | None] | None = None
        self._is_spent = False
        """Its environment remembers more than a reset clears: the next match begins with a fresh process."""
        self._spare: EnvHost | None = None
        self._wants_spare = False
        self._starting: asyncio.Task[None] | None = None
        """Starts the spare."""
        self._closing: set[asyncio.Task[None]] = set()
        self.is_loading = False

    async def start(self, env: str, args: Mapping[str, Any], seats: int | None = None) -> EnvHost:
        """Return the host for this environment, started or already running.

        Args:
            seats: players in the match; None if the environment is to say.

        Raises:
            EnvHostGone: the process cannot be started.
        """
        key = (env, repr(sorted(args.items())), seats)
        is_fit = self._host is not None and self._host.state in ("starting", "ready") and not self._is_spent
        if self._host is not None and is_fit and self._key == key:
            return self._host
        await self.close()
        log_path = self._log_folder / "environment.log"
        options = {"log_path": log_path, "local": env in self._allowed, **self._options}
        self._spec = HostSpec(env=env, args=dict(args), seats=seats, **options)
        host = EnvHost(self._spec)
        self._host, self._key = host, key
        self.is_loading = True
        host.on_progress = self._show_progress
        await host.start()
        return host

    async def ready(self, host: EnvHost) -> dict[str, Any]:
        """Wait until the environment is loaded, and return what it says of itself.

        Raises:
            EnvHostGone: it could not be loaded.
        """
        try:
            ready = await host.ready()
        finally:
            self.is_loading = False
        self._is_spent = ready["snapshots"]["chosen"] == "none"
        return ready

    def _show_progress(self, share: float | None, text: str) -> None:
        if self.is_loading:
            self._window.publish(Presentation(Screen.LOADING, title="Preparing the game", message=text, progress=share))

    # -- in place of a lost one ---------------------------------------------------------------------------------

    @property
    def current(self) -> EnvHost | None:
        """The host in use, which may be another one after every match."""
        return self._host

    async def renew(self) -> tuple[EnvHost, dict[str, Any]]:
        """Return a host in place of the present one, and what it says of itself. The present one is ended.

        Raises:
            EnvHostGone: it could not be loaded.
        """
        assert self._spec is not None
        old, self._host = self._host, None
        if old is not None:
            self._close_behind(old)
        host, self._spare = self._spare, None
        if host is None or host.state not in ("starting", "ready"):
            host = EnvHost(self._spec)
            self._host = host
            await host.start()
        self._host = host
        ready = await host.ready()
        if self._wants_spare:
            self._starting = asyncio.create_task(self._start_spare(after=_SPARE_AFTER))
        return host, ready

    def prepare_spare(self, host: EnvHost) -> None:
        """The host is ready: have another one ready too, if it took long and there is memory for two."""
        if self._wants_spare or host.pid is None or host.spec.inline:
            return
        try:
            process = psutil.Process(host.pid)
            times, memory = process.cpu_times(), process.memory_info().rss
        except psutil.Error:
            return  # it is gone already; whoever uses it will see that
        self._wants_spare = times.user + times.system > SPARE_ABOVE
        if psutil.virtual_memory().available < _SPARE_MEMORY * memory:
            log.info("no spare environment: %d MB each, and too little is free", memory >> 20)
            self._wants_spare = False
        if self._wants_spare:
            self._starting = asyncio.create_task(self._start_spare())

    def replace_spare(self) -> None:
        """The host has loaded newer code: a spare that has the older one is of no use."""
        spare, self._spare = self._spare, None
        if spare is not None:
            self._close_behind(spare)
        if self._wants_spare:
            self._starting = asyncio.create_task(self._start_spare())

    def _close_behind(self, host: EnvHost) -> None:
        closing = asyncio.create_task(host.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _start_spare(self, *, after: float = 0.0) -> None:
        await asyncio.sleep(after)
        if self._spare is not None or self._spec is None or self._host is None:
            return
        # What it prints is told apart from what the host in use prints.
        spec = self._spec
        if spec.log_path is not None:
            spec = replace(spec, log_path=self._log_folder / "environment-spare.log")
        spare = self._spare = EnvHost(spec)
        try:
            await spare.start()
            await spare.ready()
        except EnvHostError as error:
            log.warning("no spare environment: %s", error)
            if self._spare is spare:
                self._spare = None

    async def close(self) -> None:
        """End the host, and the spare, if there are any."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
        hosts = [host for host in (self._host, self._spare) if host is not None]
        self._host = self._spare = self._spec = self._key = self._starting = None
        self._is_spent = self._wants_spare = False
        await asyncio.gather(*(host.close() for host in hosts), *self._closing)
