"""A player whose program was killed comes back into the match: one history, and nobody else loses a frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as with_fields
from test_match_hostile import playing

from p2pclient.match.match import Match
from p2pclient.match.plan import Phase
from p2pclient.protocol.control import (
    HistoryRows,
    HistoryStart,
    HistoryWish,
    LastFrame,
    LostInputs,
    MatchChange,
    Refuse,
    Resumed,
    Standing,
    TakeUp,
)
from p2pclient.recorder.records import EventRecorded
from p2pclient.sim.campaign import run_scenario
from p2pclient.sim.network import LinkSpec
from p2pclient.sim.profiles import PROFILES
from p2pclient.sim.results import MatchResult, judge_match
from p2pclient.sim.scenario import Fault, Scenario
from p2pclient.sim.world import World

PLAIN = LinkSpec(delay_ms=30)


def kill(at: float, away: float = 0.6, *, peer: int = 1, forgets: bool = False) -> Fault:
    return Fault("kill", at=at, seconds=away, peer=peer, amount=float(forgets))


def scenario(*faults: Fault, **settings: Any) -> Scenario:
    return Scenario(**{"seconds": 2.5, "link": PLAIN, "drop_after": 10.0, "faults": faults, **settings})


def simulate(*faults: Fault, rejoins: int = 1, **settings: Any) -> MatchResult:
    """Run a match in which nothing may be wrong, and everybody finishes."""
    given = scenario(*faults, **settings)
    result = run_scenario(given)
    assert result.problems == []
    assert result.ends == {"finished": given.players}
    assert result.confirmed_frames == given.frames
    assert result.unverified_frames == 0
    assert result.rejoins == rejoins
    return result


def run(world: World) -> MatchResult:
    world.run()
    return judge_match(world)


def notes(world: World) -> list[tuple[float, int, EventRecorded]]:
    """Have what the matches note written down, with time and peer, while the world runs."""
    found: list[tuple[float, int, EventRecorded]] = []
    take = world._take_record

    def note(peer: Any, record: Any) -> None:
        if isinstance(record, EventRecorded):
            found.append((world.now, peer.own, record))
        take(peer, record)

    world._take_record = note  # type: ignore[method-assign]
    return found


@pytest.mark.parametrize("network", ["wifi", "mobile"])
@pytest.mark.parametrize("players", [2, 3, 4])
def test_it_plays_on_in_the_same_episode(players: int, network: str) -> None:
    simulate(kill(1.3, peer=players - 1), players=players, link=PROFILES[network], seconds=3.0)


@pytest.mark.parametrize("at", [0.03, 0.1, 0.16, 0.2])
@pytest.mark.parametrize("peer", [0, 1])
def test_it_comes_back_to_a_match_that_was_about_to_begin(peer: int, at: float) -> None:
    simulate(kill(at, peer=peer), players=3, seconds=1.0)


@pytest.mark.parametrize("at", [round(0.97 + 0.03 * n, 2) for n in range(12)])
def test_it_comes_back_around_an_episodes_end(at: float) -> None:
    """The first episode ends a second after the beginning; the moments cover every stage of what follows."""
    simulate(kill(at, 0.3, peer=int(at * 100) % 3), players=3, episode_frames=60, link=PROFILES["wifi"])


@pytest.mark.parametrize("portable", [True, False])
@pytest.mark.parametrize("forgets", [True, False])
def test_it_needs_neither_a_state_nor_its_recording(forgets: bool, portable: bool) -> None:
    simulate(kill(1.8, forgets=forgets), portable=portable)


def test_it_goes_on_from_the_newest_state_that_it_has_recorded_up_to() -> None:
    world = World(scenario(kill(2.0), seconds=3.0))
    starts: list[HistoryStart] = []
    watch_control(world, 1, lambda message: starts.append(message) if isinstance(message, HistoryStart) else None)
    assert run(world).problems == []
    (start,) = starts
    assert start.has_state
    assert 30 < start.first_frame <= start.until


def watch_control(world: World, peer: int, look: Callable[[Any], None]) -> None:
    """Look at each control message that arrives at a peer, in whichever of its lives."""
    start_again = world.peers[peer].start_again

    def started(**named: Any) -> None:
        start_again(**named)
        match = world.peers[peer].match
        take = match.returns.reception.take

        def taken(sender: Any, message: Any, now: float) -> None:
            look(message)
            take(sender, message, now)

        match.returns.reception.take = taken  # type: ignore[method-assign]

    world.peers[peer].start_again = started  # type: ignore[method-assign]


def test_the_third_time_works_too() -> None:
    simulate(kill(0.8, 0.3), kill(2.0, 0.3), kill(3.2, 0.3), rejoins=3)


def test_it_may_be_killed_again_while_it_comes_back() -> None:
    simulate(kill(1.0, 0.5), kill(1.75, 0.5), link=PROFILES["mobile"])


def test_two_of_three_come_back_at_the_same_time() -> None:
    simulate(kill(1.2, 0.5, peer=0), kill(1.25, 0.5, peer=2), rejoins=2, players=3)


def test_one_comes_back_after_the_other() -> None:
    simulate(kill(1.0, 1.5, peer=0), kill(1.1, 0.2, peer=2), rejoins=2, players=3)


@pytest.mark.parametrize(
    "settings",
    [
        {"window": 0},
        {"input_delays": (0, 4)},
        {"press": True, "seats_per_peer": 2},
        {"plan": {"prediction": ("held",)}},
        {"plan": {"delay_range": (0, 8)}, "link": PROFILES["mobile"], "seconds": 4.0},
        {"plan": {"on_drop": "go-on"}, "players": 3},
        {"input_bytes": 8, "players": 4, "link": PROFILES["terrible"]},
    ],
)
def test_every_kind_of_match_can_be_come_back_to(settings: dict[str, Any]) -> None:
    simulate(kill(1.3, peer=0), **settings)


def test_it_comes_back_into_a_pause() -> None:
    faults = (Fault("ask-pause", at=0.5, seconds=2.5), kill(1.6, 0.4))
    result = simulate(*faults)
    assert result.changes["pause"] == 1


@pytest.mark.parametrize("at", [0.6, 0.8, 1.0])
def test_it_knows_of_changes_that_were_agreed_on_before_or_meanwhile(at: float) -> None:
    given = scenario(Fault("ask-extend", at=0.55, amount=45), kill(at, 0.5, peer=0))
    result = run_scenario(given)
    assert result.problems == []
    assert result.ends == {"finished": 2}
    assert (result.confirmed_frames, result.rejoins) == (given.frames + 45, 1)


def test_who_does_not_come_back_in_time_is_given_up() -> None:
    world = World(scenario(kill(1.0, 60.0), drop_after=3.0))
    found = notes(world)
    result = run(world)
    assert result.ends["partner-gone"] == 1
    ((at, peer, _),) = [each for each in found if each[2].name == "ended"]
    assert peer == 0
    assert 3.5 < at < 4.5


def test_others_go_on_without_who_comes_too_late_and_do_not_take_it_back() -> None:
    """It is given up by the others, who hold a majority; what it asks later is not answered, and disturbs nobody."""
    given = scenario(kill(1.0, 4.0), players=3, seconds=8.0, drop_after=2.0, plan={"on_drop": "go-on"})
    world = World(given)
    result = run(world)
    assert result.ends["finished"] == 2
    assert result.wrong_frames == result.false_desyncs == 0
    assert result.rejoins == 0


@pytest.mark.parametrize("policy", ["go-on", "bot:seeker:hidden"])
@pytest.mark.parametrize("episode_frames", [None, 60])
def test_it_comes_back_to_a_match_that_goes_on_without_another(policy: str, episode_frames: int | None) -> None:
    """It takes over for which frames the lost player's own inputs count, and says so at every later barrier."""
    plan = {"on_drop": policy, "prediction": ("held",)}
    faults = (Fault("crash", at=0.6, peer=2, amount=0.5), kill(3.2, 0.3, peer=0))
    given = scenario(*faults, players=3, seconds=5.0, drop_after=2.0, plan=plan, episode_frames=episode_frames)
    result = run_scenario(given)
    assert result.problems == []
    assert result.ends == {"finished": 2, "crashed": 1}
    assert (result.rejoins, result.survived_losses) == (1, 1)


