"""The environments that a name may stand for, made on demand, and what is told of one before it is played.

Only names in this table are ever loaded: a server or a peer can ask for nothing else.
"""

from __future__ import annotations

import importlib
import time
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from envs.contract import Clock, Environment, Progress, no_progress
from envs.machine import machine_facts, numeric_probe, source_digest
from envs.prediction import OWN, predictor_names
from p2pclient.common.errors import ConfigurationError, EnvHostError
from p2pclient.common.frames import MAX_SEATS
from p2pclient.common.spaces import check_space


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


def known_names() -> Tuple[str, ...]:
    """Return every name that :func:`create` takes."""
    return tuple(_ENTRIES)


def create(name: str, args: Optional[Dict[str, Any]] = None, progress: Optional[Progress] = None) -> Environment:
    """Import and make an environment.

    Args:
        name: one of :func:`known_names`.
        args: the environment's own arguments, plain data; None for none.
        progress: told what is going on, as far as known.

    Raises:
        ConfigurationError: the name or an argument is not allowed; the message names what is.
        EnvHostError: the environment's package is not installed in this interpreter, or is not one that works.
    """
    tell = progress or no_progress
    entry = _ENTRIES.get(name) if isinstance(name, str) else None
    if entry is None:
        raise ConfigurationError("environment", name, ", ".join(known_names()))
    if args is not None and not (isinstance(args, dict) and all(isinstance(key, str) for key in args)):
        raise ConfigurationError("environment arguments", args, "names with values")
    tell(None, "Loading the game")
    try:
        module = importlib.import_module(entry.module)
    except ModuleNotFoundError as error:
        if entry.distribution is None or (error.name or "").partition(".")[0] != entry.distribution:
            raise
        raise EnvHostError(
            f"{name} needs the package {entry.distribution}, which this Python does not have: "
            f"install it there with pip install {entry.distribution}"
        ) from error
    environment: Environment = module.make(name, dict(args or {}), tell)
    _check(environment)
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
        "args": dict(args or {}),
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
        "digest": source_digest(_ENTRIES[name].distribution if name in _ENTRIES else None),
        "machine": machine_facts(),
        "numeric_probe": numeric_probe(),
        "step_us": step_us,
    }


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
