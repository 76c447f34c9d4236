"""Flags of the environment's process: under which Python it runs, and what it may take. Never a server's to say."""

from __future__ import annotations

import argparse
from typing import Any

from p2pclient.common.errors import ConfigurationError
from p2pclient.envhost.interpreter import use_interpreter
from p2pclient.settings.flags import number

_LEAST_MB = 64
"""Less is not enough for Python and NumPy alone."""
_LONGEST_SECONDS = 86_400.0


def add_process_flags(parser: argparse.ArgumentParser) -> None:
    """``--env-python``, ``--env-memory``, ``--env-load-timeout`` and ``--env-reset-timeout``."""
    group = parser.add_argument_group("the environment's own process")
    group.add_argument(
        "--env-python",
        metavar="PATH|NAME",
        help="another Python for the environment: its path, a command, or a name of `tandem install`",
    )
    group.add_argument("--env-memory", type=int, metavar="MB", help="end the environment if it takes more memory")
    group.add_argument(
        "--env-load-timeout", type=number, metavar="S", help="seconds until it must be ready (default: 120)"
    )
    group.add_argument("--env-reset-timeout", type=number, metavar="S", help="seconds for a reset (default: 60)")


def process_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of ``HostSpec`` that the flags name. The interpreter is started once to see that it is fit.

    Raises:
        ConfigurationError: a value is out of range, or no host can run under the interpreter.
    """
    options: dict[str, Any] = {}
    if getattr(arguments, "env_inline", False) and (arguments.env_python or arguments.env_memory):
        raise ConfigurationError(
            "--env-inline", True, "without --env-python and --env-memory: it has no process of its own"
        )
    if arguments.env_memory is not None:
        if arguments.env_memory < _LEAST_MB:
            raise ConfigurationError("--env-memory", arguments.env_memory, f"{_LEAST_MB} MB or more")
        options["memory_mb"] = arguments.env_memory
    for flag, name in (("env_load_timeout", "init_timeout"), ("env_reset_timeout", "reset_timeout")):
        seconds = getattr(arguments, flag)
        if seconds is not None:
            if not 0 < seconds <= _LONGEST_SECONDS:
                raise ConfigurationError(f"--{flag.replace('_', '-')}", seconds, f"up to {_LONGEST_SECONDS:g} seconds")
            options[name] = seconds
    if arguments.env_python is not None:
        options["python"] = use_interpreter(arguments.env_python).path
    return options


def process_words(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return the flags as they were given, for a command line of ours that starts clients."""
    flags = ("env_python", "env_memory", "env_load_timeout", "env_reset_timeout")
    given = [(flag, getattr(arguments, flag)) for flag in flags]
    return tuple(f"--{flag.replace('_', '-')}={value}" for flag, value in given if value is not None)
