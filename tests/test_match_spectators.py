"""Spectators: what they see, when they may see it, and that the players never notice."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from p2pclient.common.errors import LocalMisuseError
from p2pclient.match.history import KEPT_FRAMES
from p2pclient.match.match import Match
from p2pclient.match.plan import Desync, Phase, SpectatorGone
from p2pclient.match.watching import Watching
from p2pclient.recorder.records import EpisodeEnded, FrameRecorded
from p2pclient.sim.environment import Corruption
from p2pclient.sim.profiles import PROFILES
from p2pclient.sim.results import MatchResult, judge_match
from p2pclient.sim.scenario import Fault, Scenario, SpectatorSpec
from p2pclient.sim.world import World
from tests.spectator_rig import SPECTATOR, Client, Studio

EARLY_AND_LATE = tuple(SpectatorSpec(at, delay) for at, delay in ((0.0, 0), (0.3, 20), (3.0, 0), (7.7, 5)))


def simulate(scenario: Scenario) -> tuple[World, MatchResult]:
    world = World(scenario)
    world.run()
    result = judge_match(world)
    assert result.problems == []
    return world, result


def watching(client: Client) -> Watching:
    assert isinstance(client.match, Watching)
    return client.match


def playing(client: Client) -> Match:
    assert isinstance(client.match, Match)
    return client.match


def frames(client: Client) -> list[tuple[int, int]]:
    return [(r.episode, r.frame) for r in client.records if isinstance(r, FrameRecorded)]


def checksums(client: Client) -> dict[tuple[int, int], bytes]:
    return {(r.episode, r.frame): r.checksum for r in client.records if isinstance(r, FrameRecorded)}


def gone(client: Client) -> list[str]:
    return [event.reason for event in client.events if isinstance(event, SpectatorGone)]


# -- whole matches in simulated networks --------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["lan", "wifi", "terrible"])
def test_players_do_exactly_what_they_do_without_spectators(network: str) -> None:
    alone = Scenario(seed=5, seconds=10, link=PROFILES[network], network=network, episode_frames=150)
    # Who leaves before the end is not waited for by a player's goodbye: every byte between players can be compared.
    leaving = tuple(replace(spec, leave_at=8.5) for spec in EARLY_AND_LATE)
    _, before = simulate(alone)
    world, after = simulate(replace(alone, spectators=leaving))
    assert all(len(spectator.recording.frames) > 100 for spectator in world.spectators[:3])
    assert after.trace_hash == before.trace_hash
    assert after.peers == before.peers
    assert sum(peer["rollbacks"] for peer in after.peers) > 0
    _, to_the_end = simulate(replace(alone, spectators=EARLY_AND_LATE))
    for name in ("frames", "resimulated", "rollbacks", "stalls", "skipped_frames", "depths", "lags"):
        assert [peer[name] for peer in to_the_end.peers] == [peer[name] for peer in before.peers]


@pytest.mark.parametrize("seed", range(20))
def test_whoever_comes_at_any_moment_sees_the_truth_from_there_to_the_end(seed: int) -> None:
    draw = Random(seed)
    specs = tuple(SpectatorSpec(draw.uniform(0.0, 7.9), draw.choice((0, 0, 7))) for _ in range(10))
    network = draw.choice(("lan", "wifi", "mobile", "terrible"))
    scenario = Scenario(
        seed=seed,
        seconds=8,
        network=network,
        link=PROFILES[network],
        players=draw.choice((2, 2, 3)),
        episode_frames=draw.choice((None, 100, 170)),
        ends_when=draw.choice((None, 80)),
        spectators=specs,
    )
    world, result = simulate(scenario)
    assert [s["end"] for s in result.spectators] == ["finished"] * len(specs)
    assert [s["gaps"] for s in result.spectators] == [0] * len(specs)
    last = world.peers[0].recording.frames[-1]
    for spectator in world.spectators:
        seen = spectator.recording.frames
        if seen:
            assert (seen[-1].episode, seen[-1].frame) == (last.episode, last.frame)
        if spectator.began_at < 6.0:
            assert seen


def test_who_joins_while_all_stall_gets_in_once_play_goes_on() -> None:
    cut = Fault("outage", at=2.0, seconds=2.0, peer=0, other=1)
    back = Fault("outage", at=2.0, seconds=2.0, peer=1, other=0)
    scenario = Scenario(seconds=8, faults=(cut, back), spectators=(SpectatorSpec(3.0), SpectatorSpec(3.9)))
    _, result = simulate(scenario)
    assert all(peer["stalls"] > 0 for peer in result.peers)
    assert all(s["frames"] > 100 and s["end"] == "finished" for s in result.spectators)


def test_a_desync_is_never_seen_by_a_spectator() -> None:
    scenario = Scenario(
        seconds=8,
        link=PROFILES["wifi"],
        faults=(Fault("corrupt-once", peer=1, amount=150),),
        spectators=tuple(SpectatorSpec(at) for at in (0.0, 1.0, 2.4, 2.5, 2.6, 2.7, 3.5)),
        plan={"on_desync": "resimulate"},
    )
    _, result = simulate(scenario)
    assert result.resolved_desyncs == 1
    assert [s["end"] for s in result.spectators] == ["finished"] * 7
    assert [s["gaps"] for s in result.spectators] == [0] * 7


def test_a_desync_that_ends_the_match_ends_the_watching_before_the_wrong_frame() -> None:
    scenario = Scenario(seconds=8, faults=(Fault("corrupt-step", peer=1, amount=150),), spectators=(SpectatorSpec(),))
    _, result = simulate(scenario)
    assert result.ends == {"desync": 2}
    assert result.spectators[0]["end"] == "partner-gone"
    assert 100 < result.spectators[0]["frames"] <= 150


@pytest.mark.parametrize("kind", ["crash", "leave"])
@pytest.mark.parametrize("network", ["lan", "mobile"])
def test_when_the_feeding_player_is_gone_another_goes_on_without_a_gap(kind: str, network: str) -> None:
    """V7."""
    failovers = 0
    for peer in range(3):
        scenario = Scenario(
            seconds=10,
            players=3,
            network=network,
            link=PROFILES[network],
            faults=(Fault(kind, at=4.0, peer=peer, amount=0.5),),
            spectators=tuple(SpectatorSpec(at, delay) for at in (0.0, 3.9, 4.1) for delay in (0, 30)),
            episode_frames=300,
            plan={"on_drop": "go-on"},
        )
        _, result = simulate(scenario)
        assert [s["end"] for s in result.spectators] == ["finished"] * 6
        assert [s["gaps"] for s in result.spectators] == [0] * 6
        failovers += sum(s["failovers"] for s in result.spectators)
    assert failovers > 0


def test_a_player_that_crashed_comes_back_as_a_spectator() -> None:
    crash = Fault("crash", at=3.0, peer=2, amount=0.5)
    back = Fault("return", at=5.0, peer=2, amount=10)
    for faults, watchers in (((crash, back), 1), ((back,), 0)):
        scenario = Scenario(seconds=10, players=3, faults=faults, plan={"on_drop": "go-on"})
        world, result = simulate(scenario)
        assert len(world.spectators) == watchers
        assert all(s["end"] == "finished" and s["frames"] > 120 for s in result.spectators)


def test_a_spectator_that_stands_still_is_given_up_and_no_player_notices() -> None:
    """V10: its feed fills up to its bound, and is closed."""
    alone = Scenario(seed=7, seconds=40, link=PROFILES["wifi"], drop_after=30.0)
    _, before = simulate(alone)
    spec = SpectatorSpec(1.0, pause_at=3.0, pause_seconds=1000.0)
    world, after = simulate(replace(alone, spectators=(spec,)))
    assert len(world.spectators[0].recording.frames) > 60
    assert after.trace_hash == before.trace_hash
    assert after.peers == before.peers
    assert all(len(peer.match.feeds) == 0 for peer in world.peers)


def test_a_short_standstill_is_caught_up_with() -> None:
    scenario = Scenario(
        seconds=20, link=PROFILES["wifi"], spectators=(SpectatorSpec(1.0, pause_at=5.0, pause_seconds=8.0),)
    )
    _, result = simulate(scenario)
    assert result.spectators[0]["end"] == "finished"
    assert result.spectators[0]["frames"] > 1000


def test_the_oracle_sees_a_spectator_that_is_wrong() -> None:
    """The check itself: a spectator whose host goes wrong ends with the frame named."""
    world = World(Scenario(seconds=5, spectators=(SpectatorSpec(),)))
    world._call(0.5, lambda: setattr(world.spectators[0].host, "corruption", Corruption(0, 100)))
    world.run()
    desyncs = world.spectators[0].desyncs
    assert [desync.frame for desync in desyncs] == [100]
    assert not judge_match(world).is_right
    assert all(peer.match.ended is not None and peer.match.ended.reason == "finished" for peer in world.peers)


# -- one frame at a time ------------------------------------------------------------------------------------------


def test_a_spectator_advances_only_over_confirmed_frames() -> None:
    """V1."""
    studio = Studio()
    spectator = studio.watch()
    studio.run(60)
    player = playing(studio.players[0])
    assert player.episode is not None
    assert player.episode.session.current_frame >= 50
    assert 0 < player.episode.verified - watching(spectator).simulated <= 4
    own, theirs = checksums(spectator), checksums(studio.players[0])
    assert len(own) > 40
    assert own.items() <= theirs.items()


def test_who_is_far_behind_runs_two_frames_in_a_tick_until_it_has_caught_up() -> None:
    """V2, V3."""
    studio = Studio(max_steps=None, frames=400, episodes=0)
    spectator = studio.watch()
    studio.run(30)
    assert set(spectator.steps()) == {1}
    spectator.is_stopped = True
    studio.run(40)
    spectator.is_stopped = False
    before = len(spectator.batches)
    studio.run(60)
    counts = [sum(c[0] == "step" for c in batch) for batch in spectator.batches[before:]]
    twos = counts.index(1)
    assert counts[:twos] == [2] * twos
    assert 30 <= twos <= 45
    assert set(counts[twos:]) == {1}
    assert watching(spectator).behind <= 4
    assert frames(spectator) == [
        (0, frame) for frame in range(frames(spectator)[0][1], watching(spectator).simulated + 1)
    ]


@pytest.mark.parametrize("delay", [0, 1, 20])
def test_nothing_newer_than_the_delay_is_simulated_or_shown(delay: int) -> None:
    """V5."""
    studio = Studio(max_steps=None, frames=150, episodes=0)
    studio.run(25)
    spectator = studio.watch(delay=delay)
    player, spec = playing(studio.players[0]), watching(spectator)
    while player.phase is Phase.PLAYING:
        studio.run(1)
        assert player.episode is not None
        if spectator.batches and spec.phase is Phase.PLAYING:
            assert (
                spec.simulated <= max(player.episode.verified, 149 if player.phase is not Phase.PLAYING else 0) - delay
            )
    studio.run(delay + 10)
    assert frames(spectator)[-1] == (0, 149)
    assert spec.ended is not None
    assert spec.ended.reason == "finished"


def test_a_match_is_followed_over_its_episodes_with_the_players_totals() -> None:
    studio = Studio(max_steps=30, episodes=4)
    studio.run(45)
    spectator = studio.watch(delay=5)
    studio.run(150)
    player, spec = playing(studio.players[0]), watching(spectator)
    assert player.totals[1:] == spec.totals
    assert [r.episode for r in spectator.records if isinstance(r, EpisodeEnded)] == [1, 2, 3]
    assert spec.ended is not None
    assert spec.ended.reason == "finished"
    assert gone(studio.players[0]) == ["left"]


def test_who_comes_after_the_end_is_told_so() -> None:
    studio = Studio(max_steps=30, episodes=1)
    studio.run(60)
    spectator = studio.watch()
    studio.run(10)
    assert watching(spectator).ended is not None
    assert watching(spectator).ended.reason == "finished"  # type: ignore[union-attr]
    assert frames(spectator) == []


def test_the_next_player_goes_on_from_the_frame_that_is_here() -> None:
    """V7, with the batches in view: nothing is reset or set again."""
    studio = Studio(players=2, max_steps=None, frames=300, episodes=0)
    spectator = studio.watch()
    studio.run(40)
    feeder = watching(spectator).feeder
    assert feeder is not None
    studio.players[feeder].is_stopped = True
    studio.run(90)
    assert watching(spectator).feeder == 1 - feeder
    assert watching(spectator).failovers == 1
    commands = [command[0] for batch in spectator.batches for command in batch]
    assert commands.count("reset") == 1
    first = frames(spectator)[0][1]
    assert frames(spectator) == [(0, frame) for frame in range(first, first + len(frames(spectator)))]
    assert watching(spectator).behind <= 4
    # The first one comes back: it was told that another one feeds, or is not needed.
    studio.players[feeder].is_stopped = False
    studio.run(60)
    assert watching(spectator).feeder == 1 - feeder


def test_a_player_that_does_not_keep_what_is_missing_gives_a_new_state() -> None:
    studio = Studio(players=2, max_steps=None, frames=4000, episodes=0, drop_after=1000.0)
    spectator = studio.watch()
    studio.run(40)
    feeder = watching(spectator).feeder
    assert feeder is not None
    seen = len(frames(spectator))
    studio.lose = lambda sender, to, channel, data: SPECTATOR in (sender, to) and channel == "inputs"
    spectator.is_stopped = True  # else it would ask the others
    studio.run(KEPT_FRAMES + 100)
    spectator.is_stopped = False
    studio.lose = lambda sender, to, channel, data: False
    studio.run(60)
    assert watching(spectator).feeder == 1 - feeder
    assert gone(studio.players[feeder]) == ["behind"]
    assert [c[0] for batch in spectator.batches for c in batch].count("set_state") == 2
    numbers = [frame for _, frame in frames(spectator)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) > seen + 30
    assert numbers[-1] - numbers[0] > KEPT_FRAMES
    assert checksums(spectator).items() <= checksums(studio.players[0]).items()


def test_a_spectator_that_does_not_fit_is_refused_and_named() -> None:
    studio = Studio()
    spectator = studio.watch(seed=99)
    studio.run(5)
    ended = watching(spectator).ended
    assert ended is not None
    assert ended.reason == "refused"
    assert "seed" in ended.text
    studio.run(60)
    assert gone(studio.players[0]) in (["refused"], ["left"])
    assert len(playing(studio.players[0]).feeds) == 0


def test_a_difference_is_named_and_ends_the_watching() -> None:
    studio = Studio(max_steps=None, frames=200, episodes=0)
    spectator = studio.watch()
    spectator.host.corrupt_at = 30
    studio.run(60)
    assert [e.frame for e in spectator.events if isinstance(e, Desync)] == [30]
    assert watching(spectator).ended is not None
    assert watching(spectator).ended.reason == "desync"  # type: ignore[union-attr]
    assert gone(studio.players[0]) == ["left"]
    assert playing(studio.players[0]).ended is None


def test_an_id_of_somebody_else_is_not_taken() -> None:
    studio = Studio()
    studio.watch()
    feeds = playing(studio.players[0]).feeds
    for taken in (SPECTATOR, 0):
        with pytest.raises(LocalMisuseError):
            feeds.add(taken, now=0.0)
    assert SPECTATOR in feeds
    feeds.remove(SPECTATOR)
    feeds.remove(SPECTATOR)
    assert len(feeds) == 0


def test_leaving_is_told_and_the_feed_is_closed() -> None:
    studio = Studio()
    spectator = studio.watch()
    studio.run(30)
    studio.carry_out(SPECTATOR, spectator.match.leave(now=studio.now))
    studio.run(2)
    assert gone(studio.players[0]) == ["left"]
    count = len(frames(spectator))
    studio.run(5)
    assert len(frames(spectator)) == count
