"""The oracle and the campaign see every kind of fault: each is put into the engine on purpose."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from p2pclient.match.episode import EpisodePlay
from p2pclient.match.match import Match
from p2pclient.protocol.endpoint import Endpoint
from p2pclient.recorder.records import FrameRecorded
from p2pclient.rollback.chain import ChecksumChain
from p2pclient.rollback.session import RollbackSession
from p2pclient.sim.campaign import Campaign, quantile, run_all, run_scenario, summarize
from p2pclient.sim.faults import plan_faults
from p2pclient.sim.profiles import PROFILES
from p2pclient.sim.results import MatchResult
from p2pclient.sim.scenario import Fault, Scenario
from p2pclient.sim.shrink import shrink

BASE = Scenario(seed=3, seconds=5.0, link=PROFILES["wifi"], network="wifi")


def run_with(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, replacement: Any, **settings: Any) -> MatchResult:
    monkeypatch.setattr(owner, name, replacement)
    return run_scenario(dataclasses.replace(BASE, **settings))


def test_without_a_fault_nothing_is_found() -> None:
    result = run_scenario(BASE)
    assert result.is_right
    assert result.confirmed_frames == 300


@pytest.mark.parametrize("field", ["inputs", "rewards", "checksum", "frame"])
def test_a_recorded_field_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    wrong = {"inputs": (b"\0\1", b"\0\1"), "rewards": (9.0, 9.0), "checksum": b"12345678", "frame": 99}[field]
    record = EpisodePlay._record

    def spoil(self: EpisodePlay, frame: int, result: Any) -> FrameRecorded:
        row = record(self, frame, result)
        return msgspec.structs.replace(row, **{field: wrong}) if frame == 150 else row

    result = run_with(monkeypatch, EpisodePlay, "_record", spoil)
    assert result.wrong_frames >= 2
    assert "frame 150 " in result.problems[0] or "frame 99 " in result.problems[0]


def test_inputs_that_both_sides_take_for_the_wrong_frame_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides agree here: only the truth is another."""
    sample = RollbackSession.add_local_input

    def mix_up(self: RollbackSession, seat: int, value: bytes) -> int:
        return sample(self, seat, value[:1] + b"\3" if self.current_frame == 100 else value)

    result = run_with(monkeypatch, RollbackSession, "add_local_input", mix_up)
    assert result.wrong_frames >= 300
    assert result.ends == {"finished": 2}
    assert "pressed were" in result.problems[0]


def test_a_desync_that_nobody_notices_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = (Fault("corrupt-step", peer=1, amount=100),)
    result = run_with(monkeypatch, ChecksumChain, "_compare", lambda *_: [], faults=faults)
    assert (result.seeded_desyncs, result.missed_desyncs, result.wrong_frames) == (1, 1, 0)


def test_frames_that_are_verified_without_being_equal_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    hasty = property(lambda self: self.frame, lambda self, value: None)
    monkeypatch.setattr(ChecksumChain, "verified_frame", hasty, raising=False)
    faults = (Fault("corrupt-step", peer=1, amount=100),)
    result = run_with(monkeypatch, ChecksumChain, "_compare", lambda *_: [], faults=faults)
    assert result.missed_desyncs == 1
    assert "wrong frames are verified" in result.problems[-1]


def test_a_desync_that_is_none_is_false(monkeypatch: pytest.MonkeyPatch) -> None:
    receive = ChecksumChain.receive

    def lie(self: ChecksumChain, peer: int, frame: int, value: bytes, **more: Any) -> Any:
        return receive(self, peer, frame, b"12345678" if frame > 200 else value, **more)

    result = run_with(monkeypatch, ChecksumChain, "receive", lie)
    assert (result.false_desyncs, result.seeded_desyncs, result.wrong_frames) == (1, 0, 0)


def test_frames_that_nobody_verifies_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_with(monkeypatch, ChecksumChain, "_compare", lambda *_: [])
    assert result.unverified_frames > 0
    assert result.bad_ends == 1


def test_a_side_that_takes_nothing_any_more_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    receive, taken = Endpoint.receive_datagram, [0]

    def go_deaf(self: Endpoint, data: bytes, *, now: float) -> None:
        taken[0] += 1
        receive(self, data if taken[0] < 100 else b"", now=now)
        self._heard(now)

    result = run_with(monkeypatch, Endpoint, "receive_datagram", go_deaf, drop_after=2.0)
    assert result.hangs == 1
    assert "nothing moves" in result.problems[-1]


def test_an_end_that_nothing_explains_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    tick = Match.tick

    def give_up(self: Match, *, now: float, owed: int = 1) -> Any:
        return self.leave(now=now) if self.counters.frames == 100 else tick(self, now=now, owed=owed)

    result = run_with(monkeypatch, Match, "tick", give_up)
    assert result.bad_ends == 1
    assert "nothing explains" in result.problems[0]


def test_an_exception_of_the_engine_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Match) -> float:
        raise ZeroDivisionError("made up")

    result = run_with(monkeypatch, Match, "frame_duration", fail)
    assert result.errors == 1
    assert "ZeroDivisionError: made up" in result.problems[0]
    assert not summarize([result], wall_seconds=1.0)["ok"]


# -- campaigns --------------------------------------------------------------------------------------------------


