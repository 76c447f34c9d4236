"""What a bot does in the place of a lost player follows from the state and the frame alone."""

from __future__ import annotations

from typing import Any

import pytest

from envs.bots_overcooked import BOTS, DO_NOTHING
from envs.conformance import ConformanceError, check_substitutes
from envs.contract import Bot
from envs.counter import CounterEnvironment
from envs.registry import create
from envs.simulation import Simulation
from envs.substitutes import SUBSTITUTE
from p2pclient.common.errors import LocalMisuseError, RemoteProtocolError

KITCHEN = "cogrid:Overcooked-CrampedRoom-V0"


def counter() -> CounterEnvironment:
    return CounterEnvironment({}, lambda share, text: None)


class _Forgetful(Bot):
    def __init__(self, calls: list[int]) -> None:
        self._calls = calls

    def decide(self) -> int:
        self._calls.append(0)
        return len(self._calls) % 2


class CountingEnvironment(CounterEnvironment):
    """Its bot does something else each time it is asked, which no state tells."""

    def __init__(self) -> None:
        super().__init__({}, lambda share, text: None)
        self.calls: list[int] = []

    def make_bot(self, name: str, seat: int, seed: int) -> Bot:
        return _Forgetful(self.calls)


def test_a_substitute_does_the_same_wherever_the_frame_is_simulated() -> None:
    check_substitutes(counter, 3)


def test_a_bot_with_a_memory_outside_of_the_state_is_found_out() -> None:
    with pytest.raises(ConformanceError, match="does something else"):
        check_substitutes(CountingEnvironment, 3)


def test_a_step_says_what_the_substitute_did_and_takes_it_as_any_input() -> None:
    asked, told = Simulation(counter()), Simulation(counter())
    asked.reset(7)
    told.reset(7)
    asked.add_substitute(1, "seeker", 4)
    played = set()
    for frame in range(60):
        *result, used = asked.step(frame, [b"\x00", SUBSTITUTE])
        assert used[0] is None
        played.add(used[1])
        assert told.step(frame, [b"\x00", used[1]]) == result
    assert len(played) > 1


def test_a_seat_without_a_substitute_must_have_an_input() -> None:
    simulation = Simulation(counter())
    simulation.reset(7)
    with pytest.raises(RemoteProtocolError):
        simulation.step(0, [b"\x00", SUBSTITUTE])
    with pytest.raises(LocalMisuseError):
        simulation.add_substitute(1, "nobody", 0)
    with pytest.raises(LocalMisuseError):
        simulation.add_substitute(2, "seeker", 0)


@pytest.mark.parametrize("name", BOTS)
def test_cooks_take_a_place_over_with_the_same_hand_everywhere(name: str) -> None:
    check_substitutes(lambda: _kitchen(), 5) if name == "greedy" else None
    simulation = Simulation(_kitchen())
    simulation.reset(5)
    simulation.add_substitute(0, name, 1)
    simulation.add_substitute(1, "greedy", 2)
    for frame in range(400):
        simulation.step(frame, [SUBSTITUTE, SUBSTITUTE])
    if name == "greedy":
        assert sum(simulation.totals) > 0, "two cooks without a memory hand in soups"


def test_a_slow_cook_acts_every_few_frames_only() -> None:
    simulation = Simulation(_kitchen())
    simulation.reset(5)
    simulation.add_substitute(0, "slow", 1)
    acts = [simulation.step(frame, [SUBSTITUTE, bytes([DO_NOTHING])])[-1][0][0] for frame in range(40)]
    assert {act for frame, act in enumerate(acts) if frame % 4} == {DO_NOTHING}
    assert {act for frame, act in enumerate(acts) if frame % 4 == 0} - {DO_NOTHING}


def _kitchen() -> Any:
    return create(KITCHEN, {}, lambda share, text: None)
