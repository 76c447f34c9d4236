"""The coordinator of probes: who is asked when, what is passed on, what is believed, and what is kept."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from p2pclient.common.errors import SignalingError
from p2pclient.common.lobby_messages import REFUSALS, Description, decode_server_event
from p2pclient.common.probe_messages import ProbeCancel, ProbeResult, ProbeSignal, ProbeStart
from signaling.effects import Effect, Noted, Send
from signaling.probe_records import Failed, Measured, ProbeRules, ProbeState
from signaling.probes import Probes

OFFER = Description(type="offer", sdp="the offer")
ANSWER = Description(type="answer", sdp="the answer")


def sent(effects: list[Effect]) -> list[tuple[str, object]]:
    return [(effect.client, effect.message) for effect in effects if isinstance(effect, Send)]


def started(effects: list[Effect]) -> list[tuple[str, str]]:
    """Pairs that were asked to probe each other by these effects."""
    return [
        (client, message.peer)
        for client, message in sent(effects)
        if isinstance(message, ProbeStart) and message.make_offer
    ]


def result(probe: str, rtt_ms: float = 40.0, *, jitter_ms: float = 1.0, loss: float = 0.0) -> ProbeResult:
    return ProbeResult(probe_id=probe, rtt_ms=rtt_ms, jitter_ms=jitter_ms, loss=loss, path="direct")


def connect(probes: Probes, a: str = "a", b: str = "b", *, now: float = 0.0) -> str:
    """Bring the probe of two to where both measure; gives its id."""
    probe = next(each for each in probes.running if set(each.pair) == {a, b})
    probes.signal(probe.offerer, ProbeSignal(probe_id=probe.id, description=OFFER), now=now)
    probes.signal(probe.answerer, ProbeSignal(probe_id=probe.id, description=ANSWER), now=now)
    return probe.id


def measure(probes: Probes, a: str, b: str, rtt_ms: float = 40.0, *, now: float = 0.0) -> None:
    """Bring the probe of two to its end."""
    probe = connect(probes, a, b, now=now)
    for member in (a, b):
        probes.result(member, result(probe, rtt_ms), now=now + 1)


def test_both_are_asked_and_one_of_them_offers() -> None:
    probes = Probes(ProbeRules(samples=20, interval_ms=10))
    effects = probes.want([("b", "a")], now=0.0)
    assert sent(effects) == [
        ("a", ProbeStart(probe_id="probe-1", peer="b", make_offer=True, samples=20, interval_ms=10)),
        ("b", ProbeStart(probe_id="probe-1", peer="a", make_offer=False, samples=20, interval_ms=10)),
    ]


def test_descriptions_pass_and_both_results_make_a_measurement() -> None:
    probes = Probes()
    probes.want([("a", "b")], now=0.0)
    offer, answer = (ProbeSignal(probe_id="probe-1", description=each) for each in (OFFER, ANSWER))
    assert sent(probes.signal("a", offer, now=1.0)) == [("b", offer)]
    assert sent(probes.signal("b", answer, now=2.0)) == [("a", answer)]
    assert probes.result("a", result("probe-1", 40.0, jitter_ms=3.0, loss=0.1), now=3.0) == []
    assert probes.rtt_of("a", "b", now=3.0) is None
    (noted,) = probes.result("b", result("probe-1", 44.0, loss=0.2), now=3.5)
    assert isinstance(noted, Noted)
    assert noted.facts["rtt_ms"] == 44.0
    assert probes.outcome_of("b", "a") == Measured(44.0, 3.0, 0.2, "direct", 3.5)
    assert probes.rtt_of("b", "a", now=4.0) == 44.0
    assert probes.running == ()


def test_a_measurement_counts_for_a_while_and_is_shown_for_longer() -> None:
    rules = ProbeRules(good_for_s=100.0, kept_s=500.0)
    probes = Probes(rules)
    probes.want([("a", "b")], now=0.0)
    measure(probes, "a", "b")
    assert probes.rtt_of("a", "b", now=100.9) == 40.0
    assert probes.rtts(["a", "b", "c"], now=100.9) == {frozenset("ab"): 40.0}
    assert probes.rtts(["a", "c"], now=100.9) == {}
    assert probes.want([("a", "b")], now=100.9) == []
    assert probes.rtt_of("a", "b", now=101.0) is None
    assert probes.rtts(["a", "b"], now=101.0) == {}
    assert probes.outcome_of("a", "b") is not None
    assert started(probes.want([("a", "b")], now=101.0)) == [("a", "b")]
    probes.interrupt("a", now=101.0)
    probes.tick(now=601.0)
    assert probes.known == set()


def test_a_pair_that_failed_is_left_alone_for_a_while() -> None:
    probes = Probes(ProbeRules(failed_for_s=20.0))
    probes.want([("a", "b")], now=0.0)
    effects = probes.result("b", ProbeResult(probe_id="probe-1", failure="no-path"), now=1.0)
    assert sent(effects) == [("a", ProbeCancel(probe_id="probe-1"))]
    assert probes.failures(["a", "b"], now=2.0) == {frozenset("ab"): "no-path"}
    assert probes.want([("a", "b")], now=20.9) == []
    assert started(probes.want([("a", "b")], now=21.0)) == [("a", "b")]


@pytest.mark.parametrize(
    ("said", "reason"), [("no-path", "no-path"), ("timeout", "timeout"), ("left", "left"), ("busy", "refused")]
)
def test_what_a_client_says_becomes_a_reason(said: str, reason: str) -> None:
    probes = Probes()
    probes.want([("a", "b")], now=0.0)
    probes.result("a", ProbeResult(probe_id="probe-1", failure=said), now=1.0)  # type: ignore[arg-type]
    assert probes.outcome_of("a", "b") == Failed(reason, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_every_state_times_out(steps: int) -> None:
    rules = ProbeRules(asked_s=5.0, connecting_s=6.0, measuring_s=7.0)
    probes = Probes(rules)
    probes.want([("a", "b")], now=0.0)
    if steps > 0:
        probes.signal("a", ProbeSignal(probe_id="probe-1", description=OFFER), now=0.0)
    if steps > 1:
        probes.signal("b", ProbeSignal(probe_id="probe-1", description=ANSWER), now=0.0)
    if steps > 2:
        probes.result("a", result("probe-1"), now=1.0)
    limit = (5.0, 6.0, 7.0, 7.0)[steps]
    assert probes.next_timer() == limit
    assert probes.tick(now=limit - 0.01) == []
    told = sent(probes.tick(now=limit))
    # Whoever has answered already has closed everything, and need not be told.
    assert {client for client, _ in told} == ({"b"} if steps > 2 else {"a", "b"})
    assert {type(message) for _, message in told} == {ProbeCancel}
    assert probes.outcome_of("a", "b") == Failed("timeout", limit)
    assert probes.next_timer() is None


def test_bounds_hold_and_others_wait_their_turn() -> None:
    probes = Probes(ProbeRules(at_once=2))
    effects = probes.want([("a", "b"), ("a", "c"), ("d", "e"), ("f", "g")], now=0.0)
    assert started(effects) == [("a", "b"), ("d", "e")]
    assert probes.waiting == 2
    probe = connect(probes)
    probes.result("a", result(probe), now=1.0)
    assert started(probes.result("b", result(probe), now=1.0)) == [("a", "c")]
    assert started(probes.result("d", ProbeResult(probe_id="probe-2", failure="busy"), now=1.0)) == [("f", "g")]


def test_nobody_can_make_the_queue_grow() -> None:
    probes = Probes(ProbeRules(at_once=1, queued=3))
    probes.want(combinations("abcdefgh", 2), now=0.0)
    assert probes.waiting == 2  # three were taken on, one of them runs
    for _ in range(3):
        probes.want(combinations("abcdefgh", 2), now=0.0)
        assert probes.waiting == 3


def test_two_in_one_pair_must_differ() -> None:
    with pytest.raises(ValueError, match="itself"):
        Probes().want([("a", "a")], now=0.0)


def test_only_the_two_of_a_probe_are_heard() -> None:
    probes = Probes()
    probes.want([("a", "b"), ("c", "d")], now=0.0)
    signal = ProbeSignal(probe_id="probe-1", description=OFFER)
    for stranger in ("c", "e"):
        for call in (
            lambda who=stranger: probes.signal(who, signal, now=0.0),
            lambda who=stranger: probes.result(who, result("probe-1"), now=5.0),
            lambda who=stranger: probes.result(who, ProbeResult(probe_id="probe-1", failure="left"), now=0.0),
        ):
            with pytest.raises(SignalingError) as refused:
                call()
            assert refused.value.code == "no-probe"
    assert len(probes.running) == 2
    assert {"no-probe", "probe-out-of-turn"} <= set(REFUSALS)


def test_descriptions_come_in_their_order_and_once() -> None:
    probes = Probes()
    probes.want([("a", "b")], now=0.0)
    offer, answer = (ProbeSignal(probe_id="probe-1", description=each) for each in (OFFER, ANSWER))

    def refused(member: str, message: ProbeSignal) -> None:
        with pytest.raises(SignalingError) as error:
            probes.signal(member, message, now=0.0)
        assert error.value.code == "probe-out-of-turn"

    for member, message in (("a", answer), ("b", answer), ("b", offer)):
        refused(member, message)
    probes.signal("a", offer, now=0.0)
    for member, message in (("a", offer), ("a", answer), ("b", offer)):
        refused(member, message)
    probes.signal("b", answer, now=0.0)
    for member, message in (("a", offer), ("b", answer)):
        refused(member, message)


def test_what_cannot_have_been_measured_yet_is_refused() -> None:
    rules = ProbeRules(samples=30, interval_ms=20)
    probes = Probes(rules)
    probes.want([("a", "b")], now=0.0)

    def refused(now: float) -> None:
        with pytest.raises(SignalingError) as error:
            probes.result("a", result("probe-1"), now=now)
        assert error.value.code == "probe-out-of-turn"

    refused(4.0)
    connect(probes, now=4.0)
    refused(4.0 + 0.28)
    assert probes.result("a", result("probe-1"), now=4.0 + 0.3) == []
    assert probes.running[0].state is ProbeState.MEASURING


def test_only_the_first_word_counts() -> None:
    probes = Probes()
    probes.want([("a", "b")], now=0.0)
    probe = connect(probes)
    for rtt_ms in (40.0, 1.0, 9000.0):
        assert probes.result("a", result(probe, rtt_ms), now=1.0) == []
    probes.result("b", result(probe, 41.0), now=1.0)
    assert probes.rtt_of("a", "b", now=1.0) == 41.0


@pytest.mark.parametrize(
    ("one", "other", "fits"), [(0.2, 20.0, True), (100.0, 190.0, True), (100.0, 210.0, False), (0.5, 26.0, False)]
)
def test_two_ends_of_one_network_agree(one: float, other: float, fits: bool) -> None:
    probes = Probes()
    probes.want([("a", "b")], now=0.0)
    probe = connect(probes)
    probes.result("a", result(probe, one), now=1.0)
    probes.result("b", result(probe, other), now=1.0)
    outcome = probes.outcome_of("a", "b")
    assert outcome == (Measured(other, 1.0, 0.0, "direct", 1.0) if fits else Failed("implausible", 1.0))


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [("direct", "direct", "direct"), ("relay", "direct", "relay"), ("", "loopback", "loopback"), ("", "", "")],
)
def test_a_path_is_as_bad_as_either_end_says(one: str, other: str, path: str) -> None:
    probes = Probes()
    probes.want([("a", "b")], now=0.0)
    probe = connect(probes)
    for member, said in (("a", one), ("b", other)):
        probes.result(member, replace(result(probe), path=said), now=1.0)
    outcome = probes.outcome_of("a", "b")
    assert isinstance(outcome, Measured)
    assert outcome.path == path


@pytest.mark.parametrize("has_answered", [False, True])
def test_whoever_goes_ends_its_probe_and_nothing_is_kept_of_it(has_answered: bool) -> None:
    probes = Probes()
    probes.want([("a", "c"), ("b", "c")], now=0.0)
    measure(probes, "a", "c")
    assert {each.pair for each in probes.running} == {("b", "c")}
    probes.want([("a", "b"), ("c", "d")], now=2.0)
    probe = connect(probes, "b", "c", now=2.0)
    if has_answered:
        probes.result("b", result(probe), now=3.0)
    effects = probes.forget("c", now=3.0)
    cancelled = [(client, type(message)) for client, message in sent(effects) if not isinstance(message, ProbeStart)]
    assert cancelled == ([] if has_answered else [("b", ProbeCancel)])
    assert started(effects) == [("a", "b")]
    assert probes.known == {"a", "b"}
    assert sent(probes.forget("c", now=3.0)) == []


def test_whoever_begins_to_play_is_left_alone_and_its_measurements_are_kept() -> None:
    probes = Probes()
    probes.want([("a", "b"), ("b", "c"), ("c", "d")], now=0.0)
    measure(probes, "a", "b")
    effects = probes.interrupt("c", now=2.0)
    assert ("d", ProbeCancel(probe_id="probe-2")) in sent(effects)
    assert probes.members == set()
    assert probes.outcome_of("c", "d") == Failed("left", 2.0)
    assert probes.rtt_of("a", "b", now=2.0) == 40.0


def test_a_whole_room_is_measured_anew_and_shows_how_far_it_is() -> None:
    probes = Probes(ProbeRules(at_once=2))
    probes.want([("a", "b")], now=0.0)
    measure(probes, "a", "b", 10.0)
    effects = probes.want_all("abcd", now=10.0)
    assert len(started(effects)) == 2
    seen = [probes.matrix("abcd", now=10.0)]
    assert (seen[0].done, seen[0].total) == (0, 6)
    assert Counter(cell.state for cell in seen[0].cells) == {ProbeState.ASKED: 2, ProbeState.QUEUED: 4}
    for step in range(6):
        probe = probes.running[0]
        measure(probes, *probe.pair, float(step), now=20.0 + step)
        seen.append(probes.matrix("abcd", now=30.0))
    assert [each.done for each in seen] == [0, 1, 2, 3, 4, 5, 6]
    cells = {cell.pair: cell for cell in seen[-1].cells}
    assert all(cell.state is ProbeState.DONE for cell in cells.values())
    assert sorted(cell.outcome.rtt_ms for cell in cells.values() if isinstance(cell.outcome, Measured)) == [
        0.0, 1.0, 2.0, 3.0, 4.0, 5.0,
    ]  # fmt: skip
    assert {cell.ago_s for cell in cells.values()} == {9.0, 8.0, 7.0, 6.0, 5.0, 4.0}
    assert probes.matrix("xy", now=30.0).cells[0].state is None


def test_the_console_is_shown_what_is_under_way_and_what_came_of_it() -> None:
    probes = Probes(ProbeRules(at_once=1))
    probes.want([("a", "b"), ("a", "c"), ("c", "d"), ("b", "d")], now=0.0)
    measure(probes, "a", "b")
    probes.result("c", ProbeResult(probe_id="probe-2", failure="busy"), now=5.0)
    rows = probes.rows(now=10.0, epoch=1010.0)
    assert [(row.a, row.b, row.state) for row in rows] == [
        ("c", "d", "asked"), ("b", "d", "queued"), ("a", "c", "failed"), ("a", "b", "done"),
    ]  # fmt: skip
    assert (rows[3].rtt_ms, rows[3].jitter_ms, rows[3].loss, rows[3].path, rows[3].at) == (40, 1, 0, "direct", 1001)
    assert (rows[2].reason, rows[2].at, rows[2].rtt_ms) == ("One of them was busy.", 1005, None)
    assert rows[0].at is None
    assert probes.rows(now=10.0, epoch=1010.0, most=2) == rows[:2]


def test_outcomes_are_bounded() -> None:
    probes = Probes(ProbeRules(kept=3))
    for number in range(6):
        probes.want([("a", f"b{number}")], now=float(number))
        probes.result("a", ProbeResult(probe_id=f"probe-{number + 1}", failure="busy"), now=float(number))
    assert probes.known == {"a", "b3", "b4", "b5"}


FIGURES = {"rtt_ms": 1.0, "jitter_ms": 0.0, "loss": 0.0}


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"rtt_ms": 1.0},
        {**FIGURES, "failure": "busy"},
        {**FIGURES, "rtt_ms": -1.0},
        {**FIGURES, "rtt_ms": 1e9},
        {**FIGURES, "loss": 1.5},
        {**FIGURES, "jitter_ms": "3"},
        {**FIGURES, "path": "carrier pigeon"},
        {"failure": "because"},
    ],
)
def test_a_result_that_makes_no_sense_is_not_read(said: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"event": "probe-result", "probe_id": "probe-1", **said}, ProbeResult)


@pytest.mark.parametrize(
    "asked",
    [{"samples": 4}, {"samples": 100_000}, {"interval_ms": 0}, {"connect_within_s": 1e6}, {"measure_within_s": 0.0}],
)
def test_a_client_cannot_be_asked_for_more_than_it_is_willing_to_do(asked: dict[str, object]) -> None:
    whole = {"event": "probe-start", "probe_id": "p", "peer": "b", "make_offer": True}
    assert isinstance(decode_server_event("probe-start", whole), ProbeStart)
    with pytest.raises(SignalingError):
        decode_server_event("probe-start", {**whole, **asked})


PEOPLE = st.sampled_from("abcdef")


class ProbesMachine(RuleBasedStateMachine):
    """Clients that answer, lie, are silent and go, in any order. What a client knows comes from what it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.bounds = ProbeRules(at_once=2, queued=8, good_for_s=30.0, failed_for_s=10.0, kept_s=60.0, kept=6)
        self.probes = Probes(self.bounds)
        self.now = 0.0
        self.here = set("abcdef")
        self.gone: set[str] = set()
        self.open: dict[str, str] = {}
        self.begun: set[str] = set()
        self.over: set[str] = set()

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Noted):
                assert effect.what == "probed"
                self.over.add(str(effect.facts["probe"]))
                continue
            assert isinstance(effect, Send)
            client, message = effect.client, effect.message
            assert client not in self.gone, "somebody who is gone was told something"
            if isinstance(message, ProbeStart):
                assert client not in self.open, "asked again before the last probe was over"
                assert message.peer not in self.gone
                self.open[client] = message.probe_id
                self.begun.add(message.probe_id)
            elif isinstance(message, ProbeCancel):
                assert self.open.pop(client) == message.probe_id
            else:
                assert isinstance(message, ProbeSignal)
                assert self.open[client] == message.probe_id

    def ask(self, call: object) -> bool:
        assert callable(call)
        try:
            self.carry_out(call())
        except SignalingError as error:
            if error.code not in {"no-probe", "probe-out-of-turn"}:
                raise
            return False
        return True

    @rule(pairs=st.lists(st.tuples(PEOPLE, PEOPLE).filter(lambda pair: pair[0] != pair[1]), max_size=5))
    def want(self, pairs: list[tuple[str, str]]) -> None:
        self.carry_out(self.probes.want([pair for pair in pairs if self.here.issuperset(pair)], now=self.now))

    @rule(ids=st.lists(PEOPLE, max_size=5))
    def want_all(self, ids: list[str]) -> None:
        self.carry_out(self.probes.want_all([each for each in ids if each in self.here], now=self.now))

    @precondition(lambda self: self.probes.running)
    @rule(
        data=st.data(), steps=st.integers(1, 4), one=st.sampled_from([20.0, 30.0]), other=st.sampled_from([20.0, 900.0])
    )
    def go_on(self, data: st.DataObject, steps: int, one: float, other: float) -> None:
        """The clients of a probe do what they should, one after the other, some or all of it."""
        probe = data.draw(st.sampled_from(self.probes.running))
        for _ in range(steps):
            if probe.state is ProbeState.MEASURING:
                self.now += 0.4
                for member, rtt_ms in ((probe.offerer, one), (probe.answerer, other)):
                    if member not in probe.reports:
                        del self.open[member]
                        said = result(probe.id, rtt_ms)
                        self.carry_out(self.probes.result(member, said, now=self.now))
                        break
            elif probe.state in (ProbeState.ASKED, ProbeState.CONNECTING):
                is_first = probe.state is ProbeState.ASKED
                member, kind = (probe.offerer, OFFER) if is_first else (probe.answerer, ANSWER)
                message = ProbeSignal(probe_id=probe.id, description=kind)
                self.carry_out(self.probes.signal(member, message, now=self.now))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), kind=st.sampled_from([OFFER, ANSWER]))
    def signal(self, data: st.DataObject, kind: Description) -> None:
        member = data.draw(st.sampled_from(sorted(self.open)))
        message = ProbeSignal(probe_id=self.open[member], description=kind)
        self.ask(lambda: self.probes.signal(member, message, now=self.now))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), rtt_ms=st.sampled_from([5.0, 20.0, 900.0]))
    def tell(self, data: st.DataObject, rtt_ms: float) -> None:
        member = data.draw(st.sampled_from(sorted(self.open)))
        probe = self.open.pop(member)  # an honest client closes before it tells
        if not self.ask(lambda: self.probes.result(member, result(probe, rtt_ms), now=self.now)):
            self.open[member] = probe

    @precondition(lambda self: self.open)
    @rule(data=st.data(), why=st.sampled_from(["no-path", "timeout", "left", "busy"]))
    def fail(self, data: st.DataObject, why: str) -> None:
        member = data.draw(st.sampled_from(sorted(self.open)))
        failed = ProbeResult(probe_id=self.open.pop(member), failure=why)  # type: ignore[arg-type]
        assert self.ask(lambda: self.probes.result(member, failed, now=self.now))

    @rule(member=PEOPLE, number=st.integers(1, 30), kind=st.sampled_from([OFFER, ANSWER]))
    def meddle(self, member: str, number: int, kind: Description) -> None:
        """Somebody names a probe that is not its own, or is over."""
        probe = f"probe-{number}"
        if self.open.get(member) == probe or any(
            each.id == probe and member in each.pair for each in self.probes.running
        ):
            return
        assert not self.ask(
            lambda: self.probes.signal(member, ProbeSignal(probe_id=probe, description=kind), now=self.now)
        )
        assert not self.ask(lambda: self.probes.result(member, result(probe), now=self.now))

    @rule(member=PEOPLE)
    def interrupt(self, member: str) -> None:
        if member in self.here:
            self.carry_out(self.probes.interrupt(member, now=self.now))
            assert member not in self.probes.members

    @rule(member=PEOPLE)
    def leave(self, member: str) -> None:
        if member in self.here and len(self.here) > 2:
            self.here.discard(member)
            self.gone.add(member)
            self.open.pop(member, None)
            self.carry_out(self.probes.forget(member, now=self.now))

    @rule(seconds=st.sampled_from([0.1, 0.5, 3.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.carry_out(self.probes.tick(now=self.now))

    @invariant()
    def nobody_is_in_two_probes(self) -> None:
        inside = [member for probe in self.probes.running for member in probe.pair]
        assert len(inside) == len(set(inside))
        assert len(self.probes.running) <= self.bounds.at_once
        assert self.probes.waiting <= self.bounds.queued
        assert set(self.open) <= set(inside)

    @invariant()
    def nothing_is_kept_of_who_is_gone(self) -> None:
        assert self.probes.known.isdisjoint(self.gone)

    def teardown(self) -> None:
        for _ in range(60):
            self.now += 10.0
            self.carry_out(self.probes.tick(now=self.now))
        assert self.probes.running == ()
        assert self.probes.waiting == 0
        assert self.open == {}
        assert self.begun == self.over, "a probe did not end"
        assert self.probes.known == set()


ProbesMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
TestProbesMachine = ProbesMachine.TestCase
