"""Snapshots by forking: what keeps the state of environments of which nothing else can."""

from __future__ import annotations

import gc
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from envhost_processes import wait_gone
from foreign_rig import Confetti, GlobalDice, ModuleCounter, Sparks, Stumbling, Trapped, Unseen, Walk

if not sys.platform.startswith("linux"):
    pytest.skip("snapshots by forking are for Linux so far", allow_module_level=True)

from envs.conformance import ConformanceError, check_going_back, check_repeating
from envs.contract import Environment
from envs.foreign_gym import GymnasiumEnvironment
from envs.keeping import ForkKeeper, Keeper, PickleKeeper
from envs.simulation import Simulation
from p2pclient.common.errors import EnvHostError
from p2pclient.envhost.host_batch import BatchRunner
from p2pclient.envhost.host_faults import Faults
from p2pclient.envhost.host_fork import ForkingRunner, WorkerGoneError
from p2pclient.envhost.host_fork_trial import ForkedSimulation
from p2pclient.envhost.host_fork_worker import MOST_SNAPSHOTS
from p2pclient.envhost.host_views import ViewWriter, rendering
from p2pclient.envhost.values import decode

_GENEROUS = 60.0
STAY, RIGHT = [b"\x01"], [b"\x02"]


def environment_of(kind: type[Walk], keeper: type[Keeper] = ForkKeeper) -> Environment:
    return GymnasiumEnvironment(kind(render_mode="rgb_array"), kind.__name__, keeper)


def with_faults(simulation: Any) -> BatchRunner:
    runner = BatchRunner(simulation)
    Faults(simulation, runner.acts)
    return runner


class Forked:
    """A runner of forks, with what its environment is known by."""

    def __init__(self, kind: type[Walk]) -> None:
        environment = environment_of(kind)
        self.runner = ForkingRunner(Simulation(environment), with_faults)
        self.simulation = ForkedSimulation(self.runner, environment.action_spaces)
        assert self.runner.wait_until_ready(_GENEROUS) == ""

    def ask(self, *commands: list[Any]) -> list[Any]:
        reply: list[Any] = decode(self.runner.run(5, commands, _GENEROUS))
        assert reply[0] == 5
        return reply

    def run(self, *commands: list[Any]) -> list[Any]:
        kind, results = self.ask(*commands)[1:3]
        assert kind == "result", results
        assert isinstance(results, list)
        return results

    def pids(self) -> list[int]:
        return list({*self.runner.waiting_pids().values(), self.runner.current_pid})


Start = Callable[[type[Walk]], Forked]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[Forked] = []

    def begin(kind: type[Walk]) -> Forked:
        running.append(Forked(kind))
        return running[-1]

    yield begin
    for each in running:
        pids = each.pids()
        each.runner.close()
        assert all(wait_gone(pid, 10.0) for pid in pids)


def ask_one_process(runner: BatchRunner, *commands: list[Any]) -> list[Any]:
    reply: list[Any] = decode(runner.run(5, list(commands)))
    return reply


def steps(begin: int, end: int, inputs: list[bytes] = RIGHT) -> list[list[Any]]:
    return [["step", frame, inputs, True] for frame in range(begin, end)]


# -- exactness ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Trapped, ModuleCounter, GlobalDice])
def test_what_no_copy_of_objects_holds_is_taken_back(kind: type[Walk], start: Start) -> None:
    for warmup in (0, 9, 57):
        check_going_back(start(kind).simulation, warmup, 3)


def test_every_episode_begins_in_a_process_in_which_nothing_was_played(start: Start) -> None:
    check_repeating(start(Trapped).simulation, 3)
    with pytest.raises(ConformanceError, match="goes differently"):
        check_repeating(Simulation(environment_of(Trapped)), 3)


def test_a_batch_gives_what_one_process_gives(start: Start) -> None:
    forked = start(Walk)
    runner = BatchRunner(Simulation(environment_of(Walk, PickleKeeper)))
    batches: list[list[list[Any]]] = [
        [["reset", 4], ["add_bot", 0, "random", 8], ["save", 0], ["decide", 0], *steps(0, 3), ["save", 3]],
        [*steps(3, 5), ["load", 3], *steps(3, 4, STAY), ["save", 4], *steps(4, 9), ["render"], ["drop", 2]],
        [["load", 4], ["compute_hash"], ["load", 3], *steps(3, 4), ["get_state"], ["reset", 5], *steps(0, 2)],
        [["seed_rng", 3], *steps(2, 4), ["save", 4], ["get_state_unless", b""]],
        [["load", 4], *steps(4, 60), ["save", 60], *steps(60, 62), ["load", 60], ["compute_hash"], ["render"]],
    ]
    for batch in batches:
        ours, theirs = forked.ask(*batch), ask_one_process(runner, *batch)
        assert ours[1] == theirs[1] == "result", ours[2]
        np.testing.assert_equal(ours[2], theirs[2])
        assert len(ours[3]) == len(batch)


