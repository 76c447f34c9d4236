"""Which way of keeping an environment's state is exact: each is tried on the environment itself before it is used.

A way is exact if, on the whole environment with all its wrappers, going back and stepping on gives what going straight
on gave: results, observations and checksums, for two interleaved futures, from several moments of an episode and over
its end (:func:`envs.conformance.check_snapshots`). A way that fails says why.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Type

from envs.conformance import ConformanceError, check_snapshots, random_inputs
from envs.contract import Clock, Environment
from envs.keeping import KEEPERS, Keeper, NoKeeper
from envs.keeping_engines import EngineKeeper, NoEngineError
from envs.simulation import Simulation
from p2pclient.common.errors import EnvHostError

Build = Callable[[Type[Keeper]], Environment]
"""Makes the environment anew, with one way of keeping its state."""

WAYS: Tuple[Type[Keeper], ...] = (KEEPERS[0], EngineKeeper, *KEEPERS[1:])
"""In the order in which they are tried; that of engines only where there is one."""
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
    save_us: int
    load_us: int
    size: Optional[int]
    """Bytes of one snapshot; None where that cannot be told."""

    def as_data(self) -> Dict[str, Any]:
        """Return it as plain data, by the names of its fields, and that nobody else can go on from what is kept."""
        return {**self._asdict(), "portable": False}


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
    budget: float = 10.0,
    clock: Clock = time.perf_counter,
) -> Verdict:
    """Try the ways in the order in which they are preferred.

    Args:
        warmups: after how many steps to try going back.
        all_of_them: try the others, too, when an exact one is found.
        budget: seconds after which no further trial is begun; a way whose trials did not fit in is not used.
    """
    until = clock() + budget
    chosen: Optional[Type[Keeper]] = None
    grades: List[Grade] = []
    for keeper in WAYS:
        if chosen is not None and not all_of_them:
            break
        try:
            found = _try(build, keeper, warmups, seed, until, clock)
        except NoEngineError:
            continue
        grades.append(found)
        if found.exact and chosen is None:
            chosen = keeper
    return Verdict(chosen or NoKeeper, grades)


class _TooSlowError(Exception):
    """The time for trials is over."""


def _try(build: Build, keeper: Type[Keeper], warmups: Sequence[int], seed: int, until: float, clock: Clock) -> Grade:
    def factory() -> Environment:
        if clock() > until:
            raise _TooSlowError("trying it took too long")
        return build(keeper)

    try:
        for warmup in [*warmups, *_before_end(factory, seed, until, clock)]:
            check_snapshots(factory, warmup, seed)
        reason = ""
        costs = _costs(factory(), seed, clock)
    except NoEngineError:
        raise
    except Exception as error:  # noqa: BLE001  whatever the environment or its pickling raises is the reason
        is_ours = isinstance(error, (ConformanceError, EnvHostError, _TooSlowError))
        reason = str(error) if is_ours else f"{type(error).__name__}: {error}"
        costs = (0, 0, None)
    return Grade(keeper.name, not reason, reason, *costs)


def _before_end(factory: Callable[[], Environment], seed: int, until: float, clock: Clock) -> List[int]:
    """Return three steps before an end, if random inputs come to one soon."""
    simulation = Simulation(factory())
    simulation.reset(seed)
    for frame, line in enumerate(random_inputs(simulation, max(THOROUGH) + 1, seed)):
        if clock() > until:
            raise _TooSlowError("trying it took too long")
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
