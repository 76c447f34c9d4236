"""PettingZoo environments as other people write them: agents that take turns, that die, come late and come back."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from foreign_rig import Walk
from gymnasium import spaces
from pettingzoo import AECEnv, ParallelEnv


class Nim(AECEnv[Any, Any, Any]):
    """Take one to three from the heap; who takes the last one has lost. Each take pays a tenth to everybody else."""

    metadata = {"name": "nim", "render_modes": [], "is_parallelizable": False}  # noqa: RUF012

    def __init__(self, mask: str = "observation", players: int = 2) -> None:
        super().__init__()
        self.possible_agents = [f"p{n}" for n in range(players)]
        self.mask = mask
        self.steps = 0

    def action_space(self, agent: Any) -> Any:
        return spaces.Discrete(3, start=1)

    def observation_space(self, agent: Any) -> Any:
        return spaces.Discrete(100)

    def legal(self) -> Any:
        return np.array([n <= self.heap for n in (1, 2, 3)], np.int8)

    def reset(self, seed: int | None = None, options: Any = None) -> None:
        self.steps = 0
        self.heap = 8 + int(np.random.default_rng(seed).integers(5))
        self.agents = list(self.possible_agents)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: self.info() for agent in self.agents}
        self.agent_selection = self.agents[0]

    def info(self) -> dict[str, Any]:
        return {"action_mask": self.legal()} if self.mask == "info" else {}

    def observe(self, agent: Any) -> Any:
        if self.mask == "observation":
            return {"heap": self.heap, "action_mask": self.legal()}
        return self.heap

    def step(self, action: Any) -> None:
        agent = self.agent_selection
        if self.terminations[agent]:
            self._was_dead_step(action)
            return
        self.steps += 1
        if not 1 <= action <= self.heap:
            raise ValueError(f"{action} of {self.heap}: that is against the rules")
        self.heap -= int(action)
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        over = self.heap == 0
        for each in self.agents:
            self.rewards[each] = 0.0 if each == agent else 0.1
            if over:
                self.rewards[each] = -1.0 if each == agent else 1.0
            self.terminations[each] = over
            self.infos[each] = self.info()
        self.agent_selection = self.agents[(self.agents.index(agent) + 1) % len(self.agents)]
        self._accumulate_rewards()
        self._deads_step_first()


class Duel(Nim):
    """Three stand in a ring. 1: nothing; 2: you are out; 3: the next one is out. The last one has won."""

    def __init__(self) -> None:
        super().__init__(mask="", players=3)

    def step(self, action: Any) -> None:
        agent = self.agent_selection
        if self.terminations[agent]:
            assert action is None
            self._was_dead_step(action)
            return
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        ring = self.agents[self.agents.index(agent) + 1 :] + self.agents[: self.agents.index(agent)]
        following = ring[0]
        if action in (2, 3):
            victim = agent if action == 2 else following
            following = following if action == 2 else ring[1 % len(ring)]
            self.terminations[victim] = True
            self.rewards[victim] = -1.0
            alive = [each for each in self.agents if not self.terminations[each]]
            if len(alive) == 1:
                self.rewards[alive[0]] = 5.0
                self.terminations[alive[0]] = True
        self.agent_selection = following
        self._accumulate_rewards()
        self._deads_step_first()


class Deserters(Nim):
    """Three in a ring. Whoever does 3 is off the list, without a word in the terminations."""

    def __init__(self) -> None:
        super().__init__(mask="", players=3)

    def step(self, action: Any) -> None:
        agent = self.agent_selection
        self._clear_rewards()
        ring = self.agents[self.agents.index(agent) + 1 :] + self.agents[: self.agents.index(agent)]
        if action == 3 and ring:
            self.agents.remove(agent)
        self.agent_selection = ring[0] if ring else agent


class Steering(Nim):
    """Two take turns to give the heap a push of any strength."""

    def __init__(self) -> None:
        super().__init__(mask="")

    def action_space(self, agent: Any) -> Any:
        return spaces.Box(-1.0, 1.0, (2,), np.float32)

    def step(self, action: Any) -> None:
        assert self.action_space(self.agent_selection).contains(action)
        self.heap += float(action.sum())
        self._clear_rewards()
        self.agent_selection = next(each for each in self.agents if each != self.agent_selection)


class Visitors(ParallelEnv[Any, Any, Any]):
    """Agents come and go by a timetable; the list of those who are there is in another order each time.

    Args:
        times: by agent, from which to before which steps it is there, any number of times.
    """

    metadata = {"name": "visitors", "render_modes": []}  # noqa: RUF012

    def __init__(self, times: Any, silent: bool = False) -> None:
        self.times = {agent: [tuple(each) for each in spans] for agent, spans in times.items()}
        self.possible_agents = list(self.times)
        self.silent = silent
        self.time = 0

    def action_space(self, agent: Any) -> Any:
        return spaces.Discrete(4)

    def observation_space(self, agent: Any) -> Any:
        return spaces.Discrete(1000)

    def present(self) -> list[Any]:
        there = [a for a, spans in self.times.items() if any(first <= self.time < end for first, end in spans)]
        return there if self.time % 2 else there[::-1]

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.time, self.sums = 0, dict.fromkeys(self.possible_agents, 0)
        self.agents = self.present()
        return dict.fromkeys(self.agents, 0), {agent: {} for agent in self.agents}

    def step(self, actions: Any) -> Any:
        assert set(actions) == set(self.agents), "an action for each agent that is there, and for nobody else"
        before = list(self.agents)
        for agent, action in actions.items():
            self.sums[agent] += int(action)
        self.time += 1
        self.agents = self.present()
        gone = {agent: agent not in self.agents and not self.silent for agent in before}
        seen = {agent: self.sums[agent] for agent in {*before, *self.agents}}
        rewards = {agent: float(actions[agent]) for agent in before}
        return seen, rewards, gone, dict.fromkeys(before, False), {agent: {"at": self.time} for agent in before}


class Pistons(Visitors):
    """Twenty agents, all alike, that are always there."""

    def __init__(self, count: int = 20, length: int = 30) -> None:
        super().__init__({f"piston_{n}": [(0, length)] for n in range(count)})


class OwnKeys(Walk):
    """Says which keys it wants."""

    def __init__(self, controls: Any, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.metadata = {**Walk.metadata, "tandem_controls": controls}


class Lacking(Walk):
    """Needs what nobody has."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        import no_such_package_anywhere  # type: ignore[import-not-found]  # noqa: F401


