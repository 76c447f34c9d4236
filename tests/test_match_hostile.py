"""A peer that does what it must not: nothing raises, nothing grows, nothing invalid reaches the environment."""

from __future__ import annotations

import random
from typing import Any

import pytest
from strangers_rig import StrictHost, random_message
from virtual import RandomSource, toy_env

from p2pclient.match.barriers import GOODBYE
from p2pclient.match.desync import PATIENCE
from p2pclient.match.match import MOST_UNVERIFIED, Match
from p2pclient.match.plan import Desync, Ended, MatchEvent, MatchPlan, Outbox, Phase
from p2pclient.protocol.control import (
    MAX_CHECKSUMS,
    Checksums,
    Envelope,
    EpisodeOver,
    EpisodeReady,
    Hello,
    Leave,
    LinkSound,
    Recovered,
    Refuse,
    encode_control,
)
from p2pclient.protocol.datagram import Datagram, encode_datagram
from p2pclient.protocol.endpoint import MAX_AHEAD, MAX_OPEN_CONTROL, MAX_UNACKNOWLEDGED

TICK = 1 / 15


class Stranger:
    """The other side, written by hand: says whatever a test wants, in valid envelopes with the next number."""

    def __init__(self, *, max_steps: int = 2_000, episodes: int = 1, window: int = 8, **plan: Any) -> None:
        self.plan = MatchPlan(
            match_id="m",
            seed=1,
            env=toy_env(max_steps=max_steps),
            local_seats=(0,),
            peers={1: (1,)},
            own_id=0,
            render=False,
            episodes=episodes,
            window=window,
            **plan,
        )
        self.match = Match(self.plan, {0: RandomSource(1)}, now=0.0)
        self.host = StrictHost(2)
        self.now = 0.0
        self.number = 0
        self.frame = 0
        self.heard = 0
        self.events: list[MatchEvent] = []
        self.sent = 0

    def carry_out(self, out: Outbox) -> None:
        self.events += out.events
        self.heard += sum(1 for _, data in out.control if data[2])
        self.sent += len(out.datagrams)
        while out.batch is not None:
            out = self.match.batch_done(self.host.run(out.batch), now=self.now)
            self.events += out.events
            self.heard += sum(1 for _, data in out.control if data[2])

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.now += TICK
            self.carry_out(self.match.tick(now=self.now))

    def say(self, message: Any, *, acknowledged: int = 0) -> None:
        self.number += 1
        self.match.receive(1, "control", encode_control(Envelope(1, self.number, acknowledged, message)), now=self.now)

    def send(self, **changes: Any) -> None:
        """Send a datagram; without changes an empty one that acknowledges nothing."""
        fields: dict[str, Any] = {
            "connection": self.plan.connection_id(1),
            "episode": self.match.number,
            "sent": int(self.now * 4000),
            "echo": None,
            "held": 0,
            "lead": 0.0,
            "next_expected": 0,
            "chain": None,
            "first_frame": self.frame,
            "inputs": (),
        }
        self.match.receive(1, "inputs", encode_datagram(Datagram(**{**fields, **changes})), now=self.now)

    def greet(self) -> None:
        self.say(Hello(self.match._facts()))
        self.tick()

    def stand_at_barrier(self) -> None:
        self.greet()
        assert self.match.phase is Phase.BARRIER
        self.say(EpisodeReady(self.match.number, self.match.episode.first_checksum))
        self.tick()
        self.be_sound()
        self.tick()
        assert self.match.phase is Phase.PLAYING

    def be_sound(self) -> None:
        """Answer on both lanes, and find the link sound."""
        self.say(LinkSound(self.match.number), acknowledged=self.heard)
        self.send(echo=int(self.now * 4000) & 0xFFFF)

    def play(self, frames: int, **changes: Any) -> None:
        """Play along honestly."""
        for _ in range(frames):
            assert self.match.episode is not None
            acknowledged = self.match.episode.session.current_frame
            self.send(**{"inputs": (b"\x00\x01",), "next_expected": acknowledged, **changes})
            self.frame += 1
            self.tick()

    @property
    def first_checksum(self) -> bytes:
        return self.match.episode.first_checksum if self.match.episode is not None else b""

    @property
    def drops(self) -> dict[str, int]:
        return dict(self.match.peers[1].endpoint.drops)

    @property
    def ended(self) -> Ended | None:
        return self.match.ended


