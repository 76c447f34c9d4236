"""Which way of keeping an environment's state is exact: each is tried on the environment itself before it is used.

A way is exact if, on the whole environment with all its wrappers, going back and stepping on gives what going straight
on gave: results, observations and checksums, for two interleaved futures, from several moments of an episode and over
its end (:func:`envs.conformance.check_snapshots`). A way that fails says why.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Type

from envs.conformance import ConformanceError, check_portable_state, check_snapshots, random_inputs
from envs.contract import Clock, Environment
from envs.keeping import KEEPERS, Keeper, NoKeeper
from envs.simulation import Simulation

Build = Callable[[Type[Keeper]], Environment]
"""Makes the environment anew, with one way of keeping its state."""

QUICK = (0, 25)
"""Steps after which the ways are tried when an environment is loaded."""
THOROUGH = (0, 60, 300)
"""The same when it is checked."""
_MEASURED = 20
"""Frames over which costs are measured."""


class Grade(NamedTuple):
    """What was found out about one way."""

    name: str
    exact: bool
    reason: str
    """Why it is not exact, as a sentence; empty if it is."""
    portable: bool
    save_us: int
    load_us: int
    size: Optional[int]
    """Bytes of one snapshot; None where that cannot be told."""

    def as_data(self) -> Dict[str, Any]:
        """Return it as plain data, by the names of its fields."""
        return dict(self._asdict())


class Verdict(NamedTuple):
    """All ways, and the one that is used: the first exact one."""

    chosen: Type[Keeper]
    grades: List[Grade]

    def as_data(self) -> Dict[str, Any]:
        return {"chosen": self.chosen.name, "graded": [grade.as_data() for grade in self.grades]}


def grade(
    build: Build,
    warmups: Sequence[int] = QUICK,
    *,
    all_of_them: bool = False,
    seed: int = 5,
    clock: Clock = time.perf_counter,
) -> Verdict:
    """Try the ways in the order in which they are preferred.

    Args:
        warmups: after how many steps to try going back.
        all_of_them: try the others, too, when an exact one is found.
    """
    chosen: Optional[Type[Keeper]] = None
    grades: List[Grade] = []
    for keeper in KEEPERS:
        if chosen is not None and not all_of_them:
            break
        found = _try(build, keeper, warmups, seed, clock)
        grades.append(found)
        if found.exact and chosen is None:
            chosen = keeper
    return Verdict(chosen or NoKeeper, grades)


def _try(build: Build, keeper: Type[Keeper], warmups: Sequence[int], seed: int, clock: Clock) -> Grade:
    try:
        _exact(lambda: build(keeper), keeper, warmups, seed)
        reason = ""
        costs = _costs(build(keeper), seed, clock)
    except Exception as error:  # noqa: BLE001  whatever the environment or its pickling raises is the reason
        reason = str(error) if isinstance(error, ConformanceError) else f"{type(error).__name__}: {error}"
        costs = (0, 0, None)
    return Grade(keeper.name, not reason, reason, keeper.portable and not reason, *costs)


def _exact(factory: Callable[[], Environment], keeper: Type[Keeper], warmups: Sequence[int], seed: int) -> None:
    points = [*warmups, *_before_end(factory, seed)]
    for warmup in points:
        check_snapshots(factory, warmup, seed)
        if keeper.portable:
            check_portable_state(factory, warmup, seed)


def _before_end(factory: Callable[[], Environment], seed: int) -> List[int]:
    """Return three steps before an end, if random inputs come to one soon."""
    simulation = Simulation(factory())
    simulation.reset(seed)
    for frame, line in enumerate(random_inputs(simulation, max(THOROUGH) + 1, seed)):
        if simulation.step(frame, line)[5]:
            return [max(0, frame - 2)]
    return []


def _costs(environment: Environment, seed: int, clock: Clock) -> Any:
    simulation = Simulation(environment)
    simulation.reset(seed)
    saves: List[float] = []
    loads: List[float] = []
    for frame, line in enumerate(random_inputs(simulation, _MEASURED, seed)):
        begin = clock()
        kept = environment.keep()
        middle = clock()
        environment.restore(kept)
        loads.append(clock() - middle)
        saves.append(middle - begin)
        simulation.step(frame, line)
    size = len(kept.kept) if isinstance(getattr(kept, "kept", None), bytes) else None
    return _median_us(saves), _median_us(loads), size


def _median_us(seconds: List[float]) -> int:
    return round(sorted(seconds)[len(seconds) // 2] * 1e6)
