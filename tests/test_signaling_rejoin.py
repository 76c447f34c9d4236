"""A player whose program was started again gets its seat from the server: whoever has its token, and nobody else."""

from __future__ import annotations

import random
from typing import Any

from room_rig import ConfirmingRoom

from p2pclient.common.description import Description
from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import (
    Finished,
    Join,
    Matched,
    MatchResult,
    MatchSettings,
    PeerBack,
    PeerGone,
    ServerMessage,
    Signal,
    Waiting,
    Welcome,
)
from signaling.effects import Effect, Send

OFFER = Description(type="offer", sdp="v=0\r\n")


def sent(effects: list[Effect], client: str) -> list[ServerMessage]:
    return [each.message for each in effects if isinstance(each, Send) and each.client == client]


def room_with_match(**settings: Any) -> tuple[ConfirmingRoom, Matched, str]:
    """Players a and b in a match; returns also what b was told of it, and b's token."""
    chosen = MatchSettings(**{"env": "cogrid:Test", "seats": 2, "may_return": True, **settings})
    room = ConfirmingRoom(chosen, entropy=random.Random(1))
    effects: list[Effect] = []
    for client in "ab":
        room.arrive(client, now=0.0)
        effects += room.join(client, Join(), now=0.0)
    (matched,) = [message for message in sent(effects, "b") if isinstance(message, Matched)]
    (welcome,) = [message for message in sent(effects, "b") if isinstance(message, Welcome)]
    assert welcome.token is not None
    return room, matched, welcome.token


def come_back(room: ConfirmingRoom, token: str | None, *, now: float = 2.0, **join: Any) -> list[Effect]:
    room.arrive("new", now=now)
    return room.join("new", Join(token=token, returns=True, **join), now=now)


def test_who_has_the_token_gets_the_seat_and_the_others_hear_of_it() -> None:
    room, before, token = room_with_match()
    gone = room.depart("b", "disconnected", now=1.0)
    assert [type(message) for message in sent(gone, "a")] == [PeerGone]
    effects = come_back(room, token)
    welcome, matched = sent(effects, "new")
    assert isinstance(welcome, Welcome)
    assert isinstance(matched, Matched)
    assert welcome.match == before.match_id
    assert matched.returns
    assert not before.returns
    same = ("match_id", "seed", "own_seats", "peers", "settings", "condition")
    assert [getattr(matched, name) for name in same] == [getattr(before, name) for name in same]
    assert [type(message) for message in sent(effects, "a")] == [PeerBack]
    assert room.matches == {before.match_id: ("a", "b")}


def test_it_may_come_before_the_server_knows_that_the_earlier_program_is_gone() -> None:
    room, before, token = room_with_match()
    effects = come_back(room, token)
    (matched,) = [message for message in sent(effects, "new") if isinstance(message, Matched)]
    assert matched.match_id == before.match_id


def test_it_may_exchange_descriptions_with_its_partners_again() -> None:
    room, before, token = room_with_match()
    room.depart("b", "disconnected", now=1.0)
    come_back(room, token)
    effects = room.signal("new", Signal(match_id=before.match_id, peer="a", description=OFFER, attempt=1))
    assert [message.peer for message in sent(effects, "a") if isinstance(message, Signal)] == ["b"]


def test_a_stranger_gets_no_seat() -> None:
    room, _, token = room_with_match()
    room.depart("b", "disconnected", now=1.0)
    for wrong in (None, token[:-1] + ("A" if token[-1] != "A" else "B")):
        try:
            effects = come_back(room, wrong)
        except SignalingError:
            continue
        assert not [message for message in sent(effects, "new") if isinstance(message, Matched)]
        assert [type(message) for message in sent(effects, "new")] == [Welcome, Waiting]
        room.depart("new", "left", now=3.0)


def test_after_its_time_is_over_the_seat_is_gone() -> None:
    room, _, token = room_with_match(drop_after_s=5.0)
    room.depart("b", "disconnected", now=1.0)
    room.tick(60.0)
    effects = come_back(room, token, now=61.0)
    assert not [message for message in sent(effects, "new") if isinstance(message, Matched)]


def test_where_nobody_may_return_it_waits_like_anyone() -> None:
    room, _, token = room_with_match(may_return=False)
    room.depart("b", "disconnected", now=1.0)
    assert [type(message) for message in sent(come_back(room, token), "new")] == [Welcome, Waiting]


def test_when_the_others_are_through_there_is_nothing_to_come_back_to() -> None:
    room, before, token = room_with_match()
    room.depart("b", "disconnected", now=1.0)
    room.finish("a", Finished(match_id=before.match_id, result=MatchResult(reason="complete")), now=1.5)
    assert [type(message) for message in sent(come_back(room, token), "new")] == [Welcome, Waiting]