def playing(**settings: Any) -> Stranger:
    stranger = Stranger(**settings)
    stranger.stand_at_barrier()
    stranger.play(20)
    assert stranger.match.phase is Phase.PLAYING
    return stranger


def test_an_honest_stranger_plays_along() -> None:
    stranger = playing()
    assert stranger.match.counters.confirmed_frames >= 19
    assert stranger.drops == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"next_expected": 10_000}, "bad-ack"),
        ({"first_frame": 500, "inputs": (b"\x00\x01",)}, "gap"),
        ({"inputs": (b"\x00\x01",) * 512}, "too-far"),
        ({"chain": (1 << 30, bytes(8))}, "too-far"),
        ({"inputs": (b"\x00\x05",)}, "bad-input"),
        ({"inputs": (b"\x02\x01",)}, "bad-input"),
        ({"inputs": (b"\xff\xff",)}, "bad-input"),
        ({"inputs": (b"\x00\x01", b"\x00\xff")}, "bad-input"),
        ({"inputs": (b"\x00\x01\x00",)}, "bad-inputs"),
        ({"episode": 7}, "other-episode"),
        ({"connection": 1}, "wrong-connection"),
    ],
)
def test_a_bad_datagram_is_dropped_and_play_goes_on(changes: dict[str, Any], reason: str) -> None:
    stranger = playing()
    for _ in range(50):
        stranger.send(**changes)
    assert stranger.drops == {reason: 50}
    frames = stranger.match.counters.confirmed_frames
    stranger.play(10)
    assert stranger.match.counters.confirmed_frames == frames + 10
    assert stranger.ended is None


def test_random_bytes_disturb_nothing() -> None:
    noise = random.Random(1)
    stranger = playing()
    for number in range(2_000):
        stranger.match.receive(1, ("inputs", "control")[number % 2], noise.randbytes(noise.randrange(50)), now=0.0)
    stranger.play(10)
    assert stranger.ended is None
    assert sum(stranger.drops.values()) == 2_000


def test_inputs_before_the_environment_is_reset_are_not_lost() -> None:
    stranger = Stranger()
    stranger.say(Hello(stranger.match._facts()))
    greeted = stranger.match.tick(now=0.1)
    reset, stranger.heard = greeted.batch, len(greeted.control)
    assert stranger.match.phase is Phase.RESETTING
    stranger.send(inputs=(b"\x00\x01",))
    stranger.say(EpisodeReady(0, stranger.host.do_reset(stranger.plan.episode_seed(0))))
    stranger.match.tick(now=0.2)
    assert reset is not None
    stranger.now = 0.3
    stranger.carry_out(stranger.match.batch_done(stranger.host.run(reset), now=stranger.now))
    stranger.be_sound()
    stranger.tick()
    stranger.play(5)  # from frame 0, as an honest peer sends it again
    assert stranger.match.episode is not None
    assert stranger.match.counters.confirmed_frames == 5
    assert stranger.drops == {"too-far": 1}


def test_without_a_hitch_nothing_is_run_ahead_of_its_time() -> None:
    """A partner who started earlier is met by pacing, not by jumps of the picture."""
    stranger = Stranger()
    stranger.stand_at_barrier()
    stranger.send(inputs=(b"\x00\x01",) * 12)
    stranger.tick(8)
    assert stranger.match.counters.frames == 9
    assert stranger.match.counters.fast_forwarded == 0


def test_a_hitch_is_made_up_for_as_far_as_inputs_are_here_and_no_further() -> None:
    stranger = Stranger()
    stranger.stand_at_barrier()
    stranger.send(inputs=(b"\x00\x01",) * 6)
    stranger.carry_out(stranger.match.tick(now=stranger.now, owed=20))
    assert stranger.match.counters.frames == 6
    stranger.tick(3)  # nothing new to catch up with
    assert stranger.match.counters.frames == 9
    stranger.send(inputs=(b"\x00\x01",) * 20)
    stranger.tick()  # what is still owed
    assert stranger.match.counters.frames == 20
    stranger.tick()
    assert stranger.match.counters.frames == 20 + 1
    assert stranger.match.counters.fast_forwarded == 4 + 10


def test_what_was_made_up_for_is_not_owed_again() -> None:
    stranger = Stranger()
    stranger.stand_at_barrier()
    stranger.send(inputs=(b"\x00\x01",) * 16)
    stranger.carry_out(stranger.match.tick(now=stranger.now, owed=20))
    assert stranger.match.counters.frames == 16  # 15 of the 20
    stranger.send(inputs=(b"\x00\x01",) * 60)
    stranger.tick()
    assert stranger.match.counters.frames == 16 + 5 + 1


