"""``test:counter_v0``: a tiny environment for tests, faults and benchmarks. Pure Python, no state outside of its own.

Every seat walks on a line of 16 places (left, right) and collects a treasure where it stands on it; each treasure
collected is worth 1, and the next one appears at random. Every input goes into the state, so that no two histories of
inputs have equal checksums.

Arguments, all optional:

- ``seats`` (2 to 8), ``max_steps``, ``mode`` (``held`` or ``press``).
- ``terminate_at``: a seat leaves for good when it has collected this many.
- ``step_cost_us``: microseconds that a step keeps the processor busy.
- ``import_block_s``, ``init_block_s``: seconds that loading blocks, before and while it is made.
- ``ballast_bytes``: the state is larger by so much, which never changes in an episode and is not in the checksum.
- ``fail_at_frame``, ``hang_at_frame``: the step of this frame raises, or does not return for an hour.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from envs.contract import Bot, Clock, Controls, Environment, Outcome, Progress, no_progress
from p2pclient.common.errors import ConfigurationError, EnvHostError
from p2pclient.common.frames import MAX_SEATS

_PLACES = 16
_TILE = 16
_NOTHING, _LEFT, _RIGHT, _COLLECT = range(4)
_NUMBERS = {
    "seats": (2, MAX_SEATS, 2),
    "max_steps": (1, 10**9, 1000),
    "terminate_at": (1, 10**9, None),
    "step_cost_us": (0, 10**7, 0),
    "import_block_s": (0, 3600, 0),
    "init_block_s": (0, 3600, 0),
    "ballast_bytes": (0, 10**8, 0),
    "fail_at_frame": (0, 10**9, None),
    "hang_at_frame": (0, 10**9, None),
}
"""Smallest and largest allowed, and what holds if left out."""
_COLOURS = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (0, 114, 178), (213, 94, 0), (240, 228, 66))
_STATE_KEYS = {"time", "random", "treasure", "places", "collected", "traces", "left"}
_WORD = (1 << 64) - 1


class CounterEnvironment(Environment):
    """See the module. ``clock`` and ``sleep`` are only used by the arguments that cost time.

    Raises:
        ConfigurationError: an argument is unknown or out of range.
    """

    nominal_rate_hz = 30
    bots = ("seeker",)
    predicts = True

    def __init__(
        self,
        args: Dict[str, Any],
        progress: Progress = no_progress,
        clock: Clock = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._args = _check_args(args)
        self._clock, self._sleep = clock, sleep
        self._block(float(self._args["import_block_s"]), "Importing", progress)
        self._block(float(self._args["init_block_s"]), "Starting", progress)
        seats = int(self._args["seats"])
        self.agents = tuple(f"walker_{seat}" for seat in range(seats))
        self.action_spaces = [{"kind": "discrete", "n": 4, "start": 0} for _ in self.agents]
        self.max_steps: Optional[int] = int(self._args["max_steps"])
        self.controls = _controls(str(self._args["mode"]), seats)
        self.reset(0)

    def reset(self, seed: int) -> None:
        seats = len(self.agents)
        self._time = 0
        self._random = (seed * 0x9E3779B97F4A7C15 + 0x1234567) & _WORD
        self._places = [(seat * 5 + self._draw(3)) % _PLACES for seat in range(seats)]
        self._treasure = self._draw(_PLACES)
        self._collected = [0] * seats
        self._traces = [0] * seats
        self._left = [False] * seats
        ballast = int(self._args["ballast_bytes"])
        self._ballast = (self._random.to_bytes(8, "little") * (ballast // 8 + 1))[:ballast]

    def step(self, actions: List[Any]) -> Outcome:
        self._act_up()
        gone = list(self._left)
        rewards: List[Any] = [None if left else 0.0 for left in gone]
        for seat, action in enumerate(actions):
            if not gone[seat] and self._move(seat, int(action)):
                rewards[seat] = 1.0
        self._time += 1
        limit, full = self._args["terminate_at"], self._time >= int(self._args["max_steps"])
        for seat, collected in enumerate(self._collected):
            self._left[seat] = gone[seat] or (limit is not None and collected >= limit)
        return Outcome(
            rewards,
            [None if gone[seat] else self._left[seat] for seat in range(len(gone))],
            [None if left else full for left in gone],
            [None if gone[seat] else {"collected": self._collected[seat]} for seat in range(len(gone))],
        )

    def observe(self) -> List[Any]:
        return [
            None if left else np.array([self._places[seat], self._treasure, self._time], dtype=np.int32)
            for seat, left in enumerate(self._left)
        ]

    def get_state(self) -> Dict[str, Any]:
        state = self._all_but_ballast()
        return {**state, "ballast": self._ballast} if self._ballast else state

    def fingerprint(self) -> Dict[str, Any]:
        return self._all_but_ballast()

    def _all_but_ballast(self) -> Dict[str, Any]:
        return {
            "time": self._time,
            "random": self._random,
            "treasure": self._treasure,
            "places": list(self._places),
            "collected": list(self._collected),
            "traces": list(self._traces),
            "left": list(self._left),
        }

    def set_state(self, state: Any) -> None:
        self._time, self._random, self._treasure = state["time"], state["random"], state["treasure"]
        self._places, self._collected = list(state["places"]), list(state["collected"])
        self._traces, self._left = list(state["traces"]), list(state["left"])
        self._ballast = state.get("ballast", b"")

    def check_state(self, state: Any) -> None:
        _check_state(state, len(self.agents), int(self._args["ballast_bytes"]))

    def seed_rng(self, seed: int) -> None:
        self._random = (seed * 0x9E3779B97F4A7C15 + 0x7654321) & _WORD

    def render(self) -> Any:
        picture = np.full((len(self.agents) * _TILE, _PLACES * _TILE, 3), 32, dtype=np.uint8)
        picture[:, self._treasure * _TILE + 4 : self._treasure * _TILE + 12] = (240, 228, 66)
        for seat, place in enumerate(self._places):
            colour = (90, 90, 90) if self._left[seat] else _COLOURS[seat % len(_COLOURS)]
            picture[seat * _TILE + 2 : seat * _TILE + 14, place * _TILE + 2 : place * _TILE + 14] = colour
        return picture

    def close(self) -> None:
        pass

    def make_bot(self, name: str, seat: int, seed: int) -> Bot:
        return _Seeker(self, seat)

    def predict(self, seat: int, newest: Any) -> int:
        # Who is after the treasure turns where it turns up next, long before that player's key press arrives.
        return _NOTHING if newest == _NOTHING else self.towards_treasure(seat)

    def measure_step_us(self, clock: Clock) -> int:
        # Not by stepping: a step that is to fail or to hang would do so before anybody plays.
        return int(self._args["step_cost_us"]) + 5

    def towards_treasure(self, seat: int) -> int:
        """Return the action that a seat takes to collect the treasure soonest."""
        place = self._places[seat]
        return _COLLECT if place == self._treasure else _RIGHT if place < self._treasure else _LEFT

    def _move(self, seat: int, action: int) -> bool:
        """Carry out one seat's action; True if it collected the treasure."""
        self._traces[seat] = (self._traces[seat] * 0x100000001B3 + action + 1 + self._draw(7)) & _WORD
        if action in (_LEFT, _RIGHT):
            self._places[seat] = min(_PLACES - 1, max(0, self._places[seat] + (1 if action == _RIGHT else -1)))
        if action != _COLLECT or self._places[seat] != self._treasure:
            return False
        self._collected[seat] += 1
        self._treasure = self._draw(_PLACES)
        return True

    def _draw(self, count: int) -> int:
        """Return a number below ``count`` (Knuth's MMIX generator; its high bits are the good ones)."""
        self._random = (self._random * 6364136223846793005 + 1442695040888963407) & _WORD
        return (self._random >> 33) % count

    def _act_up(self) -> None:
        cost = int(self._args["step_cost_us"])
        if cost:
            until = self._clock() + cost / 1e6
            while self._clock() < until:
                pass
        if self._time == self._args["fail_at_frame"]:
            raise RuntimeError(f"step {self._time} fails, as fail_at_frame asks for")
        if self._time == self._args["hang_at_frame"]:
            self._sleep(3600.0)

    def _block(self, seconds: float, text: str, progress: Progress) -> None:
        if seconds:
            progress(None, text)
            self._sleep(seconds)


