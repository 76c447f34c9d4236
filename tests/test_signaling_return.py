"""Players who come back after a crash, in the room: who is sent to watch it, who waits, and why."""

from __future__ import annotations

import random
from typing import Any

import pytest
from room_rig import ConfirmingRoom

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import (
    REFUSALS,
    Admitted,
    Finished,
    Join,
    LastMatch,
    Leave,
    Matched,
    MatchResult,
    MatchSettings,
    ServerMessage,
    SpectatorCame,
    Watch,
    Welcome,
    decode_client_event,
    decode_server_event,
    encode_event,
)
from p2pclient.common.stages import Stage
from signaling.effects import Effect, Noted, Send
from signaling.room_state import Limits


def sent(effects: list[Effect], client: str) -> list[ServerMessage]:
    return [each.message for each in effects if isinstance(each, Send) and each.client == client]


def room_with_match(**settings: Any) -> tuple[ConfirmingRoom, str]:
    """Players a, b and so on in a match, and the new client r, who wants nothing yet."""
    chosen = MatchSettings(**{"env": "cogrid:Test", "seats": 3, "on_drop": "go-on", **settings})
    room = ConfirmingRoom(chosen, entropy=random.Random(1), limits=Limits(spectators=1))
    effects: list[Effect] = []
    for client in "abcdefgh"[: chosen.seats]:
        room.arrive(client, now=0.0)
        effects = room.join(client, Join(), now=0.0)
    (matched,) = [message for message in sent(effects, "a") if isinstance(message, Matched)]
    room.arrive("r", now=0.0)
    return room, matched.match_id


def come_back(room: ConfirmingRoom, match_id: str, was: str = "c") -> Welcome:
    """Let r join as who was ``was`` in a match; returns what it is told first."""
    effects = room.join("r", Join(last_match=LastMatch(match_id=match_id, client_id=was)), now=1.0)
    (noted,) = [each for each in effects if isinstance(each, Noted) and each.what == "returned"]
    welcome = sent(effects, "r")[0]
    assert isinstance(welcome, Welcome)
    assert (noted.facts["match"], noted.facts["was"]) == (match_id, was)
    assert noted.facts["why_not"] == welcome.not_watched
    return welcome


def assert_waits(room: ConfirmingRoom, welcome: Welcome, why: str) -> None:
    assert (welcome.watch, welcome.not_watched) == (None, why)
    assert why in REFUSALS
    assert room.waiting == ("r",)
    assert room.stage_of("r") is Stage.WAITING


@pytest.mark.parametrize("why", ["disconnected", "silent", "left"])
def test_player_who_went_is_sent_to_the_match_that_goes_on_without_it(why: Any) -> None:
    room, match_id = room_with_match()
    effects = room.leave("c", Leave(), now=0.5) if why == "left" else room.depart("c", why, now=0.5)
    assert effects
    welcome = come_back(room, match_id)
    assert (welcome.watch, welcome.not_watched) == (match_id, "")
    assert room.stage_of("r") is Stage.IDLE
    assert room.waiting == ()
    effects = room.watch("r", Watch(match_id=welcome.watch), now=0.0)
    (admitted,) = sent(effects, "r")
    assert isinstance(admitted, Admitted)
    assert [peer.client_id for peer in admitted.peers] == ["a", "b"]
    assert [type(message) for message in sent(effects, "a")] == [SpectatorCame]


def test_after_watching_it_waits_like_anyone() -> None:
    room, match_id = room_with_match()
    room.depart("c", "disconnected", now=0.5)
    come_back(room, match_id)
    room.watch("r", Watch(match_id=match_id), now=0.0)
    with pytest.raises(SignalingError):
        room.join("r", Join(), now=2.0)
    for player in "ab":
        room.finish(player, Finished(match_id=match_id, result=MatchResult(reason="complete")), now=3.0)
    room.tick(20.0)  # the seat of the one whose connection is lost was kept until now
    welcome = sent(room.join("r", Join(), now=21.0), "r")[0]
    assert isinstance(welcome, Welcome)
    assert (welcome.watch, welcome.not_watched) == (None, "")
    assert room.waiting == ("r",)


