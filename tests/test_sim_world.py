"""Whole matches in the simulator: never wrong, fair, and repeatable to the byte."""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import median
from typing import Any

import pytest

from p2pclient.sim.campaign import figures, run_scenario
from p2pclient.sim.faults import plan_faults
from p2pclient.sim.network import LinkSpec
from p2pclient.sim.profiles import PROFILES
from p2pclient.sim.results import MatchResult
from p2pclient.sim.scenario import HOST_FAULTS, Fault, Scenario
from p2pclient.sim.world import World

WIFI = PROFILES["wifi"]
PLAIN = LinkSpec(delay_ms=40)


def simulate(**settings: Any) -> MatchResult:
    """Run a scenario in which nothing may be wrong."""
    result = run_scenario(Scenario(**{"seconds": 6.0, "link": PLAIN, **settings}))
    assert result.problems == []
    return result


def total(result: MatchResult, name: str) -> int:
    return sum(peer[name] for peer in result.peers)


def resimulated_apart(result: MatchResult) -> float:
    shares = [peer["resimulated_per_100"] for peer in figures([result])]
    return max(shares) - min(shares)


@pytest.mark.parametrize("network", PROFILES)
@pytest.mark.parametrize("players", [2, 3])
def test_every_network_is_right_and_puts_prediction_to_the_test(network: str, players: int) -> None:
    result = simulate(link=PROFILES[network], players=players, seconds=5.0)
    assert result.confirmed_frames == 300
    assert result.ends == {"finished": players}
    assert total(result, "rollbacks") > 30
    assert max(max(peer["depths"]) for peer in result.peers) <= 8
    assert total(result, "skipped_frames") == 0


def test_the_same_scenario_gives_the_same_trace_and_another_seed_another() -> None:
    faults = (Fault("pause", at=2, seconds=0.3), Fault("outage", at=3, seconds=0.5))
    one, again, other = (simulate(link=WIFI, seed=seed, faults=faults) for seed in (1, 1, 2))
    assert one == again
    assert len({one.trace_hash, other.trace_hash}) == 2


@pytest.mark.parametrize("seed", range(4))
def test_connections_that_are_replaced_lose_nothing(seed: int) -> None:
    """Episodes of a second: at most moments some control message is under way, which the old connection swallows."""
    draw = random.Random(seed)
    faults = tuple(
        Fault(
            "reconnect", at=draw.uniform(0, 8), seconds=draw.choice((0.0, 0.1, 1.0)), peer=draw.randrange(3), other=-1
        )
        for _ in range(12)
    )
    result = simulate(players=3, seconds=8.0, seed=seed, episode_frames=60, faults=faults)
    assert result.ends == {"finished": 3}
    assert result.confirmed_frames == 480


@pytest.mark.parametrize("players", [5, 8])
def test_many_peers_in_a_full_mesh(players: int) -> None:
    result = simulate(players=players, seconds=2.0, link=WIFI, input_delays=(0, 2, 1))
    assert result.confirmed_frames == 120
    assert total(result, "rollbacks") > 20
    assert result.largest_datagram <= 1160


def test_several_seats_of_one_peer() -> None:
    result = simulate(seats_per_peer=3, link=WIFI, input_bytes=4)
    assert result.confirmed_frames == 360
    assert total(result, "rollbacks") > 20


def test_keys_that_act_once_are_predicted_as_not_pressed() -> None:
    assert total(simulate(press=True, link=WIFI, hold_frames=1), "rollbacks") > 20


def test_episodes_that_end_by_event_under_prediction_end_on_the_right_frame() -> None:
    for seed in range(3):
        result = simulate(seed=seed, ends_when=40, seconds=10.0, link=LinkSpec(delay_ms=90, jitter_ms=30, loss=0.05))
        assert result.confirmed_frames == 600
        assert total(result, "rollbacks") > 50


def test_an_input_delay_that_covers_the_route_leaves_nothing_to_predict() -> None:
    result = simulate(input_delays=(5,))
    frames = total(result, "frames")
    assert total(result, "resimulated") < frames / 20


# -- what goes wrong on purpose ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.3, 0.5, 2.0, 5.0])
def test_after_an_outage_play_goes_on_within_a_second(seconds: float) -> None:
    result = simulate(faults=(Fault("outage", at=2.0, seconds=seconds),))
    assert result.confirmed_frames == 360
    assert len(result.recoveries) == 1
    assert result.recoveries[0] <= 1.0
    assert total(result, "stalls") > 0


