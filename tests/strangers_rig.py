"""Several other sides written by hand: each says whatever a test wants, in valid envelopes with the next number."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from virtual import INPUTS, RandomSource, ToyHost, toy_env

from p2pclient.match.match import Match
from p2pclient.match.plan import MatchEvent, MatchPlan, Outbox, Phase
from p2pclient.protocol.control import (
    AnyMessage,
    Checksums,
    DelayChange,
    DelayWish,
    Envelope,
    EpisodeOver,
    EpisodeReady,
    FeedEnd,
    FeedPause,
    FeedStart,
    Hello,
    Leave,
    LinkCheck,
    LinkSound,
    LostInputs,
    PeersLost,
    Recovered,
    Recovering,
    Refuse,
    StatePart,
    Unwatch,
    Watch,
    decode_control,
    encode_control,
)
from p2pclient.protocol.datagram import Datagram, encode_datagram
from p2pclient.recorder.records import EventRecorded, FrameRecorded, Record
from p2pclient.rollback.chain import extend_chain, start_chain

TICK = 1 / 15


class StrictHost(ToyHost):
    """Refuses what is not an input of the environment, as a real one might crash on it."""

    def do_step(self, frame: int, inputs: Sequence[bytes], observe: bool = False) -> list[Any]:
        assert all(len(payload) == 1 and payload[0] < INPUTS for payload in inputs)
        return super().do_step(frame, inputs, observe)


def random_message(noise: random.Random, match: Match, *, frame: int) -> AnyMessage | None:
    """Return any control message there is, often with what fits the match at hand and often with what does not.

    Args:
        frame: about where the match stands.
    """
    first = match.episode.first_checksum if match.episode is not None else b""
    episode = noise.choice([match.number, match.number, match.number + 1, 0, 3, 1 << 30])
    digest = noise.choice([bytes(8), first.ljust(8, b"\x00"), noise.randbytes(8)])
    at = noise.choice([0, 9, frame, max(0, frame - 5), frame + 5, 1 << 30])
    joined = [bytes([noise.randrange(2), noise.randrange(INPUTS + 1)]) for _ in range(noise.randrange(12))]
    peers = [noise.choice([0, 1, 2, 3, 7, 1 << 30]) for _ in range(noise.randint(1, 3))]
    count = noise.randint(1, 3)
    facts: dict[str, Any] = noise.choice([match._facts(), match._facts(), {}])
    return noise.choice(
        [
            Hello(facts),
            EpisodeReady(episode, digest),
            EpisodeReady(episode, digest),
            LinkCheck(episode),
            LinkSound(episode),
            EpisodeOver(episode, noise.choice([0, 9, 29, 1 << 30]), digest),
            Checksums(episode, at, [digest] * noise.randrange(4), noise.randrange(3)),
            DelayWish(noise.randrange(20)),
            DelayChange(episode, at, noise.randrange(20)),
            StatePart(episode, at, noise.randrange(count), count, noise.randbytes(noise.randrange(40))),
            PeersLost(episode, peers, [LostInputs(peer, max(0, at - 6), joined) for peer in peers]),
            PeersLost(episode, peers[:1], []),
            Recovering(noise.randrange(9), noise.choice([0, 9, 1 << 30])),
            Recovered(),
            Watch(noise.randrange(3), noise.choice([None, episode]), at),
            Unwatch(),
            FeedStart(0, 0, episode, at, digest, digest, [0.0], has_state=noise.random() < 0.5),
            FeedPause(noise.random() < 0.5),
            FeedEnd("behind"),
            Leave(noise.choice(["finished", "left", "error", "desync", "?"])),
            Refuse(["no"]),
            None,
        ]
    )


class Strangers:
    """We are side 0 with seat 0; the others, from 1 on, hold one seat each."""

    def __init__(self, count: int, *, max_steps: int = 2_000, **plan: Any) -> None:
        self.others = range(1, count + 1)
        self.plan = MatchPlan(
            match_id="m",
            seed=1,
            env=toy_env(count + 1, max_steps=max_steps),
            local_seats=(0,),
            peers={other: (other,) for other in self.others},
            own_id=0,
            **{"render": False, **plan},
        )
        self.match = Match(self.plan, {0: RandomSource(1)}, now=0.0)
        self.host = StrictHost(count + 1)
        self.now = 0.0
        self.frame = 0
        """The next one for which the others send an input."""
        self.command_us = 100
        """What each command takes in the host."""
        self.holds_replies = False
        self.held: list[Any] | None = None
        """The results of a batch whose reply waits for :meth:`reply`."""
        self.told_to: dict[int, list[AnyMessage]] = {other: [] for other in self.others}
        """What each of the others was told."""
        self.records: list[Record] = []
        self.events: list[MatchEvent] = []
        self._numbers = dict.fromkeys(self.others, 0)
        self._told = dict.fromkeys(self.others, 0)

    def carry_out(self, out: Outbox) -> None:
        self.records += out.records
        self.events += out.events
        for peer, data in out.control:
            message = decode_control(data).message
            if message is not None:
                self.told_to[peer].append(message)
                self._told[peer] += 1
        if out.batch is not None:
            self.held = self.host.run(out.batch)
            if not self.holds_replies:
                self.reply()

    def reply(self) -> None:
        results, self.held = self.held, None
        assert results is not None
        self.carry_out(self.match.batch_done(results, now=self.now, costs_us=[self.command_us] * len(results)))

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.now += TICK
            self.carry_out(self.match.tick(now=self.now))

    def say(self, peer: int, message: AnyMessage | None) -> None:
        self._numbers[peer] += 1
        data = encode_control(Envelope(1, self._numbers[peer], 0, message))
        self.match.receive(peer, "control", data, now=self.now)

    def acknowledge(self, peer: int) -> None:
        """Let a peer acknowledge every message that it was told."""
        data = encode_control(Envelope(1, 0, self._told[peer], None))
        self.match.receive(peer, "control", data, now=self.now)

    def send(self, peer: int, **changes: Any) -> None:
        """Send a datagram that acknowledges everything; without changes, one without inputs."""
        episode = self.match.episode
        fields: dict[str, Any] = {
            "connection": self.plan.connection_id(peer),
            "episode": self.match.number & 0xFF,
            "sent": int(self.now * 4000),
            "echo": None,
            "held": 0,
            "lead": 0.0,
            "next_expected": episode.session.last_input_frame(0) + 1 if episode is not None else 0,
            "chain": None,
            "first_frame": self.frame,
            "inputs": (),
        }
        self.match.receive(peer, "inputs", encode_datagram(Datagram(**{**fields, **changes})), now=self.now)

    def greet(self) -> None:
        for peer in self.others:
            self.say(peer, Hello(self.match._facts()))
        self.tick()

    def begin(self) -> None:
        """Stand at the barrier with everybody, and pass it."""
        assert self.match.episode is not None
        assert self.match.phase is Phase.BARRIER
        for peer in self.others:
            self.be_ready(peer)
        self.tick()
        for peer in self.others:
            self.be_sound(peer)
        self.tick()
        assert self.match.phase is Phase.PLAYING

    def be_sound(self, peer: int) -> None:
        """Answer on both lanes of a link, and find it sound."""
        self.acknowledge(peer)
        self.send(peer, echo=int(self.now * 4000) & 0xFFFF, first_frame=0, next_expected=0)
        self.say(peer, LinkSound(self.match.number))

    def be_ready(self, peer: int) -> None:
        """One of them stands at the barrier before the episode at hand."""
        assert self.match.episode is not None
        self.say(peer, EpisodeReady(self.match.number, self.match.episode.first_checksum))

    def play(self, frames: int) -> None:
        for _ in range(frames):
            for peer in self.others:
                if peer in self.match.peers:
                    self.send(peer, inputs=(b"\x00\x01",))
            self.frame += 1
            self.tick()

    def agree(self) -> int:
        """Let all others verify what is recorded; returns the newest such frame."""
        newest = self.frames[-1].frame
        for peer in self.others:
            self.send(peer, chain=(newest, self.chain_at(newest)))
        self.tick()
        return newest

    def chain_at(self, frame: int) -> bytes:
        """The right value of the chain at a recorded frame."""
        assert self.match.episode is not None
        value = start_chain(self.match.episode.first_checksum)
        for each in self.frames[: frame + 1]:
            value = extend_chain(value, each.frame, each.checksum)
        return value

    @property
    def told(self) -> list[AnyMessage]:
        """What the first of the others was told."""
        return self.told_to[1]

    @property
    def frames(self) -> list[FrameRecorded]:
        return [r for r in self.records if isinstance(r, FrameRecorded) and r.episode == self.match.number]

    def told_checksums(self, number: int) -> list[Checksums]:
        """The lists that the first of the others was told in a round."""
        return [message for message in self.told if isinstance(message, Checksums) and message.round == number]

    def notes(self, name: str) -> list[dict[str, Any]]:
        return [r.details for r in self.records if isinstance(r, EventRecorded) and r.name == name]


def playing(count: int, *, frames: int = 20, **plan: Any) -> Strangers:
    """A match in mid-play, of which the given number of frames are recorded and verified."""
    strangers = Strangers(count, **plan)
    strangers.greet()
    strangers.begin()
    strangers.play(frames)
    strangers.tick()
    assert strangers.agree() == frames - 1
    return strangers


__all__ = ["TICK", "Strangers", "StrictHost", "playing", "random_message"]
