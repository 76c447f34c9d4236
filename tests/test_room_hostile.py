"""The room under clients that say anything at any time, over any connection, and a researcher who asks for anything."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from hostile_rig import EVENTS, Heard, Villain

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import MatchSettings, Welcome, decode_client_event, encode_event
from signaling.actions import Action
from signaling.effects import Disconnect, Effect, Send
from signaling.matching.rtt import RttAware
from signaling.matching.simple import FirstCome, FixedGroups
from signaling.room import Room
from signaling.room_state import KEPT_ACTIONS, KEPT_EVENTS, KEPT_MATCHES, Limits, Rules

KINDS = (
    "pair", "start-all", "hold", "release", "release", "move", "pause", "resume", "extend", "end", "tell", "remove",
    "add-bot",
)  # fmt: skip


class Mob:
    """Connections that come and go, and what the room does about it."""

    def __init__(self, seed: int) -> None:
        self.heard = Heard()
        self.villain = Villain(seed, "", self.heard)
        noise = self.noise = self.villain.noise
        rules = Rules(
            matcher=noise.choice([FirstCome(), FixedGroups(), RttAware(), RttAware()]),
            grace_s=noise.choice([0.0, 2.0, 15.0]),
            confirm_within_s=noise.choice([1.0, 30.0]),
            wait_limit_s=noise.choice([None, 3.0]),
            after_wait=noise.choice(["message", "bot", "alone"]),
            wait_bot="idle",
            starts_bots=True,
        )
        settings = MatchSettings(env="cogrid:Test", seats=noise.choice([2, 3]), on_drop="go-on")
        self.room = Room(
            settings,
            entropy=random.Random(seed),
            secrets=random.Random(seed + 1),
            rules=rules,
            limits=Limits(clients=12, matches=4, spectators=2),
        )
        self.now = 0.0
        self.made = 0
        self.open: list[str] = []
        self.closing: list[str] = []
        """The room wants them closed, or replaced them; what they have sent already still comes in."""
        self.refused: set[str] = set()
        self.proposals: dict[str, str] = {}
        self.stale = 0
        self.begun = 0

    def step(self) -> None:
        """Let one thing happen."""
        noise, room = self.noise, self.room
        self.now += noise.choice([0.0, 0.01, 0.1, 1.0])
        dice = noise.random()
        try:
            if dice < 0.08 or not self.open:
                self.made += 1
                name = f"c{self.made}-0"
                self.take(room.arrive(name, now=self.now, address="10.0.0.1"))
                self.open.append(name)
            elif dice < 0.12:
                self.depart(noise.choice(self.open))
            elif dice < 0.2:
                self.take(room.tick(self.now))
            elif dice < 0.25:
                self.act()
            else:
                self.say(noise.choice(self.open))
        except SignalingError as error:
            self.refused.add(error.code)
        if noise.random() < 0.05 and self.closing:
            self.depart(self.closing.pop(0))

    def depart(self, name: str) -> None:
        why: Any = self.noise.choice(["disconnected", "silent", "left"])
        if name in self.open:
            self.open.remove(name)
        self.take(self.room.depart(name, why, now=self.now))

    def say(self, name: str) -> None:
        event = self.noise.choice((*EVENTS, "join", "join", "ready", "report"))
        if self.noise.random() < 0.4 and name in self.proposals:
            event = "confirm"
            self.heard.note(*[self.proposals[name]] * 5)
        self.stale += self.room._state.connections.keys().isdisjoint([name])
        payload = json.loads(json.dumps(self.villain.payload(event)))
        message = decode_client_event(event, payload)
        if event in ("echo", "relay"):
            return  # the room is not asked
        method: dict[str, Any] = {"finished": self.room.finish, "ask-ice-servers": self.room.ice_servers}
        call = method.get(event) or getattr(self.room, event.replace("-", "_"))
        timed = {} if event in ("signal", "done", "go-on") else {"now": self.now}
        self.take(call(name, message, **timed))

    def act(self) -> None:
        noise, some = self.noise, self.villain.an_id
        kind = noise.choice(KINDS)
        fields: dict[str, dict[str, Any]] = {
            "pair": {"participants": [some(), some()]},
            "move": {"participant": some(), "position": noise.choice([0, 1, 5, 1 << 53])},
            "extend": {"match": some(), "seconds": 1e-9},
            "tell": {"text": "x", "participant": noise.choice([None, some()])},
            "remove": {"participant": some()},
            "add-bot": {"bot": "x" * 64, "participant": noise.choice([None, some()])},
        }
        match = {"match": some()} if kind in ("pause", "resume", "end") else {}
        action = msgspec.convert({"kind": kind, **fields.get(kind, {}), **match}, Action)  # type: ignore[call-overload]
        action_id, effects = self.room.act(action, by="ada", now=self.now)
        self.heard.note(action_id)
        self.take(effects)

    def take(self, effects: list[Effect]) -> None:
        """Carry effects out, and let everybody know all ids; sometimes of the tokens, too."""
        for each in effects:
            if isinstance(each, Send):
                event, payload = encode_event(each.message)
                self.begun += event == "matched"
                if event == "proposed":
                    self.proposals[each.client] = payload["proposal_id"]
                if isinstance(each.message, Welcome) and self.noise.random() < 0.5:
                    payload.pop("token")
                self.heard.take("42" + json.dumps([event, payload]))
                self.heard.frames.clear()
            elif isinstance(each, Disconnect):
                self.closing.append(each.client)

    def check(self) -> None:
        """Whatever happened, what is kept fits together and is bounded."""
        state: Any = self.room._state
        limits = state.limits
        assert len(state.connections) <= limits.clients
        assert len(state.participants) <= 3 * limits.clients
        assert state.addresses.keys() <= state.connections.keys()
        assert {each.token_hash for each in state.participants.values()} == state.tokens.keys()
        assert len(set(state.queue)) == len(state.queue)
        assert set(state.queue) <= state.participants.keys()
        assert len(state.matches) + len(state.pending) <= limits.matches + limits.clients
        assert len(state.events) <= KEPT_EVENTS
        assert len(state.ended) <= KEPT_MATCHES
        assert len(state.asks) <= KEPT_ACTIONS
        held = {each.id: each for each in state.connections.values() if each is not None}
        assert all(state.participants.get(each.id) is each for each in held.values())
        assert set(self.room._attendance._labels) == {each.label for each in state.participants.values() if each.label}
        msgspec.json.encode(self.room.row(now=self.now, epoch=self.now + 1e9))


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_said_over_whatever_connection_is_answered_or_refused(seed: int) -> None:
    mob = Mob(seed)
    for _ in range(60):
        for _ in range(25):
            mob.step()
        mob.check()
    # All go at last, and nothing is left of them.
    for name in [*mob.open, *mob.closing]:
        mob.depart(name)
    for _ in range(3):
        mob.now += 1000
        mob.take(mob.room.tick(mob.now))
    state: Any = mob.room._state
    left = (state.connections, state.addresses, state.participants, state.tokens, state.queue, state.pending)
    assert not any(left), [len(each) for each in left]
    assert not state.matches
    assert not state.bookings
    assert mob.refused >= {"label-in-use", "not-matched"}


def test_mobs_get_everywhere() -> None:
    """What the test above rests on: matches begin, spectators come, and those who were replaced go on talking."""
    mobs = [Mob(seed) for seed in range(12)]
    for mob in mobs:
        for _ in range(500):
            mob.step()
    assert sum(mob.begun for mob in mobs) > 5
    assert sum(mob.stale for mob in mobs) > 5
    assert {"removed", "full", "already-matched"} <= {code for mob in mobs for code in mob.refused}
