"""What every environment must show before it may be rolled back: importable checks, for this program's adapters and for
other people's tests::

    from envs.conformance import check_environment

    def test_my_environment_can_be_rolled_back():
        check_environment(lambda: MyEnvironment(size=9))

The checks work on the whole :class:`~envs.simulation.Simulation`, not on the environment's own state alone, because
what is missing from a state shows only in what comes after it.
"""

from __future__ import annotations

import random
from typing import Any, Callable, List, Optional, Sequence, Tuple

from envs.canonical import canonical_bytes
from envs.contract import Environment, random_action
from envs.plain import first_difference
from envs.prediction import PREDICT, predictor_names
from envs.simulation import Simulation
from envs.substitutes import SUBSTITUTE
from p2pclient.common.errors import ConfigurationError
from p2pclient.common.spaces import encode_action

Factory = Callable[[], Any]
"""Makes a new environment with the same arguments each time: one of Gymnasium or PettingZoo, or an
:class:`~envs.contract.Environment`. Single checks take the last kind only; :func:`adapted` makes it of the others."""
Inputs = List[List[bytes]]
"""By frame, then by seat."""

_FOLLOW = 20
"""Frames that are compared after each restore."""
_LONGEST_VALUE = 120
"""Characters of a value in a message."""
_LONGEST = 600.0
"""Seconds that trying all ways may take."""


class ConformanceError(AssertionError):
    """An environment does not do what rollback needs. The message says what and where."""


def check_environment(
    factory: Factory, warmups: Sequence[int] = (0, 60, 300), seed: int = 5, *, way: Optional[str] = None
) -> None:
    """Run every check on environments from ``factory``.

    Args:
        warmups: after how many steps to go back.
        seed: of the episodes and of the random inputs.
        way: of a Gymnasium or PettingZoo environment, how its state must be kept (see :mod:`envs.keeping`), such as
            ``own`` for one that has ``get_state`` and ``set_state``; None for the first exact way but ``none``.

    Raises:
        ConformanceError: one failed.
    """
    factory = adapted(factory, warmups, seed, way=way)
    check_determinism(factory, seed)
    check_inputs_matter(factory, seed)
    check_predictors(factory, seed)
    check_substitutes(factory, seed)
    probe = factory()
    last, is_portable = probe.max_steps, probe.portable
    probe.close()
    points = [count for count in warmups if last is None or count < last]
    if last is not None and last > 3:
        points.append(last - 3)
    for warmup in points:
        check_snapshots(factory, warmup, seed)
        if is_portable:
            check_portable_state(factory, warmup, seed)
    if last is not None:
        check_end(factory, seed)


def adapted(
    factory: Factory, warmups: Sequence[int] = (0, 60, 300), seed: int = 5, *, way: Optional[str] = None
) -> Callable[[], Environment]:
    """Return what makes the environments of ``factory`` behind the contract of ours, with a way of keeping their state.

    Raises:
        ConformanceError: no way is exact, or not the one that is asked for; says why.
    """
    probe = factory()
    if isinstance(probe, Environment):
        return factory
    # Imported here, because finding the way is made of the checks below.
    from envs.foreign_factory import adapt
    from envs.grading import WAYS, grade

    name = type(probe).__name__

    def build(keeper: Any) -> Environment:
        return adapt(factory(), name, keeper)

    verdict = grade(build, warmups, all_of_them=way is not None, seed=seed, budget=_LONGEST)
    exact = {found.name: found for found in verdict.grades if found.exact}
    if not exact or (way is not None and way not in exact):
        reasons = "; ".join(f"{found.name}: {found.reason}" for found in verdict.grades if not found.exact)
        raise ConformanceError(f"{name} cannot go back{f' by {way}' if way else ''}: {reasons}")
    keeper = next(each for each in WAYS if each.name == (way or verdict.chosen.name))
    return lambda: build(keeper)