def test_when_all_were_killed_the_match_ends_with_that_reason() -> None:
    world = World(scenario(kill(1.0, 0.5, peer=0), kill(1.1, 0.5, peer=1)))
    result = run(world)
    assert result.wrong_frames == 0
    texts = [peer.match.ended.text for peer in world.peers if peer.match.ended is not None]
    assert any("All programs of this match were started again" in text for text in texts)
    assert result.hangs == 0


def test_every_side_records_who_was_away_and_where_it_plays_on() -> None:
    world = World(scenario(kill(1.0, 0.8)))
    found = notes(world)
    assert run(world).problems == []
    returned = [record for _, peer, record in found if peer == 0 and record.name == "returned"]
    (details,) = [record.details for record in returned]
    assert (details["peer"], details["seats"]) == (1, [1])
    assert details["seconds"] > 0.8
    assert 40 < details["from"] < 70
    assert [record.name for _, peer, record in found if peer == 1 and record.name == "rejoined"] == ["rejoined"]


# -- what must not be believed ------------------------------------------------------------------------------------


def alter(world: World, sender: int, change: Callable[[Any], Any]) -> list[Any]:
    """Have a peer say something else than it means; returns what was changed."""
    changed: list[Any] = []
    altered: set[int] = set()
    readmit, start_again = Match.readmit, world.peers[sender].start_again

    def lie(match: Match) -> None:
        for peer in match.peers.all:
            endpoint = peer.endpoint
            if id(endpoint) in altered:
                continue
            altered.add(id(endpoint))
            queue = endpoint.queue_control

            def say(message: Any, queue: Any = queue) -> None:
                said = change(message)
                if said is not message:
                    changed.append(said)
                if said is not None:
                    queue(said)

            endpoint.queue_control = say  # type: ignore[method-assign]

    def restarted(**named: Any) -> None:
        start_again(**named)
        lie(world.peers[sender].match)

    world.peers[sender].start_again = restarted  # type: ignore[method-assign]
    own = world.peers[sender].match

    def readmitted(peer_id: int, *, now: float) -> bool:
        is_in = readmit(own, peer_id, now=now)
        lie(own)
        return is_in

    own.readmit = readmitted  # type: ignore[method-assign]
    return changed


