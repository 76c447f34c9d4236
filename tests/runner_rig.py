"""Two runners on virtual time, each with the toy environment, over whatever transports a test gives them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import msgspec
from virtual import RandomSource, ToyHost, toy_env
from virtual_loop import VirtualLoop

from p2pclient.common.room_messages import Health
from p2pclient.envhost.client import EnvHost
from p2pclient.envhost.exchange import BatchReply
from p2pclient.match.match import Match
from p2pclient.match.plan import MatchChanged, MatchEvent, MatchPlan
from p2pclient.recorder.records import FrameRecorded, Record
from p2pclient.runtime.match_runner import MatchRunner
from p2pclient.transport.base import PeerTransport

RATE = 20.0


class ToyProcess:
    """The toy environment behind what a runner calls."""

    def __init__(self) -> None:
        self._toy = ToyHost(2)

    def submit(self, commands: list[list[Any]]) -> asyncio.Future[BatchReply]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[BatchReply] = loop.create_future()
        reply = BatchReply(self._toy.run(commands), [500] * len(commands), 500 * len(commands))
        loop.call_later(0.002, future.set_result, reply)
        return future


class Client:
    """One client of a match of 200 frames, in two episodes."""

    def __init__(self, own: int, transport: PeerTransport, **settings: Any) -> None:
        self.records: list[Record] = []
        self.events: list[MatchEvent] = []
        self.tell: Callable[[MatchEvent], None] = self.events.append
        plan = MatchPlan(
            match_id="m",
            seed=1,
            env=toy_env(max_steps=120),
            local_seats=(own,),
            peers={1 - own: (1 - own,)},
            own_id=own,
            rate_hz=RATE,
            render=False,
            **{"episodes": 0, "frames": 200, **settings},
        )
        self.match = Match(plan, {own: RandomSource(own)}, now=asyncio.get_running_loop().time())
        self.runner = MatchRunner(
            self.match,
            cast("EnvHost", ToyProcess()),
            self._no_other,
            {1 - own: transport},
            self,
            on_event=lambda event: self.tell(event),
            before_tick=lambda: None,
            after_tick=lambda now: None,
        )
        self.task = asyncio.ensure_future(self.runner.run())

    async def _no_other(self) -> Any:
        raise AssertionError("the toy does not fail")

    def record(self, record: Record) -> None:
        self.records.append(record)

    @property
    def frames(self) -> list[FrameRecorded]:
        return [each for each in self.records if isinstance(each, FrameRecorded)]

    @property
    def changes(self) -> list[tuple[str, int, int]]:
        return [(e.kind, e.episode, e.frame) for e in self.events if isinstance(e, MatchChanged)]

    def health(self) -> Health:
        """As the server takes it in."""
        health = self.runner.health(asyncio.get_running_loop().time())
        return msgspec.json.decode(msgspec.json.encode(health), type=Health)


def on_virtual_time(scenario: Any) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())
