"""Environments as other people write them, each with a habit that matters when going back."""

from __future__ import annotations

import ctypes
import itertools
import random
import sys
import threading
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import EzPickle
from pettingzoo import ParallelEnv

_COUNTER = itertools.count()


class Walk(gymnasium.Env[Any, Any]):
    """A walk on a line with a random wind; everything is in its attributes."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - as Gymnasium has it
    action_space = spaces.Discrete(3)
    observation_space = spaces.Box(-1000.0, 1000.0, (2,), np.float64)

    def __init__(self, render_mode: str | None = None, length: int = 60) -> None:
        self.render_mode = render_mode
        self.length = length
        self.place, self.time, self.trail = 0.0, 0, np.zeros(4)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place, self.time, self.trail = float(self.np_random.normal()), 0, np.zeros(4)
        return self.seen(), {}

    def step(self, action: Any) -> Any:
        self.time += 1
        self.place += int(action) - 1 + self.wind()
        self.trail = np.roll(self.trail, 1)
        self.trail[0] = self.place
        return self.seen(), -abs(self.place), False, self.time >= self.length, {"place": self.place, "self": self}

    def wind(self) -> float:
        return float(self.np_random.normal(scale=0.1))

    def seen(self) -> Any:
        return np.array([self.place, float(self.trail.sum())])

    def render(self) -> Any:
        picture = np.zeros((20, 40, 3), np.uint8)
        picture[:, int(self.place) % 40] = 255
        return picture


class Blind(Walk):
    """Cannot draw where it runs, and only notices when asked to."""

    def __init__(self) -> None:
        super().__init__("rgb_array")

    def render(self) -> Any:
        raise RuntimeError("there is no graphics card")


def seen_lake(render_mode: str | None = "rgb_array") -> Any:
    """A lake whose observations are what it draws."""
    lake = gymnasium.make("FrozenLake-v1", render_mode=render_mode, is_slippery=False)
    return gymnasium.wrappers.AddRenderObservation(lake)


class OtherGenerator(Walk):
    """Draws from another kind of generator than Gymnasium's usual one."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._np_random = np.random.Generator(np.random.MT19937(seed))
        return self.seen(), {}


class OwnState(Walk):
    """Offers its state itself, whole."""

    def get_state(self) -> dict[str, Any]:
        generator = self.np_random.bit_generator.state
        return {"place": self.place, "time": self.time, "trail": self.trail.copy(), "generator": generator}

    def set_state(self, state: dict[str, Any]) -> None:
        self.place, self.time, self.trail = state["place"], state["time"], state["trail"].copy()
        self.np_random.bit_generator.state = state["generator"]


class ForgetfulState(OwnState):
    """Forgets its generator when its state is set."""

    def set_state(self, state: dict[str, Any]) -> None:
        self.place, self.time, self.trail = state["place"], state["time"], state["trail"].copy()


class Reborn(Walk, EzPickle):
    """Is made anew when it is unpickled."""

    def __init__(self, render_mode: str | None = None, length: int = 60) -> None:
        Walk.__init__(self, render_mode, length)
        EzPickle.__init__(self, render_mode, length)


class Unpicklable(Walk):
    """Holds a generator of Python's, which nothing can copy, and goes by its seed alone otherwise."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.gusts = (0.1 * n for n in itertools.cycle((1, -2, 3)))
        return super().reset(seed=seed)

    def wind(self) -> float:
        return next(self.gusts)


class GlobalDice(Walk):
    """Draws from the process's own generators."""

    def wind(self) -> float:
        return random.gauss(0, 0.1) + float(np.random.normal(scale=0.1))


class ModuleCounter(Walk):
    """Remembers outside of itself how often anybody stepped."""

    def wind(self) -> float:
        return 0.01 * next(_COUNTER)


class WallClock(Walk):
    """Looks at the clock."""

    def wind(self) -> float:
        return time.perf_counter() % 1.0


class SetOrder(Walk):
    """Goes by the order of a set of strings, which differs from process to process."""

    def __init__(self, render_mode: str | None = None, length: int = 60) -> None:
        super().__init__(render_mode, length)
        self.names = {f"name {n}" for n in range(20)}

    def wind(self) -> float:
        return 0.01 * int(next(iter(self.names)).split()[1])


class LateDebt(OwnState):
    """Keeps something back that counts only later."""

    debt = 0.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.debt = 0.0
        return super().reset(seed=seed)

    def step(self, action: Any) -> Any:
        self.debt += float(action)
        seen, reward, ended, cut, info = super().step(action)
        return seen, reward - (self.debt if self.time > 55 else 0.0), ended, cut, info


class Glitter(Walk):
    """Draws lots when it is looked at."""

    def render(self) -> Any:
        random.random()
        np.random.random()
        return super().render()

    def wind(self) -> float:
        return random.gauss(0, 0.1) + float(np.random.normal(scale=0.1))


