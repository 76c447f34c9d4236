"""The environments that a name may stand for, made on demand, and what is told of one before it is played.

Only names in this table are ever loaded: a server or a peer can ask for nothing else.
"""

from __future__ import annotations

import importlib
import re
import time
from hashlib import blake2b
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Type

import numpy as np

from envs.contract import Clock, Environment, Progress, no_progress
from envs.foreign import ForeignEnvironment
from envs.foreign_packages import install_hint, missing_module
from envs.grading import QUICK, THOROUGH, Build, Forks, grade
from envs.keeping import ForkKeeper, Keeper, NoKeeper
from envs.machine import machine_facts, numeric_probe, source_digest
from envs.prediction import OWN, predictor_names
from envs.seating import SEATS, SharedSeats, seats_for
from p2pclient.common.errors import ConfigurationError, EnvHostError, TandemError
from p2pclient.common.frames import MAX_JOINED_BYTES, MAX_SEATS
from p2pclient.common.spaces import check_space, input_width


class _Entry(NamedTuple):
    """Where an environment comes from. ``module`` has ``make(name, args, progress)``."""

    module: str
    distribution: Optional[str]
    """What must be installed, named as its package; None if it comes with this program."""


_ENTRIES: Dict[str, _Entry] = {
    "cogrid:Overcooked-CrampedRoom-V0": _Entry("envs.cogrid_overcooked", "cogrid"),
    "cogrid:Overcooked-AsymmetricAdvantages-V0": _Entry("envs.cogrid_overcooked", "cogrid"),
    "cogrid:Overcooked-CoordinationRing-V0": _Entry("envs.cogrid_overcooked", "cogrid"),
    "cogrid:Overcooked-ForcedCoordination-V0": _Entry("envs.cogrid_overcooked", "cogrid"),
    "cogrid:Overcooked-CounterCircuit-V0": _Entry("envs.cogrid_overcooked", "cogrid"),
    "test:counter_v0": _Entry("envs.counter", None),
    "test:leaky_v0": _Entry("envs.leaky", None),
}


_FAMILIES: Dict[str, _Entry] = {
    "gymnasium": _Entry("envs.foreign_gym", "gymnasium"),
    "pettingzoo": _Entry("envs.foreign_zoo", "pettingzoo"),
    "mpe2": _Entry("envs.foreign_zoo", "mpe2"),
}
"""Whole packages of environments, by the part of a name before the colon; any of theirs is taken by its own name."""
_WORD = re.compile(r"[A-Za-z0-9_+-]{0,64}")
_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def known_names() -> Tuple[str, ...]:
    """Return the names of single environments that :func:`create` takes; there are also :func:`families`."""
    return tuple(_ENTRIES)


def families() -> Tuple[str, ...]:
    """Return the beginnings, with their colon, of names of which there are many."""
    return tuple(f"{family}:" for family in _FAMILIES)


