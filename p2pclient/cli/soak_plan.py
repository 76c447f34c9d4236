"""What a soak is to do, as plain data: everything that is drawn at random follows from its seed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from p2pclient.common.errors import ConfigurationError
from p2pclient.sim.profiles import PROFILES

_IMPAIRMENTS = ("delay_ms", "jitter_ms", "loss", "duplicate", "reorder")
"""What a client can do to what it sends. Bursts and rates are the simulator's alone."""

NETWORKS: Mapping[str, Mapping[str, float]] = {
    "none": {},
    **{
        name: {figure: getattr(link, figure) for figure in _IMPAIRMENTS if getattr(link, figure)}
        for name, link in PROFILES.items()
    },
}
"""What each client does to all that it sends, one way, by name of the network: the simulator's figures. The jitter is
a standard deviation here and a bound there, so that these networks are somewhat worse."""

MIXED = "mixed"
"""Instead of a network's name: every client process draws its own."""

KILL_CLIENT, KILL_HOST, KILL_SERVER = "kill-client", "kill-host", "kill-server"
PAUSE, LEAVE = "pause", "leave"

FAULT_SHARES: Mapping[str | None, float] = {
    None: 0.40,
    KILL_CLIENT: 0.20,
    KILL_HOST: 0.18,
    PAUSE: 0.10,
    LEAVE: 0.07,
    KILL_SERVER: 0.05,
}
"""Share of the matches that each fault meets."""

