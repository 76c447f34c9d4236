"""The waiting room and matches, without any network."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import pytest
from room_rig import ConfirmingRoom

from p2pclient.common.errors import ConfigurationError, SignalingError
from p2pclient.common.lobby_messages import (
    LOBBY_PROTOCOL,
    Closing,
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
    Waiting,
    Welcome,
    decode_client_event,
    decode_server_event,
    encode_event,
)
from p2pclient.common.stages import Stage
from signaling.effects import Disconnect, Effect, Send
from signaling.room_state import Limits, Rules

OFFER = Description(type="offer", sdp="v=0")


def make_room(seats: int = 2, *, seed: int = 1, limits: Limits | None = None) -> ConfirmingRoom:
    settings = MatchSettings(env="cogrid:Test", seats=seats)
    return ConfirmingRoom(settings, entropy=random.Random(seed), limits=limits, server_version="9")


def arrive_and_join(room: ConfirmingRoom, clients: Iterable[str]) -> list[Effect]:
    effects: list[Effect] = []
    for client in clients:
        effects += room.arrive(client, now=0.0)
        effects += room.join(client, Join(), now=0.0)
    return effects


def sent(effects: Sequence[Effect], client: str) -> list[ServerMessage]:
    return [each.message for each in effects if isinstance(each, Send) and each.client == client]


def matched(effects: Sequence[Effect], client: str) -> Matched:
    (found,) = [each for each in sent(effects, client) if isinstance(each, Matched)]
    return found


def finish(room: ConfirmingRoom, client: str, match_id: str) -> list[Effect]:
    return room.finish(client, Finished(match_id=match_id, result=MatchResult(reason="complete")), now=0.0)


def test_first_two_are_seated_in_the_order_of_their_coming() -> None:
    room = make_room()
    first = arrive_and_join(room, ["a"])
    assert [type(each) for each in sent(first, "a")] == [Welcome, Waiting]
    assert sent(first, "a")[1] == Waiting(position=1, waiting=1, needed=1)
    effects = arrive_and_join(room, ["b"])
    a, b = matched(effects, "a"), matched(effects, "b")
    assert (a.match_id, a.seed, a.settings) == (b.match_id, b.seed, b.settings)
    assert (a.own_seats, b.own_seats) == ((0,), (1,))
    assert [(each.client_id, each.seats, each.make_offer) for each in a.peers] == [("b", (1,), True)]
    assert [(each.client_id, each.seats, each.make_offer) for each in b.peers] == [("a", (0,), False)]
    assert room.waiting == ()
    assert room.matches == {a.match_id: ("a", "b")}


@pytest.mark.parametrize("seats", range(1, 9))
def test_groups_of_any_size_agree_on_who_offers(seats: int) -> None:
    room = make_room(seats)
    members = [f"c{i}" for i in range(seats)]
    effects = arrive_and_join(room, members)
    views = {client: matched(effects, client) for client in members}
    assert [views[client].own_seats for client in members] == [(i,) for i in range(seats)]
    for client, view in views.items():
        for peer in view.peers:
            back = next(each for each in views[peer.client_id].peers if each.client_id == client)
            assert peer.make_offer != back.make_offer
            assert peer.make_offer == (view.own_seats < peer.seats)


def test_seed_fixes_ids_and_seeds_and_matches_differ() -> None:
    def begun(seed: int) -> list[tuple[str, int]]:
        effects = arrive_and_join(make_room(seed=seed), [f"c{i}" for i in range(6)])
        return [(matched(effects, f"c{i}").match_id, matched(effects, f"c{i}").seed) for i in (0, 2, 4)]

    assert begun(5) == begun(5)
    assert begun(5) != begun(6)
    assert len(set(begun(5))) == 3


def test_leaving_while_waiting_moves_the_others_up() -> None:
    room = make_room(3)
    arrive_and_join(room, ["a", "b"])
    effects = room.leave("a", Leave(), now=1.0)
    assert sent(effects, "b") == [Waiting(position=1, waiting=1, needed=2)]
    assert room.stage_of("a") is Stage.IDLE
    assert room.leave("a", Leave(), now=1.0) == []


@pytest.mark.parametrize("why", ["left", "disconnected", "silent"])
def test_partner_is_told_once_why_one_is_gone(why: str) -> None:
    room = make_room()
    match_id = matched(arrive_and_join(room, ["a", "b"]), "a").match_id

    def go() -> list[Effect]:
        if why == "left":
            return room.leave("a", Leave(), now=1.0)
        return room.depart("a", "silent" if why == "silent" else "disconnected", now=1.0)

    assert sent(go(), "b") == [PeerGone(match_id=match_id, client_id="a", why=why)]  # type: ignore[arg-type]
    assert go() == []
    finish(room, "b", match_id)
    room.tick(1.0 + Rules().grace_s)  # until then the seat of one whose connection is lost is kept
    assert room.matches == {}


def test_match_is_forgotten_when_all_have_finished_and_they_may_join_again() -> None:
    room = make_room()
    match_id = matched(arrive_and_join(room, ["a", "b"]), "a").match_id
    assert sent(finish(room, "a", match_id), "b") == []
    again = room.join("a", Join(), now=2.0)
    assert Waiting(position=1, waiting=1, needed=1) in sent(again, "a")
    with pytest.raises(SignalingError, match="in a match"):
        room.join("b", Join(), now=2.0)
    finish(room, "b", match_id)
    assert finish(room, "b", match_id) == []
    assert room.matches == {}
    assert matched(room.join("b", Join(), now=3.0), "b").match_id != match_id


def test_who_departs_after_finishing_disturbs_nobody() -> None:
    room = make_room()
    match_id = matched(arrive_and_join(room, ["a", "b"]), "a").match_id
    finish(room, "a", match_id)
    assert sent(room.depart("a", "disconnected", now=1.0), "b") == []


def test_descriptions_pass_between_partners_only() -> None:
    room = make_room()
    effects = arrive_and_join(room, ["a", "b", "x", "y", "z"])
    match_id, other = matched(effects, "a").match_id, matched(effects, "x").match_id
    assert room.signal("a", Signal(match_id=match_id, peer="b", description=OFFER)) == [
        Send("b", Signal(match_id=match_id, peer="a", description=OFFER))
    ]
    for client, match, peer, code in [
        ("z", match_id, "b", "not-matched"),
        ("x", match_id, "b", "not-matched"),
        ("a", other, "x", "not-matched"),
        ("a", "nowhere", "b", "not-matched"),
        ("a", match_id, "x", "not-your-partner"),
        ("a", match_id, "a", "not-your-partner"),
        ("a", match_id, "nobody", "not-your-partner"),
    ]:
        with pytest.raises(SignalingError) as caught:
            room.signal(client, Signal(match_id=match, peer=peer, description=OFFER))
        assert caught.value.code == code


def test_joining_twice_keeps_one_place() -> None:
    room = make_room(3)
    arrive_and_join(room, ["a", "b"])
    effects = room.join("a", Join(), now=1.0)
    assert room.waiting == ("a", "b")
    assert sent(effects, "a")[1] == Waiting(position=1, waiting=2, needed=1)


def test_full_rooms_refuse_and_busy_ones_let_wait() -> None:
    room = make_room(limits=Limits(clients=5, matches=1))
    effects = arrive_and_join(room, ["a", "b", "c", "d", "e"])
    assert room.waiting == ("c", "d", "e")
    assert sent(effects, "d")[-1] == Waiting(position=2, waiting=3, needed=0)
    with pytest.raises(SignalingError) as caught:
        room.arrive("f", now=0.0)
    assert caught.value.code == "full"
    match_id = matched(effects, "a").match_id
    finish(room, "a", match_id)
    assert matched(finish(room, "b", match_id), "d").own_seats == (1,)


def test_closing_tells_everyone_and_forgets_everyone() -> None:
    room = make_room()
    arrive_and_join(room, ["a", "b", "c"])
    effects = room.close()
    assert all(isinstance(sent(effects, client)[0], Closing) for client in "abc")
    assert [each.client for each in effects if isinstance(each, Disconnect)] == ["a", "b", "c"]
    assert (room.clients, room.waiting, room.matches) == (0, (), {})
    assert room.depart("a", "disconnected", now=1.0) == []


@pytest.mark.parametrize(("theirs", "what"), [(LOBBY_PROTOCOL + 1, "the server"), (0, "this program")])
def test_other_version_is_told_what_to_upgrade(theirs: int, what: str) -> None:
    with pytest.raises(SignalingError, match=f"Upgrade {what}") as caught:
        decode_client_event("join", {"protocol": theirs, "fields": "of another version", "label": 3})
    assert caught.value.code == "protocol-version"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("env", ""),
        ("env", "../secrets"),
        ("env", "a b"),
        ("env_args", {"x": object()}),
        ("env_args", {"x": "y" * 20_000}),
        ("seats", 0),
        ("seats", 9),
        ("rate_hz", float("nan")),
        ("rate_hz", 0.0),
        ("window", -1),
        ("input_delay", 31),
        ("episodes", 0),
        ("frames", -1),
        ("drop_after_s", 0.5),
    ],
)
def test_wrong_setting_is_named(setting: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"^{setting} is"):
        MatchSettings(**{"env": "cogrid:Test", setting: value})  # type: ignore[arg-type]


def test_messages_survive_the_wire() -> None:
    effects = arrive_and_join(make_room(), ["a", "b"])
    for message in [each.message for each in effects if isinstance(each, Send)]:
        assert decode_server_event(*encode_event(message)) == message
    finished = Finished(match_id="m", result=MatchResult(reason="complete", frames=3))
    assert decode_client_event(*encode_event(finished)) == finished


def test_hostile_server_events_are_refused() -> None:
    for event, payload in [
        ("matched", {}),
        ("nonsense", {}),
        ("welcome", {"client_id": "a", "settings": {"env": "../x"}}),
        ("welcome", {"client_id": "../../a", "settings": {"env": "cogrid:Test"}}),
        ("waiting", {"position": -1, "waiting": 1, "needed": 0}),
        ("signal", {"match_id": "m", "peer": "p", "description": {"type": "offer", "sdp": "x" * 40_000}}),
        ("closing", None),
    ]:
        with pytest.raises(SignalingError) as caught:
            decode_server_event(event, payload)
        assert caught.value.code == "bad-server"
