"""Carries out what a researcher asks of this client, and acknowledges it; tells the server how its match goes."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.room_messages import Command, Done, Report
from p2pclient.match.plan import ENDED_EARLY, Ended, MatchChanged, MatchEvent
from p2pclient.runtime.announcing import Announcer
from p2pclient.runtime.match_runner import MatchRunner
from p2pclient.runtime.signaling_client import SignalingClient

log = logging.getLogger("tandem.client")

REPORT_EVERY_S = 1.0
_REMEMBERED = 100
"""Commands whose answers are kept: one that comes twice is carried out once."""


class Obedience:
    """One client's answers to commands.

    What is asked of a match is acknowledged when it is in effect there, on all sides, and not when it was noted.

    Args:
        on_leave: called with the message when this participant is to take no further part.
        on_say: called with a message that is shown from now on, or with an empty one that takes it back.
    """

    def __init__(
        self,
        signaling: SignalingClient,
        announcer: Announcer,
        *,
        on_leave: Callable[[str], None],
        on_say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._signaling = signaling
        self._announcer = announcer
        self._on_leave = on_leave
        self._on_say = on_say
        self._answers: deque[Done] = deque(maxlen=_REMEMBERED)
        self._open: list[Command] = []
        """What was asked of the match and is not in effect yet."""
        self._telling: set[asyncio.Task[bool]] = set()
        self._news = asyncio.Event()
        self.runner: MatchRunner | None = None
        """What runs the match, while there is one."""
        self.match_id = ""

    def take(self, command: Command) -> None:
        """Carry out a command, unless that was done before, and acknowledge it when it is done."""
        done = next((each for each in self._answers if each.action_id == command.action_id), None)
        if done is not None:
            self._tell(done)
        elif all(each.action_id != command.action_id for each in self._open):
            self._carry_out(command)

    def note(self, event: MatchEvent) -> None:
        """Something happened in the match: acknowledge what is in effect thereby, and report soon."""
        if isinstance(event, MatchChanged):
            asked = [each for each in self._open if each.kind == event.kind]
            # Every extension is a change of its own; the others are one, however often they are asked for.
            for command in asked[:1] if event.kind == "extend" else asked:
                self._settle(command, "")
            self._news.set()
        elif isinstance(event, Ended):
            for command in list(self._open):
                is_it = command.kind == "end" and event.reason == ENDED_EARLY
                self._settle(command, "" if is_it else "The match ended before.")

    def match_over(self) -> None:
        """The match is over for this client, however it ended."""
        self.runner = None
        for command in list(self._open):
            self._settle(command, "The match ended before.")

    def _carry_out(self, command: Command) -> None:
        if command.kind == "say":
            self._announcer.announce(command.text)
            self._on_say(command.text)
        elif command.kind == "leave":
            self._on_leave(command.text)
        else:
            self._open.append(command)
            try:
                is_so = self._request(command)
            except LocalMisuseError as error:
                self._settle(command, str(error))
                return
            if is_so:
                self._settle(command, "")
            return
        self._settle(command, "")

    def _request(self, command: Command) -> bool:
        """Ask the match for it; True if it is so already, and no change will follow."""
        runner = self.runner
        if runner is None or command.match_id != self.match_id:
            raise LocalMisuseError("This client does not play that match at the moment.")
        if command.kind == "extend":
            runner.request_extend(command.frames)
            return False
        was_paused, will_pause = runner.pauses
        if command.kind == "pause":
            runner.request_pause()
            return was_paused and will_pause
        if command.kind == "resume":
            runner.request_resume()
            return not will_pause and not was_paused
        runner.request_end()
        return False

    def _settle(self, command: Command, problem: str) -> None:
        """Acknowledge a command; ``problem`` says why it was not carried out."""
        self._open = [each for each in self._open if each is not command]
        done = Done(action_id=command.action_id, ok=not problem, message=problem[:1000])
        self._answers.append(done)
        log.info("asked for %s: %s", command.kind, problem or "done")
        self._tell(done)

    def _tell(self, done: Done) -> None:
        telling = asyncio.create_task(self._signaling.tell(done))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def report(self) -> None:
        """Tell the server how the match goes, once a second and when it was changed, for as long as this runs."""
        while True:
            try:
                await asyncio.wait_for(self._news.wait(), REPORT_EVERY_S)
            except TimeoutError:
                pass
            self._news.clear()
            if self.runner is not None and self.match_id and self._signaling.connected:
                now = asyncio.get_running_loop().time()
                await self._signaling.tell(Report(match_id=self.match_id, health=self.runner.health(now)))

    async def close(self) -> None:
        """Give the last answers a moment to leave."""
        if self._telling:
            await asyncio.wait(self._telling, timeout=1.0)
