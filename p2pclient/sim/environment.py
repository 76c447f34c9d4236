"""A small environment and its host, made for being simulated a million times.

Its state is a running mix of everything that was ever pressed, in whole numbers: the mix is a bijection of the state
before, so that one wrong input shows at once and for good. Rewards, totals and the end depend on it. A step takes a few
microseconds; what it *costs* in the simulated world is a figure of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.seeds import derive_seed

KEYS = 6
"""Distinct inputs that a player uses."""
_MASK = (1 << 64) - 1
_ODD = 0x9E3779B97F4A7C15
_PRIME = (1 << 64) - 59
_EARLIEST_END = 20
_SLIP = 1 << 17
_TOTAL_BITS = 40
_TOTAL_MASK = (1 << _TOTAL_BITS) - 1


@dataclass(frozen=True, slots=True)
class Costs:
    """What commands take in the simulated world, microseconds."""

    step: int = 500
    save: int = 20
    load: int = 20
    other: int = 20
    batch: int = 250
    """Around each batch: the pipe, the scheduler."""


@dataclass(slots=True)
class Corruption:
    """Where a host's state goes wrong on purpose."""

    episode: int
    frame: int
    kind: str = "step"
    """``step``: this frame's result is wrong whenever it is simulated. ``once``: the same, until it :attr:`is_healed`.
    ``load``: every snapshot from it on comes back wrong."""
    happened: bool = False
    """Was the state changed at least once."""
    is_healed: bool = False


def describe_environment(
    seats: int,
    *,
    max_steps: int | None,
    input_bytes: int = 1,
    mode: str = "held",
    step_us: float = 500.0,
    portable: bool = True,
) -> dict[str, Any]:
    """Return what a host says of the environment when it is ready."""
    whole = {1: 1 << 8, 2: 1 << 16, 4: 1 << 32}.get(input_bytes)
    space = (
        {"kind": "discrete", "n": whole, "start": 0}
        if whole
        else {"kind": "multi_discrete", "nvec": [256] * input_bytes}
    )
    return {
        "env": "sim",
        "args": {},
        "agents": list(range(seats)),
        "seats": seats,
        "action_spaces": [space] * seats,
        "observation_spaces": [None] * seats,
        "controls": {"mode": mode, "bindings": [], "neutral": [bytes(input_bytes)] * seats, "help": []},
        "max_steps": max_steps,
        "nominal_rate_hz": 60,
        "bots": ["sim"],
        "predictors": [["held"]] * seats,
        "digest": "sim",
        "machine": {"python": "3", "numpy": "2", "system": "virtual", "machine": "virtual"},
        "numeric_probe": "sim",
        "step_us": step_us,
        "portable": portable,
    }


