"""What follows when a player is gone: each policy does what it says, when it says, and all who are left agree on it."""

from __future__ import annotations

from typing import Any

import pytest
from test_match_drops import LINK, NEUTRAL, assert_one_history, events, play_until, verified
from virtual import HostFailure, Link, VirtualMatch, toy_env

from p2pclient.common.sides import Sides
from p2pclient.match.drops import GRANT_PATIENCE
from p2pclient.match.plan import GrantWanted, Outbox, Phase

BOT = "bot:greedy:hidden"


class JudgedMatch(VirtualMatch):
    """A virtual match with somebody who says who may go on, as the server does, unless it is away."""

    def __init__(self, *, is_away: bool = False, **plan: Any) -> None:
        self.is_away = is_away
        self.asked: list[tuple[float, int, tuple[int, ...]]] = []
        super().__init__(**{"has_arbiter": True, "drop_after": 3.0, "rate_hz": 30.0, **plan})
        self.judge = Sides({str(n): 1 for n in range(len(self.sides))})

    def _carry_out(self, own: int, out: Outbox) -> None:
        super()._carry_out(own, out)
        for event in out.events:
            if isinstance(event, GrantWanted):
                self.asked.append((self.now, own, event.living))
                if not self.is_away:
                    self._answer(own, event)

    def _answer(self, own: int, event: GrantWanted) -> None:
        through = frozenset(str(n) for n, each in enumerate(self.sides) if each.ended is not None)
        is_granted = self.judge.ask(str(own), frozenset(map(str, event.living)), through)
        self.sides[own].match.drops.answer(event.living, is_granted=is_granted, now=self.now)


def played_alone(match: VirtualMatch, own: int) -> list[bytes]:
    """The inputs of the seat of whoever is lost (the other one of two), as the one that is left recorded them."""
    return [frame.inputs[1 - own] for frame in match.sides[own].frames()]


def crash(match: VirtualMatch, peer: int) -> float:
    match.sides[peer].dead_from = match.now
    return match.now


def leave(match: VirtualMatch, peer: int) -> float:
    match._carry_out(peer, match.sides[peer].match.leave(now=match.now))
    return match.now


# -- two players ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["held", "press"])
@pytest.mark.parametrize("window", [0, 8])
def test_a_bot_takes_the_seat_of_one_of_two_after_the_time_that_was_said(window: int, mode: str) -> None:
    match = JudgedMatch(link=LINK, env=toy_env(mode=mode), on_drop=BOT, window=window)
    play_until(match, 40)
    began = crash(match, 1)
    match.run(60)
    assert_one_history(match, [0], frames=200)
    (asked,) = match.asked
    assert asked[1:] == (0, (0,))
    assert began + 3.0 - 0.2 < asked[0] < began + 3.0 + 0.2
    (dropped,) = events(match.sides[0], "dropped")
    last = int(str(dropped["last_frame"]))
    inputs = played_alone(match, 0)
    pressed = [b"\x00" + key for key in match.sides[1].source.pressed]
    assert 20 < last < len(pressed)
    assert inputs[: last + 1] == pressed[: last + 1]
    assert NEUTRAL not in inputs[last + 1 :], "the bot always presses something"
    assert len(set(inputs[last + 1 :])) > 2
    sitting = {"seat": 1, "episode": 0, "first_frame": last + 1, "by": "substitute", "why": "lost", "last_frame": 199}
    assert match.sides[0].match.sittings.as_data() == [sitting]
    by = [frame.by for frame in match.sides[0].frames()]
    assert by == [None] * (last + 1) + [(None, "substitute")] * (199 - last)


def test_going_on_without_leaves_the_seat_empty() -> None:
    match = JudgedMatch(link=LINK, on_drop="go-on", env=toy_env(max_steps=120), episodes=2)
    play_until(match, 40)
    crash(match, 0)
    match.run(60)
    assert_one_history(match, [1], frames=120)
    assert_one_history(match, [1], frames=120, episode=1)
    (first, second) = match.sides[1].match.sittings.as_data()
    assert (first["by"], first["last_frame"]) == ("absent", 119)
    assert second == {**first, "episode": 1, "first_frame": 0}
    assert {frame.inputs[0] for frame in match.sides[1].frames(1)} == {NEUTRAL}
    assert {frame.by for frame in match.sides[1].frames(1)} == {("absent", None)}


def test_who_says_goodbye_is_not_waited_for_and_nobody_need_be_asked() -> None:
    match = JudgedMatch(link=LINK, on_drop=BOT, has_arbiter=False)
    play_until(match, 40)
    began = leave(match, 1)
    match.run(began + 0.5)
    (sitting,) = match.sides[0].match.sittings.as_data()
    assert (sitting["by"], sitting["why"]) == ("substitute", "left")
    match.run(60)
    assert_one_history(match, [0], frames=200)
    assert match.asked == []