def check_determinism(factory: Factory, seed: int) -> None:
    """The same seed and the same inputs give the same results, in another instance and after a reset; seed 0 too."""
    for chosen in (0, seed):
        # One after the other: what they draw from the process's own generators belongs to whoever was reset last.
        one = Simulation(factory())
        inputs = random_inputs(one, 40, chosen)
        beginning, results = one.reset(chosen), _run(one, inputs)
        other = Simulation(factory())
        _equal(beginning, other.reset(chosen), f"two instances begin differently with seed {chosen}")
        _equal(results, _run(other, inputs), f"two instances differ with seed {chosen}")
        one.reset(chosen)
        _equal(results, _run(one, inputs), f"a second episode with seed {chosen} differs from the first")


def check_inputs_matter(factory: Factory, seed: int) -> None:
    """Two different input sequences give different checksums at the same frame; else equal checksums prove nothing."""
    one, other = Simulation(factory()), Simulation(factory())
    one.reset(seed)
    ours = _run(one, random_inputs(one, 40, 1))
    other.reset(seed)
    theirs = _run(other, random_inputs(other, 40, 2))
    if all(a[0] == b[0] for a, b in zip(ours, theirs)):
        raise ConformanceError("different inputs give equal checksums: the state does not hold what they did")


def check_predictors(factory: Factory, seed: int) -> None:
    """A predicted step is the same as one with the input that was guessed: asking changes nothing."""
    probe = factory()
    names, seats = predictor_names(probe), len(probe.agents)
    probe.close()
    for name, seat in [(name, seat) for name in names for seat in range(seats)]:
        asked, straight = Simulation(factory()), Simulation(factory())
        asked.reset(seed)
        straight.reset(seed)
        asked.add_predictor(seat, name, seed)
        for frame, line in enumerate(random_inputs(asked, 40, seed)):
            predicted = [*line[:seat], PREDICT, *line[seat + 1 :]]
            try:
                *result, used = asked.step(frame, predicted, True, line)
            except ConfigurationError as error:
                raise ConformanceError(f"predictor {name!r} of seat {seat}: {error}") from error
            expected = straight.step(frame, [*line[:seat], used[seat], *line[seat + 1 :]], True)
            _equal(expected, result, f"asking predictor {name!r} of seat {seat} changes the state at frame {frame}")


def check_substitutes(factory: Factory, seed: int) -> None:
    """What a bot does in a lost player's place is the same on every machine and in every simulation of the frame.

    One environment is asked more often than the others, as in a rollback, and one is given what was played as inputs:
    all three must come to the same.
    """
    probe = factory()
    names, seats = probe.bots, len(probe.agents)
    probe.close()
    for name, seat in [(name, seat) for name in names for seat in range(seats)]:
        pestered = factory()
        again, straight, given = Simulation(pestered), Simulation(factory()), Simulation(factory())
        for simulation in (again, straight, given):
            simulation.reset(seed)
            simulation.add_substitute(seat, name, seed)
        for frame, line in enumerate(random_inputs(straight, 40, seed)):
            asked = [*line[:seat], SUBSTITUTE, *line[seat + 1 :]]
            pestered.substitute(name, seat, frame)
            *first, used = again.step(frame, asked, True)
            *second, others = straight.step(frame, asked, True)
            third = given.step(frame, [*line[:seat], used[seat], *line[seat + 1 :]], True)
            where = f"bot {name!r} in the place of seat {seat} at frame {frame}"
            _equal([second, others], [first, used], f"{where} does something else in another simulation")
            _equal(third, first, f"asking {where} changes the state")


def check_snapshots(factory: Factory, warmup: int, seed: int) -> None:
    """After ``warmup`` steps, going back repeats everything that followed, for two interleaved futures."""
    check_going_back(Simulation(factory()), warmup, seed)


def check_going_back(simulation: Any, warmup: int, seed: int) -> None:
    """The same of a :class:`~envs.simulation.Simulation`, or of what does as it does."""
    where = f"after {warmup} steps"
    _warm(simulation, warmup, seed)
    simulation.save(warmup)
    before = simulation.get_state()
    kept = canonical_bytes(before)
    futures = [random_inputs(simulation, _FOLLOW, which) for which in (11, 12)]
    seen: List[Any] = [None, None]
    for which in (0, 1, 0, 1, 1, 0):
        results = _run(simulation, futures[which])
        if seen[which] is None:
            seen[which] = results
        _equal(seen[which], results, f"{where}, a restored snapshot goes on differently")
        simulation.load(warmup)
        _equal(before, simulation.get_state(), f"{where}, the snapshot changed or was not restored whole")
    if canonical_bytes(before) != kept:
        raise ConformanceError(f"{where}, later steps change a state that was handed out")
    # From a snapshot made in the midst of one future back to it from the midst of the other.
    _run(simulation, futures[0][:7])
    simulation.save(warmup + 7)
    simulation.load(warmup)
    _run(simulation, futures[1][:9])
    simulation.load(warmup + 7)
    _equal(seen[0][7:], _run(simulation, futures[0][7:]), f"{where}, interleaved snapshots mix")


