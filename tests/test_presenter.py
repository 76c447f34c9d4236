"""What the person is shown in the course of a match: real matches in virtual time, and a window that keeps it all."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import pytest
from spectator_rig import Studio
from test_match_desync import slip, slip_next
from test_match_drops import LINK, play_until
from virtual import HostFailure, Link, Side, ToyHost, VirtualMatch, finished, toy_env

from p2pclient.common.presentation import Intent, Presentation, Screen
from p2pclient.match.match import Match
from p2pclient.match.plan import Outbox, Phase
from p2pclient.match.sources import Sample
from p2pclient.match.watching import Watching
from p2pclient.runtime.onlooker import PAUSED, Outlook, WatchPresenter
from p2pclient.runtime.presenter import MatchPresenter

MISSED = "Your partner has not been heard for a moment."
COMPARING = "The computers are comparing their games. Please wait a moment."


class RecordingWindow:
    """Keeps what it is to show, and when."""

    def __init__(self) -> None:
        self.now = 0.0
        self.shown: list[tuple[float, Presentation]] = []

    def publish(self, presentation: Presentation) -> None:
        self.shown.append((self.now, presentation))

    def take_intents(self) -> list[Intent]:
        return []

    def course(self, *, since: float = 0.0) -> list[tuple[Screen, str]]:
        """Each screen with what it says, once for as long as it stays. Screens with a card hide the notice."""
        words = [(p.screen, p.hud.notice if p.screen is Screen.PLAYING else p.message) for _, p in self._after(since)]
        return [key for key, _ in groupby(words)]

    def span(self, screen: Screen, notice: str | None = None) -> tuple[float, float]:
        """When this was shown first, and when something else was after that."""
        fits = [(at, p.screen is screen and notice in (None, p.hud.notice)) for at, p in self.shown]
        start = next(at for at, is_it in fits if is_it)
        return start, next((at for at, is_it in fits if at > start and not is_it), self.now)

    def frames(self, since: float, until: float) -> set[int]:
        """Frames of the pictures shown in this time."""
        return {p.view.frame for at, p in self.shown if since < at <= until and p.view is not None}

    def _after(self, since: float) -> list[tuple[float, Presentation]]:
        first = max(i for i, (at, _) in enumerate(self.shown) if at <= since or i == 0)
        return self.shown[first:]


class DrawingHost(ToyHost):
    """The toy with a picture of its own for every frame."""

    def do_render(self) -> dict[str, Any]:
        return {**super().do_render(), "pixels": np.full((2, 2, 3), self.frame % 256, np.uint8)}


class ShownMatch(VirtualMatch):
    """A virtual match whose first side is shown."""

    def __init__(self, **plan: Any) -> None:
        self.window = RecordingWindow()
        self.presenter: MatchPresenter | None = None
        super().__init__(**{"render": True, **plan})
        for side in self.sides:
            side.host = DrawingHost(side.host.seats)
        self.presenter = MatchPresenter(self.window, self.sides[0].match, title="Toy", connections={1: "direct"})

    def _carry_out(self, own: int, out: Outbox) -> None:
        super()._carry_out(own, out)
        if own == 0 and self.presenter is not None:
            self.window.now = self.now
            for event in out.events:
                self.presenter.take_event(event)

    def _tick(self, own: int, side: Side) -> None:
        super()._tick(own, side)
        if own == 0 and self.presenter is not None:
            self.window.now = self.now
            self.presenter.note_tick(self.now)

    def silence(self, peer: int, *, seconds: float) -> None:
        """From now on nothing gets through between the shown side and this one."""
        gap = Link(delay=0.05, outages=((self.now, self.now + seconds),))
        self.links[0, peer] = self.links[peer, 0] = gap


def three(**plan: Any) -> ShownMatch:
    return ShownMatch(
        **{"seed": 2, "players": 3, "link": LINK, "env": toy_env(3, max_steps=900), "rate_hz": 30.0, **plan}
    )


def lost(names: str, *, back: str = "it is back") -> tuple[Screen, str]:
    words = f"The connection to {names} is lost, and is being made anew."
    return Screen.PARTNER_LOST, f"{words} Please wait: the game goes on by itself as soon as {back}."


BACK = "The connection is back. The game goes on."


RESTARTING = "The game is being restarted. Please wait a moment."


@pytest.mark.parametrize(
    ("failing", "words"), [(0, RESTARTING), (1, "Waiting for your partner's game, which is being restarted.")]
)
def test_a_game_that_is_restarted_is_told_on_both_sides(failing: int, words: str) -> None:
    match = ShownMatch(link=Link(delay=0.05), env=toy_env(max_steps=200))
    match.sides[failing].failures.append(HostFailure(60))
    match.sides[failing].restart = 2.0
    match.run(60)
    assert finished(match)
    assert match.sides[failing].match.counters.recoveries == 1
    start, end = match.window.span(Screen.PLAYING, words)
    assert 1.8 < end - start < 3.0
    assert match.window.course()[-2:] == [(Screen.PLAYING, words), (Screen.PLAYING, "")]


def test_how_far_a_long_restart_is_can_be_read() -> None:
    env = {**toy_env(max_steps=200), "portable": False}
    match = ShownMatch(link=Link(delay=0.05), env=env, host_cost=0.05)
    match.sides[0].failures.append(HostFailure(150))
    match.run(60)
    assert finished(match)
    told = [words for _, words in match.window.course() if words.startswith(RESTARTING)]
    assert len(told) > 3
    assert told[-1].endswith(" % is done.")


# -- two players ------------------------------------------------------------------------------------------------------


def test_a_silent_partner_is_missed_then_waited_for_then_heard_again() -> None:
    match = ShownMatch(link=Link(delay=0.05), env=toy_env(max_steps=400))
    play_until(match, 30)
    began = match.now
    match.silence(1, seconds=5.0)
    match.run(began + 10)
    assert match.window.course(since=began) == [
        (Screen.PLAYING, ""),
        (Screen.PLAYING, MISSED),
        lost("the other computer"),
        (Screen.PLAYING, BACK),
        (Screen.PLAYING, ""),
    ]
    told, over = match.window.span(Screen.PLAYING, BACK)
    assert over - told == pytest.approx(3.0, abs=0.2)
    start, end = match.window.span(Screen.PARTNER_LOST)
    assert start == pytest.approx(began + 2.5, abs=0.2)
    assert end == pytest.approx(began + 5.0, abs=0.4)
    titles = {p.title for _, p in match.window.shown if p.screen is Screen.PARTNER_LOST}
    assert titles == {"Waiting for your partner"}
    match.run()
    assert finished(match)


def test_a_partner_who_stays_away_is_waited_for_until_the_match_ends() -> None:
    match = ShownMatch(link=Link(delay=0.05), drop_after=6.0)
    play_until(match, 30)
    began = match.now
    match.sides[1].dead_from = began
    match.run(began + 12)
    ended = match.sides[0].ended
    assert ended is not None
    assert ended.reason == "partner-gone"
    assert match.window.course(since=began)[-2:] == [(Screen.PLAYING, MISSED), lost("the other computer")]


def test_who_says_goodbye_at_the_end_is_not_missed() -> None:
    match = ShownMatch(link=Link(delay=0.05), env=toy_env(max_steps=60))
    match.run()
    assert finished(match)
    match.run(match.now + 5.0)
    assert match.window.course() == [(Screen.CONNECTING, "Getting ready."), (Screen.PLAYING, "")]
    assert len(match.window.frames(0.0, match.now)) > 50


def test_nobody_is_missed_once_all_have_named_the_last_frame() -> None:
    match = ShownMatch(link=Link(delay=0.05), env=toy_env(max_steps=60))
    play_until(match, 50)
    # What is said to the other side comes late, and so does the last acknowledgement; meanwhile nothing is heard.
    match._control_free[0, 1] = match.now + 4.0
    levels = set()
    for step in range(round(match.now * 100), 2_000):
        match.run(step / 100)
        if match.sides[0].match.phase is Phase.FINISHING:
            match.links[1, 0] = Link(delay=0.05, loss=1.0)
            levels.add(match.sides[0].match.peers[1].endpoint.silence)
    assert "notice" in levels, "there was something to say"
    assert finished(match)
    assert [words for _, words in match.window.course()] == ["Getting ready.", ""]


# -- three players ----------------------------------------------------------------------------------------------------


def test_a_game_that_goes_on_without_a_player_is_shown_again_with_a_word_about_it() -> None:
    match = three(on_drop="go-on", drop_after=4.0)
    play_until(match, 40)
    began = match.now
    match.sides[2].dead_from = began
    match.run(began + 30)
    course = match.window.course(since=began)
    assert course == [
        (Screen.PLAYING, ""),
        (Screen.PLAYING, "Player 3 has not been heard for a moment."),
        lost("the computer of Player 3", back="it is back, or after a short wait without it"),
        (Screen.PLAYING, "Player 3 has left. The game goes on."),
        (Screen.PLAYING, ""),
    ]
    start, end = match.window.span(Screen.PLAYING, "Player 3 has left. The game goes on.")
    assert start == pytest.approx(began + 4.0, abs=0.4)
    assert 10.0 < end - start < 16.0
    assert len(match.window.frames(start, end)) > 200
    match.run()
    assert match.sides[0].ended is not None
    assert match.sides[0].ended.reason == "finished"


def countdown(match: ShownMatch, since: float) -> list[tuple[tuple[str, str], ...]]:
    """The lines of the screen on which somebody is waited for, each once."""
    told = [p.lines for at, p in match.window.shown if at >= since and p.screen is Screen.PARTNER_LOST]
    return [lines for lines, _ in groupby(told)]


@pytest.mark.parametrize(
    ("policy", "then", "words"),
    [
        ("end", "The game ends. Everything up to here is kept.", ""),
        ("go-on", "The game goes on without your partner.", "Your partner has left. The game goes on."),
        (
            "bot:greedy:disclosed",
            "A computer player takes the place, and the game goes on.",
            "Your partner has left. A computer player takes that place, and the game goes on.",
        ),
        ("bot:greedy:hidden", "The game goes on.", ""),
    ],
)
def test_who_waits_sees_the_seconds_that_are_left_and_what_follows(policy: str, then: str, words: str) -> None:
    match = ShownMatch(
        link=Link(delay=0.05), env=toy_env(max_steps=400), drop_after=6.0, on_drop=policy, has_arbiter=True
    )
    play_until(match, 30)
    began = match.now
    match.sides[1].dead_from = began
    match.run(began + 6.5)
    lines = countdown(match, began)
    assert [dict(each)["Time left to come back"] for each in lines] == ["4 s", "3 s", "2 s", "1 s"]
    assert {dict(each)["After that"] for each in lines} == {then}
    match.sides[0].match.drops.answer([0], is_granted=True, now=match.now)
    match.run(match.now + 1.0)
    assert (match.sides[0].ended is not None) is (policy == "end")
    if policy != "end":
        assert match.window.course()[-1] == (Screen.PLAYING, words)
        assert len(match.window.frames(began + 6.5, match.now)) > 5
    if policy == "bot:greedy:hidden":
        said = " ".join([p.message + p.title + p.hud.notice + str(p.lines) for _, p in match.window.shown])
        assert not any(word in said.lower() for word in ("bot", "computer player", "left.", "without"))


def test_that_a_bot_takes_a_seat_is_told_where_that_is_disclosed_only() -> None:
    match = three(on_drop="bot:greedy:disclosed 1=bot:greedy:hidden 2=go-on", players=5, env=toy_env(5, max_steps=900))
    play_until(match, 40)
    for peer in (1, 2, 3):
        match._carry_out(peer, match.sides[peer].match.leave(now=match.now))
        match.run(match.now + 1.0)
    assert match.window.course()[-3:] == [
        (Screen.PLAYING, ""),
        (Screen.PLAYING, "Player 3 has left. The game goes on."),
        (
            Screen.PLAYING,
            "Player 3 has left. The game goes on. Player 4 has left. A computer player takes that place, "
            "and the game goes on.",
        ),
    ]


def test_who_says_goodbye_is_told_to_have_left_without_any_waiting() -> None:
    match = three(on_drop="go-on", players=5, env=toy_env(5, max_steps=900))
    play_until(match, 40)
    began = match.now
    for peer in (1, 3):
        match._carry_out(peer, match.sides[peer].match.leave(now=match.now))
        match.run(match.now + 1.0)
    assert match.window.course(since=began)[:3] == [
        (Screen.PLAYING, ""),
        (Screen.PLAYING, "Player 2 has left. The game goes on."),
        (Screen.PLAYING, "Player 2 and Player 4 have left. The game goes on."),
    ]


def test_another_ones_word_does_not_hide_that_somebody_is_still_silent() -> None:
    match = three(drop_after=15.0)
    play_until(match, 40)
    began = match.now
    match.silence(2, seconds=9.0)
    match.run(began + 3.5)
    match.silence(1, seconds=1.2)
    levels: list[tuple[str, str]] = []
    while match.now < began + 8.5:
        match.run(match.now + 0.1)
        levels.append((match.sides[0].match.peers[1].endpoint.silence, match.window.shown[-1][1].screen.value))
    assert {level for level, _ in levels} == {"heard", "notice"}, "the other one's event came"
    assert {screen for _, screen in levels} == {"partner lost"}
    match.run(began + 14)
    assert match.window.course(since=began + 3.5) == [
        lost("the computer of Player 3"),
        (Screen.PLAYING, BACK),
        (Screen.PLAYING, ""),
    ]


def test_all_who_are_lost_are_named_and_the_first_one_back_is_not() -> None:
    match = three()
    play_until(match, 40)
    began = match.now
    match.silence(1, seconds=5.0)
    match.silence(2, seconds=7.0)
    match.run(began + 11)
    both = lost("the computers of Player 2 and Player 3", back="they are back")
    assert match.window.course(since=began + 3.0) == [
        both,
        lost("the computer of Player 3"),
        (Screen.PLAYING, BACK),
        (Screen.PLAYING, ""),
    ]


def test_who_has_finished_is_not_missed_while_another_one_is_waited_for() -> None:
    match = three(env=toy_env(3, max_steps=120), link=Link(delay=0.02))
    match.links[0, 2] = Link(delay=0.4)  # the third one knows of the end later than the others
    for step in range(10_000):
        match.run(step / 100)
        if match.sides[0].match.phase is Phase.EPISODE_OVER:
            break
    began = match.now
    match.links[2, 0] = Link(delay=0.02, outages=((began, began + 6.0),))
    while match.now < began + 5.5:
        match.run(match.now + 0.05)
        if match.sides[1].ended is not None:
            match.sides[1].dead_from = match.now
    peers = match.sides[0].match.peers
    assert [(peer.left, peer.endpoint.silence) for peer in peers] == [("finished", "lost"), (None, "lost")]
    assert match.window.course(since=began)[-1] == lost("the computer of Player 3")


# -- states that differ -----------------------------------------------------------------------------------------------


def diverged(*, delay: float) -> ShownMatch:
    """A match that stands still at a state that slipped, and finds it right when it is simulated again."""
    match = ShownMatch(seed=1, link=Link(delay=delay), on_desync="resimulate", env=toy_env(max_steps=200))
    host = slip(match, 1, at=40, times=1_000)
    for step in range(20_000):
        match.run(step / 100)
        if match.sides[1].match.phase is Phase.DIVERGED:
            host.left = 0
            break
    assert host.left == 0
    return match


def test_a_short_comparing_is_told_over_the_picture() -> None:
    match = diverged(delay=0.05)
    match.run()
    assert finished(match)
    assert match.sides[0].match.counters.desyncs == 1
    course = [(Screen.PLAYING, ""), (Screen.PLAYING, COMPARING), (Screen.PLAYING, "")]
    assert match.window.course()[1:] == course
    start, end = match.window.span(Screen.PLAYING, COMPARING)
    assert 0.0 < end - start < 0.8


def test_a_long_comparing_has_a_screen_of_its_own_and_play_is_shown_again_after_it() -> None:
    match = diverged(delay=0.4)
    match.run()
    assert finished(match)
    shown = [each for each in match.window.course()[1:] if each != (Screen.PLAYING, MISSED)]
    assert shown[1:] == [(Screen.PLAYING, COMPARING), (Screen.COMPARING, COMPARING), (Screen.PLAYING, "")]
    start, end = match.window.span(Screen.COMPARING)
    assert 0.3 < end - start < 5.0
    assert len(match.window.frames(end, match.now)) > 50


def test_each_comparing_is_timed_on_its_own() -> None:
    match = diverged(delay=0.05)
    for step in range(round(match.now * 100), 6_000):
        match.run(step / 100)
        if match.sides[0].match.phase is Phase.PLAYING and match.now > 4.0:
            break
    again = slip_next(match, 140)
    for step in range(round(match.now * 100), 6_000):
        match.run(step / 100)
        if match.sides[1].match.phase is Phase.DIVERGED:
            again.left = 0
    assert finished(match)
    assert match.sides[0].match.counters.desyncs == 2
    told = [(Screen.PLAYING, COMPARING), (Screen.PLAYING, "")]
    assert match.window.course()[1:] == [(Screen.PLAYING, ""), *told, *told]


def test_a_match_that_ends_by_comparing_does_not_look_as_if_it_went_on() -> None:
    match = ShownMatch(seed=1, link=Link(delay=0.05))
    match.sides[1].host.corrupt_at = 40
    match.run()
    assert match.sides[0].ended is not None
    assert match.sides[0].ended.reason == "desync"
    ended_at = match.now
    for _ in range(200):
        match.run(match.now + 1.0)
    assert match.now > ended_at + 1.0
    assert match.window.course()[-1] == (Screen.PLAYING, COMPARING)


def test_who_falls_silent_while_games_are_compared_is_waited_for() -> None:
    match = diverged(delay=0.05)
    match.sides[1].dead_from = match.now
    match.run(match.now + 10)
    assert match.sides[0].ended is not None
    assert match.sides[0].ended.reason == "desync"
    assert [screen for screen, _ in match.window.course()[-3:]] == [
        Screen.PLAYING,
        Screen.COMPARING,
        Screen.PARTNER_LOST,
    ]


# -- games of turns ---------------------------------------------------------------------------------------------------


class TurnHost(DrawingHost):
    """Everybody has the turn for ten frames."""

    def do_render(self) -> dict[str, Any]:
        return {**super().do_render(), "to_move": self.frame // 10 % self.seats}


@pytest.mark.parametrize(
    ("players", "others"),
    [(2, ["It is your partner's turn."]), (3, ["It is Player 2's turn.", "It is Player 3's turn."])],
)
def test_whose_turn_it_is_is_said(players: int, others: list[str]) -> None:
    match = ShownMatch(players=players, link=LINK, env=toy_env(players, max_steps=400))
    for side in match.sides:
        side.host = TurnHost(side.host.seats)
    began = match.now
    play_until(match, 70)
    turns = [p.hud.turn for at, p in match.window.shown if at > began and p.screen is Screen.PLAYING and p.hud.turn]
    said = [words for words, _ in groupby(turns)]
    assert said[: players + 1] == ["It is your turn.", *others, "It is your turn."]
    # At a person's machine, bots may sit at further seats.
    assert match.presenter is not None
    assert match.presenter._words.turn(1, (0, 1)) == others[0]


def test_a_pause_is_shown_with_its_reason_until_play_goes_on() -> None:
    match = ShownMatch(seed=1, link=Link(delay=0.05))
    match.run(3.0)
    match.sides[1].match.changes.wish("pause", reason="The lab takes a break")
    match.run(8.0)
    still = "The game stands still, and goes on by itself from where it is."
    assert match.window.course()[-1] == (Screen.PAUSED, f"The lab takes a break. {still}")
    (_, shown) = match.window.shown[-1]
    frame = match.sides[0].match.changes.done[0]["frame"]
    assert shown.view is not None
    assert shown.view.frame == frame
    assert shown.hud.seconds_left == pytest.approx((200 - frame) / 15)
    match.sides[0].match.changes.wish("resume")
    match.run()
    assert finished(match)
    assert match.window.course()[-1][0] is Screen.PLAYING
    assert len(match.window.frames(8.0, match.now)) > 100


def test_a_spectator_reads_that_the_players_have_paused_when_it_has_seen_their_last_frame() -> None:
    studio, window = Studio(), RecordingWindow()
    spectator = studio.watch(delay=5, env={**studio.plan.env, "title": "Toy"})
    watched, player = spectator.match, studio.players[0].match
    assert isinstance(watched, Watching)
    assert isinstance(player, Match)
    presenter = WatchPresenter(window, watched, Outlook())

    def run(ticks: int) -> None:
        for _ in range(ticks):
            spectator.events.clear()
            studio.run(1)
            for event in spectator.events:
                presenter.take_event(event)

    run(30)
    player.changes.wish("pause")
    run(20)
    assert window.shown[-1][1].screen is Screen.PAUSED
    assert window.shown[-1][1].message == PAUSED
    player.changes.wish("resume")
    run(20)
    assert window.shown[-1][1].screen is Screen.PLAYING
    assert [key for key, _ in groupby(shown.screen for _, shown in window.shown)].count(Screen.PAUSED) == 1


# -- whoever is away, and links that are checked ----------------------------------------------------------------------


class AwayMatch(ShownMatch):
    """A match in which a side's person is away for a while."""

    def __init__(self, who: int, since: float, until: float, **plan: Any) -> None:
        self.who, self.since, self.until = who, since, until
        super().__init__(**{"link": Link(delay=0.03), "env": toy_env(max_steps=200), **plan})

    def _tick(self, own: int, side: Side) -> None:
        is_away = own == self.who and self.since <= self.now < self.until
        side.match.absences.note_person("focus" if is_away else "", self.now)
        if is_away:  # as a window without the keyboard gives it
            side.match._sources = {own: AwaySource()}
        else:
            side.match._sources = {own: side.source}
        super()._tick(own, side)


