"""Flags that several commands share, and their values checked."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.match_settings import ON_DESYNC, match_frames
from p2pclient.runtime.logs import FORMATS, LEVELS

DEFAULT_ENV = "cogrid:Overcooked-CrampedRoom-V0"
DEFAULT_DATA = Path("tandem-data")
"""Where a server keeps what it must not lose."""

_AUTO_RANGE = (0, 8)
"""Frames within which ``--input-delay auto`` chooses."""


@dataclass(frozen=True, slots=True)
class InputDelay:
    """What ``--input-delay`` says."""

    frames: int
    range: tuple[int, int] | None = None

    @classmethod
    def parse(cls, text: str) -> InputDelay:
        """Read ``N``, ``auto`` or ``auto:LOWEST-HIGHEST``. Raises ValueError for anything else."""
        if not text.startswith("auto"):
            return cls(int(text))
        lowest, highest = _AUTO_RANGE
        if text != "auto":
            head, _, tail = text.removeprefix("auto:").partition("-")
            lowest, highest = int(head), int(tail)
        return cls(lowest, (lowest, highest))

    def __str__(self) -> str:
        return str(self.frames) if self.range is None else f"auto:{self.range[0]}-{self.range[1]}"


def number(text: str) -> float:
    """Read a number for a flag. Raises ValueError for what is none, ``nan`` and ``inf`` included."""
    value = float(text)
    if not isfinite(value):
        raise ValueError(text)
    return value


def add_log_flags(parser: argparse.ArgumentParser) -> None:
    """``--log-level``."""
    parser.add_argument("--log-level", choices=LEVELS, default="warning", help="what is logged (default: warning)")


def add_log_format_flag(parser: argparse.ArgumentParser) -> None:
    """``--log-format``."""
    parser.add_argument(
        "--log-format",
        choices=FORMATS,
        default="text",
        help="lines for people, or for programs: one JSON object for each (default: text)",
    )


def add_out_flag(parser: argparse.ArgumentParser) -> None:
    """``--out``."""
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder for recordings (default: runs)")


def add_allow_env_flag(parser: argparse.ArgumentParser) -> None:
    """``--allow-env``."""
    parser.add_argument(
        "--allow-env",
        action="append",
        default=[],
        metavar="MODULE:FACTORY",
        help="an environment of your own that the server may ask for",
    )


def add_environment_flags(parser: argparse.ArgumentParser) -> None:
    """``--env-arg`` and ``--max-steps``."""
    parser.add_argument(
        "--env-arg", action="append", default=[], metavar="NAME=JSON", help="an argument of the environment"
    )
    parser.add_argument("--max-steps", type=int, metavar="N", help="steps in one episode")


def add_hook_flag(parser: argparse.ArgumentParser) -> None:
    """``--step-hook``."""
    parser.add_argument(
        "--step-hook",
        metavar="MODULE:FUNCTION",
        help="a function of your own that sees every step and adds to its infos; the same on all machines",
    )


def add_fork_flag(parser: argparse.ArgumentParser) -> None:
    """``--no-fork``."""
    parser.add_argument(
        "--no-fork",
        action="store_true",
        help="keep the environment's state in other ways than by forking its process; the same on all machines",
    )


def add_inline_flag(parser: argparse.ArgumentParser) -> None:
    """``--env-inline``."""
    parser.add_argument(
        "--env-inline",
        action="store_true",
        help="run the environment in this process, so that a debugger stops in it; not for play",
    )


def host_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of a ``HostSpec`` that the flags of the environment's host say."""
    options: dict[str, Any] = {}
    if arguments.step_hook is not None:
        options["step_hook"] = arguments.step_hook
    if getattr(arguments, "no_fork", False):
        options["fork"] = False
    if getattr(arguments, "env_inline", False):
        options["inline"] = True
    return options


