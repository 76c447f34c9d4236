"""One player that plays alone and its spectators, joined by queues without any delay: every frame under control."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from p2pclient.match.match import Match
from p2pclient.match.plan import MatchEvent, MatchPlan, Outbox
from p2pclient.match.watching import Watching
from p2pclient.recorder.records import Record
from tests.virtual import RandomSource, ToyHost, toy_env

SPECTATOR = 100
FRAME = 1 / 15


@dataclass
class Client:
    """A player or a spectator, with its host."""

    match: Match | Watching
    host: ToyHost
    records: list[Record] = field(default_factory=list)
    events: list[MatchEvent] = field(default_factory=list)
    batches: list[list[list[Any]]] = field(default_factory=list)
    is_stopped: bool = False
    """Its program stands still: what is sent to it is kept."""
    inbox: list[tuple[int, str, bytes]] = field(default_factory=list)

    def steps(self) -> list[int]:
        """How many frames each batch with frames simulated."""
        counts = [sum(command[0] == "step" for command in batch) for batch in self.batches]
        return [count for count in counts if count]


class Studio:
    """Players that play alone, each for itself the same match, and spectators of all of them.

    Two players here play the same inputs without knowing of each other: for a spectator they are one match.
    """

    def __init__(self, *, players: int = 1, seed: int = 1, max_steps: int | None = 200, **plan: Any) -> None:
        self.now = 0.0
        self.plan = MatchPlan(
            match_id="m", seed=seed, env=toy_env(1, max_steps=max_steps), local_seats=(0,), render=False, **plan
        )
        self.players: list[Client] = []
        self.spectators: dict[int, Client] = {}
        self.clients: dict[int, Client] = {}
        self.lose: Callable[[int, int, str, bytes], bool] = lambda sender, to, channel, data: False
        """Is something lost on its way."""
        for own in range(players):
            source = RandomSource(seed)
            player = Client(Match(replace(self.plan, own_id=own), {0: source}, now=0.0), ToyHost(1))
            self.players.append(player)
            self.clients[own] = player
            self.carry_out(own, player.match.tick(now=0.0))

    def watch(self, own: int = SPECTATOR, *, delay: int = 0, players: Sequence[int] = (), **plan: Any) -> Client:
        """Let a spectator in at the players."""
        known = list(players or range(len(self.players)))
        for player in known:
            match = self.players[player].match
            assert isinstance(match, Match)
            match.feeds.add(own, now=self.now)
        given = replace(self.plan, own_id=own, local_seats=(), **plan)
        spectator = Client(Watching(given, known, delay=delay, now=self.now), ToyHost(1))
        self.spectators[own] = self.clients[own] = spectator
        return spectator

    def run(self, ticks: int, *, players: bool = True) -> None:
        """Let ``ticks`` frames pass: players first, then what they sent arrives, then the spectators."""
        for _ in range(ticks):
            self.now += FRAME
            if players:
                for own, player in enumerate(self.players):
                    self.tick(own, player)
            for own, spectator in list(self.spectators.items()):
                self.tick(own, spectator)

    def tick(self, own: int, client: Client) -> None:
        """Deliver what waits for one client, and let it tick."""
        if client.is_stopped:
            return
        inbox, client.inbox = client.inbox, []
        for sender, channel, data in inbox:
            client.match.receive(sender, channel, data, now=self.now)
        self.carry_out(own, client.match.tick(now=self.now))

    def carry_out(self, own: int, out: Outbox) -> None:
        client = self.clients[own]
        for channel, messages in (("inputs", out.datagrams), ("control", out.control)):
            for to, data in messages:
                if to in self.clients and not self.lose(own, to, channel, data):
                    self.clients[to].inbox.append((own, channel, data))
        client.records.extend(out.records)
        client.events.extend(out.events)
        if out.batch is not None:
            client.batches.append(out.batch)
            self.carry_out(own, client.match.batch_done(client.host.run(out.batch), now=self.now))