@pytest.mark.parametrize("kind", ["hold", "pause"])
def test_what_is_held_or_stands_still_goes_on(kind: str) -> None:
    result = simulate(faults=(Fault(kind, at=2.0, seconds=3.0, peer=1),))
    assert result.confirmed_frames == 360
    assert result.recoveries[0] <= 1.0


def test_bursts_duplicates_and_reordering() -> None:
    link = LinkSpec(delay_ms=40, jitter_ms=10, loss=0.2, burst=20, duplicate=0.2, reorder=0.2)
    result = simulate(link=link, seconds=10.0)
    assert result.confirmed_frames == 600
    assert total(result, "rollbacks") > 50


def test_a_rate_that_is_too_small_for_the_match() -> None:
    assert simulate(link=LinkSpec(delay_ms=20, bytes_per_s=5000)).confirmed_frames == 360


@pytest.mark.parametrize("players", [2, 3])
def test_who_leaves_ends_the_match_for_all_and_all_data_is_right(players: int) -> None:
    result = simulate(players=players, faults=(Fault("leave", at=3.0, peer=1),))
    assert result.ends.pop("left") == 1
    assert sum(result.ends.values()) == players - 1
    assert 100 < result.confirmed_frames < 200 or result.ends == {"finished": players - 1}


@pytest.mark.parametrize("told", [0.0, 0.5])
def test_who_crashes_is_waited_for_no_longer_than_needed(told: float) -> None:
    result = simulate(drop_after=3.0, faults=(Fault("crash", at=3.0, amount=told),))
    assert result.ends == {"crashed": 1, "partner-gone": 1}
    assert result.confirmed_frames > 150
    assert result.seconds < 3.0 + (1.5 if told else 4.5)


@pytest.mark.parametrize("kind", ["corrupt-step", "corrupt-load"])
@pytest.mark.parametrize("players", [2, 3])
def test_a_state_that_goes_wrong_is_found_by_all_and_named(kind: str, players: int) -> None:
    result = simulate(link=WIFI, players=players, faults=(Fault(kind, peer=1, amount=130),))
    assert result.seeded_desyncs == 1
    assert result.ends == {"desync": players}
    assert 125 < result.confirmed_frames < 200


@pytest.mark.parametrize(("kind", "end"), [("corrupt-once", "finished"), ("corrupt-step", "desync")])
@pytest.mark.parametrize("players", [2, 3])
def test_a_desync_is_resolved_by_simulating_again_if_all_agree_then(kind: str, end: str, players: int) -> None:
    faults = (Fault(kind, peer=1, amount=130),)
    result = simulate(link=WIFI, players=players, faults=faults, plan={"on_desync": "resimulate"})
    assert result.ends == {end: players}
    assert result.seeded_desyncs == 1
    assert result.resolved_desyncs == (end == "finished")
    assert (result.confirmed_frames == 360) == (end == "finished")


def test_steps_that_cost_too_much_for_the_frame_lose_nothing() -> None:
    result = simulate(faults=(Fault("slow", at=1.0, seconds=2.0, amount=40),))
    assert result.confirmed_frames == 360
    assert total(result, "overruns") > 10


# -- fairness: 60 Hz, window 8, no input delay, 40 ms one way ----------------------------------------------------


def test_clocks_that_differ_by_1000_ppm_cost_no_frame_and_no_stall() -> None:
    result = simulate(skew_ppm=1000, seconds=60.0)
    assert total(result, "skipped_frames") == total(result, "stalls") == 0
    settled = replace(result, peers=_without_first_seconds(skew_ppm=1000, seconds=60.0))
    assert resimulated_apart(settled) < 2.0
    assert all(abs(peer["rate_error"]) < 0.0015 for peer in figures([result]))


def _without_first_seconds(*, seconds: float, **settings: Any) -> list[dict[str, Any]]:
    """Figures of a run without those of its beginning, when the peers are still apart."""
    begin, whole = (simulate(seconds=s, **settings).peers for s in (5.0, seconds))
    names = ("frames", "resimulated")
    return [{**w, **{n: w[n] - b[n] for n in names}} for w, b in zip(whole, begin, strict=True)]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_start_4_frames_apart_is_made_good_in_5_seconds(seed: int) -> None:
    apart = simulate(seed=seed, start_offset_frames=4, seconds=9.0).apart_after_5_s
    assert apart is not None
    assert apart < 0.5


