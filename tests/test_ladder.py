"""Which kinds of path are tried when, and used when: two ladders over networks that come and go."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pclient.transport.ladder import (
    FIRST_AFTER,
    FIRST_TRY,
    FIRST_WORD,
    HEAD_START,
    LONGEST_PROBE_PAUSE,
    SETTLE,
    YIELD,
    Ladder,
    Rung,
)

ALL = (Rung.DIRECT, Rung.TURN, Rung.RELAY)
TICK = 0.1


@dataclass
class Side:
    ladder: Ladder
    open: set[Rung] = field(default_factory=set)
    used: list[tuple[float, Rung]] = field(default_factory=list)
    begun: list[tuple[float, Rung]] = field(default_factory=list)
    heard: list[float] = field(default_factory=list)

    def sends_over(self, now: float) -> set[Rung]:
        if not self.used:
            return set()
        return {self.used[-1][1], *self.ladder.trials(now=now)} & self.open


class World:
    """Two sides in steps of a tenth of a second. An attempt takes two steps; whoever lives says something in each."""

    def __init__(self, rungs: Sequence[Rung] = ALL, *, seed: int = 1) -> None:
        draw = random.Random(seed).random
        self.now = 0.0
        self.sides = tuple(Side(Ladder(rungs, leads=leads, draw=draw, now=0.0)) for leads in (True, False))
        self.works = set(rungs)
        """Rungs that carry at the moment."""
        self.one_way: set[Rung] = set()
        """Rungs that carry from the leader only."""
        self.attempts: dict[Rung, float] = {}
        self.opened: dict[Rung, float] = {}
        """When a path on each was last opened."""

    def step(self) -> None:
        self.now += TICK
        for side in self.sides:
            for rung in side.ladder.tick(now=self.now):
                self.attempts.pop(rung, None)
            for rung in side.ladder.begins(now=self.now):
                side.begun.append((self.now, rung))
                self.attempts[rung] = self.now
                for each in self.sides:
                    each.ladder.trying(rung, now=self.now)
        for rung, begun in list(self.attempts.items()):
            if self.now - begun >= 2 * TICK and rung in self.works - self.one_way:
                del self.attempts[rung]
                self.opened[rung] = self.now
                for each in self.sides:
                    each.open.add(rung)
                    each.ladder.opened(rung, now=self.now)
        self._speak()

    def _speak(self) -> None:
        leader, other = self.sides
        said = [(sender, hearer, sender.sends_over(self.now)) for sender, hearer in ((leader, other), (other, leader))]
        for sender, hearer, rungs in said:
            for rung in rungs & self.works - (self.one_way if sender is other else set()):
                hearer.ladder.heard(rung, now=self.now)
                hearer.heard.append(self.now)
        for side in self.sides:
            best = side.ladder.best_good(now=self.now)
            if best is not None and (not side.used or side.used[-1][1] is not best):
                side.used.append((self.now, best))

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.step()

    def listen(self) -> None:
        for side in self.sides:
            side.ladder.listen(now=self.now)

    @property
    def using(self) -> list[Rung | None]:
        return [side.used[-1][1] if side.used else None for side in self.sides]

    def silence(self, since: float) -> float:
        """Return the longest time for which a side heard nothing, from then on."""
        times = [[since, *(at for at in side.heard if at > since), self.now] for side in self.sides]
        return max(b - a for each in times for a, b in pairwise(each))


def begun(world: World, rung: Rung) -> list[float]:
    return sorted(at for side in world.sides for at, each in side.begun if each is rung)


def test_where_nothing_is_in_the_way_only_the_direct_path_is_tried() -> None:
    world = World()
    world.run(1)
    world.listen()
    world.run(120)
    assert world.using == [Rung.DIRECT, Rung.DIRECT]
    assert {rung for side in world.sides for _, rung in side.begun} == {Rung.DIRECT}
    assert len(begun(world, Rung.DIRECT)) == 1


def test_each_lower_rung_is_tried_a_moment_later_beside_the_others() -> None:
    world = World()
    world.works = set()
    world.run(5)
    for rung in ALL:
        assert 0 <= begun(world, rung)[0] - FIRST_AFTER[rung] <= HEAD_START + 2 * TICK


def test_what_opens_first_is_used_and_a_better_one_has_to_prove_itself() -> None:
    world = World()
    world.works = {Rung.TURN}
    world.run(2)
    world.listen()
    assert world.using == [Rung.TURN, Rung.TURN]
    world.works = {Rung.TURN, Rung.DIRECT}
    world.run(40)
    assert world.using == [Rung.DIRECT, Rung.DIRECT]
    for side in world.sides:
        assert [rung for _, rung in side.used] == [Rung.TURN, Rung.DIRECT]
        assert side.used[-1][0] - world.opened[Rung.DIRECT] == pytest.approx(SETTLE, abs=2 * TICK)
    assert not begun(world, Rung.RELAY)


def test_a_path_that_dies_is_replaced_within_two_seconds_and_comes_back() -> None:
    world = World()
    world.works = {Rung.TURN, Rung.RELAY}
    world.run(3)
    world.listen()
    world.run(10)
    died = world.now
    world.works = {Rung.RELAY}
    world.run(5)
    assert world.using == [Rung.RELAY, Rung.RELAY]
    assert world.silence(died) < FIRST_TRY + HEAD_START + 6 * TICK
    world.works = set(ALL)
    better = world.now
    world.run(LONGEST_PROBE_PAUSE + 15)
    assert world.using == [Rung.DIRECT, Rung.DIRECT]
    assert world.silence(better) <= 2 * TICK + 0.001


def test_a_path_that_comes_and_goes_is_tried_ever_more_seldom() -> None:
    world = World()
    world.works = {Rung.RELAY}
    world.run(6)
    world.listen()
    for _ in range(40):
        # Long enough to open and to be used, never long enough to be trusted.
        world.works = {Rung.RELAY, Rung.DIRECT}
        world.run(6)
        world.works = {Rung.RELAY}
        world.run(6)
    changes = [at for at, rung in world.sides[0].used if rung is Rung.DIRECT]
    assert len(changes) >= 2
    late = [at for at in changes if at > 240]
    assert len(late) <= 240 / LONGEST_PROBE_PAUSE * 2 + 1
    assert world.silence(0.0) < 6.2


def test_a_path_that_works_in_one_direction_only_is_given_up_by_both() -> None:
    world = World()
    world.run(1)
    world.listen()
    world.run(5)
    assert world.using == [Rung.DIRECT, Rung.DIRECT]
    world.one_way = {Rung.DIRECT}
    broke = world.now
    world.run(6)
    assert Rung.DIRECT not in world.using
    assert world.using[0] is world.using[1]
    assert world.silence(broke) < FIRST_TRY + YIELD + 10 * TICK


def test_one_rung_alone_is_forced() -> None:
    world = World((Rung.RELAY,))
    world.run(30)
    assert {rung for side in world.sides for _, rung in side.begun} == {Rung.RELAY}
    assert begun(world, Rung.RELAY)[0] <= 2 * TICK + 0.001
    assert world.using == [Rung.RELAY, Rung.RELAY]


def test_before_the_match_begins_silence_means_nothing() -> None:
    ladder = Ladder(ALL, leads=True, draw=lambda: 0.5, now=0.0)
    ladder.trying(Rung.DIRECT, now=0.0)
    ladder.opened(Rung.DIRECT, now=0.2)
    assert not [rung for step in range(600) for rung in ladder.begins(now=step / 10)]
    ladder.listen(now=60.0)
    assert not ladder.begins(now=60.0 + FIRST_WORD - 0.1)
    assert ladder.begins(now=60.0 + FIRST_WORD) == ALL[:2]
    assert ladder.begins(now=60.0 + FIRST_WORD + HEAD_START) == ALL


def test_an_address_that_is_gone_is_no_reason_to_wait() -> None:
    ladder = Ladder(ALL, leads=False, draw=lambda: 0.5, now=0.0)
    ladder.opened(Rung.DIRECT, now=0.2)
    ladder.listen(now=0.3)
    ladder.heard(Rung.DIRECT, now=5.0)
    assert not ladder.begins(now=5.0)
    ladder.doubt(Rung.DIRECT)
    assert ladder.begins(now=5.0) == ALL
    ladder.heard(Rung.DIRECT, now=5.1)
    assert not ladder.begins(now=5.1)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    weather=st.lists(
        st.tuples(st.sets(st.sampled_from(ALL)), st.sets(st.sampled_from(ALL)), st.integers(1, 80)), max_size=6
    ),
    settled=st.sets(st.sampled_from(ALL), min_size=1),
)
def test_whatever_the_weather_was_the_best_that_works_is_used_in_the_end(
    seed: int, weather: list[tuple[set[Rung], set[Rung], int]], settled: set[Rung]
) -> None:
    world = World(seed=seed)
    world.listen()
    for works, one_way, steps in weather:
        world.works, world.one_way = works, one_way
        world.run(steps * TICK)
    world.works, world.one_way = settled, set()
    cleared = world.now
    # An attempt may be under way for 12 s without hope; then all are tried again within 4 s.
    world.run(12 + 4 + 4 + 5)
    assert all(rung in settled for rung in world.using)
    assert world.silence(cleared + 22) <= 1.0
    world.run(4 * LONGEST_PROBE_PAUSE)
    assert world.using == [max(settled)] * 2
    calm = world.now
    world.run(20)
    assert world.silence(calm) <= 2 * TICK + 0.001
    used = [len(side.used) for side in world.sides]
    world.run(20)
    assert [len(side.used) for side in world.sides] == used


@pytest.mark.parametrize("works", [{*()}, {Rung.RELAY}, {Rung.TURN}, {Rung.TURN, Rung.RELAY}], ids=str)
def test_attempts_are_few(works: set[Rung]) -> None:
    world = World()
    world.works = works
    world.run(5)
    world.listen()
    world.run(295)
    # Five minutes: with nothing that works an attempt of up to 12 s and a pause of up to 4 s each; else probes only.
    most = 300 / 8 if not works else 300 / (LONGEST_PROBE_PAUSE / 2) + 15
    assert all(len(begun(world, rung)) <= most for rung in ALL)