class AwaySource:
    def sample(self) -> Sample:
        return Sample(b"\x00", False, None)


AWAY_NOTICE = "Your partner is not at the game for a moment."


@pytest.mark.parametrize("tell", [True, False])
def test_the_partner_is_told_who_is_away_only_if_the_study_says_so(tell: bool) -> None:
    match = AwayMatch(1, 3.0, 6.0, tell_away=tell)
    match.run()
    assert finished(match)
    notices = {p.hud.notice for _, p in match.window.shown}
    assert (AWAY_NOTICE in notices) is tell
    if tell:
        start, end = match.window.span(Screen.PLAYING, AWAY_NOTICE)
        assert 4.0 < start < 4.5
        assert 6.0 < end < 6.5


@pytest.mark.parametrize(
    ("who", "tell", "title", "words"),
    [
        (0, True, "Paused for you", "Click on this window to go on"),
        (1, True, "Your partner will be right back", "as soon as they are back"),
        (1, False, "Paused", "The game stands still for a moment"),
    ],
)
def test_a_pause_for_somebody_counts_down_in_words_for_each_side(who: int, tell: bool, title: str, words: str) -> None:
    match = AwayMatch(who, 3.0, 60.0, on_away="pause", away_limit=5.0, tell_away=tell)
    match.run()
    assert finished(match)
    paused = [p for _, p in match.window.shown if p.screen is Screen.PAUSED]
    assert {p.title for p in paused} == {title}
    assert all(words in p.message for p in paused)
    lefts = [int(p.message.rpartition("in ")[2].split()[0]) for p in paused]
    assert lefts == sorted(lefts, reverse=True)
    assert {5, 4, 3, 2, 1} <= set(lefts)
    assert "in 1 second at" in " ".join(p.message for p in paused)


def test_a_check_that_takes_long_has_a_screen_and_a_countdown() -> None:
    match = ShownMatch(link=Link(delay=0.1), most_rtt=0.15)
    match.run()
    assert match.sides[0].ended is not None
    assert match.sides[0].ended.reason == "poor-connection"
    checks = [p for _, p in match.window.shown if p.title == "Checking the connection"]
    assert {p.screen for p in checks} == {Screen.CONNECTING}
    words = [p.message for p in checks]
    assert "Nothing to do until then." in words[0]
    assert [f"again in {n} second{'' if n == 1 else 's'} (try 2 of 3)" in " ".join(words) for n in (5, 4, 3, 2, 1)] == [
        True
    ] * 5
    assert any("This is try 3 of 3." in each for each in words)


def test_a_healthy_check_is_not_shown() -> None:
    match = ShownMatch(link=Link(delay=0.05), env=toy_env(max_steps=40), episodes=3)
    match.run()
    assert finished(match)
    assert not any(p.title == "Checking the connection" for _, p in match.window.shown)