def test_it_need_not_watch() -> None:
    room, match_id = room_with_match()
    room.depart("c", "disconnected", now=0.5)
    come_back(room, match_id)
    room.join("r", Join(), now=2.0)
    assert room.waiting == ("r",)


def test_of_a_match_that_is_over_or_was_never_there_it_waits() -> None:
    room, match_id = room_with_match()
    for player in "abc":
        room.depart(player, "disconnected", now=0.5)
    assert_waits(room, come_back(room, match_id), "no-match")
    room, _ = room_with_match()
    assert_waits(room, come_back(room, "0001-of-another-server"), "no-match")


@pytest.mark.parametrize("settings", [{"seats": 2}, {"on_drop": "end"}, {"seats": 2, "on_drop": "end"}])
def test_of_a_match_that_ends_with_its_first_loss_it_waits(settings: dict[str, Any]) -> None:
    room, match_id = room_with_match(**settings)
    room.depart("b", "disconnected", now=0.5)
    assert_waits(room, come_back(room, match_id, "b"), "match-ends")


def test_while_its_old_connection_is_there_it_waits() -> None:
    room, match_id = room_with_match()
    assert_waits(room, come_back(room, match_id), "not-gone")


@pytest.mark.parametrize("was", ["nobody", "w", "r"])
def test_who_was_no_player_of_the_match_waits(was: str) -> None:
    room, match_id = room_with_match()
    room.arrive("w", now=0.0)
    room.watch("w", Watch(), now=0.0)
    room.depart("w", "disconnected", now=0.5)
    room.depart("c", "disconnected", now=0.5)
    assert_waits(room, come_back(room, match_id, was), "not-gone")


def test_who_had_finished_the_match_waits() -> None:
    room, match_id = room_with_match()
    room.finish("c", Finished(match_id=match_id, result=MatchResult(reason="partition")), now=0.5)
    room.depart("c", "disconnected", now=0.6)
    assert_waits(room, come_back(room, match_id), "not-gone")


def test_where_nobody_may_watch_or_too_many_do_it_waits() -> None:
    room, match_id = room_with_match(spectators=False)
    room.depart("c", "disconnected", now=0.5)
    assert_waits(room, come_back(room, match_id), "no-spectators")
    room, match_id = room_with_match()
    room.arrive("w", now=0.0)
    room.watch("w", Watch(), now=0.0)
    room.depart("c", "disconnected", now=0.5)
    assert_waits(room, come_back(room, match_id), "too-many-spectators")


def test_who_waits_already_keeps_its_place() -> None:
    room, match_id = room_with_match()
    room.depart("c", "disconnected", now=0.5)
    room.join("r", Join(), now=0.6)
    effects = room.join("r", Join(last_match=LastMatch(match_id=match_id, client_id="c")), now=1.0)
    welcome = sent(effects, "r")[0]
    assert isinstance(welcome, Welcome)
    assert welcome.watch is None
    assert room.waiting == ("r",)


def test_who_plays_is_refused_and_the_match_is_untouched() -> None:
    room, match_id = room_with_match()
    room.depart("c", "disconnected", now=0.5)
    with pytest.raises(SignalingError) as caught:
        room.join("a", Join(last_match=LastMatch(match_id=match_id, client_id="c")), now=1.0)
    assert caught.value.code == "already-matched"
    assert room.matches == {match_id: ("a", "b")}


def test_messages_of_coming_back_come_back_as_they_were_and_others_are_refused() -> None:
    join = Join(last_match=LastMatch(match_id="0001-00", client_id="c1"))
    event, payload = encode_event(join)
    assert decode_client_event(event, payload) == join
    for bad in ({"match_id": "../x", "client_id": "c1"}, {"match_id": "0001-00"}, "0001-00"):
        with pytest.raises(SignalingError) as caught:
            decode_client_event("join", {**payload, "last_match": bad})
        assert caught.value.code == "malformed"
    welcome = Welcome(client_id="r", settings=MatchSettings(env="cogrid:Test"), watch="0001-00")
    assert decode_server_event(*encode_event(welcome)) == welcome
