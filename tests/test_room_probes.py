"""The room and its probes: candidates are measured before they are matched, and a researcher may measure everyone."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from room_rig import come, decisions, make_room, sent

from p2pclient.common.errors import ConfigurationError, SignalingError
from p2pclient.common.lobby_messages import Description, Join, Matched
from p2pclient.common.probe_messages import ProbeCancel, ProbeFailure, ProbeResult, ProbeSignal, ProbeStart
from p2pclient.common.room_messages import Proposed
from signaling.actions import ProbeRoom
from signaling.effects import Effect, Send
from signaling.matching.base import Candidate, Context
from signaling.matching.choice import choose_matcher
from signaling.matching.nearest import nearest_pairs
from signaling.matching.rtt import RttAware
from signaling.room import Room

Network = Mapping[frozenset[str], float | ProbeFailure]


def near(**pairs: float | ProbeFailure) -> dict[frozenset[str], float | ProbeFailure]:
    """Return a network: ``near(c1c2=40.0)``."""
    return {frozenset({pair[:2], pair[2:]}): found for pair, found in pairs.items()}


class Clients:
    """Clients on a network, who answer every probe; what is said stays in ``said``."""

    def __init__(self, room: Room, network: Network) -> None:
        self.room = room
        self.network = network
        self.said: list[Effect] = []
        self.started: list[frozenset[str]] = []

    def play(self, effects: list[Effect], *, now: float) -> list[Effect]:
        """Carry effects out, and what follows from them."""
        todo = list(effects)
        while todo:
            effect = todo.pop(0)
            self.said.append(effect)
            if isinstance(effect, Send) and isinstance(effect.message, ProbeStart) and effect.message.make_offer:
                cancelled = {
                    each.message.probe_id
                    for each in todo
                    if isinstance(each, Send) and isinstance(each.message, ProbeCancel)
                }
                if effect.message.probe_id not in cancelled:
                    todo += self.probe(effect.client, effect.message, now)
        return self.said

    def probe(self, offerer: str, start: ProbeStart, now: float) -> list[Effect]:
        answerer, room, probe_id = start.peer, self.room, start.probe_id
        pair = frozenset({offerer, answerer})
        self.started.append(pair)
        found = self.network[pair]
        if isinstance(found, str):
            return room.probe_result(answerer, ProbeResult(probe_id=probe_id, failure=found), now=now)
        effects: list[Effect] = []
        for member, kind in ((offerer, "offer"), (answerer, "answer")):
            description = Description(type=kind, sdp="sdp")  # type: ignore[arg-type]
            effects += room.probe_signal(member, ProbeSignal(probe_id=probe_id, description=description), now=now)
        result = ProbeResult(probe_id=probe_id, rtt_ms=found, jitter_ms=1.0, loss=0.0, path="direct")
        for member in (offerer, answerer):
            effects += room.probe_result(member, result, now=now + 1)
        return effects


def proposed(effects: list[Effect]) -> set[str]:
    """Return who was proposed."""
    return {each.client for each in effects if isinstance(each, Send) and isinstance(each.message, Proposed)}


def test_a_pair_is_measured_before_it_is_proposed() -> None:
    room = make_room(matcher=RttAware(limit_ms=80.0))
    effects = come(room, "c1", "c2")
    assert proposed(effects) == set()
    starts = [each for client in ("c1", "c2") for each in sent(effects, client) if isinstance(each, ProbeStart)]
    assert [(start.peer, start.make_offer) for start in starts] == [("c2", True), ("c1", False)]
    assert decisions(effects, "round")[-1]["rejected"] == [
        {"members": ["c1", "c2"], "why": "The network between them is being measured."}
    ]
    clients = Clients(room, near(c1c2=60.0))
    said = clients.play(effects, now=0.0)
    assert proposed(said) == {"c1", "c2"}
    line = decisions(said, "round")[-1]
    assert line["measured"] == [{"members": ["c1", "c2"], "rtt_ms": 60.0}]
    assert line["chosen"][0]["why"] == "At most 60 ms between them; 85 ms are allowed."


def test_a_pair_beyond_the_limit_is_rejected_with_the_reason_and_others_are_tried() -> None:
    room = make_room(matcher=RttAware(limit_ms=80.0, relax_ms_per_s=0.0))
    clients = Clients(room, near(c1c2=120.0, c1c3=70.0, c2c3=90.0))
    said = clients.play(come(room, "c1", "c2"), now=0.0)
    assert proposed(said) == set()
    rejected = decisions(said, "round")[-1]["rejected"]
    assert rejected == [{"members": ["c1", "c2"], "why": "120 ms between them; at the moment 80 ms are allowed."}]
    said = clients.play(come(room, "c3", now=2.0), now=2.0)
    assert proposed(said) == {"c1", "c3"}
    assert frozenset({"c1", "c2"}) not in clients.started[1:]  # measured already


def test_the_limit_is_relaxed_as_people_wait() -> None:
    room = make_room(matcher=RttAware(limit_ms=80.0, relax_ms_per_s=5.0))
    clients = Clients(room, near(c1c2=120.0))
    assert proposed(clients.play(come(room, "c1", "c2"), now=0.0)) == set()
    assert proposed(clients.play(room.tick(7.9), now=7.9)) == set()
    assert proposed(clients.play(room.tick(8.1), now=8.1)) == {"c1", "c2"}
    assert len(clients.started) == 1


def test_who_cannot_reach_each_other_is_not_matched_and_tried_again_later() -> None:
    room = make_room(matcher=RttAware())
    clients = Clients(room, near(c1c2="no-path"))
    said = clients.play(come(room, "c1", "c2"), now=0.0)
    assert "cannot reach each other" in decisions(said, "round")[-1]["rejected"][0]["why"]
    assert "cannot reach each other" in room.row(now=0.0, epoch=0.0).participants[0].reason
    clients.network = near(c1c2=30.0)
    assert proposed(clients.play(room.tick(19.0), now=19.0)) == set()
    assert proposed(clients.play(room.tick(21.0), now=21.0)) == {"c1", "c2"}


def test_every_two_of_a_group_are_measured() -> None:
    room = make_room(3, matcher=RttAware(limit_ms=80.0, relax_ms_per_s=0.0))
    clients = Clients(room, near(c1c2=200.0, c1c3=10.0, c1c4=10.0, c2c3=10.0, c2c4=10.0, c3c4=10.0))
    clients.play(come(room, "c1", "c2"), now=0.0)
    assert clients.started == []  # too few for a match: nothing to find out
    said = clients.play(come(room, "c3", "c4"), now=0.0)
    for second in range(1, 6):
        said = clients.play(room.tick(float(second)), now=float(second))
    assert proposed(said) == {"c1", "c3", "c4"}
    assert len(clients.started) == len(set(clients.started)) <= 6


def test_probing_can_be_switched_off() -> None:
    room = make_room(matcher=choose_matcher("rtt:limit=80,probe=no", lambda name: lambda *_: None))
    for client in ("c1", "c2"):
        room.arrive(client, now=0.0)
    effects = come_measured(room, {"c1": 20.0, "c2": 30.0})
    assert proposed(effects) == {"c1", "c2"}
    assert not any(isinstance(each, Send) and isinstance(each.message, ProbeStart) for each in effects)


def come_measured(room: Room, rtts: Mapping[str, float]) -> list[Effect]:
    """Let clients join that are connected already, and measure the way to the server."""
    effects: list[Effect] = []
    for client, rtt_ms in rtts.items():
        effects += room.join(client, Join(), now=0.0)
        room.measured(client, rtt_ms)
    return [*effects, *room.tick(1.0)]


def test_whoever_goes_or_is_proposed_is_out_of_its_probes() -> None:
    room = make_room(matcher=RttAware())
    effects = come(room, "c1", "c2", "c3")
    assert room.row(now=0.0, epoch=0.0).probes[0].state == "asked"
    effects = room.depart("c1", "left", now=1.0)
    assert [type(each) for each in sent(effects, "c2") if isinstance(each, ProbeCancel | ProbeStart)] == [
        ProbeCancel, ProbeStart,
    ]  # fmt: skip
    rows = room.row(now=1.0, epoch=0.0).probes
    assert [(row.a, row.b) for row in rows] == [("c2", "c3")]
    effects = room.depart("c2", "disconnected", now=2.0)  # away: its place is kept, but it cannot be probed
    assert [type(each) for each in sent(effects, "c3")].count(ProbeCancel) == 1
    assert [row.state for row in room.row(now=2.0, epoch=0.0).probes] == ["failed"]


def test_descriptions_of_a_probe_go_to_nobody_else() -> None:
    room = make_room(matcher=RttAware())
    come(room, "c1", "c2", "c3")
    room.arrive("c4", now=0.0)
    signal = ProbeSignal(probe_id="probe-1", description=Description(type="offer", sdp="mine"))
    for stranger in ("c3", "c4"):
        with pytest.raises(SignalingError) as refused:
            room.probe_signal(stranger, signal, now=0.0)
        assert refused.value.code == "no-probe"
        with pytest.raises(SignalingError):
            room.probe_result(stranger, ProbeResult(probe_id="probe-1", failure="left"), now=0.0)
    effects = room.probe_signal("c1", signal, now=0.0)
    assert [each.client for each in effects if isinstance(each, Send)] == ["c2"]


def test_a_researcher_measures_the_whole_room() -> None:
    room = make_room(2, confirms=True)
    players = come(room, "c1", "c2")
    assert any(isinstance(each, Matched) for each in sent(players, "c1"))
    come(room, "c3")
    room.arrive("c4", now=0.0)
    with pytest.raises(SignalingError) as refused:
        room.act(ProbeRoom(), by="Ada", now=0.0)
    assert refused.value.code == "wrong-state"
    room = make_room(5)
    clients = Clients(room, near(c1c2=10.0, c1c3=20.0, c1c4="no-path", c2c3=30.0, c2c4=40.0, c3c4=50.0))
    come(room, "c1", "c2", "c3", "c4")
    action, effects = room.act(ProbeRoom(), by="Ada", now=0.0)
    assert len([row for row in room.row(now=0.0, epoch=0.0).probes if row.state in {"asked", "queued"}]) == 6
    clients.play(effects, now=0.0)
    row = room.row(now=5.0, epoch=1005.0)
    assert {(each.a, each.b): each.rtt_ms for each in row.probes} == {
        ("c1", "c2"): 10.0, ("c1", "c3"): 20.0, ("c1", "c4"): None,
        ("c2", "c3"): 30.0, ("c2", "c4"): 40.0, ("c3", "c4"): 50.0,
    }  # fmt: skip
    assert [each.state for each in row.actions if each.id == action] == ["done"]
    assert row.actions[-1].detail == "6 pairs."


def test_the_next_ones_of_the_queue_are_measured_first() -> None:
    people = [Candidate(f"c{number}") for number in range(7)]
    seen: set[frozenset[str]] = set()

    def is_wanted(a: Candidate, b: Candidate) -> bool:
        return frozenset({a.id, b.id}) not in seen

    first = nearest_pairs(people, is_wanted, most=2)
    assert first == (("c0", "c1"), ("c2", "c3"))
    rounds = 0
    while pairs := nearest_pairs(people, is_wanted):
        members = [member for pair in pairs for member in pair]
        assert len(members) == len(set(members))
        seen |= {frozenset(pair) for pair in pairs}
        rounds += 1
    assert len(seen) == 21
    assert rounds <= 21


@pytest.mark.parametrize("text", ["rtt:probe=maybe", "rtt:probe", "rtt:limit=80,probe=1"])
def test_what_probe_takes_is_said(text: str) -> None:
    with pytest.raises(ConfigurationError, match="probe=yes"):
        choose_matcher(text, lambda name: lambda *_: None)


def test_without_a_way_to_measure_nothing_is_waited_for() -> None:
    people = [Candidate("a", rtt_ms=10.0), Candidate("b", rtt_ms=20.0)]
    found = RttAware().propose(people, Context(seats=2), 0.0)
    assert [each.members for each in found.proposals] == [("a", "b")]
    assert found.to_measure == ()


def test_a_client_that_never_answers_is_not_waited_for() -> None:
    room = make_room(matcher=RttAware())
    come(room, "c1", "c2")
    effects = room.tick(4.9)
    assert not any(isinstance(each, ProbeCancel) for each in sent(effects, "c1"))
    effects = room.tick(5.1)
    assert [type(each) for client in ("c1", "c2") for each in sent(effects, client)] == [ProbeCancel, ProbeCancel]
    assert "took too long" in decisions([*effects, *room.tick(5.2)], "round")[-1]["rejected"][0]["why"]