def test_lead_is_our_newest_frame_minus_the_newest_heard() -> None:
    stranger = playing()
    endpoint = stranger.match.peers[1].endpoint
    assert endpoint.lead == stranger.match.episode.session.current_frame - stranger.frame  # type: ignore[union-attr]
    before = endpoint.lead
    stranger.tick(3)
    assert endpoint.lead == before + 3


# -- control messages at the wrong time ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"protocol": None},
        {"protocol": [1]},
        {str(n): n for n in range(3_000)},
        {"seats": {"a": {"b": [1, 2, {"c": b"\xff"}]}}},
        {"x" * 60_000: 1},
    ],
)
def test_strange_facts_end_the_match_before_frame_0_in_readable_words(facts: dict[str, Any]) -> None:
    stranger = Stranger()
    for _ in range(500):  # a flood of them, between two ticks
        stranger.say(Hello(facts))
    stranger.tick()
    assert stranger.ended is not None
    assert stranger.ended.reason == "refused"
    assert "version" in stranger.ended.text
    assert len(stranger.ended.text) < 12_000
    assert stranger.host.steps == 0


@pytest.mark.parametrize("depth", range(900, 1000, 3))
def test_facts_nested_as_deep_as_they_can_be_read_raise_nothing(depth: int) -> None:
    stranger = Stranger()
    nested = encode_control(Envelope(1, 1, 0, Hello({"seats": 0})))[:-1] + b"\x91" * depth + b"\x01"
    stranger.match.receive(1, "control", nested, now=0.0)
    stranger.tick()
    assert stranger.drops == {"bad-control": 1} or stranger.ended is not None


def test_a_second_hello_changes_nothing() -> None:
    stranger = playing()
    stranger.say(Hello({}))
    stranger.say(Hello(stranger.match._facts()))
    stranger.play(5)
    assert stranger.ended is None


def test_barrier_messages_at_the_wrong_time_change_nothing_and_pile_up_nowhere() -> None:
    stranger = playing()
    for number in range(300):
        for episode in (0, 1, 2, 255, 256, 1 << 30):
            stranger.say(EpisodeReady(episode, bytes([number % 256]) * 8))
            if episode:
                stranger.say(EpisodeOver(episode, number, bytes(8)))
        stranger.tick()
    peer = stranger.match.peers[1]
    assert set(peer.ready) == {0, 1}
    assert not peer.over
    assert stranger.ended is None


def test_what_was_said_of_past_episodes_is_forgotten() -> None:
    stranger = Stranger(max_steps=3, episodes=20)
    stranger.greet()
    for episode in range(20):
        stranger.frame = 0
        stranger.say(EpisodeReady(episode, stranger.first_checksum))
        stranger.tick()
        stranger.be_sound()
        stranger.tick()
        assert stranger.match.phase is Phase.PLAYING
        stranger.say(EpisodeReady(episode, bytes(8)), acknowledged=stranger.heard)
        stranger.play(3)
        assert stranger.match.phase is Phase.EPISODE_OVER
        stranger.say(EpisodeOver(episode, 2, stranger.match.episode.chain.value))  # type: ignore[union-attr]
        stranger.tick()
        assert len(stranger.match.peers[1].ready) <= 1
        assert len(stranger.match.peers[1].sound) <= 1
    stranger.tick(int(GOODBYE / TICK) + 2)
    assert stranger.ended is not None
    assert stranger.ended.reason == "finished"


def test_a_wrong_first_checksum_is_a_desync_before_frame_0() -> None:
    stranger = Stranger()
    stranger.greet()
    stranger.say(EpisodeReady(0, b"different"[:8]))
    stranger.tick()
    assert stranger.ended is not None
    assert stranger.ended.reason == "desync"
    (found,) = [e for e in stranger.events if isinstance(e, Desync)]
    assert (found.frame, found.theirs) == (-1, b"differen")
    assert stranger.host.steps == 0


@pytest.mark.parametrize("last_frame", [0, 5, 10_000, 1 << 30])
def test_an_end_that_was_never_there_ends_the_match_as_a_desync(last_frame: int) -> None:
    stranger = Stranger(max_steps=30)
    stranger.stand_at_barrier()
    stranger.say(EpisodeOver(0, last_frame, bytes(8)))
    stranger.play(31)
    stranger.tick(int(GOODBYE / TICK) + 2)
    assert stranger.ended is not None
    assert stranger.ended.reason == "desync"
    assert stranger.match.counters.desyncs == 1