def create(
    name: str,
    args: Optional[Dict[str, Any]] = None,
    progress: Optional[Progress] = None,
    *,
    local: bool = False,
    trusted_args: bool = False,
    thorough: bool = False,
    graded: bool = True,
    seats: Optional[int] = None,
    forks: Optional[Forks] = None,
) -> Environment:
    """Import and make an environment.

    Args:
        name: one of :func:`known_names`, a family's name with one of its own, or ``module:factory``.
        args: the environment's own arguments, plain data; None for none.
        progress: told what is going on, as far as known.
        local: the name was given by the person at this machine, so that ``module:factory`` may be imported.
        trusted_args: likewise of the arguments, which may be paths then.
        thorough: try every way of keeping its state, from more moments of an episode.
        graded: if False, none is tried, so that one of another package cannot go back.
        seats: how many players the match has, if that is known: see :mod:`envs.seating`.
        forks: what this process offers of snapshots by forking; None for nothing. It is used afterwards if it says so
            in the environment's ``snapshots``, and the environment is then only described here.

    Raises:
        ConfigurationError: the name or an argument is not allowed; the message names what is.
        EnvHostError: the environment's package is not installed in this interpreter, or is not one that works.
    """
    tell = progress or no_progress
    entry = _entry(name, local)
    if args is not None and not (isinstance(args, dict) and all(isinstance(key, str) for key in args)):
        raise ConfigurationError("environment arguments", args, "names with values")
    if name not in _ENTRIES and not trusted_args:
        _check_modest(args or {}, "environment arguments")
    tell(None, "Loading the game")
    try:
        module = importlib.import_module(entry.module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing != entry.distribution and (name in _ENTRIES or missing in ("", "envs", "p2pclient")):
            raise
        raise EnvHostError(install_hint(name, missing)) from error
    if name in _ENTRIES:
        environment: Environment = module.make(name, dict(args or {}), tell)
    else:
        build = _builder(module, name, dict(args or {}), seats)
        environment = _make_foreign(build, name, tell, thorough, graded, forks)
    _check(environment)
    return environment


def _entry(name: Any, local: bool) -> _Entry:
    """Return where an environment comes from.

    Raises:
        ConfigurationError: nothing of that name may be loaded here.
    """
    if isinstance(name, str):
        entry = _ENTRIES.get(name) or _FAMILIES.get(name.partition(":")[0])
        if entry is not None:
            return entry
        if local and _FACTORY.fullmatch(name):
            return _Entry("envs.foreign_factory", None)
    known = ", ".join([*(f"{family}NAME" for family in families()), *known_names()])
    if isinstance(name, str) and _FACTORY.fullmatch(name) and not local:
        allowed = f"only where the person at this machine has allowed it, with --allow-env {name}"
        raise ConfigurationError("environment", name, f"{known}; module:factory {allowed}")
    raise ConfigurationError("environment", name, f"{known}; or MODULE:FACTORY for one of your own{_hint(name)}")


def _hint(name: Any) -> str:
    """Return what to type for a name that is a module or a file of the person's."""
    path = re.sub(r"^\./|\.py(?=:|$)", "", name) if isinstance(name, str) else ""
    if _FACTORY.fullmatch(path):
        return f": {path}"
    return f", such as {path}:make" if _FACTORY.fullmatch(f"{path}:make") else ""


def _check_modest(value: Any, place: str) -> None:
    """Raise unless an argument from outside is numbers and words: a path could lead anywhere."""
    if isinstance(value, dict):
        for key in value:
            _check_modest(key, f"the names in {place}")
        parts = [(part, f"{place}[{key!r}]") for key, part in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [(part, f"{place}[{index}]") for index, part in enumerate(value)]
    elif value is None or isinstance(value, (bool, int, float)) or (isinstance(value, str) and _WORD.fullmatch(value)):
        return
    else:
        raise ConfigurationError(place, value, "numbers and single words, where a server asks for it")
    for part, inner in parts:
        _check_modest(part, inner)


def _builder(module: Any, name: str, args: Dict[str, Any], seats: Optional[int]) -> Build:
    """Return what makes an environment of another package, with as many seats as there shall be."""
    own_args = {key: value for key, value in args.items() if key != SEATS}

    def build(keeper: Type[Keeper]) -> Environment:
        made: Environment = module.make(name, dict(own_args), no_progress, keeper)
        shared = seats_for(len(made.agents), args, seats)
        if shared is None:
            return made
        if not isinstance(made, ForeignEnvironment):
            raise ConfigurationError(f"argument {SEATS}", shared, f"none: {name} says itself who sits where")
        return SharedSeats(made, shared)

    return build


def _make_foreign(
    build: Build, name: str, tell: Progress, thorough: bool, graded: bool, forks: Optional[Forks]
) -> Environment:
    """Make an environment of another package, with the best way of keeping its state."""
    tell(None, "Starting the game")
    try:
        first = build(
            ForkKeeper if graded and forks is not None else NoKeeper
        )  # what is wrong with the name or the arguments is told from here
    except TandemError:
        raise
    except Exception as error:
        missing = missing_module(error)
        if missing is not None:
            raise EnvHostError(install_hint(name, missing)) from error
        raise EnvHostError(f"{name} cannot be made here: {type(error).__name__}: {error}") from error
    _check(first)
    if not graded:
        return first
    tell(None, "Trying whether the game can go back")
    if forks is not None:
        forks.begin(first)
    if thorough:
        verdict = grade(build, THOROUGH, all_of_them=True, budget=60.0, fork_budget=150.0, forks=forks)
    else:
        verdict = grade(build, QUICK, forks=forks)
    if verdict.chosen is ForkKeeper:
        environment = first
    else:
        if forks is not None:
            forks.close()
        environment = build(verdict.chosen)
    environment.snapshots = verdict.as_data()
    return environment


def describe(
    environment: Environment, name: str, args: Optional[Dict[str, Any]] = None, clock: Clock = time.perf_counter
) -> Dict[str, Any]:
    """Return what is told of an environment once it is ready: plain data, see the keys.

    ``digest`` and ``machine`` and ``numeric_probe`` must agree between peers. ``step_us`` is measured here, so that the
    environment is reset and stepped: reset it before it is played.
    """
    step_us = environment.measure_step_us(clock)
    environment.reset(0)
    return {
        "env": name,
        # Whoever makes it again, to replay a recording, say, need not know how many players the match had.
        "args": {**dict(args or {}), **environment.told_args},
        "title": environment.title or name,
        "seat_colours": [list(colour) for colour in environment.seat_colours],
        "agents": list(environment.agents),
        "seats": len(environment.agents),
        "action_spaces": list(environment.action_spaces),
        "observation_spaces": observation_spaces(environment),
        "controls": environment.controls,
        "max_steps": environment.max_steps,
        "nominal_rate_hz": environment.nominal_rate_hz,
        "bots": list(environment.bots),
        "predictors": predictor_names(environment),
        "digest": _digest(name, environment),
        "machine": machine_facts(),
        "numeric_probe": numeric_probe(),
        "step_us": step_us,
        "portable": environment.portable,
        "snapshots": environment.snapshots or {"chosen": "own", "graded": []},
    }


def _digest(name: str, environment: Environment) -> str:
    """Return hex digits over the code that it runs: its family's package, and its own if that is another."""
    digest = source_digest(_distribution(name))
    inner = getattr(environment, "env", None)
    package = type(getattr(inner, "unwrapped", inner)).__module__.partition(".")[0]
    if inner is None or name in _ENTRIES or package in (_distribution(name), "builtins"):
        return digest
    return blake2b((digest + source_digest(package)).encode(), digest_size=16).hexdigest()


def _distribution(name: str) -> Optional[str]:
    """Return the package whose code an environment of this name runs; None if it comes with this program."""
    entry = _ENTRIES.get(name) or _FAMILIES.get(name.partition(":")[0])
    return entry.distribution if entry is not None else name.partition(":")[0].partition(".")[0]


def observation_spaces(environment: Environment) -> List[Optional[Dict[str, Any]]]:
    """Return what the observations of the current state look like, by seat; None where they are not one array."""
    spaces: List[Optional[Dict[str, Any]]] = []
    for seen in environment.observe():
        if isinstance(seen, np.ndarray):
            spaces.append({"kind": "array", "shape": list(seen.shape), "dtype": seen.dtype.str})
        else:
            spaces.append(None)
    return spaces


def _check(environment: Environment) -> None:
    """Raise unless the adapter's own description is complete: a fault there would show far away."""
    seats = len(environment.agents)
    if not 1 <= seats <= MAX_SEATS:
        raise ConfigurationError("number of seats", seats, f"1 to {MAX_SEATS}")
    neutral = environment.controls["neutral"]
    if len(environment.action_spaces) != seats or len(neutral) != seats:
        raise EnvHostError(
            f"{seats} agents, {len(environment.action_spaces)} action spaces, {len(neutral)} neutral inputs"
        )
    if OWN in environment.bots:
        raise EnvHostError(f"no bot may be called {OWN!r}: that is the environment's own predictor")
    for agent, space in zip(environment.agents, environment.action_spaces):
        check_space(space, setting=f"action space of agent {agent!r}")
    together = sum(input_width(space) + 1 for space in environment.action_spaces)
    if together > MAX_JOINED_BYTES:
        raise ConfigurationError("bytes of all seats' actions", together - seats, f"at most {MAX_JOINED_BYTES - seats}")
