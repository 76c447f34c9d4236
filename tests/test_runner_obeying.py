"""A researcher's wishes for a running match: acknowledged when they are in effect, refused with the reason."""

from __future__ import annotations

import asyncio
from typing import Any

from test_runner_changes import Client, clients, on_virtual_time

from p2pclient.common.lobby_messages import ClientMessage
from p2pclient.common.presentation import Intent, Presentation
from p2pclient.common.room_messages import Command, Done
from p2pclient.runtime.announcing import Announcer
from p2pclient.runtime.obeying import Obedience
from p2pclient.runtime.signaling_client import SignalingClient


class Blank:
    """A window that nobody looks at."""

    def publish(self, presentation: Presentation) -> None:
        pass

    def take_intents(self) -> list[Intent]:
        return []


class Line(SignalingClient):
    """A way to the server that keeps what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, bool, str]] = []

    async def tell(self, message: ClientMessage) -> bool:
        assert isinstance(message, Done)
        self.said.append((message.action_id, message.ok, message.message))
        return True


class Obeying:
    """One client of a match, and what it answers."""

    def __init__(self, client: Client) -> None:
        self.line = Line()
        self.obedience = Obedience(self.line, Announcer(Blank()), on_leave=print)
        self.obedience.runner, self.obedience.match_id = client.runner, "m"
        client.tell = self.obedience.note
        self._asked = 0

    def ask(self, kind: Any, frames: int = 0, again: int = 0) -> str:
        if not again:
            self._asked += 1
        self.obedience.take(Command(action_id=f"a{again or self._asked}", kind=kind, match_id="m", frames=frames))
        return f"a{again or self._asked}"

    async def answers(self, seconds: float = 2.0) -> list[tuple[str, bool, str]]:
        """What was answered by then, and since the last call."""
        await asyncio.sleep(seconds)
        said, self.line.said = self.line.said, []
        return said


def test_changes_are_acknowledged_when_they_are_in_effect_and_not_when_they_are_noted() -> None:
    async def scenario() -> None:
        a, b = clients()
        asked = Obeying(b)
        await asyncio.sleep(2.0)
        pause = asked.ask("pause")
        assert asked.ask("pause", again=1) == pause
        assert await asked.answers(0.05) == [], "nobody has paused yet"
        assert await asked.answers() == [(pause, True, "")], "and once, however often it came"
        assert a.health().phase == "paused"
        asked.ask("pause", again=1)
        assert await asked.answers(0.1) == [(pause, True, "")], "an answer that got lost is given again"
        assert await asked.answers(asked.ask("pause") and 0.1) == [("a2", True, "")], "it is so already"
        resume = asked.ask("resume")
        assert await asked.answers() == [(resume, True, "")]
        assert a.health().phase == "playing"
        assert await asked.answers(asked.ask("resume") and 0.1) == [("a4", True, "")]
        asked.ask("extend", frames=10)
        asked.ask("extend", frames=20)
        while not a.match.changes.extended:
            assert await asked.answers(0.01) == []
        assert a.match.changes.extended == 10
        assert await asked.answers(0.1) == [("a5", True, "")]
        assert await asked.answers() == [("a6", True, "")]
        assert a.match.changes.extended == 30
        end = asked.ask("end")
        await a.task
        await b.task
        assert await asked.answers(0.1) == [(end, True, "")]

    on_virtual_time(scenario)


def test_pause_and_resume_at_once_are_both_acknowledged_in_their_order() -> None:
    async def scenario() -> None:
        a, b = clients()
        asked = Obeying(b)
        await asyncio.sleep(2.0)
        asked.ask("pause")
        asked.ask("resume")
        assert await asked.answers(4.0) == [("a1", True, ""), ("a2", True, "")]
        asked.ask("end")
        await a.task
        await b.task

    on_virtual_time(scenario)


def test_what_the_match_cannot_do_or_no_longer_does_is_refused_with_the_reason() -> None:
    async def scenario() -> None:
        a, b = clients(frames=0, episodes=1)
        asked = Obeying(b)
        await asyncio.sleep(1.0)
        asked.ask("extend", frames=10)
        ((_, ok, why),) = await asked.answers(0.1)
        assert (ok, "no length in frames" in why) == (False, True)
        pause = asked.ask("pause")
        a.runner.leave()
        await b.task
        asked.obedience.match_over()
        assert await asked.answers(0.1) == [(pause, False, "The match ended before.")]
        late = asked.ask("pause")
        assert await asked.answers(0.1) == [(late, False, "This client does not play that match at the moment.")]
        await a.task

    on_virtual_time(scenario)