def test_looking_changes_nothing(start: Start) -> None:
    forked = start(Sparks)
    before, view, again, after, straight = forked.run(
        ["reset", 1], ["render"], ["render"], ["compute_hash"], ["step", 0, RIGHT]
    )
    assert before == after
    assert view["pixels"].shape == (20, 40, 3)
    assert view["pixels"].max() == 255
    assert np.array_equal(view["pixels"], again["pixels"])
    assert forked.run(["reset", 1], ["step", 0, RIGHT])[1] == straight


def test_a_picture_is_the_same_in_whichever_process_it_is_drawn(start: Start) -> None:
    batch: list[list[Any]] = [
        ["reset", 1],
        ["save", 0],
        *steps(0, 1),
        ["render"],
        ["load", 0],
        *steps(0, 1),
        ["render"],
    ]
    views = [found["pixels"] for found in start(Confetti).run(*batch) if isinstance(found, dict)]
    runner = BatchRunner(Simulation(environment_of(Confetti)))
    straight = ask_one_process(runner, ["reset", 1], *steps(0, 1), ["render"])[2][-1]["pixels"]
    assert len(views) == 2
    assert all(np.array_equal(view, straight) for view in views)


def test_a_picture_reaches_the_memory_that_the_client_lends() -> None:
    memory = mmap.mmap(-1, 2 * 4096)

    def lending(simulation: Any) -> BatchRunner:
        runner = BatchRunner(simulation)
        runner.acts["render"] = rendering(simulation.render, ViewWriter(memory, 2, 4096))
        return runner

    runner = ForkingRunner(Simulation(environment_of(Trapped)), lending)
    try:
        assert runner.wait_until_ready(_GENEROUS) == ""
        lent, sent = decode(runner.run(1, [["reset", 1], ["render", 1], ["render"]], _GENEROUS))[2][1:]
    finally:
        runner.close()
    assert lent["pixels"] == {"slot": 1, "shape": [20, 40, 3]}
    there = np.frombuffer(memory, np.uint8)[4096 : 4096 + 2400].reshape(20, 40, 3)
    assert np.array_equal(there, sent["pixels"])
    assert there.max() == 255


def test_a_picture_that_cannot_be_drawn_is_told_and_the_game_goes_on(start: Start) -> None:
    forked = start(Unseen)
    reply = forked.ask(["reset", 1], ["save", 0], ["render"])
    assert (reply[1], reply[2]["command"], reply[2]["index"]) == ("error", "render", 2)
    assert "no brush" in reply[2]["message"]
    forked.run(["load", 0], *steps(0, 3))


# -- what concerns more than one process ------------------------------------------------------------------------------


def test_a_failed_step_says_where_and_going_back_works_afterwards(start: Start) -> None:
    forked = start(Stumbling)
    forked.run(["reset", 1], *steps(0, 2, STAY), ["save", 2], *steps(2, 3, STAY))
    reply = forked.ask(["load", 2], *steps(2, 4, STAY), ["save", 4], *steps(4, 5), ["compute_hash"])
    assert (reply[1], reply[2]["index"], reply[2]["command"]) == ("error", 4, "step")
    assert "stumbled" in reply[2]["traceback"]
    assert "the state is unknown since step failed" in forked.ask(["compute_hash"])[2]["message"]
    assert len(forked.run(["load", 4], *steps(4, 6, STAY))) == 3  # saved in the batch that failed later
    assert len(forked.run(["load", 2], *steps(2, 6, STAY))) == 5


def test_what_was_never_saved_or_is_dropped_cannot_be_loaded(start: Start) -> None:
    forked = start(Trapped)
    forked.run(["reset", 1], ["save", 0], *steps(0, 1), ["save", 1], ["drop", 1])
    for frame in (0, 7):
        reply = forked.ask(["load", frame])
        assert f"there is no snapshot of frame {frame}; kept: [1]" in reply[2]["message"]
    forked.run(["load", 1])
    forked.run(["reset", 2])
    assert "there is no snapshot of frame 1; kept: []" in forked.ask(["load", 1])[2]["message"]


