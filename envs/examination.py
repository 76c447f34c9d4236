"""What ``tandem check`` wants to know of an environment beside what its frames show.

Everything here happens on instances that are thrown away: values are changed where they live, and engines in C do not
forget all of it.
"""

from __future__ import annotations

import random
import time
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from envs.account import ACCOUNT
from envs.canonical import checksum
from envs.contract import Clock, Environment, random_action
from envs.keeping import layers_of
from envs.plain import copy_plain, first_difference
from envs.suspects import Surroundings, reads_of, remade_classes
from envs.walk import state_tree
from envs.walk_coverage import Coverage, StuckError, counts_time, coverage

_BEFORE = 12
"""Frames that are played before values are changed: a first state has much that is still zero."""
_WATCHED = 60
"""Frames that are watched for what they look at."""
_MOST_VALUES, _LEAST_VALUES = 400, 40
_MOST_NAMED = 12
_PICTURES = 3
_COVERAGE_SECONDS = 10.0
_SHORT = 3
"""Steps that an episode is asked to have."""

Make = Callable[..., Environment]
"""Makes the environment once more; arguments of its own are taken in addition to those that it has."""


def examination_commands(make: Make, simulation: Any) -> Dict[str, Callable[..., Any]]:
    """Return the commands that the host of a check has beyond those of play, by name.

    ``["examine"]``: what :func:`examine` returns. ``["compute_bare_hash"]``: the checksum of the environment's current
    state without what counts time or steps by its name, and without the totals of the rewards.

    Args:
        make: whatever way its state is kept.
        simulation: the one that is played.
    """

    def compute_bare_hash() -> bytes:
        return checksum(without_counters(simulation.get_state()["data"]["environment"]))

    return {"examine": lambda: examine(make), "compute_bare_hash": compute_bare_hash}


def examine(make: Make, clock: Clock = time.perf_counter) -> Dict[str, Any]:
    """Return what was found out, as plain data.

    The keys: ``tried`` values were changed, and ``noticed`` of them changed the checksum, not so ``missed`` (paths of
    some); ``counters`` are values that count time or steps by their names; ``opaque`` is what could not be looked into;
    ``stuck`` names a value after whose return the checksum did not come back, so that no more were tried (or is None);
    ``remembered`` are functions with a cache, if the steps come out differently when it is empty;
    ``reads`` and ``changed`` are what a step looks at and changes outside (see :mod:`envs.suspects`), ``remade`` the
    classes that pickle would make anew. ``picture_fails`` is what the environment said when it was to draw, and
    ``picture_changes`` the first part of the state that drawing changed; both are empty if all is well.
    ``picture_stays`` tells whether running the episode again does not take that change back, and ``takes_max_steps``
    whether an argument of that name ends episodes.
    """
    found, stuck, unseen = _coverage_of(make(), clock)
    return {
        "tried": found.tried,
        "noticed": found.noticed,
        "missed": found.missed[:_MOST_NAMED],
        "counters": sorted(set(found.counters))[:_MOST_NAMED],
        "opaque": unseen[:_MOST_NAMED],
        "stuck": stuck,
        **_outside_of(make()),
        "remembered": _remembered_by(make()),
        **_drawing_of(make()),
        "takes_max_steps": _takes_max_steps(make),
    }


def without_counters(data: Any) -> Any:
    """Return plain data without what counts time or steps by its name; the rest is shared."""
    if type(data) is dict:
        return {key: without_counters(item) for key, item in data.items() if not _is_counter(key)}
    if type(data) in (list, tuple):
        return [without_counters(item) for item in data]
    return data


def _is_counter(key: Any) -> bool:
    known = _COUNTERS.get(key)
    if known is None:
        known = type(key) is str and counts_time(key)
        if len(_COUNTERS) < 4096:
            _COUNTERS[key] = known
    return known


_COUNTERS: Dict[Any, bool] = {}


def _coverage_of(environment: Environment, clock: Clock) -> Tuple[Coverage, Any, List[str]]:
    _play(environment, _BEFORE)
    root, digest, unseen = _mutable_state(environment)
    begin = clock()
    digest()
    cost = max(clock() - begin, 1e-5)
    most = int(min(_MOST_VALUES, max(_LEAST_VALUES, _COVERAGE_SECONDS / (2 * cost))))
    try:
        return coverage(root, digest, most=most), None, unseen
    except StuckError as error:
        return Coverage(), str(error), unseen


