"""When a connection to a peer is made anew, and which of several is used: the pure rules, alone and two against each
other over paths that break in one direction or both."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pclient.runtime.link_policy import LINGER, MOST_PATHS, Key, LinkPolicy
from p2pclient.transport import ladder
from p2pclient.transport.ladder import FIRST_TRY, YIELD, Rung

STEP = 0.05


def policy(*, leads: bool = True, draw: float = 1.0, rungs: tuple[Rung, ...] = (Rung.DIRECT,)) -> LinkPolicy:
    """One with a first path that is heard at 0."""
    made = LinkPolicy(leads=leads, draw=lambda: draw, now=0.0, rungs=rungs)
    first = made.key(0, is_ours=leads)
    made.opened(first, now=0.0)
    made.listen(now=0.0)
    made.heard(first, now=0.0)
    return made


def first_attempt(made: LinkPolicy, *, since: float = 0.0, within: float = 30.0) -> float | None:
    now = since
    while now <= since + within:
        if made.tick(now=now).begin:
            return round(now - since, 6)
        now += STEP
    return None


@pytest.mark.parametrize(("leads", "due"), [(True, FIRST_TRY), (False, FIRST_TRY + YIELD)])
def test_silence_leads_to_an_attempt_the_leader_first(leads: bool, due: float) -> None:
    begun = first_attempt(policy(leads=leads))
    assert begun is not None
    assert due <= begun < due + 2 * STEP


def test_who_is_heard_is_left_alone() -> None:
    made = policy()
    for tick in range(400):
        now = tick * STEP
        made.heard((Rung.DIRECT, 0, 1), now=now)
        decision = made.tick(now=now)
        assert (decision.begin, decision.close, made.used) == ((), (), (Rung.DIRECT, 0, 1))


def test_before_the_first_word_the_other_side_has_more_time() -> None:
    made = LinkPolicy(leads=True, draw=lambda: 1.0, now=0.0)
    made.opened((Rung.DIRECT, 0, 1), now=0.0)
    made.listen(now=0.0)
    begun = first_attempt(made)
    assert begun is not None
    assert begun >= ladder.FIRST_WORD


def test_attempts_come_with_growing_pauses_and_limits_but_never_end() -> None:
    made, now, began, ended = policy(), 0.0, list[float](), list[float]()
    while now < 120:
        decision = made.tick(now=now)
        if decision.give_up:
            ended.append(now)
        if decision.begin:
            began.append(now)
        now += STEP
    lasts = [end - begin for begin, end in zip(began, ended, strict=False)]
    pauses = [begin - end for begin, end in zip(began[1:], ended, strict=False)]
    assert lasts[0] == pytest.approx(ladder.FIRST_LIMIT, abs=2 * STEP)
    assert max(lasts) == pytest.approx(ladder.LONGEST_LIMIT, abs=2 * STEP)
    assert pauses[0] == pytest.approx(ladder.FIRST_PAUSE, abs=2 * STEP)
    assert max(pauses) == pytest.approx(ladder.LONGEST_PAUSE, abs=2 * STEP)
    assert began[-1] > 100


def test_chance_shortens_the_pauses_by_half_at_most() -> None:
    def pause(draw: float) -> float:
        made = policy(draw=draw)
        made.begin(now=1.0)
        made.failed(Rung.DIRECT, now=2.0)
        begun = first_attempt(made, since=2.0)
        assert begun is not None
        return begun

    assert pause(0.0) == pytest.approx(ladder.FIRST_PAUSE / 2, abs=2 * STEP)
    assert pause(1.0) == pytest.approx(ladder.FIRST_PAUSE, abs=2 * STEP)


def test_an_address_that_is_gone_is_not_waited_for() -> None:
    made = policy(leads=False)
    made.heard((Rung.DIRECT, 0, 1), now=9.9)
    made.doubt((Rung.DIRECT, 0, 1))
    assert first_attempt(made, since=10.0) == 0.0


def test_a_path_whose_address_is_gone_does_not_count_while_another_is_good() -> None:
    made = policy()
    made.opened((Rung.DIRECT, 1, 1), now=1.0)
    made.doubt((Rung.DIRECT, 1, 1))
    made.heard((Rung.DIRECT, 0, 1), now=1.0)
    assert made.tick(now=1.1).begin == ()
    assert made.used == (Rung.DIRECT, 0, 1)


def test_the_newest_path_that_is_heard_is_used_and_the_old_one_closed_later() -> None:
    made = policy()
    made.opened((Rung.DIRECT, 1, 1), now=2.0)
    assert made.used == (Rung.DIRECT, 1, 1)
    closed_at, now = 0.0, 2.0
    while not closed_at:
        made.heard((Rung.DIRECT, 1, 1), now=now)
        if made.tick(now=now).close == ((Rung.DIRECT, 0, 1),):
            closed_at = now
        now += STEP
    assert LINGER < closed_at < LINGER + 1.0


def test_the_old_path_is_used_again_while_the_new_one_is_silent() -> None:
    made = policy()
    made.opened((Rung.DIRECT, 1, 1), now=2.0)
    made.heard((Rung.DIRECT, 0, 1), now=3.0)
    made.tick(now=3.0)
    assert made.used == (Rung.DIRECT, 0, 1)


def test_a_better_kind_of_path_is_used_whenever_it_is_heard() -> None:
    made = policy(rungs=(Rung.DIRECT, Rung.RELAY))
    made.opened((Rung.RELAY, 5, 1), now=2.0)
    made.heard((Rung.DIRECT, 0, 1), now=2.0)
    assert made.tick(now=2.0).close == ()
    assert made.used == (Rung.DIRECT, 0, 1)


def test_paths_are_bounded() -> None:
    made = policy()
    for number in range(1, 20):
        made.opened((Rung.DIRECT, number, 1), now=1.0)
    closed = made.tick(now=1.0).close
    assert len(closed) == 20 - MOST_PATHS
    assert (Rung.DIRECT, 19, 1) not in closed


def test_of_two_offers_that_cross_the_leaders_counts() -> None:
    leader, other = policy(leads=True), policy(leads=False)
    ours, theirs = leader.begin(now=2.0), other.begin(now=2.0)
    assert not leader.takes_offer(theirs, now=2.1)
    assert other.takes_offer(ours, now=2.1)
    assert not other.attempts[Rung.DIRECT].is_ours


def test_old_doubled_and_too_many_offers_are_not_taken() -> None:
    made = policy(leads=False)
    assert made.takes_offer(3, now=1.0)
    assert not made.takes_offer(3, now=2.0)
    assert not made.takes_offer(2, now=3.0)
    assert made.takes_offer(4, now=4.0)
    assert not made.takes_offer(5, now=4.1)
    assert made.takes_offer(6, now=4.5)


def test_offers_of_a_kind_of_path_that_is_not_used_here_are_not_taken() -> None:
    made = policy()
    assert not made.takes_offer(1, now=1.0, rung=Rung.TURN)
    assert not made.takes_call(now=1.0)
    assert policy(rungs=(Rung.TURN, Rung.RELAY)).takes_offer(1, now=1.0, rung=Rung.TURN)


def test_both_sides_order_paths_alike() -> None:
    leader, other = policy(leads=True), policy(leads=False)
    for number in range(3):
        assert leader.key(number, is_ours=True) == other.key(number, is_ours=False)
        assert leader.key(number, is_ours=False) == other.key(number, is_ours=True)
        assert leader.key(number, is_ours=True) > leader.key(number, is_ours=False)


# Two of them


@dataclass
class Path:
    """Works in each direction until a time, given by its sender."""

    until: dict[bool, float]


@dataclass
class World:
    """Two sides that send a word over the path they use, each twentieth of a second; attempts need a working net."""

    draw: random.Random
    down: tuple[float, float]
    """No new path can be made in this time."""
    now: float = 0.0
    sides: dict[bool, LinkPolicy] = field(default_factory=dict)
    paths: dict[Key, Path] = field(default_factory=dict)
    closed: dict[bool, set[Key]] = field(default_factory=lambda: {True: set(), False: set()})
    made: int = 0
    offers: list[tuple[float, bool, int]] = field(default_factory=list)
    answers: list[tuple[float, bool, int]] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.step()
            self.now += STEP

    def step(self) -> None:
        for leads, side in self.sides.items():
            decision = side.tick(now=self.now)
            for key in decision.close:
                self.closed[leads].add(key)
                side.ended(key, now=self.now)
            for _, number in decision.begin:
                if not self.down[0] <= self.now < self.down[1]:
                    self.offers.append((self.now + self.draw.uniform(0.01, 0.3), not leads, number))
        self._deliver()
        for leads, side in self.sides.items():
            used = side.used
            if used is None or used in self.closed[leads] or used in self.closed[not leads]:
                continue
            if self.now < self.paths[used].until[leads]:
                self.sides[not leads].heard(used, now=self.now)

    def _deliver(self) -> None:
        due, self.offers = [o for o in self.offers if o[0] <= self.now], [o for o in self.offers if o[0] > self.now]
        for _, to, number in due:
            if self.sides[to].takes_offer(number, now=self.now):
                self.answers.append((self.now + self.draw.uniform(0.01, 0.3), not to, number))
        done, self.answers = [a for a in self.answers if a[0] <= self.now], [a for a in self.answers if a[0] > self.now]
        for _, to, number in done:
            ours, theirs = (self.sides[side].attempts.get(Rung.DIRECT) for side in (to, not to))
            if ours is None or theirs is None or not ours.is_ours or theirs.is_ours or ours.number != number:
                continue
            if theirs.number == number:
                self.made += 1
                key = self.sides[to].key(number, is_ours=True)
                self.paths[key] = Path({True: 1e9, False: 1e9})
                for side in self.sides.values():
                    side.opened(key, now=self.now)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 30), st.booleans(), st.booleans(), st.floats(0, 12))
def test_both_sides_end_on_one_path_that_works_in_both_directions(
    seed: int, one_way: bool, breaks_leader: bool, down_s: float
) -> None:
    draw = random.Random(seed)
    breaks_at = draw.uniform(1, 3)
    world = World(draw, (breaks_at, breaks_at + down_s))
    for leads in (True, False):
        side = LinkPolicy(leads=leads, draw=draw.random, now=0.0)
        side.opened(side.key(0, is_ours=leads), now=0.0)
        side.listen(now=0.0)
        world.sides[leads] = side
    until = {leads: breaks_at if not one_way or leads is breaks_leader else 1e9 for leads in (True, False)}
    world.paths[Rung.DIRECT, 0, 1] = Path(until)
    world.run(breaks_at + down_s + 16)
    used = {side.used for side in world.sides.values()}
    assert len(used) == 1
    assert world.made >= 1
    assert used != {(Rung.DIRECT, 0, 1)}
    for side in world.sides.values():
        assert side.silent_for(now=world.now) < 0.2
    # Once it works, nothing is made any more.
    before = world.made
    world.run(10)
    assert world.made == before