_AT_ONCE, _NEAR_THE_END = 0.15, 0.15
"""Shares of the faults that come while the two are connecting, and about when the match ends."""
_CONNECTING_SECONDS = 0.6
_LONGEST_PAUSE = 4.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to one match."""

    kind: str
    side: int
    """Preferred victim: the client in the first or the second seat."""
    moment: float
    """Seconds after both play; after both were matched if ``at_once``."""
    at_once: bool = False
    seconds: float = 0.0
    """How long a pause lasts."""


@dataclass(frozen=True, slots=True)
class Seeds:
    """What a client process draws its chance from."""

    seed: int
    """Of the bot and of the impairment."""
    network: str


@dataclass(frozen=True, slots=True)
class RepeatedMatch:
    """One match of an earlier soak whose conditions all matches of this one are to have."""

    fault: Fault | None
    clients: tuple[Seeds, Seeds]


@dataclass(frozen=True, slots=True)
class SoakPlan:
    """What to run."""

    env: str
    env_args: Mapping[str, Any]
    bot: str
    pairs: int
    seconds: float
    """How long matches are begun; but see ``matches``."""
    profile: str
    seed: int
    out: Path
    rate: float
    window: int
    input_delay: str
    """As ``serve`` takes it. Likewise the next two."""
    prediction: str
    on_desync: str
    frames: int
    """Frames in one match."""
    kills: bool = True
    keep: bool = False
    """Keep the recordings of matches in which all was well, too."""
    replay_share: float = 0.25
    """Share of the matches that are simulated again in a straight run; those that a fault met always are."""
    lag_limit_ms: float = 50.0
    """What the 99th percentile of a client's lateness in one match may be, this machine's own lateness not counted."""
    matches: int = 0
    """After so many checked matches no more are begun, though there may be time; 0: only the time ends a soak."""
    most_failures: int = 20
    """After so many failures the soak ends: more would tell nothing new and fill the disk."""
    drop_after: float = 15.0
    client_log_level: str = "debug"
    """At ``debug`` every simulated frame is in the run's folder: the trace of a match that fails."""
    wrong_env: str | None = None
    """For tests: what makes the environment of the second client of each pair wrong, as JSON."""
    env_python: str | None = None
    """The Python of all environments, those of straight runs too; None: this one."""
    repeated: RepeatedMatch | None = None
    kill_server_every: float = 0.0
    """Seconds after which every server is killed, and its console looked at; 0: as the faults have it."""

    def __post_init__(self) -> None:
        if not 1 <= self.pairs <= 100:
            raise ConfigurationError("--pairs", self.pairs, "1 to 100")
        if not self.seconds > 0:
            raise ConfigurationError("--minutes", self.seconds / 60, "more than 0")
        if self.matches < 0:
            raise ConfigurationError("--matches", self.matches, "0, for as long as there is time, or more")
        if self.frames < 1:
            raise ConfigurationError("--seconds", self.frames / self.rate, "at least one frame long")
        if self.profile != MIXED and self.profile not in NETWORKS:
            raise ConfigurationError("--profile", self.profile, ", ".join([*NETWORKS, MIXED]))

    @property
    def match_seconds(self) -> float:
        """How long a match takes when nothing holds it up."""
        return self.frames / self.rate

    @property
    def patience(self) -> float:
        """Seconds after which a client that has got no further hangs."""
        return 1.5 * self.match_seconds + self.drop_after + 60.0

    def client_seeds(self, slot: int, generation: int) -> Seeds:
        """Return what the ``generation``-th process in ``slot`` draws from; slots 0 and 1 are the first pair."""
        if self.repeated is not None:
            return self.repeated.clients[slot % 2]
        random = Random(f"{self.seed}/client/{slot}/{generation}")
        network = random.choice(sorted(NETWORKS)) if self.profile == MIXED else self.profile
        return Seeds(random.getrandbits(31), network)

    def server_seed(self, generation: int) -> int:
        """Return the seed of the server's ``generation``-th process: matches are never named alike."""
        return Random(f"{self.seed}/server/{generation}").getrandbits(31)

    def fault_of(self, number: int) -> Fault | None:
        """Return what is to happen to the ``number``-th match."""
        if self.repeated is not None:
            return self.repeated.fault
        if not self.kills:
            return None
        random = Random(f"{self.seed}/fault/{number}")
        (kind,) = random.choices(list(FAULT_SHARES), list(FAULT_SHARES.values()))
        if kind is None:
            return None
        side, seconds = random.randrange(2), random.uniform(0.2, _LONGEST_PAUSE)
        when = random.random()
        if when < _AT_ONCE and kind != PAUSE:
            return Fault(kind, side, random.uniform(0.0, _CONNECTING_SECONDS), at_once=True)
        if when > 1 - _NEAR_THE_END:
            return Fault(kind, side, self.match_seconds + random.uniform(-1.0, 0.5), seconds=seconds)
        return Fault(kind, side, random.uniform(0.0, self.match_seconds), seconds=seconds)

    def is_replayed(self, number: int) -> bool:
        """Is the ``number``-th match in the sample that is simulated again."""
        return Random(f"{self.seed}/replay/{number}").random() < self.replay_share


@dataclass(slots=True)
class MatchFacts:
    """The conditions of one match, to be kept with it when it fails and to be repeated."""

    match_id: str
    number: int
    settings: dict[str, Any]
    fault: Fault | None
    clients: list[Seeds] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    sides: list[dict[str, Any]] = field(default_factory=list)
    check: dict[str, Any] = field(default_factory=dict)
    repeat: str = ""

    def to_json(self) -> str:
        """Return it as text for a file."""
        return json.dumps(asdict(self), indent=2, default=str) + "\n"


def settings_of(plan: SoakPlan) -> dict[str, Any]:
    """Return what a repetition must have in common with ``plan``, as plain data."""
    names = ["env", "env_args", "bot", "profile", "seed", "rate", "window", "frames", "drop_after"]
    names += ["input_delay", "prediction", "on_desync", "wrong_env"]
    return {name: getattr(plan, name) for name in names}


def read_repeated(path: Path) -> tuple[dict[str, Any], RepeatedMatch]:
    """Return the settings and the match in a file that :meth:`MatchFacts.to_json` made.

    Raises:
        ConfigurationError: it is no such file.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        fault = None if facts["fault"] is None else Fault(**facts["fault"])
        first, second = (Seeds(**client) for client in facts["clients"])
        return dict(facts["settings"]), RepeatedMatch(fault, (first, second))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError("--repeat", path, f"the match.json of a match that failed ({error})") from error