class _Seeker(Bot):
    """Goes to the treasure and collects it."""

    def __init__(self, environment: CounterEnvironment, seat: int) -> None:
        self._environment = environment
        self._seat = seat

    def decide(self) -> int:
        return self._environment.towards_treasure(self._seat)


def make(name: str, args: Dict[str, Any], progress: Progress) -> CounterEnvironment:
    """Make ``test:counter_v0``; called by the registry."""
    return CounterEnvironment(args, progress)


def _check_args(args: Dict[str, Any]) -> Dict[str, Any]:
    values: Dict[str, Any] = {name: default for name, (_, _, default) in _NUMBERS.items()}
    values["mode"] = "held"
    for name, value in args.items():
        if name == "mode":
            if value not in ("held", "press"):
                raise ConfigurationError("environment argument mode", value, "held or press")
        elif name not in _NUMBERS:
            raise ConfigurationError(f"environment argument {name}", value, ", ".join([*_NUMBERS, "mode"]))
        else:
            low, high, default = _NUMBERS[name]
            kinds = (int, float) if name.endswith("_s") else (int,)
            good = isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high
            if not good and not (value is None and default is None):
                raise ConfigurationError(f"environment argument {name}", value, f"a number from {low} to {high}")
        values[name] = value
    return values


def _controls(mode: str, seats: int) -> Controls:
    keys = (
        (_LEFT, "left", ["KeyA", "ArrowLeft"]),
        (_RIGHT, "right", ["KeyD", "ArrowRight"]),
        (_COLLECT, "collect", ["Space", "Enter"]),
    )
    return {
        "mode": mode,
        "bindings": [{"keys": codes, "input": bytes((action,)), "label": label} for action, label, codes in keys],
        "neutral": [bytes((_NOTHING,))] * seats,
        "help": [("A D or ← →", "walk"), ("Space or Enter", "collect")],
    }


def _check_state(state: Any, seats: int, ballast: int) -> None:
    if not isinstance(state, dict) or set(state) != (_STATE_KEYS | {"ballast"} if ballast else _STATE_KEYS):
        raise EnvHostError("this is not a state of this environment: its fields differ")
    if ballast and (type(state["ballast"]) is not bytes or len(state["ballast"]) != ballast):
        raise EnvHostError("this is not a state of this environment: ballast is of another size")
    state = {name: value for name, value in state.items() if name != "ballast"}
    for name, value in state.items():
        kind = bool if name == "left" else int
        values = [value] if name in ("time", "random", "treasure") else value
        if not isinstance(values, list) or any(type(item) is not kind for item in values):
            raise EnvHostError(f"this is not a state of this environment: {name} has another type")
        if values is value and len(values) != seats:
            raise EnvHostError(f"this is not a state of this environment: {name} is for {len(values)} seats")
    if not all(0 <= place < _PLACES for place in [state["treasure"], *state["places"]]):
        raise EnvHostError("this is not a state of this environment: a place is not on the line")
