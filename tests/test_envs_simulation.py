"""Frames, snapshots, totals and the end of an episode around any environment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs import registry
from envs.contract import Outcome
from envs.counter import CounterEnvironment
from envs.simulation import Simulation
from p2pclient.common.errors import EnvHostError, LocalMisuseError, RemoteProtocolError

LEFT, RIGHT, COLLECT = b"\x01", b"\x02", b"\x03"


def make(**args: Any) -> Simulation:
    simulation = Simulation(CounterEnvironment(args))
    simulation.reset(3)
    return simulation


def play(simulation: Simulation, frames: int) -> list[Any]:
    """Have every seat's own bot play."""
    seats = range(len(simulation.action_spaces))
    for seat in seats:
        simulation.add_bot(seat, "seeker", 1)
    return [simulation.step(simulation.frame, [simulation.decide(seat) for seat in seats]) for _ in range(frames)]


def test_a_step_gives_checksum_rewards_and_flags_by_seat() -> None:
    simulation = make()
    before = simulation.compute_hash()
    checksum, rewards, terminations, truncations, infos, ended, observations = simulation.step(0, [LEFT, RIGHT], True)
    assert checksum == simulation.compute_hash() != before
    assert len(checksum) == 8
    assert rewards == [0.0, 0.0]
    assert (terminations, truncations, ended) == ([False, False], [False, False], False)
    assert infos == [{"collected": 0}, {"collected": 0}]
    assert [seen.dtype for seen in observations] == [np.int32, np.int32]
    assert simulation.step(1, [LEFT, RIGHT])[6] is None


def test_totals_go_back_with_the_snapshot() -> None:
    simulation = make()
    play(simulation, 30)
    simulation.save(30)
    totals = simulation.totals
    play(simulation, 60)
    assert sum(simulation.totals) > sum(totals) > 0
    simulation.load(30)
    assert simulation.totals == totals
    assert simulation.render()["totals"] == totals
    assert simulation.render()["frame"] == simulation.frame == 30


def test_a_snapshot_never_changes_afterwards_not_even_in_an_environment_that_hands_out_its_own_parts() -> None:
    class Careless(CounterEnvironment):
        def get_state(self) -> dict[str, Any]:
            return {**super().get_state(), "places": self._places, "traces": self._traces}

        def set_state(self, state: Any) -> None:
            super().set_state(state)
            self._places, self._traces = state["places"], state["traces"]

    simulation = Simulation(Careless({}))
    simulation.reset(3)
    play(simulation, 5)
    simulation.save(5)
    expected = simulation.compute_hash()
    handed_out = simulation.get_state()
    first = play(simulation, 10)
    for _ in range(2):
        simulation.load(5)
        handed_out["data"]["environment"]["places"][0] = 15
        assert simulation.compute_hash() == expected
        assert play(simulation, 10) == first


def test_after_the_end_steps_count_frames_and_change_nothing() -> None:
    simulation = make(max_steps=6)
    results = play(simulation, 6)
    assert [result[5] for result in results] == [False] * 5 + [True]
    assert results[-1][3] == [True, True]
    totals, checksum = simulation.totals, simulation.compute_hash()
    after = simulation.step(6, [COLLECT, COLLECT], True)
    assert after[:6] == [checksum, [None] * 2, [None] * 2, [None] * 2, [None] * 2, True]
    assert (simulation.frame, simulation.totals, simulation.ended) == (7, totals, True)


def test_an_agent_that_leaves_early_is_absent_while_the_others_go_on() -> None:
    simulation = make(terminate_at=2, max_steps=400, seats=3)
    results = play(simulation, 300)
    leaves = [next(i for i, r in enumerate(results) if r[2][seat]) for seat in range(3)]
    first = min(leaves)
    seat = leaves.index(first)
    assert results[first + 1][1][seat] is None
    assert results[first + 1][4][seat] is None
    assert any(results[first + 1][1][other] is not None for other in range(3))
    assert results[max(leaves)][5]
    assert simulation.totals == [2.0, 2.0, 2.0]


def test_the_wrong_frame_the_wrong_count_and_unknown_snapshots_are_misuse() -> None:
    simulation = make()
    for wrong in (
        lambda: simulation.step(1, [LEFT, LEFT]),
        lambda: simulation.step(0, [LEFT]),
        lambda: simulation.save(1),
        lambda: simulation.load(0),
        lambda: simulation.decide(0),
        lambda: simulation.add_bot(2, "seeker", 0),
        lambda: simulation.add_bot(0, "nobody", 0),
    ):
        with pytest.raises(LocalMisuseError):
            wrong()
    assert simulation.step(0, [LEFT, LEFT])


def test_an_input_outside_of_the_space_is_refused_and_changes_nothing() -> None:
    simulation = make()
    before = simulation.compute_hash()
    for bad in (b"\x04", b"", b"\x01\x01"):
        with pytest.raises(RemoteProtocolError):
            simulation.step(0, [LEFT, bad])
    assert simulation.compute_hash() == before
    assert simulation.frame == 0


