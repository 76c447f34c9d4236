"""Spectators in the room: who may come in, who hears of it, and with whom descriptions are exchanged."""

from __future__ import annotations

import random

import pytest
from room_rig import ConfirmingRoom

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import (
    LOBBY_PROTOCOL,
    Admitted,
    Description,
    Finished,
    Join,
    Leave,
    Matched,
    MatchResult,
    MatchSettings,
    PeerGone,
    ServerMessage,
    Signal,
    SpectatorCame,
    Watch,
    decode_client_event,
    decode_server_event,
    encode_event,
)
from p2pclient.common.stages import Stage
from signaling.effects import Effect, Send
from signaling.room_state import Limits
from signaling.running import FIRST_SPECTATOR

OFFER = Description(type="offer", sdp="v=0")


def sent(effects: list[Effect], client: str) -> list[ServerMessage]:
    return [each.message for each in effects if isinstance(each, Send) and each.client == client]


def room_with_match(**settings: bool) -> tuple[ConfirmingRoom, str]:
    """Two players in a match, and two clients who want nothing yet."""
    room = ConfirmingRoom(
        MatchSettings(env="cogrid:Test", **settings), entropy=random.Random(1), limits=Limits(spectators=2)
    )
    for client in "abwx":
        room.arrive(client, now=0.0)
    room.join("a", Join(), now=0.0)
    effects = room.join("b", Join(), now=0.0)
    (matched,) = [message for message in sent(effects, "b") if isinstance(message, Matched)]
    return room, matched.match_id


def refused(room: ConfirmingRoom, client: str, watch: Watch) -> str:
    with pytest.raises(SignalingError) as caught:
        room.watch(client, watch, now=0.0)
    return caught.value.code


def test_spectator_is_told_the_players_and_they_are_told_of_it() -> None:
    room, match_id = room_with_match()
    effects = room.watch("w", Watch(), now=0.0)
    (admitted,) = sent(effects, "w")
    assert isinstance(admitted, Admitted)
    assert (admitted.match_id, admitted.spectator) == (match_id, FIRST_SPECTATOR)
    assert [(peer.client_id, peer.seats, peer.make_offer) for peer in admitted.peers] == [
        ("a", (0,), True),
        ("b", (1,), True),
    ]
    came = SpectatorCame(match_id=match_id, client_id="w", spectator=FIRST_SPECTATOR)
    assert sent(effects, "a") == sent(effects, "b") == [came]
    assert room.stage_of("w") is Stage.WATCHING
    assert room.matches == {match_id: ("a", "b")}


def test_every_spectator_of_a_match_has_an_id_of_its_own() -> None:
    room, match_id = room_with_match()
    room.watch("w", Watch(match_id=match_id), now=0.0)
    room.leave("w", Leave(), now=0.0)
    (admitted,) = sent(room.watch("w", Watch(), now=0.0), "w")
    assert isinstance(admitted, Admitted)
    assert admitted.spectator == FIRST_SPECTATOR + 1


def test_who_may_not_watch_is_told_why() -> None:
    room, _ = room_with_match()
    assert refused(room, "a", Watch()) == "already-matched"
    assert refused(room, "w", Watch(match_id="other")) == "no-match"
    assert refused(room, "w", Watch(protocol=LOBBY_PROTOCOL + 1)) == "protocol-version"
    room.watch("w", Watch(), now=0.0)
    assert refused(room, "w", Watch()) == "already-matched"
    with pytest.raises(SignalingError):
        room.join("w", Join(), now=0.0)
    room.watch("x", Watch(), now=0.0)
    room.arrive("y", now=0.0)
    assert refused(room, "y", Watch()) == "too-many-spectators"
    assert refused(room_with_match(spectators=False)[0], "w", Watch()) == "no-spectators"
    empty = ConfirmingRoom(MatchSettings(env="cogrid:Test"), entropy=random.Random(1))
    empty.arrive("w", now=0.0)
    assert refused(empty, "w", Watch()) == "no-match"


def test_descriptions_pass_between_players_and_spectators_but_not_between_spectators() -> None:
    room, match_id = room_with_match()
    room.watch("w", Watch(), now=0.0)
    room.watch("x", Watch(), now=0.0)
    for sender, to in (("w", "a"), ("a", "w"), ("b", "x"), ("a", "b")):
        (relayed,) = sent(room.signal(sender, Signal(match_id=match_id, peer=to, description=OFFER)), to)
        assert isinstance(relayed, Signal)
        assert relayed.peer == sender
    for sender, to in (("w", "x"), ("w", "w"), ("a", "nobody")):
        with pytest.raises(SignalingError) as caught:
            room.signal(sender, Signal(match_id=match_id, peer=to, description=OFFER))
        assert caught.value.code == "not-your-partner"


def test_that_a_spectator_goes_only_the_players_are_told() -> None:
    room, match_id = room_with_match()
    room.watch("w", Watch(), now=0.0)
    room.watch("x", Watch(), now=0.0)
    effects = room.depart("w", "disconnected", now=0.0)
    gone = PeerGone(match_id=match_id, client_id="w", why="disconnected")
    assert sent(effects, "a") == sent(effects, "b") == [gone]
    assert sent(effects, "x") == []
    effects = room.leave("a", Leave(), now=0.0)
    assert [type(message) for message in sent(effects, "x")] == [PeerGone]


def test_spectators_keep_no_match_alive_and_are_free_after_it() -> None:
    room, match_id = room_with_match()
    room.watch("w", Watch(), now=0.0)
    for player in "ab":
        room.finish(player, Finished(match_id=match_id, result=MatchResult(reason="complete")), now=0.0)
    assert room.matches == {}
    assert room.stage_of("w") is Stage.IDLE
    assert room.leave("w", Leave(), now=0.0) == []
    room.join("w", Join(), now=0.0)
    assert room.waiting == ("w",)


def test_messages_of_watching_come_back_as_they_were() -> None:
    event, payload = encode_event(Watch(match_id="0001-00"))
    assert decode_client_event(event, payload) == Watch(match_id="0001-00")
    with pytest.raises(SignalingError) as caught:
        decode_client_event("watch", {"protocol": LOBBY_PROTOCOL + 1, "of": "another version"})
    assert caught.value.code == "protocol-version"
    room, _ = room_with_match()
    effects = room.watch("w", Watch(), now=0.0)
    messages = [*sent(effects, "w"), *sent(effects, "a")]
    assert [type(message) for message in messages] == [Admitted, SpectatorCame]
    for message in messages:
        assert decode_server_event(*encode_event(message)) == message