@pytest.mark.parametrize("peer", [0, 1])
def test_a_hitch_of_400_ms_is_made_good_in_2_seconds(peer: int) -> None:
    result = simulate(seconds=12.0, faults=(Fault("pause", at=6.0, seconds=0.4, peer=peer),))
    assert result.apart_after_hitch is not None
    assert result.apart_after_hitch < 1.0
    assert total(result, "fast_forwarded") > 3


@pytest.mark.parametrize(("there", "back"), [(10, 100), (100, 10)])
def test_routes_that_differ_share_the_work_all_the_same(there: float, back: float) -> None:
    link, other = LinkSpec(delay_ms=there), LinkSpec(delay_ms=back)
    results = [simulate(link=link, back=other, seconds=30.0, seed=seed) for seed in (1, 2, 3)]
    assert median(resimulated_apart(result) for result in results) < 3.0  # who begins first is left to chance
    assert sum(total(result, "stalls") for result in results) == 0


@pytest.mark.parametrize("ppm", [10_000, 50_000])
def test_clocks_that_differ_by_percents_stay_within_the_window(ppm: float) -> None:
    result = simulate(skew_ppm=ppm, seconds=30.0)
    assert result.confirmed_frames == 1800
    assert max(max(peer["depths"]) for peer in result.peers) <= 8
    assert total(result, "stalls") == total(result, "skipped_frames") == 0
    assert result.apart_after_5_s is not None
    assert result.apart_after_5_s < 4.0


@pytest.mark.parametrize("players", [2, 3, 5])
@pytest.mark.parametrize("kind", HOST_FAULTS)
def test_environments_that_fail_cost_no_frame(kind: str, players: int) -> None:
    faults = tuple(Fault(kind, at=2.0 + peer, seconds=0.5, peer=peer % players) for peer in range(2))
    for portable in (True, False):
        scenario = Scenario(seed=3, players=players, seconds=8, faults=faults, portable=portable, episode_frames=200)
        result = run_scenario(scenario)
        assert result.problems == []
        assert result.recovered_hosts == 2
        assert result.ends == {"finished": players}


def test_campaigns_with_faults_lose_environments_too() -> None:
    plans = [plan_faults(Scenario(seed=seed, seconds=5)) for seed in range(1, 61)]
    kinds = {fault.kind for plan in plans for fault in plan.faults}
    assert kinds >= set(HOST_FAULTS)
    assert {plan.portable for plan in plans} == {True, False}
    failing = [plan for plan in plans if any(fault.kind in HOST_FAULTS for fault in plan.faults)][:6]
    results = [run_scenario(plan) for plan in failing]
    assert [result.problems for result in results] == [[]] * 6
    assert sum(result.recovered_hosts for result in results) > 3


@pytest.mark.parametrize("other", [-1, 1])
@pytest.mark.parametrize("kind", ["dead-inputs", "dead-control"])
def test_no_episode_begins_over_a_lane_that_is_dead_for_a_while(kind: str, other: int) -> None:
    """The lane dies in mid-episode and is back in a later one's place: nothing is wrong, and nobody is lost."""
    fault = Fault(kind, at=2.5, seconds=5.0, peer=0, other=other)
    scenario = Scenario(seed=4, seconds=8.0, episode_frames=60, link=PLAIN, faults=(fault,))
    world = World(scenario)
    world.run()
    starts = [[start.episode for start in peer.recording.starts] for peer in world.peers]
    assert starts == [list(range(8))] * 2
    result = run_scenario(scenario)
    assert result.problems == []
    assert result.ends == {"finished": 2}
    assert world.now > 11.0  # an episode waited for it


def test_campaigns_with_faults_have_dead_lanes_too() -> None:
    kinds = [{fault.kind for fault in plan_faults(Scenario(seed=seed, seconds=5)).faults} for seed in range(1, 41)]
    assert sum("dead-inputs" in each for each in kinds) > 2
    assert sum("dead-control" in each for each in kinds) > 2


def test_an_end_that_one_side_alone_sees_ends_the_match_and_is_not_waited_for() -> None:
    wrong = Fault("corrupt-load", peer=1, amount=14)
    result = simulate(
        seed=926,
        players=4,
        seconds=1.25,
        input_delays=(1, 4, 1, 4),
        link=WIFI,
        ends_when=60,
        press=True,
        plan={"prediction": ["held"], "on_drop": "go-on", "on_desync": "resimulate"},
        faults=(wrong, Fault("ask-pause", at=0.632, peer=3)),
    )
    assert result.ends == {"desync": 4}
    assert result.seeded_desyncs == 1