def test_after_an_exception_the_state_is_unknown_until_it_is_restored() -> None:
    simulation = make(fail_at_frame=2)
    simulation.save(0)
    start = simulation.get_state()
    for restore in (lambda: simulation.load(0), lambda: simulation.set_state(start), lambda: simulation.reset(3)):
        simulation.step(0, [LEFT, LEFT])
        simulation.step(1, [LEFT, LEFT])
        with pytest.raises(RuntimeError, match="fail_at_frame"):
            simulation.step(2, [LEFT, LEFT])
        for refused in (simulation.compute_hash, simulation.get_state, simulation.render, lambda: simulation.save(2)):
            with pytest.raises(LocalMisuseError, match="unknown"):
                refused()
        restore()
        assert simulation.frame == 0


def test_a_state_that_is_none_is_refused_and_leaves_the_state_unknown() -> None:
    simulation = make()
    good = simulation.get_state()
    other = make(seats=3).get_state()
    data = good["data"]
    for bad in (None, {}, {"frame": -1, "data": data}, {"frame": 0, "data": {**data, "totals": [0.0]}}, other):
        with pytest.raises(EnvHostError):
            simulation.set_state(bad)
        with pytest.raises(LocalMisuseError):
            simulation.compute_hash()
    assert simulation.set_state(good) == simulation.compute_hash()


def test_dropping_forgets_older_snapshots_only_and_reset_forgets_all() -> None:
    simulation = make()
    for frame in range(4):
        simulation.save(frame)
        simulation.step(frame, [LEFT, RIGHT])
    simulation.drop(2)
    with pytest.raises(LocalMisuseError, match=r"kept: \[2, 3\]"):
        simulation.load(1)
    simulation.load(2)
    simulation.reset(3)
    with pytest.raises(LocalMisuseError):
        simulation.load(2)


def test_seeding_changes_what_comes_next_and_nothing_before() -> None:
    one, other = make(), make()
    one.seed_rng(1)
    other.seed_rng(2)
    assert one.compute_hash() != other.compute_hash()
    other.seed_rng(1)
    assert one.compute_hash() == other.compute_hash()
    assert one.totals == [0.0, 0.0]


def test_seed_zero_is_a_seed() -> None:
    simulation = make()
    assert simulation.reset(0) == simulation.reset(0) != simulation.reset(1)


def test_bots_start_anew_with_each_episode_and_play_it_the_same_way_again() -> None:
    simulation = Simulation(registry.create("cogrid:Overcooked-CrampedRoom-V0"))
    simulation.add_bot(0, "random", 4)

    def episode(seed: int) -> list[bytes]:
        simulation.reset(seed)
        pressed = []
        for frame in range(12):
            pressed.append(simulation.decide(0))
            simulation.step(frame, [pressed[-1], b"\x06"])
        return pressed

    first = episode(7)
    assert episode(8) != first
    assert episode(7) == first


def test_outcomes_are_passed_on_as_the_environment_gave_them() -> None:
    class Numpy(CounterEnvironment):
        def step(self, actions: list[Any]) -> Outcome:
            return super().step(actions)._replace(rewards=[np.float32(0.5), np.float64(0.25)])

    simulation = Simulation(Numpy({}))
    simulation.reset(0)
    rewards = simulation.step(0, [LEFT, LEFT])[1]
    assert [type(reward) for reward in rewards] == [np.float32, np.float64]
    assert simulation.totals == [0.5, 0.25]


def test_the_checksum_of_a_given_state_is_told_without_going_there() -> None:
    simulation = make()
    play(simulation, 5)
    there, expected = simulation.get_state(), simulation.compute_hash()
    play(simulation, 5)
    here = simulation.compute_hash()
    assert simulation.compute_hash(there) == expected != here
    assert simulation.compute_hash() == here
    assert simulation.frame == 10
    with pytest.raises(EnvHostError, match="not a state"):
        simulation.compute_hash({"frame": 3})


def test_the_checksum_of_a_given_state_asks_an_environment_whose_checksum_covers_less_than_its_state() -> None:
    class Summed(CounterEnvironment):
        def fingerprint(self) -> Any:
            state = self.get_state()
            return {"treasure": state["treasure"], "length": len(state)}

    simulation = Simulation(Summed({}))
    simulation.reset(3)
    play(simulation, 40)
    there, expected = simulation.get_state(), simulation.compute_hash()
    play(simulation, 60)
    here = simulation.compute_hash()
    assert simulation.compute_hash(there) == expected != here == simulation.compute_hash()


def test_observations_can_be_had_after_going_back_before_anyone_decides() -> None:
    simulation = make()
    play(simulation, 5)
    simulation.save(5)
    before = simulation.observe()
    state = simulation.get_state()
    play(simulation, 5)
    assert any((a != b).any() for a, b in zip(before, simulation.observe(), strict=True))
    for go_back in (lambda: simulation.load(5), lambda: simulation.set_state(state)):
        go_back()
        assert all((a == b).all() for a, b in zip(before, simulation.observe(), strict=True))
        play(simulation, 3)


def test_what_set_state_did_not_restore_is_named_and_not_played_on() -> None:
    class Forgetful(CounterEnvironment):
        def set_state(self, state: Any) -> None:
            kept = self.get_state()
            super().set_state({**state, "treasure": kept["treasure"], "places": kept["places"]})

    simulation = Simulation(Forgetful({}))
    simulation.reset(3)
    state = simulation.get_state()
    play(simulation, 60)
    with pytest.raises(EnvHostError, match=r"did not restore everything: environment\..* is .*, not .*; environment\."):
        simulation.set_state(state)
    with pytest.raises(LocalMisuseError, match="unknown"):
        simulation.compute_hash()
