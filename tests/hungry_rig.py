"""Environments that take more than they should, and two walkers that say under which NumPy they walk."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

MB = 1 << 20


class Plain(gymnasium.Env[Any, Any]):
    """Does nothing but what a subclass does in :meth:`act`, once the file ``signal`` exists: not while it is loaded."""

    metadata = {"render_modes": []}  # noqa: RUF012 - as Gymnasium has it
    action_space = spaces.Discrete(2)
    observation_space = spaces.Discrete(1000)

    def __init__(self, amount: int = 0, signal: str = "") -> None:
        self.amount = amount
        self.signal = signal
        self.time = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.time = 0
        return 0, {}

    def step(self, action: Any) -> Any:
        self.time += 1
        if action and os.path.exists(self.signal):
            self.act()
        return self.time, 0.0, False, False, {}

    def act(self) -> None:
        """What a step with action 1 does."""


_EATEN: list[Any] = []


class Hungry(Plain):
    """A step takes ``amount`` MB for good; nothing of it is state."""

    def act(self) -> None:
        _EATEN.append(np.full(self.amount * MB, 7, np.uint8))


class Family(Plain):
    """Has ``amount`` MB, and three forked processes that share them."""

    def __init__(self, amount: int = 0, signal: str = "") -> None:
        super().__init__(amount, signal)
        if not _EATEN:  # once in a process, however often it is made
            _EATEN.append(np.full(amount * MB, 7, np.uint8))
            parent = os.getpid()
            for _ in range(3):
                if os.fork() == 0:
                    while os.getppid() == parent:
                        time.sleep(0.1)
                    os._exit(0)


class Loud(Plain):
    """A step prints ``amount`` MB."""

    def act(self) -> None:
        for _ in range(self.amount):
            print("x" * (MB - 1))
        print(f"step {self.time} is done", file=sys.stderr)


class Walkers(ParallelEnv[Any, Any, Any]):
    """Two walk at random and by their actions; their infos say which NumPy and which Python this is."""

    metadata = {"name": "walkers", "render_modes": []}  # noqa: RUF012
    possible_agents = ["a", "b"]  # noqa: RUF012

    def __init__(self) -> None:
        self.agents: list[str] = []
        self.random = np.random.default_rng(0)
        self.places = np.zeros(2)
        self.time = 0

    def action_space(self, agent: Any) -> Any:
        return spaces.Discrete(3)

    def observation_space(self, agent: Any) -> Any:
        return spaces.Box(-1e9, 1e9, (2,), np.float64)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents, self.time = list(self.possible_agents), 0
        self.random = np.random.default_rng(seed)
        self.places = self.random.normal(size=2)
        return dict.fromkeys(self.agents, self.places), {agent: {} for agent in self.agents}

    def step(self, actions: Any) -> Any:
        self.time += 1
        self.places = self.places + [int(actions[agent]) - 1 for agent in self.agents] + self.random.normal(size=2)
        rewards = {agent: float(place) for agent, place in zip(self.agents, self.places, strict=False)}
        flags = dict.fromkeys(self.agents, False)
        infos = {agent: {"numpy": np.__version__, "python": sys.version_info[1]} for agent in self.agents}
        return dict.fromkeys(self.agents, self.places.copy()), rewards, flags, dict(flags), infos
