"""What the tests of the room share: a room whose clients confirm at once, and what was said to whom."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

from p2pclient.common.lobby_messages import (
    Finished,
    GoneReason,
    Join,
    Leave,
    Matched,
    MatchResult,
    MatchSettings,
    ServerMessage,
)
from p2pclient.common.room_messages import Confirm, Decline, Proposed, Ready
from signaling.actions import Action
from signaling.effects import Decided, Effect, Send
from signaling.room import Room
from signaling.room_state import Limits, Rules


class ConfirmingRoom(Room):
    """Every client confirms every proposal at once."""

    def join(self, connection: str, join: Join, *, now: float) -> list[Effect]:
        return self._confirmed(super().join(connection, join, now=now), now)

    def leave(self, connection: str, leave: Leave, *, now: float) -> list[Effect]:
        return self._confirmed(super().leave(connection, leave, now=now), now)

    def depart(self, connection: str, why: GoneReason, *, now: float) -> list[Effect]:
        return self._confirmed(super().depart(connection, why, now=now), now)

    def finish(self, connection: str, finished: Finished, *, now: float) -> list[Effect]:
        return self._confirmed(super().finish(connection, finished, now=now), now)

    def ready(self, connection: str, ready: Ready, *, now: float) -> list[Effect]:
        return self._confirmed(super().ready(connection, ready, now=now), now)

    def decline(self, connection: str, decline: Decline, *, now: float) -> list[Effect]:
        return self._confirmed(super().decline(connection, decline, now=now), now)

    def act(self, action: Action, *, by: str, now: float) -> tuple[str, list[Effect]]:
        action_id, effects = super().act(action, by=by, now=now)
        return action_id, self._confirmed(effects, now)

    def tick(self, now: float) -> list[Effect]:
        return self._confirmed(super().tick(now), now)

    def _confirmed(self, effects: list[Effect], now: float) -> list[Effect]:
        found = list(effects)
        for each in found:  # grows while it is gone through
            if isinstance(each, Send) and isinstance(each.message, Proposed):
                found += self.confirm(each.client, Confirm(proposal_id=each.message.proposal_id), now=now)
        return found


def make_room(
    seats: int = 2, *, frames: int = 0, limits: Limits | None = None, confirms: bool = False, **rules: Any
) -> Room:
    """Return a room with fixed ids, seeds and tokens."""
    kind = ConfirmingRoom if confirms else Room
    settings = MatchSettings(env="cogrid:Test", seats=seats, frames=frames)
    return kind(
        settings,
        entropy=random.Random(1),
        secrets=random.Random(2),
        limits=limits,
        rules=Rules(**rules),
        server_version="9",
    )


def come(room: Room, *clients: str, now: float = 0.0, **join: Any) -> list[Effect]:
    """Let clients connect and join, one after the other."""
    effects: list[Effect] = []
    for client in clients:
        effects += room.arrive(client, now=now)
        effects += room.join(client, Join(**join), now=now)
    return effects


def sent(effects: Iterable[Effect], client: str) -> list[ServerMessage]:
    """Return what was said over one connection, in order."""
    return [each.message for each in effects if isinstance(each, Send) and each.client == client]


def only(effects: Iterable[Effect], client: str, kind: type[Any]) -> Any:
    """Return the one message of a kind that was said over a connection."""
    (found,) = [each for each in sent(effects, client) if isinstance(each, kind)]
    return found


def confirm(room: Room, effects: Sequence[Effect], *clients: str, now: float = 0.0) -> list[Effect]:
    """Let clients confirm what was proposed to them."""
    answers: list[Effect] = []
    for client in clients:
        proposal = only(effects, client, Proposed).proposal_id
        answers += room.confirm(client, Confirm(proposal_id=proposal), now=now)
    return answers


def finish(room: Room, client: str, match_id: str, *, now: float = 0.0) -> list[Effect]:
    """Let a client say that its match is over."""
    return room.finish(client, Finished(match_id=match_id, result=MatchResult(reason="complete")), now=now)


def match_of(effects: Iterable[Effect], client: str) -> str:
    """Return the match that a client was told."""
    found: Matched = only(effects, client, Matched)
    return found.match_id


def decisions(effects: Iterable[Effect], kind: str) -> list[dict[str, Any]]:
    """Return the lines of decisions of a kind."""
    lines: list[dict[str, Any]] = [each.line for each in effects if isinstance(each, Decided)]
    return [line for line in lines if line["decision"] == kind]
