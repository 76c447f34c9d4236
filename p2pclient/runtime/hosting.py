"""Keeps the environment's host: started early, kept for following matches, replaced when it is gone."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from p2pclient.common.presentation import Presentation, Screen
from p2pclient.envhost.client import EnvHost
from p2pclient.envhost.process import HostSpec
from p2pclient.runtime.presenter import WindowLink

log = logging.getLogger("tandem.hosting")


class HostKeeper:
    """One host at a time, for one environment with its arguments.

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
        self._key: tuple[str, str, int | None] | None = None
        self._is_spent = False
        """Its environment remembers more than a reset clears: the next match begins with a fresh process."""
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
        host = EnvHost(HostSpec(env=env, args=dict(args), seats=seats, **options))
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

    async def close(self) -> None:
        """End the host, if there is one."""
        host, self._host, self._key = self._host, None, None
        self._is_spent = False
        if host is not None:
            await host.close()
