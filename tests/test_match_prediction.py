"""Missing inputs may be predicted in the host, which knows the state; how they are guessed never changes the truth."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from virtual import INPUTS, Link, RandomSource, ToyHost, VirtualMatch, finished, straight_run, toy_env

from p2pclient.match.plan import MatchPlan
from p2pclient.match.reset import plan_reset

LINK = Link(delay=0.08, jitter=0.05, loss=0.05)


class PredictingHost(ToyHost):
    """Guesses at random, or as ``knows`` says; keeps what it was told."""

    def __init__(self, seats: int, *, knows: Any = None) -> None:
        super().__init__(seats)
        self.predictors: dict[int, str] = {}
        self.random = random.Random(4)
        self.knows = knows
        self.guessed = 0
        self.newest: list[Sequence[bytes | None]] = []

    def do_add_predictor(self, seat: int, name: str, seed: int) -> None:
        self.predictors[seat] = name

    def do_step(
        self, frame: int, inputs: Sequence[bytes], observe: bool = False, newest: Sequence[bytes | None] = ()
    ) -> list[Any]:
        if b"" not in inputs:
            return super().do_step(frame, inputs, observe)
        assert all(value or seat in self.predictors for seat, value in enumerate(inputs))
        self.newest.append(newest)
        used = [None if value else self.guess(seat, frame) for seat, value in enumerate(inputs)]
        result = super().do_step(frame, [v or g for v, g in zip(inputs, used, strict=True)], observe)
        return [*result, used]

    def guess(self, seat: int, frame: int) -> bytes:
        self.guessed += 1
        known = self.knows(seat, frame) if self.knows else None
        return known if known is not None else bytes([self.random.randrange(INPUTS)])


@pytest.mark.parametrize("players", [2, 3])
def test_wild_guesses_of_the_host_are_all_corrected(players: int) -> None:
    match = VirtualMatch(seed=6, players=players, link=LINK, env=toy_env(players), prediction=("own",))
    for side in match.sides:
        side.host = PredictingHost(players)
    match.run(60)
    assert finished(match)
    truth = straight_run([s.source.pressed for s in match.sides], match.sides[0].match.plan.episode_seed(0), frames=200)
    for side in match.sides:
        assert [f.checksum for f in side.frames()] == truth
        assert side.match.counters.rollbacks > 50
        assert isinstance(side.host, PredictingHost)
        assert side.host.guessed > 100


def test_a_predictor_that_knows_needs_no_rollback() -> None:
    match = VirtualMatch(seed=6, link=LINK, prediction=("own",))
    for own, side in enumerate(match.sides):
        same = RandomSource(60 + 1 - own)  # presses what the other player will press
        future = [same.sample().payload for _ in range(400)]

        def knows(_seat: int, frame: int, future: list[bytes] = future) -> bytes:
            return future[frame]

        side.host = PredictingHost(2, knows=knows)
    match.run(60)
    assert finished(match)
    rollbacks = [side.match.counters.rollbacks for side in match.sides]
    guessed = [side.host.guessed for side in match.sides if isinstance(side.host, PredictingHost)]
    assert rollbacks == [0, 0]
    assert min(guessed) > 100


def test_the_host_is_told_the_newest_inputs_that_are_here() -> None:
    match = VirtualMatch(seed=6, link=LINK, prediction=("own",))
    host = PredictingHost(2)
    match.sides[0].host = host
    match.sides[1].host = PredictingHost(2)
    match.run(60)
    pressed = match.sides[1].source.pressed
    told = [newest[1] for newest in host.newest if newest[1] is not None]
    assert len(told) > 100
    assert set(told) <= set(pressed)


def plan(prediction: tuple[str, ...], mode: str = "held") -> MatchPlan:
    return MatchPlan(
        match_id="m",
        seed=1,
        env=toy_env(3, mode=mode),
        local_seats=(0,),
        peers={1: (1,), 2: (2,)},
        prediction=prediction,
    )


def test_each_seat_may_be_guessed_in_its_own_way() -> None:
    mixed = plan(("repeat", "neutral", "own"))
    held = b"\x00\x03"
    repeat, neutral, host = (mixed.predictor(seat) for seat in range(3))
    assert repeat is not None
    assert neutral is not None
    assert (repeat(held), neutral(held), host) == (held, b"\x00\x00", None)
    added = [c for c in plan_reset(mixed, 0).commands if c[0] == "add_predictor"]
    assert [(c[1], c[2]) for c in added] == [(2, "own")]


def test_own_seats_are_never_guessed() -> None:
    added = [c for c in plan_reset(plan(("own",)), 0).commands if c[0] == "add_predictor"]
    assert [c[1] for c in added] == [1, 2]


@pytest.mark.parametrize(("mode", "expected"), [("held", b"\x01\x03"), ("press", b"\x01\x00")])
def test_by_default_what_is_held_stays_held_and_what_acts_once_does_not_come_again(mode: str, expected: bytes) -> None:
    automatic = plan(("auto",), mode).predictor(1)
    assert automatic is not None
    assert automatic(b"\x01\x03") == expected
    assert plan(("auto",), mode).fill(1)(b"\x01\x03") == expected