def test_a_right_last_frame_with_a_wrong_chain_is_a_desync() -> None:
    stranger = Stranger(max_steps=30)
    stranger.stand_at_barrier()
    stranger.say(EpisodeOver(0, 29, bytes(8)))
    stranger.play(31)
    assert stranger.match.phase is Phase.DIVERGED
    stranger.tick(int(GOODBYE / TICK) + 2)
    assert stranger.ended is not None
    assert stranger.ended.reason == "desync"


@pytest.mark.parametrize("count", [0, 1, MAX_CHECKSUMS])
@pytest.mark.parametrize("first", [0, 5, 1 << 30])
def test_checksums_out_of_the_blue_end_the_match_and_nothing_more(count: int, first: int) -> None:
    stranger = playing()
    stranger.say(Checksums(0, first, [bytes(8)] * count))
    stranger.tick(int(PATIENCE / TICK) + 3)
    assert stranger.ended is not None
    assert stranger.ended.reason == "desync"
    assert stranger.match.counters.desyncs == 1


def test_five_thousand_checksums_are_not_even_read() -> None:
    stranger = playing()
    stranger.say(Checksums(0, 0, [bytes(8)] * 5_000))
    stranger.play(3)
    assert stranger.drops == {"bad-control": 1}
    assert stranger.ended is None


def test_a_wrong_chain_value_is_a_desync_even_if_no_checksums_follow() -> None:
    stranger = playing()
    stranger.send(chain=(10, b"\xff" * 8), next_expected=0)
    stranger.tick()
    assert stranger.match.phase is Phase.DIVERGED
    frames = stranger.match.counters.frames
    stranger.tick(10)
    assert stranger.match.counters.frames == frames  # a state that may be wrong is not played on
    assert stranger.ended is None
    stranger.tick(int(GOODBYE / TICK) + 1)
    assert stranger.ended is not None
    assert stranger.ended.reason == "desync"
    (found,) = [e for e in stranger.events if isinstance(e, Desync)]
    assert found.frame == 0  # nothing was agreed on yet


@pytest.mark.parametrize("how", ["left", "error", "desync", "gone", "leave", "batch"])
def test_a_divergence_is_reported_however_the_match_ends(how: str) -> None:
    stranger = playing()
    stranger.send(chain=(10, b"\xff" * 8))
    stranger.tick()
    assert stranger.match.phase is Phase.DIVERGED
    if how == "gone":
        stranger.match.peer_gone(1)
        stranger.tick(20)
    elif how == "leave":
        stranger.carry_out(stranger.match.leave(now=stranger.now))
    elif how == "batch":
        stranger.carry_out(stranger.match.batch_failed("broken", now=stranger.now))
    else:
        stranger.say(Leave(how))
        stranger.tick()
    assert stranger.ended is not None
    assert stranger.ended.reason == "desync"
    assert stranger.match.counters.desyncs == 1
    assert sum(isinstance(e, Desync) for e in stranger.events) == 1


def test_a_chain_value_for_a_frame_ahead_ends_the_match_only_when_we_are_there() -> None:
    stranger = playing()
    stranger.send(chain=(60, b"\xff" * 8))
    stranger.play(35)
    assert stranger.match.phase is Phase.PLAYING
    stranger.play(10)
    assert stranger.match.phase is Phase.DIVERGED


@pytest.mark.parametrize("reason", ["finished", "left", "", "no such reason", "x" * 60_000])
def test_who_leaves_in_mid_play_has_left_whatever_the_reason(reason: str) -> None:
    stranger = playing()
    stranger.say(Leave(reason))
    stranger.say(Leave("finished"))
    stranger.tick()
    assert stranger.ended is not None
    assert stranger.ended.reason == "partner-left"


def test_a_refusal_ends_the_match_in_words_of_bounded_length() -> None:
    stranger = playing()
    stranger.say(Refuse(["x" * 600] * 32))
    stranger.tick()
    assert stranger.ended is not None
    assert stranger.ended.reason == "refused"


