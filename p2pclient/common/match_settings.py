"""The settings that all peers of a match share."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.frames import MAX_SEATS
from p2pclient.common.if_lost import LONGEST_WAIT, SHORTEST_WAIT, LossPolicy

MAX_INPUT_DELAY = 30
"""Frames."""
MAX_RATE_HZ = 240
MAX_FRAMES = 1_000_000_000
ON_DESYNC = ("end", "resimulate")
ON_AWAY = ("go-on", "pause")
RELAY = ("allowed", "never", "always")


def match_frames(seconds: float | None, rate_hz: float) -> int:
    """Return how many frames a match of so many seconds has; 0 if no length is given.

    Raises:
        ConfigurationError: the rate or the length is out of range, named as the flags are.
    """
    if not 1 <= rate_hz <= MAX_RATE_HZ:
        raise ConfigurationError("--rate", rate_hz, f"1 to {MAX_RATE_HZ}")
    if seconds is None:
        return 0
    frames = round(seconds * rate_hz)
    if not 1 <= frames <= MAX_FRAMES:
        raise ConfigurationError("--seconds", seconds, f"1 to {MAX_FRAMES} frames long")
    return frames


class MatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What all peers of a match must agree on. Chosen by the server; checked wherever it is built or received.

    Raises:
        ConfigurationError: a value is out of range; names the setting.
    """

    study: str = ""
    """Name of the study; empty for a server that was started without one."""
    env: str
    """Registered name of the environment. Never a path or a factory: what is loaded is decided where it is loaded."""
    env_args: dict[str, Any] = {}
    """Arguments of the environment, plain JSON values."""
    seats: int = 2
    rate_hz: float = 15.0
    """Frames per second."""
    window: int = 8
    """Prediction window: how many unconfirmed frames may be simulated at most; 0 is lockstep, nothing is predicted."""
    input_delay: int = 0
    """Frames between reading an input and simulating it; where it begins, if it follows the network."""
    delay_range: tuple[int, int] | None = None
    """Bounds within which the input delay follows the network, the same on all sides; None keeps it fixed."""
    episodes: int = 1
    """Episodes in one match; 0 for as many as fit into ``frames``."""
    frames: int = 0
    """Nominal frames over the whole match, after which it ends in mid-episode; 0 for no limit."""
    drop_after_s: float = 15.0
    """Seconds of silence after which a player counts as gone, where :attr:`on_drop` has no other for its seat."""
    prediction: tuple[str, ...] = ("auto",)
    """How missing inputs are assumed, one name for all seats or one for each: ``auto``, ``repeat``, ``neutral``, or one
    of the environment's own predictors."""
    may_return: bool = False
    """May a player whose program is gone be started again and play on; until ``drop_after_s`` it is waited for."""
    on_desync: str = "end"
    """What follows when states differ: ``end`` the match, or ``resimulate`` and play on if all agree then."""
    on_drop: str = "end"
    """What follows when a player is gone, for all seats or for single ones: :mod:`p2pclient.common.if_lost`."""
    on_away: str = "go-on"
    """When a player's window is not in front: ``go-on`` with released keys, or ``pause`` until it is back."""
    away_limit_s: float = 60.0
    """Seconds that such a pause lasts at most."""
    tell_away: bool = False
    """Are the others told whose window is not in front."""
    check_tries: int = 3
    """Tries that the links have before each episode, until one that does not stand them counts as lost."""
    max_rtt_ms: float | None = None
    """Longest round trip with which an episode may begin; None without a bound."""
    max_loss: float | None = None
    """Largest share of lost datagrams, 0 to 1, with which one may begin; None without a bound."""
    spectators: bool = True
    """May others watch the match while it runs."""
    relay: str = "allowed"
    """May what clients say to each other go by way of the server: ``allowed`` when nothing better works, ``never``, or
    ``always``, which is for trying it out."""
    record_observations: bool = False
    allow_mixed_hosts: bool = False
    """Let machines with another Python, NumPy or system play together, as long as their numeric probes agree."""

    @property
    def longest_wait_s(self) -> float:
        """Seconds for which a player that is silent may be waited for."""
        return LossPolicy.parse(self.on_drop).longest_wait(self.drop_after_s)

    def __post_init__(self) -> None:
        if self.study and not STUDY_NAME.match(self.study):
            raise ConfigurationError("study", self.study, "1 to 64 letters, digits and -")
        _check_env(self.env, self.env_args)
        _check_range("seats", self.seats, 1, MAX_SEATS)
        _check_range("rate_hz", self.rate_hz, 1, MAX_RATE_HZ)
        _check_range("window", self.window, 0, 60)
        _check_range("input_delay", self.input_delay, 0, MAX_INPUT_DELAY)
        if self.delay_range is not None:
            lowest, highest = self.delay_range
            _check_range("delay_range, lowest", lowest, 0, MAX_INPUT_DELAY)
            _check_range("delay_range, highest", highest, lowest, MAX_INPUT_DELAY)
            _check_range("input_delay", self.input_delay, lowest, highest)
        if len(self.prediction) not in (1, self.seats) or not all(_PREDICTOR.match(name) for name in self.prediction):
            raise ConfigurationError("prediction", self.prediction, "one name for all seats, or one for each")
        if self.relay not in RELAY:
            raise ConfigurationError("relay", self.relay, ", ".join(RELAY))
        LossPolicy.parse(self.on_drop, seats=self.seats)
        if self.on_desync not in ON_DESYNC:
            raise ConfigurationError("on_desync", self.on_desync, " or ".join(ON_DESYNC))
        _check_range("frames", self.frames, 0, MAX_FRAMES)
        _check_range("episodes", self.episodes, 0 if self.frames else 1, 1_000_000)
        _check_range("drop_after_s", self.drop_after_s, SHORTEST_WAIT, LONGEST_WAIT)
        self._check_presence()

    def _check_presence(self) -> None:
        if self.on_away not in ON_AWAY:
            raise ConfigurationError("on_away", self.on_away, " or ".join(ON_AWAY))
        _check_range("away_limit_s", self.away_limit_s, 1, 3600)
        _check_range("check_tries", self.check_tries, 1, 100)
        if self.max_rtt_ms is not None:
            _check_range("max_rtt_ms", self.max_rtt_ms, 1, 10_000)
        if self.max_loss is not None:
            _check_range("max_loss", self.max_loss, 0, 1)


DEFAULT_STUDY = "study"
"""What is kept without a study's file is kept under this name."""
STUDY_NAME = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_PREDICTOR = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_ENV_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,199}\Z")


def _check_env(env: Any, args: Any) -> None:
    if not isinstance(env, str) or not _ENV_NAME.match(env) or ".." in env:
        raise ConfigurationError("env", env, "the name of a registered environment, such as cogrid:Overcooked")
    try:
        size = len(msgspec.json.encode(args)) if isinstance(args, dict) else -1
    except (TypeError, ValueError, RecursionError):
        size = -1
    if not 0 <= size <= 16 * 1024 or not all(isinstance(key, str) for key in args):
        raise ConfigurationError("env_args", args, "names with plain JSON values, at most 16 KB together")


def _check_range(setting: str, value: Any, low: float, high: float) -> None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not low <= value <= high:
        raise ConfigurationError(setting, value, f"{low:.10g} to {high:.10g}")