def test_the_match_ends_where_that_is_the_policy_of_the_seat_that_is_lost() -> None:
    match = JudgedMatch(link=LINK, on_drop=f"{BOT} 1=end@5")
    play_until(match, 40)
    began = crash(match, 1)
    match.run(began + 4.8)
    assert match.sides[0].ended is None
    match.run(began + 5.4)
    ended = match.sides[0].ended
    assert ended is not None
    assert ended.reason == "partner-gone"
    assert match.asked == []
    again = JudgedMatch(link=LINK, on_drop=f"{BOT}@2 1=end@5")
    play_until(again, 40)
    began = crash(again, 0)
    again.run(60)
    assert_one_history(again, [1], frames=200)
    assert again.asked[0][0] - began < 2.4


@pytest.mark.parametrize("seed", range(4))
def test_of_two_who_do_not_hear_each_other_one_goes_on(seed: int) -> None:
    match = JudgedMatch(seed=seed, link=LINK, on_drop=BOT)
    play_until(match, 30)
    for pair in match.links:
        match.links[pair] = Link(delay=0.05, outages=((match.now, 1e9),))
    match.run(60)
    reasons = sorted(side.ended.reason if side.ended else "" for side in match.sides)
    assert reasons == ["finished", "partition"]
    winner = next(own for own, side in enumerate(match.sides) if side.ended and side.ended.reason == "finished")
    assert_one_history(match, [winner], frames=200)
    other = match.sides[1 - winner]
    shared = verified(other) + 1
    assert [f.inputs for f in other.frames()[:shared]] == [f.inputs for f in match.sides[winner].frames()[:shared]]


def test_without_a_word_from_the_server_the_match_ends_in_the_end() -> None:
    match = JudgedMatch(link=LINK, on_drop=BOT, is_away=True)
    play_until(match, 30)
    began = crash(match, 1)
    match.run(began + 3.0 + GRANT_PATIENCE - 0.5)
    assert match.sides[0].ended is None
    match.run(began + 3.0 + GRANT_PATIENCE + 0.5)
    ended = match.sides[0].ended
    assert ended is not None
    assert ended.reason == "partition"
    assert len(match.asked) == 1


def test_no_barrier_is_passed_while_nobody_has_said_who_may_go_on() -> None:
    match = JudgedMatch(link=LINK, on_drop=BOT, is_away=True, env=toy_env(max_steps=60), episodes=3)
    play_until(match, 50)
    side = match.sides[0].match
    for step in range(round(match.now * 200), 4_000):
        match.run(step / 200)
        if side.number:
            break
    match.links[1, 0] = Link(delay=0.03, outages=((match.now, 1e9),))
    crash(match, 1)
    assert side.phase in (Phase.RESETTING, Phase.BARRIER)
    match.run(match.now + 6.0)
    assert match.asked
    assert (side.number, side.phase) == (1, Phase.BARRIER)
    side.drops.answer([0], is_granted=True, now=match.now)
    match.run(60)
    assert_one_history(match, [0], frames=60, episode=2)
    told = side.sittings.as_data()
    assert [(each["episode"], each["first_frame"], each["last_frame"]) for each in told] == [(1, 0, 59), (2, 0, 59)]


# -- more -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("players", [3, 4, 5])
def test_survivors_see_the_same_bot(players: int, seed: int) -> None:
    link = Link(delay=0.02 + 0.03 * seed, jitter=0.03, loss=0.05 * seed)
    match = JudgedMatch(seed=seed, players=players, link=link, env=toy_env(players), on_drop=BOT)
    play_until(match, 40 + 7 * seed)
    crash(match, 1)
    match.run(60)
    survivors = [own for own in range(players) if own != 1]
    assert_one_history(match, survivors, frames=200)
    told = [match.sides[own].match.sittings.as_data() for own in survivors]
    assert all(each == told[0] and each for each in told)
    cut = told[0][0]["first_frame"]
    inputs = [frame.inputs[1] for frame in match.sides[0].frames()]
    assert NEUTRAL not in inputs[cut:]
    held = [[frame.by for frame in match.sides[own].frames()] for own in survivors]
    assert all(each == held[0] for each in held)
    assert sum(match.sides[own].match.counters.rollbacks for own in survivors) > 0


@pytest.mark.parametrize("apart", [0.0, 0.04, 1.5])
def test_two_lost_at_once_are_both_replaced_and_a_third_one_later(apart: float) -> None:
    match = JudgedMatch(seed=3, players=5, link=LINK, env=toy_env(5, max_steps=400), on_drop=f"{BOT} 3=go-on")
    play_until(match, 50)
    crash(match, 4)
    match.run(match.now + apart)
    crash(match, 3)
    match.run(match.now + 5.0)
    crash(match, 0)  # the one that names changes; of five, two are left: the server is asked
    match.run(90)
    assert_one_history(match, [1, 2], frames=400)
    told = match.sides[1].match.sittings.as_data()
    assert told == match.sides[2].match.sittings.as_data()
    assert {(each["seat"], each["by"]) for each in told} == {(4, "substitute"), (3, "absent"), (0, "substitute")}
    assert {own for _, own, living in match.asked if living == (1, 2)} == {1, 2}


