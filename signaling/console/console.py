"""The console of one server, put together."""

from __future__ import annotations

import time

from starlette.routing import BaseRoute

from p2pclient.common.match_settings import DEFAULT_STUDY
from signaling.console.desk import Desk
from signaling.console.feed import Feed
from signaling.console.login import Clocks, Login, Passwords
from signaling.console.pages import Pages
from signaling.console.records import Records
from signaling.store.interface import Store


class Console:
    """Add :meth:`routes` to the server, keep :meth:`run` running, and call :meth:`changed` after changes.

    Args:
        desk: the room.
        store: has the accounts, keeps sessions and the audit log.
        study: whose matches and decisions are shown.
    """

    def __init__(
        self,
        desk: Desk,
        *,
        store: Store,
        passwords: Passwords,
        study: str = DEFAULT_STUDY,
        clocks: Clocks | None = None,
    ) -> None:
        clocks = clocks or Clocks(now=time.perf_counter, epoch=time.time)
        login = Login(store, passwords, clocks=clocks)
        self._feed = Feed(desk, login, store, study=study, clocks=clocks)
        self._pages = Pages(login, self._feed)
        self._records = Records(login, store, passwords, study=study, clocks=clocks)

    def routes(self) -> list[BaseRoute]:
        """Return the routes of pages, feed and ``/metrics``."""
        return [*self._pages.routes(), *self._records.routes()]

    def changed(self) -> None:
        """Something in the room has changed: open consoles show it soon. Cheap, and harmless many times."""
        self._feed.changed()

    async def run(self) -> None:
        """Publish until cancelled."""
        await self._feed.run()