def check_repeating(simulation: Any, seed: int) -> None:
    """The second of two episodes with the same seed and inputs gives what the first gave, though a third came between.

    Args:
        simulation: as for :func:`check_going_back`.
    """
    inputs = random_inputs(simulation, _FOLLOW, seed)
    beginning, results = simulation.reset(seed), _run(simulation, inputs)
    simulation.reset(seed + 1)
    _run(simulation, random_inputs(simulation, _FOLLOW, seed + 1))
    _equal(beginning, simulation.reset(seed), "an episode with the same seed begins differently")
    _equal(results, _run(simulation, inputs), "an episode with the same seed goes differently")


def check_portable_state(factory: Factory, warmup: int, seed: int) -> None:
    """A fresh instance that takes over the state goes on exactly as the first."""
    where = f"after {warmup} steps"
    first = _warmed(factory, warmup, seed)
    state = first.get_state()
    expected = first.compute_hash()
    inputs = random_inputs(first, _FOLLOW, 13)
    results = _run(first, inputs)
    for reset_with in (seed, seed + 1):
        other = Simulation(factory())
        other.reset(reset_with)
        _equal(expected, other.set_state(state), f"{where}, another instance has another checksum")
        _equal(state, other.get_state(), f"{where}, another instance does not take over the whole state")
        _equal(results, _run(other, inputs), f"{where}, another instance goes on differently")


def check_end(factory: Factory, seed: int) -> None:
    """The episode ends after ``max_steps``; then steps change and reward nothing, until going back before the end."""
    probe = factory()
    last = probe.max_steps
    assert last is not None
    near = max(0, last - 3)
    simulation = _warmed(factory, near, seed)
    if simulation.ended:
        return
    simulation.save(near)
    inputs = random_inputs(simulation, last - near + 4, 14)
    results = _run(simulation, inputs)
    _equal(True, simulation.ended, f"the episode does not end after {last} steps")
    after = results[last - near :]
    for result in after:
        _equal(results[last - near - 1][0], result[0], "steps after the end change the state")
        if any(reward is not None for reward in result[1]) or not result[5]:
            raise ConformanceError("steps after the end reward")
    simulation.load(near)
    _equal(False, simulation.ended, "the end stays after going back before it")
    _equal(results, _run(simulation, inputs), "the end is not the same the second time")


def random_inputs(simulation: Any, count: int, seed: int) -> Inputs:
    """Return ``count`` frames of inputs, drawn from the action spaces of all seats."""
    generator = random.Random(seed)
    spaces = simulation.action_spaces
    return [[encode_action(space, random_action(space, generator)) for space in spaces] for _ in range(count)]


def _warmed(factory: Factory, warmup: int, seed: int) -> Simulation:
    simulation = Simulation(factory())
    _warm(simulation, warmup, seed)
    return simulation


def _warm(simulation: Any, warmup: int, seed: int) -> None:
    simulation.reset(seed)
    for frame, line in enumerate(random_inputs(simulation, warmup, seed)):
        simulation.step(frame, line)


def _run(simulation: Any, inputs: Inputs) -> List[Any]:
    """Step on and return every result, observations included."""
    return [simulation.step(simulation.frame, line, True) for line in inputs]


def _equal(expected: Any, found: Any, message: str) -> None:
    difference: Optional[Tuple[str, Any, Any]] = first_difference(expected, found, "it")
    if difference is not None:
        path, ours, theirs = difference
        raise ConformanceError(f"{message}: {path} is {_short(theirs)}, not {_short(ours)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "..."