def test_messages_after_the_end_are_forgotten() -> None:
    stranger = playing()
    stranger.say(Leave("left"))
    stranger.tick()
    for _ in range(200):
        stranger.say(Hello({}))
        stranger.say(Checksums(0, 0, []))
        stranger.send(inputs=(b"\x00\x01",))
        stranger.frame += 1
    stranger.tick()
    assert not stranger.match.peers[1].endpoint.take_events()
    assert stranger.match.peers[1].endpoint.open_control <= 5
    assert sum(isinstance(e, Ended) for e in stranger.events) == 1


@pytest.mark.parametrize("answers", [True, False])
def test_a_finished_side_waits_until_its_goodbye_is_heard_but_not_for_ever(answers: bool) -> None:
    stranger = Stranger(max_steps=30)
    stranger.stand_at_barrier()
    stranger.play(30)
    assert stranger.match.episode is not None
    stranger.say(EpisodeOver(0, 29, stranger.match.episode.chain.value))
    stranger.tick(5)
    assert stranger.match.phase is Phase.FINISHING
    if answers:
        stranger.say(None, acknowledged=stranger.heard)
        stranger.tick()
    else:
        stranger.tick(int((GOODBYE - 0.5) / TICK))
        assert stranger.match.phase is Phase.FINISHING
        stranger.tick(10)
    assert stranger.ended is not None
    assert stranger.ended.reason == "finished"


def test_a_finished_side_does_not_wait_for_who_is_gone() -> None:
    stranger = Stranger(max_steps=30)
    stranger.stand_at_barrier()
    stranger.play(30)
    assert stranger.match.episode is not None
    stranger.say(EpisodeOver(0, 29, stranger.match.episode.chain.value))
    stranger.match.peer_gone(1)
    stranger.tick()
    assert stranger.ended is not None
    assert stranger.ended.reason == "finished"


# -- who never answers --------------------------------------------------------------------------------------------


def test_who_never_acknowledges_inputs_stalls_the_match_and_is_dropped() -> None:
    stranger = playing()
    for _ in range(MAX_UNACKNOWLEDGED + 600):
        stranger.send(inputs=(b"\x00\x01",), next_expected=0)
        stranger.frame += 1
        stranger.tick()
    endpoint = stranger.match.peers[1].endpoint
    assert len(endpoint._unacknowledged) <= MAX_UNACKNOWLEDGED + 10
    assert stranger.ended is not None
    assert stranger.ended.reason == "partner-gone"


def test_who_acknowledges_no_message_begins_no_episode() -> None:
    stranger = Stranger(max_steps=1, episodes=1_000)
    stranger.greet()
    stranger.say(EpisodeReady(0, stranger.first_checksum))
    while stranger.ended is None and stranger.now < 60.0:
        stranger.say(LinkSound(0))
        stranger.send(echo=int(stranger.now * 4000) & 0xFFFF)
        stranger.tick()
        assert stranger.match.phase in (Phase.BARRIER, Phase.ENDED)
    assert stranger.ended is not None
    assert stranger.ended.reason == "poor-connection"
    assert stranger.match.peers[1].endpoint.open_control < MAX_OPEN_CONTROL


def test_who_never_acknowledges_messages_in_play_is_dropped() -> None:
    stranger = playing()
    while stranger.ended is None:
        stranger.match.peers.tell(Recovered())
        stranger.play(1)
    assert stranger.ended.reason == "partner-gone"
    assert stranger.match.peers[1].endpoint.open_control < MAX_OPEN_CONTROL


def test_who_never_verifies_costs_bounded_memory_and_is_given_up() -> None:
    stranger = playing(max_steps=10_000)
    most = 0
    while stranger.ended is None:
        stranger.play(1)
        most = max(most, len(stranger.host.saved))
        assert stranger.frame < 1_000
    episode = stranger.match.episode
    assert episode is not None
    assert (episode.recorded, episode.verified) == (MOST_UNVERIFIED, -1)
    assert stranger.ended.reason == "partner-gone"
    assert "does not confirm" in stranger.ended.text
    assert MOST_UNVERIFIED - 20 <= most <= MOST_UNVERIFIED + 20


def test_who_verifies_far_behind_but_does_is_no_stranger() -> None:
    stranger = playing(max_steps=10_000)
    for _ in range(3):
        stranger.play(MOST_UNVERIFIED - 100)
        assert stranger.match.episode is not None
        stranger.send(chain=(stranger.match.episode.chain.frame, stranger.match.episode.chain.value))
        stranger.tick()
        assert stranger.match.episode.verified == stranger.match.episode.recorded
    assert stranger.ended is None