class SimulatedHost:
    """Carries out batches and says what they cost.

    Args:
        seats: of the match.
        ends_when: about one step in so many ends the episode, by its state; None: it never ends by itself.
        input_bytes: width of an input.
        costs: of the commands.
    """

    def __init__(
        self, seats: int, *, ends_when: int | None = None, input_bytes: int = 1, costs: Costs | None = None
    ) -> None:
        self.frame = 0
        """The frame that is simulated next."""
        self.episode = -1
        self.corruption: Corruption | None = None
        self._ends_when = ends_when
        self._input_bytes = input_bytes
        self._mix = 0
        self._seats = seats
        # Totals are whole quarters, 40 bits for each seat in one number: a step adds once, a snapshot copies nothing.
        self._quarters = 0
        self._rewards: dict[int, tuple[list[float], int]] = {}
        self._reward_mask = (1 << 2 * seats) - 1
        self._ended = False
        self._saved: dict[int, tuple[int, int, bool]] = {}
        self._none = [None] * seats
        self._going, self._over = [False] * seats, [True] * seats
        self._infos: list[dict[str, Any]] = [{}] * seats
        self._bots: dict[int, Random] = {}
        self._predictors: dict[int, str] = {}
        self._substitutes: dict[int, str] = {}
        self._commands: dict[str, Callable[..., Any]] = {
            "reset": self.reset,
            "step": self.step,
            "save": self.save,
            "load": self.load,
            "drop": self.drop,
            "compute_hash": self.compute_hash,
            "get_state": self.get_state,
            "get_snapshot": self.get_snapshot,
            "get_state_unless": self.get_state_unless,
            "set_state": self.set_state,
            "add_bot": self.add_bot,
            "decide": self.decide,
            "add_predictor": self.add_predictor,
            "add_substitute": self.add_substitute,
            "render": self.render,
        }
        self.charge(costs or Costs())

    def charge(self, costs: Costs, *, factor: float = 1.0) -> None:
        """Commands cost this from here on, times ``factor``."""
        self._costs = dict.fromkeys(self._commands, int(costs.other * factor))
        self._costs["step"] = int(costs.step * factor)
        self._costs["save"] = self._costs["get_snapshot"] = int(costs.save * factor)
        self._costs["load"] = int(costs.load * factor)
        self._batch = costs.batch

    def run(self, batch: Sequence[Sequence[Any]]) -> tuple[list[Any], list[int], float]:
        """Carry out a batch; return the results, the cost of each command in microseconds, and the seconds it takes."""
        commands, costs = self._commands, self._costs
        results, spent = [], []
        for kind, *arguments in batch:
            results.append(commands[kind](*arguments))
            spent.append(costs[kind])
        return results, spent, (sum(spent) + self._batch) * 1e-6

    # -- commands -----------------------------------------------------------------------------------------------

    def reset(self, seed: int) -> bytes:
        """Begin the next episode."""
        self.episode += 1
        self.frame, self._ended = 0, False
        self._mix = (seed * _ODD + 1) & _MASK
        self._quarters = 0
        self._saved.clear()
        return self.compute_hash()

    def step(self, frame: int, inputs: Sequence[bytes | None], observe: bool = False, *_: Any) -> list[Any]:
        """Simulate ``frame``; positional result as in ``envs/simulation.py``."""
        if frame != self.frame:
            raise LocalMisuseError(f"step {frame} while the host is at frame {self.frame}")
        used: list[list[bytes | None]] = []  # what was decided here stands behind all else, if anything was
        if b"" in inputs or None in inputs:
            used = [[None if value else self._fill(seat, value) for seat, value in enumerate(inputs)]]
            inputs = [value or guess or b"" for value, guess in zip(inputs, used[0], strict=True)]
        self.frame = frame + 1
        if self._ended:
            none = self._none
            return [self._mix.to_bytes(8, "little"), none, none, none, none, True, None, *used]
        mix = (
            (self._mix ^ int.from_bytes(b"".join(cast("Sequence[bytes]", inputs)), "little") % _PRIME) * _ODD + frame
        ) & _MASK
        mix ^= mix >> 29
        corruption = self.corruption
        if corruption is not None and frame == corruption.frame and corruption.kind != "load":
            mix = self._slip(mix)
        self._mix = mix
        choice = (mix >> 3) & self._reward_mask
        known = self._rewards.get(choice)
        if known is None:
            known = self._rewards[choice] = self._rewards_of(choice)
        self._quarters += known[1]
        ends, flags = self._ends_when, self._going
        if ends is not None and frame >= _EARLIEST_END and (mix >> 40) % ends == 0:
            self._ended, flags = True, self._over
        seen = [mix & 0xFF] * self._seats if observe else None
        return [mix.to_bytes(8, "little"), known[0], flags, self._going, self._infos, self._ended, seen, *used]

    def _rewards_of(self, choice: int) -> tuple[list[float], int]:
        """Return the rewards by seat that two bits for each seat stand for, and what they add to the totals."""
        quarters = [choice >> 2 * seat & 3 for seat in range(self._seats)]
        return [n * 0.25 for n in quarters], sum(n << _TOTAL_BITS * seat for seat, n in enumerate(quarters))

    @property
    def totals(self) -> list[float]:
        """Sums of the rewards by seat."""
        return self._totals_of(self._quarters)

    def _totals_of(self, quarters: int) -> list[float]:
        return [(quarters >> _TOTAL_BITS * seat & _TOTAL_MASK) * 0.25 for seat in range(self._seats)]

    def _slip(self, mix: int) -> int:
        corruption = self.corruption
        if corruption is None or corruption.is_healed or corruption.episode != self.episode:
            return mix
        corruption.happened = True
        return mix ^ _SLIP

    def save(self, frame: int) -> None:
        """Keep the state at the beginning of ``frame``."""
        if frame != self.frame:
            raise LocalMisuseError(f"save {frame} while the host is at frame {self.frame}")
        self._saved[frame] = (self._mix, self._quarters, self._ended)

    def load(self, frame: int) -> None:
        """Go back to a kept state."""
        self._mix, self._quarters, self._ended = self._kept(frame)
        self.frame = frame
        corruption = self.corruption
        if corruption is not None and corruption.kind == "load" and frame >= corruption.frame:
            self._mix = self._slip(self._mix)

    def _kept(self, frame: int) -> tuple[int, int, bool]:
        if frame not in self._saved:
            raise LocalMisuseError(f"there is no snapshot of frame {frame}; kept: {sorted(self._saved)}")
        return self._saved[frame]

    def drop(self, before: int) -> None:
        """Let go of older snapshots."""
        saved = self._saved
        for frame in [kept for kept in saved if kept < before]:
            del saved[frame]

    def compute_hash(self) -> bytes:
        """Return the checksum of the current state."""
        return self._mix.to_bytes(8, "little")

    def get_state(self) -> dict[str, Any]:
        """Return ``{"frame": int, "data": plain data}``: all that another host needs to go on from here."""
        data = {"mix": self._mix, "totals": self.totals, "ended": self._ended}
        return {"frame": self.frame, "data": data}

    def get_snapshot(self, frame: int) -> dict[str, Any]:
        """Return a kept state as :meth:`get_state` would in it; the current one stays."""
        mix, quarters, ended = self._kept(frame)
        return {"frame": frame, "data": {"mix": mix, "totals": self._totals_of(quarters), "ended": ended}}

    def get_state_unless(self, expected: bytes) -> dict[str, Any] | None:
        """Return None if the state has the checksum ``expected``, else the state."""
        return None if self.compute_hash() == expected else self.get_state()

    def set_state(self, state: dict[str, Any]) -> bytes:
        """Go to a state that :meth:`get_state` gave; return its checksum."""
        data = state["data"]
        self.frame, self._mix, self._ended = state["frame"], data["mix"], data["ended"]
        self._quarters = sum(int(total * 4) << _TOTAL_BITS * seat for seat, total in enumerate(data["totals"]))
        return self.compute_hash()

    def add_bot(self, seat: int, name: str, seed: int) -> None:
        """A scripted bot plays a seat from here on."""
        self._bots[seat] = Random(f"{name}/{seed}")

    def decide(self, seat: int) -> bytes:
        """Return what the bot of a seat presses."""
        return bytes([self._bots[seat].randrange(KEYS)])

    def add_predictor(self, seat: int, name: str, seed: int) -> None:
        """Inputs of the seat that are missing are predicted here from the state."""
        self._predictors[seat] = f"{name}/{seed}"

    def add_substitute(self, seat: int, name: str, seed: int) -> None:
        """A bot may take the place of whoever is lost at a seat."""
        self._substitutes[seat] = f"{name}/{seed}"

    def _act(self, seat: int) -> bytes:
        """Return what the bot does at a lost player's seat, by state and frame alone."""
        if seat not in self._substitutes:
            raise LocalMisuseError(f"seat {seat} has no substitute here")
        return bytes([derive_seed(self._mix, self._substitutes[seat], self.frame) % KEYS]) + bytes(
            self._input_bytes - 1
        )

    def _fill(self, seat: int, value: bytes | None) -> bytes:
        return self._act(seat) if value is None else self._predict(seat)

    def _predict(self, seat: int) -> bytes:
        if seat not in self._predictors:
            raise LocalMisuseError(f"seat {seat} has no predictor here")
        return bytes([derive_seed(self._mix, seat) % KEYS]) + bytes(self._input_bytes - 1)

    def render(self) -> dict[str, Any]:
        """Return what a window would show."""
        return {"frame": self.frame, "pixels": None, "totals": self.totals, "ended": self._ended}
