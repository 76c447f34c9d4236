"""On the worst of the named networks, all sides have equal states, and so has a straight run of what was pressed."""

from __future__ import annotations

import pytest

from p2pclient.sim.campaign import run_scenario
from p2pclient.sim.profiles import PROFILES
from p2pclient.sim.scenario import Scenario


@pytest.mark.parametrize("players", [2, 3])
@pytest.mark.parametrize("seed", [42, 43])
def test_a_hundred_frames_on_a_terrible_network_leave_equal_states(seed: int, players: int) -> None:
    scenario = Scenario(seed=seed, players=players, seconds=100 / 60, network="terrible", link=PROFILES["terrible"])
    result = run_scenario(scenario)
    assert result.problems == []  # differing states, among others, each against the straight run
    assert result.ends == {"finished": players}
    assert result.confirmed_frames == 100
    assert (result.wrong_frames, result.unverified_frames, result.false_desyncs) == (0, 0, 0)
    assert min(peer["rollbacks"] for peer in result.peers) > 0
    assert max(max(peer["depths"]) for peer in result.peers) > 1


def test_other_seeds_are_other_matches() -> None:
    results = [
        run_scenario(Scenario(seed=seed, seconds=100 / 60, network="terrible", link=PROFILES["terrible"]))
        for seed in (42, 42, 43)
    ]
    assert results[0].trace_hash == results[1].trace_hash
    assert results[0].trace_hash != results[2].trace_hash
