"""Every environment passes the conformance checks, and the checks catch environments that must not pass."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from cogrid.cogrid_env import CoGridEnv

from envs.cogrid_overcooked import KITCHENS, OvercookedEnvironment
from envs.conformance import ConformanceError, check_environment, check_snapshots
from envs.contract import Outcome
from envs.counter import CounterEnvironment


def test_cogrid_conforms() -> None:
    check_environment(lambda: OvercookedEnvironment(KITCHENS[0], {"max_steps": 320}, warm=False))
    check_environment(lambda: OvercookedEnvironment(KITCHENS[3], {"max_steps": 12}, warm=False), warmups=())


@pytest.mark.parametrize("args", [{}, {"seats": 5, "max_steps": 70}, {"terminate_at": 3, "max_steps": 310}])
def test_the_test_environment_conforms(args: dict[str, Any]) -> None:
    check_environment(lambda: CounterEnvironment(args))


class Broken(CounterEnvironment):
    """Base of environments with one fault each."""

    def __init__(self) -> None:
        super().__init__({"max_steps": 80})


class LosesGenerator(Broken):
    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "random": 1}


class KeepsHiddenCounter(Broken):
    """Pays for every seventh step since it was made, which no state tells."""

    steps = 0

    def step(self, actions: list[Any]) -> Outcome:
        self.steps += 1
        outcome = super().step(actions)
        return outcome._replace(rewards=[1.0 if self.steps % 7 == 0 else reward for reward in outcome.rewards])


class DrawsFromOutside(Broken):
    def step(self, actions: list[Any]) -> Outcome:
        self._random ^= random.SystemRandom().getrandbits(20)
        return super().step(actions)


class ForgetsInputs(Broken):
    def step(self, actions: list[Any]) -> Outcome:
        return super().step([0 for _ in actions])


class IgnoresSeedZero(Broken):
    episodes = 0

    def reset(self, seed: int) -> None:
        self.episodes += 1
        super().reset(seed or 1000 + self.episodes)


class NeverEnds(Broken):
    def step(self, actions: list[Any]) -> Outcome:
        outcome = super().step(actions)
        return outcome._replace(truncations=[None if flag is None else False for flag in outcome.truncations])


class StaysEnded(Broken):
    """Keeps outside of its state that it has ended, as CoGrid's list of living agents does."""

    over = False

    def reset(self, seed: int) -> None:
        self.over = False
        super().reset(seed)

    def step(self, actions: list[Any]) -> Outcome:
        outcome = super().step(actions)
        if self.over:
            return outcome._replace(rewards=[None for _ in outcome.rewards])
        self.over = any(outcome.truncations)
        return outcome


class SeesTheOtherPast(Broken):
    """Observations that depend on what is not in the state."""

    steps = 0

    def step(self, actions: list[Any]) -> Outcome:
        self.steps += 1
        return super().step(actions)

    def observe(self) -> list[Any]:
        return [np.array([self.steps]) for _ in self.agents]


@pytest.mark.parametrize("broken", Broken.__subclasses__(), ids=lambda broken: str(broken.__name__))
def test_an_environment_with_a_fault_is_caught(broken: type[Broken]) -> None:
    with pytest.raises(ConformanceError):
        check_environment(broken, warmups=(0, 10))


def test_cogrids_own_set_state_does_not_conform() -> None:
    class OwnState(OvercookedEnvironment):
        """CoGrid's own way back, with the list of living agents deciding who is rewarded, as PettingZoo means it."""

        def get_state(self) -> dict[str, Any]:
            state: dict[str, Any] = CoGridEnv.get_state(self._env)
            return state

        def set_state(self, state: Any) -> None:
            CoGridEnv.set_state(self._env, state)

        def step(self, actions: list[Any]) -> Outcome:
            alive = list(self._env.agents)
            outcome = super().step(actions)
            return outcome._replace(
                rewards=[r if a in alive else None for r, a in zip(outcome.rewards, self.agents, strict=True)]
            )

    with pytest.raises(ConformanceError):
        check_environment(lambda: OwnState(KITCHENS[0], {"max_steps": 20}, warm=False), warmups=())


def test_a_failure_names_what_differs_and_when() -> None:
    with pytest.raises(
        ConformanceError, match=r"after 10 steps, .* goes on differently: it\[\d+\]\[\d\].* is .*, not "
    ):
        check_snapshots(KeepsHiddenCounter, 10, 5)
