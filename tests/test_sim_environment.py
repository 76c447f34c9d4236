"""The simulator's own environment: what it needs so that an oracle can trust it."""

from __future__ import annotations

import random

import pytest

from p2pclient.common.errors import LocalMisuseError
from p2pclient.common.spaces import check_space, decode_action, encode_action
from p2pclient.sim.environment import KEYS, Corruption, Costs, SimulatedHost, describe_environment


def play(host: SimulatedHost, inputs: list[list[bytes]], *, first: int = 0) -> list[bytes]:
    return [host.step(frame, values)[0] for frame, values in enumerate(inputs, first)]


def random_inputs(frames: int, seats: int = 2, seed: int = 1) -> list[list[bytes]]:
    draw = random.Random(seed)
    return [[bytes([draw.randrange(KEYS)]) for _ in range(seats)] for _ in range(frames)]


def test_one_wrong_input_shows_at_once_and_for_good() -> None:
    inputs = random_inputs(300)
    other = [list(values) for values in inputs]
    other[100][1] = bytes([other[100][1][0] ^ 1])
    hosts = [SimulatedHost(2), SimulatedHost(2)]
    for host in hosts:
        host.reset(4)
    one, two = play(hosts[0], inputs), play(hosts[1], other)
    assert one[:100] == two[:100]
    assert all(a != b for a, b in zip(one[100:], two[100:], strict=True))
    assert len(set(one)) == 300


def test_seats_and_seeds_are_told_apart() -> None:
    host = SimulatedHost(2)
    first = host.reset(1)
    one = host.step(0, [b"\x01", b"\x02"])[0]
    assert host.reset(1) == first
    assert host.step(0, [b"\x02", b"\x01"])[0] != one
    assert host.reset(2) != first


@pytest.mark.parametrize("seats", [1, 2, 8])
def test_going_back_brings_state_totals_and_end_back_exactly(seats: int) -> None:
    host = SimulatedHost(seats, ends_when=30)
    host.reset(9)
    inputs = random_inputs(120, seats)
    play(host, inputs[:10])
    host.save(10)
    totals = host.totals
    results = [host.step(frame, values) for frame, values in enumerate(inputs[10:], 10)]
    after = host.totals
    assert any(result[5] for result in results)
    host.load(10)
    assert host.totals == totals
    assert [host.step(frame, values) for frame, values in enumerate(inputs[10:], 10)] == results
    assert host.totals == after


def test_totals_are_the_sums_of_the_rewards() -> None:
    host = SimulatedHost(3)
    host.reset(2)
    rewards = [host.step(frame, values)[1] for frame, values in enumerate(random_inputs(500, 3))]
    assert host.totals == [sum(column) for column in zip(*rewards, strict=True)]
    assert min(host.totals) > 0
    state = host.get_state()
    other = SimulatedHost(3)
    other.set_state(state)
    assert (other.totals, other.compute_hash(), other.frame) == (host.totals, host.compute_hash(), 500)


def test_an_ended_episode_is_absorbing() -> None:
    host = SimulatedHost(2, ends_when=5)
    host.reset(3)
    results = [host.step(frame, values) for frame, values in enumerate(random_inputs(100))]
    end = next(frame for frame, result in enumerate(results) if result[5])
    assert 20 <= end < 90
    assert results[end][1] != [None, None]
    assert results[end][2] == [True, True]
    assert {result[0] for result in results[end:]} == {results[end][0]}
    assert all(result[1] == [None, None] for result in results[end + 1 :])


def test_wrong_use_is_refused() -> None:
    host = SimulatedHost(2)
    host.reset(1)
    for misuse in (lambda: host.step(1, [b"\0"] * 2), lambda: host.save(3), lambda: host.load(0)):
        with pytest.raises(LocalMisuseError):
            misuse()


def test_old_snapshots_go() -> None:
    host = SimulatedHost(2)
    host.reset(1)
    for frame in range(5):
        host.save(frame)
        host.step(frame, [b"\0", b"\1"])
    host.drop(3)
    with pytest.raises(LocalMisuseError, match=r"\[3, 4\]"):
        host.load(2)


def test_costs_come_from_the_model() -> None:
    host = SimulatedHost(2, costs=Costs(step=1000, save=200, load=300, other=7, batch=50))
    batch = [["reset", 1], ["save", 0], ["step", 0, [b"\0", b"\0"]], ["load", 0], ["drop", 0]]
    results, costs, seconds = host.run(batch)
    assert len(results) == 5
    assert costs == [7, 200, 1000, 300, 7]
    assert seconds == pytest.approx(0.001564)
    host.charge(Costs(step=1000, save=200), factor=3)
    assert host.run([["step", 0, [b"\0", b"\0"]]])[1] == [3000]


@pytest.mark.parametrize("kind", ["step", "once", "load"])
def test_a_corruption_makes_exactly_its_frame_wrong(kind: str) -> None:
    inputs = random_inputs(60)
    truth, host = SimulatedHost(2), SimulatedHost(2)
    truth.reset(1)
    right = play(truth, inputs)
    host.corruption = Corruption(0, 30, kind)
    host.reset(1)
    play(host, inputs[:30])
    host.save(30)
    host.load(30)
    wrong = play(host, inputs[30:], first=30)
    assert host.corruption.happened
    assert all(a != b for a, b in zip(wrong, right[30:], strict=True))
    host.corruption.is_healed = True
    host.load(30)
    assert play(host, inputs[30:], first=30) == right[30:]
    host.corruption.is_healed = False
    host.reset(1)  # the next episode is sound
    assert play(host, inputs) == right


@pytest.mark.parametrize("width", [1, 2, 3, 4, 32, 63])
def test_inputs_of_any_width_are_valid_actions(width: int) -> None:
    space = check_space(describe_environment(2, max_steps=None, input_bytes=width)["action_spaces"][0])
    payload = bytes([KEYS - 1]) + bytes(width - 1)
    assert encode_action(space, decode_action(space, payload)) == payload


def test_a_predictor_of_the_host_knows_the_state_and_says_what_it_used() -> None:
    host = SimulatedHost(2)
    host.reset(1)
    with pytest.raises(LocalMisuseError, match="predictor"):
        host.step(0, [b"\1", b""])
    host.reset(1)
    host.add_predictor(1, "any", 5)
    host.save(0)
    result = host.step(0, [b"\1", b""])
    used = result[7]
    assert used[0] is None
    host.load(0)
    assert host.step(0, [b"\1", used[1]]) == result[:7]