def test_fault_plans_come_from_the_seed_and_are_all_different() -> None:
    plans = [plan_faults(dataclasses.replace(BASE, seed=seed, seconds=30.0)) for seed in range(200)]
    assert plans == [plan_faults(dataclasses.replace(BASE, seed=seed, seconds=30.0)) for seed in range(200)]
    kinds = {fault.kind for plan in plans for fault in plan.faults}
    assert kinds >= {"outage", "hold", "loss", "delay", "pause", "slow", "leave", "crash", "corrupt-step"}
    assert len({plan.faults for plan in plans}) > 150
    assert max(fault.seconds for plan in plans for fault in plan.faults) < BASE.drop_after / 2


def test_kinds_of_matches_are_drawn_too() -> None:
    base = dataclasses.replace(BASE, players=4, seconds=30.0)
    plans = [plan_faults(dataclasses.replace(base, seed=seed)) for seed in range(300)]
    assert 10 < sum(plan.window == 0 for plan in plans) < 60
    assert 15 < sum(plan.seats_per_peer == 2 for plan in plans) < 80
    assert 15 < sum(plan.plan.get("prediction") == ("held",) for plan in plans) < 80
    assert 100 < sum(plan.plan.get("on_drop") == "go-on" for plan in plans) < 200
    losses = [sum(fault.kind in ("leave", "crash") for fault in plan.faults) for plan in plans]
    assert set(losses) == {0, 1, 2}
    going_on = [plan.plan.get("on_drop", "end") != "end" for plan in plans]
    assert all(each for each, count in zip(going_on, losses, strict=True) if count == 2)
    assert 20 < sum("bot:sim" in plan.plan.get("on_drop", "") for plan in plans) < 120


def test_matches_that_go_on_without_a_peer_are_held_against_the_truth() -> None:
    base = dataclasses.replace(BASE, seed=1, seconds=4.0, plan={"on_drop": "go-on"})
    results = run_all(Campaign(base, matches=24, players=(3, 4, 5), with_faults=True).scenarios())
    assert [problem for result in results for problem in result.problems] == []
    assert sum(result.survived_losses for result in results) >= 3
    assert sum(result.ends.get("finished", 0) for result in results) > 36


def test_survivors_with_two_histories_of_a_lost_peer_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    crash = Fault("crash", at=1.0, peer=2, amount=0.5)
    scenario = dataclasses.replace(BASE, players=3, seconds=3.0, faults=(crash,), plan={"on_drop": "go-on"})
    assert run_scenario(scenario).survived_losses == 1
    fill = EpisodePlay.disconnect

    def invent(self: EpisodePlay, peer: int, seats: Any, *, after: int, inputs: Any) -> None:
        fill(self, peer, seats, after=after - 3 * (self._plan.own_id == 0), inputs=inputs)

    monkeypatch.setattr(EpisodePlay, "disconnect", invent)
    result = run_scenario(scenario)
    assert not result.is_right


def test_a_campaign_with_faults_is_right_and_holds_everything_it_has_to() -> None:
    campaign = Campaign(
        dataclasses.replace(BASE, seed=20, seconds=4.0),
        matches=20,
        profiles=("lan", "wifi", "mobile"),
        players=(2, 3),
        with_faults=True,
    )
    results = run_all(campaign.scenarios())
    summary = summarize(results, wall_seconds=2.0, cpu_seconds=1.0)
    assert [problem for result in results for problem in result.problems] == []
    assert summary["ok"]
    assert summary["matches"] == 20
    assert summary["confirmed_frames"] > 2000
    assert summary["seeded_desyncs"] >= 2
    assert set(summary["networks"]) == {"lan", "wifi", "mobile"}
    assert len(summary["peers"]) == 3
    for key in ("wrong_frames", "false_desyncs", "missed_desyncs", "hangs", "skipped_frames"):
        assert summary[key] == 0, key
    assert summary["rollbacks"] > 100
    assert summary["speed_x_realtime"] == pytest.approx(summary["virtual_seconds"] / 2, rel=0.01)
    assert {"resimulated_per_100", "bytes_per_s", "messages_per_s", "rate_error"} <= set(summary["peers"][0])


def test_shrinking_leaves_only_what_the_failure_needs() -> None:
    culprit = Fault("hold", at=1.0, seconds=1.0)
    others = tuple(Fault("pause", at=n, seconds=0.1) for n in range(5))
    start = dataclasses.replace(
        BASE, seconds=64.0, players=4, skew_ppm=1000, input_bytes=4, faults=(*others, culprit, *others)
    )
    small = shrink(start, lambda s: culprit in s.faults and s.link.loss > 0 and s.seconds >= 3)
    assert small.faults == (culprit,)
    assert (small.players, small.skew_ppm, small.input_bytes) == (2, 0.0, 1)
    assert 3 <= small.seconds < 5
    assert (small.link.loss, small.link.delay_ms, small.link.jitter_ms) == (0.01, 0, 0)


def test_shrinking_gives_up_after_its_runs() -> None:
    runs = []
    shrink(BASE, lambda s: bool(runs.append(s)), most_runs=3)
    assert len(runs) == 3


def test_quantiles_of_counts() -> None:
    from collections import Counter

    assert quantile(Counter(), 0.5) == 0
    assert quantile(Counter({1: 98, 5: 1, 7: 1}), 0.5) == 1
    assert quantile(Counter({1: 98, 5: 1, 7: 1}), 0.99) == 5
    assert quantile(Counter({1: 98, 5: 1, 7: 1}), 1.0) == 7
