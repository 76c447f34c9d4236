"""Spectators: what they see, when they may see it, and that the players never notice."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from p2pclient.common.errors import LocalMisuseError
from p2pclient.envhost.values import encode
from p2pclient.match.costs import learn_costs
from p2pclient.match.episode import PlayBatch
from p2pclient.match.history import KEPT_FRAMES, History
from p2pclient.match.match import Match
from p2pclient.match.plan import Desync, MatchChanged, Phase, SpectatorGone, ViewReady
from p2pclient.match.playback import Playback
from p2pclient.match.recovery import MOST
from p2pclient.match.stretch import Stretch
from p2pclient.match.watching import Watching
from p2pclient.protocol.control import (
    AnyMessage,
    EpisodeOver,
    FeedEnd,
    FeedPause,
    FeedStart,
    Hello,
    Leave,
    Refuse,
    StatePart,
    Unwatch,
    Watch,
)
from p2pclient.protocol.endpoint import ControlReceived, Endpoint, EndpointConfig
from p2pclient.protocol.handshake import PROTOCOL_VERSION
from p2pclient.recorder.records import EpisodeEnded, EpisodeStarted, FrameRecorded, FramesVerified, FramesWithdrawn
from p2pclient.rollback.budget import Budget
from p2pclient.rollback.chain import extend_chain, start_chain
from p2pclient.sim.environment import Corruption
from p2pclient.sim.profiles import PROFILES
from p2pclient.sim.results import MatchResult, judge_match
from p2pclient.sim.scenario import Fault, Scenario, SpectatorSpec
from p2pclient.sim.world import World
from tests.spectator_rig import SPECTATOR, Client, Studio
from tests.virtual import ToyHost

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


# -- hostile or broken -----------------------------------------------------------------------------------------------


class Stranger:
    """Whoever speaks the protocol to one side of a studio, but says what a test wants."""

    def __init__(self, studio: Studio, own: int, to: Client, to_id: int, *, feeds: bool) -> None:
        self.studio, self.own, self.to, self.to_id = studio, own, to, to_id
        local: int
        remote: tuple[int, ...]
        local, remote = (2, ()) if feeds else (0, (2,))
        config = EndpointConfig(
            connection=replace(studio.plan, own_id=own).connection_id(to_id),
            local_width=local,
            remote_widths=remote,
            is_valid=lambda index, value: True,
        )
        self.endpoint = Endpoint(config, now=studio.now)
        studio.clients[own] = Client(to.match, to.host)  # only its inbox is used

    def say(self, *messages: AnyMessage, ticks: int = 1) -> None:
        """Say something, and let frames pass."""
        for message in messages:
            self.endpoint.queue_control(message)
        for _ in range(ticks):
            for data in self.endpoint.control_to_send():
                self.to.inbox.append((self.own, "control", data))
            for data in self.endpoint.datagrams_to_send(now=self.studio.now):
                self.to.inbox.append((self.own, "inputs", data))
            self.studio.run(1)
            box = self.studio.clients[self.own].inbox
            for _, channel, data in box:
                if channel == "control":
                    self.endpoint.receive_control(data, now=self.studio.now)
                else:
                    self.endpoint.receive_datagram(data, now=self.studio.now)
            box.clear()

    def heard(self) -> list[AnyMessage]:
        return [e.message for e in self.endpoint.take_events() if isinstance(e, ControlReceived)]


def fed_by_a_stranger(**plan: Any) -> tuple[Stranger, Client, int]:
    """A spectator that asks somebody who plays nothing at all; returns the number of its request, too."""
    studio = Studio(players=0, **plan)
    spectator = Client(Watching(replace(studio.plan, own_id=SPECTATOR, local_seats=()), [0], now=0.0), ToyHost(1))
    studio.spectators[SPECTATOR] = studio.clients[SPECTATOR] = spectator
    stranger = Stranger(studio, 0, spectator, SPECTATOR, feeds=True)
    facts = {"protocol": PROTOCOL_VERSION, **studio.plan.facts()}
    stranger.say(Hello(facts), ticks=3)
    (request,) = [message for message in stranger.heard() if isinstance(message, Watch)]
    assert (request.episode, request.frame) == (None, 0)
    return stranger, spectator, request.request


def start(request: int, **changes: Any) -> FeedStart:
    given = {"request": request, "stretch": 1, "episode": 0, "first_frame": 10, "chain": bytes(8), "checksum": bytes(8)}
    return FeedStart(**{**given, "totals": [0.0], "has_state": True, **changes})


def ended(client: Client) -> tuple[str, str]:
    found = client.match.ended
    assert found is not None
    return found.reason, found.text


def test_a_state_that_cannot_be_read_ends_the_watching() -> None:
    stranger, spectator, request = fed_by_a_stranger()
    stranger.say(start(request), StatePart(0, 10, 0, 1, b"\xff\xff"), ticks=3)
    assert ended(spectator)[0] == "desync"
    assert spectator.batches == []


def test_a_state_with_another_checksum_than_told_ends_the_watching() -> None:
    stranger, spectator, request = fed_by_a_stranger()
    stranger.say(start(request), StatePart(0, 10, 0, 1, encode({"state": b"x", "ended": False})), ticks=3)
    assert ended(spectator)[0] == "desync"
    assert [event.frame for event in spectator.events if isinstance(event, Desync)] == [9]
    assert frames(spectator) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"has_state": False},
        {"totals": [0.0, 0.0]},
        {"has_state": False, "episode": 3, "first_frame": 7},
    ],
)
def test_a_feed_that_begins_where_nobody_can_follow_is_not_followed(wrong: dict[str, Any]) -> None:
    stranger, spectator, request = fed_by_a_stranger()
    stranger.say(start(request, **wrong), ticks=2)
    assert ended(spectator) == ("partner-gone", "The player sent what cannot be followed.")


def test_pieces_of_a_state_out_of_their_order_end_the_feed() -> None:
    stranger, spectator, request = fed_by_a_stranger()
    stranger.say(StatePart(0, 10, 0, 2, b"early"), start(request), StatePart(0, 10, 1, 2, b"x"), ticks=2)
    assert ended(spectator) == ("partner-gone", "The player sent a state that cannot be read.")


def test_what_answers_an_older_request_is_ignored() -> None:
    stranger, spectator, request = fed_by_a_stranger()
    stranger.say(start(request + 1, has_state=False, first_frame=0), EpisodeOver(0, 5, bytes(8)), ticks=5)
    assert spectator.match.phase is Phase.BARRIER
    assert spectator.batches == []


def test_no_end_of_stretches_is_held() -> None:
    stranger, spectator, request = fed_by_a_stranger()
    for episode in range(70):
        stranger.say(start(request, episode=episode, stretch=episode, first_frame=0, has_state=False))
        if spectator.match.ended is not None:
            break
    assert ended(spectator)[0] in ("desync", "partner-gone")


def test_a_wrong_chain_is_found_wherever_it_is_told() -> None:
    """Before the first frame, at the newest one, and at one to come."""
    host = ToyHost(1)
    first = host.do_reset(Studio(players=0).plan.episode_seed(0))
    after = host.do_step(0, [b"\x01"])[0]
    good = start_chain(first)
    later = extend_chain(good, 0, after)
    for told, wrong_at in ((0, 0), (5, None)):
        stranger, spectator, request = fed_by_a_stranger()
        begin = start(request, first_frame=0, has_state=False, checksum=first, chain=good)
        stranger.say(begin, ticks=3)
        assert spectator.match.phase is Phase.PLAYING
        stranger.endpoint.begin_episode(1, first_frame=0)
        stranger.endpoint.queue_input(0, b"\x00\x01")
        stranger.endpoint.set_chain(0, later if told else bytes(8))
        stranger.say(ticks=4)
        if wrong_at is not None:
            assert ended(spectator)[0] == "desync"
            continue
        assert frames(spectator) == [(0, 0)]
        stranger.say(start(request, first_frame=1, stretch=2, has_state=False, chain=bytes(8)), ticks=2)
        assert ended(spectator)[0] == "desync"


def test_a_host_that_fails_ends_the_watching_and_so_does_a_bug() -> None:
    for how in ("batch_failed", "abort"):
        studio = Studio()
        spectator = studio.watch()
        studio.run(30)
        match = watching(spectator)
        out = match.batch_failed("it broke", now=1.0) if how == "batch_failed" else match.abort(now=1.0)
        assert out.control
        assert ended(spectator)[0] in ("environment", "error")
        match.leave(now=1.0)
        assert ended(spectator)[0] != "left"
        with pytest.raises(LocalMisuseError):
            match.batch_done([], now=1.0)


def test_a_spectator_whose_host_is_lost_begins_again_with_the_newest_state() -> None:
    studio = Studio(max_steps=None, frames=200, episodes=0)
    spectator = studio.watch()
    studio.run(60)
    seen = len(frames(spectator))
    match = watching(spectator)
    assert seen > 40
    out = match.host_lost("it broke", now=studio.now)
    assert out.wants_host
    assert match.is_recovering
    studio.carry_out(SPECTATOR, out)
    studio.run(30)
    assert len(frames(spectator)) == seen
    spectator.host = ToyHost(1)
    studio.carry_out(SPECTATOR, match.host_ready(match.plan.env, now=studio.now))
    studio.run(200)
    assert match.recoveries == 1
    assert ended(spectator)[0] == "finished"
    again = frames(spectator)[seen:]
    assert again[0][1] > 60
    assert again[-1] == (0, 199)
    assert checksums(spectator).items() <= checksums(studio.players[0]).items()


def test_a_spectator_whose_hosts_are_lost_again_and_again_ends() -> None:
    studio = Studio()
    spectator = studio.watch()
    studio.run(20)
    match = watching(spectator)
    for count in range(MOST):
        assert match.host_lost("it broke", now=studio.now).wants_host, count
        match.host_ready(match.plan.env, now=studio.now)
    assert not match.host_lost("it broke", now=studio.now).wants_host
    assert ended(spectator)[0] == "environment"


def test_a_spectator_does_not_go_on_with_another_environment_or_without_one() -> None:
    for how in ("other", "none"):
        studio = Studio()
        spectator = studio.watch()
        studio.run(20)
        match = watching(spectator)
        match.host_lost("it broke", now=studio.now)
        if how == "other":
            match.host_ready({**match.plan.env, "digest": "newer"}, now=studio.now)
        else:
            match.host_lost("it cannot be started", now=studio.now)
        assert ended(spectator)[0] == "environment"


def test_a_player_that_was_not_asked_feeds_nobody() -> None:
    studio = Studio(players=0)
    spectator = Client(Watching(replace(studio.plan, own_id=SPECTATOR, local_seats=()), [0, 1], now=0.0), ToyHost(1))
    studio.spectators[SPECTATOR] = studio.clients[SPECTATOR] = spectator
    strangers = [Stranger(studio, own, spectator, SPECTATOR, feeds=True) for own in (0, 1)]
    facts = {"protocol": PROTOCOL_VERSION, **studio.plan.facts()}
    for stranger in strangers:
        stranger.say(Hello(facts), ticks=3)
    asked = {stranger: [m for m in stranger.heard() if isinstance(m, Watch)] for stranger in strangers}
    (current,) = [stranger for stranger in strangers if asked[stranger]]
    (other,) = [stranger for stranger in strangers if stranger is not current]
    request = asked[current][-1].request
    begin = start(request, first_frame=0, has_state=False)
    other.say(begin, ticks=5)
    assert spectator.batches == []
    current.say(begin, ticks=5)
    assert [batch[0][0] for batch in spectator.batches] == ["reset"]


def test_what_is_held_is_shown_to_the_end_when_nobody_feeds_any_more() -> None:
    studio = Studio(max_steps=None, frames=2_000, episodes=0)
    spectator = studio.watch(delay=40)
    studio.run(60)
    match = watching(spectator)
    seen = match.simulated_frames
    assert 0 < seen <= 25
    match.peer_gone(0)
    while match.ended is None:
        studio.run(1, players=False)
    assert match.simulated_frames > seen + 30
    assert ended(spectator)[0] == "partner-gone"


def test_where_snapshots_are_far_apart_a_spectator_waits_for_the_next_that_fits() -> None:
    studio = Studio(max_steps=None, frames=400, episodes=0)
    player = playing(studio.players[0])
    player._budget.spacing = 16  # as where a snapshot costs much more than a step
    player._recovery._kept_at = float("inf")  # no state is kept for a new host, only for the spectator
    studio.run(60)
    spectator = studio.watch()
    before = len(studio.players[0].batches)
    studio.run(40)
    asked = ["get_snapshot" in [command[0] for command in batch] for batch in studio.players[0].batches[before:]]
    assert sum(asked) == 1
    assert asked.index(True) > 2  # not before there was one
    assert frames(spectator)[0][1] > 60


def test_messages_of_nobody_are_ignored() -> None:
    studio = Studio()
    spectator = studio.watch()
    match = watching(spectator)
    match.receive(55, "inputs", b"x", now=0.0)
    match.peer_gone(55)
    studio.run(20)
    assert match.phase is Phase.PLAYING
    assert match.rtt is not None
    assert match.frame_duration() == pytest.approx(1 / 15)
    assert match.owes_acknowledgement in (True, False)


def test_a_player_whose_process_is_gone_is_not_waited_for_as_long() -> None:
    for gone_too, seconds in ((True, 4.0), (False, 16.5)):
        studio = Studio()
        spectator = studio.watch()
        studio.run(30)
        if gone_too:
            watching(spectator).peer_gone(0)
        began = studio.now
        while spectator.match.ended is None:
            studio.run(1, players=False)
        assert ended(spectator)[0] == "partner-gone"
        assert studio.now - began == pytest.approx(seconds, abs=1.6)


def test_a_view_is_made_for_every_batch_of_a_spectator_with_a_window() -> None:
    studio = Studio()
    spectator = studio.watch(render=True)
    studio.run(40)
    views = [event.view["frame"] for event in spectator.events if isinstance(event, ViewReady)]
    assert views == sorted(views)
    assert len(views) == len(spectator.batches) > 20


def test_a_state_above_the_bound_is_not_sent() -> None:
    class Huge(ToyHost):
        def do_get_snapshot(self, frame: int) -> dict[str, Any]:
            return {"frame": frame, "data": {"state": bytes(17 << 20), "ended": False}}

    studio = Studio()
    studio.players[0].host.__class__ = Huge
    studio.run(20)
    spectator = studio.watch()
    studio.run(10)
    assert ended(spectator)[0] == "partner-gone"
    assert "too-large" in ended(spectator)[1]
    assert playing(studio.players[0]).ended is None


def test_who_asks_for_states_all_the_time_gets_few() -> None:
    studio = Studio(max_steps=None, frames=600, episodes=0)
    studio.run(20)
    player = playing(studio.players[0])
    player._recovery._kept_at = float("inf")  # no state is kept for a new host, only for the spectator
    player.feeds.add(77, now=studio.now)
    stranger = Stranger(studio, 77, studio.players[0], 0, feeds=False)
    stranger.say(Hello({"protocol": PROTOCOL_VERSION, **studio.plan.facts()}), ticks=2)
    before = len(studio.players[0].batches)
    for request in range(90):
        stranger.say(Watch(request, None, 0))
    fetched = sum(c[0] == "get_snapshot" for batch in studio.players[0].batches[before:] for c in batch)
    assert 2 <= fetched <= 4
    assert player.phase is Phase.PLAYING
    stranger.say(Unwatch(), Refuse(["enough"]), ticks=2)
    assert gone(studio.players[0]) == ["left"]


def test_a_spectator_that_never_acknowledges_is_given_nothing_more() -> None:
    studio = Studio(max_steps=None, frames=600, episodes=0)
    studio.run(20)
    player = playing(studio.players[0])
    player.feeds.add(77, now=studio.now)
    stranger = Stranger(studio, 77, studio.players[0], 0, feeds=False)
    for request in range(40):  # says much, hears nothing
        stranger.endpoint.queue_control(Watch(request, 0, request))
        stranger.studio.clients[77].inbox.clear()
    stranger.say(Hello({"protocol": PROTOCOL_VERSION, **studio.plan.facts()}), ticks=60)
    assert player.ended is None


def test_a_position_that_the_player_has_not_reached_is_waited_for() -> None:
    studio = Studio(max_steps=None, frames=600, episodes=0)
    player = playing(studio.players[0])
    player.feeds.add(77, now=studio.now)
    stranger = Stranger(studio, 77, studio.players[0], 0, feeds=False)
    stranger.say(Hello({"protocol": PROTOCOL_VERSION, **studio.plan.facts()}), Watch(1, 0, 40), ticks=20)
    assert not any(isinstance(message, FeedStart) for message in stranger.heard())
    stranger.say(ticks=40)
    (begun,) = [message for message in stranger.heard() if isinstance(message, FeedStart)]
    assert (begun.first_frame, begun.has_state) == (40, False)


# -- the parts -------------------------------------------------------------------------------------------------------


def row(frame: int, episode: int = 0) -> FrameRecorded:
    nothing: tuple[Any, ...] = (None,)
    return FrameRecorded(
        episode=episode,
        frame=frame,
        inputs=(b"\x00\x01",),
        actions=(1,),
        rewards=(1.0,) if frame % 2 else nothing,
        terminations=nothing,
        truncations=nothing,
        infos=nothing,
        focus=(True,),
        checksum=frame.to_bytes(8, "big"),
    )


def test_history_follows_what_is_recorded_withdrawn_and_verified() -> None:
    history = History(1, None)
    history.take([row(0)], None)
    assert history.newest is None
    history.take([EpisodeStarted(0, 1, bytes(8)), *[row(frame) for frame in range(6)], FramesVerified(0, 3)], None)
    chapter = history.newest
    assert chapter is not None
    assert [frame for frame in range(9) if chapter.may_begin_at(frame)] == [0, 1, 2, 3, 4]
    assert chapter.at(6).totals == (3.0,)
    withdrawn = chapter.at(6)
    history.take([FramesWithdrawn(0, 4), row(4)], None)
    assert chapter.next == 5
    history.take([row(5), EpisodeEnded(0, 5, (3.0,), "limit")], None)
    assert chapter.at(6) == withdrawn
    assert chapter.last_frame == 5
    with pytest.raises(LocalMisuseError):
        history.take([row(9)], None)


def test_history_keeps_a_bounded_number_of_frames_over_all_episodes() -> None:
    history = History(1, None)
    for episode in range(3):
        history.take([EpisodeStarted(episode, 1, bytes(8)), *[row(frame, episode) for frame in range(500)]], None)
        history.take([FramesVerified(episode, 499)], None)
    first = history.chapter(0)
    assert first is not None
    assert first.next - first.first == KEPT_FRAMES - 1000
    history.take([EpisodeStarted(3, 1, bytes(8)), *[row(frame, 3) for frame in range(600)]], None)
    assert history.chapter(0) is None
    assert history.chapter(1) is None
    assert sum(len(history.chapter(n).rows) for n in (2, 3)) == KEPT_FRAMES  # type: ignore[union-attr]


def test_what_is_withdrawn_from_before_the_spectator_came_is_not_kept() -> None:
    studio = Studio()
    studio.run(30)
    episode = playing(studio.players[0]).episode
    assert episode is not None
    history = History(1, episode)
    begun = episode.recorded + 1
    history.take([FramesWithdrawn(0, begun - 3), *[row(frame) for frame in range(begun - 3, begun)]], episode)
    chapter = history.newest
    assert chapter is not None
    assert (chapter.first, chapter.next) == (begun, begun)
    assert chapter.before.chain == episode.chain.value


def test_a_playback_without_a_stretch_has_nothing_to_do() -> None:
    playback = Playback(Studio(players=0).plan, delay=0)
    playback.expect(3, bytes(8))
    playback.add_inputs(3, (b"\x00\x01",), now=0.0)
    playback.end_episode(EpisodeOver(0, 3, bytes(8)), now=0.0)
    playback.reopen()
    assert playback.next_batch(now=0.0) is None
    assert playback.leave_finished() == []
    assert playback.difference is None
    assert playback.position == (None, 0)


def test_after_a_difference_nothing_more_of_the_batch_counts() -> None:
    studio = Studio(max_steps=None, frames=200, episodes=0)
    spectator = studio.watch()
    studio.run(20)
    spectator.is_stopped = True
    studio.run(30)
    spectator.is_stopped = False
    newest = watching(spectator).simulated
    spectator.host.corrupt_at = newest + 1
    studio.run(1)
    assert [sum(c[0] == "step" for c in batch) for batch in spectator.batches[-1:]] == [2]
    while spectator.match.ended is None:
        studio.run(1)
    # Between two values that the players told, the next one that they told is named.
    (difference,) = [event.frame for event in spectator.events if isinstance(event, Desync)]
    assert newest < difference


def test_a_snapshot_that_fits_nowhere_is_given_to_nobody() -> None:
    studio = Studio()
    spectator = studio.watch()
    studio.run(30)
    player = playing(studio.players[0])
    player.feeds.take_snapshot({"frame": 9999, "data": {}})
    studio.run(10)
    assert spectator.match.phase is Phase.PLAYING


def test_who_stands_behind_the_end_of_an_episode_goes_on_with_the_next() -> None:
    studio = Studio(max_steps=30, episodes=5)
    player = playing(studio.players[0])
    player.feeds.add(77, now=studio.now)
    stranger = Stranger(studio, 77, studio.players[0], 0, feeds=False)
    stranger.say(Hello({"protocol": PROTOCOL_VERSION, **studio.plan.facts()}), ticks=40)
    stranger.heard()
    stranger.say(Watch(1, 0, 30), ticks=3)
    begun = [message for message in stranger.heard() if isinstance(message, FeedStart)]
    assert [(each.episode, each.first_frame, each.has_state) for each in begun] == [(1, 0, False)]


def test_a_player_says_how_the_match_ended_or_refuses() -> None:
    for message, reason, part in (
        (Leave("desync"), "partner-gone", "different"),
        (Leave("left"), "partner-gone", "left"),
        (Refuse(["rate"]), "partner-gone", "rate"),
        (FeedEnd("behind"), "partner-gone", "behind"),
    ):
        stranger, spectator, _ = fed_by_a_stranger()
        stranger.say(message, ticks=2)
        assert ended(spectator)[0] == reason
        assert part in ended(spectator)[1]


def test_what_the_host_does_after_the_end_is_ignored() -> None:
    studio = Studio()
    spectator = studio.watch()
    studio.run(20)
    match = watching(spectator)
    for data in studio.clients[SPECTATOR].inbox:
        match.receive(*data, now=studio.now)
    spectator.inbox.clear()
    out = match.tick(now=studio.now)
    while out.batch is None:
        studio.run(1)
        for data in spectator.inbox:
            match.receive(*data, now=studio.now)
        spectator.inbox.clear()
        out = match.tick(now=studio.now)
    match.leave(now=studio.now)
    assert match.is_batch_out
    after = match.batch_done(spectator.host.run(out.batch), now=studio.now)
    assert (after.records, after.events, match.is_batch_out) == ([], [], False)
    assert match.tick(now=studio.now).batch is None


def test_where_an_episode_is_whole_the_next_one_is_missing() -> None:
    playback = Playback(Studio(players=0).plan, delay=0)
    playback.begin(Stretch.begin(start(1, first_frame=0, has_state=False)), now=0.0)
    assert playback.position == (0, 0)
    playback.end_episode(EpisodeOver(0, 1, bytes(8)), now=0.0)
    for frame in range(2):
        assert playback.position == (0, frame)
        playback.add_inputs(frame, (b"\x00\x01",), now=0.0)
    assert playback.position == (1, 0)


def test_what_a_snapshot_costs_is_no_reason_to_expect_more_of_every_batch() -> None:
    class Noted(Budget):
        other = -1.0

        def learn(self, **costs: Any) -> None:
            self.other = costs["other_seconds"]

    budget = Noted(frame=1 / 60, window=8)
    learn_costs(budget, PlayBatch([["render"], ["get_snapshot", 3]]), [100, 90_000])
    assert budget.other == pytest.approx(0.0001)


def test_a_spectator_knows_that_the_players_have_paused_and_that_they_go_on() -> None:
    studio = Studio(players=2)
    early = studio.watch(players=[0])
    studio.run(20)
    assert not watching(early).is_paused
    for player in studio.players:
        playing(player).changes.wish("pause")
    studio.run(10)
    late = studio.watch(101, players=[0, 1])
    studio.run(20)
    assert all(playing(player).changes.is_paused for player in studio.players)
    assert watching(early).is_paused
    assert watching(late).is_paused  # which came in the middle of it, and has seen nothing yet
    for player in studio.players:
        playing(player).changes.wish("resume")
    studio.run(20)
    assert not watching(early).is_paused
    assert not watching(late).is_paused
    assert late.records
    told = [event.kind for event in early.events if isinstance(event, MatchChanged)]
    assert told == ["pause", "resume"]
    assert frames(early)[-1] > (0, 25)


def test_another_player_that_feeds_from_now_on_has_the_word_about_a_pause() -> None:
    stranger, spectator, request = fed_by_a_stranger()
    stranger.say(FeedPause(True), ticks=2)
    assert watching(spectator).is_paused
    stranger.say(start(request, first_frame=0, has_state=False), ticks=2)
    assert not watching(spectator).is_paused


def test_a_spectator_that_goes_to_another_player_in_a_pause_is_told_of_it_there() -> None:
    studio = Studio(players=2)
    spectator = studio.watch()
    studio.run(20)
    for player in studio.players:
        playing(player).changes.wish("pause")
    studio.run(10)
    first = watching(spectator).feeder
    assert first is not None
    studio.players[first].is_stopped = True
    studio.run(400)
    assert watching(spectator).failovers > 0
    assert watching(spectator).feeder != first
    assert watching(spectator).is_paused