def test_a_snapshot_that_is_dropped_or_replaced_is_a_process_less(start: Start) -> None:
    forked = start(Trapped)
    forked.run(["reset", 1], ["save", 0], *steps(0, 1), ["save", 1], *steps(1, 2), ["save", 2])
    old = forked.runner.waiting_pids()
    forked.run(["load", 1], *steps(1, 2, STAY), ["save", 2], ["drop", 1])
    new = forked.runner.waiting_pids()
    assert sorted(key for key in new if isinstance(key, int)) == [1, 2]
    assert all(wait_gone(old[frame], 10.0) for frame in (0, 2))
    forked.run(["reset", 1])
    assert all(wait_gone(new[frame], 10.0) for frame in (1, 2))
    assert list(forked.runner.waiting_pids()) == ["pristine"]


def test_there_are_never_more_processes_than_a_bound(start: Start) -> None:
    forked = start(Trapped)
    batch: list[list[Any]] = [["reset", 1]]
    for frame in range(MOST_SNAPSHOTS):
        batch += [["save", frame], *steps(frame, frame + 1, STAY)]
    forked.run(*batch)
    assert len(forked.runner.waiting_pids()) == MOST_SNAPSHOTS + 1
    reply = forked.ask(["save", MOST_SNAPSHOTS])
    assert f"{MOST_SNAPSHOTS} snapshots are kept, and each is a process" in reply[2]["message"]
    forked.run(["load", 3], ["drop", 3], *steps(3, MOST_SNAPSHOTS, STAY), ["save", MOST_SNAPSHOTS])


def test_going_back_again_and_again_keeps_no_files_open(start: Start) -> None:
    forked = start(Trapped)
    forked.run(["reset", 1], ["save", 0])
    seen = set()
    counts = []
    for _ in range(25):
        seen.add(forked.run(["load", 0], *steps(0, 1), ["save", 1], *steps(1, 2))[3][0])
        gc.collect()
        counts.append([len(os.listdir(f"/proc/{pid}/fd")) for pid in ("self", forked.runner.current_pid)])
    assert len(seen) == 1
    assert all(last <= early for last, early in zip(counts[-1], counts[2], strict=True))


def test_orders_that_are_newer_than_a_snapshot_hold_after_going_back_to_it(start: Start) -> None:
    forked = start(Trapped)
    forked.run(["reset", 1], ["save", 0], *steps(0, 1))
    forked.run(["add_bot", 0, "random", 8], ["add_predictor", 0, "random", 9], ["fault", {"kind": "raise", "frame": 2}])
    assert len(forked.run(["load", 0], ["decide", 0], ["step", 0, [b""], False, [b"\x01"]])[2]) == 8
    assert "a fault on purpose" in forked.ask(["load", 0], *steps(0, 3))[2]["message"]
    forked.run(["reset", 2], ["decide", 0])
    assert "a fault on purpose" in forked.ask(*steps(0, 3))[2]["message"]


def test_bots_go_on_deciding_though_the_state_goes_back(start: Start) -> None:
    forked = start(Walk)
    runner = BatchRunner(Simulation(environment_of(Walk, PickleKeeper)))
    batches: list[list[list[Any]]] = [[["reset", 1], ["add_bot", 0, "random", 8], ["save", 0], ["decide", 0]]]
    batches += [[["load", 0], *steps(0, 1), ["save", 1], ["decide", 0]], [["load", 1], *steps(1, 2), ["decide", 0]]] * 8
    ours = [forked.run(*batch)[-1] for batch in batches]
    assert ours == [ask_one_process(runner, *batch)[2][-1] for batch in batches]
    assert len(set(ours)) > 1


# -- the end --------------------------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_is_noticed_at_once(start: Start) -> None:
    forked = start(Trapped)
    forked.run(["reset", 1], ["save", 0])
    os.kill(forked.runner.current_pid, 9)
    assert wait_gone(forked.runner.current_pid, 10.0)
    with pytest.raises(WorkerGoneError, match="has ended"):
        forked.runner.check_alive()
    with pytest.raises(WorkerGoneError, match="has ended"):
        forked.ask(*steps(0, 1))


def test_closing_ends_what_is_stuck_in_an_extension(start: Start) -> None:
    forked = start(Trapped)
    forked.run(["reset", 1], ["save", 0], *steps(0, 1), ["save", 1], ["load", 0])
    pids = forked.pids()
    assert len(pids) == 4
    with pytest.raises(WorkerGoneError, match="did not answer within"):
        forked.runner.run(6, [["fault", {"kind": "hang", "seconds": 600, "hold_lock": True}]], 0.5)
    forked.runner.close()
    assert all(wait_gone(pid, 10.0) for pid in pids)


def test_a_simulation_of_forks_tells_what_failed(start: Start) -> None:
    simulation = start(Stumbling).simulation
    simulation.reset(1)
    with pytest.raises(EnvHostError, match=r"load failed: .*no snapshot of frame 3"):
        simulation.load(3)