class Blinking(Walk):
    """Counts its pictures, and draws every other one darker."""

    pictures = 0

    def render(self) -> Any:
        self.pictures += 1
        return super().render() // (1 + self.pictures % 2)


class Grudge(Walk):
    """Does not forget the last episode when the next one begins."""

    last_place = 0.0

    def step(self, action: Any) -> Any:
        seen, *rest = super().step(action)
        self.last_place = self.place
        return (seen, *rest)


class OneBuffer(Walk):
    """Hands out the same array again and again."""

    def seen(self) -> Any:
        if not hasattr(self, "buffer"):
            self.buffer = np.zeros(2)
        self.buffer[:] = super().seen()
        return self.buffer


class AnyBox(Walk):
    """Takes numbers of any kind."""

    def __init__(self, low: float, high: float, dtype: Any, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.action_space = spaces.Box(low, high, (2,), dtype)

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        return super().step(int(np.sign(float(np.sum(action)))) + 1)


class Uneven(ParallelEnv[Any, Any, Any]):
    """Two agents that can do different things."""

    metadata = {"name": "uneven", "render_modes": []}  # noqa: RUF012
    possible_agents = ["a", "b"]  # noqa: RUF012

    def action_space(self, agent: Any) -> Any:
        return self._spaces[agent]

    def __init__(self) -> None:
        self._spaces = {"a": spaces.Discrete(5), "b": spaces.Discrete(3)}
        self.time = 0

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents, self.time = list(self.possible_agents), 0
        return dict.fromkeys(self.agents, 0), {agent: {} for agent in self.agents}

    def step(self, actions: Any) -> Any:
        self.time += sum(int(action) for action in actions.values())
        flags = dict.fromkeys(self.agents, False)
        seen = dict.fromkeys(self.agents, self.time)
        return seen, dict.fromkeys(self.agents, 0.0), flags, dict(flags), {agent: {} for agent in self.agents}


def uneven_seats() -> Any:
    return Uneven()


def no_environment() -> object:
    return object()


class Trapped(ModuleCounter):
    """Can be taken back by no copy of objects: a generator runs in it, and a counter outside of it."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.gusts = (0.1 * n for n in itertools.cycle((1, -2, 3)))
        return super().reset(seed=seed)

    def wind(self) -> float:
        return super().wind() + next(self.gusts) + random.gauss(0, 0.1)


class Sparks(Trapped):
    """Moves when it is looked at."""

    def render(self) -> Any:
        self.place += 1.0
        return super().render()


class Confetti(Trapped):
    """Is drawn with what lots decide."""

    def render(self) -> Any:
        return np.full((2, 3, 3), int(256 * random.random()), np.uint8)


class Unseen(Trapped):
    """Cannot be looked at."""

    def render(self) -> Any:
        raise RuntimeError("no brush")


class Stumbling(Trapped):
    """Falls when it is pushed at its fifth step."""

    def step(self, action: Any) -> Any:
        if self.time == 4 and int(action) == 2:
            raise RuntimeError("stumbled")
        return super().step(action)


class Abyss(Trapped):
    """Never comes back from a step to the left, once the trials are over, and lets nobody else run meanwhile."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.is_deep = seed == 1
        return super().reset(seed=seed)

    def step(self, action: Any) -> Any:
        if self.is_deep and int(action) == 0:
            print("falling", file=sys.stderr, flush=True)
            ctypes.PyDLL(None).poll(None, 0, 600_000)
        return super().step(action)


class Threaded(Trapped):
    """Runs a thread of its own."""

    def __init__(self, render_mode: str | None = None, length: int = 60) -> None:
        super().__init__(render_mode, length)
        self.ended = threading.Event()
        threading.Thread(target=self.ended.wait, name="helping-hand", daemon=True).start()


class TrappedPair(ParallelEnv[Any, Any, Any]):
    """Two agents in one :class:`Trapped`."""

    metadata = {"name": "trapped pair", "render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    possible_agents = ["a", "b"]  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, length: int = 60) -> None:
        self.render_mode = render_mode
        self.one = Trapped(render_mode, length)

    def action_space(self, agent: Any) -> Any:
        return self.one.action_space

    def observation_space(self, agent: Any) -> Any:
        return self.one.observation_space

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents = list(self.possible_agents)
        seen, _ = self.one.reset(seed=seed)
        return dict.fromkeys(self.agents, seen), {agent: {} for agent in self.agents}

    def step(self, actions: Any) -> Any:
        seen, reward, _, cut, _ = self.one.step(sum(int(action) << n for n, action in enumerate(actions.values())))
        agents = self.agents
        self.agents = [] if cut else agents
        flags = dict.fromkeys(agents, cut)
        infos: dict[Any, Any] = {agent: {} for agent in agents}
        return dict.fromkeys(agents, seen), dict.fromkeys(agents, reward), dict.fromkeys(agents, False), flags, infos

    def render(self) -> Any:
        return self.one.render()


def trapped_pair(length: int = 60) -> Any:
    return TrappedPair("rgb_array", length)