def _mutable_state(environment: Environment) -> Tuple[Any, Callable[[], bytes], List[str]]:
    """Return where values can be changed, the checksum of what they make, and what could not be looked into."""
    inner = getattr(environment, "env", None)
    if not environment.portable and inner is not None:
        return inner, lambda: checksum(environment.fingerprint()), state_tree(inner).opaque
    # What is not in its plain state is for the comparison of runs to find out: here it is whether all of it counts.
    state = _thawed(environment.get_state())

    def digest() -> bytes:
        environment.set_state(copy_plain(state))
        return checksum(environment.fingerprint())

    return state, digest, []


def _thawed(value: Any) -> Any:
    if type(value) is dict:
        return {key: _thawed(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)([_thawed(item) for item in value])
    return np.array(value) if isinstance(value, np.ndarray) else value


def _outside_of(environment: Environment) -> Dict[str, Any]:
    _play(environment, _BEFORE)  # what is set up at the first use has been
    layers, around = _around(environment)

    def watched() -> None:
        _play(environment, _WATCHED)

    reads = reads_of(watched)
    return {
        "reads": [read.as_data() for read in reads],
        "changed": around.changed(),
        "remade": remade_classes(layers),
    }


def _remembered_by(environment: Environment) -> List[str]:
    """Play from the same seed with caches full and with caches empty: that of a pure function makes no difference."""
    caches = _around(environment)[1].caches()
    if not caches:
        return []
    full = [_played(environment) for _ in range(3)][1:]
    for cache in caches.values():
        cache.cache_clear()
    empty = _played(environment)
    # Where episodes never come out the same, it is not for the caches.
    differs = full[0] == full[1] and empty != full[1]
    return sorted(name for name, cache in caches.items() if cache.cache_info().misses)[:_MOST_NAMED] if differs else []


def _played(environment: Environment) -> List[bytes]:
    """Return the checksum after each frame: what a reset forgets counts as well."""
    found: List[bytes] = []
    _play(environment, _WATCHED, lambda: found.append(checksum(environment.fingerprint())))
    return found


def _around(environment: Environment) -> Tuple[List[Any], Surroundings]:
    """Return its layers, and what their modules and classes hold."""
    inner = getattr(environment, "env", None)
    layers = layers_of(inner) if hasattr(inner, "__dict__") else [environment]
    return layers, Surroundings([type(layer) for layer in layers])


def _drawing_of(environment: Environment) -> Dict[str, Any]:
    """Draw as a window would, a few times: what is opened for the first picture may be there after it."""
    _play(environment, _BEFORE)
    fails, changes, stays = "", "", False
    undrawn = checksum(environment.fingerprint())
    try:
        for _ in range(_PICTURES):
            before = environment.fingerprint()
            with ACCOUNT.of("render"):
                if environment.render() is None:
                    environment.render_text()
            after = environment.fingerprint()
            if checksum(before) != checksum(after):
                place = first_difference(before, after, "environment")
                changes = place[0] if place is not None else "environment"
                break
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever an environment raises is what is asked for
        fails = f"{type(error).__name__}: {error}"
    if changes:
        _play(environment, _BEFORE)
        stays = checksum(environment.fingerprint()) != undrawn
    return {"picture_fails": fails, "picture_changes": changes, "picture_stays": stays}


def _takes_max_steps(make: Make) -> bool:
    """Try it, because a factory may take any argument and make nothing of it."""
    try:
        environment = make(max_steps=_SHORT)
        return _play(environment, _SHORT) > 0
    except (Exception, SystemExit):  # noqa: BLE001  whatever is raised, it does not take it
        return False


def _play(environment: Environment, frames: int, look: Callable[[], None] = lambda: None) -> int:
    """Play so many frames, ``look`` after each, and return how many episodes ended."""
    generator, ends = random.Random(0), 0
    _reset(environment)
    for frame in range(frames):
        actions = [random_action(space, generator) for space in environment.action_spaces]
        with ACCOUNT.of("step", frame):
            outcome = environment.step(actions)
        look()
        ended = zip(outcome.terminations, outcome.truncations)
        if all(a is None or a or b for a, b in ended):
            _reset(environment)
            ends += 1
    return ends


def _reset(environment: Environment) -> None:
    with ACCOUNT.of("reset"):
        environment.reset(0)