def test_all_say_alike_why_a_player_is_gone_whatever_each_of_them_heard() -> None:
    match = JudgedMatch(seed=5, players=4, link=LINK, env=toy_env(4), on_drop=BOT)
    play_until(match, 40)
    # Its goodbye reaches one of them only.
    for other in (1, 2):
        match.links[3, other] = Link(delay=0.03, outages=((match.now, 1e9),))
    leave(match, 3)
    match.sides[3].dead_from = match.now + 0.2
    match.run(60)
    assert_one_history(match, [0, 1, 2], frames=200)
    told = [match.sides[own].match.sittings.as_data() for own in (0, 1, 2)]
    assert [each[0]["why"] for each in told] == ["left"] * 3
    assert told[0] == told[1] == told[2]


def test_half_of_the_players_go_on_when_the_others_said_goodbye() -> None:
    match = JudgedMatch(seed=6, players=4, link=LINK, env=toy_env(4), on_drop=BOT, has_arbiter=False)
    play_until(match, 40)
    leave(match, 2)
    match.run(match.now + 1.0)
    leave(match, 3)
    match.run(60)
    assert_one_history(match, [0, 1], frames=200)


@pytest.mark.parametrize("seed", range(3))
def test_a_split_in_halves_leaves_one_history(seed: int) -> None:
    match = JudgedMatch(seed=seed, players=4, link=LINK, env=toy_env(4), on_drop=BOT)
    play_until(match, 40)
    for a, b in match.links:
        if (a < 2) is not (b < 2):
            match.links[a, b] = Link(delay=0.05, outages=((match.now, 1e9),))
    match.run(90)
    ends = [side.ended.reason if side.ended else "" for side in match.sides]
    assert sorted(ends) == ["finished", "finished", "partition", "partition"]
    assert_one_history(match, [own for own, end in enumerate(ends) if end == "finished"], frames=200)


def test_a_bots_seat_survives_the_loss_of_an_environment() -> None:
    for portable in (True, False):
        env = {**toy_env(3, max_steps=300), "portable": portable}
        match = JudgedMatch(seed=8, players=3, link=LINK, env=env, on_drop=BOT)
        match.sides[0].failures.append(HostFailure(200))
        play_until(match, 40)
        crash(match, 1)
        match.run(60)
        assert_one_history(match, [0, 2], frames=300)
        assert match.sides[0].match.counters.recoveries == 1
        assert match.sides[0].hosts == 2
        assert match.sides[0].match.sittings.as_data()[0]["first_frame"] < 200


# -- who may go on ----------------------------------------------------------------------------------------------------


EVERYBODY = {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}


def ask(sides: Sides, *names: str, through: str = "") -> set[bool]:
    return {sides.ask(each, frozenset(names), frozenset(through)) for each in names}


def test_no_two_sides_without_a_common_player_are_let_go_on() -> None:
    sides = Sides(dict.fromkeys("abcd", 1))
    assert ask(sides, "a", "b") == {True}
    assert ask(sides, "c", "d") == {False}
    assert ask(Sides(EVERYBODY), "a", "b") == {False}, "three may go on by themselves"
    assert ask(Sides(EVERYBODY), "a", "b", through="e") == {True}
    assert ask(Sides(EVERYBODY), "x", "a", "b", "c") == {False}
    assert not Sides(EVERYBODY).ask("d", frozenset("abc"), frozenset())


def test_a_part_of_those_who_went_on_together_may_go_on_later() -> None:
    sides = Sides(EVERYBODY)
    assert ask(sides, "a", "b", "c") == {True}
    assert ask(sides, "a") == {False}
    assert ask(sides, "b", "c") == {True}
    assert ask(sides, "b") == {True}
    assert ask(sides, "c") == {False}
    assert ask(sides, "a", "d", "e") == {False}
    assert sides.granted == (frozenset("abc"), frozenset("bc"), frozenset("b"))


def test_while_not_all_of_a_part_have_asked_they_may_be_on_other_sides() -> None:
    sides = Sides(EVERYBODY)
    assert sides.ask("a", frozenset("abc"), frozenset())
    assert sides.ask("b", frozenset("abc"), frozenset())
    assert ask(sides, "a", "b") == {False}, "c may go on with d and e"
    assert ask(Sides(EVERYBODY, granted=(frozenset("abc"),)), "a", "b") == {False}, "nor is it known after a restart"
