"""An environment of the person's own: ``mypackage.module:factory``, whatever kind of environment the factory makes."""

from __future__ import annotations

import importlib
import inspect
import os
from typing import Any, Dict, Type

from envs.contract import Environment, Progress, no_progress
from envs.foreign_packages import install_hint
from envs.keeping import Keeper, NoKeeper
from p2pclient.common.errors import ConfigurationError, EnvHostError


def make(
    name: str, args: Dict[str, Any], progress: Progress = no_progress, keeper: Type[Keeper] = NoKeeper
) -> Environment:
    """Import the module and call the factory with ``args``.

    It may return a Gymnasium environment, a PettingZoo one (parallel or AEC), or an
    :class:`~envs.contract.Environment`, which keeps its state by itself.

    Raises:
        ConfigurationError: there is no such module or factory, or it makes something else.
        EnvHostError: the module needs a package that is not installed.
    """
    place, _, factory_name = name.partition(":")
    try:
        factory = getattr(importlib.import_module(place), factory_name)
    except (ImportError, AttributeError) as error:
        missing = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
        if missing and not f"{place}.".startswith(f"{missing}."):
            raise EnvHostError(install_hint(name, missing)) from error
        why = f"{error}; looked in {os.getcwd()}, where you are, and among what is installed" if missing else str(error)
        if place.endswith(".py"):
            why = f"leave out .py: {place[:-3]}:{factory_name}"
        raise ConfigurationError("environment", name, f"module:factory that this Python can import ({why})") from error
    progress(None, "Starting the game")
    given = dict(args)
    by_turns = given.pop("tandem_turns", False)
    _check_call(name, factory, given)
    made = factory(**given)
    return adapt(made, name, keeper, by_turns=by_turns)


def _check_call(name: str, factory: Any, given: Dict[str, Any]) -> None:
    """Raise if the factory does not take the arguments, before its own message that says nothing of this program."""
    if not callable(factory):
        raise ConfigurationError("environment", name, "a function or class that makes it")
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        return  # of C code; it says it itself
    try:
        signature.bind(**given)
    except TypeError as error:
        shown = ", ".join(f"{key}={value!r}" for key, value in given.items()) or "none"
        taken = f"It is {name.partition(':')[2]}{signature}; given: {shown}"
        raise EnvHostError(
            f"{name} does not take these arguments: {error}. {taken}. Give what it needs with --env-arg NAME=VALUE"
        ) from error


def adapt(made: Any, name: str, keeper: Type[Keeper] = NoKeeper, *, by_turns: bool = False) -> Environment:
    """Put a Gymnasium or PettingZoo environment behind the contract of ours; one that has it already stays as it is.

    Args:
        by_turns: as in :func:`envs.foreign_zoo.from_env`.

    Raises:
        ConfigurationError: it is something else.
    """
    if isinstance(made, Environment):
        return made
    import gymnasium

    if isinstance(made, gymnasium.Env):
        from envs.foreign_gym import GymnasiumEnvironment

        return GymnasiumEnvironment(made, name, keeper)
    try:
        from pettingzoo import AECEnv, ParallelEnv
    except ModuleNotFoundError:
        kinds: Any = ()
    else:
        kinds = (AECEnv, ParallelEnv)
    if isinstance(made, kinds):
        from envs.foreign_zoo import from_env

        return from_env(made, name, keeper=keeper, by_turns=by_turns)
    if isinstance(made, type):
        raise ConfigurationError(
            "environment", name, f"a factory of an environment, not of the class {made.__name__}: it should call that"
        )
    kind = f"{type(made).__module__}.{type(made).__qualname__}"
    raise ConfigurationError("environment", name, f"a factory of a Gymnasium or PettingZoo environment, not of {kind}")