def ends(world: World) -> list[str]:
    world.run()
    return [peer.match.ended.reason if peer.match.ended is not None else "none" for peer in world.peers]


def test_another_state_than_was_played_is_found_before_anything_is_played_on_with_it() -> None:
    world = World(scenario(kill(1.8)))
    changed = alter(world, 0, lambda m: with_fields(m, checksum=b"12345678") if _has_state(m) else m)
    assert ends(world)[1] in (
        "desync",
        "finished",
    )  # it asks for the whole episode, and is told that it begins elsewhere
    assert changed


def _has_state(message: Any) -> bool:
    return isinstance(message, HistoryStart) and message.has_state


def test_other_inputs_than_were_played_are_found() -> None:
    world = World(scenario(kill(1.8, forgets=True)))

    def change(message: Any) -> Any:
        if isinstance(message, HistoryRows):
            rows = bytearray(message.rows)
            rows[1] ^= 1
            return with_fields(message, rows=bytes(rows))
        return message

    changed = alter(world, 0, change)
    assert ends(world) == ["desync", "desync"]
    assert changed
    assert world.peers[1].rejoins == 0


def test_who_claims_to_stand_elsewhere_is_no_partner_to_play_with() -> None:
    world = World(scenario(kill(1.8), players=3))
    changed = alter(world, 1, lambda m: with_fields(m, chain=b"12345678") if isinstance(m, Resumed) else m)
    assert set(ends(world)) == {"desync"}
    assert changed


@pytest.mark.parametrize(
    "fields",
    [{"first_frame": 0}, {"first_frame": 1 << 29}, {"episode": 7}],
)
def test_wishes_that_nobody_can_have_are_counted_and_passed_over(fields: dict[str, int]) -> None:
    world = World(scenario(kill(1.8), drop_after=4.0))
    changed = alter(world, 1, lambda m: with_fields(m, **fields) if isinstance(m, TakeUp) else m)
    world.run()
    assert changed
    (peer,) = world.peers[0].match.peers.all
    assert peer.endpoint.drops["bad-return"] >= 1
    assert world.peers[0].match.returns.away == (1,)  # as long as it says nothing better
    assert world.peers[1].rejoins <= 1