def add_match_flags(parser: argparse.ArgumentParser, *, own_rate: bool = False) -> None:
    """Rate, window, delay and length of a match. ``own_rate``: without ``--rate`` it is the environment's own."""
    default, said = (None, "the environment's own") if own_rate else (15.0, "15")
    parser.add_argument(
        "--rate", type=number, default=default, metavar="HZ", help=f"frames per second (default: {said})"
    )
    parser.add_argument(
        "--window",
        type=int,
        default=8,
        help="frames simulated before they are confirmed; 0 waits for each (default: 8)",
    )
    parser.add_argument(
        "--input-delay",
        type=InputDelay.parse,
        default=InputDelay(0),
        metavar="FRAMES",
        help="frames, or auto, or auto:LOWEST-HIGHEST to follow the network (default: 0)",
    )
    parser.add_argument(
        "--prediction",
        default="auto",
        metavar="NAME[,NAME...]",
        help="how missing inputs are assumed, for all seats or one by one: auto, repeat, neutral, or a predictor "
        "of the environment (default: auto)",
    )
    parser.add_argument(
        "--on-desync",
        choices=ON_DESYNC,
        default="end",
        help="when states differ: end the match, or simulate again and play on if all agree (default: end)",
    )
    parser.add_argument("--episodes", type=int, default=None, help="episodes in one match (default: 1)")
    parser.add_argument("--seconds", type=number, default=None, help="length of a match, in nominal frames of the rate")


def add_impairment_flags(parser: argparse.ArgumentParser) -> None:
    """What to do to every datagram that leaves."""
    group = parser.add_argument_group("impairment of what this client sends, one way, for trying bad networks")
    group.add_argument("--latency-ms", type=number, default=0.0, help="delay of every datagram")
    group.add_argument("--jitter-ms", type=number, default=0.0, help="standard deviation of the delay")
    group.add_argument("--loss", type=number, default=0.0, help="share of datagrams lost, 0 to 1")
    group.add_argument("--reorder", type=number, default=0.0, help="share of datagrams held back, 0 to 1")
    group.add_argument("--duplicate", type=number, default=0.0, help="share of datagrams that arrive twice, 0 to 1")


def impairment_options(arguments: argparse.Namespace) -> dict[str, float]:
    """Return the fields of an ``ImpairmentSpec``."""
    return {
        "delay_ms": arguments.latency_ms,
        "jitter_ms": arguments.jitter_ms,
        "loss": arguments.loss,
        "reorder": arguments.reorder,
        "duplicate": arguments.duplicate,
    }


def environment_arguments(arguments: argparse.Namespace, *, max_steps: bool = True) -> dict[str, Any]:
    """Return the environment's arguments; ``max_steps``: what ``--max-steps`` says among them.

    Raises:
        ConfigurationError: one is not ``NAME=JSON``.
    """
    found: dict[str, Any] = {}
    for text in arguments.env_arg:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ConfigurationError("--env-arg", text, "NAME=VALUE, the value as JSON")
        try:
            found[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            found[name] = value  # a bare word is a string
    if max_steps and arguments.max_steps is not None:
        found["max_steps"] = arguments.max_steps
    return found


def match_length(arguments: argparse.Namespace) -> tuple[int, int]:
    """Return ``(episodes, frames)``: 0 episodes means as many as the frames allow, 0 frames no limit.

    Raises:
        ConfigurationError: a value is out of range.
    """
    frames = match_frames(arguments.seconds, arguments.rate)
    return match_episodes(arguments), frames


def match_episodes(arguments: argparse.Namespace) -> int:
    """Return how many episodes a match has; 0 for as many as its frames allow, where its length is given.

    Raises:
        ConfigurationError: the value is out of range.
    """
    episodes: int = arguments.episodes if arguments.episodes is not None else (1 if arguments.seconds is None else 0)
    if episodes < 0:
        raise ConfigurationError("--episodes", episodes, "1 or more")
    return episodes
