"""What every kind of client has in common: one task that plays, a person who may leave at any time, a clean end."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from p2pclient.runtime.hosting import HostKeeper
from p2pclient.runtime.match_runner import MatchRunner
from p2pclient.runtime.person import Person
from p2pclient.runtime.playing import Played
from p2pclient.runtime.presenter import WindowLink

Report = Callable[[dict[str, Any]], None]
"""Told of what happens, as plain data; for the command line."""


class PlayingClient(abc.ABC):
    """Base of the clients; a subclass says how it plays in :meth:`_play`, and closes its own in :meth:`_close`.

    Args:
        window: where screens go and what the person does comes from.
        report: told of what happens.
        out: folder of the recordings, and of the log of the environment.
        host_options: further fields of the environment host's spec.
    """

    def __init__(
        self,
        window: WindowLink,
        report: Report,
        *,
        out: Path,
        host_options: Mapping[str, Any],
        allowed_envs: Collection[str] = (),
    ) -> None:
        self._window = window
        self._report = report
        self._person = Person(window)
        self._hosts = HostKeeper(window, host_options, log_folder=out, allowed=allowed_envs)
        self._runner: MatchRunner | None = None
        self._play_task: asyncio.Task[None] | None = None
        self.played: list[Played] = []

    async def run(self) -> None:
        """Play. Everything is closed and every partner told when this returns, however it ends.

        Raises:
            TandemError: it could not go on; the message is for the person.
        """
        self._person.on_close = self._close_requested
        watching = asyncio.create_task(self._person.watch())
        self._play_task = asyncio.create_task(self._play())
        try:
            await self._play_task
        except asyncio.CancelledError:
            if not self._person.wants_to_close:
                raise
        finally:
            watching.cancel()
            await self._close()
            await self._hosts.close()

    def close(self) -> None:
        """Leave politely, as if the person had closed the window."""
        self._person.request_close()

    @abc.abstractmethod
    async def _play(self) -> None:
        """Play all matches."""

    async def _close(self) -> None:  # noqa: B027 - a client without a server has nothing of its own
        """Close what the subclass opened."""

    def _close_requested(self) -> None:
        if self._runner is not None:
            self._runner.leave()
        elif self._play_task is not None:
            self._play_task.cancel()

    def _runner_starts(self, runner: MatchRunner) -> None:
        """A match begins; the person may have wanted to go a moment before."""
        self._runner = runner
        if self._person.wants_to_close:
            runner.leave()
