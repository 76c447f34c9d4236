"""Everything that decides how a simulated match goes, as data: it can be printed, stored and run again."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Any

import msgspec

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.frames import MAX_JOINED_BYTES, MAX_SEATS
from p2pclient.common.if_lost import LossPolicy
from p2pclient.common.match_settings import MAX_INPUT_DELAY, ON_DESYNC
from p2pclient.sim.network import LinkSpec

SPELLS = ("outage", "hold", "loss", "delay", "dead-inputs", "dead-control")
"""Kinds of fault that happen to paths, see :class:`~p2pclient.sim.network.Spell`."""
RECONNECT = "reconnect"
"""As an outage, after which another connection takes the place of the old one."""
HOST_FAULTS = ("host-dies", "host-hangs", "host-raises")
"""Kinds that happen to a peer's environment, which is started again."""
ASKS = ("ask-pause", "ask-end", "ask-extend")
"""Kinds that are no faults: somebody asks for a change of the match."""
FAULTS = (
    *(*SPELLS, RECONNECT, *HOST_FAULTS, *ASKS, "pause", "slow", "leave", "crash", "return", "kill"),
    *("corrupt-step", "corrupt-once", "corrupt-load"),
)
TERMINAL = frozenset({"leave", "crash"})
"""After these a peer is gone."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong on purpose.

    ``outage``, ``hold``, ``loss`` (share), ``delay`` (ms), ``dead-inputs``, ``dead-control`` (one lane alone): the
    path from ``peer`` to ``other`` for ``seconds``; with ``other`` -1 every path of the peer in both directions.
    ``reconnect``: as ``outage``, but then both sides use another connection: control messages that were under way
    over the old one never arrive. ``pause``: the peer's program stands still for ``seconds``. ``slow``: its host
    takes ``amount`` times as long. ``leave``: it says goodbye. ``crash``: it is gone without a word; the server tells
    the others ``amount`` seconds later, never if 0. ``return``: it is back as a spectator, ``amount`` frames behind,
    if it had crashed and others play. ``kill``: its program is gone without a word, and started again ``seconds``
    later; with ``amount`` 1 its recording is gone, too. ``corrupt-step``, ``corrupt-once``, ``corrupt-load``: its
    state goes wrong at frame ``amount`` of the first episode; the second stops when the frame is simulated again
    after a desync.
    ``host-dies``, ``host-hangs``, ``host-raises``: its environment does that at the next batch; another one takes
    ``seconds`` to start. ``ask-pause``: the peer asks for a pause; after ``seconds`` everybody asks for its end.
    ``ask-end``: it asks for the match's end. ``ask-extend``: it asks for ``amount`` more frames.
    """

    kind: str
    at: float = 0.0
    seconds: float = 0.0
    peer: int = 0
    other: int = -1
    amount: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise ConfigurationError("fault", self.kind, ", ".join(FAULTS))
        _check_numbers(self, {"at": _TIME, "seconds": _TIME, "amount": (0, 1e9)}, f"{self.kind}: ")


