"""Kills the server of a soak again and again, and looks how soon its console shows what really goes on."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from p2pclient.cli.soak_judge import MatchCourse
from p2pclient.cli.soak_server import SoakServer

RIGHT_WITHIN_S = 5.0
"""After its start, a server's console must show the matches that run, with both players there."""
_LOOK_S = 0.1
_ACCOUNT = "soak"


class Chaos:
    """Ends the server as ``kill -9`` does every few seconds.

    Args:
        courses: the matches that are not checked yet, as their clients tell of them.
        on_kill: called before each kill; there are to be no more if it is False.
        on_problem: told of a console that was wrong for too long.
    """

    def __init__(
        self,
        server: SoakServer,
        data: Path,
        courses: Mapping[str, MatchCourse],
        *,
        on_kill: Callable[[], bool],
        on_problem: Callable[[str], None],
    ) -> None:
        self.right_after_s: list[float] = []
        """For each start of a server, after how many seconds its console was right."""
        self._server = server
        self._data = data
        self._courses = courses
        self._on_kill = on_kill
        self._on_problem = on_problem
        self._cookie = ""
        self._wrong = ""
        """What was wrong with the row seen last."""

    async def run(self, every_s: float) -> None:
        """Do so until there is to be no more of it. A server's time begins when clients can join it."""
        while True:
            await self._server.wait_until_up()
            began = time.perf_counter()
            if not self._cookie:
                await self._log_in()
            await self._look(began)
            await asyncio.sleep(max(0.0, began + every_s - time.perf_counter()))
            if not self._on_kill():
                return
            self._server.kill()
            await asyncio.sleep(_LOOK_S)

    async def _log_in(self) -> None:
        """Make an account and a session of it beside the running server, as ``tandem account`` does."""
        from signaling.store.interface import Account, ConsoleSession
        from signaling.store.sqlite import SqliteStore

        self._cookie, now = secrets.token_urlsafe(32), time.time()
        token_hash = hashlib.sha256(self._cookie.encode()).hexdigest()
        store = SqliteStore(self._data, serve=False, program="tandem soak")
        try:
            # Nobody can log in to it: no password has this as its hash.
            account = Account(name=_ACCOUNT, password_hash="none", role="viewer", created_at=now)
            session = ConsoleSession(token_hash=token_hash, account=_ACCOUNT, expires_at=now + 7 * 86400)
            await store.write([account, session])
        finally:
            await store.close()

    async def _look(self, began: float) -> None:
        """Follow the feed until it is right."""
        self._wrong = "it does not answer"
        try:
            async with asyncio.timeout(began + RIGHT_WITHIN_S - time.perf_counter()):
                while self._wrong:
                    await self._follow_feed()
        except TimeoutError:
            self._on_problem(f"the console was not right {RIGHT_WITHIN_S:g} s after a start: {self._wrong}")
        else:
            self.right_after_s.append(time.perf_counter() - began)

    async def _follow_feed(self) -> None:
        """Return when the feed is right, or ends."""
        import aiohttp

        url = self._server.url
        cookies = {f"tandem_console_{url.rsplit(':', 1)[1]}": self._cookie}
        try:
            async with (
                aiohttp.ClientSession(cookies=cookies, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
                session.ws_connect(f"{url}/console/feed", origin=url, max_msg_size=0) as feed,
            ):
                async for message in feed:
                    room = json.loads(message.data).get("room") if isinstance(message.data, str) else None
                    if room is not None:
                        self._wrong = self.difference(room)
                        if not self._wrong:
                            return
        except (aiohttp.ClientError, OSError) as error:
            self._wrong = repr(error)
        await asyncio.sleep(_LOOK_S)

    def difference(self, room: Mapping[str, Any]) -> str:
        """Return what a room's row shows otherwise than it is; empty if all is right."""
        told = {each: course for each, course in self._courses.items() if len(course.sides) == 2}
        running = {each for each, course in told.items() if not any(side.ending for side in course.sides.values())}
        over = {each for each, course in told.items() if course.is_over}
        shown = {each["id"]: each for each in room["matches"] if each["state"] != "ended"}
        for match_id in sorted(running):
            if match_id not in shown:
                return f"{match_id} is played, and not shown"
            absent = [seat["label"] for seat in shown[match_id]["seats"] if not seat.get("present", True)]
            if absent:
                return f"{', '.join(absent)} plays in {match_id}, and is shown as absent"
            silent = [seat["label"] for seat in shown[match_id]["seats"] if not seat.get("health")]
            if silent and len(told[match_id].playing) == 2:
                return f"nothing is shown of how {match_id} goes for {', '.join(silent)}"
        return next((f"{each} is over, and shown" for each in sorted(over & shown.keys())), "")
