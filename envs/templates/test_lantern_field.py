"""What must hold of lantern_field so that it can be played together. Run it with pytest."""

from __future__ import annotations

from envs.conformance import check_environment
from lantern_field import make


def test_it_can_be_rolled_back() -> None:
    check_environment(lambda: make(max_steps=120), way="own")


def test_a_lantern_that_is_lit_pays_both() -> None:
    env = make()
    env.reset(seed=4)
    env._places["player_0"] = env._lantern
    _, rewards, _, _, _ = env.step({"player_0": 0, "player_1": 0})
    assert rewards == {"player_0": 1.0, "player_1": 1.0}