@dataclass(frozen=True, slots=True)
class SpectatorSpec:
    """Somebody who watches, with the links of the players."""

    at: float = 0.0
    """When it comes, seconds."""
    delay: int = 0
    """Frames to stay behind what is confirmed."""
    leave_at: float = 0.0
    """When it says goodbye; 0: not before the end."""
    pause_at: float = 0.0
    pause_seconds: float = 0.0
    """Its program stands still for so long."""

    def __post_init__(self) -> None:
        bounds = {"at": _TIME, "delay": (0, 1e6), "leave_at": _TIME, "pause_at": _TIME, "pause_seconds": _TIME}
        _check_numbers(self, bounds, "spectator: ")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One match and the world around it.

    Raises:
        ConfigurationError: a value is out of range.
    """

    seed: int = 1
    players: int = 2
    """Peers, every two of them connected."""
    seats_per_peer: int = 1
    seconds: float = 60.0
    """Length of the match in nominal frames."""
    rate_hz: float = 60.0
    window: int = 8
    input_delays: tuple[int, ...] = (0,)
    """By peer; the last one counts for all further peers."""
    network: str = "lan"
    """Name of the profile behind the figures of the links, for reports."""
    link: LinkSpec = field(default_factory=LinkSpec)
    """From each peer to those with a higher number."""
    back: LinkSpec | None = None
    """From each peer to those with a lower number; None: the same."""
    skew_ppm: float = 0.0
    """The clock of the last peer runs this much faster than that of the first; those between them lie between."""
    start_offset_frames: float | None = None
    """The last peer begins the first episode this many frames after the first; None: as the barrier has it."""
    hold_frames: int = 6
    """A key is held for 1 to so many frames, uniform."""
    input_bytes: int = 1
    """Width of one seat's input in the environment; one more is sent, for the focus."""
    step_ms: float = 0.5
    """Cost of a step of the environment."""
    save_ms: float = 0.02
    """Cost of a snapshot, and of going back to one."""
    episode_frames: int | None = None
    """Length of an episode; None: one episode fills the match."""
    ends_when: int | None = None
    """About one step in so many ends the episode, by the state; None: none does."""
    press: bool = False
    """Keys act once, and missing inputs are assumed to be neutral; else they are held and the last is repeated."""
    portable: bool = True
    """Can a new host take over a state; if not, it simulates the episode again."""
    drop_after: float = 15.0
    plan: dict[str, Any] = field(default_factory=dict)
    """Further settings of the match plan, by name."""
    faults: tuple[Fault, ...] = ()
    spectators: tuple[SpectatorSpec, ...] = ()

    def __post_init__(self) -> None:
        bounds = {
            "players": (2, MAX_SEATS),
            "seats_per_peer": (1, MAX_SEATS // 2),
            "seconds": (0.1, 1e7),
            "rate_hz": (1, 1000),
            "window": (0, 120),
            "skew_ppm": (-2e5, 2e5),
            "hold_frames": (1, 100_000),
            "input_bytes": (1, MAX_JOINED_BYTES // MAX_SEATS - 1),
            "step_ms": (0, 10_000),
            "save_ms": (0, 10_000),
            "drop_after": (0.1, 3600),
            "start_offset_frames": (0, 10_000),
            "episode_frames": (1, 1e9),
            "ends_when": (1, 1e9),
        }
        _check_numbers(self, bounds)
        _check_plan(self.plan)
        if self.seats > MAX_SEATS:
            raise ConfigurationError("seats_per_peer", self.seats_per_peer, f"at most {MAX_SEATS} seats in all")
        if not self.input_delays or any(not 0 <= delay <= 60 for delay in self.input_delays):
            raise ConfigurationError("input_delays", self.input_delays, "0 to 60 frames for each peer")
        if any(not 0 <= f.peer < self.players or not -1 <= f.other < self.players for f in self.faults):
            raise ConfigurationError("faults", self.faults, f"peers from 0 to {self.players - 1}")

    @property
    def seats(self) -> int:
        """Seats of the match."""
        return self.players * self.seats_per_peer

    @property
    def frames(self) -> int:
        """Nominal frames of the match."""
        return max(1, round(self.seconds * self.rate_hz))

    def seats_of(self, peer: int) -> tuple[int, ...]:
        """Return the seats that a peer holds."""
        first = peer * self.seats_per_peer
        return tuple(range(first, first + self.seats_per_peer))

    def input_delay_of(self, peer: int) -> int:
        """Return the input delay with which a peer begins."""
        return self.input_delays[min(peer, len(self.input_delays) - 1)]

    def clock_rate_of(self, peer: int) -> float:
        """Return how fast a peer's clock runs."""
        return 1.0 + self.skew_ppm * 1e-6 * peer / (self.players - 1)

    @property
    def losses(self) -> LossPolicy:
        """What follows when a player is gone."""
        return LossPolicy.parse(self.plan.get("on_drop", "end"))

    def to_json(self) -> str:
        """Return what differs from the defaults, as JSON on one line."""
        plain = msgspec.to_builtins(self)
        usual = msgspec.to_builtins(Scenario())
        return msgspec.json.encode({name: value for name, value in plain.items() if value != usual[name]}).decode()


_TIME = (0.0, 1e7)
"""Seconds."""
_Bounds = dict[str, tuple[float, float]]


def _check_numbers(owner: Any, bounds: _Bounds, prefix: str = "") -> None:
    """Raise ConfigurationError unless every attribute is within its bounds, or None where that is its default."""
    for setting, (low, high) in bounds.items():
        value = getattr(owner, setting)
        if value is not None and not (isfinite(value) and low <= value <= high):
            raise ConfigurationError(f"{prefix}{setting}", value, f"a number from {low:g} to {high:g}")


def _check_plan(plan: dict[str, Any]) -> None:
    """Raise ConfigurationError unless these are settings that a simulated match takes."""
    for name, value in plan.items():
        if name == "on_drop":
            LossPolicy.parse(value, setting="plan: on_drop")
            continue
        if name in _CHOICES:
            good, allowed = value in _CHOICES[name], " or ".join(_CHOICES[name])
        elif name == "delay_range":
            good = isinstance(value, list | tuple) and len(value) == 2 and all(type(n) is int for n in value)
            good = good and 0 <= value[0] <= value[1] <= MAX_INPUT_DELAY
            allowed = f"two numbers of frames, 0 to {MAX_INPUT_DELAY}"
        elif name == "prediction":
            good = isinstance(value, list | tuple) and bool(value) and all(isinstance(each, str) for each in value)
            allowed = "a list of names"
        else:
            raise ConfigurationError("plan", name, ", ".join([*_CHOICES, "on_drop", "delay_range", "prediction"]))
        if not good:
            raise ConfigurationError(f"plan: {name}", value, allowed)


_CHOICES = {"on_desync": ON_DESYNC}


def scenario_from_json(text: str) -> Scenario:
    """Return the scenario that :meth:`Scenario.to_json` wrote.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        given = msgspec.json.decode(text, type=dict[str, Any])
        unknown = sorted(set(given) - {each.name for each in fields(Scenario)})
        if unknown:
            raise ConfigurationError("--scenario", unknown[0], "names of a scenario's fields")
        return msgspec.convert(given, Scenario)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError("--scenario", text[:200], f"a scenario as JSON ({error})") from None
