"""Inputs that are predicted from the state: who may predict, what the step says, and that a guess changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from envs import registry
from envs.conformance import ConformanceError, check_predictors
from envs.counter import CounterEnvironment
from envs.prediction import OWN, PREDICT, predictor_names
from envs.simulation import Simulation
from p2pclient.common.errors import ConfigurationError, EnvHostError, LocalMisuseError, RemoteProtocolError

NOTHING, LEFT, RIGHT, COLLECT = b"\x00", b"\x01", b"\x02", b"\x03"
KITCHEN = "cogrid:Overcooked-CrampedRoom-V0"


def make(seed: int = 3, **args: Any) -> Simulation:
    simulation = Simulation(CounterEnvironment(args))
    simulation.reset(seed)
    return simulation


def test_a_predicted_step_equals_the_same_step_with_the_guess_and_says_what_was_used() -> None:
    simulation, straight = make(), make()
    simulation.add_predictor(1, OWN, 0)
    moved = set()
    for frame in range(60):
        result = simulation.step(frame, [RIGHT, PREDICT], False, [None, LEFT])
        used = result[7]
        assert used[0] is None
        moved.add(used[1])
        assert result[:7] == straight.step(frame, [RIGHT, used[1]])
        assert len(result) == 8
    assert {LEFT, COLLECT} <= moved


def test_nothing_is_said_of_what_was_used_when_nothing_was_predicted() -> None:
    simulation = make()
    simulation.add_predictor(1, OWN, 0)
    assert len(simulation.step(0, [LEFT, RIGHT], True, [LEFT, RIGHT])) == 7


def test_the_newest_known_input_is_taken_into_account() -> None:
    simulation = make()
    simulation.add_predictor(0, OWN, 0)
    simulation.save(0)
    used = []
    for newest in (None, [None, RIGHT], [NOTHING, RIGHT], [RIGHT, NOTHING]):
        used.append(simulation.step(0, [PREDICT, LEFT], False, newest)[7][0])
        simulation.load(0)
    # Who has pressed nothing so far, or presses nothing now, is taken to go on like this.
    assert used[:3] == [NOTHING] * 3
    assert used[3] in (LEFT, RIGHT, COLLECT)


def test_a_predictor_that_sees_the_state_is_right_far_more_often_than_repeating_the_last_input() -> None:
    truth = make(seats=2)
    for seat in (0, 1):
        truth.add_bot(seat, "seeker", 0)
    guessing = make(seats=2)
    guessing.add_predictor(1, OWN, 0)
    lines: list[list[bytes]] = []
    own_misses = repeat_misses = 0
    for frame in range(200):
        lines.append([truth.decide(0), truth.decide(1)])
        truth.step(frame, lines[-1])
    for frame in range(1, 196):
        # The other's inputs of this frame and the next three are not here yet.
        guessing.step(frame - 1, lines[frame - 1])
        guessing.save(frame)
        newest = lines[frame - 1]
        for ahead in range(frame, frame + 4):
            used = guessing.step(ahead, [lines[ahead][0], PREDICT], False, newest)[7][1]
            own_misses += used != lines[ahead][1]
            repeat_misses += newest[1] != lines[ahead][1]
        guessing.load(frame)
    assert repeat_misses > 200
    assert own_misses == 0


def test_bots_can_predict_too_and_answer_for_their_seat() -> None:
    simulation = Simulation(registry.create(KITCHEN))
    simulation.reset(1)
    assert predictor_names(simulation._environment) == ["greedy", "random", "slow"]
    simulation.add_predictor(1, "greedy", 5)
    used = [simulation.step(frame, [b"\x06", PREDICT])[7] for frame in range(40)]
    assert all(line[0] is None for line in used)
    assert len({line[1] for line in used}) > 2


def test_predictors_start_anew_with_each_episode_and_never_with_the_dice_of_a_bot() -> None:
    simulation = Simulation(registry.create(KITCHEN))
    simulation.add_predictor(0, "random", 4)
    simulation.add_bot(0, "random", 4)

    def episode(seed: int) -> tuple[list[bytes], list[bytes]]:
        simulation.reset(seed)
        decided = [simulation.decide(0) for _ in range(12)]
        return [simulation.step(frame, [PREDICT, b"\x06"])[7][0] for frame in range(12)], decided

    first, decided = episode(7)
    assert episode(8)[0] != first
    assert episode(7)[0] == first != decided


def test_a_rollback_over_predicted_frames_asks_again_in_the_corrected_state() -> None:
    simulation = make()
    simulation.add_predictor(1, OWN, 0)
    simulation.save(0)

    def play(first: bytes) -> list[Any]:
        results = [simulation.step(0, [NOTHING, first])]
        return results + [simulation.step(f, [NOTHING, PREDICT], False, [None, first]) for f in range(1, 20)]

    guessed = play(LEFT)
    simulation.load(0)
    corrected = play(RIGHT)
    assert [line[7][1] for line in guessed[1:]] != [line[7][1] for line in corrected[1:]]
    simulation.load(0)
    assert play(LEFT) == guessed


def test_who_has_left_and_who_plays_on_after_the_end_is_not_predicted_from_the_state() -> None:
    class Asked(CounterEnvironment):
        asked = 0

        def predict(self, seat: int, newest: Any) -> int:
            self.asked += 1
            assert not self._left[seat]
            return super().predict(seat, newest)

    environment = Asked({"terminate_at": 1, "max_steps": 60})
    simulation = Simulation(environment)
    simulation.reset(3)
    for seat in (0, 1):
        simulation.add_predictor(seat, OWN, 0)
    ended = 0
    while simulation.frame < 70:
        before = environment.asked
        gone = list(simulation._gone)
        result = simulation.step(simulation.frame, [PREDICT, PREDICT], False, [RIGHT, LEFT])
        assert environment.asked - before == gone.count(False)
        if all(gone):
            ended += 1
            assert result[7] == [RIGHT, LEFT]
    assert ended > 5


def test_without_an_opinion_a_held_key_stays_held_and_a_press_is_not_repeated() -> None:
    class NoOpinion(CounterEnvironment):
        def predict(self, seat: int, newest: Any) -> None:  # type: ignore[override]
            return None

    for mode, expected in (("held", RIGHT), ("press", NOTHING)):
        simulation = Simulation(NoOpinion({"mode": mode}))
        simulation.reset(0)
        simulation.add_predictor(1, OWN, 0)
        assert simulation.step(0, [LEFT, PREDICT], False, [LEFT, RIGHT])[7] == [None, expected]


def test_unknown_predictors_and_seats_and_inputs_that_nobody_predicts_are_refused() -> None:
    simulation = make()
    for seat, name in ((2, OWN), (-1, OWN), (0, "nobody"), (0, "")):
        with pytest.raises(LocalMisuseError, match="no predictor"):
            simulation.add_predictor(seat, name, 0)
    before = simulation.compute_hash()
    with pytest.raises(RemoteProtocolError, match="seat 1"):
        simulation.step(0, [LEFT, PREDICT])
    simulation.add_predictor(1, "seeker", 0)
    with pytest.raises(LocalMisuseError, match="newest"):
        simulation.step(0, [LEFT, PREDICT], False, [LEFT])
    assert simulation.compute_hash() == before
    assert simulation.frame == 0
    assert simulation.step(0, [LEFT, PREDICT])[7][1] in (LEFT, RIGHT, COLLECT)


def test_a_guess_outside_of_the_space_is_an_error_of_the_environment() -> None:
    class Wild(CounterEnvironment):
        def predict(self, seat: int, newest: Any) -> int:
            return 17

    simulation = Simulation(Wild({}))
    simulation.reset(0)
    simulation.add_predictor(0, OWN, 0)
    with pytest.raises(ConfigurationError, match="17"):
        simulation.step(0, [PREDICT, LEFT])


def test_an_environment_without_an_opinion_of_its_own_does_not_offer_one() -> None:
    class Silent(CounterEnvironment):
        predicts = False

    simulation = Simulation(Silent({}))
    simulation.reset(0)
    assert predictor_names(CounterEnvironment({})) == [OWN, "seeker"]
    assert predictor_names(Silent({})) == ["seeker"]
    with pytest.raises(LocalMisuseError, match=OWN):
        simulation.add_predictor(0, OWN, 0)


def test_no_bot_may_take_the_name_of_the_environments_own_predictor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CounterEnvironment, "bots", (OWN,))
    with pytest.raises(EnvHostError, match=OWN):
        registry.create("test:counter_v0")


def test_predictors_that_change_the_state_or_answer_nonsense_do_not_conform() -> None:
    class Meddles(CounterEnvironment):
        def predict(self, seat: int, newest: Any) -> int:
            return self._draw(4)

    class Leaves(CounterEnvironment):
        def predict(self, seat: int, newest: Any) -> int:
            return 4

    check_predictors(lambda: CounterEnvironment({"terminate_at": 2}), 5)
    with pytest.raises(ConformanceError, match="changes the state"):
        check_predictors(lambda: Meddles({}), 5)
    with pytest.raises(ConformanceError, match="predictor 'own' of seat 0"):
        check_predictors(lambda: Leaves({}), 5)
