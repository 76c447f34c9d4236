"""The waiting room and matches, without any network."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

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
from signaling.effects import Disconnect, Effect, Send
from signaling.lobby import Limits, Lobby, State

OFFER = Description(type="offer", sdp="v=0")


def make_lobby(seats: int = 2, *, seed: int = 1, limits: Limits | None = None) -> Lobby:
    settings = MatchSettings(env="cogrid:Test", seats=seats)
    return Lobby(settings, entropy=random.Random(seed), limits=limits, server_version="9")


def arrive_and_join(lobby: Lobby, clients: Iterable[str]) -> list[Effect]:
    effects: list[Effect] = []
    for client in clients:
        effects += lobby.arrive(client, now=0.0)
        effects += lobby.join(client, Join(), now=0.0)
    return effects


def sent(effects: Sequence[Effect], client: str) -> list[ServerMessage]:
    return [each.message for each in effects if isinstance(each, Send) and each.client == client]


def matched(effects: Sequence[Effect], client: str) -> Matched:
    (found,) = [each for each in sent(effects, client) if isinstance(each, Matched)]
    return found


def finish(lobby: Lobby, client: str, match_id: str) -> list[Effect]:
    return lobby.finish(client, Finished(match_id=match_id, result=MatchResult(reason="complete")), now=0.0)


def test_first_two_are_seated_in_the_order_of_their_coming() -> None:
    lobby = make_lobby()
    first = arrive_and_join(lobby, ["a"])
    assert [type(each) for each in sent(first, "a")] == [Welcome, Waiting]
    assert sent(first, "a")[1] == Waiting(position=1, waiting=1, needed=1)
    effects = arrive_and_join(lobby, ["b"])
    a, b = matched(effects, "a"), matched(effects, "b")
    assert (a.match_id, a.seed, a.settings) == (b.match_id, b.seed, b.settings)
    assert (a.own_seats, b.own_seats) == ((0,), (1,))
    assert [(each.client_id, each.seats, each.make_offer) for each in a.peers] == [("b", (1,), True)]
    assert [(each.client_id, each.seats, each.make_offer) for each in b.peers] == [("a", (0,), False)]
    assert lobby.waiting == ()
    assert lobby.matches == {a.match_id: ("a", "b")}


@pytest.mark.parametrize("seats", range(1, 9))
def test_groups_of_any_size_agree_on_who_offers(seats: int) -> None:
    lobby = make_lobby(seats)
    members = [f"c{i}" for i in range(seats)]
    effects = arrive_and_join(lobby, members)
    views = {client: matched(effects, client) for client in members}
    assert [views[client].own_seats for client in members] == [(i,) for i in range(seats)]
    for client, view in views.items():
        for peer in view.peers:
            back = next(each for each in views[peer.client_id].peers if each.client_id == client)
            assert peer.make_offer != back.make_offer
            assert peer.make_offer == (view.own_seats < peer.seats)


def test_seed_fixes_ids_and_seeds_and_matches_differ() -> None:
    def begun(seed: int) -> list[tuple[str, int]]:
        effects = arrive_and_join(make_lobby(seed=seed), [f"c{i}" for i in range(6)])
        return [(matched(effects, f"c{i}").match_id, matched(effects, f"c{i}").seed) for i in (0, 2, 4)]

    assert begun(5) == begun(5)
    assert begun(5) != begun(6)
    assert len(set(begun(5))) == 3


def test_leaving_while_waiting_moves_the_others_up() -> None:
    lobby = make_lobby(3)
    arrive_and_join(lobby, ["a", "b"])
    effects = lobby.leave("a", Leave(), now=1.0)
    assert sent(effects, "b") == [Waiting(position=1, waiting=1, needed=2)]
    assert lobby.state_of("a") is State.IDLE
    assert lobby.leave("a", Leave(), now=1.0) == []


@pytest.mark.parametrize("why", ["left", "disconnected", "silent"])
def test_partner_is_told_once_why_one_is_gone(why: str) -> None:
    lobby = make_lobby()
    match_id = matched(arrive_and_join(lobby, ["a", "b"]), "a").match_id

    def go() -> list[Effect]:
        if why == "left":
            return lobby.leave("a", Leave(), now=1.0)
        return lobby.depart("a", "silent" if why == "silent" else "disconnected", now=1.0)

    assert sent(go(), "b") == [PeerGone(match_id=match_id, client_id="a", why=why)]  # type: ignore[arg-type]
    assert go() == []
    finish(lobby, "b", match_id)
    assert lobby.matches == {}


def test_match_is_forgotten_when_all_have_finished_and_they_may_join_again() -> None:
    lobby = make_lobby()
    match_id = matched(arrive_and_join(lobby, ["a", "b"]), "a").match_id
    assert sent(finish(lobby, "a", match_id), "b") == []
    again = lobby.join("a", Join(), now=2.0)
    assert Waiting(position=1, waiting=1, needed=1) in sent(again, "a")
    with pytest.raises(SignalingError, match="in a match"):
        lobby.join("b", Join(), now=2.0)
    finish(lobby, "b", match_id)
    assert finish(lobby, "b", match_id) == []
    assert lobby.matches == {}
    assert matched(lobby.join("b", Join(), now=3.0), "b").match_id != match_id


def test_who_departs_after_finishing_disturbs_nobody() -> None:
    lobby = make_lobby()
    match_id = matched(arrive_and_join(lobby, ["a", "b"]), "a").match_id
    finish(lobby, "a", match_id)
    assert sent(lobby.depart("a", "disconnected", now=1.0), "b") == []


def test_descriptions_pass_between_partners_only() -> None:
    lobby = make_lobby()
    effects = arrive_and_join(lobby, ["a", "b", "x", "y", "z"])
    match_id, other = matched(effects, "a").match_id, matched(effects, "x").match_id
    assert lobby.signal("a", Signal(match_id=match_id, peer="b", description=OFFER)) == [
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
            lobby.signal(client, Signal(match_id=match, peer=peer, description=OFFER))
        assert caught.value.code == code


def test_joining_twice_keeps_one_place() -> None:
    lobby = make_lobby(3)
    arrive_and_join(lobby, ["a", "b"])
    effects = lobby.join("a", Join(), now=1.0)
    assert lobby.waiting == ("a", "b")
    assert sent(effects, "a")[1] == Waiting(position=1, waiting=2, needed=1)


def test_full_rooms_refuse_and_busy_ones_let_wait() -> None:
    lobby = make_lobby(limits=Limits(clients=5, matches=1))
    effects = arrive_and_join(lobby, ["a", "b", "c", "d", "e"])
    assert lobby.waiting == ("c", "d", "e")
    assert sent(effects, "d")[-1] == Waiting(position=2, waiting=3, needed=0)
    with pytest.raises(SignalingError) as caught:
        lobby.arrive("f", now=0.0)
    assert caught.value.code == "full"
    match_id = matched(effects, "a").match_id
    finish(lobby, "a", match_id)
    assert matched(finish(lobby, "b", match_id), "d").own_seats == (1,)


def test_closing_tells_everyone_and_forgets_everyone() -> None:
    lobby = make_lobby()
    arrive_and_join(lobby, ["a", "b", "c"])
    effects = lobby.close()
    assert all(isinstance(sent(effects, client)[0], Closing) for client in "abc")
    assert [each.client for each in effects if isinstance(each, Disconnect)] == ["a", "b", "c"]
    assert (lobby.clients, lobby.waiting, lobby.matches) == (0, (), {})
    assert lobby.depart("a", "disconnected", now=1.0) == []


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
    effects = arrive_and_join(make_lobby(), ["a", "b"])
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


class LobbyMachine(RuleBasedStateMachine):
    """Clients come, join, signal, finish, leave and vanish in any order; every client believes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.seats = 2
        self.lobby = make_lobby(self.seats, limits=Limits(clients=8, matches=2))
        self.present: dict[str, State] = {}
        self.match_of: dict[str, Matched] = {}
        self.count = 0
        self.now = 0.0

    def carry_out(self, effects: Sequence[Effect]) -> None:
        for each in effects:
            if not isinstance(each, Send):
                continue
            assert each.client in self.present, "sent to someone absent"
            match each.message:
                case Waiting():
                    assert self.present[each.client] is not State.MATCHED
                    self.present[each.client] = State.WAITING
                case Matched() as found:
                    assert self.present[each.client] is not State.MATCHED
                    self.present[each.client] = State.MATCHED
                    self.match_of[each.client] = found
                    assert all(peer.client_id in self.present for peer in found.peers), "seated with someone absent"
                case PeerGone() as gone:
                    assert gone.match_id == self.match_of[each.client].match_id

    @rule()
    def arrive(self) -> None:
        self.count += 1
        client = f"c{self.count}"
        if len(self.present) >= 8:
            with pytest.raises(SignalingError):
                self.lobby.arrive(client, now=self.now)
        else:
            self.carry_out(self.lobby.arrive(client, now=self.now))
            self.present[client] = State.IDLE

    def pick(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.present)))

    @precondition(lambda self: self.present)
    @rule(data=st.data())
    def join(self, data: st.DataObject) -> None:
        client = self.pick(data)
        if self.present[client] is State.MATCHED:
            with pytest.raises(SignalingError):
                self.lobby.join(client, Join(), now=self.now)
        else:
            self.carry_out(self.lobby.join(client, Join(), now=self.now))
            assert self.present[client] is not State.IDLE

    @precondition(lambda self: self.present)
    @rule(data=st.data(), own=st.booleans())
    def finish(self, data: st.DataObject, own: bool) -> None:
        client = self.pick(data)
        ids = sorted({each.match_id for each in self.match_of.values()}) or ["none"]
        match_id = (
            self.match_of[client].match_id if own and client in self.match_of else data.draw(st.sampled_from(ids))
        )
        if self.present[client] is State.MATCHED and self.match_of[client].match_id == match_id:
            self.present[client] = State.IDLE
        self.carry_out(finish(self.lobby, client, match_id))

    @precondition(lambda self: self.present)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        client = self.pick(data)
        self.present[client] = State.IDLE
        self.carry_out(self.lobby.leave(client, Leave(), now=self.now))

    @precondition(lambda self: self.count)
    @rule(data=st.data(), why=st.sampled_from(["left", "disconnected", "silent"]))
    def depart(self, data: st.DataObject, why: str) -> None:
        client = f"c{data.draw(st.integers(1, self.count))}"
        self.present.pop(client, None)
        self.carry_out(self.lobby.depart(client, why, now=self.now))  # type: ignore[arg-type]

    @precondition(lambda self: self.present and self.match_of)
    @rule(data=st.data())
    def signal(self, data: st.DataObject) -> None:
        sender = self.pick(data)
        peer = data.draw(st.sampled_from(sorted(self.match_of)))
        match_id = data.draw(st.sampled_from(sorted({each.match_id for each in self.match_of.values()})))
        members = self.lobby.matches.get(match_id, ())
        try:
            effects = self.lobby.signal(sender, Signal(match_id=match_id, peer=peer, description=OFFER))
        except SignalingError:
            assert sender not in members or peer not in members or sender == peer
        else:
            assert {sender, peer} <= set(members)
            self.carry_out(effects)

    @invariant()
    def everyone_is_where_it_believes_to_be(self) -> None:
        assert self.lobby.clients == len(self.present)
        for client, state in self.present.items():
            assert self.lobby.state_of(client) is state, client
        waiting = self.lobby.waiting
        seated = [client for members in self.lobby.matches.values() for client in members]
        assert len(set(waiting)) == len(waiting)
        assert len(set(seated)) == len(seated)
        assert set(waiting) == {c for c, state in self.present.items() if state is State.WAITING}
        assert set(seated) == {c for c, state in self.present.items() if state is State.MATCHED}
        assert all(self.lobby.matches.values()), "a match without members"

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        assert len(self.lobby.waiting) < self.seats or len(self.lobby.matches) == 2


TestLobbyMachine = LobbyMachine.TestCase
TestLobbyMachine.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
