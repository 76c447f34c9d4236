"""Which way of keeping an environment's state is exact: each is tried on the environment itself before it is used.

A way is exact if, on the whole environment with all its wrappers, going back and stepping on gives what going straight
on gave: results, observations and checksums, for two interleaved futures, from several moments of an episode and over
its end (:func:`envs.conformance.check_snapshots`). A way that fails says why.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Type

from envs.conformance import ConformanceError, check_going_back, check_repeating, random_inputs
from envs.contract import Clock, Environment
from envs.keeping import KEEPERS, ForkKeeper, Keeper, NoKeeper
from envs.keeping_engines import EngineKeeper, NoEngineError
from envs.simulation import Simulation
from p2pclient.common.errors import EnvHostError
from p2pclient.common.spaces import decode_action

Build = Callable[[Type[Keeper]], Environment]
"""Makes the environment anew, with one way of keeping its state."""

Costs = Tuple[int, int, Optional[int]]
"""Microseconds to save and to load, and bytes."""


class Forks:
    """The way ``fork``, as the process offers it that hosts the environment. This one offers none.

    The environment is made with :class:`~envs.keeping.ForkKeeper` and given to :meth:`begin` before anything else is
    tried: what is forked is the same wherever it is loaded, however long the other trials take.
    """

    def begin(self, environment: Environment) -> None:
        """Take over an environment that was just made; it is not touched any more."""

    def simulation(self) -> Any:
        """Return what does as a :class:`~envs.simulation.Simulation` of it does.

        Raises:
            EnvHostError: this process cannot be forked. The message says why.
        """
        raise EnvHostError("nothing here can fork the process")

    def costs(self, seed: int) -> Costs:
        """Measure; the simulation's episode is lost.

        Raises:
            EnvHostError: as :meth:`simulation` does.
        """
        raise EnvHostError("nothing here can fork the process")

    def close(self) -> None:
        """End all that was forked: another way is used."""


WAYS: Tuple[Type[Keeper], ...] = (KEEPERS[0], EngineKeeper, *KEEPERS[1:])
"""In the order in which they are tried; that of engines only where there is one."""
QUICK = (0, 25)
"""Steps after which the ways are tried when an environment is loaded."""
THOROUGH = (0, 60, 300)
"""The same when it is checked."""
MEASURED = 20
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
    fork_budget: float = 60.0,
    clock: Clock = time.perf_counter,
    forks: Optional[Forks] = None,
) -> Verdict:
    """Try the ways in the order in which they are preferred.

    Args:
        warmups: after how many steps to try going back.
        all_of_them: try the others, too, when an exact one is found.
        budget: seconds after which no further trial is begun; a way whose trials did not fit in is not used.
        fork_budget: the same for forks alone: what the others took must not decide whether they are tried.
        forks: what the process offers; None leaves that way out.
    """
    until = clock() + budget
    end = _End(build, seed)
    chosen: Optional[Type[Keeper]] = None
    grades: List[Grade] = []
    for keeper in WAYS:
        if chosen is not None and not all_of_them:
            break
        if keeper is not ForkKeeper:
            trial = _Trial(build, keeper, until, clock)
        elif forks is not None:
            trial = _ForkTrial(forks, clock() + fork_budget, clock)
        else:
            continue
        try:
            found = _try(trial, keeper, warmups, end, seed)
        except NoEngineError:
            continue
        grades.append(found)
        if found.exact and chosen is None:
            chosen = keeper
    return Verdict(chosen or NoKeeper, grades)


class _TooSlowError(Exception):
    """The time for trials is over."""


class _Trial:
    """What is tried of one way: simulations with it, as long as there is time."""

    def __init__(self, build: Build, keeper: Type[Keeper], until: float, clock: Clock) -> None:
        self._build = build
        self._keeper = keeper
        self._until = until
        self._clock = clock

    def simulation(self) -> Any:
        """Return one that was not used yet."""
        self.check_time()
        return Simulation(self._build(self._keeper))

    def check_time(self) -> None:
        if self._clock() > self._until:
            raise _TooSlowError("trying it took too long")

    def check_more(self, seed: int) -> None:
        """Try what only this way must show."""

    def costs(self, seed: int) -> Costs:
        self.check_time()
        return _costs(self._build(self._keeper), seed, self._clock)


class _ForkTrial(_Trial):
    def __init__(self, forks: Forks, until: float, clock: Clock) -> None:
        super().__init__(lambda keeper: NotImplemented, ForkKeeper, until, clock)
        self._forks = forks

    def simulation(self) -> Any:
        self.check_time()
        return self._forks.simulation()

    def check_more(self, seed: int) -> None:
        check_repeating(self.simulation(), seed)

    def costs(self, seed: int) -> Costs:
        self.check_time()
        return self._forks.costs(seed)


def _try(trial: _Trial, keeper: Type[Keeper], warmups: Sequence[int], end: _End, seed: int) -> Grade:
    costs: Costs = (0, 0, None)
    try:
        for warmup in warmups:
            check_going_back(trial.simulation(), warmup, seed)
        trial.check_more(seed)
        near = end.find(trial.check_time)
        if near is not None:
            check_going_back(trial.simulation(), near, seed)
        reason = ""
        costs = trial.costs(seed)
    except NoEngineError:
        raise
    except Exception as error:  # noqa: BLE001  whatever the environment or its pickling raises is the reason
        is_ours = isinstance(error, (ConformanceError, EnvHostError, _TooSlowError))
        reason = str(error) if is_ours else f"{type(error).__name__}: {error}"
    return Grade(keeper.name, not reason, reason, *costs)


class _End:
    """Three steps before an end of an episode, if random inputs come to one soon: looked for once, for all ways."""

    def __init__(self, build: Build, seed: int) -> None:
        self._build = build
        self._seed = seed
        self._found: Optional[List[int]] = None

    def find(self, check_time: Callable[[], None]) -> Optional[int]:
        """Return the steps to it; None if there is no end that soon. ``check_time`` raises when time is over."""
        if self._found is None:
            self._found = self._look(check_time)
        return self._found[0] if self._found else None

    def _look(self, check_time: Callable[[], None]) -> List[int]:
        environment = self._build(NoKeeper)
        environment.reset(self._seed)
        spaces, gone = environment.action_spaces, [False] * len(environment.agents)
        # By itself, without the checksums of a simulation, which take most of a step where the state is large.
        for frame, line in enumerate(random_inputs(Simulation(environment), max(THOROUGH) + 1, self._seed)):
            check_time()
            outcome = environment.step([decode_action(space, payload) for space, payload in zip(spaces, line)])
            flags = zip(gone, outcome.terminations, outcome.truncations)
            gone = [was or bool(terminated or truncated) for was, terminated, truncated in flags]
            if outcome.present is not None:
                gone = [not is_there for is_there in outcome.present]
            if all(gone):
                return [max(0, frame - 2)]
        return []


def _costs(environment: Environment, seed: int, clock: Clock) -> Costs:
    simulation = Simulation(environment)
    simulation.reset(seed)
    saves: List[float] = []
    loads: List[float] = []
    for frame, line in enumerate(random_inputs(simulation, MEASURED, seed)):
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