def test_asking_for_the_episode_again_and_again_is_bounded() -> None:
    world = World(scenario(kill(1.8), drop_after=4.0))

    def ask_often(message: Any) -> Any:
        if isinstance(message, HistoryWish):
            for peer in world.peers[1].match.peers.all:
                for _ in range(40):
                    type(peer.endpoint).queue_control(peer.endpoint, message)
        return message

    alter(world, 1, ask_often)
    world.run()
    (peer,) = world.peers[0].match.peers.all
    assert peer.endpoint.drops["too-many-wishes"] == 41 - 16


def test_inputs_that_the_environment_has_not_are_not_taken_from_a_survivor() -> None:
    world = World(scenario(kill(1.8), drop_after=4.0))

    def change(message: Any) -> Any:
        if isinstance(message, Standing) and message.inputs:
            return with_fields(message, inputs=[b"\x07" + each[1:] for each in message.inputs])
        return message

    changed = alter(world, 0, change)
    world.run()
    assert changed
    (peer,) = world.peers[1].match.peers.all
    assert peer.endpoint.drops["bad-history"] >= 1
    assert world.peers[1].rejoins == 0


def test_another_program_in_the_place_of_a_player_is_refused_and_the_player_may_still_come() -> None:
    world = World(scenario(kill(1.0, 0.3), kill(1.9, 0.4), seconds=3.0))
    plan, lives = world.peers[1]._make_plan, iter([True, False])

    def other_plan() -> Any:
        return replace(plan(), version="another") if next(lives) else plan()

    world.peers[1]._make_plan = other_plan  # type: ignore[method-assign]
    found = notes(world)
    world.run()
    assert [peer.match.ended.reason for peer in world.peers if peer.match.ended] == ["finished", "finished"]
    assert world.peers[1].rejoins == 1
    assert [record.name for _, peer, record in found if peer == 0 and record.name == "return-refused"]


def test_who_was_never_away_and_says_where_it_stands_is_not_answered() -> None:
    stranger = playing()
    heard = stranger.heard
    for _ in range(2):
        for _ in range(120):
            stranger.say(Standing(0, "playing", 5, 0, [], True, None, []))
        stranger.tick()
    assert stranger.heard == heard
    assert stranger.drops == {"bad-return": 240}
    stranger.play(5)
    assert stranger.match.phase is Phase.PLAYING


def test_who_returns_is_answered_only_so_often_and_a_goodbye_finds_room() -> None:
    stranger = playing()
    stranger.match.readmit(1, now=stranger.now)
    stranger.number = 0
    for _ in range(250):
        stranger.say(Standing(0, "playing", 5, 0, [], True, None, []))
    stranger.say(Refuse(["nothing"]))
    stranger.say(Refuse(["nothing"]))
    stranger.tick()
    (peer,) = stranger.match.peers.all
    assert peer.endpoint.open_control < 80
    assert peer.endpoint.drops["unread"] > 400
    while peer.endpoint.open_control < 256:
        peer.endpoint.queue_control(Refuse(["nothing"]))
    stranger.match.abort(now=stranger.now)
    assert stranger.ended is not None
    assert stranger.ended.reason == "error"


@pytest.mark.parametrize(
    "change",
    [
        lambda m: with_fields(m, lost=[LastFrame(1, 5, False)] * 2) if isinstance(m, Standing) else m,
        lambda m: with_fields(m, ahead=[LostInputs(0, m.until, [b"\x00\x01"])]) if isinstance(m, HistoryStart) else m,
        lambda m: with_fields(m, ahead=[LostInputs(9, 0, [b""])]) if isinstance(m, HistoryStart) else m,
        lambda m: _with_end_by(m, 77) if isinstance(m, HistoryStart) else m,
    ],
)
def test_what_is_told_of_the_lost_and_of_changes_must_fit_those_who_play(change: Callable[[Any], Any]) -> None:
    world = World(scenario(kill(1.8), drop_after=4.0))
    changed = alter(world, 0, change)
    world.run()
    assert changed
    (peer,) = world.peers[1].match.peers.all
    assert peer.endpoint.drops["bad-history"] >= 1
    assert world.peers[1].rejoins == 0


def _with_end_by(start: HistoryStart, peer: int) -> HistoryStart:
    end = MatchChange(1, "pause", start.episode, start.until, 0, "", peer, 1)
    course = with_fields(start.course, number=1, newest=end, pause=end, pause_at=(start.episode, start.until))
    return with_fields(start, course=course)
