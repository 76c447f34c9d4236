"""What an environment looks at outside of itself is found, with the line, however it was imported."""

from __future__ import annotations

import gc
import random
import sys
import time
from pathlib import Path
from typing import Any

import foreign_rig
import gymnasium
import pytest
import suspicious

from envs.contract import Environment
from envs.counter import make as make_counter
from envs.examination import examine, without_counters
from envs.foreign_gym import GymnasiumEnvironment
from envs.registry import create
from envs.suspects import reads_of

LINES = Path(suspicious.__file__).read_text().splitlines()


def examined(env: Any) -> dict[str, Any]:
    return examine(lambda: GymnasiumEnvironment(env(), "suspect"))


@pytest.mark.parametrize(
    ("name", "kind", "call"),
    [
        ("Renamed", "clock", "time.perf_counter"),
        ("Dated", "clock", "datetime.now"),
        ("Formatted", "clock", "time.strftime"),
        ("Entropy", "chance", "os.urandom"),
        ("Unseeded", "chance", "os.urandom"),
        ("Reseeded", "chance", "random.seed"),
        ("Addressed", "address", "id"),
    ],
)
def test_what_is_read_is_named_with_the_line_of_the_environment(name: str, kind: str, call: str) -> None:
    (read,) = examined(getattr(suspicious, name))["reads"]
    assert (read["kind"], read["call"], read["function"], read["times"]) == (kind, call, "wind", 60)
    assert Path(read["file"]) == Path(suspicious.__file__)
    assert f"class {name}(" in LINES[read["line"] - 3]


def test_environments_that_follow_from_their_seed_are_above_suspicion() -> None:
    for env in (foreign_rig.Walk, foreign_rig.GlobalDice, lambda: gymnasium.make("CartPole-v1")):
        found = examined(env)
        assert (found["reads"], found["changed"], found["remade"]) == ([], [], [])


def test_counters_of_modules_and_classes_are_named() -> None:
    assert examined(foreign_rig.ModuleCounter)["changed"] == ["foreign_rig._COUNTER"]
    assert examined(suspicious.ClassCounter)["changed"] == ["suspicious.ClassCounter.steps_of_all.count"]


def test_a_cache_is_named_only_where_steps_come_out_differently_without_it() -> None:
    # Their module has both caches.
    assert examined(suspicious.Remembering)["remembered"] == ["suspicious.drawn_at"]
    assert examined(suspicious.Computing)["remembered"] == []
    assert suspicious.squared.cache_info().misses > 0


def test_whether_episodes_can_be_cut_short_is_tried() -> None:
    def walk(**more: Any) -> Environment:
        return GymnasiumEnvironment(foreign_rig.Walk(length=more.get("max_steps", 60)), "walk")

    def endless(**more: Any) -> Environment:
        return GymnasiumEnvironment(foreign_rig.Walk(), "walk")

    assert examine(walk)["takes_max_steps"]
    assert not examine(endless)["takes_max_steps"]
    assert not examined(foreign_rig.Walk)["takes_max_steps"]


def test_classes_that_pickle_makes_anew_are_named() -> None:
    assert examined(foreign_rig.Reborn)["remade"] == ["Reborn"]


def test_the_profiler_that_was_there_is_there_again() -> None:
    def profiler(frame: Any, event: str, argument: Any) -> None:
        return None

    sys.setprofile(profiler)
    try:
        with pytest.raises(ValueError, match="in the midst"):
            reads_of(_raise)
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)


def _raise() -> None:
    raise ValueError("in the midst")


def test_our_own_reads_are_nobodys_fault() -> None:
    def run() -> None:
        exec("import time\ntime.time()", {"__name__": "envs.grading"})

    assert reads_of(run) == []
    (read,) = reads_of(lambda: [time.time() for _ in range(3)])  # type: ignore[func-returns-value,arg-type]
    assert (read.times, Path(read.file)) == (3, Path(__file__))


# -- coverage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["test:counter_v0", "cogrid:Overcooked-CrampedRoom-V0"])
def test_state_of_adapters_of_ours_is_covered_whole(name: str) -> None:
    found = examine(lambda: create(name, graded=False))
    assert found["tried"] == found["noticed"] >= 10
    assert (found["missed"], found["opaque"], found["stuck"]) == ([], [], None)
    assert any("time" in path for path in found["counters"])


def test_an_adapter_whose_checksum_forgets_a_part_is_found_out() -> None:
    def make() -> Environment:
        made = make_counter("test:counter_v0", {}, lambda share, text: None)
        whole = made.fingerprint

        def forgetful() -> Any:
            return {name: part for name, part in whole().items() if name != forgotten}

        made.fingerprint = forgetful  # type: ignore[method-assign]
        return made

    names = list(make_counter("test:counter_v0", {}, lambda share, text: None).get_state())
    forgotten = random.Random(3).choice([name for name in names if name != "time"])
    found = examine(make)
    assert 0 < found["noticed"] < found["tried"]
    assert all(path.startswith(f"state.{forgotten}") for path in found["missed"])


def test_what_cannot_be_looked_into_is_named() -> None:
    found = examined(suspicious.make_blind)
    assert found["opaque"] == ["state.secret: generator"]


def test_a_slow_state_is_tried_with_fewer_values() -> None:
    ticks = iter(range(10**9))
    quick = examined(suspicious.Crowded)
    slow = examine(lambda: GymnasiumEnvironment(suspicious.Crowded(), "crowded"), clock=lambda: float(next(ticks)))
    assert 380 < quick["tried"] <= 400
    assert 30 < slow["tried"] <= 40


def test_counters_of_time_and_steps_are_taken_out_wherever_they_are() -> None:
    data = {"pos": 1, "step_count": 5, "inner": [{"t": 0.5, "speed": 2.0}, (1, {"_elapsed_steps": 3})], 4: "four"}
    assert without_counters(data) == {"pos": 1, "inner": [{"speed": 2.0}, [1, {}]], 4: "four"}


def test_what_a_finalizer_does_in_the_midst_of_a_step_is_nobodys_read() -> None:
    finished: list[float] = []

    class Last:
        def __del__(self) -> None:
            finished.append(time.time())

    def step() -> None:
        last: Any = Last()
        last.itself = last  # so that only a collection finds it
        del last
        assert len([[] for _ in range(1000)]) == 1000  # enough for a collection to begin

    threshold = gc.get_threshold()
    gc.set_threshold(10)
    try:
        reads = reads_of(step)
        step()
    finally:
        gc.set_threshold(*threshold)
    assert reads == []
    assert finished