class Lingering(Visitors):
    """Says when its agents have ended, and lists them all the same."""

    def __init__(self) -> None:
        super().__init__({"a": [(0, 50)], "b": [(0, 50)]})

    def step(self, actions: Any) -> Any:
        seen, rewards, gone, cut, infos = super().step(actions)
        return seen, rewards, {**gone, "a": self.time >= 3, "b": self.time >= 5}, cut, infos


class Swarm(Visitors):
    """Makes up an agent of which it has not told."""

    def __init__(self) -> None:
        super().__init__({"a": [(0, 20)]})

    def step(self, actions: Any) -> Any:
        result = super().step(actions)
        self.agents.append("b")
        return result


def autoreset() -> Any:
    return gymnasium.wrappers.Autoreset(Walk(length=20))


class Wide2(Visitors):
    """Two agents with fifty numbers each."""

    def __init__(self, count: int = 2) -> None:
        super().__init__({n: [(0, 20)] for n in range(count)})

    def action_space(self, agent: Any) -> Any:
        return spaces.Box(-1.0, 1.0, (50,), np.float32)

    def step(self, actions: Any) -> Any:
        return super().step({agent: float(np.sum(action)) for agent, action in actions.items()})


class Wide3(Wide2):
    """Three of them."""

    def __init__(self) -> None:
        super().__init__(3)