def test_who_is_far_ahead_is_bounded_and_heard_again() -> None:
    stranger = playing()
    for _ in range(40):
        stranger.send(inputs=(b"\x00\x01",) * 100)
        stranger.frame += 100
    episode = stranger.match.episode
    assert episode is not None
    stranger.tick()
    assert episode.session.last_input_frame(1) < episode.session.current_frame + MAX_AHEAD
    assert stranger.ended is None


# -- everything at once -------------------------------------------------------------------------------------------


def disturbed(seed: int, **plan: Any) -> Stranger:
    """A match after 13 s of a stranger that mixes play with whatever can be said, at any time."""
    noise = random.Random(seed)
    stranger = Stranger(max_steps=30, episodes=noise.choice([3, 20]), **plan)
    if noise.random() < 0.9:
        stranger.greet()
        if noise.random() < 0.9:
            stranger.stand_at_barrier()
    talks = noise.choice([0.002, 0.01, 0.03])
    for _ in range(200):
        action = noise.random()
        if action < 0.6:
            go_along(stranger)
        elif action < 0.6 + talks:
            message = random_message(noise, stranger.match, frame=stranger.frame)
            stranger.say(message, acknowledged=noise.choice([0, stranger.heard]))
        elif 0.63 < action < 0.8:
            stranger.send(
                first_frame=max(0, stranger.frame + noise.randint(-9, 3)),
                next_expected=noise.choice([0, stranger.frame, stranger.frame + 99]),
                chain=noise.choice([None, None, None, (noise.randrange(40), bytes(8))])
                if noise.random() < 0.1
                else None,
                inputs=tuple(bytes([noise.randrange(2), noise.randrange(6)]) for _ in range(noise.randrange(5))),
                episode=stranger.match.number + noise.choice([0, 0, 0, 1, 255]),
                lead=noise.choice([None, -31.75, 31.75]),
            )
        stranger.tick()
        assert_bounded(stranger)
    return stranger


def go_along(stranger: Stranger) -> None:
    """Do what an honest peer does where the match stands."""
    match = stranger.match
    if match.phase is Phase.PLAYING:
        stranger.play(1)
    elif match.phase is Phase.BARRIER:
        stranger.frame = 0
        stranger.say(EpisodeReady(match.number, stranger.first_checksum), acknowledged=stranger.heard)
        stranger.be_sound()
    elif match.phase is Phase.EPISODE_OVER and match.episode is not None:
        stranger.say(EpisodeOver(match.number, 29, match.episode.chain.value), acknowledged=stranger.heard)


def assert_bounded(stranger: Stranger) -> None:
    peer = stranger.match.peers[1]
    assert len(peer.ready) <= 2
    assert len(peer.over) <= 1
    assert len(peer.endpoint._unacknowledged) <= MAX_UNACKNOWLEDGED + 10
    assert peer.endpoint.open_control < MAX_OPEN_CONTROL
    episode = stranger.match.episode
    if episode is not None:
        assert len(episode._results) <= 40
        assert all(len(queue._assumed) <= 8 for queue in episode.session._queues)


VARIANTS: list[dict[str, Any]] = [{}, {"on_desync": "resimulate", "delay_range": (0, 8)}]


@pytest.mark.parametrize("plan", VARIANTS, ids=["plain", "all that can be chosen"])
@pytest.mark.parametrize("seed", range(60))
def test_whatever_a_stranger_does_nothing_raises_and_everything_stays_bounded(seed: int, plan: dict[str, Any]) -> None:
    stranger = disturbed(seed, **plan)
    if stranger.match.phase is Phase.PLAYING:
        frames = stranger.match.counters.frames
        stranger.play(10)
        assert stranger.match.counters.frames > frames or stranger.match.phase is not Phase.PLAYING
    stranger.tick(int((stranger.plan.drop_after + PATIENCE + 2 * GOODBYE) / TICK))  # it says nothing any more
    assert stranger.ended is not None
    assert sum(isinstance(e, Ended) for e in stranger.events) == 1


def test_what_random_strangers_do_ends_matches_in_many_ways_and_leaves_some_in_play() -> None:
    strangers = [disturbed(seed, **plan) for seed in range(60) for plan in VARIANTS]
    ends = {stranger.ended.reason if stranger.ended is not None else None for stranger in strangers}
    assert ends >= {None, "finished", "desync", "partner-left", "refused"}
    assert sum(stranger.match.phase is Phase.PLAYING for stranger in strangers) >= 10
    assert sum(stranger.match.number > 0 for stranger in strangers) >= 50
